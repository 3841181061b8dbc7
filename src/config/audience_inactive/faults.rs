//! What is wrong with a definition, each fault with the key it is about.

use super::{Inactive, NEVER_ACTIVITY, RfmMatrix, RfmPreset, RfmVariant, Theta};

const MAX_DAYS: u32 = 36_500;

impl Inactive {
    /// Everything wrong with the definition, each with the key it is about. Empty when it is fine.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        self.collect_faults("inactive", &mut faults);
        faults
    }

    fn collect_faults(&self, path: &str, faults: &mut Vec<String>) {
        let mut days = |key: &str, value: u32| {
            if !(1..=MAX_DAYS).contains(&value) {
                faults.push(format!("{path}.{key} must be 1 to {MAX_DAYS} days, not {value}"));
            }
        };
        match self {
            Self::NoEventDays(it) => {
                days("no_event_days.days", it.days);
                kind_faults(&format!("{path}.no_event_days.kinds"), &it.kinds, faults);
            }
            Self::PurchaseRecency(it) => match (it.days, it.sector) {
                (None, None) => {
                    faults.push(format!("{path}.purchase_recency needs `days` or `sector` (for instance \"fashion\")"));
                }
                (Some(_), Some(_)) => {
                    faults.push(format!("{path}.purchase_recency has both `days` and `sector`; keep one"));
                }
                _ => days("purchase_recency", it.limit_days()),
            },
            Self::MultiChannel(it) => {
                for (index, channel) in it.channels.iter().enumerate() {
                    days(&format!("multi_channel.channels[{index}].days"), channel.days);
                }
                if it.channels.is_empty() {
                    faults.push(format!("{path}.multi_channel.channels is empty; list at least one"));
                }
                for (index, channel) in it.channels.iter().enumerate() {
                    let at = format!("{path}.multi_channel.channels[{index}]");
                    if channel.all_kinds().is_empty() {
                        faults.push(format!("{at} needs `kind` or `kinds`"));
                    }
                    kind_faults(&at, &channel.all_kinds(), faults);
                }
            }
            Self::NoOpenCampaigns(it) => {
                let min = it.min_delivered.unwrap_or(it.campaigns);
                if it.campaigns == 0 || min == 0 {
                    faults
                        .push(format!("{path}.no_open_campaigns: `campaigns` and `min_delivered` must be at least 1"));
                } else if min > it.campaigns {
                    faults.push(format!(
                        "{path}.no_open_campaigns.min_delivered is above `campaigns`; nobody could be judged"
                    ));
                }
            }
            Self::PersonalCadence(it) => {
                days("personal_cadence.fallback_days", it.fallback_days);
                if !(it.k.is_finite() && it.k > 0.0) {
                    faults.push(format!("{path}.personal_cadence.k must be above 0"));
                }
                if it.min_days < 2 {
                    faults.push(format!(
                        "{path}.personal_cadence.min_days must be at least 2: one purchase day has no gap"
                    ));
                }
            }
            Self::RfmMatrix(it) => rfm_faults(&format!("{path}.rfm_matrix"), it, faults),
            Self::NeverActive(it) => days("never_active.days", it.days),
            Self::PAlive(it) => {
                if let Theta::Given(theta) = it.theta
                    && !theta.iter().all(|value| value.is_finite() && *value > 0.0)
                {
                    faults.push(format!("{path}.p_alive.theta must be four numbers above 0: r, alpha, a, b"));
                }
                if !(it.p > 0.0 && it.p < 1.0) {
                    faults.push(format!("{path}.p_alive.p must be between 0 and 1"));
                }
            }
            Self::All(parts) | Self::Any(parts) => {
                let name = if matches!(self, Self::All(_)) { "all" } else { "any" };
                if parts.is_empty() {
                    faults.push(format!("{path}.{name} is empty; list at least one definition"));
                }
                for (index, part) in parts.iter().enumerate() {
                    part.collect_faults(&format!("{path}.{name}[{index}]"), faults);
                }
            }
            Self::Not(part) => part.collect_faults(&format!("{path}.not"), faults),
            Self::Sql(text) | Self::Table(text) => {
                if text.trim().is_empty() {
                    faults.push(format!("{path}: the query or table name is empty"));
                }
            }
        }
    }
}

fn kind_faults(path: &str, kinds: &[String], faults: &mut Vec<String>) {
    for kind in kinds {
        if NEVER_ACTIVITY.contains(&kind.as_str()) {
            faults.push(format!("{path}: `{kind}` undoes a purchase and never counts as activity; remove it"));
        } else if kind.trim().is_empty() {
            faults.push(format!("{path}: a kind is blank"));
        }
    }
}

fn rfm_faults(path: &str, it: &RfmMatrix, faults: &mut Vec<String>) {
    let groups = |limits: usize| if limits == 0 { it.bins as usize } else { limits + 1 };
    let axes = [
        ("r", groups(it.limits.recency_days.len())),
        ("f", groups(it.limits.frequency.len())),
        ("m", groups(it.limits.monetary_minor.len())),
    ];
    if !(2..=100).contains(&it.bins) {
        faults.push(format!("{path}.bins must be 2 to 100, not {}", it.bins));
    }
    if it.all_cells().is_empty() && it.preset.is_none() {
        faults.push(format!("{path} needs `cells` or `preset`"));
    }
    if !(1..=MAX_DAYS).contains(&it.period_days) {
        faults.push(format!("{path}.period_days must be 1 to {MAX_DAYS} days, not {}", it.period_days));
    }
    if it.variant != RfmVariant::Rfm
        && (it.cells.iter().any(|cell| !cell.m.is_empty()) || !it.limits.monetary_minor.is_empty())
    {
        faults.push(format!("{path}: opens and clicks have no monetary axis; use cells of r and f only"));
    }
    if it.preset == Some(RfmPreset::HighValue) && axes.iter().any(|(_, groups)| *groups != 5) {
        faults.push(format!("{path}.preset is made for 5 groups per axis; list `cells` instead"));
    }
    for cell in &it.cells {
        for ((axis, groups), chosen) in axes.iter().zip([&cell.r, &cell.f, &cell.m]) {
            if let Some(bad) = chosen.iter().find(|group| !(1..=*groups as u32).contains(*group)) {
                faults.push(format!("{path}.cells: {axis} = {bad} is not a group; they go from 1 to {groups}"));
            }
        }
    }
    let ascending = it.limits.recency_days.is_sorted_by(|a, b| a < b)
        && it.limits.frequency.is_sorted_by(|a, b| a < b)
        && it.limits.monetary_minor.is_sorted_by(|a, b| a < b);
    if !ascending {
        faults.push(format!("{path}.limits must ascend"));
    }
}

#[cfg(test)]
mod tests {
    use super::Inactive;

    fn parse(json: &str) -> Inactive {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn reports_every_fault_with_its_key() {
        let faults = parse(
            r#"{"all": [{"no_event_days": {"kinds": ["cancel"], "days": 0}}, {"purchase_recency": {}}, {"any": []},
                {"rfm_matrix": {"cells": [{"r": [6]}]}}, {"p_alive": {"theta": [1, 1, 1, -1], "p": 2}}]}"#,
        )
        .faults();
        for part in [
            "inactive.all[0].no_event_days.days",
            "inactive.all[0].no_event_days.kinds: `cancel`",
            "inactive.all[1].purchase_recency needs",
            "inactive.all[2].any is empty",
            "inactive.all[3].rfm_matrix.cells: r = 6",
            "inactive.all[4].p_alive.theta",
            "inactive.all[4].p_alive.p ",
        ] {
            assert!(faults.iter().any(|fault| fault.starts_with(part)), "{part} not in {faults:?}");
        }
        assert_eq!(faults.len(), 7);
    }
}
