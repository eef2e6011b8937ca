//! What people do to a fleet while programs go on: pauses, changed limits and definitions, broken views.

use crate::connect::control;
use crate::environment::Environment;
use crate::failure::{Done, Failure};
use crate::fixture::{CHECK, change_limit, move_lane};
use crate::journal::Entry;
use crate::rng::Rng;
use crate::stop::Stop;
use bmdb_core::{Bmdb, Config, SessionOptions};
use bmdb_model::{MachineId, Process};
use std::time::Duration;
use tokio::time::Instant;

static PROCESSES: [Process; 4] = [
    Process::SHEPHERD_ACCESS,
    Process::SHEPHERD_AGENT_START,
    Process::SHEPHERD_RECOVERY,
    CHECK,
];

impl Environment {
    /// Pauses a process, or one provider of it; returns whether it was in force.
    pub(super) async fn pause(&self, rng: &mut Rng, time: Duration, stop: &Stop) -> Done<bool> {
        let process = rng.pick(&PROCESSES).as_str();
        let provider = *rng.pick(&["", "Equinix", "Lumen"]);
        if !self.pause_for(process, provider).await {
            return Ok(false);
        }
        stop.sleep(time).await;
        self.lift_everything().await?;
        Ok(true)
    }

    /// Returns whether the pause is in force, and logged so.
    async fn pause_for(&self, process: &str, provider: &str) -> bool {
        // A breaker may have paused it already; then this pause is that one.
        let pause = format!(
            "INSERT INTO process_pause (process, provider, paused_by, reason)
             VALUES ('{process}', '{provider}', 'soak', 'a soak')
             ON CONFLICT (process, provider) DO UPDATE
             SET until = 'infinity', source = 'Operator', paused_by = 'soak'"
        );
        let log = format!(
            "INSERT INTO pause_log (process, provider, in_force)
             VALUES ('{process}', '{provider}', clock_timestamp())"
        );
        self.operate(&pause).await && self.operate(&log).await
    }

    /// Lifts all pauses of the run.
    pub(crate) async fn lift_everything(&self) -> Done {
        let lift = "BEGIN;
            UPDATE pause_log SET lifted = clock_timestamp() WHERE lifted > clock_timestamp();
            DELETE FROM process_pause WHERE paused_by = 'soak';
            COMMIT";
        self.operate(lift).await;
        Ok(())
    }

    /// Changes limits, and moves the run's own process to the lane of the shepherds and back; returns
    /// whether anything changed.
    pub(super) async fn change_definitions(
        &self,
        rng: &mut Rng,
        time: Duration,
        stop: &Stop,
    ) -> Done<bool> {
        let until = Instant::now() + time;
        let Some(bmdb) = self.component().await else {
            return Ok(false);
        };
        let mut changes = 0;
        let mut among_shepherds = true;
        // Its lane cannot change while it is at work.
        self.pause_for(CHECK.as_str(), "").await;
        while Instant::now() < until && !stop.is_requested() {
            if let Ok(client) = control(self.db.admin_url()).await {
                changes += u32::from(change_limit(&client, rng.below(6)).await.is_ok());
            }
            match move_lane(&bmdb, among_shepherds).await {
                Ok(()) => {
                    changes += 1;
                    self.saw("lanes changed")?;
                    among_shepherds = !among_shepherds;
                    self.lift_everything().await?;
                    stop.sleep(time / 3).await;
                    self.pause_for(CHECK.as_str(), "").await;
                }
                Err(_) => stop.sleep(Duration::from_millis(100)).await,
            }
        }
        self.lift_everything().await?;
        Ok(changes > 0)
    }

    /// Breaks the view of the run's own process for one machine. Holding, releasing and tagging that machine
    /// must go on; returns whether they did.
    pub(super) async fn break_view(
        &self,
        rng: &mut Rng,
        time: Duration,
        stop: &Stop,
    ) -> Done<bool> {
        let until = Instant::now() + time;
        let machines = "SELECT machine_id FROM machines ORDER BY machine_id";
        let Ok(machines) = self.db.rows(machines).await else {
            return Ok(false);
        };
        let machine: MachineId = rng.pick(&machines).parse()?;
        let Some(bmdb) = self.component().await else {
            return Ok(false);
        };
        let broke = format!("INSERT INTO divisor VALUES ('{machine}', 0)");
        if !self.operate(&broke).await {
            return Ok(false);
        }
        let mut touched = 0;
        while Instant::now() < until && !stop.is_requested() {
            match touch(&bmdb, machine).await {
                Ok(()) => touched += 1,
                Err(failure) => self.note_if_broken(machine, &failure)?,
            }
            stop.sleep(time / 4).await;
        }
        self.operate("DELETE FROM divisor").await;
        // Its next plan is one without the failure.
        if touch(&bmdb, machine).await.is_ok() {
            self.saw("views broken and mended")?;
        }
        Ok(touched > 0)
    }

    /// Other faults prevent these too; a view that breaks may not.
    fn note_if_broken(&self, machine: MachineId, failure: &Failure) -> Done {
        let text = failure.message().unwrap_or_default();
        if text.contains("division by zero") {
            let wrong = format!("machine {machine} cannot be held, released or tagged: {text}");
            self.journal.note(&Entry::Wrong(wrong))?;
        }
        Ok(())
    }

    async fn component(&self) -> Option<Bmdb> {
        let config = Config::new(self.db.admin_url())
            .component("soak-operator")
            .janitor_interval(None)
            .pool_size(2);
        Bmdb::connect(config).await.ok()
    }

    fn saw(&self, what: &str) -> Done {
        Ok(self.journal.note(&Entry::Saw(what.to_owned()))?)
    }
}

/// Holds, releases and tags a machine.
async fn touch(bmdb: &Bmdb, machine: MachineId) -> Done {
    let session = bmdb.start_session(SessionOptions::default()).await?;
    session
        .transact(async |tx| {
            tx.hold(machine, "soak").await?;
            tx.set_hardware_report(machine, b"report").await
        })
        .await?;
    session
        .transact(async |tx| tx.release_hold(machine).await.map(drop))
        .await?;
    Ok(session.close().await?)
}
