//! The unix socket of a server, in its folder.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// PostgreSQL's port where none is named. A socket has a port too: it is part of its name.
pub(crate) const PORT: u16 = 5432;

/// Where clients look for the socket of the server with this folder and port.
pub(crate) fn path(folder: &Path, port: u16) -> PathBuf {
    folder.join(format!(".s.PGSQL.{port}"))
}

/// Whether a server listens on the socket in its folder.
pub(crate) fn listens(folder: &Path) -> bool {
    connect(folder).is_ok()
}

/// Opens a stream to the socket in a server's folder.
pub(crate) fn connect(folder: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(path(folder, PORT))
}
