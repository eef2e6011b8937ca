//! A headless Chromium, driven through chromedriver.

use axum::http::Method;
use fantoccini::ClientBuilder;
use fantoccini::client::Client;
use fantoccini::error::CmdError;
use fantoccini::wd::{Capabilities, WebDriverCompatibleCommand};
use hyper_util::client::legacy::connect::HttpConnector;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use serde_json::{Value, json};
use std::env;
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use url::{ParseError, Url};

/// How to install what these tests need.
pub(crate) const INSTALL: &str = "apt-get install chromium chromium-driver";

/// A running chromedriver and its browser.
pub(crate) struct Driver {
    process: Child,
    browser: Option<Client>,
    /// The browser's process. It would outlive chromedriver unless it is ended first.
    chromium: Option<i32>,
}

impl Driver {
    /// Starts both. `None` if they are not installed.
    pub(crate) async fn start() -> Result<Option<Self>, Box<dyn Error>> {
        let browsers = ["chromium", "chromium-browser", "google-chrome"];
        let browser = browsers.iter().find_map(|name| installed(name));
        let (Some(chromium), Some(chromedriver)) = (browser, installed("chromedriver")) else {
            return Ok(None);
        };
        let mut process = Command::new(chromedriver)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let output = process.stdout.take();
        let mut driver = Self {
            process,
            browser: None,
            chromium: None,
        };
        let port = port(BufReader::new(output.ok_or("no output")?))?;
        let chromedriver = format!("http://127.0.0.1:{port}");
        let browser = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities(&chromium.to_string_lossy()))
            .connect(&chromedriver)
            .await?;
        let id = browser
            .capabilities()
            .and_then(|all| all.get("goog:processID"));
        let id = id.and_then(Value::as_i64);
        driver.chromium = id.and_then(|id| i32::try_from(id).ok());
        driver.browser = Some(browser);
        Ok(Some(driver))
    }

    pub(crate) fn browser(&self) -> &Client {
        self.browser
            .as_ref()
            .expect("the browser runs until the end")
    }

    /// Sends a command of the Chrome DevTools protocol.
    pub(crate) async fn chromium(
        &self,
        command: &str,
        parameters: Value,
    ) -> Result<Value, CmdError> {
        let body = json!({ "cmd": command, "params": parameters });
        self.vendor("goog/cdp/execute", body).await
    }

    /// The browser's new log messages, such as errors of scripts and violations of the policy.
    pub(crate) async fn complaints(&self) -> Result<Vec<String>, CmdError> {
        let log = self.vendor("se/log", json!({ "type": "browser" })).await?;
        let entries = log.as_array().cloned().unwrap_or_default();
        let message = |entry: &Value| entry["message"].as_str().unwrap_or("?").to_owned();
        Ok(entries.iter().map(message).collect())
    }

    /// Sets the size of the viewport, which may be smaller than the smallest window.
    pub(crate) async fn size(&self, width: u32, height: u32) -> Result<(), CmdError> {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.chromium("Emulation.setDeviceMetricsOverride", size)
            .await?;
        Ok(())
    }

    /// Sets the preferred colour scheme.
    pub(crate) async fn dark(&self, dark: bool) -> Result<(), CmdError> {
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        let media = json!({ "media": "", "features": features });
        self.chromium("Emulation.setEmulatedMedia", media).await?;
        Ok(())
    }

    /// Allows or forbids scripts.
    pub(crate) async fn scripts(&self, allowed: bool) -> Result<(), CmdError> {
        let switch = json!({ "value": !allowed });
        self.chromium("Emulation.setScriptExecutionDisabled", switch)
            .await?;
        Ok(())
    }

    async fn vendor(&self, path: &'static str, body: Value) -> Result<Value, CmdError> {
        self.browser().issue_cmd(Vendor { path, body }).await
    }

    /// Ends the browser, then chromedriver.
    pub(crate) async fn end(mut self) -> Result<(), CmdError> {
        match self.browser.take() {
            Some(browser) => browser.close().await,
            None => Ok(()),
        }
    }
}

impl Drop for Driver {
    /// After a panic the browser still runs.
    fn drop(&mut self) {
        if let (Some(_), Some(id)) = (&self.browser, self.chromium) {
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
        if let Ok(id) = i32::try_from(self.process.id()) {
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
        let since = Instant::now();
        while !matches!(self.process.try_wait(), Ok(Some(_))) {
            if since.elapsed() > Duration::from_secs(5) {
                let _ = self.process.kill();
                let _ = self.process.wait();
                break;
            }
            sleep(Duration::from_millis(10));
        }
    }
}

/// The path of a program in `PATH`.
fn installed(name: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    let mut programs = env::split_paths(&folders).map(|folder| folder.join(name));
    programs.find(|program| program.is_file())
}

/// The port that chromedriver listens on, from what it prints when it is ready.
fn port(output: impl BufRead) -> Result<u16, Box<dyn Error>> {
    for line in output.lines() {
        let line = line?;
        if let Some((_, port)) = line.split_once("started successfully on port ") {
            return Ok(port.trim_end_matches('.').parse()?);
        }
    }
    Err("chromedriver ended before it was ready".into())
}

fn capabilities(chromium: &str) -> Capabilities {
    let mut arguments = vec![
        "--headless=new",
        "--hide-scrollbars",
        "--disable-gpu",
        "--lang=en-US",
    ];
    // The sandbox refuses to run as root, and the pages are our own.
    if geteuid().is_root() {
        arguments.push("--no-sandbox");
    }
    let mut capabilities = Capabilities::new();
    let options = json!({ "binary": chromium, "args": arguments });
    capabilities.insert("goog:chromeOptions".to_owned(), options);
    capabilities.insert("goog:loggingPrefs".to_owned(), json!({ "browser": "ALL" }));
    capabilities
}

/// A command specific to chromedriver.
#[derive(Debug)]
struct Vendor {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Vendor {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!(
            "session/{}/{}",
            session.unwrap_or_default(),
            self.path
        ))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}
