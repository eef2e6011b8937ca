//! The unix socket of a server, in its folder.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// PostgreSQL's default port. It is part of a unix socket's file name as well.
pub(crate) const PORT: u16 = 5432;

/// The path of the socket of the server with this folder and port.
pub(crate) fn path(folder: &Path, port: u16) -> PathBuf {
    folder.join(format!(".s.PGSQL.{port}"))
}

/// Whether a server listens on the socket in this folder.
pub(crate) fn listens(folder: &Path) -> bool {
    connect(folder).is_ok()
}

pub(crate) fn connect(folder: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(path(folder, PORT))
}
