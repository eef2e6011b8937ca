//! `/metrics`, `/healthz` and `/readyz`.

use crate::http::{Answer, Running, options, serve};
use bmdb_core::telemetry::{Kind, METRICS};
use bmdb_core::{Bmdb, Claim, Config, Reader, SessionOptions};
use bmdb_model::{Process, Provider};
use bmdb_testkit::{Proxy, TestDb};
use bmdb_web::{Monitor, SampleOptions, Sampler, console_metrics};
use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

async fn reader(url: &str) -> Reader {
    let mut config = Config::new(url).pool_size(1);
    config.connect_timeout = Duration::from_millis(300);
    Reader::connect(config).await.unwrap()
}

/// A server that shows the fleet, with the first sample taken.
async fn fleet(db: &TestDb) -> Running {
    let sampler = Sampler::start(reader(db.url()).await, SampleOptions::default());
    sampler.first().await;
    serve(options(), Monitor::new().fleet(sampler).router()).await
}

fn value(answer: &Answer, series: &str) -> f64 {
    let line = answer.body.lines().find_map(|line| {
        let (found, value) = line.rsplit_once(' ')?;
        (found == series).then_some(value)
    });
    line.unwrap_or_else(|| panic!("no {series} in {}", answer.body))
        .parse()
        .unwrap()
}

/// Whether promtool accepts the text; `None` if it is not installed.
fn promtool_accepts(text: &str) -> Option<bool> {
    let child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn();
    let mut child = child.ok()?;
    child.stdin.take()?.write_all(text.as_bytes()).ok()?;
    // 3 means valid, but with suggestions.
    Some(matches!(child.wait().ok()?.code(), Some(0 | 3)))
}

#[tokio::test]
async fn the_gauges_show_the_counts_of_the_fleet() {
    let db = TestDb::new().await.unwrap();
    let equinix = |id| db.machine().provided(&Provider::EQUINIX, id);
    equinix("needs an agent").planned().create().await.unwrap();
    let claimed = equinix("claimed").planned().create().await.unwrap();
    let failed = equinix("failed").planned().create().await.unwrap();
    for (id, silent_for) in [("silent", 15), ("alive", 1)] {
        let machine = equinix(id).agent_started(60 * MINUTE);
        machine
            .agent_heartbeat(silent_for * MINUTE)
            .planned()
            .create()
            .await
            .unwrap();
    }
    let installed = equinix("installed").os_installation_request(1, b"");
    installed
        .os_installation_report(1, "Success")
        .create()
        .await
        .unwrap();
    equinix("to install")
        .hold("wait")
        .os_installation_request(1, b"")
        .create()
        .await
        .unwrap();
    let dead = db.session(MINUTE).await.unwrap();
    db.expire(dead).await.unwrap();
    let session = db.session(MINUTE).await.unwrap();
    db.run_sql(&format!(
        "UPDATE work_item SET session_id = '{session}', started_at = now() WHERE machine_id = '{claimed}';
         UPDATE work_item SET backoff_until = now() + interval '1 h', failures = 10
         WHERE machine_id = '{failed}'"
    ))
    .await
    .unwrap();
    let server = fleet(&db).await;
    let answer = server.get("/metrics").await;
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    for (series, expected) in [
        ("bmdb_stats_machines", 7.0),
        ("bmdb_stats_machines_provided", 7.0),
        ("bmdb_stats_machines_on_hold", 1.0),
        ("bmdb_stats_machines_agent_started", 2.0),
        ("bmdb_stats_machines_heartbeating", 1.0),
        ("bmdb_stats_machines_pending_installation", 1.0),
        ("bmdb_stats_machines_installed", 1.0),
        ("bmdb_stats_machines_pending_agent_start", 1.0),
        ("bmdb_stats_machines_pending_agent_recovery", 1.0),
        ("bmdb_stats_live_sessions", 1.0),
        ("bmdb_stats_dead_sessions", 1.0),
        (
            r#"bmdb_stats_active_work{process="ShepherdAgentStart"}"#,
            1.0,
        ),
        (
            r#"bmdb_stats_active_backoffs{process="ShepherdAgentStart"}"#,
            1.0,
        ),
        (
            r#"bmdb_stats_active_backoffs{process="ShepherdRecovery"}"#,
            0.0,
        ),
        (
            r#"bmdb_stats_poisoned_work{process="ShepherdAgentStart"}"#,
            1.0,
        ),
        (
            r#"bmdb_stats_stuck_work{process="ShepherdAgentStart"}"#,
            0.0,
        ),
        (
            r#"bmdb_stats_pending_work{process="ShepherdRecovery"}"#,
            1.0,
        ),
        (r#"bmdb_stats_uncounted{process="ShepherdAgentStart"}"#, 0.0),
        ("bmdb_stats_sample_success", 1.0),
    ] {
        assert_eq!(value(&answer, series), expected, "{series}");
    }
    let oldest = r#"bmdb_stats_oldest_due_age_seconds{process="ShepherdRecovery"}"#;
    assert!((300.0..330.0).contains(&value(&answer, oldest)));
    assert!(value(&answer, "bmdb_stats_sample_age_seconds") < 60.0);
    assert_ne!(
        promtool_accepts(&answer.body),
        Some(false),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn without_a_sample_the_gauges_are_missing_and_the_failure_is_shown() {
    let db = TestDb::new().await.unwrap();
    let proxy = Proxy::unix(db.url()).await.unwrap();
    let reader = reader(proxy.url()).await;
    proxy.refuse();
    let sampler = Sampler::start(reader, SampleOptions::default());
    assert!(sampler.first().await.error.is_some());
    let server = serve(options(), Monitor::new().fleet(sampler).router()).await;
    let answer = server.get("/metrics").await;
    assert_eq!(value(&answer, "bmdb_stats_sample_success"), 0.0);
    assert!(
        !answer.body.contains("bmdb_stats_machines"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn a_workflow_that_fails_is_reported_and_the_others_are_counted() {
    let db = TestDb::new().await.unwrap();
    let painted = "INSERT INTO process_def (process, lane, workflow) VALUES ('Paint', 'paint', 'no_such_view')";
    db.run_sql(painted).await.unwrap();
    let server = fleet(&db).await;
    let answer = server.get("/metrics").await;
    let of = |metric: &str, process: &str| format!("{metric}{{process=\"{process}\"}}");
    for (series, expected) in [
        (of("bmdb_stats_uncounted", "Paint"), 1.0),
        (of("bmdb_stats_uncounted", "ShepherdAgentStart"), 0.0),
        (of("bmdb_stats_pending_work", "ShepherdAgentStart"), 0.0),
        ("bmdb_stats_sample_success".to_owned(), 0.0),
    ] {
        assert_eq!(value(&answer, &series), expected, "{series}");
    }
    let unknown = of("bmdb_stats_pending_work", "Paint");
    assert!(!answer.body.contains(&unknown), "{}", answer.body);
}

/// A process can only install one recorder, so one test checks everything that needs it.
#[tokio::test]
async fn a_program_shows_exactly_the_documented_metrics() {
    let monitor = Monitor::of_this_program().unwrap();
    Monitor::of_this_program().unwrap_err();
    let db = TestDb::new().await.unwrap();
    db.run_sql("DELETE FROM agent_listening").await.unwrap();
    let machine = db.machine().provided(&Provider::EQUINIX, "a").planned();
    machine.create().await.unwrap();
    let with_agent = db.machine().provided(&Provider::EQUINIX, "b");
    with_agent.agent_started(MINUTE).create().await.unwrap();
    let config = Config::new(db.url())
        .component("starter")
        .janitor_interval(None);
    let bmdb = Bmdb::connect(config).await.unwrap();
    let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
    let claim = Claim::of(&Process::SHEPHERD_AGENT_START);
    for work in session.claim(&claim).await.unwrap() {
        work.finish(async |_| Ok(())).await.unwrap();
    }
    db.run_sql(STOPPED).await.unwrap();
    let sampler = Sampler::start(reader(db.url()).await, SampleOptions::default());
    sampler.first().await;
    let server = serve(options(), monitor.fleet(sampler).router()).await;
    server.get("/no/such/page").await;
    let answer = server.get("/metrics").await;
    let of =
        |process: &str| format!(r#"component="starter",processor="starter",process="{process}""#);
    let finished = format!(
        r#"bmdb_work_finished{{{},result="finished"}}"#,
        of("ShepherdAgentStart")
    );
    assert_eq!(value(&answer, &finished), 1.0);
    assert_eq!(
        value(
            &answer,
            r#"bmdb_session_started{component="starter",processor="starter"}"#
        ),
        1.0
    );
    let bucket = r#"bmdb_transaction_duration_seconds_bucket{component="starter",processor="starter",le="+Inf"}"#;
    assert_eq!(value(&answer, bucket), 1.0);
    assert!(value(&answer, r#"bmdb_web_requests{code="404"}"#) >= 1.0);
    let described: BTreeSet<String> = METRICS
        .into_iter()
        .chain(console_metrics())
        .map(|metric| {
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            format!("{} {kind}", metric.name)
        })
        .collect();
    let typed = answer
        .body
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    let shown: BTreeSet<String> = typed.map(str::to_owned).collect();
    assert_eq!(shown, described);
    assert_ne!(
        promtool_accepts(&answer.body),
        Some(false),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn a_program_is_ready_while_it_reaches_a_database_with_a_matching_schema() {
    let db = TestDb::new().await.unwrap();
    let proxy = Proxy::unix(db.url()).await.unwrap();
    let monitor = Monitor::new().ready_with(reader(proxy.url()).await);
    let server = serve(options(), monitor.router()).await;
    let ready = server.get("/readyz").await;
    assert_eq!(
        (ready.status, ready.body.as_str()),
        (200, "{\"ready\":true}\n")
    );
    proxy.refuse();
    until(&server, 503, "cannot be reached").await;
    let alive = server.get("/healthz").await;
    assert_eq!((alive.status, alive.body.as_str()), (200, "ok\n"));
    proxy.heal().unwrap();
    until(&server, 200, "true").await;
    let newer = "UPDATE schema_compatibility SET oldest_compatible = '99990101000000'";
    db.run_sql(newer).await.unwrap();
    until(&server, 503, "needs a newer version of this program").await;
    proxy.black_hole();
    until(&server, 503, "did not answer").await;
}

/// The server caches an answer for a second.
async fn until(server: &Running, status: u16, text: &str) {
    for _ in 0..40 {
        let answer = server.get("/readyz").await;
        let reason: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(reason["ready"], answer.status == 200);
        if answer.status == status && answer.body.contains(text) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never {status} with {text:?}");
}

/// Recovery has its shipped limits. Its breaker has stopped it at one provider.
const STOPPED: &str = "
    INSERT INTO process_slot (process, per, partition, kind, number, free_at) VALUES
        ('ShepherdRecovery', 'provider', 'SiteA', 'Running', 1, 'infinity'),
        ('ShepherdRecovery', 'provider', 'SiteA', 'Start', 1, now() + interval '5 min'),
        ('ShepherdRecovery', 'provider', 'SiteA', 'Start', 2, now() + interval '9 min');
    INSERT INTO process_breaker_state (process, per, partition, due, population, evaluated_at)
    VALUES ('ShepherdRecovery', 'provider', 'SiteA', 30, 298, now()),
           ('ShepherdRecovery', 'provider', 'SiteB', 1, 20, now());
    INSERT INTO process_pause (process, provider, since, source, paused_by, reason)
    VALUES ('ShepherdRecovery', 'SiteA', now() - interval '1 hour', 'Breaker', 'breaker', 'too many');
    INSERT INTO plan_failure (process, workflow, machine_id, error)
    VALUES ('ShepherdRecovery', 'workflow_agent_recovery', gen_random_uuid(), 'division by zero')";

#[tokio::test]
async fn limits_breakers_and_pauses_are_gauges_until_the_process_is_switched_off() {
    let db = TestDb::new().await.unwrap();
    db.run_sql(STOPPED).await.unwrap();
    let metrics = async || {
        let sampler = Sampler::start(reader(db.url()).await, SampleOptions::default());
        let latest = sampler.first().await;
        assert_eq!(latest.error.as_deref(), None);
        let server = serve(options(), Monitor::new().fleet(sampler).router()).await;
        server.get("/metrics").await
    };
    let answer = metrics().await;
    let partition = |name: &str, provider: &str| {
        format!(r#"{name}{{process="ShepherdRecovery",per="provider",provider="{provider}"}}"#)
    };
    for (name, site_a, site_b) in [
        ("bmdb_breaker_due", 30.0, 1.0),
        ("bmdb_breaker_population", 298.0, 20.0),
        ("bmdb_breaker_threshold", 14.0, 5.0),
        ("bmdb_breaker_open", 1.0, 0.0),
    ] {
        assert_eq!(value(&answer, &partition(name, "SiteA")), site_a, "{name}");
        assert_eq!(value(&answer, &partition(name, "SiteB")), site_b, "{name}");
    }
    for (name, expected) in [
        ("bmdb_process_running", 1.0),
        ("bmdb_process_running_limit", 5.0),
        ("bmdb_process_starts", 2.0),
        ("bmdb_process_starts_limit", 10.0),
    ] {
        assert_eq!(
            value(&answer, &partition(name, "SiteA")),
            expected,
            "{name}"
        );
    }
    let pause = r#"{process="ShepherdRecovery",provider="SiteA",source="Breaker"}"#;
    assert_eq!(value(&answer, &format!("bmdb_process_paused{pause}")), 1.0);
    let seconds = value(&answer, &format!("bmdb_process_paused_seconds{pause}"));
    assert!((3600.0..3660.0).contains(&seconds), "{seconds}");
    let failing = r#"bmdb_plan_failing{process="ShepherdRecovery"}"#;
    assert_eq!(value(&answer, failing), 1.0);

    let off = "UPDATE process_def SET off_workflow = workflow, off_time_driven = time_driven,
                      workflow = NULL, time_driven = false WHERE process = 'ShepherdRecovery'";
    db.run_sql(off).await.unwrap();
    let answer = metrics().await;
    for gauge in ["bmdb_process_", "bmdb_breaker_", failing] {
        assert!(!answer.body.contains(gauge), "{}", answer.body);
    }
}

#[tokio::test]
async fn gauges_say_whether_somebody_listens_to_agents_where_there_are_any() {
    let db = TestDb::new().await.unwrap();
    db.run_sql("DELETE FROM agent_listening").await.unwrap();
    for (provider, silent_for) in [("heard", 0), ("unheard", 60), ("assumed", 60)] {
        let provider = provider.parse().unwrap();
        let machine = db
            .machine()
            .provided(&provider, "a")
            .agent_started(90 * MINUTE);
        machine
            .agent_heartbeat(silent_for * MINUTE)
            .create()
            .await
            .unwrap();
    }
    let without = db.machine().provided(&Provider::EQUINIX, "a");
    without.create().await.unwrap();
    db.run_sql("SELECT observe_listening()").await.unwrap();
    db.advance(MINUTE).await.unwrap();
    db.run_sql("SELECT assume_listening('assumed')")
        .await
        .unwrap();
    let running = fleet(&db).await;
    let answer = running.get("/metrics").await;
    assert!((value(&answer, "bmdb_agents_listened{provider=\"heard\"}") - 1.0).abs() < 0.1);
    let seconds = value(&answer, "bmdb_agents_listened_seconds{provider=\"heard\"}");
    // Half an hour at first sight, because all are heard, and a minute since.
    assert!((1860.0..1890.0).contains(&seconds), "{seconds}");
    for (series, is_shown) in [
        ("bmdb_agents_listened{provider=\"unheard\"} 0", true),
        ("bmdb_agents_listened_seconds{provider=\"unheard\"} 0", true),
        ("bmdb_agents_listened{provider=\"assumed\"}", false),
        ("bmdb_agents_listened{provider=\"Equinix\"}", false),
    ] {
        assert_eq!(
            answer.body.contains(series),
            is_shown,
            "{series}: {}",
            answer.body
        );
    }
}
