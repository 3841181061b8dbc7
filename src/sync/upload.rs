//! Sends the batches of a plan: journal first, then the request, then the answer into the journal. Repairs batches
//! that a platform refuses for single members, and bisects those it refuses without saying for whom.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use reveil_sdk::{AudienceRef, Batch, Error, ErrorKind, Operation, Receipt, RejectReason, Retry, Upload};
use tracing::{Instrument as _, info_span};

use super::control::RunControl;
use super::destination::Destination;
use super::error::SyncError;
use super::progress::Progress;
use crate::ledger::{Ledger, LedgerError};

/// Refusals of one batch, with no part of it accepted, after which the fault is taken to lie in the request.
const HOPELESS_REFUSALS: u32 = 40;
/// A session is left when this share of its life is over.
const SESSION_USED: f64 = 0.8;

/// How batches go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Added or removed.
    Delta,
    /// Sent as the parts of a swap.
    Swap,
}

/// What became of an upload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uploaded {
    /// Members the platform took.
    pub accepted: u64,
    pub rows: u64,
    pub requests: u64,
    pub rejected: BTreeMap<RejectReason, u64>,
    /// Entries the platform calls invalid without naming them.
    pub invalid_unnamed: u64,
    /// Upload sessions used.
    pub sessions: Vec<u64>,
}

impl Uploaded {
    fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.rows += other.rows;
        self.requests += other.requests;
        self.invalid_unnamed += other.invalid_unnamed;
        for (reason, count) in other.rejected {
            *self.rejected.entry(reason).or_default() += count;
        }
    }
}

/// One upload of one operation to one audience.
pub struct Uploader<'a> {
    pub destination: &'a Destination,
    pub audience: &'a AudienceRef,
    pub ledger: &'a Mutex<Ledger>,
    pub clock: &'a dyn reveil_sdk::Clock,
    pub progress: &'a dyn Progress,
    pub control: &'a dyn RunControl,
    pub mode: Mode,
    pub operation: Operation,
    pub total: u64,
    /// The sessions so far, the open one last.
    sessions: Mutex<Vec<Session>>,
    done: AtomicU64,
    /// Parts of a swap that the platform took: journal numbers and refused members. They count once the swap is
    /// whole; until then nobody in them is on the platform.
    swapped: Mutex<Vec<(u64, Vec<u32>)>>,
}

/// The platform's upload session: it closes by itself after a while, so a long upload takes several.
#[derive(Debug, Clone, Copy)]
struct Session {
    id: u64,
    started_at: DateTime<Utc>,
    next_ordinal: u32,
}

impl std::fmt::Debug for Uploader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Uploader").field("destination", &self.destination.name).finish_non_exhaustive()
    }
}

impl<'a> Uploader<'a> {
    #[expect(clippy::too_many_arguments, reason = "all are parts of one upload's identity, named at the one call site")]
    pub fn new(
        destination: &'a Destination,
        audience: &'a AudienceRef,
        ledger: &'a Mutex<Ledger>,
        clock: &'a dyn reveil_sdk::Clock,
        progress: &'a dyn Progress,
        control: &'a dyn RunControl,
        mode: Mode,
        operation: Operation,
        total: u64,
    ) -> Self {
        Self {
            destination,
            audience,
            ledger,
            clock,
            progress,
            control,
            mode,
            operation,
            total,
            sessions: Mutex::default(),
            done: AtomicU64::new(0),
            swapped: Mutex::default(),
        }
    }

    /// Sends all batches, several at a time; the last one alone, because it may close the platform's session.
    ///
    /// Beside what became of it: the first error that was not repaired. What was acknowledged before is in the journal.
    pub async fn run<I>(&self, batches: I) -> (Uploaded, Option<SyncError>)
    where
        I: Iterator<Item = Result<Batch, LedgerError>>,
    {
        let most_in_flight = self.destination.connector.descriptor().limits.max_in_flight.max(1) as usize;
        let mut batches = batches.peekable();
        let mut in_flight = FuturesUnordered::new();
        let mut uploaded = Uploaded::default();
        let mut failure = None;
        loop {
            while failure.is_none() && in_flight.len() < most_in_flight {
                let Some(batch) = batches.next() else { break };
                let batch = match batch {
                    Ok(batch) => batch,
                    Err(error) => {
                        failure = Some(SyncError::from(error));
                        break;
                    }
                };
                let last = batches.peek().is_none();
                if last {
                    while let Some(sent) = in_flight.next().await {
                        settle(sent, &mut uploaded, &mut failure);
                    }
                    if failure.is_some() {
                        break;
                    }
                }
                in_flight.push(self.send(batch, last));
            }
            match in_flight.next().await {
                Some(sent) => settle(sent, &mut uploaded, &mut failure),
                None => break,
            }
        }
        uploaded.sessions =
            self.sessions.lock().expect("no panic while held").iter().map(|session| session.id).collect();
        let failure = failure.or_else(|| self.note_swapped().err());
        if failure.is_some() && self.mode == Mode::Swap {
            // Nobody in it is on the platform.
            (uploaded.accepted, uploaded.rows) = (0, 0);
        }
        (uploaded, failure)
    }

    /// The swap is whole: all its parts count.
    fn note_swapped(&self) -> Result<(), SyncError> {
        let swapped = std::mem::take(&mut *self.swapped.lock().expect("no panic while held"));
        let now = self.clock.now();
        swapped
            .into_iter()
            .try_for_each(|(seq, rejected)| self.journal(|ledger| ledger.accept(seq, &rejected, None, now)).map(drop))
    }

    /// The open session and the next place in it; a new one when the old one is about to close.
    fn place(&self) -> (u64, u32) {
        let now = self.clock.now();
        let mut sessions = self.sessions.lock().expect("no panic while held");
        if sessions.last().is_none_or(|session| self.is_old(session, now, SESSION_USED)) {
            sessions.push(Session { id: new_session(self.clock), started_at: now, next_ordinal: 1 });
        }
        let session = sessions.last_mut().expect("pushed above");
        let ordinal = session.next_ordinal;
        session.next_ordinal += 1;
        (session.id, ordinal)
    }

    /// Whether more than this share of the session's life is over.
    fn is_old(&self, session: &Session, now: DateTime<Utc>, share: f64) -> bool {
        if self.mode == Mode::Swap {
            // A swap has one session; what comes too late for it is added by the next run.
            return false;
        }
        let life = self.destination.connector.descriptor().limits.session_secs;
        life.is_some_and(|secs| (now - session.started_at).as_seconds_f64() > share * f64::from(secs))
    }

    /// True when the platform may have closed the session while the batch was under way.
    fn session_ran_out(&self, id: u64) -> bool {
        let now = self.clock.now();
        let sessions = self.sessions.lock().expect("no panic while held");
        sessions.iter().any(|session| session.id == id && self.is_old(session, now, 1.0))
    }

    /// One batch, in as many requests as its faults need.
    async fn send(&self, batch: Batch, last: bool) -> Result<Uploaded, SyncError> {
        let mut uploaded = Uploaded::default();
        let mut refusals = 0;
        let mut work = vec![(batch, last)];
        while let Some((batch, last)) = work.pop() {
            if batch.is_empty() {
                continue;
            }
            self.control.check()?;
            let seq = self.journal(|ledger| ledger.intend(&batch))?;
            let (session, ordinal) = self.place();
            uploaded.requests += 1;
            let upload = Upload { batch: &batch, session, ordinal, last, estimated_members: self.total };
            let span = info_span!(
                "batch",
                destination = self.destination.name,
                operation = self.operation.name(),
                members = batch.len()
            );
            match self.call(&upload).instrument(span).await {
                Ok(receipt) => self.accept(seq, &batch, &receipt, &mut uploaded)?,
                Err(error) => {
                    // Left as intended otherwise: uncertain, so that the next run sends it again.
                    if error.is_body_fault() || (!error.is_unanswered() && is_definite(error.kind())) {
                        self.journal(|ledger| ledger.fail(seq))?;
                    }
                    if is_definite(error.kind()) && self.session_ran_out(session) {
                        work.push((batch, last));
                        continue;
                    }
                    refusals += 1;
                    let hopeless = refusals > HOPELESS_REFUSALS && uploaded.accepted == 0;
                    if !error.is_body_fault() || hopeless {
                        return Err(error.into());
                    }
                    self.repair(batch, last, &error, &mut work, &mut uploaded)?;
                }
            }
        }
        Ok(uploaded)
    }

    async fn call(&self, upload: &Upload<'_>) -> reveil_sdk::Result<Receipt> {
        let (connector, cx) = (&self.destination.connector, self.destination.context());
        match (self.mode, self.operation) {
            (Mode::Swap, _) => connector.replace(&cx, self.audience, upload).await,
            (Mode::Delta, Operation::Add) => connector.add(&cx, self.audience, upload).await,
            (Mode::Delta, Operation::Remove) => connector.remove(&cx, self.audience, upload).await,
        }
    }

    fn accept(&self, seq: u64, batch: &Batch, receipt: &Receipt, uploaded: &mut Uploaded) -> Result<(), SyncError> {
        let rejected: Vec<u32> = receipt.rejected.iter().map(|rejection| rejection.index).collect();
        let now = self.clock.now();
        uploaded.accepted += (batch.len() - rejected.len()) as u64;
        if self.mode == Mode::Swap {
            self.swapped.lock().expect("no panic while held").push((seq, rejected));
        } else {
            self.journal(|ledger| ledger.accept(seq, &rejected, receipt.ticket.as_deref(), now))?;
        }
        for rejection in &receipt.rejected {
            *uploaded.rejected.entry(rejection.reason.clone()).or_default() += 1;
        }
        uploaded.rows += receipt.rows;
        uploaded.invalid_unnamed += receipt.invalid_unnamed;
        self.advance(batch.len());
        Ok(())
    }

    /// Puts what is left of a refused batch back to work: without the members the platform named, or in halves.
    fn repair(
        &self,
        batch: Batch,
        last: bool,
        error: &Error,
        work: &mut Vec<(Batch, bool)>,
        uploaded: &mut Uploaded,
    ) -> Result<(), SyncError> {
        if !error.rejections().is_empty() {
            let named: Vec<u32> = error.rejections().iter().map(|rejection| rejection.index).collect();
            for rejection in error.rejections() {
                self.reject(&batch, rejection.index, rejection.reason.clone(), uploaded)?;
            }
            work.push((batch.without(&named).0, last));
        } else if batch.len() == 1 {
            self.reject(&batch, 0, RejectReason::from_static("refused_by_platform"), uploaded)?;
        } else {
            let middle = batch.len() / 2;
            // Taken from the end: the left half goes first and the right one keeps the last place.
            work.push((batch.slice(middle..batch.len()), last));
            work.push((batch.slice(0..middle), false));
        }
        Ok(())
    }

    /// Writes down that the platform refuses this member, so that it is not sent again unchanged.
    fn reject(
        &self,
        batch: &Batch,
        index: u32,
        reason: RejectReason,
        uploaded: &mut Uploaded,
    ) -> Result<(), SyncError> {
        let index = index as usize;
        if index >= batch.len() {
            return Ok(());
        }
        let alone = batch.slice(index..index + 1);
        let now = self.clock.now();
        self.journal(|ledger| {
            let seq = ledger.intend(&alone)?;
            ledger.accept(seq, &[0], None, now)
        })?;
        *uploaded.rejected.entry(reason).or_default() += 1;
        self.advance(1);
        Ok(())
    }

    fn journal<T>(&self, write: impl FnOnce(&mut Ledger) -> Result<T, LedgerError>) -> Result<T, SyncError> {
        let mut ledger = self.ledger.lock().expect("no panic while the ledger is held");
        Ok(write(&mut ledger)?)
    }

    fn advance(&self, members: usize) {
        let done = self.done.fetch_add(members as u64, Ordering::Relaxed) + members as u64;
        self.progress.members(&self.destination.name, self.operation.name(), done, self.total);
    }
}

fn settle(sent: Result<Uploaded, SyncError>, uploaded: &mut Uploaded, failure: &mut Option<SyncError>) {
    match sent {
        Ok(sent) => uploaded.add(sent),
        Err(error) => {
            failure.get_or_insert(error);
        }
    }
}

/// Kinds after which a request was surely not applied.
fn is_definite(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Config
            | ErrorKind::Auth
            | ErrorKind::Permission
            | ErrorKind::NotFound
            | ErrorKind::RateLimited
            | ErrorKind::Rejected
            | ErrorKind::Unsupported
    )
}

/// Whether the run may end early and be taken up later without harm.
pub fn is_later(error: &Error) -> bool {
    error.retry_advice() == Retry::Exhausted
}

/// Positive, below 2^63, not used before in the account: the millisecond and 20 random bits.
fn new_session(clock: &dyn reveil_sdk::Clock) -> u64 {
    let mut random = [0; 4];
    // Without randomness two uploads would have to start in the same millisecond to clash.
    let _ = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut random);
    let millis = u64::try_from(clock.now().timestamp_millis()).unwrap_or(0) & ((1 << 42) - 1);
    (millis << 20 | u64::from(u32::from_le_bytes(random) & 0xf_ffff)).max(1)
}
