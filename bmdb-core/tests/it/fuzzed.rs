//! A bounded run of the checks that the fuzz targets run without a limit.

#[cfg(feature = "fleet")]
#[path = "../../fuzz/checks/fleet.rs"]
mod fleet;
#[path = "../../fuzz/checks/url.rs"]
mod url;

use proptest::prelude::*;
use proptest::sample::Index;

/// The text with some characters at a place replaced by others.
fn with_a_slip(text: &str, at: Index, removed: usize, inserted: &str) -> String {
    let mut text: Vec<char> = text.chars().collect();
    let start = at.index(text.len());
    let end = (start + removed).min(text.len());
    text.splice(start..end, inserted.chars());
    text.into_iter().collect()
}

#[cfg(feature = "fleet")]
proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_text_is_a_fleet_or_an_error_within_it(text in r#"(?s)[ -~\n\x00é]{0,200}"#) {
        fleet::check(&text);
    }

    #[test]
    fn anything_made_of_the_right_words_is_a_fleet_or_an_error_within_it(
        text in r#"(\{|\}|\[|\]|:|,|\n| |"machines"|"provider"|"provider_id"|"machine_id"|"ip_address"|"a"|""|"127.0.0.1"|1e999|null|"\\u0000"|"\\ud800"){0,20}"#,
    ) {
        fleet::check(&text);
    }

    #[test]
    fn a_fleet_with_a_typing_error_is_a_fleet_or_an_error_within_it(
        at: Index, removed in 0..20_usize, inserted in r#"[\]\[{}",:a-z\n\x00é\\]{0,3}"#,
    ) {
        let fleet = r#"{"machines": [
            {"provider": "Equinix", "provider_id": "a", "ip_address": "127.0.4.1", "location": "fra2"},
            {"provider": "Lumen", "provider_id": "a", "machine_id": "67e55044-10b1-426f-9247-bb680e5fe0c8"}
        ]}"#;
        fleet::check(&with_a_slip(fleet, at, removed, &inserted));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_url_with_a_typing_error_is_shown_as_it_is_read_or_an_error(
        pairs: bool, at: Index, removed in 0..12_usize, inserted in r#"[a-z0-9:/@%?&=,.' \[\]\x00é\\]{0,3}"#,
    ) {
        let text = if pairs {
            "host=db1,'/run/a b' port=1,2 user=u password='two words' sslmode=verify-full hostaddr=127.0.0.1,::1"
        } else {
            "postgres://u%20u:p%40@db1:1,[::1]:2,%2Frun/a%2Fb?sslmode=verify-ca&options=-c%20a%3Db&connect_timeout=3"
        };
        url::check(&with_a_slip(text, at, removed, &inserted));
    }
}
