//! Parser for both forms of a database URL, which follows libpq.
//!
//! Errors repeat nothing of the text: what looks like a host may be the second half of a password that
//! contains an `@`.

/// A parameter's name and value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) name: String,
    pub(super) value: Value,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// May contain commas that separate the values of several hosts.
    Plain(String),
    /// From a URL: split at commas before decoding, so that a folder may contain commas.
    List(Vec<String>),
}

/// The settings of a text, in order; the last of equal names counts.
pub(super) fn settings(text: &str) -> Result<Vec<Setting>, String> {
    if text.contains('\0') {
        return Err("it contains a NUL byte".to_owned());
    }
    for scheme in ["postgresql://", "postgres://"] {
        if let Some(rest) = text.strip_prefix(scheme) {
            return url(rest);
        }
    }
    if text.contains("://") && !text.contains('=') {
        return Err("its scheme is neither postgres:// nor postgresql://".to_owned());
    }
    pairs(text)
}

/// `user:password@host:port,host:port/database?name=value&name=value`, each part optional.
fn url(rest: &str) -> Result<Vec<Setting>, String> {
    let (location, query) = rest.split_once('?').unwrap_or((rest, ""));
    // libpq ends the password at the first @, and takes the rest for a host.
    if location.matches('@').count() > 1 {
        return Err(
            "it contains more than one @: write those of names and passwords as %40".into(),
        );
    }
    let (authority, database) = location.split_once('/').unwrap_or((location, ""));
    if database.contains('@') {
        return Err("an @ follows a /: write a / in a user name or password as %2F".to_owned());
    }
    let (credentials, hosts) = match authority.split_once('@') {
        Some((credentials, hosts)) => (credentials, hosts),
        None => ("", authority),
    };
    let (user, password) = match credentials.split_once(':') {
        Some((user, password)) => (user, password),
        None => (credentials, ""),
    };
    let mut settings = Vec::new();
    for (name, value) in [("user", user), ("password", password), ("dbname", database)] {
        if !value.is_empty() {
            settings.push(plain(name.to_owned(), decoded(value)?));
        }
    }
    if !hosts.is_empty() {
        let hosts = hosts.split(',').map(host_and_port);
        let (hosts, ports): (Vec<String>, Vec<String>) =
            hosts.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        // An authority that is only a port belongs to a host that is named elsewhere.
        if hosts.iter().any(|host| !host.is_empty()) {
            settings.push(list("host", hosts));
        }
        if ports.iter().any(|port| !port.is_empty()) {
            settings.push(list("port", ports));
        }
    }
    for (i, pair) in query.split('&').enumerate() {
        if pair.is_empty() {
            continue;
        }
        let Some((name, value)) = pair.split_once('=') else {
            return Err(format!("its parameter number {} has no =", i + 1));
        };
        settings.push(parameter(decoded(name)?, value)?);
    }
    Ok(settings)
}

fn parameter(name: String, value: &str) -> Result<Setting, String> {
    if value.contains('=') {
        return Err("a parameter has more than one =: write those of values as %3D".to_owned());
    }
    // Drivers of other languages accept this.
    if name == "ssl" && value == "true" {
        return Ok(plain("sslmode".to_owned(), "require".to_owned()));
    }
    if ["host", "hostaddr", "port"].contains(&name.as_str()) {
        let values = value.split(',').map(decoded).collect::<Result<_, _>>()?;
        return Ok(list(&name, values));
    }
    Ok(plain(name, decoded(value)?))
}

/// A host and its port, either of which may be empty; a host with colons is in brackets.
fn host_and_port(text: &str) -> Result<(String, String), String> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((host, after)) = rest.split_once(']') else {
                return Err("a host begins with [ and has no ]".to_owned());
            };
            match after.strip_prefix(':') {
                Some(port) => (host, port),
                None if after.is_empty() => (host, ""),
                None => return Err("something else than a :port follows a ]".to_owned()),
            }
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    Ok((decoded(host)?, decoded(port)?))
}

/// Percent-decodes a text.
fn decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let byte = digit().zip(digit()).map(|(high, low)| high * 16 + low);
        match byte.and_then(|byte| u8::try_from(byte).ok()) {
            Some(0) => return Err("%00 stands for nothing that could be sent".to_owned()),
            Some(byte) => bytes.push(byte),
            None => {
                let problem = "a % is not followed by two hexadecimal digits: write a % as %25";
                return Err(problem.to_owned());
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| "what is written with % is not UTF-8".to_owned())
}

/// `name=value name='value with spaces'`; `\` escapes the next character.
fn pairs(text: &str) -> Result<Vec<Setting>, String> {
    let mut settings = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let number = settings.len() + 1;
        let Some((name, after)) = rest.split_once('=') else {
            return Err(format!("its parameter number {number} has no ="));
        };
        let name = name.trim_end();
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(format!(
                "its parameter number {number} has no =, or no name; values with spaces are in \
                 quotes: 'a b'"
            ));
        }
        let (value, after) = value_of(after.trim_start())
            .ok_or_else(|| format!("its parameter number {number} has no closing quote"))?;
        settings.push(plain(name.to_owned(), value));
        rest = after.trim_start();
    }
    Ok(settings)
}

/// The value at the beginning of a text, and the rest; `None` if its quote is not closed.
fn value_of(text: &str) -> Option<(String, &str)> {
    let (quoted, body) = match text.strip_prefix('\'') {
        Some(body) => (true, body),
        None => (false, text),
    };
    let mut value = String::new();
    let mut chars = body.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' if quoted => return Some((value, &body[at + 1..])),
            '\\' => value.extend(chars.next().map(|(_, literally)| literally)),
            c if c.is_whitespace() && !quoted => return Some((value, &body[at..])),
            c => value.push(c),
        }
    }
    (!quoted).then_some((value, ""))
}

fn plain(name: String, value: String) -> Setting {
    let value = Value::Plain(value);
    Setting { name, value }
}

fn list(name: &str, values: Vec<String>) -> Setting {
    let value = Value::List(values);
    let name = name.to_owned();
    Setting { name, value }
}
