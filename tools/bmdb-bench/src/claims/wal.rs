//! Write-ahead log: what was written into each table and index, as `pg_waldump` prints it.

use super::baseline::program;
use bmdb_shell::Failure;
use bmdb_testkit::{Installation, Server, TestDb};
use std::collections::{BTreeMap, BTreeSet};
use tokio::process::Command;

/// Names of relations by the number of their file.
const RELATIONS: &str = "SELECT pg_relation_filenode(oid), relname FROM pg_class
    WHERE pg_relation_filenode(oid) IS NOT NULL";

pub(super) const COLUMNS: [&str; 6] = [
    "index entries",
    "rows written",
    "of them HOT",
    "WAL records",
    "WAL, B",
    "pages written to",
];

/// What was written into a relation.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Written {
    pub(super) entries: f64,
    rows: f64,
    hot: f64,
    records: f64,
    /// Of the records whose first page is the relation's.
    pub(super) bytes: f64,
    /// Each page once per transaction.
    pub(super) pages: f64,
}

impl Written {
    /// In the order of [`COLUMNS`], divided by a number of machines.
    pub(super) fn each(self, machines: f64) -> Vec<f64> {
        [
            self.entries,
            self.rows,
            self.hot,
            self.records,
            self.bytes,
            self.pages,
        ]
        .map(|value| value / machines)
        .into()
    }
}

/// What was written, by relation.
#[derive(Debug, Default)]
pub(super) struct Wal {
    pub(super) relations: BTreeMap<String, Written>,
}

impl Wal {
    pub(super) fn total(&self) -> Written {
        let mut total = Written::default();
        for written in self.relations.values() {
            total.entries += written.entries;
            total.rows += written.rows;
            total.hot += written.hot;
            total.records += written.records;
            total.bytes += written.bytes;
            total.pages += written.pages;
        }
        total
    }
}

/// The end of the log.
pub(super) async fn position(db: &TestDb) -> Result<String, Failure> {
    let position = db.rows("SELECT pg_current_wal_insert_lsn()").await;
    let position = position.map_err(Failure::check)?.pop();
    position.ok_or_else(|| Failure::check("the server did not print its log's position"))
}

/// Reads the log between two positions; the inner error says why that cannot be done.
pub(super) async fn between(
    installation: &Installation,
    server: &Server,
    db: &TestDb,
    from: &str,
    to: &str,
) -> Result<Result<Wal, String>, Failure> {
    let Some(program) = program(installation, "pg_waldump") else {
        return Ok(Err(
            "the server's programs do not include pg_waldump".to_owned()
        ));
    };
    // What was inserted is in the file once it is flushed.
    db.run_sql("CHECKPOINT").await.map_err(Failure::check)?;
    let rows = db.rows(RELATIONS).await.map_err(Failure::check)?;
    let names = rows.iter().filter_map(|row| row.split_once('|'));
    let names: BTreeMap<&str, &str> = names.collect();
    let not_ours = || Failure::check("this process did not boot the server");
    let folder = server.folder().ok_or_else(not_ours)?.join("data/pg_wal");
    let output = Command::new(program)
        .arg("--path")
        .arg(folder)
        .args(["--start", from, "--end", to])
        .output()
        .await
        .map_err(Failure::check)?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Ok(Err(format!("pg_waldump: {}: {why}", output.status)));
    }
    Ok(Ok(read(&String::from_utf8_lossy(&output.stdout), &names)))
}

fn read(dump: &str, names: &BTreeMap<&str, &str>) -> Wal {
    let mut wal = Wal::default();
    let mut pages = BTreeSet::new();
    for record in dump.lines().filter_map(Record::parse) {
        let name = |file: &str| names.get(file).map_or(file, |name| *name).to_owned();
        for (file, block) in &record.blocks {
            if pages.insert((
                record.transaction.to_owned(),
                file.to_string(),
                block.to_string(),
            )) {
                wal.relations.entry(name(file)).or_default().pages += 1.0;
            }
        }
        let first = record.blocks.first().map(|(file, _)| name(file));
        let of = first.unwrap_or_else(|| format!("({})", record.manager.to_lowercase()));
        let written = wal.relations.entry(of).or_default();
        written.records += 1.0;
        written.bytes += record.bytes;
        match (record.manager, record.kind) {
            ("Btree", "INSERT_LEAF" | "INSERT_POST" | "SPLIT_L" | "SPLIT_R") => {
                written.entries += 1.0;
            }
            ("Heap", kind) if kind.starts_with("HOT_UPDATE") => {
                written.rows += 1.0;
                written.hot += 1.0;
            }
            ("Heap", kind) if kind.starts_with("INSERT") || kind.starts_with("UPDATE") => {
                written.rows += 1.0;
            }
            ("Heap2", kind) if kind.starts_with("MULTI_INSERT") => written.rows += 1.0,
            _ => {}
        }
    }
    wal
}

/// A line of the dump.
struct Record<'d> {
    manager: &'d str,
    kind: &'d str,
    transaction: &'d str,
    bytes: f64,
    /// The file and the block of each page.
    blocks: Vec<(&'d str, &'d str)>,
}

impl<'d> Record<'d> {
    fn parse(line: &'d str) -> Option<Self> {
        let (manager, rest) = line.strip_prefix("rmgr: ")?.split_once(' ')?;
        let (_, lengths) = rest.split_once("len (rec/tot):")?;
        let (lengths, rest) = lengths.split_once(',')?;
        let bytes = lengths.split_once('/')?.1.trim().parse().ok()?;
        let (_, rest) = rest.split_once("tx:")?;
        let (transaction, rest) = rest.split_once(',')?;
        let (_, described) = rest.split_once("desc: ")?;
        let kind = described.split([' ', ',']).next()?;
        let blocks = described.split("blkref #").skip(1).filter_map(|block| {
            // A fork other than the main one is not a page of rows or entries.
            let block = block.split_once("rel ")?.1;
            let mut words = block.split([' ', ',']);
            let file = words.next()?.rsplit('/').next()?;
            (words.next() == Some("blk")).then_some(())?;
            Some((file, words.next()?))
        });
        Some(Self {
            manager,
            kind,
            transaction: transaction.trim(),
            bytes,
            blocks: blocks.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Written, read};

    #[test]
    fn records_are_counted_by_relation() {
        let dump = "\
rmgr: Heap        len (rec/tot):     54/    54, tx:        741, lsn: 0/014A0, prev 0/01468, desc: LOCK off 1: xid 741, blkref #0: rel 1663/5/16390 blk 0
rmgr: Heap        len (rec/tot):    100/  8200, tx:        741, lsn: 0/014D8, prev 0/014A0, desc: UPDATE off 1 xmax 741 flags 0x60 ; new off 2 xmax 0, blkref #0: rel 1663/5/16390 blk 7 FPW, blkref #1: rel 1663/5/16390 blk 0
rmgr: Btree       len (rec/tot):     64/    64, tx:        741, lsn: 0/01548, prev 0/014D8, desc: INSERT_LEAF off 2, blkref #0: rel 1663/5/16400 blk 1
rmgr: Transaction len (rec/tot):     34/    34, tx:        741, lsn: 0/01588, prev 0/01548, desc: COMMIT 2026-11-30 12:00:00.000000 UTC
";
        let names = [("16390", "work_item"), ("16400", "work_item_pkey")];
        let wal = read(dump, &names.into());
        let item = Written {
            rows: 1.0,
            records: 2.0,
            bytes: 8254.0,
            pages: 2.0,
            ..Written::default()
        };
        let key = Written {
            entries: 1.0,
            records: 1.0,
            bytes: 64.0,
            pages: 1.0,
            ..Written::default()
        };
        assert_eq!(wal.relations.get("work_item"), Some(&item));
        assert_eq!(wal.relations.get("work_item_pkey"), Some(&key));
        assert_eq!(wal.total().records, 4.0);
        assert!(wal.relations.contains_key("(transaction)"));
    }
}
