//! Processes: this program, started again to measure what a new process does.

use super::bench::{Bench, milliseconds};
use crate::report::{Row, Target};
use bmdb_shell::{Done, Failure};
use bmdb_testkit::{Profile, Server};
use std::env;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// What a process does.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Role {
    /// Boots a server and prints how long it took.
    Boot,
    /// Joins the shared server, prints how long it took, and waits until its input ends.
    Join,
}

/// What a process prints about its server.
pub(super) struct Printed {
    pub(super) milliseconds: f64,
    folder: String,
}

pub(crate) fn be(role: Role) -> Done {
    let began = Instant::now();
    match role {
        Role::Boot => {
            let server = Server::start(Profile::Fast).map_err(Failure::check)?;
            tell(began, &server);
        }
        Role::Join => {
            let server = Server::shared().map_err(Failure::check)?;
            tell(began, &server);
            // An error ends the input too.
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
        }
    }
    Ok(())
}

fn tell(began: Instant, server: &Server) {
    let took = milliseconds(began);
    let folder = server.folder().map(|folder| folder.display().to_string());
    println!("{took} {}", folder.unwrap_or_default());
}

pub(super) fn spawn(
    role: Role,
    prepare: impl FnOnce(&mut Command) -> &mut Command,
) -> Result<Child, Failure> {
    let this = env::current_exe().map_err(Failure::check)?;
    let role = match role {
        Role::Boot => "boot",
        Role::Join => "join",
    };
    prepare(Command::new(this).args(["testkit-process", role]))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(Failure::check)
}

pub(super) fn printed(child: &mut Child) -> Result<Printed, Failure> {
    let mut line = String::new();
    if let Some(out) = child.stdout.as_mut() {
        let read = BufReader::new(out).read_line(&mut line);
        read.map_err(Failure::check)?;
    }
    let (took, folder) = line.trim().split_once(' ').unwrap_or_default();
    let milliseconds = took
        .parse()
        .map_err(|_| Failure::check(format!("unexpected output of a process: {line:?}")))?;
    Ok(Printed {
        milliseconds,
        folder: folder.to_owned(),
    })
}

/// Each process measures the time from its start to its server, without the start of the process.
pub(super) fn measure_joining(bench: &mut Bench) -> Done {
    let n = bench.samples(50);
    eprintln!("join: {n} processes");
    let shared = Server::shared().map_err(Failure::check)?;
    let expected = shared.folder().map(|folder| folder.display().to_string());
    let mut samples = Vec::new();
    for _ in 0..n {
        let mut child = spawn(Role::Join, |command| command)?;
        let joined = printed(&mut child)?;
        drop(child.stdin.take());
        child.wait().map_err(Failure::check)?;
        if Some(&joined.folder) != expected.as_ref() {
            return Err(Failure::check(format!(
                "a process joined {:?} instead of {expected:?}",
                joined.folder
            )));
        }
        samples.push(joined.milliseconds);
    }
    let row = Row::new("joining a running server", "ms", samples);
    bench.report.row(row.target(Target::MedianAtMost(5.0)));
    Ok(())
}
