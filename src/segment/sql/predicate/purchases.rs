//! Definitions that look at purchases: each customer's own rhythm, a model of it, the matrix.

use super::{Simple, Writer};
use crate::config::audience_inactive::{AliveModel, PAlive, PersonalCadence, RfmMatrix, RfmPreset, RfmVariant, Theta};
use crate::segment::sql::dialect::literal;
use crate::warehouse::{Error, Result};

/// A logarithm of odds that stands for no chance at all.
const NEVER_GONE: &str = "-1000";

impl Writer<'_> {
    fn days_cte(&mut self) -> Result<()> {
        self.last(&[])?;
        if !self.ctes.iter().any(|(name, _)| name == "purchase_days") {
            self.ctes.push(("purchase_days".into(), self.events.purchase_days()));
        }
        Ok(())
    }

    fn today(&self) -> i64 {
        self.events.as_of.timestamp().div_euclid(86_400)
    }

    pub(super) fn personal_cadence(&mut self, it: &PersonalCadence) -> Result<Simple> {
        self.days_cte()?;
        let gaps = "SELECT d.customer_id, d.day_number, d.day_number - lag(d.day_number) OVER \
                    (PARTITION BY d.customer_id ORDER BY d.day_number) AS gap FROM purchase_days AS d";
        let ranked = format!(
            "SELECT g.customer_id, g.gap, \
             row_number() OVER (PARTITION BY g.customer_id ORDER BY g.gap) AS place, \
             count(*) OVER (PARTITION BY g.customer_id) AS gaps FROM ({gaps}) AS g WHERE g.gap IS NOT NULL"
        );
        // The middle one of an odd number of gaps, the mean of the middle two of an even one.
        let median = format!(
            "SELECT r.customer_id, avg(r.gap) AS median_gap FROM ({ranked}) AS r \
             WHERE 2 * r.place BETWEEN r.gaps AND r.gaps + 2 GROUP BY r.customer_id"
        );
        let sql = format!(
            "SELECT a.customer_id, a.last_day, a.days, m.median_gap FROM (SELECT d.customer_id, max(d.day_number) \
             AS last_day, count(*) AS days FROM purchase_days AS d GROUP BY d.customer_id) AS a \
             LEFT JOIN ({median}) AS m ON m.customer_id = a.customer_id"
        );
        let name = self.join("cadence", sql);
        let (today, k, min, fallback) = (self.today(), it.k, it.min_days, it.fallback_days);
        let dialect = self.events.dialect;
        let limit = format!("CASE WHEN {name}.days >= {min} THEN {k:?} * {name}.median_gap ELSE {fallback} END");
        let silence = format!("({today} - {name}.last_day)");
        Ok(Simple {
            condition: format!("({silence} > {limit})"),
            reason: format!(
                "CASE WHEN {name}.last_day IS NULL THEN 'no purchase on record' ELSE 'silent for ' || {} || ' days, ' || \
                 CASE WHEN {name}.days >= {min} THEN {} || {} || ' days' ELSE {} END END",
                dialect.text(&silence),
                literal(&format!("own limit {k} times ")),
                dialect.text(&format!("{name}.median_gap")),
                literal(&format!("too few purchases for a rhythm, limit {fallback} days")),
            ),
        })
    }

    pub(super) fn p_alive(&mut self, it: &PAlive) -> Result<Simple> {
        self.days_cte()?;
        let dialect = self.events.dialect;
        let Theta::Given([r, alpha, a, b]) = it.theta else {
            return Err(Error::config("`p_alive` with theta = \"fit\" was not fitted before its SQL was written")
                .hint("give the four numbers; `reveil segment count --json` shows the fitted ones"));
        };
        let today = self.today();
        let sql = format!(
            "SELECT d.customer_id, {} AS x, {} AS seen, {} AS age FROM purchase_days AS d GROUP BY d.customer_id",
            dialect.float("count(*) - 1"),
            format_args!("{} / 7", dialect.float("max(d.day_number) - min(d.day_number)")),
            format_args!("{} / 7", dialect.float(&format!("{today} - min(d.day_number)"))),
        );
        let name = self.join("alive", sql);
        // P < p exactly when the logarithm of the odds of being gone is above this; no power can overflow that way.
        let limit = (1.0 / it.p - 1.0).ln();
        let repeat = match it.model {
            AliveModel::Mbg => format!("({b:?} + {name}.x)"),
            AliveModel::Bg => format!("({b:?} + {name}.x - 1)"),
        };
        let odds = format!(
            "(ln({a:?} / {repeat}) + ({r:?} + {name}.x) * ln(({alpha:?} + {name}.age) / ({alpha:?} + {name}.seen)))"
        );
        // In BG/NBD nobody can leave before a second purchase.
        let (condition, gone_odds) = match it.model {
            AliveModel::Mbg => (format!("({odds} > {limit:?})"), odds),
            AliveModel::Bg => (
                format!("(CASE WHEN {name}.x = 0 THEN 1 = 0 ELSE {odds} > {limit:?} END)"),
                format!("(CASE WHEN {name}.x = 0 THEN {NEVER_GONE} ELSE {odds} END)"),
            ),
        };
        self.gone_odds = Some(dialect.float(&gone_odds));
        let reason = format!(
            "CASE WHEN {name}.x IS NULL THEN 'no purchase on record' WHEN {condition} THEN {} ELSE {} END",
            literal(&format!("probability of being a customer under {}", it.p)),
            literal(&format!("probability of being a customer at least {}", it.p)),
        );
        Ok(Simple { condition, reason })
    }

    pub(super) fn rfm(&mut self, it: &RfmMatrix) -> Result<Simple> {
        let (from, last, times) = match it.variant {
            RfmVariant::Rfm => ("facts".to_owned(), self.last(&[])?.replacen("f.", "b.", 1), "b.orders_count"),
            variant => {
                let reactions = self.reactions(&variant.kinds())?;
                (format!("({reactions})"), "b.last_at".to_owned(), "b.times")
            }
        };
        let cells = it.all_cells();
        if cells.iter().any(|cell| !cell.m.is_empty()) && !self.events.has_values() {
            return Err(Error::config("`rfm_matrix` with `m` needs `value` in [warehouse.events]")
                .hint("map the amount of a purchase, or use cells of r and f only"));
        }
        self.needs_everybody |=
            it.limits.recency_days.is_empty() || it.limits.frequency.is_empty() || it.limits.monetary_minor.is_empty();
        // Ids that are numbers sort as numbers, so that ties fall the same way on every warehouse.
        let equal =
            |metric: &str| format!("ntile({}) OVER (ORDER BY {metric}, length(b.customer_id), b.customer_id)", it.bins);
        let dialect = self.events.dialect;
        let recency = if it.limits.recency_days.is_empty() {
            equal(&last)
        } else {
            let silence = format!("({} - {})", self.today(), dialect.day(&last));
            let limits = &it.limits.recency_days;
            let steps: String = (limits.iter().zip((0..limits.len()).map(|index| limits.len() + 1 - index)))
                .map(|(limit, group)| format!("WHEN {silence} <= {limit} THEN {group} "))
                .collect();
            format!("CASE {steps}ELSE 1 END")
        };
        let upwards = |metric: &str, limits: &[u64]| {
            let steps: String = (limits.iter().enumerate())
                .map(|(index, limit)| format!("WHEN {metric} < {limit} THEN {} ", index + 1))
                .collect();
            if limits.is_empty() { equal(metric) } else { format!("CASE {steps}ELSE {} END", limits.len() + 1) }
        };
        let frequency: Vec<u64> = it.limits.frequency.iter().map(|limit| (*limit).into()).collect();
        let sql = format!(
            "SELECT b.customer_id, {recency} AS r, {} AS f, {} AS m, CASE WHEN {last} < {} THEN 1 ELSE 0 END AS gone \
             FROM {from} AS b WHERE {last} IS NOT NULL",
            upwards(times, &frequency),
            match it.variant {
                RfmVariant::Rfm => upwards("b.orders_value", &it.limits.monetary_minor),
                _ => "0".to_owned(),
            },
            dialect.instant(self.before(it.period_days)),
        );
        let name = self.join("rfm", sql);
        let mut cell_conditions: Vec<String> = cells
            .iter()
            .map(|cell| {
                // Keeps a cell without axes from being true of people without purchases.
                let mut axes = vec![format!("{name}.r >= 1")];
                for (axis, groups) in [("r", &cell.r), ("f", &cell.f), ("m", &cell.m)] {
                    if !groups.is_empty() {
                        let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
                        axes.push(format!("{name}.{axis} IN ({})", groups.join(", ")));
                    }
                }
                format!("({})", axes.join(" AND "))
            })
            .collect();
        if it.preset == Some(RfmPreset::WinBack) {
            cell_conditions.push(format!("({name}.gone = 1)"));
        }
        let text = |axis: &str| dialect.text(&format!("{name}.{axis}"));
        Ok(Simple {
            condition: format!("({})", cell_conditions.join(" OR ")),
            reason: format!(
                "CASE WHEN {name}.r IS NULL THEN {} ELSE 'matrix cell r' || {} || ' f' || {}{} END",
                literal(match it.variant {
                    RfmVariant::Rfm => "no purchase on record",
                    RfmVariant::Rfo => "no open on record",
                    RfmVariant::Rfc => "no click on record",
                }),
                text("r"),
                text("f"),
                if it.variant == RfmVariant::Rfm { format!(" || ' m' || {}", text("m")) } else { String::new() }
            ),
        })
    }
}
