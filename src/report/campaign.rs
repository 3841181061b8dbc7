//! What is asked about a campaign, answered with all there is to know: the request, the state, the warehouse.
//!
//! The command line and the HTTP API call these and only show the answer. Without an audience nothing but the request is
//! needed, so there may be no engine.

use chrono::{DateTime, Days, Utc};

use super::lift::{Question, of_audience};
use super::projection::{Known, currency_of, spent};
use crate::roi::measure::proportions::credible;
use crate::roi::measure::{ALPHA, Experiment, Outcome, measure as read};
use crate::roi::plan::grouped;
use crate::roi::request::measure::Assignment;
use crate::roi::request::{MeasureAnswer, MeasureRequest, ProjectAnswer, ProjectRequest, RequestError};
use crate::roi::{Currency, Inputs};
use crate::store::experiments::MeasuredExperiment;
use crate::sync::Engine;
use crate::sync::gather::arms as draws;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CampaignError {
    /// The request must change.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The config has no such audience; the message names those it has.
    #[error("{0}")]
    NoAudience(String),
    /// Nothing can be said yet; the message says what has to happen first.
    #[error("{0}")]
    NotYet(String),
    /// The state or the warehouse failed.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

impl From<crate::roi::InputError> for CampaignError {
    fn from(error: crate::roi::InputError) -> Self {
        Self::Request(error.into())
    }
}

fn engine_for<'a>(engine: Option<&'a Engine>, audience: &str) -> Result<&'a Engine, CampaignError> {
    let engine = engine.ok_or_else(|| anyhow::anyhow!("an audience was asked for without a configuration"))?;
    engine.config.audience(audience).map_err(|error| CampaignError::NoAudience(error.to_string()))?;
    Ok(engine)
}

/// Projects a campaign. `engine` is needed when the request names an audience.
///
/// # Errors
/// A request out of range, or what the state and the warehouse of the audience say.
pub async fn project(engine: Option<&Engine>, request: &ProjectRequest) -> Result<ProjectAnswer, CampaignError> {
    request.check()?;
    let learned = match &request.audience {
        Some(audience) => {
            let engine = engine_for(engine, audience)?;
            let as_of = request.as_of.unwrap_or_else(|| engine.clock.now());
            Some((engine, Known::gather(engine, audience, as_of).await?))
        }
        None => None,
    };
    let known = learned.iter().flat_map(|(_, known)| known.destinations.iter());
    let platforms = request.platforms(known.map(|(_, connector)| connector.as_str()));
    let inputs = platforms
        .iter()
        .map(|slug| inputs(request, slug, platforms.len(), learned.as_ref()))
        .collect::<Result<Vec<_>, CampaignError>>()?;
    let answer = tokio::task::block_in_place(|| ProjectAnswer::of(&inputs));
    Ok(answer.expect("`platforms` gives at least one"))
}

fn inputs(
    request: &ProjectRequest,
    slug: &str,
    platforms: usize,
    learned: Option<&(&Engine, Known)>,
) -> Result<Inputs, CampaignError> {
    let people = learned.map_or(0, |(_, known)| known.people);
    let mut inputs = request.begin(slug, people, learned.and_then(|(_, known)| known.currency))?;
    if let Some((engine, known)) = learned {
        known.apply(&engine.config.roi, &mut inputs)?;
        if known.before_rules && request.inactives.is_none() {
            inputs.warnings.push(format!(
                "The {people} inactives were counted before consent and the other rules, because {} was never synced: \
                 fewer may be sent.",
                known.audience
            ));
        }
    }
    request.complete(&mut inputs, platforms)?;
    Ok(inputs)
}

/// Reads an experiment, from the counts of the request or from the warehouse. `engine` is needed for the latter.
///
/// # Errors
/// Impossible counts, an audience that nobody was withheld from yet, or the warehouse's errors.
pub async fn measure(
    engine: Option<&Engine>,
    request: &MeasureRequest,
) -> Result<(Experiment, MeasureAnswer), CampaignError> {
    request.check()?;
    let Some(audience) = &request.audience else { return Ok(request.of_counts()?) };
    let engine = engine_for(engine, audience)?;
    let question = Question {
        as_of: request.as_of.unwrap_or_else(|| engine.clock.now()),
        window_days: request.window_days(),
        cap_minor: request.winsorise_at.map(|cap| cap.0 * 100.0),
    };
    let Some(outcome) = of_audience(engine, audience, question).await? else {
        return Err(CampaignError::NotYet(format!(
            "nobody of audience `{audience}` was assigned yet\n\
             hint: `reveil sync {audience}` records who was sent and who was withheld; measure some weeks after it"
        )));
    };
    let currency = request.currency.or_else(|| currency_of(&engine.config.warehouse)).unwrap_or(Currency::EUR);
    let aov = request.aov.map(|aov| aov.0).or_else(|| outcome.aov());
    let share = Some(outcome.planned_holdout_share).filter(|share| *share > 0.0 && *share < 1.0);
    // While windows run, every look is one of many.
    let mut experiment = request.experiment(outcome.arms(), aov, share, outcome.windows_open > 0 || !outcome.covered);
    let mut warnings = warnings(&outcome);
    let flights = engine.store.deliveries().await.map_err(anyhow::Error::from)?;
    let until = end(&outcome, question.as_of);
    let (cost, claimed, foreign) = spent(&flights, audience, outcome.first_assigned, until, currency);
    experiment.money.cost = experiment.money.cost.or(cost);
    experiment.attributed_buyers = experiment.attributed_buyers.or(claimed);
    if request.cost.is_none() && foreign > 0 {
        warnings.push(format!("{foreign} flight(s) paid in another currency are not in the cost: give the cost."));
    }
    let measurement = read(&experiment).map_err(RequestError::from)?;
    if outcome.windows_open == 0 && outcome.covered && !measurement.sample_ratio.blocked {
        remember(engine, audience, &outcome, request.reached_share.map(|share| share.0)).await?;
    }
    let revenue = outcome.revenue.filter(|_| !measurement.sample_ratio.blocked);
    let assignment = Some(Assignment { audience: audience.clone(), outcome, aov, cost: experiment.money.cost });
    let credible = credible(&experiment.arms, ALPHA);
    let currency = currency.code().to_owned();
    Ok((experiment, MeasureAnswer { measurement, credible, revenue, currency, assignment, warnings }))
}

/// Keeps what a finished experiment came to: the next projections learn the lift from it.
async fn remember(engine: &Engine, audience: &str, outcome: &Outcome, reached: Option<f64>) -> anyhow::Result<()> {
    let arms = outcome.arms();
    let reached = match reached {
        Some(share) => Some((share, "given")),
        None => Known::of_state(engine, audience).await?.reached(&engine.config.roi, arms.treated)?,
    };
    let Some((reached_share, reached_source)) = reached else { return Ok(()) };
    let salts: Vec<String> = draws(&engine.config, audience)?.into_iter().map(|draw| draw.salt).collect();
    let measured = MeasuredExperiment {
        audience: audience.to_owned(),
        salts: salts.join(" "),
        as_of: outcome.as_of,
        window_days: outcome.window_days,
        first_day: outcome.first_assigned,
        last_day: outcome.last_assigned,
        treated: arms.treated,
        treated_buyers: arms.treated_buyers,
        holdout: arms.holdout,
        holdout_buyers: arms.holdout_buyers,
        reached_share,
        reached_source: reached_source.to_owned(),
    };
    engine.store.save_experiment(&measured).await?;
    Ok(())
}

/// The first day on which nothing counts any more.
fn end(outcome: &Outcome, as_of: DateTime<Utc>) -> chrono::NaiveDate {
    (outcome.last_assigned + Days::new(outcome.window_days.into())).min(as_of.date_naive())
}

fn warnings(outcome: &Outcome) -> Vec<String> {
    let mut warnings = Vec::new();
    if outcome.windows_open > 0 {
        warnings.push(format!(
            "The window of {} persons has not ended: they count with what they did so far, and the always-valid \
             interval decides.",
            grouped(outcome.windows_open)
        ));
    }
    if !outcome.covered {
        let last =
            outcome.last_purchase.map_or("there is none in all this time".to_owned(), |day| format!("it is of {day}"));
        warnings.push(format!(
            "The warehouse's last purchase lies before the end of the windows ({last}): buyers since are missing from both \
             arms, and the always-valid interval decides. Load newer orders before you conclude."
        ));
    }
    if outcome.share_changed {
        warnings.push(
            "The share withheld was changed while the experiment ran, so the arms mix early and late customers \
             differently. Name a new experiment when you change it."
                .to_owned(),
        );
    }
    warnings
}
