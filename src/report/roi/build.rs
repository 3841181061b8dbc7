//! Gathers the report from the state, the warehouse and the projection.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    Destination, Exclusion, Funnel, HoldoutPower, PowerCurve, ReturnCurve, ReturnPoint, RoiReport, Spontaneous,
};
use crate::config::audience_inactive::RfmMatrix;
use crate::config::warehouse::Field as Mapped;
use crate::report::history::{History, Past, RETURN_WINDOW_DAYS};
use crate::report::match_rates::{Reading, readings};
use crate::report::projection::Known;
use crate::roi::plan::HoldoutPlan;
use crate::roi::{Distribution, Field, Inputs, Projection, project, project_union};
use crate::segment;
use crate::sync::eligibility::reason;
use crate::sync::preview::{AudiencePlan, Show};
use crate::sync::{Engine, Exclusions, Selection, Silent};
use crate::warehouse;

/// What the reader may set.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Default: the last run's, else now. A run stands for its own day only.
    pub as_of: Option<DateTime<Utc>>,
    /// Media money per platform; default: what the cap of ad views allows.
    pub budget: Option<f64>,
    /// Gross margin share.
    pub margin: Option<f64>,
    /// Default: the literal currency of the mapped events, else EUR.
    pub currency: Option<String>,
    pub seed: Option<u64>,
    pub draws: Option<usize>,
}

/// Builds the report of one audience.
///
/// # Errors
/// Config, state or warehouse.
pub async fn build(engine: &Engine, key: &str, options: &Options) -> anyhow::Result<RoiReport> {
    let audience = engine.config.audience(key)?;
    let mut notes = Vec::new();
    let day_asked = options.as_of.map(|as_of| as_of.date_naive());
    let of_the_day = |at: DateTime<Utc>| day_asked.is_none_or(|day| at.date_naive() == day);
    let runs = engine.store.runs(Some(key), 50).await?;
    let run = runs.into_iter().find(|run| run.segment.is_some() && of_the_day(run.as_of));
    let as_of = options.as_of.or(run.as_ref().map(|run| run.as_of)).unwrap_or_else(|| engine.clock.now());
    let source = warehouse::open(&engine.config.warehouse).await?;
    let mapping = segment::resolve(&*source, &engine.config.warehouse).await?;
    let mut destinations = destinations(engine, key, run.as_ref().map(|run| run.id.as_str())).await?;
    let funnel = match &run {
        Some(run) => funnel(&run.id, run.as_of, run.segment.as_ref().unwrap_or(&Value::Null)),
        None => {
            notes.push(format!(
                "No run of the audience is of {}: its people were counted afresh in the warehouse, by the rules that \
                 `reveil plan {key}` goes by.",
                as_of.format("%Y-%m-%d")
            ));
            let selection = Selection { audience: key.to_owned(), as_of, destinations: Vec::new() };
            let plan = engine.plan(&selection, Show::default(), &Silent).await?;
            for destination in &mut destinations {
                destination.excluded = left_out_at(&plan, &destination.destination);
            }
            planned(&plan)
        }
    };
    let currency = currency(&mapping, options);
    let mut known = Known::gather_from(engine, &*source, &mapping, key, as_of).await?;
    known.people = funnel.eligible;
    notes.extend(known.history.missing.iter().cloned());
    let spontaneous = spontaneous(&known.history);
    let inputs = inputs(engine, &funnel, &destinations, &known, &currency, options, &mut notes)?;
    let projections: Vec<Projection> = inputs.iter().map(project).collect();
    let union = if inputs.len() > 1 { project_union(&inputs).map(Into::into) } else { None };
    let matrix = match segment::matrix(&*source, &mapping, &RfmMatrix::default(), as_of).await {
        Ok(matrix) => Some(matrix),
        Err(error) if error.kind() == warehouse::ErrorKind::Config => {
            notes.push(format!("No matrix: {error}"));
            None
        }
        Err(error) => return Err(error.into()),
    };
    let holdout = holdout(audience.holdout.ratio(), &funnel, spontaneous.as_ref(), &projections);
    Ok(RoiReport {
        audience: key.to_owned(),
        label: audience.label.clone(),
        as_of,
        currency,
        synthetic: engine.config.warehouse.synthetic,
        definition: audience.inactive.clone(),
        funnel,
        destinations,
        returns: known.history.past.iter().filter_map(curve).collect(),
        spontaneous,
        aov_own_minor: known.history.aov_minor,
        projections,
        union,
        matrix,
        holdout,
        notes,
    })
}

fn currency(mapping: &crate::config::WarehouseConfig, options: &Options) -> String {
    let mapped = mapping.events.iter().find_map(|events| match &events.currency {
        Some(Mapped::Literal(code)) => Some(code.clone()),
        _ => None,
    });
    options.currency.clone().or(mapped).unwrap_or_else(|| "EUR".to_owned())
}

fn funnel(run: &str, as_of: DateTime<Utc>, segment: &Value) -> Funnel {
    let number = |name: &str| segment.get(name).and_then(Value::as_u64).unwrap_or(0);
    Funnel {
        run: Some(run.to_owned()),
        run_as_of: Some(as_of),
        as_of,
        customers: number("customers"),
        active: number("active"),
        unknown: number("unknown"),
        inactive: number("inactive"),
        eligible: number("eligible"),
        excluded: exclusions(segment.get("excluded")),
    }
}

/// The same counts without a run.
fn planned(plan: &AudiencePlan) -> Funnel {
    let segment = &plan.segment;
    Funnel {
        run: None,
        run_as_of: None,
        as_of: plan.as_of,
        customers: segment.customers,
        active: segment.active,
        unknown: segment.unknown,
        inactive: segment.inactive,
        eligible: segment.eligible,
        excluded: beyond(&segment.excluded, &Exclusions::default()),
    }
}

/// Whom the plan leaves out for one destination, of those who may be uploaded.
fn left_out_at(plan: &AudiencePlan, destination: &str) -> Vec<Exclusion> {
    let found = plan.destinations.iter().find(|it| it.destination == destination);
    found.map_or_else(Vec::new, |found| beyond(&found.excluded, &plan.segment.excluded))
}

/// `all` less what `counted` has of it.
fn beyond(all: &Exclusions, counted: &Exclusions) -> Vec<Exclusion> {
    all.iter()
        .map(|(code, people)| (code, people.saturating_sub(counted.get(code))))
        .filter(|(_, people)| *people > 0)
        .map(|(code, people)| Exclusion { reason: code.to_owned(), label: reason::describe(code), people })
        .collect()
}

/// Counts by reason, in rule order.
fn exclusions(counts: Option<&Value>) -> Vec<Exclusion> {
    let people = |code: &str| counts?.get(code)?.as_u64();
    reason::ORDER
        .iter()
        .filter_map(|code| {
            Some(Exclusion { reason: (*code).to_owned(), label: reason::describe(code), people: people(code)? })
        })
        .collect()
}

async fn destinations(engine: &Engine, key: &str, run: Option<&str>) -> anyhow::Result<Vec<Destination>> {
    let all = readings(engine.store.observations(Some(key)).await?, true);
    let parts = match run {
        Some(run) => engine.store.destination_runs(run).await?,
        None => Vec::new(),
    };
    let temp = std::env::temp_dir();
    let mut destinations = Vec::new();
    for name in &engine.config.audience(key)?.destinations {
        let connector = engine.config.destination(name)?.connector.clone();
        let stats = tokio::task::block_in_place(|| engine.ledgers.peek(key, name, &temp)?.stats())?;
        let platform = Inputs::for_platform(&connector, 1).map_or(connector.as_str(), |inputs| inputs.platform.label);
        destinations.push(Destination {
            destination: name.clone(),
            platform: platform.to_owned(),
            connector,
            held: stats.held,
            excluded: exclusions(
                parts.iter().find(|part| part.destination == *name).and_then(|part| part.counts.get("excluded")),
            ),
            reading: telling(all.iter().filter(|reading| reading.destination == *name)),
        });
    }
    Ok(destinations)
}

/// The reading over the most persons that says something; later ones win a tie. A small refresh tells little.
fn telling<'a>(readings: impl Iterator<Item = &'a Reading>) -> Option<Reading> {
    let says = |reading: &&Reading| reading.low.is_some() || reading.high.is_some() || reading.matched.is_some();
    readings.filter(says).max_by_key(|reading| (reading.sent, reading.as_of)).cloned()
}

fn curve(past: &Past) -> Option<ReturnCurve> {
    let point = |(days, returned): &(u32, u64)| ReturnPoint {
        days: *days,
        returned: *returned,
        share: *returned as f64 / past.inactive as f64,
    };
    let points: Vec<_> = past.returned.iter().map(point).collect();
    (!points.is_empty()).then_some(ReturnCurve { as_of: past.as_of, inactive: past.inactive, points })
}

fn spontaneous(history: &History) -> Option<Spontaneous> {
    let windows = history.windows();
    let (returned, inactive) = windows.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    (inactive > 0).then(|| Spontaneous {
        window_days: RETURN_WINDOW_DAYS,
        windows: windows.len(),
        returned,
        inactive,
        share: returned as f64 / inactive as f64,
    })
}

fn inputs(
    engine: &Engine,
    funnel: &Funnel,
    destinations: &[Destination],
    known: &Known,
    currency: &str,
    options: &Options,
    notes: &mut Vec<String>,
) -> anyhow::Result<Vec<Inputs>> {
    let mut all = Vec::new();
    for destination in destinations {
        let Ok(mut inputs) = Inputs::for_platform(&destination.connector, funnel.eligible) else {
            notes.push(format!("No projection for {}: there are no priors for it.", destination.destination));
            continue;
        };
        inputs.currency = currency.parse()?;
        inputs.seed = options.seed.unwrap_or(inputs.seed);
        inputs.draws = options.draws.unwrap_or(inputs.draws);
        known.apply(&engine.config.roi, &mut inputs)?;
        // Said once, above.
        inputs.warnings.retain(|warning| !notes.contains(warning));
        for (field, value) in [(Field::Budget, options.budget), (Field::Margin, options.margin)] {
            if let Some(value) = value {
                inputs.set(field, Distribution::Point(value), format!("given: {}", field.name()))?;
            }
        }
        all.push(inputs);
    }
    Ok(all)
}

fn holdout(
    configured: f64,
    funnel: &Funnel,
    spontaneous: Option<&Spontaneous>,
    projections: &[Projection],
) -> Option<HoldoutPower> {
    let base_rate = spontaneous.map(|it| it.share).filter(|share| *share > 0.0 && *share < 1.0)?;
    let share = if configured > 0.0 { configured } else { 0.1 };
    let first = projections.first()?;
    // Persons reached by at least one platform, at the assumed values.
    let missed: f64 = projections.iter().map(|it| 1.0 - it.point.reach / it.inactives.max(1) as f64).product();
    let plan = HoldoutPlan {
        population: funnel.eligible as f64,
        holdout: share,
        base_rate,
        alpha: 0.05,
        power: 0.8,
        lift: first.assumption(Field::Lift).central,
        reached: (1.0 - missed).clamp(f64::MIN_POSITIVE, 1.0),
        window_days: f64::from(RETURN_WINDOW_DAYS),
    };
    let judgement = plan.judge().ok()?;
    let mut shares = vec![share];
    shares.extend([0.2, 0.5].into_iter().filter(|other| (other - share).abs() > 0.01));
    let curves = shares
        .into_iter()
        .map(|share| {
            let power = |step: u32| {
                let lift = f64::from(step) * 0.05;
                let judged = HoldoutPlan { holdout: share, lift: lift.max(1e-9), ..plan }.judge().ok()?;
                Some((lift, judged.expected_power))
            };
            PowerCurve { share, points: (0..=20).filter_map(power).collect() }
        })
        .collect();
    Some(HoldoutPower {
        configured: configured > 0.0,
        share,
        population: funnel.eligible,
        base_rate,
        judgement,
        curves,
    })
}
