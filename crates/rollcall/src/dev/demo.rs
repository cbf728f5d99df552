//! The demo services: started as children, then registered through different nodes.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use rollcall_api::client::{Client, ClientError, Options, Precondition};
use rollcall_api::{Code, Registration};
use tokio::time::{Instant, interval};

use crate::dev::catalogue::{self, DemoService};
use crate::dev::child::Children;
use crate::dev::plan::Plan;
use crate::dev::ready;
use crate::failure::Failure;
use crate::server::explain;
use crate::terminal::{Paint, print};

/// Longest time for the demo services to listen.
const START_TIMEOUT: Duration = Duration::from_secs(15);
/// Between two looks at them.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Who registers them, as history shows it.
const ACTOR: &str = "rollcall-dev";

/// The services of the demo; none with `--no-demo`.
pub(crate) struct Demo {
    services: Vec<DemoService>,
}

impl Demo {
    /// An empty catalogue.
    pub(crate) const fn none() -> Self {
        Self { services: Vec::new() }
    }

    /// The checked-in catalogue, with ports from `port_base` up.
    ///
    /// # Errors
    /// When a port would leave the range.
    pub(crate) fn load(port_base: u16) -> Result<Self, Failure> {
        let services = catalogue::load(port_base)
            .map_err(|problem| Failure::failed("the demo catalogue cannot be used").cause(problem))?;
        Ok(Self { services })
    }

    /// Service and instance that fall ill, with the port of the instance.
    pub(crate) fn degrading<'a>(&'a self) -> Option<(&'a str, &'a str, u16)> {
        let named = |service: &'a DemoService| {
            let instance = service.instances.iter().find(|instance| instance.degrades)?;
            Some((service.name.as_str(), instance.id.as_str(), instance.port))
        };
        self.services.iter().find_map(named)
    }

    /// Every instance id with the port it needs.
    pub(crate) fn ports(&self) -> Vec<(String, u16)> {
        let instances = self.services.iter().flat_map(|service| &service.instances);
        instances.map(|instance| (instance.id.clone(), instance.port)).collect()
    }

    /// Starts a process per instance and returns the URLs at which they tell their health.
    ///
    /// # Errors
    /// When a process cannot be started.
    pub(crate) fn start(
        &self,
        plan: &Plan,
        program: &Path,
        children: &mut Children<String>,
    ) -> Result<Vec<String>, Failure> {
        let servers = plan.urls_from(0).join(",");
        let instances = self.services.iter().flat_map(|service| &service.instances);
        instances
            .map(|instance| {
                let mut arguments: Vec<OsString> = vec![
                    "demo-service".into(),
                    "--kind".into(),
                    instance.kind.as_str().into(),
                    "--id".into(),
                    instance.id.clone().into(),
                    "--port".into(),
                    instance.port.to_string().into(),
                    "--server".into(),
                    servers.clone().into(),
                ];
                if instance.degrades {
                    arguments.push("--degrade".into());
                }
                children
                    .start(instance.id.clone(), program, &arguments, &plan.folder.join("demo.log"))
                    .map_err(|error| Failure::failed(format!("cannot start {}", instance.id)).because(&error))?;
                Ok(format!("http://127.0.0.1:{}/health", instance.port))
            })
            .collect()
    }

    /// Waits until every service tells its health.
    ///
    /// # Errors
    /// When one ends, or they are not there in time.
    pub(crate) async fn wait(&self, children: &mut Children<String>, urls: &[String]) -> Result<(), Failure> {
        let started = Instant::now();
        let http = ready::client()?;
        let mut ticks = interval(LOOK_INTERVAL);
        for url in urls {
            while !ready::answers(&http, url).await {
                if started.elapsed() > START_TIMEOUT {
                    return Err(Failure::failed(format!("a demo service does not answer at {url}")));
                }
                tokio::select! {
                    ended = children.next_end() => {
                        let what = format!("demo service {} ended at once: {}", ended.which, ended.reason());
                        return Err(Failure::failed(what).hint("its output is in demo.log in the data folder"));
                    }
                    _ = ticks.tick() => {}
                }
            }
        }
        Ok(())
    }

    /// Defines the services and registers the instances, each through the next node, and tells it line by line. Returns
    /// the revision of the last write.
    ///
    /// # Errors
    /// When the cluster refuses or cannot be reached.
    pub(crate) async fn register(&self, plan: &Plan, paint: Paint) -> Result<u64, Failure> {
        let mut revision = 0;
        let mut turn = 0;
        for service in &self.services {
            let name = &service.name;
            let client = client(plan, turn)?;
            let reply = client.define(name, &service.definition, Precondition::None).await.map_err(|e| explain(&e))?;
            revision = revision.max(reply.revision);
            if let Some(config) = &service.config {
                revision = revision.max(set_config(&client, name, config).await?);
            }
            for instance in &service.instances {
                let reply = register(plan, turn, name, &instance.id, &instance.registration).await?;
                let through = &plan.nodes[turn % plan.nodes.len()].name;
                print(&format!(
                    "  {} on port {} {} {through}, revision {reply}\n",
                    paint.strong(format_args!("{name}/{}", instance.id)),
                    instance.port,
                    paint.dim("registered through"),
                ))?;
                revision = revision.max(reply);
                turn += 1;
            }
        }
        Ok(revision)
    }
}

async fn register(
    plan: &Plan,
    turn: usize,
    service: &str,
    id: &str,
    registration: &Registration,
) -> Result<u64, Failure> {
    let reply = client(plan, turn)?.register(service, id, registration, Precondition::None).await;
    Ok(reply.map_err(|error| explain(&error))?.revision)
}

/// Sets the first configuration document. One that is there from an earlier start stays: it may have been edited.
async fn set_config(client: &Client, service: &str, config: &serde_json::Value) -> Result<u64, Failure> {
    match client.set_config(service, config.to_string(), Precondition::Absent).await {
        Ok(reply) => Ok(reply.revision),
        Err(ClientError::Problem(problem)) if problem.code == Code::RevisionMismatch => Ok(0),
        Err(error) => Err(explain(&error)),
    }
}

/// A client that asks the node whose turn it is first.
fn client(plan: &Plan, turn: usize) -> Result<Client, Failure> {
    let options = Options { actor: Some(ACTOR.to_owned()), ..Options::default() };
    Client::with_options(plan.urls_from(turn % plan.nodes.len()), options).map_err(|error| explain(&error))
}
