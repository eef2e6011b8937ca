//! The connections through a proxy: taking them in, and passing on what is said.

use super::Shared;
use super::faults::{Direction, Line};
use super::listener::Life;
use super::message::{Talk, Verdict};
use super::target::Ends;
use std::future::{pending, poll_fn};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, sleep};

/// How much is read at once.
const CHUNK: usize = 64 * 1024;
/// How many chunks may be on their way in one direction. It bounds the memory of a test that
/// writes without end; with it, throughput under a delay.
const CHUNKS: usize = 1024;

/// Takes connections in until it is aborted.
pub(super) async fn accept(shared: Arc<Shared>) {
    let mut faults = shared.faults.subscribe();
    loop {
        tokio::select! {
            accepted = poll_fn(|cx| shared.door.poll_accept(cx)) => match accepted {
                Ok((client, life)) => {
                    tokio::spawn(connection(shared.clone(), client, life));
                }
                // Too many open files, say: others may be closed soon.
                Err(_) => sleep(Duration::from_millis(10)).await,
            },
            // The door may have been reopened.
            _ = faults.changed() => {}
        }
    }
}

async fn connection(shared: Arc<Shared>, client: Ends, life: Arc<Life>) {
    tokio::select! {
        biased;
        () = life.over() => {}
        // However it ends, both sides are closed.
        _ = relay(&shared, client, &life) => {}
    }
}

async fn relay(shared: &Shared, mut client: Ends, life: &Life) -> io::Result<()> {
    let line = |direction| Line {
        direction,
        faults: shared.faults.subscribe(),
        life,
    };
    let (mut requests, answers) = (line(Direction::ToServer), line(Direction::ToClient));
    // A server that is out of reach must not see that somebody connects.
    requests.clear(Instant::now(), 0).await?;
    let mut server = shared.target.connect().await?;
    // Dropped before the sockets are: who sees the cut sees the loss.
    let talk = Talk::new(&shared.traps, &shared.counts);
    let requests = async {
        let say = |bytes: &[u8]| talk.request(bytes);
        pump(&mut client.from, &mut server.to, requests, say).await?;
        // The server still answers, then closes as well.
        pending().await
    };
    let say = |bytes: &[u8]| talk.answer(bytes);
    let answers = pump(&mut server.from, &mut client.to, answers, say);
    tokio::select! {
        over = requests => over,
        over = answers => over,
    }
}

/// What was read at once, and when. An empty one is the end.
struct Chunk {
    bytes: Vec<u8>,
    arrived: Instant,
}

/// Passes bytes on until their end has been passed on too.
async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    line: Line<'_>,
    say: impl FnMut(&[u8]) -> Verdict,
) -> io::Result<()> {
    let (sender, receiver) = channel(CHUNKS);
    // Reading goes on while earlier chunks wait: a delay must not slow down what comes later.
    let ((), ()) = tokio::try_join!(read(from, sender), write(to, receiver, line, say))?;
    Ok(())
}

async fn read(from: &mut (impl AsyncRead + Unpin), chunks: Sender<Chunk>) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        // A connection that breaks ends as one that is closed: after all that was said before.
        let length = from.read(&mut buffer).await.unwrap_or(0);
        let chunk = Chunk {
            bytes: buffer[..length].to_vec(),
            arrived: Instant::now(),
        };
        if chunks.send(chunk).await.is_err() || length == 0 {
            return Ok(());
        }
    }
}

async fn write(
    to: &mut (impl AsyncWrite + Unpin),
    mut chunks: Receiver<Chunk>,
    mut line: Line<'_>,
    mut say: impl FnMut(&[u8]) -> Verdict,
) -> io::Result<()> {
    while let Some(Chunk { bytes, arrived }) = chunks.recv().await {
        line.clear(arrived, 0).await?;
        if bytes.is_empty() {
            break;
        }
        let verdict = say(&bytes);
        if let Verdict::Pass | Verdict::PassAndCut = verdict {
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(line.piece(rest.len()));
                line.clear(arrived, piece.len()).await?;
                to.write_all(piece).await?;
                rest = after;
            }
        }
        if let Verdict::PassAndCut | Verdict::Cut = verdict {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
    }
    to.shutdown().await
}
