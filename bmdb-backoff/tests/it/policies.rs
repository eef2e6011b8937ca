//! How policies are made, and which ones are refused.

use bmdb_backoff::{Backoff, Factor, Jitter, Seconds};

const MINUTE: Seconds = Seconds::new(60).unwrap();
const HOUR: Seconds = Seconds::new(3600).unwrap();
const RETRY: Backoff =
    Backoff::exponential(MINUTE, HOUR, Factor::from_int(2)).with_jitter(Jitter::Equal);

#[test]
fn a_policy_tells_what_it_was_made_of() {
    assert_eq!(
        (
            RETRY.initial(),
            RETRY.maximum(),
            RETRY.factor(),
            RETRY.jitter()
        ),
        (MINUTE, HOUR, Factor::from_int(2), Jitter::Equal)
    );
    let fixed = Backoff::fixed(MINUTE);
    assert_eq!(
        (
            fixed.initial(),
            fixed.maximum(),
            fixed.factor(),
            fixed.jitter()
        ),
        (MINUTE, MINUTE, Factor::ONE, Jitter::None)
    );
}

#[test]
fn the_default_is_one_second_without_growth() {
    assert_eq!(Backoff::default(), Backoff::fixed(Seconds::MIN));
}

#[test]
fn a_maximum_below_the_initial_interval_is_an_error() {
    let error = Backoff::try_exponential(HOUR, MINUTE, Factor::ONE).unwrap_err();
    assert_eq!((error.initial, error.maximum), (HOUR, MINUTE));
    assert_eq!(
        error.to_string(),
        "the maximum of a backoff (1m) must not be below its initial interval (1h)"
    );
    assert!(Backoff::try_exponential(HOUR, HOUR, Factor::ONE).is_ok());
}

#[test]
#[should_panic(expected = "must not be below its initial interval")]
fn the_const_constructor_panics_on_a_maximum_below_the_initial_interval() {
    let _ = Backoff::exponential(HOUR, MINUTE, Factor::ONE);
}

#[test]
#[should_panic(expected = "must be at least 1")]
fn the_const_constructor_panics_on_a_factor_of_zero() {
    let _ = Factor::from_int(0);
}

#[test]
fn a_percentage_above_one_hundred_counts_as_one_hundred() {
    for percent in [100, 101, 200, u8::MAX] {
        let policy = RETRY.with_jitter(Jitter::Percent(percent));
        assert_eq!(policy.jitter(), Jitter::Percent(100));
    }
}

#[test]
fn the_last_jitter_given_counts() {
    assert_eq!(
        RETRY
            .with_jitter(Jitter::Full)
            .with_jitter(Jitter::None)
            .jitter(),
        Jitter::None
    );
}

#[test]
fn an_optional_interval_is_no_larger_than_an_interval() {
    assert_eq!(size_of::<Option<Seconds>>(), size_of::<u32>());
    assert!(size_of::<Backoff>() <= 24);
}
