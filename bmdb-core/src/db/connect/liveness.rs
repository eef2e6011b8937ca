//! Liveness: how a connection notices that its server has vanished.

use crate::db::url::DatabaseUrl;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;

/// How long a TCP connection waits for a server's host that has vanished.
const VANISHED: Duration = Duration::from_secs(30);

/// How a TCP connection notices that its peer has vanished; `None` leaves a time to the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Liveness {
    pub(super) user_timeout: Option<Duration>,
    /// `None`: an idle connection is not probed.
    pub(super) keepalives: Option<Keepalives>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keepalives {
    pub(super) idle: Option<Duration>,
    pub(super) interval: Option<Duration>,
    pub(super) count: Option<u32>,
}

impl Liveness {
    /// The URL's settings. Without such limits, an operation waits for hours if its server vanishes without
    /// closing the connection.
    pub(super) fn of(url: &DatabaseUrl) -> Self {
        // As libpq documents it, zero means the system's own time.
        let number = |name, default: u32| match url.number(name) {
            None => Some(default),
            Some(0) => None,
            Some(given) => Some(given),
        };
        let seconds = |name, default: Duration| {
            let default = u32::try_from(default.as_secs()).unwrap_or(u32::MAX);
            number(name, default).map(|seconds| Duration::from_secs(seconds.into()))
        };
        let is_probed = url.get("keepalives") != Some("0");
        Self {
            user_timeout: match url.number("tcp_user_timeout") {
                None => Some(VANISHED),
                Some(0) => None,
                Some(milliseconds) => Some(Duration::from_millis(milliseconds.into())),
            },
            keepalives: is_probed.then(|| Keepalives {
                idle: seconds("keepalives_idle", VANISHED / 2),
                interval: seconds("keepalives_interval", VANISHED / 6),
                count: number("keepalives_count", 3),
            }),
        }
    }

    pub(super) fn apply(&self, stream: &TcpStream) -> io::Result<()> {
        let socket = SockRef::from(stream);
        #[cfg(target_os = "linux")]
        if let Some(timeout) = self.user_timeout {
            socket.set_tcp_user_timeout(Some(timeout))?;
        }
        let Some(Keepalives {
            idle,
            interval,
            count,
        }) = self.keepalives
        else {
            return Ok(());
        };
        socket.set_keepalive(true)?;
        let mut times = TcpKeepalive::new();
        if let Some(idle) = idle {
            times = times.with_time(idle);
        }
        if let Some(interval) = interval {
            times = times.with_interval(interval);
        }
        if let Some(count) = count {
            times = times.with_retries(count);
        }
        socket.set_tcp_keepalive(&times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vanished_server_is_given_up_after_a_default_time_that_the_url_overrides() {
        let seconds = Duration::from_secs;
        let of = |parameters: &str| Liveness::of(&parameters.parse().unwrap());
        let probed = |idle, interval, count| {
            Some(Keepalives {
                idle,
                interval,
                count,
            })
        };
        let default = of("");
        assert_eq!(default.user_timeout, Some(VANISHED));
        assert_eq!(
            default.keepalives,
            probed(Some(seconds(15)), Some(seconds(5)), Some(3))
        );
        let given = of("tcp_user_timeout=5000 keepalives_idle=7 keepalives_count=9");
        assert_eq!(given.user_timeout, Some(seconds(5)));
        assert_eq!(
            given.keepalives,
            probed(Some(seconds(7)), Some(seconds(5)), Some(9))
        );
        assert_eq!(of("keepalives=0").keepalives, None);
    }

    /// libpq documents zero as the system's own time, and passes it to a system call that refuses it.
    #[tokio::test]
    async fn zero_and_less_leave_a_time_to_the_system() {
        for value in ["0", "-1"] {
            let of_the_system = Liveness::of(
                &format!(
                    "tcp_user_timeout={value} keepalives_idle={value} keepalives_interval={value} \
                     keepalives_count={value}"
                )
                .parse()
                .unwrap(),
            );
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let stream = TcpStream::connect(listener.local_addr().unwrap());
            let stream = stream.await.unwrap();
            let socket = SockRef::from(&stream);
            let times = |socket: &SockRef<'_>| {
                (
                    socket.tcp_keepalive_time().unwrap(),
                    socket.tcp_keepalive_interval().unwrap(),
                    socket.tcp_keepalive_retries().unwrap(),
                )
            };
            let before = times(&socket);
            of_the_system.apply(&stream).unwrap();
            assert!(socket.keepalive().unwrap());
            assert_eq!(times(&socket), before);
        }
    }

    /// The largest values that the parameters take are also those that the system takes.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_largest_values_are_taken_by_the_system() {
        let longest = Liveness::of(
            &"tcp_user_timeout=2147483647 keepalives_idle=32767 keepalives_interval=32767 \
              keepalives_count=127"
                .parse()
                .unwrap(),
        );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap());
        longest.apply(&stream.await.unwrap()).unwrap();
    }
}
