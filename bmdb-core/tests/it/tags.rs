//! Tags of many machines in one transaction: what one machine at a time writes, in a few statements.

use crate::scenario::Scenario;
use bmdb_core::{Claim, Session, Tx, TxError};
use bmdb_model::os_installation::{
    InstallationReport, InstallationRequest, InstallationResult::Success,
};
use bmdb_model::tag::TagName;
use bmdb_model::{
    AgentStarted, Error, MachineId, Process, Provided, ProvidedMachine, Provider, TagWrites,
};
use chrono::{DateTime, Utc};
use uuid::Uuid;

const START: Process = Process::SHEPHERD_AGENT_START;
const ACCESS: Process = Process::SHEPHERD_ACCESS;

/// Everything about the machines, without their provider ids.
const STATE: &str =
    "SELECT to_jsonb(p) - 'provider_id', to_jsonb(s), to_jsonb(b), to_jsonb(h), to_jsonb(q),
        to_jsonb(r), to_jsonb(o) - 'since',
        (SELECT jsonb_agg(jsonb_build_array(process, eligible, ready_at > now(), hold_reason) ORDER BY process)
         FROM work_item i WHERE i.machine_id = m.machine_id)
     FROM machines m
     LEFT JOIN machine_provided p USING (machine_id)
     LEFT JOIN machine_agent_started s USING (machine_id)
     LEFT JOIN machine_agent_heartbeat b USING (machine_id)
     LEFT JOIN machine_hardware_report h USING (machine_id)
     LEFT JOIN machine_os_installation_request q USING (machine_id)
     LEFT JOIN machine_os_installation_report r USING (machine_id)
     LEFT JOIN machine_hold o USING (machine_id)";

fn machine(group: u64, number: u64) -> MachineId {
    Uuid::from_u64_pair(group, number).into()
}

pub(crate) fn machines(group: u64, count: u64) -> Vec<MachineId> {
    (1..=count).map(|number| machine(group, number)).collect()
}

fn hour(hour: u32) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000 + 3600 * i64::from(hour), 0).unwrap()
}

/// Pairs of each machine with a value that differs from machine to machine.
pub(crate) fn each<T>(machines: &[MachineId], value: impl Fn(u32) -> T) -> Vec<(MachineId, T)> {
    machines.iter().copied().zip((0..).map(value)).collect()
}

fn provided(machine: MachineId, location: &str) -> ProvidedMachine {
    let tag = Provided::new(Provider::EQUINIX, machine.to_string());
    ProvidedMachine::new(machine, tag.location(location))
}

fn all_provided(machines: &[MachineId]) -> Vec<ProvidedMachine> {
    machines
        .iter()
        .map(|machine| provided(*machine, "rack 7"))
        .collect()
}

pub(crate) async fn create(session: &Session, machines: &[MachineId]) {
    let created = session.transact(async |tx| {
        tx.create_machines_as(machines).await?;
        tx.set_all_provided(&all_provided(machines)).await
    });
    created.await.unwrap();
}

impl Scenario {
    async fn state(&self, group: u64) -> Vec<String> {
        let (from, to) = (machine(group, 0), machine(group + 1, 0));
        let sql =
            format!("{STATE} WHERE machine_id BETWEEN '{from}' AND '{to}' ORDER BY machine_id");
        // What the ids of a group have in common.
        let prefix = &from.to_string()[..18];
        let rows = self.rows(&sql).await.into_iter();
        rows.map(|row| row.replace(prefix, "group")).collect()
    }

    async fn claimable(&self) -> usize {
        let claimed = self
            .session
            .claim(&Claim::of(&START).limit(100))
            .await
            .unwrap();
        let due = claimed.len();
        for work in claimed {
            work.cancel().await.unwrap();
        }
        due
    }
}

/// One kind of write: of one machine, and of many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Provided,
    Started,
    Heartbeat,
    Hardware,
    Request,
    Report,
    Hold,
    ReleaseHold,
    HoldProcess,
    ReleaseProcess,
    UnsetAgent,
    Unset(TagName),
}

impl Kind {
    async fn of_each(self, tx: &mut Tx<'_>, machines: &[MachineId]) -> Result<(), TxError> {
        for (machine, n) in each(machines, |n| n) {
            let raw = n.to_string();
            let raw = raw.as_bytes();
            match self {
                Self::Provided => {
                    let provided = provided(machine, &n.to_string()).provided;
                    tx.set_provided(machine, &provided).await?;
                }
                Self::Started => tx.set_agent_started(machine, &started(n)).await?,
                Self::Heartbeat => tx.set_agent_heartbeat(machine, Some(hour(n))).await?,
                Self::Hardware => tx.set_hardware_report(machine, raw).await?,
                Self::Request => tx.set_os_installation_request(machine, 7, raw).await?,
                Self::Report => {
                    tx.set_os_installation_report(machine, 7, Success, raw)
                        .await?;
                }
                Self::Hold => tx.hold(machine, &n.to_string()).await?,
                Self::ReleaseHold => assert!(tx.release_hold(machine).await?),
                Self::HoldProcess => tx.hold_process(machine, &ACCESS, &n.to_string()).await?,
                Self::ReleaseProcess => {
                    assert!(tx.release_process_hold(machine, &ACCESS).await?);
                }
                Self::UnsetAgent => tx.unset_agent(machine).await?,
                Self::Unset(tag) => drop(tx.unset_tag(machine, tag).await?),
            }
        }
        Ok(())
    }

    pub(crate) async fn of_all(
        self,
        tx: &mut Tx<'_>,
        machines: &[MachineId],
    ) -> Result<(), TxError> {
        let raw = |n: u32| n.to_string();
        match self {
            Self::Provided => {
                let all = each(machines, |n| n).into_iter();
                let all: Vec<_> = all.map(|(m, n)| provided(m, &n.to_string())).collect();
                tx.set_all_provided(&all).await
            }
            Self::Started => tx.set_agents_started(&each(machines, started)).await,
            Self::Heartbeat => {
                tx.set_agent_heartbeats(&each(machines, |n| Some(hour(n))))
                    .await
            }
            Self::Hardware => tx.set_hardware_reports(&each(machines, raw)).await,
            Self::Request => {
                let request = |n| InstallationRequest::new(7, raw(n));
                tx.set_os_installation_requests(&each(machines, request))
                    .await
            }
            Self::Report => {
                let report = |n| InstallationReport::new(7, Success, raw(n));
                tx.set_os_installation_reports(&each(machines, report))
                    .await
            }
            Self::Hold => tx.hold_machines(&each(machines, raw)).await,
            Self::ReleaseHold => {
                assert_eq!(tx.release_holds(machines).await?.len(), machines.len());
                Ok(())
            }
            Self::HoldProcess => {
                let reasons = each(machines, raw);
                tx.hold_process_on_machines(&ACCESS, &reasons).await
            }
            Self::ReleaseProcess => {
                let released = tx.release_process_holds(&ACCESS, machines).await?;
                assert_eq!(released.len(), machines.len());
                Ok(())
            }
            Self::UnsetAgent => tx.unset_agents(machines).await,
            Self::Unset(tag) => tx.unset_tags(machines, tag).await.map(drop),
        }
    }

    /// As values that travel with an end; `None` for holds, which are no tags of that kind.
    fn write(self, machine: MachineId, n: u32) -> Option<TagWrites> {
        let writes = TagWrites::new();
        Some(match self {
            Self::Provided => writes.provided(provided(machine, &n.to_string()).provided),
            Self::Started => writes.agent_started(started(n)),
            Self::Heartbeat => writes.agent_heartbeat(Some(hour(n))),
            Self::Hardware => writes.hardware_report(n.to_string()),
            Self::Request => {
                writes.os_installation_request(InstallationRequest::new(7, n.to_string()))
            }
            Self::Report => {
                writes.os_installation_report(InstallationReport::new(7, Success, n.to_string()))
            }
            Self::UnsetAgent => writes.unset(TagName::AgentStarted),
            Self::Unset(tag) => writes.unset(tag),
            Self::Hold | Self::ReleaseHold | Self::HoldProcess | Self::ReleaseProcess => {
                return None;
            }
        })
    }
}

fn started(n: u32) -> AgentStarted {
    AgentStarted::at(hour(2 * n), n.to_string())
}

/// Heartbeats are older than some starts, and later than others.
const SEQUENCE: [Kind; 20] = [
    Kind::Provided,
    Kind::Heartbeat,
    Kind::Started,
    Kind::Hardware,
    Kind::Request,
    Kind::Report,
    Kind::Hold,
    Kind::ReleaseHold,
    Kind::HoldProcess,
    Kind::ReleaseProcess,
    Kind::UnsetAgent,
    Kind::Started,
    Kind::Heartbeat,
    Kind::Unset(TagName::AgentHeartbeat),
    Kind::Unset(TagName::OsInstallationReport),
    Kind::Unset(TagName::OsInstallationRequest),
    Kind::Unset(TagName::HardwareReport),
    Kind::Unset(TagName::AgentStarted),
    Kind::Unset(TagName::Provided),
    Kind::Provided,
];

#[tokio::test]
async fn each_set_form_leaves_the_tags_and_plans_that_one_machine_at_a_time_leaves() {
    let s = Scenario::new().await;
    let [one, many, values] = [1, 2, 3].map(|group| machines(group, 10));
    for machines in [&one, &many, &values] {
        create(&s.session, machines).await;
    }
    for kind in SEQUENCE {
        let each_alone = s.session.transact(async |tx| kind.of_each(tx, &one).await);
        each_alone.await.unwrap();
        let all = s.session.transact(async |tx| kind.of_all(tx, &many).await);
        all.await.unwrap();
        let expected = s.state(1).await;
        assert_eq!(s.state(2).await, expected, "{kind:?}");

        let writes: Option<Vec<(MachineId, TagWrites)>> = each(&values, |n| n)
            .into_iter()
            .map(|(machine, n)| Some((machine, kind.write(machine, n)?)))
            .collect();
        let as_values = s.session.transact(async |tx| match &writes {
            Some(writes) => tx.write_tags(writes).await,
            None => kind.of_all(tx, &values).await,
        });
        as_values.await.unwrap();
        assert_eq!(s.state(3).await, expected, "{kind:?} as values");
    }
}

#[tokio::test]
async fn written_machines_become_due_and_are_no_longer_due() {
    let s = Scenario::new().await;
    let fleet = machines(1, 20);
    create(&s.session, &fleet).await;
    assert_eq!(s.claimable().await, 20);
    let started = s.session.transact(async |tx| {
        tx.set_agents_started(&each(&fleet, |_| AgentStarted::now("key")))
            .await
    });
    started.await.unwrap();
    assert_eq!(s.claimable().await, 0);
    let unset = s
        .session
        .transact(async |tx| tx.unset_agents(&fleet[..5]).await);
    unset.await.unwrap();
    s.advance(60).await;
    assert_eq!(s.claimable().await, 5);
    let held = s
        .session
        .transact(async |tx| tx.hold_machines(&each(&fleet[..3], |_| "flood")).await);
    held.await.unwrap();
    s.advance(60).await;
    assert_eq!(s.claimable().await, 2);
}

#[tokio::test]
async fn the_last_entry_of_a_machine_counts() {
    let s = Scenario::new().await;
    let fleet = machines(1, 2);
    create(&s.session, &fleet).await;
    let twice = |value: fn(&'static str) -> Vec<u8>| {
        vec![
            (fleet[1], value("first")),
            (fleet[0], value("other")),
            (fleet[1], value("last")),
        ]
    };
    let raw = twice(|text| text.into());
    let written = s.session.transact(async |tx| {
        tx.set_hardware_reports(&raw).await?;
        let started = raw.iter().map(|(id, raw)| (*id, AgentStarted::now(raw)));
        tx.set_agents_started(&started.collect::<Vec<_>>()).await?;
        let requests = raw
            .iter()
            .map(|(id, raw)| (*id, InstallationRequest::new(1, &**raw)));
        tx.set_os_installation_requests(&requests.collect::<Vec<_>>())
            .await?;
        let reports = raw
            .iter()
            .map(|(id, raw)| (*id, InstallationReport::new(1, Success, &**raw)));
        tx.set_os_installation_reports(&reports.collect::<Vec<_>>())
            .await?;
        let provided = ["first", "last"].map(|location| provided(fleet[1], location));
        tx.set_all_provided(&provided).await?;
        tx.hold_machines(&[(fleet[1], "first"), (fleet[1], "last")])
            .await?;
        let had = tx
            .unset_tags(&[fleet[0], fleet[0]], TagName::HardwareReport)
            .await?;
        assert_eq!(had, [fleet[0]]);
        Ok(())
    });
    written.await.unwrap();
    let last = "SELECT convert_from(agent_public_key, 'UTF8'), convert_from(hardware_report_raw, 'UTF8'),
            convert_from(os_installation_request_raw, 'UTF8'), convert_from(os_installation_report_raw, 'UTF8'),
            provider_location, reason
        FROM machine_agent_started JOIN machine_hardware_report USING (machine_id)
        JOIN machine_os_installation_request USING (machine_id)
        JOIN machine_os_installation_report USING (machine_id)
        JOIN machine_provided USING (machine_id) JOIN machine_hold USING (machine_id)";
    assert_eq!(s.rows(last).await, ["last|last|last|last|last|last"]);
}

#[tokio::test]
async fn one_bad_value_or_unknown_machine_among_many_writes_nothing_and_is_named() {
    let s = Scenario::new().await;
    let fleet = machines(1, 50);
    create(&s.session, &fleet).await;
    let before = s.state(1).await;
    let mut started = each(&fleet, |_| AgentStarted::now("key"));
    started[30].1 = AgentStarted::now(vec![0; 65_537]);
    let refused = s
        .session
        .transact(async |tx| tx.set_agents_started(&started).await);
    let refused = refused.await.unwrap_err();
    let named = format!(
        "machine {}: public_key has 65537 bytes, and at most 65536 are stored: shorten it",
        fleet[30]
    );
    assert!(refused.to_string().ends_with(&named), "{refused}");

    // The closure ignores the error.
    let ignored = s.session.transact(async |tx| {
        assert!(tx.set_agents_started(&started).await.is_err());
        Ok(())
    });
    ignored.await.unwrap();

    let mut unknown = each(&fleet, |_| AgentStarted::now("key"));
    unknown[30].0 = machine(9, 9);
    let refused = s
        .session
        .transact(async |tx| tx.set_agents_started(&unknown).await);
    let refused = refused.await.unwrap_err();
    let is_named =
        matches!(refused, TxError::Database(Error::NoSuchMachine(id)) if id == machine(9, 9));
    assert!(is_named, "{refused}");
    let reasons = each(&[fleet[0], machine(9, 9)], |_| "flood");
    let refused = s
        .session
        .transact(async |tx| tx.hold_machines(&reasons).await);
    let refused = refused.await.unwrap_err();
    let is_named =
        matches!(refused, TxError::Database(Error::NoSuchMachine(id)) if id == machine(9, 9));
    assert!(is_named, "{refused}");

    let mut taken = all_provided(&fleet);
    taken[30].provided.provider_id = fleet[31].to_string();
    let refused = s
        .session
        .transact(async |tx| tx.set_all_provided(&taken).await);
    let refused = refused.await.unwrap_err();
    let is_named = matches!(&refused, TxError::Database(Error::ProviderIdTaken { provider_id, .. })
        if *provider_id == fleet[31].to_string());
    assert!(is_named, "{refused}");
    assert_eq!(s.state(1).await, before);
}

#[tokio::test]
async fn all_machines_of_a_list_are_deleted_or_none() {
    let s = Scenario::new().await;
    let fleet = machines(1, 20);
    create(&s.session, &fleet).await;
    let work = s.claim_any().await;
    let before = s.state(1).await;
    let delete = || {
        s.session
            .transact(async |tx| tx.delete_machines(&fleet).await)
    };
    let refused = delete().await.unwrap_err();
    let has_work =
        matches!(refused, TxError::Database(Error::MachineHasWork(id)) if id == work.machine());
    assert!(has_work, "{refused}");
    // The closure ignores the error.
    let ignored = s.session.transact(async |tx| {
        assert!(tx.delete_machines(&fleet).await.is_err());
        Ok(())
    });
    ignored.await.unwrap();
    assert_eq!(s.state(1).await, before);
    work.cancel().await.unwrap();
    delete().await.unwrap();
    assert_eq!(s.state(1).await, [""; 0]);
    assert_eq!(s.rows("SELECT count(*) FROM machines").await, ["0"]);
}

impl Scenario {
    async fn claim_any(&self) -> bmdb_core::Work {
        let claimed = self.session.claim(&Claim::of(&START)).await.unwrap();
        claimed.into_iter().next().unwrap()
    }
}
