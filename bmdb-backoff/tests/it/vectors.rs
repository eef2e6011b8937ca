//! Every recorded answer of the original, row by row. See `tests/vectors/README.md`.

use bmdb_backoff::{Backoff, Seconds};

const ROWS: &str = include_str!("../vectors/backoff.csv");

#[test]
fn strict_rows_are_answered_as_the_original_does() {
    check("strict", 1600, |row| {
        row.strict.then_some(Demand::Exactly(row.code_s))
    });
}

#[test]
fn where_code_and_documentation_differ_the_documentation_wins() {
    check("doc-says-otherwise", 400, |row| {
        let binds = row.class == "doc-says-otherwise" && !row.wide && row.policy.is_some();
        binds.then(|| Demand::Exactly(row.doc_s.expect("the documentation says something")))
    });
}

#[test]
fn without_a_policy_the_last_interval_is_kept() {
    check("nil policy", 30, |row| {
        let binds = row.class == "doc-says-otherwise" && !row.wide && row.policy.is_none();
        binds.then_some(Demand::Exactly(row.code_s))
    });
}

#[test]
fn where_the_original_depends_on_the_platform_the_answer_is_within_the_policy() {
    check("undefined", 5, |row| {
        (row.class == "undefined" && !row.wide).then_some(Demand::WithinThePolicy)
    });
}

#[test]
fn rows_that_demand_nothing_exact_are_still_answered_within_the_policy() {
    check("all", 2310, |_| Some(Demand::WithinThePolicy));
}

#[test]
fn products_that_floating_point_gets_wrong_are_exact() {
    check("trap", 20, |row| {
        (row.set == "trap").then_some(Demand::Exactly(row.code_s))
    });
}

enum Demand {
    Exactly(u32),
    WithinThePolicy,
}

/// Holds every row of which `demand` demands something to that; at least `expected` rows, so that
/// a mistake in the filter or a cut file does not pass for agreement.
fn check(class: &str, expected: usize, demand: impl Fn(&Row) -> Option<Demand>) {
    let mut checked = 0;
    let mut wrong = Vec::new();
    for (line, text) in (2..).zip(ROWS.lines().skip(1)) {
        let row = Row::parse(text);
        let Some(demand) = demand(&row) else { continue };
        checked += 1;
        let answer = Backoff::next_or_hold(row.policy.as_ref(), row.last);
        let right = match demand {
            Demand::Exactly(seconds) => answer.get() == seconds,
            Demand::WithinThePolicy => row.policy.is_none_or(|policy| answer <= policy.maximum()),
        };
        if !right {
            wrong.push(format!("line {line}: {text}: answered {answer:?}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {checked} {class} rows:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(checked >= expected, "only {checked} {class} rows");
}

struct Row<'a> {
    set: &'a str,
    class: &'a str,
    policy: Option<Backoff>,
    last: Option<Seconds>,
    code_s: u32,
    doc_s: Option<u32>,
    wide: bool,
    strict: bool,
}

impl<'a> Row<'a> {
    fn parse(text: &'a str) -> Self {
        let fields: Vec<&str> = text.split(',').collect();
        let [
            set,
            class,
            initial,
            maximum,
            exponent,
            last,
            code,
            doc,
            wide,
            strict,
            _note,
        ] = fields[..]
        else {
            panic!("{} columns: {text}", fields.len());
        };
        let policy = (initial != "nil").then(|| {
            let exponent = exponent
                .parse()
                .expect("Rust reads the floats that Go prints");
            Backoff::from_reference(nanos(initial), nanos(maximum), exponent)
        });
        Self {
            set,
            class,
            policy,
            last: (last != "-").then(|| persisted(nanos(last))),
            // Wide answers do not fit; no test demands them.
            code_s: code
                .parse::<u64>()
                .map(|s| u32::try_from(s).unwrap_or(0))
                .expect("seconds"),
            doc_s: (!doc.is_empty()).then(|| {
                doc.parse::<u64>()
                    .map(|s| u32::try_from(s).unwrap_or(0))
                    .expect("seconds")
            }),
            wide: wide == "1",
            strict: strict == "1",
        }
    }
}

fn nanos(text: &str) -> i64 {
    text.parse().expect("nanoseconds")
}

/// The interval that a database would hold for a previous interval in nanoseconds.
fn persisted(nanos: i64) -> Seconds {
    Seconds::from_duration_ceil(std::time::Duration::from_nanos(nanos.max(0).unsigned_abs()))
}
