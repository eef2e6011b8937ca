//! Importing a fleet: all of it, due at once, or nothing.

use crate::scenario::{Scenario, connect};
use bmdb_core::fleet::Fleet;
use bmdb_core::{Claim, TxError};
use bmdb_model::{Error, Process, Provider};

const FLEET: &str = include_str!("../../../examples/fleet.json");

async fn import(s: &Scenario, fleet: &Fleet) -> Result<(), TxError> {
    s.session
        .transact(async |tx| tx.import_fleet(fleet).await)
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
async fn a_fleet_with_one_machine_that_is_known_already_is_refused_as_a_whole() {
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
    let works = other.claim(&claim).await.unwrap();
    let machines: Vec<String> = works
        .iter()
        .map(|work| work.machine().to_string())
        .collect();
    assert_eq!(machines, [id]);
}
