//! Spans: which there are, and that they carry only ids.

use crate::scenario::{RETRY, Scenario};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use tracing::Instrument;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::FmtSpan;

#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Said {
    fn lines(&self) -> Vec<String> {
        let said = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        said.lines().map(str::to_owned).collect()
    }
}

/// Records this thread's log from now on, with each span at its end.
fn listen(level: LevelFilter) -> (Said, tracing::subscriber::DefaultGuard) {
    let said = Said::default();
    let writer = said.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_span_events(FmtSpan::CLOSE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    (said, tracing::subscriber::set_default(subscriber))
}

#[tokio::test]
async fn an_attempt_has_a_span_with_its_ids_and_its_end_inside() {
    let s = Scenario::new().await;
    s.provided("1").await;
    s.claim_one().await.fail(&RETRY, "first").await.unwrap();
    s.advance(2).await;
    let (said, _guard) = listen(LevelFilter::DEBUG);
    let work = s.claim_one().await;
    async { tracing::info!("acting") }
        .instrument(work.span())
        .await;
    let span = format!(
        "work{{session={} process={} machine={} fence={} attempt=2}}",
        s.session.id(),
        work.process(),
        work.machine(),
        work.fence()
    );
    work.finish(async |_| Ok(())).await.unwrap();
    let lines = said.lines();
    let said = |text: &str| lines.iter().any(|line| line.contains(text));
    assert!(
        said(&format!("{span}: it::telemetry::spans: acting")),
        "{lines:#?}"
    );
    assert!(said(&format!(
        "claim{{session={} process=ShepherdAgentStart limit=2}}",
        s.session.id()
    )));
    let end = format!("{span}:end{{result=\"finished\"}}");
    assert!(
        said(&format!("{end}:transaction{{session={}}}", s.session.id())),
        "{lines:#?}"
    );
    assert!(said(&format!("{end}: bmdb_core")), "{lines:#?}");
}

#[tokio::test]
async fn at_level_info_only_attempts_have_spans() {
    let (said, _guard) = listen(LevelFilter::INFO);
    let s = Scenario::new().await;
    s.provided("1").await;
    s.claim_one().await.cancel().await.unwrap();
    let lines = said.lines();
    let closed: Vec<_> = lines.iter().filter(|line| line.contains("close")).collect();
    assert_eq!(closed.len(), 1, "{lines:#?}");
    assert!(closed[0].contains("work{session="), "{lines:#?}");
}

#[tokio::test]
async fn spans_and_logs_contain_no_tag_values() {
    let (said, _guard) = listen(LevelFilter::TRACE);
    let s = Scenario::new().await;
    s.provided("S3cret-id").await;
    s.claim_one()
        .await
        .fail(&RETRY, "S3cret-cause")
        .await
        .unwrap();
    let ours = |line: &String| line.contains("bmdb_core");
    let lines: Vec<String> = said.lines().into_iter().filter(ours).collect();
    assert!(
        lines
            .iter()
            .any(|line| line.contains("heartbeat{sessions=1}")),
        "{lines:#?}"
    );
    for line in lines {
        assert!(!line.contains("S3cret"), "{line}");
        assert!(
            !line.contains("SELECT") && !line.contains("UPDATE"),
            "{line}"
        );
    }
}
