//! What a run refuses to send on its own. Every refusal names the override, which the caller writes to the audit
//! log.

use crate::config::GuardsConfig;

/// What is about to happen to one audience.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Change {
    /// Members the destination holds now.
    pub held: u64,
    /// Members it will hold.
    pub target: u64,
    pub remove: u64,
    /// Fewer people than this and the platform delivers no ads.
    pub platform_minimum: u64,
}

/// A refusal that a flag can override.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The word to give to `--allow`.
    pub override_word: &'static str,
    pub message: String,
}

/// The words `--allow` takes, with what each lets through.
pub const OVERRIDES: &[(&str, &str)] = &[
    ("empty", "an audience without any member"),
    ("shrink", "removing more than guards.max_removal_ratio of the members"),
    ("growth", "growing beyond guards.max_growth_ratio"),
    ("below-minimum", "fewer members than the platform needs to deliver"),
    ("no-consent-column", "uploading without a mapped consent column"),
];

/// Everything that speaks against the change and is not in `allowed`.
pub fn refusals(config: &GuardsConfig, change: Change, allowed: &[String]) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let mut refuse = |override_word: &'static str, message: String| {
        if !allowed.iter().any(|word| word == override_word) {
            refusals.push(Refusal { override_word, message });
        }
    };
    let large = change.held >= config.ratio_from_members;
    if change.target == 0 {
        refuse("empty", format!("the audience would be empty ({} members now)", change.held));
    } else if change.target < change.platform_minimum {
        refuse(
            "below-minimum",
            format!(
                "the audience would have {} members; below {} the platform delivers no ads",
                change.target, change.platform_minimum
            ),
        );
    }
    let removal_ratio = change.remove as f64 / change.held.max(1) as f64;
    if change.target > 0 && large && removal_ratio > config.max_removal_ratio {
        refuse(
            "shrink",
            format!(
                "{} of {} members would be removed ({:.0} %; guards.max_removal_ratio allows {:.0} %)",
                change.remove,
                change.held,
                removal_ratio * 100.0,
                config.max_removal_ratio * 100.0
            ),
        );
    }
    let growth_ratio = change.target as f64 / change.held.max(1) as f64;
    if large && growth_ratio > config.max_growth_ratio {
        refuse(
            "growth",
            format!(
                "the audience would grow from {} to {} members ({growth_ratio:.1} times; guards.max_growth_ratio allows {:.1})",
                change.held, change.target, config.max_growth_ratio
            ),
        );
    }
    refusals
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(change: Change, allowed: &[&str]) -> Vec<&'static str> {
        let allowed: Vec<String> = allowed.iter().map(|word| (*word).to_owned()).collect();
        refusals(&GuardsConfig::default(), change, &allowed).into_iter().map(|refusal| refusal.override_word).collect()
    }

    #[test]
    fn each_guard_speaks_up_and_can_be_overridden() {
        let base = Change { held: 10_000, target: 10_000, remove: 0, platform_minimum: 100 };
        assert!(words(base, &[]).is_empty());
        assert_eq!(words(Change { target: 0, remove: 10_000, ..base }, &[]), ["empty"]);
        assert_eq!(words(Change { target: 50, remove: 9_950, ..base }, &[]), ["below-minimum", "shrink"]);
        assert_eq!(words(Change { target: 50, remove: 9_950, ..base }, &["shrink"]), ["below-minimum"]);
        assert_eq!(words(Change { target: 40_000, ..base }, &[]), ["growth"]);
        assert!(words(Change { target: 40_000, ..base }, &["growth"]).is_empty());
    }

    #[test]
    fn ratios_do_not_bind_a_first_or_small_upload() {
        assert!(words(Change { held: 0, target: 100_000, remove: 0, platform_minimum: 100 }, &[]).is_empty());
        assert!(words(Change { held: 500, target: 200, remove: 300, platform_minimum: 100 }, &[]).is_empty());
    }
}
