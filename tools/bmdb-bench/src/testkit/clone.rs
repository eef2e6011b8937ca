//! Clone: whether PostgreSQL 18's copies by the file system are faster.

use super::bench::{Bench, milliseconds};
use super::plain::Plain;
use crate::report::Row;
use bmdb_dev::block_on;
use bmdb_shell::{Done, Failure};
use bmdb_testkit::{Profile, Server, installed};
use std::time::Instant;

/// The first version with this setting.
const MAJOR: u32 = 18;

const METHODS: [&str; 2] = ["clone", "copy"];

pub(super) fn measure(bench: &mut Bench) -> Done {
    let name = "file_copy_method = clone";
    let Some(installation) = installed(MAJOR) else {
        let why = format!("no PostgreSQL {MAJOR} here; `cargo xtask pg fetch --version {MAJOR}`");
        bench.report.not_measured(name, why);
        return Ok(());
    };
    let n = bench.samples(50);
    eprintln!("clone: {n} times on {installation}, each of 2 ways in turn");
    let server = Server::boot(&installation, Profile::Fast).map_err(Failure::check)?;
    let (mut samples, mut refused) = ([Vec::new(), Vec::new()], None);
    block_on(async {
        let admin = Plain::connect(server.url()).await?;
        for round in 0..=n {
            for (method, samples) in METHODS.iter().zip(&mut samples) {
                let set = format!("SET file_copy_method = {method}");
                if let Err(failure) = admin.execute(&set).await {
                    refused = failure.message().map(str::to_owned);
                    return Ok(());
                }
                let began = Instant::now();
                let name = admin.create(&admin.template, "STRATEGY file_copy").await?;
                admin.ask(&name).await?;
                // The first of each is a warm-up.
                if round > 0 {
                    samples.push(milliseconds(began));
                }
                admin.drop(&name).await?;
            }
        }
        Ok(())
    })?;
    if let Some(why) = refused {
        // A build without the system call rejects the value.
        bench.report.not_measured(name, why);
        return Ok(());
    }
    let [cloned, copied] = samples;
    let row = |method, samples| {
        let name = format!("on {MAJOR}, file_copy_method = {method}");
        Row::new(name, "ms", samples)
    };
    let (cloned, copied) = (row("clone", cloned), row("copy", copied));
    bench.report.ratio(&cloned, &copied);
    bench.report.row(cloned);
    bench.report.row(copied);
    Ok(())
}
