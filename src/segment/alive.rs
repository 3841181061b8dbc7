//! Settles `p_alive` with `theta = "fit"`: parameters from the warehouse's own histories before any SQL is written.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::config::audience_inactive::{AliveModel, Inactive, PAlive, Theta};
use crate::config::warehouse::WarehouseConfig;
use crate::roi::alive::{History, Model, fit_counted};
use crate::warehouse::{Columns, Error, ErrorKind, Result, Source};

/// A model fitted to the purchases before an instant.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FittedModel {
    pub model: AliveModel,
    /// Shape and rate (weeks) of the purchase rates.
    pub r: f64,
    pub alpha: f64,
    /// Of the chances to drop out.
    pub a: f64,
    pub b: f64,
    pub log_likelihood: f64,
    /// Customers it was fitted to.
    pub customers: u64,
}

/// A definition with nothing left to fit.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    pub definition: Inactive,
    /// What was fitted for it; empty when nothing was to be.
    pub fitted: Vec<FittedModel>,
}

/// Replaces every `theta = "fit"` by parameters fitted to all histories before `as_of`. Each model is fitted once.
///
/// # Errors
/// Whatever the warehouse answers; too few customers who bought again.
pub async fn settle(
    source: &dyn Source,
    warehouse: &WarehouseConfig,
    definition: &Inactive,
    as_of: DateTime<Utc>,
) -> Result<Settled> {
    let mut settled = Settled { definition: definition.clone(), fitted: Vec::new() };
    let mut models = Vec::new();
    each_alive(&mut settled.definition, &mut |it| {
        if it.theta == Theta::Fit && !models.contains(&it.model) {
            models.push(it.model);
        }
    });
    if models.is_empty() {
        return Ok(settled);
    }
    let histories = histories(source, warehouse, as_of).await?;
    for model in models {
        let histories = histories.clone();
        let fitted = tokio::task::spawn_blocking(move || fit_model(model, &histories))
            .await
            .map_err(|_| Error::new(ErrorKind::Other, "fitting the model was interrupted"))??;
        each_alive(&mut settled.definition, &mut |it| {
            if it.theta == Theta::Fit && it.model == model {
                it.theta = Theta::Given([fitted.r, fitted.alpha, fitted.a, fitted.b]);
            }
        });
        settled.fitted.push(fitted);
    }
    Ok(settled)
}

fn each_alive(definition: &mut Inactive, visit: &mut impl FnMut(&mut PAlive)) {
    match definition {
        Inactive::PAlive(it) => visit(it),
        Inactive::All(parts) | Inactive::Any(parts) => {
            for part in parts {
                each_alive(part, visit);
            }
        }
        Inactive::Not(part) => each_alive(part, visit),
        _ => {}
    }
}

async fn histories(
    source: &dyn Source,
    warehouse: &WarehouseConfig,
    as_of: DateTime<Utc>,
) -> Result<Vec<(History, u64)>> {
    let mut stream = source.query(&super::sql::history_query(warehouse, as_of, source.dialect())?).await?;
    let mut histories = Vec::new();
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        let columns = Columns::new(&batch);
        let number = |name, row| columns.get(name).and_then(|values| values.i64(row));
        for row in 0..columns.rows() {
            let all = ["repeats", "last_days", "age_days", "people"].map(|name| number(name, row));
            let [Some(repeats), Some(last), Some(age), Some(people)] = all else {
                return Err(Error::new(
                    ErrorKind::Other,
                    "the warehouse returned no numbers for the purchase histories",
                ));
            };
            let history = History { repeats: repeats as u32, last: last as f64 / 7.0, age: age as f64 / 7.0 };
            histories.push((history, people as u64));
        }
    }
    Ok(histories)
}

fn fit_model(model: AliveModel, histories: &[(History, u64)]) -> Result<FittedModel> {
    let kind = match model {
        AliveModel::Mbg => Model::MbgNbd,
        AliveModel::Bg => Model::BgNbd,
    };
    let fit = fit_counted(kind, histories.iter().copied()).map_err(|error| {
        let text = error.to_string();
        let (message, hint) = text.split_once("\nhint: ").unwrap_or((&text, "give theta as four numbers"));
        Error::config(format!("p_alive cannot be fitted: {message}")).hint(hint.to_owned())
    })?;
    let customers = histories.iter().map(|(_, people)| people).sum();
    let p = fit.parameters;
    Ok(FittedModel { model, r: p.r, alpha: p.alpha, a: p.a, b: p.b, log_likelihood: fit.log_likelihood, customers })
}
