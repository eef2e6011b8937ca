//! libpq's environment variables, which fill in what a database URL leaves out.

use super::parameter::PARAMETERS;
use super::text::Value;
use super::{DatabaseUrl, UrlError};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// libpq's variables and the home folder, read once. They may contain a password, so there is no `Debug`.
#[derive(Clone, Default)]
pub(crate) struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// Reads the variables of this process.
    pub(crate) fn read() -> Self {
        std::env::vars_os().collect()
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
            names.chain(["HOME"]).any(|ours| name == ours)
        };
        let kept = variables.into_iter().filter(|(name, _)| ours(name));
        Self(kept.collect())
    }
}

impl DatabaseUrl {
    /// The same with what it leaves out taken from these variables, as in libpq. A URL that names servers by
    /// name or by address leaves out neither.
    pub(crate) fn filled_from(mut self, environment: &Environment) -> Result<Self, UrlError> {
        let names_servers = !self.hosts.is_empty() || !self.addresses.is_empty();
        let names_ports = !self.ports.is_empty();
        for parameter in PARAMETERS {
            let left_out = match parameter.name {
                "host" | "hostaddr" => !names_servers,
                "port" => !names_ports,
                name => !self.values.contains_key(name),
            };
            let Some(variable) = parameter.variable.filter(|_| left_out) else {
                continue;
            };
            let Some(value) = environment.get(variable) else {
                continue;
            };
            let Some(value) = value.to_str() else {
                return Err(UrlError(format!("the variable {variable} is not UTF-8")));
            };
            let set = self.set(parameter, Value::Plain(value.to_owned()));
            set.map_err(|UrlError(problem)| {
                UrlError(format!("of the variable {variable}: {problem}"))
            })?;
        }
        self.normalize()?;
        Ok(self)
    }
}
