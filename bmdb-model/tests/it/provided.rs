//! The tag `provided`.

use crate::scenario::Scenario;
use bmdb_model::{
    Error, MachineId, Provided, ProvidedMachine, Provider, ProviderStatus, internal, machine,
    provided,
};

const STATUS: &str =
    "SELECT provider_status, provider_ip_address, provider_location FROM machine_provided";

fn complete() -> Provided {
    Provided::new(Provider::EQUINIX, "a")
        .reservation_id("r-1")
        .ip_address("10.0.0.1")
        .location("rack 7")
        .status(ProviderStatus::Running)
}

impl Scenario {
    async fn set(&mut self, machine: MachineId, tag: &Provided) -> Result<(), Error> {
        self.write(machine, async |conn| {
            provided::set(conn, machine, tag).await
        })
        .await
    }

    async fn bare(&self) -> MachineId {
        self.db.machine().create().await.unwrap()
    }

    async fn heard(
        &mut self,
        status: Option<ProviderStatus>,
        ip_address: Option<&str>,
        location: Option<&str>,
    ) -> Result<bool, Error> {
        let of = (&Provider::EQUINIX, "a");
        provided::update_status(&mut self.conn, of.0, of.1, status, ip_address, location).await
    }
}

#[tokio::test]
async fn the_tag_is_read_as_it_was_set_and_set_again_as_a_whole() {
    let mut s = Scenario::new().await;
    let machine = s.bare().await;
    for tag in [complete(), Provided::new(Provider::LUMEN, "b"), complete()] {
        s.set(machine, &tag).await.unwrap();
        assert_eq!(provided::of(&mut s.conn, machine).await.unwrap(), Some(tag));
    }
    assert_eq!(
        provided::of(&mut s.conn, MachineId::random())
            .await
            .unwrap(),
        None
    );
}

#[tokio::test]
async fn a_providers_machines_are_listed_by_its_ids() {
    let mut s = Scenario::new().await;
    let mut of_equinix = Vec::new();
    for id in ["b", "a"] {
        let (machine_id, provided) = (s.bare().await, Provided::new(Provider::EQUINIX, id));
        s.set(machine_id, &provided).await.unwrap();
        of_equinix.insert(0, ProvidedMachine::new(machine_id, provided));
    }
    let lumen = s.bare().await;
    s.set(lumen, &Provided::new(Provider::LUMEN, "a"))
        .await
        .unwrap();
    let listed = provided::by_provider(&mut s.conn, &Provider::EQUINIX)
        .await
        .unwrap();
    assert_eq!(listed, of_equinix);
}

#[tokio::test]
async fn values_that_a_provider_does_not_report_are_kept() {
    let mut s = Scenario::new().await;
    let machine = s.bare().await;
    s.set(machine, &complete()).await.unwrap();
    let stopped = Some(ProviderStatus::Stopped);
    assert!(s.heard(stopped, None, None).await.unwrap());
    assert_eq!(s.rows(STATUS).await, ["Stopped|10.0.0.1|rack 7"]);
    assert!(
        s.heard(None, Some("10.0.0.2"), Some("rack 8"))
            .await
            .unwrap()
    );
    assert_eq!(s.rows(STATUS).await, ["Stopped|10.0.0.2|rack 8"]);
    assert!(s.heard(None, None, None).await.unwrap());
    assert_eq!(s.rows(STATUS).await, ["Stopped|10.0.0.2|rack 8"]);
}

#[tokio::test]
async fn a_report_about_an_unknown_machine_changes_nothing() {
    let mut s = Scenario::new().await;
    let machine = s.bare().await;
    s.set(machine, &Provided::new(Provider::LUMEN, "a"))
        .await
        .unwrap();
    assert!(
        !s.heard(Some(ProviderStatus::Stopped), None, None)
            .await
            .unwrap()
    );
    assert!(!s.heard(None, None, None).await.unwrap());
    assert_eq!(s.rows(STATUS).await, ["||"]);
}

#[tokio::test]
async fn a_providers_id_belongs_to_one_machine() {
    let mut s = Scenario::new().await;
    s.provided("a").await;
    let other = s.bare().await;
    let taken = "provider id \"a\" of Equinix belongs to another machine already";
    let error = s
        .set(other, &Provided::new(Provider::EQUINIX, "a"))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), taken);
    assert!(matches!(error, Error::ProviderIdTaken { .. }));
    s.set(other, &Provided::new(Provider::LUMEN, "a"))
        .await
        .unwrap();
}

fn of_equinix(machine_id: MachineId, id: &str) -> ProvidedMachine {
    ProvidedMachine::new(machine_id, Provided::new(Provider::EQUINIX, id))
}

#[tokio::test]
async fn many_tags_are_set_all_or_none() {
    let mut s = Scenario::new().await;
    s.provided("taken").await;
    let (first, second) = (s.bare().await, s.bare().await);
    let ids = "SELECT provider_id FROM machine_provided ORDER BY 1";
    let taken = "provider id \"taken\" of Equinix belongs to another machine already".to_owned();
    let empty = format!("machine {second}: provider_id must not be empty");
    for (id, refusal) in [("taken", taken), ("", empty)] {
        let tags = [of_equinix(first, "b"), of_equinix(second, id)];
        let error = provided::set_all(&mut s.conn, &tags).await.unwrap_err();
        assert_eq!(error.to_string(), refusal);
        assert_eq!(s.rows(ids).await, ["taken"]);
    }
    let tags = [of_equinix(first, "b"), of_equinix(second, "c")];
    provided::set_all(&mut s.conn, &tags).await.unwrap();
    assert_eq!(s.rows(ids).await, ["b", "c", "taken"]);
    let tags = [
        of_equinix(first, "d"),
        of_equinix(second, "e"),
        of_equinix(first, "f"),
    ];
    provided::set_all(&mut s.conn, &tags).await.unwrap();
    assert_eq!(
        s.rows(ids).await,
        ["e", "f", "taken"],
        "the last one counts"
    );
}

#[tokio::test]
async fn the_first_known_machine_of_a_list_is_named() {
    let mut s = Scenario::new().await;
    let known = s.provided("taken").await;
    let new = |id| of_equinix(MachineId::random(), id);
    for (machines, refusal) in [
        (vec![], None),
        (vec![new("b"), new("c")], None),
        (
            vec![new("b"), new("taken"), of_equinix(known, "d")],
            Some("provider id \"taken\" of Equinix belongs to another machine already".to_owned()),
        ),
        (
            vec![of_equinix(known, "d"), new("taken")],
            Some(format!("machine {known} exists already")),
        ),
    ] {
        let result = internal::provided::refuse_known(&mut s.conn, &machines).await;
        assert_eq!(result.err().map(|error| error.to_string()), refusal);
    }
}

#[tokio::test]
async fn a_machine_is_found_by_its_providers_id() {
    let mut s = Scenario::new().await;
    let machine = s.bare().await;
    s.set(machine, &Provided::new(Provider::EQUINIX, "a/b"))
        .await
        .unwrap();
    for (provider, id, found) in [
        (&Provider::EQUINIX, "a/b", Some(machine)),
        (&Provider::EQUINIX, "a", None),
        (&Provider::LUMEN, "a/b", None),
    ] {
        assert_eq!(
            provided::find(&mut s.conn, provider, id).await.unwrap(),
            found
        );
    }
    let nul = provided::find(&mut s.conn, &Provider::EQUINIX, "a\0").await;
    assert!(matches!(nul, Err(Error::NulByte { .. })), "{nul:?}");
}

#[tokio::test]
async fn machines_are_found_by_id_prefix_in_order_up_to_the_limit() {
    let mut s = Scenario::new().await;
    let ids = [
        "67e55044-10b1-426f-9247-bb680e5fe0c8",
        "67e55044-10b1-426f-9247-bb680e5fe0c9",
        "67e55045-0000-4000-8000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
    ];
    let ids = ids.map(|id| id.parse::<MachineId>().unwrap());
    machine::create(&mut s.conn, &ids).await.unwrap();
    for (prefix, limit, found) in [
        ("67e5", 10, &ids[..3]),
        ("67e5504", 2, &ids[..2]),
        ("67E55044-10B1-426f-9247-bb680e5fe0c9", 2, &ids[1..2]),
        ("67e55046", 10, &[]),
        ("f", 10, &ids[3..]),
    ] {
        let prefix = prefix.parse().unwrap();
        let machines = machine::with_prefix(&mut s.conn, &prefix, limit)
            .await
            .unwrap();
        assert_eq!(machines, found);
    }
}
