//! Buckets for tests: those in `REVEIL_TEST_BUCKETS`, one for each cloud. `tests/buckets/run` has some.

use std::path::Path;

use futures::TryStreamExt as _;
use object_store::ObjectStoreExt as _;

/// A place of the test's own in the bucket of this scheme; `None`, with a note, when there is none.
pub fn place(scheme: &str) -> Option<String> {
    let buckets = std::env::var("REVEIL_TEST_BUCKETS").unwrap_or_default();
    let Some(bucket) = buckets.split_whitespace().find(|url| url.starts_with(&format!("{scheme}://"))) else {
        eprintln!("left out: REVEIL_TEST_BUCKETS has no {scheme}://; tests/buckets/run provides some");
        return None;
    };
    let own = tempfile::Builder::new().prefix("it-").tempdir().expect("a temporary directory");
    let own = own.path().file_name().expect("it has a name").to_string_lossy().to_lowercase();
    Some(format!("{bucket}/{own}{}", std::process::id()))
}

/// Fetches all objects below the place into a folder.
pub fn copy(place: &str, folder: &Path) {
    // Said twice, the first stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = place.parse().expect("a URL");
    let variables = std::env::vars().map(|(name, value)| (name.to_lowercase(), value));
    let (store, prefix) = object_store::parse_url_opts(&url, variables).expect("reveil opens it too");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let objects: Vec<_> = runtime.block_on(store.list(Some(&prefix)).try_collect()).expect("it answers");
    assert!(objects.len() > 5, "only {} objects", objects.len());
    for object in objects {
        let name = object.location.as_ref().strip_prefix(prefix.as_ref()).expect("it is below").trim_start_matches('/');
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("it has a folder")).expect("the directory is ours");
        let read = async { store.get(&object.location).await?.bytes().await };
        std::fs::write(path, runtime.block_on(read).expect("it was listed")).expect("the directory is ours");
    }
}
