//! Numbers, durations and original descriptors on their way in and out.

use std::time::Duration;

use bmdb_backoff::{Backoff, Factor, FactorError, OutOfRange, Seconds};
use proptest::prelude::*;

#[test]
fn intervals_are_one_second_to_the_largest_32_bit_integer() {
    assert_eq!(Seconds::new(0), None);
    assert_eq!(Seconds::new(1), Some(Seconds::MIN));
    assert_eq!(Seconds::new(2_147_483_647), Some(Seconds::MAX));
    assert_eq!(Seconds::new(2_147_483_648), None);
    assert_eq!(Seconds::new(u32::MAX), None);
}

#[test]
fn what_a_database_holds_is_moved_into_range() {
    for (column, seconds) in [
        (i64::MIN, 1),
        (-1, 1),
        (0, 1),
        (1, 1),
        (60, 60),
        (2_147_483_647, 2_147_483_647),
        (2_147_483_648, 2_147_483_647),
        (4_294_967_297, 2_147_483_647),
        (i64::MAX, 2_147_483_647),
    ] {
        assert_eq!(Seconds::from_db(column).get(), seconds, "{column}");
    }
}

#[test]
fn durations_are_rounded_up_and_moved_into_range() {
    for (duration, seconds) in [
        (Duration::ZERO, 1),
        (Duration::from_nanos(1), 1),
        (Duration::from_secs(1), 1),
        (Duration::new(1, 1), 2),
        (Duration::new(59, 999_999_999), 60),
        (Duration::new(2_147_483_646, 1), 2_147_483_647),
        (Duration::new(2_147_483_647, 1), 2_147_483_647),
        (Duration::MAX, 2_147_483_647),
    ] {
        assert_eq!(
            Seconds::from_duration_ceil(duration).get(),
            seconds,
            "{duration:?}"
        );
    }
}

#[test]
fn conversions_that_can_fail_say_what_the_range_is() {
    assert_eq!(Seconds::try_from(60_i64), Ok(Seconds::from_db(60)));
    assert_eq!(Seconds::try_from(60_u32), Ok(Seconds::from_db(60)));
    let refused = [
        Seconds::try_from(0_u32),
        Seconds::try_from(1_u32 << 31),
        Seconds::try_from(-1_i64),
        Seconds::try_from(1_i64 << 31),
        Seconds::try_from(1_i64 << 40),
    ];
    for result in refused {
        let error: OutOfRange = result.unwrap_err();
        assert_eq!(error.to_string(), "an interval has 1 to 2147483647 seconds");
    }
}

#[test]
fn factors_are_exact_to_a_millionth() {
    assert_eq!(Factor::from_micros(999_999), None);
    assert_eq!(Factor::from_micros(1_000_000), Some(Factor::ONE));
    assert_eq!(Factor::from_int(1), Factor::ONE);
    assert_eq!(Factor::from_int(u32::MAX).micros(), 4_294_967_295_000_000);
    assert_eq!(Factor::from_micros(u64::MAX), Some(Factor::MAX));
}

#[test]
fn floating_point_factors_are_rounded_to_the_nearest_millionth() {
    for (number, micros) in [
        (1.0, 1_000_000),
        (1.1, 1_100_000),
        (1.2, 1_200_000),
        (2.0, 2_000_000),
        (1.000_001, 1_000_001),
        (1.000_001_4, 1_000_001),
        (1.000_001_6, 1_000_002),
        (1.0 + 1.0 / 128.0, 1_007_813), // 1.0078125, a tie
        (1.123_456_789, 1_123_457),
        (1_000_000.0, 1_000_000_000_000),
        (9_007_199_254.740_993, 9_007_199_254_740_993),
        (4_503_599_627_370_497.0, u64::MAX),
        (1e308, u64::MAX),
        (f64::MAX, u64::MAX),
    ] {
        assert_eq!(
            Factor::try_from_f64(number).map(Factor::micros),
            Ok(micros),
            "{number}"
        );
    }
}

#[test]
fn floating_point_factors_that_mean_nothing_are_refused() {
    for (number, error, message) in [
        (
            f64::NAN,
            FactorError::NotANumber,
            "a backoff factor must be a number, not NaN",
        ),
        (
            -f64::NAN,
            FactorError::NotANumber,
            "a backoff factor must be a number, not NaN",
        ),
        (
            f64::INFINITY,
            FactorError::Infinite,
            "a backoff factor must be finite",
        ),
        (
            f64::NEG_INFINITY,
            FactorError::BelowOne,
            "a backoff factor must be at least 1",
        ),
        (
            0.0,
            FactorError::BelowOne,
            "a backoff factor must be at least 1",
        ),
        (
            -0.0,
            FactorError::BelowOne,
            "a backoff factor must be at least 1",
        ),
        (
            1.0_f64.next_down(),
            FactorError::BelowOne,
            "a backoff factor must be at least 1",
        ),
        (
            1.000_000_4,
            FactorError::RoundsToOne,
            "a backoff factor above 1 must be at least 1.000001",
        ),
        (
            1.0_f64.next_up(),
            FactorError::RoundsToOne,
            "a backoff factor above 1 must be at least 1.000001",
        ),
    ] {
        assert_eq!(Factor::try_from_f64(number), Err(error), "{number}");
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn an_original_descriptor_is_normalised() {
    let nanos = |seconds: i64| seconds * 1_000_000_000;
    for (initial, maximum, exponent, policy) in [
        (nanos(60), nanos(120), 1.1, "initial=1m,max=2m,factor=1.1"),
        (0, 0, 0.0, "fixed=1s"),
        (i64::MIN, i64::MIN, f64::NEG_INFINITY, "fixed=1s"),
        (1, 0, 2.0, "initial=1s,max=1s,factor=2"),
        (nanos(60) + 1, 0, 1.0, "fixed=1m1s"),
        (nanos(60), nanos(5), 2.0, "initial=1m,max=1m,factor=2"),
        (nanos(1), nanos(60) - 1, 2.0, "initial=1s,max=1m,factor=2"),
        (nanos(60), nanos(120), 0.5, "fixed=1m"),
        (nanos(60), nanos(120), f64::NAN, "fixed=1m"),
        (
            nanos(60),
            nanos(120),
            1.000_000_000_1,
            "initial=1m,max=2m,factor=1.000001",
        ),
        (
            nanos(60),
            nanos(120),
            f64::INFINITY,
            "initial=1m,max=2m,factor=18446744073709.551615",
        ),
        (
            i64::MAX,
            i64::MAX,
            2.0,
            "initial=24855d3h14m7s,max=24855d3h14m7s,factor=2",
        ),
    ] {
        let imported = Backoff::from_reference(initial, maximum, exponent);
        assert_eq!(imported.to_string(), policy);
    }
}

#[test]
fn an_infinite_exponent_leads_straight_to_the_maximum() {
    let policy = Backoff::from_reference(1, i64::MAX, f64::INFINITY);
    assert!(
        policy
            .schedule()
            .take(3)
            .eq([Seconds::MIN, Seconds::MAX, Seconds::MAX])
    );
}

proptest! {
    #[test]
    fn intervals_survive_every_conversion(seconds in 1..=2_147_483_647_u32) {
        let interval = Seconds::new(seconds).unwrap();
        prop_assert_eq!(u32::from(interval), seconds);
        prop_assert_eq!(u64::from(interval), u64::from(seconds));
        prop_assert_eq!(Seconds::from_db(i64::from(interval)), interval);
        prop_assert_eq!(Seconds::try_from(i64::from(interval)), Ok(interval));
        prop_assert_eq!(Seconds::try_from(seconds), Ok(interval));
        prop_assert_eq!(Duration::from(interval), Duration::from_secs(u64::from(seconds)));
        prop_assert_eq!(Seconds::from_duration_ceil(interval.as_duration()), interval);
    }

    #[test]
    fn a_millionth_survives_the_way_through_floating_point(micros in 1_000_000..1_u64 << 52) {
        // 2^52 millionths is where floating-point numbers become sparser than millionths.
        let number = micros as f64 / 1e6;
        prop_assert_eq!(Factor::try_from_f64(number).map(Factor::micros), Ok(micros));
    }

    #[test]
    fn every_floating_point_number_is_a_factor_or_an_error(bits: u64) {
        let number = f64::from_bits(bits);
        match Factor::try_from_f64(number) {
            Ok(factor) => prop_assert!(number >= 1.0 && (factor > Factor::ONE) == (number > 1.0)),
            Err(_) => prop_assert!(!(number >= 1.000_001 && number.is_finite())),
        }
    }

    #[test]
    fn every_descriptor_is_a_policy(initial: i64, maximum: i64, bits: u64) {
        let policy = Backoff::from_reference(initial, maximum, f64::from_bits(bits));
        prop_assert!(policy.initial() <= policy.maximum());
        prop_assert_eq!(policy.next(None), policy.initial());
    }
}
