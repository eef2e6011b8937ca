//! The fleet as a list: the machines of each filter, page by page.

mod cost;
mod endless;

use crate::fleet::{Fleet, Situation};
use crate::scenario::{RECOVERY, START, Scenario};
use bmdb_model::backoff::{self, Which};
use bmdb_model::custom_tags::{self, TagTable};
use bmdb_model::fleet::{self, Cursor, Filter, FleetPage, ItemState, PageError, Prefix};
use bmdb_model::{MachineId, Provider, connection, counts, internal, work};
use diesel_async::AsyncPgConnection;
use std::collections::BTreeSet;

/// All pages of a list, each with what it says of itself.
async fn pages(conn: &mut AsyncPgConnection, filter: &Filter<'_>, limit: usize) -> Vec<FleetPage> {
    pages_after(conn, filter, None, limit).await
}

async fn pages_after(
    conn: &mut AsyncPgConnection,
    filter: &Filter<'_>,
    mut after: Option<Cursor>,
    limit: usize,
) -> Vec<FleetPage> {
    let mut pages: Vec<FleetPage> = Vec::new();
    loop {
        let page = fleet::page(conn, filter, after.as_ref(), limit)
            .await
            .unwrap();
        after = page.next.clone();
        assert!(page.machines.len() <= limit);
        // What an address says is what the list said.
        assert_eq!(
            after,
            after.as_ref().map(|next| next.to_string().parse().unwrap())
        );
        pages.push(page);
        assert!(
            pages.len() < 10_000,
            "the list does not end: {:?}",
            pages.last()
        );
        if after.is_none() {
            return pages;
        }
    }
}

async fn listed(conn: &mut AsyncPgConnection, filter: &Filter<'_>) -> Vec<MachineId> {
    let whole: Vec<MachineId> = pages(conn, filter, 1_000)
        .await
        .into_iter()
        .flat_map(|page| page.machines)
        .collect();
    let piecewise = pages(conn, filter, 3).await;
    let piecewise: Vec<MachineId> = piecewise
        .into_iter()
        .flat_map(|page| page.machines)
        .collect();
    assert_eq!(whole, piecewise, "{filter:?}");
    let distinct: BTreeSet<_> = whole.iter().collect();
    assert_eq!(distinct.len(), whole.len(), "{filter:?}");
    whole
}

fn state(state: ItemState) -> Filter<'static> {
    Filter {
        state: Some((START, state)),
        ..Filter::default()
    }
}

fn prefix(text: &str) -> Filter<'static> {
    Filter {
        prefix: Some(Prefix::new(text).unwrap()),
        ..Filter::default()
    }
}

/// What the database says, by a condition over machines `m`, their provided `p` and their item `i`.
async fn expected(s: &Scenario, condition: &str) -> BTreeSet<MachineId> {
    let sql = format!(
        "SELECT m.machine_id FROM machines m \
         LEFT JOIN machine_provided p ON p.machine_id = m.machine_id \
         LEFT JOIN work_item i ON i.machine_id = m.machine_id AND i.process = '{START}' \
         WHERE {condition}"
    );
    s.rows(&sql)
        .await
        .iter()
        .map(|id| id.parse().unwrap())
        .collect()
}

/// Forty machines of two providers and of none, in every state there is.
const MIXED: &str = "
    INSERT INTO machines (machine_id) SELECT md5(n::text)::uuid FROM generate_series(1, 40) n;
    INSERT INTO machine_provided (machine_id, provider, provider_id)
    SELECT md5(n::text)::uuid, CASE n % 3 WHEN 0 THEN 'Equinix' ELSE 'Lumen' END,
           CASE WHEN n % 2 = 0 THEN 'ab-' ELSE 'aB' END || n
    FROM generate_series(1, 36) n;
    INSERT INTO work_item (machine_id, process, lane, provider, eligible, plan_at, backoff_until,
                           session_id, started_at)
    SELECT md5(n::text)::uuid, 'ShepherdAgentStart', 'shepherd',
           CASE WHEN n > 33 THEN NULL WHEN n % 3 = 0 THEN 'Equinix' ELSE 'Lumen' END,
           n % 7 <> 0, now() + (n % 5 - 3) * interval '1 hour',
           CASE WHEN n % 4 = 0 THEN now() + (n % 8 - 3) * interval '1 hour' END,
           CASE WHEN n % 11 = 0 THEN (SELECT session_id FROM sessions LIMIT 1) END,
           CASE WHEN n % 11 = 0 THEN now() END
    FROM generate_series(1, 38) n;
    INSERT INTO machine_hold (machine_id, reason)
    SELECT md5(n::text)::uuid, 'disk' FROM generate_series(1, 40, 6) n;
    INSERT INTO work_item (machine_id, process, lane, session_id, started_at)
    SELECT md5(n::text)::uuid, 'Other', 'other', (SELECT session_id FROM sessions LIMIT 1), now()
    FROM generate_series(1, 40, 2) n;";

/// Lumen has no room, Equinix is paused, and machines without a provider may start.
const CLOSED: &str = "
    INSERT INTO process_control VALUES ('ShepherdAgentStart');
    INSERT INTO process_limit (process, per, max_running) VALUES ('ShepherdAgentStart', 'provider', 2);
    INSERT INTO process_slot (process, per, partition, kind, number, free_at)
    SELECT 'ShepherdAgentStart', 'provider', 'Lumen', 'Running', n, 'infinity' FROM generate_series(1, 2) n;
    INSERT INTO process_pause (process, provider, paused_by, reason)
    VALUES ('ShepherdAgentStart', 'Equinix', 'ada', 'fire'),
           ('ShepherdAgentStart', '', 'ada', 'over');
    UPDATE process_pause SET until = now() WHERE provider = ''";

#[tokio::test]
async fn a_list_goes_on_behind_a_queue_that_has_opened_or_closed_meanwhile() {
    let mut s = Scenario::new().await;
    s.db.run_sql(MIXED).await.unwrap();
    s.db.run_sql(CLOSED).await.unwrap();
    let filter = state(ItemState::Paused);
    let first = fleet::page(&mut s.conn, &filter, None, 1).await.unwrap();
    s.db.run_sql(
        "DELETE FROM process_pause; INSERT INTO process_pause (process, provider, paused_by, reason)
         VALUES ('ShepherdAgentStart', 'Lumen', 'ada', 'fire')",
    )
    .await
    .unwrap();
    let rest = pages_after(&mut s.conn, &filter, first.next, 100).await;
    let found: BTreeSet<_> = rest.into_iter().flat_map(|page| page.machines).collect();
    let lumen =
        "i.session_id IS NULL AND i.eligible AND i.ready_at <= now() AND i.provider = 'Lumen'";
    assert_eq!(found, expected(&s, lumen).await);
}

#[tokio::test]
async fn the_states_of_a_queue_narrow_other_filters() {
    let mut s = Scenario::new().await;
    s.db.run_sql(MIXED).await.unwrap();
    s.db.run_sql(CLOSED).await.unwrap();
    for (which, queue) in [
        (ItemState::Due, "i.provider IS NULL"),
        (ItemState::Limited, "i.provider = 'Lumen'"),
        (ItemState::Paused, "i.provider = 'Equinix'"),
    ] {
        let filter = Filter {
            prefix: Some(Prefix::new("aB").unwrap()),
            ..state(which)
        };
        let condition = format!(
            "starts_with(p.provider_id, 'aB') AND i.session_id IS NULL AND i.eligible \
             AND i.ready_at <= now() AND {queue}"
        );
        let found: BTreeSet<_> = listed(&mut s.conn, &filter).await.into_iter().collect();
        assert_eq!(found, expected(&s, &condition).await, "{which}");
    }
}

#[tokio::test]
async fn every_state_lists_exactly_the_machines_in_it() {
    let mut s = Scenario::new().await;
    s.db.run_sql(MIXED).await.unwrap();
    each_state_lists_its_own(&mut s).await;
}

async fn each_state_lists_its_own(s: &mut Scenario) {
    s.db.run_sql(CLOSED).await.unwrap();
    let all = expected(s, "true").await;
    let mut seen = BTreeSet::new();
    for (which, condition) in [
        (ItemState::Claimed, "i.session_id IS NOT NULL"),
        (
            ItemState::BackingOff,
            "i.session_id IS NULL AND i.backoff_until > now()",
        ),
        (
            ItemState::Due,
            "i.session_id IS NULL AND i.eligible AND i.ready_at <= now() AND i.provider IS NULL",
        ),
        (
            ItemState::Limited,
            "i.session_id IS NULL AND i.eligible AND i.ready_at <= now() AND i.provider = 'Lumen'",
        ),
        (
            ItemState::Paused,
            "i.session_id IS NULL AND i.eligible AND i.ready_at <= now() AND i.provider = 'Equinix'",
        ),
        (
            ItemState::Waiting,
            "i.session_id IS NULL AND i.eligible AND i.ready_at > now() \
             AND coalesce(i.backoff_until, '-infinity') <= now()",
        ),
        (
            ItemState::NotEligible,
            "i.machine_id IS NULL OR i.session_id IS NULL AND NOT i.eligible \
             AND coalesce(i.backoff_until, '-infinity') <= now()",
        ),
    ] {
        let machines = listed(&mut s.conn, &state(which)).await;
        let found: BTreeSet<_> = machines.iter().copied().collect();
        assert!(!found.is_empty(), "no machine is in the state {which}");
        assert_eq!(found, expected(s, condition).await, "{which}");
        let details = fleet::details(&mut s.conn, &machines).await.unwrap();
        assert_eq!(details.len(), machines.len());
        for machine in details {
            let item = machine.items.iter().find(|item| item.process == START);
            let state = item.map_or(ItemState::NotEligible, |item| item.state);
            assert_eq!(state, which, "{machine:?}");
        }
        seen.extend(found);
    }
    assert_eq!(seen, all, "the states are all there is");
}

#[tokio::test]
async fn as_many_machines_are_listed_in_a_state_as_are_counted() {
    let mut s = Scenario::new().await;
    s.db.run_sql(MIXED).await.unwrap();
    s.db.run_sql(CLOSED).await.unwrap();
    let counted = counts::processes(&mut s.conn).await.unwrap();
    let counts = counted.iter().find(|counts| counts.process == START);
    let counts = counts.unwrap();
    let mut machines = 0;
    for (which, counted) in [
        (ItemState::Due, counts.due.unwrap()),
        (ItemState::Limited, counts.limited.unwrap()),
        (ItemState::Paused, counts.paused.unwrap()),
        (ItemState::Waiting, counts.waiting),
        (ItemState::BackingOff, counts.backing_off),
        (ItemState::Claimed, counts.claimed),
        (ItemState::NotEligible, counts.not_eligible),
    ] {
        let listed = listed(&mut s.conn, &state(which)).await.len();
        assert_eq!(i64::try_from(listed).unwrap(), counted, "{which}");
        machines += listed;
    }
    assert_eq!(machines, 40);
}

#[tokio::test]
async fn filters_narrow_each_other() {
    let mut s = Scenario::new().await;
    s.db.run_sql(MIXED).await.unwrap();
    let tables = custom_tags::tables(&mut s.conn).await.unwrap();
    let hold = tables
        .iter()
        .find(|table| table.name == "machine_hold")
        .unwrap();
    let held = "EXISTS (SELECT FROM machine_hold h WHERE h.machine_id = m.machine_id)";
    let due = "i.session_id IS NULL AND i.eligible AND i.ready_at <= now()";
    let lumen = || Some(Provider::LUMEN);
    for (filter, condition) in [
        (
            Filter {
                provider: lumen(),
                ..Filter::default()
            },
            "p.provider = 'Lumen'".to_owned(),
        ),
        (
            Filter {
                tag: Some(hold),
                ..Filter::default()
            },
            held.to_owned(),
        ),
        (
            Filter {
                tag: Some(hold),
                provider: lumen(),
                ..Filter::default()
            },
            format!("{held} AND p.provider = 'Lumen'"),
        ),
        (
            Filter {
                tag: Some(hold),
                ..state(ItemState::Due)
            },
            format!("{held} AND {due}"),
        ),
        (
            Filter {
                provider: lumen(),
                ..state(ItemState::Due)
            },
            format!("i.provider = 'Lumen' AND p.provider = 'Lumen' AND {due}"),
        ),
        (
            Filter {
                provider: lumen(),
                ..state(ItemState::NotEligible)
            },
            "p.provider = 'Lumen' AND i.session_id IS NULL AND NOT i.eligible \
             AND coalesce(i.backoff_until, '-infinity') <= now()"
                .to_owned(),
        ),
        (
            Filter {
                provider: lumen(),
                ..state(ItemState::Claimed)
            },
            "p.provider = 'Lumen' AND i.session_id IS NOT NULL".to_owned(),
        ),
        (
            Filter {
                tag: Some(hold),
                ..prefix("ab-")
            },
            format!("{held} AND starts_with(p.provider_id, 'ab-')"),
        ),
        (
            Filter {
                prefix: Some(Prefix::new("aB").unwrap()),
                ..state(ItemState::Due)
            },
            format!("starts_with(p.provider_id, 'aB') AND {due}"),
        ),
        (
            prefix("Lumen/ab-"),
            "p.provider = 'Lumen' AND starts_with(p.provider_id, 'ab-')".to_owned(),
        ),
        (
            Filter {
                provider: lumen(),
                ..prefix("Equinix/ab-")
            },
            "false".to_owned(),
        ),
    ] {
        let found: BTreeSet<_> = listed(&mut s.conn, &filter).await.into_iter().collect();
        assert_eq!(found, expected(&s, &condition).await, "{filter:?}");
    }
}

#[tokio::test]
async fn a_prefix_finds_machines_by_their_id_and_by_that_of_their_provider() {
    let mut s = Scenario::new().await;
    s.db.run_sql(MIXED).await.unwrap();
    for text in ["c", "c4", "c4ca4238-a", "a", "ab", "zz", "C4CA"] {
        let condition = format!(
            "starts_with(m.machine_id::text, lower('{text}')) OR starts_with(p.provider_id, '{text}')"
        );
        let found: BTreeSet<_> = listed(&mut s.conn, &prefix(text))
            .await
            .into_iter()
            .collect();
        assert_eq!(found, expected(&s, &condition).await, "{text}");
    }
}

// Under a language's rules, ids with the same prefix may be apart: "ab1" < "a-b2" < "ab3".
#[tokio::test]
#[allow(clippy::print_stdout, reason = "skipped cases are printed")]
async fn a_prefix_is_found_under_every_collation() {
    for collation in ["\"C\"", "\"en-x-icu\"", "\"cs-x-icu\""] {
        let mut s = Scenario::new().await;
        let there = format!("SELECT to_regcollation('{collation}') IS NOT NULL");
        if s.db.rows(&there).await.unwrap() != ["t"] {
            println!("NOT TESTED with {collation}: this server was built without ICU");
            continue;
        }
        let ids = [
            "ab1",
            "a-b2",
            "ab3",
            "A-b",
            "a",
            "a-",
            "b",
            "ch",
            "c",
            "cz",
            "č",
            "a\u{10FFFF}",
        ];
        for id in ids {
            s.provided(id).await;
        }
        let collate = format!(
            "ALTER TABLE machine_provided ALTER COLUMN provider_id TYPE text COLLATE {collation}"
        );
        s.db.run_sql(&collate).await.unwrap();
        for text in ["a", "a-", "ab", "c", "ch", "A", "č", "x", "a\u{10FFFF}"] {
            let condition = format!("starts_with(p.provider_id, '{text}')");
            let filter = prefix(&format!("Equinix/{text}"));
            let found: BTreeSet<_> = listed(&mut s.conn, &filter).await.into_iter().collect();
            assert_eq!(found, expected(&s, &condition).await, "{collation} {text}");
        }
    }
}

#[tokio::test]
async fn a_cursor_of_other_filters_is_refused() {
    let mut s = Scenario::new().await;
    s.db.run_sql(MIXED).await.unwrap();
    let first = fleet::page(&mut s.conn, &Filter::default(), None, 1)
        .await
        .unwrap();
    let other = fleet::page(
        &mut s.conn,
        &state(ItemState::Claimed),
        first.next.as_ref(),
        1,
    )
    .await;
    assert!(matches!(other, Err(PageError::OtherList(_))), "{other:?}");
}

#[tokio::test]
async fn machines_due_at_the_same_moment_are_listed_up_to_the_limit_of_a_page() {
    let mut s = Scenario::new().await;
    let many = "INSERT INTO machines (machine_id) SELECT md5(n::text)::uuid FROM generate_series(1, 4500) n;
        INSERT INTO work_item (machine_id, process, lane, eligible, plan_at)
        SELECT md5(n::text)::uuid, 'ShepherdAgentStart', 'shepherd', true,
               CASE WHEN n <= 1500 THEN timestamptz '2020-01-01'
                    WHEN n <= 4000 THEN timestamptz '2020-01-02' ELSE timestamptz '2020-01-03' END
        FROM generate_series(1, 4500) n; ANALYZE";
    s.db.run_sql(many).await.unwrap();
    let pages = pages(&mut s.conn, &state(ItemState::Due), 100).await;
    assert!(
        pages.iter().any(|page| page.left_out),
        "2,500 of one moment are more than 2,000"
    );
    let listed: Vec<MachineId> = pages.into_iter().flat_map(|page| page.machines).collect();
    assert_eq!(listed.len(), 1500 + fleet::CANDIDATES + 500);
    let distinct: BTreeSet<_> = listed.iter().collect();
    assert_eq!(distinct.len(), listed.len());
}
