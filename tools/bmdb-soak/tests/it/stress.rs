//! The stress and its controls.

use std::process::Command;

/// Runs the stress and expects success; its output is shown with the test's.
fn stress(arguments: &[&str]) {
    let mut stress = Command::new(env!("CARGO_BIN_EXE_bmdb-soak"));
    let output = stress.arg("stress").args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    );
}

#[test]
fn sixteen_workers_in_four_processes_never_break_a_rule() {
    stress(&["--seconds", "5"]);
}

#[test]
#[ignore = "a control of the stress: cargo xtask test --stress runs it"]
fn without_the_lane_index_the_stress_finds_two_attempts_in_a_lane_at_once() {
    stress(&["--seconds", "10", "--without", "lane-index"]);
}

#[test]
#[ignore = "a control of the stress: cargo xtask test --stress runs it"]
fn without_replan_on_claim_the_stress_finds_recoveries_of_healthy_machines() {
    stress(&["--seconds", "10", "--without", "replan-on-claim"]);
}

#[test]
#[ignore = "a control of the stress: cargo xtask test --stress runs it"]
fn without_the_lock_of_a_slot_the_stress_finds_more_at_once_than_a_limit_allows() {
    stress(&["--seconds", "10", "--without", "slot-lock"]);
}
