//! How much CPU time a server's processes have taken.

use bmdb_testkit::Server;
use std::fs;

/// What the kernel counts CPU time in, on every architecture that PostgreSQL is built for.
const TICKS_PER_SECOND: f64 = 100.0;

/// Of the main process, of those that it has now, and of those that have ended.
pub(crate) fn seconds(server: &Server) -> Result<f64, String> {
    if !cfg!(target_os = "linux") {
        return Err("only Linux tells it".to_owned());
    }
    let folder = server.folder().ok_or("the server was not booted here")?;
    let main = fs::read_to_string(folder.join("data/postmaster.pid"))
        .ok()
        .and_then(|text| text.lines().next()?.trim().parse::<u64>().ok())
        .ok_or("its process id cannot be read")?;
    let stat = |pid: u64| Stat::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?);
    let own = stat(main).ok_or("its process is gone")?;
    let mut ticks = own.ticks + own.ticks_of_ended;
    let entries = fs::read_dir("/proc").map_err(|error| format!("/proc: {error}"))?;
    for entry in entries.flatten() {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        // A process may end while this looks.
        if let Some(stat) = pid.and_then(stat)
            && stat.parent == main
        {
            ticks += stat.ticks;
        }
    }
    Ok(ticks / TICKS_PER_SECOND)
}

/// Of the processes that this one has started and seen end.
pub(crate) fn seconds_of_ended_children() -> Result<f64, String> {
    let stat = fs::read_to_string("/proc/self/stat").map_err(|_| "only Linux tells it")?;
    let stat = Stat::parse(&stat).ok_or("its times cannot be read")?;
    Ok(stat.ticks_of_ended / TICKS_PER_SECOND)
}

#[derive(Debug, PartialEq)]
struct Stat {
    parent: u64,
    ticks: f64,
    /// Of children that have ended.
    ticks_of_ended: f64,
}

impl Stat {
    fn parse(stat: &str) -> Option<Self> {
        // The name before it may contain anything.
        let (_, fields) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            ticks: ticks(11)? + ticks(12)?,
            ticks_of_ended: ticks(13)? + ticks(14)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Stat;

    #[test]
    fn the_fields_are_counted_from_behind_the_name() {
        let stat = "17 (post) 9 (x)) S 4 17 17 0 -1 4194560 1 2 3 4 50 6 70 8 20 0 1 0 99";
        let expected = Stat {
            parent: 4,
            ticks: 56.0,
            ticks_of_ended: 78.0,
        };
        assert_eq!(Stat::parse(stat), Some(expected));
        assert_eq!(Stat::parse("17 (x) S 4"), None);
    }
}
