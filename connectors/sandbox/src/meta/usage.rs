//! Rate limits: the account score and the hourly budget behind the usage headers.

use super::error::MetaError;
use crate::world::Shared;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Full access: score ceiling, decay and block (meta.md §7).
const MAX_SCORE: f64 = 9_000.0;
const DECAY_SECS: f64 = 300.0;
const HOURLY_FLOOR: u64 = 190_000;
const POINTS_PER_AUDIENCE: u64 = 40;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Usage {
    score: f64,
    at_ms: i64,
    hour: i64,
    points: u64,
}

/// Counts a call and gives the usage headers; refuses when quotas are enforced and spent.
pub(crate) fn count(shared: &Shared, account: &str, writes: bool) -> Result<Vec<(&'static str, String)>, MetaError> {
    let now_ms = shared.now().timestamp_millis();
    let mut state = shared.meta();
    let audiences = state.audiences.values().filter(|a| a.account == account).count() as u64;
    let usage = state.usage.entry(account.to_owned()).or_default();
    let passed = ((now_ms - usage.at_ms).max(0) as f64) / 1000.0;
    usage.score = (usage.score - passed * MAX_SCORE / DECAY_SECS).max(0.0);
    usage.at_ms = now_ms;
    if usage.hour != now_ms / 3_600_000 {
        usage.hour = now_ms / 3_600_000;
        usage.points = 0;
    }
    let cost: u32 = if writes { 3 } else { 1 };
    usage.score += f64::from(cost);
    usage.points += u64::from(cost);
    let budget = HOURLY_FLOOR + POINTS_PER_AUDIENCE * audiences;
    let percent = usage.points * 100 / budget;
    if shared.settings.enforce_quotas {
        if usage.points > budget {
            return Err(MetaError::new(80_003, "(#80003) There have been too many calls to this ad-account."));
        }
        if usage.score > MAX_SCORE {
            return Err(MetaError::new(17, "(#17) User request limit reached").sub(2_446_079));
        }
    }
    let business = json!({account: [{
        "type": "custom_audience", "call_count": percent, "total_cputime": percent, "total_time": percent,
        "estimated_time_to_regain_access": 0, "ads_api_access_tier": "standard_access",
    }]});
    let ad_account = json!({
        "acc_id_util_pct": (usage.score / MAX_SCORE * 10_000.0).round() / 100.0,
        "reset_time_duration": DECAY_SECS as i64, "ads_api_access_tier": "standard_access",
    });
    let app = json!({"call_count": percent, "total_time": percent, "total_cputime": percent});
    Ok(vec![
        ("X-Business-Use-Case-Usage", business.to_string()),
        ("X-Ad-Account-Usage", ad_account.to_string()),
        ("X-App-Usage", app.to_string()),
    ])
}
