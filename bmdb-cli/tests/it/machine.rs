//! `bmdb machine import` and `bmdb machine create`.

use crate::bmdb::bmdb;
use crate::schemas::documented;
use bmdb_model::Provider;
use bmdb_testkit::TestDb;

pub(crate) const FLEET: &str = r#"{"machines": [
    {"provider": "Equinix", "provider_id": "a", "ip_address": "10.0.0.7", "location": "fra2"},
    {"provider": "Equinix", "provider_id": "b"},
    {"provider": "Lumen", "provider_id": "a", "machine_id": "67e55044-10b1-426f-9247-bb680e5fe0c8"}
]}"#;

async fn machines(db: &TestDb) -> Vec<String> {
    let query = "SELECT provider, provider_id FROM machine_provided ORDER BY 1, 2";
    db.rows(query).await.unwrap()
}

#[tokio::test]
async fn a_fleet_is_imported_from_standard_input_and_is_due_at_once() {
    let db = TestDb::new().await.unwrap();
    let ran = bmdb(&db)
        .args(["machine", "import", "-"])
        .stdin(FLEET)
        .run();
    assert_eq!(ran.stdout, "imported 3 machines\n");
    assert_eq!(machines(&db).await, ["Equinix|a", "Equinix|b", "Lumen|a"]);
    let stats = bmdb(&db).args(["stats", "--json"]).run().json();
    let start = stats["processes"].as_array().unwrap().iter();
    let start = start.filter(|process| process["process"] == "ShepherdAgentStart");
    assert_eq!(
        start.map(|process| &process["due"]).collect::<Vec<_>>(),
        [3]
    );
}

#[tokio::test]
async fn an_invalid_file_is_reported_with_its_line_and_nothing_is_imported() {
    let db = TestDb::new().await.unwrap();
    let folder = std::env::temp_dir().join(db.name());
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("fleet.json");
    std::fs::write(&file, FLEET.replace("\"b\"", "\"a\"")).unwrap();
    let import = || bmdb(&db).args(["machine", "import"]).args([&file]);
    let place = format!("{}:3:", file.display());
    let ran = import().fails_with(2, "provider_id: \"a\" of Equinix is listed twice");
    assert!(ran.stderr.contains(&place), "{ran:?}");
    std::fs::remove_file(&file).unwrap();
    import().fails_with(2, "No such file");
    std::fs::remove_dir(&folder).unwrap();
    let import = |bytes: &[u8]| bmdb(&db).args(["machine", "import", "-"]).stdin(bytes);
    import(b"").fails_with(2, "standard input:1:1: empty: expected {\"machines\"");
    import(b"[7]").fails_with(2, "standard input:1:2: expected an object");
    import(b"\xff\xfe{\0").fails_with(2, "standard input:1:1: UTF-16: convert it");
    import(b"{\"machines\":\n[\"\xe4\"]}")
        .fails_with(2, "standard input:2:3: not UTF-8: byte 0xe4");
    let ran = import(b"[{\"provider\": 7},\n {\"rack\": 1}]").output();
    for problem in [
        "input:1:15: provider: \"7\"",
        "input:1:2: provider_id: missing",
        "input:2:11: rack: unknown",
    ] {
        assert!(ran.stderr.contains(problem), "{ran:?}");
    }
    bmdb(&db)
        .args(["machine", "import", "/"])
        .fails_with(2, "/: Is a directory");
    let closed = bmdb(&db).args(["machine", "import", "/dev/null"]);
    closed.fails_with(2, "/dev/null:1:1: empty");
    assert!(machines(&db).await.is_empty());
}

/// A database is moved or restored by what `machine list` and `machine show` print: machines with every tag,
/// on hold, without a provider.
#[tokio::test]
async fn what_lists_print_can_be_imported_again() {
    let db = TestDb::new().await.unwrap();
    let full = db.machine().provided(&Provider::EQUINIX, "full \u{e9}\"");
    let minute = std::time::Duration::from_secs(60);
    let full = full
        .agent_started(minute)
        .agent_heartbeat(minute)
        .hold("fan");
    let full = full
        .hardware_report(b"raw")
        .os_installation_request(1, b"raw");
    let full = full.planned().create().await.unwrap().to_string();
    let more = "UPDATE machine_provided SET provider_ip_address = '10.0.0.7', provider_location = 'rack 7',
                provider_status = 'Running', provider_reservation_id = 'r'";
    db.run_sql(more).await.unwrap();
    for id in ["b", "c"] {
        let plain = db.machine().provided(&Provider::LUMEN, id).planned();
        plain.create().await.unwrap();
    }
    db.machine().create().await.unwrap();

    let list = |args: &[&str]| {
        bmdb(&db)
            .args(["machine", "list", "--json"])
            .args(args)
            .run()
    };
    let all = list(&["--all"]).stdout;
    let mut pages = String::new();
    let mut page = list(&["--limit=1"]);
    loop {
        pages += &page.stdout;
        match page.json()["next"].as_str() {
            Some(next) => page = list(&["--limit=1", "--after", next]),
            None => break,
        }
    }
    let items = page_items(&all);
    let lines: Vec<String> = items.iter().map(ToString::to_string).collect();
    let listed = "SELECT m.machine_id, provider, provider_id, provider_ip_address, provider_location,
                  provider_status, reason FROM machines m LEFT JOIN machine_provided USING (machine_id)
                  LEFT JOIN machine_hold USING (machine_id) ORDER BY 1";
    let expected = db.rows(listed).await.unwrap();
    for export in [
        all,
        pages,
        lines.join("\n"),
        format!("[{}]", lines.join(",")),
    ] {
        let other = TestDb::new().await.unwrap();
        let import = || {
            bmdb(&other)
                .args(["machine", "import", "-"])
                .stdin(&*export)
        };
        let ran = import().run();
        assert_eq!(ran.stdout, "imported 4 machines\n", "{export}");
        assert!(
            ran.stderr.contains("not imported: processes (of "),
            "{ran:?}"
        );
        assert_eq!(other.rows(listed).await.unwrap(), expected, "{export}");
        let again = import().args(["--skip-existing", "--json"]).run();
        documented("bmdb machine import", &again);
        assert_eq!(again.json()["skipped"].as_array().unwrap().len(), 4);
        import().fails_with(4, "--skip-existing skips machines that exist");
    }

    let shown = bmdb(&db)
        .args(["machine", "show", "--json", &full])
        .run()
        .stdout;
    let other = TestDb::new().await.unwrap();
    let ran = bmdb(&other)
        .args(["machine", "import", "-"])
        .stdin(shown)
        .run();
    assert!(ran.stderr.contains("tags.machine_agent_started"), "{ran:?}");
    let rows = "SELECT provider_reservation_id, reason FROM machine_provided JOIN machine_hold USING (machine_id)";
    assert_eq!(other.rows(rows).await.unwrap(), ["r|fan"]);
}

fn page_items(text: &str) -> Vec<serde_json::Value> {
    let page: serde_json::Value = serde_json::from_str(text).unwrap();
    page["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn an_existing_machine_is_a_conflict_unless_it_is_skipped() {
    let db = TestDb::new().await.unwrap();
    db.machine()
        .provided(&Provider::EQUINIX, "b")
        .create()
        .await
        .unwrap();
    let import = |more: &[&str]| {
        bmdb(&db)
            .args(["machine", "import", "-"])
            .args(more)
            .stdin(FLEET)
    };
    import(&[]).fails_with(4, "\"b\" of Equinix belongs to another machine already");
    assert_eq!(machines(&db).await, ["Equinix|b"]);

    let dry = import(&["--skip-existing", "--dry-run", "--json"]).run();
    documented("bmdb machine import", &dry);
    insta::assert_json_snapshot!(dry.redacted());
    assert_eq!(machines(&db).await, ["Equinix|b"]);

    let done = import(&["--skip-existing"]).run().stdout;
    assert!(
        done.starts_with("imported 2 machines\nexisted already: 1\n"),
        "{done}"
    );
    assert_eq!(machines(&db).await, ["Equinix|a", "Equinix|b", "Lumen|a"]);
    let again = import(&["--skip-existing", "--json"]).run().json();
    assert_eq!(
        (
            &again["imported"],
            again["skipped"].as_array().unwrap().len()
        ),
        (&0.into(), 3)
    );
}

#[tokio::test]
async fn one_machine_is_created_with_the_data_of_its_provider() {
    let db = TestDb::new().await.unwrap();
    let create = || bmdb(&db).args(["machine", "create"]);
    let equinix = || create().args(["--provider=Equinix", "--provider-id=a", "--ip=10.0.0.7"]);
    let id = equinix().args(["--status", "Running"]).run().stdout;
    let rows =
        db.rows("SELECT machine_id, provider_ip_address, provider_status FROM machine_provided");
    assert_eq!(
        rows.await.unwrap(),
        [format!("{}|10.0.0.7|Running", id.trim_end())]
    );

    let taken = format!("exists already as machine {}", id.trim_end());
    equinix().fails_with(4, &taken);
    create()
        .args(["--id", id.trim_end()])
        .fails_with(4, "exists already");
    create()
        .args(["--provider=Equinix"])
        .fails_with(2, "--provider-id");
    create()
        .args(["--provider=Equi nix", "--provider-id=a"])
        .fails_with(2, "byte 4 is not allowed");
    equinix()
        .args(["--status=up"])
        .fails_with(2, "expected one of Missing, Provisioning");
    let created = create().args(["--json"]).run();
    documented("bmdb machine create", &created);
    insta::assert_json_snapshot!(created.redacted());
}

#[tokio::test]
async fn importing_and_creating_machines_is_recorded() {
    let db = TestDb::new().await.unwrap();
    let import = bmdb(&db).args(["machine", "import", "-", "--reason=rack 7"]);
    import.stdin(FLEET).run();
    let again = bmdb(&db).args(["machine", "import", "-", "--skip-existing"]);
    again.stdin(FLEET).run();
    let dry = bmdb(&db).args(["machine", "import", "-", "--skip-existing", "--dry-run"]);
    dry.stdin(FLEET.replace("\"b\"", "\"new\"")).run();
    bmdb(&db).args(["machine", "create", "--as", "ann"]).run();
    let records = "SELECT verb, operator, reason FROM operator_action ORDER BY action_id";
    let expected = ["ImportMachines|tester|rack 7", "CreateMachine|ann|"];
    assert_eq!(db.rows(records).await.unwrap(), expected);
}
