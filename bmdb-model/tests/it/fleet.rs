//! Large fleets, each created once per server and then cloned.

use crate::scenario::Scenario;
use bmdb_testkit::Template;

/// The state of a fleet's machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Situation {
    /// Nothing needs anything.
    NothingEligible,
    /// One machine of a thousand is due.
    FewDue,
    /// The same, and one of twenty is backing off.
    ManyBackingOff,
    /// Like `few`, but one machine of ten is claimed.
    ManyHeld,
    /// One of a hundred is due.
    OnePercentEligible,
    /// All are due.
    AllEligible,
}

impl Situation {
    /// What leads to it from a fleet at rest. A machine's number says what becomes of it.
    pub(crate) fn sql(self) -> String {
        let one_of = |machines: u32| {
            format!(
                "UPDATE work_item SET eligible = true
                 WHERE process = 'ShepherdAgentStart' AND fence % {machines} = 0;"
            )
        };
        let few = one_of(1000);
        match self {
            Self::NothingEligible => String::new(),
            Self::FewDue => few,
            Self::ManyBackingOff => format!(
                "{few} UPDATE work_item
                 SET eligible = true, backoff_until = now() + interval '1 day'
                 WHERE fence % 20 = 1"
            ),
            Self::ManyHeld => format!(
                "{few} UPDATE work_item
                 SET eligible = true, started_at = now(),
                     session_id = (SELECT session_id FROM sessions LIMIT 1)
                 WHERE fence % 10 = 1"
            ),
            Self::OnePercentEligible => one_of(100),
            Self::AllEligible => one_of(1),
        }
    }
}

/// A fleet at rest: every machine is provided and was planned, none is due. Never analyzed.
pub(crate) struct Fleet(Template);

impl Fleet {
    /// `fence` holds a machine's number, for want of a better place.
    pub(crate) fn of(machines: u32) -> Self {
        Self(Template::new().sql(format!(
            "INSERT INTO machines (machine_id)
             SELECT md5(n::text)::uuid FROM generate_series(1, {machines}) n;
             INSERT INTO machine_provided (machine_id, provider, provider_id)
             SELECT md5(n::text)::uuid, 'Equinix', n FROM generate_series(1, {machines}) n;
             INSERT INTO work_item (machine_id, process, lane, provider, plan_at, fence)
             SELECT md5(n::text)::uuid, 'ShepherdAgentStart', 'shepherd', 'Equinix',
                    now() - n * interval '1 second', n
             FROM generate_series(1, {machines}) n"
        )))
    }

    pub(crate) async fn scenario(&self, situation: Situation) -> Scenario {
        let s = Scenario::on(self.0.database().await.unwrap()).await;
        s.db.run_sql(&situation.sql()).await.unwrap();
        s
    }
}
