//! Copies a data directory with several threads. It has a thousand small files whose cost is opening
//! and creating them, so threads help, and even one thread is faster than `cp`.

use crate::TestkitError;
use crate::blocking::on_own_thread;
use crate::os_user::OsUser;
use std::ffi::OsStr;
use std::fmt::Display;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

const STEP: &str = "copying the server's data directory";

/// More do not help: they contend in the kernel.
const MAX_THREADS: usize = 4;

/// Copies everything whose name `is_wanted` into an existing folder, as the user that owns both. Only
/// that user can access the copy, as PostgreSQL demands.
pub(crate) fn tree(
    from: &Path,
    to: &Path,
    user: &OsUser,
    is_wanted: fn(&OsStr) -> bool,
) -> Result<(), TestkitError> {
    // That thread accesses files as the user until it ends, as do the threads that it starts.
    on_own_thread(STEP, || {
        if !user.become_in_this_thread() {
            return by_cp(from, to, user);
        }
        let mut files = Vec::new();
        folders(from, to, is_wanted, &mut files)
            .and_then(|()| in_parallel(&files))
            .map_err(failed)
    })
}

/// For kernels that have no user per thread. This copies unwanted files as well.
fn by_cp(from: &Path, to: &Path, user: &OsUser) -> Result<(), TestkitError> {
    let mut cp = user.command(Path::new("cp"));
    cp.arg("-R").arg(from.join(".")).arg(to);
    user.run(STEP, cp).map_err(|error| match error {
        TestkitError::Boot { reason, .. } => failed(reason),
        error => error,
    })
}

fn failed(reason: impl Display) -> TestkitError {
    TestkitError::boot(
        STEP,
        format!("{reason}; set BMDB_TESTKIT_DATA to another folder for it"),
    )
}

/// Creates the folders and links, and collects the files.
fn folders(
    from: &Path,
    to: &Path,
    is_wanted: fn(&OsStr) -> bool,
    files: &mut Vec<(PathBuf, PathBuf)>,
) -> io::Result<()> {
    for entry in fs::read_dir(from).map_err(at(from))? {
        let entry = entry.map_err(at(from))?;
        let name = entry.file_name();
        if !is_wanted(&name) {
            continue;
        }
        let (from, to) = (entry.path(), to.join(name));
        let kind = entry.file_type().map_err(at(&from))?;
        if kind.is_dir() {
            let made = DirBuilder::new().mode(0o700).create(&to);
            made.map_err(at(&to))?;
            folders(&from, &to, is_wanted, files)?;
        } else if kind.is_symlink() {
            let target = fs::read_link(&from).map_err(at(&from))?;
            symlink(target, &to).map_err(at(&to))?;
        } else {
            files.push((from, to));
        }
    }
    Ok(())
}

fn in_parallel(files: &[(PathBuf, PathBuf)]) -> io::Result<()> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut buffer = vec![0; 1 << 17];
        while let Some((from, to)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = file(from, to, &mut buffer) {
                // Stops the other threads.
                next.store(files.len(), Ordering::Relaxed);
                return Err(error);
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let more = (1..threads.min(MAX_THREADS))
            // If no more threads can be started, the others do the work.
            .filter_map(|_| thread::Builder::new().spawn_scoped(scope, work).ok())
            .collect::<Vec<_>>();
        let mut done = work();
        for thread in more {
            done = done.and(thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        done
    })
}

fn file(from: &Path, to: &Path, buffer: &mut [u8]) -> io::Result<()> {
    let mut source = File::open(from).map_err(at(from))?;
    let target = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to);
    let mut target = target.map_err(at(to))?;
    loop {
        match source.read(buffer).map_err(at(from))? {
            0 => return Ok(()),
            read => target.write_all(&buffer[..read]).map_err(at(to))?,
        }
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::tree;
    use crate::os_user::OsUser;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    #[test]
    fn a_copy_has_the_files_folders_and_links_and_only_the_user_can_access_it() {
        let user = OsUser::for_server().unwrap();
        let id = uuid::Uuid::new_v4().simple().to_string();
        let place = std::env::temp_dir().join(format!("bmdb-copy-{id}"));
        // The server's user cannot enter a folder that only root can.
        user.create_dir(&place).unwrap();
        let (from, to) = (place.join("from"), place.join("to"));
        user.create_dir(&from).unwrap();
        user.create_dir(&to).unwrap();
        let made = |name: &str| {
            user.create_dir(&from.join(name)).unwrap();
            from.join(name)
        };
        let folder = made("folder");
        made("empty");
        let large: Vec<u8> = (0..300_000_u32).flat_map(u32::to_ne_bytes).collect();
        for (name, bytes) in [("large", &large[..]), ("none", b""), ("left_out", b"x")] {
            fs::write(folder.join(name), bytes).unwrap();
            user.give(&folder.join(name)).unwrap();
        }
        symlink("folder/large", from.join("link")).unwrap();

        tree(&from, &to, &user, |name| name != "left_out").unwrap();

        assert_eq!(fs::read(to.join("folder/large")).unwrap(), large);
        assert_eq!(fs::read(to.join("folder/none")).unwrap(), b"");
        assert_eq!(
            fs::read_link(to.join("link")).unwrap().to_str(),
            Some("folder/large")
        );
        assert!(!to.join("folder/left_out").exists());
        for (name, mode) in [("folder", 0o700), ("empty", 0o700), ("folder/large", 0o600)] {
            let data = fs::metadata(to.join(name)).unwrap();
            assert_eq!(
                (data.uid(), data.mode() & 0o777),
                (user.uid, mode),
                "{name}"
            );
        }
        // The user of this thread has not changed.
        let own = fs::metadata({
            fs::write(place.join("own"), "").unwrap();
            place.join("own")
        });
        assert_eq!(own.unwrap().uid(), OsUser::own().uid);
        fs::remove_dir_all(&place).unwrap();
    }

    #[test]
    fn the_error_names_the_file_and_the_variable() {
        let user = OsUser::for_server().unwrap();
        let missing = std::env::temp_dir().join("bmdb-no-such-folder");
        let error = tree(&missing, &missing, &user, |_| true).unwrap_err();
        for expected in ["bmdb-no-such-folder", "BMDB_TESTKIT_DATA"] {
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
