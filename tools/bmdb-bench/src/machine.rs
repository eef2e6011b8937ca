//! Machine: describes what was measured on, without its name and paths.

use super::report::{Report, Row};
use bmdb_shell::{Done, Failure};
use bmdb_testkit::{Server, TestDb};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tokio_postgres::NoTls;

/// Server settings that influence the measurements most.
const SETTINGS: &str = "SELECT string_agg(name || '=' || current_setting(name), ', ' ORDER BY name)
    FROM unnest(ARRAY['fsync', 'synchronous_commit', 'wal_sync_method', 'full_page_writes',
                      'shared_buffers', 'max_wal_size', 'checkpoint_timeout', 'autovacuum']) name";

/// Adds a description of the machine to the report.
pub(crate) async fn describe(report: &mut Report, server: &Server, db: &TestDb) -> Done {
    let processor = field("/proc/cpuinfo", "model name");
    let memory = field("/proc/meminfo", "MemTotal").and_then(|text| gigabytes(&text));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
    let kernel = kernel.map(|release| format!("{} {}", std::env::consts::OS, release.trim()));
    let filesystem = server.folder().and_then(filesystem);
    let rust = Command::new("rustc").arg("--version").output().ok();
    let rust = rust.and_then(|output| String::from_utf8(output.stdout).ok());
    let rust = rust.map(|version| version.trim().to_owned());
    let settings = db.rows(SETTINGS).await.map_err(Failure::check)?.pop();
    for (what, is) in [
        ("processor", processor),
        ("memory", memory),
        ("kernel", kernel),
        ("file system of the data", filesystem),
        ("Rust", rust),
        ("server's settings", settings),
    ] {
        report.machine(what, is.unwrap_or_else(|| "unknown".to_owned()));
    }
    Ok(())
}

/// Measures durable single-row transactions per second, one after the other: the upper limit of one
/// client.
pub(crate) async fn measure_commits(report: &mut Report, db: &TestDb, rounds: u32) -> Done {
    let config: tokio_postgres::Config = db.url().parse().map_err(Failure::check)?;
    let (client, connection) = config.connect(NoTls).await.map_err(Failure::check)?;
    let connection = tokio::spawn(connection);
    let table = "CREATE TABLE one_row (n bigint); INSERT INTO one_row VALUES (0)";
    client.batch_execute(table).await.map_err(Failure::check)?;
    let update = client.prepare("UPDATE one_row SET n = n + 1").await;
    let update = update.map_err(Failure::check)?;
    let mut samples = Vec::new();
    for _ in 0..rounds {
        let (mut commits, began) = (0.0, Instant::now());
        while began.elapsed() < Duration::from_secs(1) {
            client.execute(&update, &[]).await.map_err(Failure::check)?;
            commits += 1.0;
        }
        samples.push(commits / began.elapsed().as_secs_f64());
    }
    report.row(Row::new(
        "commits of one row, one after the other",
        "/s",
        samples,
    ));
    client
        .batch_execute("DROP TABLE one_row")
        .await
        .map_err(Failure::check)?;
    drop(client);
    let ended = connection.await.map_err(Failure::check)?;
    ended.map_err(Failure::check)
}

/// The value of the first line of the form `name : value`.
fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Parses `24689480 kB`.
fn gigabytes(text: &str) -> Option<String> {
    let kilobytes: f64 = text.strip_suffix(" kB")?.parse().ok()?;
    Some(format!("{:.1} GiB", kilobytes / f64::from(1 << 20)))
}

fn filesystem(folder: &Path) -> Option<String> {
    kind_of(&fs::read_to_string("/proc/mounts").ok()?, folder)
}

/// The type of the file system that contains a folder. Of several mounts on one path, the last is
/// visible.
fn kind_of(mounts: &str, folder: &Path) -> Option<String> {
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((PathBuf::from(words.next()?), words.next()?))
    });
    let above = mounts.filter(|(place, _)| folder.starts_with(place));
    let nearest = above.max_by_key(|(place, _)| place.components().count());
    nearest.map(|(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{gigabytes, kind_of};
    use std::path::Path;

    #[test]
    fn the_nearest_file_system_counts() {
        let mounts = "overlay / overlay rw 0 0\n/dev/a /data ext4 rw 0 0\n\
                      tmpfs /data/fast tmpfs rw 0 0\n/dev/b /database xfs rw 0 0\n";
        for (folder, kind) in [
            ("/data/x", "ext4"),
            ("/data/fast/x", "tmpfs"),
            ("/var", "overlay"),
        ] {
            assert_eq!(kind_of(mounts, Path::new(folder)).as_deref(), Some(kind));
        }
    }

    #[test]
    fn memory_is_printed_in_gibibytes() {
        assert_eq!(gigabytes("24689480 kB").as_deref(), Some("23.5 GiB"));
        assert_eq!(gigabytes("24689480"), None);
    }
}
