//! Servers: they boot, they stop, and they never outlive their owner.

use crate::Result;
use crate::folder::Folder;
use bmdb_testkit::{Installation, Lookup, Places, Profile, Server, TestDb};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

/// Set in a child process of these tests to how it is to die.
const CHILD: &str = "BMDB_TESTKIT_CHILD_DIES_BY";

/// A server of the test's own, whatever `BMDB_TEST_DATABASE_URL` says.
fn boot(profile: Profile) -> Result<Server> {
    Ok(Server::boot(&installed()?, profile)?)
}

fn installed() -> Result<Installation> {
    let places = Places {
        database_url: None,
        ..Places::from_env()
    };
    Ok(Lookup::search(&places).installation()?)
}

fn pid(server: &Server) -> Result<String> {
    let folder = server.folder().ok_or("not booted")?;
    let file = fs::read_to_string(folder.join("data/postmaster.pid"))?;
    Ok(file.lines().next().ok_or("no pid")?.to_owned())
}

async fn own_server(profile: Profile) -> Result<Arc<Server>> {
    let boot = move || boot(profile).map_err(|error| error.to_string());
    Ok(Arc::new(tokio::task::spawn_blocking(boot).await??))
}

/// Runs one test of this binary again, in a process that dies in this way.
fn command(test: &str, child: &str) -> Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, child)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Ok(command)
}

fn child_on(server: &Server, test: &str, dies_by: &str) -> Result<Child> {
    let mut command = command(test, dies_by)?;
    Ok(command
        .env("BMDB_TEST_DATABASE_URL", server.url())
        .spawn()?)
}

/// What the child has to say after `what=`.
fn hear(child: &mut Child, what: &str) -> Result<String> {
    let out = child.stdout.as_mut().ok_or("no output")?;
    for line in BufReader::new(out).lines() {
        if let Some((_, said)) = line?.split_once(&format!("{what}=")) {
            return Ok(said.to_owned());
        }
    }
    Err(format!("the child never said {what}").into())
}

#[allow(clippy::print_stdout, reason = "how a child process talks to its test")]
fn say(what: &str, value: &str) {
    println!("{what}={value}");
}

fn die(by: &str) -> ! {
    match by {
        "exit" => process::exit(0),
        "abort" => process::abort(),
        _ => loop {
            thread::sleep(Duration::from_secs(60));
        },
    }
}

fn wait_until(what: &str, done: impl Fn() -> bool) -> Result {
    let begun = Instant::now();
    while !done() {
        if begun.elapsed() > Duration::from_secs(5) {
            return Err(format!("{what} was still not so after 5 s").into());
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn runs(pid: &str) -> bool {
    let signal_nothing = Command::new("kill").args(["-0", pid]).output();
    signal_nothing.is_ok_and(|output| output.status.success())
}

#[test]
fn a_stopped_server_leaves_no_process_and_no_folder() -> Result {
    let server = boot(Profile::Fast)?;
    let folder = server.folder().ok_or("not booted")?.to_owned();
    let pid = pid(&server)?;
    assert!(runs(&pid));
    server.stop();
    assert!(!runs(&pid) && !folder.exists());
    Ok(())
}

#[test]
fn a_server_goes_with_its_owner_by_whatever_death() -> Result {
    if let Ok(by) = env::var(CHILD) {
        let server = boot(Profile::Fast)?;
        let folder = server.folder().ok_or("not booted")?;
        say("server", &format!("{} {}", pid(&server)?, folder.display()));
        // Aborting and exiting run no destructors, and neither does SIGKILL.
        die(&by);
    }
    for by in ["exit", "abort", "SIGKILL"] {
        let test = "server::a_server_goes_with_its_owner_by_whatever_death";
        let mut child = command(test, by)?.spawn()?;
        let server = hear(&mut child, "server")?;
        let (pid, folder) = server.split_once(' ').ok_or("no folder")?;
        if by == "SIGKILL" {
            child.kill()?;
        }
        child.wait()?;
        wait_until(&format!("server {pid} gone after {by}"), || !runs(pid))?;
        wait_until(&format!("{folder} gone after {by}"), || {
            !Path::new(folder).exists()
        })?;
    }
    Ok(())
}

#[test]
fn a_server_that_cannot_boot_says_why() -> Result {
    if let Ok(bin) = env::var(CHILD) {
        let broken = Installation::at(Path::new(&bin))?;
        let error = Server::boot(&broken, Profile::Fast)
            .unwrap_err()
            .to_string();
        say("error", &error.replace('\n', " "));
        return Ok(());
    }
    let folder = Folder::new()?;
    let real = installed()?.bin().display().to_string();
    let script = |text: &str| format!("#!/bin/sh\n{}\n", text.replace("REAL", &real));
    folder.program("initdb", &script("exec REAL/initdb \"$@\""))?;
    folder.program(
        "postgres",
        &script("[ $1 = --version ] && exec REAL/postgres --version\necho out of luck\nexit 3"),
    )?;
    let test = "server::a_server_that_cannot_boot_says_why";
    let mut child = command(test, &folder.path().to_string_lossy())?;
    // The seed of this broken installation goes with the test's folder.
    let cache = folder.path().join("cache");
    let mut child = child.env("BMDB_TESTKIT_CACHE", cache).spawn()?;
    let error = hear(&mut child, "error")?;
    child.wait()?;
    assert!(error.contains("out of luck"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_durable_server_keeps_the_defaults() -> Result {
    let server = own_server(Profile::Durable).await?;
    let db = TestDb::on(&server).await?;
    let settings = "SELECT current_setting('fsync'), current_setting('synchronous_commit'),
                           current_setting('full_page_writes'), current_setting('autovacuum')";
    assert_eq!(db.rows(settings).await?, ["on|on|on|on"]);
    Ok(())
}

#[tokio::test]
async fn a_fast_server_has_english_messages_and_no_network() -> Result {
    let server = own_server(Profile::Fast).await?;
    let db = TestDb::on(&server).await?;
    let settings = "SELECT current_setting('lc_messages'), current_setting('listen_addresses'),
                           current_setting('fsync'), current_setting('max_connections')";
    assert_eq!(db.rows(settings).await?, ["C||off|300"]);
    Ok(())
}

#[tokio::test]
async fn the_database_of_a_failed_test_is_kept_and_its_psql_line_printed() -> Result {
    if env::var(CHILD).is_ok() {
        let db = TestDb::new().await?;
        say("name", db.name());
        panic!("as a failing test does");
    }
    let server = boot(Profile::Fast)?;
    let test = "server::the_database_of_a_failed_test_is_kept_and_its_psql_line_printed";
    let mut child = child_on(&server, test, "panic")?;
    let name = hear(&mut child, "name")?;
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = said
        .lines()
        .find(|line| line.contains("psql") && line.contains(&name))
        .ok_or_else(|| format!("no psql line in {said}"))?;

    // The sweep of a later process leaves it alone.
    let later = Arc::new(Server::running(server.url())?);
    let mine = TestDb::on(&later).await?;
    let psql = line
        .split_once("psql ")
        .map_or("", |(_, url)| url.trim_matches('\''));
    assert!(psql.contains(&name), "{line}");
    let kept = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = ";
    assert_eq!(
        mine.rows(&format!("{kept}'{name}'")).await?,
        ["kept: its test failed"]
    );
    Ok(())
}

#[tokio::test]
async fn databases_of_dead_processes_are_swept_and_those_of_living_ones_are_not() -> Result {
    if let Ok(by) = env::var(CHILD) {
        let db = TestDb::new().await?;
        say("name", db.name());
        die(&by);
    }
    let server = boot(Profile::Fast)?;
    let test = "server::databases_of_dead_processes_are_swept_and_those_of_living_ones_are_not";
    let mut dead = child_on(&server, test, "SIGKILL")?;
    let mut living = child_on(&server, test, "SIGKILL")?;
    let (dead_name, living_name) = (hear(&mut dead, "name")?, hear(&mut living, "name")?);
    dead.kill()?;
    dead.wait()?;

    let later = Arc::new(Server::running(server.url())?);
    let mine = TestDb::on(&later).await?;
    let left = "SELECT count(*) FROM pg_database WHERE datname = ";
    let begun = Instant::now();
    // The killed process's connection ends when the server notices, so a sweep may come too early.
    while mine.rows(&format!("{left}'{dead_name}'")).await? != ["0"] {
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{dead_name} is still there"
        );
        TestDb::on(&Arc::new(Server::running(server.url())?)).await?;
    }
    assert_eq!(mine.rows(&format!("{left}'{living_name}'")).await?, ["1"]);
    living.kill()?;
    living.wait()?;
    Ok(())
}

#[tokio::test]
async fn a_dropped_database_goes_in_the_background() -> Result {
    let base = TestDb::empty().await?;
    let server = Arc::new(Server::running(base.url())?);
    let (gone, witness) = (TestDb::on(&server).await?, TestDb::on(&server).await?);
    let left = format!(
        "SELECT count(*) FROM pg_database WHERE datname = '{}'",
        gone.name()
    );
    let _connected = gone.connect().await?;
    drop(gone);
    let begun = Instant::now();
    while witness.rows(&left).await? != ["0"] {
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "it is still there"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_template_without_the_mark_of_completeness_is_made_anew() -> Result {
    let server = own_server(Profile::Fast).await?;
    let before = TestDb::on(&server).await?;
    let templates =
        "SELECT oid FROM pg_database WHERE datname ~ '^bmdb_template_' AND datistemplate";
    let old = before.rows(templates).await?;
    before
        .execute(
            "UPDATE pg_database SET datistemplate = false, datallowconn = true
             WHERE datname ~ '^bmdb_template_'",
        )
        .await?;
    let after = TestDb::on(&server).await?;
    let new = after.rows(templates).await?;
    assert_eq!((old.len(), new.len()), (1, 1));
    assert_ne!(old, new);
    assert_eq!(after.rows("SELECT count(*) FROM machines").await?, ["0"]);
    Ok(())
}

#[tokio::test]
async fn an_unreachable_server_is_an_error() -> Result {
    let nowhere = Path::new("/no/such/folder");
    let url = format!("postgresql://postgres@/postgres?host={}", nowhere.display());
    let server = Arc::new(Server::running(&url)?);
    assert!(TestDb::on(&server).await.is_err());
    Ok(())
}
