//! The schema of a database as lines that can be compared.

use crate::TestkitError;
use crate::connect::connect;

/// Columns, indexes, constraints, triggers and relations with their options and views' texts. They are
/// sorted by name and not by column number: a column that was dropped and added again is the same.
const CATALOG: &str = "
    SELECT concat_ws(' ', 'column', table_name || '.' || column_name, data_type,
                     CASE is_nullable WHEN 'NO' THEN 'NOT NULL' END,
                     'DEFAULT ' || column_default,
                     'GENERATED AS ' || generation_expression)
    FROM information_schema.columns WHERE table_schema = current_schema()
    UNION ALL
    SELECT 'index ' || indexname || ': ' || indexdef
    FROM pg_indexes WHERE schemaname = current_schema()
    UNION ALL
    SELECT concat_ws(' ', 'constraint', conrelid::regclass || '.' || conname,
                     pg_get_constraintdef(oid))
    FROM pg_constraint
    WHERE connamespace = current_schema()::regnamespace AND conrelid <> 0
    UNION ALL
    SELECT concat_ws(' ', 'trigger', tgrelid::regclass || '.' || tgname, pg_get_triggerdef(t.oid))
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE c.relnamespace = current_schema()::regnamespace AND NOT tgisinternal
    UNION ALL
    SELECT concat_ws(' ', CASE relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view'
                                       WHEN 'S' THEN 'sequence' ELSE 'relation ' || relkind::text END,
                     relname, 'WITH ' || reloptions::text,
                     'AS' || CASE relkind WHEN 'v' THEN pg_get_viewdef(oid) END)
    FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind <> 'i'
    ORDER BY 1";

/// The schema of the database with this URL: its columns, indexes, constraints, triggers, tables, views
/// and sequences, one line each. Equal lists are equal schemas.
///
/// # Errors
/// [`TestkitError::Database`].
pub async fn catalog(url: &str) -> Result<Vec<String>, TestkitError> {
    let client = connect(&url.parse()?).await?;
    let rows = client.query(CATALOG, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
