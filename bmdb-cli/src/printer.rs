//! Printing that nobody waits for: whoever reads may stop, and the leases go on.
//!
//! After Ctrl-S, under `less`, or with a log driver that has stalled, a write lasts for ever. On one of
//! tokio's threads that would be the end of the heartbeat, so that a thread of its own does all writing.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How many lines may wait to be written.
const ROOM: usize = 1024;

/// How long the end of the program waits until all is written.
const FAREWELL: Duration = Duration::from_secs(2);

/// How often it looks whether that is so.
const LOOK: Duration = Duration::from_millis(5);

/// What is to be written now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<L> {
    Line(L),
    /// Here so many lines are missing, for which there was no room.
    LeftOut(usize),
}

/// Prints lines in the order in which they are put, or leaves them out.
pub(crate) struct Printer<L> {
    queue: Arc<Mutex<Queue<L>>>,
    thread: JoinHandle<()>,
}

/// Locked only for moments, and never while something is written.
struct Queue<L> {
    /// None once it is closed.
    lines: Option<SyncSender<Next<L>>>,
    /// How many lines had no room since it was last told.
    left_out: usize,
}

impl<L: Send + 'static> Printer<L> {
    /// Starts a thread of this name, which hands each line to `write`.
    pub(crate) fn start(
        name: &str,
        mut write: impl FnMut(Next<L>) + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, lines) = sync_channel(ROOM);
        let queue = Arc::new(Mutex::new(Queue {
            lines: Some(sender),
            left_out: 0,
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

    /// Has the line printed if there is room for it. Never waits.
    pub(crate) fn put(&self, line: L) {
        let mut queue = lock(&self.queue);
        if queue.offer(line).is_err() {
            queue.left_out += 1;
        }
    }

    /// Waits until all is written and `last` after it, though not for a reader that has stopped.
    pub(crate) async fn close(&self, mut last: Option<L>) {
        let written = async {
            while let Some(line) = last.take() {
                last = lock(&self.queue).offer(line).err();
                if last.is_some() {
                    tokio::time::sleep(LOOK).await;
                }
            }
            // Without a sender the thread ends with the last line.
            lock(&self.queue).lines = None;
            while !self.thread.is_finished() {
                tokio::time::sleep(LOOK).await;
            }
        };
        // Else the program ends without it: what cannot be printed cannot be complained of either.
        drop(tokio::time::timeout(FAREWELL, written).await);
    }
}

impl<L> Queue<L> {
    /// Takes a line if there is room, after the word of those that found none; else gives it back.
    fn offer(&mut self, line: L) -> Result<(), L> {
        let Some(lines) = &self.lines else {
            return Ok(());
        };
        if self.left_out > 0 {
            match lines.try_send(Next::LeftOut(self.left_out)) {
                Err(TrySendError::Full(_)) => return Err(line),
                _ => self.left_out = 0,
            }
        }
        match lines.try_send(Next::Line(line)) {
            Err(TrySendError::Full(Next::Line(line))) => Err(line),
            _ => Ok(()),
        }
    }
}

/// The next line to write, once there is one; `None` when there will be none any more.
fn next<L>(queue: &Mutex<Queue<L>>, lines: &Receiver<Next<L>>) -> Option<Next<L>> {
    {
        // While it is locked nobody puts a line, so that the missing ones are told of where they miss.
        let mut queue = lock(queue);
        match lines.try_recv() {
            Ok(line) => return Some(line),
            Err(_) if queue.left_out > 0 => {
                return Some(Next::LeftOut(std::mem::take(&mut queue.left_out)));
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

    /// One whose reader reads nothing before the gate is dropped.
    fn stopped() -> (Printer<String>, Sender<()>, Receiver<Next<String>>) {
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
    async fn all_is_printed_in_order_and_the_last_line_too() {
        let (printer, gate, lines) = stopped();
        drop(gate);
        printer.put("a".to_owned());
        printer.put("b".to_owned());
        printer.close(Some(last())).await;
        let lines: Vec<_> = lines.try_iter().collect();
        assert_eq!(lines, [line("a"), line("b"), line(last())]);
    }

    #[tokio::test]
    async fn lines_without_room_are_counted_and_the_count_is_told() {
        let (printer, gate, lines) = stopped();
        let all = ROOM + 10;
        for n in 0..all {
            printer.put(n.to_string());
        }
        drop(gate);
        printer.close(Some(last())).await;
        let lines: Vec<_> = lines.try_iter().collect();
        assert_eq!(lines.first(), Some(&line(0)));
        assert_eq!(lines.last(), Some(&line(last())));
        let (mut shown, mut left_out) = (0_usize, 0_usize);
        for line in &lines {
            match line {
                Next::Line(text) if *text != last() => shown += 1,
                Next::Line(_) => {}
                Next::LeftOut(missing) => left_out += *missing,
            }
        }
        assert!(left_out > 0, "{shown} are shown");
        assert_eq!(shown + left_out, all);
    }

    #[tokio::test]
    async fn what_is_left_out_is_told_of_without_another_line() {
        let (printer, gate, lines) = stopped();
        for n in 0..ROOM + 10 {
            printer.put(n.to_string());
        }
        drop(gate);
        let soon = Duration::from_secs(10);
        let mut lines = std::iter::from_fn(|| lines.recv_timeout(soon).ok());
        assert!(lines.any(|line| matches!(line, Next::LeftOut(_))));
    }

    #[tokio::test]
    async fn the_end_does_not_wait_for_a_reader_that_has_stopped() {
        let (printer, gate, _lines) = stopped();
        for n in 0..ROOM + 10 {
            printer.put(n.to_string());
        }
        let began = Instant::now();
        printer.close(Some(last())).await;
        assert!(began.elapsed() < 3 * FAREWELL);
        drop(gate);
    }
}
