//! Links: every address of the console is made here.

use bmdb_model::{MachineId, Process, SessionId};
use std::fmt::Write as _;

/// Makes addresses below the path where the console is nested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Links {
    base: String,
    overview: String,
}

impl Links {
    /// `base` may have slashes at its ends; an empty one or `/` is the root. The address of the overview ends
    /// with a slash if `base` does.
    pub(crate) fn under(base: &str) -> Self {
        let inner = base.trim_matches('/');
        let (base, overview) = match inner {
            "" => (String::new(), "/".to_owned()),
            inner if base.ends_with('/') => (format!("/{inner}"), format!("/{inner}/")),
            inner => (format!("/{inner}"), format!("/{inner}")),
        };
        Self { base, overview }
    }

    pub(crate) fn overview(&self) -> String {
        self.overview.clone()
    }

    pub(crate) fn machines(&self) -> String {
        format!("{}/machines", self.base)
    }

    pub(crate) fn machine(&self, id: MachineId) -> String {
        format!("{}/machines/{id}", self.base)
    }

    pub(crate) fn sessions(&self) -> String {
        format!("{}/sessions", self.base)
    }

    pub(crate) fn session(&self, id: SessionId) -> String {
        format!("{}/sessions/{id}", self.base)
    }

    pub(crate) fn work(&self) -> String {
        format!("{}/work", self.base)
    }

    pub(crate) fn backoffs(&self) -> String {
        format!("{}/backoffs", self.base)
    }

    pub(crate) fn processes(&self) -> String {
        format!("{}/processes", self.base)
    }

    /// Names of processes need no escapes: they consist of letters, digits, `_` and `-`.
    pub(crate) fn process(&self, name: &Process) -> String {
        format!("{}/processes/{name}", self.base)
    }

    pub(crate) fn asset(&self, file: &str) -> String {
        format!("{}/assets/{file}", self.base)
    }
}

/// An address with the parameters that have a value.
pub(crate) fn with_query(path: &str, parameters: &[(&str, &str)]) -> String {
    let mut link = path.to_owned();
    let given = parameters.iter().filter(|(_, value)| !value.is_empty());
    for (nth, (name, value)) in given.enumerate() {
        link.push(if nth == 0 { '?' } else { '&' });
        push_encoded(&mut link, name);
        link.push('=');
        push_encoded(&mut link, value);
    }
    link
}

/// Percent-encodes all but RFC 3986's unreserved characters.
fn push_encoded(link: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            link.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(link, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_around_a_base_path_do_not_matter() {
        for base in ["fleet/x", "/fleet/x", "/fleet/x/", "fleet/x/"] {
            assert_eq!(Links::under(base).machines(), "/fleet/x/machines");
        }
        assert_eq!(Links::under("fleet").overview(), "/fleet");
        assert_eq!(Links::under("/fleet/").overview(), "/fleet/");
        for root in ["", "/"] {
            assert_eq!(Links::under(root).overview(), "/");
            assert_eq!(Links::under(root).machines(), "/machines");
        }
    }

    #[test]
    fn parameters_are_encoded() {
        let link = with_query("/machines", &[("a", ""), ("prefix", "a b&c=ä\"<#?")]);
        assert_eq!(link, "/machines?prefix=a%20b%26c%3D%C3%A4%22%3C%23%3F");
        assert_eq!(with_query("/machines", &[("after", "")]), "/machines");
    }
}
