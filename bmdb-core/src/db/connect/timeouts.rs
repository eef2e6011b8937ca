//! The limits that the server keeps for a connection.

use crate::db::config::Config;
use std::time::Duration;

/// After eleven seconds without a sign of life from the client's host the server ends the connection. A
/// client that has vanished within a transaction has its session's row locked until then, so that no
/// janitor frees its work. Sockets have no such limits, and need none.
const VANISHED: &str = "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 \
                        -c tcp_keepalives_count=3 -c tcp_user_timeout=11000";

/// Limits of a connection, set when it is made; zero is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Timeouts {
    statement: Duration,
    lock: Duration,
    idle_in_transaction: Duration,
    /// What the URL sets.
    own: String,
    ours_count: bool,
}

impl Timeouts {
    pub(super) fn new(config: &Config, own: Option<&str>) -> Self {
        Self {
            statement: config.statement_timeout,
            lock: config.lock_timeout,
            idle_in_transaction: config.statement_timeout,
            own: own.unwrap_or_default().to_owned(),
            ours_count: false,
        }
    }

    /// The same, and none of them longer than this.
    pub(super) fn at_most(&self, limit: Duration) -> Self {
        Self {
            statement: self.statement.min(limit),
            lock: self.lock.min(limit),
            idle_in_transaction: self.idle_in_transaction.min(limit),
            ..self.clone()
        }
    }

    /// The same, and no lock is waited for longer than this.
    pub(super) fn lock_at_most(&self, limit: Duration) -> Self {
        Self {
            lock: self.lock.min(limit),
            ..self.clone()
        }
    }

    /// The same without a limit, whatever the URL says of limits.
    pub(super) fn none(&self) -> Self {
        Self {
            statement: Duration::ZERO,
            lock: Duration::ZERO,
            idle_in_transaction: Duration::ZERO,
            own: self.own.clone(),
            ours_count: true,
        }
    }

    /// What is told to the server: of equal names the last one counts.
    pub(super) fn options(&self) -> String {
        // The server takes 0 for no limit.
        let shortest = |limit: Duration| match limit {
            Duration::ZERO => 0,
            limit => limit.as_millis().max(1),
        };
        // A lock that is waited for longer than the statement may take would never be what is said.
        let lock = self.lock.min(self.statement / 2);
        let ours = format!(
            "{VANISHED} -c statement_timeout={} -c lock_timeout={} \
             -c idle_in_transaction_session_timeout={}",
            shortest(self.statement),
            shortest(lock),
            shortest(self.idle_in_transaction),
        );
        match (self.own.as_str(), self.ours_count) {
            ("", _) => ours,
            (own, false) => format!("{ours} {own}"),
            (own, true) => format!("{own} {ours}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_the_last_word_but_for_migrations() {
        let timeouts = Timeouts::new(&Config::new(""), Some("-c a=b"));
        assert_eq!(
            timeouts.options(),
            format!(
                "{VANISHED} -c statement_timeout=60000 -c lock_timeout=30000 \
                 -c idle_in_transaction_session_timeout=60000 -c a=b"
            )
        );
        assert_eq!(
            timeouts.none().options(),
            format!(
                "-c a=b {VANISHED} -c statement_timeout=0 -c lock_timeout=0 \
                 -c idle_in_transaction_session_timeout=0"
            )
        );
    }

    #[test]
    fn locks_are_waited_for_no_longer_than_half_of_what_a_statement_may_take() {
        let mut config = Config::new("");
        config.statement_timeout = Duration::from_millis(10);
        let options = Timeouts::new(&config, None).options();
        assert!(options.contains("-c lock_timeout=5 "), "{options}");
        config.lock_timeout = Duration::from_micros(1500);
        let options = Timeouts::new(&config, None).options();
        assert!(options.contains("-c lock_timeout=1 "), "{options}");
        let beat = Timeouts::new(&Config::new(""), None).at_most(Duration::from_secs(5));
        let options = beat.options();
        assert!(
            options.contains("statement_timeout=5000 -c lock_timeout=2500 "),
            "{options}"
        );
    }
}
