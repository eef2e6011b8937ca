//! The statements that set up roles and privileges.

use super::existing_grants::{Kind, Object, Place, Writes};
use super::roles::{COMPONENT, OWNER, VIEWER};

pub(super) fn create_role(role: &str) -> String {
    format!("CREATE ROLE {role} NOLOGIN")
}

/// Functions of bmdb that views and people who only read call. PostgreSQL lets a view call a function only if
/// its reader may. The migration that creates one grants it too.
const VIEWED: [&str; 4] = [
    "breaker_threshold",
    "longest_gap",
    "partition_of",
    "process_gates",
];

fn is_viewed(routine: &str) -> bool {
    let name = routine.split('(').next().unwrap_or_default();
    let name = name.rsplit('.').next().unwrap_or_default();
    VIEWED.contains(&name)
}

pub(super) fn grants(place: &Place, objects: &[Object]) -> Vec<String> {
    let Place {
        user,
        database,
        schema,
        ..
    } = place;
    let mut all = Vec::new();
    if !place.is_owner {
        // Only a member of a role can make that role the owner of a table.
        let user = user.replace('"', "\"\"");
        all.push(format!("GRANT {OWNER} TO \"{user}\""));
    }
    all.extend([
        format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC"),
        format!("GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {database} TO {OWNER}"),
        format!("GRANT CONNECT ON DATABASE {database} TO {COMPONENT}, {VIEWER}"),
        format!("REVOKE ALL ON SCHEMA {schema} FROM PUBLIC"),
        format!("GRANT USAGE, CREATE ON SCHEMA {schema} TO {OWNER}"),
        format!("GRANT USAGE ON SCHEMA {schema} TO {COMPONENT}, {VIEWER}"),
    ]);
    let taken_over = || objects.iter().filter(|object| !object.is_owners);
    all.extend(taken_over().filter_map(take_over));
    all.extend(taken_over().flat_map(grant));
    all.extend(restrictions(objects));
    all.extend(of_later(schema));
    all
}

fn take_over(Object { kind, name, .. }: &Object) -> Option<String> {
    match kind {
        Kind::Table | Kind::View | Kind::Sequence => {
            Some(format!("ALTER TABLE {name} OWNER TO {OWNER}"))
        }
        Kind::ColumnsSequence => None,
        Kind::Routine => Some(format!("ALTER ROUTINE {name} OWNER TO {OWNER}")),
    }
}

fn grant(object: &Object) -> Vec<String> {
    let name = &object.name;
    match object.kind {
        Kind::Table | Kind::View => {
            let privileges = match object.writes {
                Writes::All => "SELECT, INSERT, UPDATE, DELETE",
                Writes::Added => "SELECT, INSERT",
                Writes::Nothing => "SELECT",
            };
            vec![
                format!("REVOKE ALL ON TABLE {name} FROM PUBLIC"),
                format!("GRANT {privileges} ON TABLE {name} TO {COMPONENT}"),
                format!("GRANT SELECT ON TABLE {name} TO {VIEWER}"),
            ]
        }
        // Not UPDATE, which could set fences back.
        Kind::Sequence | Kind::ColumnsSequence => vec![
            format!("REVOKE ALL ON SEQUENCE {name} FROM PUBLIC"),
            format!("GRANT USAGE ON SEQUENCE {name} TO {COMPONENT}"),
        ],
        Kind::Routine => {
            let may_call = match is_viewed(name) {
                true => format!("{COMPONENT}, {VIEWER}"),
                false => COMPONENT.to_owned(),
            };
            vec![
                format!("REVOKE ALL ON ROUTINE {name} FROM PUBLIC"),
                format!("GRANT EXECUTE ON ROUTINE {name} TO {may_call}"),
            ]
        }
    }
}

/// Revokes what default privileges have granted components beyond their role. Default privileges
/// distinguish neither tables from each other nor tables from views.
pub(super) fn restrictions(objects: &[Object]) -> impl Iterator<Item = String> {
    objects.iter().filter_map(|Object { name, writes, .. }| {
        let refused = match writes {
            Writes::All => return None,
            Writes::Added => "UPDATE, DELETE",
            Writes::Nothing => "INSERT, UPDATE, DELETE",
        };
        Some(format!("REVOKE {refused} ON TABLE {name} FROM {COMPONENT}"))
    })
}

fn of_later(schema: &str) -> [String; 5] {
    let of_owner = format!("ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER}");
    let in_schema = format!("{of_owner} IN SCHEMA {schema}");
    [
        format!("{in_schema} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {COMPONENT}"),
        format!("{in_schema} GRANT SELECT ON TABLES TO {VIEWER}"),
        format!("{in_schema} GRANT USAGE ON SEQUENCES TO {COMPONENT}"),
        // The server's own defaults would grant again what a schema's defaults revoke.
        format!("{of_owner} REVOKE EXECUTE ON ROUTINES FROM PUBLIC"),
        format!("{in_schema} GRANT EXECUTE ON ROUTINES TO {COMPONENT}"),
    ]
}
