//! Signals that ask the program to end: SIGTERM, SIGINT (Ctrl-C), SIGHUP and SIGQUIT.
//!
//! Process 1 of a container gets only signals that it handles, so all commands handle them.

use crate::exit::Exit;
use bmdb_core::control_loop::Shutdown;
use nix::sys::signal::{SigSet, Signal};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};

/// How long a command may take to end after a signal. Then the program ends, whatever blocks it: standard
/// output that nobody reads, or a database that does not answer.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Who acts upon a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Handler {
    /// The program: it ends with the signal's exit code.
    Program,
    /// The command, upon Ctrl-C; the program upon others.
    CtrlC,
    /// The command, which ends in order. A second signal ends the program at once.
    Service,
    /// The control loop, which has handlers of its own.
    Loop,
}

/// The signals of the program. All clones share one state.
#[derive(Debug, Clone)]
pub(crate) struct Signals {
    handler: Arc<AtomicU8>,
    /// For the command, if it handles them.
    passed_on: Arc<Notify>,
    /// For the program.
    ends: watch::Sender<Option<Exit>>,
}

/// Lets signals reach the program that its parent has blocked. Call it before any thread starts.
pub(crate) fn unblock() {
    let signals: SigSet = [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGQUIT,
        Signal::SIGCHLD,
    ]
    .into_iter()
    .collect();
    // Fails only for invalid arguments.
    let _ = signals.thread_unblock();
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the operating system refuses to deliver a signal.
    pub(crate) fn listen() -> io::Result<Self> {
        let signals = Self {
            handler: Arc::new(AtomicU8::new(Handler::Program as u8)),
            passed_on: Arc::default(),
            ends: watch::Sender::new(None),
        };
        let mut received = Received::new()?;
        let acting = signals.clone();
        // A task of its own, because the command may block its thread.
        tokio::spawn(async move {
            loop {
                let exit = received.next().await;
                acting.act(exit, &mut received).await;
            }
        });
        Ok(signals)
    }

    async fn act(&self, exit: Exit, received: &mut Received) {
        let is_handled_by = |handler| self.handler.load(Ordering::Relaxed) == handler as u8;
        if is_handled_by(Handler::Loop) {
            return;
        }
        if is_handled_by(Handler::Service)
            || (is_handled_by(Handler::CtrlC) && exit == Exit::Interrupted)
        {
            // Stored until the command waits for it.
            self.passed_on.notify_one();
            if is_handled_by(Handler::Service) {
                std::process::exit(received.next().await.code().into());
            }
            // It may be writing to a pipe that nothing reads.
            tokio::select! {
                () = tokio::time::sleep(END_TIMEOUT) => {}
                _ = received.next() => {}
            }
            std::process::exit(exit.code().into());
        }
        self.ends.send_replace(Some(exit));
        let exit = tokio::select! {
            () = tokio::time::sleep(END_TIMEOUT) => exit,
            second = received.next() => second,
        };
        std::process::exit(exit.code().into());
    }

    /// Waits for a signal that the command does not handle.
    pub(crate) async fn ended(&self) -> Exit {
        let mut ends = self.ends.subscribe();
        loop {
            if let Some(exit) = *ends.borrow_and_update() {
                return exit;
            }
            // The sender lives as long as this.
            let _ = ends.changed().await;
        }
    }

    /// For a command that ends with success upon Ctrl-C: waits for it.
    pub(crate) fn ctrl_c(&self) -> impl Future<Output = ()> + use<> {
        self.handled_by(Handler::CtrlC)
    }

    /// For a service, which ends in order: waits for any of the signals.
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + use<> {
        self.handled_by(Handler::Service)
    }

    /// For a control loop, which handles signals itself from now on.
    pub(crate) fn leave_to_loop(&self) {
        drop(self.handled_by(Handler::Loop));
    }

    fn handled_by(&self, handler: Handler) -> impl Future<Output = ()> + use<> {
        self.handler.store(handler as u8, Ordering::Relaxed);
        let passed_on = self.passed_on.clone();
        async move { passed_on.notified().await }
    }
}

/// The streams of the signals.
struct Received {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    quit: tokio::signal::unix::Signal,
    /// `None` if it was ignored at the start, as by nohup.
    hangup: Option<tokio::signal::unix::Signal>,
}

impl Received {
    fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: match Shutdown::ignores_hangup() {
                true => None,
                false => Some(signal(SignalKind::hangup())?),
            },
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    async fn next(&mut self) -> Exit {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => drop(hangup.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => Exit::Terminated,
            _ = self.interrupt.recv() => Exit::Interrupted,
            _ = self.quit.recv() => Exit::Quit,
            () = hangup => Exit::HungUp,
        }
    }
}
