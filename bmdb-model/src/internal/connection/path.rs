//! The schemas in which a connection looks up the names in its statements.

use crate::Error;
use crate::statement::statement;
use diesel::sql_types::Text;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// Sets a safe `search_path` and returns it. Needs a row `p` of `pg_settings`: that of `search_path`.
///
/// The statements name tables and functions without their schema, so the path decides what they refer
/// to. Defaults of a role or a database are ignored: the schema is `public`, unless the connection's
/// own parameters name others, as an installation in another schema needs it. The server's own objects
/// are found first, because `pg_catalog` is not named, and temporary objects last. Until this has run
/// the path is not trusted, so this statement qualifies every name.
macro_rules! safe_path {
    () => {
        "pg_catalog.set_config('search_path', CASE \
             WHEN p.source OPERATOR(pg_catalog.=) ANY (ARRAY['client', 'session']) THEN coalesce(( \
                 SELECT pg_catalog.string_agg(pg_catalog.quote_ident(s.name), ', ' ORDER BY s.at) \
                 FROM pg_catalog.unnest(pg_catalog.current_schemas(false)::pg_catalog.text[]) \
                      WITH ORDINALITY AS s (name, at) \
                 WHERE NOT pg_catalog.starts_with(s.name, 'pg_')), p.setting) \
             ELSE 'public' END OPERATOR(pg_catalog.||) ', pg_temp', false)"
    };
}
pub(super) use safe_path;

statement! {
    Secure = concat!("SELECT ", safe_path!(), " FROM pg_catalog.pg_settings p \
                      WHERE p.name OPERATOR(pg_catalog.=) 'search_path'");
    () -> Text
}

/// Makes a connection look up names only in schemas that the installation's owner controls;
/// [`set_up`](super::set_up) does so too.
///
/// # Errors
/// [`Error::Database`].
pub async fn secure_search_path(conn: &mut AsyncPgConnection) -> Result<(), Error> {
    let _path: String = Secure {}.get_result(conn).await?;
    Ok(())
}
