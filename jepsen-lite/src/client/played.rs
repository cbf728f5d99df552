//! Instances that the harness plays: their registration, and the answers to their probes.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, StatusCode};
use rollcall_api::{Number, Registration, RegistrationCheck, RegistrationEndpoint, Selection, headers, paths};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Names, Place, number, strange};
use crate::history::{Act, Answer, Call, OpId, Outcome, Thing};
use crate::workload::health;

/// Longest request that is read.
const REQUEST_BYTES_MAX: usize = 8 << 10;
/// Longest time that a request may take to arrive.
const REQUEST_PATIENCE: Duration = Duration::from_secs(5);
/// Most requests at once.
const REQUESTS_MAX: usize = 1_024;

/// How an instance takes a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Well,
    Failing,
    /// The connection ends without an answer.
    Dead,
}

/// The address where nodes probe the played instances, and how each of them is. It listens until this is dropped.
#[derive(Debug)]
pub(crate) struct Stage {
    address: SocketAddr,
    conditions: Arc<Mutex<HashMap<String, Condition>>>,
    /// The listener, which holds the connections.
    _listener: JoinSet<()>,
}

impl Stage {
    /// Listens on any port of `ip`, an address of this machine that nodes reach.
    ///
    /// # Errors
    /// When it is none of this machine.
    pub(crate) async fn open(ip: IpAddr) -> Result<Self> {
        let listener = TcpListener::bind((ip, 0)).await;
        let listener = listener.with_context(|| format!("cannot listen on {ip}, where nodes would probe"))?;
        let address = listener.local_addr().context("a listener without an address")?;
        let conditions = Arc::<Mutex<HashMap<String, Condition>>>::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(listen(listener, conditions.clone()));
        Ok(Self { address, conditions, _listener: tasks })
    }

    fn set(&self, id: &str, condition: Condition) {
        conditions(&self.conditions).insert(id.to_owned(), condition);
    }

    fn registration(&self, op: OpId, id: &str) -> Registration {
        let host = self.address.ip().to_string();
        let port = Number::from(u64::from(self.address.port()));
        let check = RegistrationCheck {
            kind: "http".to_owned(),
            url: Some(format!("http://{}/{id}", self.address)),
            interval_ms: Number::from(health::INTERVAL_MS),
            ..RegistrationCheck::default()
        };
        Registration {
            endpoints: vec![RegistrationEndpoint { protocol: "http".to_owned(), host, port, name: None }],
            checks: vec![check],
            metadata: [(super::VALUE.to_owned(), op.to_string())].into(),
            ..Registration::default()
        }
    }
}

fn conditions(of: &Mutex<HashMap<String, Condition>>) -> MutexGuard<'_, HashMap<String, Condition>> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn listen(listener: TcpListener, of: Arc<Mutex<HashMap<String, Condition>>>) {
    let (places, mut requests) = (Arc::new(Semaphore::new(REQUESTS_MAX)), JoinSet::new());
    loop {
        while requests.try_join_next().is_some() {}
        let Ok(place) = places.clone().acquire_owned().await else { return };
        // A connection that could not be accepted is one that was not answered, which its prober sees.
        let Ok((stream, _)) = listener.accept().await else { continue };
        let of = of.clone();
        requests.spawn(async move {
            // Nobody to tell: whoever asked sees that it is not answered.
            let _ = tokio::time::timeout(REQUEST_PATIENCE, answer(stream, &of)).await;
            drop(place);
        });
    }
}

/// Answers one request, as its instance is, and ends the connection.
async fn answer(mut stream: TcpStream, of: &Mutex<HashMap<String, Condition>>) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|four| four == b"\r\n\r\n") {
        if stream.read_buf(&mut request).await? == 0 || request.len() > REQUEST_BYTES_MAX {
            return Ok(());
        }
    }
    let line = String::from_utf8_lossy(&request);
    let id = line.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
    let condition = conditions(of).get(id).copied();
    let status = match condition {
        Some(Condition::Well) => "200 OK",
        Some(Condition::Failing) => "503 Service Unavailable",
        Some(Condition::Dead) => return Ok(()),
        None => "404 Not Found",
    };
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.shutdown().await
}

/// Does what the cluster is not told of; `None` of any other call.
pub(super) fn play(stage: Option<&Stage>, call: &Call) -> Option<Outcome> {
    let Call::Play { thing: Thing::Instance { id, .. }, act } = call else { return None };
    let condition = match act {
        Act::Fail => Condition::Failing,
        Act::Die => Condition::Dead,
        Act::Recover => Condition::Well,
        Act::Register | Act::Drain | Act::Undrain | Act::Deregister => return None,
    };
    let Some(stage) = stage else { return Some(Outcome::Fail { why: NO_STAGE.to_owned(), revision: None }) };
    stage.set(id, condition);
    Some(Outcome::Ok(Answer::Played { revision: None }))
}

const NO_STAGE: &str = "nobody plays instances in this run";

/// The request of a call on played instances; `None` of any other call.
pub(super) fn request(
    (http, stage): (&reqwest::Client, Option<&Stage>),
    names: &Names,
    (place, op): (&Place, OpId),
    call: &Call,
) -> Option<Result<RequestBuilder>> {
    let send = |method: Method, path: String| http.request(method, format!("{}{path}", place.url));
    let request = match call {
        Call::Pick { service, n } => {
            return Some(Ok(
                send(Method::POST, paths::select(&names.outer(service))).json(&serde_json::json!({ "n": n }))
            ));
        }
        Call::Play { thing: Thing::Instance { service, id }, act } => {
            let service = names.outer(service);
            match act {
                Act::Register => stage.context(NO_STAGE).map(|stage| {
                    // It is well from before the cluster can know of it.
                    stage.set(id, Condition::Well);
                    send(Method::PUT, paths::instance(&service, id)).json(&stage.registration(op, id))
                }),
                Act::Drain => Ok(send(Method::POST, paths::drain(&service, id))),
                Act::Undrain => Ok(send(Method::POST, paths::undrain(&service, id))),
                Act::Deregister => Ok(send(Method::DELETE, paths::instance(&service, id))),
                Act::Fail | Act::Die | Act::Recover => return None,
            }
        }
        _ => return None,
    };
    let name = names.actor(op);
    Some(request.map(|request| request.header(headers::ACTOR, &name).header(headers::IDEMPOTENCY_KEY, &name)))
}

/// The answer to such a call that succeeded; `None` of any other.
pub(super) fn read_answer(call: &Call, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Outcome> {
    let revision = number(headers, &headers::REVISION);
    Some(match call {
        Call::Play { .. } => match revision {
            Some(_) => Outcome::Ok(Answer::Played { revision }),
            None => strange(status, "no revision"),
        },
        Call::Pick { .. } => match serde_json::from_slice::<Selection>(body) {
            Ok(Selection { picks, fail_open, revision, .. }) => {
                let picks = picks.into_iter().map(|pick| pick.id).collect();
                Outcome::Ok(Answer::Chosen { revision, fail_open, picks })
            }
            Err(error) => strange(status, &format!("no selection ({error})")),
        },
        _ => return None,
    })
}
