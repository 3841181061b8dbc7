//! The figures a Prometheus reads, all named `reveil_…`. Labels are keys of the configuration or words of this program:
//! bounded, and nothing personal.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use reveil_sdk::ErrorKind;

use super::api_metrics::ApiMetrics;
use super::exposition::{Format, classic};
use super::memory::ResidentMemory;
use crate::transport::Meter;

type Float = Gauge<f64, AtomicU64>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RunLabels {
    pub audience: String,
    pub kind: String,
    pub outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabel {
    pub kind: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ChangeLabels {
    pub destination: String,
    pub change: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CallLabels {
    pub connector: &'static str,
    pub outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ConnectorLabel {
    pub connector: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ErrorLabels {
    pub connector: &'static str,
    pub error_kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StateLabel {
    pub state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PlaceLabels {
    pub audience: String,
    pub destination: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AudienceLabel {
    pub audience: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DestinationLabel {
    pub destination: String,
}

/// One of the two is empty, which is as if it were not there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CredentialLabels {
    pub destination: String,
    /// The name of a token of the API.
    pub token: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    pub outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ChannelLabels {
    pub channel: String,
    pub outcome: &'static str,
}

/// See the module.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pub runs: Family<RunLabels, Counter>,
    pub run_duration: Family<KindLabel, Histogram, fn() -> Histogram>,
    pub members: Family<ChangeLabels, Counter>,
    calls: Family<CallLabels, Counter>,
    call_duration: Family<ConnectorLabel, Histogram, fn() -> Histogram>,
    retries: Family<ErrorLabels, Counter>,
    throttled: Family<ConnectorLabel, Counter>,
    pub queue_jobs: Family<StateLabel, Gauge>,
    pub due_lag: Float,
    pub held: Family<PlaceLabels, Gauge>,
    pub minimum: Family<PlaceLabels, Gauge>,
    pub match_rate_low: Family<PlaceLabels, Float>,
    pub match_rate_high: Family<PlaceLabels, Float>,
    pub last_success: Family<AudienceLabel, Gauge>,
    pub stale_after: Family<AudienceLabel, Gauge>,
    pub credential_expiry: Family<CredentialLabels, Gauge>,
    pub destination_up: Family<DestinationLabel, Gauge>,
    pub overdue_erasures: Gauge,
    pub fired: Family<KindLabel, Counter>,
    pub missed: Family<KindLabel, Counter>,
    pub reloads: Family<OutcomeLabel, Counter>,
    pub alerts: Family<ChannelLabels, Counter>,
    pub api: ApiMetrics,
}

fn run_seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.5, 3.0, 11))
}

fn call_seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.01, 2.5, 10))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("reveil"),
            runs: Family::default(),
            run_duration: Family::new_with_constructor(run_seconds),
            members: Family::default(),
            calls: Family::default(),
            call_duration: Family::new_with_constructor(call_seconds),
            retries: Family::default(),
            throttled: Family::default(),
            queue_jobs: Family::default(),
            due_lag: Float::default(),
            held: Family::default(),
            minimum: Family::default(),
            match_rate_low: Family::default(),
            match_rate_high: Family::default(),
            last_success: Family::default(),
            stale_after: Family::default(),
            credential_expiry: Family::default(),
            destination_up: Family::default(),
            overdue_erasures: Gauge::default(),
            fired: Family::default(),
            missed: Family::default(),
            reloads: Family::default(),
            alerts: Family::default(),
            api: ApiMetrics::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("build", "The program", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        registry.register_collector(Box::new(ResidentMemory));
        registry.register("runs", "Runs that ended, by how", self.runs.clone());
        let help = "How long runs took";
        registry.register_with_unit("run_duration", help, Unit::Seconds, self.run_duration.clone());
        let help = "Members sent, removed, or rejected by the platform";
        registry.register("members", help, self.members.clone());
        let help = "Requests to platforms, by what came of them";
        registry.register("platform_requests", help, self.calls.clone());
        let help = "How long requests to platforms took, waiting for their turn included";
        registry.register_with_unit("platform_request_duration", help, Unit::Seconds, self.call_duration.clone());
        registry.register("platform_retries", "Requests made again, by the error before", self.retries.clone());
        registry.register("platform_throttled", "Replies with status 429", self.throttled.clone());
        registry.register("queue_jobs", "Jobs in the queue", self.queue_jobs.clone());
        let help = "How long the oldest due job has been waiting";
        registry.register_with_unit("queue_due_lag", help, Unit::Seconds, self.due_lag.clone());
        registry.register("audience_held_members", "Members a destination holds", self.held.clone());
        let help = "Fewer members than this and the platform delivers no ads";
        registry.register("audience_minimum_members", help, self.minimum.clone());
        let help = "Lower end of the latest match reading";
        registry.register("match_rate_low_ratio", help, self.match_rate_low.clone());
        let help = "Upper end of the latest match reading";
        registry.register("match_rate_high_ratio", help, self.match_rate_high.clone());
        let help = "When the audience's latest successful run ended";
        registry.register_with_unit("audience_last_success_timestamp", help, Unit::Seconds, self.last_success.clone());
        let help = "Without a successful run for longer than this the audience is stale";
        registry.register_with_unit("audience_stale_after", help, Unit::Seconds, self.stale_after.clone());
        let help = "When the credential of a destination, or a token of the API, expires";
        registry.register_with_unit("credential_expiry_timestamp", help, Unit::Seconds, self.credential_expiry.clone());
        let help = "Whether the destination answered its latest check";
        registry.register("destination_up", help, self.destination_up.clone());
        let help = "Requests to be forgotten that are older than a day and not done";
        registry.register("forget_overdue_requests", help, self.overdue_erasures.clone());
        registry.register("schedule_fired", "Due times that put a job into the queue", self.fired.clone());
        registry.register("schedule_missed", "Due times left out, by the catch-up policy", self.missed.clone());
        registry.register("config_reloads", "Times the configuration was read again", self.reloads.clone());
        registry.register("alert_messages", "Tries to bring a message to a channel, by outcome", self.alerts.clone());
        self.api.register(registry);
    }

    /// Everything.
    pub fn render(&self, format: Format) -> String {
        let mut text = String::new();
        // A String takes every write.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        match format {
            Format::OpenMetrics => text,
            Format::Text => classic(&text),
        }
    }
}

impl Meter for Metrics {
    fn answered(&self, connector: &'static str, error: Option<ErrorKind>, took: Duration) {
        let outcome = error.map_or("ok", ErrorKind::name);
        self.calls.get_or_create(&CallLabels { connector, outcome }).inc();
        self.call_duration.get_or_create(&ConnectorLabel { connector }).observe(took.as_secs_f64());
    }
    fn throttled(&self, connector: &'static str) {
        self.throttled.get_or_create(&ConnectorLabel { connector }).inc();
    }
    fn retried(&self, connector: &'static str, after: ErrorKind) {
        self.retries.get_or_create(&ErrorLabels { connector, error_kind: after.name() }).inc();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    const UNITS: [&str; 4] = ["_seconds", "_bytes", "_ratio", "_members"];
    /// Words that may stand without a unit: counts of things, and yes or no.
    const COUNTS: [&str; 4] =
        ["reveil_queue_jobs", "reveil_destination_up", "reveil_build_info", "reveil_forget_overdue_requests"];
    const ABBREVIATED: [&str; 8] = ["_ms", "_secs", "_sec", "_kb", "_mb", "_pct", "_percent", "_milliseconds"];
    const LABELS: [&str; 17] = [
        "audience",
        "channel",
        "change",
        "connector",
        "destination",
        "error_kind",
        "kind",
        "le",
        "method",
        "outcome",
        "reason",
        "route",
        "state",
        "status",
        "token",
        "version",
        "quantile",
    ];

    /// One of everything, so that every family shows.
    fn filled() -> Metrics {
        let metrics = Metrics::default();
        let (audience, destination) = ("dormant".to_owned(), "meta-fr".to_owned());
        let place = PlaceLabels { audience: audience.clone(), destination: destination.clone() };
        let kind = KindLabel { kind: "sync".into() };
        metrics
            .runs
            .get_or_create(&RunLabels { audience: audience.clone(), kind: "sync".into(), outcome: "done" })
            .inc();
        metrics.run_duration.get_or_create(&kind).observe(3.0);
        let labels = ChangeLabels { destination: destination.clone(), change: "added" };
        metrics.members.get_or_create(&labels).inc_by(7);
        metrics.answered("meta", None, Duration::from_millis(80));
        metrics.answered("meta", Some(ErrorKind::RateLimited), Duration::from_millis(80));
        metrics.throttled("meta");
        metrics.api.answered("/v1/me", "GET", 200, Duration::from_millis(2));
        metrics.api.auth_failed("missing");
        metrics.retried("meta", ErrorKind::RateLimited);
        metrics.queue_jobs.get_or_create(&StateLabel { state: "due" }).set(1);
        metrics.held.get_or_create(&place).set(7);
        metrics.minimum.get_or_create(&place).set(100);
        metrics.match_rate_low.get_or_create(&place).set(0.5);
        metrics.match_rate_high.get_or_create(&place).set(0.6);
        metrics.stale_after.get_or_create(&AudienceLabel { audience: audience.clone() }).set(1);
        metrics.last_success.get_or_create(&AudienceLabel { audience }).set(1);
        let labels = CredentialLabels { destination: destination.clone(), token: String::new() };
        metrics.credential_expiry.get_or_create(&labels).set(1);
        metrics.destination_up.get_or_create(&DestinationLabel { destination }).set(1);
        metrics.fired.get_or_create(&kind).inc();
        metrics.missed.get_or_create(&kind).inc();
        metrics.reloads.get_or_create(&OutcomeLabel { outcome: "done" }).inc();
        metrics.alerts.get_or_create(&ChannelLabels { channel: "team".into(), outcome: "done" }).inc();
        metrics
    }

    /// What `promtool check metrics` complains about, and that nobody made a label of something unbounded.
    #[test]
    fn names_units_help_and_labels_are_as_prometheus_asks() {
        let text = filled().render(Format::OpenMetrics);
        let (mut helps, mut kinds) = (BTreeSet::new(), BTreeMap::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a name and a text");
                assert!(help.trim_end_matches('.').len() > 3 && !help.ends_with(".."), "{line}");
                assert!(helps.insert(name.to_owned()), "{name} is described twice");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a name and a type");
                kinds.insert(name.to_owned(), kind.to_owned());
            } else if !line.starts_with('#') {
                check_sample(line, &kinds);
            }
        }
        assert_eq!(helps, kinds.keys().cloned().collect(), "every family has a help and a type");
        assert!(kinds.len() >= 20, "{} families", kinds.len());
        for (name, kind) in kinds {
            assert!(name.starts_with("reveil_"), "{name}");
            assert!(
                name.chars()
                    .all(|character| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_'),
                "{name} is not in snake case"
            );
            assert!(!name.ends_with("_total"), "{name}: the type gives the suffix");
            assert!(!ABBREVIATED.iter().any(|short| name.ends_with(short)), "{name} has an abbreviated unit");
            for word in ["gauge", "counter", "histogram", "summary", "info"] {
                assert!(!name.contains(&format!("_{word}")), "{name} has its type in its name");
            }
            if kind == "gauge" || kind == "histogram" {
                let named = UNITS.iter().any(|unit| name.ends_with(unit)) || COUNTS.contains(&name.as_str());
                assert!(named, "{name} has no unit");
            }
        }
        assert!(text.ends_with("# EOF\n"));
    }

    fn check_sample(line: &str, kinds: &BTreeMap<String, String>) {
        let name = line.split(['{', ' ']).next().expect("a name");
        let (family, kind) = kinds
            .iter()
            .filter(|(family, _)| name.starts_with(family.as_str()))
            .max_by_key(|(family, _)| family.len())
            .expect("samples follow their type");
        let suffix = &name[family.len()..];
        match kind.as_str() {
            "counter" => assert_eq!(suffix, "_total", "{line}"),
            "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
            "info" => assert_eq!(suffix, "_info", "{line}"),
            _ => assert_eq!(suffix, "", "{line}"),
        }
        let labels = line.split_once('{').map_or("", |(_, rest)| rest.split_once('}').expect("closed").0);
        for label in labels.split(',').filter(|label| !label.is_empty()) {
            let (label, value) = label.split_once('=').expect("label=value");
            assert!(LABELS.contains(&label), "{line}: the label {label} is not one of the bounded ones");
            assert!(value.len() < 66, "{line}");
        }
    }

    #[test]
    fn resident_memory_is_read_when_scraped() {
        let text = Metrics::default().render(Format::Text);
        let line = text.lines().find(|line| line.starts_with("reveil_process_resident_memory_bytes ")).expect("shown");
        let bytes: u64 = line.rsplit_once(' ').expect("a value").1.parse().expect("a number");
        assert!((1_000_000..100_000_000_000).contains(&bytes), "{bytes}");
    }
}
