//! Querying a workflow's view about one machine: as it is, and as if it had other tags.

use super::custom_tags::{self, Relation};
use super::gate::{Effect, TagState, View, When};
use crate::internal::{connection, plan};
use crate::statement::cached_by_text;
use crate::time::Timestamptz;
use crate::{Error, MachineId, Provider};
use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment};
use diesel::sql_types::{Bool, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// What a view says of a machine.
pub(super) struct Said {
    pub(super) view: View,
    pub(super) provider: Option<Provider>,
}

impl Default for Said {
    fn default() -> Self {
        Self {
            view: View::None,
            provider: None,
        }
    }
}

/// Queries the view. An error of the view is part of the answer.
pub(super) async fn ask(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    view: &str,
) -> Result<Said, Error> {
    let unusable = |reason| Said {
        view: View::Unusable(reason),
        provider: None,
    };
    if let Err(reason) = plan::check_workflow(conn, view).await? {
        return Ok(unusable(reason));
    }
    let question = Question {
        machine,
        view,
        relations: &[],
        changed: None,
    };
    Ok(match ask_safely(conn, question).await? {
        Ok(rows) => match rows.as_slice() {
            [] => Said {
                view: View::DoesNotList,
                provider: None,
            },
            [(provider, ready_at, is_never)] => Said {
                view: View::Lists(When::of(*ready_at, *is_never)),
                provider: provider.clone(),
            },
            _ => unusable(format!(
                "the view {view:?} lists the machine {} times, and nothing can be planned by it",
                rows.len()
            )),
        },
        Err(error) => unusable(error.to_string()),
    })
}

/// Determines for each tag whether it decides that the view does not list the machine.
pub(super) async fn find_effects(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    view: &str,
    tags: &mut [TagState],
) -> Result<(), Error> {
    let relations = custom_tags::relations(conn, view).await?;
    // View definitions name relations outside the search path with their schema. Those cannot be
    // replaced.
    if relations.iter().any(|relation| !relation.is_visible) {
        return Ok(());
    }
    for tag in tags {
        let Some(changed) = relations.iter().find(|r| r.name == tag.table) else {
            continue;
        };
        let question = Question {
            machine,
            view,
            relations: &relations,
            changed: Some((changed, tag.is_set)),
        };
        let listed = matches!(ask_safely(conn, question).await?, Ok(rows) if !rows.is_empty());
        tag.effect = match (listed, tag.is_set) {
            (false, _) => Effect::NoneAlone,
            (true, true) => Effect::KeepsOut,
            (true, false) => Effect::IsMissing,
        };
    }
    Ok(())
}

type Listed = (Option<Provider>, Option<DateTime<Utc>>, bool);

/// Runs the query behind a savepoint: an error of the view is returned as the answer and does not abort
/// the transaction.
async fn ask_safely(
    conn: &mut AsyncPgConnection,
    question: Question<'_>,
) -> Result<Result<Vec<Listed>, Error>, Error> {
    connection::save(conn).await?;
    match question.load(conn).await {
        Ok(rows) => {
            connection::commit(conn).await?;
            Ok(Ok(rows))
        }
        Err(error) => {
            let error = Error::from(error);
            if error.kind() == crate::ErrorKind::ConnectionLost {
                return Err(error);
            }
            connection::roll_back(conn).await?;
            Ok(Err(error))
        }
    }
}

/// The query of the view for one machine. Where a tag is changed, it queries the definitions of the
/// view and of the views that it reads, with that tag's table hidden by one in which the machine has no
/// row, or a row of nulls.
struct Question<'a> {
    machine: MachineId,
    view: &'a str,
    relations: &'a [Relation],
    /// The tag's table, and whether the machine has the tag.
    changed: Option<(&'a Relation, bool)>,
}

cached_by_text!(Question -> (Nullable<Text>, Nullable<Timestamptz>, Bool));

/// The query's name for the machine.
const THIS: &str = "(SELECT t.machine_id FROM \"bmdb: this machine\" t)";

impl QueryFragment<Pg> for Question<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("WITH \"bmdb: this machine\" AS (SELECT ");
        out.push_bind_param::<SqlUuid, _>(&self.machine)?;
        out.push_sql("::uuid AS machine_id)");
        if let Some((table, is_set)) = self.changed {
            out.unsafe_to_cache_prepared();
            out.push_sql(", ");
            out.push_identifier(&table.name)?;
            out.push_sql(" AS NOT MATERIALIZED (SELECT * FROM ");
            out.push_sql(&table.qualified);
            out.push_sql(" WHERE machine_id <> ");
            out.push_sql(THIS);
            if !is_set {
                out.push_sql(" UNION ALL SELECT ");
                out.push_sql(&table.nulls);
                out.push_sql(" FROM \"bmdb: this machine\" this");
            }
            out.push_sql(")");
            let views = self.relations.iter().filter_map(|relation| {
                relation
                    .definition
                    .as_ref()
                    .map(|definition| (relation, definition))
            });
            // The views that a view reads come before it.
            for (relation, definition) in views {
                out.push_sql(", ");
                out.push_identifier(&relation.name)?;
                out.push_sql(" AS NOT MATERIALIZED (");
                out.push_sql(definition);
                out.push_sql(")");
            }
        }
        out.push_sql(
            " SELECT v.provider, CASE WHEN isfinite(v.ready_at) THEN v.ready_at END, \
             coalesce(v.ready_at = 'infinity', false) FROM ",
        );
        out.push_identifier(self.view)?;
        out.push_sql(" v WHERE v.machine_id = ");
        out.push_sql(THIS);
        out.push_sql(" LIMIT 10");
        Ok(())
    }
}
