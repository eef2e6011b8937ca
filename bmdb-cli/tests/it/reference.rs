//! The reference of commands in `docs/cli/README.md` is what the program says.

use crate::bmdb::nowhere;
use std::fmt::Write;
use std::path::Path;

const HEAD: &str = "\
# Reference of `bmdb`

What `bmdb help COMMAND` says, for all commands; written by a test
(`BMDB_UPDATE_DOCS=1 cargo nextest run -p bmdb-cli -E 'test(reference)'`). What `--json` prints is told
in [json.md](json.md). Options that every command has are told once, at the top.

What is done by hand leaves a trace, with who (`--as`) and why (`--reason`), in the transaction that does it:
`bmdb history` lists the traces. `migrate up`, `down` and `grants` are for the owner of the database and leave
none there: the table of migrations records what was applied (`bmdb migrate status`).
";

/// The help of a command, as people see it in a terminal of 100 columns.
fn help(path: &[String]) -> String {
    let ran = nowhere()
        .env("COLUMNS", "100")
        .args(path)
        .args(["--help"])
        .run();
    ran.stdout
}

/// The commands below, by the list in the help.
fn below(help: &str) -> Vec<String> {
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let list = list.take_while(|line| !line.is_empty());
    let names = list
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next());
    names
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// Without the options that every command has.
fn of_its_own(help: &str) -> String {
    let Some((before, rest)) = help.split_once("\nGlobal options:\n") else {
        return help.to_owned();
    };
    // What follows the options begins at the margin.
    let after = rest
        .split_inclusive('\n')
        .skip_while(|line| line.starts_with(' ') || line.trim().is_empty());
    let after: String = after.collect();
    match after.is_empty() {
        true => before.to_owned(),
        false => format!("{before}\n{after}"),
    }
}

fn write_page(page: &mut String, path: &mut Vec<String>) {
    let text = help(path);
    let own = if path.is_empty() {
        text.clone()
    } else {
        of_its_own(&text)
    };
    let own = own
        .lines()
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .join("\n");
    let title = ["bmdb"]
        .into_iter()
        .chain(path.iter().map(String::as_str))
        .collect::<Vec<_>>()
        .join(" ");
    write!(page, "\n## {title}\n\n```text\n{}\n```\n", own.trim_end()).unwrap();
    for name in below(&text) {
        path.push(name);
        write_page(page, path);
        path.pop();
    }
}

#[test]
fn the_reference_is_what_the_program_says() {
    let mut page = HEAD.to_owned();
    write_page(&mut page, &mut Vec::new());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli/README.md");
    if std::env::var_os("BMDB_UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &page).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        written == page,
        "docs/cli/README.md is not what `bmdb --help` says: \
         BMDB_UPDATE_DOCS=1 cargo nextest run -p bmdb-cli -E 'test(reference)'"
    );
}

#[test]
fn every_command_says_what_it_does_in_one_line() {
    fn check(path: &mut Vec<String>) {
        let text = help(path);
        let first = text.lines().next().unwrap();
        assert!((10..=80).contains(&first.len()), "{path:?}: {first}");
        for name in below(&text) {
            path.push(name);
            check(path);
            path.pop();
        }
    }
    check(&mut Vec::new());
}
