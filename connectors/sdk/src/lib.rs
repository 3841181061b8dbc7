//! What a connector author needs, and nothing else: the [`Connector`] trait, the [`Descriptor`] a connector
//! declares, identifiers (normalise, hash, prepare), batches of prepared members, outcomes and errors.
//!
//! A connector describes requests and reads replies. It owns no HTTP client, runtime, clock or environment: they
//! come in [`Context`]. Retrying, rate limits, token renewal, batching, journalling and telemetry belong to the
//! engine. Raw identifiers never reach a connector; it gets [`MemberRef`]s that hold digests.

pub mod audience;
pub mod connector;
pub mod context;
pub mod descriptor;
pub mod error;
pub mod identifier;
pub mod member;
pub mod outcome;
#[cfg(feature = "testing")]
pub mod testing;

pub use audience::{AudienceRef, AudienceSpec, AudienceStatus, Replaceable, SizeBounds};
pub use connector::{Connector, Options, Upload};
pub use context::{Auth, Call, Clock, Context, Interpret, Pace, Reply, SystemClock, Transport};
pub use descriptor::{
    Capabilities, Descriptor, Grant, Limits, MatchInformation, OAuthSpec, Replace, SecretSpec, SettingSpec,
};
pub use error::{Error, ErrorKind, Result, Retry};
pub use identifier::{Encoding, IdentifierKind, IdentifierSpec, IdentifierTable};
pub use member::{Batch, Consent, ConsentState, MemberBuf, MemberKey, MemberRef, Operation, ValueRef};
pub use outcome::{MatchKind, MatchObservation, Receipt, RejectReason, Rejection, UploadSummary, Verdict};
