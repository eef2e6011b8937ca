//! Faults around a server: either they have no effect, or the error says what to do.

use crate::family::{CHILD, Family, read_server, within};
use crate::folder::Folder;
use crate::{Result, child, namespace};
use bmdb_testkit::{OsUser, cache_dir};
use std::fs::{self, File, FileTimes};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant, SystemTime};

const MOUNT: &[&str] = &["--mount"];

/// Ends a child once it has a server, and waits for the server's end.
fn end(mut child: Child) -> Result {
    let server = read_server(&mut child)?;
    child.kill()?;
    child.wait()?;
    within(Duration::from_secs(4), "the server is gone", || {
        !server.runs()
    })
}

/// The error of a child that gets no server.
fn error(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{error}");
    Ok(error)
}

#[test]
fn a_server_is_on_disk_if_dev_shm_is_full() -> Result {
    let family = Family::new()?;
    let inner = family.command("SIGKILL")?;
    for dev_shm in [
        // Full from the start, even for the memory that PostgreSQL's processes share.
        "size=16k",
        // It looks empty, but is full after fifty files.
        "size=2g,nr_inodes=50",
    ] {
        let script = format!("mount -t tmpfs -o {dev_shm},mode=1777 tmpfs /dev/shm");
        let Some(mut command) = namespace::command(MOUNT, &script, &inner)? else {
            return Ok(());
        };
        let mut child = command.spawn()?;
        let server = read_server(&mut child)?;
        assert!(!server.folder.starts_with("/dev/shm"), "{server:?}");
        child.kill()?;
        child.wait()?;
        within(Duration::from_secs(4), "the server is gone", || {
            server.is_gone()
        })?;
    }
    Ok(())
}

/// The error of a child whose server has this much room; `None` if the room cannot be limited here.
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
fn the_error_about_a_full_volume_names_the_variable_for_another_folder() -> Result {
    let Some(error) = error_with_room("10m", "SIGKILL")? else {
        return Ok(());
    };
    for expected in ["No space left on device", "BMDB_TESTKIT_DATA"] {
        assert!(error.contains(expected), "{expected} in {error}");
    }
    Ok(())
}

#[test]
fn the_error_says_that_databases_have_used_up_the_room() -> Result {
    let Some(error) = error_with_room("80m", "many")? else {
        return Ok(());
    };
    for expected in [
        "no room left",
        "No space left on device",
        "BMDB_TESTKIT_DATA",
    ] {
        assert!(error.contains(expected), "{expected} in {error}");
    }
    Ok(())
}

#[test]
fn a_configured_cache_that_is_read_only_is_an_error_that_names_it() -> Result {
    let family = Family::new()?;
    let inner = family.command("SIGKILL")?;
    let cache = namespace::quoted(family.folder.path());
    let script = format!("mount --bind {cache} {cache} && mount -o remount,ro,bind {cache}");
    let Some(mut command) = namespace::command(MOUNT, &script, &inner)? else {
        return Ok(());
    };
    let error = error(&mut command)?;
    let path = family.folder.path().to_string_lossy();
    for expected in [&*path, "Read-only file system", "set BMDB_TESTKIT_CACHE"] {
        assert!(error.contains(expected), "{expected} in {error}");
    }
    Ok(())
}

#[test]
fn the_folder_for_temporary_files_replaces_a_default_cache_that_is_read_only() -> Result {
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
fn a_leftover_lock_file_blocks_no_process() -> Result {
    let family = Family::new()?;
    end(family.command("SIGKILL")?.spawn()?)?;
    let locks = files(family.folder.path(), ".lock")?;
    assert!(!locks.is_empty());
    end(family.command("SIGKILL")?.spawn()?)
}

#[test]
fn waiting_for_a_lock_times_out_and_the_error_names_it() -> Result {
    let family = Family::new()?;
    end(family.command("SIGKILL")?.spawn()?)?;
    let locks = files(family.folder.path(), ".lock")?;
    let path = locks.iter().find(|path| path.contains("/shared-"));
    let path = path.ok_or("no lock")?;
    let locked = File::options().write(true).open(path)?;
    locked.lock()?;
    let begun = Instant::now();
    let error = error(family.command("SIGKILL")?.env("BMDB_TESTKIT_TIMEOUT", "1"))?;
    assert!(begun.elapsed() < Duration::from_secs(10));
    for expected in [
        "waited 1 s for another process to boot the server",
        path,
        "BMDB_TESTKIT_TIMEOUT",
    ] {
        assert!(error.contains(expected), "{expected} in {error}");
    }
    Ok(())
}

#[test]
fn a_damaged_seed_is_made_again() -> Result {
    let family = Family::new()?;
    // A seed of this family's own, because the test damages it.
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
fn leftovers_of_a_process_killed_while_making_a_seed_do_no_harm() -> Result {
    let family = Family::new()?;
    for seed in files(family.folder.path(), "")? {
        fs::remove_file(&seed)?;
        // A folder with the right name that is incomplete.
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
fn an_address_file_that_names_no_server_is_ignored() -> Result {
    let family = Family::new()?;
    end(family.command("SIGKILL")?.spawn()?)?;
    let addresses = files(family.folder.path(), "")?;
    let address = addresses.iter().find(|name| name.contains("/shared-"));
    let address = address.ok_or("no address file")?;
    for text in ["", "/no/such/folder", "/etc", "\0"] {
        fs::write(address, text)?;
        end(family.command("SIGKILL")?.spawn()?)?;
    }
    Ok(())
}

#[test]
fn a_clock_that_was_set_back_or_forward_has_no_effect() -> Result {
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
    // As in a container, another process's monotonic clock may differ from this one's.
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
        assert_eq!(read_server(&mut child)?, server);
        child.wait()?;
    }
    living.kill()?;
    living.wait()?;
    within(Duration::from_secs(4), "the server is gone", || {
        server.is_gone()
    })
}

#[test]
fn two_checkouts_with_different_migrations_share_a_server_but_no_template() -> Result {
    let family = Family::new()?;
    let mut checkouts = Vec::new();
    for name in ["red", "blue"] {
        let mut command = family.command("SIGKILL")?;
        checkouts.push(command.env("BMDB_TESTKIT_CHILD_ADDS", name).spawn()?);
    }
    let mut servers = Vec::new();
    for child in &mut checkouts {
        let tables = child::read(child, "tables")?;
        servers.push((tables, read_server(child)?));
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
fn an_unprivileged_user_gets_a_server_of_its_own() -> Result {
    let Some(nobody) = user_id("nobody")? else {
        // This suite runs as an unprivileged user.
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
        // A home that it cannot enter, no sudo, only the system's own programs.
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
    let server = match read_server(&mut child) {
        Ok(server) => server,
        Err(error) => {
            let mut printed = String::new();
            if let Some(stderr) = &mut child.stderr {
                stderr.read_to_string(&mut printed)?;
            }
            return Err(format!("{error}: {printed}").into());
        }
    };
    child.wait()?;
    within(Duration::from_secs(4), "the server is gone", || {
        server.is_gone()
    })
}

/// The id of this user, if this process may become it.
fn user_id(name: &str) -> Result<Option<u32>> {
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
