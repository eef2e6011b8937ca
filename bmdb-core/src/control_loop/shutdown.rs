//! Shutdown: asks control loops to stop.

use tokio_util::sync::CancellationToken;

/// Asks loops to shut down, first gracefully, then at once. All clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    drain: CancellationToken,
    cancel_now: CancellationToken,
}

impl Shutdown {
    /// A shutdown that is not requested yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A shutdown that SIGTERM, SIGINT, SIGQUIT and SIGHUP request; they do not end the program any more
    /// from here on. A second signal calls [`Shutdown::cancel_now`]. SIGHUP stays ignored if it was
    /// ignored when the program started, as by `nohup`.
    ///
    /// # Errors
    /// The operating system's, if it refuses signal handlers.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and timers.
    #[cfg(unix)]
    pub fn on_signals() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut quit = signal(SignalKind::quit())?;
        let mut hangup = match Self::ignores_hangup() {
            true => None,
            false => Some(signal(SignalKind::hangup())?),
        };
        let shutdown = Self::new();
        let signaled = shutdown.clone();
        tokio::spawn(async move {
            for step in [Self::request, Self::cancel_now] {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                    _ = quit.recv() => {}
                    () = async {
                        match &mut hangup {
                            Some(hangup) => drop(hangup.recv().await),
                            None => std::future::pending().await,
                        }
                    } => {}
                }
                step(&signaled);
            }
        });
        Ok(shutdown)
    }

    /// Whether SIGHUP is ignored, as under `nohup`; `false` if that is not known. Only on Linux can it be read
    /// without unsafe code.
    #[cfg(unix)]
    #[must_use]
    pub fn ignores_hangup() -> bool {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        ignored.is_some_and(|mask| {
            // The lowest bit is the first signal, SIGHUP.
            u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask & 1 == 1)
        })
    }

    /// A shutdown that is requested when `future` resolves.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn when(future: impl Future<Output = ()> + Send + 'static) -> Self {
        let shutdown = Self::new();
        let signaled = shutdown.clone();
        tokio::spawn(async move {
            future.await;
            signaled.request();
        });
        shutdown
    }

    /// Loops claim nothing more; attempts that run may end within
    /// [`LoopOptions::drain_limit`](super::LoopOptions::drain_limit).
    pub fn request(&self) {
        self.drain.cancel();
    }

    /// Attempts that run have to stop now.
    pub fn cancel_now(&self) {
        self.drain.cancel();
        self.cancel_now.cancel();
    }

    /// Whether the shutdown is requested.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.drain.is_cancelled()
    }

    pub(super) fn draining(&self) -> &CancellationToken {
        &self.drain
    }

    pub(super) fn cancel_now_requested(&self) -> &CancellationToken {
        &self.cancel_now
    }
}
