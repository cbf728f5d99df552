//! A client: writes its own registers, reads everybody's, at any node.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use http::{Method, StatusCode};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::client::{Answer, Unanswered, call};
use crate::history::History;

/// The service that all registers are instances of.
pub(crate) const SERVICE: &str = "/v1/services/registers/instances";
/// Longest wait for an answer: longer than any deadline of a node.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two operations, in milliseconds.
const THINK_MILLIS: std::ops::Range<u64> = 2..60;
/// Registers that a client writes in turn.
const REGISTERS: usize = 3;

/// A node as clients know it.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) http: SocketAddr,
}

/// A client.
pub(crate) struct Client {
    pub(crate) name: String,
    pub(crate) nodes: Vec<Node>,
    pub(crate) history: Rc<RefCell<History>>,
    /// When it stops.
    pub(crate) end: Duration,
    pub(crate) seed: u64,
}

/// Simulated time.
pub(crate) fn now() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

/// The number in a register, from an answer that tells it; 0 when there is no such instance.
pub(crate) fn number_in(answer: &Answer) -> Option<u64> {
    match answer.status {
        StatusCode::OK => answer.body["metadata"]["number"].as_str()?.parse().ok(),
        StatusCode::NOT_FOUND => Some(0),
        _ => None,
    }
}

/// The registration that puts `number` into a register.
pub(crate) fn registration(number: u64) -> Value {
    json!({
        "endpoints": [{"protocol": "http", "host": "10.0.0.1", "port": 80}],
        "metadata": {"number": number.to_string()},
    })
}

impl Client {
    /// Works until the end.
    pub(crate) async fn run(self) {
        let mut rng = StdRng::seed_from_u64(self.seed);
        let mut made = 0;
        let mut fresh = || {
            made += 1;
            format!("{}-{made}", self.name)
        };
        let mut own: Vec<String> = (0..REGISTERS).map(|_| fresh()).collect();
        while now() < self.end {
            sleep(Duration::from_millis(rng.random_range(THINK_MILLIS))).await;
            let Some(node) = self.nodes.choose(&mut rng) else { return };
            if rng.random_ratio(1, 2) {
                let place = rng.random_range(0..own.len());
                if !self.write(node, &own[place]).await {
                    own[place] = fresh();
                }
            } else {
                let ids = self.history.borrow().ids();
                let Some(id) = ids.choose(&mut rng) else { continue };
                self.read(node, id, rng.random_ratio(1, 2)).await;
            }
        }
    }

    /// Counts the register up; answers whether the outcome is known.
    async fn write(&self, node: &Node, id: &str) -> bool {
        let number = self.history.borrow_mut().begin_write(id);
        let path = format!("{SERVICE}/{id}");
        let answered = call(node.http, Method::PUT, &path, Some(&registration(number)), PATIENCE).await;
        let mut history = self.history.borrow_mut();
        match answered {
            Ok(answer) if answer.status.is_success() => {
                history.acknowledge(id, number, now());
                true
            }
            Err(Unanswered::Unsent) => {
                history.not_sent(id);
                true
            }
            Ok(_) | Err(Unanswered::Lost) => {
                history.unknown += 1;
                false
            }
        }
    }

    async fn read(&self, node: &Node, id: &str, is_linearizable: bool) {
        let (began, floor) = (now(), self.history.borrow().floor(id));
        let consistency = if is_linearizable { "linearizable" } else { "stale" };
        let path = format!("{SERVICE}/{id}?consistency={consistency}");
        let Ok(answer) = call(node.http, Method::GET, &path, None, PATIENCE).await else { return };
        let Some(seen) = number_in(&answer) else { return };
        let mut history = self.history.borrow_mut();
        if is_linearizable {
            history.linearizable_read(&node.name, id, floor, seen, now());
        } else {
            history.stale_read(&node.name, id, began, answer.staleness, seen);
        }
    }
}
