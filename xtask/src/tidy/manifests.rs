//! Manifest rules, about Cargo.toml files and what `cargo metadata` says of dependencies.

use super::files::TextFile;
use super::finding::Finding;
use bmdb_shell::{Failure, metadata};
use serde_json::Value;

pub(super) fn check(files: &[TextFile]) -> Result<Vec<Finding>, Failure> {
    let metadata = metadata(&["--all-features"])?;
    Ok(check_metadata(&metadata, files))
}

fn check_metadata(metadata: &Value, files: &[TextFile]) -> Vec<Finding> {
    let packages = list(metadata, "packages");
    let members = list(metadata, "workspace_members");
    let (own, foreign): (Vec<&Value>, Vec<&Value>) =
        packages.iter().partition(|p| members.contains(&p["id"]));
    let ours = own.iter().filter_map(|p| rust_version(p)).max();

    let root = text(metadata, "workspace_root");
    let in_repository = |package: &&Value| member(package, root, files);
    let mut findings: Vec<Finding> = own.iter().flat_map(in_repository).collect();
    for package in foreign {
        if name(package) == "pq-sys" {
            let fix = "turn off the feature that needs libpq: `cargo tree -i pq-sys`";
            findings.push(Finding::new("Cargo.toml", 1, "no libpq", fix));
        }
        if ["openssl-sys", "aws-lc-sys"].contains(&name(package)) {
            let fix = format!(
                "turn off the feature that needs it, `cargo tree -i {0}`: rustls uses ring",
                name(package)
            );
            findings.push(Finding::new("Cargo.toml", 1, "one cryptography", fix));
        }
        if rust_version(package) > ours {
            let fix = format!(
                "{} {} needs Rust {}: take an older version, or raise the workspace's rust-version",
                name(package),
                text(package, "version"),
                text(package, "rust_version")
            );
            findings.push(Finding::new(
                "Cargo.toml",
                1,
                "no newer Rust than ours",
                fix,
            ));
        }
    }
    findings
}

fn member(package: &Value, root: &str, files: &[TextFile]) -> Vec<Finding> {
    let name = name(package);
    let path = text(package, "manifest_path");
    let path = path.strip_prefix(root).unwrap_or(path);
    let path = path.trim_start_matches('/').to_owned();
    let manifest = files.iter().find(|(file, _)| *file == path);
    let manifest = manifest.map_or("", |(_, text)| text.as_str());
    let mut findings = Vec::new();
    let mut find = |rule, fix: &str| findings.push(Finding::new(&path, 1, rule, fix));

    if !manifest.contains("[lints]\nworkspace = true") {
        find(
            "lints are the workspace's",
            "add `[lints]` with `workspace = true`",
        );
    }
    if !manifest.contains("rust-version.workspace = true") {
        find("one Rust version", "write `rust-version.workspace = true`");
    }
    // In the metadata, `publish = false` is an empty list.
    let public = package["publish"].is_null();
    if public && text(package, "description").is_empty() {
        find("public crates describe themselves", "add a `description`");
    }
    let readme = path.replace("Cargo.toml", "README.md");
    if public && !files.iter().any(|(file, _)| *file == readme) {
        find("public crates describe themselves", "add a README.md");
    }
    for dependency in list(package, "dependencies") {
        if let Some(why) = forbidden(name, dependency) {
            find("layers depend downwards", &why);
        }
    }
    findings
}

/// Unpublished programs of this workspace. They may use the testkit.
const TOOLS: &[&str] = &["bmdb-bench", "bmdb-dev", "bmdb-soak"];

/// Crates that must not compile the product, and the workspace crates that they may use.
const THIN: &[(&str, &[&str])] = &[("xtask", &["bmdb-shell"]), ("bmdb-shell", &[])];

/// Whether a dependency belongs to the product or takes as long to compile.
fn is_of_the_product(dependency: &str) -> bool {
    dependency.starts_with("bmdb-")
        || ["diesel", "tokio", "rustls"]
            .iter()
            .any(|heavy| dependency.starts_with(heavy))
}

/// Why this crate must not have this dependency; `None` if it may.
fn forbidden(from: &str, dependency: &Value) -> Option<String> {
    let to = name(dependency);
    let is_dev = dependency["kind"] == "dev";
    let is_optional = dependency["optional"] == true;
    if is_dev {
        return None;
    }
    if let Some((_, allowed)) = THIN.iter().find(|(thin, _)| *thin == from) {
        let is_too_much = is_of_the_product(to) && !allowed.contains(&to);
        return is_too_much.then(|| {
            format!(
                "remove {to}: {from} must not compile the product; put the code into a program in tools/"
            )
        });
    }
    match (from, to) {
        (from, _) if TOOLS.contains(&from) => None,
        (_, "bmdb-testkit") => Some(format!(
            "{from} must not link the testkit: move it to `[dev-dependencies]`"
        )),
        ("bmdb-backoff", _) if !is_optional => Some(format!(
            "make {to} optional: bmdb-backoff has no dependencies by default"
        )),
        ("bmdb-model", "bmdb-core" | "bmdb-backoff") => Some(format!(
            "remove {to}: policies and sessions belong above the model"
        )),
        ("bmdb-core", "bmdb-web" | "bmdb-cli") | ("bmdb-web", "bmdb-cli") => {
            Some(format!("remove {to}: its layer is above {from}"))
        }
        ("bmdb-web" | "bmdb-cli", "diesel" | "diesel-async") => Some(format!(
            "remove {to}: statements belong to bmdb-model, connections to bmdb-core"
        )),
        ("bmdb-testkit", "bmdb-core") if !is_optional => {
            Some("make bmdb-core optional: the testkit's audit must not share its code".to_owned())
        }
        _ => None,
    }
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn name(package: &Value) -> &str {
    text(package, "name")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn rust_version(package: &Value) -> Option<Vec<u32>> {
    let version = package["rust_version"].as_str()?;
    let mut numbers: Vec<u32> = version.split('.').filter_map(|n| n.parse().ok()).collect();
    // 1.95 means 1.95.0.
    numbers.resize(3, 0);
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const GOOD: &str = "rust-version.workspace = true\n[lints]\nworkspace = true\n";

    /// The findings for one crate of the workspace and one foreign crate.
    fn found(own: &Value, manifest: &str, foreign: &Value) -> Vec<String> {
        let mut own = own.clone();
        own["id"] = json!("own");
        own["rust_version"] = json!("1.95");
        own["manifest_path"] = json!(format!("/w/{}/Cargo.toml", name(&own)));
        let path = |file| format!("{}/{file}", name(&own));
        let files = [
            (path("Cargo.toml"), manifest.to_owned()),
            (path("README.md"), String::new()),
        ];
        let metadata = json!({
            "packages": [own, foreign], "workspace_members": ["own"], "workspace_root": "/w",
        });
        let findings = check_metadata(&metadata, &files);
        findings
            .iter()
            .map(|f| format!("{}: {}", f.rule, f.fix))
            .collect()
    }

    fn core() -> Value {
        json!({ "name": "bmdb-core", "description": "d" })
    }

    fn other() -> Value {
        json!({ "name": "x", "id": "x", "version": "1.2.3", "rust_version": "1.95.0" })
    }

    #[test]
    fn a_good_crate_breaks_no_rule() {
        let mut older = other();
        older["rust_version"] = json!("1.9");
        assert!(found(&core(), GOOD, &older).is_empty());
    }

    #[test]
    fn a_dependency_that_needs_a_newer_rust_is_found() {
        let mut newer = other();
        newer["rust_version"] = json!("1.96");
        assert!(found(&core(), GOOD, &newer)[0].contains("x 1.2.3 needs Rust 1.96"));
    }

    #[test]
    fn libpq_is_found() {
        let libpq = json!({ "name": "pq-sys", "id": "pq" });
        assert!(found(&core(), GOOD, &libpq)[0].starts_with("no libpq"));
    }

    #[test]
    fn another_cryptography_is_found() {
        let openssl = json!({ "name": "openssl-sys", "id": "o" });
        assert!(found(&core(), GOOD, &openssl)[0].starts_with("one cryptography"));
    }

    #[test]
    fn a_manifest_without_the_workspaces_settings_is_found() {
        let found = found(&json!({ "name": "bmdb-core" }), "", &other());
        let rules: Vec<&str> = found.iter().filter_map(|f| f.split(':').next()).collect();
        assert_eq!(
            rules,
            [
                "lints are the workspace's",
                "one Rust version",
                "public crates describe themselves"
            ]
        );
    }

    #[test]
    fn a_dependency_on_a_higher_layer_is_found() {
        for (from, to, kind, optional, allowed) in [
            ("bmdb-backoff", "serde", Value::Null, true, true),
            ("bmdb-backoff", "serde", Value::Null, false, false),
            ("bmdb-backoff", "proptest", json!("dev"), false, true),
            ("bmdb-model", "bmdb-backoff", Value::Null, true, false),
            ("bmdb-model", "bmdb-core", Value::Null, false, false),
            ("bmdb-model", "bmdb-testkit", json!("dev"), false, true),
            ("bmdb-core", "bmdb-testkit", Value::Null, true, false),
            ("bmdb-core", "bmdb-testkit", json!("build"), false, false),
            ("bmdb-core", "bmdb-web", Value::Null, true, false),
            ("bmdb-web", "bmdb-cli", Value::Null, false, false),
            ("bmdb-web", "diesel-async", Value::Null, false, false),
            ("bmdb-cli", "bmdb-web", Value::Null, false, true),
            ("bmdb-testkit", "bmdb-core", Value::Null, false, false),
            ("bmdb-testkit", "bmdb-core", Value::Null, true, true),
            ("xtask", "bmdb-testkit", Value::Null, false, false),
            ("xtask", "bmdb-shell", Value::Null, false, true),
            ("bmdb-shell", "bmdb-model", Value::Null, false, false),
            ("bmdb-dev", "bmdb-testkit", Value::Null, false, true),
        ] {
            let dependency = json!({ "name": to, "kind": kind, "optional": optional });
            let package = json!({ "name": from, "description": "d", "dependencies": [dependency] });
            let found = found(&package, GOOD, &other());
            assert_eq!(found.is_empty(), allowed, "{from} on {to}: {found:?}");
        }
    }
}
