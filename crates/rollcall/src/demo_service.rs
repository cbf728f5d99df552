//! `rollcall demo-service`: the small HTTP services that `rollcall dev` registers, so that a catalogue has something
//! real behind it.
//!
//! Each answers `GET /health`, `GET /metrics` and `POST /work`, and falls ill at `POST /degrade`. With `--register` it registers
//! itself, and deregisters when it is stopped in order: that is how it runs in a container of its own.
//! The orchestrator is also an example of
//! discovery: it asks Rollcall who offers a capability and hands the task to one of them.
//!
//! Not done: authentication, limits beyond axum's body limit of 2 MB. They serve loopback, for demonstration.

mod illness;
mod metrics;
mod register;
mod work;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::Args;
use rollcall_api::client::Client;
use rollcall_api::query::InstancesQuery;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::failure::Failure;
use crate::stop::stop_requested;

use illness::Illness;
pub(crate) use work::Kind;

/// Longest time that a handed-on task may take.
const TASK_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time to finish what is under way after a stop was asked for.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Arguments of `rollcall demo-service`.
#[derive(Debug, Args)]
pub(crate) struct DemoServiceArgs {
    /// What the service does
    #[arg(long, value_enum)]
    kind: Kind,
    /// Its instance id, for its answers
    #[arg(long)]
    id: String,
    /// Address to listen on
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    listen: IpAddr,
    /// Port to listen on
    #[arg(long)]
    port: u16,
    /// Register as the demo catalogue has this id, under this host
    #[arg(long, value_name = "HOST")]
    register: Option<String>,
    /// Nodes to ask for others
    #[arg(long, value_name = "URL,…", value_delimiter = ',')]
    server: Vec<String>,
    /// Get slower until it fails, recover, and begin anew
    #[arg(long)]
    degrade: bool,
    /// Stop when standard input closes
    #[arg(long)]
    stop_with_stdin: bool,
}

struct Service {
    kind: Kind,
    id: String,
    started: Instant,
    tasks: AtomicU64,
    in_flight: AtomicU64,
    illness: Illness,
    registry: Client,
    http: reqwest::Client,
    /// Turns through the candidates, so that tasks spread over them.
    next: AtomicUsize,
}

/// A task for another service.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Errand {
    capability: String,
    task: Value,
}

#[derive(Debug, Serialize)]
struct Health<'a> {
    status: &'static str,
    instance: &'a str,
    uptime_ms: u128,
    tasks: u64,
}

type Answer = Result<Json<Value>, (StatusCode, Json<Value>)>;

/// Serves until told to stop.
///
/// # Errors
/// When the port cannot be listened on.
pub(crate) async fn run(args: DemoServiceArgs) -> Result<(), Failure> {
    let stop = stop_requested(args.stop_with_stdin)?;
    let address = SocketAddr::from((args.listen, args.port));
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| Failure::failed(format!("{} cannot listen on {address}", args.id)).because(&error))?;
    let registry =
        Client::new(args.server).map_err(|error| Failure::usage("--server does not name a node").because(&error))?;
    let http = reqwest::Client::builder()
        .timeout(TASK_TIMEOUT)
        .no_proxy()
        .build()
        .map_err(|error| Failure::failed("cannot make an HTTP client").because(&error))?;
    let own = args.register.map(|host| register::Own::of(&args.id, &host, args.port)).transpose()?;
    let started = Instant::now();
    let service = Arc::new(Service {
        kind: args.kind,
        id: args.id,
        started,
        illness: Illness::new(args.degrade, started),
        tasks: AtomicU64::new(0),
        in_flight: AtomicU64::new(0),
        registry,
        http,
        next: AtomicUsize::new(0),
    });
    match own {
        None => serve(listener, service, stop).await,
        Some(own) => {
            let registered = tokio::spawn(own.clone().register(service.clone()));
            let served = serve(listener, service.clone(), stop).await;
            registered.abort();
            own.deregister(&service.registry).await;
            served
        }
    }
}

async fn serve(
    listener: TcpListener,
    service: Arc<Service>,
    stop: impl Future<Output = crate::stop::Stop>,
) -> Result<(), Failure> {
    let (stopping, stopped) = tokio::sync::oneshot::channel::<()>();
    let router = Router::new()
        .route("/health", get(health))
        .route("/metrics", get(metrics::page))
        .route("/work", post(work))
        .route("/degrade", post(degrade))
        .with_state(service);
    let server = axum::serve(listener, router).with_graceful_shutdown(async {
        // The sender is only dropped with this whole function, and then there is nothing left to shut down.
        let _ = stopped.await;
    });
    let server = tokio::spawn(async { server.await });
    stop.await;
    let _ = stopping.send(());
    // A client that keeps its connection open must not keep the process alive.
    match tokio::time::timeout(DRAIN_TIMEOUT, server).await {
        Ok(Ok(Err(error))) => Err(Failure::failed("the demo service failed").because(&error)),
        Ok(Err(error)) => Err(Failure::failed("the demo service failed").because(&error)),
        Ok(Ok(Ok(()))) | Err(_) => Ok(()),
    }
}

async fn health(State(service): State<Arc<Service>>) -> Json<Value> {
    service.suffer().await;
    let health = Health {
        status: "passing",
        instance: &service.id,
        uptime_ms: service.started.elapsed().as_millis(),
        tasks: service.tasks.load(Ordering::Relaxed),
    };
    Json(json!(health))
}

async fn work(State(service): State<Arc<Service>>, Json(task): Json<Value>) -> Answer {
    service.tasks.fetch_add(1, Ordering::Relaxed);
    let _working = service.working();
    service.suffer().await;
    let result = match service.kind.perform(task) {
        work::Performed::Done(result) => result,
        work::Performed::Refused(reason) => return Err(refuse(StatusCode::UNPROCESSABLE_ENTITY, &reason)),
        work::Performed::HandOn(task) => service.hand_on(task).await?,
    };
    Ok(Json(json!({ "instance": service.id, "result": result })))
}

async fn degrade(State(service): State<Arc<Service>>) -> Json<Value> {
    service.illness.begin(Instant::now());
    Json(json!({ "instance": service.id, "degrades": true }))
}

impl Service {
    /// Takes as long as its illness makes it.
    async fn suffer(&self) {
        tokio::time::sleep(self.illness.delay(Instant::now())).await;
    }

    /// Counts a task as under way until the value is dropped.
    fn working(&self) -> Working<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Working(&self.in_flight)
    }

    /// Finds somebody who offers the capability and lets them do the task.
    async fn hand_on(&self, task: Value) -> Result<Value, (StatusCode, Json<Value>)> {
        let errand: Errand = serde_json::from_value(task)
            .map_err(|error| refuse(StatusCode::UNPROCESSABLE_ENTITY, &format!("not an errand: {error}")))?;
        let candidates = self
            .registry
            .instances_by_capability(&errand.capability, &InstancesQuery::default())
            .await
            .map_err(|error| refuse(StatusCode::BAD_GATEWAY, &format!("Rollcall does not say who: {error}")))?
            .value
            .items;
        // Handing a task to oneself would go round for ever.
        let others: Vec<_> = candidates.iter().filter(|candidate| candidate.id != self.id).collect();
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let chosen =
            turn.checked_rem(others.len()).and_then(|index| others[index].endpoints.first()).ok_or_else(|| {
                let reason = format!("nobody else offers {:?}", errand.capability);
                refuse(StatusCode::SERVICE_UNAVAILABLE, &reason)
            })?;
        let url = format!("http://{}:{}/work", chosen.host, chosen.port);
        let unreachable = |error: reqwest::Error| refuse(StatusCode::BAD_GATEWAY, &format!("{url}: {error}"));
        let answer = self.http.post(&url).json(&errand.task).send().await.map_err(unreachable)?;
        answer.json().await.map_err(unreachable)
    }
}

struct Working<'s>(&'s AtomicU64);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn refuse(status: StatusCode, reason: &str) -> (StatusCode, Json<Value>) {
    (status, Json(json!({ "error": reason })))
}
