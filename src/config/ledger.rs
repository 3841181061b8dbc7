//! `[ledger]`: where the ledgers of several replicas are. Without it they are on this machine, under `state_dir`.

use std::collections::BTreeMap;

use serde::Deserialize;
use url::Url;

/// See the module.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LedgerConfig {
    /// A folder all replicas share (`file:///srv/reveil/ledger`), or a bucket: `s3://bucket/prefix`,
    /// `gs://bucket/prefix`, `az://container/prefix`. It holds digests of customers: it must be private to the replicas
    /// and encrypted at rest.
    pub store: Option<Url>,
    /// Settings of a bucket, such as `aws_region`, `aws_endpoint`; credentials come from variables (`AWS_…`, `GOOGLE_…`,
    /// `AZURE_…`) or the machine's role: docs/configuration.md lists them. For a build with the feature `s3`, `gcs` or
    /// `azure`.
    pub options: BTreeMap<String, String>,
}

/// Schemes, and the feature each needs.
const SCHEMES: [(&str, Option<&str>, bool); 4] = [
    ("file", None, true),
    ("s3", Some("s3"), cfg!(feature = "s3")),
    ("gs", Some("gcs"), cfg!(feature = "gcs")),
    ("az", Some("azure"), cfg!(feature = "azure")),
];

impl LedgerConfig {
    pub(super) fn faults(&self) -> Vec<(String, String)> {
        let fault = |message: String| vec![("ledger.store".to_owned(), message)];
        let Some(url) = &self.store else {
            let needless = "is for a shared store; set ledger.store, or remove it".to_owned();
            return if self.options.is_empty() { Vec::new() } else { vec![("ledger.options".to_owned(), needless)] };
        };
        match SCHEMES.iter().find(|(scheme, ..)| *scheme == url.scheme()) {
            None => fault(format!("`{}:` is no store; use file:///, s3://, gs:// or az://", url.scheme())),
            Some((_, Some(feature), false)) => {
                fault(format!("this build cannot use {}://; build reveil with --features {feature}", url.scheme()))
            }
            Some(("file", ..)) if url.to_file_path().is_err() => {
                fault("is no folder of this machine; write three slashes, as in file:///srv/reveil/ledger".to_owned())
            }
            Some((_, Some(_), _)) if url.host_str().is_none() => fault("names no bucket".to_owned()),
            Some(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_cannot_be_used_is_a_fault_with_a_remedy() {
        let faults = |url: &str| LedgerConfig { store: Some(url.parse().unwrap()), ..LedgerConfig::default() }.faults();
        assert_eq!(faults("file:///srv/reveil"), []);
        assert!(faults("ftp://there/ledger")[0].1.contains("s3://"));
        assert!(faults("file://there/ledger")[0].1.contains("three slashes"));
        assert_eq!(faults("s3://bucket/reveil").is_empty(), cfg!(feature = "s3"));
        let options = BTreeMap::from([("aws_region".to_owned(), "eu-west-3".to_owned())]);
        assert_eq!(LedgerConfig { store: None, options }.faults()[0].0, "ledger.options");
    }
}
