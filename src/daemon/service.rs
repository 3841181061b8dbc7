//! The process: starts the parts, listens to signals, ends in good order.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::Daemon;
use super::notify::Notifier;
use super::work::owner::{Alive, end_leases_of_the_dead};
use crate::assignment;
use crate::http;
use crate::store::jobs::NewJob;

/// Beyond the runs' own time, for what is written at the end.
const LAST_WRITES: Duration = Duration::from_secs(10);

/// Before copies of shared ledgers are looked at after a start, and between two looks.
const FIRST_TIDYING: Duration = Duration::from_secs(5);
const TIDY_EVERY: Duration = Duration::from_secs(3600);

/// Serves until it is told to stop.
///
/// # Errors
/// What keeps it from starting: the address, the state directory. A destination or a warehouse that is away does not.
pub async fn run(daemon: Arc<Daemon>) -> anyhow::Result<()> {
    let notifier = Notifier::from_environment();
    let loaded = daemon.loaded();
    let _alive = Alive::announce(&loaded.config.state_dir, daemon.owner())?;
    let stop = CancellationToken::new();
    // Answers last: whoever watches sees how the runs end.
    let stop_edge = CancellationToken::new();
    let bound = http::bind(Arc::clone(&daemon), stop_edge.clone()).await?;
    // Before any work: a signal that nobody waits for ends the process at once.
    let mut signals = Signals::new()?;
    daemon.take_over().await;
    let workers = tokio::spawn({
        let (daemon, stop) = (Arc::clone(&daemon), stop.clone());
        async move { daemon.run_workers(stop).await }
    });
    let scheduler = tokio::spawn({
        let (daemon, stop) = (Arc::clone(&daemon), stop.clone());
        async move { daemon.run_scheduler(stop).await }
    });
    let alerts = tokio::spawn(Arc::clone(&daemon).run_alerts(stop.clone()));
    let tidier = tokio::spawn(Arc::clone(&daemon).run_tidier(stop.clone()));
    let parts = [workers.abort_handle(), scheduler.abort_handle()];
    let watchdog = tokio::spawn(notifier.clone().feed(Arc::clone(&daemon), parts, stop.clone(), stop_edge.clone()));
    info!(
        owner = daemon.owner(),
        audiences = loaded.config.audience.len(),
        destinations = loaded.config.destination.len(),
        state = daemon.store().place(),
        "Serving"
    );
    drop(loaded);
    notifier.ready(&daemon);
    let edge = bound.task;
    let mut broken = None;
    tokio::pin!(edge);
    tokio::select! {
        () = signals.until_stop(&daemon, &notifier) => {}
        ended = &mut edge => broken = Some(anyhow::anyhow!("the HTTP listener ended: {ended:?}")),
    }
    notifier.stopping(&daemon);
    info!("Stopping: no new work; runs end their batch");
    stop.cancel();
    let patience = Duration::from_secs(daemon.loaded().config.scheduler.shutdown_secs) + LAST_WRITES;
    let parts = async {
        for (name, part) in [("workers", workers), ("scheduler", scheduler), ("alerts", alerts), ("tidier", tidier)] {
            ended(name, part).await;
        }
    };
    tokio::select! {
        _ = tokio::time::timeout(patience, parts) => {}
        () = signals.second() => {
            warn!("Told twice: stopping at once; what was sent is in the journal");
            return broken.map_or(Ok(()), Err);
        }
    }
    stop_edge.cancel();
    if broken.is_none() {
        let _ = tokio::time::timeout(LAST_WRITES, edge).await;
    }
    ended("watchdog", watchdog).await;
    daemon.store().close().await;
    info!("Stopped");
    broken.map_or(Ok(()), Err)
}

async fn ended(name: &str, part: JoinHandle<()>) {
    if let Err(fault) = part.await {
        error!(part = name, error = %fault, "A part of the daemon ended by a fault");
    }
}

/// What the operating system tells the process.
struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
        })
    }

    /// Reloads when told to; ends when told to stop.
    async fn until_stop(&mut self, daemon: &Daemon, notifier: &Notifier) {
        loop {
            tokio::select! {
                _ = self.term.recv() => return,
                _ = self.int.recv() => return,
                _ = self.hup.recv() => {
                    notifier.reloading();
                    // It has told what is wrong, and the old configuration stays.
                    let _ = daemon.reload("signal").await;
                    notifier.ready(daemon);
                }
            }
        }
    }

    async fn second(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}

impl Daemon {
    /// Every machine has copies of the ledgers it worked with: what was erased by another leaves them here.
    async fn run_tidier(self: Arc<Self>, stop: CancellationToken) {
        let mut pause = FIRST_TIDYING;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(std::mem::replace(&mut pause, TIDY_EVERY)) => {}
            }
            let (ledgers, loaded) = (self.engine().ledgers, self.loaded());
            let tidied = tokio::task::spawn_blocking(move || {
                ledgers.tidy()?;
                loaded.config.audience.keys().try_for_each(|audience| assignment::tidy(&ledgers, audience))
            });
            if let Ok(Err(error)) = tidied.await {
                warn!(error = %error, "Old copies of shared ledgers were not dropped; trying again in an hour");
            }
        }
    }

    /// What a start finds: jobs of workers that died on this machine, destinations nobody has looked at.
    async fn take_over(&self) {
        let loaded = self.loaded();
        let now = self.clock().now();
        match end_leases_of_the_dead(self.store(), &loaded.config.state_dir, now).await {
            Ok(jobs) if jobs.is_empty() => {}
            Ok(jobs) => info!(jobs = jobs.len(), "Jobs of a process that died are taken up again"),
            Err(error) => warn!(error = %error, "Jobs of a process that died wait until their lease has run out"),
        }
        for destination in loaded.config.destination.keys() {
            let job = NewJob {
                destination: Some(destination.clone()),
                dedup_key: Some(format!("credential:{destination}")),
                ..NewJob::new("credential", now)
            };
            if let Err(error) = self.store().enqueue(&job, now).await {
                warn!(destination, error = %error, "A look at the destination could not be queued");
            }
        }
    }
}
