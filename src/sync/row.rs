//! One customer of a batch: the warehouse's columns as the rules and the preparation want them.

use arrow_array::RecordBatch;
use chrono::{DateTime, Utc};
use reveil_sdk::identifier::RawPerson;

use super::eligibility::Facts;
use crate::warehouse::{Columns, Values};

/// What the segment says of a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Inactive,
    Active,
    Unknown,
}

impl State {
    fn from_name(name: &str) -> Self {
        match name {
            "inactive" => Self::Inactive,
            "active" => Self::Active,
            _ => Self::Unknown,
        }
    }
}

/// The columns of one batch, looked up once.
pub struct RowReader<'a> {
    rows: usize,
    id: Values<'a>,
    state: Option<Values<'a>>,
    emails: Vec<Values<'a>>,
    phones: Vec<Values<'a>>,
    email_digests: Vec<Values<'a>>,
    phone_digests: Vec<Values<'a>>,
    mobile_ids: Vec<Values<'a>>,
    given_name: Option<Values<'a>>,
    family_name: Option<Values<'a>>,
    postcode: Option<Values<'a>>,
    city: Option<Values<'a>>,
    country: Option<Values<'a>>,
    consent_ads: Option<Values<'a>>,
    consent_at: Option<Values<'a>>,
    consent_source: Option<Values<'a>>,
    flags: [Option<Values<'a>>; 8],
    birth_date: Option<Values<'a>>,
    created_at: Option<Values<'a>>,
    last_contact_at: Option<Values<'a>>,
    last_activity_at: Option<Values<'a>>,
    lost: Option<Values<'a>>,
    ladder_step: Option<Values<'a>>,
}

/// The flag columns, in the order of `RowReader::flags`.
const FLAGS: [&str; 8] =
    ["test", "erasure", "objection", "complaint", "us_opt_out", "unsubscribed", "hard_bounce", "minor"];

impl std::fmt::Debug for RowReader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowReader").field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl<'a> RowReader<'a> {
    /// `None` when the batch has no `customer_id`.
    pub fn new(batch: &'a RecordBatch) -> Option<Self> {
        let columns = Columns::new(batch);
        let numbered =
            |name: &str| (1..).map_while(|number| columns.get(&format!("{name}_{number}"))).collect::<Vec<_>>();
        Some(Self {
            rows: columns.rows(),
            id: columns.get("customer_id")?,
            state: columns.get("state"),
            emails: numbered("email"),
            phones: numbered("phone"),
            email_digests: numbered("email_digest"),
            phone_digests: numbered("phone_digest"),
            mobile_ids: numbered("mobile_id"),
            given_name: columns.get("given_name"),
            family_name: columns.get("family_name"),
            postcode: columns.get("postcode"),
            city: columns.get("city"),
            country: columns.get("country"),
            consent_ads: columns.get("consent_ads"),
            consent_at: columns.get("consent_at"),
            consent_source: columns.get("consent_source"),
            flags: FLAGS.map(|name| columns.get(name)),
            birth_date: columns.get("birth_date"),
            created_at: columns.get("created_at"),
            last_contact_at: columns.get("last_contact_at"),
            last_activity_at: columns.get("last_activity_at"),
            lost: columns.get("lost"),
            ladder_step: columns.get("ladder_step"),
        })
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The customer id; `None` for rows without one (guests).
    pub fn id<'s>(&'s self, row: usize, scratch: &'s mut String) -> Option<&'s str> {
        self.id.text(row, scratch).filter(|id| !id.is_empty())
    }

    pub fn state(&self, row: usize) -> State {
        let mut scratch = String::new();
        self.state
            .as_ref()
            .and_then(|values| values.text(row, &mut scratch).map(State::from_name))
            .unwrap_or(State::Unknown)
    }

    /// The facts the eligibility rules look at; texts are written to `texts`.
    pub fn facts<'s>(&'s self, row: usize, texts: &'s mut FactTexts) -> Facts<'s> {
        let flag = |index: usize| self.flags[index].as_ref().and_then(|values| values.bool(row)).unwrap_or(false);
        let time = |values: &Option<Values<'a>>| values.as_ref().and_then(|values| values.time(row));
        let consent_dated = self.consent_at.as_ref().map(|values| values.time(row).is_some());
        let mut scratch = String::new();
        let consent_sourced = self
            .consent_source
            .as_ref()
            .map(|values| values.text(row, &mut scratch).is_some_and(|text| !text.trim().is_empty()));
        let consent_ads = match &self.consent_ads {
            Some(values) => values.text(row, &mut texts.consent),
            None => None,
        };
        let country = match &self.country {
            Some(values) => values.text(row, &mut texts.country).unwrap_or_default(),
            None => "",
        };
        let ladder_step =
            self.ladder_step.as_ref().map(|values| values.text(row, &mut texts.ladder).unwrap_or_default());
        Facts {
            test: flag(0),
            erasure: flag(1),
            objection: flag(2),
            complaint: flag(3),
            us_opt_out: flag(4),
            consent_ads,
            consent_dated,
            consent_sourced,
            unsubscribed: flag(5),
            hard_bounce: flag(6),
            country,
            last_contact_at: later(time(&self.last_contact_at), time(&self.last_activity_at)),
            created_at: time(&self.created_at),
            birth_date: time(&self.birth_date).map(|at| at.date_naive()),
            minor: flag(7),
            last_order_at: time(&self.last_activity_at),
            lost: self.lost.as_ref().and_then(|values| values.bool(row)).unwrap_or(false),
            ladder_step,
        }
    }

    /// Hands the raw identifiers of the row to `use_them`. They live no longer than that call.
    pub fn with_person<T>(
        &self,
        row: usize,
        drop_first_email: bool,
        cells: &mut Cells,
        use_them: impl FnOnce(&RawPerson<'_>) -> T,
    ) -> T {
        let list = |columns: &[Values<'a>], skip: usize, cells: &mut Vec<String>| {
            cells.resize_with(columns.len().max(cells.len()), String::new);
            for (values, cell) in columns.iter().zip(cells.iter_mut()).skip(skip) {
                copy(values, row, cell);
            }
            columns.len()
        };
        let skip = usize::from(drop_first_email);
        let emails = list(&self.emails, skip, &mut cells.emails);
        let phones = list(&self.phones, 0, &mut cells.phones);
        let email_digests = list(&self.email_digests, 0, &mut cells.email_digests);
        let phone_digests = list(&self.phone_digests, 0, &mut cells.phone_digests);
        let mobile_ids = list(&self.mobile_ids, 0, &mut cells.mobile_ids);
        for (values, cell) in [&self.given_name, &self.family_name, &self.postcode, &self.city, &self.country]
            .into_iter()
            .zip(&mut cells.single)
        {
            cell.clear();
            if let Some(values) = values {
                copy(values, row, cell);
            }
        }
        let emails: Vec<&str> = cells.emails[skip.min(emails)..emails].iter().map(String::as_str).collect();
        let phones: Vec<&str> = cells.phones[..phones].iter().map(String::as_str).collect();
        let email_digests: Vec<&str> = cells.email_digests[..email_digests].iter().map(String::as_str).collect();
        let phone_digests: Vec<&str> = cells.phone_digests[..phone_digests].iter().map(String::as_str).collect();
        let mobile_ids: Vec<&str> = cells.mobile_ids[..mobile_ids].iter().map(String::as_str).collect();
        let [given_name, family_name, postcode, city, country] = &cells.single;
        use_them(&RawPerson {
            emails: &emails,
            phones: &phones,
            mobile_ids: &mobile_ids,
            email_digests: &email_digests,
            phone_digests: &phone_digests,
            given_name,
            family_name,
            postcode,
            city,
            country,
        })
    }
}

fn later(a: Option<DateTime<Utc>>, b: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    a.max(b)
}

fn copy(values: &Values<'_>, row: usize, cell: &mut String) {
    cell.clear();
    if let Some(text) = values.borrowed(row) {
        cell.push_str(text);
        return;
    }
    let mut scratch = String::new();
    if let Some(text) = values.text(row, &mut scratch) {
        cell.push_str(text);
    }
}

/// Reused buffers for the texts of [`Facts`].
#[derive(Debug, Default)]
pub struct FactTexts {
    consent: String,
    country: String,
    ladder: String,
}

/// Reused buffers for raw identifiers. Its `Debug` shows none of them.
#[derive(Default)]
pub struct Cells {
    emails: Vec<String>,
    phones: Vec<String>,
    email_digests: Vec<String>,
    phone_digests: Vec<String>,
    mobile_ids: Vec<String>,
    single: [String; 5],
}

impl std::fmt::Debug for Cells {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cells").finish_non_exhaustive()
    }
}
