//! The SQL that reads a source's entries.

use super::cursor::{Cursor, Key, LATEST};
use super::filter::Filter;
use super::source::{CANDIDATES, Collation, Source};
use super::sql::{Bind, Sql};
use super::state::ItemState;
use crate::MachineId;
use crate::page::EARLIEST;

impl Source {
    /// The source's next entries after `after`, at most `budget` of them, as columns `machine_id`,
    /// `key_text` and `key_time`.
    pub(super) fn entries(
        &self,
        sql: &mut Sql,
        filter: &Filter<'_>,
        after: Option<&Cursor>,
        budget: usize,
    ) -> String {
        match self {
            Self::Machines(ids) => {
                let range = conditions(sql, "machine_id", *ids, after);
                format!(
                    "SELECT machine_id, NULL::text AS key_text, NULL::timestamptz AS key_time \
                     FROM machines WHERE {range} ORDER BY machine_id LIMIT {budget}"
                )
            }
            Self::Tagged => {
                let table = filter.tag.map_or("machines", |tag| tag.quoted());
                let range = conditions(sql, "machine_id", None, after);
                format!(
                    "SELECT machine_id, NULL::text AS key_text, NULL::timestamptz AS key_time \
                     FROM {table} WHERE {range} ORDER BY machine_id LIMIT {budget}"
                )
            }
            Self::Claimed => {
                let mut later = "true".to_owned();
                if let Some(Cursor(Key::Claimed(id, lane))) = after {
                    let id = sql.bind(Bind::Machine(*id));
                    let lane = sql.bind(Bind::Text(lane.clone()));
                    later = format!("(machine_id, lane) > ({id}, {lane})");
                }
                format!(
                    "SELECT machine_id, lane AS key_text, NULL::timestamptz AS key_time \
                     FROM work_item WHERE session_id IS NOT NULL AND {later} \
                     ORDER BY machine_id, lane LIMIT {budget}"
                )
            }
            Self::BackingOff(process) => {
                let process = sql.bind(Bind::Text(process.to_string()));
                let mut later = "true".to_owned();
                if let Some(Cursor(Key::BackingOff(until, id))) = after {
                    let until = sql.bind(Bind::Time(*until));
                    let id = sql.bind(Bind::Machine(*id));
                    later = format!("(backoff_until, machine_id) > ({until}, {id})");
                }
                // Ordered by the column itself, since every backoff ends: an expression over it would
                // have to be sorted, for all entries of the index.
                format!(
                    "SELECT machine_id, NULL::text AS key_text, backoff_until AS key_time \
                     FROM work_item WHERE process = {process} AND session_id IS NULL \
                     AND backoff_until > now() AND {later} \
                     ORDER BY backoff_until, machine_id LIMIT {budget}"
                )
            }
            Self::Queue { .. } => {
                let window = self.window(sql, after);
                let mut later = "true".to_owned();
                if let Some(Cursor(Key::Queued(_, at, id))) = after {
                    let at = sql.bind(Bind::Time(*at));
                    let id = sql.bind(Bind::Machine(*id));
                    later = format!("(ready_at, machine_id) > ({at}, {id})");
                }
                // A full window may contain only some of the entries of its last moment.
                format!(
                    "SELECT machine_id, NULL::text AS key_text, ready_at AS key_time \
                     FROM (SELECT *, count(*) OVER () AS entries, min(ready_at) OVER () AS first, \
                               max(ready_at) OVER () AS last FROM ({window}) w) w \
                     WHERE (entries < {CANDIDATES} OR ready_at < last OR first = last) AND {later} \
                     ORDER BY ready_at, machine_id"
                )
            }
            Self::Provided {
                provider,
                prefix,
                except,
            } => {
                let provider = sql.bind(Bind::Text(provider.to_string()));
                let mut range = "true".to_owned();
                if let Some((prefix, collation)) = prefix {
                    let from = sql.bind(Bind::Text(prefix.clone()));
                    range = match collation {
                        // No text that PostgreSQL can store begins with the prefix and is greater than
                        // this one.
                        Collation::Bytes => {
                            let to = sql.bind(Bind::Text(format!("{prefix}\u{10FFFF}")));
                            format!("provider_id >= {from} AND provider_id <= {to}")
                        }
                        Collation::Language => format!("provider_id >= {from}"),
                    };
                }
                if let Some(Cursor(Key::Provided(_, id))) = after {
                    let id = sql.bind(Bind::Text(id.clone()));
                    range = format!("{range} AND provider_id > {id}");
                }
                let mut fits = "true".to_owned();
                if let Some((prefix, _)) = prefix {
                    let prefix = sql.bind(Bind::Text(prefix.clone()));
                    fits = format!("starts_with(key_text, {prefix})");
                }
                if let Some((first, last)) = except {
                    let first = sql.bind(Bind::Machine(*first));
                    let last = sql.bind(Bind::Machine(*last));
                    fits = format!("{fits} AND machine_id NOT BETWEEN {first} AND {last}");
                }
                format!(
                    "SELECT *, {fits} AS fits FROM ( \
                         SELECT machine_id, provider_id AS key_text, NULL::timestamptz AS key_time \
                         FROM machine_provided WHERE provider = {provider} AND {range} \
                         ORDER BY provider_id LIMIT {budget}) p ORDER BY key_text"
                )
            }
        }
    }

    /// The entries of a queue from the cursor's moment on. An index by time alone does not order the
    /// entries of one moment, so the whole window is read. Infinity is mapped to the moment that
    /// represents it in keys.
    pub(super) fn window(&self, sql: &mut Sql, after: Option<&Cursor>) -> String {
        let Self::Queue {
            process,
            provider,
            state,
            is_listed,
        } = self
        else {
            return String::new();
        };
        let process = sql.bind(Bind::Text(process.to_string()));
        let provider = match provider {
            Some(provider) => format!("= {}", sql.bind(Bind::Text(provider.to_string()))),
            None => "IS NULL".to_owned(),
        };
        let mut from = "true".to_owned();
        if let Some(Cursor(Key::Queued(_, at, _))) = after
            && *at > EARLIEST
        {
            from = format!("i.ready_at >= {}", sql.bind(Bind::Time(*at)));
        }
        let earliest = sql.bind(Bind::Time(EARLIEST));
        let latest = sql.bind(Bind::Time(LATEST));
        let until = match state {
            ItemState::Waiting => ">",
            _ => "<=",
        };
        // Ordered by the column, as the index is, and not by the mapped times.
        format!(
            "SELECT i.machine_id, greatest({earliest}, least(i.ready_at, {latest})) AS ready_at \
             FROM work_item i \
             WHERE {is_listed} AND i.process = {process} AND i.provider {provider} AND i.eligible \
             AND i.session_id IS NULL AND {from} AND i.ready_at {until} now() \
             ORDER BY i.ready_at LIMIT {CANDIDATES}"
        )
    }
}

fn conditions(
    sql: &mut Sql,
    column: &str,
    ids: Option<(MachineId, MachineId)>,
    after: Option<&Cursor>,
) -> String {
    let mut conditions = "true".to_owned();
    if let Some((first, last)) = ids {
        let (first, last) = (
            sql.bind(Bind::Machine(first)),
            sql.bind(Bind::Machine(last)),
        );
        conditions = format!("{column} BETWEEN {first} AND {last}");
    }
    if let Some(Cursor(Key::Machine(id) | Key::Tagged(id))) = after {
        let id = sql.bind(Bind::Machine(*id));
        conditions = format!("{conditions} AND {column} > {id}");
    }
    conditions
}
