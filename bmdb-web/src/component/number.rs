//! Numbers: tabular digits, or words for small counts.

use maud::{Markup, html};
use std::fmt::Display;

pub(crate) fn show(number: impl Display) -> Markup {
    html! { span.number { (number) } }
}

/// With a comma between thousands.
pub(crate) fn grouped(count: i64) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// How often, in words.
pub(crate) fn times(count: i64) -> String {
    match count {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        count => format!("{count} times"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn thousands_are_separated() {
        for (count, expected) in [(0, "0"), (999, "999"), (1_234_567, "1,234,567")] {
            assert_eq!(super::grouped(count), expected);
        }
    }
}
