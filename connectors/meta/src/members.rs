//! Adding, removing and erasing members: a batch becomes one request, seldom more, and the replies one receipt.
//!
//! Sending a batch again with its session and number is harmless: all of these are set operations on the keys.

use http::Method;
use reveil_sdk::{Call, ConsentState, Context, Error, ErrorKind, Receipt, Result, Upload};

use crate::error::operation;
use crate::rows::{self, Form, Part, Parts, SessionPlace};
use crate::wire::UsersReply;
use crate::{Meta, check};

/// What is done with members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Write {
    Add,
    Remove,
    Replace,
    Erase,
}

impl Write {
    const fn operation(self) -> &'static str {
        match self {
            Self::Add => operation::ADD,
            Self::Remove => operation::REMOVE,
            Self::Replace => operation::REPLACE,
            Self::Erase => operation::ERASE,
        }
    }

    /// Removals carry the members in the body of a DELETE: in a query they would end up in access logs.
    const fn method(self) -> Method {
        match self {
            Self::Add | Self::Replace => Method::POST,
            Self::Remove | Self::Erase => Method::DELETE,
        }
    }

    const fn edge(self) -> &'static str {
        match self {
            Self::Add | Self::Remove => "users",
            Self::Replace => "usersreplace",
            Self::Erase => "usersofanyaudience",
        }
    }

    const fn brings_in(self) -> bool {
        matches!(self, Self::Add | Self::Replace)
    }
}

/// The requests of a batch.
///
/// # Errors
/// `Rejected` when people who denied consent would be uploaded, `Unexpected` for a session number out of range.
pub(crate) fn prepare(meta: &Meta, what: Write, upload: &Upload<'_>) -> Result<Parts> {
    if what.brings_in() && upload.batch.consent.ad_user_data == ConsentState::Denied {
        return Err(Error::new(ErrorKind::Rejected, what.operation(), "the batch holds people who denied consent")
            .with("members", upload.batch.len()));
    }
    if upload.session == 0 || i64::try_from(upload.session).is_err() || upload.ordinal == 0 {
        return Err(Error::new(
            ErrorKind::Unexpected,
            what.operation(),
            "a session needs a positive 64-bit number and batches from 1",
        )
        .with("session", upload.session)
        .with("ordinal", upload.ordinal));
    }
    let form = Form {
        every_column: what == Write::Replace,
        limited_data_use: meta.settings.limited_data_use.filter(|_| what.brings_in()),
        // EXTERN_ID alone is enough for 90 days after the upload.
        id_alone: !what.brings_in(),
    };
    let place = SessionPlace {
        session_id: upload.session,
        ordinal: upload.ordinal,
        last: upload.last,
        estimated_members: upload.estimated_members,
    };
    Ok(rows::write(upload.batch, form, place))
}

/// The call for one request of a batch; `target` is an audience, or the account for an erasure.
pub(crate) fn call(meta: &Meta, what: Write, target: &str, body: Vec<u8>) -> Call {
    Call::new(what.operation(), what.method(), meta.url(&[target, what.edge()])).json_bytes(body)
}

/// Adds what one reply says to the receipt of the batch.
///
/// `num_received` counts the whole session so far, so it is of no use here. `num_invalid_entries` is inexact by
/// Meta's own word, so it is held against the rows it can concern.
pub(crate) fn note(receipt: &mut Receipt, rows: u64, reply: &UsersReply) {
    let invalid = reply.num_invalid_entries.and_then(|count| u64::try_from(count).ok()).unwrap_or(0);
    receipt.rows += rows;
    receipt.invalid_unnamed += invalid.max(reply.invalid_entry_samples).min(rows);
}

/// Sends a batch whole.
pub(crate) async fn write(
    meta: &Meta,
    cx: &Context<'_>,
    what: Write,
    target: &str,
    upload: &Upload<'_>,
) -> Result<Receipt> {
    let Parts { parts, rejected } = prepare(meta, what, upload)?;
    let mut receipt = Receipt { rejected, ..Receipt::default() };
    send(meta, cx, what, target, parts, &mut receipt).await?;
    Ok(receipt)
}

/// Sends requests one after another.
pub(crate) async fn send(
    meta: &Meta,
    cx: &Context<'_>,
    what: Write,
    target: &str,
    parts: impl IntoIterator<Item = Part, IntoIter: Send> + Send,
    receipt: &mut Receipt,
) -> Result<()> {
    for Part { body, rows } in parts {
        let reply: UsersReply = cx.fetch(call(meta, what, target, body), &meta.replies).await?;
        note(receipt, rows, &reply);
    }
    Ok(())
}

/// Removes members from every customer-file audience of the account.
///
/// Without signed terms Meta may answer yes and do nothing, so the terms are looked at before the first batch.
pub(crate) async fn erase(meta: &Meta, cx: &Context<'_>, upload: &Upload<'_>) -> Result<Receipt> {
    if upload.ordinal == 1 {
        check::terms(meta, cx).await?;
    }
    write(meta, cx, Write::Erase, &meta.account(), upload).await
}
