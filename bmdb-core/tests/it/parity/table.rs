//! The table: A is the server with TLS, B the one without; `{…}` stands for ports, folders and certificates.

/// Who connects where.
#[derive(Debug)]
#[allow(
    dead_code,
    reason = "the reasons are for readers, and for the message of a failure"
)]
pub(super) enum Expected {
    /// Server, user, database, encryption, and options or a name that are not the defaults.
    Both(&'static str),
    Neither,
    WeRefuse(&'static str),
    PsqlRefuses(&'static str),
    /// Both connect, and we do to this place, because.
    Otherwise(&'static str, &'static str),
}

#[derive(Debug)]
pub(super) struct Case {
    pub(super) text: &'static str,
    pub(super) expected: Expected,
    pub(super) variables: Vec<(&'static str, &'static str)>,
    /// In the home folder; `open:` before a name lets others read it.
    pub(super) files: Vec<(&'static str, &'static str)>,
}

impl Case {
    fn variable(mut self, name: &'static str, value: &'static str) -> Self {
        self.variables.push((name, value));
        self
    }

    fn file(mut self, name: &'static str, text: &'static str) -> Self {
        self.files.push((name, text));
        self
    }
}

fn case(text: &'static str, expected: Expected) -> Case {
    Case {
        text,
        expected,
        variables: Vec::new(),
        files: Vec::new(),
    }
}

fn both(text: &'static str, place: &'static str) -> Case {
    case(text, Expected::Both(place))
}

fn neither(text: &'static str) -> Case {
    case(text, Expected::Neither)
}

fn we_refuse(text: &'static str, reason: &'static str) -> Case {
    case(text, Expected::WeRefuse(reason))
}

fn psql_refuses(text: &'static str, reason: &'static str) -> Case {
    case(text, Expected::PsqlRefuses(reason))
}

fn otherwise(text: &'static str, place: &'static str, reason: &'static str) -> Case {
    case(text, Expected::Otherwise(place, reason))
}

pub(super) fn cases() -> Vec<Case> {
    let parts = [texts(), hosts(), encryption(), passwords(), surroundings()];
    parts.into_iter().flatten().collect()
}

/// The two forms of a connection string.
fn texts() -> Vec<Case> {
    vec![
        both(
            "postgres://postgres@127.0.0.1:{B}/one",
            "B postgres one plain",
        ),
        both(
            "postgresql://postgres@127.0.0.1:{B}/one",
            "B postgres one plain",
        ),
        both(
            "host=127.0.0.1 port={B} user=postgres dbname=one",
            "B postgres one plain",
        ),
        both(
            "postgres://two%20words@127.0.0.1:{B}/a%2Fb",
            "B two words a/b plain",
        ),
        both(
            "postgres://127.0.0.1:{B}/two words?user=postgres",
            "B postgres two words plain",
        ),
        both(
            "host = 127.0.0.1 port={B} user='two words' dbname=a/b",
            "B two words a/b plain",
        ),
        both(
            r"host=127.0.0.1 port={B} user=two\ words dbname='two words'",
            "B two words two words plain",
        ),
        both("postgres://127.0.0.1:{B}", "B {user} {user} plain"),
        both("host=127.0.0.1 port={B}", "B {user} {user} plain"),
        both(
            "postgres://postgres@127.0.0.1:{B}",
            "B postgres postgres plain",
        ),
        both(
            "postgres:///one?host=127.0.0.1&port={B}&user=postgres",
            "B postgres one plain",
        ),
        both(
            "postgres://postgres@{bdir%}:{B}/one",
            "B postgres one plain",
        ),
        both(
            "postgres://postgres@/one?host={bdir}&port={B}",
            "B postgres one plain",
        ),
        both(
            "host={bdir} port={B} user=postgres dbname=one sslmode=verify-full",
            "B postgres one plain",
        ),
        both(
            "host=127.0.0.1 port={B} user=postgres dbname=one dbname=a/b",
            "B postgres a/b plain",
        ),
        both(
            "host=127.0.0.1 port={B} user=postgres dbname=one application_name=me",
            "B postgres one plain me",
        ),
        both(
            "postgres://postgres@127.0.0.1:{B}/one?options=-c%20work_mem%3D1MB",
            "B postgres one plain 1MB",
        ),
        both(
            "postgres://postgres@127.0.0.1:{B}/one?ssl=true&sslmode=disable",
            "B postgres one plain",
        ),
        both(
            "host=127.0.0.1 port={B} user=postgres dbname=one krbsrvname=x",
            "B postgres one plain",
        ),
        both(
            "host=127.0.0.1 port={B} user=postgres dbname=one connect_timeout=-1",
            "B postgres one plain",
        ),
        both(
            "host=127.0.0.1 port={B} user=postgres dbname=one keepalives=7",
            "B postgres one plain",
        ),
        neither("host=127.0.0.1 port={B} user=postgres dbname=one colour=red"),
        neither("host=127.0.0.1 port={B} user=postgres dbname"),
        neither("host=127.0.0.1 port={B} user='postgres dbname=one"),
        neither("postgres://postgres@127.0.0.1:{B}/one?colour=red"),
        neither("postgres://postgres@127.0.0.1:{B}/%zz"),
        neither("postgres://postgres@127.0.0.1:70000/one"),
        neither("postgres://postgres@[::1/one"),
        neither("host=127.0.0.1 port={B} user=postgres dbname=one connect_timeout=soon"),
        neither("host=127.0.0.1 port={B} user=postgres dbname=one keepalives_idle=40000"),
        neither("host=127.0.0.1 port={B} user=postgres dbname=one keepalives_count=128"),
        neither("host=127.0.0.1 port={B} user=postgres dbname=one tcp_user_timeout=3000000000"),
        psql_refuses(
            "host=127.0.0.1 port={B} user=postgres dbname=one keepalives_idle=0",
            "libpq documents it and hands it to a system call that refuses it",
        ),
        psql_refuses(
            "host=127.0.0.1 port={B} user=postgres dbname=one sslmode=",
            "an empty value unsets a parameter, so scripts can pass on what may be empty",
        ),
        we_refuse(
            "host=127.0.0.1 port={B} user=postgres dbname=one client_encoding=LATIN1",
            "UTF-8 is spoken",
        ),
        we_refuse(
            "host=127.0.0.1 port={B} user=postgres dbname=one sslsni=yes",
            "libpq takes everything but 1 for off",
        ),
    ]
}

/// Several servers, and how they are found.
fn hosts() -> Vec<Case> {
    vec![
        both(
            "postgres://postgres@127.0.0.1:1,127.0.0.1:{B}/one",
            "B postgres one plain",
        ),
        both(
            "host=/nowhere,{bdir} port={B} user=postgres dbname=one",
            "B postgres one plain",
        ),
        both(
            "host=127.0.0.1,127.0.0.1 port=1,{B} user=postgres dbname=one",
            "B postgres one plain",
        ),
        both(
            "host=127.0.0.1,127.0.0.1 port={silent},{B} user=postgres dbname=one connect_timeout=1",
            "B postgres one plain",
        ),
        both(
            "host=db.invalid,localhost port={B} user=postgres dbname=one",
            "B postgres one plain",
        ),
        both(
            "host=db.invalid hostaddr=127.0.0.1 port={B} user=postgres dbname=one",
            "B postgres one plain",
        ),
        both(
            "hostaddr=127.0.0.1 port={B} user=postgres dbname=one",
            "B postgres one plain",
        ),
        both(
            "host=db.invalid,localhost hostaddr=127.0.0.1, port=1,{B} user=postgres dbname=one",
            "B postgres one plain",
        ),
        both(
            "host=127.0.0.1,127.0.0.1 port={A},{B} user=postgres dbname=one target_session_attrs=read-write",
            "A postgres one tls",
        ),
        both(
            "host=127.0.0.1 port={B} user=postgres dbname=one target_session_attrs=prefer-standby",
            "B postgres one plain",
        ),
        neither("host=127.0.0.1 port={B} user=postgres dbname=one target_session_attrs=standby"),
        neither("host=127.0.0.1 port={B} user=postgres dbname=one target_session_attrs=leader"),
        neither("host=127.0.0.1,127.0.0.1 port={B},{B},{B} user=postgres dbname=one"),
        neither("host=localhost hostaddr=127.0.0.1,127.0.0.1 port={B} user=postgres dbname=one"),
        neither("hostaddr=localhost port={B} user=postgres dbname=one"),
        neither("host=127.0.0.1 port=1 user=postgres dbname=one"),
        neither("host=@nowhere port={B} user=postgres dbname=one"),
        psql_refuses(
            "host=127.0.0.1 port={B} user=postgres dbname=one load_balance_hosts=random",
            "libpq has it since version 16",
        ),
        psql_refuses(
            "host=127.0.0.1,127.0.0.1 port={A},{B} user=clerk password=wrong dbname=one",
            "a server that refuses the password does not end the search",
        ),
    ]
}

/// TLS, and certificates.
fn encryption() -> Vec<Case> {
    vec![
        both("host=localhost port={A} user=postgres dbname=one", "A postgres one tls"),
        both("host=localhost port={A} user=postgres dbname=one sslmode=disable", "A postgres one plain"),
        both("host=localhost port={A} user=postgres dbname=one sslmode=allow", "A postgres one plain"),
        both("host=localhost port={A} user=secure dbname=one sslmode=allow", "A secure one tls"),
        both("host=localhost port={A} user=plainly dbname=one", "A plainly one plain"),
        both("host=localhost port={A} user=mixed dbname=one password=wrong", "A mixed one plain"),
        neither("host=localhost port={A} user=mixed dbname=one"),
        neither("host=localhost port={A} user=plainly dbname=one sslmode=require"),
        neither("host=localhost port={A} user=secure dbname=one sslmode=disable"),
        neither("host=localhost port={B} user=postgres dbname=one sslmode=require"),
        neither("host=localhost port={A} user=postgres dbname=one sslmode=verify-full"),
        neither("host=localhost port={A} user=postgres dbname=one sslmode=on"),
        both("host=localhost port={A} user=postgres dbname=one", "A postgres one tls")
            .variable("PGSSLMODE", "verify-full")
            .file(".postgresql/root.crt", "{ours}"),
        neither("host=localhost port={A} user=postgres dbname=one sslmode=require")
            .file(".postgresql/root.crt", "{theirs}"),
        both(
            "host=localhost port={A} user=postgres dbname=one sslmode=verify-full sslrootcert={home}/ca",
            "A postgres one tls",
        )
        .file("ca", "{theirs}{ours}"),
        neither("host=127.0.0.1 port={A} user=postgres dbname=one sslmode=verify-full sslrootcert={home}/ca")
            .file("ca", "{ours}"),
        both(
            "host=127.0.0.1 port={A} user=postgres dbname=one sslmode=verify-ca sslrootcert={home}/ca",
            "A postgres one tls",
        )
        .file("ca", "{ours}"),
        both("host=localhost port={A} user=certified dbname=one", "A certified one tls")
            .file(".postgresql/postgresql.crt", "{certificate}")
            .file(".postgresql/postgresql.key", "{key}"),
        both(
            "host=localhost port={A} user=certified dbname=one sslcert={home}/c sslkey={home}/k",
            "A certified one tls",
        )
        .file("c", "{certificate}")
        .file("k", "{key}"),
        both("host=localhost port={A} user=certified dbname=one", "A certified one tls")
            .variable("PGSSLCERT", "{home}/c")
            .file("c", "{certificate}")
            .file(".postgresql/postgresql.key", "{key}"),
        neither("host=localhost port={A} user=certified dbname=one sslmode=require"),
        neither(
            "host=localhost port={A} user=certified dbname=one sslmode=require sslcert={home}/c \
             sslkey={home}/k",
        )
        .file("c", "{certificate}")
        .file("open:k", "{key}"),
        we_refuse(
            "host=localhost port={A} user=postgres dbname=one sslcert={home}/c sslkey={home}/k",
            "a file that is named is meant to be used, and psql gives up encryption for it",
        )
        .file("c", "{certificate}")
        .file("open:k", "{key}"),
        both(
            "host=localhost port={A} user=postgres dbname=one ssl_min_protocol_version=TLSv1.3",
            "A postgres one tls",
        ),
        both(
            "host=localhost port={A} user=postgres dbname=one ssl_max_protocol_version=TLSv1.2",
            "A postgres one tls",
        ),
        we_refuse(
            "host=localhost port={A} user=postgres dbname=one sslmode=require sslrootcert=/nowhere",
            "a named authority is meant to be used, and psql verifies nothing then",
        ),
        otherwise(
            "host=localhost port={A} user=postgres dbname=one sslmode=prefer",
            "A postgres one tls",
            "psql gives up encryption because of a certificate that this mode does not need to trust",
        )
        .file(".postgresql/root.crt", "{theirs}"),
    ]
}

/// Passwords, and where they come from.
fn passwords() -> Vec<Case> {
    let clerk = "host=localhost port={A} user=clerk dbname=one";
    let place = "A clerk one tls";
    let line = "localhost:{A}:one:clerk:pass\\:w\\\\ord\n";
    vec![
        both(
            r"host=localhost port={A} user=clerk dbname=one password=pass:w\\ord",
            place,
        ),
        both("postgres://clerk:pass%3Aw%5Cord@localhost:{A}/one", place),
        both(clerk, place).variable("PGPASSWORD", r"pass:w\ord"),
        neither("postgres://clerk:wrong@localhost:{A}/one").variable("PGPASSWORD", r"pass:w\ord"),
        neither(clerk),
        both(clerk, place).file(".pgpass", line),
        both(clerk, place).file(
            ".pgpass",
            "# mine\n\nother:*:*:*:no\n*:*:*:clerk:pass\\:w\\\\ord",
        ),
        both(clerk, place)
            .variable("PGPASSFILE", "{home}/passwords")
            .file("passwords", line),
        both(
            "host=localhost port={A} user=clerk dbname=one passfile={home}/passwords",
            place,
        )
        .file("passwords", line)
        .variable("PGPASSFILE", "/nowhere"),
        both(clerk, place).file(".pgpass", "localhost:*:*:clerk:pass\\:w\\\\ord:more\r\n"),
        neither(clerk).file("open:.pgpass", line),
        neither(clerk).file(".pgpass", "*:*:*:clerk:\n*:*:*:*:pass\\:w\\\\ord\n"),
        both(
            "host=localhost port={A} user=postgres dbname=one",
            "A postgres one tls",
        )
        .variable("PGPASSFILE", "/dev/null"),
        both(
            "host=localhost port={A} user=postgres dbname=one",
            "A postgres one tls",
        )
        .variable("PGPASSFILE", "/tmp"),
        both(
            "host=localhost port={A} user=clerk dbname=one hostaddr=127.0.0.1",
            place,
        )
        .file(".pgpass", line),
        we_refuse(
            "postgres://postgres@localhost:{A}/one?requirepeer=postgres",
            "the user of a socket's other end is not asked for",
        ),
    ]
}

/// Variables, and service files.
fn surroundings() -> Vec<Case> {
    vec![
        both("dbname=one", "B postgres one plain")
            .variable("PGHOST", "127.0.0.1")
            .variable("PGPORT", "{B}")
            .variable("PGUSER", "postgres"),
        both("", "B postgres one plain 2MB me")
            .variable("PGHOST", "{bdir}")
            .variable("PGPORT", "{B}")
            .variable("PGUSER", "postgres")
            .variable("PGDATABASE", "one")
            .variable("PGOPTIONS", "-c work_mem=2MB")
            .variable("PGAPPNAME", "me"),
        both("host=db.invalid port={B} user=postgres dbname=one", "B postgres one plain")
            .variable("PGHOSTADDR", "127.0.0.1"),
        both("hostaddr=127.0.0.1 port={B} user=postgres dbname=one", "B postgres one plain")
            .variable("PGHOST", "db.invalid"),
        both("postgres://postgres@127.0.0.1/one", "B postgres one plain").variable("PGPORT", "{B}"),
        both("postgres://postgres@127.0.0.1:{B}/one", "B postgres one plain").variable("PGPORT", "1"),
        neither("host=127.0.0.1 port={B} user=postgres dbname=one").variable("PGSSLMODE", "on"),
        neither("host=127.0.0.1 port={B} user=postgres dbname=one").variable("PGTARGETSESSIONATTRS", "standby"),
        both("service=here", "B postgres one plain").file(
            ".pg_service.conf",
            "[other]\nhost=db.invalid\n# comment\n[here]\nhost=127.0.0.1\nport={B}\nuser=postgres\ndbname=one\n",
        ),
        both("service=here dbname=a/b", "B postgres a/b plain")
            .variable("PGUSER", "secure")
            .file(
                ".pg_service.conf",
                "[here]\nhost=127.0.0.1\nport={B}\nuser=postgres\ndbname=one\n",
            ),
        both("", "B postgres one plain")
            .variable("PGSERVICE", "here")
            .variable("PGSERVICEFILE", "{home}/services")
            .file("services", "[here]\nhost=127.0.0.1\nport={B}\nuser=postgres\ndbname=one\n"),
        both("postgres://?service=here", "B postgres one plain")
            .variable("PGSYSCONFDIR", "{home}/etc")
            .file("etc/pg_service.conf", "[here]\nhost=127.0.0.1\nport={B}\nuser=postgres\ndbname=one\n"),
        neither("service=there host=127.0.0.1 port={B} user=postgres dbname=one")
            .file(".pg_service.conf", "[here]\nhost=127.0.0.1\n"),
        neither("service=here").file(".pg_service.conf", "[here]\nhost=127.0.0.1\nport={B}\ncolour=red\n"),
        neither("service=here host=127.0.0.1 port={B} user=postgres dbname=one")
            .variable("PGSERVICEFILE", "/nowhere"),
        both("host=127.0.0.1 port={B} user=postgres dbname=one", "B postgres one plain")
            .variable("PGGSSENCMODE", "disable"),
    ]
}
