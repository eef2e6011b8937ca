//! Guard: checks every request before it reaches a page.

mod client;
mod connection_limit;
mod headers;
mod host;
mod network;
mod rate_limit;
mod tls;
mod token;

pub(crate) use self::client::Client;
pub(crate) use self::connection_limit::{ConnectionLimit, Full, Slot};
pub(crate) use self::tls::Tls;
pub use self::tls::{TlsError, TlsFiles};
pub use self::token::{Token, TokenError};

use self::host::Hosts;
use self::rate_limit::RateLimits;
use crate::metrics::server;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// In bytes. No link or form of the console makes a longer target.
const LONGEST_TARGET: usize = 4096;

/// These need no token: they only say whether the server works.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

const ALLOWED: &str = "GET, HEAD, OPTIONS";

/// The first response after this time closes the connection.
pub(crate) const CONNECTION_LIFETIME: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(crate) struct Guard {
    token: Option<Token>,
    hosts: Hosts,
    /// Of requests with the token, or of all if none is required.
    rate_limits: RateLimits,
    /// Of requests without the token: they must not use up what the others may have.
    unauthorized: RateLimits,
    response_timeout: Duration,
}

impl Guard {
    pub(crate) fn new(token: Option<Token>, response_timeout: Duration) -> Self {
        Self {
            token,
            hosts: Hosts::Any,
            rate_limits: RateLimits::new(),
            unauthorized: RateLimits::new(),
            response_timeout,
        }
    }

    /// For a server on a loopback address: it only answers to names of this machine, and to these.
    pub(crate) fn on_loopback(self, names: Vec<String>) -> Self {
        let hosts = Hosts::Loopback(names);
        Self { hosts, ..self }
    }

    pub(crate) fn protect(self, routes: Router) -> Router {
        routes.layer(from_fn_with_state(Arc::new(self), guard))
    }

    /// The response to a request that is refused, or needs no route.
    fn refusal(&self, client: IpAddr, request: &Request) -> Option<Response> {
        if request.method() == Method::OPTIONS {
            // Some proxies check so whether a server works.
            return Some((StatusCode::NO_CONTENT, [(header::ALLOW, ALLOWED)]).into_response());
        }
        let is_open = OPEN.contains(&request.uri().path());
        let is_authorized = self.is_authorized(request);
        let limits = match is_authorized {
            true => &self.rate_limits,
            false => &self.unauthorized,
        };
        // Health checks are cheap, and a flood from the same address must not stop them.
        if !is_open && let Err(wait) = limits.check(client) {
            let seconds = [(
                header::RETRY_AFTER,
                wait.as_secs().saturating_add(1).to_string(),
            )];
            let text = "Too many requests: wait a moment.";
            let refused = refuse(StatusCode::TOO_MANY_REQUESTS, text);
            return Some((seconds, refused).into_response());
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let text = "This server is read-only: it answers GET and HEAD.";
            let refused = refuse(StatusCode::METHOD_NOT_ALLOWED, text);
            return Some(([(header::ALLOW, ALLOWED)], refused).into_response());
        }
        if has_body(request) {
            let text = "This server does not accept requests with a body.";
            return Some(refuse(StatusCode::PAYLOAD_TOO_LARGE, text));
        }
        let target = request.uri().path_and_query();
        if target.is_some_and(|target| target.as_str().len() > LONGEST_TARGET) {
            return Some(refuse(StatusCode::URI_TOO_LONG, "The address is too long."));
        }
        // Health checks show nothing, and many of them name no host or an address.
        if !is_open && !self.hosts.allow(request) {
            let text = "This server only answers to names of this machine, such as localhost. To allow \
                        another name, start it with --allow-host.";
            return Some(refuse(StatusCode::MISDIRECTED_REQUEST, text));
        }
        if !is_open && !is_authorized {
            let text = "A token is required: as the password of any user, or in the header \
                        Authorization: Bearer …";
            let basic = [(
                header::WWW_AUTHENTICATE,
                r#"Basic realm="bmdb", charset="UTF-8""#,
            )];
            let refused = refuse(StatusCode::UNAUTHORIZED, text);
            return Some((basic, refused).into_response());
        }
        None
    }

    fn is_authorized(&self, request: &Request) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        let given = request.headers().get(header::AUTHORIZATION);
        given.is_some_and(|given| token.is_in(given))
    }
}

async fn guard(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let client = request.extensions().get::<Client>().cloned();
    let address = client.as_ref().map(|client| client.address);
    let address = address.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
    let mut response = match guard.refusal(address, &request) {
        Some(refused) => refused,
        None => {
            let is_authorized = guard.is_authorized(&request);
            let slot = client.as_ref().map(|client| &client.slot);
            let _under_way = slot.map(|slot| slot.begin(is_authorized));
            match tokio::time::timeout(guard.response_timeout, next.run(request)).await {
                Ok(response) => response,
                Err(_) => refuse(
                    StatusCode::GATEWAY_TIMEOUT,
                    "The response took too long: try again later.",
                ),
            }
        }
    };
    headers::add(response.headers_mut());
    if client.is_some_and(|client| client.connected_at.elapsed() > CONNECTION_LIFETIME) {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    server::count(response.status(), begun.elapsed());
    response
}

fn has_body(request: &Request) -> bool {
    let headers = request.headers();
    let length = headers.get(header::CONTENT_LENGTH);
    headers.contains_key(header::TRANSFER_ENCODING) || length.is_some_and(|length| length != "0")
}

/// In plain text, because the client may not see a page. The connection is closed.
fn refuse(status: StatusCode, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CONNECTION, "close"),
    ];
    (status, headers, format!("{text}\n")).into_response()
}
