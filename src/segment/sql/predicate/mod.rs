//! A definition as one SQL condition: true is inactive, false active, NULL unknown. SQL's own AND, OR and NOT are
//! Kleene's, so composition is theirs.

mod campaigns;
mod purchases;

use chrono::{DateTime, Duration, Utc};

use super::dialect::literal;
use super::events::{EventQueries, Kinds};
use crate::config::audience_inactive::Inactive;
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
    /// The logarithm of the odds that the customer is gone, for definitions that go by them.
    pub gone_odds: Option<String>,
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
    /// [`Leaf::gone_odds`] of the definition being written.
    pub gone_odds: Option<String>,
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
        let leaf = Leaf {
            name: definition.name(),
            condition: simple.condition.clone(),
            reason: simple.reason.clone(),
            gone_odds: self.gone_odds.take(),
        };
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

    fn join(&mut self, prefix: &str, sql: String) -> String {
        let name = format!("{prefix}_{}", self.joins.len());
        self.ctes.push((name.clone(), sql));
        self.joins.push(name.clone());
        name
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
