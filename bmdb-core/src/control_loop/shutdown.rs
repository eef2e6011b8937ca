//! Telling a control loop to leave.

use tokio_util::sync::CancellationToken;

/// Whether SIGHUP is ignored; `false` where that cannot be found out, which only Linux tells without
/// unsafe code.
#[cfg(unix)]
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.is_some_and(|mask| {
        // The lowest bit is the first signal, SIGHUP.
        u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask & 1 == 1)
    })
}

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

    /// One that SIGTERM, SIGINT, SIGQUIT and SIGHUP ask for, which end the program no more from here on;
    /// a second one hurries it. SIGHUP stays ignored where it was when the program started, as by `nohup`.
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
        let mut quit = signal(SignalKind::quit())?;
        let mut hangup = match ignores_hangup() {
            true => None,
            false => Some(signal(SignalKind::hangup())?),
        };
        let shutdown = Self::new();
        let told = shutdown.clone();
        tokio::spawn(async move {
            for tell in [Self::request, Self::cancel_now] {
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
            told.request();
        });
        shutdown
    }

    /// Nothing more is taken on; what is worked on may end, within
    /// [`LoopOptions::drain_limit`](super::LoopOptions::drain_limit).
    pub fn request(&self) {
        self.drain.cancel();
    }

    /// What is worked on has to stop now.
    pub fn cancel_now(&self) {
        self.drain.cancel();
        self.hurry.cancel();
    }

    /// Whether somebody has asked for it.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.drain.is_cancelled()
    }

    pub(super) fn draining(&self) -> &CancellationToken {
        &self.drain
    }

    pub(super) fn hurrying(&self) -> &CancellationToken {
        &self.hurry
    }
}
