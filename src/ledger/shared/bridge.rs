//! The ledger blocks; object stores are asynchronous. The one place where the two meet.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle, Runtime};

/// Waits for the future, from wherever the ledger is called: a worker of the runtime, a blocking thread, or a plain
/// one.
pub(super) fn wait<F: Future>(future: F) -> F::Output {
    match Handle::try_current() {
        Ok(handle) => tokio::task::block_in_place(|| handle.block_on(future)),
        Err(_) => own_runtime().block_on(future),
    }
}

/// For callers without a runtime, such as benchmarks. With a worker of its own, so that one caller may wait while another
/// blocks.
fn own_runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("the system gives a poller")
    })
}
