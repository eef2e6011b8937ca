//! The demonstration of a mass silence: agents of a whole fleet fall silent, and four programs that recover
//! machines do no more than the shipped limits allow. Minutes pass by moving what was recorded.

mod findings;
mod fleet;

use super::{Args, check_complaints, command_line};
use crate::failure::{Done, Failure};
use crate::folder::Folder;
use crate::server;
use crate::stop::Stop;
use crate::workers::Workers;
use findings::{Findings, MOST_STARTS};
use fleet::{Agents, SilentFleet};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;
use tokio::time::Instant;

const RECOVERY: &str = "ShepherdRecovery";

/// In minutes, of the shipped limit.
const WINDOW: usize = 10;

/// How long an outage lasts here, in minutes: a minute longer than a machine may be silent.
const OUTAGE: usize = 11;

/// How long programs get to start something that they must not start, in several polls.
const TEMPTATION: Duration = Duration::from_secs(2);

/// Between two times that programs are made to look.
const POLL: Duration = Duration::from_millis(200);

/// How long programs get to start what they may.
const START_TIMEOUT: Duration = Duration::from_secs(15);

pub(crate) async fn demonstrate(args: &Args) -> Done {
    let machines = args.machines.unwrap_or(2_000);
    if machines < 200 {
        let few = format!("--machines {machines}: --silence needs at least 200");
        return Err(Failure::Usage(few));
    }
    println!(
        "{machines} machines with agents, and {} programs that reboot silent ones, each with parallelism 8. \
         Takes about a minute; minutes in the story pass by moving what was recorded.\n",
        args.workers
    );
    let program = command_line()?;
    let folder = Folder::new()?;
    let stop = Stop::on_interrupt(folder.path().to_owned());
    server::provide(args.network)?;
    let fleet = SilentFleet::make(machines).await?;
    let count = usize::from(args.workers);
    let mut workers = Workers::start(folder.path(), count, launch(&program, fleet.url()))?;
    let mut story = Story {
        program,
        fleet,
        stop,
    };
    let played = story.play(machines).await;
    workers.drain().await?;
    let findings = played?;
    check_complaints(&workers)?;
    findings.print(args.json);
    if findings.wrong().is_empty() {
        return Ok(());
    }
    Err(Failure::Found)
}

/// A program that reboots silent machines: each reboot takes no time, and starts the agent again.
fn launch(program: &Path, url: &str) -> Box<dyn Fn(u32, usize) -> Command + Send + Sync> {
    let (program, url) = (program.to_owned(), url.to_owned());
    Box::new(move |_number, _place| {
        let mut command = Command::new(&program);
        command
            .env("BMDB_DATABASE_URL", &url)
            .args(["run", "--json", "--history", "full", "--parallelism", "8"])
            .args(["--process", RECOVERY])
            .args(["--exec", "echo rebooted"])
            .arg("--set-agent-started-from-stdout");
        command
    })
}

struct Story {
    program: PathBuf,
    fleet: SilentFleet,
    stop: Stop,
}

impl Story {
    async fn play(&mut self, machines: usize) -> Done<Findings> {
        let mut findings = Findings {
            machines,
            few: machines * 3 / 100,
            ..Findings::default()
        };
        self.gateway_is_down(&mut findings).await?;
        self.everybody_is_silent(&mut findings).await?;
        self.somebody_resumes(&mut findings).await?;
        self.few_are_silent(&mut findings).await?;
        (findings.most_starts, findings.most_running) = self.fleet.most().await?;
        Ok(findings)
    }

    async fn gateway_is_down(&mut self, findings: &mut Findings) -> Done {
        println!("1. The gateway that writes the heartbeats is down for {OUTAGE} minutes.");
        self.fleet.begin_act().await?;
        self.fleet.listen().await?;
        self.pass(1, Agents::All).await?;
        self.fleet.stop_listening().await?;
        self.pass(OUTAGE, Agents::All).await?;
        self.tempt().await?;
        findings.unheard = self.fleet.reboots().await?;
        println!(
            "   {} machines rebooted: a silence of ours is not a silence of theirs.\n",
            findings.unheard
        );
        Ok(())
    }

    async fn everybody_is_silent(&mut self, findings: &mut Findings) -> Done {
        println!(
            "2. It is back. Then all agents fall silent for {OUTAGE} minutes while it listens."
        );
        self.fleet.begin_act().await?;
        self.fleet.listen().await?;
        self.pass(1, Agents::All).await?;
        self.pass(OUTAGE, Agents::AllButFirst(findings.machines))
            .await?;
        self.wait_until(async |fleet| fleet.is_paused().await)
            .await?;
        self.tempt().await?;
        findings.paused = self.fleet.is_paused().await?;
        findings.silent = self.fleet.reboots().await?;
        println!("   {} machines rebooted. Why?", findings.silent);
        let machine = self.fleet.machine(0).to_string();
        self.command(&["process", "show", RECOVERY]).await?;
        self.command(&["why", &machine, RECOVERY]).await
    }

    async fn somebody_resumes(&mut self, findings: &mut Findings) -> Done {
        println!("3. Somebody finds that the agents are really gone, and lets recovery go on.");
        let reason = "a switch has died: slowly";
        self.command(&["process", "resume", RECOVERY, "--reason", reason])
            .await?;
        let silent = Agents::AllButFirst(findings.machines);
        for (window, found) in findings.resumed.iter_mut().enumerate() {
            let expected = MOST_STARTS * (window + 1);
            self.wait_until(async |fleet| Ok(fleet.reboots().await? >= expected))
                .await?;
            self.tempt().await?;
            *found = self.fleet.reboots().await?;
            let minutes = window * WINDOW;
            println!("   after {minutes} minutes: {found} machines rebooted");
            if window == 0 {
                self.pass(WINDOW, silent).await?;
            }
        }
        Ok(())
    }

    async fn few_are_silent(&mut self, findings: &mut Findings) -> Done {
        let few = findings.few;
        println!(
            "\n4. The agents are back. Then 3 % fall silent, {few} of {}, and nobody looks.",
            findings.machines
        );
        self.pass(WINDOW + 1, Agents::All).await?;
        self.wait_until(async |fleet| fleet.is_armed().await)
            .await?;
        self.fleet.begin_act().await?;
        let silent = Agents::AllButFirst(few);
        self.pass(OUTAGE, silent).await?;
        loop {
            let expected = (findings.recovered + MOST_STARTS).min(few);
            self.wait_until(async |fleet| Ok(fleet.reboots().await? >= expected))
                .await?;
            findings.recovered = self.fleet.reboots().await?;
            let Findings {
                recovered, minutes, ..
            } = findings;
            println!("   after {minutes} minutes: {recovered} machines rebooted");
            if *recovered >= few || *recovered < expected {
                break;
            }
            *minutes += WINDOW;
            self.pass(WINDOW, silent).await?;
        }
        findings.stopped = self.fleet.is_paused().await?;
        Ok(())
    }

    async fn pass(&self, minutes: usize, agents: Agents) -> Done {
        for _ in 0..minutes {
            if self.stop.is_requested() {
                return Err(Failure::step("interrupted"));
            }
            self.fleet.pass_a_minute(agents).await?;
        }
        Ok(())
    }

    /// Programs have the time to start what they must not.
    async fn tempt(&self) -> Done {
        let began = Instant::now();
        while began.elapsed() < TEMPTATION {
            self.fleet.wake().await?;
            self.stop.sleep(POLL).await;
        }
        Ok(())
    }

    /// Waits for something that programs do when they look; it is judged later whether it has happened.
    async fn wait_until(&self, happened: impl AsyncFn(&SilentFleet) -> Done<bool>) -> Done {
        let began = Instant::now();
        while began.elapsed() < START_TIMEOUT && !happened(&self.fleet).await? {
            self.fleet.wake().await?;
            self.stop.sleep(POLL).await;
        }
        Ok(())
    }

    /// Runs `bmdb` with these arguments, and shows what a person would see.
    async fn command(&self, arguments: &[&str]) -> Done {
        let output = Command::new(&self.program)
            .env("BMDB_DATABASE_URL", self.fleet.url())
            .args(arguments)
            .output()
            .await?;
        let typed = arguments.iter().map(|word| match word.contains(' ') {
            true => format!("'{word}'"),
            false => (*word).to_owned(),
        });
        let typed: Vec<String> = typed.collect();
        println!("\n   $ bmdb {}", typed.join(" "));
        let text = [output.stdout, output.stderr].concat();
        for line in String::from_utf8_lossy(&text).lines() {
            println!("   {line}");
        }
        println!();
        if output.status.success() {
            return Ok(());
        }
        let command = arguments.join(" ");
        Err(Failure::step(format!("bmdb {command}: {}", output.status)))
    }
}
