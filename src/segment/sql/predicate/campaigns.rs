//! Definitions that look at campaigns: reactions to them, and customers they no longer reach.

use super::{Simple, Writer};
use crate::config::audience_inactive::{Engagement, NoOpenCampaigns};
use crate::config::lost::LostConfig;
use crate::config::warehouse::DeliveriesMapping;
use crate::segment::sql::dialect::list;
use crate::warehouse::{Error, Result};

impl Writer<'_> {
    /// Opens or clicks per customer, `last_at` and `times`: from a table of events that is declared to hold them, else from
    /// the campaign deliveries, else from events whose kind is a column.
    pub(super) fn reactions(&self, kinds: &[String]) -> Result<String> {
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
    pub(in crate::segment::sql) fn lost(&mut self, it: &LostConfig) -> Result<String> {
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

    pub(super) fn no_open_campaigns(&mut self, it: &NoOpenCampaigns) -> Result<Simple> {
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
}
