//! Which index a list scans.

use super::closed::ClosedQueues;
use super::cursor::{Cursor, Key};
use super::filter::{Filter, Prefix};
use super::state::ItemState;
use crate::page::EARLIEST;
use crate::statement::statement;
use crate::{Error, MachineId, Process, Provider};
use diesel::sql_types::{Bool, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

/// How many entries of an index one page reads at most.
pub const CANDIDATES: usize = 2_000;

/// An index that is scanned in its own order.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// All machines, or those with ids in a range.
    Machines(Option<(MachineId, MachineId)>),
    /// The machines with a tag.
    Tagged,
    /// Claimed work of all processes.
    Claimed,
    /// The backoffs of a process.
    BackingOff(Process),
    /// The machines of one provider that a process may claim, now or later.
    Queue {
        process: Process,
        provider: Option<Provider>,
        state: ItemState,
        /// Whether what is due in it is in that state now. If not, it only keeps the place of a cursor.
        is_listed: bool,
    },
    /// A provider's machines.
    Provided {
        provider: Provider,
        /// The beginning of the provider's ids, and how the index sorts them.
        prefix: Option<(String, Collation)>,
        /// Machines that an earlier source has listed.
        except: Option<(MachineId, MachineId)>,
    },
}

/// How the index of provider ids is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Collation {
    /// By bytes: ids with the same prefix are adjacent.
    Bytes,
    /// By a language's rules: ids with the same prefix may be apart.
    Language,
}

/// The sources of a list, in order. There are several where a prefix may be one of machine ids and of
/// provider ids, or where an index begins with the provider and no filter names one. The provider that
/// `after` is in keeps its place even if its last entry is gone by now: the list continues with the
/// providers behind it.
pub(super) async fn of(
    conn: &mut AsyncPgConnection,
    filter: &Filter<'_>,
    closed: &ClosedQueues,
    after: Option<&Cursor>,
) -> Result<Vec<Source>, Error> {
    if let Some(prefix) = &filter.prefix {
        return of_prefix(conn, filter, prefix, after).await;
    }
    Ok(match (&filter.state, &filter.provider) {
        (Some((_, ItemState::Claimed)), _) => vec![Source::Claimed],
        (Some((process, ItemState::BackingOff)), _) => vec![Source::BackingOff(process.clone())],
        (Some((process, state)), provider)
            if state.is_of_queue() || *state == ItemState::Waiting =>
        {
            let at = match after {
                Some(Cursor(Key::Queued(provider, ..))) => Some(provider.as_ref()),
                _ => None,
            };
            let queues: Vec<Option<Provider>> = match provider {
                Some(provider) => vec![Some(provider.clone())],
                None => {
                    let queues = QueuesOf {
                        process: process.as_str(),
                        provider: at.flatten(),
                        goes_on: at.is_some(),
                    };
                    queues.load(conn).await?
                }
            };
            let queues = queues.into_iter().map(|provider| Source::Queue {
                is_listed: *state == ItemState::Waiting
                    || closed.state(process, provider.as_ref()) == *state,
                process: process.clone(),
                provider,
                state: *state,
            });
            queues.collect()
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
    /// And one provider that may be gone.
    Providers<'a> = concat!(
        include_str!("../sql/providers.sql"),
        "SELECT provider FROM provider UNION SELECT $1::text WHERE $1::text IS NOT NULL ORDER BY provider"
    );
    (provider: Option<&'a Provider> => Nullable<Text>) -> Text
}

/// Lists the providers that machines come from.
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
    /// Before PostgreSQL 15 libc was a database's only locale provider.
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
    /// Whether the cursor is a position in this index.
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

    /// The position before the first entry.
    pub(super) fn start(&self) -> Cursor {
        let nil = MachineId::from(Uuid::nil());
        Cursor(match self {
            Self::Machines(_) => Key::Machine(nil),
            Self::Tagged => Key::Tagged(nil),
            Self::Claimed => Key::Claimed(nil, String::new()),
            Self::BackingOff(_) => Key::BackingOff(EARLIEST, nil),
            Self::Queue { provider, .. } => Key::Queued(provider.clone(), EARLIEST, nil),
            Self::Provided { provider, .. } => Key::Provided(provider.clone(), String::new()),
        })
    }

    /// Whether all entries are in the state that the filter asks for.
    pub(super) fn implies_state(&self) -> bool {
        match self {
            Self::BackingOff(_) => true,
            Self::Queue { state, .. } => state.is_of_queue(),
            _ => false,
        }
    }

    /// The index's order, over the entries' columns.
    pub(super) const fn order(&self) -> [&'static str; 2] {
        match self {
            Self::Machines(_) | Self::Tagged => ["machine_id", "machine_id"],
            Self::Claimed => ["machine_id", "key_text"],
            Self::BackingOff(_) | Self::Queue { .. } => ["key_time", "machine_id"],
            Self::Provided { .. } => ["key_text", "key_text"],
        }
    }
}
