//! The parameters of database URLs: their allowed values and environment variables.

/// A known parameter.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    /// The variable that libpq reads if the parameter is left out.
    pub(super) variable: Option<&'static str>,
    pub(super) kind: Kind,
}

/// The allowed values of a parameter.
pub(super) enum Kind {
    Text,
    /// A whole number of at most this; zero and less mean the same, as in libpq.
    Number(i32),
    OneOf(&'static [&'static str]),
    /// Accepted, and without effect here.
    Ignored,
    /// One for each host, separated by commas.
    Hosts,
    Addresses,
    Ports,
    /// Known to libpq and not supported here; the text says what to do instead.
    Refused(&'static str),
}

use Kind::{Addresses, Hosts, Ignored, Number, OneOf, Ports, Refused, Text};

const SWITCH: Kind = OneOf(&["0", "1"]);

const fn parameter(name: &'static str, variable: Option<&'static str>, kind: Kind) -> Parameter {
    Parameter {
        name,
        variable,
        kind,
    }
}

/// libpq's parameters, in alphabetical order.
pub(super) const PARAMETERS: &[Parameter] = &[
    parameter("application_name", Some("PGAPPNAME"), Text),
    parameter(
        "channel_binding",
        Some("PGCHANNELBINDING"),
        OneOf(&["disable", "prefer", "require"]),
    ),
    parameter(
        "client_encoding",
        None,
        OneOf(&["UTF8", "utf8", "UTF-8", "utf-8", "unicode", "auto"]),
    ),
    parameter(
        "connect_timeout",
        Some("PGCONNECT_TIMEOUT"),
        Number(i32::MAX),
    ),
    parameter("dbname", Some("PGDATABASE"), Text),
    parameter("fallback_application_name", None, Text),
    // GSS encryption is not supported, so preferring it means doing without.
    parameter(
        "gssencmode",
        Some("PGGSSENCMODE"),
        OneOf(&["disable", "prefer"]),
    ),
    // Only for authentication with Kerberos, which is not supported.
    parameter("gssdelegation", Some("PGGSSDELEGATION"), Ignored),
    parameter("gsslib", Some("PGGSSLIB"), Ignored),
    parameter("host", Some("PGHOST"), Hosts),
    parameter("hostaddr", Some("PGHOSTADDR"), Addresses),
    parameter("keepalives", None, Number(i32::MAX)),
    // The largest that Linux takes; it refuses larger ones when the connection is made.
    parameter("keepalives_count", None, Number(127)),
    parameter("keepalives_idle", None, Number(32_767)),
    parameter("keepalives_interval", None, Number(32_767)),
    parameter("krbsrvname", Some("PGKRBSRVNAME"), Ignored),
    parameter(
        "load_balance_hosts",
        Some("PGLOADBALANCEHOSTS"),
        OneOf(&["disable", "random"]),
    ),
    parameter("options", Some("PGOPTIONS"), Text),
    parameter("passfile", Some("PGPASSFILE"), Text),
    parameter("password", Some("PGPASSWORD"), Text),
    parameter("port", Some("PGPORT"), Ports),
    parameter(
        "replication",
        None,
        Refused("is not supported; connections for replication run no statements"),
    ),
    parameter(
        "require_auth",
        Some("PGREQUIREAUTH"),
        Refused("is not supported; channel_binding=require admits SCRAM over TLS only"),
    ),
    parameter(
        "requirepeer",
        Some("PGREQUIREPEER"),
        Refused("is not supported; use TLS with sslmode=verify-full"),
    ),
    parameter("service", Some("PGSERVICE"), Text),
    parameter("servicefile", Some("PGSERVICEFILE"), Text),
    parameter(
        "ssl_max_protocol_version",
        Some("PGSSLMAXPROTOCOLVERSION"),
        OneOf(&["TLSv1.2", "TLSv1.3"]),
    ),
    parameter(
        "ssl_min_protocol_version",
        Some("PGSSLMINPROTOCOLVERSION"),
        OneOf(&["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"]),
    ),
    parameter("sslcert", Some("PGSSLCERT"), Text),
    parameter(
        "sslcertmode",
        Some("PGSSLCERTMODE"),
        OneOf(&["disable", "allow"]),
    ),
    parameter("sslcompression", Some("PGSSLCOMPRESSION"), Ignored),
    parameter("sslcrl", Some("PGSSLCRL"), Text),
    parameter(
        "sslcrldir",
        Some("PGSSLCRLDIR"),
        Refused("is not supported; put the lists into one file and name it with sslcrl"),
    ),
    parameter("sslkey", Some("PGSSLKEY"), Text),
    parameter(
        "sslmode",
        Some("PGSSLMODE"),
        OneOf(&[
            "disable",
            "allow",
            "prefer",
            "require",
            "verify-ca",
            "verify-full",
        ]),
    ),
    parameter(
        "sslnegotiation",
        Some("PGSSLNEGOTIATION"),
        OneOf(&["postgres", "direct"]),
    ),
    parameter(
        "sslpassword",
        None,
        Refused("is not supported; decrypt the key with `openssl pkey` and protect its file"),
    ),
    parameter("sslrootcert", Some("PGSSLROOTCERT"), Text),
    parameter("sslsni", Some("PGSSLSNI"), SWITCH),
    parameter(
        "target_session_attrs",
        Some("PGTARGETSESSIONATTRS"),
        OneOf(&[
            "any",
            "read-write",
            "read-only",
            "primary",
            "standby",
            "prefer-standby",
        ]),
    ),
    parameter("tcp_user_timeout", None, Number(i32::MAX)),
    parameter("user", Some("PGUSER"), Text),
];

/// The parameter of this name. `keepalives_retries` is what tokio-postgres calls `keepalives_count`.
pub(super) fn named(name: &str) -> Option<&'static Parameter> {
    let name = match name {
        "keepalives_retries" => "keepalives_count",
        name => name,
    };
    PARAMETERS.iter().find(|parameter| parameter.name == name)
}
