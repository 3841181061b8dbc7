//! The wire shapes of members and destinations, and what is wrong with them.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::enums::{self, ConsentValue, Encoding, TermsStatus};
use super::super::error::{GoogleError, Violation};
use super::super::jobs::{Carrier, Consent, Records};
use super::super::{Request, State, check_access, check_account};
use crate::core::key::{Digest, Key, Kind, from_hex};
use crate::core::people::google_address;

const MAX_MEMBERS: usize = 10_000;
const MAX_IDENTIFIERS: usize = 10;
const MAX_DESTINATIONS: usize = 10;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Destination {
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    login_account: Option<Account>,
    #[serde(skip_serializing_if = "Option::is_none")]
    linked_account: Option<Account>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operating_account: Option<Account>,
    #[serde(skip_serializing_if = "Option::is_none")]
    product_destination_id: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Account {
    #[serde(deserialize_with = "enums::account_type")]
    account_type: String,
    account_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Terms {
    pub(super) customer_match_terms_of_service_status: Option<TermsStatus>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ConsentBody {
    ad_user_data: Option<ConsentValue>,
    ad_personalization: Option<ConsentValue>,
}

impl ConsentBody {
    fn verdict(this: Option<Self>) -> Consent {
        match this.map(|c| (c.ad_user_data, c.ad_personalization)) {
            None | Some((None, None)) => Consent::Missing,
            Some((Some(ConsentValue::Granted), Some(ConsentValue::Granted))) => Consent::Granted,
            Some((Some(ConsentValue::Denied), _) | (_, Some(ConsentValue::Denied))) => Consent::Denied,
            Some(_) => Consent::Unknown,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Member<'a> {
    #[serde(borrow, default)]
    destination_references: Vec<Cow<'a, str>>,
    consent: Option<ConsentBody>,
    #[serde(borrow)]
    composite_data: Option<CompositeData<'a>>,
    #[serde(borrow)]
    user_data: Option<UserData<'a>>,
    #[serde(borrow)]
    mobile_data: Option<MobileData<'a>>,
    #[serde(borrow)]
    user_id_data: Option<UserIdData<'a>>,
    pair_data: Option<Value>,
    ppid_data: Option<Value>,
    google_user_id_data: Option<Value>,
    partner_provided_id_data: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CompositeData<'a> {
    #[serde(borrow)]
    user_data: Option<UserData<'a>>,
    ip_data: Option<Vec<Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UserData<'a> {
    #[serde(borrow, default)]
    user_identifiers: Vec<Identifier<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Identifier<'a> {
    #[serde(borrow)]
    email_address: Option<Cow<'a, str>>,
    #[serde(borrow)]
    phone_number: Option<Cow<'a, str>>,
    #[serde(borrow)]
    address: Option<Address<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Address<'a> {
    #[serde(borrow, default)]
    given_name: Cow<'a, str>,
    #[serde(borrow, default)]
    family_name: Cow<'a, str>,
    #[serde(borrow, default)]
    region_code: Cow<'a, str>,
    #[serde(borrow, default)]
    postal_code: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MobileData<'a> {
    #[serde(borrow, default)]
    mobile_ids: Vec<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UserIdData<'a> {
    #[serde(borrow)]
    user_id: Cow<'a, str>,
}

/// Collects what is wrong with a request and reads what is right.
pub(super) struct Reader<'r> {
    pub(super) request: &'r Request<'r>,
    pub(super) encoding: Option<Encoding>,
    pub(super) encrypted: bool,
    pub(super) violations: Vec<Violation>,
}

impl Reader<'_> {
    fn fault(&mut self, field: String, reason: &'static str, description: &'static str) {
        self.violations.push(Violation::new(field, reason, description));
    }

    /// Reads a digest in the request's encoding.
    fn digest(&mut self, text: &str, field: impl Fn() -> String, what: &'static str) -> Option<Digest> {
        if self.encrypted {
            // Ciphertext; the sandbox holds no key, the job will say so.
            return Some(crate::core::key::sha256(text.as_bytes()));
        }
        let (digest, reason) = match self.encoding? {
            Encoding::Hex => {
                let hex = text.bytes().all(|b| b.is_ascii_hexdigit());
                (from_hex(text, true), if hex { "INVALID_SHA256_FORMAT" } else { "INVALID_HEX_ENCODING" })
            }
            Encoding::Unspecified => return None,
            Encoding::Base64 => match STANDARD.decode(text) {
                Ok(bytes) => (Digest::try_from(bytes).ok(), "INVALID_SHA256_FORMAT"),
                Err(_) => (None, "INVALID_BASE64_ENCODING"),
            },
        };
        if digest.is_none() {
            self.fault(field(), reason, what);
        }
        digest
    }

    pub(super) fn destinations(
        &mut self,
        state: &State,
        destinations: &[Destination],
        adding: bool,
    ) -> Result<Vec<u64>, GoogleError> {
        if destinations.is_empty() {
            return Err(GoogleError::field("destinations", "REQUIRED_FIELD_MISSING", "Give at least one destination."));
        }
        if destinations.len() > MAX_DESTINATIONS {
            return Err(GoogleError::field("destinations", "TOO_MANY_DESTINATIONS", "At most 10 destinations."));
        }
        let mut ids = Vec::new();
        for (i, destination) in destinations.iter().enumerate() {
            let at = format!("destinations[{i}]");
            let missing =
                |name: &str| GoogleError::field(format!("{at}.{name}"), "REQUIRED_FIELD_MISSING", "Required.");
            if let Some(reference) = &destination.reference
                && destinations[..i].iter().any(|d| d.reference.as_ref() == Some(reference))
            {
                return Err(GoogleError::field(
                    format!("{at}.reference"),
                    "DUPLICATE_DESTINATION_REFERENCE",
                    "Used twice.",
                ));
            }
            let operating = destination.operating_account.as_ref().ok_or_else(|| missing("operating_account"))?;
            check_account(
                &format!("{at}.operating_account.account_id"),
                &operating.account_type,
                &operating.account_id,
            )?;
            let login = destination.login_account.as_ref().unwrap_or(operating);
            check_account(&format!("{at}.login_account.account_id"), &login.account_type, &login.account_id)?;
            if destination.linked_account.is_some() && login.account_type != "DATA_PARTNER" {
                return Err(GoogleError::field(
                    format!("{at}.linked_account"),
                    "LINKED_ACCOUNT_ONLY_ALLOWED_WITH_DATA_PARTNER_LOGIN_ACCOUNT",
                    "A linked account needs a DATA_PARTNER login account.",
                ));
            }
            let field = format!("{at}.operating_account.account_id");
            check_access(self.request.shared, &field, &operating.account_id, &login.account_id)?;
            let id = destination.product_destination_id.as_deref().filter(|id| !id.is_empty());
            let id = id.ok_or_else(|| missing("product_destination_id"))?;
            let list = id.parse().ok().and_then(|id: u64| state.lists.get(&id));
            let list = list.filter(|l| l.belongs_to(&operating.account_type, &operating.account_id));
            let at = format!("{at}.product_destination_id");
            let list = list.ok_or_else(|| {
                let violation =
                    Violation::new(at.clone(), "INVALID_USER_LIST_ID", "No such user list in this account.");
                let status =
                    if id.bytes().all(|b| b.is_ascii_digit()) { (404, "NOT_FOUND") } else { (400, "INVALID_ARGUMENT") };
                GoogleError::new(status.0, status.1, "There was a problem with the request.").with(violation)
            })?;
            if adding && !list.open {
                let violation = Violation::new(at, "INVALID_DESTINATION", "The user list is closed.");
                return Err(GoogleError::new(400, "FAILED_PRECONDITION", "The user list is closed.").with(violation));
            }
            ids.push(list.id);
        }
        Ok(ids)
    }

    /// Reads the members; every member yields one record.
    pub(super) fn members(
        &mut self,
        members: &[Member<'_>],
        destinations: &[Destination],
        default: Option<ConsentBody>,
    ) -> Result<Records, GoogleError> {
        if members.is_empty() {
            return Err(GoogleError::field("audience_members", "REQUIRED_FIELD_MISSING", "Give at least one member."));
        }
        if members.len() > MAX_MEMBERS {
            return Err(GoogleError::field("audience_members", "TOO_MANY_AUDIENCE_MEMBERS", "At most 10000 members."));
        }
        let mut records = Records::new(members.len());
        let mut carrier = None;
        for (i, member) in members.iter().enumerate() {
            let kinds = [
                member.composite_data.is_some().then_some(Carrier::Composite),
                member.user_data.is_some().then_some(Carrier::User),
                member.mobile_data.is_some().then_some(Carrier::Mobile),
                member.user_id_data.is_some().then_some(Carrier::UserId),
            ];
            let others =
                [&member.pair_data, &member.ppid_data, &member.google_user_id_data, &member.partner_provided_id_data];
            if others.iter().any(|other| other.is_some()) {
                return Err(GoogleError::field(
                    format!("audience_members[{i}]"),
                    "USER_LIST_TYPE_NOT_SUPPORTED_FOR_ACCOUNT",
                    "The sandbox has no lists for this kind of data.",
                ));
            }
            let mut kinds = kinds.into_iter().flatten();
            let (kind, second) = (kinds.next(), kinds.next());
            let Some(kind) = kind else {
                self.fault(format!("audience_members[{i}]"), "REQUIRED_FIELD_MISSING", "The member carries no data.");
                continue;
            };
            if second.is_some() || *carrier.get_or_insert(kind) != kind {
                let what = "All members of a request carry the same kind of data.";
                return Err(GoogleError::field(
                    format!("audience_members[{i}]"),
                    "MULTIPLE_DATA_TYPES_NOT_ALLOWED",
                    what,
                ));
            }
            self.member(i, member, &mut records);
            records.close(ConsentBody::verdict(member.consent.or(default)), self.mask(i, member, destinations));
        }
        records.carrier = carrier.unwrap_or(Carrier::Composite);
        let hashed = matches!(carrier, Some(Carrier::Composite | Carrier::User));
        if hashed && matches!(self.encoding, None | Some(Encoding::Unspecified)) {
            self.violations.clear();
            self.fault("encoding".into(), "REQUIRED_FIELD_MISSING", "HEX or BASE64.");
        }
        if let Some(prefix) = self.request.struck.bad_row()
            && records.rows.keys().iter().any(|key| const_hex::encode(key.digest).starts_with(prefix))
        {
            // All members are blamed: the one is for the client to find.
            return Err(GoogleError::field("audience_members", "INVALID_AUDIENCE_MEMBER", "A member is not valid."));
        }
        match self.violations.is_empty() {
            true => Ok(records),
            false => Err(GoogleError::invalid(std::mem::take(&mut self.violations))),
        }
    }

    fn member(&mut self, i: usize, member: &Member<'_>, records: &mut Records) {
        if let Some(composite) = &member.composite_data {
            let empty = Vec::new();
            let ips = composite.ip_data.as_ref().map_or(0, Vec::len);
            let identifiers = composite.user_data.as_ref().map_or(&empty, |u| &u.user_identifiers);
            self.identifiers(i, "composite_data.user_data", identifiers, ips > 0, records);
        }
        if let Some(user) = &member.user_data {
            self.identifiers(i, "user_data", &user.user_identifiers, false, records);
        }
        if let Some(mobile) = &member.mobile_data {
            let at = || format!("audience_members[{i}].mobile_data.mobile_ids");
            if mobile.mobile_ids.is_empty() {
                self.fault(at(), "NO_IDENTIFIERS_PROVIDED", "Give at least one mobile id.");
            } else if mobile.mobile_ids.len() > MAX_IDENTIFIERS {
                self.fault(at(), "TOO_MANY_USER_IDENTIFIERS", "At most 10 identifiers.");
            }
            mobile.mobile_ids.iter().for_each(|id| records.key(Key::of_plain(Kind::MobileId, id)));
        }
        if let Some(data) = &member.user_id_data {
            if data.user_id.is_empty() {
                self.fault(
                    format!("audience_members[{i}].user_id_data.user_id"),
                    "REQUIRED_FIELD_MISSING",
                    "Required.",
                );
            }
            records.key(Key::of_plain(Kind::UserId, &data.user_id));
        }
    }

    fn identifiers(
        &mut self,
        i: usize,
        carrier: &str,
        identifiers: &[Identifier<'_>],
        has_ip: bool,
        records: &mut Records,
    ) {
        let at = |rest: &str| format!("audience_members[{i}].{carrier}.user_identifiers{rest}");
        if identifiers.is_empty() && !has_ip {
            self.fault(at(""), "NO_IDENTIFIERS_PROVIDED", "Give at least one identifier.");
        }
        if identifiers.len() > MAX_IDENTIFIERS {
            self.fault(at(""), "TOO_MANY_USER_IDENTIFIERS", "At most 10 identifiers.");
        }
        for (j, identifier) in identifiers.iter().enumerate() {
            match (&identifier.email_address, &identifier.phone_number, &identifier.address) {
                (Some(email), None, None) => {
                    let field = || at(&format!("[{j}].email_address"));
                    let digest = self.digest(email, field, "Email is not a SHA-256 digest.");
                    digest.into_iter().for_each(|d| records.key(Key::new(Kind::Email, d)));
                }
                (None, Some(phone), None) => {
                    let field = || at(&format!("[{j}].phone_number"));
                    let digest = self.digest(phone, field, "Phone number is not a SHA-256 digest.");
                    digest.into_iter().for_each(|d| records.key(Key::new(Kind::Phone, d)));
                }
                (None, None, Some(address)) => self.address(&at(&format!("[{j}].address")), address, records),
                (None, None, None) => {
                    self.fault(at(&format!("[{j}]")), "NO_IDENTIFIERS_PROVIDED", "The identifier is empty.")
                }
                _ => self.fault(at(&format!("[{j}]")), "INVALID_FORMAT", "Only one of the fields may be set."),
            }
        }
    }

    fn address(&mut self, at: &str, address: &Address<'_>, records: &mut Records) {
        let parts = [
            ("given_name", &address.given_name),
            ("family_name", &address.family_name),
            ("region_code", &address.region_code),
            ("postal_code", &address.postal_code),
        ];
        let missing: Vec<&str> = parts.iter().filter(|(_, value)| value.is_empty()).map(|(name, _)| *name).collect();
        for name in &missing {
            self.fault(format!("{at}.{name}"), "REQUIRED_FIELD_MISSING", "An address needs all four parts.");
        }
        if !missing.is_empty() {
            return;
        }
        let region = address.region_code.as_ref();
        if region.len() != 2 || !region.bytes().all(|b| b.is_ascii_uppercase()) {
            self.fault(format!("{at}.region_code"), "INVALID_COUNTRY_CODE", "Two upper-case letters, unhashed.");
        }
        if address.postal_code.len() > 16 {
            self.fault(format!("{at}.postal_code"), "INVALID_POSTAL_CODE", "The postal code is sent unhashed.");
        }
        let given =
            self.digest(&address.given_name, || format!("{at}.given_name"), "Given name is not a SHA-256 digest.");
        let family =
            self.digest(&address.family_name, || format!("{at}.family_name"), "Family name is not a SHA-256 digest.");
        if let (Some(given), Some(family)) = (given, family) {
            records.key(google_address(&given, &family, region, &address.postal_code));
            if let [a, b] = *region.as_bytes() {
                records.region([a, b]);
            }
        }
    }

    /// Bit per destination the member goes to.
    fn mask(&mut self, i: usize, member: &Member<'_>, destinations: &[Destination]) -> u16 {
        if member.destination_references.is_empty() {
            return u16::MAX;
        }
        let mut mask = 0;
        for reference in &member.destination_references {
            match destinations.iter().position(|d| d.reference.as_deref() == Some(reference)) {
                Some(at) => mask |= 1 << at,
                None => self.fault(
                    format!("audience_members[{i}].destination_references"),
                    "INVALID_DESTINATION",
                    "No destination has this reference.",
                ),
            }
        }
        mask
    }
}
