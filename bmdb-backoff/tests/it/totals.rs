//! Totals and positions in closed form, against walking the schedule failure by failure.

use std::time::Duration;

use bmdb_backoff::{Backoff, Factor, Position, Seconds};
use proptest::prelude::*;

use crate::strategies::{policy, seconds};

/// How far the schedule is walked; policies that take longer to their maximum are drawn too.
const WALKED: usize = 1_000;

proptest! {
    #[test]
    fn totals_equal_the_sum_of_the_schedule(policy in policy(), failures in 0..WALKED) {
        let sum: u64 = policy.schedule().take(failures).map(u64::from).sum();
        prop_assert_eq!(policy.total(failures as u64), Duration::from_secs(sum));
    }

    #[test]
    fn the_way_to_the_maximum_equals_walking_it(policy in policy()) {
        let walked = policy.schedule().take(WALKED).position(|s| s == policy.maximum());
        match (walked, policy.failures_to_maximum()) {
            (Some(walked), failures) => {
                let time = policy.schedule().take(walked).map(u64::from).sum();
                prop_assert_eq!(failures, Some(walked as u64));
                prop_assert_eq!(policy.time_to_maximum(), Some(Duration::from_secs(time)));
            }
            (None, Some(failures)) => prop_assert!(failures >= WALKED as u64),
            (None, None) => {
                prop_assert_eq!(policy.factor(), Factor::ONE);
                prop_assert_eq!(policy.time_to_maximum(), None);
            }
        }
    }

    #[test]
    fn positions_equal_searching_the_schedule(
        policy in policy(), anywhere in seconds(), index in 0..WALKED, offset in -1..=1_i64,
    ) {
        let walked: Vec<Seconds> = policy.schedule().take(WALKED).collect();
        let nearby = Seconds::from_db(i64::from(walked[index]) + offset);
        for interval in [anywhere, nearby, policy.maximum(), Seconds::MIN, Seconds::MAX] {
            if interval <= walked[WALKED - 1] || walked[WALKED - 1] == policy.maximum() {
                prop_assert_eq!(policy.position(interval), searched(&policy, &walked, interval));
            }
        }
    }

    #[test]
    fn every_index_of_the_schedule_is_found_again(policy in policy(), index in 0..WALKED) {
        let interval = policy.schedule().nth(index).unwrap();
        let index = index as u64;
        match policy.position(interval) {
            Position::Exact(found) if policy.factor() == Factor::ONE => prop_assert_eq!(found, 0),
            Position::Exact(found) => prop_assert_eq!(found, index),
            Position::AtMaximum { at_least } => prop_assert!(at_least <= index),
            elsewhere => prop_assert!(false, "{elsewhere:?}"),
        }
    }
}

fn searched(policy: &Backoff, walked: &[Seconds], interval: Seconds) -> Position {
    let index_of = |wanted| {
        walked
            .iter()
            .position(|s| *s == wanted)
            .map(|index| index as u64)
    };
    match (index_of(policy.maximum()), index_of(interval)) {
        _ if interval < policy.initial() => Position::BelowInitial,
        (Some(at_least), _) if interval >= policy.maximum() => Position::AtMaximum { at_least },
        (_, Some(index)) => Position::Exact(index),
        (_, None) => Position::Between,
    }
}

#[test]
fn a_million_failures_by_one_second_each_are_counted_exactly() {
    let smallest = Factor::from_micros(1_000_001).unwrap();
    let policy = Backoff::exponential(Seconds::MIN, Seconds::from_db(2_500_000), smallest);
    let (mut failures, mut time) = (0, 0);
    for interval in policy.schedule().take_while(|s| *s < policy.maximum()) {
        failures += 1;
        time += u64::from(interval);
    }
    assert!(failures > 1_500_000);
    assert_eq!(policy.failures_to_maximum(), Some(failures));
    assert_eq!(policy.time_to_maximum(), Some(Duration::from_secs(time)));
}

#[test]
fn a_maximum_where_the_growth_is_about_to_change_is_no_part_of_the_way_to_it() {
    // Up to 10 s a factor of 1.1 adds one second, from there on two.
    let policy: Backoff = "initial=1s,max=10s,factor=1.1".parse().unwrap();
    assert_eq!(policy.failures_to_maximum(), Some(9));
    assert_eq!(policy.time_to_maximum(), Some(Duration::from_secs(45)));
    assert_eq!(
        policy.position(Seconds::from_db(10)),
        Position::AtMaximum { at_least: 9 }
    );
}

#[test]
fn totals_saturate() {
    let policy = Backoff::fixed(Seconds::MAX);
    assert_eq!(policy.total(u64::MAX), Duration::from_secs(u64::MAX));
    assert_eq!(
        policy.total(1 << 33),
        Duration::from_secs((1 << 33) * 2_147_483_647)
    );
    assert_eq!(policy.total(1 << 34), Duration::from_secs(u64::MAX));
    assert_eq!(
        Backoff::default().total(u64::MAX),
        Duration::from_secs(u64::MAX)
    );
    assert_eq!(policy.total(0), Duration::ZERO);
}

#[test]
fn a_factor_of_one_is_at_its_only_interval() {
    let policy: Backoff = "initial=1m,max=1h,factor=1".parse().unwrap();
    let position = |seconds| policy.position(Seconds::from_db(seconds));
    assert_eq!(policy.failures_to_maximum(), None);
    assert_eq!(position(59), Position::BelowInitial);
    assert_eq!(position(60), Position::Exact(0));
    assert_eq!(position(61), Position::Between);
    assert_eq!(position(3600), Position::Between);

    let fixed = Backoff::fixed(Seconds::from_db(60));
    assert_eq!(fixed.failures_to_maximum(), Some(0));
    assert_eq!(fixed.time_to_maximum(), Some(Duration::ZERO));
    assert_eq!(
        fixed.position(Seconds::from_db(60)),
        Position::AtMaximum { at_least: 0 }
    );
    assert_eq!(
        fixed.position(Seconds::from_db(61)),
        Position::AtMaximum { at_least: 0 }
    );
}
