//! libpq's environment variables, which fill in what a database URL leaves out.

use super::parameter::PARAMETERS;
use super::text::Value;
use super::{DatabaseUrl, UrlError};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// Variables that stand for no parameter: they say where files are.
const OTHERS: [&str; 2] = ["HOME", "PGSYSCONFDIR"];

/// libpq's variables and the home folder, read once. They may contain a password, so there is no `Debug`.
#[derive(Clone, Default)]
pub(crate) struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// Reads the variables of this process.
    pub(crate) fn read() -> Self {
        let variables = std::env::vars_os();
        // Without the variable, libpq asks the system for the folder.
        let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
        let home = home.map(|home| ("HOME".into(), home.into_os_string()));
        variables.chain(home).collect()
    }

    /// The value of a variable that must be UTF-8; `None` if it is not set, or empty.
    pub(super) fn text(&self, variable: &str) -> Result<Option<String>, UrlError> {
        let Some(value) = self.get(variable) else {
            return Ok(None);
        };
        match value.to_str() {
            Some(value) => Ok(Some(value.to_owned())),
            None => Err(UrlError(format!("the variable {variable} is not UTF-8"))),
        }
    }

    fn get(&self, variable: &str) -> Option<&OsStr> {
        let value = self.0.get(OsStr::new(variable))?;
        (!value.is_empty()).then_some(value)
    }

    /// The home folder, which contains libpq's default files.
    pub(crate) fn home(&self) -> Option<PathBuf> {
        self.get("HOME").map(PathBuf::from)
    }
}

impl FromIterator<(OsString, OsString)> for Environment {
    fn from_iter<I: IntoIterator<Item = (OsString, OsString)>>(variables: I) -> Self {
        let ours = |name: &OsString| {
            let names = PARAMETERS.iter().filter_map(|parameter| parameter.variable);
            names.chain(OTHERS).any(|ours| name == ours)
        };
        let kept = variables.into_iter().filter(|(name, _)| ours(name));
        Self(kept.collect())
    }
}

impl DatabaseUrl {
    /// The same with what it leaves out taken from its service and then from these variables, as in libpq.
    /// Reads the service file, if there is a service.
    pub(crate) fn filled_from(self, environment: &Environment) -> Result<Self, UrlError> {
        let mut filled = self.filled_from_service(Some(environment))?;
        let left_out: Vec<_> = PARAMETERS
            .iter()
            .filter(|parameter| filled.leaves_out(parameter.name))
            .collect();
        for parameter in left_out {
            let Some(variable) = parameter.variable else {
                continue;
            };
            let Some(value) = environment.text(variable)? else {
                continue;
            };
            let set = filled.set(parameter, Value::Plain(value));
            set.map_err(|UrlError(problem)| {
                UrlError(format!("of the variable {variable}: {problem}"))
            })?;
        }
        filled.normalize()?;
        Ok(filled)
    }
}
