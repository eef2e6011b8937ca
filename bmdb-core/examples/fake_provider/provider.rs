//! Provider: an API like that of a real one, for devices that exist only in memory.

use super::Error;
use serde_json::Value;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How long each request to the provider takes.
const LATENCY: Duration = Duration::from_millis(20);

/// A device in the provider's list.
#[derive(Debug, Clone)]
pub(super) struct Device {
    pub(super) id: String,
    pub(super) address: String,
    pub(super) location: String,
    pub(super) agent: Agent,
    /// The first login fails.
    refuses_first_login: bool,
    /// It does not boot until it is reinstalled.
    broken_disk: bool,
}

/// What runs on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Agent {
    None,
    Answers,
    /// It has sent heartbeats, and does not any more.
    Silent,
}

pub(super) struct FakeProvider {
    devices: Mutex<Vec<Device>>,
    changed: watch::Sender<()>,
}

impl FakeProvider {
    pub(super) fn from_json(json: &str) -> Result<Self, Error> {
        let list: Vec<Value> = serde_json::from_str(json)?;
        let devices: Result<Vec<Device>, Error> = list.iter().map(device).collect();
        Ok(Self {
            devices: Mutex::new(devices?),
            changed: watch::Sender::new(()),
        })
    }

    pub(super) async fn list(&self) -> Vec<Device> {
        tokio::time::sleep(LATENCY).await;
        self.devices().clone()
    }

    /// Creates a device without an agent.
    pub(super) async fn create(&self, id: &str) -> Device {
        tokio::time::sleep(LATENCY).await;
        let made = Device {
            id: id.to_owned(),
            address: "192.0.2.100".to_owned(),
            location: "rack C".to_owned(),
            agent: Agent::None,
            refuses_first_login: false,
            broken_disk: false,
        };
        self.devices().push(made.clone());
        made
    }

    /// Logs in and starts the agent. Returns its public key.
    pub(super) async fn start_agent(&self, id: &str) -> Result<String, Error> {
        self.with(id, |device| {
            if std::mem::take(&mut device.refuses_first_login) {
                return Err("connection refused on port 22".into());
            }
            device.agent = Agent::Answers;
            Ok(format!("key of {id}"))
        })
        .await?
    }

    /// Power-cycles the device; its agent starts with the operating system.
    pub(super) async fn reboot(&self, id: &str) -> Result<(), Error> {
        self.with(id, |device| {
            if device.agent == Agent::Silent && !device.broken_disk {
                device.agent = Agent::Answers;
            }
        })
        .await
    }

    /// Reinstalls the disk; nothing runs on the device afterwards.
    pub(super) async fn reinstall(&self, id: &str) -> Result<(), Error> {
        self.with(id, |device| {
            device.agent = Agent::None;
            device.broken_disk = false;
        })
        .await
    }

    pub(super) async fn agent_answers(&self, id: &str) -> Result<bool, Error> {
        self.with(id, |device| device.agent == Agent::Answers).await
    }

    /// Resolves when all agents answer.
    pub(super) async fn all_agents_answer(&self) {
        let mut changed = self.changed.subscribe();
        while !self.devices().iter().all(|d| d.agent == Agent::Answers) {
            // The sender lives in `self`.
            let _ = changed.changed().await;
        }
    }

    async fn with<T>(&self, id: &str, act: impl FnOnce(&mut Device) -> T) -> Result<T, Error> {
        tokio::time::sleep(LATENCY).await;
        let mut devices = self.devices();
        let device = devices.iter_mut().find(|device| device.id == id);
        let result = act(device.ok_or_else(|| format!("there is no device {id}"))?);
        self.changed.send_replace(());
        Ok(result)
    }

    fn devices(&self) -> MutexGuard<'_, Vec<Device>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn device(json: &Value) -> Result<Device, Error> {
    let text = |name: &str| match json[name].as_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(format!("devices.json: a device without {name}: {json}")),
    };
    let agent = match text("agent")?.as_str() {
        "none" => Agent::None,
        "answers" => Agent::Answers,
        "silent" => Agent::Silent,
        other => return Err(format!("devices.json: no such agent: {other}").into()),
    };
    Ok(Device {
        id: text("id")?,
        address: text("address")?,
        location: text("location")?,
        agent,
        refuses_first_login: json["refuses_first_login"] == true,
        broken_disk: json["broken_disk"] == true,
    })
}
