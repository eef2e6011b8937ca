//! How delays spread: their bounds, their mean, and the random numbers behind them.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use bmdb_backoff::{Backoff, Factor, Jitter, Seconds, mix};
use proptest::prelude::*;

use crate::strategies::policy_and_last;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_interval_does_not_depend_on_jitter_or_randomness(
        (policy, last) in policy_and_last(), random: u64,
    ) {
        prop_assert_eq!(policy.step(last, random).interval, policy.next(last));
        prop_assert_eq!(policy.with_jitter(Jitter::None).next(last), policy.next(last));
    }

    #[test]
    fn the_delay_stays_within_its_range_and_reaches_both_ends(
        (policy, last) in policy_and_last(), random: u64,
    ) {
        let range = range_of_delays(&policy, policy.next(last));
        let delay = |random| policy.step(last, random).delay.get();
        prop_assert!(range.contains(&delay(random)));
        prop_assert!(1 <= delay(random) && delay(random) <= policy.maximum().get());
        prop_assert_eq!(delay(0), *range.start());
        prop_assert_eq!(delay(u64::MAX), *range.end());
    }

    #[test]
    fn without_jitter_the_delay_is_the_interval((policy, last) in policy_and_last(), random: u64) {
        let step = policy.with_jitter(Jitter::None).step(last, random);
        prop_assert_eq!(step.delay, step.interval);
    }

    #[test]
    fn a_larger_random_number_never_gives_a_shorter_delay(
        (policy, last) in policy_and_last(), a: u64, b: u64,
    ) {
        prop_assert!(policy.step(last, a.min(b)).delay <= policy.step(last, a.max(b)).delay);
    }
}

/// The range that the documentation of the jitter states.
fn range_of_delays(policy: &Backoff, interval: Seconds) -> RangeInclusive<u32> {
    let base = u64::from(interval);
    let maximum = u64::from(policy.maximum());
    let (from, to) = match policy.jitter() {
        Jitter::None => (base, base),
        Jitter::Full => (1, base),
        Jitter::Equal => (base.div_ceil(2), base),
        Jitter::Percent(percent) => {
            let spread = base * u64::from(percent) / 100;
            ((base - spread).max(1), (base + spread).min(maximum))
        }
    };
    let seconds = |value| u32::try_from(value).expect("within the policy");
    seconds(from)..=seconds(to)
}

#[test]
fn every_second_of_the_range_is_as_likely_as_any_other() {
    for jitter in [Jitter::Full, Jitter::Equal, Jitter::Percent(30)] {
        let policy = fixed_with_room(60, jitter);
        let range = range_of_delays(&policy, policy.initial());
        let width = u64::from(range.end() - range.start() + 1);
        // Evenly spaced random numbers, one hundred for each second.
        let mut counts = vec![0; range.clone().count()];
        for n in 0..width * 100 {
            let random = u64::MAX / (width * 100) * n + u64::MAX / (width * 200);
            counts[(policy.step(None, random).delay.get() - range.start()) as usize] += 1;
        }
        assert_eq!(counts, vec![100; range.count()], "{jitter}");
    }
}

#[test]
fn the_mean_delay_is_the_middle_of_the_range() {
    const DRAWS: u32 = 20_000;
    let jitters = [
        Jitter::Full,
        Jitter::Equal,
        Jitter::Percent(10),
        Jitter::Percent(90),
    ];
    for (seed, seconds) in [(1, 1), (2, 2), (3, 60), (4, 3601), (5, 1_000_000_000)] {
        for jitter in jitters {
            let policy = fixed_with_room(seconds, jitter);
            let range = range_of_delays(&policy, policy.initial());
            let (from, to) = (f64::from(*range.start()), f64::from(*range.end()));
            let sum: f64 = (0..u64::from(DRAWS))
                .map(|n| f64::from(policy.step(None, mix(seed, n)).delay.get()))
                .sum();
            let off = (sum / f64::from(DRAWS) - (from + to) / 2.0).abs();
            let outcomes = to - from + 1.0;
            let sigma = ((outcomes * outcomes - 1.0) / 12.0 / f64::from(DRAWS)).sqrt();
            assert!(
                off <= 4.0 * sigma,
                "{seconds} s, {jitter}: off by {off}, σ is {sigma}"
            );
        }
    }
}

#[test]
fn at_the_maximum_a_percentage_spreads_downwards_only() {
    let policy = Backoff::fixed(Seconds::new(100).unwrap()).with_jitter(Jitter::Percent(10));
    let delays: Vec<u32> = (0..1000)
        .map(|n| policy.step(None, mix(0, n)).delay.get())
        .collect();
    assert_eq!(delays.iter().min(), Some(&90));
    assert_eq!(delays.iter().max(), Some(&100));
    let cut = delays.iter().filter(|delay| **delay == 100).count();
    assert!(
        (450..=600).contains(&cut),
        "{cut} of 1000 were cut at the maximum"
    );
}

/// A policy whose maximum does not cut any jitter.
fn fixed_with_room(seconds: i64, jitter: Jitter) -> Backoff {
    Backoff::exponential(Seconds::from_db(seconds), Seconds::MAX, Factor::ONE).with_jitter(jitter)
}

#[test]
fn mix_is_the_published_generator_for_seeds_of_64_bits() {
    let published = [
        6_457_827_717_110_365_317,
        3_203_168_211_198_807_973,
        9_817_491_932_198_370_423,
        4_593_380_528_125_082_431,
        16_408_922_859_458_223_821,
    ];
    for (n, number) in (0..).zip(published) {
        assert_eq!(mix(1_234_567, n), number);
    }
}

#[test]
fn neighbouring_seeds_and_attempts_share_no_numbers() {
    let mut seen = HashSet::new();
    for low in 0..20_u128 {
        for high in 0..20_u128 {
            for n in [0, 1, 2, 3, 4, u64::MAX] {
                assert!(seen.insert(mix(high << 64 | low, n)), "{high} {low} {n}");
            }
        }
    }
}

#[test]
fn every_bit_of_seed_and_attempt_changes_about_half_of_the_number() {
    let seed = 0x6ba7_b810_9dad_11d1_80b4_00c0_4fd4_30c8;
    let flipped_seeds = (0..128).map(|bit| mix(seed ^ 1 << bit, 7));
    let flipped_attempts = (0..64).map(|bit| mix(seed, 7 ^ 1 << bit));
    for number in flipped_seeds.chain(flipped_attempts) {
        let changed = (number ^ mix(seed, 7)).count_ones();
        assert!((12..=52).contains(&changed), "{changed} bits");
    }
}
