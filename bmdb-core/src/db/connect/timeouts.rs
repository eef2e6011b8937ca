//! Timeouts that the server enforces on a connection.

use std::time::Duration;

/// The server ends the connection eleven seconds after the client's host has vanished. Until then, a client
/// that vanished within a transaction keeps its session's row locked, and no janitor can free its work.
/// Sockets have no such limits, and need none.
const VANISHED: &str = "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 \
                        -c tcp_keepalives_count=3 -c tcp_user_timeout=11000";

/// The isolation of statements outside of transactions, whatever the default of the server, the role or
/// the URL: they lock rows and then judge their newest versions, and a standby refuses SERIALIZABLE.
const ISOLATION: &str = "-c default_transaction_isolation=read\\ committed";

/// Limits of a connection, set when it is made; zero means no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Timeouts {
    statement: Duration,
    lock: Duration,
    idle_in_transaction: Duration,
    /// The URL's `options`.
    url_options: String,
    /// Whether these limits override the URL's.
    overrides_url: bool,
}

impl Timeouts {
    pub(super) fn new(statement: Duration, lock: Duration, url_options: Option<&str>) -> Self {
        Self {
            statement,
            lock,
            idle_in_transaction: statement,
            url_options: url_options.unwrap_or_default().to_owned(),
            overrides_url: false,
        }
    }

    /// The same, with no limit longer than this.
    pub(super) fn at_most(&self, limit: Duration) -> Self {
        Self {
            statement: self.statement.min(limit),
            lock: self.lock.min(limit),
            idle_in_transaction: self.idle_in_transaction.min(limit),
            ..self.clone()
        }
    }

    /// The same, waiting no longer than this for a lock.
    pub(super) fn lock_at_most(&self, limit: Duration) -> Self {
        Self {
            lock: self.lock.min(limit),
            ..self.clone()
        }
    }

    /// The same without limits, even if the URL sets some.
    pub(super) fn none(&self) -> Self {
        Self {
            statement: Duration::ZERO,
            lock: Duration::ZERO,
            idle_in_transaction: Duration::ZERO,
            url_options: self.url_options.clone(),
            overrides_url: true,
        }
    }

    /// The server's command-line options; the last of equal names counts.
    pub(super) fn options(&self) -> String {
        // The server takes 0 for no limit.
        let shortest = |limit: Duration| match limit {
            Duration::ZERO => 0,
            limit => limit.as_millis().max(1),
        };
        // If waiting for a lock could take the whole statement timeout, the lock timeout would never be reported.
        let lock = self.lock.min(self.statement / 2);
        let ours = format!(
            "{VANISHED} -c statement_timeout={} -c lock_timeout={} \
             -c idle_in_transaction_session_timeout={}",
            shortest(self.statement),
            shortest(lock),
            shortest(self.idle_in_transaction),
        );
        match (self.url_options.as_str(), self.overrides_url) {
            ("", _) => format!("{ours} {ISOLATION}"),
            (url, false) => format!("{ours} {url} {ISOLATION}"),
            (url, true) => format!("{url} {ours} {ISOLATION}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeouts(url_options: Option<&str>) -> Timeouts {
        Timeouts::new(
            Duration::from_secs(60),
            Duration::from_secs(30),
            url_options,
        )
    }

    #[test]
    fn options_of_the_url_override_ours_except_for_migrations() {
        let timeouts = timeouts(Some("-c a=b"));
        assert_eq!(
            timeouts.options(),
            format!(
                "{VANISHED} -c statement_timeout=60000 -c lock_timeout=30000 \
                 -c idle_in_transaction_session_timeout=60000 -c a=b {ISOLATION}"
            )
        );
        assert_eq!(
            timeouts.none().options(),
            format!(
                "-c a=b {VANISHED} -c statement_timeout=0 -c lock_timeout=0 \
                 -c idle_in_transaction_session_timeout=0 {ISOLATION}"
            )
        );
    }

    #[test]
    fn a_lock_is_awaited_for_half_of_the_statement_timeout_at_most() {
        let short = Duration::from_millis(10);
        let options = Timeouts::new(short, Duration::from_secs(30), None).options();
        assert!(options.contains("-c lock_timeout=5 "), "{options}");
        let options = Timeouts::new(short, Duration::from_micros(1500), None).options();
        assert!(options.contains("-c lock_timeout=1 "), "{options}");
        let beat = timeouts(None).at_most(Duration::from_secs(5));
        let options = beat.options();
        assert!(
            options.contains("statement_timeout=5000 -c lock_timeout=2500 "),
            "{options}"
        );
    }
}
