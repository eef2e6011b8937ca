//! Test database: the testkit's, beside two simpler ways to create one.

use super::bench::{Bench, milliseconds};
use super::plain::{Plain, ask};
use crate::report::{Row, Target};
use bmdb_dev::block_on;
use bmdb_shell::{Done, Failure};
use bmdb_testkit::{Server, TestDb};
use std::time::Instant;

const WARM_UP: usize = 5;

/// The prefix of the testkit's database names.
pub(super) const OURS: &str = r"bmdb\_test\_%";

/// The three alternate, so that other load on the machine affects all of them.
pub(super) fn measure(bench: &mut Bench) -> Done {
    let n = bench.samples(100);
    eprintln!("database: {n} times, each of 3 ways in turn");
    let server = Server::shared().map_err(Failure::check)?;
    let (mut ours, mut plain, mut migrated) = (Vec::new(), Vec::new(), Vec::new());
    block_on(async {
        let admin = Plain::connect(server.url()).await?;
        for _ in 0..WARM_UP + n {
            ours.push(one_of_ours(&admin).await?);
            plain.push(one_plain(&admin).await?);
            migrated.push(one_migrated(&admin).await?);
        }
        Ok(())
    })?;
    let row = |name, samples: Vec<f64>| Row::new(name, "ms", samples[WARM_UP..].to_vec());
    let ours = row("database ready", ours)
        .target(Target::MedianAtMost(12.0))
        .target(Target::P95AtMost(25.0));
    let plain = row("  plain CREATE DATABASE … TEMPLATE", plain);
    let migrated = row("  empty database, then migrations", migrated);
    bench.report.ratio(&ours, &plain);
    bench.report.ratio(&ours, &migrated);
    for row in [ours, plain, migrated] {
        bench.report.row(row);
    }
    Ok(())
}

async fn one_of_ours(admin: &Plain) -> Result<f64, Failure> {
    let began = Instant::now();
    let db = TestDb::new().await.map_err(Failure::check)?;
    ask(&db.url().parse().map_err(Failure::check)?).await?;
    let took = milliseconds(began);
    drop(db);
    admin.wait_until_gone(OURS).await?;
    Ok(took)
}

async fn one_plain(admin: &Plain) -> Result<f64, Failure> {
    let began = Instant::now();
    let name = admin.create(&admin.template, "").await?;
    admin.ask(&name).await?;
    let took = milliseconds(began);
    admin.drop(&name).await?;
    Ok(took)
}

async fn one_migrated(admin: &Plain) -> Result<f64, Failure> {
    let began = Instant::now();
    let name = admin.create("template0", "").await?;
    admin.migrate(&name).await?;
    admin.ask(&name).await?;
    let took = milliseconds(began);
    admin.drop(&name).await?;
    Ok(took)
}
