//! Tag tables that are found in the database: bmdb's own, and those of downstream users.
//!
//! Their values are read as text that the server makes, because this crate knows neither the tables nor
//! the types of their columns. The tables' names become part of the statements, so these statements
//! have no fixed text: they are built from names that the server has quoted.

use crate::statement::statement;
use crate::{Error, ErrorKind, MachineId, internal::connection};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Double, Integer, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::fmt::Write as _;

/// At most this many characters or bytes of a value are read.
const SHOWN: usize = 2_000;

/// A table that holds one kind of tag.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct TagTable {
    pub name: String,
    /// The columns other than `machine_id`, in the table's order.
    pub columns: Vec<TagColumn>,
    /// Whether the database user may read the table.
    pub readable: bool,
    /// The server's estimate of the number of rows; `None` before the table was analyzed.
    pub rows: Option<f64>,
    /// Schema and name, quoted.
    quoted: String,
}

/// A column of a tag table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct TagColumn {
    pub name: String,
    /// The type as SQL writes it.
    pub sql_type: String,
    /// The name, quoted.
    quoted: String,
}

/// A machine's row in a tag table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum Tag {
    /// The values, in the order of the table's columns.
    Set(Vec<Value>),
    /// The machine does not have the tag.
    Unset,
    /// The table cannot be read: the user may not read it, it no longer exists, or one of its values
    /// cannot be shown.
    Unreadable(String),
}

/// A value as text.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[allow(missing_docs, reason = "variants without a comment explain themselves")]
pub enum Value {
    Null,
    Time(DateTime<Utc>),
    /// Bytes, the first of them as hexadecimal digits.
    Bytes {
        /// Two digits for each byte.
        hex: String,
        /// The number of bytes of the whole value.
        length: u64,
    },
    /// Anything else, as the server writes it; JSON is indented.
    Text {
        /// The first characters.
        text: String,
        /// The number of characters of the whole value.
        length: u64,
    },
}

impl Value {
    /// Whether the value is longer than what was read.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        let shown = u64::try_from(SHOWN).unwrap_or(u64::MAX);
        match self {
            Self::Null | Self::Time(_) => false,
            Self::Bytes { length, .. } | Self::Text { length, .. } => *length > shown,
        }
    }
}

impl TagTable {
    /// The table's name within a statement.
    pub(crate) fn quoted(&self) -> &str {
        &self.quoted
    }
}

statement! {
    Tables = include_str!("sql/tag_tables.sql");
    () -> (Text, Text, Bool, Double, Array<Text>, Array<Text>, Array<Text>)
}

type TableRow = (
    String,
    String,
    bool,
    f64,
    Vec<String>,
    Vec<String>,
    Vec<String>,
);

/// Lists the tag tables by name. They change with migrations only: cache the answer for a while.
///
/// # Errors
/// [`Error::Database`].
pub async fn tables(conn: &mut AsyncPgConnection) -> Result<Vec<TagTable>, Error> {
    let rows: Vec<TableRow> = Tables {}.load(conn).await?;
    Ok(rows.into_iter().map(table).collect())
}

fn table((name, quoted, readable, rows, names, quoted_names, types): TableRow) -> TagTable {
    let columns = names.into_iter().zip(quoted_names).zip(types);
    let columns = columns.map(|((name, quoted), sql_type)| TagColumn {
        name,
        sql_type,
        quoted,
    });
    TagTable {
        name,
        columns: columns
            .filter(|column| column.name != "machine_id")
            .collect(),
        readable,
        rows: (rows >= 0.0).then_some(rows),
        quoted,
    }
}

#[derive(QueryableByName)]
struct ValuesRow {
    #[diesel(sql_type = Integer)]
    nth: i32,
    #[diesel(sql_type = Array<Nullable<Text>>)]
    texts: Vec<Option<String>>,
    #[diesel(sql_type = Array<Nullable<BigInt>>)]
    lengths: Vec<Option<i64>>,
}

/// Reads what a machine has in each of `tables`, in their order. Runs in an open transaction: one
/// statement, and if that fails one for each table.
///
/// # Errors
/// [`Error::Database`] if the connection is lost or a table stays locked. What is wrong with a single
/// table is in its [`Tag`].
pub async fn tags(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    tables: &[TagTable],
) -> Result<Vec<Tag>, Error> {
    let readable: Vec<usize> = (0..tables.len())
        .filter(|nth| tables[*nth].readable)
        .collect();
    let mut tags: Vec<Tag> = tables
        .iter()
        .map(|table| match table.readable {
            true => Tag::Unset,
            false => Tag::Unreadable("the database user may not read this table".to_owned()),
        })
        .collect();
    match values(conn, machine, tables, &readable).await? {
        Ok(rows) => place(&mut tags, tables, rows),
        Err(_) => {
            for nth in readable {
                match values(conn, machine, tables, &[nth]).await? {
                    Ok(rows) => place(&mut tags, tables, rows),
                    Err(reason) => tags[nth] = Tag::Unreadable(reason),
                }
            }
        }
    }
    Ok(tags)
}

/// Reads the values of some of the tables, or why one of them cannot be read. The transaction stays
/// usable.
async fn values(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    tables: &[TagTable],
    which: &[usize],
) -> Result<Result<Vec<ValuesRow>, String>, Error> {
    if which.is_empty() {
        return Ok(Ok(Vec::new()));
    }
    let selects: Vec<String> = which
        .iter()
        .map(|nth| select(*nth, &tables[*nth]))
        .collect();
    let query = diesel::sql_query(selects.join(" UNION ALL ")).bind::<SqlUuid, _>(machine);
    within_savepoint(conn, async |conn| Ok(query.load(conn).await?)).await
}

/// Returns what `read` returns, or why it failed; the transaction then goes on as if `read` had not
/// run. Errors that do not depend on what is read are returned as errors.
async fn within_savepoint<T>(
    conn: &mut AsyncPgConnection,
    read: impl AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, Error>,
) -> Result<Result<T, String>, Error> {
    connection::save(conn).await?;
    match read(conn).await {
        Ok(read) => {
            connection::commit(conn).await?;
            Ok(Ok(read))
        }
        Err(error) => {
            // What may pass does not depend on what is read, unless it is about another server.
            if error.kind().may_pass() && error.kind() != ErrorKind::NotReady {
                return Err(error);
            }
            connection::roll_back(conn).await?;
            Ok(Err(error.to_string()))
        }
    }
}

fn select(nth: usize, table: &TagTable) -> String {
    let (mut texts, mut lengths) = (String::new(), String::new());
    for column in &table.columns {
        let (text, length) = column.expressions();
        // Writing to a string cannot fail.
        let _ = write!(texts, "{text}, ");
        let _ = write!(lengths, "{length}, ");
    }
    format!(
        "SELECT {nth} AS nth, ARRAY[{}]::text[] AS texts, ARRAY[{}]::bigint[] AS lengths \
         FROM {} WHERE machine_id = $1",
        texts.trim_end_matches(", "),
        lengths.trim_end_matches(", "),
        table.quoted
    )
}

impl TagColumn {
    /// The expressions for the value as text and for its full length.
    fn expressions(&self) -> (String, String) {
        let column = &self.quoted;
        match self.sql_type.as_str() {
            "bytea" => (
                format!("encode(substring({column} FROM 1 FOR {SHOWN}), 'hex')"),
                format!("octet_length({column})"),
            ),
            "timestamp with time zone" => (
                // Infinity and years before 1 AD are no points in time that a program could show.
                format!(
                    "CASE WHEN isfinite({column}) AND {column} > '0001-01-02' \
                     THEN to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') \
                     ELSE {column}::text END"
                ),
                "NULL".to_owned(),
            ),
            other => {
                let text = match other {
                    "jsonb" => format!("jsonb_pretty({column})"),
                    _ => format!("{column}::text"),
                };
                (format!("left({text}, {SHOWN})"), format!("length({text})"))
            }
        }
    }

    fn value(&self, text: Option<String>, length: Option<i64>) -> Value {
        let Some(text) = text else {
            return Value::Null;
        };
        let length = length.map_or(0, i64::unsigned_abs);
        match self.sql_type.as_str() {
            "bytea" => Value::Bytes { hex: text, length },
            "timestamp with time zone" => match DateTime::parse_from_rfc3339(&text) {
                Ok(time) => Value::Time(time.to_utc()),
                Err(_) => Value::Text { text, length },
            },
            _ => Value::Text { text, length },
        }
    }
}

fn place(tags: &mut [Tag], tables: &[TagTable], rows: Vec<ValuesRow>) {
    for row in rows {
        let Some(nth) = usize::try_from(row.nth)
            .ok()
            .filter(|nth| *nth < tags.len())
        else {
            continue;
        };
        let values = row.texts.into_iter().zip(row.lengths);
        let columns = tables[nth].columns.iter();
        tags[nth] = Tag::Set(
            columns
                .zip(values)
                .map(|(column, (text, length))| column.value(text, length))
                .collect(),
        );
    }
}

#[derive(QueryableByName)]
struct PresentRow {
    #[diesel(sql_type = Integer)]
    nth: i32,
    #[diesel(sql_type = SqlUuid)]
    machine_id: MachineId,
}

/// Returns which of `machines` have which tags: (machine, index into `tables`), in no order. Tables
/// that cannot be read are left out. Runs in an open transaction.
///
/// # Errors
/// As [`tags`].
pub async fn present(
    conn: &mut AsyncPgConnection,
    machines: &[MachineId],
    tables: &[TagTable],
) -> Result<Vec<(MachineId, usize)>, Error> {
    let readable: Vec<usize> = (0..tables.len())
        .filter(|nth| tables[*nth].readable)
        .collect();
    match having(conn, machines, tables, &readable).await? {
        Ok(present) => Ok(present),
        Err(_) => {
            let mut present = Vec::new();
            for nth in readable {
                let having = having(conn, machines, tables, &[nth]).await?;
                present.extend(having.unwrap_or_default());
            }
            Ok(present)
        }
    }
}

async fn having(
    conn: &mut AsyncPgConnection,
    machines: &[MachineId],
    tables: &[TagTable],
    which: &[usize],
) -> Result<Result<Vec<(MachineId, usize)>, String>, Error> {
    if which.is_empty() || machines.is_empty() {
        return Ok(Ok(Vec::new()));
    }
    let selects: Vec<String> = which
        .iter()
        .map(|nth| {
            let quoted = tables[*nth].quoted();
            format!("SELECT {nth} AS nth, machine_id FROM {quoted} WHERE machine_id = ANY($1)")
        })
        .collect();
    let query = diesel::sql_query(selects.join(" UNION ALL ")).bind::<Array<SqlUuid>, _>(machines);
    let rows = within_savepoint(conn, async |conn| {
        Ok(query.load::<PresentRow>(conn).await?)
    });
    Ok(rows.await?.map(|rows| {
        rows.into_iter()
            .filter_map(|row| Some((row.machine_id, usize::try_from(row.nth).ok()?)))
            .collect()
    }))
}

#[derive(QueryableByName)]
struct CountRow {
    #[diesel(sql_type = BigInt)]
    machines: i64,
}

/// Counts the machines that have a tag. Reads the whole table or its index.
///
/// # Errors
/// [`Error::Database`], also where the table may not be read or is gone by now.
pub async fn count(conn: &mut AsyncPgConnection, table: &TagTable) -> Result<i64, Error> {
    let count = format!("SELECT count(*) AS machines FROM {}", table.quoted);
    let row: CountRow = diesel::sql_query(count).get_result(conn).await?;
    Ok(row.machines)
}
