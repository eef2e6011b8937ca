//! The server that all test processes share: how long it lives, whoever dies and however.

use crate::family::{Family, SECOND, hear, kill9, tools_without_setpriv, within};
use crate::{Result, child};
use bmdb_testkit::OsUser;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::thread;

#[test]
fn processes_share_one_server_which_outlives_the_one_that_booted_it() -> Result {
    let family = Family::new()?;
    let (mut first, one) = family.child("SIGKILL")?;
    let (mut second, other) = family.child("stdin")?;
    assert_eq!(one, other);
    first.kill()?;
    first.wait()?;
    // Longer than it would linger without holders.
    thread::sleep(SECOND + SECOND / 2);
    drop(second.stdin.take());
    assert_eq!(child::hear(&mut second, "still")?, one.folder);
    second.kill()?;
    second.wait()?;
    within(3 * SECOND, "the server is gone", || one.is_gone())
}

#[test]
fn processes_that_start_together_boot_one_server() -> Result {
    let family = Family::new()?;
    let mut children = Vec::new();
    for _ in 0..6 {
        children.push(family.command("SIGKILL")?.spawn()?);
    }
    let mut servers = Vec::new();
    for child in &mut children {
        servers.push(hear(child)?);
    }
    servers.dedup();
    assert_eq!(servers.len(), 1, "{servers:?}");
    // And after all of them have been killed at once nothing is left.
    for child in &mut children {
        child.kill()?;
        child.wait()?;
    }
    within(3 * SECOND, "the server is gone", || servers[0].is_gone())
}

#[test]
fn a_process_that_comes_soon_after_the_last_has_gone_finds_the_server_still_there() -> Result {
    let family = Family::new()?;
    let (mut first, one) = family.child("exit")?;
    first.wait()?;
    let (mut second, other) = family.child("abort")?;
    second.wait()?;
    assert_eq!(one, other);
    within(3 * SECOND, "the server is gone", || one.is_gone())
}

/// Linux ends the server with its parent; elsewhere, and without `setpriv`, the supervisor's second
/// shell does.
#[test]
#[cfg(target_os = "linux")]
fn when_the_supervisor_is_killed_too_the_server_is_gone_and_the_next_boot_takes_its_folder()
-> Result {
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
fn when_only_the_supervisor_is_killed_the_next_process_boots_another_server() -> Result {
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
fn without_setpriv_a_killed_supervisors_server_is_gone_three_seconds_after_the_tests() -> Result {
    let family = Family::new()?;
    let mut command = family.command("SIGKILL")?;
    let tools = tools_without_setpriv()?;
    let mut child = command.env("PATH", tools.path()).spawn()?;
    let server = hear(&mut child)?;
    let supervisor = server.supervisor()?;
    kill9(&supervisor[..1])?;
    child.kill()?;
    child.wait()?;
    within(3 * SECOND, "the server is gone", || server.is_gone())
}

#[test]
fn a_server_that_nobody_ends_is_ended_by_the_next_boot() -> Result {
    let family = Family::new()?;
    let mut command = family.command("SIGKILL")?;
    let tools = tools_without_setpriv()?;
    // Without the kernel's help, and both shells killed before they can do anything.
    let mut child = command.env("PATH", tools.path()).spawn()?;
    let orphan = hear(&mut child)?;
    kill9(&orphan.supervisor()?)?;
    child.kill()?;
    child.wait()?;
    assert!(orphan.runs());
    let (mut child, next) = family.child("exit")?;
    child.wait()?;
    assert!(orphan.is_gone());
    within(3 * SECOND, "the next server is gone", || next.is_gone())
}

/// Every kind of server has a file of its own in the cache, and those of yesterday's kinds stayed.
#[test]
fn a_boot_removes_what_the_cache_tells_of_servers_that_are_gone_and_of_no_others() -> Result {
    let family = Family::new()?;
    let cache = family.folder.path();
    let (mut living, server) = family.child("SIGKILL")?;
    let uid = OsUser::for_server()?.uid;
    let word = |key: &str| format!("shared-{uid}-{key:0>16}");
    // The first server is another kind's from now on, so the next child boots one of its own.
    let own = names(&family, |name| name.starts_with("shared-"))?;
    let own = own.first().ok_or("no word")?;
    fs::rename(cache.join(own), cache.join(word("a")))?;
    let gone = "/nowhere/bmdb-0123456789ab";
    for name in [
        word("b"),
        word("c"),
        format!("shared-{}-{:016}", uid + 1, 0),
    ] {
        fs::write(cache.join(name), gone)?;
    }
    for left_over in [word("b") + ".lock", word("b") + ".new", word("d") + ".lock"] {
        fs::write(cache.join(left_over), "")?;
    }
    // Somebody is just booting one of this kind.
    let booting = File::create(cache.join(word("c") + ".lock"))?;
    booting.lock()?;

    let (mut child, next) = family.child("SIGKILL")?;
    assert_ne!(next, server);
    let mut expected = vec![
        word("a"),
        word("c"),
        word("c") + ".lock",
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

/// What the cache has of this kind, by name.
fn names(family: &Family, is_meant: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(family.folder.path())? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.retain(|name| is_meant(name));
    names.sort();
    Ok(names)
}

#[test]
fn a_server_lingers_for_as_long_as_it_is_told() -> Result {
    let family = Family::new()?;
    let mut command = family.command("exit")?;
    let mut child = command.env("BMDB_TESTKIT_LINGER", "60").spawn()?;
    let server = hear(&mut child)?;
    child.wait()?;
    thread::sleep(2 * SECOND);
    assert!(server.runs());
    // Nobody waits a minute for it here: what becomes of its folder when it ends by itself is told.
    let ended = Command::new("kill").args(["-QUIT", &server.pid]).status()?;
    assert!(ended.success());
    within(SECOND, "the server is gone", || server.is_gone())
}
