//! The one place where `tough`'s asynchronous code runs: a runtime for a single call, on the thread of the caller.

use super::TufError;

/// Runs `work` to its end. A thread that runs asynchronous code itself must not call this.
pub fn run<T>(work: impl Future<Output = T>) -> Result<T, TufError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|cause| TufError::system(&cause))?;
    Ok(runtime.block_on(work))
}
