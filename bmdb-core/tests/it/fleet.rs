//! Importing a fleet: all of it, due at once, or none.

use crate::scenario::{Scenario, connect};
use bmdb_core::fleet::Fleet;
use bmdb_core::{Claim, TxError};
use bmdb_model::{Error, MachineId, Process, Provider};

const FLEET: &str = include_str!("../../../examples/fleet.json");

async fn import(s: &Scenario, fleet: &Fleet) -> Result<(), TxError> {
    s.session
        .transact(async |tx| tx.import_fleet(fleet).await.map(drop))
        .await
}

async fn machines(s: &Scenario) -> Vec<String> {
    s.db.rows("SELECT count(*), (SELECT count(*) FROM machines) FROM machine_provided")
        .await
        .unwrap()
}

#[tokio::test]
async fn every_machine_of_the_example_fleet_is_imported_and_due() {
    let s = Scenario::new().await;
    import(&s, &Fleet::parse(FLEET).unwrap()).await.unwrap();
    assert_eq!(machines(&s).await, ["200|200"]);
    let due = Claim::of(&Process::SHEPHERD_AGENT_START).limit(300);
    assert_eq!(s.session.claim(&due).await.unwrap().len(), 200);
}

#[tokio::test]
async fn a_fleet_with_one_existing_machine_is_refused_as_a_whole() {
    let s = Scenario::new().await;
    let known = s.provided("b").await;
    let of = |machines: &str| Fleet::parse(&format!("{{\"machines\": [{machines}]}}")).unwrap();

    let by_provider = of(r#"{"provider": "Equinix", "provider_id": "a"},
                            {"provider": "Equinix", "provider_id": "b"}"#);
    let refused = import(&s, &by_provider).await.unwrap_err();
    assert!(
        matches!(&refused, TxError::Database(Error::ProviderIdTaken { provider, provider_id })
            if *provider == Provider::EQUINIX && provider_id == "b"),
        "{refused}"
    );

    let by_id = of(&format!(
        r#"{{"provider": "Lumen", "provider_id": "a"}},
           {{"provider": "Lumen", "provider_id": "b", "machine_id": "{known}"}}"#
    ));
    let refused = import(&s, &by_id).await.unwrap_err();
    let taken = matches!(refused, TxError::Database(Error::MachineExists(id)) if id == known);
    assert!(taken, "{refused}");
    assert_eq!(machines(&s).await, ["1|1"]);
}

#[tokio::test]
async fn machines_of_an_import_whose_error_the_closure_ignores_are_planned() {
    let s = Scenario::new().await;
    s.provided("last").await;
    // More than one statement inserts, so the first batch is created before the last machine is refused.
    let machines: Vec<String> = (0..5000)
        .map(|n| n.to_string())
        .chain(["last".to_owned()])
        .map(|id| format!(r#"{{"provider": "Equinix", "provider_id": "{id}"}}"#))
        .collect();
    let json = format!("{{\"machines\": [{}]}}", machines.join(","));
    let fleet = &Fleet::parse(&json).unwrap();
    let imported = s.session.transact(async |tx| {
        assert!(tx.import_fleet(fleet).await.is_err());
        Ok(())
    });
    imported.await.unwrap();
    let due = "SELECT count(*) FROM work_item WHERE process = 'ShepherdAgentStart' AND eligible";
    assert_eq!(s.rows(due).await, ["5001"]);
}

#[tokio::test]
async fn existing_machines_can_be_skipped_and_stay_as_they_are() {
    let s = Scenario::new().await;
    let known = s.provided("b").await;
    let fleet = Fleet::parse(
        r#"{"machines": [{"provider": "Equinix", "provider_id": "a"},
                         {"provider": "Equinix", "provider_id": "b", "location": "elsewhere"},
                         {"provider": "Lumen", "provider_id": "b"}]}"#,
    );
    let fleet = fleet.unwrap();
    let import = || {
        s.session
            .transact(async |tx| tx.import_unknown(&fleet).await)
    };

    let imported = import().await.unwrap();
    let of_file: Vec<MachineId> = fleet.machines().iter().map(|m| m.machine_id).collect();
    assert_eq!(imported.created, [of_file[0], of_file[2]]);
    assert_eq!(imported.skipped.len(), 1);
    assert_eq!(imported.skipped[0].machine_id, known);
    assert_eq!(machines(&s).await, ["3|3"]);
    let moved =
        s.db.rows("SELECT count(*) FROM machine_provided WHERE provider_location IS NOT NULL");
    assert_eq!(moved.await.unwrap(), ["0"]);

    let again = import().await.unwrap();
    assert_eq!((again.created.len(), again.skipped.len()), (0, 3));
    assert_eq!(machines(&s).await, ["3|3"]);
}

#[tokio::test]
async fn a_machine_id_that_belongs_to_another_machine_is_not_skipped() {
    let s = Scenario::new().await;
    let (known, _) = (s.provided("b").await, s.provided("c").await);
    for provider_id in ["new", "c"] {
        let fleet = format!(
            r#"{{"machines": [{{"provider": "Equinix", "provider_id": "{provider_id}", "machine_id": "{known}"}}]}}"#
        );
        let fleet = Fleet::parse(&fleet).unwrap();
        let refused = s
            .session
            .transact(async |tx| tx.import_unknown(&fleet).await);
        let refused = refused.await.unwrap_err();
        let taken = matches!(refused, TxError::Database(Error::MachineExists(id)) if id == known);
        assert!(taken, "{refused}");
    }
    assert_eq!(machines(&s).await, ["2|2"]);
}

#[tokio::test]
async fn another_component_sees_the_imported_fleet_under_the_ids_of_the_file() {
    let s = Scenario::new().await;
    let id = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    let fleet = format!(
        r#"{{"machines": [{{"provider": "None", "provider_id": "rack-7", "machine_id": "{id}"}}]}}"#
    );
    import(&s, &Fleet::parse(&fleet).unwrap()).await.unwrap();
    let other = connect(&s.db)
        .await
        .start_session(Default::default())
        .await
        .unwrap();
    let claim = Claim::of(&Process::SHEPHERD_AGENT_START).provider(&Provider::NONE);
    let claimed = other.claim(&claim).await.unwrap();
    let machines: Vec<String> = claimed
        .iter()
        .map(|work| work.machine().to_string())
        .collect();
    assert_eq!(machines, [id]);
}
