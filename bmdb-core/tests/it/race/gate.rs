//! Gate: pauses a real statement between its snapshot and its row locks.
//!
//! Row security makes the server call a function for every row that a scan meets, which is after
//! the statement's snapshot was taken and before the row is locked, where races happen. The function
//! waits for an advisory lock that the test holds, so any statement of the product is paused there
//! without a change of its text. Only connections through [`Gate::url`] are gated; their role is
//! subject to row security.

use crate::wait::{A_STATEMENT_WAITS_AT_THE_GATE, until};
use bmdb_testkit::TestDb;
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};

/// Which statements are paused.
#[derive(Debug, Clone, Copy)]
pub(super) enum Before {
    /// Those that lock work items, once the fence check has locked the session: a transaction gets
    /// its id with its first lock.
    LockingItems,
    /// Those that lock sessions.
    LockingSessions,
}

impl Before {
    fn table_and_condition(self) -> (&'static str, &'static str) {
        match self {
            Self::LockingItems => ("work_item", "pg_current_xact_id_if_assigned() IS NULL"),
            Self::LockingSessions => ("sessions", "false"),
        }
    }
}

/// A closed gate.
pub(super) struct Gate {
    url: String,
    keeper: AsyncPgConnection,
}

impl Gate {
    /// Closes a gate before this kind of lock. No other transaction may be under way.
    pub(super) async fn closed(db: &TestDb, before: Before) -> Self {
        let (table, passes_freely) = before.table_and_condition();
        db.run_sql(&format!(
            "SET lock_timeout = '5s';
             CREATE FUNCTION pass_the_gate() RETURNS boolean LANGUAGE plpgsql AS $$
                 BEGIN
                     PERFORM pg_advisory_xact_lock_shared(1);
                     RETURN true;
                 END $$;
             CREATE POLICY gate ON {table} USING (
                 current_setting('test.gated', true) IS DISTINCT FROM 'yes'
                 OR {passes_freely} OR pass_the_gate());
             ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
             ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
             GRANT ALL ON ALL TABLES IN SCHEMA public TO pg_monitor;
             GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO pg_monitor;"
        ))
        .await
        .unwrap();
        let mut keeper = db.connect().await.unwrap();
        keeper
            .batch_execute("SELECT pg_advisory_lock(1)")
            .await
            .unwrap();
        let url = gated_url(db).await;
        Self { url, keeper }
    }

    /// The URL of gated connections.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// A gated connection.
    pub(super) async fn connect(&self) -> AsyncPgConnection {
        AsyncPgConnection::establish(&self.url).await.unwrap()
    }

    /// Waits until a statement is paused at the gate.
    pub(super) async fn reached(&self, db: &TestDb) {
        until(db, A_STATEMENT_WAITS_AT_THE_GATE).await;
    }

    /// Pauses no statement any more.
    pub(super) async fn open(mut self) {
        self.keeper
            .batch_execute("SELECT pg_advisory_unlock_all()")
            .await
            .unwrap();
    }
}

/// Superusers are exempt from row security, so the connection uses a role that every server has, unless
/// the tests run as a component. The role gets privileges in this database only, so nothing is left
/// behind.
async fn gated_url(db: &TestDb) -> String {
    let is_superuser = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user";
    let role = match db.rows(is_superuser).await.unwrap()[0].as_str() {
        "t" if db.url() == db.admin_url() => "-c role=pg_monitor ",
        _ => "",
    };
    let options = format!("{role}-c test.gated=yes");
    let url = db.url();
    if !url.contains("://") {
        return format!("{url} options='{options}'");
    }
    let separator = if url.contains('?') { '&' } else { '?' };
    let options = options.replace(' ', "%20").replace('=', "%3D");
    format!("{url}{separator}options={options}")
}
