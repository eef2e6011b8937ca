//! Every public operation, dropped at each await.

use super::environment::{Done, Environment, Orphans, RECOVERY, START, all, check, config};
use super::tags::{write_each, write_many};
use crate::scenario::{RETRY, owner, unwritten};
use bmdb_core::control_loop::{
    Commit, ControlLoop, Failure, LoopOptions, Machine, Runner, Shutdown,
};
use bmdb_core::fleet::Fleet;
use bmdb_core::operator::{Operator, OperatorError, PauseOptions, Tag};
use bmdb_core::{Bmdb, Claim, MigrateOptions, Reader, SessionOptions, TxOptions, Work};
use bmdb_model::counts;
use bmdb_model::history::Retention;
use bmdb_model::process_control::{Breaker, Limit, Per};
use bmdb_model::{AgentStarted, MachineId, Process, ProcessDef, Provider, TagWrites};
use std::time::Duration;

const ACCESS: Process = Process::SHEPHERD_ACCESS;

/// Long enough for an operation to begin to wait.
const MOMENT: Duration = Duration::from_millis(20);

/// Tests of operations by name; another test checks that all names are here.
macro_rules! dropped {
    ($($test:ident, $names:expr, $orphans:expr, $prepare:expr, $operation:expr;)*) => {
        /// The operations that are dropped here.
        pub(super) const DROPPED: &[&[&str]] = &[$(&$names),*];
        $(
            #[tokio::test]
            async fn $test() {
                check($orphans, $prepare, $operation).await;
            }
        )*
    };
}

async fn nothing(_: &Environment) {}

dropped! {
    connecting, ["Bmdb::connect"], Orphans::No, nothing,
    async |s: &Environment, ()| -> Done {
        Bmdb::connect(config(&s.db)).await?;
        Ok(())
    };
    a_single_connection, ["Config::connect"], Orphans::No, nothing,
    async |s: &Environment, ()| -> Done {
        config(&s.db).connect().await?;
        Ok(())
    };
    // The first is the second with default options.
    migrating, ["Bmdb::migrate", "Bmdb::migrate_with"], Orphans::No,
    async |s: &Environment| owner(&s.db).await,
    async |_: &Environment, owner: Bmdb| -> Done {
        owner.migrate_with(MigrateOptions::default()).await?;
        Ok(())
    };
    // If it is dropped after its row was written, a session without claims is left, which expires.
    starting_a_session, ["Bmdb::start_session"], Orphans::Sessions, nothing,
    async |s: &Environment, ()| -> Done {
        s.bmdb.start_session(SessionOptions::default()).await?;
        Ok(())
    };
    connecting_a_reader, ["Reader::connect"], Orphans::No, nothing,
    async |s: &Environment, ()| -> Done {
        Reader::connect(config(&s.db)).await?;
        Ok(())
    };
    reading_without_a_session, ["Reader::read"], Orphans::No,
    async |s: &Environment| Reader::connect(config(&s.db)).await.unwrap(),
    async |_: &Environment, reader: Reader| -> Done {
        reader.read(async |conn| Ok(counts::fleet(conn).await?)).await?;
        Ok(())
    };
    reading_history, ["Bmdb::history_of"], Orphans::No, nothing,
    async |s: &Environment, ()| -> Done {
        s.bmdb.history_of(s.machines[0]).await?;
        Ok(())
    };
    reclaiming, ["Bmdb::reclaim_expired"], Orphans::Sessions,
    async |s: &Environment| s.lost_session().await,
    async |s: &Environment, ()| -> Done {
        let freed = s.bmdb.reclaim_expired().await?;
        assert_eq!(freed.attempts.len(), 1);
        Ok(())
    };
    a_turn_of_the_janitor, ["Bmdb::janitor_turn"], Orphans::Sessions,
    async |s: &Environment| s.lost_session().await,
    async |s: &Environment, ()| -> Done {
        s.bmdb.janitor_turn().await?;
        Ok(())
    };
    a_dry_run_of_a_turn, ["Bmdb::janitor_dry_run"], Orphans::No, nothing,
    async |s: &Environment, ()| -> Done {
        s.bmdb.janitor_dry_run().await?;
        Ok(())
    };
    operating_on_a_machine,
    [
        "Operator::create_machine", "Operator::hold", "Operator::release_hold", "Operator::set_tag",
        "Operator::unset_tag", "Operator::delete_machine", "Operator::import", "Operator::import_unknown"
    ], Orphans::No, nothing,
    async |s: &Environment, ()| -> Done {
        let (ann, session) = (Operator::new("ann").reason("test"), &s.session);
        let machine = ann.create_machine(session, None, None).await?;
        ann.hold(session, machine).await?;
        ann.release_hold(session, machine).await?;
        let beat = Tag::AgentHeartbeat(None);
        ann.set_tag(session, machine, &beat).await?;
        ann.unset_tag(session, machine, beat.name()).await?;
        ann.delete_machine(session, machine).await?;
        let fleet = Fleet::parse(r#"{"machines": []}"#)?;
        ann.import(session, &fleet).await?;
        ann.import_unknown(session, &fleet).await?;
        Ok(())
    };
    operating_on_work,
    ["Operator::release_work", "Operator::clear_backoff", "Operator::retry_now"], Orphans::No,
    async |s: &Environment| s.work().await,
    async |s: &Environment, work: Work| -> Done {
        let (ann, session) = (Operator::new("ann").reason("test"), &s.session);
        let (machine, process) = (work.machine(), work.process().clone());
        // An earlier try may have done it.
        let done = ann.release_work(session, machine, &process, work.fence()).await;
        assert!(matches!(done, Ok(_) | Err(OperatorError::NotHeld { .. })), "{done:?}");
        ann.clear_backoff(session, machine, &process).await.unwrap_err();
        ann.retry_now(session, machine, &process).await.unwrap_err();
        Ok(())
    };
    operating_on_a_process_of_a_machine,
    ["Operator::hold_process", "Operator::release_process_hold"], Orphans::No, nothing,
    async |s: &Environment, ()| -> Done {
        let (ann, session) = (Operator::new("ann").reason("test"), &s.session);
        ann.hold_process(session, s.machines[0], &ACCESS).await?;
        ann.release_process_hold(session, s.machines[0], &ACCESS).await?;
        Ok(())
    };
    limiting_a_process,
    ["Operator::set_limit", "Operator::remove_limit", "Operator::set_breaker", "Operator::remove_breaker"],
    Orphans::No, nothing,
    async |s: &Environment, ()| -> Done {
        let (ann, session) = (Operator::new("ann").reason("test"), &s.session);
        ann.set_limit(session, &RECOVERY, &Limit::new(Per::Process).max_running(9)).await?;
        ann.remove_limit(session, &RECOVERY, Per::Process).await?;
        ann.set_breaker(session, &RECOVERY, &Breaker::new(Per::Process).max_due(9)).await?;
        ann.remove_breaker(session, &RECOVERY, Per::Process).await?;
        Ok(())
    };
    pausing_a_process,
    ["Operator::pause", "Operator::resume", "Operator::resume_dry_run"], Orphans::No, nothing,
    async |s: &Environment, ()| -> Done {
        let (ann, session) = (Operator::new("ann").reason("test"), &s.session);
        ann.pause(session, &RECOVERY, &PauseOptions::default()).await?;
        ann.resume_dry_run(session, &RECOVERY, None).await?;
        ann.resume(session, &RECOVERY, None).await?;
        Ok(())
    };
    listening_to_agents, ["Session::listen_to_agents"], Orphans::No, nothing,
    async |s: &Environment, ()| -> Done {
        s.session.listen_to_agents(None).await?.stop();
        Ok(())
    };
    ending_a_session, ["Operator::end_session"], Orphans::Sessions, nothing,
    async |s: &Environment, ()| -> Done {
        let other = s.db.session(Duration::from_secs(60)).await?;
        Operator::new("ann").end_session(&s.session, other).await?;
        Ok(())
    };
    draining, ["Bmdb::drain"], Orphans::No,
    async |s: &Environment| s.other_component().await,
    async |_: &Environment, (bmdb, session, work)| -> Done {
        let ended = bmdb.drain(MOMENT).await?;
        assert!(!ended, "{work:?} of {session:?} was ended by another session");
        Ok(())
    };
    defining_a_process, ["Bmdb::define_process"], Orphans::No,
    async |s: &Environment| owner(&s.db).await,
    async |_: &Environment, owner: Bmdb| -> Done {
        owner.define_process(&ProcessDef::new(ACCESS)).await?;
        Ok(())
    };
    // The first is the second without a report.
    replanning, ["Bmdb::replan", "Bmdb::replan_with", "Operator::replan"], Orphans::No, nothing,
    async |s: &Environment, ()| -> Done {
        s.bmdb.replan().await?;
        let ann = Operator::new("ann").reason("test");
        ann.replan(&s.session, &s.bmdb, |_| ()).await?;
        Ok(())
    };
    trimming_history, ["Bmdb::trim_history"], Orphans::No, nothing,
    async |s: &Environment, ()| -> Done {
        let retention = Retention { attempts_per_machine: 1, seconds: 1 };
        s.bmdb.trim_history(retention).await?;
        Ok(())
    };
    waiting_for_nothing,
    ["Bmdb::draining", "Session::lost", "Session::wait_while_suspect", "Work::lost"], Orphans::No,
    async |s: &Environment| s.work().await,
    async |s: &Environment, work| -> Done {
        tokio::time::timeout(MOMENT, s.bmdb.draining()).await.unwrap_err();
        tokio::time::timeout(MOMENT, s.session.lost()).await.unwrap_err();
        tokio::time::timeout(MOMENT, work.lost()).await.unwrap_err();
        s.session.wait_while_suspect().await;
        Ok(work.cancel().await?)
    };
    a_transaction, ["Session::transact", "Tx::touch", "Tx::touch_all"], Orphans::No, nothing,
    async |s: &Environment, ()| -> Done {
        let touched = s.session.transact(async |tx| {
            tx.touch(s.machines[0]).await?;
            tx.touch_all(&s.machines).await
        });
        Ok(touched.await?)
    };
    a_transaction_that_awaits_other_futures, ["Session::transact_with"], Orphans::No, nothing,
    async |s: &Environment, ()| -> Done {
        let written = s.session.transact_with(TxOptions::read_committed(), async |tx| {
            tx.touch(s.machines[0]).await?;
            tokio::time::sleep(Duration::from_millis(1)).await;
            let within = s.session.transact(async |tx| tx.touch(s.machines[1]).await);
            within.await?;
            tokio::time::sleep(Duration::from_millis(1)).await;
            tx.touch(s.machines[2]).await
        });
        written.await?;
        let read = s.session.transact_with(TxOptions::read_only(), async |_| Ok(()));
        Ok(read.await?)
    };
    writing_each_tag,
    ["Tx::create_machine", "Tx::create_machine_as", "Tx::delete_machine", "Tx::set_provided",
     "Tx::set_agent_started", "Tx::unset_agent", "Tx::unset_tag", "Tx::set_agent_heartbeat",
     "Tx::set_agent_heartbeats", "Tx::set_hardware_report", "Tx::set_os_installation_request",
     "Tx::set_os_installation_report", "Tx::hold", "Tx::release_hold", "Tx::hold_process",
     "Tx::release_process_hold"], Orphans::No, nothing,
    async |s: &Environment, ()| -> Done { write_each(s).await };
    writing_tags_of_many,
    ["Tx::create_machines_as", "Tx::delete_machines", "Tx::write_tags", "Tx::set_all_provided",
     "Tx::set_agents_started", "Tx::unset_agents", "Tx::unset_tags", "Tx::set_hardware_reports",
     "Tx::set_os_installation_requests", "Tx::set_os_installation_reports", "Tx::hold_machines",
     "Tx::release_holds", "Tx::hold_process_on_machines", "Tx::release_process_holds"],
    Orphans::No, nothing, async |s: &Environment, ()| -> Done { write_many(s).await };
    // Machines that exist already make no difference to its awaits.
    importing_a_fleet, ["Tx::import_fleet", "Tx::import_unknown"], Orphans::No, nothing,
    async |s: &Environment, ()| -> Done {
        // An import that was dropped during its commit may have taken effect.
        let name = MachineId::random();
        let fleet = format!(r#"{{"machines": [{{"provider": "Lumen", "provider_id": "{name}"}}]}}"#);
        let fleet = Fleet::parse(&fleet)?;
        Ok(s.session.transact(async |tx| tx.import_fleet(&fleet).await.map(drop)).await?)
    };
    heartbeats_of_agents, ["Session::heartbeat_agents"], Orphans::No, nothing,
    async |s: &Environment, ()| -> Done {
        let heartbeats: Vec<_> = s.machines.iter().map(|machine| (*machine, None)).collect();
        s.session.heartbeat_agents(&heartbeats).await?;
        Ok(())
    };
    closing, ["Session::close"], Orphans::No,
    async |s: &Environment| s.other_component().await,
    async |_: &Environment, (_bmdb, session, _work)| -> Done { Ok(session.close().await?) };
    retrieving, ["Session::work"], Orphans::No, nothing,
    async |s: &Environment, ()| -> Done {
        let work = s.session.work(&ACCESS, async |_| Ok(s.machines.clone())).await?;
        drop(work);
        Ok(())
    };
    claiming_a_batch, ["Session::claim"], Orphans::No, nothing,
    async |s: &Environment, ()| -> Done {
        let claim = Claim::of(&START).provider(&Provider::EQUINIX).limit(3);
        assert_eq!(s.session.claim(&claim).await?.len(), 3);
        Ok(())
    };
    claiming_of_any_provider, ["Session::claim"], Orphans::No, nothing,
    async |s: &Environment, ()| -> Done {
        assert_eq!(s.session.claim(&Claim::of(&START)).await?.len(), 1);
        Ok(())
    };
    claiming_with_replan, ["Session::claim"], Orphans::No,
    async |s: &Environment| overdue(s).await,
    async |s: &Environment, ()| -> Done {
        let claimed = s.session.claim(&Claim::of(&RECOVERY).limit(3)).await?;
        assert_eq!(claimed.len(), 2);
        Ok(())
    };
    polling, ["Poller::next"], Orphans::No,
    async |s: &Environment| s.session.poller(&Claim::of(&START)),
    async |_: &Environment, mut poller| -> Done {
        assert_eq!(poller.next(1).await?.len(), 1);
        Ok(())
    };
    polling_an_empty_queue, ["Poller::next"], Orphans::No,
    async |s: &Environment| s.session.poller(&Claim::of(&RECOVERY)),
    async |_: &Environment, mut poller| -> Done {
        tokio::time::timeout(MOMENT * 5, poller.next(1)).await.unwrap_err();
        Ok(())
    };
    finishing, ["Work::finish"], Orphans::No,
    async |s: &Environment| s.work().await,
    async |_: &Environment, work| -> Done {
        let machine = work.machine();
        let finished = work.finish(async |tx| {
            tx.set_agent_started(machine, &AgentStarted::now(b"key")).await
        });
        Ok(finished.await?)
    };
    finishing_with_options, ["Work::finish_with"], Orphans::No,
    async |s: &Environment| s.work().await,
    async |s: &Environment, work| -> Done {
        let options = TxOptions::default();
        let finished = work.finish_with(options, async |tx| tx.touch_all(&s.machines).await);
        Ok(finished.await?)
    };
    completing, ["Work::complete"], Orphans::No,
    async |s: &Environment| s.work().await,
    async |_: &Environment, work| -> Done { Ok(work.complete().await?) };
    completing_with_tags, ["Work::complete_with"], Orphans::No,
    async |s: &Environment| s.work().await,
    async |_: &Environment, work| -> Done { Ok(work.complete_with(started()).await?) };
    failing, ["Work::fail"], Orphans::No,
    async |s: &Environment| s.work().await,
    async |_: &Environment, work| -> Done { Ok(work.fail(&RETRY, "test").await.map(drop)?) };
    failing_and_putting_on_hold, ["Work::fail_and_hold"], Orphans::No,
    async |s: &Environment| s.work().await,
    async |_: &Environment, work| -> Done { Ok(work.fail_and_hold(&RETRY, "test").await.map(drop)?) };
    failing_and_putting_the_process_on_hold, ["Work::fail_and_hold_process"], Orphans::No,
    async |s: &Environment| s.work().await,
    async |_: &Environment, work| -> Done {
        Ok(work.fail_and_hold_process(&RETRY, "test").await.map(drop)?)
    };
    snoozing, ["Work::snooze"], Orphans::No,
    async |s: &Environment| s.work().await,
    async |_: &Environment, work| -> Done { Ok(work.snooze(MOMENT).await?) };
    pausing_a_provider, ["Work::pause_provider"], Orphans::No,
    async |s: &Environment| s.work().await,
    async |_: &Environment, work| -> Done { Ok(work.pause_provider(MOMENT, "test").await.map(drop)?) };
    running_a_control_loop, ["Runner::run"], Orphans::Sessions, nothing,
    async |s: &Environment, ()| -> Done {
        let once = LoopOptions::default().once(true);
        let summary = Runner::new(&s.bmdb, Nothing).options(once).run(Shutdown::new()).await?;
        assert_eq!((summary.claimed, summary.lost), (summary.finished + summary.canceled, 0));
        Ok(())
    };
    canceling, ["Work::cancel"], Orphans::No,
    async |s: &Environment| s.work().await,
    async |_: &Environment, work| -> Done { Ok(work.cancel().await?) };
    finishing_all, ["Session::finish_all"], Orphans::No,
    async |s: &Environment| s.claim_all().await,
    async |s: &Environment, claimed| -> Done { all(s.session.finish_all(unwritten(claimed)).await) };
    finishing_all_with_tags, ["Session::finish_all"], Orphans::No,
    async |s: &Environment| s.claim_all().await,
    async |s: &Environment, claimed| -> Done {
        let tagged = claimed.into_iter().map(|work| (work, started()));
        all(s.session.finish_all(tagged).await)
    };
    failing_all, ["Session::fail_all"], Orphans::No,
    async |s: &Environment| s.claim_all().await,
    async |s: &Environment, claimed| -> Done {
        let failures = claimed.into_iter().map(|work| (work, &RETRY, "test"));
        all(s.session.fail_all(failures).await)
    };
    canceling_all, ["Session::cancel_all"], Orphans::No,
    async |s: &Environment| s.claim_all().await,
    async |s: &Environment, claimed| -> Done { all(s.session.cancel_all(claimed).await) };
}

/// A control loop that does nothing.
struct Nothing;

impl ControlLoop for Nothing {
    fn workflow(&self) -> Process {
        START
    }

    async fn process(&self, _: &Work, _: &Machine) -> Result<Commit, Failure> {
        Ok(Commit::unchanged())
    }
}

fn started() -> TagWrites {
    TagWrites::new().agent_started(AgentStarted::now(b"key"))
}

/// Three machines seem due for recovery; one of them has sent a heartbeat since.
async fn overdue(s: &Environment) {
    let started = s.session.transact(async |tx| {
        for machine in &s.machines {
            tx.set_agent_started(*machine, &AgentStarted::now(b"key"))
                .await?;
        }
        Ok(())
    });
    started.await.unwrap();
    s.db.advance(Duration::from_secs(31 * 60)).await.unwrap();
    // Without the planner, as if it had moved an earlier deadline forward.
    let beat = format!(
        "INSERT INTO machine_agent_heartbeat (machine_id, agent_heartbeat_at) VALUES ('{}', now())",
        s.machines[0]
    );
    s.db.run_sql(&beat).await.unwrap();
}
