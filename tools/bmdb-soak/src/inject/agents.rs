//! Faults of agents and of everybody who listens to them. Eleven minutes pass by moving what was recorded.

use crate::connect::control;
use crate::environment::Environment;
use crate::failure::Done;
use crate::gateway::Mode;
use crate::stop::Stop;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

/// What agents have sent, and the run's log of it.
const AGE_AGENTS: &str = "
    UPDATE machine_agent_started SET agent_started_at = agent_started_at - interval '11 minutes';
    UPDATE machine_agent_heartbeat SET agent_heartbeat_at = agent_heartbeat_at - interval '11 minutes';
    UPDATE heartbeat_log SET sent_at = sent_at - interval '11 minutes';";

/// Also what the database knows of those who wrote it. Limits, backoffs and history stay, so that they are
/// judged by the clock.
const AGE_SESSIONS: &str = "
    UPDATE agent_listening SET since = since - interval '11 minutes',
           heard_at = heard_at - interval '11 minutes', observed_at = observed_at - interval '11 minutes';
    UPDATE sessions SET session_deadline = session_deadline - interval '11 minutes';";

/// Nobody gets an answer while these are locked. In the order in which bmdb locks.
const LOCK: &str = "
    BEGIN; SET LOCAL lock_timeout = '2s';
    LOCK TABLE machines, work_item, machine_agent_started, machine_agent_heartbeat, agent_listening, sessions
    IN ACCESS EXCLUSIVE MODE;";

/// The pause that a breaker has made, as the run sees it.
const LOG_TRIPPED: &str = "
    INSERT INTO pause_log (process, provider, in_force, lifted)
    SELECT process, provider, clock_timestamp(), until FROM process_pause p
    WHERE source = 'Breaker' AND until > clock_timestamp()
      AND NOT EXISTS (SELECT FROM pause_log l
                      WHERE l.process = p.process AND l.provider = p.provider AND l.lifted = p.until)";

/// As `bmdb process resume` does.
const RESUME: &str = "
    UPDATE pause_log SET lifted = clock_timestamp() WHERE lifted > clock_timestamp();
    DELETE FROM process_pause WHERE source = 'Breaker';
    UPDATE process_breaker_state SET disarmed = true;";

impl Environment {
    /// All agents fall silent while somebody listens; after a while a person resumes what the breaker has
    /// stopped. Returns whether it has.
    pub(super) async fn silence_agents(&self, time: Duration, stop: &Stop) -> Done<bool> {
        let Some(gateway) = &self.gateway else {
            return Ok(false);
        };
        let until = Instant::now() + time;
        gateway.set(Mode::Listening);
        let aged = self.operate(AGE_AGENTS).await;
        let mut tripped = false;
        while aged && Instant::now() < until && !stop.is_requested() {
            if let Ok(client) = control(self.db.admin_url()).await {
                tripped |= client.execute(LOG_TRIPPED, &[]).await.is_ok_and(|n| n > 0);
            }
            stop.sleep(Duration::from_millis(200)).await;
        }
        self.operate(RESUME).await;
        gateway.set(Mode::Beating);
        Ok(tripped)
    }

    /// Nobody gets an answer for a while. Then eleven minutes have passed: sessions have expired, and
    /// nobody has listened to agents.
    pub(super) async fn be_away(&self, time: Duration, stop: &Stop) -> Done<bool> {
        let Some(gateway) = &self.gateway else {
            return Ok(false);
        };
        gateway.set(Mode::Gone);
        let away = self.lock_and_age(time * 3 / 5, stop).await.is_ok();
        let began = "INSERT INTO unheard_log SELECT clock_timestamp(), clock_timestamp()";
        if away && self.operate(began).await {
            stop.sleep(time * 2 / 5).await;
            let over =
                "UPDATE unheard_log SET over_at = clock_timestamp() WHERE over_at = began_at";
            self.operate(over).await;
        }
        gateway.set(Mode::Beating);
        Ok(away)
    }

    async fn lock_and_age(&self, time: Duration, stop: &Stop) -> Done {
        let client = control(self.db.admin_url()).await?;
        lock(&client).await?;
        stop.sleep(time).await;
        let age = format!("{AGE_AGENTS}{AGE_SESSIONS}COMMIT");
        Ok(client.batch_execute(&age).await?)
    }

    /// Runs statements as one transaction, again and again for a while if another fault prevents it;
    /// returns whether it was committed.
    pub(super) async fn operate(&self, sql: &str) -> bool {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(5) {
            if let Ok(client) = control(self.db.admin_url()).await
                && client.batch_execute(sql).await.is_ok()
            {
                return true;
            }
            sleep(Duration::from_millis(100)).await;
        }
        false
    }
}

/// Waits for the locks in several tries, because everybody queues behind it.
async fn lock(client: &Client) -> Done {
    let mut tries = 0;
    loop {
        let Err(error) = client.batch_execute(LOCK).await else {
            return Ok(());
        };
        client.batch_execute("ROLLBACK").await?;
        tries += 1;
        if tries == 3 {
            return Err(error.into());
        }
    }
}
