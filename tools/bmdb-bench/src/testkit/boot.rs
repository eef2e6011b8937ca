//! Boot: a server from the seed, and the first boot ever.

use super::bench::{Bench, account, find, milliseconds};
use super::process::{Role, printed, spawn};
use crate::report::{Row, Target};
use bmdb_shell::{Done, Failure};
use bmdb_testkit::{Profile, Server};
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;
use std::{env, fs};

/// Includes the search for the programs, as in a test without a server.
pub(super) fn cold(bench: &mut Bench) -> Done {
    let n = bench.samples(20);
    eprintln!("boot: {n} times");
    let mut samples = Vec::new();
    for _ in 0..n {
        let began = Instant::now();
        let server = Server::boot(&find()?, Profile::Fast).map_err(Failure::check)?;
        samples.push(milliseconds(began));
        server.stop();
    }
    let row = Row::new("cold boot from the seed", "ms", samples);
    bench.report.row(row.target(Target::MedianAtMost(120.0)));
    Ok(())
}

pub(super) fn first(bench: &mut Bench) -> Done {
    let n = bench.samples(3);
    eprintln!("first-boot: {n} times");
    let mut samples = Vec::new();
    for _ in 0..n {
        // On a disk, where caches usually are.
        let cache = env::temp_dir().join(format!("bmdb-bench-{}", std::process::id()));
        let files = |error| Failure::check(format!("{}: {error}", cache.display()));
        fs::create_dir(&cache).map_err(files)?;
        if account()?.name.is_some() {
            fs::set_permissions(&cache, fs::Permissions::from_mode(0o755)).map_err(files)?;
        }
        let timed = spawn(Role::Boot, |command| {
            command
                .env("BMDB_TESTKIT_CACHE", &cache)
                // A fetched server is in the usual cache.
                .env("BMDB_PG_BIN", bench.installation.bin())
        })
        .and_then(|mut child| {
            let took = printed(&mut child)?;
            child.wait().map_err(Failure::check)?;
            Ok(took)
        });
        // Also after a failure.
        fs::remove_dir_all(&cache).map_err(files)?;
        samples.push(timed?.milliseconds);
    }
    let row = Row::new("first boot ever (initdb, migrations)", "ms", samples);
    bench.report.row(row);
    Ok(())
}
