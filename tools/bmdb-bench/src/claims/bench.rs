//! Bench: the environment of the measurements of claims, and their report.

use super::baseline::Baseline;
use super::costs::Costs;
use super::fleet;
use super::load::{Built, Load};
use crate::report::Report;
use bmdb_shell::Failure;
use bmdb_testkit::{Server, TestDb};
use std::sync::Arc;

/// More machines than can fail in a second, the time that each rests.
const LARGE: u32 = 200_000;

/// For loads of single machines, and for `--quick`.
pub(super) const SMALL: u32 = 50_000;

/// The environment of a measurement, and its report.
pub(super) struct Bench {
    pub(super) server: Arc<Server>,
    /// The error says why there is none.
    pub(super) baseline: Result<Baseline, String>,
    pub(super) load: Load,
    pub(super) seconds: u32,
    pub(super) rounds: u32,
    pub(super) quick: bool,
    pub(super) built: Built,
    pub(super) report: Report,
    pub(super) costs: Costs,
}

impl Bench {
    /// Creates a database with a fleet that lasts for some seconds of any load.
    pub(super) async fn database(&self) -> Result<TestDb, Failure> {
        self.database_with(if self.quick { SMALL } else { LARGE })
            .await
    }

    pub(super) async fn database_with(&self, machines: u32) -> Result<TestDb, Failure> {
        let db = TestDb::on(&self.server).await.map_err(Failure::check)?;
        fleet::fill(&db, machines, fleet::Due::Now).await?;
        Ok(db)
    }
}
