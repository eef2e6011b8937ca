//! Statement watch: notices when a caller's closure ends its transaction or changes its connection.
//!
//! A closure can send any SQL. The server executes `COMMIT` without complaint, and answers what follows as if
//! nothing had happened: outside of the transaction, without the fence. So every statement that a closure sends
//! is looked at when it is sent, which costs the server nothing and no round trip.

use crate::error::TxError;
use crate::lock::lock;
use bmdb_model::internal::statement_effect::{Effect, effect};
use diesel::connection::{Instrumentation, InstrumentationEvent, get_default_instrumentation};
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// What the closures of one connection have done to it. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct StatementWatch(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Whether a closure runs.
    is_armed: AtomicBool,
    /// Whether the connection may not be used again.
    is_changed: AtomicBool,
    /// The words that ended the transaction.
    ended_by: Mutex<Option<String>>,
}

impl StatementWatch {
    /// What a connection must report its statements to, for as long as it lives.
    pub(crate) fn instrumentation(&self) -> impl Instrumentation {
        Observer {
            watch: self.clone(),
            // Replaced by the observer, it would miss what it was installed for.
            default: get_default_instrumentation(),
        }
    }

    /// Looks at the statements that are sent until the guard is dropped. Not a function that runs the closure:
    /// its future would be part of another one, and transactions inside of closures need their stack.
    pub(crate) fn arm(&self) -> Armed<'_> {
        self.0.is_armed.store(true, Ordering::Relaxed);
        Armed(self)
    }

    /// Fails if a closure has ended its transaction, for work that goes on in it.
    pub(crate) fn refuse_if_ended(&self) -> Result<(), TxError> {
        self.ended_by().map_or(Ok(()), |statement| {
            Err(TxError::ClosureEndedTransaction {
                statement,
                error: None,
            })
        })
    }

    fn ended_by(&self) -> Option<String> {
        lock(&self.0.ended_by).clone()
    }

    /// Whether a closure has left something behind, or may have: the connection must not be used again.
    pub(crate) fn is_changed(&self) -> bool {
        self.0.is_changed.load(Ordering::Relaxed)
    }

    fn look_at(&self, sql: &str) {
        let (effect, words) = effect(sql);
        if effect > Effect::Rows {
            self.0.is_changed.store(true, Ordering::Relaxed);
        }
        if effect == Effect::Transaction {
            lock(&self.0.ended_by).get_or_insert(words);
        }
    }
}

/// Ends the watch when it is dropped.
pub(crate) struct Armed<'w>(&'w StatementWatch);

impl Armed<'_> {
    /// Ends the watch with what the closure returned. Fails if the closure has ended its transaction, whatever
    /// it returned.
    pub(crate) fn settle<T>(self, result: Result<T, TxError>) -> Result<T, TxError> {
        match self.0.ended_by() {
            None => result,
            Some(statement) => Err(TxError::ClosureEndedTransaction {
                statement,
                error: result.err().map(Box::new),
            }),
        }
    }
}

impl Drop for Armed<'_> {
    fn drop(&mut self) {
        self.0.0.is_armed.store(false, Ordering::Relaxed);
    }
}

struct Observer {
    watch: StatementWatch,
    default: Option<Box<dyn Instrumentation>>,
}

impl Instrumentation for Observer {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        if let InstrumentationEvent::StartQuery { query, .. } = &event
            && self.watch.0.is_armed.load(Ordering::Relaxed)
        {
            let mut sql = FirstPart(String::new());
            // Fails once it has the statement: its parameters are not printed.
            let _ = write!(sql, "{query}");
            self.watch.look_at(&sql.0);
        }
        if let Some(default) = &mut self.default {
            default.on_connection_event(event);
        }
    }
}

impl Drop for Observer {
    /// A closure that installs an instrumentation of its own replaces this one, and the rest of its statements
    /// is not seen.
    fn drop(&mut self) {
        self.watch.0.is_changed.store(true, Ordering::Relaxed);
    }
}

/// Keeps what is written first, which of a query is its SQL.
struct FirstPart(String);

impl Write for FirstPart {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if !self.0.is_empty() {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}
