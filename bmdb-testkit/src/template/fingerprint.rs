//! Fingerprint of migrations, so that an edited migration gets a template of its own.

use crate::hash::fnv;
use diesel::connection::{BoxableConnection, SimpleConnection};
use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel::result::QueryResult;
use std::any::Any;

/// A hash of each migration's name and SQL; for a migration that is not only SQL, just of the name.
pub(super) fn of(source: &dyn MigrationSource<Pg>) -> diesel::migration::Result<u64> {
    let mut migrations: Vec<Box<dyn Migration<Pg>>> = source.migrations()?;
    migrations.sort_by_key(|migration| migration.name().version().to_string());
    let texts: Vec<String> = migrations
        .iter()
        .flat_map(|migration| [migration.name().to_string(), sql(migration.as_ref())])
        .collect();
    Ok(fnv(texts.iter().map(String::as_bytes)))
}

/// Diesel gives a migration's SQL only to the connection that it runs on.
fn sql(migration: &dyn Migration<Pg>) -> String {
    let mut recorder = Recorder::default();
    // A migration that is not only SQL needs a real connection, and fails here.
    let _ = migration.run(&mut recorder);
    recorder.sql
}

/// A connection that records the SQL it is asked to run.
#[derive(Default)]
struct Recorder {
    sql: String,
}

impl SimpleConnection for Recorder {
    fn batch_execute(&mut self, query: &str) -> QueryResult<()> {
        self.sql.push_str(query);
        Ok(())
    }
}

impl BoxableConnection<Pg> for Recorder {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::of;
    use diesel::migration::{Migration, MigrationSource};
    use diesel::pg::Pg;
    use diesel_migrations::FileBasedMigrations;
    use std::fs;

    #[test]
    fn the_fingerprint_changes_with_a_name_or_a_text() {
        let folder = std::env::temp_dir().join(format!("bmdb-{}", uuid::Uuid::new_v4()));
        let write = |name: &str, up: &str| {
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir_all(folder.join(name)).unwrap();
            fs::write(folder.join(name).join("up.sql"), up).unwrap();
            fs::write(folder.join(name).join("down.sql"), "").unwrap();
            of(&FileBasedMigrations::from_path(&folder).unwrap()).unwrap()
        };
        let first = write("2026-01-01-000000_racks", "CREATE TABLE racks ()");
        assert_eq!(
            first,
            write("2026-01-01-000000_racks", "CREATE TABLE racks ()")
        );
        assert_ne!(
            first,
            write("2026-01-01-000000_racks", "CREATE TABLE rack ()")
        );
        assert_ne!(
            first,
            write("2026-01-01-000000_rows", "CREATE TABLE racks ()")
        );
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn bmdbs_own_migrations_are_sql() {
        let migrations: Vec<Box<dyn Migration<Pg>>> =
            MigrationSource::<Pg>::migrations(&bmdb_model::migration::MIGRATIONS).unwrap();
        for migration in migrations {
            assert!(
                !super::sql(migration.as_ref()).trim().is_empty(),
                "{}",
                migration.name()
            );
        }
    }
}
