//! Every body runs on both databases: as a test of its own on SQLite, one after the other on one PostgreSQL server.

mod audit;
mod claims;
mod copy;
mod lists;
mod migration;
mod outage;
mod race;
mod rows;
mod schedules;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::Store;
use super::claims::{Claim, Limits};
use super::jobs::{NewJob, NewRun};
use super::model::RunKind;
use crate::config::StateConfig;
use crate::test_postgres::TestPostgres;

/// An empty database.
struct Bench {
    dir: tempfile::TempDir,
    url: Option<String>,
}

impl Bench {
    fn sqlite() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary folder"), url: None }
    }

    async fn postgres(server: &TestPostgres, name: &str) -> Self {
        let admin = Self { url: Some(server.uri()), ..Self::sqlite() };
        let database =
            super::Database::postgres(server.uri().parse().expect("an address"), 1, std::time::Duration::from_secs(30));
        database.execute_script(format!("CREATE DATABASE {name}")).await;
        database.close().await;
        Self { url: Some(server.uri().replace("/postgres?", &format!("/{name}?"))), ..admin }
    }

    /// Another replica, or another process, on the same state; leases by the clock of the test.
    async fn store(&self) -> Store {
        self.on_its_own_clock().await.on_caller_clock()
    }

    async fn configured(&self, config: StateConfig) -> Store {
        let config = StateConfig { url: self.url.clone().map(Into::into), ..config };
        Store::connect(&config, self.dir.path()).await.expect("the state opens")
    }

    async fn on_its_own_clock(&self) -> Store {
        self.configured(StateConfig::default()).await
    }
}

impl super::Database {
    /// Outside a transaction, as some statements must be.
    async fn execute_script(&self, text: String) {
        let super::database::Pools::Postgres(pool) = &self.pools else { panic!("only PostgreSQL has databases") };
        sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(pool).await.expect("the statement is right");
    }
}

impl Store {
    /// What somebody with the database's password could do.
    async fn tamper(&self, sql: &str) -> Result<(), super::StoreError> {
        let mut tx = self.begin().await?;
        tx.script(sql.to_owned()).await?;
        tx.commit().await
    }
}

macro_rules! on_both {
    ($($module:ident::$body:ident,)*) => {
        mod on_sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $body() {
                    super::$module::$body(&super::Bench::sqlite()).await;
                }
            )*
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn on_postgres() {
            let Some(server) = TestPostgres::start() else { return };
            $(
                println!("{}", stringify!($body));
                $module::$body(&Bench::postgres(&server, stringify!($body)).await).await;
            )*
        }
    };
}

on_both! {
    claims::a_run_goes_through_the_queue,
    claims::the_same_work_is_queued_once,
    claims::one_job_per_audience_and_pair,
    claims::taken_at_once_or_not_at_all,
    claims::limits_hold_over_all_replicas,
    claims::turns_go_by_priority_then_time,
    claims::a_dead_workers_job_goes_to_another,
    claims::a_slow_worker_may_not_write_any_more,
    claims::giving_back_keeps_the_run,
    claims::cancelling_depends_on_how_far_it_is,
    race::every_job_is_done_once,
    schedules::racing_schedulers_fire_each_time_once,
    schedules::paused_means_not_fired,
    schedules::plans_are_made_against_what_was_read,
    audit::entries_chain_whoever_writes,
    audit::the_hash_is_the_documented_one,
    audit::the_database_refuses_changes,
    audit::tampering_is_found_and_named,
    lists::pages_stay_where_they_are_while_runs_come,
    lists::runs_are_filtered,
    lists::pending_runs_are_done_when_all_verdicts_are_there,
    lists::readings_are_filtered_and_paged,
    rows::saving_a_run_keeps_what_others_wrote,
    rows::tokens_come_back_as_they_were,
    rows::secrets_change_only_over_what_was_read,
    rows::forgetting_suppresses_at_once,
    rows::a_request_sent_twice_is_carried_out_once,
    rows::one_replica_tells_about_an_alert,
    rows::old_work_is_pruned,
    rows::flights_and_health_are_replaced,
    rows::experiments_are_replaced,
}

fn at(minutes: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_770_000_000, 123_456_000).expect("in range") + TimeDelta::minutes(minutes)
}

const LEASE: TimeDelta = TimeDelta::minutes(5);

fn run(id: &str, audience: &str) -> NewRun {
    NewRun {
        id: id.to_owned(),
        kind: RunKind::Sync,
        audience: audience.to_owned(),
        as_of: at(0),
        requested_by: "airflow".to_owned(),
        options: json!({ "allow": ["shrink"] }),
    }
}

/// A sync of all of an audience's destinations.
fn sync(audience: &str, run_id: &str) -> NewJob {
    NewJob { audience: Some(audience.to_owned()), run: Some(run(run_id, audience)), ..NewJob::new("sync", at(0)) }
}

/// Something about one destination.
fn poll(audience: Option<&str>, destination: &str) -> NewJob {
    NewJob {
        audience: audience.map(str::to_owned),
        destination: Some(destination.to_owned()),
        ..NewJob::new("status", at(0))
    }
}

async fn claimed(store: &Store, owner: &str, minutes: i64) -> Option<Claim> {
    store.claim(owner, LEASE, at(minutes), &Limits::default()).await.expect("the database answers")
}
