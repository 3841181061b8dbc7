//! Queries over the events: per-customer facts, purchase days, purchases in a window.
//!
//! Events are aggregated table by table before anything is joined, and each time is converted at most once per row.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::dialect::{list, literal};
use crate::config::audience_inactive::NEVER_ACTIVITY;
use crate::config::warehouse::{Dialect, EventsMapping, Field, WarehouseConfig};

/// Kinds in a fixed order, so that equal sets are equal.
pub(super) type Kinds = Vec<String>;

/// Kinds whose amount counts against revenue; `adjust` has its own sign.
const UNDOING: [&str; 3] = ["cancel", "refund", "return"];

/// What the facts have to hold.
pub(super) struct EventQueries<'a> {
    pub warehouse: &'a WarehouseConfig,
    pub dialect: Dialect,
    pub as_of: DateTime<Utc>,
    /// Only this customer's events.
    pub only_customer: Option<&'a str>,
}

/// Whether the rows of a table are of some kinds.
enum Test {
    Always,
    Never,
    When(String),
}

impl Test {
    fn pick(&self, expression: &str) -> String {
        match self {
            Self::Always => expression.to_owned(),
            Self::Never => format!("CASE WHEN 1 = 0 THEN {expression} END"),
            Self::When(condition) => format!("CASE WHEN {condition} THEN {expression} END"),
        }
    }
}

impl EventQueries<'_> {
    /// The listed kinds, each purchase kind standing for all of them; the purchase kinds when none is listed.
    pub(super) fn expand(&self, kinds: &[String]) -> Kinds {
        let purchase = &self.warehouse.purchase_kinds;
        let mut set: BTreeSet<&String> = kinds.iter().collect();
        if kinds.is_empty() || kinds.iter().any(|kind| purchase.contains(kind)) {
            set.extend(purchase);
        }
        set.into_iter().filter(|kind| !NEVER_ACTIVITY.contains(&kind.as_str())).cloned().collect()
    }

    pub(super) fn purchases(&self) -> Kinds {
        self.expand(&[])
    }

    /// True when no table can hold one of these kinds.
    pub(super) fn impossible(&self, kinds: &[String]) -> bool {
        self.warehouse.events.iter().all(|table| matches!(table_test(table, kinds), Test::Never))
    }

    /// True when a table is declared to hold one of these kinds.
    pub(super) fn declared(&self, kinds: &[String]) -> bool {
        self.warehouse.events.iter().any(|table| matches!(table_test(table, kinds), Test::Always))
    }

    pub(super) fn has_values(&self) -> bool {
        let purchases = self.purchases();
        let mut tables = self.warehouse.events.iter();
        tables.any(|table| table.value.is_some() && !matches!(table_test(table, &purchases), Test::Never))
    }

    /// One row per customer: `last_0 …` (last event of each set in `lasts`), `last_activity` (of any of them),
    /// `orders_count`, `orders_value`, `unreadable`. With `everybody` also customers without any such event.
    pub(super) fn facts(&self, lasts: &[Kinds], everybody: bool) -> String {
        let purchases = self.purchases();
        let listed: Kinds = lasts.iter().flatten().collect::<BTreeSet<_>>().into_iter().cloned().collect();
        let needed: Kinds = listed.iter().chain(&purchases).collect::<BTreeSet<_>>().into_iter().cloned().collect();
        let relevant = |table: &&EventsMapping| everybody || !matches!(table_test(table, &needed), Test::Never);
        let mut tables: Vec<&EventsMapping> = self.warehouse.events.iter().filter(relevant).collect();
        if tables.is_empty() {
            tables = self.warehouse.events.iter().collect();
        }
        let parts: Vec<String> = tables
            .iter()
            .map(|table| {
                self.table_facts(table, lasts, &listed, &purchases, if everybody { None } else { Some(&needed) })
            })
            .collect();
        let mut sums: Vec<String> =
            (0..lasts.len()).map(|index| format!("max(u.last_{index}) AS last_{index}")).collect();
        sums.push("max(u.last_activity) AS last_activity".into());
        sums.push("sum(u.orders_count) AS orders_count".into());
        sums.push("sum(u.orders_value) AS orders_value".into());
        sums.push("max(u.unreadable) AS unreadable".into());
        match parts.as_slice() {
            [one] => format!("SELECT * FROM ({one}) AS u WHERE trim(u.customer_id) <> ''"),
            many => format!(
                "SELECT u.customer_id, {} FROM ({}) AS u WHERE trim(u.customer_id) <> '' GROUP BY u.customer_id",
                sums.join(", "),
                many.join(" UNION ALL ")
            ),
        }
    }

    fn table_facts(
        &self,
        table: &EventsMapping,
        lasts: &[Kinds],
        listed: &[String],
        purchases: &[String],
        only: Option<&[String]>,
    ) -> String {
        let sqlite = self.dialect == Dialect::Sqlite;
        let until = self.dialect.instant(self.as_of);
        let bought = table_test(table, purchases);
        let amount = if sqlite { "CASE WHEN e.ev_at IS NOT NULL THEN e.ev_value END" } else { "e.ev_value" };
        let mut columns = vec![format!("{} AS customer_id", self.dialect.text("e.ev_customer"))];
        for (index, kinds) in lasts.iter().enumerate() {
            columns.push(format!("max({}) AS last_{index}", table_test(table, kinds).pick("e.ev_at")));
        }
        columns.push(format!("max({}) AS last_activity", table_test(table, listed).pick("e.ev_at")));
        columns.push(format!("count({}) AS orders_count", bought.pick("e.ev_at")));
        columns.push(format!("sum({}) AS orders_value", bought.pick(amount)));
        // Elsewhere an unreadable time is an error of the query.
        let unreadable = table_test(table, listed).pick("CASE WHEN e.ev_at IS NULL THEN 1 ELSE 0 END");
        columns.push(if sqlite { format!("max({unreadable}) AS unreadable") } else { "max(0) AS unreadable".into() });
        let unreadable = if sqlite { " OR e.ev_at IS NULL" } else { "" };
        format!(
            "SELECT {} FROM ({}) AS e WHERE e.ev_at < {until}{unreadable} GROUP BY e.ev_customer",
            columns.join(", "),
            self.scan(table, only)
        )
    }

    /// The distinct days on which each customer bought: `customer_id`, `day_number` (since 1970).
    pub(super) fn purchase_days(&self) -> String {
        let day = self.dialect.day("e.ev_at");
        self.purchase_union("UNION", &format!("{day} AS day_number"), "", None)
    }

    /// Events of these kinds per customer: `customer_id`, `last_at`, `times`.
    pub(super) fn last_and_times(&self, kinds: &[String]) -> String {
        let now = self.dialect.instant(self.as_of);
        let customer = self.dialect.text("e.ev_customer");
        let tables = self.warehouse.events.iter();
        let parts: Vec<String> = tables
            .filter(|table| !matches!(table_test(table, kinds), Test::Never))
            .map(|table| {
                format!(
                    "SELECT {customer} AS customer_id, max(e.ev_at) AS last_at, count(*) AS times FROM ({}) AS e \
                     WHERE e.ev_at < {now} AND trim({customer}) <> '' GROUP BY e.ev_customer",
                    self.scan(table, Some(kinds))
                )
            })
            .collect();
        format!(
            "SELECT w.customer_id, max(w.last_at) AS last_at, sum(w.times) AS times FROM ({}) AS w GROUP BY w.customer_id",
            parts.join(" UNION ALL ")
        )
    }

    /// Anything a customer did, per table: `customer_id`, `last_at`, `unreadable` (1: an event whose time cannot be read).
    pub(super) fn activity(&self) -> Vec<String> {
        let now = self.dialect.instant(self.as_of);
        let customer = self.dialect.text("e.ev_customer");
        let never: Kinds = NEVER_ACTIVITY.map(String::from).into();
        let tables = self.warehouse.events.iter();
        tables
            .filter(|table| !matches!(&table.kind, Field::Literal(kind) if never.contains(kind)))
            .map(|table| {
                format!(
                    "SELECT {customer} AS customer_id, max(e.ev_at) AS last_at, \
                     max(CASE WHEN e.ev_at IS NULL THEN 1 ELSE 0 END) AS unreadable FROM ({}) AS e \
                     WHERE (e.ev_at < {now} OR e.ev_at IS NULL) AND (e.ev_kind IS NULL OR e.ev_kind NOT IN ({})) \
                     GROUP BY e.ev_customer",
                    self.scan(table, None),
                    list(&never)
                )
            })
            .collect()
    }

    /// Purchases from `as_of` up to each of some instants: `customer_id`, `orders_0`, `value_0`, `orders_1` …, `last_at`.
    pub(super) fn purchases_until(&self, instants: &[DateTime<Utc>]) -> String {
        let Some(last) = instants.iter().max() else { unreachable!("the caller asks for at least one window") };
        let until = |index: usize| self.dialect.instant(instants[index]);
        let windows = 0..instants.len();
        let counted = |index: usize| {
            let until = until(index);
            format!(
                "count(CASE WHEN e.ev_at < {until} THEN 1 END) AS orders_{index}, \
                 sum(CASE WHEN e.ev_at < {until} THEN e.ev_value END) AS value_{index}"
            )
        };
        let summed =
            |index: usize| format!("sum(w.orders_{index}) AS orders_{index}, sum(w.value_{index}) AS value_{index}");
        let counted: Vec<String> = windows.clone().map(counted).collect();
        let summed: Vec<String> = windows.map(summed).collect();
        let rows = self.purchase_union(
            "UNION ALL",
            &format!("{}, max(e.ev_at) AS last_at", counted.join(", ")),
            " GROUP BY e.ev_customer",
            Some(*last),
        );
        format!(
            "SELECT w.customer_id, {}, max(w.last_at) AS last_at FROM ({rows}) AS w GROUP BY w.customer_id",
            summed.join(", ")
        )
    }

    /// Purchases and what undoes them in `[as_of, until)`, by customer and day: `customer_id`, `day_number` (since
    /// 1970, UTC), `orders_count`, `revenue_minor` net of cancellations, refunds and returns, whatever their sign.
    pub(super) fn outcomes(&self, until: DateTime<Utc>) -> String {
        let dialect = self.dialect;
        let purchases = self.purchases();
        let undoing: Kinds = UNDOING.map(String::from).into();
        let kinds: Kinds = purchases.iter().cloned().chain(NEVER_ACTIVITY.map(String::from)).collect();
        let (from, until) = (dialect.instant(self.as_of), dialect.instant(until));
        let (customer, day) = (dialect.text("e.ev_customer"), dialect.day("e.ev_at"));
        let tables = self.warehouse.events.iter().filter(|table| !matches!(table_test(table, &kinds), Test::Never));
        let parts: Vec<String> = tables
            .map(|table| {
                let bought = table_test(table, &purchases).pick("e.ev_at");
                let net = match table_test(table, &undoing) {
                    Test::Always => "-abs(e.ev_value)".to_owned(),
                    Test::Never => "e.ev_value".to_owned(),
                    Test::When(undone) => format!("CASE WHEN {undone} THEN -abs(e.ev_value) ELSE e.ev_value END"),
                };
                format!(
                    "SELECT {customer} AS customer_id, {day} AS day_number, count({bought}) AS orders_count, \
                     {} AS revenue_minor FROM ({}) AS e WHERE e.ev_at >= {from} AND e.ev_at < {until} \
                     AND trim({customer}) <> '' GROUP BY e.ev_customer, {day}",
                    dialect.whole(&format!("COALESCE(sum({net}), 0)")),
                    self.scan(table, Some(&kinds))
                )
            })
            .collect();
        parts.join(" UNION ALL ")
    }

    /// Purchases before `as_of`, or from there to `until`, out of all tables.
    fn purchase_union(&self, union: &str, columns: &str, group: &str, until: Option<DateTime<Utc>>) -> String {
        let dialect = self.dialect;
        let purchases = self.purchases();
        let now = dialect.instant(self.as_of);
        let window = match until {
            None => format!("e.ev_at < {now}"),
            Some(until) => format!("e.ev_at >= {now} AND e.ev_at < {}", dialect.instant(until)),
        };
        let distinct = if group.is_empty() { "DISTINCT " } else { "" };
        let customer = dialect.text("e.ev_customer");
        let tables = self.warehouse.events.iter();
        let parts: Vec<String> = tables
            .filter(|table| !matches!(table_test(table, &purchases), Test::Never))
            .map(|table| {
                format!(
                    "SELECT {distinct}{customer} AS customer_id, {columns} FROM ({}) AS e WHERE {window} \
                     AND trim({customer}) <> ''{group}",
                    self.scan(table, Some(&purchases))
                )
            })
            .collect();
        parts.join(&format!(" {union} "))
    }

    /// Rows of one table: `ev_customer`, `ev_at`, `ev_kind`, `ev_value`. Guests and rows without a time are left out.
    fn scan(&self, table: &EventsMapping, only: Option<&[String]>) -> String {
        let dialect = self.dialect;
        let customer = dialect.field(&table.customer_id, "t");
        let at = dialect.field(&table.at, "t");
        let value = table.value.as_ref().map_or_else(
            || dialect.no_number().to_owned(),
            |value| dialect.minor(&dialect.field(value, "t"), table.value_unit),
        );
        let mut conditions = vec![format!("{customer} IS NOT NULL"), format!("{at} IS NOT NULL")];
        if let Some(kinds) = only
            && !matches!(table.kind, Field::Literal(_))
        {
            conditions.push(format!("{} IN ({})", dialect.field(&table.kind, "t"), list(kinds)));
        }
        if let Some(filter) = &table.filter {
            conditions.push(format!("({filter})"));
        }
        if let Some(id) = self.only_customer {
            conditions.push(format!("{} = {}", dialect.text(&customer), literal(id)));
        }
        format!(
            "SELECT {customer} AS ev_customer, {} AS ev_at, {} AS ev_kind, {value} AS ev_value FROM {} AS t WHERE {}{}",
            dialect.time(&at, table.time_form),
            dialect.field(&table.kind, "t"),
            dialect.table(&table.table),
            conditions.join(" AND "),
            dialect.once()
        )
    }
}

fn table_test(table: &EventsMapping, kinds: &[String]) -> Test {
    match &table.kind {
        _ if kinds.is_empty() => Test::Never,
        Field::Literal(kind) if kinds.contains(kind) => Test::Always,
        Field::Literal(_) => Test::Never,
        _ => Test::When(format!("e.ev_kind IN ({})", list(kinds))),
    }
}
