//! Tests of the classifier, with codes as servers report them.

use super::*;

/// An error with this code whose message no English text is compared with.
fn reported(code: &[u8; 5]) -> DieselError {
    let message = format!("eine Meldung zum Fehler {}", String::from_utf8_lossy(code));
    sqlstate::note(SqlState::new(*code), &message);
    DieselError::DatabaseError(DatabaseErrorKind::Unknown, Box::new(message))
}

#[test]
fn each_class_of_codes_has_its_kind_in_any_language() {
    use ErrorKind::*;
    for (kind, codes) in [
        (Serialization, &[b"40001", b"40002"][..]),
        (Deadlock, &[b"40P01"]),
        (
            ConnectionLost,
            &[
                b"08000", b"08006", b"08P01", b"57P01", b"57P02", b"57P03", b"57P04", b"57P05",
                b"25P03", b"25P04", b"40003",
            ],
        ),
        (StalePlan, &[b"0A000", b"26000", b"42P05"]),
        (ReadOnly, &[b"25006"]),
        (
            OutOfResources,
            &[b"53000", b"53100", b"53200", b"53300", b"53400", b"58030"],
        ),
        (
            NotReady,
            &[b"08001", b"08003", b"08004", b"55000", b"55006", b"57000"],
        ),
        (LockTimeout, &[b"55P03"]),
        (StatementTimeout, &[b"57014"]),
        (Internal, &[b"XX000", b"XX001", b"XX002"]),
        (
            InvalidValue,
            &[b"22021", b"22P05", b"22003", b"54000", b"54001"],
        ),
        (Denied, &[b"42501", b"28000", b"28P01", b"0P000"]),
        (
            SchemaMismatch,
            &[b"42P01", b"42703", b"42883", b"42804", b"3F000"],
        ),
        (Aborted, &[b"25P02"]),
        (Other, &[b"P0001", b"23514", b"21000", b"HV00N", b"55P02"]),
    ] {
        for code in codes {
            let error = Error::from(reported(code));
            assert_eq!(error.kind(), kind, "{error}");
        }
    }
}

#[test]
fn what_ended_its_connection_leaves_a_commit_in_doubt_whatever_its_code() {
    let message = "konnte nicht in Logdatei schreiben: Auf dem Gerät ist kein Speicherplatz mehr";
    sqlstate::note_fatal(SqlState::new(*b"53100"), message);
    let error =
        DieselError::DatabaseError(DatabaseErrorKind::Unknown, Box::new(message.to_owned()));
    assert_eq!(ErrorKind::from(&error), ErrorKind::ConnectionLost);
}

#[test]
fn no_error_is_shown_without_its_code() {
    let error = Error::from(reported(b"P0001"));
    assert!(error.to_string().ends_with(" (SQLSTATE P0001)"), "{error}");
    let lost = Error::connection_lost("gone".to_owned());
    assert_eq!(lost.to_string(), "database: gone");
}

#[test]
fn a_cancellation_differs_from_a_timeout_where_messages_are_english() {
    for (message, kind) in [
        (STATEMENT_TIMEOUT, ErrorKind::StatementTimeout),
        (USER_REQUEST, ErrorKind::Canceled),
    ] {
        sqlstate::note(SqlState::new(*b"57014"), message);
        let unknown = DatabaseErrorKind::Unknown;
        let error = DieselError::DatabaseError(unknown, Box::new(message.to_owned()));
        assert_eq!(ErrorKind::from(&error), kind);
    }
}

#[test]
fn without_codes_a_few_english_texts_are_known() {
    for (message, kind) in [
        ("permission denied for table machine", ErrorKind::Denied),
        ("must be owner of view w", ErrorKind::Denied),
        (
            "terminating connection due to idle-session timeout",
            ErrorKind::ConnectionLost,
        ),
        (
            "cached plan must not change result type",
            ErrorKind::StalePlan,
        ),
        ("a message of tomorrow", ErrorKind::Other),
    ] {
        let unknown = DatabaseErrorKind::Unknown;
        let error = DieselError::DatabaseError(unknown, Box::new(message.to_owned()));
        assert_eq!(ErrorKind::from(&error), kind, "{message}");
    }
    let migration = "Failed to run 2026-11-30-000400 with: canceling statement due to lock timeout";
    assert!(is_a_lock(migration));
    assert!(!is_a_lock("Failed to run it with: syntax error"));
}

#[test]
fn a_view_over_another_server_may_fail_for_its_own_reasons() {
    for (code, is_its_own) in [
        (b"HV00N", true),
        (b"08001", true),
        (b"53400", true),
        (b"08006", false),
    ] {
        let error = Error::from(reported(code));
        assert_eq!(is_about_another_server(&error), is_its_own, "{error}");
    }
}
