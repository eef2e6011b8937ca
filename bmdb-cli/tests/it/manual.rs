//! `bmdb completions` and `bmdb man`, which need no database.

use crate::bmdb::nowhere;

#[test]
fn the_completions_of_every_shell_know_the_options() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = nowhere().args(["completions", shell]).run().stdout;
        assert!(script.contains("skip-existing"), "{shell}: {script}");
    }
    nowhere()
        .args(["completions", "cmd"])
        .fails_with(2, "possible values: bash, elvish");
}

#[test]
fn there_is_a_manual_page_for_each_command() {
    let page = nowhere().args(["man"]).run().stdout;
    assert!(page.contains(".TH bmdb 1"), "{page}");
    let folder = std::env::temp_dir().join(format!("bmdb-man-{}", std::process::id()));
    nowhere().args(["man", "--out"]).args([&folder]).run();
    for name in [
        "bmdb.1",
        "bmdb-stats.1",
        "bmdb-machine-import.1",
        "bmdb-migrate-up.1",
    ] {
        let page = std::fs::read_to_string(folder.join(name)).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{name}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
    nowhere()
        .args(["man", "--out", "/dev/null/man"])
        .fails_with(2, "cannot write to /dev/null/man");
}
