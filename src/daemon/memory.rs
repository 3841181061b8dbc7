//! Gives memory back to the system.

/// After a run or a simulation: comparing a large segment takes much memory for a moment, and the C library would keep most of it for
/// later, in pieces too scattered to be of use.
pub(crate) async fn give_back() {
    // Takes some milliseconds; a panic in it is impossible.
    let _ = tokio::task::spawn_blocking(trim).await;
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the C library's own function; it takes no pointer and may be called at any time")]
fn trim() {
    // SAFETY: `malloc_trim` takes a number, is safe to call from any thread, and touches only unused memory.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}
