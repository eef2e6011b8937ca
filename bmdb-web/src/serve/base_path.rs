//! Base path: the path of a proxy below which the server is reached, such as `/fleet`.

use axum::http::Uri;
use axum::http::uri::PathAndQuery;

/// The first part of the server's own paths. As a base path it would be ambiguous whether a proxy has
/// removed it.
const OWN: [&str; 9] = [
    "machines",
    "processes",
    "sessions",
    "work",
    "backoffs",
    "assets",
    "metrics",
    "healthz",
    "readyz",
];

/// A path such as `/fleet`; empty for the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BasePath(String);

impl BasePath {
    /// Slashes at the ends do not matter. `Err`: what is wrong.
    pub(super) fn new(text: &str) -> Result<Self, &'static str> {
        let inner = text.strip_prefix('/').unwrap_or(text);
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        if inner.is_empty() {
            return Ok(Self(String::new()));
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~');
        for part in inner.split('/') {
            if part.is_empty() || part.chars().all(|c| c == '.') {
                return Err("it has an empty part, or one of dots only");
            }
            if !part.chars().all(is_plain) {
                return Err("only letters, digits, -, _, . and ~ may stand between its slashes");
            }
        }
        if OWN.contains(&inner.split('/').next().unwrap_or_default()) {
            return Err("it begins like a page of the server itself");
        }
        Ok(Self(format!("/{inner}")))
    }

    /// The path without a slash at its end.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The address that routes see. Some proxies remove the base path and others do not: it is removed here
    /// if it is there.
    pub(super) fn strip(&self, uri: &mut Uri) {
        let Some(target) = uri.path_and_query() else {
            return;
        };
        let Some(rest) = target.as_str().strip_prefix(&self.0) else {
            return;
        };
        let rest = match rest.chars().next() {
            _ if self.0.is_empty() => return,
            Some('/') => rest.to_owned(),
            None | Some('?') => format!("/{rest}"),
            Some(_) => return,
        };
        let mut parts = uri.clone().into_parts();
        // It was a part of a valid address, so it is one.
        parts.path_and_query = rest.parse::<PathAndQuery>().ok();
        if let Ok(stripped) = Uri::from_parts(parts) {
            *uri = stripped;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_path_is_stripped_where_it_is_there() {
        let base = BasePath::new("fleet/").unwrap();
        for (asked, seen) in [
            ("/fleet", "/"),
            ("/fleet/", "/"),
            ("/fleet?x=1", "/?x=1"),
            ("/fleet/machines?after=/fleet/", "/machines?after=/fleet/"),
            ("/machines", "/machines"),
            ("/fleets", "/fleets"),
            ("/", "/"),
            ("http://ops.example/fleet/work", "http://ops.example/work"),
        ] {
            let mut uri: Uri = asked.parse().unwrap();
            base.strip(&mut uri);
            assert_eq!(uri, seen, "{asked}");
        }
        let mut uri = Uri::from_static("/machines");
        BasePath::new("/").unwrap().strip(&mut uri);
        assert_eq!(uri, "/machines");
    }

    #[test]
    fn a_path_that_would_be_ambiguous_or_needs_escapes_is_refused() {
        for good in ["", "/", "/a", "a/b-c_d.e~f/", "/ops/machines"] {
            assert!(BasePath::new(good).is_ok(), "{good}");
        }
        for bad in [
            "//evil.example",
            "/a//b",
            "/..",
            "/a b",
            "/ä",
            "/machines",
            "/metrics/x",
            "/a?b",
        ] {
            assert!(BasePath::new(bad).is_err(), "{bad}");
        }
    }
}
