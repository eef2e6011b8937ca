//! Pump: forwards one direction of a connection.

use super::faults::Gate;
use super::message::Action;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::Instant;

const CHUNK_BYTES: usize = 64 * 1024;
/// How many chunks may be in flight in one direction. This bounds the memory of a test that writes
/// without end, and the throughput under a delay.
const MAX_CHUNKS: usize = 1024;

/// The data of one read, and when it came. An empty chunk is the end of the stream.
struct Chunk {
    bytes: Vec<u8>,
    arrived: Instant,
}

/// Forwards whole messages, and then the end of the stream. `inspect` gets the bytes that were not
/// forwarded yet, and returns what to do with how many of them.
pub(super) async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    gate: Gate<'_>,
    inspect: impl FnMut(&[u8]) -> (Action, usize),
) -> io::Result<()> {
    let (sender, receiver) = channel(MAX_CHUNKS);
    // Reading continues while earlier chunks wait: a delay must not slow down later ones.
    let ((), ()) = tokio::try_join!(read(from, sender), write(to, receiver, gate, inspect))?;
    Ok(())
}

async fn read(from: &mut (impl AsyncRead + Unpin), chunks: Sender<Chunk>) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        // A broken connection ends like a closed one: after everything that was sent before.
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
    mut gate: Gate<'_>,
    mut inspect: impl FnMut(&[u8]) -> (Action, usize),
) -> io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(Chunk { bytes, arrived }) = chunks.recv().await {
        gate.pass(arrived).await?;
        if bytes.is_empty() {
            break;
        }
        buffer.extend_from_slice(&bytes);
        let (action, length) = inspect(&buffer);
        if let Action::Forward | Action::ForwardAndCut = action {
            to.write_all(&buffer[..length]).await?;
        }
        if let Action::ForwardAndCut | Action::Cut = action {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        buffer.drain(..length);
    }
    // A message that was cut off by the end of the stream.
    to.write_all(&buffer).await?;
    to.shutdown().await
}
