//! Page: the results as Markdown.

use super::race::{Course, Race, Results};
use crate::report::Report;
use std::fmt;

/// The marks around the results in a document.
const BEGIN: &str = "<!-- measured by cargo xtask bench comparison -->";
const END: &str = "<!-- end of what is measured -->";

/// The results as Markdown, with the marks around them.
#[derive(Debug)]
pub(super) struct Page(String);

impl Page {
    pub(super) fn new(race: &Race, report: &Report, courses: Vec<(Course, Vec<Results>)>) -> Self {
        let mut lines = vec![BEGIN.to_owned(), String::new()];
        lines.extend(succeeding(race, &courses));
        lines.extend(failing(&courses));
        lines.extend(costs(&courses));
        lines.push("Settings:".to_owned());
        lines.push(String::new());
        for contender in &race.contenders {
            lines.push(format!("- *{}*: {}.", contender.title, contender.settings));
        }
        lines.extend([String::new(), report.described(), String::new()]);
        lines.push(END.to_owned());
        Self(lines.join("\n"))
    }

    /// The document with these results instead of those that it has; `None` if it has none.
    pub(super) fn within(&self, document: &str) -> Option<String> {
        let (before, rest) = document.split_once(BEGIN)?;
        let (_, after) = rest.split_once(END)?;
        Some(format!("{before}{}{after}", self.0))
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Jobs per second by the number of workers.
fn succeeding(race: &Race, courses: &[(Course, Vec<Results>)]) -> Vec<String> {
    let courses: Vec<_> = courses
        .iter()
        .filter(|(course, _)| matches!(course, Course::Succeed { .. }))
        .collect();
    let titles = courses.iter().map(|(course, _)| match course.workers() {
        1 => "1 worker".to_owned(),
        workers => format!("{workers} workers"),
    });
    let titles: Vec<String> = titles.collect();
    let mut lines = vec![
        format!(
            "Jobs per second that are claimed and succeed with one small write. Median (range); rounds: {}.",
            race.rounds
        ),
        String::new(),
        format!("| | {} |", titles.join(" | ")),
        format!("|---|{}", "---:|".repeat(titles.len())),
    ];
    for (at, contender) in race.contenders.iter().enumerate() {
        let results = courses.iter().filter_map(|(_, results)| results.get(at));
        let cells: Vec<String> = results.map(per_second).collect();
        lines.push(format!("| {} | {} |", contender.title, cells.join(" | ")));
    }
    lines.push(String::new());
    lines
}

/// Jobs that fail once.
fn failing(courses: &[(Course, Vec<Results>)]) -> Vec<String> {
    let mut lines = Vec::new();
    for (course, results) in courses {
        let Course::FailOnce { workers } = course else {
            continue;
        };
        lines.extend([
            format!(
                "Jobs per second that fail once and then succeed, by {workers} workers. The time in which \
                 all jobs waited for their second attempt is not counted:"
            ),
            String::new(),
            "| | jobs per second | shortest delay of a retry | not counted |".to_owned(),
            "|---|---:|---|---:|".to_owned(),
        ]);
        for of in results {
            lines.push(format!(
                "| {} | {} | {} | {:.1} s |",
                of.contender.title,
                per_second(of),
                of.contender.retry,
                of.pause.median()
            ));
        }
        lines.push(String::new());
    }
    lines
}

/// Costs per job, with the middle number of workers, and of those that fail once.
fn costs(courses: &[(Course, Vec<Results>)]) -> Vec<String> {
    let mut lines = Vec::new();
    for (course, results) in courses {
        let said = match course {
            Course::Succeed { workers: 16 } => "succeeds",
            Course::FailOnce { .. } => "fails once and then succeeds",
            Course::Succeed { .. } => continue,
        };
        lines.extend([
            format!(
                "What a job costs that {said}, by {} workers:",
                course.workers()
            ),
            String::new(),
            "| | statements | commits | WAL, bytes | server's CPU, µs |".to_owned(),
            "|---|---:|---:|---:|---:|".to_owned(),
        ]);
        for of in results {
            let spent = &of.spent;
            let cpu = match &spent.server_cpu {
                Ok(microseconds) => format!("{microseconds:.0}"),
                Err(_) => "?".to_owned(),
            };
            lines.push(format!(
                "| {} | {:.2} | {:.2} | {:.0} | {cpu} |",
                of.contender.title, spent.statements, spent.commits, spent.wal_bytes
            ));
        }
        lines.push(String::new());
    }
    lines
}

fn per_second(of: &Results) -> String {
    let row = &of.jobs_per_second;
    let least = row.samples.iter().copied().fold(f64::INFINITY, f64::min);
    let most = row.samples.iter().copied().fold(0.0, f64::max);
    format!("{:.0} ({least:.0}–{most:.0})", row.median())
}

#[cfg(test)]
mod tests {
    use super::{BEGIN, END, Page};

    #[test]
    fn results_replace_those_of_the_document() {
        let page = Page(format!("{BEGIN}\nnew\n{END}"));
        let document = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let written = page.within(&document);
        assert_eq!(
            written,
            Some(format!("before\n{BEGIN}\nnew\n{END}\nafter\n"))
        );
        assert_eq!(page.within("before\nafter\n"), None);
    }
}
