//! Charts of attempts by minute and outcome, for each process.

use crate::chart::{Bar, Series, stacked};
use crate::component::empty;
use crate::moment::Moment;
use bmdb_model::attempt_counts::Minute;
use bmdb_model::history::Event;
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use maud::{Markup, html};

/// How many processes get their own chart: those with the most attempts.
const CHARTS: usize = 8;

/// From the bottom of a bar to its top.
const OUTCOMES: [(Event, Series); 4] = [
    (Event::Finished, series("Finished", "s2")),
    (Event::Failed, series("Failed", "s3")),
    (Event::Canceled, series("Canceled", "s4")),
    (Event::Expired, series("Expired", "s5")),
];

const fn series(name: &'static str, class: &'static str) -> Series {
    Series { name, class }
}

/// A chart of all processes, and one for each if there is more than one.
pub(super) fn charts(moment: Moment, minutes: u32, counts: &[Minute]) -> Markup {
    let ended: Vec<&Minute> = counts
        .iter()
        .filter(|m| m.event != Event::Started)
        .collect();
    if ended.is_empty() {
        return empty::teach(
            "No attempt has ended in the last hour.",
            "Components record their finished, failed, canceled and expired attempts every few seconds. \
             To start a component:",
            empty::RUN,
        );
    }
    let processes = busiest(&ended);
    let series = OUTCOMES.map(|(_, series)| series);
    let drawn = |nth: usize, process: Option<&str>, title: &str| {
        let bars = bars(moment, minutes, &ended, process);
        let id = format!("attempts-{nth}");
        stacked(&id, title, &series, &bars, TimeDelta::minutes(1))
    };
    html! {
        div.charts {
            (drawn(0, None, "All processes: attempts ended per minute"))
            @if processes.len() > 1 {
                @for (nth, process) in (1..).zip(processes.iter().take(CHARTS)) {
                    (drawn(nth, Some(process), process))
                }
            }
        }
        @if processes.len() > CHARTS {
            p.muted { "Charts show the " (CHARTS) " busiest of " (processes.len()) " processes." }
        }
    }
}

/// The processes, most attempts first.
fn busiest<'a>(ended: &[&'a Minute]) -> Vec<&'a str> {
    let mut counts: Vec<(&str, i64)> = Vec::new();
    for minute in ended {
        let process = minute.process.as_str();
        match counts.iter_mut().find(|(known, _)| *known == process) {
            Some((_, count)) => *count = count.saturating_add(minute.count),
            None => counts.push((process, minute.count)),
        }
    }
    counts.sort_by(|(a, many), (b, few)| few.cmp(many).then(a.cmp(b)));
    counts.into_iter().map(|(process, _)| process).collect()
}

/// A bar for each of the last minutes, including those without attempts.
fn bars(moment: Moment, minutes: u32, ended: &[&Minute], process: Option<&str>) -> Vec<Bar> {
    let minute = TimeDelta::minutes(1);
    let last = moment.at.duration_trunc(minute).unwrap_or(moment.at);
    let back = |minutes: u32| last - TimeDelta::minutes(minutes.into());
    (0..minutes)
        .rev()
        .map(|ago| bar(back(ago), ended, process))
        .collect()
}

fn bar(at: DateTime<Utc>, ended: &[&Minute], process: Option<&str>) -> Bar {
    let of_bar = ended.iter().filter(|minute| {
        let is_of_process = process.is_none_or(|process| minute.process.as_str() == process);
        is_of_process && minute.minute == at
    });
    let of_bar: Vec<_> = of_bar.collect();
    let count = |event: Event| {
        let counts = of_bar.iter().filter(|minute| minute.event == event);
        counts.fold(0_u64, |sum, minute| {
            sum.saturating_add(minute.count.unsigned_abs())
        })
    };
    Bar {
        at,
        counts: OUTCOMES.iter().map(|(event, _)| count(*event)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn minute(at: i64, process: &str, event: Event, count: i64) -> Minute {
        let minute = DateTime::from_timestamp(1_700_000_040 + 60 * at, 0).unwrap();
        Minute::new(minute, process.parse().unwrap(), event, count)
    }

    fn now() -> Moment {
        Moment {
            at: DateTime::from_timestamp(1_700_000_040 + 59 * 60 + 33, 0).unwrap(),
            took: Duration::ZERO,
        }
    }

    #[test]
    fn attempts_are_counted_in_the_bar_of_their_minute() {
        let counted = [
            minute(0, "A", Event::Finished, 3),
            minute(59, "A", Event::Failed, 1),
            minute(59, "B", Event::Failed, 5),
        ];
        let counted: Vec<&Minute> = counted.iter().collect();
        let all = bars(now(), 60, &counted, None);
        assert_eq!(all.len(), 60);
        assert_eq!(all[0].counts, [3, 0, 0, 0]);
        assert_eq!(all[59].counts, [0, 6, 0, 0]);
        assert!(all[1..59].iter().all(|bar| bar.counts == [0; 4]));
        assert_eq!(
            bars(now(), 60, &counted, Some("B"))[59].counts,
            [0, 5, 0, 0]
        );
    }

    #[test]
    fn the_busiest_process_comes_first() {
        let counted = [
            minute(0, "A", Event::Finished, 3),
            minute(1, "B", Event::Failed, 1),
            minute(2, "B", Event::Failed, 5),
        ];
        assert_eq!(busiest(&counted.iter().collect::<Vec<_>>()), ["B", "A"]);
    }

    #[test]
    fn started_attempts_are_not_drawn() {
        let counted = [minute(0, "A", Event::Started, 3)];
        assert!(
            charts(now(), 60, &counted)
                .into_string()
                .contains("No attempt has ended in the last hour.")
        );
    }
}
