//! Who works on what: a job is claimed for a while, kept by heartbeats, and given back or finished.
//!
//! A worker that is killed, cut off or asleep stops its heartbeats; once its lease has run out another takes the job
//! with a higher `fence`. Everything the first one still tries to write under the old fence is refused, so it does not
//! matter whether it is really dead.
//!
//! Whose clock: on PostgreSQL the server's, for due times and leases alike, since replicas' clocks differ and a fast
//! one would take jobs from the living. On SQLite all workers are on one machine and the caller's `now` is used. A clock
//! that is set back makes the leases of the dead look endless: none is longer than [`LONGEST_LEASE`], so one that seems
//! to be has run out too.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::database::Tx;
use super::jobs::{Job, JobState, NewJob, columns};
use super::sql::{Cell, sql, sql_for};
use super::{Store, StoreError};

/// How much may run at the same time, over all replicas.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Jobs that carry out a run.
    pub max_runs: u32,
    /// Jobs that use a destination, unless it is in `destinations`.
    pub per_destination: u32,
    pub destinations: BTreeMap<String, u32>,
}

impl Default for Limits {
    /// No more than what is always so: one at a time per audience.
    fn default() -> Self {
        Self { max_runs: u32::MAX, per_destination: u32::MAX, destinations: BTreeMap::new() }
    }
}

/// A job that is this worker's until its lease runs out.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    pub job: Job,
}

impl Claim {
    pub fn fence(&self) -> Fence {
        Fence { job: self.job.id.clone(), fence: self.job.fence }
    }
}

/// The right to write in the name of a job; see [`Store::fenced`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    job: String,
    fence: i64,
}

impl Fence {
    /// Fails unless the job is still held under this fence, and keeps it so until `tx` ends.
    pub(super) async fn hold(&self, tx: &mut Tx) -> Result<(), StoreError> {
        const HELD: &str = "SELECT id FROM job WHERE id = $1 AND fence = $2 AND state = 'running'";
        const LOCKED: &str = "SELECT id FROM job WHERE id = $1 AND fence = $2 AND state = 'running' FOR SHARE";
        let held: Option<(String,)> = tx.fetch_optional(sql_for(HELD, LOCKED).bind(&self.job).bind(self.fence)).await?;
        held.map(drop).ok_or_else(|| StoreError::LeaseLost { job: self.job.clone() })
    }
}

/// What came of asking for something now or not at all.
#[derive(Debug, Clone, PartialEq)]
pub enum Taken {
    Claim(Box<Claim>),
    /// Nothing was queued. The job that has the audience; `None` when a destination takes no more runs.
    Refused(Option<Box<Job>>),
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq)]
pub enum JobEnd {
    Done(Value),
    Failed(String),
    Cancelled,
}

/// Longer ones are cut to this.
pub const LONGEST_LEASE: TimeDelta = TimeDelta::hours(1);

/// Among these a claimer looks at a time; budgets are checked here, everything else in SQL.
const CANDIDATES: i64 = 50;

macro_rules! claimable {
    () => {
        "((state = 'queued' AND run_at <= $1) OR (state = 'running' AND (lease_until <= $1 OR lease_until > $2)))"
    };
}

impl Store {
    /// Takes the next job whose turn it is and which the limits allow, if any.
    ///
    /// `owner` names the worker for people. `lease` should outlast several heartbeats.
    ///
    /// # Errors
    /// The database's.
    pub async fn claim(
        &self,
        owner: &str,
        lease: TimeDelta,
        now: DateTime<Utc>,
        limits: &Limits,
    ) -> Result<Option<Claim>, StoreError> {
        self.claim_among(None, owner, lease, now, limits).await
    }

    /// Lets a job that waits for its time start now. False: it runs or has ended.
    ///
    /// # Errors
    /// The database's.
    pub async fn bring_forward(&self, job_id: &str, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let update = sql("UPDATE job SET run_at = $2 WHERE id = $1 AND state = 'queued' AND run_at > $2");
        Ok(self.execute(update.bind(job_id).bind(now)).await? > 0)
    }

    /// Takes this very job, by the same rules.
    ///
    /// # Errors
    /// The database's.
    pub async fn claim_job(
        &self,
        job_id: &str,
        owner: &str,
        lease: TimeDelta,
        now: DateTime<Utc>,
        limits: &Limits,
    ) -> Result<Option<Claim>, StoreError> {
        self.claim_among(Some(job_id), owner, lease, now, limits).await
    }

    /// Queues a job and takes it in one step, by the same rules: no worker sees it in between, and what is refused
    /// leaves nothing behind.
    ///
    /// # Errors
    /// The database's.
    pub async fn take_now(
        &self,
        job: &NewJob,
        owner: &str,
        lease: TimeDelta,
        now: DateTime<Utc>,
        limits: &Limits,
    ) -> Result<Taken, StoreError> {
        let mut tx = self.begin_claiming().await?;
        let queued = self.enqueue_in(&mut tx, job, now).await?.job;
        match self.claim_in(&mut tx, Some(&queued.id), owner, lease, now, limits).await? {
            Some(claim) => {
                tx.commit().await?;
                Ok(Taken::Claim(Box::new(claim)))
            }
            // Without a commit the job was never there.
            None => Ok(Taken::Refused(holder(&mut tx, &queued).await?.map(Box::new))),
        }
    }

    async fn claim_among(
        &self,
        only: Option<&str>,
        owner: &str,
        lease: TimeDelta,
        now: DateTime<Utc>,
        limits: &Limits,
    ) -> Result<Option<Claim>, StoreError> {
        let mut tx = self.begin_claiming().await?;
        let Some(claim) = self.claim_in(&mut tx, only, owner, lease, now, limits).await? else { return Ok(None) };
        tx.commit().await?;
        Ok(Some(claim))
    }

    async fn begin_claiming(&self) -> Result<Tx, StoreError> {
        let mut tx = self.begin().await?;
        if tx.is_postgres() {
            // Whether a job may start depends on all that run, so claims go one after the other; each takes a
            // millisecond. SQLite has one writer anyway.
            tx.execute(sql("SELECT pg_advisory_xact_lock(7311145621002)")).await?;
        }
        Ok(tx)
    }

    async fn claim_in(
        &self,
        tx: &mut Tx,
        only: Option<&str>,
        owner: &str,
        lease: TimeDelta,
        now: DateTime<Utc>,
        limits: &Limits,
    ) -> Result<Option<Claim>, StoreError> {
        let now = self.lease_now(tx, now).await?;
        let Some(job) = first_allowed(tx, only, now, limits).await? else { return Ok(None) };
        let Some(job) = take(tx, &job, owner, now, now + lease.min(LONGEST_LEASE)).await? else { return Ok(None) };
        if let Some(run) = &job.run_id {
            let running = sql("UPDATE run SET state = 'running', started_at = COALESCE(started_at, $2), attempt = $3
                 WHERE id = $1 AND state IN ('queued', 'running')");
            tx.execute(running.bind(run).bind(now).bind(job.attempts)).await?;
        }
        Ok(Some(Claim { job }))
    }

    /// Keeps the job for another `lease`. False: it is lost, stop at once.
    ///
    /// # Errors
    /// The database's; the job is this worker's until its lease runs out all the same.
    pub async fn heartbeat(&self, claim: &Claim, lease: TimeDelta, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let now = self.lease_now(&mut tx, now).await?;
        let update = sql("UPDATE job SET lease_until = $3 WHERE id = $1 AND fence = $2 AND state = 'running'");
        let held =
            tx.execute(update.bind(&claim.job.id).bind(claim.job.fence).bind(now + lease.min(LONGEST_LEASE))).await?
                > 0;
        tx.commit().await?;
        Ok(held)
    }

    /// Ends the job. False: it was lost, and nothing is changed.
    ///
    /// # Errors
    /// The database's.
    pub async fn finish(&self, claim: &Claim, end: &JobEnd, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let (state, result, error) = match end {
            JobEnd::Done(result) => (JobState::Done, Some(result), None),
            JobEnd::Failed(error) => (JobState::Failed, None, Some(error.as_str())),
            JobEnd::Cancelled => (JobState::Cancelled, None, None),
        };
        let update = sql(
            "UPDATE job SET state = $3, finished_at = $4, result = $5, error = $6, lease_owner = NULL, lease_until = NULL
             WHERE id = $1 AND fence = $2 AND state = 'running'",
        );
        let update = update.bind(&claim.job.id).bind(claim.job.fence).bind(state.name()).bind(now);
        Ok(self.execute(update.bind(result).bind(error)).await? > 0)
    }

    /// Ends a lease before its time, because its worker is known to be dead. False: it was not as `job` says any more.
    ///
    /// # Errors
    /// The database's.
    pub async fn end_lease(&self, job: &Job, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let update = sql("UPDATE job SET lease_until = $3 WHERE id = $1 AND fence = $2 AND state = 'running'");
        Ok(self.execute(update.bind(&job.id).bind(job.fence).bind(now)).await? > 0)
    }

    /// Gives the job back, to be taken again from `run_at` on. With an error it counts as a failed attempt; without
    /// (a worker that shuts down) the attempt does not count. False: it was lost, and nothing is changed.
    ///
    /// # Errors
    /// The database's.
    pub async fn release(&self, claim: &Claim, run_at: DateTime<Utc>, error: Option<&str>) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let update =
            sql("UPDATE job SET state = 'queued', run_at = $3, error = COALESCE($4, error), attempts = attempts - $5,
                            lease_owner = NULL, lease_until = NULL
             WHERE id = $1 AND fence = $2 AND state = 'running'");
        let update = update.bind(&claim.job.id).bind(claim.job.fence).bind(run_at).bind(error);
        let held = tx.execute(update.bind(i64::from(error.is_none()))).await? > 0;
        if let (true, Some(run)) = (held, &claim.job.run_id) {
            tx.execute(sql("UPDATE run SET state = 'queued' WHERE id = $1 AND state = 'running'").bind(run)).await?;
        }
        tx.commit().await?;
        Ok(held)
    }

    /// The time leases are measured with; see the module.
    pub(super) async fn lease_now(&self, tx: &mut Tx, caller: DateTime<Utc>) -> Result<DateTime<Utc>, StoreError> {
        if !self.server_clock {
            return Ok(caller);
        }
        let (at,): (Cell,) = tx
            .fetch_one(sql("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"))
            .await?;
        at.read().map_err(|_| StoreError::Malformed { what: "the server's time".to_owned() })
    }
}

/// The running job of the audience that keeps this one from starting.
async fn holder(tx: &mut Tx, job: &Job) -> Result<Option<Job>, StoreError> {
    let query = sql(concat!(
        "SELECT ",
        columns!(),
        " FROM job WHERE state = 'running' AND id <> $1 AND audience = $2
          AND (destination IS NULL OR $3 IS NULL OR destination = $3) ORDER BY id LIMIT 1"
    ));
    tx.fetch_optional(query.bind(&job.id).bind(&job.audience).bind(&job.destination)).await
}

async fn first_allowed(
    tx: &mut Tx,
    only: Option<&str>,
    now: DateTime<Utc>,
    limits: &Limits,
) -> Result<Option<Job>, StoreError> {
    let mut seen = 0;
    loop {
        let query = sql(concat!(
            "SELECT ",
            columns!(),
            " FROM job WHERE ",
            claimable!(),
            " AND ($3 IS NULL OR id = $3)
              AND NOT EXISTS (SELECT 1 FROM job other WHERE other.state = 'running' AND other.id <> job.id AND
                (other.audience = job.audience
                   AND (other.destination IS NULL OR job.destination IS NULL OR other.destination = job.destination)
                 OR other.audience IS NULL AND job.audience IS NULL AND other.destination = job.destination))
              AND (run_id IS NULL OR $4 > (SELECT COUNT(*) FROM job other
                WHERE other.state = 'running' AND other.run_id IS NOT NULL AND other.id <> job.id))
              ORDER BY priority DESC, run_at, id LIMIT $5 OFFSET $6"
        ));
        let query =
            query.bind(now).bind(now + LONGEST_LEASE).bind(only).bind(limits.max_runs).bind(CANDIDATES).bind(seen);
        let candidates: Vec<Job> = tx.fetch_all(query).await?;
        let last = candidates.len() < 50;
        for job in candidates {
            if within_budgets(tx, &job, limits).await? {
                return Ok(Some(job));
            }
        }
        if last {
            return Ok(None);
        }
        seen += CANDIDATES;
    }
}

async fn within_budgets(tx: &mut Tx, job: &Job, limits: &Limits) -> Result<bool, StoreError> {
    if limits.per_destination == u32::MAX && limits.destinations.is_empty() {
        return Ok(true);
    }
    let used = sql("SELECT mine.destination, COUNT(other.id) FROM job_destination mine
         LEFT JOIN job_destination theirs ON theirs.destination = mine.destination AND theirs.job_id <> mine.job_id
         LEFT JOIN job other ON other.id = theirs.job_id AND other.state = 'running'
         WHERE mine.job_id = $1 GROUP BY mine.destination");
    let used: Vec<(String, i64)> = tx.fetch_all(used.bind(&job.id)).await?;
    Ok(used.iter().all(|(destination, running)| {
        let budget = limits.destinations.get(destination).copied().unwrap_or(limits.per_destination);
        *running < i64::from(budget)
    }))
}

/// Makes the job this owner's, unless somebody has changed it since it was looked at.
async fn take(
    tx: &mut Tx,
    job: &Job,
    owner: &str,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Option<Job>, StoreError> {
    macro_rules! update {
        ($lock:literal) => {
            concat!(
                "UPDATE job SET state = 'running', lease_owner = $4, lease_until = $5, fence = fence + 1,
                                attempts = attempts + 1
                 WHERE id = (SELECT id FROM job WHERE id = $3 AND ",
                claimable!(),
                $lock,
                ") RETURNING ",
                columns!()
            )
        };
    }
    // Heartbeats, ends and cancellations do not queue behind claims: a row that one of them holds is left for the
    // next round instead of being waited for.
    let update = sql_for(update!(""), update!(" FOR UPDATE SKIP LOCKED"));
    tx.fetch_optional(update.bind(now).bind(now + LONGEST_LEASE).bind(&job.id).bind(owner).bind(until)).await
}
