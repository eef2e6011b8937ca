//! What a run consists of, and how each fault befalls it.

use super::disk::Disk;
use super::fault::Kind;
use super::rng::Dice;
use super::schedule::Injection;
use super::servers::Servers;
use super::stop::Stop;
use super::workers::Workers;
use crate::shell::Failure;
use bmdb_testkit::{Proxy, TestDb};
use std::fs;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

/// Dropped from the top: the workers end before what they use.
pub(crate) struct Stage {
    pub(crate) workers: Mutex<Workers>,
    /// The network of the worker at the same place.
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) db: TestDb,
    /// The database as a worker's user, without a proxy.
    pub(crate) url: String,
    pub(crate) servers: Servers,
    pub(crate) disk: Option<Disk>,
}

impl Stage {
    /// Lets a fault happen and undoes it, also where the run is stopped meanwhile; says whether anybody
    /// has felt it.
    pub(crate) async fn inject(&self, injection: &Injection, stop: &Stop) -> Result<bool, Failure> {
        let mut dice = Dice::new(injection.draw);
        let time = injection.length;
        match injection.kind {
            Kind::KillWorker => self.kill_worker(&mut dice).await,
            Kind::StopWorker => self.stop_worker(&mut dice, time, stop).await,
            Kind::Clock => self.jump(&mut dice, time, stop).await,
            Kind::Cut | Kind::Delay | Kind::BlackHole | Kind::HalfOpen => {
                self.disturb(injection.kind, &mut dice, time, stop).await
            }
            Kind::KillServer => self.servers.kill(time, stop).await.map(|()| true),
            Kind::KillStandby => {
                let without = dice.roll(2) == 0;
                self.servers.kill_standby(time, without, stop).await
            }
            Kind::DiskFull => self.fill_disk(time, stop).await,
            Kind::Connections => self.take_connections(time, stop).await,
            Kind::Timeouts => self.lock_table(time, stop).await,
            Kind::LongTransaction => self.hold_locks(time, stop).await,
        }
    }

    async fn kill_worker(&self, dice: &mut Dice) -> Result<bool, Failure> {
        let mut workers = self.workers.lock().await;
        // Not the first, if there are others: its memory is watched.
        let place = match workers.count() {
            0 => return Ok(false),
            1 => 0,
            count => 1 + dice.place(count - 1),
        };
        workers.kill(place).await.map(|()| true)
    }

    async fn stop_worker(
        &self,
        dice: &mut Dice,
        time: Duration,
        stop: &Stop,
    ) -> Result<bool, Failure> {
        let (mut sleep, pid) = {
            let workers = self.workers.lock().await;
            let place = dice.place(workers.count());
            (workers.stop(place, time)?, workers.pid(place))
        };
        stop.sleep(time / 2).await;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let slept = status
            .lines()
            .any(|l| l.starts_with("State:") && l.contains("(stopped)"));
        // It wakes in time, also where the run is stopped.
        sleep.wait().await.map_err(Failure::check)?;
        Ok(slept)
    }

    /// Sets a worker's clock to some other time, and back.
    async fn jump(&self, dice: &mut Dice, time: Duration, stop: &Stop) -> Result<bool, Failure> {
        let offset = [86_400, -86_400, 3_600, -7_000, 1_000_000_000][dice.place(5)];
        let workers = self.workers.lock().await;
        let Some(clock) = workers.clock() else {
            return Ok(false);
        };
        let journal = workers.journal_at(clock.place);
        let length = || fs::metadata(&journal).map_or(0, |file| file.len());
        let before = length();
        clock.set(offset)?;
        drop(workers);
        stop.sleep(time).await;
        let went_on = length() > before;
        if let Some(clock) = self.workers.lock().await.clock() {
            clock.set(0)?;
        }
        Ok(went_on)
    }

    /// Of one worker, or of all.
    async fn disturb(
        &self,
        kind: Kind,
        dice: &mut Dice,
        time: Duration,
        stop: &Stop,
    ) -> Result<bool, Failure> {
        let one = dice.place(self.proxies.len());
        let disturbed = match dice.roll(3) {
            0 => &self.proxies[..],
            _ => &self.proxies[one..=one],
        };
        let connections: usize = disturbed.iter().map(Proxy::connections).sum();
        for proxy in disturbed {
            match kind {
                Kind::Cut => proxy.cut(),
                Kind::Delay => {
                    proxy.delay(Duration::from_millis(20 + u64::from(dice.roll(180))));
                }
                Kind::HalfOpen => proxy.half_open(),
                _ => proxy.black_hole(),
            }
        }
        stop.sleep(time).await;
        for proxy in disturbed {
            proxy.heal().map_err(Failure::check)?;
        }
        Ok(connections > 0)
    }

    async fn fill_disk(&self, time: Duration, stop: &Stop) -> Result<bool, Failure> {
        let Some(disk) = &self.disk else {
            return Ok(false);
        };
        // Where there is room again, for a log was removed, it is taken as well.
        let pieces = 10;
        let mut filled = Ok(());
        for _ in 0..pieces {
            filled = filled.and(tokio::task::block_in_place(|| disk.fill()));
            stop.sleep(time / pieces).await;
        }
        // A table that grows finds no room, or the server has died of it.
        let grow =
            "BEGIN; CREATE TABLE room AS SELECT g FROM generate_series(1, 200000) g; ROLLBACK";
        let felt = match self.servers.control(self.db.url()).await {
            Ok(control) => control.batch_execute(grow).await.is_err(),
            Err(_) => true,
        };
        disk.free()?;
        self.servers.revive().await?;
        filled.map(|()| felt)
    }

    /// Opens connections until the server refuses more, and takes those that workers lose meanwhile.
    async fn take_connections(&self, time: Duration, stop: &Stop) -> Result<bool, Failure> {
        let mut taken: Vec<Client> = Vec::new();
        let mut refused = false;
        let pieces = 10;
        for piece in 0..pieces {
            refused |= self.take_all(&mut taken).await;
            if piece % 3 == 0 {
                self.proxies.iter().for_each(Proxy::cut);
                refused |= self.take_all(&mut taken).await;
            }
            stop.sleep(time / pieces).await;
        }
        Ok(refused)
    }

    /// Whether the limit was reached.
    async fn take_all(&self, taken: &mut Vec<Client>) -> bool {
        loop {
            match tokio_postgres::connect(&self.url, NoTls).await {
                Ok((client, connection)) => {
                    tokio::spawn(connection);
                    taken.push(client);
                }
                Err(error) => return error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS),
            }
        }
    }

    /// Nobody can read or write work items, for longer than the workers' statements may take.
    async fn lock_table(&self, time: Duration, stop: &Stop) -> Result<bool, Failure> {
        let lock = "BEGIN; LOCK TABLE work_item IN ACCESS EXCLUSIVE MODE";
        self.lock_by(lock, time, stop).await
    }

    /// A third of the machines and of their items cannot be written.
    async fn hold_locks(&self, time: Duration, stop: &Stop) -> Result<bool, Failure> {
        let lock = "BEGIN;
            CREATE TEMP TABLE held ON COMMIT DROP AS
                SELECT machine_id FROM machines WHERE hashtext(machine_id::text) % 3 = 0;
            SELECT FROM machines WHERE machine_id IN (SELECT machine_id FROM held)
            ORDER BY machine_id FOR UPDATE;
            SELECT FROM work_item WHERE machine_id IN (SELECT machine_id FROM held)
            ORDER BY machine_id, process FOR UPDATE";
        self.lock_by(lock, time, stop).await
    }

    /// Whether anybody waits for the locks. A worker that loses a deadlock against them tries again;
    /// where they lose, or the server is gone, nobody has felt anything.
    async fn lock_by(&self, lock: &str, time: Duration, stop: &Stop) -> Result<bool, Failure> {
        let (Ok(holder), Ok(watcher)) = tokio::join!(
            self.servers.control(self.db.url()),
            self.servers.control(self.db.url())
        ) else {
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
        // Where it fails, the connection is gone and with it the locks.
        let _ = holder.batch_execute("ROLLBACK").await;
        Ok(waiting.is_ok_and(|row| row.get::<_, i64>(0) > 0))
    }

    /// Ends everything that may still be wrong.
    pub(crate) async fn heal(&self) -> Result<(), Failure> {
        for proxy in &self.proxies {
            proxy.heal().map_err(Failure::check)?;
        }
        if let Some(disk) = &self.disk {
            disk.free()?;
        }
        self.servers.revive().await
    }
}
