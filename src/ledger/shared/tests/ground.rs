//! Where the store of a test is.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path as Location;
use url::Url;

use super::super::Objects;
use super::cloud::Cloud;
use crate::config::LedgerConfig;
use crate::ledger::error::Result;

/// Gives out stores with nothing in them.
pub(super) enum Ground {
    Memory,
    #[cfg_attr(not(any(feature = "s3", feature = "gcs", feature = "azure")), expect(dead_code))]
    Bucket {
        url: Url,
        store: Arc<dyn ObjectStore>,
    },
}

/// Clouds take no smaller ones.
const BUCKET_PART_BYTES: usize = 5 << 20;

impl Ground {
    /// The bucket of this scheme in `REVEIL_TEST_BUCKETS`; `None`, with a note, when there is none.
    #[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
    pub(super) fn bucket(scheme: &str) -> Option<Self> {
        let buckets = std::env::var("REVEIL_TEST_BUCKETS").unwrap_or_default();
        let Some(url) = buckets.split_whitespace().find(|url| url.starts_with(&format!("{scheme}://"))) else {
            eprintln!("left out: REVEIL_TEST_BUCKETS has no {scheme}://; tests/buckets/run provides some");
            return None;
        };
        let url = Url::parse(url).expect("REVEIL_TEST_BUCKETS holds URLs");
        let (kind, _) = object_store::ObjectStoreScheme::parse(&url).unwrap();
        let environment = std::env::vars().collect();
        let store = super::super::place::cloud(&kind, &url, &Default::default(), &environment).unwrap();
        Some(Self::Bucket { url, store: store.expect("it is a feature of this build") })
    }

    /// What somebody gets who has other settings for the same cloud.
    pub(super) fn open_otherwise(&self, bucket: Option<&str>, variables: &[(&str, &str)]) -> Option<Result<Objects>> {
        let Self::Bucket { url, .. } = self else { return None };
        let mut config = LedgerConfig { store: Some(url.clone()), ..LedgerConfig::default() };
        let url = config.store.as_mut()?;
        if let Some(bucket) = bucket {
            url.set_host(Some(bucket)).unwrap();
        }
        let mut environment: std::collections::HashMap<String, String> = std::env::vars().collect();
        environment.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        environment.retain(|_, value| !value.is_empty());
        Some(super::super::place::open(&url.clone(), &config, &environment))
    }

    /// An empty one.
    pub(super) fn cloud(&self) -> Arc<Cloud> {
        match self {
            Self::Memory => Cloud::new(),
            Self::Bucket { store, .. } => {
                let own: [u8; 8] = crate::ledger::generation::random().unwrap();
                let prefix = Location::from(format!("tests/{}", const_hex::encode(own)));
                Cloud::over(Arc::clone(store), prefix, BUCKET_PART_BYTES)
            }
        }
    }

    /// Numbers of operations to interrupt: each in memory; over a network there is no time for all.
    pub(super) fn every(&self, sparse: usize) -> impl Iterator<Item = u32> + use<> {
        (1..).step_by(match self {
            Self::Memory => 1,
            Self::Bucket { .. } => sparse,
        })
    }
}

/// Makes tests of functions that take a [`Ground`].
macro_rules! on_every_store {
    ($($body:ident,)*) => {
        mod in_memory {
            $(#[test] fn $body() { super::$body(&super::Ground::Memory); })*
        }
        on_every_store!(@on s3 "s3" "s3" $($body)*);
        on_every_store!(@on gcs "gcs" "gs" $($body)*);
        on_every_store!(@on azure "azure" "az" $($body)*);
    };
    (@on $name:ident $feature:literal $scheme:literal $($body:ident)*) => {
        #[cfg(feature = $feature)]
        mod $name {
            $(#[test] fn $body() {
                if let Some(ground) = super::Ground::bucket($scheme) {
                    super::$body(&ground);
                }
            })*
        }
    };
}
