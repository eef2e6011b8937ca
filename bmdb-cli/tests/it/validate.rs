//! A name that nobody knows is told of, for it is most likely a typing error.

use crate::bmdb::bmdb;
use bmdb_model::Provider;
use bmdb_testkit::TestDb;

#[tokio::test]
async fn a_process_that_nobody_knows_is_not_found_wherever_it_is_named() {
    let db = TestDb::new().await.unwrap();
    let machine = db.machine().provided(&Provider::EQUINIX, "a").planned();
    let id = machine.create().await.unwrap().to_string();
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
        assert!(ran.stderr.contains("there are "), "{ran:?}");
        assert!(ran.stderr.contains("ShepherdAgentStart"), "{ran:?}");
        assert_eq!(ran.stdout, "");
    }
}

#[tokio::test]
async fn a_process_without_a_definition_is_known_by_what_machines_have_of_it() {
    let db = TestDb::new().await.unwrap();
    let machine = db.machine().provided(&Provider::EQUINIX, "a").planned();
    machine.create().await.unwrap();
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
async fn a_provider_without_machines_is_warned_of_and_no_error() {
    let db = TestDb::new().await.unwrap();
    let list = |provider: &str| {
        bmdb(&db)
            .args(["machine", "list", "--provider", provider])
            .run()
    };
    let nobody = list("Equinix").stderr;
    assert!(
        nobody.contains("no machine is provided by Equinix"),
        "{nobody}"
    );
    for (provider, id) in [(Provider::EQUINIX, "a"), (Provider::LUMEN, "b")] {
        let machine = db.machine().provided(&provider, id).planned();
        machine.create().await.unwrap();
    }
    assert_eq!(list("Equinix").stderr, "");
    let typo = list("Equnix");
    let warning = "no machine is provided by Equnix; there are Equinix, Lumen";
    assert_eq!(typo.stderr.matches(warning).count(), 1, "{typo:?}");
    assert_eq!(typo.stdout, "No machine fits.\n");
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
