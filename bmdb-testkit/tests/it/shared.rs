//! The shared server: how long it runs, however its processes end.

use crate::family::{Family, SECOND, kill9, read_server, tools_without_setpriv, within};
use crate::{Result, child};
use bmdb_testkit::OsUser;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::thread;

#[test]
fn processes_share_a_server_that_outlives_the_one_that_booted_it() -> Result {
    let family = Family::new()?;
    let (mut first, one) = family.child("SIGKILL")?;
    let (mut second, other) = family.child("stdin")?;
    assert_eq!(one, other);
    first.kill()?;
    first.wait()?;
    // Longer than it would linger without a holder of its lease.
    thread::sleep(SECOND + SECOND / 2);
    drop(second.stdin.take());
    assert_eq!(child::read(&mut second, "still")?, one.folder);
    second.kill()?;
    second.wait()?;
    within(3 * SECOND, "the server is gone", || one.is_gone())
}

#[test]
fn processes_that_start_at_the_same_time_boot_one_server() -> Result {
    let family = Family::new()?;
    let mut children = Vec::new();
    for _ in 0..6 {
        children.push(family.command("SIGKILL")?.spawn()?);
    }
    let mut servers = Vec::new();
    for child in &mut children {
        servers.push(read_server(child)?);
    }
    servers.dedup();
    assert_eq!(servers.len(), 1, "{servers:?}");
    // After all of them were killed nothing is left.
    for child in &mut children {
        child.kill()?;
        child.wait()?;
    }
    within(3 * SECOND, "the server is gone", || servers[0].is_gone())
}

#[test]
fn a_process_that_starts_soon_after_the_last_one_ended_finds_the_server_running() -> Result {
    let family = Family::new()?;
    let (mut first, one) = family.child("exit")?;
    first.wait()?;
    let (mut second, other) = family.child("abort")?;
    second.wait()?;
    assert_eq!(one, other);
    within(3 * SECOND, "the server is gone", || one.is_gone())
}

/// Linux ends the server with its parent. Elsewhere, and without `setpriv`, the supervisor's second
/// shell ends it.
#[test]
#[cfg(target_os = "linux")]
fn if_the_supervisor_is_killed_too_the_server_ends_and_the_next_boot_removes_its_folder() -> Result
{
    let family = Family::new()?;
    let (mut child, server) = family.child("SIGKILL")?;
    let supervisor = server.supervisor()?;
    assert_eq!(supervisor.len(), 2);
    child.kill()?;
    child.wait()?;
    kill9(&supervisor)?;
    within(SECOND, "the server is gone", || !server.runs())?;
    assert!(Path::new(&server.folder).exists());
    let (mut child, next) = family.child("exit")?;
    child.wait()?;
    assert_ne!(next, server);
    assert!(server.is_gone());
    within(3 * SECOND, "the next server is gone", || next.is_gone())
}

#[test]
fn if_only_the_supervisor_is_killed_the_next_process_boots_another_server() -> Result {
    let family = Family::new()?;
    let (mut living, server) = family.child("SIGKILL")?;
    let supervisor = server.supervisor()?;
    kill9(&supervisor[..1])?;
    within(SECOND, "the server is gone", || !server.runs())?;
    let (mut child, next) = family.child("exit")?;
    child.wait()?;
    assert_ne!(next, server);
    living.kill()?;
    living.wait()?;
    within(3 * SECOND, "all is gone", || {
        next.is_gone() && server.is_gone()
    })
}

#[test]
fn without_setpriv_the_server_of_a_killed_supervisor_ends_within_three_seconds_of_the_tests()
-> Result {
    let family = Family::new()?;
    let mut command = family.command("SIGKILL")?;
    let tools = tools_without_setpriv()?;
    let mut child = command.env("PATH", tools.path()).spawn()?;
    let server = read_server(&mut child)?;
    let supervisor = server.supervisor()?;
    kill9(&supervisor[..1])?;
    child.kill()?;
    child.wait()?;
    within(3 * SECOND, "the server is gone", || server.is_gone())
}

#[test]
fn the_next_boot_ends_a_server_without_a_supervisor() -> Result {
    let family = Family::new()?;
    let mut command = family.command("SIGKILL")?;
    let tools = tools_without_setpriv()?;
    // The kernel does not end the server, and both shells are killed before they can.
    let mut child = command.env("PATH", tools.path()).spawn()?;
    let orphan = read_server(&mut child)?;
    kill9(&orphan.supervisor()?)?;
    child.kill()?;
    child.wait()?;
    assert!(orphan.runs());
    let (mut child, next) = family.child("exit")?;
    child.wait()?;
    assert!(orphan.is_gone());
    within(3 * SECOND, "the next server is gone", || next.is_gone())
}

/// Every configuration has an address file of its own in the cache. Old ones used to stay forever.
#[test]
fn a_boot_removes_only_address_files_of_servers_that_are_gone() -> Result {
    let family = Family::new()?;
    let cache = family.folder.path();
    let (mut living, server) = family.child("SIGKILL")?;
    let uid = OsUser::for_server()?.uid;
    let address = |key: &str| format!("shared-{uid}-{key:0>16}");
    // The first server has another configuration from now on, so the next child boots its own.
    let own = names(&family, |name| name.starts_with("shared-"))?;
    let own = own.first().ok_or("no address file")?;
    fs::rename(cache.join(own), cache.join(address("a")))?;
    let missing = "/nowhere/bmdb-0123456789ab";
    for name in [
        address("b"),
        address("c"),
        format!("shared-{}-{:016}", uid + 1, 0),
    ] {
        fs::write(cache.join(name), missing)?;
    }
    for left_over in [
        address("b") + ".lock",
        address("b") + ".new",
        address("d") + ".lock",
    ] {
        fs::write(cache.join(left_over), "")?;
    }
    // A process is just booting a server of this configuration.
    let booting = File::create(cache.join(address("c") + ".lock"))?;
    booting.lock()?;

    let (mut child, next) = family.child("SIGKILL")?;
    assert_ne!(next, server);
    let mut expected = vec![
        address("a"),
        address("c"),
        address("c") + ".lock",
        format!("shared-{}-{:016}", uid + 1, 0),
        own.clone(),
        format!("{own}.lock"),
    ];
    expected.sort();
    assert_eq!(
        names(&family, |name| name.starts_with("shared-"))?,
        expected
    );

    drop(booting);
    for child in [&mut living, &mut child] {
        child.kill()?;
        child.wait()?;
    }
    within(3 * SECOND, "the servers are gone", || {
        server.is_gone() && next.is_gone()
    })?;
    let (mut child, last) = family.child("exit")?;
    child.wait()?;
    let left = names(&family, |name| name.starts_with(&format!("shared-{uid}-")))?;
    assert_eq!(left, [own.clone(), format!("{own}.lock")]);
    within(3 * SECOND, "the last server is gone", || last.is_gone())
}

/// The sorted names of the files in the cache that match.
fn names(family: &Family, matches: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(family.folder.path())? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.retain(|name| matches(name));
    names.sort();
    Ok(names)
}

#[test]
fn a_server_lingers_for_the_configured_time() -> Result {
    let family = Family::new()?;
    let mut command = family.command("exit")?;
    let mut child = command.env("BMDB_TESTKIT_LINGER", "60").spawn()?;
    let server = read_server(&mut child)?;
    child.wait()?;
    thread::sleep(2 * SECOND);
    assert!(server.runs());
    // Ends it, instead of waiting for a minute. Its folder is removed then as well.
    let ended = Command::new("kill").args(["-QUIT", &server.pid]).status()?;
    assert!(ended.success());
    within(SECOND, "the server is gone", || server.is_gone())
}
