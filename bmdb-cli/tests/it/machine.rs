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
    let wrong = bmdb(&db).args(["machine", "import", "-"]).stdin("[]");
    wrong.fails_with(2, "standard input:1:1: invalid type: sequence");
    assert!(machines(&db).await.is_empty());
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
