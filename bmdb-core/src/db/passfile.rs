//! libpq's password file: lines of `host:port:database:user:password`.

use crate::db::url::Place;

/// Whom the password is for.
pub(crate) struct Login<'a> {
    pub(crate) place: &'a Place,
    pub(crate) database: &'a str,
    pub(crate) user: &'a str,
}

/// The password of the first line that fits. In a line, `*` fits everything, and a `\` is before each
/// `:` and `\` that is meant literally.
pub(crate) fn find(text: &str, login: &Login<'_>) -> Option<String> {
    let port = login.place.port.to_string();
    let wanted = [&login.place.host, &port, login.database, login.user];
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .find_map(|line| {
            let mut rest = line;
            for wanted in wanted {
                let (field, after) = field(rest)?;
                let fits = rest.starts_with("*:") || field == wanted;
                rest = fits.then_some(after)?;
            }
            // What follows the password, should there be a colon, is none of it.
            let password = field(rest).map_or_else(|| unescaped(rest), |(password, _)| password);
            (!password.is_empty()).then_some(password)
        })
}

/// What is before the first `:` that is not escaped, and what is behind.
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
    fn the_first_line_that_fits_has_the_password() {
        let file = "# comment:5432:db:u:no\n\
                    other:*:*:*:no\n\
                    h:5432:db:nobody:no\n\
                    h:5432:db:u:\n\
                    h\\:1:5432:*:a\\\\b:colon\\:ed:ignored\n\
                    broken line\n\
                    *:*:*:u:it's\\\\\n\
                    *:*:*:*:last";
        let place = |host: &str| Place {
            host: host.to_owned(),
            address: None,
            port: 5432,
        };
        for (host, user, password) in [
            ("h", "u", Some("it's\\")),
            ("h:1", "a\\b", Some("colon:ed")),
            ("h", "v", Some("last")),
            ("other", "u", Some("no")),
        ] {
            let place = place(host);
            let (place, database) = (&place, "db");
            let login = Login {
                place,
                database,
                user,
            };
            assert_eq!(find(file, &login).as_deref(), password, "{host} {user}");
        }
        let place = place("h");
        let login = Login {
            place: &place,
            database: "db",
            user: "u",
        };
        assert_eq!(find("", &login), None);
    }
}
