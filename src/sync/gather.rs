//! From the warehouse's rows to the members each destination should have: eligibility, identity, preparation.
//!
//! All customers are read, not only the inactive ones: an address that an active or refusing customer also holds
//! must not be uploaded for somebody else, and a holdout keeps whole households back. Raw identifiers live inside
//! one call of [`Gatherer::batch`]; what leaves it is digests.

use std::collections::HashSet;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

use arrow_array::RecordBatch;
use reveil_sdk::identifier::{CanonicalPerson, Canonicaliser, IdentifierTable, Preparer, Slot};
use reveil_sdk::{IdentifierKind, MemberBuf, MemberKey};

use super::control::RunControl;
use super::eligibility::{Excluded, Rules};
use super::error::SyncError;
use super::funnel::Funnel;
use super::member_key::member_key;
use super::progress::Progress;
use super::row::{Cells, FactTexts, RowReader, State};
use crate::config::{Config, PrepareConfig};
use crate::erasure::Suppression;
use crate::identity::{Arm, Holdout, HoldoutBuilder, Identity, IdentityBuilder, Role};
use crate::ledger::{Target, TargetRow, TargetWriter, consent};
use crate::report::identifiers::IdentifierCounter;
use crate::warehouse::BatchStream;

/// What one destination wants.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    pub name: &'a str,
    pub table: &'static IdentifierTable,
    pub kinds: &'a [IdentifierKind],
}

/// How customers are recognised.
#[derive(Debug, Clone, Copy)]
pub struct Recognition<'a> {
    /// The secret that makes member keys.
    pub member_key: &'a [u8; 32],
    /// Who asked to be forgotten.
    pub suppression: &'a Suppression,
}

/// One destination's prepared members.
#[derive(Debug)]
pub struct Prepared {
    pub name: String,
    pub target: Target,
    /// Left out because this platform takes none of their identifiers.
    pub no_identifier: u64,
}

/// The audience as it should be, before it is compared with the ledgers.
#[derive(Debug)]
pub struct Gathered {
    pub funnel: Funnel,
    pub destinations: Vec<Prepared>,
    pub identity: Identity,
    /// `None` when nobody is withheld.
    pub holdout: Option<Holdout>,
    pub identifiers: IdentifierCounter,
    /// Customers who asked to be forgotten, by whatever they hold. Few enough for memory.
    pub forgotten: HashSet<MemberKey>,
}

struct PerDestination {
    name: String,
    preparer: Preparer,
    writer: TargetWriter,
    no_identifier: u64,
}

/// Takes batches one after another.
pub struct Gatherer<'a> {
    rules: Rules<'a>,
    member_key: &'a [u8; 32],
    canonicaliser: Canonicaliser,
    destinations: Vec<PerDestination>,
    suppression: &'a Suppression,
    identity: IdentityBuilder,
    /// Salts and shares of the holdouts.
    arms: Vec<Arm>,
    ids: IdSpool,
    temp: &'a Path,
    funnel: Funnel,
    identifier_counter: IdentifierCounter,
    forgotten: HashSet<MemberKey>,
    index: u32,
    // Reused from row to row.
    person: CanonicalPerson,
    members: MemberBuf,
    cells: Cells,
    texts: FactTexts,
    id: String,
}

impl std::fmt::Debug for Gatherer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gatherer").field("rows", &self.index).finish_non_exhaustive()
    }
}

impl<'a> Gatherer<'a> {
    /// `arms` say who is withheld, see [`arms`]. `temp` takes files of digests that are gone when the result is
    /// dropped. `expected_rows` need not be exact.
    ///
    /// # Errors
    /// When the temporary files cannot be made.
    pub fn new(
        rules: Rules<'a>,
        prepare: &PrepareConfig,
        arms: Vec<Arm>,
        wanted: &[Wanted<'_>],
        recognition: Recognition<'a>,
        temp: &'a Path,
        expected_rows: u64,
    ) -> Result<Self, SyncError> {
        let options = prepare.normalization();
        let destinations = wanted
            .iter()
            .map(|wanted| {
                Ok(PerDestination {
                    name: wanted.name.to_owned(),
                    preparer: Preparer::new(wanted.table, &options, wanted.kinds),
                    writer: TargetWriter::create(temp, expected_rows)?,
                    no_identifier: 0,
                })
            })
            .collect::<Result<_, SyncError>>()?;
        Ok(Self {
            rules,
            member_key: recognition.member_key,
            canonicaliser: Canonicaliser::new(&options),
            destinations,
            suppression: recognition.suppression,
            identity: IdentityBuilder::create(temp, prepare.shared_above)?,
            arms,
            ids: IdSpool::create(temp)?,
            temp,
            funnel: Funnel::default(),
            identifier_counter: IdentifierCounter::default(),
            forgotten: HashSet::new(),
            index: 0,
            person: CanonicalPerson::new(),
            members: MemberBuf::new(),
            cells: Cells::default(),
            texts: FactTexts::default(),
            id: String::new(),
        })
    }

    /// # Errors
    /// When a temporary file cannot be written.
    pub fn batch(&mut self, batch: &RecordBatch) -> Result<(), SyncError> {
        let Some(reader) = RowReader::new(batch) else {
            return Err(SyncError::Protocol("the segment query returned no column customer_id"));
        };
        for row in 0..reader.rows() {
            self.row(&reader, row)?;
        }
        Ok(())
    }

    fn row(&mut self, reader: &RowReader<'_>, row: usize) -> Result<(), SyncError> {
        let Some(id) = reader.id(row, &mut self.id) else {
            self.funnel.guests += 1;
            return Ok(());
        };
        let key = member_key(self.member_key, id);
        if !self.arms.is_empty() {
            self.ids.push(id)?;
        }
        let index = self.index;
        self.index += 1;
        self.funnel.customers += 1;
        let state = reader.state(row);
        match state {
            State::Inactive => self.funnel.inactive += 1,
            State::Active => self.funnel.active += 1,
            State::Unknown => self.funnel.unknown += 1,
        }
        let mut facts = reader.facts(row, &mut self.texts);
        let (person, canonicaliser) = (&mut self.person, &mut self.canonicaliser);
        if !self.suppression.is_empty() {
            // By everything they hold: who asked to be forgotten may return under another id.
            reader.with_person(row, false, &mut self.cells, |raw| canonicaliser.person(raw, person));
            if self.suppression.covers(key, person) {
                facts.erasure = true;
                self.forgotten.insert(key);
            }
        }
        let judged = self.rules.judge(&facts);
        let role = match (state, &judged) {
            (_, Err(Excluded { refused: true, .. })) => Role::Refused,
            (State::Inactive, Ok(_)) => Role::Target,
            (State::Active, _) => Role::Active,
            (State::Inactive | State::Unknown, _) => Role::Other,
        };
        let drop_first_email = matches!(&judged, Ok(eligible) if eligible.drop_first_email);
        if drop_first_email || self.suppression.is_empty() {
            reader.with_person(row, drop_first_email, &mut self.cells, |raw| canonicaliser.person(raw, person));
        }
        let digests = self.person.identity_digests().map(|(slot, digest)| (u8::from(slot), digest));
        self.identity.push(index, key, role, digests)?;
        let eligible = match (state, judged) {
            (State::Inactive, Ok(eligible)) => eligible,
            (State::Inactive, Err(excluded)) => {
                self.funnel.excluded.add(excluded.reason, 1);
                return Ok(());
            }
            (State::Active | State::Unknown, _) => return Ok(()),
        };
        self.funnel.eligible += 1;
        self.count_identifiers();
        for destination in &mut self.destinations {
            self.members.clear();
            let mut prepared = destination.preparer.prepare(&self.person, key, &mut self.members);
            if let Some(member) = self.members.last().filter(|_| prepared.identifiers > 0) {
                // Shared with somebody who was erased.
                let linked = self.suppression.linked_slots(member, prepared);
                if !linked.is_empty() {
                    linked.into_iter().for_each(|slot| self.person.drop_slot(slot));
                    self.members.clear();
                    prepared = destination.preparer.prepare(&self.person, key, &mut self.members);
                }
            }
            if prepared.identifiers == 0 {
                destination.no_identifier += 1;
                continue;
            }
            let member = self.members.last().expect("a member with identifiers was written");
            destination.writer.push(&TargetRow {
                index,
                group: consent::group(eligible.consent),
                email_slots: prepared.email_slots,
                phone_slots: prepared.phone_slots,
                member,
            })?;
        }
        Ok(())
    }

    fn count_identifiers(&mut self) {
        self.identifier_counter.person(&self.person);
        let mut usable = [0_u64; 2];
        for (slot, _) in self.person.identity_digests() {
            usable[usize::from(matches!(slot, Slot::Phone(_)))] += 1;
        }
        for (kind, count) in [(IdentifierKind::Email, usable[0]), (IdentifierKind::Phone, usable[1])] {
            self.funnel.identifiers.entry(kind.name()).or_default().usable += count;
        }
        for (kind, reason) in self.person.rejections() {
            let counts = self.funnel.identifiers.entry(kind.name()).or_default();
            match counts.defects.get_mut(reason.code()) {
                Some(count) => *count += 1,
                None => {
                    counts.defects.insert(reason.code().to_owned(), 1);
                }
            }
        }
    }

    /// # Errors
    /// When a temporary file cannot be written or read.
    pub fn finish(mut self) -> Result<Gathered, SyncError> {
        let identity = self.identity.finish()?;
        let holdout = if self.arms.is_empty() {
            None
        } else {
            // A unit is withheld by its smallest customer id, which is only known now.
            let mut builder = HoldoutBuilder::create(&identity, self.temp, self.arms)?.with_unit_keys(self.member_key);
            self.ids.read(|index, id| builder.push(index, id))?;
            Some(builder.finish()?)
        };
        let counts = identity.counts();
        self.funnel.units = counts.units;
        self.funnel.shared_units = counts.multi_customer_units;
        let destinations = self
            .destinations
            .into_iter()
            .map(|destination| {
                Ok(Prepared {
                    name: destination.name,
                    target: destination.writer.finish()?,
                    no_identifier: destination.no_identifier,
                })
            })
            .collect::<Result<_, SyncError>>()?;
        Ok(Gathered {
            funnel: self.funnel,
            destinations,
            identity,
            holdout,
            identifiers: self.identifier_counter,
            forgotten: self.forgotten,
        })
    }
}

/// The draws that withhold people from an audience: the universal one first, then the audience's own. Empty when
/// nobody is withheld.
///
/// # Errors
/// There is no such audience.
pub fn arms(config: &Config, audience_key: &str) -> anyhow::Result<Vec<Arm>> {
    let audience = config.audience(audience_key)?;
    let own = audience.experiment.as_deref().unwrap_or(audience_key);
    let all = [(config.holdout.salt.as_str(), config.holdout.share), (own, audience.holdout)];
    let drawn = all.into_iter().filter(|(_, share)| share.0 > 0);
    Ok(drawn.map(|(salt, share)| Arm { salt: salt.to_owned(), holdout_bps: share.0 }).collect())
}

/// Reads the whole segment.
///
/// # Errors
/// The warehouse's, or a temporary file's.
pub async fn gather(
    mut gatherer: Gatherer<'_>,
    mut batches: BatchStream,
    control: &dyn RunControl,
    progress: &dyn Progress,
) -> Result<Gathered, SyncError> {
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        control.check()?;
        tokio::task::block_in_place(|| gatherer.batch(&batch))?;
        progress.rows(gatherer.funnel.customers);
    }
    tokio::task::block_in_place(|| gatherer.finish())
}

/// Customer ids in row order, on disk until the units are known. The file has no name and goes with the run.
struct IdSpool {
    file: std::io::BufWriter<std::fs::File>,
}

impl IdSpool {
    fn create(dir: &Path) -> std::io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = dir.join("ids");
        let file =
            std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        std::fs::remove_file(&path)?;
        Ok(Self { file: std::io::BufWriter::with_capacity(1 << 16, file) })
    }
    fn push(&mut self, id: &str) -> std::io::Result<()> {
        let length = u32::try_from(id.len()).map_err(std::io::Error::other)?;
        self.file.write_all(&length.to_le_bytes())?;
        self.file.write_all(id.as_bytes())
    }
    fn read(self, mut each: impl FnMut(u32, &str) -> std::io::Result<()>) -> std::io::Result<()> {
        let mut file = self.file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        file.rewind()?;
        let mut file = std::io::BufReader::with_capacity(1 << 16, file);
        let (mut length, mut id) = ([0; 4], Vec::new());
        for index in 0.. {
            match file.read_exact(&mut length) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error),
            }
            id.resize(u32::from_le_bytes(length) as usize, 0);
            file.read_exact(&mut id)?;
            each(index, std::str::from_utf8(&id).map_err(std::io::Error::other)?)?;
        }
        Ok(())
    }
}
