//! A statement that is built at run time, and the values that it binds.

use crate::time::Timestamptz;
use crate::{Error, MachineId};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// A value of a statement.
#[derive(Debug, Clone)]
pub(super) enum Bind {
    Machine(MachineId),
    Text(String),
    Time(DateTime<Utc>),
}

/// The values of a statement that is being built.
#[derive(Debug, Default)]
pub(super) struct Sql {
    binds: Vec<Bind>,
}

impl Sql {
    /// Adds a value and returns its placeholder.
    pub(super) fn bind(&mut self, value: Bind) -> String {
        let sql_type = match value {
            Bind::Machine(_) => "uuid",
            Bind::Text(_) => "text",
            Bind::Time(_) => "timestamptz",
        };
        self.binds.push(value);
        format!("${}::{sql_type}", self.binds.len())
    }

    pub(super) async fn load<R>(
        self,
        conn: &mut AsyncPgConnection,
        text: String,
    ) -> Result<Vec<R>, Error>
    where
        R: QueryableByName<diesel::pg::Pg> + Send + 'static,
    {
        let mut query = diesel::sql_query(text).into_boxed::<diesel::pg::Pg>();
        for value in self.binds {
            query = match value {
                Bind::Machine(id) => query.bind::<SqlUuid, _>(id),
                Bind::Text(text) => query.bind::<Text, _>(text),
                Bind::Time(time) => query.bind::<Timestamptz, _>(time),
            };
        }
        Ok(query.load(conn).await?)
    }
}
