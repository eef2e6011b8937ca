//! `bmdb run`: a control loop around a command.

mod args;
mod child;
mod command;
pub(crate) mod duration;
mod event_json;
mod event_text;
mod events;
mod process_group;
mod program;
mod stream;

pub(crate) use args::Run;

use crate::connect::connect_service;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::validate;
use bmdb_core::control_loop::{Event, LoopError, LoopOptions, Runner, Shutdown};
use bmdb_core::{Bmdb, ConnectError, Reader, SessionOptions};
use bmdb_model::Provider;
use command::Commands;
use events::Events;
use std::sync::Arc;
use std::time::Duration;

/// How long the runner waits for a process group after SIGKILL.
const KILL_TIMEOUT: Duration = Duration::from_secs(2);

impl Run {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        run(self, context).await
    }
}

async fn run(args: Run, context: &Context) -> Result<(), Failure> {
    if let Some(problem) = program::refuse_at_start(&args.exec, &context.reaper).await {
        return Err(Failure::new(Exit::Host, problem)
            .hint("install it on this host, or correct --exec: nothing was claimed"));
    }
    let shutdown = Shutdown::on_signals()
        .map_err(|error| Failure::other(format!("cannot listen for signals: {error}")))?;
    let config = context
        .config()
        .component(match &args.component {
            Some(name) => name.clone(),
            // Without --component, lists and metrics still distinguish loops of different processes.
            None => format!("bmdb-run-{}", args.process),
        })
        .pool_size(5)
        .janitor_interval(Some(Duration::from_secs(1)))
        .history(args.history.into());
    let events = Events::start(context.output, args.process.clone(), shutdown.clone());
    let events = events.map_err(|error| Failure::other(format!("cannot start: {error}")))?;
    let events = Arc::new(events);
    let _metrics = args.metrics.serve(|line| events.note(line)).await?;
    let waiting = |error: &ConnectError, delay| events.show(&Event::Waiting { error, delay });
    let connected = connect_service(|| Bmdb::connect(config.clone()), waiting).await;
    let bmdb = connected.map_err(|error| context.explain(error))?;
    warn_of_unknown_providers(&args.providers, context).await;
    let options = LoopOptions::default()
        .parallelism(args.parallelism)
        .rate(Some(args.rate))
        .timeout(args.timeout)
        .grace(args.grace + KILL_TIMEOUT)
        .drain_limit(args.drain_timeout)
        .cancel_pause(args.cancel_pause)
        .session(SessionOptions::default().interval(args.interval))
        .once(args.once);
    let commands = Commands::new(args, events.clone(), context);
    // Until here a signal ends the program.
    context.signals.leave_to_loop();
    let ran = Runner::new(&bmdb, commands)
        .options(options)
        .run(shutdown)
        .await;
    if let Err(error) = bmdb.drain(Duration::ZERO).await {
        tracing::debug!(%error, "closing");
    }
    let written = events.close(ran.as_ref().ok()).await;
    ran.map_err(Failure::from).and(written)
}

/// Warns about providers without machines: a loop for them would wait for ever without a message.
async fn warn_of_unknown_providers(providers: &[Provider], context: &Context) {
    if providers.is_empty() {
        return;
    }
    let checked = async {
        // A reader of its own, so that its connection is closed before the loop starts.
        let reader = Reader::connect(context.config().pool_size(1)).await?;
        validate::providers(&reader, providers).await?;
        Ok::<_, Failure>(())
    };
    if let Err(error) = checked.await {
        tracing::debug!(%error, "looking for the providers");
    }
}

impl From<LoopError> for Failure {
    fn from(error: LoopError) -> Self {
        match error {
            LoopError::Session(error) => error.into(),
            LoopError::Claim(error) => error.into(),
            LoopError::HostFails { .. } => Self::new(Exit::Host, error.to_string()),
            LoopError::NoWorkflow { .. } => Self::new(Exit::NotFound, error.to_string()),
            error => Self::usage(error.to_string()),
        }
    }
}
