//! The environment's part in where the servers are: libpq's variables, read once.

use super::parameter::PARAMETERS;
use super::text::Value;
use super::{DatabaseUrl, UrlError};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// libpq's variables, and where its files are. They may hold a password, so this has no `Debug`.
#[derive(Clone, Default)]
pub(crate) struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// That of this process, as it is now.
    pub(crate) fn read() -> Self {
        std::env::vars_os().collect()
    }

    fn get(&self, variable: &str) -> Option<&OsStr> {
        let value = self.0.get(OsStr::new(variable))?;
        (!value.is_empty()).then_some(value)
    }

    /// The home folder, below which libpq looks for files that are not named.
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
    /// With what it leaves out as these variables say, as libpq does it. A URL that names its servers
    /// by name or by address leaves out neither.
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
        self.settle()?;
        Ok(self)
    }
}
