//! How each kind of fault is injected and undone.

mod agents;
mod operators;

use crate::connect::{connect, control};
use crate::environment::Environment;
use crate::failure::Done;
use crate::fault::Kind;
use crate::fixture::COMPONENT;
use crate::rng::Rng;
use crate::schedule::Injection;
use crate::stop::Stop;
use bmdb_testkit::Proxy;
use std::fs;
use std::time::Duration;
use tokio::task::block_in_place;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

impl Environment {
    /// Injects a fault and undoes it, even if the run is stopped meanwhile; returns whether a worker
    /// could notice it.
    pub(crate) async fn inject(&self, injection: &Injection, stop: &Stop) -> Done<bool> {
        let mut rng = Rng::new(injection.draw, 0);
        let time = injection.length;
        match injection.kind {
            Kind::KillWorker => self.kill_worker(&mut rng).await,
            Kind::StopWorker => self.stop_worker(&mut rng, time, stop).await,
            Kind::Clock => self.change_clock(&mut rng, time, stop).await,
            Kind::Cut | Kind::Delay | Kind::BlackHole | Kind::HalfOpen => {
                self.disturb_network(injection.kind, &mut rng, time, stop)
                    .await
            }
            Kind::KillServer => match &self.servers {
                Some(servers) => servers.kill(time, stop).await.map(|()| true),
                None => Ok(false),
            },
            Kind::KillStandby => match &self.servers {
                Some(servers) => servers.kill_standby(time, rng.below(2) == 0, stop).await,
                None => Ok(false),
            },
            Kind::DiskFull => self.fill_disk(time, stop).await,
            Kind::Connections => self.use_up_connections(time, stop).await,
            Kind::Timeouts => self.lock_table(time, stop).await,
            Kind::LongTransaction => self.lock_rows(time, stop).await,
            Kind::Terminate => self.terminate_connection(&mut rng).await,
            Kind::Silence => self.silence_agents(time, stop).await,
            Kind::Away => self.be_away(time, stop).await,
            Kind::BrokenView => self.break_view(&mut rng, time, stop).await,
            Kind::Definitions => self.change_definitions(&mut rng, time, stop).await,
            Kind::Pause => self.pause(&mut rng, time, stop).await,
        }
    }

    async fn kill_worker(&self, rng: &mut Rng) -> Done<bool> {
        let mut workers = self.workers.lock().await;
        // Not the first if there are others, because its memory is watched.
        let place = match workers.count() {
            0 => return Ok(false),
            1 => 0,
            count => 1 + rng.index(count - 1),
        };
        workers.kill(place).await.map(|()| true)
    }

    async fn stop_worker(&self, rng: &mut Rng, time: Duration, stop: &Stop) -> Done<bool> {
        let (mut stopper, pid) = {
            let workers = self.workers.lock().await;
            let place = rng.index(workers.count());
            (workers.stop(place, time)?, workers.pid(place))
        };
        stop.sleep(time / 2).await;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let stopped = status
            .lines()
            .any(|l| l.starts_with("State:") && l.contains("(stopped)"));
        // The worker continues after its time, also if the run is stopped.
        stopper.wait().await?;
        Ok(stopped)
    }

    /// Sets a worker's clock to another time, and back.
    async fn change_clock(&self, rng: &mut Rng, time: Duration, stop: &Stop) -> Done<bool> {
        let offset = *rng.pick(&[86_400, -86_400, 3_600, -7_000, 1_000_000_000]);
        let Some(clock) = &self.clock else {
            return Ok(false);
        };
        let journal = self.workers.lock().await.journal_at(clock.place);
        let length = || fs::metadata(&journal).map_or(0, |file| file.len());
        let before = length();
        clock.set(offset)?;
        stop.sleep(time).await;
        let went_on = length() > before;
        clock.set(0)?;
        Ok(went_on)
    }

    /// Disturbs the network of one worker, or of all.
    async fn disturb_network(
        &self,
        kind: Kind,
        rng: &mut Rng,
        time: Duration,
        stop: &Stop,
    ) -> Done<bool> {
        let one = rng.index(self.proxies.len());
        let disturbed = match rng.below(3) {
            0 => &self.proxies[..],
            _ => &self.proxies[one..=one],
        };
        let connections: usize = disturbed.iter().map(Proxy::connections).sum();
        for proxy in disturbed {
            match kind {
                Kind::Cut => proxy.cut(),
                Kind::Delay => proxy.delay(Duration::from_millis((20 + rng.below(180)).into())),
                Kind::HalfOpen => proxy.half_open(),
                _ => proxy.black_hole(),
            }
        }
        stop.sleep(time).await;
        for proxy in disturbed {
            proxy.heal()?;
        }
        Ok(connections > 0)
    }

    async fn fill_disk(&self, time: Duration, stop: &Stop) -> Done<bool> {
        let (Some(disk), Some(servers)) = (&self.disk, &self.servers) else {
            return Ok(false);
        };
        // Again and again, because the server frees space when it removes a log.
        let pieces = 10;
        let mut filled = Ok(());
        for _ in 0..pieces {
            filled = filled.and(block_in_place(|| disk.fill()));
            stop.sleep(time / pieces).await;
        }
        // A table that grows finds no space, or the server has died.
        let grow =
            "BEGIN; CREATE TABLE room AS SELECT g FROM generate_series(1, 200000) g; ROLLBACK";
        let felt = match control(self.db.admin_url()).await {
            Ok(control) => control.batch_execute(grow).await.is_err(),
            Err(_) => true,
        };
        disk.free()?;
        servers.restart().await?;
        filled.map(|()| felt)
    }

    /// Opens connections until the server refuses more, and takes those that workers lose meanwhile.
    async fn use_up_connections(&self, time: Duration, stop: &Stop) -> Done<bool> {
        let mut taken: Vec<Client> = Vec::new();
        let mut refused = false;
        let pieces = 10;
        for piece in 0..pieces {
            refused |= self.take_connections(&mut taken).await;
            if piece % 3 == 0 {
                self.proxies.iter().for_each(Proxy::cut);
                refused |= self.take_connections(&mut taken).await;
            }
            stop.sleep(time / pieces).await;
        }
        Ok(refused)
    }

    /// Returns whether the limit was reached.
    async fn take_connections(&self, taken: &mut Vec<Client>) -> bool {
        loop {
            match connect(&self.url).await {
                Ok(client) => taken.push(client),
                Err(error) => return error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS),
            }
        }
    }

    /// Locks all work items for longer than a worker's statement may take.
    async fn lock_table(&self, time: Duration, stop: &Stop) -> Done<bool> {
        let lock = "BEGIN; LOCK TABLE work_item IN ACCESS EXCLUSIVE MODE";
        self.lock_by(lock, time, stop).await
    }

    /// Locks a third of the machines and of their work items against writes.
    async fn lock_rows(&self, time: Duration, stop: &Stop) -> Done<bool> {
        let lock = "BEGIN;
            CREATE TEMP TABLE locked ON COMMIT DROP AS
                SELECT machine_id FROM machines WHERE hashtext(machine_id::text) % 3 = 0;
            SELECT FROM machines WHERE machine_id IN (SELECT machine_id FROM locked)
            ORDER BY machine_id FOR UPDATE;
            SELECT FROM work_item WHERE machine_id IN (SELECT machine_id FROM locked)
            ORDER BY machine_id, process FOR UPDATE";
        self.lock_by(lock, time, stop).await
    }

    /// Returns whether a statement waits for the locks. The locking transaction itself can fail: it can
    /// lose a deadlock, or the server can be down. Then no worker notices anything.
    async fn lock_by(&self, lock: &str, time: Duration, stop: &Stop) -> Done<bool> {
        let url = self.db.admin_url();
        let (Ok(holder), Ok(watcher)) = tokio::join!(control(url), control(url)) else {
            return Ok(false);
        };
        if holder.batch_execute(lock).await.is_err() {
            return Ok(false);
        }
        stop.sleep(time * 3 / 4).await;
        let waiting = "SELECT count(*) FROM pg_stat_activity
                       WHERE wait_event_type = 'Lock' AND datname = current_database()";
        let waiting = watcher.query_one(waiting, &[]).await;
        stop.sleep(time / 4).await;
        // If it fails, the connection is gone and with it the locks.
        let _ = holder.batch_execute("ROLLBACK").await;
        Ok(waiting.is_ok_and(|row| row.get::<_, i64>(0) > 0))
    }

    /// Terminates one connection of a worker: in half of the cases a busy one if there is any. Idle ones
    /// are the most, so they would be hit most otherwise.
    async fn terminate_connection(&self, rng: &mut Rng) -> Done<bool> {
        let busy_first = *rng.pick(&["state = 'idle',", ""]);
        let victims = format!(
            "SELECT pid FROM pg_stat_activity
             WHERE datname = current_database() AND application_name = '{COMPONENT}'
             ORDER BY {busy_first} pid"
        );
        let victims = self.db.rows(&victims).await?;
        let candidates = victims.len().div_ceil(4);
        if candidates == 0 {
            return Ok(false);
        }
        let terminate = format!(
            "SELECT pg_terminate_backend({})",
            rng.pick(&victims[..candidates])
        );
        Ok(self.db.rows(&terminate).await? == ["t"])
    }
}
