//! Memory of an idle server.

use super::bench::{Bench, account};
use crate::report::{Row, Target};
use bmdb_shell::{Done, Failure};
use bmdb_testkit::{Profile, Server};
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

const NAME: &str = "memory of an idle server";

/// The sum of the proportional set sizes of its processes and its supervisor, without the files of its
/// data.
pub(super) fn measure(bench: &mut Bench) -> Done {
    let n = bench.samples(3);
    eprintln!("memory: {n} servers");
    let mut samples = Vec::new();
    for _ in 0..n {
        let server = Server::boot(&bench.installation, Profile::Fast).map_err(Failure::check)?;
        // The server has finished its start-up work.
        std::thread::sleep(Duration::from_millis(500));
        match server
            .folder()
            .map_or(Err("it has no folder".to_owned()), of)
        {
            Ok(megabytes) => samples.push(megabytes),
            Err(why) => {
                bench.report.not_measured(NAME, why);
                return Ok(());
            }
        }
    }
    let row = Row::new(NAME, "MB", samples);
    bench.report.row(row.target(Target::MedianAtMost(30.0)));
    Ok(())
}

fn of(folder: &Path) -> Result<f64, String> {
    if !cfg!(target_os = "linux") {
        return Err("only Linux reports the share of each process".to_owned());
    }
    let parents = parents();
    let server = fs::read_to_string(folder.join("data/postmaster.pid"))
        .ok()
        .and_then(|text| text.lines().next()?.trim().parse::<u32>().ok())
        .ok_or("its process id cannot be read")?;
    // The shell that started it, whose other child waits for the lease to end.
    let supervisor = *parents.get(&server).ok_or("its process is gone")?;
    let mut bytes = 0.0;
    for pid in parents.keys() {
        let mut ancestors = std::iter::successors(Some(pid), |pid| parents.get(pid));
        if ancestors.any(|ancestor| *ancestor == supervisor) {
            bytes += share(*pid)?;
        }
    }
    Ok(bytes / 1e6)
}

fn share(pid: u32) -> Result<f64, String> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).map_err(|error| {
        let account = account().ok().map(|account| account.uid);
        format!("{path}: {error}; it takes root or the server's own account (uid {account:?})")
    })?;
    text.lines()
        .find_map(|line| {
            line.strip_prefix("Pss:")?
                .trim()
                .strip_suffix(" kB")?
                .parse()
                .ok()
        })
        .map(|kilobytes: f64| kilobytes * 1024.0)
        .ok_or_else(|| format!("{path} tells no Pss"))
}

/// Of each process its parent.
fn parents() -> HashMap<u32, u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name is in parentheses and may hold anything.
        let (_, after) = stat.rsplit_once(") ")?;
        Some((pid, after.split(' ').nth(1)?.parse().ok()?))
    })
    .collect()
}
