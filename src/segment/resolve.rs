//! Looks at the warehouse's own column types to settle what the configuration left to `auto`.

use crate::config::warehouse::{Dialect, Field, TimeForm, WarehouseConfig};
use crate::warehouse::{Error, ErrorKind, Result, Source};

/// The configuration with each `time_form = "auto"` settled where the dialect has to know it beforehand: a numeric
/// column holds seconds since 1970. Also proves that the mapped tables and columns exist.
///
/// # Errors
/// `Query` for a table or column that is not there, with the names that are; others as the source answers.
pub async fn resolve(source: &dyn Source, warehouse: &WarehouseConfig) -> Result<WarehouseConfig> {
    let mut resolved = warehouse.clone();
    for (index, events) in resolved.events.iter_mut().enumerate() {
        let section = format!("[warehouse.events] {}", index + 1);
        let columns = source.columns(&events.table).await?;
        let mapped = [Some(&events.customer_id), Some(&events.at), Some(&events.kind), events.value.as_ref()];
        check(&section, &events.table, &columns, mapped.into_iter().flatten())?;
        settle(source.dialect(), &columns, &events.at, &mut events.time_form);
    }
    if let Some(deliveries) = &mut resolved.deliveries {
        let columns = source.columns(&deliveries.table).await?;
        let required = [&deliveries.customer_id, &deliveries.campaign_id, &deliveries.at];
        let optional = [&deliveries.opened_at, &deliveries.clicked_at, &deliveries.machine_open];
        let mapped = required.into_iter().chain(optional.into_iter().flatten());
        check("[warehouse.deliveries]", &deliveries.table, &columns, mapped)?;
        settle(source.dialect(), &columns, &deliveries.at, &mut deliveries.time_form);
    }
    if let Some(customers) = &mut resolved.customers {
        let columns = source.columns(&customers.table).await?;
        let aliases = super::sql::column_aliases(customers);
        let mapped = customers.id.iter().chain(aliases.iter().map(|(_, field)| *field));
        check("[warehouse.customers]", &customers.table, &columns, mapped)?;
        if let Some(created) = &customers.created_at {
            settle(source.dialect(), &columns, created, &mut customers.time_form);
        }
    }
    Ok(resolved)
}

fn check<'a>(
    section: &str,
    table: &str,
    columns: &[crate::warehouse::Column],
    mapped: impl Iterator<Item = &'a Field>,
) -> Result<()> {
    let known = |name: &str| columns.iter().any(|column| column.name.eq_ignore_ascii_case(name));
    let missing: Vec<&str> = mapped
        .filter_map(|field| match field {
            Field::Column(name) if !known(name) => Some(name.as_str()),
            _ => None,
        })
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let message = format!("{section}: table {table} has no column {}", missing.join(", "));
    Err(Error::new(ErrorKind::Query, message)
        .hint(format!("it has {}; literals are written \"'FR'\"", names.join(", "))))
}

fn settle(dialect: Dialect, columns: &[crate::warehouse::Column], field: &Field, form: &mut TimeForm) {
    let Field::Column(name) = field else { return };
    let found = columns.iter().find(|column| column.name.eq_ignore_ascii_case(name));
    let numeric = found.is_some_and(|column| {
        let kind = column.type_name.as_str();
        kind.starts_with("int") || kind.starts_with("float") || kind.starts_with("uint") || kind == "numeric"
    });
    if *form == TimeForm::Auto && numeric && dialect != Dialect::Sqlite {
        *form = TimeForm::UnixSeconds;
    }
}
