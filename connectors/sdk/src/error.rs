//! The one error of every connector: a kind to branch on, whether trying again can help, and what the operator
//! can do. It never holds a body, a header, an identifier or a secret.

use std::fmt;
use std::time::Duration;

use crate::outcome::Rejection;

pub type Result<T, E = Error> = std::result::Result<T, E>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What went wrong, as far as a caller has to care.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Our own settings are wrong.
    Config,
    /// The credential is missing, expired or revoked.
    Auth,
    /// The credential is good but may not do this; terms unsigned, no access, tier too low.
    Permission,
    /// The account, audience or request id is not there (any more).
    NotFound,
    /// Too many calls; the platform says or implies when to come back.
    RateLimited,
    /// The platform read the request and refuses its content.
    Rejected,
    /// Server errors, time-outs, broken connections: the platform could not answer.
    Unavailable,
    /// The reply is not of the documented shape.
    Protocol,
    /// The platform or connector has no such operation.
    Unsupported,
    /// None of the above.
    Unexpected,
}

impl ErrorKind {
    /// Stable name, used in logs, metrics and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Auth => "auth",
            Self::Permission => "permission",
            Self::NotFound => "not_found",
            Self::RateLimited => "rate_limited",
            Self::Rejected => "rejected",
            Self::Unavailable => "unavailable",
            Self::Protocol => "protocol",
            Self::Unsupported => "unsupported",
            Self::Unexpected => "unexpected",
        }
    }

    /// The kind an HTTP status stands for when the platform says nothing more precise.
    pub const fn from_status(status: u16) -> Self {
        match status {
            401 => Self::Auth,
            403 => Self::Permission,
            404 | 410 => Self::NotFound,
            429 => Self::RateLimited,
            408 | 500..=599 => Self::Unavailable,
            400..=499 => Self::Rejected,
            _ => Self::Protocol,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether the same call may succeed later. Only the retry layer acts on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Trying again unchanged cannot help.
    Never,
    /// Try again, after this long if the platform said so.
    After(Option<Duration>),
    /// It was tried as often as allowed.
    Exhausted,
}

/// See the module.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    retry: Retry,
    operation: &'static str,
    message: String,
    hint: Option<String>,
    context: Vec<(&'static str, String)>,
    rejections: Vec<Rejection>,
    body_fault: bool,
    unanswered: bool,
    source: Option<BoxError>,
}

impl Error {
    /// An error of `kind` in `operation` ("AddUsers"). `message` says what happened, without identifiers.
    pub fn new(kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Self {
        let retry = match kind {
            ErrorKind::RateLimited | ErrorKind::Unavailable => Retry::After(None),
            _ => Retry::Never,
        };
        Self(Box::new(Inner {
            kind,
            retry,
            operation,
            message: message.into(),
            hint: None,
            context: Vec::new(),
            rejections: Vec::new(),
            body_fault: false,
            unanswered: false,
            source: None,
        }))
    }

    /// A settings error found before any call.
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, "settings", message)
    }

    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// What the operator can do about it, shown after `hint:`.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Ids, counts and vendor codes; never bodies, headers or members.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((name, value.to_string()));
        self
    }

    /// The members of the batch that the platform named as the cause, by index. The engine drops them and
    /// sends the rest again.
    #[must_use]
    pub fn naming(mut self, rejections: Vec<Rejection>) -> Self {
        self.0.rejections = rejections;
        self.0.body_fault = true;
        self
    }

    /// The cause lies in the members of the batch, but the platform does not say which. The engine bisects.
    #[must_use]
    pub fn body_fault(mut self) -> Self {
        self.0.body_fault = true;
        self
    }

    /// This try, or one before it, got no whole answer: the request may have been applied.
    #[must_use]
    pub fn unanswered(mut self) -> Self {
        self.0.unanswered = true;
        self
    }

    #[must_use]
    pub fn source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }
    pub fn retry_advice(&self) -> Retry {
        self.0.retry
    }
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }
    pub fn message(&self) -> &str {
        &self.0.message
    }
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.0.context
    }
    pub fn rejections(&self) -> &[Rejection] {
        &self.0.rejections
    }
    /// True when it is not known whether the request took effect.
    pub fn is_unanswered(&self) -> bool {
        self.0.unanswered
    }
    /// True when some members of the batch made the platform refuse it.
    pub fn is_body_fault(&self) -> bool {
        self.0.body_fault
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.operation, self.0.message)?;
        for (name, value) in &self.0.context {
            write!(f, " {name}={value}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("retry", &self.0.retry)
            .field("operation", &self.0.operation)
            .field("message", &self.0.message)
            .field("context", &self.0.context)
            .field("rejections", &self.0.rejections.len())
            .field("source", &self.0.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
