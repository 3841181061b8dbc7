//! The shapes of Data Manager API v1 that this connector reads and writes, in Google's words.
//!
//! Replies are read leniently: the API adds fields with every release, and 64-bit integers travel as strings.
//! Member requests are not here; [`members`](crate::members) writes them as bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewUserList<'a> {
    pub display_name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub description: &'a str,
    pub membership_status: &'static str,
    pub integration_code: &'a str,
    pub membership_duration: String,
    pub ingested_user_list_info: NewIngestedInfo,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewIngestedInfo {
    pub upload_key_types: [&'static str; 1],
    pub contact_id_info: NewContactIdInfo,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewContactIdInfo {
    pub data_source_type: &'static str,
}

/// Only what changes; the names are repeated in `updateMask`.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UserListPatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub membership_status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub membership_duration: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct UserList {
    #[serde(deserialize_with = "text")]
    pub id: String,
    pub read_only: bool,
    pub membership_status: Option<String>,
    pub integration_code: Option<String>,
    pub membership_duration: Option<String>,
    pub closing_reason: Option<String>,
    pub access_reason: Option<String>,
    pub account_access_status: Option<String>,
    pub size_info: SizeInfo,
    pub target_network_info: TargetNetworkInfo,
    pub ingested_user_list_info: IngestedInfo,
}

impl UserList {
    pub(crate) fn is_closed(&self) -> bool {
        self.membership_status.as_deref() == Some("CLOSED")
    }
    pub(crate) fn is_disabled(&self) -> bool {
        self.account_access_status.as_deref() == Some("DISABLED")
    }
    pub(crate) fn match_rate_percentage(&self) -> Option<u8> {
        // A proto3 zero means "not set"; Google gives no rate before it has matched something.
        let percentage = self.ingested_user_list_info.contact_id_info.match_rate_percentage?;
        (1..=100).contains(&percentage).then_some(percentage as u8)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SizeInfo {
    #[serde(deserialize_with = "count")]
    pub display_network_members_count: Option<u64>,
    #[serde(deserialize_with = "count")]
    pub search_network_members_count: Option<u64>,
    #[serde(deserialize_with = "count")]
    pub youtube_members_count: Option<u64>,
    #[serde(deserialize_with = "count")]
    pub gmail_members_count: Option<u64>,
}

impl SizeInfo {
    /// Counts that say something: zero is shown for a day or more, and below thresholds.
    pub(crate) fn known(&self) -> impl Iterator<Item = u64> {
        [
            self.display_network_members_count,
            self.search_network_members_count,
            self.youtube_members_count,
            self.gmail_members_count,
        ]
        .into_iter()
        .flatten()
        .filter(|count| *count > 0)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct TargetNetworkInfo {
    pub eligible_for_search: Option<bool>,
    pub eligible_for_display: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct IngestedInfo {
    pub upload_key_types: Vec<String>,
    pub contact_id_info: ContactIdInfo,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ContactIdInfo {
    pub match_rate_percentage: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct UserListPage {
    pub user_lists: Vec<UserList>,
    pub next_page_token: String,
}

/// Reply to ingest, remove and removeAll.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Accepted {
    pub request_id: String,
    #[serde(default)]
    pub field_warnings: Vec<FieldWarning>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct FieldWarning {
    pub reason: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RequestStatus {
    pub request_status_per_destination: Vec<DestinationStatus>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DestinationStatus {
    pub request_status: String,
    pub error_info: ErrorInfo,
    pub audience_members_ingestion_status: IngestionStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ErrorInfo {
    pub error_counts: Vec<ErrorCount>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ErrorCount {
    #[serde(deserialize_with = "count")]
    pub record_count: Option<u64>,
    pub reason: String,
    /// Since v1.9. Whether Google caps the list is UNVERIFIED, so it may be shorter than the count.
    #[serde(deserialize_with = "indices")]
    pub record_indices: Vec<u32>,
}

/// One of the kinds is set; we send `compositeData`, older requests may have been `userData`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct IngestionStatus {
    pub composite_data_ingestion_status: Option<KindStatus>,
    pub user_data_ingestion_status: Option<KindStatus>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct KindStatus {
    pub upload_match_rate_range: String,
}

/// `google.rpc.Status` as REST carries it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ErrorBody {
    pub error: RpcStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RpcStatus {
    pub status: String,
    pub message: String,
    pub details: Vec<Detail>,
}

/// The kinds of detail in one shape: each has the fields of its own, the rest stays empty.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Detail {
    #[serde(rename = "@type")]
    pub type_url: String,
    pub reason: String,
    pub metadata: BTreeMap<String, serde_json::Value>,
    pub field_violations: Vec<FieldViolation>,
    pub request_id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct FieldViolation {
    pub field: String,
    pub reason: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(u64),
    Text(String),
    Other(serde::de::IgnoredAny),
}

impl NumberOrText {
    fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
            Self::Other(_) => None,
        }
    }
}

fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(NumberOrText::deserialize(deserializer)?.number())
}

fn indices<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u32>, D::Error> {
    let values = Vec::<NumberOrText>::deserialize(deserializer)?;
    Ok(values.iter().filter_map(|value| u32::try_from(value.number()?).ok()).collect())
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match NumberOrText::deserialize(deserializer)? {
        NumberOrText::Number(number) => number.to_string(),
        NumberOrText::Text(text) => text,
        NumberOrText::Other(_) => String::new(),
    })
}
