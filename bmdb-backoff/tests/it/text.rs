//! Policies as text: what is read, what is refused and where, what is written.

use bmdb_backoff::{Backoff, Factor, Jitter, ParseError, Seconds};
use proptest::prelude::*;

use crate::strategies::{factor, jitter, policy, seconds};

#[test]
fn what_is_written_is_canonical() {
    for (text, canonical) in [
        ("fixed=60s", "fixed=1m"),
        ("fixed=60s,jitter=none", "fixed=1m"),
        ("jitter=10%,fixed=90m", "fixed=1h30m,jitter=10%"),
        ("initial=60s,max=60s,factor=1", "fixed=1m"),
        (
            "initial=60s,max=61s,factor=1",
            "initial=1m,max=1m1s,factor=1",
        ),
        ("initial=60s,max=60s,factor=2", "initial=1m,max=1m,factor=2"),
        (
            "factor=1.20,max=4h,initial=5m,jitter=full",
            "initial=5m,max=4h,factor=1.2,jitter=full",
        ),
        (
            "initial=1s,max=1d,factor=2.000000",
            "initial=1s,max=1d,factor=2",
        ),
        (
            "initial=1s,max=1d,factor=1.000001",
            "initial=1s,max=1d,factor=1.000001",
        ),
        (
            "initial=1s,max=1d,factor=01.05",
            "initial=1s,max=1d,factor=1.05",
        ),
        (
            "initial=1d2h3m4s,max=48h,factor=10",
            "initial=1d2h3m4s,max=2d,factor=10",
        ),
        ("fixed=0d0h0m1s,jitter=0%", "fixed=1s,jitter=0%"),
        (
            "fixed=24855d3h14m7s,jitter=100%",
            "fixed=24855d3h14m7s,jitter=100%",
        ),
    ] {
        let policy: Backoff = text
            .parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(policy.to_string(), canonical);
    }
}

#[test]
fn an_error_says_what_was_expected_and_where() {
    const KEYS: &str = "`initial`, `max`, `factor`, `fixed` or `jitter`";
    const UNIT: &str = "a unit: `d`, `h`, `m` or `s`";
    const DURATION: &str = "a duration from `1s` to `24855d3h14m7s`";
    const FACTOR: &str = "a factor from 1 to 18446744073709.551615";
    const JITTER: &str = "`none`, `full`, `equal` or a percentage such as `10%`";
    const PERCENT: &str = "a percentage from `0%` to `100%`";
    const EITHER: &str = "either `fixed` or `initial`, `max` and `factor`";
    const COMMA: &str = "`,` or the end of the text";
    const SMALLER: &str = "a smaller unit than the one before it";
    for (text, offset, expected) in [
        ("", 0, KEYS),
        (",", 0, KEYS),
        (" fixed=60s", 0, KEYS),
        ("Fixed=60s", 0, KEYS),
        ("fixe=60s", 0, KEYS),
        ("exponent=2", 0, KEYS),
        ("naïve", 0, KEYS),
        ("fixed=60s,", 10, KEYS),
        ("fixed=60s, jitter=full", 10, KEYS),
        ("fixed", 5, "`=`"),
        ("fixed =60s", 5, "`=`"),
        ("fixed=", 6, "a digit"),
        ("fixed=-5s", 6, "a digit"),
        ("fixed=s", 6, "a digit"),
        ("fixed=60", 8, UNIT),
        ("fixed=60,jitter=full", 8, UNIT),
        ("fixed=60S", 8, UNIT),
        ("fixed=1.5s", 7, UNIT),
        ("fixed=5µs", 7, UNIT),
        ("fixed=1m30", 10, UNIT),
        ("fixed=1m1h", 9, SMALLER),
        ("fixed=1s1s", 9, SMALLER),
        ("fixed=0s", 6, DURATION),
        ("fixed=24855d3h14m8s", 6, DURATION),
        ("fixed=18446744073709551616s", 6, DURATION),
        ("fixed=18446744073709551615d", 6, DURATION),
        ("fixed=1d18446744073709551615s", 6, DURATION),
        ("fixed=5ms", 8, COMMA),
        ("fixed=60s;jitter=full", 9, COMMA),
        ("fixed=60s,fixed=60s", 10, "each key only once"),
        (
            "initial=1s,max=5s,factor=2,factor=2",
            27,
            "each key only once",
        ),
        ("fixed=1s,jitter=full,jitter", 21, "each key only once"),
        ("fixed=1s,max=5s", 9, EITHER),
        ("factor=2,fixed=1s", 9, EITHER),
        ("initial=1s,max=5s", 17, "`factor` as well"),
        ("factor=2,initial=1s", 19, "`max` as well"),
        ("max=5s,factor=2", 15, "`initial` as well"),
        (
            "jitter=full",
            11,
            "`fixed` or `initial`, `max` and `factor`",
        ),
        (
            "initial=10s,max=5s,factor=2",
            16,
            "a maximum not below `initial`",
        ),
        (
            "max=5s,initial=10s,factor=2",
            4,
            "a maximum not below `initial`",
        ),
        ("factor=0.999999", 7, FACTOR),
        ("factor=18446744073709.551616", 7, FACTOR),
        ("factor=18446744073710", 7, FACTOR),
        ("factor=99999999999999999999", 7, FACTOR),
        ("factor=NaN", 7, "a digit"),
        ("factor=.5", 7, "a digit"),
        ("factor=-1", 7, "a digit"),
        ("factor=1.", 9, "a digit"),
        ("factor=1,5", 9, KEYS),
        ("factor=1e3", 8, COMMA),
        ("factor=1.1234567", 15, "at most six decimals"),
        ("factor=1.2000000", 15, "at most six decimals"),
        ("jitter=", 7, JITTER),
        ("jitter=half", 7, JITTER),
        ("jitter=Full", 7, JITTER),
        ("jitter=-1%", 7, JITTER),
        ("jitter=10", 9, "`%`"),
        ("jitter=1.5%", 8, "`%`"),
        ("jitter=101%", 7, PERCENT),
        ("jitter=1000%", 7, PERCENT),
    ] {
        let error = text.parse::<Backoff>().expect_err(text);
        assert_eq!(
            (error.offset(), error.expected()),
            (offset, expected),
            "{text}"
        );
        assert_eq!(
            error.to_string(),
            format!("at byte {offset}: expected {expected}")
        );
    }
}

#[test]
fn single_values_are_read_to_the_end() {
    assert_eq!("90s".parse::<Seconds>(), Ok(Seconds::from_db(90)));
    assert_eq!("1.5".parse::<Factor>().map(Factor::micros), Ok(1_500_000));
    assert_eq!("25%".parse::<Jitter>(), Ok(Jitter::Percent(25)));
    for error in [
        "90s ".parse::<Seconds>().unwrap_err(),
        "1.5 ".parse::<Factor>().unwrap_err(),
        "25% ".parse::<Jitter>().unwrap_err(),
    ] {
        assert_eq!(
            (error.offset(), error.expected()),
            (3, "the end of the text")
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_is_written_is_read_as_the_same(
        policy in policy(), seconds in seconds(), factor in factor(), jitter in jitter(),
    ) {
        prop_assert_eq!(policy.to_string().parse(), Ok(policy));
        prop_assert_eq!(seconds.to_string().parse(), Ok(seconds));
        prop_assert_eq!(factor.to_string().parse(), Ok(factor));
        prop_assert_eq!(jitter.to_string().parse(), Ok(jitter));
    }

    #[test]
    fn keys_come_in_any_order(policy in policy(), seed: u64) {
        let canonical = policy.to_string();
        let mut pairs: Vec<&str> = canonical.split(',').collect();
        pairs.sort_by_key(|pair| pair.bytes().fold(seed, |h, b| (h ^ u64::from(b)).wrapping_mul(31)));
        prop_assert_eq!(pairs.join(",").parse(), Ok(policy));
    }

    #[test]
    fn decimals_are_read_exactly(whole in 1..=18_446_744_073_708_u64, micros in 0..1_000_000_u64) {
        let factor: Factor = format!("{whole}.{micros:06}").parse().unwrap();
        prop_assert_eq!(factor.micros(), whole * 1_000_000 + micros);
    }

    #[test]
    fn any_text_is_a_policy_or_an_error_within_it(text in ".*") {
        check_any_text(&text)?;
    }

    #[test]
    fn anything_made_of_the_right_letters_is_a_policy_or_an_error_within_it(
        text in "((initial|max|factor|fixed|jitter|full|equal|none|[=,.%dhms]|[0-9]{1,21}|é){0,12})",
    ) {
        check_any_text(&text)?;
    }

    #[test]
    fn a_policy_with_a_typing_error_is_a_policy_or_an_error_within_it(
        policy in policy(), at: prop::sample::Index, removed in 0..3_usize, inserted in "[a-z0-9=,.% é]{0,2}",
    ) {
        let mut text: Vec<char> = policy.to_string().chars().collect();
        let start = at.index(text.len());
        let end = (start + removed).min(text.len());
        text.splice(start..end, inserted.chars());
        check_any_text(&text.into_iter().collect::<String>())?;
    }
}

fn check_any_text(text: &str) -> Result<(), TestCaseError> {
    match text.parse::<Backoff>() {
        Ok(policy) => prop_assert_eq!(policy.to_string().parse(), Ok(policy)),
        Err(error) => check_error(text, error)?,
    }
    for error in [
        text.parse::<Seconds>().err(),
        text.parse::<Factor>().err(),
        text.parse::<Jitter>().err(),
    ] {
        error.map_or(Ok(()), |error| check_error(text, error))?;
    }
    Ok(())
}

fn check_error(text: &str, error: ParseError) -> Result<(), TestCaseError> {
    prop_assert!(text.is_char_boundary(error.offset()), "{text:?}: {error}");
    Ok(())
}
