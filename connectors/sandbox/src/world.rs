//! The shared state behind the platforms, and [`World`], the view of it that tests and demos take.

use crate::core::faults::{FaultBox, FaultKind, FaultRule, Faults};
use crate::core::http::{Answer, Reply};
use crate::core::oauth::OAuthBehaviour;
use crate::core::people::People;
use crate::settings::Settings;
use crate::{Error, Platform, google, meta};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Log entries kept; older ones only count.
const LOG_ENTRIES: usize = 20_000;

pub(crate) struct Shared {
    pub(crate) settings: Settings,
    /// Origin of the server, `http://127.0.0.1:PORT`; known once it listens.
    pub(crate) origin: OnceLock<String>,
    pub(crate) meta_people: People,
    pub(crate) google_people: People,
    meta: Mutex<meta::State>,
    google: Mutex<google::State>,
    faults: Mutex<FaultBox>,
    oauth: Mutex<OAuthBehaviour>,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    entries: VecDeque<LogEntry>,
    /// `platform.operation` → requests, members.
    totals: BTreeMap<String, (u64, u64)>,
}

/// One request as the platforms saw it: never its content.
#[derive(Clone, Debug, Serialize)]
pub struct LogEntry {
    /// When, by the platforms' clock.
    pub at: DateTime<Utc>,
    /// Where.
    pub platform: Platform,
    /// What, such as `users.add` or `members.ingest`.
    pub operation: &'static str,
    /// HTTP status of the reply; 0 = the client got none.
    pub status: u16,
    /// Members in the request.
    pub members: usize,
    /// Faults that struck it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<&'static str>,
}

/// One audience and what is really in it.
#[derive(Clone, Debug, Serialize)]
pub struct AudienceInfo {
    /// Where it lives.
    pub platform: Platform,
    /// Its id there.
    pub id: String,
    /// The advertiser account, digits.
    pub account: String,
    /// Its name.
    pub name: String,
    /// Digests held.
    pub held: usize,
    /// Persons matched: the hidden truth.
    pub matched: usize,
    /// Requests accepted and not yet applied (Google).
    pub pending: usize,
    /// Refused for its name or by a fault (Meta), or closed (Google).
    pub flagged: bool,
}

/// How the connection of a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Normal,
    Hang,
    Reset,
    Truncate,
}

pub(crate) struct Handled {
    pub(crate) reply: Reply,
    pub(crate) ending: Ending,
}

/// The faults that struck one request.
#[derive(Debug)]
pub(crate) struct Struck(Vec<FaultKind>);

impl Struck {
    pub(crate) fn has(&self, kind: &FaultKind) -> bool {
        self.0.contains(kind)
    }
    pub(crate) fn partial(&self) -> Option<f64> {
        self.0.iter().find_map(|k| if let FaultKind::Partial(share) = k { Some(*share) } else { None })
    }
    pub(crate) fn slow(&self) -> Option<TimeDelta> {
        self.0.iter().find_map(|k| if let FaultKind::Slow(secs) = k { Some(TimeDelta::seconds(*secs)) } else { None })
    }
    /// Hex prefix of the digest that spoils a request.
    pub(crate) fn bad_row(&self) -> Option<&str> {
        self.0.iter().find_map(|k| if let FaultKind::BadRow(prefix) = k { Some(prefix.as_str()) } else { None })
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panicking request must not take the whole sandbox with it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(settings: Settings) -> Result<Self, Error> {
        if !(0.0..=1.0).contains(&settings.match_share) {
            return Err(Error::Setting { setting: "match_share", what: "give a share between 0 and 1".into() });
        }
        google::check_key(settings.google.service_account_key_pem.as_deref())?;
        let people = |platform: Platform| match &settings.accounts {
            Some(accounts) => People::load(platform, accounts, settings.contacts.as_deref()),
            None => Ok(People::by_chance(settings.match_share, settings.seed)),
        };
        // Each reads the whole graph for itself: a million persons take seconds, so side by side.
        let (meta_people, google_people) = std::thread::scope(|scope| {
            let google = scope.spawn(|| people(Platform::Google));
            let meta = people(Platform::Meta);
            (meta, google.join().expect("reading a table does not panic"))
        });
        let (meta_people, google_people) = (meta_people?, google_people?);
        let saved = match &settings.state {
            Some(path) if path.exists() => Saved::read(path)?,
            _ => Saved::default(),
        };
        Ok(Self {
            origin: OnceLock::new(),
            meta_people,
            google_people,
            meta: Mutex::new(saved.meta),
            google: Mutex::new(saved.google),
            faults: Mutex::new(FaultBox::new(settings.seed, settings.faults.clone())),
            log: Mutex::default(),
            oauth: Mutex::new(settings.oauth),
            settings,
        })
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.settings.time.now()
    }

    pub(crate) fn meta(&self) -> MutexGuard<'_, meta::State> {
        locked(&self.meta)
    }

    /// Google's state with every job that is due applied and every member past its time gone.
    pub(crate) fn google(&self) -> MutexGuard<'_, google::State> {
        let mut state = locked(&self.google);
        state.settle(self);
        state
    }

    pub(crate) fn oauth(&self) -> OAuthBehaviour {
        *locked(&self.oauth)
    }

    pub(crate) fn people(&self, platform: Platform) -> &People {
        match platform {
            Platform::Meta => &self.meta_people,
            Platform::Google => &self.google_people,
        }
    }

    pub(crate) fn base_url(&self, slug: &str) -> String {
        format!("{}/{slug}", self.origin.get().map_or("", String::as_str))
    }

    /// Runs one request under the faults that strike it: those that keep it from happening, those that colour it
    /// (`act` sees them), those that spoil its reply. Logs it.
    pub(crate) fn under_faults(
        &self,
        platform: Platform,
        operation: &'static str,
        carries_members: bool,
        act: impl FnOnce(&Struck) -> Answer,
    ) -> Handled {
        let struck = Struck(locked(&self.faults).draw(platform, operation, carries_members));
        let (answer, ending) = match self.prevented(platform, &struck) {
            Some(prevented) => prevented,
            None => {
                let answer = act(&struck);
                let ending = struck.0.iter().find_map(|kind| match kind {
                    FaultKind::TimeoutApplied => Some(Ending::Hang),
                    FaultKind::ResetApplied => Some(Ending::Reset),
                    FaultKind::Truncate => Some(Ending::Truncate),
                    _ => None,
                });
                (answer, ending.unwrap_or(Ending::Normal))
            }
        };
        let status = if matches!(ending, Ending::Hang | Ending::Reset) { 0 } else { answer.reply.status };
        self.record(LogEntry {
            at: self.now(),
            platform,
            operation,
            status,
            members: answer.members,
            faults: struck.0.iter().map(FaultKind::word).collect(),
        });
        Handled { reply: answer.reply, ending }
    }

    /// The answer of a fault that keeps the request from happening, unless one that lets it happen comes before.
    fn prevented(&self, platform: Platform, struck: &Struck) -> Option<(Answer, Ending)> {
        for kind in &struck.0 {
            let (reply, ending) = match kind {
                FaultKind::TimeoutApplied | FaultKind::ResetApplied | FaultKind::Truncate => return None,
                FaultKind::Timeout => (Some(Reply::html(504)), Ending::Hang),
                FaultKind::Reset => (Some(Reply::html(502)), Ending::Reset),
                FaultKind::Html => (Some(Reply::html(502)), Ending::Normal),
                FaultKind::Empty => (Some(Reply::ok(&serde_json::json!({}))), Ending::Normal),
                FaultKind::SuccessFalse => (Some(Reply::ok(&serde_json::json!({"success": false}))), Ending::Normal),
                other => match platform {
                    Platform::Meta => (meta::fault_reply(self, other), Ending::Normal),
                    Platform::Google => (google::fault_reply(self, other), Ending::Normal),
                },
            };
            if let Some(reply) = reply {
                return Some((Answer::from(reply), ending));
            }
        }
        None
    }

    fn record(&self, entry: LogEntry) {
        tracing::debug!(
            platform = entry.platform.slug(),
            operation = entry.operation,
            status = entry.status,
            members = entry.members,
            "Answered sandbox request"
        );
        let mut log = locked(&self.log);
        let total = log.totals.entry(format!("{}.{}", entry.platform.slug(), entry.operation)).or_default();
        total.0 += 1;
        total.1 += entry.members as u64;
        if log.entries.len() == LOG_ENTRIES {
            log.entries.pop_front();
        }
        log.entries.push_back(entry);
    }
}

/// What is written to [`Settings::state`].
#[derive(Default, Serialize, Deserialize)]
struct Saved {
    /// Format of the file.
    version: u32,
    meta: meta::State,
    google: google::State,
}

impl Saved {
    fn read(path: &Path) -> Result<Self, Error> {
        let shown = path.display().to_string();
        let file = std::fs::File::open(path).map_err(|source| Error::Read { path: shown.clone(), source })?;
        let fault = |what: String| Error::State { path: shown.clone(), what };
        let saved: Saved = serde_json::from_reader(std::io::BufReader::new(file))
            // serde's message may quote a value of the file; the place is enough.
            .map_err(|e| fault(format!("line {} column {}", e.line(), e.column())))?;
        if saved.version != 1 {
            return Err(fault(format!("format {}", saved.version)));
        }
        Ok(saved)
    }
}

/// Programmatic access to the hidden state of the platforms. Cheap to clone; stays usable after the server stopped.
#[derive(Clone)]
pub struct World(pub(crate) Arc<Shared>);

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("now", &self.now()).finish_non_exhaustive()
    }
}

impl World {
    /// The platforms' current time.
    pub fn now(&self) -> DateTime<Utc> {
        self.0.now()
    }

    /// Moves the platforms' clock.
    pub fn set_time(&self, at: DateTime<Utc>) {
        self.0.settings.time.set(at);
    }

    /// Moves the platforms' clock by `step`.
    pub fn advance(&self, step: TimeDelta) {
        self.set_time(self.now() + step);
    }

    /// Every audience, Meta's first, by id.
    pub fn audiences(&self) -> Vec<AudienceInfo> {
        let mut all = meta::infos(&self.0);
        all.extend(google::infos(&self.0));
        all
    }

    /// The digests an audience holds, as sorted `kind:hex`; `None` without such an audience. Unhashed identifiers
    /// (external ids, device ids) show as the SHA-256 of their text, name and postcode as one `address`.
    pub fn held(&self, platform: Platform, audience: &str) -> Option<Vec<String>> {
        self.with_members(platform, audience, |m, _| m.list())
    }

    /// How many digests an audience holds.
    pub fn held_count(&self, platform: Platform, audience: &str) -> Option<usize> {
        self.with_members(platform, audience, |m, _| m.held())
    }

    /// How many persons the platform found behind an audience: the hidden truth.
    pub fn matched(&self, platform: Platform, audience: &str) -> Option<usize> {
        self.with_members(platform, audience, |m, _| m.matched())
    }

    /// Their indices in the synthetic data, sorted.
    pub fn matched_persons(&self, platform: Platform, audience: &str) -> Option<Vec<u32>> {
        self.with_members(platform, audience, |m, _| m.persons())
    }

    /// Persons lost although a digest of theirs is held, and persons still in the audience without one. Both stay zero
    /// while removals precede the additions they belong to and rows are removed with the identifiers they came with.
    pub fn drift(&self, platform: Platform, audience: &str) -> Option<(usize, usize)> {
        self.with_members(platform, audience, |m, people| m.drift(people))
    }

    fn with_members<T>(
        &self,
        platform: Platform,
        audience: &str,
        look: impl FnOnce(&crate::core::members::Members, &People) -> T,
    ) -> Option<T> {
        let people = self.0.people(platform);
        match platform {
            Platform::Meta => meta::with_members(&self.0, audience, |m| look(m, people)),
            Platform::Google => google::with_members(&self.0, audience, |m| look(m, people)),
        }
    }

    /// Requests seen of one operation (`users.add`), or of all whose name begins so (`users`); empty = every one.
    pub fn requests(&self, platform: Platform, operation: &str) -> u64 {
        let prefix = format!("{}.{operation}", platform.slug());
        let covers = |name: &str| operation.is_empty() || name == prefix || name.starts_with(&format!("{prefix}."));
        let log = locked(&self.0.log);
        log.totals.iter().filter(|(name, _)| name.starts_with(platform.slug()) && covers(name)).map(|(_, t)| t.0).sum()
    }

    /// Requests and members per `platform.operation`.
    pub fn totals(&self) -> BTreeMap<String, (u64, u64)> {
        locked(&self.0.log).totals.clone()
    }

    /// The latest requests, oldest first.
    pub fn log(&self) -> Vec<LogEntry> {
        locked(&self.0.log).entries.iter().cloned().collect()
    }

    /// Replaces every fault rule.
    pub fn set_faults(&self, faults: Faults) {
        locked(&self.0.faults).set(faults);
    }

    /// Adds one rule behind those in force.
    pub fn add_fault(&self, rule: FaultRule) {
        locked(&self.0.faults).add(rule);
    }

    /// The rules in force; counted ones show what is left.
    pub fn faults(&self) -> Faults {
        locked(&self.0.faults).rules().clone()
    }

    /// How the authorization servers behave.
    pub fn oauth(&self) -> OAuthBehaviour {
        self.0.oauth()
    }

    /// Changes how the authorization servers behave.
    pub fn set_oauth(&self, behaviour: OAuthBehaviour) {
        *locked(&self.0.oauth) = behaviour;
    }

    /// Withdraws what persons have granted, as they can on the platform's pages.
    pub fn revoke_grants(&self, platform: Platform) {
        match platform {
            Platform::Meta => meta::revoke_grants(&self.0),
            Platform::Google => google::revoke_grants(&self.0),
        }
    }

    /// Sets or lifts the integrity flag (Meta) or closes and reopens the list (Google); `false` without such an audience.
    pub fn flag(&self, platform: Platform, audience: &str, flagged: bool) -> bool {
        match platform {
            Platform::Meta => meta::flag(&self.0, audience, flagged),
            Platform::Google => google::flag(&self.0, audience, flagged),
        }
    }

    /// Forgets audiences, jobs, issued tokens, the request log and every fault rule; the clock stays.
    pub fn reset(&self) {
        *locked(&self.0.meta) = meta::State::default();
        *locked(&self.0.google) = google::State::default();
        *locked(&self.0.log) = Log::default();
        self.set_faults(Faults::NONE);
    }

    /// Writes audiences and members to [`Settings::state`]; does nothing without one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self) -> Result<(), Error> {
        let Some(path) = &self.0.settings.state else { return Ok(()) };
        let fault = |source| Error::Read { path: path.display().to_string(), source };
        let new = path.with_extension("new");
        {
            #[derive(Serialize)]
            struct Saving<'a> {
                version: u32,
                meta: &'a meta::State,
                google: &'a google::State,
            }
            let mut out = std::io::BufWriter::new(std::fs::File::create(&new).map_err(fault)?);
            let saving = Saving { version: 1, meta: &locked(&self.0.meta), google: &locked(&self.0.google) };
            serde_json::to_writer(&mut out, &saving).map_err(|e| fault(e.into()))?;
            let file = out.into_inner().map_err(|e| fault(e.into_error()))?;
            file.sync_all().map_err(fault)?;
        }
        std::fs::rename(&new, path).map_err(fault)
    }
}
