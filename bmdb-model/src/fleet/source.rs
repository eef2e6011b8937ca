//! Which index a list goes down, and how its entries are read.

use super::CANDIDATES;
use super::cursor::{Cursor, Key, LATEST};
use super::filter::{Filter, Prefix};
use super::query::{Bind, Sql};
use super::state::ItemState;
use crate::page::EARLIEST;
use crate::statement::statement;
use crate::{Error, MachineId, Process, Provider};
use diesel::sql_types::{Bool, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

/// An index that is gone down in its own order.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// All machines, or those with ids in a range.
    Machines(Option<(MachineId, MachineId)>),
    /// The machines of a tag.
    Tagged,
    /// What is held, of whatever process.
    Claimed,
    /// The backoffs of a process.
    BackingOff(Process),
    /// What a process may claim of one provider, now or later.
    Queue {
        process: Process,
        provider: Option<Provider>,
        state: ItemState,
    },
    /// What a provider provides.
    Provided {
        provider: Provider,
        /// The beginning of its ids, and whether a range of the index holds just those.
        prefix: Option<(String, Collation)>,
        /// Machines that an earlier source has listed.
        except: Option<(MachineId, MachineId)>,
    },
}

/// How the index over the providers' ids is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Collation {
    /// By bytes: what begins alike stands together.
    Bytes,
    /// By a language's rules, under which it need not.
    Language,
}

/// The sources of a list, one after the other: several where ids of machines and of providers may
/// begin alike, or where an index begins with the provider and no filter names one. The provider that
/// `after` is in is among them in its place although the last of its entries may be gone by now: the
/// list goes on with the providers behind it.
pub(super) async fn of(
    conn: &mut AsyncPgConnection,
    filter: &Filter<'_>,
    after: Option<&Cursor>,
) -> Result<Vec<Source>, Error> {
    if let Some(prefix) = &filter.prefix {
        return of_prefix(conn, filter, prefix, after).await;
    }
    Ok(match (&filter.state, &filter.provider) {
        (Some((_, ItemState::Claimed)), _) => vec![Source::Claimed],
        (Some((process, ItemState::BackingOff)), _) => vec![Source::BackingOff(process.clone())],
        (Some((process, state @ (ItemState::Due | ItemState::Waiting))), provider) => {
            let queue = |provider| Source::Queue {
                process: process.clone(),
                provider,
                state: *state,
            };
            match provider {
                Some(provider) => vec![queue(Some(provider.clone()))],
                None => {
                    let at = match after {
                        Some(Cursor(Key::Queued(provider, ..))) => Some(provider.as_ref()),
                        _ => None,
                    };
                    let queues = QueuesOf {
                        process: process.as_str(),
                        provider: at.flatten(),
                        goes_on: at.is_some(),
                    };
                    let queues: Vec<Option<Provider>> = queues.load(conn).await?;
                    queues.into_iter().map(queue).collect()
                }
            }
        }
        (_, Some(provider)) => vec![Source::Provided {
            provider: provider.clone(),
            prefix: None,
            except: None,
        }],
        (_, None) if filter.tag.is_some() => vec![Source::Tagged],
        _ => vec![Source::Machines(None)],
    })
}

async fn of_prefix(
    conn: &mut AsyncPgConnection,
    filter: &Filter<'_>,
    prefix: &Prefix,
    after: Option<&Cursor>,
) -> Result<Vec<Source>, Error> {
    let provider = match after {
        Some(Cursor(Key::Provided(provider, _))) => Some(provider),
        _ => None,
    };
    let providers: Vec<Provider> = match (&filter.provider, &prefix.provider) {
        (Some(one), Some(other)) if one != other => Vec::new(),
        (Some(one), _) | (None, Some(one)) => vec![one.clone()],
        (None, None) => Providers { provider }.load(conn).await?,
    };
    let sorted: bool = SortedByBytes {}.get_result(conn).await?;
    let collation = if sorted {
        Collation::Bytes
    } else {
        Collation::Language
    };
    let machines = prefix.ids.map(|ids| Source::Machines(Some(ids)));
    let provided = providers.into_iter().map(|provider| Source::Provided {
        provider,
        prefix: Some((prefix.provider_id.clone(), collation)),
        except: prefix.ids,
    });
    Ok(machines.into_iter().chain(provided).collect())
}

statement! {
    /// One step down the index for each provider there is, and one provider that may be gone.
    Providers<'a> = "WITH RECURSIVE p AS ( \
             (SELECT provider FROM machine_provided ORDER BY provider LIMIT 1) \
             UNION ALL \
             SELECT (SELECT m.provider FROM machine_provided m WHERE m.provider > p.provider \
                     ORDER BY m.provider LIMIT 1) \
             FROM p WHERE p.provider IS NOT NULL) \
         SELECT provider FROM p WHERE provider IS NOT NULL \
         UNION SELECT $1::text WHERE $1::text IS NOT NULL \
         ORDER BY provider";
    (provider: Option<&'a Provider> => Nullable<Text>) -> Text
}

/// The providers that machines come from, in the order of the index.
///
/// # Errors
/// [`Error::Database`].
pub async fn providers(conn: &mut AsyncPgConnection) -> Result<Vec<Provider>, Error> {
    Ok(Providers { provider: None }.load(conn).await?)
}

statement! {
    /// The same of a process's queue, in which there may be machines without a provider: they are last.
    QueuesOf<'a> = "WITH RECURSIVE p AS ( \
             (SELECT provider FROM work_item \
              WHERE process = $1 AND eligible AND session_id IS NULL AND provider IS NOT NULL \
              ORDER BY provider LIMIT 1) \
             UNION ALL \
             SELECT (SELECT i.provider FROM work_item i \
                     WHERE i.process = $1 AND i.eligible AND i.session_id IS NULL \
                       AND i.provider > p.provider \
                     ORDER BY i.provider LIMIT 1) \
             FROM p WHERE p.provider IS NOT NULL) \
         SELECT provider FROM p WHERE provider IS NOT NULL \
         UNION SELECT $2::text WHERE $3::boolean \
         UNION SELECT NULL::text WHERE EXISTS (SELECT FROM work_item i \
             WHERE i.process = $1 AND i.eligible AND i.session_id IS NULL AND i.provider IS NULL) \
         ORDER BY provider";
    (process: &'a str => Text, provider: Option<&'a Provider> => Nullable<Text>, goes_on: bool => Bool)
    -> Nullable<Text>
}

statement! {
    /// Before PostgreSQL 15 a database had no locale provider but libc.
    SortedByBytes = "SELECT CASE c.oid \
             WHEN '\"C\"'::regcollation THEN true \
             WHEN '\"POSIX\"'::regcollation THEN true \
             WHEN '\"default\"'::regcollation THEN d.datcollate IN ('C', 'POSIX') \
                  AND coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') = 'c' \
             ELSE false END \
         FROM pg_attribute a JOIN pg_collation c ON c.oid = a.attcollation, pg_database d \
         WHERE a.attrelid = 'machine_provided'::regclass AND a.attname = 'provider_id' \
           AND d.datname = current_database()";
    () -> Bool
}

impl Source {
    /// Whether the cursor is a place in this index.
    pub(super) fn owns(&self, cursor: &Cursor) -> bool {
        match (self, &cursor.0) {
            (Self::Machines(_), Key::Machine(_))
            | (Self::Tagged, Key::Tagged(_))
            | (Self::Claimed, Key::Claimed(..))
            | (Self::BackingOff(_), Key::BackingOff(..)) => true,
            (Self::Queue { provider, .. }, Key::Queued(other, ..)) => provider == other,
            (Self::Provided { provider, .. }, Key::Provided(other, _)) => provider == other,
            _ => false,
        }
    }

    /// Before its first entry.
    pub(super) fn start(&self) -> Cursor {
        let nobody = MachineId::from(Uuid::nil());
        Cursor(match self {
            Self::Machines(_) => Key::Machine(nobody),
            Self::Tagged => Key::Tagged(nobody),
            Self::Claimed => Key::Claimed(nobody, String::new()),
            Self::BackingOff(_) => Key::BackingOff(EARLIEST, nobody),
            Self::Queue { provider, .. } => Key::Queued(provider.clone(), EARLIEST, nobody),
            Self::Provided { provider, .. } => Key::Provided(provider.clone(), String::new()),
        })
    }

    /// Whether all of its entries are in the state that the filter asks for.
    pub(super) fn implies_state(&self) -> bool {
        matches!(
            self,
            Self::BackingOff(_)
                | Self::Queue {
                    state: ItemState::Due,
                    ..
                }
        )
    }

    /// Its order, over the entries' columns.
    pub(super) const fn order(&self) -> [&'static str; 2] {
        match self {
            Self::Machines(_) | Self::Tagged => ["machine_id", "machine_id"],
            Self::Claimed => ["machine_id", "key_text"],
            Self::BackingOff(_) | Self::Queue { .. } => ["key_time", "machine_id"],
            Self::Provided { .. } => ["key_text", "key_text"],
        }
    }

    /// Its next entries after `after`, `budget` of them at most, as columns `machine_id`, `key_text`
    /// and `key_time`.
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
                // The column as it is, for every backoff ends: by anything made of it the entries would
                // have to be put in order, all of them for a page of a few.
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
                // The last moment of a full window may go on behind it.
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
                        // No text that can be stored is greater than this one and begins alike.
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

    /// The entries of a queue from the cursor's moment on. An index by time alone does not tell the
    /// entries of one moment apart, so they are all read, as far as the window reaches. Infinity is of the
    /// moment that stands for it in keys.
    pub(super) fn window(&self, sql: &mut Sql, after: Option<&Cursor>) -> String {
        let Self::Queue {
            process,
            provider,
            state,
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
            ItemState::Due => "<=",
            _ => ">",
        };
        // In the order of the column, which is the index's, and not of the moments made of it.
        format!(
            "SELECT i.machine_id, greatest({earliest}, least(i.ready_at, {latest})) AS ready_at \
             FROM work_item i \
             WHERE i.process = {process} AND i.provider {provider} AND i.eligible \
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
