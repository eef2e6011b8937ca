//! The files for monitoring: they know every metric, and no other.

use bmdb_core::telemetry::{Kind, METRICS, Metric};
use bmdb_web::console_metrics;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

fn file(name: &str) -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/monitoring");
    PathBuf::from(folder).join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap()
}

fn all() -> impl Iterator<Item = Metric> {
    METRICS.into_iter().chain(console_metrics())
}

fn table(metrics: impl Iterator<Item = Metric>) -> String {
    let mut table = "| metric | kind | labels | what it says |\n|---|---|---|---|\n".to_owned();
    for metric in metrics {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let labels: Vec<String> = metric
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let (name, labels, help) = (metric.name, labels.join(", "), metric.help);
        writeln!(table, "| `{name}` | {kind} | {labels} | {help} |").unwrap();
    }
    table
}

/// `BMDB_UPDATE_DOCS=1` writes it anew.
#[test]
fn the_table_of_metrics_has_all_of_them() {
    let expected = format!(
        "# Metrics\n\n\
         Written by a test from what the crates say of their metrics. [README.md](README.md) says where \
         they come from.\n\n\
         ## Of programs that work on machines\n\n{}\n\
         ## Of `bmdb serve`\n\n\
         The gauges `bmdb_stats_*` are counted in the background; a value that is not known is left out.\n\n{}",
        table(METRICS.into_iter()),
        table(console_metrics()),
    );
    if std::env::var_os("BMDB_UPDATE_DOCS").is_some() {
        std::fs::write(file("metrics.md"), &expected).unwrap();
    }
    assert_eq!(
        text("metrics.md"),
        expected,
        "BMDB_UPDATE_DOCS=1 writes it anew"
    );
}

/// The names of metrics in a text, as Prometheus knows them.
fn names(text: &str) -> BTreeSet<&str> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c: char| !is_of_name(c));
    words.filter(|word| word.starts_with("bmdb_")).collect()
}

/// The names that the metrics have at Prometheus.
fn known() -> BTreeSet<String> {
    all()
        .flat_map(|metric| match metric.kind {
            Kind::Histogram => ["_bucket", "_sum", "_count"]
                .map(|end| format!("{}{end}", metric.name))
                .to_vec(),
            Kind::Counter | Kind::Gauge => vec![metric.name.to_owned()],
        })
        .collect()
}

/// The labels that expressions in a text ask for.
fn labels(text: &str) -> BTreeSet<String> {
    let grouped = text
        .split(" by (")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let matched = text.split(['{', ',']).filter_map(|part| {
        let end = part.find(['=', '!'])?;
        Some(part[..end].trim())
    });
    let is_label = |word: &&str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase());
    let labels = grouped.flat_map(|group| group.split(',')).map(str::trim);
    labels
        .chain(matched)
        .filter(is_label)
        .map(str::to_owned)
        .collect()
}

fn known_labels() -> BTreeSet<String> {
    let labels = all().flat_map(|metric| metric.labels.iter().map(|label| (*label).to_owned()));
    labels.chain(["le".to_owned()]).collect()
}

/// Every text in an array or object, with the name of its field.
fn texts<'v>(value: &'v Value, field: &'v str, found: &mut Vec<(&'v str, &'v str)>) {
    match value {
        Value::String(text) => found.push((field, text)),
        Value::Array(values) => values.iter().for_each(|value| texts(value, field, found)),
        Value::Object(fields) => fields
            .iter()
            .for_each(|(field, value)| texts(value, field, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_asks_for_metrics_that_there_are_and_leaves_none_out() {
    let dashboard: Value = serde_json::from_str(&text("dashboard.json")).unwrap();
    let mut found = Vec::new();
    texts(&dashboard, "", &mut found);
    let expressions: Vec<&str> = found
        .iter()
        .filter(|(field, _)| *field == "expr")
        .map(|(_, text)| *text)
        .collect();
    assert!(expressions.len() > 40, "{}", expressions.len());
    let (known, mut asked) = (known(), BTreeSet::new());
    for expression in expressions {
        let names = names(expression);
        assert!(!names.is_empty(), "{expression}");
        for name in names {
            assert!(known.contains(name), "{name} in {expression}");
            asked.insert(name.strip_suffix("_bucket").unwrap_or(name).to_owned());
        }
        for label in labels(expression) {
            assert!(known_labels().contains(&label), "{label} in {expression}");
        }
    }
    let unasked: Vec<&str> = all()
        .map(|metric| metric.name)
        .filter(|name| !asked.contains(*name))
        .collect();
    assert_eq!(unasked, [""; 0]);
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<i64> = panels
        .iter()
        .map(|panel| panel["id"].as_i64().unwrap())
        .collect();
    assert_eq!(ids.len(), panels.len());
    for panel in panels {
        let place = &panel["gridPos"];
        let right = place["x"].as_i64().unwrap() + place["w"].as_i64().unwrap();
        assert!(
            right <= 24 && !panel["title"].as_str().unwrap().is_empty(),
            "{panel}"
        );
    }
}

#[test]
fn the_alerts_and_their_tests_ask_for_metrics_that_there_are() {
    let known = known();
    for name in ["alerts.yaml", "alerts_test.yaml"] {
        let text = text(name);
        let asked = names(&text);
        assert!(asked.len() > 10, "{asked:?}");
        let unknown: Vec<_> = asked
            .iter()
            .filter(|name| !known.contains(**name))
            .collect();
        assert!(unknown.is_empty(), "{name}: {unknown:?}");
    }
    for line in text("alerts.yaml")
        .lines()
        .filter(|line| line.contains("bmdb_"))
    {
        for label in labels(line) {
            assert!(known_labels().contains(&label), "{label} in {line}");
        }
    }
    let text = text("alerts.yaml");
    let alerts = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    let tests = self::text("alerts_test.yaml");
    for alert in alerts {
        assert!(tests.contains(alert), "{alert} has no test");
    }
}

#[test]
fn promtool_finds_nothing_wrong_with_the_alerts() {
    let run = |args: [&str; 3]| {
        let folder = file("");
        Command::new("promtool")
            .args(args)
            .current_dir(folder)
            .output()
    };
    for args in [
        ["check", "rules", "alerts.yaml"],
        ["test", "rules", "alerts_test.yaml"],
    ] {
        let Ok(ran) = run(args) else {
            println!("NOT TESTED: promtool is not installed (Debian's package prometheus has it)");
            return;
        };
        assert!(ran.status.success(), "{args:?}: {ran:?}");
    }
}
