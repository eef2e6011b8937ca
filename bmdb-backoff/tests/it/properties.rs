//! What holds for the recurrence whatever the policy and whatever was persisted.

use std::hint::black_box;
use std::time::Duration;

use bmdb_backoff::{Backoff, Factor, Jitter, Position, Seconds, Step, mix};
use proptest::prelude::*;

use crate::strategies::{growth, policy, policy_and_last, seconds};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_interval_lies_between_one_second_and_the_maximum((policy, last) in policy_and_last()) {
        let interval = policy.next(last);
        prop_assert!(Seconds::MIN <= interval && interval <= policy.maximum());
    }

    #[test]
    fn the_interval_equals_an_independent_ceiling((policy, last) in policy_and_last()) {
        let expected = match last {
            None => u128::from(policy.initial().get()),
            Some(_) if policy.factor() == Factor::ONE => u128::from(policy.initial().get()),
            Some(last) => {
                let product = u128::from(last.get()) * u128::from(policy.factor().micros());
                let ceiling = product / 1_000_000 + u128::from(product % 1_000_000 != 0);
                ceiling.min(u128::from(policy.maximum().get()))
            }
        };
        prop_assert_eq!(u128::from(policy.next(last).get()), expected);
    }

    #[test]
    fn below_the_maximum_a_factor_above_one_strictly_grows((policy, last) in policy_and_last()) {
        if let Some(last) = last
            && last < policy.maximum()
            && policy.factor() > Factor::ONE
        {
            prop_assert!(policy.next(Some(last)) > last);
        }
    }

    #[test]
    fn a_longer_last_interval_never_gives_a_shorter_one(policy in policy(), a in seconds(), b in seconds()) {
        prop_assert!(policy.next(Some(a.min(b))) <= policy.next(Some(a.max(b))));
    }

    #[test]
    fn a_larger_growth_never_gives_a_shorter_interval(
        policy in policy(), last in seconds(), a in growth(), b in growth(),
    ) {
        let with = |factor| Backoff::exponential(policy.initial(), policy.maximum(), factor);
        prop_assert!(with(a.min(b)).next(Some(last)) <= with(a.max(b)).next(Some(last)));
    }

    #[test]
    fn growth_never_gives_a_shorter_interval_than_none_within_the_policy(
        policy in policy(), last in seconds(), factor in growth(),
    ) {
        // Below the initial interval it does: growth starts from the interval that was persisted.
        let last = last.max(policy.initial());
        let with = |factor| Backoff::exponential(policy.initial(), policy.maximum(), factor);
        prop_assert!(with(Factor::ONE).next(Some(last)) <= with(factor).next(Some(last)));
    }

    #[test]
    fn a_larger_maximum_never_gives_a_shorter_interval(
        (policy, last) in policy_and_last(), larger in seconds(),
    ) {
        let larger = larger.max(policy.maximum());
        let relaxed = Backoff::exponential(policy.initial(), larger, policy.factor());
        prop_assert!(policy.next(last) <= relaxed.next(last));
    }

    #[test]
    fn each_interval_of_the_schedule_follows_from_the_one_before(policy in policy()) {
        let intervals: Vec<Seconds> = policy.schedule().take(40).collect();
        prop_assert_eq!(intervals[0], policy.next(None));
        for pair in intervals.windows(2) {
            prop_assert_eq!(policy.next(Some(pair[0])), pair[1]);
        }
    }

    #[test]
    fn a_schedule_continues_from_any_of_its_intervals(policy in policy(), failures in 1..40_usize) {
        let last = policy.schedule().nth(failures - 1).unwrap();
        let rest: Vec<Seconds> = policy.schedule().skip(failures).take(20).collect();
        prop_assert!(policy.schedule_from(last).take(20).eq(rest));
    }

    #[test]
    fn nothing_panics_on_any_bit_pattern(
        initial: i64, maximum: i64, exponent: u64, last: i64, random: u64, failures: u64,
    ) {
        let policy = Backoff::from_reference(initial, maximum, f64::from_bits(exponent));
        let last = Seconds::from_db(last);
        let step = policy.step(Some(last), random);
        prop_assert!(step.delay <= policy.maximum());
        prop_assert!(policy.total(failures) >= Duration::from_secs(failures));
        let _ = (policy.position(last), policy.time_to_maximum());
    }
}

#[test]
fn constants_equal_what_the_program_computes() {
    const SEED: u128 = 0x1234_5678_9abc_def0_0fed_cba9_8765_4321;
    const AT_COMPILE_TIME: [Answers; 64] = answers(SEED);
    assert_eq!(AT_COMPILE_TIME, answers(black_box(SEED)));
}

type Answers = (Backoff, Step, Option<u64>, Duration, Position);

/// Answers of policies of every kind, some with exponents that have a meaning only by bits.
const fn answers(seed: u128) -> [Answers; 64] {
    let mut all = [answer(0, 0, 0.0, 0, 0); 64];
    let mut i = 0;
    while i < all.len() {
        let n = i as u64 * 8;
        let magnitude = mix(seed, n) % 60;
        let exponent = match i % 4 {
            0 => f64::from_bits(mix(seed, n + 1)),
            1 => 1.1,
            _ => 1.0 + (mix(seed, n + 2) % 4_000) as f64 / 1000.0,
        };
        all[i] = answer(
            (mix(seed, n + 3) >> (magnitude + 4)).cast_signed(),
            (mix(seed, n + 4) >> magnitude).cast_signed(),
            exponent,
            (mix(seed, n + 5) >> (40 + i % 20)).cast_signed(),
            mix(seed, n + 6),
        );
        i += 1;
    }
    all
}

const fn answer(initial: i64, maximum: i64, exponent: f64, last: i64, random: u64) -> Answers {
    let policy =
        Backoff::from_reference(initial, maximum, exponent).with_jitter(Jitter::Percent(25));
    let last = Seconds::from_db(last);
    (
        policy,
        policy.step(Some(last), random),
        policy.failures_to_maximum(),
        policy.total(random % 1000),
        policy.position(last),
    )
}
