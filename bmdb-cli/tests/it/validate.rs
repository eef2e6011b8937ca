//! Unknown names in filters, which are most likely typing errors.

use crate::bmdb::{bmdb, due_machine};
use bmdb_model::Provider;
use bmdb_testkit::TestDb;

#[tokio::test]
async fn an_unknown_process_is_not_found_in_every_command() {
    let db = TestDb::new().await.unwrap();
    let id = due_machine(&db, "a").await.to_string();
    for args in [
        &["machine", "list", "--state=due", "--process=Typo"][..],
        &["work", "list", "--process=Typo"],
        &["backoff", "list", "--process=Typo"],
        &["backoff", "list", "--expired", "--process=Typo"],
        &["why", &id, "Typo"],
    ] {
        let ran = bmdb(&db)
            .args(args)
            .fails_with(3, "there is no process Typo");
        assert!(ran.stderr.contains("the processes are "), "{ran:?}");
        assert!(ran.stderr.contains("ShepherdAgentStart"), "{ran:?}");
        assert_eq!(ran.stdout, "");
    }
}

#[tokio::test]
async fn a_process_without_a_definition_is_known_by_its_work_items_or_counts() {
    let db = TestDb::new().await.unwrap();
    due_machine(&db, "a").await;
    let list = || bmdb(&db).args(["work", "list", "--process=ByHand"]);
    list().fails_with(3, "there is no process ByHand");
    db.run_sql(
        "INSERT INTO work_item (machine_id, process, lane, eligible)
         SELECT machine_id, 'ByHand', 'ByHand', false FROM machines",
    )
    .await
    .unwrap();
    list().run();
    db.run_sql("DELETE FROM work_item WHERE process = 'ByHand'")
        .await
        .unwrap();
    db.run_sql(
        "INSERT INTO attempt_tally (minute, process, event, writer, count, waits, waited_ms)
         VALUES (now(), 'ByHand', 'Started', gen_random_uuid(), 1, 0, 0)",
    )
    .await
    .unwrap();
    list().run();
    let hint = bmdb(&db).args(["work", "list", "--process=Typo"]).output();
    assert!(hint.stderr.contains("ByHand"), "{hint:?}");
}

#[tokio::test]
async fn a_provider_without_machines_is_a_warning_and_not_an_error() {
    let db = TestDb::new().await.unwrap();
    let list = |provider: &str| {
        bmdb(&db)
            .args(["machine", "list", "--provider", provider])
            .run()
    };
    let empty = list("Equinix").stderr;
    assert!(
        empty.contains("no machine has the provider Equinix"),
        "{empty}"
    );
    for (provider, id) in [(Provider::EQUINIX, "a"), (Provider::LUMEN, "b")] {
        let machine = db.machine().provided(&provider, id).planned();
        machine.create().await.unwrap();
    }
    assert_eq!(list("Equinix").stderr, "");
    let typo = list("Equnix");
    let warning = "no machine has the provider Equnix; the providers are Equinix, Lumen";
    assert_eq!(typo.stderr.matches(warning).count(), 1, "{typo:?}");
    assert_eq!(typo.stdout, "No machine matches.\n");
    let quiet = bmdb(&db)
        .args(["machine", "list", "--provider=Equnix", "--quiet"])
        .run();
    assert_eq!(quiet.stderr, "");

    let run = bmdb(&db)
        .args([
            "run",
            "--process=ShepherdAgentStart",
            "--exec=true",
            "--once",
        ])
        .args(["--provider=Equnix", "--provider=Lumen"])
        .run();
    assert_eq!(run.stderr.matches(warning).count(), 1, "{run:?}");
}
