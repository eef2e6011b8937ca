//! Servers: they boot, they stop, and they never outlive the process that booted them.

use crate::folder::Folder;
use crate::{Result, child, dedicated_server};
use bmdb_testkit::{Installation, Profile, Server, TestDb};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

#[test]
fn a_stopped_server_leaves_no_process_and_no_folder() -> Result {
    let server = dedicated_server::boot(Profile::Fast)?;
    let folder = server.folder().ok_or("not booted")?.to_owned();
    let pid = pid(&server)?;
    assert!(runs(&pid));
    server.stop();
    assert!(!runs(&pid) && !folder.exists());
    Ok(())
}

#[test]
fn a_server_stops_however_its_process_ends() -> Result {
    if let Ok(by) = env::var(child::VARIABLE) {
        let server = dedicated_server::boot(Profile::Fast)?;
        let folder = server.folder().ok_or("not booted")?;
        child::print("server", &format!("{} {}", pid(&server)?, folder.display()));
        // None of these ends runs destructors.
        child::die(&by);
    }
    for by in ["exit", "abort", "SIGKILL"] {
        let test = "server::a_server_stops_however_its_process_ends";
        let mut process = child::command(test, by)?.spawn()?;
        let server = child::read(&mut process, "server")?;
        let (pid, folder) = server.split_once(' ').ok_or("no folder")?;
        if by == "SIGKILL" {
            process.kill()?;
        }
        process.wait()?;
        wait_until(&format!("server {pid} gone after {by}"), || !runs(pid))?;
        wait_until(&format!("{folder} gone after {by}"), || {
            !Path::new(folder).exists()
        })?;
    }
    Ok(())
}

#[test]
fn the_error_of_a_failed_boot_contains_the_log() -> Result {
    if let Ok(bin) = env::var(child::VARIABLE) {
        let broken = Installation::at(Path::new(&bin))?;
        let error = Server::boot(&broken, Profile::Fast)
            .unwrap_err()
            .to_string();
        child::print("error", &error.replace('\n', " "));
        return Ok(());
    }
    let folder = Folder::new()?;
    let real = dedicated_server::installed()?.bin().display().to_string();
    let script = |text: &str| format!("#!/bin/sh\n{}\n", text.replace("REAL", &real));
    folder.program("initdb", &script("exec REAL/initdb \"$@\""))?;
    folder.program(
        "postgres",
        &script("[ $1 = --version ] && exec REAL/postgres --version\necho out of luck\nexit 3"),
    )?;
    let test = "server::the_error_of_a_failed_boot_contains_the_log";
    let mut process = child::command(test, &folder.path().to_string_lossy())?;
    // The seed of this broken installation is removed with the test's folder.
    let cache = folder.path().join("cache");
    let mut process = process.env("BMDB_TESTKIT_CACHE", cache).spawn()?;
    let error = child::read(&mut process, "error")?;
    process.wait()?;
    assert!(error.contains("out of luck"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_durable_server_has_the_default_settings() -> Result {
    let server = dedicated_server::server(Profile::Durable).await?;
    let db = TestDb::on(&server).await?;
    let settings = "SELECT current_setting('fsync'), current_setting('synchronous_commit'),
                           current_setting('full_page_writes'), current_setting('autovacuum')";
    assert_eq!(db.rows(settings).await?, ["on|on|on|on"]);
    Ok(())
}

#[tokio::test]
async fn a_fast_server_has_english_messages_and_no_network() -> Result {
    let server = dedicated_server::server(Profile::Fast).await?;
    let db = TestDb::on(&server).await?;
    let settings = "SELECT current_setting('lc_messages'), current_setting('listen_addresses'),
                           current_setting('fsync'), current_setting('max_connections')";
    assert_eq!(db.rows(settings).await?, ["C||off|300"]);
    Ok(())
}

#[tokio::test]
async fn an_unreachable_server_is_an_error() -> Result {
    let nowhere = Path::new("/no/such/folder");
    let url = format!("postgresql://postgres@/postgres?host={}", nowhere.display());
    let server = Arc::new(Server::running(&url)?);
    let error = TestDb::on(&server).await.unwrap_err().to_string();
    assert!(
        error.contains("BMDB_TEST_DATABASE_URL") && error.contains("No such file"),
        "{error}"
    );
    Ok(())
}

fn pid(server: &Server) -> Result<String> {
    let folder = server.folder().ok_or("not booted")?;
    let file = fs::read_to_string(folder.join("data/postmaster.pid"))?;
    Ok(file.lines().next().ok_or("no pid")?.to_owned())
}

fn wait_until(what: &str, done: impl Fn() -> bool) -> Result {
    let begun = Instant::now();
    while !done() {
        if begun.elapsed() > Duration::from_secs(5) {
            return Err(format!("waited 5 s for: {what}").into());
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn runs(pid: &str) -> bool {
    let signal_nothing = Command::new("kill").args(["-0", pid]).output();
    signal_nothing.is_ok_and(|output| output.status.success())
}
