//! Policies in serialized form are their text.

use bmdb_backoff::Backoff;
use proptest::prelude::*;

use crate::strategies::policy;

#[test]
fn a_policy_is_serialized_as_its_text() {
    let policy: Backoff = "initial=300s,max=4h,factor=1.2,jitter=full"
        .parse()
        .unwrap();
    let json = serde_json::to_string(&policy).unwrap();
    assert_eq!(json, r#""initial=5m,max=4h,factor=1.2,jitter=full""#);
}

#[test]
fn an_error_of_the_text_is_the_error_of_the_deserializer() {
    let error = serde_json::from_str::<Backoff>(r#""fixed=60""#).unwrap_err();
    assert!(
        error.to_string().starts_with("at byte 8: expected a unit"),
        "{error}"
    );
    let error = serde_json::from_str::<Backoff>("60").unwrap_err();
    assert!(
        error
            .to_string()
            .contains("expected a backoff policy such as"),
        "{error}"
    );
}

proptest! {
    #[test]
    fn what_is_serialized_is_deserialized_as_the_same(policy in policy()) {
        let json = serde_json::to_string(&policy).unwrap();
        prop_assert_eq!(serde_json::from_str::<Backoff>(&json).unwrap(), policy);
        // A value that is owned, not borrowed from the input.
        prop_assert_eq!(serde_json::from_value::<Backoff>(json.trim_matches('"').into()).unwrap(), policy);
    }
}
