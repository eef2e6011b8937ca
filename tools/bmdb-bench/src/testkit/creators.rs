//! Creators: eight tasks that create databases at the same time.

use super::bench::Bench;
use super::database::OURS;
use super::plain::Plain;
use crate::report::{Row, Target};
use bmdb_dev::block_on;
use bmdb_shell::{Done, Failure};
use bmdb_testkit::{Server, TestDb};
use std::time::Instant;
use tokio::task::JoinSet;

const CREATORS: u32 = 8;
/// Databases per creator and round.
const EACH: u32 = 8;

/// Rounds of the testkit and of plain statements alternate. The databases of a round are dropped after
/// it, so that only creation is measured.
pub(super) fn measure(bench: &mut Bench) -> Done {
    let n = bench.samples(10);
    eprintln!(
        "creators: {n} rounds of {} databases, each of 2 ways in turn",
        CREATORS * EACH
    );
    let server = Server::shared().map_err(Failure::check)?;
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    block_on(async {
        let admin = Plain::connect(server.url()).await?;
        round_of_ours(&admin).await?;
        for _ in 0..n {
            ours.push(round_of_ours(&admin).await?);
            plain.push(plain_round(server.url(), &admin).await?);
        }
        Ok(())
    })?;
    let ours = Row::new("eight creators", "/s", ours).target(Target::MedianAtLeast(200.0));
    let plain = Row::new("  plain CREATE DATABASE … TEMPLATE", "/s", plain);
    bench.report.ratio(&ours, &plain);
    bench.report.row(ours);
    bench.report.row(plain);
    Ok(())
}

async fn round_of_ours(admin: &Plain) -> Result<f64, Failure> {
    let began = Instant::now();
    let mut creators = JoinSet::new();
    for _ in 0..CREATORS {
        creators.spawn(async {
            let mut databases = Vec::new();
            for _ in 0..EACH {
                let db = TestDb::new().await.map_err(Failure::check)?;
                databases.push(db);
            }
            Ok::<_, Failure>(databases)
        });
    }
    let databases = creators.join_all().await;
    let rate = per_second(began);
    for created in databases {
        drop(created?);
    }
    admin.wait_until_gone(OURS).await?;
    Ok(rate)
}

async fn plain_round(url: &str, admin: &Plain) -> Result<f64, Failure> {
    let mut connected = Vec::new();
    for _ in 0..CREATORS {
        connected.push(Plain::connect(url).await?);
    }
    let began = Instant::now();
    let mut creators = JoinSet::new();
    for plain in connected {
        creators.spawn(async move {
            let mut names = Vec::new();
            for _ in 0..EACH {
                let name = plain.create(&plain.template, "").await?;
                names.push(name);
            }
            Ok::<_, Failure>(names)
        });
    }
    let names = creators.join_all().await;
    let rate = per_second(began);
    for created in names {
        for name in created? {
            admin.drop(&name).await?;
        }
    }
    Ok(rate)
}

fn per_second(began: Instant) -> f64 {
    f64::from(CREATORS * EACH) / began.elapsed().as_secs_f64()
}
