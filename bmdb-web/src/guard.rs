//! Who is answered, and how: what every request passes before a page is made.

mod connection_limit;
mod headers;
mod host;
mod idle_timeout;
mod rate_limit;
mod tls;
mod token;

pub(crate) use self::connection_limit::Shares;
pub(crate) use self::idle_timeout::Impatient;
pub(crate) use self::tls::Tls;
pub use self::tls::{TlsError, TlsFiles};
pub use self::token::{Token, TokenError};

use self::host::Hosts;
use self::rate_limit::Limits;
use crate::metrics::server;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longer targets are nobody's filters.
const LONGEST_TARGET: usize = 4096;

/// They say whether the server works and nothing else, to whoever asks.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

/// The address at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client(pub(crate) IpAddr);

/// What is looked at before a request is answered.
#[derive(Debug)]
pub(crate) struct Guard {
    token: Option<Token>,
    hosts: Hosts,
    limits: Limits,
    time: Duration,
}

impl Guard {
    /// Asks for the token, if there is one; gives an answer this much time.
    pub(crate) fn new(token: Option<Token>, time: Duration) -> Self {
        Self {
            token,
            hosts: Hosts::Any,
            limits: Limits::new(),
            time,
        }
    }

    /// The same, for a server that only this machine reaches: it has this machine's names, and these.
    pub(crate) fn on_loopback(self, names: Vec<String>) -> Self {
        let hosts = Hosts::Loopback(names);
        Self { hosts, ..self }
    }

    /// The same routes behind this guard.
    pub(crate) fn protect(self, routes: Router) -> Router {
        routes.layer(from_fn_with_state(Arc::new(self), pass))
    }

    /// Why a request is not answered.
    fn refusal(&self, request: &Request) -> Option<Response> {
        let client = request.extensions().get::<Client>();
        let client = client.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |client| client.0);
        if let Err(wait) = self.limits.check(client) {
            let seconds = wait.as_secs().saturating_add(1);
            let refused = refuse(
                StatusCode::TOO_MANY_REQUESTS,
                "Too many requests: wait a moment.",
            );
            return Some(with(
                refused,
                header::RETRY_AFTER,
                HeaderValue::from(seconds),
            ));
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let refused = refuse(
                StatusCode::METHOD_NOT_ALLOWED,
                "This server is for reading: GET and HEAD.",
            );
            return Some(with(
                refused,
                header::ALLOW,
                HeaderValue::from_static("GET, HEAD"),
            ));
        }
        if has_body(request) {
            return Some(refuse(
                StatusCode::PAYLOAD_TOO_LARGE,
                "A request with a body is not read.",
            ));
        }
        if request
            .uri()
            .path_and_query()
            .is_some_and(|target| target.as_str().len() > LONGEST_TARGET)
        {
            return Some(refuse(StatusCode::URI_TOO_LONG, "The address is too long."));
        }
        if !self.hosts.allow(request.uri(), request.headers()) {
            let text = "This server is asked by the names of this machine, such as localhost. Another \
                        name has to be allowed when it is started.";
            return Some(refuse(StatusCode::MISDIRECTED_REQUEST, text));
        }
        if !OPEN.contains(&request.uri().path()) && !self.is_trusted(request) {
            let text = "The token is needed: as the password of any user, or in the header \
                        Authorization: Bearer …";
            let refused = refuse(StatusCode::UNAUTHORIZED, text);
            let basic = HeaderValue::from_static(r#"Basic realm="bmdb", charset="UTF-8""#);
            return Some(with(refused, header::WWW_AUTHENTICATE, basic));
        }
        None
    }

    fn is_trusted(&self, request: &Request) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        let shown = request.headers().get(header::AUTHORIZATION);
        shown.is_some_and(|shown| token.is_shown_by(shown))
    }
}

async fn pass(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let mut response = match guard.refusal(&request) {
        Some(refused) => refused,
        None => {
            let answered = tokio::time::timeout(guard.time, next.run(request)).await;
            answered.unwrap_or_else(|_| {
                refuse(
                    StatusCode::GATEWAY_TIMEOUT,
                    "The answer took too long: try again later.",
                )
            })
        }
    };
    headers::add(response.headers_mut());
    server::count(response.status(), began.elapsed());
    response
}

fn has_body(request: &Request) -> bool {
    let headers = request.headers();
    let length = headers.get(header::CONTENT_LENGTH);
    headers.contains_key(header::TRANSFER_ENCODING) || length.is_some_and(|length| length != "0")
}

/// In plain text: whoever is refused may not see a page, and does not keep a connection.
fn refuse(status: StatusCode, text: &'static str) -> Response {
    (
        status,
        [
            (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
            (header::CONNECTION, "close"),
        ],
        format!("{text}\n"),
    )
        .into_response()
}

fn with(mut response: Response, name: HeaderName, value: HeaderValue) -> Response {
    response.headers_mut().insert(name, value);
    response
}
