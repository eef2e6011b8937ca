//! The sequences that people expect, failure by failure.

use bmdb_backoff::{Backoff, Factor, Seconds};

#[test]
fn doubling_from_one_second_stops_at_five_and_restarts_after_a_success() {
    let policy = policy("initial=1s,max=5s,factor=2");
    assert_eq!(intervals(&policy, None, 5), [1, 2, 4, 5, 5]);
    assert_eq!(intervals(&policy, None, 2), [1, 2]);
}

#[test]
fn a_small_factor_grows_by_at_least_a_second() {
    let policy = policy("initial=1s,max=17s,factor=1.1");
    assert_eq!(
        intervals(&policy, None, 15),
        [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 17]
    );
    let smallest = Backoff::exponential(at(1), at(4), Factor::from_micros(1_000_001).unwrap());
    assert_eq!(intervals(&smallest, None, 5), [1, 2, 3, 4, 4]);
}

#[test]
fn products_that_are_whole_in_decimal_are_not_rounded_up_further() {
    let policy = policy("initial=1s,max=1d,factor=1.1");
    assert_eq!(policy.next(Some(at(50))), at(55));
    assert_eq!(policy.next(Some(at(90))), at(99));
}

#[test]
fn a_fixed_interval_ignores_what_was_persisted() {
    let policy = policy("fixed=60s");
    assert_eq!(intervals(&policy, Some(at(2)), 3), [60, 60, 60]);
    assert_eq!(intervals(&policy, Some(at(600)), 3), [60, 60, 60]);
}

#[test]
fn a_factor_of_one_stays_at_the_initial_interval_below_its_maximum() {
    let policy = policy("initial=60s,max=1h,factor=1");
    assert_eq!(intervals(&policy, Some(at(600)), 2), [60, 60]);
}

#[test]
fn an_interval_of_a_shorter_policy_grows_from_where_it_is() {
    let policy = policy("initial=60s,max=120s,factor=2");
    assert_eq!(
        intervals(&policy, Some(at(2)), 7),
        [4, 8, 16, 32, 64, 120, 120]
    );
}

#[test]
fn an_interval_of_a_longer_policy_comes_down_to_the_maximum() {
    let policy = policy("initial=60s,max=120s,factor=2");
    assert_eq!(intervals(&policy, Some(at(3600)), 2), [120, 120]);
}

#[test]
fn the_longest_intervals_do_not_overflow() {
    let policy = Backoff::exponential(Seconds::MIN, Seconds::MAX, Factor::MAX);
    assert_eq!(
        intervals(&policy, None, 3),
        [1, 2_147_483_647, 2_147_483_647]
    );
    let doubling = Backoff::exponential(Seconds::MIN, Seconds::MAX, Factor::from_int(2));
    assert_eq!(doubling.next(Some(at(1 << 30))), Seconds::MAX);
    // 2^10 times 2^54 millionths is 0 in 64 bits.
    let steep = Factor::from_micros(1 << 54).expect("above one");
    let policy = Backoff::exponential(Seconds::MIN, Seconds::MAX, steep);
    assert_eq!(policy.next(Some(at(1 << 10))), Seconds::MAX);
}

#[test]
fn without_a_policy_the_last_interval_is_held() {
    assert_eq!(Backoff::next_or_hold(None, None), at(1));
    assert_eq!(Backoff::next_or_hold(None, Some(at(60))), at(60));
    let policy = policy("initial=1s,max=5s,factor=2");
    assert_eq!(Backoff::next_or_hold(Some(&policy), Some(at(2))), at(4));
    assert_eq!(Backoff::next_or_hold(Some(&policy), None), at(1));
}

#[test]
fn a_schedule_can_be_cloned_and_continued() {
    let policy = policy("initial=1s,max=1h,factor=2");
    let mut schedule = policy.schedule();
    assert!(schedule.by_ref().take(3).eq([at(1), at(2), at(4)]));
    let copy = schedule.clone();
    assert!(schedule.take(50).eq(copy.take(50)));
    assert!(
        policy
            .schedule_from(at(4))
            .take(9)
            .eq(policy.schedule().skip(3).take(9))
    );
    assert!(
        policy
            .schedule_from(None)
            .take(9)
            .eq(policy.schedule().take(9))
    );
    assert_eq!(policy.schedule().size_hint(), (usize::MAX, None));
}

fn policy(text: &str) -> Backoff {
    text.parse().expect("a policy")
}

fn at(seconds: i64) -> Seconds {
    Seconds::from_db(seconds)
}

/// The intervals of successive failures, with nothing between them but what is persisted.
fn intervals(policy: &Backoff, mut last: Option<Seconds>, failures: usize) -> Vec<u32> {
    let mut seen = Vec::new();
    for _ in 0..failures {
        let interval = policy.next(last);
        seen.push(interval.get());
        last = Some(interval);
    }
    seen
}
