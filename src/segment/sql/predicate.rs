//! A definition as one SQL condition: true is inactive, false active, NULL unknown. SQL's own AND, OR and NOT are
//! Kleene's, so composition is theirs.

use chrono::{DateTime, Duration, Utc};

use super::dialect::{list, literal};
use super::events::{EventQueries, Kinds};
use crate::config::audience_inactive::{
    AliveModel, Engagement, Inactive, NoOpenCampaigns, PAlive, PersonalCadence, RfmMatrix, RfmPreset, RfmVariant, Theta,
};
use crate::config::lost::LostConfig;
use crate::config::warehouse::DeliveriesMapping;
use crate::warehouse::{Error, Result};

/// Condition and reason of a definition, and what they need.
pub(super) struct Predicate {
    pub condition: String,
    /// An expression that gives a text, never NULL.
    pub reason: String,
    /// The simple definitions it is made of, in the order in which they were written; itself when it is simple.
    pub leaves: Vec<Leaf>,
}

/// A simple definition inside a composed one.
pub(super) struct Leaf {
    /// Its name in the configuration.
    pub name: &'static str,
    pub condition: String,
    pub reason: String,
}

/// Condition and reason of a simple definition.
struct Simple {
    condition: String,
    reason: String,
}

/// Collects what the definitions need while they are written.
pub(super) struct Writer<'a> {
    pub events: EventQueries<'a>,
    /// Kinds whose last event is wanted, by column number.
    pub lasts: Vec<Kinds>,
    /// Further common table expressions, after `facts`.
    pub ctes: Vec<(String, String)>,
    /// Names among them to be joined by `customer_id`.
    pub joins: Vec<String>,
    /// Judging one customer needs all others (equal groups of a matrix).
    pub needs_everybody: bool,
}

impl Writer<'_> {
    pub(super) fn write(&mut self, definition: &Inactive) -> Result<Predicate> {
        let simple = match definition {
            Inactive::All(parts) => return self.joined(parts, " AND ", "all of"),
            Inactive::Any(parts) => return self.joined(parts, " OR ", "any of"),
            Inactive::Not(part) => {
                let inner = self.write(part)?;
                return Ok(Predicate {
                    condition: format!("(NOT {})", inner.condition),
                    reason: format!("'not (' || {} || ')'", inner.reason),
                    leaves: inner.leaves,
                });
            }
            Inactive::NoEventDays(it) => self.silent(&it.kinds, it.days),
            Inactive::PurchaseRecency(it) => self.silent(&[], it.limit_days()),
            Inactive::MultiChannel(it) => {
                let channels: Vec<_> = it.channels.iter().map(|channel| (channel.all_kinds(), channel.days)).collect();
                self.multi_channel(&channels)
            }
            Inactive::NoOpenCampaigns(it) => self.no_open_campaigns(it),
            Inactive::PersonalCadence(it) => self.personal_cadence(it),
            Inactive::RfmMatrix(it) => self.rfm(it),
            Inactive::NeverActive(it) => self.never_active(it.days),
            Inactive::PAlive(it) => self.p_alive(it),
            Inactive::Sql(sql) => {
                let sql = sql.trim().trim_end_matches(';');
                Ok(self.own(&format!("({sql}\n)"), "your query"))
            }
            Inactive::Table(table) => {
                let quoted = self.events.dialect.table(table);
                Ok(self.own(&quoted, &format!("table {table}")))
            }
        }?;
        let leaf = Leaf { name: definition.name(), condition: simple.condition.clone(), reason: simple.reason.clone() };
        Ok(Predicate { condition: simple.condition, reason: simple.reason, leaves: vec![leaf] })
    }

    fn joined(&mut self, parts: &[Inactive], operator: &str, word: &str) -> Result<Predicate> {
        let parts = parts.iter().map(|part| self.write(part)).collect::<Result<Vec<_>>>()?;
        let conditions: Vec<_> = parts.iter().map(|part| part.condition.as_str()).collect();
        let reasons: Vec<_> = parts.iter().map(|part| part.reason.as_str()).collect();
        Ok(Predicate {
            condition: format!("({})", conditions.join(operator)),
            reason: format!("'{word} (' || {} || ')'", reasons.join(" || '; ' || ")),
            leaves: parts.into_iter().flat_map(|part| part.leaves).collect(),
        })
    }

    fn before(&self, days: u32) -> DateTime<Utc> {
        self.events.as_of - Duration::days(days.into())
    }

    /// The column of the last event of these kinds.
    fn last(&mut self, kinds: &[String]) -> Result<String> {
        let kinds = self.events.expand(kinds);
        if self.events.warehouse.events.is_empty() {
            return Err(Error::config("the definition needs events, and [warehouse.events] is missing")
                .hint("map a table with `table`, `customer_id` and `at`"));
        }
        if self.events.impossible(&kinds) {
            let message = format!("no table of [warehouse.events] has events of kind {}", kinds.join(", "));
            return Err(Error::config(message).hint("map that table, or correct the kind in the definition"));
        }
        let index = self.lasts.iter().position(|known| *known == kinds).unwrap_or_else(|| {
            self.lasts.push(kinds);
            self.lasts.len() - 1
        });
        Ok(format!("f.last_{index}"))
    }

    fn silent(&mut self, kinds: &[String], days: u32) -> Result<Simple> {
        let last = self.last(kinds)?;
        let limit = self.events.dialect.instant(self.before(days));
        let named = self.events.expand(kinds).join("/");
        let date = self.events.dialect.date_text(&last);
        Ok(Simple {
            condition: format!("({last} < {limit})"),
            reason: format!(
                "CASE WHEN {last} IS NULL THEN {} ELSE {} || {date} || CASE WHEN {last} < {limit} THEN {} ELSE {} END END",
                literal(&format!("no {named} on record")),
                literal(&format!("last {named} on ")),
                literal(&format!(", more than {days} days before")),
                literal(&format!(", within {days} days")),
            ),
        })
    }

    /// One recent event anywhere is active; silence is only judged of people who had an event in some channel.
    fn multi_channel(&mut self, channels: &[(Vec<String>, u32)]) -> Result<Simple> {
        let (mut recent, mut absent, mut reasons) = (Vec::new(), Vec::new(), Vec::new());
        for (kinds, days) in channels {
            let last = self.last(kinds)?;
            recent.push(format!("{last} >= {}", self.events.dialect.instant(self.before(*days))));
            absent.push(format!("{last} IS NULL"));
            reasons.push(self.silent(kinds, *days)?.reason);
        }
        Ok(Simple {
            condition: format!(
                "(CASE WHEN {} THEN 1 = 0 WHEN {} THEN NULL ELSE 1 = 1 END)",
                recent.join(" OR "),
                absent.join(" AND ")
            ),
            reason: reasons.join(" || '; ' || "),
        })
    }

    fn never_active(&mut self, days: u32) -> Result<Simple> {
        let bought = self.last(&[])?;
        let warehouse = self.events.warehouse;
        let created =
            warehouse.customers.as_ref().and_then(|customers| Some((customers, customers.created_at.as_ref()?)));
        let Some((customers, created)) = created else {
            return Err(Error::config("`never_active` needs `created_at` in [warehouse.customers]")
                .hint("map the column that says since when a person is known"));
        };
        let dialect = self.events.dialect;
        let created = dialect.time(&dialect.field(created, "c"), customers.time_form);
        let limit = dialect.instant(self.before(days));
        Ok(Simple {
            condition: format!("(CASE WHEN {bought} IS NOT NULL THEN 1 = 0 ELSE {created} < {limit} END)"),
            reason: format!(
                "CASE WHEN {bought} IS NOT NULL THEN 'has bought' WHEN {created} IS NULL THEN 'never bought, age unknown' \
                 ELSE 'never bought, known since ' || {} END",
                dialect.date_text(&created)
            ),
        })
    }

    fn days_cte(&mut self) -> Result<()> {
        self.last(&[])?;
        if !self.ctes.iter().any(|(name, _)| name == "purchase_days") {
            self.ctes.push(("purchase_days".into(), self.events.purchase_days()));
        }
        Ok(())
    }

    fn join(&mut self, prefix: &str, sql: String) -> String {
        let name = format!("{prefix}_{}", self.joins.len());
        self.ctes.push((name.clone(), sql));
        self.joins.push(name.clone());
        name
    }

    fn today(&self) -> i64 {
        self.events.as_of.timestamp().div_euclid(86_400)
    }

    fn personal_cadence(&mut self, it: &PersonalCadence) -> Result<Simple> {
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

    fn p_alive(&mut self, it: &PAlive) -> Result<Simple> {
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
        let condition = match it.model {
            AliveModel::Mbg => format!("({odds} > {limit:?})"),
            AliveModel::Bg => format!("(CASE WHEN {name}.x = 0 THEN 1 = 0 ELSE {odds} > {limit:?} END)"),
        };
        let reason = format!(
            "CASE WHEN {name}.x IS NULL THEN 'no purchase on record' WHEN {condition} THEN {} ELSE {} END",
            literal(&format!("probability of being a customer under {}", it.p)),
            literal(&format!("probability of being a customer at least {}", it.p)),
        );
        Ok(Simple { condition, reason })
    }

    fn rfm(&mut self, it: &RfmMatrix) -> Result<Simple> {
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

    /// Opens or clicks per customer, `last_at` and `times`: from a table of events that is declared to hold them, else from
    /// the campaign deliveries, else from events whose kind is a column.
    fn reactions(&self, kinds: &[String]) -> Result<String> {
        let deliveries = self.events.warehouse.deliveries.as_ref();
        let found = deliveries.and_then(|map| {
            let opens = kinds.iter().any(|kind| kind == "open");
            Some((map, if opens { map.opened_at.as_ref() } else { map.clicked_at.as_ref() }?, opens))
        });
        let possible = !self.events.warehouse.events.is_empty() && !self.events.impossible(kinds);
        let (map, field, opens) = match found {
            Some(found) if !self.events.declared(kinds) => found,
            _ if possible => return Ok(self.events.last_and_times(kinds)),
            _ => {
                let message = format!("no events of kind {} and no such deliveries are mapped", kinds.join(", "));
                return Err(Error::config(message).hint(
                    "map them in [warehouse.events], or `opened_at` and `clicked_at` in [warehouse.deliveries]",
                ));
            }
        };
        let dialect = self.events.dialect;
        let at = dialect.time(&dialect.field(field, "t"), map.time_form);
        let human = if opens { self.human_open(map) } else { String::new() };
        let customer = dialect.field(&map.customer_id, "t");
        let filter = map.filter.as_ref().map_or_else(String::new, |filter| format!(" AND ({filter})"));
        Ok(format!(
            "SELECT {} AS customer_id, max({at}) AS last_at, count(*) AS times FROM {} AS t \
             WHERE {customer} IS NOT NULL AND {at} < {}{human}{filter} GROUP BY 1",
            dialect.text(&customer),
            dialect.table(&map.table),
            dialect.instant(self.events.as_of)
        ))
    }

    /// Leaves out opens by machines.
    fn human_open(&self, map: &DeliveriesMapping) -> String {
        let dialect = self.events.dialect;
        map.machine_open.as_ref().map_or_else(String::new, |machine| {
            let flag = format!("lower(COALESCE({}, ''))", dialect.text(&dialect.field(machine, "t")));
            format!(" AND {flag} NOT IN ({})", list(&["1", "true", "t", "yes", "y"].map(String::from)))
        })
    }

    /// Joins what says whether a customer is lost and returns the expression: 1, or 0. Lost is who got at least
    /// `after_campaigns` campaigns, each at least `quiet_days` old, and did nothing at all since the first of the last
    /// so many. That is more cautious than looking at each campaign's days alone: whoever came back later is not lost.
    pub(super) fn lost(&mut self, it: &LostConfig) -> Result<String> {
        let Some(map) = &self.events.warehouse.deliveries else {
            return Err(Error::config("[lost] needs [warehouse.deliveries]")
                .hint("map the table of campaign deliveries: campaigns are counted per person there"));
        };
        let dialect = self.events.dialect;
        let (now, done) = (dialect.instant(self.events.as_of), dialect.instant(self.before(it.quiet_days)));
        let at = |field| dialect.time(&dialect.field(field, "t"), map.time_form);
        let customer = dialect.field(&map.customer_id, "t");
        let filter = map.filter.as_ref().map_or_else(String::new, |filter| format!(" AND ({filter})"));
        let (id, table, delivered) = (dialect.text(&customer), dialect.table(&map.table), at(&map.at));
        let campaigns = format!(
            "SELECT {id} AS customer_id, {} AS campaign, max({delivered}) AS delivered FROM {table} AS t \
             WHERE {customer} IS NOT NULL AND {delivered} < {now}{filter} GROUP BY 1, 2",
            dialect.text(&dialect.field(&map.campaign_id, "t")),
        );
        let ranked = format!(
            "SELECT g.customer_id, g.delivered, row_number() OVER (PARTITION BY g.customer_id ORDER BY g.delivered \
             DESC) AS place FROM ({campaigns}) AS g WHERE g.delivered < {done}"
        );
        let mut reactions: Vec<String> = self.events.activity();
        for (field, human) in [(&map.clicked_at, String::new()), (&map.opened_at, self.human_open(map))] {
            let Some(field) = field else { continue };
            reactions.push(format!(
                "SELECT {id} AS customer_id, max({0}) AS last_at, 0 AS unreadable FROM {table} AS t \
                 WHERE {customer} IS NOT NULL AND {0} < {now}{human}{filter} GROUP BY 1",
                at(field)
            ));
        }
        if reactions.is_empty() {
            return Err(Error::config(
                "[lost] needs [warehouse.events], or opens and clicks in [warehouse.deliveries]",
            )
            .hint("without events silence cannot be told from missing data"));
        }
        let sql = format!(
            "SELECT w.customer_id, w.since, v.last_at, v.unreadable FROM (SELECT p.customer_id, min(p.delivered) AS since \
             FROM ({ranked}) AS p WHERE p.place <= {m} GROUP BY p.customer_id HAVING count(*) >= {m}) AS w LEFT JOIN \
             (SELECT u.customer_id, max(u.last_at) AS last_at, max(u.unreadable) AS unreadable FROM ({}) AS u \
             GROUP BY u.customer_id) AS v ON v.customer_id = w.customer_id",
            reactions.join(" UNION ALL "),
            m = it.after_campaigns
        );
        let name = self.join("lost", sql);
        Ok(format!(
            "CASE WHEN {name}.since IS NOT NULL AND COALESCE({name}.unreadable, 0) = 0 \
             AND ({name}.last_at IS NULL OR {name}.last_at < {name}.since) THEN 1 ELSE 0 END"
        ))
    }

    fn no_open_campaigns(&mut self, it: &NoOpenCampaigns) -> Result<Simple> {
        let Some(map) = &self.events.warehouse.deliveries else {
            return Err(Error::config("`no_open_campaigns` needs [warehouse.deliveries]")
                .hint("map the table of campaign deliveries"));
        };
        let dialect = self.events.dialect;
        let now = dialect.instant(self.events.as_of);
        let at = |field| dialect.time(&dialect.field(field, "t"), map.time_form);
        let mut reactions = Vec::new();
        if let Some(clicked) = &map.clicked_at {
            reactions.push(format!("{} < {now}", at(clicked)));
        }
        if let (Some(opened), Engagement::OpenOrClick) = (&map.opened_at, it.engagement) {
            let human = self.human_open(map);
            reactions.push(format!("({} < {now}{human})", at(opened)));
        }
        if reactions.is_empty() {
            return Err(Error::config(
                "`no_open_campaigns` needs `clicked_at` or `opened_at` in [warehouse.deliveries]",
            )
            .hint("with engagement = \"click\" it needs `clicked_at`"));
        }
        let (customer, delivered) = (dialect.field(&map.customer_id, "t"), at(&map.at));
        let filter = map.filter.as_ref().map_or_else(String::new, |filter| format!(" AND ({filter})"));
        let per_campaign = format!(
            "SELECT {} AS customer_id, {} AS campaign, max({delivered}) AS delivered, \
             max(CASE WHEN {} THEN 1 ELSE 0 END) AS reacted FROM {} AS t \
             WHERE {customer} IS NOT NULL AND {delivered} < {now}{filter} GROUP BY 1, 2",
            dialect.text(&customer),
            dialect.text(&dialect.field(&map.campaign_id, "t")),
            reactions.join(" OR "),
            dialect.table(&map.table),
        );
        let sql = format!(
            "SELECT p.customer_id, count(*) AS delivered, max(p.reacted) AS reacted FROM (SELECT g.customer_id, g.reacted, \
             row_number() OVER (PARTITION BY g.customer_id ORDER BY g.delivered DESC, g.campaign DESC) AS place \
             FROM ({per_campaign}) AS g) AS p WHERE p.place <= {} GROUP BY p.customer_id",
            it.campaigns
        );
        let name = self.join("campaigns", sql);
        let min = it.min_delivered.unwrap_or(it.campaigns);
        Ok(Simple {
            condition: format!(
                "(CASE WHEN {name}.reacted = 1 THEN 1 = 0 WHEN {name}.delivered >= {min} THEN 1 = 1 END)"
            ),
            reason: format!(
                "CASE WHEN {name}.delivered IS NULL THEN 'no campaign delivered' WHEN {name}.reacted = 1 THEN 'reacted to one \
                 of the last ' || {0} || ' campaigns' ELSE 'no reaction to the last ' || {0} || ' campaigns' END",
                dialect.text(&format!("{name}.delivered"))
            ),
        })
    }

    fn own(&mut self, from: &str, called: &str) -> Simple {
        let dialect = self.events.dialect;
        let customer = dialect.name("customer_id");
        let sql = format!(
            "SELECT DISTINCT {} AS customer_id FROM {from} AS s WHERE s.{customer} IS NOT NULL",
            dialect.text(&format!("s.{customer}"))
        );
        let name = self.join("own", sql);
        Simple {
            condition: format!("({name}.customer_id IS NOT NULL)"),
            reason: format!(
                "CASE WHEN {name}.customer_id IS NOT NULL THEN {} ELSE {} END",
                literal(&format!("in {called}")),
                literal(&format!("not in {called}"))
            ),
        }
    }
}
