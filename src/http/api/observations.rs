//! Match readings, each with its kind and the platform's own definition; never one blended figure.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use reveil_sdk::MatchKind;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::App;
use super::super::auth::Caller;
use super::super::contract::Query;
use super::super::listing::{DEFAULT_LIMIT, Page};
use super::super::problem::Problem;
use super::moment::Moment;
use crate::store::model::{StoredObservation, kind_from_name, kind_name};
use crate::store::observations::ObservationFilter;

/// Which readings.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ObservationsQuery {
    /// Only of this audience
    #[param(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", max_length = 100, example = "dormant")]
    audience: Option<String>,
    /// Only of this destination
    #[param(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", max_length = 100, example = "meta-fr")]
    destination: Option<String>,
    /// Only of this kind
    #[param(inline)]
    kind: Option<ReadingKind>,
    /// From then on
    #[param(inline)]
    since: Option<Moment>,
    /// Before then
    #[param(inline)]
    until: Option<Moment>,
    /// At most this many
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// `next_cursor` of the page before
    #[param(max_length = 500)]
    cursor: Option<String>,
    /// `csv` instead of JSON; the same as `Accept: text/csv`
    #[param(inline)]
    format: Option<Format>,
}

/// What a figure is: `exact`, a `bucket` or `bounds` it lies in, a `count` of people, `pending` while the platform says
/// nothing yet, `not_offered` where it never will.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReadingKind {
    Exact,
    Bucket,
    Bounds,
    Count,
    Pending,
    NotOffered,
}

impl ReadingKind {
    fn of(kind: MatchKind) -> Option<Self> {
        serde_json::from_value(kind_name(kind).into()).ok()
    }
    fn kind(self) -> Option<MatchKind> {
        serde_json::to_value(self).ok().and_then(|name| kind_from_name(name.as_str()?))
    }
}

/// How the readings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Json,
    Csv,
}

/// One reading.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Observation {
    #[schema(example = "dormant")]
    audience: String,
    #[schema(example = "meta-fr")]
    destination: String,
    #[schema(example = "meta")]
    connector: String,
    run_id: Option<String>,
    as_of: DateTime<Utc>,
    /// Distinct persons the reading is about.
    sent: u64,
    kind: Option<ReadingKind>,
    #[schema(minimum = 0, maximum = 1)]
    low: Option<f64>,
    #[schema(minimum = 0, maximum = 1)]
    high: Option<f64>,
    matched: Option<u64>,
    /// The match rate where the reading gives one; never narrower than what the platform said.
    rate: Option<Rate>,
    /// The platform's own definition of the figure.
    definition: String,
    /// Version of the normalisation rules the members were prepared with.
    rules_version: u32,
    /// The reading to show; others of the same moment are other views of it.
    primary: bool,
}

/// An interval of ratios.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Rate {
    #[schema(minimum = 0, maximum = 1)]
    low: f64,
    #[schema(minimum = 0, maximum = 1)]
    high: f64,
}

impl From<StoredObservation> for Observation {
    fn from(stored: StoredObservation) -> Self {
        let reading = stored.reading;
        let exact = reading.matched.filter(|_| reading.kind == MatchKind::Exact && reading.sent > 0);
        let rate = match (reading.low, reading.high, exact) {
            (Some(low), Some(high), _) => Some(Rate { low, high }),
            (_, _, Some(matched)) => {
                let share = (matched as f64 / reading.sent as f64).min(1.0);
                Some(Rate { low: share, high: share })
            }
            _ => None,
        };
        Self {
            audience: stored.audience,
            destination: stored.destination,
            connector: stored.connector,
            run_id: stored.run_id,
            as_of: reading.as_of,
            sent: reading.sent,
            kind: ReadingKind::of(reading.kind),
            low: reading.low,
            high: reading.high,
            matched: reading.matched,
            rate,
            definition: reading.definition,
            rules_version: stored.rules_version,
            primary: stored.primary,
        }
    }
}

/// List match readings, newest first
#[utoipa::path(get, path = "/v1/observations", tag = "results", operation_id = "list_observations",
    params(ObservationsQuery), security(("token" = ["viewer"])),
    responses((status = 200, description = "A page of readings; as CSV the next page's cursor is in X-Next-Cursor",
               content((Page<Observation> = "application/json"), (String = "text/csv")))))]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    Query(query): Query<ObservationsQuery>,
) -> Result<Response, Problem> {
    let filter = ObservationFilter {
        audience: query.audience,
        destination: query.destination,
        kind: query.kind.and_then(ReadingKind::kind),
        primary: None,
        since: query.since.map(Moment::instant),
        until: query.until.map(Moment::instant),
    };
    let store = app.daemon.store();
    let page = store.observations_page(&filter, query.cursor.as_deref(), query.limit.unwrap_or(DEFAULT_LIMIT)).await?;
    let seen = page.items.into_iter().filter(|reading| caller.sees(&reading.audience));
    let items: Vec<Observation> = seen.map(Observation::from).collect();
    if query.format.map_or_else(|| accepts_csv(&headers), |format| format == Format::Csv) {
        return csv(&items, page.next.as_deref());
    }
    Ok(Json(Page { items, next_cursor: page.next }).into_response())
}

/// Whether CSV is asked for, rather than JSON or anything.
fn accepts_csv(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split(',').map(|part| part.split(';').next().unwrap_or_default().trim()).next() == Some("text/csv")
}

fn csv(items: &[Observation], next: Option<&str>) -> Result<Response, Problem> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let columns = [
        "audience",
        "destination",
        "connector",
        "run_id",
        "as_of",
        "sent",
        "kind",
        "low",
        "high",
        "matched",
        "definition",
        "rules_version",
        "primary",
    ];
    let failed = |error: csv::Error| Problem::from(anyhow::Error::from(error));
    writer.write_record(columns).map_err(failed)?;
    for item in items {
        let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
        let kind = item.kind.and_then(|kind| serde_json::to_value(kind).ok());
        writer
            .write_record([
                item.audience.as_str(),
                &item.destination,
                &item.connector,
                item.run_id.as_deref().unwrap_or_default(),
                &item.as_of.to_rfc3339(),
                &item.sent.to_string(),
                kind.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default(),
                &number(item.low),
                &number(item.high),
                &item.matched.map_or_else(String::new, |matched| matched.to_string()),
                &item.definition,
                &item.rules_version.to_string(),
                if item.primary { "true" } else { "false" },
            ])
            .map_err(failed)?;
    }
    let text = writer.into_inner().map_err(|error| Problem::from(anyhow::Error::from(error.into_error())))?;
    let mut response = ([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], text).into_response();
    if let Some(next) = next.and_then(|next| HeaderValue::from_str(next).ok()) {
        response.headers_mut().insert(HeaderName::from_static("x-next-cursor"), next);
    }
    Ok(response)
}
