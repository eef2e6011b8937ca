//! Killed servers: what survives, and that they restart.

use crate::{Result, child, dedicated_server};
use bmdb_testkit::{Profile, Server, TestDb};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

#[tokio::test]
async fn only_the_commits_of_a_durable_server_survive_a_kill() -> Result {
    let server = dedicated_server::server(Profile::Durable).await?;
    let db = TestDb::on(&server).await?;
    db.run_sql("CREATE TABLE notes (n int)").await?;
    db.run_sql("INSERT INTO notes VALUES (1)").await?;
    let open = connect(db.url()).await?;
    open.batch_execute("BEGIN; INSERT INTO notes VALUES (2)")
        .await?;

    server.kill9()?;
    assert!(open.batch_execute("COMMIT").await.is_err());
    assert!(connect(db.url()).await.is_err());

    server.restart()?;
    assert_eq!(db.rows("SELECT n FROM notes").await?, ["1"]);
    db.run_sql("INSERT INTO notes VALUES (3)").await?;
    assert!(db.rows("SELECT n FROM notes").await? == ["1", "3"]);
    Ok(())
}

#[tokio::test]
async fn a_fast_server_restarts_and_serves_new_databases() -> Result {
    let server = dedicated_server::server(Profile::Fast).await?;
    let db = TestDb::on(&server).await?;
    db.run_sql("CREATE TABLE notes (n int)").await?;
    for _ in 0..3 {
        server.kill9()?;
        server.restart()?;
        let new = TestDb::on(&server).await?;
        new.run_sql("CREATE TABLE notes (n int)").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_killed_server_restarts_at_once_even_if_its_processes_are_busy() -> Result {
    let server = dedicated_server::server(Profile::Durable).await?;
    let folder = server.folder().ok_or("not booted")?.to_owned();
    let url = server.url().to_owned();
    let mut busy = Vec::new();
    for statement in [
        "DO $$ BEGIN LOOP END LOOP; END $$",
        "SELECT pg_sleep(600)",
        "SELECT pg_advisory_lock(1), pg_sleep(600)",
    ] {
        for _ in 0..5 {
            let client = connect(&url).await?;
            busy.push(tokio::spawn(async move {
                client.batch_execute(statement).await
            }));
        }
    }
    let watcher = connect(&url).await?;
    let running = "SELECT 1 FROM pg_stat_activity WHERE state = 'active'
                   AND query ~ '^(DO|SELECT pg_(sleep|advisory))'";
    eventually("the statements to run", async || {
        Ok(watcher.query(running, &[]).await?.len() == busy.len())
    })
    .await?;

    let begun = Instant::now();
    server.kill9()?;
    server.restart()?;
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    for statement in busy {
        assert!(statement.await?.is_err());
    }
    let again = connect(&url).await?;
    assert_eq!(again.query(running, &[]).await?.len(), 0);
    drop(server);
    assert!(!folder.exists());
    wait_for_processes(&folder)
}

#[test]
fn a_stopped_server_cannot_be_killed_and_a_running_one_not_restarted() -> Result {
    let server = dedicated_server::boot(Profile::Fast)?;
    let error = server.restart().unwrap_err().to_string();
    assert_eq!(error, "restarting the server failed: it runs");
    server.kill9()?;
    let error = server.kill9().unwrap_err().to_string();
    assert_eq!(error, "halting the server failed: it does not run");
    server.restart()?;
    server.kill9()?;
    Ok(())
}

#[test]
fn a_server_that_others_use_can_be_neither_killed_nor_restarted() -> Result {
    let server = dedicated_server::boot(Profile::Fast)?;
    let named = Server::running(server.url())?;
    for error in [named.kill9(), named.restart()] {
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("others use it too") && error.contains("Server::boot"),
            "{error}"
        );
    }
    Ok(server.kill9()?)
}

#[test]
fn the_error_says_that_a_server_has_ended_by_itself() -> Result {
    for signal in ["-QUIT", "-KILL"] {
        let server = dedicated_server::boot(Profile::Fast)?;
        end(&server, signal)?;
        wait_until_gone(server.folder().ok_or("not booted")?)?;
        for error in [server.kill9(), server.restart(), server.kill9()] {
            let error = error.unwrap_err().to_string();
            assert!(error.contains("has ended by itself"), "{error}");
        }

        // The kill may come just before the server has ended.
        let server = dedicated_server::boot(Profile::Fast)?;
        end(&server, signal)?;
        match (server.kill9(), server.restart()) {
            (Ok(()), Ok(())) => server.kill9()?,
            (Err(killed), Err(restarted)) => {
                let (killed, restarted) = (killed.to_string(), restarted.to_string());
                assert!(killed.contains("has ended by itself"), "{killed}");
                assert!(restarted.contains("has ended by itself"), "{restarted}");
            }
            other => return Err(format!("{other:?}").into()),
        }
    }
    Ok(())
}

#[test]
fn a_killed_server_leaves_no_folder_and_no_process() -> Result {
    for profile in [Profile::Fast, Profile::Durable] {
        let server = dedicated_server::boot(profile)?;
        let folder = server.folder().ok_or("not booted")?.to_owned();
        server.kill9()?;
        assert!(folder.join("data").exists());
        drop(server);
        assert!(!folder.exists());
        wait_for_processes(&folder)?;
    }
    Ok(())
}

#[test]
fn the_next_boot_removes_the_folder_of_a_killed_server() -> Result {
    if let Ok(by) = env::var(child::VARIABLE) {
        let server = dedicated_server::boot(Profile::Durable)?;
        server.kill9()?;
        let folder = server.folder().ok_or("not booted")?;
        child::print("folder", &folder.display().to_string());
        child::die(&by);
    }
    let test = "crash::the_next_boot_removes_the_folder_of_a_killed_server";
    let mut process = child::command(test, "SIGKILL")?.spawn()?;
    let folder = child::read(&mut process, "folder")?;
    let folder = Path::new(&folder);
    // The process that booted it could still restart it.
    let _other = dedicated_server::boot(Profile::Durable)?;
    assert!(folder.exists());
    process.kill()?;
    process.wait()?;
    let _next = dedicated_server::boot(Profile::Durable)?;
    assert!(!folder.exists());
    Ok(())
}

fn end(server: &Server, signal: &str) -> Result {
    let folder = server.folder().ok_or("not booted")?;
    let pid = fs::read_to_string(folder.join("data/postmaster.pid"))?;
    let pid = pid.lines().next().ok_or("no pid")?;
    Command::new("kill").args([signal, pid]).status()?;
    Ok(())
}

pub(crate) async fn connect(url: &str) -> Result<tokio_postgres::Client> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    // The client's next call reports its error.
    tokio::spawn(connection);
    Ok(client)
}

pub(crate) async fn eventually(what: &str, done: impl AsyncFn() -> Result<bool>) -> Result {
    let begun = Instant::now();
    while !done().await? {
        if begun.elapsed() > Duration::from_secs(10) {
            return Err(format!("waited 10 s for {what}").into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

fn wait_until_gone(folder: &Path) -> Result {
    let begun = Instant::now();
    while folder.exists() {
        if begun.elapsed() > Duration::from_secs(10) {
            return Err(format!("{} was still there after 10 s", folder.display()).into());
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Waits until no process of the server in this folder is left: the kernel takes a moment to remove
/// killed processes.
pub(crate) fn wait_for_processes(folder: &Path) -> Result {
    let begun = Instant::now();
    loop {
        let left = processes_in(folder)?;
        if left.is_empty() {
            return Ok(());
        }
        if begun.elapsed() > Duration::from_secs(10) {
            return Err(format!("{left:?} were still there after 10 s").into());
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// The processes that have this folder in their command line or as their working directory.
fn processes_in(folder: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let Ok(processes) = fs::read_dir("/proc") else {
        return Ok(found);
    };
    for process in processes {
        let process = process?.path();
        let words = fs::read(process.join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).into_owned();
        let is_inside = fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
        if is_inside || words.contains(&*folder.to_string_lossy()) {
            found.push(process.display().to_string());
        }
    }
    Ok(found)
}

#[tokio::test]
async fn a_server_restarts_with_its_data_after_its_supervisor_was_killed() -> Result {
    let server = dedicated_server::server(Profile::Durable).await?;
    let folder = server.folder().ok_or("not booted")?.to_owned();
    let db = TestDb::on(&server).await?;
    db.run_sql("CREATE TABLE notes (n int)").await?;
    for n in 0..2 {
        kill9(parent_of(postmaster(&folder)?)?)?;
        eventually("the server to end", async || {
            Ok(connect(db.url()).await.is_err())
        })
        .await?;
        server.restart()?;
        db.run_sql(&format!("INSERT INTO notes VALUES ({n})"))
            .await?;
    }
    assert_eq!(db.rows("SELECT n FROM notes").await?, ["0", "1"]);
    drop(db);
    drop(server);
    assert!(!folder.exists());
    wait_for_processes(&folder)
}

#[tokio::test]
async fn keep_data_keeps_the_data_of_a_server_that_ends_by_itself() -> Result {
    let server = dedicated_server::server(Profile::Durable).await?;
    let folder = server.folder().ok_or("not booted")?.to_owned();
    server.keep_data()?;
    let db = TestDb::on(&server).await?;
    db.run_sql("CREATE TABLE notes (n int)").await?;
    for _ in 0..2 {
        // Only the main process: for the supervisor it ends by itself.
        kill9(postmaster(&folder)?)?;
        eventually("the server to end", async || {
            Ok(connect(db.url()).await.is_err())
        })
        .await?;
        restart_when_ended(&server).await?;
        db.run_sql("INSERT INTO notes VALUES (1)").await?;
    }
    assert_eq!(db.rows("SELECT count(*) FROM notes").await?, ["2"]);
    // Without a restart it is removed as well.
    kill9(postmaster(&folder)?)?;
    drop(db);
    drop(server);
    assert!(!folder.exists());
    wait_for_processes(&folder)
}

async fn restart_when_ended(server: &Server) -> Result {
    eventually("the supervisor to notice", async || {
        match server.restart() {
            Ok(()) => Ok(true),
            Err(error) if error.to_string().ends_with("it runs") => Ok(false),
            Err(error) => Err(error.into()),
        }
    })
    .await
}

fn postmaster(folder: &Path) -> Result<u32> {
    let file = fs::read_to_string(folder.join("data/postmaster.pid"))?;
    Ok(file.lines().next().ok_or("empty")?.trim().parse()?)
}

fn parent_of(pid: u32) -> Result<u32> {
    let output = Command::new("ps")
        .args(["-o", "ppid=", "-p", &pid.to_string()])
        .output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
}

fn kill9(pid: u32) -> Result {
    let status = Command::new("kill")
        .args(["-9", &pid.to_string()])
        .status()?;
    assert!(status.success());
    Ok(())
}
