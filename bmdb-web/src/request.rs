//! What a request asks for: the id in its path and the parameters of its query, checked.

use crate::error::Problem;
use axum::RequestPartsExt as _;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use bmdb_model::{MachineId, SessionId};
use std::convert::Infallible;
use std::fmt::Display;
use std::str::FromStr;

/// More than any link or form of the console makes, and short enough to be shown in an error.
const LONGEST_VALUE: usize = 500;

/// A page's request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    id: String,
    /// `Err` where the query is not one.
    parameters: Result<Vec<(String, String)>, String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // A path that does not decode names nothing; what there is, its page tells apart.
        let id = parts.extract::<Path<String>>().await;
        let parameters = Query::try_from_uri(&parts.uri);
        Ok(Self {
            id: id.map(|Path(id)| id).unwrap_or_default(),
            parameters: parameters
                .map(|Query(parameters)| parameters)
                .map_err(|error| error.body_text()),
        })
    }
}

impl Asked {
    /// The machine that the path names.
    pub(crate) fn machine(&self) -> Result<MachineId, Problem> {
        self.id()
    }

    /// The session that the path names.
    pub(crate) fn session(&self) -> Result<SessionId, Problem> {
        self.id()
    }

    fn id<T: FromStr<Err: Display>>(&self) -> Result<T, Problem> {
        let parsed = self.id.parse();
        parsed.map_err(|error: T::Err| Problem::bad_input("the address", error.to_string()))
    }

    /// The query's parameters, of which this page understands those named `known`.
    ///
    /// An unknown one is refused, for a mistyped filter would show everything.
    pub(crate) fn parameters(&self, known: &[&str]) -> Result<Parameters<'_>, Problem> {
        let all = match &self.parameters {
            Ok(all) => all,
            Err(problem) => return Err(Problem::bad_input("the address", problem.clone())),
        };
        let mut given: Vec<(&str, &str)> = Vec::new();
        for (name, value) in all {
            let problem = if !known.contains(&name.as_str()) {
                Some(match known {
                    [] => "is unknown; this page has no parameters".to_owned(),
                    _ => format!("is unknown; this page has {}", known.join(", ")),
                })
            } else if given.iter().any(|(other, _)| other == name) {
                Some("is given twice".to_owned())
            } else if value.len() > LONGEST_VALUE {
                Some(format!("is longer than {LONGEST_VALUE} bytes"))
            } else if value.contains(char::is_control) {
                Some("contains a control character".to_owned())
            } else {
                None
            };
            if let Some(problem) = problem {
                let name: String = name.chars().take(64).collect();
                return Err(Problem::bad_input(&format!("parameter {name:?}"), problem));
            }
            given.push((name, value.trim()));
        }
        given.retain(|(_, value)| !value.is_empty());
        Ok(Parameters { given })
    }
}

/// The parameters that have a value: a form sends its empty fields too.
#[derive(Debug, Clone)]
pub(crate) struct Parameters<'a> {
    given: Vec<(&'a str, &'a str)>,
}

impl<'a> Parameters<'a> {
    /// The value, without blanks around it.
    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        let found = self.given.iter().find(|(given, _)| *given == name);
        found.map(|(_, value)| *value)
    }

    /// The value as a `T`.
    pub(crate) fn get<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, Problem> {
        let parsed = self.text(name).map(str::parse).transpose();
        parsed.map_err(|error: T::Err| {
            Problem::bad_input(&format!("parameter {name:?}"), error.to_string())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &[(&str, &str)]) -> Asked {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Asked {
            id: "x".to_owned(),
            parameters: Ok(query.iter().map(owned).collect()),
        }
    }

    #[test]
    fn empty_fields_of_a_form_are_not_given() {
        let asked = asked(&[("tag", ""), ("prefix", "  ab ")]);
        let parameters = asked.parameters(&["tag", "prefix"]).unwrap();
        assert_eq!(parameters.text("tag"), None);
        assert_eq!(parameters.text("prefix"), Some("ab"));
    }

    #[test]
    fn what_a_page_does_not_understand_is_refused_by_name() {
        let long = "x".repeat(501);
        for (query, expected) in [
            (vec![("proces", "A")], "is unknown; this page has process"),
            (vec![("process", "A"), ("process", "B")], "is given twice"),
            (vec![("process", "a\0b")], "contains a control character"),
            (vec![("process", long.as_str())], "is longer than 500 bytes"),
        ] {
            let problem = asked(&query).parameters(&["process"]).unwrap_err();
            assert!(problem.reason().contains(expected), "{problem:?}");
        }
    }

    #[test]
    fn a_value_that_does_not_parse_says_why() {
        let asked = asked(&[("after", "12x")]);
        let parameters = asked.parameters(&["after"]).unwrap();
        let problem = parameters.get::<MachineId>("after").unwrap_err();
        assert!(
            problem.reason().contains("invalid machine id"),
            "{problem:?}"
        );
    }
}
