//! Tags of many machines, written with one statement for each kind of tag.

use crate::scenario::Scenario;
use bmdb_backoff::mix;
use bmdb_model::column::Column;
use bmdb_model::internal::connection;
use bmdb_model::internal::tag_writes::write_all_pipelined;
use bmdb_model::os_installation::{
    self, InstallationReport, InstallationRequest, InstallationResult,
};
use bmdb_model::tag::{self, TagName};
use bmdb_model::{
    AgentStarted, Error, MachineId, Provided, Provider, ProviderStatus, TagWrites, agent, hardware,
    machine, provided,
};
use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

const TABLES: [&str; 6] = [
    "machine_provided",
    "machine_agent_started",
    "machine_agent_heartbeat",
    "machine_hardware_report",
    "machine_os_installation_request",
    "machine_os_installation_report",
];

/// One write of one tag.
#[derive(Debug, Clone)]
enum Write {
    Provided(Provided),
    Started(AgentStarted),
    Heartbeat(Option<DateTime<Utc>>),
    Hardware(Vec<u8>),
    Request(InstallationRequest),
    Report(InstallationReport),
    Unset(TagName),
}

impl Write {
    fn add_to(self, writes: TagWrites) -> TagWrites {
        match self {
            Self::Provided(provided) => writes.provided(provided),
            Self::Started(started) => writes.agent_started(started),
            Self::Heartbeat(at) => writes.agent_heartbeat(at),
            Self::Hardware(raw) => writes.hardware_report(raw),
            Self::Request(request) => writes.os_installation_request(request),
            Self::Report(report) => writes.os_installation_report(report),
            Self::Unset(tag) => writes.unset(tag),
        }
    }

    /// Writes it as callers of one machine do.
    async fn alone(&self, conn: &mut AsyncPgConnection, machine: MachineId) -> Result<(), Error> {
        match self {
            Self::Provided(provided) => provided::set(conn, machine, provided).await,
            Self::Started(started) => agent::set_started(conn, machine, started).await,
            Self::Heartbeat(at) => agent::set_heartbeat(conn, machine, *at).await,
            Self::Hardware(raw) => hardware::set(conn, machine, raw).await,
            Self::Request(InstallationRequest {
                generation, raw, ..
            }) => os_installation::set_request(conn, machine, *generation, raw).await,
            Self::Report(InstallationReport {
                generation,
                result,
                raw,
                ..
            }) => os_installation::set_report(conn, machine, *generation, *result, raw).await,
            Self::Unset(tag) => tag::unset(conn, machine, *tag).await.map(drop),
        }
    }
}

/// Numbers that look random, the same in each run.
struct Numbers {
    seed: u128,
    next: u64,
}

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.next += 1;
        mix(self.seed, self.next) % limit
    }

    fn time(&mut self) -> DateTime<Utc> {
        let hour = i64::try_from(self.below(24)).unwrap();
        DateTime::from_timestamp(1_795_300_000 + 3600 * hour, 0).unwrap()
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = self.below(40);
        (0..length)
            .map(|_| u8::try_from(self.below(256)).unwrap())
            .collect()
    }

    /// The writes of one machine, in the order in which they are written: what is unset comes first, and
    /// the heartbeat after the start.
    fn writes(&mut self, machine: usize) -> Vec<Write> {
        let (mut unset, mut set) = (Vec::new(), Vec::new());
        for tag in TagName::ALL {
            match self.below(3) {
                0 => {}
                1 => unset.push(Write::Unset(tag)),
                _ => set.push(match tag {
                    TagName::Provided => Write::Provided(self.provided(machine)),
                    TagName::AgentStarted => {
                        Write::Started(AgentStarted::at(self.time(), self.bytes()))
                    }
                    TagName::AgentHeartbeat => Write::Heartbeat(Some(self.time())),
                    TagName::HardwareReport => Write::Hardware(self.bytes()),
                    TagName::OsInstallationRequest => {
                        Write::Request(InstallationRequest::new(self.generation(), self.bytes()))
                    }
                    TagName::OsInstallationReport => Write::Report(InstallationReport::new(
                        self.generation(),
                        [InstallationResult::Success, InstallationResult::Error]
                            [usize::from(self.below(2) == 0)],
                        self.bytes(),
                    )),
                }),
            }
        }
        unset.extend(set);
        unset
    }

    fn generation(&mut self) -> i64 {
        i64::try_from(self.below(u64::MAX) >> 1).unwrap()
    }

    fn provided(&mut self, machine: usize) -> Provided {
        let id = format!("\"{{{machine}\\,}}\u{1f600} {}", self.below(2));
        let mut provided = Provided::new(Provider::EQUINIX, id);
        if self.below(2) == 0 {
            provided = provided.ip_address("10.0.0.7").location("NULL");
        }
        if self.below(2) == 0 {
            provided = provided.status(ProviderStatus::Running).reservation_id("");
        }
        provided
    }
}

fn machine(number: usize) -> MachineId {
    Uuid::from_u128(1 + u128::try_from(number).unwrap()).into()
}

impl Scenario {
    async fn with_machines(count: usize) -> Self {
        let mut s = Self::new().await;
        let machines: Vec<MachineId> = (0..count).map(machine).collect();
        machine::create(&mut s.conn, &machines).await.unwrap();
        s
    }

    /// All rows of all tags.
    async fn tags(&self) -> Vec<String> {
        let rows =
            TABLES.map(|table| format!("SELECT '{table}' AS tag, t::text AS text FROM {table} t"));
        let sql = format!(
            "SELECT tag, text FROM ({}) u ORDER BY 1, 2",
            rows.join(" UNION ALL ")
        );
        self.rows(&sql).await
    }

    /// Writes tags of many machines in a transaction.
    async fn write_all(&mut self, writes: &[(MachineId, TagWrites)]) -> Result<(), Error> {
        let writes: Vec<(MachineId, &TagWrites)> = writes
            .iter()
            .map(|(machine, writes)| (*machine, writes))
            .collect();
        let (isolation, access) = Default::default();
        connection::begin(&mut self.conn, isolation, access).await?;
        let written = write_all_pipelined(&self.conn, &writes).await;
        match written {
            Ok(()) => connection::commit(&mut self.conn).await?,
            Err(_) => connection::roll_back(&mut self.conn).await?,
        }
        written
    }
}

#[tokio::test]
async fn writing_many_machines_is_like_writing_each_tag_of_each_alone() {
    const MACHINES: usize = 30;
    let mut many = Scenario::with_machines(MACHINES).await;
    let mut alone = Scenario::with_machines(MACHINES).await;
    for seed in 0..10 {
        let mut numbers = Numbers { seed, next: 0 };
        let mut writes = Vec::new();
        for number in 0..MACHINES {
            let of_machine = numbers.writes(number);
            for write in &of_machine {
                write.alone(&mut alone.conn, machine(number)).await.unwrap();
            }
            let of_machine = of_machine
                .into_iter()
                .fold(TagWrites::new(), |writes, write| write.add_to(writes));
            writes.push((machine(number), of_machine));
        }
        let middle = usize::try_from(numbers.below(30)).unwrap();
        writes.rotate_left(middle);
        many.write_all(&writes).await.unwrap();
        let tags = many.tags().await;
        assert_eq!(tags, alone.tags().await, "seed {seed}: {writes:?}");
        assert!(tags.len() > MACHINES, "seed {seed}");
    }
}

#[tokio::test]
async fn no_writes_are_no_statement() {
    let mut s = Scenario::with_machines(1).await;
    let before = s.prepared().await;
    s.write_all(&[]).await.unwrap();
    s.write_all(&[(machine(0), TagWrites::default())])
        .await
        .unwrap();
    assert_eq!(s.prepared().await, before);
}

#[tokio::test]
async fn the_later_entry_of_a_machine_counts_for_the_tags_that_it_writes() {
    let mut s = Scenario::with_machines(2).await;
    let started = |key: &[u8]| TagWrites::new().agent_started(AgentStarted::now(key));
    let writes = [
        (machine(0), started(b"1").hardware_report(b"kept")),
        (machine(1), started(b"2")),
        (machine(0), started(b"3")),
        (machine(1), TagWrites::new().unset(TagName::AgentStarted)),
    ];
    s.write_all(&writes).await.unwrap();
    let tags = "SELECT agent_public_key, hardware_report_raw FROM machine_agent_started
                JOIN machine_hardware_report USING (machine_id)";
    assert_eq!(s.rows(tags).await, [r"\x33|\x6b657074"]);
    assert_eq!(s.tags().await.len(), 2);
}

#[tokio::test]
async fn the_heartbeat_that_is_set_with_a_start_stays() {
    let mut s = Scenario::with_machines(2).await;
    let mut writes = Vec::new();
    for (number, heartbeat) in [(0, None), (1, Some(DateTime::UNIX_EPOCH))] {
        let with_start = TagWrites::new()
            .agent_heartbeat(heartbeat)
            .agent_started(AgentStarted::now(b"key"));
        writes.push((machine(number), with_start));
    }
    s.write_all(&writes).await.unwrap();
    let times = "SELECT agent_heartbeat_at >= agent_started_at, agent_heartbeat_at = 'epoch'
                 FROM machine_agent_started JOIN machine_agent_heartbeat USING (machine_id)
                 ORDER BY machine_id";
    assert_eq!(s.rows(times).await, ["t|f", "f|t"]);
}

#[tokio::test]
async fn one_value_that_cannot_be_stored_refuses_all_and_is_named() {
    let mut s = Scenario::with_machines(3).await;
    let long = vec![0; Column::HARDWARE_REPORT.maximum_bytes + 1];
    let writes = [
        (machine(0), TagWrites::new().hardware_report(b"short")),
        (machine(1), TagWrites::new().hardware_report(long)),
        (machine(2), TagWrites::new().hardware_report(b"short")),
    ];
    let error = s.write_all(&writes).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "machine {}: hardware report has 16777217 bytes, and at most 16777216 are stored: shorten it",
            machine(1)
        )
    );
    assert_eq!(s.tags().await, [""; 0]);
}

#[tokio::test]
#[allow(clippy::print_stderr, reason = "what is left out must be seen")]
async fn the_provider_id_that_is_taken_is_named() {
    for german in [false, true] {
        let mut s = Scenario::with_machines(4).await;
        // Few systems know German.
        if german && let Err(error) = s.db.speak_german().await {
            eprintln!("\n==== NOT TESTED in German: {error} ====\n");
            continue;
        }
        s.provided("rack (a), 7").await;
        let of = |id: &str| TagWrites::new().provided(Provided::new(Provider::EQUINIX, id));
        for (ids, taken) in [
            (vec!["a", "rack (a), 7", "rack (a)", "7"], "rack (a), 7"),
            (vec!["a", "b", "c", "b"], "b"),
            (vec!["rack (a), 7"], "rack (a), 7"),
        ] {
            let writes: Vec<_> = (0..).map(machine).zip(ids.into_iter().map(of)).collect();
            let error = s.write_all(&writes).await.unwrap_err();
            let is_taken = matches!(
                &error,
                Error::ProviderIdTaken { provider_id, .. } if provider_id == taken
            );
            assert!(is_taken, "{error}");
            assert_eq!(s.tags().await.len(), 1);
        }
    }
}

#[tokio::test]
async fn an_id_that_is_unset_can_be_given_to_another_machine() {
    let mut s = Scenario::with_machines(2).await;
    let of = |id: &str| TagWrites::new().provided(Provided::new(Provider::EQUINIX, id));
    s.write_all(&[(machine(1), of("a"))]).await.unwrap();
    let moved = [
        (machine(0), of("a")),
        (machine(1), TagWrites::new().unset(TagName::Provided)),
    ];
    s.write_all(&moved).await.unwrap();
    let ids = "SELECT machine_id FROM machine_provided WHERE provider_id = 'a'";
    assert_eq!(s.rows(ids).await, [machine(0).to_string()]);
}
