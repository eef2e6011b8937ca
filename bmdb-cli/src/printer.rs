//! Printer: a thread that writes lines, so that a stopped reader blocks nothing else.
//!
//! After Ctrl-S, under `less`, or with a stalled log driver, a write can block for ever. On a tokio thread it
//! would stop the heartbeat, and the lease would expire.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How many lines may wait to be written.
const CAPACITY: usize = 1024;

/// How long the end of the program waits until all lines are written.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// What the thread writes next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<L> {
    Line(L),
    /// This many lines were dropped here because the queue was full.
    Dropped(usize),
}

/// Prints lines in order, and drops lines while its queue is full.
pub(crate) struct Printer<L> {
    queue: Arc<Mutex<Queue<L>>>,
    thread: JoinHandle<()>,
}

/// Never locked while a line is written.
struct Queue<L> {
    /// `None` once it is closed.
    lines: Option<SyncSender<Next<L>>>,
    /// Dropped lines that are not reported yet.
    dropped: usize,
}

impl<L: Send + 'static> Printer<L> {
    /// Starts a thread of this name that passes each line to `write`.
    pub(crate) fn start(
        name: &str,
        mut write: impl FnMut(Next<L>) + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, lines) = sync_channel(CAPACITY);
        let queue = Arc::new(Mutex::new(Queue {
            lines: Some(sender),
            dropped: 0,
        }));
        let shared = queue.clone();
        let thread = std::thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn(move || {
            while let Some(line) = next(&shared, &lines) {
                write(line);
            }
        })?;
        Ok(Self { queue, thread })
    }

    /// Queues a line, or drops it if the queue is full. Never waits.
    pub(crate) fn put(&self, line: L) {
        let mut queue = lock(&self.queue);
        if queue.offer(line).is_err() {
            queue.dropped += 1;
        }
    }

    /// Waits until all lines and then `last` are written, at most [`CLOSE_TIMEOUT`].
    pub(crate) async fn close(&self, mut last: Option<L>) {
        let written = async {
            while let Some(line) = last.take() {
                last = lock(&self.queue).offer(line).err();
                if last.is_some() {
                    tokio::time::sleep(POLL_INTERVAL).await;
                }
            }
            // Without a sender the thread ends after the last line.
            lock(&self.queue).lines = None;
            while !self.thread.is_finished() {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        // A timeout cannot be reported: the reader of reports is the one that has stopped.
        drop(tokio::time::timeout(CLOSE_TIMEOUT, written).await);
    }
}

impl<L> Queue<L> {
    /// Queues a line behind the report of dropped lines. Returns the line if the queue is full.
    fn offer(&mut self, line: L) -> Result<(), L> {
        let Some(lines) = &self.lines else {
            return Ok(());
        };
        if self.dropped > 0 {
            match lines.try_send(Next::Dropped(self.dropped)) {
                Err(TrySendError::Full(_)) => return Err(line),
                _ => self.dropped = 0,
            }
        }
        match lines.try_send(Next::Line(line)) {
            Err(TrySendError::Full(Next::Line(line))) => Err(line),
            _ => Ok(()),
        }
    }
}

/// Waits for the next line to write; `None` when the printer is closed.
fn next<L>(queue: &Mutex<Queue<L>>, lines: &Receiver<Next<L>>) -> Option<Next<L>> {
    {
        // Under the lock no line can be added, so dropped lines are reported in their place.
        let mut queue = lock(queue);
        match lines.try_recv() {
            Ok(line) => return Some(line),
            Err(_) if queue.dropped > 0 => {
                return Some(Next::Dropped(std::mem::take(&mut queue.dropped)));
            }
            Err(_) => {}
        }
    }
    lines.recv().ok()
}

fn lock<L>(queue: &Mutex<Queue<L>>) -> MutexGuard<'_, Queue<L>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};
    use std::time::Instant;

    /// A printer whose reader reads nothing until the gate is dropped.
    fn stopped_reader() -> (Printer<String>, Sender<()>, Receiver<Next<String>>) {
        let (gate, opened) = channel::<()>();
        let (read, lines) = channel();
        let printer = Printer::start("test", move |line| {
            let _ = opened.recv();
            let _ = read.send(line);
        });
        (printer.unwrap(), gate, lines)
    }

    fn last() -> String {
        "the end".to_owned()
    }

    fn line(text: impl ToString) -> Next<String> {
        Next::Line(text.to_string())
    }

    #[tokio::test]
    async fn all_lines_are_printed_in_order_and_the_last_line_too() {
        let (printer, gate, lines) = stopped_reader();
        drop(gate);
        printer.put("a".to_owned());
        printer.put("b".to_owned());
        printer.close(Some(last())).await;
        let lines: Vec<_> = lines.try_iter().collect();
        assert_eq!(lines, [line("a"), line("b"), line(last())]);
    }

    #[tokio::test]
    async fn dropped_lines_are_counted_and_reported() {
        let (printer, gate, lines) = stopped_reader();
        let all = CAPACITY + 10;
        for n in 0..all {
            printer.put(n.to_string());
        }
        drop(gate);
        printer.close(Some(last())).await;
        let lines: Vec<_> = lines.try_iter().collect();
        assert_eq!(lines.first(), Some(&line(0)));
        assert_eq!(lines.last(), Some(&line(last())));
        let (mut shown, mut dropped) = (0_usize, 0_usize);
        for line in &lines {
            match line {
                Next::Line(text) if *text != last() => shown += 1,
                Next::Line(_) => {}
                Next::Dropped(lines) => dropped += *lines,
            }
        }
        assert!(dropped > 0, "{shown} are shown");
        assert_eq!(shown + dropped, all);
    }

    #[tokio::test]
    async fn dropped_lines_are_reported_without_waiting_for_another_line() {
        let (printer, gate, lines) = stopped_reader();
        for n in 0..CAPACITY + 10 {
            printer.put(n.to_string());
        }
        drop(gate);
        let soon = Duration::from_secs(10);
        let mut lines = std::iter::from_fn(|| lines.recv_timeout(soon).ok());
        assert!(lines.any(|line| matches!(line, Next::Dropped(_))));
    }

    #[tokio::test]
    async fn closing_does_not_wait_for_a_reader_that_has_stopped() {
        let (printer, gate, _lines) = stopped_reader();
        for n in 0..CAPACITY + 10 {
            printer.put(n.to_string());
        }
        let began = Instant::now();
        printer.close(Some(last())).await;
        assert!(began.elapsed() < 3 * CLOSE_TIMEOUT);
        drop(gate);
    }
}
