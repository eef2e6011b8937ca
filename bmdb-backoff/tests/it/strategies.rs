//! Where properties take their policies and intervals from.

use bmdb_backoff::{Backoff, Factor, Jitter, Seconds};
use proptest::prelude::*;

/// Intervals of every magnitude: evenly drawn ones would nearly all be decades long.
pub(crate) fn seconds() -> impl Strategy<Value = Seconds> {
    let max = Seconds::MAX.get();
    prop_oneof![
        1..=20u32,
        1..=5_000u32,
        1..=1_000_000u32,
        1..=max,
        max - 20..=max
    ]
    .prop_map(|seconds| Seconds::new(seconds).expect("drawn within the range"))
}

/// Factors from 1.000001 on: those that people write, those near 1, and all others.
pub(crate) fn growth() -> impl Strategy<Value = Factor> {
    prop_oneof![
        1_000_001..=1_000_020u64,
        1_000_001..=1_100_000u64,
        (11..=100u64).prop_map(|tenths| tenths * 100_000),
        1_000_001..=u64::MAX,
    ]
    .prop_map(|micros| Factor::from_micros(micros).expect("drawn above one"))
}

pub(crate) fn factor() -> impl Strategy<Value = Factor> {
    prop_oneof![1 => Just(Factor::ONE), 9 => growth()]
}

pub(crate) fn jitter() -> impl Strategy<Value = Jitter> {
    prop_oneof![
        Just(Jitter::None),
        Just(Jitter::Full),
        Just(Jitter::Equal),
        (0..=100u8).prop_map(Jitter::Percent),
    ]
}

pub(crate) fn policy() -> impl Strategy<Value = Backoff> {
    let exponential = (seconds(), seconds(), factor())
        .prop_map(|(a, b, factor)| Backoff::exponential(a.min(b), a.max(b), factor));
    let policy = prop_oneof![1 => seconds().prop_map(Backoff::fixed), 9 => exponential];
    (policy, jitter()).prop_map(|(policy, jitter)| policy.with_jitter(jitter))
}

/// What may have been persisted: nothing, anything, or something near the maximum of the policy.
pub(crate) fn policy_and_last() -> impl Strategy<Value = (Backoff, Option<Seconds>)> {
    (
        policy(),
        proptest::option::of(seconds()),
        -2..=2i64,
        any::<bool>(),
    )
        .prop_map(|(policy, last, offset, near)| {
            let near_maximum = Seconds::from_db(i64::from(policy.maximum()) + offset);
            (policy, if near { Some(near_maximum) } else { last })
        })
}
