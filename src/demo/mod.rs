//! The demonstration: the whole line on made-up people with real purchase histories, against the sandbox, on a clock
//! that jumps. It uses the same engine, config loader and connectors as everybody else.
//!
//! - [`shop`]: the warehouse, an SQLite file. - [`settings`]: the `reveil.toml` of it.
//! - [`report`]: what the demonstration found, as one value.

pub mod report;
pub mod settings;
pub mod shop;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use reveil_sandbox::{Platform, Sandbox, Settings, Time, World};
use reveil_sdk::Clock;
use reveil_synth::{Histories, People};

use crate::clock::VirtualClock;
use crate::config::{self, Sources};
use crate::ledger::Ledgers;
use crate::report::projection::Known;
use crate::roi::{Distribution, Field, Inputs, Projection, project};
use crate::store::Store;
use crate::sync::preview::Show;
use crate::sync::{AudiencePlan, Engine, Progress, Selection, SyncOptions, SyncReport, Unstoppable};

use report::{DemoReport, DestinationPart, RefreshPart};

/// What to show it with.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    pub customers: u64,
    pub seed: u64,
    /// The day of the first sync; the second is a week later.
    pub as_of: NaiveDate,
    /// Takes warehouse, config and state.
    pub dir: PathBuf,
    /// Written into the config for going on by hand.
    pub sandbox_port: u16,
}

/// The demo's only audience.
pub const AUDIENCE: &str = "dormant";
/// Mornings, when audiences are refreshed.
const HOUR: u32 = 5;

/// Both sides of the demonstration share one clock.
struct SharedTime(VirtualClock);

impl Time for SharedTime {
    fn now(&self) -> DateTime<Utc> {
        self.0.now()
    }
    fn set(&self, at: DateTime<Utc>) {
        self.0.set(at);
    }
}

/// Runs all of it.
///
/// # Errors
/// The directory cannot be written, the loopback port is taken, or anything the engine can say.
pub async fn run(options: &DemoOptions, progress: &dyn Progress) -> anyhow::Result<DemoReport> {
    let as_of = at_hour(options.as_of);
    let next_week = options.as_of + chrono::Days::new(7);
    let clock = VirtualClock::new(as_of);
    progress.stage(&format!("Making {} people with real purchase histories", options.customers));
    let (build, histories) = {
        let options = options.clone();
        tokio::task::spawn_blocking(move || build_shop(&options, next_week)).await??
    };
    let sandbox = Sandbox::start(
        ([127, 0, 0, 1], 0).into(),
        Settings {
            accounts: Some(options.dir.join("accounts.csv")),
            contacts: Some(options.dir.join("contacts.csv")),
            time: Arc::new(SharedTime(clock.clone())),
            seed: options.seed,
            state: Some(options.dir.join("sandbox.json")),
            ..Settings::default()
        },
    )
    .await?;
    let engine = engine(options, &sandbox, &clock).await?;
    let world = sandbox.world();
    let selection =
        Selection { audience: AUDIENCE.to_owned(), as_of: midnight(options.as_of), destinations: Vec::new() };
    let plan = engine.plan(&selection, Show { samples: 2, requests: 0 }, progress).await?;
    let first = sync(&engine, &selection, &clock, progress).await?;
    let destinations = observed(&engine, &world, &first).await?;
    progress.stage("Projecting");
    let projections = projections(&engine, options, &first, &destinations).await?;

    progress.stage("A week later");
    clock.set(clock.now().max(at_hour(next_week)));
    let news = {
        let (dir, seed, customers) = (options.dir.clone(), options.seed, options.customers);
        let from = midnight(options.as_of);
        tokio::task::spawn_blocking(move || shop::append(&dir, &histories, customers, seed, next_week, from)).await??
    };
    let selection = Selection { as_of: midnight(next_week), ..selection };
    let second = sync(&engine, &selection, &clock, progress).await?;
    let refresh = refresh_parts(&world, &second);
    world.save()?;
    drop(world);
    sandbox.stop().await?;
    Ok(DemoReport::new(options, build, plan, first, destinations, projections, news, second, refresh))
}

fn build_shop(options: &DemoOptions, next_week: NaiveDate) -> anyhow::Result<(shop::Built, Histories)> {
    std::fs::create_dir_all(&options.dir)?;
    let people = People { persons: options.customers, seed: options.seed };
    let histories = Histories::online_retail();
    write(&options.dir.join("contacts.csv"), |out| people.write_contacts(out).map(drop))?;
    write(&options.dir.join("accounts.csv"), |out| people.write_accounts(out).map(drop))?;
    let built = shop::create(&options.dir, &people, &histories, next_week, midnight(options.as_of))?;
    Ok((built, histories))
}

/// Writes a file of the demonstration.
///
/// # Errors
/// With the file's name.
pub fn write(
    path: &Path,
    content: impl FnOnce(&mut std::io::BufWriter<std::fs::File>) -> std::io::Result<()>,
) -> anyhow::Result<()> {
    use std::io::Write as _;
    let named = |error: std::io::Error| anyhow::anyhow!("{} cannot be written: {error}", path.display());
    let mut out = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create(path).map_err(named)?);
    content(&mut out).and_then(|()| out.flush()).map_err(named)
}

async fn engine(options: &DemoOptions, sandbox: &Sandbox, clock: &VirtualClock) -> anyhow::Result<Engine> {
    let path = settings::write(&options.dir, options.sandbox_port)?;
    let overrides = [
        ("destination.meta.base_url", sandbox.base_url("meta")),
        ("destination.google.base_url", sandbox.base_url("google")),
        ("destination.google.token_url", sandbox.token_url()),
        // The clock jumps, so the platform's own advice on when to ask costs nothing.
        ("destination.google.poll_first_secs", "1800".to_owned()),
    ];
    let mut sources =
        Sources { overrides: overrides.map(|(key, value)| (key.to_owned(), value)).into(), ..Sources::default() };
    sources.environment.extend(settings::secrets());
    let config = config::load(&path, &sources)?;
    let store = Store::open(&config.state_dir).await?;
    settings::write_member_key(&config.state_dir, options.seed)?;
    let ledgers = Ledgers::on_this_machine(&config.state_dir);
    Ok(Engine {
        config,
        base_dir: options.dir.clone(),
        environment: sources.environment,
        clock: Arc::new(clock.clone()),
        store,
        transport: crate::transport::Shared::default(),
        ledgers,
    })
}

/// One sync, its verdicts, and a day for the platforms to match.
async fn sync(
    engine: &Engine,
    selection: &Selection,
    clock: &VirtualClock,
    progress: &dyn Progress,
) -> anyhow::Result<SyncReport> {
    // A demonstration with a handful of people stays below the platforms' minimum.
    let options = SyncOptions { wait: true, allow: vec!["below-minimum".to_owned()], ..SyncOptions::default() };
    let report = engine.sync(selection, &options, &Unstoppable, progress).await?;
    for destination in &report.destinations {
        if let Some(error) = &destination.error {
            anyhow::bail!("{}: {error}", destination.destination);
        }
    }
    progress.stage("Waiting a day for the platforms to match (the clock jumps)");
    clock.sleep(Duration::from_secs(24 * 3600)).await;
    engine.refresh(&selection.audience, &Unstoppable, progress).await?;
    Ok(report)
}

/// The latest readings, beside what only the simulated platforms know.
async fn observed(engine: &Engine, world: &World, report: &SyncReport) -> anyhow::Result<Vec<DestinationPart>> {
    let observations = engine.store.observations(Some(AUDIENCE)).await?;
    let mut parts = Vec::new();
    for destination in &report.destinations {
        let reading = observations
            .iter()
            .rfind(|stored| stored.destination == destination.destination && stored.primary)
            .map(|stored| stored.reading.clone());
        let truth = match (
            Platform::from_slug(&destination.connector),
            engine.store.audience(AUDIENCE, &destination.destination).await?,
        ) {
            (Some(platform), Some(audience)) => world.matched(platform, &audience.id).map(|matched| matched as u64),
            _ => None,
        };
        parts.push(DestinationPart::new(destination, reading, truth));
    }
    Ok(parts)
}

fn refresh_parts(world: &World, report: &SyncReport) -> Vec<RefreshPart> {
    let audiences = world.audiences();
    report
        .destinations
        .iter()
        .map(|destination| {
            let held = audiences
                .iter()
                .find(|audience| audience.platform.slug() == destination.connector)
                .map(|audience| audience.matched as u64);
            RefreshPart::new(destination, held)
        })
        .collect()
}

/// One projection per destination, fed with what was observed and with the segment's own past.
async fn projections(
    engine: &Engine,
    options: &DemoOptions,
    report: &SyncReport,
    parts: &[DestinationPart],
) -> anyhow::Result<Vec<Projection>> {
    let known = Known::gather(engine, AUDIENCE, midnight(options.as_of)).await?;
    let mut projections = Vec::new();
    for part in parts {
        let mut inputs = Inputs::for_platform(&part.connector, report.segment.eligible)?;
        inputs.seed = options.seed;
        inputs.currency = known.currency.unwrap_or(inputs.currency);
        inputs.set(
            Field::Budget,
            Distribution::Point(settings::budget(report.segment.eligible)),
            "chosen for the demo",
        )?;
        inputs.set(Field::Cap, Distribution::Point(12.0), "12 impressions a person in 30 days")?;
        known.apply(&engine.config.roi, &mut inputs)?;
        projections.push(project(&inputs));
    }
    Ok(projections)
}

fn midnight(date: NaiveDate) -> DateTime<Utc> {
    date.and_hms_opt(0, 0, 0).expect("midnight exists").and_utc()
}

fn at_hour(date: NaiveDate) -> DateTime<Utc> {
    date.and_hms_opt(HOUR, 0, 0).expect("the hour exists").and_utc()
}

/// Kept for the report.
pub type Plan = AudiencePlan;
