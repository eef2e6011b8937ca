//! Operator actions: recorded once, listed newest first, and merged into a machine's history.

use crate::scenario::{ACCESS, START, Scenario};
use bmdb_model::history::{self, Entry};
use bmdb_model::internal::operator::NewAction;
use bmdb_model::operator::{self, Scope, Verb};
use bmdb_model::{Error, MachineId, SessionId, internal};

impl Scenario {
    async fn act(&mut self, action: &NewAction<'_>) -> i64 {
        internal::operator::record(&mut self.conn, action)
            .await
            .unwrap()
    }

    /// What a machine's history says from the newest to the oldest, read by pages of three.
    async fn story(
        &mut self,
        machine: MachineId,
        process: Option<&bmdb_model::Process>,
    ) -> Vec<String> {
        let (mut story, mut after) = (Vec::new(), None::<history::HistoryKey>);
        loop {
            let page = history::page(&mut self.conn, machine, process, after.as_ref(), 3)
                .await
                .unwrap();
            story.extend(page.rows.iter().map(|entry| match entry {
                Entry::Ongoing(work) => format!("{} goes on", work.process),
                Entry::Past(past) => format!("{} {} {}", past.process, past.outcome, past.repeats),
                Entry::Action(action) => format!("{} {}", action.operator, action.verb),
            }));
            match page.next {
                Some(next) => after = Some(next.to_string().parse().unwrap()),
                None => return story,
            }
        }
    }
}

#[tokio::test]
async fn actions_are_read_as_they_were_recorded() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let attempt = s.claim_machine(machine, &START).await;
    let action = NewAction {
        machine: Some(machine),
        process: Some(&START),
        session: Some(s.session),
        fence: Some(attempt.fence),
        details: vec![
            ("tag", "provided".to_owned()),
            ("before", "\"'%{}é".to_owned()),
        ],
        ..NewAction::new(Verb::ReleaseWork, "ann@desk", Some("stuck since noon"))
    };
    let id = s.act(&action).await;
    for scope in [
        Scope::All,
        Scope::Machine(machine, None),
        Scope::Session(s.session),
    ] {
        let mut page = operator::page(&mut s.conn, scope, None, 10).await.unwrap();
        assert_eq!((page.rows.len(), page.next), (1, None));
        let read = page.rows.remove(0);
        assert_eq!(
            (read.id, read.verb.as_str(), read.operator.as_str()),
            (id, "ReleaseWork", "ann@desk")
        );
        assert_eq!(
            (read.machine, read.process, read.session, read.fence),
            (
                Some(machine),
                Some(START),
                Some(s.session),
                Some(attempt.fence)
            )
        );
        assert_eq!(read.reason.as_deref(), Some("stuck since noon"));
        let details = [("before", "\"'%{}é"), ("tag", "provided")];
        assert_eq!(
            read.details,
            details.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }
    let elsewhere = Scope::Session(SessionId::random());
    assert_eq!(
        operator::page(&mut s.conn, elsewhere, None, 10)
            .await
            .unwrap()
            .rows,
        []
    );
}

#[tokio::test]
async fn an_action_without_an_operator_or_with_an_empty_reason_is_refused() {
    let mut s = Scenario::new().await;
    for (who, why) in [("", None), ("ann", Some("")), ("ann\0", None)] {
        let action = NewAction::new(Verb::CreateMachine, who, why);
        let refused = internal::operator::record(&mut s.conn, &action)
            .await
            .unwrap_err();
        assert!(
            matches!(refused, Error::Empty { .. } | Error::NulByte { .. }),
            "{refused}"
        );
    }
    // Nor by hand.
    let without_operator = "INSERT INTO operator_action (verb, operator) VALUES ('SetTag', '')";
    s.db.run_sql(without_operator).await.unwrap_err();
}

#[tokio::test]
async fn actions_are_listed_newest_first_in_consecutive_pages() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let mut ids = Vec::new();
    for at in 0..7 {
        let operator = format!("ann{at}");
        let action = NewAction {
            machine: Some(machine),
            ..NewAction::new(Verb::SetTag, &operator, None)
        };
        ids.push(s.act(&action).await);
    }
    ids.reverse();
    for scope in [Scope::All, Scope::Machine(machine, None)] {
        let (mut read, mut after) = (Vec::new(), None::<operator::ActionKey>);
        loop {
            let page = operator::page(&mut s.conn, scope, after.as_ref(), 3)
                .await
                .unwrap();
            read.extend(page.rows.iter().map(|action| action.id));
            match page.next {
                Some(next) => after = Some(next.to_string().parse().unwrap()),
                None => break,
            }
        }
        assert_eq!(read, ids);
    }
}

#[tokio::test]
async fn a_history_is_listed_newest_first_with_streaks_and_operator_actions() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let on = |verb, process| NewAction {
        machine: Some(machine),
        process,
        ..NewAction::new(verb, "ann", None)
    };
    s.act(&on(Verb::HoldMachine, None)).await;
    for _ in 0..3 {
        let attempt = s.claim_machine(machine, &START).await;
        s.fail(&attempt, 1, "no answer").await;
        s.advance(2).await;
        let other = s.claim_machine(machine, &ACCESS).await;
        s.finish(&other).await;
    }
    s.act(&on(Verb::ClearBackoff, Some(&START))).await;
    let attempt = s.claim_machine(machine, &START).await;
    s.finish(&attempt).await;
    s.advance(60).await;
    s.act(&on(Verb::RetryNow, Some(&ACCESS))).await;
    s.claim_machine(machine, &START).await;

    let start = |what: &str| format!("ShepherdAgentStart {what}");
    let access = "ShepherdAccess Finished 0".to_owned();
    let all = [
        start("goes on"),
        "ann RetryNow".into(),
        start("Finished 0"),
        "ann ClearBackoff".into(),
        access.clone(),
        start("Failed 2"),
        access.clone(),
        access,
        "ann HoldMachine".into(),
    ];
    assert_eq!(s.story(machine, None).await, all);
    let of_start = [
        start("goes on"),
        start("Finished 0"),
        "ann ClearBackoff".into(),
        start("Failed 2"),
        "ann HoldMachine".into(),
    ];
    assert_eq!(s.story(machine, Some(&START)).await, of_start);
    let other = s.provided("b").await;
    assert_eq!(s.story(other, None).await, [""; 0]);
}

#[tokio::test]
async fn a_long_history_is_read_in_windows_and_each_page_reads_one_window() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let attempts = format!(
        "INSERT INTO work_attempt (machine_id, fence, last_fence, process, session_id, started_at, ended_at, outcome)
         SELECT '{machine}', n, n, 'P', '{}', now() - interval '1 day' + n * interval '1 second',
                now() - interval '1 day' + n * interval '1 second', 'Finished' FROM generate_series(1, 12000) n;
         INSERT INTO operator_action (machine_id, verb, operator, acted_at)
         SELECT '{machine}', 'SetTag', 'ann', now() - interval '1 day' + n * interval '1000 seconds'
         FROM generate_series(0, 12) n;
         ANALYZE work_attempt", s.session);
    s.db.run_sql(&attempts).await.unwrap();
    let (mut times, mut after) = (Vec::new(), None);
    loop {
        let page = history::page(&mut s.conn, machine, None, after.as_ref(), 1_000)
            .await
            .unwrap();
        times.extend(page.rows.iter().map(|entry| match entry {
            Entry::Ongoing(work) => work.started_at,
            Entry::Past(past) => past.ended_at,
            Entry::Action(action) => action.acted_at,
        }));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(times.len(), 12_013);
    assert!(times.windows(2).all(|two| two[0] >= two[1]), "newest first");

    let page = format!("'{machine}', 9000, NULL, now(), 9000, 21");
    let cost = s
        .cost_of("A machine's attempts by when they ended", &page)
        .await;
    assert!(cost <= 5_100, "{cost}");
}
