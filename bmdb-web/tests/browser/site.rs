//! Site: the console and the metrics on a server, as `bmdb serve` runs them.

use bmdb_core::{Config, Reader};
use bmdb_testkit::TestDb;
use bmdb_web::{Console, ConsoleOptions, Monitor, SampleOptions, Sampler, ServeOptions, Server};
use std::error::Error;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) struct Site {
    /// Without a slash at the end.
    pub(crate) origin: String,
    end: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

impl Site {
    /// `refresh` is how often an open page refreshes itself.
    pub(crate) async fn start(db: &TestDb, refresh: Duration) -> Result<Self, Box<dyn Error>> {
        let reader = Reader::connect(Config::new(db.url()).pool_size(4)).await?;
        let counter = Reader::connect(Config::new(db.url()).pool_size(1)).await?;
        let sampler = Sampler::start(counter, SampleOptions::default());
        sampler.first().await;
        let options = ConsoleOptions {
            refresh,
            ..ConsoleOptions::default()
        };
        let console = Console::new(reader.clone(), options).sampler(sampler.clone());
        let monitor = Monitor::new().fleet(sampler).ready_with(reader);
        let mut options = ServeOptions::default();
        options.listen.set_port(0);
        let server = Server::bind(options).await?;
        let origin = server.url().trim_end_matches('/').to_owned();
        let (end, ended) = oneshot::channel();
        let routes = monitor.router().merge(console.router());
        let running = tokio::spawn(server.run(routes, async { drop(ended.await) }));
        Ok(Self {
            origin,
            end,
            running,
        })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    pub(crate) async fn end(self) {
        drop(self.end);
        self.running.await.unwrap();
    }
}
