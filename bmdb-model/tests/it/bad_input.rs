//! Text that cannot be stored is refused, with the field's name, before it reaches the database.

use crate::scenario::{START, Scenario};
use bmdb_model::internal::session;
use bmdb_model::{Error, Provided, Provider, hold, provided};

fn with(field: fn(&mut Provided) -> &mut String, text: &str) -> Provided {
    let mut tag = Provided::new(Provider::EQUINIX, "a")
        .reservation_id("")
        .ip_address("")
        .location("");
    *field(&mut tag) = text.to_owned();
    tag
}

#[tokio::test]
async fn nul_bytes_are_refused_with_the_fields_name_and_nothing_is_written() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let conn = &mut s.conn;
    let before =
        s.db.rows("SELECT * FROM machine_provided, work_item")
            .await
            .unwrap();

    let nul = "ab\0c";
    let mut refusals: Vec<(&str, Error)> = Vec::new();
    for (name, field) in [
        (
            "provider_id",
            (|tag| &mut tag.provider_id) as fn(&mut Provided) -> &mut String,
        ),
        ("reservation_id", |tag| tag.reservation_id.as_mut().unwrap()),
        ("ip_address", |tag| tag.ip_address.as_mut().unwrap()),
        ("location", |tag| tag.location.as_mut().unwrap()),
    ] {
        let tag = with(field, nul);
        refusals.push((name, provided::set(conn, machine, &tag).await.unwrap_err()));
    }
    let equinix = &Provider::EQUINIX;
    let updates = [
        (
            "provider_id",
            provided::update_status(conn, equinix, nul, None, None, None).await,
        ),
        (
            "ip_address",
            provided::update_status(conn, equinix, "a", None, Some(nul), None).await,
        ),
        (
            "location",
            provided::update_status(conn, equinix, "a", None, None, Some(nul)).await,
        ),
    ];
    refusals.extend(updates.map(|(name, result)| (name, result.unwrap_err())));
    refusals.push(("reason", hold::set(conn, machine, nul).await.unwrap_err()));
    refusals.push((
        "component name",
        session::start(conn, nul, "", 5).await.unwrap_err(),
    ));
    refusals.push((
        "runtime info",
        session::start(conn, "test", nul, 5).await.unwrap_err(),
    ));

    for (name, error) in refusals {
        let refusal =
            format!("{name} contains a NUL byte (at byte 2), which PostgreSQL cannot store");
        assert_eq!(error.to_string(), refusal);
        assert!(
            matches!(error, Error::NulByte { offset: 2, .. }),
            "{error:?}"
        );
    }
    assert_eq!(
        s.rows("SELECT * FROM machine_provided, work_item").await,
        before
    );
    assert_eq!(s.rows("SELECT count(*) FROM sessions").await, ["1"]);
}

#[tokio::test]
async fn required_text_must_not_be_empty() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let conn = &mut s.conn;
    let no_id = Provided::new(Provider::EQUINIX, "");
    for (refused, refusal) in [
        (
            provided::set(conn, machine, &no_id).await.err(),
            "provider_id must not be empty",
        ),
        (
            hold::set(conn, machine, "").await.err(),
            "reason must not be empty",
        ),
        (
            session::start(conn, "", "", 5).await.err(),
            "component name must not be empty",
        ),
    ] {
        assert_eq!(
            refused.map(|error| error.to_string()).as_deref(),
            Some(refusal)
        );
    }
}

#[tokio::test]
async fn a_cause_of_more_than_8_kib_is_cut_with_a_mark() {
    let mut s = Scenario::new().await;
    s.provided("a").await;
    let attempt = s.claim_one(&START).await;
    s.fail(&attempt, 1, &"x".repeat(8193)).await;
    let causes = "SELECT octet_length(cause), right(cause, 9)
                  FROM (SELECT cause FROM work_backoff UNION ALL SELECT cause FROM work_attempt) c";
    assert_eq!(s.rows(causes).await, ["8192|x … [cut]"; 2]);
}

/// A body failed with a cause that had a NUL byte. The failure was refused, so its machine was worked on again
/// at once, for ever.
#[tokio::test]
async fn a_failure_is_recorded_whatever_its_cause_is() {
    let mut s = Scenario::new().await;
    for (cause, recorded) in [
        ("a\0b", "a\\u{0}b"),
        (
            "\u{ffff} → \u{10ffff}\u{202e}",
            "\u{ffff} → \u{10ffff}\u{202e}",
        ),
        ("", ""),
    ] {
        let machine = s.provided(&format!("{}", cause.len())).await;
        let attempt = s.claim_machine(machine, &START).await;
        s.fail(&attempt, 60, cause).await;
        let causes = format!("SELECT cause FROM work_backoff WHERE machine_id = '{machine}'");
        assert_eq!(s.rows(&causes).await, [recorded]);
    }
    let machine = s.provided("megabytes").await;
    let attempt = s.claim_machine(machine, &START).await;
    s.fail(&attempt, 60, &"\0→".repeat(1 << 20)).await;
    let length = "SELECT octet_length(cause) BETWEEN 8180 AND 8192 FROM work_attempt ORDER BY fence DESC LIMIT 1";
    assert_eq!(s.rows(length).await, ["t"]);
}

#[tokio::test]
async fn a_cause_of_exactly_8_kib_is_kept() {
    let mut s = Scenario::new().await;
    s.provided("a").await;
    let attempt = s.claim_one(&START).await;
    s.fail(&attempt, 1, &"x".repeat(8192)).await;
    let whole = "SELECT cause = repeat('x', 8192) FROM work_backoff";
    assert_eq!(s.rows(whole).await, ["t"]);
}
