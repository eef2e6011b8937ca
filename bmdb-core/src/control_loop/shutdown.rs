//! Telling a control loop to leave.

use tokio_util::sync::CancellationToken;

/// Tells loops to leave: first in order, then at once. Clones are one and the same.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    drain: CancellationToken,
    hurry: CancellationToken,
}

impl Shutdown {
    /// One that nobody has asked for yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One that SIGTERM and SIGINT ask for, which end the program no more from here on; a second one
    /// hurries it.
    ///
    /// # Errors
    /// The operating system's, when the signals cannot be listened for.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and timers.
    #[cfg(unix)]
    pub fn on_signals() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = Self::new();
        let told = shutdown.clone();
        tokio::spawn(async move {
            for tell in [Self::begin, Self::hurry] {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                tell(&told);
            }
        });
        Ok(shutdown)
    }

    /// One that begins when `future` resolves.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn when(future: impl Future<Output = ()> + Send + 'static) -> Self {
        let shutdown = Self::new();
        let told = shutdown.clone();
        tokio::spawn(async move {
            future.await;
            told.begin();
        });
        shutdown
    }

    /// Nothing more is taken on; what is worked on may end, within
    /// [`LoopOptions::drain_limit`](super::LoopOptions::drain_limit).
    pub fn begin(&self) {
        self.drain.cancel();
    }

    /// What is worked on has to stop now.
    pub fn hurry(&self) {
        self.drain.cancel();
        self.hurry.cancel();
    }

    /// Whether somebody has asked for it.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.drain.is_cancelled()
    }

    pub(super) fn draining(&self) -> &CancellationToken {
        &self.drain
    }

    pub(super) fn hurrying(&self) -> &CancellationToken {
        &self.hurry
    }
}
