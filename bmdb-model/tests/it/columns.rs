//! The limits of columns: on the way in, in the database, in indexes, and in the documents.

use crate::migrations::contents;
use crate::scenario::{ACCESS, Scenario};
use bmdb_model::column::Column;
use bmdb_model::internal::operator::{NewAction, record};
use bmdb_model::internal::session;
use bmdb_model::migration::{known, revert_last, run_pending};
use bmdb_model::operator::Verb;
use bmdb_model::os_installation::InstallationResult::Success;
use bmdb_model::os_installation::{InstallationReport, InstallationRequest};
use bmdb_model::{
    AgentStarted, Error, MachineId, Provided, ProvidedMachine, Provider, agent, hardware, hold,
    os_installation, provided,
};
use bmdb_testkit::TestDb;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The longest entry of an index: a third of a page.
const LONGEST_ENTRY: usize = 2704;

/// The version that has these limits.
const LONG_VALUES: &str = "20261130000500";

/// The header of an entry, an id or a time beside the text, and what aligns them.
const BESIDE: usize = 64;

/// Columns whose texts are chosen by migrations and by the database's functions.
const OWN: &str = "attempt_tally.event machine_os_installation_report.os_installation_result \
    machine_provided.provider_status operator_action.verb process_breaker.per process_breaker_state.per \
    process_failures.per process_limit.per process_pause.source process_slot.kind process_slot.per \
    schema_compatibility.oldest_compatible upkeep.task work_attempt.outcome";

/// The limit of each column, by `table.column`.
fn limits() -> BTreeMap<&'static str, usize> {
    let limit = |column: Column| {
        let stored_in = column.stored_in.iter();
        stored_in.map(move |name| (*name, column.maximum_bytes))
    };
    let own = OWN.split_whitespace().map(|own| (own, 63));
    Column::ALL.into_iter().flat_map(limit).chain(own).collect()
}

#[tokio::test]
async fn every_column_of_texts_or_bytes_has_a_limit() {
    let db = TestDb::new().await.unwrap();
    let columns = "SELECT c.table_name || '.' || c.column_name FROM information_schema.columns c
         JOIN information_schema.tables t USING (table_schema, table_name)
         WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE'
           AND c.data_type IN ('text', 'bytea', 'jsonb', 'json', 'character varying', 'ARRAY')
           AND c.table_name <> '__diesel_schema_migrations'
           AND c.table_name || '.' || c.column_name <> 'work_item.slots'";
    let columns: BTreeSet<String> = db.rows(columns).await.unwrap().into_iter().collect();
    let limited: BTreeSet<String> = limits().into_keys().map(str::to_owned).collect();
    assert_eq!(columns, limited);
}

/// A key of 4 KiB was stored on the machine, and never in the database: the entry of an index takes less.
#[tokio::test]
async fn every_index_takes_the_longest_values_of_its_columns() {
    let db = TestDb::new().await.unwrap();
    let columns = "SELECT i.indexrelid::regclass || ' ' || i.indrelid::regclass || '.' || a.attname
         FROM pg_index i CROSS JOIN unnest(i.indkey::smallint[]) k (attnum)
         JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
         JOIN pg_class c ON c.oid = i.indrelid
         WHERE c.relnamespace = 'public'::regnamespace AND a.atttypid IN ('text'::regtype, 'bytea'::regtype)
           AND c.relname <> '__diesel_schema_migrations'";
    let limits = limits();
    let mut entries: BTreeMap<String, usize> = BTreeMap::new();
    for row in db.rows(columns).await.unwrap() {
        let (index, column) = row.split_once(' ').unwrap();
        *entries.entry(index.to_owned()).or_insert(BESIDE) += limits[column];
    }
    assert!(entries.len() > 10, "{entries:?}");
    for (index, longest) in entries {
        assert!(longest <= LONGEST_ENTRY, "{index}: {longest}");
    }
    let expressions =
        "SELECT pg_get_indexdef(indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
         WHERE indexprs IS NOT NULL AND c.relnamespace = 'public'::regnamespace";
    let hash = "CREATE INDEX machine_agent_started_key_hash ON public.machine_agent_started \
                USING btree (sha256(agent_public_key))";
    assert_eq!(db.rows(expressions).await.unwrap(), [hash]);
}

#[tokio::test]
async fn the_database_has_the_same_limits_where_it_has_any() {
    let db = TestDb::new().await.unwrap();
    let checks = "SELECT conrelid::regclass || '.' || m[1] || ' ' || m[2]
         FROM pg_constraint, regexp_matches(pg_get_constraintdef(oid), 'octet_length\\((\\w+)\\) <= (\\d+)', 'g') m";
    let checks = db.rows(checks).await.unwrap();
    assert_eq!(checks.len(), 7, "{checks:?}");
    for check in checks {
        let (column, limit) = check.split_once(' ').unwrap();
        assert_eq!(limits()[column].to_string(), limit, "{column}");
    }
}

fn too_long(column: Column) -> String {
    "x".repeat(column.maximum_bytes + 1)
}

/// The writer refuses a value one byte longer than the column takes, and says so.
fn refused(column: Column, result: Result<impl Sized, Error>) {
    let error = result
        .err()
        .unwrap_or_else(|| panic!("{} is stored", column.name));
    let limit = column.maximum_bytes;
    let expected = format!(
        "{} has {} bytes, and at most {limit} are stored: shorten it",
        column.name,
        limit + 1
    );
    assert_eq!(error.to_string(), expected);
    assert!(matches!(error, Error::TooLong { .. }), "{error:?}");
}

/// The writer of many machines refuses it as well, and names the machine.
fn refused_of(machine: MachineId, column: Column, result: Result<(), Error>) {
    let result = result.map_err(|error| match error {
        Error::OfMachine { machine: of, error } if of == machine => *error,
        error => panic!("{error:?} does not name the machine"),
    });
    refused(column, result);
}

#[tokio::test]
async fn what_is_too_long_is_refused_before_anything_is_sent() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let before = contents(&s.db).await;
    let conn = &mut s.conn;
    let tag = || Provided::new(Provider::EQUINIX, "b");
    let long = too_long(Column::PROVIDER_ID);
    for (column, tag) in [
        (
            Column::PROVIDER_ID,
            Provided::new(Provider::EQUINIX, &*long),
        ),
        (Column::RESERVATION_ID, tag().reservation_id(&*long)),
        (Column::IP_ADDRESS, tag().ip_address(&*long)),
        (Column::LOCATION, tag().location(&*long)),
    ] {
        refused(column, provided::set(conn, machine, &tag).await);
        let all = [ProvidedMachine::new(machine, tag)];
        refused_of(machine, column, provided::set_all(conn, &all).await);
    }
    let equinix = &Provider::EQUINIX;
    let long = Some(&*long);
    let updated = provided::update_status(conn, equinix, "a", None, long, None).await;
    refused(Column::IP_ADDRESS, updated);
    let updated = provided::update_status(conn, equinix, "a", None, None, long).await;
    refused(Column::LOCATION, updated);

    let key = AgentStarted::now(too_long(Column::PUBLIC_KEY));
    refused(
        Column::PUBLIC_KEY,
        agent::set_started(conn, machine, &key).await,
    );
    let keys = agent::set_all_started(conn, &[(machine, key)]).await;
    refused_of(machine, Column::PUBLIC_KEY, keys);
    let report = too_long(Column::HARDWARE_REPORT).into_bytes();
    refused(
        Column::HARDWARE_REPORT,
        hardware::set(conn, machine, &report).await,
    );
    let request = os_installation::set_request(conn, machine, 1, &report).await;
    refused(Column::OS_INSTALLATION_REQUEST, request);
    let reported = os_installation::set_report(conn, machine, 1, Success, &report).await;
    refused(Column::OS_INSTALLATION_REPORT, reported);
    let requests = [(machine, InstallationRequest::new(1, &*report))];
    let requested = os_installation::set_requests(conn, &requests).await;
    refused_of(machine, Column::OS_INSTALLATION_REQUEST, requested);
    let reports = [(machine, InstallationReport::new(1, Success, &*report))];
    let reported = os_installation::set_reports(conn, &reports).await;
    refused_of(machine, Column::OS_INSTALLATION_REPORT, reported);
    let reports = hardware::set_all(conn, &[(machine, &report)]).await;
    refused_of(machine, Column::HARDWARE_REPORT, reports);

    let reason = too_long(Column::REASON);
    refused(Column::REASON, hold::set(conn, machine, &reason).await);
    let holds = hold::set_all(conn, &[(machine, &reason)]).await;
    refused_of(machine, Column::REASON, holds);
    refused(
        Column::REASON,
        hold::set_process(conn, machine, &ACCESS, &reason).await,
    );
    let operator = too_long(Column::OPERATOR);
    let action = NewAction::new(Verb::HoldMachine, &operator, None);
    refused(Column::OPERATOR, record(conn, &action).await);
    let action = NewAction::new(Verb::HoldMachine, "root", Some(&reason));
    refused(Column::REASON, record(conn, &action).await);
    let component = too_long(Column::COMPONENT);
    refused(
        Column::COMPONENT,
        session::start(conn, &component, "", 5).await,
    );
    let runtime = too_long(Column::RUNTIME_INFO);
    refused(
        Column::RUNTIME_INFO,
        session::start(conn, "test", &runtime, 5).await,
    );
    assert_eq!(contents(&s.db).await, before);
}

/// As keys are: nothing that PostgreSQL could compress.
fn key(length: usize, seed: u64) -> Vec<u8> {
    let words = (0..).map(|n| bmdb_backoff::mix(seed.into(), n).to_le_bytes());
    words.flatten().take(length).collect()
}

#[tokio::test]
async fn the_longest_key_is_stored_found_by_its_hash_and_may_be_shared() {
    let mut s = Scenario::new().await;
    let [one, same, other] = ["a", "b", "c"];
    let (one, same) = (s.provided(one).await, s.provided(same).await);
    let other = s.provided(other).await;
    let longest = key(Column::PUBLIC_KEY.maximum_bytes, 1);
    let beside = key(4096, 2);
    for (machine, key) in [(one, &longest), (same, &longest), (other, &beside)] {
        let started = AgentStarted::now(key);
        agent::set_started(&mut s.conn, machine, &started)
            .await
            .unwrap();
    }
    let mut both = [one, same];
    both.sort_unstable();
    assert_eq!(agent::of_key(&mut s.conn, &longest).await.unwrap(), both);
    assert_eq!(agent::of_key(&mut s.conn, &beside).await.unwrap(), [other]);
    assert_eq!(agent::of_key(&mut s.conn, b"none").await.unwrap(), []);
    assert!(
        agent::authenticate(&mut s.conn, one, &longest)
            .await
            .unwrap()
    );
    assert!(
        !agent::authenticate(&mut s.conn, one, &beside)
            .await
            .unwrap()
    );

    s.db.run_sql("SET enable_seqscan = off; ANALYZE machine_agent_started")
        .await
        .unwrap();
    let plan = "EXPLAIN (COSTS OFF) SELECT machine_id FROM machine_agent_started
                WHERE sha256(agent_public_key) = sha256('k') AND agent_public_key = 'k'";
    s.db.run_sql(
        "INSERT INTO machines (machine_id) SELECT gen_random_uuid() FROM generate_series(1, 2000);
         INSERT INTO machine_agent_started
         SELECT machine_id, now(), sha256(machine_id::text::bytea) FROM machines
         ON CONFLICT DO NOTHING; ANALYZE machine_agent_started",
    )
    .await
    .unwrap();
    let plan = s.rows(plan).await.join("\n");
    assert!(plan.contains("machine_agent_started_key_hash"), "{plan}");
}

#[tokio::test]
async fn the_longest_id_of_a_provider_fits_its_index() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let provider = Provider::new("P".repeat(63)).unwrap();
    let id: String = key(512, 3)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let tag = Provided::new(provider.clone(), id.clone());
    provided::set(&mut s.conn, machine, &tag).await.unwrap();
    let found = provided::find(&mut s.conn, &provider, &id).await.unwrap();
    assert_eq!(found, Some(machine));
}

/// Rows that were written before there were limits stay, and can be written again.
#[tokio::test]
async fn an_upgrade_leaves_long_values_as_they_are() {
    let db = TestDb::at_version("20261130000400").await.unwrap();
    db.run_sql(
        "INSERT INTO machines (machine_id) SELECT '00000000-0000-0000-0000-000000000001';
         INSERT INTO machine_provided (machine_id, provider, provider_id, provider_location)
         SELECT machine_id, 'Equinix', 'a', repeat('x', 5000) FROM machines;
         INSERT INTO machine_hold (machine_id, reason) SELECT machine_id, repeat('x', 10000) FROM machines;
         INSERT INTO machine_agent_started SELECT machine_id, now(), repeat('x', 70000)::bytea FROM machines;
         INSERT INTO sessions (session_id, session_component_name, session_runtime_info,
                               session_interval_seconds, session_deadline)
         SELECT machine_id, repeat('x', 5000), repeat('x', 5000), 5, now() + interval '1 hour' FROM machines",
    )
    .await
    .unwrap();
    run_pending(db.connect().await.unwrap()).await.unwrap();
    let lengths = "SELECT octet_length(provider_location), octet_length(reason), octet_length(agent_public_key)
         FROM machine_provided JOIN machine_hold USING (machine_id) JOIN machine_agent_started USING (machine_id)";
    assert_eq!(db.rows(lengths).await.unwrap(), ["5000|10000|70000"]);
    let machine: MachineId = "00000000-0000-0000-0000-000000000001".parse().unwrap();
    let mut conn = db.connect().await.unwrap();
    let updated =
        provided::update_status(&mut conn, &Provider::EQUINIX, "a", None, Some("::1"), None);
    assert!(updated.await.unwrap());
    let sessions = [machine.as_uuid().to_string().parse().unwrap()];
    assert_eq!(
        session::heartbeat(&mut conn, &sessions).await.unwrap(),
        sessions
    );
    hold::set(&mut conn, machine, "shorter").await.unwrap();
    assert!(hold::unset(&mut conn, machine).await.unwrap());
    let started = AgentStarted::now(key(4096, 4));
    agent::set_started(&mut conn, machine, &started)
        .await
        .unwrap();

    let later = known()
        .into_iter()
        .filter(|(version, _)| version.as_str() > LONG_VALUES);
    let conn = db.connect().await.unwrap();
    revert_last(conn, later.count()).await.unwrap();
    let refused = revert_last(db.connect().await.unwrap(), 1)
        .await
        .unwrap_err();
    let expected = "the public keys of 1 agents are longer than 2672 bytes";
    assert!(refused.to_string().contains(expected), "{refused}");
    // A row that has just been deleted is still in a new index, if an older transaction may see it.
    let clear = "TRUNCATE machine_agent_started";
    db.run_sql(clear).await.unwrap();
    let reverted = revert_last(db.connect().await.unwrap(), 1).await.unwrap();
    assert_eq!(reverted, [LONG_VALUES]);
}

/// `1024` as people write it.
fn size(bytes: usize) -> String {
    match bytes {
        bytes if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        bytes if bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        bytes => format!("{bytes} bytes"),
    }
}

const BEGIN: &str = "<!-- Generated by a test; `BMDB_UPDATE_DOCS=1` updates it. -->\n";

/// `BMDB_UPDATE_DOCS=1` updates the table.
#[test]
fn the_table_of_limits_is_complete() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/values.md");
    let text = std::fs::read_to_string(&file).unwrap();
    let (before, _) = text.split_once(BEGIN).unwrap();
    let cut = [Column::CAUSE, Column::ERROR, Column::DETAIL];
    let row = |column: Column| {
        let stored_in: Vec<String> = column
            .stored_in
            .iter()
            .map(|name| format!("`{name}`"))
            .collect();
        let stored_in = match column {
            Column::NAME => "every column of names".to_owned(),
            _ => stored_in.join(", "),
        };
        let longer = if cut.contains(&column) {
            "cut and marked"
        } else {
            "refused"
        };
        format!(
            "| {} | {} | {longer} | {stored_in} |\n",
            column.name,
            size(column.maximum_bytes)
        )
    };
    let rows: String = Column::ALL.into_iter().map(row).collect();
    let expected = format!(
        "{before}{BEGIN}\n| value | longest | a longer one is | column |\n|---|---|---|---|\n{rows}"
    );
    if std::env::var_os("BMDB_UPDATE_DOCS").is_some() {
        std::fs::write(&file, &expected).unwrap();
    }
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text, expected, "BMDB_UPDATE_DOCS=1 updates it");
}
