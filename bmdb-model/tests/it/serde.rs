//! The feature `serde`: ids and names as text, rows as objects.

use bmdb_model::backoff::BackoffKey;
use bmdb_model::counts::FleetCounts;
use bmdb_model::fleet::ItemState;
use bmdb_model::{Fence, Lane, MachineId, Process, Provided, ProvidedMachine, Provider, SessionId};
use serde_json::{from_value, json, to_value};

#[test]
fn ids_and_names_are_text_and_fences_are_numbers() {
    let (machine, session) = (MachineId::random(), SessionId::random());
    assert_eq!(to_value(machine).unwrap(), json!(machine.to_string()));
    assert_eq!(
        from_value::<MachineId>(json!(machine.to_string())).unwrap(),
        machine
    );
    assert_eq!(
        from_value::<SessionId>(json!(session.to_string())).unwrap(),
        session
    );
    assert_eq!(to_value(Fence::new(7)).unwrap(), json!(7));
    assert_eq!(from_value::<Fence>(json!(7)).unwrap(), Fence::new(7));
    let process = from_value::<Process>(json!("AcmeWipe")).unwrap();
    assert_eq!(to_value(Lane::from(&process)).unwrap(), json!("AcmeWipe"));
    assert_eq!(
        to_value(ItemState::BackingOff).unwrap(),
        json!("backing-off")
    );
}

#[test]
fn invalid_text_is_refused_with_the_reason() {
    let refused = from_value::<Process>(json!("a b")).unwrap_err();
    assert!(
        refused.to_string().contains("byte 1 is not allowed"),
        "{refused}"
    );
    let refused = from_value::<BackoffKey>(json!("x")).unwrap_err();
    assert!(refused.to_string().contains("not a position"), "{refused}");
}

#[test]
fn rows_are_objects_of_their_fields() {
    let machine = MachineId::random();
    let provided = Provided::new(Provider::NONE, "a").location("rack 7");
    let row = to_value(ProvidedMachine::new(machine, provided)).unwrap();
    let tag = json!({
        "provider": "None", "provider_id": "a", "reservation_id": null, "ip_address": null,
        "location": "rack 7", "status": null,
    });
    assert_eq!(
        row,
        json!({ "machine_id": machine.to_string(), "provided": tag })
    );
    assert_eq!(
        to_value(FleetCounts::default()).unwrap()["machines"],
        json!(0)
    );
}
