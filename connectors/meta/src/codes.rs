//! Meta's error codes. One table of `error.code` and `error_subcode`, walked by one function. Sources:
//! guides/error-handling, overview/rate-limiting, reference/custom-audience/users and …/usersreplace,
//! audiences/reference/custom-audience-terms-of-service.

use std::ops::RangeInclusive;

use reveil_sdk::ErrorKind;

use crate::usage::Throttle;

/// When the same call may help.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Again {
    Never,
    /// The transport's own back-off.
    BackOff,
    Secs(u64),
    Throttled(Throttle),
    /// Only for calls that carry members: an audience made a moment ago is not visible yet.
    MembersAfterSecs(u64),
}

/// One line of the table.
pub(crate) struct Row {
    pub codes: RangeInclusive<i64>,
    /// Empty: any, or none.
    pub subcodes: &'static [i64],
    pub kind: ErrorKind,
    pub again: Again,
    pub message: &'static str,
    /// `{account}` stands for the digits of the ad account.
    pub hint: &'static str,
}

const fn row(
    codes: RangeInclusive<i64>,
    subcodes: &'static [i64],
    kind: ErrorKind,
    again: Again,
    message: &'static str,
    hint: &'static str,
) -> Row {
    Row { codes, subcodes, kind, again, message, hint }
}

const TERMS_HINT: &str = "A person of the business that owns the ad account (not a system user) must accept the terms at \
     https://business.facebook.com/ads/manage/customaudiences/tos/?act={account}";
const FLAGGED_HINT: &str = "Meta flagged the audience: its name, description or rule suggests health, financial or similar \
     information. Appeal in Ads Manager, or use a new audience with a bland name and description.";
const TOKEN_HINT: &str = "Mint a new system user access token with ads_management and ads_read, and put it into the \
     destination's credentials.";

/// First fit counts: precise rows stand before general ones.
static TABLE: &[Row] = &[
    row(1..=1, &[], ErrorKind::Unavailable, Again::BackOff, "Meta could not answer (unknown error)", ""),
    row(2..=2, &[], ErrorKind::Unavailable, Again::BackOff, "Meta's service is not available now", ""),
    row(4..=4, &[], ErrorKind::RateLimited, Again::Throttled(Throttle::App), "the app made too many calls", ""),
    row(341..=341, &[], ErrorKind::RateLimited, Again::Throttled(Throttle::App), "the app reached a limit", ""),
    row(
        17..=17,
        &[],
        ErrorKind::RateLimited,
        Again::Throttled(Throttle::Account),
        "too many calls to this ad account",
        "",
    ),
    row(
        613..=613,
        &[],
        ErrorKind::RateLimited,
        Again::Throttled(Throttle::Account),
        "calls to this ad account came too fast",
        "",
    ),
    row(
        80_003..=80_003,
        &[],
        ErrorKind::RateLimited,
        Again::Throttled(Throttle::Business),
        "the hourly allowance for custom audiences is used up",
        "Sync less often, or ask Meta for full Marketing API access.",
    ),
    row(
        803..=803,
        &[],
        ErrorKind::NotFound,
        Again::MembersAfterSecs(5),
        "Meta knows no such object, or not yet",
        "An audience made a moment ago takes seconds to appear; otherwise it was deleted.",
    ),
    row(
        2650..=2650,
        &[1_870_145],
        ErrorKind::Unavailable,
        Again::Secs(60),
        "an update or replacement of the audience is in progress",
        "Wait until its operation status is 200 again; a replacement takes up to 90 minutes.",
    ),
    row(
        2650..=2650,
        &[1_870_158],
        ErrorKind::Rejected,
        Again::Never,
        "the replacement session timed out after 90 minutes",
        "What arrived was applied; send the rest by adding.",
    ),
    row(
        2650..=2650,
        &[1_870_147, 1_870_159, 1_870_144],
        ErrorKind::Rejected,
        Again::Never,
        "the replacement cannot go on: bad first batch, finished session, or over 100 million members",
        "Bring the audience up to date by adding and removing.",
    ),
    row(
        2650..=2650,
        &[1_870_148],
        ErrorKind::Rejected,
        Again::Never,
        "the session was applied only in part",
        "Send the members again in a new session.",
    ),
    row(
        2650..=2650,
        &[],
        ErrorKind::Rejected,
        Again::Never,
        "the audience does not take this kind of upload",
        "Its first upload fixed its data source, perhaps by another tool. Delete it or let a new one be made.",
    ),
    row(
        100..=100,
        &[33],
        ErrorKind::NotFound,
        Again::Never,
        "the object is not there, or the token may not see it",
        "Look whether the audience still exists and the token's user has a role on the ad account.",
    ),
    row(
        100..=100,
        &[1_713_230],
        ErrorKind::Rejected,
        Again::Never,
        "members of a flagged audience cannot be edited",
        FLAGGED_HINT,
    ),
    row(
        100..=100,
        &[1_713_228, 1_713_231],
        ErrorKind::Rejected,
        Again::Never,
        "a flagged audience cannot be edited",
        FLAGGED_HINT,
    ),
    row(100..=100, &[1_713_098], ErrorKind::Rejected, Again::Never, "Meta blocked the operation", ""),
    row(100..=100, &[], ErrorKind::Rejected, Again::Never, "Meta calls a parameter invalid", ""),
    row(102..=102, &[], ErrorKind::Auth, Again::Never, "the session of the access token has ended", TOKEN_HINT),
    row(190..=190, &[], ErrorKind::Auth, Again::Never, "the access token is expired or revoked", TOKEN_HINT),
    row(
        200..=200,
        &[1_870_090],
        ErrorKind::Permission,
        Again::Never,
        "the Custom Audience Terms are not accepted",
        TERMS_HINT,
    ),
    row(
        200..=200,
        &[1_870_050],
        ErrorKind::Permission,
        Again::Never,
        "the ad account belongs to no business",
        "Link ad account {account} to a business portfolio in Business settings.",
    ),
    row(
        270..=270,
        &[],
        ErrorKind::Permission,
        Again::Never,
        "the app's access tier does not reach this ad account",
        "Limited access only covers accounts that the app's own roles administer; ask Meta for full Marketing API access.",
    ),
    row(
        10..=10,
        &[],
        ErrorKind::Permission,
        Again::Never,
        "the app or token lacks a permission",
        "The token needs ads_management, and its user an advertiser role or higher on ad account {account}.",
    ),
    row(
        200..=299,
        &[],
        ErrorKind::Permission,
        Again::Never,
        "the token may not do this",
        "The token needs ads_management, and its user an advertiser role or higher on ad account {account}.",
    ),
    row(
        368..=368,
        &[],
        ErrorKind::Permission,
        Again::Never,
        "Meta blocked the account for behaviour it calls abusive",
        "Stop syncing, look into Account Quality, and try again after some hours.",
    ),
    row(
        2635..=2635,
        &[],
        ErrorKind::Config,
        Again::Never,
        "this Marketing API version has ended",
        "Set api_version of the destination to a current version.",
    ),
    row(2655..=2655, &[], ErrorKind::Permission, Again::Never, "terms of Meta are not accepted", TERMS_HINT),
    row(
        2656..=2656,
        &[],
        ErrorKind::Rejected,
        Again::Never,
        "lookalike audiences depend on this audience",
        "Delete the lookalikes first.",
    ),
    row(2654..=2654, &[], ErrorKind::Rejected, Again::Never, "the audience does not allow this operation", ""),
    row(105..=105, &[], ErrorKind::Rejected, Again::Never, "the request has too many parameters", ""),
    row(194..=194, &[], ErrorKind::Rejected, Again::Never, "the request lacks a parameter", ""),
    row(2500..=2500, &[], ErrorKind::Rejected, Again::Never, "Meta does not understand the query", ""),
];

/// The first row that fits.
pub(crate) fn find(code: i64, subcode: Option<i64>) -> Option<&'static Row> {
    TABLE.iter().find(|row| {
        row.codes.contains(&code) && (row.subcodes.is_empty() || subcode.is_some_and(|sub| row.subcodes.contains(&sub)))
    })
}

#[cfg(test)]
mod tests {
    use super::TABLE;

    #[test]
    fn precise_rows_come_before_general_ones() {
        for (index, row) in TABLE.iter().enumerate() {
            for code in row.codes.clone() {
                let hidden =
                    TABLE[..index].iter().any(|earlier| earlier.codes == row.codes && earlier.subcodes.is_empty());
                assert!(!hidden, "the row of code {code} {:?} is never reached", row.subcodes);
            }
        }
    }
}
