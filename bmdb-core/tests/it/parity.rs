//! One table of connection strings, files and variables for psql and for us: who connects where.
//!
//! What differs on purpose is in the table with its reason, and in `docs/connecting.md`.

mod table;

use crate::dedicated_server::installed;
use crate::tls::{Authority, Folder, Identity, encrypting};
use bmdb_core::Config;
use bmdb_testkit::{Installation, Profile, Server, Tcp};
use diesel::QueryableByName;
use diesel::sql_types::Text;
use diesel_async::RunQueryDsl;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use table::{Case, Expected};

/// Port, user, database, encryption, name and one option of the connection that runs it.
const WHERE: &str = "SELECT concat_ws(' ', current_setting('port'), current_user, \
     current_database(), (SELECT CASE WHEN ssl THEN 'tls' ELSE 'plain' END FROM pg_stat_ssl \
     WHERE pid = pg_backend_pid()), current_setting('work_mem'), \
     nullif(nullif(current_setting('application_name'), 'psql'), 'bmdb')) AS place";

/// The roles, each with the rule of `pg_hba.conf` that the first server has for it.
const RULES: [&str; 9] = [
    "hostssl all secure 127.0.0.1/32 trust",
    "host all secure 127.0.0.1/32 reject",
    "hostnossl all plainly 127.0.0.1/32 trust",
    "host all plainly 127.0.0.1/32 reject",
    "host all clerk 127.0.0.1/32 scram-sha-256",
    "hostssl all mixed 127.0.0.1/32 scram-sha-256",
    "hostnossl all mixed 127.0.0.1/32 trust",
    "hostssl all certified 127.0.0.1/32 cert",
    "host all all 127.0.0.1/32 trust",
];

const SETUP: &str = "CREATE ROLE secure LOGIN; CREATE ROLE plainly LOGIN; CREATE ROLE mixed LOGIN;
    CREATE ROLE certified LOGIN; CREATE ROLE \"two words\" LOGIN;
    CREATE ROLE clerk LOGIN PASSWORD 'pass:w\\ord'";

/// The databases of each server, besides one of the user of this process.
const DATABASES: [&str; 3] = ["one", "two words", "a/b"];

/// Two servers, the first with TLS, and a socket that takes connections and is silent.
struct World {
    psql: PathBuf,
    encrypting: Server,
    plain: Server,
    silent: TcpListener,
    ours: Authority,
    theirs: Authority,
    client: Identity,
}

impl World {
    /// `None`, with a message, if there is no psql or no server with TLS.
    #[allow(clippy::print_stderr, reason = "what is left out must be seen")]
    fn boot() -> Option<Self> {
        let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
        let identity = ours.server(&["localhost"]);
        let tcp = Tcp::new()
            .tls(identity.certificate, identity.key)
            .client_authorities(&ours.certificate)
            .rules(RULES);
        let booted = installed().find_map(|installation| {
            let psql = psql_of(&installation)?;
            let encrypting = encrypting(&installation, &tcp)?;
            Some((installation, psql, encrypting))
        });
        let Some((installation, psql, encrypting)) = booted else {
            eprintln!("\n==== NOT TESTED: needs a PostgreSQL with psql and SSL ====\n");
            return None;
        };
        let plain = Server::boot_tcp(&installation, Profile::Fast, &Tcp::new()).unwrap();
        let world = Self {
            silent: TcpListener::bind("127.0.0.1:0").unwrap(),
            psql,
            encrypting,
            plain,
            client: ours.client("certified"),
            ours,
            theirs,
        };
        for server in [&world.encrypting, &world.plain] {
            world.prepare(server);
        }
        Some(world)
    }

    fn prepare(&self, server: &Server) {
        let user = whoami::username().unwrap();
        let mut statements = vec![SETUP.to_owned()];
        if user != "postgres" {
            statements.push(format!("CREATE ROLE \"{user}\" LOGIN"));
        }
        let databases = DATABASES.into_iter().chain([user.as_str()]);
        let databases = databases.filter(|database| *database != "postgres");
        statements.extend(databases.map(|database| format!("CREATE DATABASE \"{database}\"")));
        for statement in statements {
            let mut psql = Command::new(&self.psql);
            let run = psql.args([
                "-X",
                "-v",
                "ON_ERROR_STOP=1",
                "-d",
                server.url(),
                "-c",
                &statement,
            ]);
            let output = run.output().unwrap();
            assert!(output.status.success(), "{statement}: {output:?}");
        }
    }

    /// The text with the names of the world filled in.
    fn fill(&self, text: &str, home: &Path) -> String {
        let folder = |server: &Server| server.folder().unwrap().display().to_string();
        let port = |server: &Server| server.port().unwrap().to_string();
        [
            ("{A}", port(&self.encrypting)),
            ("{B}", port(&self.plain)),
            ("{adir}", folder(&self.encrypting)),
            ("{bdir}", folder(&self.plain)),
            ("{bdir%}", folder(&self.plain).replace('/', "%2F")),
            (
                "{silent}",
                self.silent.local_addr().unwrap().port().to_string(),
            ),
            ("{home}", home.display().to_string()),
            ("{ours}", self.ours.certificate.clone()),
            ("{theirs}", self.theirs.certificate.clone()),
            ("{user}", whoami::username().unwrap()),
            ("{certificate}", self.client.certificate.clone()),
            ("{key}", self.client.key.clone()),
        ]
        .iter()
        .fold(text.to_owned(), |text, (name, value)| {
            text.replace(name, value)
        })
    }

    /// What psql and we say to a case: the place, or the error.
    fn run(&self, case: &Case) -> [Result<String, String>; 2] {
        let home = Folder::new();
        let home = Path::new(&home.path("")).to_owned();
        for (name, text) in &case.files {
            let (name, mode) = match name.strip_prefix("open:") {
                Some(name) => (name, 0o644),
                None => (*name, 0o600),
            };
            let path = home.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, self.fill(text, &home)).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let text = self.fill(case.text, &home);
        let run = |mut command: Command| {
            command.env_clear().env("HOME", &home);
            for (name, value) in &case.variables {
                command.env(name, self.fill(value, &home));
            }
            command
        };
        let mut psql = Command::new(&self.psql);
        psql.args(["-X", "-w", "-A", "-t", "-q", "-c", WHERE, "-d", &text]);
        let mut ours = Command::new(std::env::current_exe().unwrap());
        ours.args(["parity::probe", "--exact", "--ignored", "--nocapture"]);
        let psql = run(psql).output().unwrap();
        let ours = run(ours).env("BMDB_PARITY_URL", &text).output().unwrap();
        drop(fs::remove_dir_all(&home));
        [of_psql(&psql), of_probe(&ours)]
    }

    /// The server's letter instead of its port.
    fn short(&self, place: &str) -> String {
        let (port, rest) = place.split_once(' ').unwrap_or((place, ""));
        let name = match port.parse().ok() {
            port if port == self.encrypting.port() => "A",
            port if port == self.plain.port() => "B",
            _ => port,
        };
        let user = whoami::username().unwrap();
        let rest = rest.replace(&user, "{user}");
        format!("{name} {}", rest.replace(" 4MB", ""))
    }
}

/// The psql of an installation, whose programs may be links to where it is.
fn psql_of(installation: &Installation) -> Option<PathBuf> {
    let server = installation.bin().join("postgres");
    let folders = [server.clone(), server.canonicalize().ok()?];
    let mut found = folders.iter().map(|server| server.with_file_name("psql"));
    found.find(|psql| psql.exists())
}

fn of_psql(output: &Output) -> Result<String, String> {
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

fn of_probe(output: &Output) -> Result<String, String> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = |prefix: &str| {
        let start = text.find(prefix)? + prefix.len();
        text[start..].lines().next().map(ToOwned::to_owned)
    };
    match line("PROBE OK ") {
        Some(place) => Ok(place),
        None => Err(line("PROBE ERROR ").unwrap_or_else(|| panic!("{output:?}"))),
    }
}

/// Not a test of its own: the other test runs it as a process with variables and a home of its own.
#[tokio::test]
#[ignore = "run by the test of parity"]
#[allow(clippy::print_stdout, reason = "its result")]
async fn probe() {
    #[derive(QueryableByName)]
    struct Place {
        #[diesel(sql_type = Text)]
        place: String,
    }
    let Ok(url) = std::env::var("BMDB_PARITY_URL") else {
        return;
    };
    let config = Config::new(url).fill_from_env();
    match config.connect().await {
        Ok(mut conn) => {
            let place: Place = diesel::sql_query(WHERE)
                .get_result(&mut conn)
                .await
                .unwrap();
            println!("PROBE OK {}", place.place);
        }
        Err(error) => println!("PROBE ERROR {}", error.to_string().replace('\n', " ")),
    }
}

#[test]
fn psql_and_we_connect_to_the_same_places() {
    let Some(world) = World::boot() else {
        return;
    };
    let mut wrong = Vec::new();
    for case in table::cases() {
        let [psql, ours] = world.run(&case).map(|it| it.map(|it| world.short(&it)));
        let agrees = match &case.expected {
            Expected::Both(place) => psql.as_deref() == Ok(place) && ours.as_deref() == Ok(place),
            Expected::Neither => psql.is_err() && ours.is_err(),
            Expected::WeRefuse(_) => psql.is_ok() && ours.is_err(),
            Expected::PsqlRefuses(_) => psql.is_err() && ours.is_ok(),
            Expected::Otherwise(place, _) => {
                psql.is_ok() && psql != ours && ours.as_deref() == Ok(place)
            }
        };
        if !agrees {
            wrong.push(format!("{case:?}\n  psql: {psql:?}\n  ours: {ours:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
