//! Service files of libpq: named groups of parameters.

use super::environment::Environment;
use super::parameter::{self, Parameter};
use super::text::Value;
use super::{DatabaseUrl, UrlError};
use std::fs;
use std::path::{Path, PathBuf};

/// The folders of the system's own file; libpq knows the one that it was built for.
const SYSTEM_FOLDERS: [&str; 2] = ["/etc/postgresql-common", "/etc"];

impl DatabaseUrl {
    /// The same with what it leaves out taken from the service that it or the environment names.
    pub(crate) fn filled_from_service(
        mut self,
        environment: Option<&Environment>,
    ) -> Result<Self, UrlError> {
        let variable = |name| match environment {
            Some(environment) => environment.text(name),
            None => Ok(None),
        };
        let service = match self.get("service") {
            Some(service) => Some(service.to_owned()),
            None => variable("PGSERVICE")?,
        };
        let Some(service) = service else {
            return Ok(self);
        };
        let named = match self.get("servicefile") {
            Some(file) => Some(file.to_owned()),
            None => variable("PGSERVICEFILE")?,
        };
        if named.is_none() && environment.is_none() {
            return Err(UrlError(
                "it names a service and no servicefile, and this program reads no file that it is not \
                 given: write out what the service stands for"
                    .to_owned(),
            ));
        }
        for file in files(named, environment)? {
            if let Some(lines) = lines_of(&file, &service)? {
                for (parameter, value) in lines {
                    if self.leaves_out(parameter.name) {
                        self.set(parameter, Value::Plain(value))
                            .map_err(|UrlError(problem)| wrong(&file, &problem))?;
                    }
                }
                self.normalize()?;
                return Ok(self);
            }
        }
        Err(UrlError(
            "its service (service, PGSERVICE) is in none of the service files: see \
             PGSERVICEFILE, ~/.pg_service.conf and PGSYSCONFDIR"
                .to_owned(),
        ))
    }
}

/// The files to search, in order.
fn files(
    named: Option<String>,
    environment: Option<&Environment>,
) -> Result<Vec<PathBuf>, UrlError> {
    let mut files = Vec::new();
    let home = environment.and_then(Environment::home);
    match named.map(PathBuf::from) {
        Some(named) if !named.exists() => return Err(wrong(&named, "it does not exist")),
        Some(named) => files.push(named),
        None => files.extend(home.map(|home| home.join(".pg_service.conf"))),
    }
    if let Some(environment) = environment {
        let folders = match environment.text("PGSYSCONFDIR")? {
            Some(folder) => vec![PathBuf::from(folder)],
            None => SYSTEM_FOLDERS.map(PathBuf::from).to_vec(),
        };
        files.extend(folders.iter().map(|folder| folder.join("pg_service.conf")));
    }
    files.retain(|file| file.exists());
    Ok(files)
}

/// The parameters of a service; `None` if the file does not have it. Lines of other services are not judged.
fn lines_of(
    file: &Path,
    service: &str,
) -> Result<Option<Vec<(&'static Parameter, String)>>, UrlError> {
    let bytes = fs::read(file).map_err(|error| wrong(file, &error.to_string()))?;
    let mut found = None;
    for (i, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        if let Some(name) = line.strip_prefix(b"[") {
            if found.is_some() {
                break;
            }
            let is_it = name.strip_suffix(b"]") == Some(service.as_bytes());
            found = is_it.then(Vec::new);
            continue;
        }
        let Some(parameters) = &mut found else {
            continue;
        };
        let wrong = |problem: &str| wrong(file, &format!("line {}: {problem}", i + 1));
        let line = std::str::from_utf8(line).map_err(|_| wrong("it is not UTF-8"))?;
        if line.starts_with("ldap") {
            return Err(wrong("services of LDAP are not supported"));
        }
        let (name, value) = line.split_once('=').ok_or_else(|| wrong("it has no ="))?;
        match parameter::named(name) {
            Some(Parameter {
                name: "service" | "servicefile",
                ..
            }) => return Err(wrong("a service cannot name another")),
            Some(parameter) => parameters.push((parameter, value.to_owned())),
            None => return Err(wrong("its parameter is none of libpq's")),
        }
    }
    Ok(found)
}

fn wrong(file: &Path, problem: &str) -> UrlError {
    UrlError(format!("of the service file {}: {problem}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn with(text: &[u8]) -> Self {
            let name = format!("bmdb-service-{}", uuid::Uuid::new_v4());
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            fs::write(path.join(".pg_service.conf"), text).unwrap();
            Self(path)
        }

        fn fill(&self, url: &str) -> Result<DatabaseUrl, String> {
            let variables = [("HOME", self.0.as_os_str()), ("PGUSER", "eve".as_ref())];
            let variables = variables.map(|(name, value)| (name.into(), value.to_owned()));
            let environment: Environment = variables.into_iter().collect();
            let url: DatabaseUrl = url.parse().unwrap();
            url.filled_from(&environment)
                .map_err(|error| error.to_string())
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn a_service_fills_in_what_the_url_leaves_out_before_the_environment_does() {
        let folder = Folder::with(
            b"# comment\n[other]\nhost=no\nk\xf6nig\n\n[s]\n  host=a,b\nport=1,2\nuser=u\nuser=v\n\
              options=-c a=b\n[s]\nhost=second\n",
        );
        let filled = folder.fill("service=s dbname=d").unwrap();
        assert_eq!(
            filled,
            "host=a,b port=1,2 user=u options='-c a=b' dbname=d service=s"
                .parse()
                .unwrap()
        );
        let filled = folder.fill("host=h port=7 service=s").unwrap();
        assert_eq!(filled.hosts()[0].to_string(), "h:7");
    }

    #[test]
    fn a_service_that_cannot_be_read_is_refused_with_its_line() {
        for (text, reason) in [
            (&b"[other]\n"[..], "none of the service files"),
            (b"[s]\nhost\n", "line 2: it has no ="),
            (b"[s]\ncolour=red\n", "line 2: its parameter is none of"),
            (b"[s]\nservice=t\n", "cannot name another"),
            (b"[s]\nsslmode=secret\n", "sslmode is none of disable"),
            (b"[s]\nuser=m\xfcller\n", "line 2: it is not UTF-8"),
        ] {
            let error = Folder::with(text).fill("service=s").unwrap_err();
            assert!(error.contains(reason), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
