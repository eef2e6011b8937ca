//! A program whose runtime shuts down while it ends work.

use crate::scenario::Scenario;
use bmdb_core::Work;
use futures_util::FutureExt;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use tokio::runtime::Builder;

/// Ends its work when it is dropped with the runtime.
struct LastWords {
    s: Scenario,
    work: Option<Work>,
}

impl Drop for LastWords {
    fn drop(&mut self) {
        let end = self.s.session.cancel_all(self.work.take());
        assert!(
            end.now_or_never().is_none(),
            "the end cannot be awaited any more"
        );
    }
}

/// Post-mortem: a program whose runtime was shut down while work was being ended hung for ever. The
/// runtime refused the end's task and dropped it under the lock that its drop takes.
#[test]
fn an_end_that_is_begun_while_the_runtime_shuts_down_does_not_hang_the_program() {
    let (done, finished) = mpsc::channel();
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let s = Scenario::new().await;
            s.provided("1").await;
            let work = Some(s.claim_one().await);
            tokio::spawn(async move {
                let _last_words = LastWords { s, work };
                std::future::pending::<()>().await;
            });
            tokio::task::yield_now().await;
        });
        drop(runtime);
        done.send(()).unwrap();
    });
    let limit = Duration::from_secs(20);
    assert!(finished.recv_timeout(limit).is_ok(), "it hangs");
}
