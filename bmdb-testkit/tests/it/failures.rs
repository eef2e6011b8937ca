//! What goes wrong around a server, and what comes of it: either nothing at all, or an error that
//! says what to do.

use crate::family::{CHILD, Family, hear, within};
use crate::folder::Folder;
use crate::{Result, child, namespace};
use bmdb_testkit::{OsUser, cache_dir};
use std::fs::{self, File, FileTimes};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant, SystemTime};

const MOUNT: &[&str] = &["--mount"];

/// Ends a child that has its server, and waits for the server's end.
fn end(mut child: Child) -> Result {
    let server = hear(&mut child)?;
    child.kill()?;
    child.wait()?;
    within(Duration::from_secs(4), "the server is gone", || {
        !server.runs()
    })
}

/// What a child that gets no server says.
fn error(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    Ok(said)
}

#[test]
fn where_dev_shm_is_full_the_server_goes_to_the_disk() -> Result {
    let family = Family::new()?;
    let inner = family.command("SIGKILL")?;
    for dev_shm in [
        // Full from the start; for what PostgreSQL's processes share as well.
        "size=16k",
        // Roomy to look at, but full after fifty files.
        "size=2g,nr_inodes=50",
    ] {
        let script = format!("mount -t tmpfs -o {dev_shm},mode=1777 tmpfs /dev/shm");
        let Some(mut command) = namespace::command(MOUNT, &script, &inner)? else {
            return Ok(());
        };
        let mut child = command.spawn()?;
        let server = hear(&mut child)?;
        assert!(!server.folder.starts_with("/dev/shm"), "{server:?}");
        child.kill()?;
        child.wait()?;
        within(Duration::from_secs(4), "the server is gone", || {
            server.is_gone()
        })?;
    }
    Ok(())
}

/// What a child of this kind says that has this much room for its server; nothing where no room can be
/// set apart.
fn error_with_room(size: &str, dies_by: &str) -> Result<Option<String>> {
    let family = Family::new()?;
    let small = Folder::new()?;
    let mut inner = family.command(dies_by)?;
    inner.env("BMDB_TESTKIT_DATA", small.path());
    let place = namespace::quoted(small.path());
    let script = format!("mount -t tmpfs -o size={size},mode=1777 tmpfs {place}");
    let command = namespace::command(MOUNT, &script, &inner)?;
    command.map(|mut command| error(&mut command)).transpose()
}

#[test]
fn where_there_is_no_room_for_a_server_the_error_names_the_variable_for_another_folder() -> Result {
    let Some(said) = error_with_room("10m", "SIGKILL")? else {
        return Ok(());
    };
    for expected in ["No space left on device", "BMDB_TESTKIT_DATA"] {
        assert!(said.contains(expected), "{expected} in {said}");
    }
    Ok(())
}

#[test]
fn where_the_room_is_used_up_by_databases_the_error_says_so() -> Result {
    let Some(said) = error_with_room("80m", "many")? else {
        return Ok(());
    };
    for expected in [
        "no room left",
        "No space left on device",
        "BMDB_TESTKIT_DATA",
    ] {
        assert!(said.contains(expected), "{expected} in {said}");
    }
    Ok(())
}

#[test]
fn a_read_only_cache_is_an_error_that_names_it_where_somebody_has_chosen_it() -> Result {
    let family = Family::new()?;
    let inner = family.command("SIGKILL")?;
    let cache = namespace::quoted(family.folder.path());
    let script = format!("mount --bind {cache} {cache} && mount -o remount,ro,bind {cache}");
    let Some(mut command) = namespace::command(MOUNT, &script, &inner)? else {
        return Ok(());
    };
    let said = error(&mut command)?;
    let path = family.folder.path().to_string_lossy();
    for expected in [&*path, "Read-only file system", "set BMDB_TESTKIT_CACHE"] {
        assert!(said.contains(expected), "{expected} in {said}");
    }
    Ok(())
}

#[test]
fn where_the_usual_cache_is_read_only_the_folder_for_temporary_files_serves() -> Result {
    let family = Family::new()?;
    let usual = cache_dir(&OsUser::for_server()?);
    let temporary = Folder::new()?;
    let mut inner = family.command("SIGKILL")?;
    inner
        .env_remove("BMDB_TESTKIT_CACHE")
        .env("TMPDIR", temporary.path());
    let cache = namespace::quoted(&usual);
    let script = format!("mount --bind {cache} {cache} && mount -o remount,ro,bind {cache}");
    let Some(mut command) = namespace::command(MOUNT, &script, &inner)? else {
        return Ok(());
    };
    end(command.spawn()?)?;
    let made = fs::read_dir(temporary.path())?.flatten().next();
    assert!(made.is_some_and(|cache| cache.path().join("..").exists()));
    Ok(())
}

#[test]
fn a_lock_that_is_only_left_over_locks_nobody_out() -> Result {
    let family = Family::new()?;
    end(family.command("SIGKILL")?.spawn()?)?;
    let locks = files(family.folder.path(), ".lock")?;
    assert!(!locks.is_empty());
    end(family.command("SIGKILL")?.spawn()?)
}

#[test]
fn a_lock_that_somebody_holds_for_ever_is_given_up_at_the_limit_by_name() -> Result {
    let family = Family::new()?;
    end(family.command("SIGKILL")?.spawn()?)?;
    let locks = files(family.folder.path(), ".lock")?;
    let path = locks.iter().find(|path| path.contains("/shared-"));
    let path = path.ok_or("no lock")?;
    let held = File::options().write(true).open(path)?;
    held.lock()?;
    let begun = Instant::now();
    let said = error(family.command("SIGKILL")?.env("BMDB_TESTKIT_TIMEOUT", "1"))?;
    assert!(begun.elapsed() < Duration::from_secs(10));
    for expected in [
        "waited 1 s for another process to boot the server",
        path,
        "BMDB_TESTKIT_TIMEOUT",
    ] {
        assert!(said.contains(expected), "{expected} in {said}");
    }
    Ok(())
}

#[test]
fn a_seed_that_lost_a_part_is_made_anew() -> Result {
    let family = Family::new()?;
    // A seed of this family's own, since it is to be damaged.
    for seed in files(family.folder.path(), "")? {
        fs::remove_file(seed)?;
    }
    end(family.command("SIGKILL")?.spawn()?)?;
    for seed in files(family.folder.path(), "")? {
        let seed = Path::new(&seed);
        if seed.join("PG_VERSION").exists() {
            fs::remove_file(seed.join("global/pg_control"))?;
        }
    }
    end(family.command("SIGKILL")?.spawn()?)
}

#[test]
fn what_a_killed_maker_of_a_seed_left_is_in_nobodys_way() -> Result {
    let family = Family::new()?;
    for seed in files(family.folder.path(), "")? {
        fs::remove_file(&seed)?;
        // A folder of the right name that is not whole.
        fs::create_dir(&seed)?;
    }
    let old = family.folder.path().join("unfinished-0123");
    fs::create_dir_all(old.join("base"))?;
    touch(&old, SystemTime::UNIX_EPOCH)?;
    end(family.command("SIGKILL")?.spawn()?)?;
    assert!(!old.exists());
    Ok(())
}

#[test]
fn a_word_of_a_server_that_never_was_is_not_believed() -> Result {
    let family = Family::new()?;
    end(family.command("SIGKILL")?.spawn()?)?;
    let words = files(family.folder.path(), "")?;
    let word = words.iter().find(|name| name.contains("/shared-"));
    let word = word.ok_or("no word")?;
    for text in ["", "/no/such/folder", "/etc", "\0"] {
        fs::write(word, text)?;
        end(family.command("SIGKILL")?.spawn()?)?;
    }
    Ok(())
}

#[test]
fn a_clock_that_was_set_back_or_forth_changes_nothing() -> Result {
    let family = Family::new()?;
    let (mut living, server) = family.child("SIGKILL")?;
    let far = SystemTime::UNIX_EPOCH + Duration::from_secs(200 * 365 * 24 * 3600);
    for time in [SystemTime::UNIX_EPOCH, far] {
        for file in files(family.folder.path(), "")? {
            touch(Path::new(&file), time)?;
        }
        touch(Path::new(&server.folder), time)?;
        let (mut child, joined) = family.child("exit")?;
        child.wait()?;
        assert_eq!(server, joined);
    }
    // Another process's monotonic clock may be far from ours, as in a container.
    let inner = family.command("exit")?;
    let options = [
        "--time",
        "--fork",
        "--monotonic",
        "1000000",
        "--boottime",
        "1000000",
    ];
    if let Some(mut command) = namespace::command(&options, ":", &inner)? {
        let mut child = command.spawn()?;
        assert_eq!(hear(&mut child)?, server);
        child.wait()?;
    }
    living.kill()?;
    living.wait()?;
    within(Duration::from_secs(4), "the server is gone", || {
        server.is_gone()
    })
}

#[test]
fn two_checkouts_with_different_migrations_share_a_server_and_no_template() -> Result {
    let family = Family::new()?;
    let mut checkouts = Vec::new();
    for name in ["red", "blue"] {
        let mut command = family.command("SIGKILL")?;
        checkouts.push(command.env("BMDB_TESTKIT_CHILD_ADDS", name).spawn()?);
    }
    let mut servers = Vec::new();
    for child in &mut checkouts {
        let tables = child::hear(child, "tables")?;
        servers.push((tables, hear(child)?));
    }
    assert_eq!(servers[0].1, servers[1].1);
    assert_eq!((&*servers[0].0, &*servers[1].0), ("red", "blue"));
    for mut child in checkouts {
        child.kill()?;
        child.wait()?;
    }
    within(Duration::from_secs(4), "the server is gone", || {
        servers[0].1.is_gone()
    })
}

#[test]
fn an_account_without_rights_has_a_server_of_its_own() -> Result {
    let Some(nobody) = account("nobody")? else {
        // Then this whole suite runs as such an account.
        return Ok(());
    };
    let folder = Folder::new()?;
    let binary = folder.path().join("tests");
    fs::copy(std::env::current_exe()?, &binary)?;
    let cache = folder.path().join("cache");
    fs::create_dir(&cache)?;
    std::os::unix::fs::chown(&cache, Some(nobody), None)?;
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", "nobody", "--clear-groups"])
        .arg(&binary)
        .args(["--exact", CHILD, "--nocapture"])
        .env_clear()
        .env("BMDB_TESTKIT_CACHE", &cache)
        .env(child::VARIABLE, "exit")
        // No home that it could enter, no sudo, nothing but the system's own programs.
        .env("HOME", "/root")
        .env("PATH", "/usr/bin:/bin")
        .current_dir("/");
    if let Some(bin) = std::env::var_os("BMDB_PG_BIN") {
        command.env("BMDB_PG_BIN", bin);
    }
    let mut child = command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()?;
    let server = match hear(&mut child) {
        Ok(server) => server,
        Err(error) => {
            let mut said = String::new();
            if let Some(stderr) = &mut child.stderr {
                stderr.read_to_string(&mut said)?;
            }
            return Err(format!("{error}: {said}").into());
        }
    };
    child.wait()?;
    within(Duration::from_secs(4), "the server is gone", || {
        server.is_gone()
    })
}

/// The number of this account, where this process may become it.
fn account(name: &str) -> Result<Option<u32>> {
    let id = |arguments: &[&str]| -> Result<u32> {
        let output = Command::new("id").args(arguments).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
    };
    Ok(if id(&["-u"])? == 0 {
        Some(id(&["-u", name])?)
    } else {
        None
    })
}

fn files(folder: &Path, end: &str) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path().to_string_lossy().into_owned();
        if path.ends_with(end) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn touch(path: &Path, time: SystemTime) -> Result {
    let times = FileTimes::new().set_modified(time).set_accessed(time);
    Ok(File::open(path)?.set_times(times)?)
}
