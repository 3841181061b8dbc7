//! Work that waits for a worker: syncs, status polls, refreshes, renewals. How it is taken is in [`super::claims`].

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::database::Tx;
use super::model::{RunKind, RunState};
use super::sql::{read_from_text, sql};
use super::{Store, StoreError, new_id};

macro_rules! columns {
    () => {
        "id, kind, audience, destination, run_id, payload, dedup_key, created_at, run_at, priority, state, attempts,
         lease_owner, lease_until, fence, finished_at, result, error"
    };
}
pub(super) use columns;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    Queued,
    Running,
    Done,
    Failed,
    Cancelled,
}

impl JobState {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
    fn from_name(name: &str) -> Option<Self> {
        [Self::Queued, Self::Running, Self::Done, Self::Failed, Self::Cancelled]
            .into_iter()
            .find(|state| state.name() == name)
    }
}

read_from_text!(JobState, "a job's state", JobState::from_name);

/// A piece of work.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Job {
    pub id: String,
    pub kind: String,
    pub audience: Option<String>,
    /// The one destination it is about; absent: all of the audience's.
    pub destination: Option<String>,
    /// The run it carries out. A job that only looks after a run (a status poll) names it in its payload.
    pub run_id: Option<String>,
    #[sqlx(try_from = "super::sql::Cell")]
    pub payload: Value,
    pub dedup_key: Option<String>,
    #[sqlx(try_from = "super::sql::Cell")]
    pub created_at: DateTime<Utc>,
    #[sqlx(try_from = "super::sql::Cell")]
    pub run_at: DateTime<Utc>,
    pub priority: i64,
    #[sqlx(try_from = "super::sql::Cell")]
    pub state: JobState,
    /// How often it was taken up, this time included.
    #[sqlx(try_from = "i64")]
    pub attempts: u32,
    pub lease_owner: Option<String>,
    #[sqlx(try_from = "super::sql::Cell")]
    pub lease_until: Option<DateTime<Utc>>,
    pub fence: i64,
    #[sqlx(try_from = "super::sql::Cell")]
    pub finished_at: Option<DateTime<Utc>>,
    #[sqlx(try_from = "super::sql::Cell")]
    pub result: Option<Value>,
    /// Why it failed, or failed last.
    pub error: Option<String>,
}

/// A run that a job will carry out, written together with it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRun {
    pub id: String,
    pub kind: RunKind,
    pub audience: String,
    pub as_of: DateTime<Utc>,
    pub requested_by: String,
    pub options: Value,
}

/// Work to put in the queue.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    pub kind: String,
    pub audience: Option<String>,
    /// The one destination it is about; absent: all of the audience's.
    pub destination: Option<String>,
    /// Destinations whose budget it uses, [`Self::destination`] always among them.
    pub uses: Vec<String>,
    pub run: Option<NewRun>,
    pub payload: Value,
    /// While a job of this key is open, another is not queued.
    pub dedup_key: Option<String>,
    pub run_at: DateTime<Utc>,
    /// Higher goes first; 0 is usual.
    pub priority: i64,
}

impl NewJob {
    /// Due at once, about nothing in particular.
    pub fn new(kind: &str, now: DateTime<Utc>) -> Self {
        Self {
            kind: kind.to_owned(),
            audience: None,
            destination: None,
            uses: Vec::new(),
            run: None,
            payload: Value::Object(serde_json::Map::new()),
            dedup_key: None,
            run_at: now,
            priority: 0,
        }
    }
}

/// What stands in the queue now.
#[derive(Debug, Clone, PartialEq)]
pub struct Enqueued {
    pub job: Job,
    /// Whether it is the new one; else an open job of the same key was there already.
    pub fresh: bool,
}

/// How much there is to do.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct QueueDepth {
    pub waiting: u64,
    /// Of those waiting, how many could start.
    pub due: u64,
    pub running: u64,
    /// Of those running, how many nobody has vouched for in time.
    pub expired: u64,
    pub oldest_due_at: Option<DateTime<Utc>>,
    /// When the next one that waits becomes due.
    pub next_due_at: Option<DateTime<Utc>>,
}

impl Store {
    /// Puts work in the queue, with its run, unless the same is there.
    ///
    /// # Errors
    /// The database's.
    pub async fn enqueue(&self, job: &NewJob, now: DateTime<Utc>) -> Result<Enqueued, StoreError> {
        let mut tx = self.begin().await?;
        let enqueued = self.enqueue_in(&mut tx, job, now).await?;
        tx.commit().await?;
        Ok(enqueued)
    }

    /// See [`Self::enqueue`]. Due times are compared with the clock that measures leases: what is due at once by the
    /// caller's is due at once by that one.
    pub(super) async fn enqueue_in(
        &self,
        tx: &mut Tx,
        job: &NewJob,
        now: DateTime<Utc>,
    ) -> Result<Enqueued, StoreError> {
        let ahead = self.lease_now(tx, now).await? - now;
        enqueue(tx, &NewJob { run_at: job.run_at + ahead, ..job.clone() }, now).await
    }

    /// # Errors
    /// The database's.
    pub async fn job(&self, id: &str) -> Result<Option<Job>, StoreError> {
        self.fetch_optional(sql(concat!("SELECT ", columns!(), " FROM job WHERE id = $1")).bind(id)).await
    }

    /// The job that carries out a run; the newest, should there have been several.
    ///
    /// # Errors
    /// The database's.
    pub async fn job_of_run(&self, run_id: &str) -> Result<Option<Job>, StoreError> {
        let query =
            concat!("SELECT ", columns!(), " FROM job WHERE run_id = $1 ORDER BY created_at DESC, id DESC LIMIT 1");
        self.fetch_optional(sql(query).bind(run_id)).await
    }

    /// What waits and what runs, in the order of its turn.
    ///
    /// # Errors
    /// The database's.
    pub async fn open_jobs(&self) -> Result<Vec<Job>, StoreError> {
        let query = concat!(
            "SELECT ",
            columns!(),
            " FROM job WHERE state IN ('queued', 'running') ORDER BY priority DESC, run_at, id"
        );
        self.fetch_all(sql(query)).await
    }

    /// # Errors
    /// The database's.
    pub async fn queue_depth(&self, now: DateTime<Utc>) -> Result<QueueDepth, StoreError> {
        let mut depth = QueueDepth::default();
        for job in self.open_jobs().await? {
            if job.state == JobState::Running {
                depth.running += 1;
                depth.expired += u64::from(job.lease_until.is_some_and(|until| until <= now));
                continue;
            }
            depth.waiting += 1;
            let moment = if job.run_at <= now {
                depth.due += 1;
                &mut depth.oldest_due_at
            } else {
                &mut depth.next_due_at
            };
            *moment = Some(moment.map_or(job.run_at, |known| known.min(job.run_at)));
        }
        Ok(depth)
    }

    /// Takes a waiting job out of the queue. One that carries out a run is cancelled through its run.
    ///
    /// # Errors
    /// The database's.
    pub async fn cancel_job(&self, id: &str, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let update = sql(
            "UPDATE job SET state = 'cancelled', finished_at = $2 WHERE id = $1 AND state = 'queued' AND run_id IS NULL",
        );
        Ok(self.execute(update.bind(id).bind(now)).await? > 0)
    }
}

async fn enqueue(tx: &mut Tx, new: &NewJob, now: DateTime<Utc>) -> Result<Enqueued, StoreError> {
    loop {
        if let Some(job) = insert(tx, new, now).await? {
            return Ok(Enqueued { job, fresh: true });
        }
        let open = concat!("SELECT ", columns!(), " FROM job WHERE dedup_key = $1 AND state IN ('queued', 'running')");
        if let Some(job) = tx.fetch_optional(sql(open).bind(&new.dedup_key)).await? {
            return Ok(Enqueued { job, fresh: false });
        }
        // The other one has ended between the two statements: there is room now.
    }
}

async fn insert(tx: &mut Tx, new: &NewJob, now: DateTime<Utc>) -> Result<Option<Job>, StoreError> {
    let id = new_id(now);
    let insert = sql(concat!(
        "INSERT INTO job (id, kind, audience, destination, payload, dedup_key, created_at, run_at, priority, state)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'queued')
         ON CONFLICT (dedup_key) WHERE state IN ('queued', 'running') DO NOTHING RETURNING ",
        columns!()
    ));
    let insert = insert.bind(&id).bind(&new.kind).bind(&new.audience).bind(&new.destination).bind(&new.payload);
    let insert = insert.bind(&new.dedup_key).bind(now).bind(new.run_at).bind(new.priority);
    let Some(mut job) = tx.fetch_optional::<Job>(insert).await? else { return Ok(None) };
    if let Some(run) = &new.run {
        insert_run(tx, run, now).await?;
        tx.execute(sql("UPDATE job SET run_id = $2 WHERE id = $1").bind(&id).bind(&run.id)).await?;
        job.run_id = Some(run.id.clone());
    }
    for destination in new.uses.iter().chain(&new.destination) {
        let insert = "INSERT INTO job_destination (job_id, destination) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        tx.execute(sql(insert).bind(&id).bind(destination)).await?;
    }
    Ok(Some(job))
}

async fn insert_run(tx: &mut Tx, run: &NewRun, now: DateTime<Utc>) -> Result<(), StoreError> {
    let insert = sql("INSERT INTO run (id, kind, audience, as_of, requested_at, requested_by, options, state, attempt)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0)");
    let insert = insert.bind(&run.id).bind(run.kind.name()).bind(&run.audience).bind(run.as_of).bind(now);
    let insert = insert.bind(&run.requested_by).bind(&run.options).bind(RunState::Queued.name());
    tx.execute(insert).await.map(drop)
}
