//! What an error of the store says and what to do about it. The error's own text repeats whole answers, XML and all; the
//! types it is made of exist only in builds for a cloud, so the few words needed are taken from the text. The tests on
//! buckets notice when it changes.

use std::error::Error as _;

use object_store::Error;
use url::Url;

/// Answers of clouds that have no such bucket. A missing object has other codes.
const NO_BUCKET: [&str; 2] = ["NoSuchBucket", "ContainerNotFound"];
/// The region asked is not the bucket's.
const OTHER_REGION: [&str; 3] =
    ["PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"];
/// Where a machine learns of its own role.
const OWN_ROLE: [&str; 4] = ["169.254.169.254", "169.254.170.2", "metadata.google.internal", "metadata"];

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub(crate) said: String,
    pub(crate) hint: &'static str,
    /// Whether the same may work later without anybody changing anything.
    pub(crate) passes: bool,
}

impl Fault {
    /// Of a store that is being opened: nothing was asked of it yet, so it lies in the settings.
    pub(crate) fn of_settings(error: &Error) -> Self {
        let said = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        Self { said, hint: "check ledger.store, ledger.options and the variables of its credentials", passes: false }
    }

    pub(crate) fn of(error: &Error) -> Self {
        let text = error.to_string();
        let (code, host) = (code(&text), host(&text));
        let answered = text.split_once("status code: ").and_then(|(_, rest)| rest.split(':').next());
        let mut said = answered.map_or_else(|| innermost(error), |status| status.trim().to_owned());
        if let Some(code) = code {
            said = format!("{said} ({code})");
        }
        if let Some(host) = &host {
            said = format!("{said}, from {host}");
        }
        let is = |codes: &[&str]| code.is_some_and(|code| codes.contains(&code));
        let (hint, passes) = if host.is_some_and(|host| OWN_ROLE.contains(&host.as_str())) {
            (no_credentials(error), true)
        } else if is(&NO_BUCKET) {
            ("there is no such bucket; make it, or correct ledger.store", false)
        } else if is(&OTHER_REGION) || text.contains("incorrectly configured region") {
            ("the bucket is in another region; set AWS_REGION to its own", false)
        } else if said.contains("scheme is not allowed") {
            (
                "its endpoint is not encrypted; for a test on this machine, set ledger.options.allow_http = \"true\"",
                false,
            )
        } else if answered.is_some_and(|status| ["401 ", "403 "].iter().any(|refused| status.starts_with(refused))) {
            ("check its credentials: they must be valid, and may list, read, write and delete there", true)
        } else {
            ("check that it can be reached, and that its credentials may list, read, write and delete there", true)
        };
        Self { said, hint, passes }
    }
}

/// The object is not there, though its bucket is.
pub(super) fn is_absent(error: &Error) -> bool {
    matches!(error, Error::NotFound { .. }) && !code(&error.to_string()).is_some_and(|code| NO_BUCKET.contains(&code))
}

fn no_credentials(error: &Error) -> &'static str {
    match error {
        Error::Generic { store: "S3", .. } => {
            "no credentials are set, so the machine's role was asked for: set AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY, or give the machine a role"
        }
        Error::Generic { store: "GCS", .. } => {
            "no credentials are set, so the machine's role was asked for: set GOOGLE_APPLICATION_CREDENTIALS, or give \
             the machine a service account"
        }
        _ => {
            "no credentials are set, so the machine's role was asked for: set AZURE_STORAGE_ACCOUNT_KEY, or give the \
             machine an identity"
        }
    }
}

/// The vendor's code in an answer.
fn code(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    (code.len() < 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(code)
}

/// Who was asked: `… performing GET https://…`.
fn host(text: &str) -> Option<String> {
    let (_, rest) = text.rsplit_once("Error performing ")?;
    let url: Url = rest.split(' ').nth(1)?.parse().ok()?;
    Some(url.host_str()?.to_owned())
}

fn innermost(error: &Error) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> Error {
        Error::Generic { store: "S3", source: text.to_owned().into() }
    }
    fn not_found(text: &str) -> Error {
        Error::NotFound { path: "a".to_owned(), source: text.to_owned().into() }
    }

    /// As object_store 0.14 writes them.
    const ANSWER: &str =
        "Error performing PUT http://store.test:9000/b/a in 6ms - Server returned non-2xx status code: ";

    #[test]
    fn an_answer_is_cut_down_to_its_code_and_its_host() {
        let body = "404 Not Found: <?xml?>\n<Error><Code>NoSuchBucket</Code><RequestId>A1</RequestId></Error>";
        let error = not_found(&format!("{ANSWER}{body}"));
        let fault = Fault::of(&error);
        assert_eq!(fault.said, "404 Not Found (NoSuchBucket), from store.test");
        assert!(fault.hint.contains("make it") && !fault.passes && !is_absent(&error));
        assert!(is_absent(&not_found(&format!("{ANSWER}404 Not Found: <Error><Code>NoSuchKey</Code></Error>"))));
        assert!(is_absent(&not_found("no such file")));
        let busy = Fault::of(&generic(&format!("{ANSWER}503 Service Unavailable: <Code>a\nlong tale</Code>")));
        assert_eq!((&*busy.said, busy.passes), ("503 Service Unavailable, from store.test", true));
    }

    #[test]
    fn a_machine_without_credentials_is_told_which_to_set() {
        let asked = "Error performing PUT http://169.254.169.254/latest/api/token in 1ms - HTTP error: timed out";
        assert!(Fault::of(&generic(asked)).hint.contains("AWS_ACCESS_KEY_ID"));
    }
}
