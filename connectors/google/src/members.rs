//! Adding and removing members, and the sweep that ends a replacement.
//!
//! A body is written straight from the members' bytes: ten thousand people are some two megabytes of JSON, and a
//! tree of values for them would cost more than the hashing did.

use chrono::{DateTime, SecondsFormat, Utc};
use http::Method;
use reveil_sdk::{
    AudienceRef, Batch, Consent, ConsentState, Context, Error, ErrorKind, IdentifierKind, MemberRef, Receipt,
    RejectReason, Rejection, Result, ValueRef,
};
use serde::Serialize;
use tracing::warn;

use crate::Google;
use crate::config::Account;
use crate::error::Replies;
use crate::wire::Accepted;

/// Members of one request (devguides/limits).
pub(crate) const MAX_MEMBERS: usize = 10_000;
/// Identifiers of one member; an address counts once (devguides/limits).
pub(crate) const MAX_IDENTIFIERS: usize = 10;

const INGEST: &str = "IngestAudienceMembers";
const REMOVE: &str = "RemoveAudienceMembers";
const REMOVE_ALL: &str = "RemoveAllAudienceMembers";

impl Google {
    pub(crate) async fn ingest(&self, cx: &Context<'_>, audience: &AudienceRef, batch: &Batch) -> Result<Receipt> {
        self.settings.require_terms(INGEST)?;
        let Consent { ad_user_data, ad_personalization } = batch.consent;
        if ad_user_data == ConsentState::Denied || ad_personalization == ConsentState::Denied {
            return Err(Error::new(ErrorKind::Rejected, INGEST, "people who denied consent are not sent")
                .with("members", batch.len())
                .hint("consent decides before upload: remove these people from the audience instead of adding them"));
        }
        let mut head = Vec::new();
        head.extend_from_slice(b"\"encoding\":\"HEX\",");
        write_consent(&mut head, batch.consent);
        head.extend_from_slice(
            b"\"termsOfService\":{\"customerMatchTermsOfServiceStatus\":\"ACCEPTED\"},\"validateOnly\":false,",
        );
        self.send_members(cx, INGEST, "audienceMembers:ingest", audience, batch, &head).await
    }

    /// The message has neither consent nor terms: sending them is a 400.
    pub(crate) async fn remove_members(
        &self,
        cx: &Context<'_>,
        audience: &AudienceRef,
        batch: &Batch,
    ) -> Result<Receipt> {
        let head = b"\"encoding\":\"HEX\",\"validateOnly\":false,";
        self.send_members(cx, REMOVE, "audienceMembers:remove", audience, batch, head).await
    }

    /// Removes whoever was last added before then. Whole seconds, rounded down: too few rather than too many.
    pub(crate) async fn remove_all(
        &self,
        cx: &Context<'_>,
        audience: &AudienceRef,
        before: DateTime<Utc>,
    ) -> Result<Receipt> {
        let body = RemoveAll {
            destinations: [self.destination(audience)],
            remove_as_of_time: before.to_rfc3339_opts(SecondsFormat::Secs, true),
            validate_only: false,
        };
        let call = self.call(REMOVE_ALL, Method::POST, self.url(&["audienceMembers:removeAll"])).json(&body)?;
        let accepted: Accepted =
            cx.fetch(call, &Replies::PLAIN).await.map_err(|error| error.with("audience", &audience.id))?;
        receipt(REMOVE_ALL, accepted, 0)
    }

    async fn send_members(
        &self,
        cx: &Context<'_>,
        operation: &'static str,
        method: &str,
        audience: &AudienceRef,
        batch: &Batch,
        head: &[u8],
    ) -> Result<Receipt> {
        if batch.is_empty() {
            return Ok(Receipt::default());
        }
        if batch.len() > MAX_MEMBERS {
            return Err(Error::new(ErrorKind::Unexpected, operation, "the batch is larger than Google takes")
                .with("members", batch.len())
                .with("limit", MAX_MEMBERS));
        }
        let body = self.body(operation, audience, batch, head)?;
        let call = self.call(operation, Method::POST, self.url(&[method])).json_bytes(body);
        let accepted: Accepted = cx
            .fetch(call, &Replies::about_members(batch.len()))
            .await
            .map_err(|error| error.with("audience", &audience.id))?;
        if let Some(first) = accepted.field_warnings.first() {
            // Optional fields only: the members are accepted all the same.
            warn!(
                connector = "google",
                operation,
                warnings = accepted.field_warnings.len(),
                reason = first.reason,
                "Accepted with warnings"
            );
        }
        receipt(operation, accepted, batch.len() as u64)
    }

    fn body(&self, operation: &'static str, audience: &AudienceRef, batch: &Batch, head: &[u8]) -> Result<Vec<u8>> {
        let destination = serde_json::to_vec(&self.destination(audience)).map_err(|error| {
            Error::new(ErrorKind::Unexpected, operation, "the destination does not serialise").source(error)
        })?;
        let mut body = Vec::with_capacity(512 + batch.byte_len() * 3 + batch.len() * 96);
        body.extend_from_slice(b"{\"destinations\":[");
        body.extend_from_slice(&destination);
        body.extend_from_slice(b"],");
        body.extend_from_slice(head);
        body.extend_from_slice(b"\"audienceMembers\":[");
        let mut empty = Vec::new();
        for (index, member) in batch.iter().enumerate() {
            if !write_member(&mut body, member) {
                empty.push(Rejection { index: index as u32, reason: RejectReason::from_static("no_identifiers") });
            }
        }
        if !empty.is_empty() {
            // Left out silently they would shift the positions that Google's verdict names; sent, they would fail
            // the whole request.
            return Err(Error::new(
                ErrorKind::Rejected,
                operation,
                "some members have nothing that Google takes; nothing was sent",
            )
            .with("members", empty.len())
            .naming(empty));
        }
        body.pop();
        body.extend_from_slice(b"]}");
        Ok(body)
    }

    fn destination<'a>(&'a self, audience: &'a AudienceRef) -> Destination<'a> {
        Destination {
            login_account: self.settings.login.as_ref().map(AccountBody::from),
            linked_account: self.settings.linked.as_ref().map(AccountBody::from),
            operating_account: AccountBody::from(&self.settings.operating),
            product_destination_id: &audience.id,
        }
    }
}

fn receipt(operation: &'static str, accepted: Accepted, rows: u64) -> Result<Receipt> {
    if accepted.request_id.is_empty() {
        return Err(Error::new(ErrorKind::Protocol, operation, "Google accepted the request without giving its id"));
    }
    Ok(Receipt { ticket: Some(accepted.request_id), rows, ..Receipt::default() })
}

/// Where members go. Member calls carry the accounts here, list calls in headers; mixing them up is an error.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Destination<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    login_account: Option<AccountBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    linked_account: Option<AccountBody<'a>>,
    operating_account: AccountBody<'a>,
    product_destination_id: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AccountBody<'a> {
    account_type: &'a str,
    account_id: &'a str,
}

impl<'a> From<&'a Account> for AccountBody<'a> {
    fn from(account: &'a Account) -> Self {
        Self { account_type: account.kind, account_id: &account.id }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RemoveAll<'a> {
    destinations: [Destination<'a>; 1],
    remove_as_of_time: String,
    validate_only: bool,
}

/// What was granted, and nothing for what is unknown: Google then decides by account settings and the person's region.
fn write_consent(body: &mut Vec<u8>, consent: Consent) {
    let fields = [("adUserData", consent.ad_user_data), ("adPersonalization", consent.ad_personalization)];
    let mut granted = fields.iter().filter(|(_, state)| *state == ConsentState::Granted).peekable();
    if granted.peek().is_none() {
        return;
    }
    body.extend_from_slice(b"\"consent\":{");
    while let Some((field, _)) = granted.next() {
        body.push(b'"');
        body.extend_from_slice(field.as_bytes());
        body.extend_from_slice(b"\":\"CONSENT_GRANTED\"");
        if granted.peek().is_some() {
            body.push(b',');
        }
    }
    body.extend_from_slice(b"},");
}

/// One person with a comma behind; false, and nothing written, when no identifier is left.
///
/// The first [`MAX_IDENTIFIERS`] are taken, e-mails before phones before the address: the same for adding and for
/// removing, so that a removal finds what was added.
fn write_member(body: &mut Vec<u8>, member: MemberRef<'_>) -> bool {
    let start = body.len();
    body.extend_from_slice(b"{\"compositeData\":{\"userData\":{\"userIdentifiers\":[");
    let mut left = MAX_IDENTIFIERS;
    for (field, digests) in [("emailAddress", member.emails()), ("phoneNumber", member.phones())] {
        for digest in digests.iter().take(left) {
            body.extend_from_slice(b"{\"");
            body.extend_from_slice(field.as_bytes());
            body.extend_from_slice(b"\":\"");
            write_hex(body, digest);
            body.extend_from_slice(b"\"},");
        }
        left -= digests.len().min(left);
    }
    if left > 0
        && let Some(address) = Address::of(member)
    {
        address.write(body);
        left -= 1;
    }
    if left == MAX_IDENTIFIERS {
        body.truncate(start);
        return false;
    }
    body.pop();
    body.extend_from_slice(b"]}}},");
    true
}

fn write_hex(body: &mut Vec<u8>, digest: &[u8; 32]) {
    let mut text = [0; 64];
    const_hex::encode_to_slice(digest, &mut text).expect("64 digits hold 32 bytes");
    body.extend_from_slice(&text);
}

/// A complete address. An incomplete one would fail the whole request, so there is no other.
struct Address<'a> {
    given_name: &'a [u8; 32],
    family_name: &'a [u8; 32],
    region_code: &'a str,
    postal_code: &'a str,
}

impl<'a> Address<'a> {
    fn of(member: MemberRef<'a>) -> Option<Self> {
        let (mut given, mut family, mut region, mut postcode) = (None, None, None, None);
        for (kind, value) in member.others() {
            match (kind, value) {
                (IdentifierKind::GivenName, ValueRef::Digest(digest)) => given = Some(digest),
                (IdentifierKind::FamilyName, ValueRef::Digest(digest)) => family = Some(digest),
                (IdentifierKind::Country, ValueRef::Plain(text)) => region = Some(text),
                (IdentifierKind::Postcode, ValueRef::Plain(text)) => postcode = Some(text),
                _ => {}
            }
        }
        Some(Self {
            given_name: given?,
            family_name: family?,
            region_code: region.filter(|code| code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase()))?,
            postal_code: postcode.filter(|code| !code.trim().is_empty())?,
        })
    }

    fn write(&self, body: &mut Vec<u8>) {
        body.extend_from_slice(b"{\"address\":{\"givenName\":\"");
        write_hex(body, self.given_name);
        body.extend_from_slice(b"\",\"familyName\":\"");
        write_hex(body, self.family_name);
        body.extend_from_slice(b"\",\"regionCode\":\"");
        body.extend_from_slice(self.region_code.as_bytes());
        body.extend_from_slice(b"\",\"postalCode\":");
        // The one free text of a member.
        serde_json::to_writer(&mut *body, self.postal_code).expect("writing to memory does not fail");
        body.extend_from_slice(b"}},");
    }
}
