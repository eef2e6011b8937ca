//! Blocking work that may be called from inside of a runtime.

use crate::TestkitError;
use std::panic::resume_unwind;
use std::thread;
use tokio::runtime::{Builder, Runtime};

/// Runs this on a thread of its own: a thread of a runtime must not block on another runtime.
pub(crate) fn on_own_thread<T: Send>(
    step: &str,
    work: impl FnOnce() -> Result<T, TestkitError> + Send,
) -> Result<T, TestkitError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, work);
        let thread = thread.map_err(|error| TestkitError::boot(step, error))?;
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

pub(crate) fn runtime(step: &str) -> Result<Runtime, TestkitError> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| TestkitError::boot(step, error))
}
