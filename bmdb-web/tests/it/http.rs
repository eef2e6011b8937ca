//! A raw HTTP client: it sends any bytes, and returns what the server answers.

use axum::Router;
use bmdb_web::{ServeOptions, Server};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A server that runs until this is dropped or ended.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

/// Listens on a free port of this machine.
pub(crate) fn options() -> ServeOptions {
    let mut options = ServeOptions::default();
    options.listen.set_port(0);
    options
}

pub(crate) async fn serve(options: ServeOptions, routes: Router) -> Running {
    let server = Server::bind(options).await.unwrap();
    let address = server.address();
    let (end, ended) = oneshot::channel();
    let ended = async {
        // Dropping the sender ends the server too.
        let _ = ended.await;
    };
    Running {
        address,
        end: Some(end),
        task: tokio::spawn(server.run(routes, ended)),
    }
}

impl Running {
    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.ask(&format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n"))
            .await
    }

    pub(crate) async fn get_with(&self, target: &str, header: &str) -> Answer {
        let head = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n");
        self.ask(&head).await
    }

    /// Sends these lines and `Connection: close`.
    pub(crate) async fn ask(&self, lines: &str) -> Answer {
        let mut stream = self.connect().await;
        exchange(&mut stream, &format!("{lines}Connection: close\r\n\r\n")).await
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Ends the server, and waits for it.
    pub(crate) async fn end(mut self) {
        self.end.take().unwrap().send(()).unwrap();
        self.task.await.unwrap();
    }
}

pub(crate) async fn exchange(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    text: &str,
) -> Answer {
    // A server that refuses a request may close the connection before it has read all of it.
    let _ = stream.write_all(text.as_bytes()).await;
    read(stream).await
}

/// Reads until the connection is closed, for at most 10 s.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Answer {
    let mut bytes = Vec::new();
    let until_closed = stream.read_to_end(&mut bytes);
    let _closed = timeout(Duration::from_secs(10), until_closed)
        .await
        .expect("the connection is closed");
    Answer::of(&String::from_utf8_lossy(&bytes))
}

/// The next answer on a connection that stays open.
pub(crate) async fn read_one(stream: &mut (impl AsyncRead + Unpin)) -> Answer {
    let mut text = String::new();
    let whole = async {
        loop {
            let mut buffer = [0; 4096];
            let read = stream.read(&mut buffer).await.unwrap();
            assert_ne!(read, 0, "closed after {text:?}");
            text.push_str(&String::from_utf8_lossy(&buffer[..read]));
            let answer = Answer::of(&text);
            let length = answer
                .header("content-length")
                .map(|length| length.parse().unwrap());
            if text.contains("\r\n\r\n") && length == Some(answer.body.len()) {
                return answer;
            }
        }
    };
    timeout(Duration::from_secs(10), whole)
        .await
        .expect("a whole answer")
}

impl Answer {
    fn of(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        Self {
            status: status.unwrap_or(0),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}
