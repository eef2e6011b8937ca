//! Tag tables of downstream users, found and read without knowing them.

use crate::scenario::{MINUTE, Scenario};
use bmdb_model::connection::{Access, Isolation};
use bmdb_model::custom_tags::{self, Tag, TagTable, Value};
use bmdb_model::internal::connection;
use bmdb_model::{MachineId, Provider};
use bmdb_testkit::Role;
use diesel_async::{AsyncConnection, AsyncPgConnection};

const HOSTILE: &str = "ma\"chine'; DROP TABLE machines; --";

async fn begin(conn: &mut AsyncPgConnection) {
    connection::begin(conn, Isolation::RepeatableRead, Access::ReadOnly)
        .await
        .unwrap();
}

async fn tag(conn: &mut AsyncPgConnection, machine: MachineId, name: &str) -> (TagTable, Tag) {
    begin(conn).await;
    let tables = custom_tags::tables(conn).await.unwrap();
    let tags = custom_tags::tags(conn, machine, &tables).await.unwrap();
    connection::roll_back(conn).await.unwrap();
    let found = tables
        .into_iter()
        .zip(tags)
        .find(|(table, _)| table.name == name);
    found.expect("the table is found")
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[tokio::test]
async fn tables_of_bmdb_and_downstream_tables_of_the_same_shape_are_tags() {
    let mut s = Scenario::new().await;
    let more = "CREATE TABLE rack (machine_id uuid PRIMARY KEY REFERENCES machines, place text);
        CREATE TABLE not_by_machine (id int PRIMARY KEY, machine_id uuid REFERENCES machines);
        CREATE TABLE no_reference (machine_id uuid PRIMARY KEY);
        CREATE TABLE two_keys (machine_id uuid REFERENCES machines, n int, PRIMARY KEY (machine_id, n));
        CREATE TABLE other_type (machine_id text PRIMARY KEY);
        ALTER TABLE rack ADD COLUMN gone int; ALTER TABLE rack DROP COLUMN gone";
    s.db.run_sql(more).await.unwrap();
    let tables = custom_tags::tables(&mut s.conn).await.unwrap();
    let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    let expected = [
        "machine_agent_heartbeat",
        "machine_agent_started",
        "machine_hardware_report",
        "machine_hold",
        "machine_os_installation_report",
        "machine_os_installation_request",
        "machine_provided",
        "rack",
    ];
    assert_eq!(names, expected);
    let columns: Vec<&str> = tables[7]
        .columns
        .iter()
        .map(|column| column.sql_type.as_str())
        .collect();
    assert_eq!(columns, ["text"]);
}

#[tokio::test]
async fn hostile_names_of_tables_and_columns_are_only_names() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let (table, column) = (quoted(HOSTILE), quoted("\"x\" = 1, $1 '"));
    let make = format!(
        "CREATE TABLE {table} (machine_id uuid PRIMARY KEY REFERENCES machines, {column} text, \
             \"select\" int, \"Ünï\" text);
         INSERT INTO {table} VALUES ('{machine}', '<script>', 7, NULL)"
    );
    s.db.run_sql(&make).await.unwrap();
    let (table, tag) = tag(&mut s.conn, machine, HOSTILE).await;
    let text = |text: &str, length| Value::Text {
        text: text.to_owned(),
        length,
    };
    assert_eq!(
        tag,
        Tag::Set(vec![text("<script>", 8), text("7", 1), Value::Null])
    );
    begin(&mut s.conn).await;
    let tables = [table];
    let present = custom_tags::present(&mut s.conn, &[machine], &tables)
        .await
        .unwrap();
    assert_eq!(present, [(machine, 0)]);
}

#[tokio::test]
async fn values_of_every_kind_are_decoded_and_long_ones_are_cut_with_their_true_length() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let make = format!(
        "CREATE TYPE colour AS ENUM ('red');
         CREATE TABLE kinds (machine_id uuid PRIMARY KEY REFERENCES machines, b bytea, t timestamptz,
             never timestamptz, j jsonb, old json, n numeric, a int[], e colour, long text, longer bytea, nothing text);
         INSERT INTO kinds VALUES ('{machine}', '\\xdeadbeef', '2026-01-02 03:04:05.678901+02', 'infinity',
             '{{\"a\": [1]}}', '{{\"z\":\"\\u0000\"}}', 1.50, '{{1,NULL}}', 'red', repeat('ä', 5000),
             convert_to(repeat('x', 3000), 'UTF8'), NULL)"
    );
    s.db.run_sql(&make).await.unwrap();
    let (_, tag) = tag(&mut s.conn, machine, "kinds").await;
    let Tag::Set(values) = tag else {
        panic!("{tag:?}")
    };
    let text = |text: &str| Value::Text {
        text: text.to_owned(),
        length: text.chars().count() as u64,
    };
    assert_eq!(
        values[0],
        Value::Bytes {
            hex: "deadbeef".to_owned(),
            length: 4
        }
    );
    let time = "2026-01-02T01:04:05.678901Z".parse().unwrap();
    assert_eq!(values[1], Value::Time(time));
    assert!(
        matches!(&values[2], Value::Text { text, .. } if text == "infinity"),
        "{values:?}"
    );
    assert_eq!(values[3], text("{\n    \"a\": [\n        1\n    ]\n}"));
    assert_eq!(values[4], text("{\"z\":\"\\u0000\"}"));
    assert_eq!(values[5..8], [text("1.50"), text("{1,NULL}"), text("red")]);
    assert_eq!(
        values[8],
        Value::Text {
            text: "ä".repeat(2000),
            length: 5000
        }
    );
    assert_eq!(
        values[9],
        Value::Bytes {
            hex: "78".repeat(2000),
            length: 3000
        }
    );
    assert!(values[8].is_cut() && values[9].is_cut() && !values[0].is_cut());
    assert_eq!(values[10], Value::Null);
}

#[tokio::test]
async fn an_unreadable_or_missing_table_leaves_the_others_readable() {
    let s = Scenario::new().await;
    let planned =
        s.db.machine()
            .provided(&Provider::EQUINIX, "a")
            .agent_started(MINUTE);
    let machine = planned.planned().create().await.unwrap();
    let viewer = s.db.url_as(Role::Viewer).await.unwrap();
    let make = "CREATE TABLE secret (machine_id uuid PRIMARY KEY REFERENCES machines, key text);
        REVOKE ALL ON secret FROM bmdb_viewer, PUBLIC;
        CREATE TABLE fleeting (machine_id uuid PRIMARY KEY REFERENCES machines);
        GRANT SELECT ON fleeting TO bmdb_viewer";
    s.db.run_sql(make).await.unwrap();
    let mut conn = AsyncPgConnection::establish(&viewer).await.unwrap();
    let tables = custom_tags::tables(&mut conn).await.unwrap();
    s.db.run_sql("DROP TABLE fleeting").await.unwrap();
    begin(&mut conn).await;
    let tags = custom_tags::tags(&mut conn, machine, &tables)
        .await
        .unwrap();
    let tag = |name: &str| &tags[tables.iter().position(|table| table.name == name).unwrap()];
    assert!(matches!(tag("secret"), Tag::Unreadable(why) if why.contains("may not read")));
    assert!(matches!(tag("fleeting"), Tag::Unreadable(why) if why.contains("does not exist")));
    assert!(matches!(tag("machine_provided"), Tag::Set(_)));
    assert_eq!(tag("machine_hold"), &Tag::Unset);
    let present = custom_tags::present(&mut conn, &[machine], &tables)
        .await
        .unwrap();
    assert_eq!(present.len(), 2, "{present:?}");
}
