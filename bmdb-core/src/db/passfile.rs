//! libpq's password file: lines of `host:port:database:user:password`.

use crate::db::url::Host;

/// What a password is looked up for.
pub(crate) struct Login<'a> {
    pub(crate) host: &'a Host,
    pub(crate) database: &'a str,
    pub(crate) user: &'a str,
}

/// The password of the first line that matches. In a line, `*` matches everything, and `\` escapes a literal
/// `:` or `\`.
pub(crate) fn find(text: &str, login: &Login<'_>) -> Option<String> {
    let port = login.host.port.to_string();
    let wanted = [&login.host.name, &port, login.database, login.user];
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .find_map(|line| {
            let mut rest = line;
            for wanted in wanted {
                let (field, after) = field(rest)?;
                let matches = rest.starts_with("*:") || field == wanted;
                rest = matches.then_some(after)?;
            }
            // A colon after the password ends it.
            let password = field(rest).map_or_else(|| unescaped(rest), |(password, _)| password);
            (!password.is_empty()).then_some(password)
        })
}

/// The text before the first `:` that is not escaped, and the text after it.
fn field(line: &str) -> Option<(String, &str)> {
    let mut escaped = false;
    let end = line.find(|c| {
        let ends = c == ':' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    Some((unescaped(&line[..end]), &line[end + 1..]))
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.extend(chars.next()),
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_matching_line_has_the_password() {
        let file = "# comment:5432:db:u:no\n\
                    other:*:*:*:no\n\
                    h:5432:db:nobody:no\n\
                    h:5432:db:u:\n\
                    h\\:1:5432:*:a\\\\b:colon\\:ed:ignored\n\
                    broken line\n\
                    *:*:*:u:it's\\\\\n\
                    *:*:*:*:last";
        let password = |text: &str, host: &str, user: &str| {
            let host = &Host {
                name: host.to_owned(),
                address: None,
                port: 5432,
            };
            let database = "db";
            find(
                text,
                &Login {
                    host,
                    database,
                    user,
                },
            )
        };
        for (host, user, expected) in [
            ("h", "u", Some("it's\\")),
            ("h:1", "a\\b", Some("colon:ed")),
            ("h", "v", Some("last")),
            ("other", "u", Some("no")),
        ] {
            let found = password(file, host, user);
            assert_eq!(found.as_deref(), expected, "{host} {user}");
        }
        assert_eq!(password("", "h", "u"), None);
    }
}
