//! CPU time of a server's processes.

use bmdb_testkit::Server;
use std::fs;

/// The kernel's unit of CPU time on every architecture that PostgreSQL supports.
const TICKS_PER_SECOND: f64 = 100.0;

/// The CPU time of the main process, its present children, and its former children.
pub(crate) fn seconds(server: &Server) -> Result<f64, String> {
    if !cfg!(target_os = "linux") {
        return Err("only Linux tells it".to_owned());
    }
    let folder = server
        .folder()
        .ok_or("this process did not boot the server")?;
    let main = fs::read_to_string(folder.join("data/postmaster.pid"))
        .ok()
        .and_then(|text| text.lines().next()?.trim().parse::<u64>().ok())
        .ok_or("cannot read the server's process id")?;
    for _ in 0..100 {
        let before = of_process(main).ok_or("its process is gone")?;
        let ticks = of_children(main)?;
        let after = of_process(main).ok_or("its process is gone")?;
        // A process that ended in between may be missing from both.
        if before.ticks_of_ended == after.ticks_of_ended {
            return Ok((ticks + after.ticks + after.ticks_of_ended) / TICKS_PER_SECOND);
        }
    }
    Err("the server's processes end too often to be counted".to_owned())
}

fn of_process(pid: u64) -> Option<Stat> {
    Stat::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn of_children(parent: u64) -> Result<f64, String> {
    let entries = fs::read_dir("/proc").map_err(|error| format!("/proc: {error}"))?;
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // A process may end while it is read.
    let stats = pids.filter_map(of_process);
    let children = stats.filter(|stat| stat.parent == parent);
    Ok(children.map(|stat| stat.ticks).sum())
}

/// The CPU time of ended child processes.
pub(crate) fn seconds_of_ended_children() -> Result<f64, String> {
    let stat = fs::read_to_string("/proc/self/stat").map_err(|_| "only Linux tells it")?;
    let stat = Stat::parse(&stat).ok_or("its times cannot be read")?;
    Ok(stat.ticks_of_ended / TICKS_PER_SECOND)
}

#[derive(Debug, PartialEq)]
struct Stat {
    parent: u64,
    ticks: f64,
    /// Of ended children.
    ticks_of_ended: f64,
}

impl Stat {
    fn parse(stat: &str) -> Option<Self> {
        // The name before may contain any character.
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
