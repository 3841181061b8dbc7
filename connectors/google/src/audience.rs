//! The list on Google's side: find or make it, keep it open, say how it does, delete it.
//!
//! The list is found by `integrationCode`, which is ours alone; `displayName` belongs to the people who read it.

use http::Method;
use reveil_sdk::{
    AudienceRef, AudienceSpec, AudienceStatus, Context, Error, ErrorKind, Replaceable, Result, SizeBounds,
};
use tracing::{info, warn};

use crate::config::{MAX_MEMBERSHIP_DAYS, Settings, Terms};
use crate::error::{self, Replies};
use crate::wire::{NewContactIdInfo, NewIngestedInfo, NewUserList, UserList, UserListPage, UserListPatch};
use crate::{DESCRIPTOR, Google};

/// Largest page Google gives; a filter for one code needs one page.
const PAGE_SIZE: &str = "1000";
/// A filtered search may return empty pages; so many are followed before something is wrong.
const MAX_PAGES: usize = 50;
/// The key type of lists that take e-mail, phone and address.
const CONTACT_ID: &str = "CONTACT_ID";

impl Google {
    pub(crate) async fn check_access(&self, cx: &Context<'_>) -> Result<Vec<String>> {
        let mut warnings = Vec::new();
        if self.settings.terms == Terms::Withdrawn {
            warnings.push("the Customer Match terms are withdrawn: people are removed, nobody is added".to_owned());
        } else {
            self.settings.require_terms("check")?;
        }
        let mut url = self.lists_url(None);
        set_query(&mut url, &[("pageSize", "1")]);
        let call = self.list_call("CheckAccess", Method::GET, url);
        let _: UserListPage = cx.fetch(call, &Replies::PLAIN).await?;
        if self.settings.operating.kind == "DISPLAY_VIDEO_PARTNER" {
            warnings.push(
                "lists of a DV360 partner lose their members in the EEA; use an advertiser (`DISPLAY_VIDEO_ADVERTISER`)".to_owned(),
            );
        }
        Ok(warnings)
    }

    pub(crate) async fn ensure_list(
        &self,
        cx: &Context<'_>,
        spec: &AudienceSpec,
        known: Option<&AudienceRef>,
    ) -> Result<AudienceRef> {
        let duration = membership_duration(&self.settings, spec)?;
        if let Some(known) = known
            && let Some(list) = self.get_list(cx, &known.id).await?
        {
            return self.take(cx, list, &duration).await;
        }
        if let Some(list) = self.find_list(cx, &spec.key).await? {
            return self.take(cx, list, &duration).await;
        }
        self.settings.require_terms("CreateUserList")?;
        match self.create_list(cx, spec, &duration).await {
            Err(error) if error::reason(&error) == Some("DISPLAY_NAME_ALREADY_USED") => {
                // Ours after all when an earlier try made it and its answer was lost.
                match self.find_list(cx, &spec.key).await? {
                    Some(list) => self.take(cx, list, &duration).await,
                    None => Err(error.with("audience_key", &spec.key)),
                }
            }
            result => result,
        }
    }

    /// Uses a list that exists: opens it when Google or somebody closed it, and gives it the duration wanted.
    async fn take(&self, cx: &Context<'_>, list: UserList, duration: &str) -> Result<AudienceRef> {
        let types = &list.ingested_user_list_info.upload_key_types;
        if !types.is_empty() && !types.iter().any(|kind| kind == CONTACT_ID) {
            return Err(Error::new(ErrorKind::Config, "FindUserList", "the list takes other identifiers than e-mail, phone and address")
                .with("audience", &list.id)
                .hint("key types cannot be changed: rename the audience in the config, or delete the list in Google's user interface"));
        }
        let mut patch = UserListPatch::default();
        let mut mask = Vec::new();
        if list.is_closed() {
            patch.membership_status = Some("OPEN");
            mask.push("membershipStatus");
        }
        if list.membership_duration.as_deref().is_some_and(|current| current != duration) {
            patch.membership_duration = Some(duration.to_owned());
            mask.push("membershipDuration");
        }
        if !mask.is_empty() {
            let mut url = self.lists_url(Some(&list.id));
            set_query(&mut url, &[("updateMask", &mask.join(","))]);
            let call = self.list_call("UpdateUserList", Method::PATCH, url).json(&patch)?;
            let _: UserList =
                cx.fetch(call, &Replies::PLAIN).await.map_err(|error| error.with("audience", &list.id))?;
            info!(connector = "google", audience = list.id, fields = mask.join(","), "Updated list");
        }
        Ok(AudienceRef { id: list.id, created: false })
    }

    /// `None` when it is gone.
    async fn get_list(&self, cx: &Context<'_>, id: &str) -> Result<Option<UserList>> {
        let call = self.list_call("GetUserList", Method::GET, self.lists_url(Some(id)));
        match cx.fetch::<UserList>(call, &Replies::PLAIN).await {
            Ok(mut list) => {
                if list.id.is_empty() {
                    list.id = id.to_owned();
                }
                Ok(Some(list))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.with("audience", id)),
        }
    }

    async fn find_list(&self, cx: &Context<'_>, key: &str) -> Result<Option<UserList>> {
        let filter = format!("integration_code = \"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""));
        let mut token = String::new();
        let mut found: Vec<UserList> = Vec::new();
        for _ in 0..MAX_PAGES {
            let mut url = self.lists_url(None);
            let mut query = vec![("filter", filter.as_str()), ("pageSize", PAGE_SIZE)];
            if !token.is_empty() {
                query.push(("pageToken", &token));
            }
            set_query(&mut url, &query);
            let page: UserListPage =
                cx.fetch(self.list_call("FindUserList", Method::GET, url), &Replies::PLAIN).await?;
            // Lists shared by others may carry the same code; and a filter that was not applied must not hand us
            // somebody else's list.
            found.extend(page.user_lists.into_iter().filter(|list| {
                !list.id.is_empty()
                    && list.integration_code.as_deref().is_none_or(|code| code == key)
                    && list.access_reason.as_deref().is_none_or(|reason| reason == "OWNED")
            }));
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        if found.len() > 1 {
            warn!(
                connector = "google",
                audience_key = key,
                lists = found.len(),
                "Several lists have this integration code; using the oldest"
            );
        }
        // Ids grow, so the smallest is the oldest; any fixed choice would do.
        Ok(found.into_iter().min_by_key(|list| (list.id.len(), list.id.clone())))
    }

    async fn create_list(&self, cx: &Context<'_>, spec: &AudienceSpec, duration: &str) -> Result<AudienceRef> {
        let body = NewUserList {
            display_name: &spec.label,
            description: &spec.description,
            membership_status: "OPEN",
            integration_code: &spec.key,
            membership_duration: duration.to_owned(),
            ingested_user_list_info: NewIngestedInfo {
                upload_key_types: [CONTACT_ID],
                contact_id_info: NewContactIdInfo { data_source_type: "DATA_SOURCE_TYPE_FIRST_PARTY" },
            },
        };
        // Names are unique in an account, so a second try after a lost answer cannot make a second list.
        let call = self.list_call("CreateUserList", Method::POST, self.lists_url(None)).json(&body)?;
        let list: UserList = cx.fetch(call, &Replies::PLAIN).await?;
        if list.id.is_empty() {
            return Err(Error::new(
                ErrorKind::Protocol,
                "CreateUserList",
                "Google made the list without giving its id",
            ));
        }
        Ok(AudienceRef { id: list.id, created: true })
    }

    pub(crate) async fn existing_list(&self, cx: &Context<'_>, audience: &AudienceRef) -> Result<UserList> {
        self.get_list(cx, &audience.id).await?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "GetUserList", "the list is gone")
                .with("audience", &audience.id)
                .hint("the next sync makes it anew and sends everybody")
        })
    }

    pub(crate) async fn delete_list(&self, cx: &Context<'_>, audience: &AudienceRef) -> Result<()> {
        let call = self.list_call("DeleteUserList", Method::DELETE, self.lists_url(Some(&audience.id)));
        match cx.transport.send(call, &Replies::PLAIN).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.with("audience", &audience.id)),
        }
    }
}

/// Whole days in seconds; anything else is refused by Google.
fn membership_duration(settings: &Settings, spec: &AudienceSpec) -> Result<String> {
    let days = spec.membership_days.unwrap_or(settings.membership_days);
    if (1..=MAX_MEMBERSHIP_DAYS).contains(&days) {
        return Ok(format!("{}s", u64::from(days) * 86_400));
    }
    Err(Error::config("Google keeps members for 1 to 540 days")
        .with("membership_days", days)
        .hint("set `membership_days` between 1 and 540; members sent again start anew"))
}

/// What the list says of itself, in the SDK's words.
pub(crate) fn describe(list: &UserList) -> AudienceStatus {
    let mut warnings = Vec::new();
    let mut state = list.membership_status.clone().unwrap_or_else(|| "UNKNOWN".to_owned());
    if list.is_closed() {
        let reason = list.closing_reason.as_deref().unwrap_or("no reason given");
        state = format!("{state}: {reason}");
        warnings.push(format!("the list is closed ({reason}); the next sync opens it again"));
    }
    if list.read_only {
        warnings.push("the list is read-only for this account".to_owned());
    }
    if list.is_disabled() {
        warnings.push("the owner withdrew this account's access to the list".to_owned());
    }
    let (low, high) = (list.size_info.known().min(), list.size_info.known().max());
    let eligible = [list.target_network_info.eligible_for_search, list.target_network_info.eligible_for_display];
    let minimum = u64::from(DESCRIPTOR.limits.min_audience);
    let deliverable = if eligible == [Some(false), Some(false)] {
        warnings.push("the list is eligible for neither search nor display".to_owned());
        Some(false)
    } else {
        high.map(|high| high >= minimum)
    };
    if high.is_some_and(|high| high < minimum) {
        warnings.push(format!("fewer than {minimum} active members: ads are not delivered to the list"));
    }
    AudienceStatus {
        replaceable: Replaceable::Yes,
        writable: !list.is_closed() && !list.read_only && !list.is_disabled(),
        deliverable,
        state,
        // One count per network, each rounded by Google: the list's own size lies at or above the largest of them
        // in theory, so these are bounds over networks, not of one population.
        size: high.map(|_| SizeBounds { low, high }),
        match_rate_ratio: list.match_rate_percentage().map(|percentage| (f64::from(percentage) / 100.0, 0.01)),
        warnings,
    }
}

/// Spaces as `%20`: `+` is a space in forms only.
pub(crate) fn set_query(url: &mut url::Url, pairs: &[(&str, &str)]) {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    url.set_query(Some(&query.replace('+', "%20")));
}
