//! `bmdb`, the command line of the Bare Metal Database.
//!
//! # How to add a command
//! 1. A noun is a file (`session.rs`), its verbs are the variants of an enum in it, and a verb that is
//!    longer than a screen is a file of its own (`session/list.rs`). Add the noun to `commands.rs`: a
//!    variant of `Command`, a line in `Command::run`.
//! 2. Arguments are a `clap::Args` struct. Its doc comment is the help: a first line of what it does, a
//!    blank line, then what people should know before they run it. Examples go to
//!    `#[command(after_long_help = …)]`. Shared arguments are flattened in: `Watch`, `Paging`,
//!    `Confirm`, `Operator`, `OperatorWithReason`; a machine is a `MachineArg`.
//! 3. The answer is a struct that is an `output::Report`: `serde::Serialize` is what `--json` prints and
//!    `show` is what people see. Fields are in snake_case, times are `output::Time`, ids are
//!    `output::Text`; a list is a `paging::List`. Describe it in `docs/cli/json.md`.
//! 4. Reads go through `Context::reader`, verbs through `Context::session` or `Context::bmdb`; both
//!    connect when they are first asked. Every error becomes a `Failure`, which knows its exit code: `?`
//!    is enough. The closure of a read or a transaction stands in the call, or the compiler cannot find
//!    out for how long its connection lives. Print with `context.output.report(&answer)`, never with `println!`.
//! 5. Tests run the program: `bmdb(&db).args(["stats", "--json"]).run()` in `tests/it`. Afterwards
//!    `BMDB_UPDATE_DOCS=1 cargo nextest run -p bmdb-cli reference` writes `docs/cli/README.md` anew.
//!
//! No statement and no rule is at home here: what a command knows, a library user must be able to know.

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
mod replan;
mod run;
mod serve;
mod session;
mod stats;
mod tag;
mod usage;
mod validate;
mod watch;
mod why;
mod work;

use commands::Cli;
use context::Context;
use exit::Exit;
use failure::Failure;
use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match usage::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let output = output::Output::new(&cli.global);
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            let failure = Failure::other(format!("the program cannot start: {error}"));
            output.remark(&output.told(&failure));
            failure.exit().into()
        }
    }
}

/// Runs the command, and tells why it failed.
///
/// # Errors
/// When the computer has no threads to run it with.
fn run(cli: Cli) -> io::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let log = log::start(&cli.global, &cli.command)?;
    let code = runtime.block_on(async {
        let context = Context::new(&cli.global);
        let done = match cli.command.handles_signals() {
            true => cli.command.run(&context).await,
            false => interruptible(cli.command.run(&context)).await,
        };
        context.close().await;
        let last = done.as_ref().err();
        log.close(last.map(|failure| context.output.told(failure)))
            .await;
        done.map_or_else(|failure| failure.exit().into(), |()| ExitCode::SUCCESS)
    });
    // A prompt that nobody answers must not keep the program.
    runtime.shutdown_background();
    Ok(code)
}

/// Runs until it is done, or Ctrl-C is pressed; then what it has open is closed in order.
async fn interruptible(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::select! {
        done = command => done,
        _ = tokio::signal::ctrl_c() => Err(Failure::new(Exit::Interrupted, "interrupted")),
    }
}
