//! The swap: `usersreplace` fills a new list beside the old one and exchanges them at the end, so that the audience is
//! never empty and the learning phase of its ad sets is not reset. Source: reference/custom-audience/usersreplace.
//!
//! The request numbered 1 starts the swap and must never be sent twice, so it is the one call here that is not
//! retried blindly: the audience and the session are asked what became of it. Later requests may be repeated.

use reveil_sdk::{AudienceRef, Context, Error, ErrorKind, Receipt, Result, Retry, Upload};

use crate::error::operation;
use crate::members::{self, Write};
use crate::rows::Parts;
use crate::wire::UsersReply;
use crate::{Meta, observe, status};

pub(crate) async fn replace(
    meta: &Meta,
    cx: &Context<'_>,
    audience: &AudienceRef,
    upload: &Upload<'_>,
) -> Result<Receipt> {
    let Parts { parts, rejected } = members::prepare(meta, Write::Replace, upload)?;
    let mut parts = parts.into_iter();
    let mut receipt = Receipt { rejected, ..Receipt::default() };
    if upload.ordinal == 1 {
        let Some(first) = parts.next() else {
            return Err(Error::new(
                ErrorKind::Rejected,
                operation::REPLACE,
                "the first batch of a replacement holds nobody usable",
            )
            .naming(receipt.rejected));
        };
        if started_before(meta, cx, audience, upload.session).await? {
            receipt.rows += first.rows;
        } else {
            let call = members::call(meta, Write::Replace, &audience.id, first.body).not_idempotent();
            let reply = match cx.fetch::<UsersReply>(call, &meta.replies).await {
                Ok(reply) => reply,
                Err(error) if may_have_arrived(&error) && arrived(meta, cx, audience, upload.session).await? => {
                    UsersReply::default()
                }
                Err(error) => return Err(error),
            };
            members::note(&mut receipt, first.rows, &reply);
        }
    }
    members::send(meta, cx, Write::Replace, &audience.id, parts, &mut receipt).await?;
    Ok(receipt)
}

/// Looks whether the audience can be swapped. True when this very session has begun the swap already.
async fn started_before(meta: &Meta, cx: &Context<'_>, audience: &AudienceRef, session: u64) -> Result<bool> {
    let now = status::fetch(meta, cx, &audience.id).await?;
    let code = status::operation_code(&now);
    if code == Some(status::REPLACING) {
        if observe::session(meta, cx, &audience.id, session).await?.is_some() {
            return Ok(true);
        }
        return Err(Error::new(
            ErrorKind::Unavailable,
            operation::REPLACE,
            "another replacement of the audience is running",
        )
        .retry(Retry::Exhausted)
        .hint("Run again when it is over; it takes up to 90 minutes."));
    }
    if let Some(code) = code.filter(|code| *code != status::NORMAL) {
        return Err(Error::new(
            ErrorKind::Rejected,
            operation::REPLACE,
            "the audience is not in the state a replacement needs",
        )
        .with("operation_status", code)
        .hint("Only an audience with operation status 200 can be replaced; add and remove members instead."));
    }
    if status::size(&now).and_then(|size| size.low).is_some_and(|low| low >= status::MAX_PRESENT_MEMBERS) {
        return Err(Error::new(ErrorKind::Rejected, operation::REPLACE, "the audience is too large to be replaced")
            .hint("Audiences of 100 million members and more can only be brought up to date by adding and removing."));
    }
    Ok(false)
}

/// No answer, or none that can be read.
fn may_have_arrived(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Protocol)
}

/// Whether the first request was taken although its answer was lost. The audience was seen at rest just before, so a
/// running replacement is ours; a very short one may be over by now, but then its session is known.
async fn arrived(meta: &Meta, cx: &Context<'_>, audience: &AudienceRef, session: u64) -> Result<bool> {
    let now = status::fetch(meta, cx, &audience.id).await?;
    Ok(status::operation_code(&now) == Some(status::REPLACING)
        || observe::session(meta, cx, &audience.id, session).await?.is_some())
}
