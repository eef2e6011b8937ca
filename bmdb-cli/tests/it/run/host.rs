//! A host that cannot run the command gives machines back and waits, instead of taking all of them in a loop.

use super::Fixture;
use crate::bmdb::{Bmdb, due_machine, until};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

/// No machine was harmed: none is claimed, backs off or rests.
const UNHARMED: &str = "SELECT count(*) FROM work_item
    WHERE process = 'ShepherdAgentStart' AND session_id IS NULL AND failures = 0
      AND eligible AND ready_at <= clock_timestamp()";

impl Fixture {
    /// A program in the fixture's folder.
    fn program(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        // Renamed, so that it is complete whenever it is there.
        let new = self.folder.join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::set_permissions(&new, PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::rename(&new, &path).unwrap();
        path
    }
}

/// One host without the command took machine after machine, and each of them backed off for it.
#[tokio::test]
async fn a_program_that_disappears_makes_the_loop_wait_until_it_is_back() {
    let s = Fixture::new().await;
    due_machine(&s.db, "b").await;
    let program = s.program("work", "#!/bin/sh\nrm \"$0\"\n");
    let exec = program.display().to_string();
    let running = s.start(&exec, &["--json", "--parallelism", "1"]);
    let canceled =
        "SELECT 1 FROM work_attempt WHERE outcome = 'Canceled' HAVING sum(repeats + 1) >= 3";
    until(&s.db, canceled).await;
    s.program("work", "#!/bin/sh\nexit 0\n");
    until(
        &s.db,
        "SELECT 1 FROM work_attempt WHERE outcome = 'Finished' HAVING count(*) = 2",
    )
    .await;
    running.signal(Signal::SIGTERM);
    let ran = running.ended();
    assert_eq!(ran.code, Some(0));
    let events: Vec<Value> = ran
        .stdout
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let of = |name: &str| {
        events
            .iter()
            .filter(|e| e["event"] == name)
            .collect::<Vec<_>>()
    };
    let (failed, waits) = (of("host_failed"), of("host_failing"));
    assert!((3..20).contains(&failed.len()), "{}", ran.stdout);
    assert_eq!(failed.len(), waits.len(), "one machine at a time");
    let cause = failed[0]["cause"].as_str().unwrap();
    assert!(
        cause.contains("No such file") && cause.contains("work"),
        "{cause}"
    );
    for (n, wait) in waits.iter().enumerate() {
        assert_eq!(wait["failures"], n + 1);
        assert!(
            wait["seconds"].as_f64().unwrap() <= 0.5 * f64::from(1 << n),
            "{wait}"
        );
    }
    assert_eq!(of("summary")[0]["host_failed"], failed.len());
    assert_eq!(of("failed").len(), 0);
}

#[tokio::test]
async fn without_the_program_it_does_not_start_and_claims_nothing() {
    let s = Fixture::new().await;
    let folder = s.folder.display().to_string();
    let python = s
        .program("python", "#!/no/such/python\n")
        .display()
        .to_string();
    let data = s.program("data", "");
    std::fs::set_permissions(&data, PermissionsExt::from_mode(0o644)).unwrap();
    let data = data.display().to_string();
    for (exec, problem) in [
        (
            "no-such-program --now",
            "no program \"no-such-program\" in PATH",
        ),
        ("./no-such-program", "No such file"),
        (&folder, "is a folder"),
        (&python, "its interpreter \"/no/such/python\" is missing"),
        (&data, "is not executable"),
    ] {
        let ran = s.once(exec).fails_with(8, problem);
        assert!(ran.stderr.contains("hint: "), "{ran:?}");
        s.bmdb(exec).fails_with(8, problem);
    }
    let bmdb = s.once("true").env("PATH", &folder);
    bmdb.fails_with(8, "no program \"sh\" in PATH");
    assert_eq!(s.attempts().await, [""; 0]);
}

#[tokio::test]
async fn with_once_it_gives_up_with_8_and_leaves_the_machines_to_others() {
    let s = Fixture::new().await;
    due_machine(&s.db, "b").await;
    let ran = s
        .once("echo 'no secret' >&2; exit 82")
        .fails_with(8, "this host cannot process machines: no secret");
    assert!(
        ran.stdout
            .contains("this host cannot process it: no secret"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout.contains("3 in a row") || ran.stdout.contains("2 in a row"),
        "{}",
        ran.stdout
    );
    assert_eq!(s.db.rows(UNHARMED).await.unwrap(), ["2"]);
    s.once("true")
        .args(["--hold-exit", "82"])
        .fails_with(2, "this host cannot");

    // The shell disappears after the start.
    let bin = s.folder.join("bin");
    std::fs::create_dir(&bin).unwrap();
    for program in ["sh", "rm"] {
        let path = ["/bin", "/usr/bin"].map(|folder| PathBuf::from(folder).join(program));
        let path = path.into_iter().find(|path| path.exists()).unwrap();
        std::os::unix::fs::symlink(path, bin.join(program)).unwrap();
    }
    let shell = bin.join("sh").display().to_string();
    s.once(&format!("rm {shell}"))
        .env("PATH", &bin)
        .args(["--parallelism", "1"])
        .fails_with(8, "this host cannot process machines: cannot start sh: ");
    let ends = "SELECT outcome, count(*) FROM work_attempt WHERE outcome <> 'Canceled' GROUP BY 1";
    assert_eq!(s.db.rows(ends).await.unwrap(), ["Finished|1"]);
}

/// Which program of a script is missing may depend on the machine, so that is the script's own failure.
#[tokio::test]
async fn a_script_that_misses_a_program_has_failed_on_its_machine() {
    let s = Fixture::new().await;
    let script = s.program("work", "#!/bin/sh\nno-such-program\n");
    s.once(&script.display().to_string()).run();
    let attempts = s.attempts().await;
    assert_eq!(attempts.len(), 1);
    assert!(attempts[0].starts_with("Failed|"), "{attempts:?}");
    assert!(attempts[0].contains("not found"), "{attempts:?}");
}

/// Runs the program below a limit of the shell's `ulimit`.
fn limited(ulimit: &str, bmdb: Bmdb) -> Command {
    let inner = bmdb.command();
    let mut command = Command::new("sh");
    command.args([
        "-c",
        &format!("ulimit {ulimit} && exec timeout 3 \"$@\""),
        "sh",
    ]);
    command.arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// The host was out of open files: every machine was taken and given back, again and again.
#[tokio::test]
async fn out_of_open_files_is_the_fault_of_the_host() {
    let s = Fixture::new().await;
    // Which limit lets the program connect and start no command depends on its libraries. With a smaller one
    // it waits for the database.
    let mut ends = (8..64).map(|files| {
        let ran = limited(&format!("-n {files}"), s.once("true"))
            .output()
            .unwrap();
        (ran.status.code(), String::from_utf8(ran.stderr).unwrap())
    });
    let (code, stderr) = ends
        .find(|(code, stderr)| *code == Some(0) || stderr.contains("cannot start sh"))
        .unwrap();
    assert_eq!(code, Some(8), "{stderr}");
    assert!(
        stderr.contains("cannot start sh: Too many open files"),
        "{stderr}"
    );
    assert_eq!(s.db.rows(UNHARMED).await.unwrap(), ["1"]);
}
