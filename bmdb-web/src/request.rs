//! Page request: the id in its path and the parameters of its query, validated.

use crate::error::HttpError;
use axum::RequestPartsExt as _;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use std::convert::Infallible;
use std::fmt::Display;
use std::str::FromStr;

/// In bytes. Longer than any link or form of the console makes, and short enough for an error text.
const LONGEST_VALUE: usize = 500;

#[derive(Debug, Clone)]
pub(crate) struct PageRequest {
    id: String,
    /// `Err` if the query cannot be decoded.
    parameters: Result<Vec<(String, String)>, String>,
}

impl<S: Send + Sync> FromRequestParts<S> for PageRequest {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // A path that cannot be decoded has an empty id, which the page refuses.
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

impl PageRequest {
    /// The id in the path.
    pub(crate) fn id<T: FromStr<Err: Display>>(&self) -> Result<T, HttpError> {
        let parsed = self.id.parse();
        parsed.map_err(|error: T::Err| HttpError::bad_request("the address", error.to_string()))
    }

    /// The query's parameters. The page accepts those in `known`.
    ///
    /// Unknown parameters are refused, because a mistyped filter would show everything.
    pub(crate) fn parameters(&self, known: &[&str]) -> Result<Parameters<'_>, HttpError> {
        let all = match &self.parameters {
            Ok(all) => all,
            Err(reason) => return Err(HttpError::bad_request("the address", reason)),
        };
        let mut given: Vec<(&str, &str)> = Vec::new();
        for (name, value) in all {
            let reason = if !known.contains(&name.as_str()) {
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
            if let Some(reason) = reason {
                let name: String = name.chars().take(64).collect();
                return Err(HttpError::bad_parameter(&name, reason));
            }
            given.push((name, value.trim()));
        }
        given.retain(|(_, value)| !value.is_empty());
        Ok(Parameters { given })
    }
}

/// The parameters that have a value. A form also sends its empty fields; they are left out.
#[derive(Debug, Clone)]
pub(crate) struct Parameters<'a> {
    given: Vec<(&'a str, &'a str)>,
}

impl<'a> Parameters<'a> {
    /// The value, trimmed.
    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        let found = self.given.iter().find(|(given, _)| *given == name);
        found.map(|(_, value)| *value)
    }

    pub(crate) fn get<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, HttpError> {
        let parsed = self.text(name).map(str::parse).transpose();
        parsed.map_err(|error: T::Err| HttpError::bad_parameter(name, error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bmdb_model::MachineId;

    fn request(query: &[(&str, &str)]) -> PageRequest {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        PageRequest {
            id: "x".to_owned(),
            parameters: Ok(query.iter().map(owned).collect()),
        }
    }

    #[test]
    fn empty_form_fields_count_as_not_given() {
        let request = request(&[("tag", ""), ("prefix", "  ab ")]);
        let parameters = request.parameters(&["tag", "prefix"]).unwrap();
        assert_eq!(parameters.text("tag"), None);
        assert_eq!(parameters.text("prefix"), Some("ab"));
    }

    #[test]
    fn invalid_parameters_are_refused_by_name() {
        let long = "x".repeat(501);
        for (query, expected) in [
            (vec![("proces", "A")], "is unknown; this page has process"),
            (vec![("process", "A"), ("process", "B")], "is given twice"),
            (vec![("process", "a\0b")], "contains a control character"),
            (vec![("process", long.as_str())], "is longer than 500 bytes"),
        ] {
            let error = request(&query).parameters(&["process"]).unwrap_err();
            assert!(error.reason().contains(expected), "{error:?}");
        }
    }

    #[test]
    fn a_value_that_does_not_parse_is_refused_with_the_reason() {
        let request = request(&[("after", "12x")]);
        let parameters = request.parameters(&["after"]).unwrap();
        let error = parameters.get::<MachineId>("after").unwrap_err();
        assert!(error.reason().contains("invalid machine id"), "{error:?}");
    }
}
