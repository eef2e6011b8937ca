//! The names under which a server may be asked: a page of somebody else's must not reach a server on
//! this machine by making its own name mean 127.0.0.1.

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};
use std::net::IpAddr;

/// Which names are answered to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hosts {
    /// Any: whoever may ask has shown that before.
    Any,
    /// This machine's own name for itself, its addresses for itself, and these.
    Loopback(Vec<String>),
}

impl Hosts {
    /// Whether a request names one of them.
    pub(super) fn allow(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let Self::Loopback(more) = self else {
            return true;
        };
        // HTTP/1.0 knows no names, and browsers do not speak it.
        let mut named = headers.get_all(header::HOST).iter();
        let authority = match (uri.authority(), named.next(), named.next()) {
            (Some(authority), ..) => Some(authority.clone()),
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
    use axum::http::HeaderValue;

    fn allowed(hosts: &Hosts, host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        hosts.allow(&Uri::from_static("/"), &headers)
    }

    #[test]
    fn a_server_on_this_machine_is_asked_by_this_machines_names_only() {
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
        assert!(!hosts.allow(&Uri::from_static("/"), &HeaderMap::new()));
        assert!(allowed(&Hosts::Any, "anything.example"));
    }

    #[test]
    fn what_a_request_names_twice_or_in_its_target_counts() {
        let hosts = Hosts::Loopback(Vec::new());
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, HeaderValue::from_static("localhost"));
        headers.append(header::HOST, HeaderValue::from_static("evil.example"));
        assert!(!hosts.allow(&Uri::from_static("/"), &headers));
        headers.clear();
        headers.append(header::HOST, HeaderValue::from_static("localhost"));
        assert!(!hosts.allow(&Uri::from_static("http://evil.example/"), &headers));
    }
}
