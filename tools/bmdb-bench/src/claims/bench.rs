//! Bench: the environment of the measurements of claims, and their report.

use super::baseline::{Baseline, Clients, Measured};
use super::capture::{End, capture};
use super::costs::Costs;
use super::fleet;
use super::load::{Built, Load};
use super::script::Script;
use crate::report::Report;
use bmdb_shell::Failure;
use bmdb_testkit::{Installation, Server, TestDb};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

/// More machines than can fail in a second, the time that each rests.
const LARGE: u32 = 200_000;

/// For loads of single machines, and for `--quick`.
pub(super) const SMALL: u32 = 50_000;

/// The environment of a measurement, and its report.
pub(super) struct Bench {
    pub(super) installation: Installation,
    pub(super) server: Arc<Server>,
    /// The error says why there is none.
    pub(super) baseline: Result<Baseline, String>,
    /// The library's statements, by how attempts end and the size of a batch.
    pub(super) scripts: BTreeMap<(End, u32), Script>,
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

    /// Lets pgbench claim machines and end them in these ways, one after the other; `None` without pgbench.
    pub(super) async fn pgbench(
        &mut self,
        db: &TestDb,
        ends: &[End],
        clients: Clients,
    ) -> Result<Option<Measured>, Failure> {
        if self.baseline.is_err() {
            return Ok(None);
        }
        let mut script = Script::new();
        for end in ends {
            script = script.then(self.script(*end, clients.batch).await?);
        }
        let Ok(baseline) = &self.baseline else {
            return Ok(None);
        };
        let measured = baseline.run(db, &self.server, &script, clients).await?;
        Ok(Some(measured))
    }

    async fn script(&mut self, end: End, batch: u32) -> Result<&Script, Failure> {
        match self.scripts.entry((end, batch)) {
            Entry::Occupied(script) => Ok(script.into_mut()),
            Entry::Vacant(place) => {
                let captured = capture(&self.server, end, batch).await?;
                let script = Script::default().claim(batch).map_err(Failure::check)?;
                Ok(place.insert(script.end(&captured)))
            }
        }
    }
}
