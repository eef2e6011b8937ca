//! Host check: protects a server on this machine against DNS rebinding, where another site's page reaches
//! it under a name that resolves to 127.0.0.1.

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{Version, header};
use std::net::IpAddr;

/// The host names that a server answers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hosts {
    /// Any name. Clients have to authenticate anyway.
    Any,
    /// `localhost`, loopback addresses, and these names.
    Loopback(Vec<String>),
}

impl Hosts {
    /// Whether a request names exactly one host, and the server answers to it.
    pub(super) fn allow(&self, request: &Request) -> bool {
        let Self::Loopback(more) = self else {
            return true;
        };
        let mut named = request.headers().get_all(header::HOST).iter();
        let authority = match (request.uri().authority(), named.next(), named.next()) {
            (Some(authority), ..) => Some(authority.clone()),
            // Browsers, which the check is about, always name a host. HTTP/1.0 does not have it.
            (None, None, None) => return request.version() <= Version::HTTP_10,
            (None, Some(host), None) => Authority::try_from(host.as_bytes()).ok(),
            _ => None,
        };
        authority.is_some_and(|authority| {
            let host = authority.host();
            is_loopback(host) || more.iter().any(|name| name.eq_ignore_ascii_case(host))
        })
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let address: Result<IpAddr, _> = bare.unwrap_or(host).parse();
    host.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn request(version: Version, target: &str, hosts: &[&str]) -> Request {
        let mut request = Request::builder().version(version).uri(target);
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        request.body(Body::empty()).unwrap()
    }

    fn allowed(hosts: &Hosts, host: &str) -> bool {
        hosts.allow(&request(Version::HTTP_11, "/", &[host]))
    }

    #[test]
    fn a_loopback_server_only_answers_to_names_of_this_machine() {
        let hosts = Hosts::Loopback(vec!["bmdb.example".to_owned()]);
        for good in [
            "localhost",
            "LOCALHOST:8717",
            "127.0.0.1:80",
            "127.1.2.3",
            "[::1]:8717",
            "BMDB.example:1",
        ] {
            assert!(allowed(&hosts, good), "{good}");
        }
        for bad in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "192.0.2.1",
            "[2001:db8::1]",
            "",
            "a b",
        ] {
            assert!(!allowed(&hosts, bad), "{bad}");
        }
        assert!(!hosts.allow(&request(Version::HTTP_11, "/", &[])));
        assert!(hosts.allow(&request(Version::HTTP_10, "/", &[])));
        assert!(!hosts.allow(&request(Version::HTTP_10, "/", &["evil.example"])));
        assert!(allowed(&Hosts::Any, "anything.example"));
    }

    #[test]
    fn a_second_host_header_or_another_host_in_the_target_is_refused() {
        let hosts = Hosts::Loopback(Vec::new());
        for (target, named) in [
            ("/", &["localhost", "evil.example"][..]),
            ("http://evil.example/", &["localhost"]),
        ] {
            assert!(!hosts.allow(&request(Version::HTTP_11, target, named)));
        }
    }
}
