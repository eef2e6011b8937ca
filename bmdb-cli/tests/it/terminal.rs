//! Odd terminals: without a width, dumb, closed, full, or in the locale C.

use crate::bmdb::{bmdb, due_machine, nowhere, signal};
use bmdb_testkit::TestDb;
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::Signal;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

/// A terminal with this many columns.
fn terminal(columns: u16) -> OpenptyResult {
    let size = Winsize {
        ws_row: 24,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    openpty(Some(&size), None).unwrap()
}

/// A program whose standard output and standard error are a terminal.
struct OnTerminal {
    child: Child,
    master: File,
}

impl OnTerminal {
    fn start(columns: u16, mut command: Command) -> Self {
        let pty = terminal(columns);
        let slave = File::from(pty.slave);
        command
            .stdin(Stdio::null())
            .stdout(slave.try_clone().unwrap())
            .stderr(slave);
        let child = command.spawn().unwrap();
        // It keeps the terminal open as long as it exists.
        drop(command);
        Self {
            child,
            master: pty.master.into(),
        }
    }

    /// What the terminal gets until the program ends. Its line breaks are `\r\n`.
    fn text(mut self) -> String {
        let mut bytes = Vec::new();
        // Reading fails once the program has closed the terminal.
        let _ = self.master.read_to_end(&mut bytes);
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        String::from_utf8(bytes).unwrap().replace("\r\n", "\n")
    }
}

async fn fleet() -> TestDb {
    let db = TestDb::new().await.unwrap();
    due_machine(&db, "rack-a-07").await;
    due_machine(&db, "日本語のラック-cafe\u{301}").await;
    db
}

const LIST: [&str; 2] = ["machine", "list"];

/// A serial console has 0 columns. The table was laid out for them, and nothing of it was left.
#[tokio::test]
async fn a_list_is_readable_on_a_terminal_of_any_width() {
    let db = fleet().await;
    for (columns, variable) in [
        (0, None),
        (0, Some("0")),
        (80, Some("0")),
        (80, Some("many")),
        (1, None),
        (10_000, None),
        (80, Some("99999")),
        (80, Some("65535")),
    ] {
        let mut command = bmdb(&db).args(LIST).env("TERM", "xterm").command();
        if let Some(variable) = variable {
            command.env("COLUMNS", variable);
        }
        let text = OnTerminal::start(columns, command).text();
        assert!(text.lines().count() >= 3, "{columns} {variable:?}: {text}");
        if columns != 1 {
            assert!(text.contains("rack-a-07"), "{columns} {variable:?}: {text}");
        }
    }
}

#[tokio::test]
async fn wide_and_combining_characters_do_not_shift_columns() {
    let db = fleet().await;
    let table = bmdb(&db).args(LIST).run().stdout;
    assert!(table.contains("日本語のラック-cafe\u{301}"), "{table}");
    for columns in [40, 60, 80] {
        let command = bmdb(&db).args(LIST).env("TERM", "dumb").command();
        let text = OnTerminal::start(columns, command).text();
        for line in text.lines().filter(|line| line.contains('日')) {
            // Each of these takes two columns.
            let wide = line
                .chars()
                .filter(|c| ('\u{3000}'..'\u{a000}').contains(c));
            let width = line.chars().filter(|c| *c != '\u{301}').count() + wide.count();
            assert!(width <= usize::from(columns), "{columns}: {line}");
        }
    }
}

/// Without a TERM, or with `dumb`, the screen was cleared by characters that such a terminal prints.
#[tokio::test]
async fn a_dumb_terminal_gets_plain_lines() {
    let db = fleet().await;
    for kind in [None, Some(""), Some("dumb")] {
        let with_terminal = |args: &[&str]| {
            let mut command = bmdb(&db).args(args).command();
            match kind {
                Some(kind) => command.env("TERM", kind),
                None => command.env_remove("TERM"),
            };
            command
        };
        let text = OnTerminal::start(80, with_terminal(&LIST)).text();
        assert!(!text.contains('\u{1b}'), "{kind:?}: {text:?}");
        let forced = {
            let mut command = with_terminal(&LIST);
            command.env("CLICOLOR_FORCE", "1");
            OnTerminal::start(80, command).text()
        };
        assert!(forced.contains('\u{1b}'), "{kind:?}");
        let mut watch = OnTerminal::start(80, with_terminal(&["stats", "--watch=1"]));
        let mut lines = BufReader::new(watch.master.try_clone().unwrap()).lines();
        // The second answer begins with the same line, behind a blank one.
        let mut text = String::new();
        while text.matches("machines ").count() < 2 {
            text += &format!("{}\n", lines.next().unwrap().unwrap().trim_end());
        }
        signal(&watch.child, Signal::SIGINT);
        assert!(watch.child.wait().unwrap().success());
        assert!(
            !text.contains('\u{1b}') && text.contains("\n\nmachines"),
            "{text:?}"
        );
    }
}

#[tokio::test]
async fn a_terminal_that_is_resized_gets_the_next_answer_in_its_new_width() {
    let db = fleet().await;
    let command = bmdb(&db)
        .args(["stats", "--watch=1"])
        .env("TERM", "xterm")
        .command();
    let mut watch = OnTerminal::start(200, command);
    let mut lines = BufReader::new(watch.master.try_clone().unwrap()).lines();
    let mut until = |what: &str| loop {
        let line = lines.next().unwrap().unwrap();
        if line.contains(what) {
            return;
        }
    };
    until("ELIGIBLE");
    let resized = Command::new("stty")
        .args(["cols", "30"])
        .stdin(watch.master.try_clone().unwrap())
        .status();
    assert!(resized.unwrap().success(), "stty resizes the terminal");
    until("hidden");
    signal(&watch.child, Signal::SIGINT);
    assert!(watch.child.wait().unwrap().success());
}

/// A terminal in the locale C showed `â€¦` for an ellipsis, and some terminals obey a byte of it.
#[tokio::test]
async fn the_locale_c_gets_only_ascii() {
    let db = fleet().await;
    for (name, value) in [("LC_ALL", "C"), ("LC_CTYPE", "POSIX"), ("LANG", "de_DE")] {
        for args in [
            &["machine", "list"][..],
            &["machine", "list", "--json"],
            &["machine", "show", "Equinix/日本語のラック-cafe\u{301}"],
            &["--help"],
            &["machine", "import", "--help"],
        ] {
            let mut command = bmdb(&db).args(args).env("TERM", "xterm").command();
            let text = OnTerminal::start(60, {
                command.env(name, value);
                command
            });
            let text = text.text();
            assert!(text.is_ascii(), "{name} {args:?}: {text}");
        }
        let error = nowhere()
            .args(["machine", "show", "Equinix/é"])
            .env(name, value);
        assert!(error.output().stderr.is_ascii());
    }
    let list = bmdb(&db).args(["machine", "list", "--json"]);
    let json = list.env("LC_ALL", "C").run();
    assert!(json.stdout.is_ascii() && json.json().to_string().contains("日本語のラック"));
    let utf8 = bmdb(&db).args(LIST).env("LC_ALL", "C.UTF-8").run();
    assert!(utf8.stdout.contains("日本語"));
}

fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}

/// A full disk lost the answer, and the exit code said success.
#[tokio::test]
async fn an_answer_that_cannot_be_written_is_an_error() {
    let db = fleet().await;
    for args in [
        &["machine", "list"][..],
        &["machine", "list", "--json"],
        &["--help"],
        &["run", "--help"],
        &["--version"],
        &["completions", "bash"],
        &["man"],
    ] {
        let mut command = bmdb(&db).args(args).command();
        let ran = command.stdout(full()).stderr(Stdio::piped()).output();
        let ran = ran.unwrap();
        let stderr = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(1), "{args:?}: {stderr}");
        assert!(
            stderr.contains("cannot write to standard output"),
            "{args:?}: {stderr}"
        );
    }
    let run = [
        "run",
        "--process",
        "ShepherdAgentStart",
        "--exec",
        "true",
        "--once",
    ];
    let mut command = bmdb(&db).args(run).command();
    let ran = command
        .stdout(full())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
}

#[tokio::test]
async fn closed_and_full_standard_error_and_closed_pipes_are_no_reason_to_panic() {
    let db = fleet().await;
    let script = r#"
        set -e
        "$BMDB" machine list 2>&- >/dev/null
        "$BMDB" machine list >&- 2>/dev/null
        "$BMDB" machine list <&- >/dev/null
        "$BMDB" -vvv machine list 2>/dev/full >/dev/null
        "$BMDB" --help 2>&- | head -1 >/dev/null
        "$BMDB" machine lost 2>/dev/full || test $? = 2
        "$BMDB" machine show ffff 2>&- || test $? = 3
        "$BMDB" completions bash | head -c 1 >/dev/null
    "#;
    let mut command = Command::new("sh");
    let program = bmdb(&db).command();
    command.arg("-c").arg(script);
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let ran = command.env("BMDB", program.get_program()).output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    assert!(
        !String::from_utf8_lossy(&ran.stderr).contains("panic"),
        "{ran:?}"
    );
}
