//! Reading tags from texts.

use super::*;

fn parse(tag: TagName, text: &str) -> Result<Tag, String> {
    let values = text
        .split_whitespace()
        .map(|pair| pair.split_once('=').unwrap());
    Tag::parse(tag, values).map_err(|error| error.to_string())
}

#[test]
fn fields_that_are_unknown_missing_twice_or_wrong_are_refused_with_what_would_be_right() {
    for (tag, given, why) in [
        (
            TagName::Provided,
            "rack=7",
            "no field \"rack\"; its fields are provider, provider_id",
        ),
        (TagName::Provided, "", "nothing to set"),
        (
            TagName::Provided,
            "provider=7up",
            "provider=7up: invalid provider name \"7up\"",
        ),
        (
            TagName::Provided,
            "status=running",
            "expected Missing, Provisioning",
        ),
        (TagName::AgentStarted, "", "needs public_key=…"),
        (
            TagName::AgentStarted,
            "public_key=hex:0",
            "not pairs of hex digits",
        ),
        (
            TagName::AgentHeartbeat,
            "at=noon",
            "expected a time such as",
        ),
        (
            TagName::AgentHeartbeat,
            "at=2026-11-22T05:34:25Z at=2026-11-22T05:34:25Z",
            "given twice",
        ),
        (
            TagName::OsInstallationRequest,
            "generation=x",
            "generation=x: ",
        ),
        (
            TagName::OsInstallationReport,
            "generation=1",
            "needs result=…",
        ),
    ] {
        let refused = parse(tag, given).unwrap_err();
        assert!(refused.contains(why), "{tag} {given}: {refused}");
    }
}

#[test]
fn values_are_read_as_what_they_are() {
    assert_eq!(
        parse(TagName::AgentStarted, "public_key=hex:00ff"),
        Ok(Tag::AgentStarted(AgentStarted::now([0, 255])))
    );
    assert_eq!(
        parse(TagName::HardwareReport, "report=a"),
        Ok(Tag::HardwareReport(b"a".to_vec()))
    );
    let Ok(Tag::Provided(change)) = parse(TagName::Provided, "location= status=Running") else {
        panic!()
    };
    let before = Provided::new(Provider::EQUINIX, "a")
        .location("fra2")
        .ip_address("10.0.0.7");
    let after = Provided::new(Provider::EQUINIX, "a")
        .ip_address("10.0.0.7")
        .status(ProviderStatus::Running);
    assert_eq!(change.clone().of(Some(before)), Ok(after));
    let refused = change.of(None).unwrap_err().to_string();
    assert!(refused.contains("needs provider=…"), "{refused}");
}

#[test]
fn every_tag_has_fields_and_hex_is_read_in_pairs() {
    assert!(TagName::ALL.into_iter().all(|tag| !fields(tag).is_empty()));
    assert_eq!(hex("0aFf"), Some(vec![10, 255]));
    assert_eq!(hex(""), Some(vec![]));
    for bad in ["0", "0g", "é0"] {
        assert_eq!(hex(bad), None, "{bad}");
    }
}
