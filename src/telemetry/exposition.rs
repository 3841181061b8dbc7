//! The text formats figures are read in: OpenMetrics, which the registry writes, and the older format 0.0.4 made of it.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>, read 2026-11: in 0.0.4 a type is that of the samples'
//! name, so counters are described with their `_total`; an `info` is a gauge; there are neither units nor an end mark.

use std::collections::HashMap;

/// What somebody can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// 0.0.4: what is sent to those who do not say.
    Text,
    OpenMetrics,
}

const OPEN_METRICS: &str = "application/openmetrics-text";

impl Format {
    /// By the `Accept` headers. OpenMetrics has to be named: a wildcard is no wish for it.
    pub fn asked_for<'a>(accept: impl Iterator<Item = &'a str>) -> Self {
        let (mut open, mut text) = (0.0_f32, None);
        for range in accept.flat_map(|header| header.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse().ok());
            let weight: f32 = weight.unwrap_or(0.0);
            if name.eq_ignore_ascii_case(OPEN_METRICS) {
                open = open.max(weight);
            } else if name.eq_ignore_ascii_case("text/plain") {
                text = Some(text.map_or(weight, |known: f32| known.max(weight)));
            }
        }
        if open > 0.0 && open >= text.unwrap_or(0.0) { Self::OpenMetrics } else { Self::Text }
    }

    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// OpenMetrics as the format 0.0.4. Samples are the same in both.
pub(super) fn classic(open_metrics: &str) -> String {
    let kinds: HashMap<&str, &str> =
        open_metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let described = |name: &str| match kinds.get(name) {
        Some(&"counter") => format!("{name}_total"),
        Some(&"info") => format!("{name}_info"),
        _ => name.to_owned(),
    };
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            text.push_str(&format!("# HELP {} {help}\n", described(name)));
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let kind = match kind {
                "info" | "stateset" => "gauge",
                "unknown" => "untyped",
                other => other,
            };
            text.push_str(&format!("# TYPE {} {kind}\n", described(name)));
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_is_for_those_who_ask_for_it() {
        let of = |accept: &str| Format::asked_for([accept].into_iter());
        // What Prometheus 2.50 and later send.
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                          application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,\
                          text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(of(prometheus), Format::OpenMetrics);
        assert_eq!(of("application/openmetrics-text"), Format::OpenMetrics);
        for text in ["", "*/*", "text/plain", "text/plain;version=0.0.4", "application/openmetrics-text;q=0"] {
            assert_eq!(of(text), Format::Text, "{text}");
        }
        assert_eq!(of("text/plain, application/openmetrics-text; q=0.2"), Format::Text);
        assert_eq!(Format::asked_for(std::iter::empty()), Format::Text);
    }

    #[test]
    fn counters_and_infos_are_described_by_the_name_of_their_samples() {
        let open = "# HELP r_build The program.\n# TYPE r_build info\nr_build_info{version=\"1\"} 1\n\
                    # HELP r_runs Runs.\n# TYPE r_runs counter\nr_runs_total 3\n\
                    # HELP r_lag_seconds Lag.\n# TYPE r_lag_seconds gauge\n# UNIT r_lag_seconds seconds\nr_lag_seconds 0.5\n\
                    # EOF\n";
        let text = "# HELP r_build_info The program.\n# TYPE r_build_info gauge\nr_build_info{version=\"1\"} 1\n\
                    # HELP r_runs_total Runs.\n# TYPE r_runs_total counter\nr_runs_total 3\n\
                    # HELP r_lag_seconds Lag.\n# TYPE r_lag_seconds gauge\nr_lag_seconds 0.5\n";
        assert_eq!(classic(open), text);
    }
}
