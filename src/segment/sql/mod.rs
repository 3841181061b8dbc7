//! Definitions to SQL: one SELECT over all customers, judged at an instant, in the warehouse's dialect.
//!
//! Every query has the same shape: `facts` (the events, aggregated per customer), what the definition needs besides,
//! then `judged` (customers joined to both, with the definition as one three-valued condition). Names and constants are
//! quoted; expressions, queries and `where` texts out of the configuration are trusted and stand as they are.

mod dialect;
mod events;
mod figures;
mod predicate;

#[cfg(test)]
mod tests;

pub use self::figures::{cadence_query, history_query, matrix_query, overlap_query, scores_query, sync_query};

use chrono::{DateTime, Duration, SubsecRound, Utc};

use self::dialect::literal;
use self::events::EventQueries;
use self::predicate::Writer;
use crate::config::audience_inactive::Inactive;
use crate::config::lost::LostConfig;
use crate::config::warehouse::{CustomersMapping, Dialect, Field, WarehouseConfig};
use crate::warehouse::{Error, Result};

/// What [`base_query`] leaves out or adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BaseOptions {
    /// Only the inactive.
    pub only_inactive: bool,
    /// The mapped columns of the customers.
    pub columns: bool,
    /// A `reason` in words.
    pub reason: bool,
}

impl BaseOptions {
    /// What a sync reads: the inactive with all their columns.
    pub const SYNC: Self = Self { only_inactive: true, columns: true, reason: false };
    /// Everybody, without columns.
    pub const STATES: Self = Self { only_inactive: false, columns: false, reason: false };
}

/// One row per customer: `customer_id`, `state` (`inactive`, `active`, `unknown`), `last_activity_at`, `orders_count`,
/// `orders_value_minor` (hundredths, all purchases before `as_of`) and, when asked for, `reason` and the mapped columns
/// under the names of [`column_aliases`]. Fractions of a second of `as_of` are cut. A definition that is a query or table
/// of one's own needs no mapped customers: its rows, under their own names, are then the segment.
///
/// # Errors
/// `Config`: the definition is faulty or needs something that is not mapped.
pub fn base_query(
    warehouse: &WarehouseConfig,
    definition: &Inactive,
    as_of: DateTime<Utc>,
    dialect: Dialect,
    options: BaseOptions,
) -> Result<String> {
    Ok(Query::judge(warehouse, definition, as_of, dialect, options, None)?.into_sql())
}

/// One row: `customers` (that the definition can judge), `inactive`, `unknown`.
///
/// # Errors
/// As [`base_query`].
pub fn count_query(
    warehouse: &WarehouseConfig,
    definition: &Inactive,
    as_of: DateTime<Utc>,
    dialect: Dialect,
) -> Result<String> {
    let query = Query::judge(warehouse, definition, as_of, dialect, BaseOptions::STATES, None)?;
    // A customers table may hold an id twice; over the events and in a segment of one's own each id comes once.
    let distinct = if warehouse.customers.is_some() { "DISTINCT " } else { "" };
    let count = |condition: &str| format!("count({distinct}CASE WHEN s.state {condition} THEN s.customer_id END)");
    Ok(query
        .then("states")
        .select(&format!(
            "SELECT {} AS customers, {} AS inactive, {} AS unknown FROM states AS s",
            count("<> 'unknown'"),
            count("= 'inactive'"),
            count("= 'unknown'")
        ))
        .into_sql())
}

/// What the inactive did by themselves in some windows of days from `as_of` on, and their own history. One row:
/// `inactive`, `own_orders`, `own_revenue_minor`, `aov_pooled_minor`, `aov_customer_mean_minor`,
/// `aov_customer_median_minor`; for each window in turn `returned_0`, `return_orders_0`, `return_revenue_minor_0` …; and
/// `last_purchase_at` (anybody's, in the longest window).
///
/// # Errors
/// As [`base_query`]; also when no events are mapped, or without a window.
pub fn return_query(
    warehouse: &WarehouseConfig,
    definition: &Inactive,
    as_of: DateTime<Utc>,
    windows: &[u32],
    dialect: Dialect,
) -> Result<String> {
    let as_of = as_of.trunc_subsecs(0);
    let options = BaseOptions { only_inactive: true, ..BaseOptions::STATES };
    let query = Query::judge(warehouse, definition, as_of, dialect, options, None)?;
    let events = EventQueries { warehouse, dialect, as_of, only_customer: None };
    if warehouse.events.is_empty() || events.impossible(&events.purchases()) {
        return Err(Error::config("no table of [warehouse.events] has purchases, so returns cannot be counted")
            .hint("map the orders, or name their kind in `purchase_kinds`"));
    }
    if windows.is_empty() {
        return Err(Error::config("no window to count returns in").hint("give a number of days"));
    }
    let float = |number: &str| dialect.float(number);
    let ends: Vec<_> = windows.iter().map(|days| as_of + Duration::days((*days).into())).collect();
    let each = |column: &dyn Fn(usize) -> String| (0..windows.len()).map(column).collect::<Vec<_>>().join(", ");
    Ok(query
        .then("segment")
        .with("after", events.purchases_until(&ends))
        .with(
            "baskets",
            format!(
                "SELECT b.aov, row_number() OVER (ORDER BY b.aov) AS place, count(*) OVER () AS people FROM \
                 (SELECT {} / s.orders_count AS aov FROM segment AS s WHERE s.orders_count > 0) AS b",
                float("s.orders_value_minor")
            ),
        )
        .with(
            "own",
            format!(
                "SELECT count(*) AS inactive, COALESCE(sum(s.orders_count), 0) AS orders, \
                 COALESCE(sum(s.orders_value_minor), 0) AS revenue, {} / NULLIF(sum(s.orders_count), 0) AS pooled \
                 FROM segment AS s",
                float("sum(s.orders_value_minor)")
            ),
        )
        .with(
            "back",
            // Not a join: planners without statistics on a subquery may run it once per customer.
            format!(
                "SELECT {} FROM (SELECT m.customer_id, max(m.member) AS member, {} FROM \
                 (SELECT s.customer_id, 1 AS member, {} FROM segment AS s UNION ALL \
                 SELECT a.customer_id, 0, {} FROM after AS a) AS m GROUP BY m.customer_id) AS g WHERE g.member = 1",
                each(&|i| format!(
                    "count(CASE WHEN g.orders_{i} > 0 THEN 1 END) AS people_{i}, COALESCE(sum(g.orders_{i}), 0) AS orders_{i}, \
                     COALESCE(sum(g.value_{i}), 0) AS value_{i}"
                )),
                each(&|i| format!("sum(m.orders_{i}) AS orders_{i}, sum(m.value_{i}) AS value_{i}")),
                each(&|i| format!("0 AS orders_{i}, 0 AS value_{i}")),
                each(&|i| format!("a.orders_{i}, a.value_{i}")),
            ),
        )
        .select(&format!(
            "SELECT o.inactive, o.orders AS own_orders, o.revenue AS own_revenue_minor, o.pooled AS aov_pooled_minor, \
             (SELECT avg(b.aov) FROM baskets AS b) AS aov_customer_mean_minor, \
             (SELECT avg(b.aov) FROM baskets AS b WHERE 2 * b.place BETWEEN b.people AND b.people + 2) \
             AS aov_customer_median_minor, {}, {} AS last_purchase_at FROM own AS o CROSS JOIN back AS r",
            each(&|i| format!(
                "r.people_{i} AS returned_{i}, r.orders_{i} AS return_orders_{i}, {} AS return_revenue_minor_{i}",
                dialect.whole(&format!("r.value_{i}"))
            )),
            dialect.shown("(SELECT max(a.last_at) FROM after AS a)"),
        ))
        .into_sql())
}

/// What everybody bought in `[from, until)`, net of what was undone, one row per customer and day with any of it:
/// `customer_id`, `day_number` (since 1970, UTC), `orders_count`, `revenue_minor`. A customer and day may come once per
/// table.
///
/// # Errors
/// `Config`: no events are mapped that could be purchases.
pub fn outcome_query(
    warehouse: &WarehouseConfig,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    dialect: Dialect,
) -> Result<String> {
    let events = EventQueries { warehouse, dialect, as_of: from.trunc_subsecs(0), only_customer: None };
    if warehouse.events.is_empty() || events.impossible(&events.purchases()) {
        return Err(Error::config("no table of [warehouse.events] has purchases, so nothing can be measured")
            .hint("map the orders, or name their kind in `purchase_kinds`"));
    }
    Ok(events.outcomes(until.trunc_subsecs(0)))
}

/// The row of [`base_query`] for one customer, with its reason and without columns, and for each simple definition inside
/// `leaf_1`, its state, `leaf_reason_1` and, of a model, `leaf_gone_odds_1` (logarithm of the odds of being gone) …; no row
/// when the customer is not there.
///
/// # Errors
/// As [`base_query`]; also for an id with a NUL or, outside SQLite and PostgreSQL, a backslash.
pub fn explain_query(
    warehouse: &WarehouseConfig,
    definition: &Inactive,
    as_of: DateTime<Utc>,
    dialect: Dialect,
    customer_id: &str,
) -> Result<String> {
    if customer_id.contains('\0') || (dialect == Dialect::Ansi && customer_id.contains('\\')) {
        return Err(Error::config("the customer id holds a character that cannot be put in a query safely"));
    }
    let options = BaseOptions { only_inactive: false, columns: false, reason: true };
    let also = Also { leaves: true, ..Also::default() };
    Ok(Query::judge_with(warehouse, definition, as_of, dialect, options, Some(customer_id), &also)?.into_sql())
}

/// The mapped columns under their fixed names: `email_1 …`, `phone_1 …`, `email_digest_1 …`, `phone_digest_1 …`,
/// `mobile_id_1 …`, `given_name`, `family_name` and the others as their key in `[warehouse.customers]`.
pub fn column_aliases(customers: &CustomersMapping) -> Vec<(String, &Field)> {
    let lists = [
        ("email", &customers.emails),
        ("phone", &customers.phones),
        ("email_digest", &customers.email_digests),
        ("phone_digest", &customers.phone_digests),
        ("mobile_id", &customers.mobile_ids),
    ];
    let singles = [
        ("given_name", &customers.first_name),
        ("family_name", &customers.last_name),
        ("postcode", &customers.postcode),
        ("city", &customers.city),
        ("country", &customers.country),
        ("consent_ads", &customers.consent_ads),
        ("consent_at", &customers.consent_at),
        ("consent_source", &customers.consent_source),
        ("unsubscribed", &customers.unsubscribed),
        ("hard_bounce", &customers.hard_bounce),
        ("complaint", &customers.complaint),
        ("objection", &customers.objection),
        ("erasure", &customers.erasure),
        ("us_opt_out", &customers.us_opt_out),
        ("test", &customers.test),
        ("minor", &customers.minor),
        ("birth_date", &customers.birth_date),
        ("created_at", &customers.created_at),
        ("ladder_step", &customers.ladder_step),
        ("last_contact_at", &customers.last_contact_at),
    ];
    let listed = lists.into_iter().flat_map(|(name, fields)| {
        fields.iter().enumerate().map(move |(index, field)| (format!("{name}_{}", index + 1), field))
    });
    listed.chain(singles.into_iter().filter_map(|(name, field)| Some((name.to_owned(), field.as_ref()?)))).collect()
}

/// Common table expressions and the SELECT over them.
struct Query {
    ctes: Vec<(String, String)>,
    select: String,
}

/// Columns besides those of [`BaseOptions`].
#[derive(Default)]
struct Also<'a> {
    /// State and reason of every simple definition.
    leaves: bool,
    /// `lost`: 1 or 0.
    lost: Option<&'a LostConfig>,
    /// Expressions over what the definition joins, with their names.
    columns: &'a [(&'a str, &'a str)],
}

impl Query {
    fn judge(
        warehouse: &WarehouseConfig,
        definition: &Inactive,
        as_of: DateTime<Utc>,
        dialect: Dialect,
        options: BaseOptions,
        only_customer: Option<&str>,
    ) -> Result<Self> {
        Self::judge_with(warehouse, definition, as_of, dialect, options, only_customer, &Also::default())
    }

    fn judge_with(
        warehouse: &WarehouseConfig,
        definition: &Inactive,
        as_of: DateTime<Utc>,
        dialect: Dialect,
        options: BaseOptions,
        only_customer: Option<&str>,
        also: &Also<'_>,
    ) -> Result<Self> {
        let faults = definition.faults();
        if !faults.is_empty() {
            return Err(Error::config(faults.join("; ")));
        }
        let events = EventQueries { warehouse, dialect, as_of: as_of.trunc_subsecs(0), only_customer };
        let mut writer = Writer {
            events,
            lasts: Vec::new(),
            ctes: Vec::new(),
            joins: Vec::new(),
            gone_odds: None,
            needs_everybody: false,
        };
        let predicate = writer.write(definition)?;
        let lost = also.lost.map(|lost| writer.lost(lost)).transpose()?;
        if writer.needs_everybody {
            writer.events.only_customer = None;
        }
        let has_events = !warehouse.events.is_empty();
        if writer.lasts.is_empty() && has_events {
            writer.lasts.push(writer.events.purchases());
        }
        if let (None, Inactive::Sql(_) | Inactive::Table(_)) = (&warehouse.customers, definition) {
            let facts = has_events.then(|| writer.events.facts(&writer.lasts, false));
            return Ok(Self::own_rows(definition, dialect, options, facts, only_customer));
        }

        let mut ctes = Vec::new();
        if has_events {
            ctes.push(("facts".to_owned(), writer.events.facts(&writer.lasts, warehouse.customers.is_none())));
        }
        ctes.append(&mut writer.ctes);
        let (customer, from, guests) = universe(warehouse, dialect)?;
        let mut columns = vec![format!("{customer} AS customer_id"), format!("{} AS verdict", predicate.condition)];
        columns.extend(fact_columns(dialect, has_events));
        if options.reason {
            columns.push(format!("{} AS reason", predicate.reason));
        }
        let aliases = warehouse.customers.as_ref().filter(|_| options.columns).map(column_aliases).unwrap_or_default();
        columns.extend(aliases.iter().map(|(alias, field)| format!("{} AS {alias}", dialect.field(field, "c"))));
        let mut added: Vec<(String, String)> =
            also.columns.iter().map(|(sql, name)| ((*sql).to_owned(), (*name).to_owned())).collect();
        added.extend(lost.map(|sql| (sql, "lost".to_owned())));
        for (index, leaf) in predicate.leaves.iter().enumerate().filter(|_| also.leaves) {
            let condition = &leaf.condition;
            added.push((
                format!("CASE WHEN {condition} THEN 'inactive' WHEN NOT {condition} THEN 'active' ELSE 'unknown' END"),
                format!("leaf_{}", index + 1),
            ));
            added.push((leaf.reason.clone(), format!("leaf_reason_{}", index + 1)));
            added.push((literal(leaf.name), format!("leaf_name_{}", index + 1)));
            let odds = leaf.gone_odds.iter();
            added.extend(odds.map(|odds| (odds.clone(), format!("leaf_gone_odds_{}", index + 1))));
        }
        columns.extend(added.iter().map(|(sql, name)| format!("{sql} AS {name}")));
        let mut joined = from;
        if has_events && warehouse.customers.is_some() {
            joined.push_str(&format!(" LEFT JOIN facts AS f ON f.customer_id = {customer}"));
        }
        for name in &writer.joins {
            joined.push_str(&format!(" LEFT JOIN {name} ON {name}.customer_id = {customer}"));
        }
        let one = only_customer.map_or_else(String::new, |id| format!(" AND {customer} = {}", literal(id)));
        ctes.push(("judged".into(), format!("SELECT {} FROM {joined} WHERE {guests}{one}", columns.join(", "))));
        let names = aliases.iter().map(|(alias, _)| alias).chain(added.iter().map(|(_, name)| name));
        Ok(Self { ctes, select: final_select(dialect, options, names) })
    }

    /// A segment of one's own without mapped customers: its rows as they are, all of them in; each customer once unless
    /// the rows' own columns are wanted.
    fn own_rows(
        definition: &Inactive,
        dialect: Dialect,
        options: BaseOptions,
        facts: Option<String>,
        only_customer: Option<&str>,
    ) -> Self {
        let from = match definition {
            Inactive::Sql(sql) => format!("({}\n)", sql.trim().trim_end_matches(';')),
            Inactive::Table(table) => dialect.table(table),
            _ => unreachable!("the caller has checked the kind of definition"),
        };
        let customer = dialect.text(&format!("s.{}", dialect.name("customer_id")));
        let one = only_customer.map_or_else(String::new, |id| format!(" AND {customer} = {}", literal(id)));
        let mut columns = if options.columns { vec!["s.*".into()] } else { vec![format!("{customer} AS customer_id")] };
        columns.push("'inactive' AS state".into());
        let mut joined = format!("{from} AS s");
        if facts.is_some() {
            joined.push_str(&format!(" LEFT JOIN facts AS f ON f.customer_id = {customer}"));
            columns.push(format!("{} AS last_activity_at", dialect.shown("f.last_activity")));
            columns.push(dialect_integer(dialect, "COALESCE(f.orders_count, 0)", "orders_count"));
            columns.push(format!("{} AS orders_value_minor", dialect.whole("f.orders_value")));
        }
        if options.reason {
            columns.push(format!("{} AS reason", literal("in your own segment")));
        }
        // It may name a customer once per event, say. The columns beside the id follow from it, unless they are its own.
        let distinct = if options.columns { "" } else { "DISTINCT " };
        let select = format!(
            "SELECT {distinct}{} FROM {joined} WHERE {customer} IS NOT NULL AND trim({customer}) <> ''{one}",
            columns.join(", ")
        );
        Self { ctes: facts.into_iter().map(|facts| ("facts".to_owned(), facts)).collect(), select }
    }

    /// Names the SELECT, so that another can stand on it.
    fn then(mut self, name: &str) -> Self {
        let select = std::mem::take(&mut self.select);
        self.ctes.push((name.to_owned(), select));
        self
    }

    fn with(mut self, name: &str, sql: String) -> Self {
        self.ctes.push((name.to_owned(), sql));
        self
    }

    fn select(mut self, sql: &str) -> Self {
        sql.clone_into(&mut self.select);
        self
    }

    fn into_sql(self) -> String {
        if self.ctes.is_empty() {
            return self.select;
        }
        let ctes: Vec<String> = self.ctes.iter().map(|(name, sql)| format!("{name} AS (\n  {sql}\n)")).collect();
        format!("WITH {}\n{}", ctes.join(", "), self.select)
    }
}

/// The customer's id as text, the table everybody is in, and the condition that leaves out guests.
fn universe(warehouse: &WarehouseConfig, dialect: Dialect) -> Result<(String, String, String)> {
    let Some(customers) = &warehouse.customers else {
        if warehouse.events.is_empty() {
            return Err(Error::config("neither [warehouse.customers] nor [warehouse.events] is mapped")
                .hint("map at least one of them"));
        }
        // `facts` has left out blank ids.
        return Ok(("f.customer_id".into(), "facts AS f".into(), "1 = 1".into()));
    };
    if customers.table.trim().is_empty() {
        return Err(Error::config("[warehouse.customers] needs `table`").hint("the table with one row per customer"));
    }
    let Some(id) = &customers.id else {
        return Err(
            Error::config("[warehouse.customers] needs `id`").hint("the column that the events name a customer by")
        );
    };
    let id = dialect.field(id, "c");
    let customer = dialect.text(&id);
    let filter = customers.filter.as_ref().map_or_else(String::new, |filter| format!(" AND ({filter})"));
    let guests = format!("{id} IS NOT NULL AND trim({customer}) <> ''{filter}");
    Ok((customer, format!("{} AS c", dialect.table(&customers.table)), guests))
}

fn fact_columns(dialect: Dialect, has_events: bool) -> [String; 4] {
    if !has_events {
        let (none, no_time) = match dialect {
            Dialect::Sqlite => ("NULL", "NULL"),
            Dialect::Postgresql => ("CAST(NULL AS NUMERIC)", "CAST(NULL AS TIMESTAMPTZ)"),
            Dialect::Ansi => ("CAST(NULL AS DECIMAL(18, 4))", "CAST(NULL AS TIMESTAMP)"),
        };
        return [
            format!("{no_time} AS last_activity"),
            "0 AS orders_count".into(),
            format!("{none} AS orders_value"),
            "0 AS unreadable".into(),
        ];
    }
    [
        "f.last_activity AS last_activity".into(),
        "COALESCE(f.orders_count, 0) AS orders_count".into(),
        "f.orders_value AS orders_value".into(),
        "COALESCE(f.unreadable, 0) AS unreadable".into(),
    ]
}

/// An event whose time cannot be read may be recent, so it never lets anybody be inactive.
fn final_select<'a>(dialect: Dialect, options: BaseOptions, names: impl Iterator<Item = &'a String>) -> String {
    let mut columns = vec![
        "j.customer_id".to_owned(),
        "CASE WHEN j.verdict AND j.unreadable = 0 THEN 'inactive' WHEN NOT j.verdict THEN 'active' ELSE 'unknown' END AS state"
            .to_owned(),
        format!("{} AS last_activity_at", dialect.shown("j.last_activity")),
        dialect_integer(dialect, "j.orders_count", "orders_count"),
        format!("{} AS orders_value_minor", dialect.whole("j.orders_value")),
    ];
    if options.reason {
        columns.push(
            "CASE WHEN j.unreadable = 1 THEN 'an event has a time that cannot be read; ' || j.reason ELSE j.reason END AS reason"
                .into(),
        );
    }
    columns.extend(names.map(|name| format!("j.{name}")));
    let filter = if options.only_inactive { " WHERE j.verdict AND j.unreadable = 0" } else { "" };
    format!("SELECT {} FROM judged AS j{filter}", columns.join(", "))
}

fn dialect_integer(dialect: Dialect, number: &str, name: &str) -> String {
    match dialect {
        Dialect::Sqlite => format!("{number} AS {name}"),
        _ => format!("CAST({number} AS BIGINT) AS {name}"),
    }
}
