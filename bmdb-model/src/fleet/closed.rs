//! Closed queues: where nothing starts now although machines are due.
//!
//! Limits and pauses apply to a process or to one provider of it, so all due machines of a process and
//! provider are in the same state. Lists decide by these few pairs which queues they read.

use super::sql::{Bind, Sql};
use super::state::ItemState;
use crate::statement::statement;
use crate::{Error, Process, Provider};
use diesel::sql_types::{Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// Defines the common table expression `closed`, whose state is the name of an [`ItemState`].
pub(crate) const CLOSED: &str = include_str!("../sql/closed_queues.sql");

statement! {
    Closed<'a> = concat!(
        include_str!("../sql/closed_queues.sql"),
        "SELECT process, provider, state FROM closed"
    );
    (process: Option<&'a Process> => Nullable<Text>) -> (Text, Text, Text)
}

/// The queues that are limited or paused.
#[derive(Debug, Clone, Default)]
pub(super) struct ClosedQueues(Vec<(Process, String, ItemState)>);

impl ClosedQueues {
    /// Reads those of one process, or of all.
    pub(super) async fn read(
        conn: &mut AsyncPgConnection,
        process: Option<&Process>,
    ) -> Result<Self, Error> {
        let rows: Vec<(Process, String, String)> = Closed { process }.load(conn).await?;
        let closed = rows.into_iter().map(|(process, provider, state)| {
            let is_paused = state == ItemState::Paused.as_str();
            let state = if is_paused {
                ItemState::Paused
            } else {
                ItemState::Limited
            };
            (process, provider, state)
        });
        Ok(Self(closed.collect()))
    }

    /// The state of what is due in this queue.
    pub(super) fn state(&self, process: &Process, provider: Option<&Provider>) -> ItemState {
        let provider = provider.map_or("", Provider::as_str);
        let found = self
            .0
            .iter()
            .find(|(of, queue, _)| of == process && queue == provider);
        found.map_or(ItemState::Due, |(_, _, state)| *state)
    }

    /// The condition that an item `i` is in a queue of this state; these are the closed queues of its
    /// process.
    pub(super) fn condition(&self, sql: &mut Sql, state: ItemState) -> String {
        let is_listed = |of: ItemState| of == state || state == ItemState::Due;
        let listed = self.0.iter().filter(|(_, _, of)| is_listed(*of));
        let providers: Vec<String> = listed
            .map(|(_, provider, _)| sql.bind(Bind::Text(provider.clone())))
            .collect();
        let is_in = format!(
            "coalesce(i.provider, '') = ANY (ARRAY[{}]::text[])",
            providers.join(", ")
        );
        match state {
            ItemState::Due => format!("NOT {is_in}"),
            _ => is_in,
        }
    }
}
