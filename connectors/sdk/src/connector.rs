//! The trait every platform implements.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use url::Url;

use crate::audience::{AudienceRef, AudienceSpec, AudienceStatus};
use crate::context::{Auth, Context};
use crate::descriptor::Descriptor;
use crate::error::{Error, ErrorKind, Result};
use crate::member::Batch;
use crate::outcome::{MatchObservation, Receipt, UploadSummary, Verdict};

/// What a connector is made from: one `[destination.*]` of the config.
#[derive(Debug, Default)]
pub struct Options {
    /// `account` of the destination.
    pub account: String,
    /// The connector's own keys (see [`Descriptor::settings`]), as JSON.
    pub settings: serde_json::Map<String, serde_json::Value>,
    /// Secrets by the names of [`Descriptor::secrets`].
    pub secrets: BTreeMap<String, SecretString>,
    /// Replaces the platform's host: sandbox, proxy, test.
    pub base_url: Option<Url>,
}

/// One batch on its way, with its place in the upload.
#[derive(Debug, Clone, Copy)]
pub struct Upload<'a> {
    pub batch: &'a Batch,
    /// Positive, unique per account; the same for all batches of one upload and one operation.
    pub session: u64,
    /// From 1, in order of first sending. A batch sent again keeps its number.
    pub ordinal: u32,
    /// No batch with a higher number follows in this session.
    pub last: bool,
    /// Members expected in the whole session.
    pub estimated_members: u64,
}

/// An ad platform. Implementations hold settings, never a client or a clock.
///
/// What callers may rely on: adding twice is safe, removing who is absent succeeds, `check` and `status` write
/// nothing, every batch handed in respects [`Descriptor::limits`] and is uniform in consent and operation.
#[async_trait]
pub trait Connector: Send + Sync {
    fn descriptor(&self) -> &'static Descriptor;

    /// How calls are authorised.
    fn auth(&self) -> Auth;

    /// Looks whether the credential works, the account is there and the terms are signed. Writes nothing.
    /// Returns warnings that do not stop a sync.
    ///
    /// # Errors
    /// `Auth`, `Permission`, `NotFound`, each with a hint.
    async fn check(&self, cx: &Context<'_>) -> Result<Vec<String>>;

    /// The audience with this key, made if it is not there. `known` is the id remembered from before; it is
    /// used when it still exists.
    async fn find_or_create(
        &self,
        cx: &Context<'_>,
        spec: &AudienceSpec,
        known: Option<&AudienceRef>,
    ) -> Result<AudienceRef>;

    /// What the platform says of it now.
    async fn status(&self, cx: &Context<'_>, audience: &AudienceRef) -> Result<AudienceStatus>;

    /// Adds members. Adding a present one renews it.
    ///
    /// # Errors
    /// With [`Error::naming`] when the platform refused the batch for named members, [`Error::body_fault`] when
    /// for unnamed ones; nothing was applied in either case.
    async fn add(&self, cx: &Context<'_>, audience: &AudienceRef, upload: &Upload<'_>) -> Result<Receipt>;

    /// Removes members by the identifiers they were sent with.
    async fn remove(&self, cx: &Context<'_>, audience: &AudienceRef, upload: &Upload<'_>) -> Result<Receipt>;

    /// One batch of a swap ([`Replace::Swap`](crate::Replace)); batch 1 starts it, the last one ends it.
    async fn replace(&self, _cx: &Context<'_>, _audience: &AudienceRef, _upload: &Upload<'_>) -> Result<Receipt> {
        Err(unsupported("Replace"))
    }

    /// Removes whoever was last added before `added_before` ([`Replace::Sweep`](crate::Replace)).
    async fn sweep(&self, _cx: &Context<'_>, _audience: &AudienceRef, _added_before: DateTime<Utc>) -> Result<Receipt> {
        Err(unsupported("Sweep"))
    }

    /// Removes members from every audience of the account.
    async fn erase(&self, _cx: &Context<'_>, _upload: &Upload<'_>) -> Result<Receipt> {
        Err(unsupported("Erase"))
    }

    /// The final word on an accepted batch whose receipt carried a ticket.
    async fn verdict(&self, _cx: &Context<'_>, _ticket: &str) -> Result<Verdict> {
        Err(unsupported("Verdict"))
    }

    /// What the platform says of matching after an upload. Several readings of different kinds may come back;
    /// the first is the one to show.
    async fn observe(
        &self,
        cx: &Context<'_>,
        audience: &AudienceRef,
        upload: &UploadSummary,
    ) -> Result<Vec<MatchObservation>>;

    /// Deletes the audience. Succeeds when it is gone already.
    async fn delete(&self, cx: &Context<'_>, audience: &AudienceRef) -> Result<()>;
}

fn unsupported(operation: &'static str) -> Error {
    Error::new(ErrorKind::Unsupported, operation, "this platform has no such operation")
}
