//! `bmdb`, the command line of the Bare Metal Database.
//!
//! # How to add a command
//! 1. Each noun is a file (`session.rs`) with an enum of its `verbs!`. A long verb gets a file of its own
//!    (`session/list.rs`). Add the noun to `commands.rs` as a variant of `Command`.
//! 2. The arguments are a `clap::Args` struct, and its doc comment is the help: one line that says what the
//!    command does, a blank line, then what a user must know before running it. Examples go to
//!    `#[command(after_long_help = …)]`. Flatten shared arguments: `Listing`, `Watch`, `Paging`, `Confirm`,
//!    `Operator`, `OperatorWithReason`. A machine is a `MachineArg`.
//! 3. The answer is a struct that implements `output::Report`: `--json` prints it serialized, and people see
//!    what `show` writes. Field names are snake_case, times are `output::Time`, ids are `output::Text`.
//!    `output::answer!` converts rows of the library. The items of a list implement `paging::Item`. Describe
//!    the answer in `docs/cli/json.md`.
//! 4. Reads use `Context::reader`, writes `Context::with_session` or `Context::bmdb`; each connects when it
//!    is first used. Every error converts into a `Failure`, which knows its exit code. Write the closure of
//!    a read or a transaction inside the call, or the compiler cannot infer the lifetime of its connection.
//!    Print with `context.output.report(&answer)`, never with `println!`.
//! 5. Tests run the program: `bmdb(&db).args(["stats", "--json"]).run()` in `tests/it`. Afterwards
//!    `BMDB_UPDATE_DOCS=1 cargo nextest run -p bmdb-cli reference` regenerates `docs/cli/README.md`.
//!
//! This crate contains no SQL and no rules: a library user must be able to do whatever a command does.

mod agent;
mod backoff;
mod commands;
mod completions;
mod confirm;
mod connect;
mod context;
mod exit;
mod failure;
mod global;
mod history;
mod janitor;
mod log;
mod machine;
mod machine_arg;
mod man;
mod metrics;
mod migrate;
mod operator;
mod output;
mod paging;
mod printer;
mod process;
mod reaper;
mod replan;
mod run;
mod serve;
mod session;
mod signals;
mod stats;
mod tag;
mod usage;
mod validate;
mod verbs;
mod watch;
mod why;
mod work;

use clap::CommandFactory;
use commands::Cli;
use context::Context;
use failure::Failure;
use reaper::Reaper;
use signals::Signals;
use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    signals::unblock();
    let cli = match usage::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let output = output::Output::new(&cli.global);
    run(cli).unwrap_or_else(|error| {
        let failure = Failure::other(format!("cannot start: {error}"));
        output::error_line(&output.render_failure(&failure));
        failure.exit().into()
    })
}

/// Runs the command and prints why it failed.
///
/// # Errors
/// When the operating system refuses to start threads.
fn run(cli: Cli) -> io::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let log = log::start(&cli.global, &cli.command)?;
    let code = runtime.block_on(async {
        let (signals, reaper) = (Signals::listen()?, Reaper::start()?);
        let context = Context::new(&cli.global, Cli::command, signals.clone(), reaper);
        let done = tokio::select! {
            done = cli.command.run(&context) => done,
            exit = signals.ended() => Err(exit.into()),
        };
        context.close().await;
        let failure = done.as_ref().err();
        log.close(failure.map(|failure| context.output.render_failure(failure)))
            .await;
        Ok(done.map_or_else(|failure| failure.exit().into(), |()| ExitCode::SUCCESS))
    });
    // Does not wait for a thread that still reads the answer to a prompt.
    runtime.shutdown_background();
    code
}
