//! What database URLs say, in both forms, alone and with an environment.

use super::*;
use proptest::prelude::*;

fn read(text: &str) -> DatabaseUrl {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> String {
    match text.parse::<DatabaseUrl>() {
        Ok(url) => panic!("{text} was taken for {url}"),
        Err(error) => error.to_string(),
    }
}

fn hosts(text: &str) -> Vec<String> {
    read(text).hosts().iter().map(Host::to_string).collect()
}

fn environment(variables: &[(&str, &str)]) -> Environment {
    let variables = variables
        .iter()
        .map(|(name, value)| (name.into(), value.into()));
    variables.collect()
}

#[test]
fn both_forms_parse_to_the_same_url() {
    let url = "postgres://u%20u:p%40%3A%2F@h1:1,h2:2/a%2Fb?sslmode=verify-full&options=-c%20a%3Db";
    let pairs = r"host=h1,h2 port=1,2 user='u u' password = p@:/ dbname=a/b sslmode=verify-full
                  options='-c a=b'";
    assert_eq!(read(url), read(pairs));
    let url = read(url);
    assert_eq!(url.get("password"), Some("p@:/"));
    assert_eq!(url.get("user"), Some("u u"));
    assert_eq!(url.get("dbname"), Some("a/b"));
    assert_eq!(url.get("options"), Some("-c a=b"));
}

#[test]
fn servers_can_be_given_in_each_of_libpqs_ways() {
    for (text, expected) in [
        ("postgresql://h", &["h:5432"][..]),
        ("postgres://u@h:1/db", &["h:1"]),
        ("postgres://[::1]:7,h/db", &["::1:7", "h:5432"]),
        ("postgres://a,b,c/db?port=6", &["a:6", "b:6", "c:6"]),
        ("postgres://u@/db?host=a,b&port=1,2", &["a:1", "b:2"]),
        ("postgres://%2Ftmp%2Fx%2Cy:6/db", &["/tmp/x,y/.s.PGSQL.6"]),
        (
            "postgres://u@/db?host=/tmp/a%2Cb",
            &["/tmp/a,b/.s.PGSQL.5432"],
        ),
        ("host=/run port=6", &["/run/.s.PGSQL.6"]),
        ("host=h hostaddr=127.0.0.2", &["h:5432 (127.0.0.2)"]),
        (
            "host=a,b hostaddr=,127.0.0.2",
            &["a:5432", "b:5432 (127.0.0.2)"],
        ),
        ("host=@abstract", &["@abstract/.s.PGSQL.5432"]),
        (
            "hostaddr=127.0.0.2,::1 port=,9",
            &["127.0.0.2:5432", "::1:9"],
        ),
        ("host=a host=b", &["b:5432"]),
        ("", &[]),
        ("postgres:///db", &[]),
    ] {
        assert_eq!(hosts(text), expected, "{text}");
    }
}

#[test]
fn quotes_and_backslashes_follow_libpq() {
    for (text, password) in [
        (r"password='it''", None),
        (r"password='it\'s'", Some("it's")),
        (r"password=a\ b\\c", Some(r"a b\c")),
        (r"password='' user=u", None),
        ("password  =  p", Some("p")),
        ("password='a\nb=c'", Some("a\nb=c")),
    ] {
        let url = text.parse::<DatabaseUrl>().unwrap_or_default();
        assert_eq!(url.get("password"), password, "{text}");
    }
}

#[test]
fn the_last_of_equal_parameters_counts_and_an_empty_one_unsets_it() {
    assert_eq!(read("host=a dbname=x dbname=y").get("dbname"), Some("y"));
    assert_eq!(read("user=a user=").get("user"), None);
    assert_eq!(read("postgres://u@h/?user=v").get("user"), Some("v"));
    assert_eq!(
        read("postgres://h/?ssl=true").get("sslmode"),
        Some("require")
    );
    let both = "keepalives_retries=3 keepalives_count=4";
    assert_eq!(read(both).number("keepalives_count"), Some(4));
}

#[test]
fn invalid_and_contradictory_texts_are_refused_with_the_reason() {
    for (text, reason) in [
        ("mysql://h/db", "neither postgres:// nor"),
        ("nonsense", "number 1 has no ="),
        ("host=a two words", "number 2 has no ="),
        ("host=a colour=red", "number 2 is none of libpq's"),
        ("password='open", "no closing quote"),
        ("postgres://h:port/db", "a port is not a number"),
        ("postgres://h:0/db", "a port is not a number"),
        ("postgres://h:70000/db", "a port is not a number"),
        ("postgres://h:1,h:2,:3/db", "one of the hosts has no name"),
        ("host=a,b port=1,2,3", "2 hosts and 3 ports"),
        ("host=a hostaddr=127.0.0.1,::1", "1 hosts and 2 addresses"),
        ("hostaddr=localhost", "no IP address"),
        ("hostaddr=127.0.0.1,", "a hostaddr is empty"),
        ("postgres://[::1/db", "has no ]"),
        ("postgres://[::1]x/db", "follows a ]"),
        ("postgres://h/%zz", "two hexadecimal digits"),
        ("postgres://h/%2", "two hexadecimal digits"),
        ("postgres://h/%ff", "not UTF-8"),
        ("postgres://h/%00", "%00"),
        ("host=a\0b", "NUL"),
        ("sslmode=on", "sslmode is none of disable, allow, prefer,"),
        (
            "connect_timeout=soon",
            "connect_timeout is not a whole number",
        ),
        ("connect_timeout=3000000000", "connect_timeout is not a"),
        (
            "keepalives_idle=32768",
            "keepalives_idle is not a whole number of at most 32767",
        ),
        ("keepalives_interval=99999", "keepalives_interval is not"),
        (
            "keepalives_count=128",
            "keepalives_count is not a whole number of at most 127",
        ),
        ("keepalives=yes", "keepalives is not a whole number"),
        ("tcp_user_timeout=2147483648", "tcp_user_timeout is not"),
        ("target_session_attrs=leader", "is none of any, read-write"),
        (
            "gssencmode=require",
            "gssencmode is none of disable, prefer",
        ),
        ("sslpassword=x", "openssl pkey"),
        ("require_auth=scram-sha-256", "channel_binding"),
        ("requirepeer=postgres", "verify-full"),
    ] {
        let error = refused(text);
        assert!(error.contains(reason), "{text}: {error}");
    }
}

/// libpq misreads each of them, and its error messages repeat parts of the password.
#[test]
fn a_password_that_is_not_encoded_is_refused_and_not_repeated() {
    for text in [
        "postgres://u:ZQ@cret@h/db",
        "postgres://u:ZQ/cret@h/db",
        "postgres://u:ZQ?cret@h/db",
        "postgres://u:1?cret@h/db",
        "postgres://u:1?cret=@h/db",
        "postgres://u:ZQ%cret@h/db",
        "user=u password=ZQ cret",
        "user=u password=ZQ cret=1",
        "user=u password='ZQ'cret'",
    ] {
        let error = refused(text);
        for part in ["cret", "ZQ"] {
            assert!(!error.contains(part), "{text}: {error}");
        }
    }
}

#[test]
fn the_environment_fills_in_what_is_left_out_and_nothing_else() {
    let all = environment(&[
        ("PGHOST", "e1,e2"),
        ("PGPORT", "7"),
        ("PGUSER", "eve"),
        ("PGPASSWORD", "secret"),
        ("PGDATABASE", "edb"),
        ("PGAPPNAME", "eapp"),
        ("PGOPTIONS", "-c a=b"),
        ("PGTARGETSESSIONATTRS", "read-write"),
        ("PGCONNECT_TIMEOUT", "3"),
        ("PGSSLMODE", "verify-ca"),
        ("PGSSLROOTCERT", "/e/root.crt"),
        ("PGSSLCERT", "/e/c.crt"),
        ("PGSSLKEY", ""),
        ("LANG", "C"),
    ]);
    let filled = |text: &str| read(text).filled_from(&all).unwrap();
    let shown: Vec<String> = filled("").hosts().iter().map(Host::to_string).collect();
    assert_eq!(shown, ["e1:7", "e2:7"]);
    let nothing = filled("");
    for (name, value) in [
        ("user", Some("eve")),
        ("password", Some("secret")),
        ("dbname", Some("edb")),
        ("application_name", Some("eapp")),
        ("options", Some("-c a=b")),
        ("target_session_attrs", Some("read-write")),
        ("connect_timeout", Some("3")),
        ("sslmode", Some("verify-ca")),
        ("sslrootcert", Some("/e/root.crt")),
        ("sslcert", Some("/e/c.crt")),
        ("sslkey", None),
    ] {
        assert_eq!(nothing.get(name), value, "{name}");
    }
    let some = filled("postgres://u:p@h/db?sslmode=disable");
    assert_eq!(some.hosts()[0].to_string(), "h:7", "its port is left out");
    for (name, value) in [("user", "u"), ("password", "p"), ("sslmode", "disable")] {
        assert_eq!(some.get(name), Some(value));
    }
    let full = "host=h port=1 user=u password=p dbname=d application_name=a options=o \
                target_session_attrs=any connect_timeout=1 sslmode=require sslrootcert=r sslcert=c";
    assert_eq!(filled(full), read(full));
}

#[test]
fn the_error_of_an_unusable_variable_omits_its_value() {
    for (variable, value, reason) in [
        ("PGSSLMODE", "secret", "sslmode is none of"),
        ("PGPORT", "secret", "a port is not"),
        ("PGREQUIREPEER", "secret", "verify-full"),
        ("PGREQUIREAUTH", "secret", "not supported"),
        ("PGCONNECT_TIMEOUT", "secret", "not a whole number"),
    ] {
        let filled = read("host=h").filled_from(&environment(&[(variable, value)]));
        let error = filled.unwrap_err().to_string();
        let start = format!("of the variable {variable}: ");
        assert!(
            error.starts_with(&start) && error.contains(reason),
            "{error}"
        );
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn display_and_debug_omit_the_password() {
    let url = read("postgres://u:secret@h/db?options=-c%20a%3Db");
    assert_eq!(url.to_string(), "postgresql://u@h/db?options=-c%20a%3Db");
    assert_eq!(format!("{url:?}"), format!("DatabaseUrl({url})"));
    assert_eq!(read("password=secret").to_string(), "postgresql:///");
}

#[test]
fn loopback_means_this_machine() {
    let of = |text: &str| read(text).hosts()[0].is_loopback();
    for here in [
        "host=localhost",
        "host=127.0.0.1",
        "host=127.9.9.9",
        "host=::1",
        "host=::ffff:127.0.0.1",
        "host=db.example hostaddr=127.0.0.1",
    ] {
        assert!(of(here), "{here}");
    }
    for elsewhere in [
        "host=localhost.example",
        "host=10.0.0.1",
        "host=127.example",
        "host=::2",
        "host=localhost hostaddr=10.0.0.1",
    ] {
        assert!(!of(elsewhere), "{elsewhere}");
    }
}

/// Any text, and texts that come closer to what a URL looks like.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "postgres(ql)?://[a-z:@/,\\[\\]?&=%0-9 ]{0,40}",
        "([a-z_]{1,9} ?= ?['\\\\a-z, ]{0,9} ?){0,5}",
        "postgres://[a-z]?:?[a-z]?@h/d\\?(host|port|hostaddr|sslmode|options)=[a-z0-9%,:.]{0,12}",
    ]
}

/// Characters that mean something in one of the two forms, and some that mean nothing.
fn secrets() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9@:/?#&=%+ ,'\\\\\\[\\]äß]{1,12}".prop_map(|middle| format!("SE{middle}CRET"))
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

proptest! {
    #[test]
    fn every_text_is_parsed_or_refused_and_display_parses_to_the_same(text in texts()) {
        if let Ok(mut url) = text.parse::<DatabaseUrl>() {
            url.values.remove("password");
            let shown = url.to_string();
            prop_assert_eq!(shown.parse::<DatabaseUrl>(), Ok(url), "{}", shown);
        }
    }

    #[test]
    fn every_password_is_decoded_exactly_and_never_shown(secret in secrets()) {
        let quoted = secret.replace('\\', r"\\").replace('\'', r"\'");
        for text in [
            format!("postgres://u:{}@h/db?sslmode=require", encoded(&secret)),
            format!("postgres://u@h/db?password={}", encoded(&secret)),
            format!("host=h password='{quoted}' user=u"),
        ] {
            let url = read(&text);
            prop_assert_eq!(url.get("password"), Some(secret.as_str()));
            let shown = format!("{url} {url:?}");
            prop_assert!(!shown.contains("CRET"), "{}", shown);
        }
    }

    #[test]
    fn no_error_contains_part_of_an_unencoded_password(secret in secrets()) {
        for text in [
            format!("postgres://u:{secret}@h/db"),
            format!("postgres://u@h/db?password={secret}&sslmode=x"),
            format!("host=h password={secret} sslmode=x"),
        ] {
            if let Err(error) = text.parse::<DatabaseUrl>() {
                prop_assert!(!error.to_string().contains("CRET"), "{}: {}", text, error);
                prop_assert!(!error.to_string().contains("SE"), "{}: {}", text, error);
            }
        }
    }
}
