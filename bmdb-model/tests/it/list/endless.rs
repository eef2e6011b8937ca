//! Lists of items without an end time, and of items that disappear while a list is read.

use super::*;

/// More of one kind than a page of three: planned for never, due for ever, resting for an age.
const INFINITE: &str = "
    UPDATE work_item SET plan_at = 'infinity'
    WHERE process = 'ShepherdAgentStart' AND provider = 'Lumen'
      AND plan_at > now() - interval '90 minutes';
    UPDATE work_item SET plan_at = '-infinity'
    WHERE process = 'ShepherdAgentStart' AND provider = 'Equinix'
      AND plan_at < now() - interval '90 minutes';
    UPDATE work_item SET backoff_until = CASE WHEN backoff_until > now() THEN timestamptz '9999-12-31 00:00:00Z'
                                              ELSE '0001-01-02 00:00:00Z' END, failures = 10
    WHERE backoff_until IS NOT NULL;";

#[tokio::test]
async fn items_planned_for_never_are_listed_as_waiting() {
    let mut s = Scenario::new().await;
    s.db.run_sql(MIXED).await.unwrap();
    s.db.run_sql(INFINITE).await.unwrap();
    each_state_lists_its_own(&mut s).await;
    let never = "i.plan_at = 'infinity' AND i.eligible AND i.session_id IS NULL \
                 AND coalesce(i.backoff_until, '-infinity') <= now()";
    let never: Vec<MachineId> = expected(&s, never).await.into_iter().collect();
    assert!(never.len() > 3, "{never:?}");
    for machine in fleet::details(&mut s.conn, &never).await.unwrap() {
        let item = machine.items.iter().find(|item| item.process == START);
        let state = item.map(|item| (item.state, item.ready_at));
        assert_eq!(state, Some((ItemState::Waiting, None)), "{machine:?}");
    }
    let all: BTreeSet<_> = listed(&mut s.conn, &Filter::default())
        .await
        .into_iter()
        .collect();
    assert_eq!(all, expected(&s, "true").await);
}

#[tokio::test]
async fn a_list_ends_however_many_machines_are_planned_for_never() {
    let mut s = Scenario::new().await;
    let many = "INSERT INTO machines (machine_id) SELECT md5(n::text)::uuid FROM generate_series(1, 2500) n;
        INSERT INTO work_item (machine_id, process, lane, eligible, plan_at)
        SELECT md5(n::text)::uuid, 'ShepherdAgentStart', 'shepherd', true, 'infinity'
        FROM generate_series(1, 2500) n; ANALYZE";
    s.db.run_sql(many).await.unwrap();
    let pages = pages(&mut s.conn, &state(ItemState::Waiting), 300).await;
    assert!(pages.iter().any(|page| page.left_out));
    let listed: BTreeSet<MachineId> = pages.into_iter().flat_map(|page| page.machines).collect();
    assert_eq!(listed.len(), fleet::CANDIDATES);
}

#[tokio::test]
async fn the_longest_backoff_is_listed_once_and_can_be_changed() {
    let mut s = Scenario::new().await;
    s.db.run_sql(MIXED).await.unwrap();
    s.db.run_sql(INFINITE).await.unwrap();
    let longest = "i.backoff_until > now() + interval '1000 years' AND i.session_id IS NULL";
    let resting = expected(&s, longest).await;
    assert!(resting.len() > 3, "{resting:?}");
    for process in [Some(&START), None] {
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let page = backoff::page(&mut s.conn, Which::Active, process, after.as_ref(), 2)
                .await
                .unwrap();
            listed.extend(page.rows.iter().map(|row| row.machine));
            assert!(listed.len() <= resting.len(), "the list does not end");
            let Some(next) = page.next else { break };
            after = Some(next.to_string().parse().unwrap());
        }
        assert_eq!(listed.len(), resting.len());
        assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), resting);
    }
    let poisoned = work::poisoned(&mut s.conn, None, 100).await.unwrap();
    for machine in &resting {
        let row = poisoned.rows.iter().find(|row| row.machine == *machine);
        let locked = internal::backoff::lock(&mut s.conn, *machine, &START)
            .await
            .unwrap();
        let until = locked.unwrap().until;
        assert!(until.is_some());
        assert_eq!(row.unwrap().backoff_until, until);
    }
}

/// Reads the first page, takes away what the provider that it ends in has, and reads the rest.
async fn rest_after(
    s: &mut Scenario,
    filter: &Filter<'_>,
    take_away: &str,
) -> (MachineId, BTreeSet<MachineId>) {
    let first = fleet::page(&mut s.conn, filter, None, 1).await.unwrap();
    s.db.run_sql(take_away).await.unwrap();
    assert!(first.next.is_some());
    let pages = pages_after(&mut s.conn, filter, first.next, 3).await;
    let rest = pages.into_iter().flat_map(|page| page.machines).collect();
    (first.machines[0], rest)
}

#[tokio::test]
async fn a_list_continues_behind_a_provider_whose_machines_are_gone() {
    let mut s = Scenario::new().await;
    s.db.run_sql(MIXED).await.unwrap();
    for (which, condition) in [
        (
            ItemState::Waiting,
            "i.session_id IS NULL AND i.eligible AND i.ready_at > now() \
             AND coalesce(i.backoff_until, '-infinity') <= now()",
        ),
        (
            ItemState::Due,
            "i.session_id IS NULL AND i.eligible AND i.ready_at <= now()",
        ),
    ] {
        // Equinix, Lumen, and then the machines of neither.
        for provider in ["= 'Equinix'", "= 'Lumen'"] {
            let drain = format!("UPDATE work_item SET eligible = false WHERE provider {provider}");
            let (first, rest) = rest_after(&mut s, &state(which), &drain).await;
            assert!(!rest.contains(&first), "{which} {provider}");
            assert_eq!(rest, expected(&s, condition).await, "{which} {provider}");
        }
        let again = "UPDATE work_item SET eligible = true WHERE process = 'ShepherdAgentStart'";
        s.db.run_sql(again).await.unwrap();
    }
    let drain = "UPDATE work_item SET eligible = false WHERE provider IS NULL";
    let none = "UPDATE work_item SET eligible = false WHERE provider IS NOT NULL";
    s.db.run_sql(none).await.unwrap();
    let (_, rest) = rest_after(&mut s, &state(ItemState::Due), drain).await;
    assert_eq!(rest, BTreeSet::new());

    let gone = "DELETE FROM machine_provided WHERE provider = 'Equinix'";
    let (_, rest) = rest_after(&mut s, &prefix("ab-"), gone).await;
    let left = expected(&s, "starts_with(p.provider_id, 'ab-')").await;
    assert_eq!(rest, left);
}
