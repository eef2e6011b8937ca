//! Database URLs: the servers, and how to connect to them.

mod environment;
mod parameter;
mod service;
#[cfg(test)]
mod tests;
mod text;

pub(crate) use environment::Environment;

use parameter::{Kind, Parameter};
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::net::{AddrParseError, IpAddr};
use std::path::PathBuf;
use std::str::FromStr;
use text::{Setting, Value};

/// The port of a server that names none.
const PORT: u16 = 5432;

/// A parsed database URL: `postgres://user:password@host:port,host:port/database?name=value`, or
/// `name=value` pairs, with libpq's names and meanings.
///
/// Parsing reads no environment variable and no file, and connects to nothing. `Display` and `Debug` print a
/// URL without the password, which parses to the same value but for that.
///
/// ```
/// use bmdb_core::DatabaseUrl;
///
/// let url: DatabaseUrl = "host=db1,db2 user=u password='two words' sslmode=verify-full".parse()?;
/// assert_eq!(url.to_string(), "postgresql://u@db1,db2/?sslmode=verify-full");
/// # Ok::<(), bmdb_core::UrlError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub struct DatabaseUrl {
    hosts: Vec<String>,
    /// As many as hosts, if there are hosts; `None`: the name is looked up.
    addresses: Vec<Option<IpAddr>>,
    /// As many as hosts or addresses, or one, or none.
    ports: Vec<Option<u16>>,
    /// All other parameters.
    values: BTreeMap<&'static str, String>,
}

/// Why a text is not a database URL. It repeats nothing of the text, which may contain a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UrlError(String);

/// One server of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    /// A host name, an address, or the folder of a socket.
    pub(crate) name: String,
    /// The address, if the name is not to be looked up.
    pub(crate) address: Option<IpAddr>,
    pub(crate) port: u16,
}

impl Host {
    /// Whether the server is reached by a Unix socket: in this folder, or in the abstract namespace (`@name`).
    pub(crate) fn is_socket(&self) -> bool {
        self.address.is_none() && self.name.starts_with(['/', '@'])
    }

    /// The path of its socket; it begins with a NUL in the abstract namespace.
    pub(crate) fn socket_path(&self) -> Option<PathBuf> {
        if !self.is_socket() {
            return None;
        }
        let path = format!("{}/.s.PGSQL.{}", self.name, self.port);
        Some(match path.strip_prefix('@') {
            Some(name) => format!("\0{name}").into(),
            None => path.into(),
        })
    }

    /// Whether the connection stays on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        let address = self.address.or_else(|| self.name.parse().ok());
        match address {
            Some(address) => address.to_canonical().is_loopback(),
            None => self.name == "localhost",
        }
    }
}

/// For error messages.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, port, .. } = self;
        match self.address {
            None if self.is_socket() => write!(f, "{name}/.s.PGSQL.{port}"),
            None => write!(f, "{name}:{port}"),
            Some(address) if address.to_string() == *name => write!(f, "{name}:{port}"),
            Some(address) => write!(f, "{name}:{port} ({address})"),
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let mut url = Self::default();
        for (i, Setting { name, value }) in text::settings(text)
            .map_err(UrlError)?
            .into_iter()
            .enumerate()
        {
            let Some(parameter) = parameter::named(&name) else {
                let problem = "is none of libpq's: see its documentation of connection strings";
                return Err(UrlError(format!("parameter number {} {problem}", i + 1)));
            };
            url.set(parameter, value)?;
        }
        url.normalize()?;
        Ok(url)
    }
}

impl DatabaseUrl {
    /// Validates and stores a value; an empty value unsets the parameter, as in libpq.
    fn set(&mut self, parameter: &Parameter, value: Value) -> Result<(), UrlError> {
        let name = parameter.name;
        let wrong = |problem: &str| Err(UrlError(format!("{name} {problem}")));
        if let Kind::Hosts | Kind::Addresses | Kind::Ports = parameter.kind {
            return self.set_list(parameter, value);
        }
        let value = match value {
            Value::Plain(value) => value,
            Value::List(values) => values.join(","),
        };
        let value = match parameter.kind {
            _ if value.is_empty() => {
                self.values.remove(name);
                return Ok(());
            }
            Kind::Ignored => return Ok(()),
            Kind::Refused(instead) => return wrong(instead),
            Kind::Number(largest) => {
                let number = value.trim().parse::<i32>().ok();
                let Some(number) = number.filter(|number| *number <= largest) else {
                    return wrong(&format!("is not a whole number of at most {largest}"));
                };
                number.to_string()
            }
            Kind::OneOf(known) if !known.contains(&value.as_str()) => {
                return wrong(&format!("is none of {}", known.join(", ")));
            }
            _ => value,
        };
        self.values.insert(name, value);
        Ok(())
    }

    fn set_list(&mut self, parameter: &Parameter, value: Value) -> Result<(), UrlError> {
        let wrong = |problem: &str| UrlError(problem.to_owned());
        let mut values: Vec<String> = match value {
            Value::List(values) => values,
            Value::Plain(value) => value.split(',').map(|one| one.trim().to_owned()).collect(),
        };
        if values == [""] {
            values.clear();
        }
        match parameter.kind {
            Kind::Addresses => {
                let address = |text: &String| match text.as_str() {
                    "" => Ok(None),
                    text => text.parse().map(Some),
                };
                let addresses: Result<_, AddrParseError> = values.iter().map(address).collect();
                self.addresses = addresses.map_err(|_| wrong("a hostaddr is no IP address"))?;
            }
            Kind::Ports => {
                let ports: Option<Vec<_>> = values.iter().map(|port| port_of(port)).collect();
                let problem = "a port is not a number from 1 to 65535";
                self.ports = ports.ok_or_else(|| wrong(problem))?;
            }
            _ if values.iter().any(String::is_empty) => {
                return Err(wrong("one of the hosts has no name"));
            }
            _ => self.hosts = values,
        }
        Ok(())
    }

    /// Refuses lists of different lengths, and normalizes lists that mean the same.
    fn normalize(&mut self) -> Result<(), UrlError> {
        let (hosts, addresses) = (self.hosts.len(), self.addresses.len());
        if hosts > 0 && addresses > 0 && hosts != addresses {
            return Err(UrlError(format!(
                "it names {hosts} hosts and {addresses} addresses: hostaddr has one for each host"
            )));
        }
        if self.addresses.iter().all(Option::is_none) {
            self.addresses.clear();
        } else if hosts == 0 && self.addresses.contains(&None) {
            return Err(UrlError("a hostaddr is empty, and its host too".to_owned()));
        }
        let servers = hosts.max(addresses);
        if self.ports.iter().all(Option::is_none) {
            self.ports.clear();
        }
        match self.ports.as_slice() {
            [port] if servers > 0 => self.ports = vec![*port; servers],
            ports if servers > 0 && !ports.is_empty() && ports.len() != servers => {
                let ports = ports.len();
                return Err(UrlError(format!(
                    "it names {servers} hosts and {ports} ports: name one port, or one for each"
                )));
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether it does not have a value for this parameter.
    fn leaves_out(&self, name: &str) -> bool {
        match name {
            "host" => self.hosts.is_empty(),
            "hostaddr" => self.addresses.is_empty(),
            "port" => self.ports.is_empty(),
            name => !self.values.contains_key(name),
        }
    }

    /// The value of a parameter other than hosts, addresses and ports.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The value of a number; zero if it is less, as in libpq.
    pub(crate) fn number(&self, name: &str) -> Option<u32> {
        let number: i32 = self.get(name)?.parse().ok()?;
        Some(u32::try_from(number).unwrap_or(0))
    }

    /// The servers, in order.
    pub(crate) fn hosts(&self) -> Vec<Host> {
        let servers = 0..self.hosts.len().max(self.addresses.len());
        let host = |i: usize| {
            let address = self.addresses.get(i).copied().flatten();
            // Without a name, the certificate must be for the address.
            let name = address.map(|address| address.to_string());
            Host {
                name: self.hosts.get(i).cloned().or(name).unwrap_or_default(),
                address,
                port: self.ports.get(i).copied().flatten().unwrap_or(PORT),
            }
        };
        servers.map(host).collect()
    }

    fn write_hosts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, host) in self.hosts.iter().enumerate() {
            if i > 0 {
                f.write_char(',')?;
            }
            write_encoded(f, host)?;
            if let Some(Some(port)) = self.ports.get(i) {
                write!(f, ":{port}")?;
            }
        }
        Ok(())
    }
}

fn port_of(text: &str) -> Option<Option<u16>> {
    if text.is_empty() {
        return Some(None);
    }
    let port = text.parse().ok().filter(|port| *port > 0)?;
    Some(Some(port))
}

/// Percent-encodes everything but letters, digits and a few others.
fn write_encoded(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            f.write_char(char::from(byte))?;
        } else {
            write!(f, "%{byte:02X}")?;
        }
    }
    Ok(())
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgresql://")?;
        if let Some(user) = self.get("user") {
            write_encoded(f, user)?;
            f.write_char('@')?;
        }
        self.write_hosts(f)?;
        f.write_char('/')?;
        write_encoded(f, self.get("dbname").unwrap_or_default())?;
        let mut separator = '?';
        if !self.addresses.is_empty() {
            let address =
                |address: &Option<IpAddr>| address.map_or_else(String::new, |it| it.to_string());
            let addresses: Vec<String> = self.addresses.iter().map(address).collect();
            write!(f, "{separator}hostaddr={}", addresses.join(","))?;
            separator = '&';
        }
        if self.hosts.is_empty() && !self.ports.is_empty() {
            let port = |port: &Option<u16>| port.map_or_else(String::new, |port| port.to_string());
            let ports: Vec<String> = self.ports.iter().map(port).collect();
            write!(f, "{separator}port={}", ports.join(","))?;
            separator = '&';
        }
        for (name, value) in &self.values {
            if !["user", "password", "dbname"].contains(name) {
                write!(f, "{separator}{name}=")?;
                write_encoded(f, value)?;
                separator = '&';
            }
        }
        Ok(())
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}
