//! Processes that a measurement starts because it is about new processes: this program again.

use super::bench::{Bench, milliseconds};
use crate::report::{Row, Target};
use bmdb_shell::{Done, Failure};
use bmdb_testkit::{Profile, Server};
use std::env;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// What such a process does.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Role {
    /// Boots a server, and tells how long it took.
    Boot,
    /// Takes part in the shared server, tells how long it took, and stays until its input ends.
    Join,
}

/// What such a process tells of the server it has got.
pub(super) struct Told {
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
            // Whatever ends it, the end of the input is what is waited for.
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

pub(super) fn told(child: &mut Child) -> Result<Told, Failure> {
    let mut line = String::new();
    if let Some(out) = child.stdout.as_mut() {
        let read = BufReader::new(out).read_line(&mut line);
        read.map_err(Failure::check)?;
    }
    let (took, folder) = line.trim().split_once(' ').unwrap_or_default();
    let milliseconds = took
        .parse()
        .map_err(|_| Failure::check(format!("a process of the benchmark said {line:?}")))?;
    Ok(Told {
        milliseconds,
        folder: folder.to_owned(),
    })
}

/// Each process measures its own way to the server, without the time to start the process.
pub(super) fn measure_joining(bench: &mut Bench) -> Done {
    let n = bench.samples(50);
    eprintln!("join: {n} processes");
    let shared = Server::shared().map_err(Failure::check)?;
    let expected = shared.folder().map(|folder| folder.display().to_string());
    let mut samples = Vec::new();
    for _ in 0..n {
        let mut child = spawn(Role::Join, |command| command)?;
        let joined = told(&mut child)?;
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
