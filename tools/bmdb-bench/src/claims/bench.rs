//! Bench: what a measurement of claims works with, and adds its rows to.

use super::baseline::Baseline;
use super::costs::Costs;
use super::fleet;
use super::load::{Built, Load};
use crate::report::Report;
use bmdb_shell::Failure;
use bmdb_testkit::{Server, TestDb};
use std::sync::Arc;

/// More machines than are failed in a second, which is how long each rests.
const LARGE: u32 = 200_000;

/// For loads of single machines, and to see that it works.
pub(super) const SMALL: u32 = 50_000;

/// What a measurement works with, and adds its rows to.
pub(super) struct Bench {
    pub(super) server: Arc<Server>,
    /// Or why there is none.
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
    /// A database with a fleet that is large enough for some seconds of anything.
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
