//! What a node says about the health of instances, and registering them.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client::http::HttpConnection;
use crate::load::Numbers;

/// Services that the instances are spread over.
const SERVICES: usize = 50;
/// Clients that register.
const REGISTRARS: usize = 48;

/// The API of one node, on a kept connection.
pub(super) struct Node {
    connection: HttpConnection,
}

/// Instances by state, as one node counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) passing: u64,
    pub(super) critical: u64,
    /// Neither of them.
    pub(super) others: u64,
}

impl Node {
    pub(super) async fn connect(address: SocketAddr) -> Result<Self> {
        Ok(Self { connection: HttpConnection::connect(address).await? })
    }

    /// Instances by state.
    pub(super) async fn counts(&mut self) -> Result<Counts> {
        // Without a revision to wait for, a node may answer from counts that are up to a second old. It needs no leader for it.
        let report: Value = serde_json::from_slice(&self.get("/v1/health?limit=1&min_revision=1").await?)?;
        let states = report["instances"].as_object().context("/v1/health has no counts of instances")?;
        let total: u64 = states.values().filter_map(Value::as_u64).sum();
        let of = |state: &str| states.get(state).and_then(Value::as_u64).unwrap_or(0);
        let (passing, critical) = (of("passing"), of("critical"));
        Ok(Counts { passing, critical, others: total - passing - critical })
    }

    /// The state of one instance.
    pub(super) async fn state(&mut self, index: usize) -> Result<String> {
        let instance: Value = serde_json::from_slice(&self.get(&path(index)).await?)?;
        Ok(instance["state"].as_str().context("an instance without a state")?.to_owned())
    }

    /// The sum of a metric over its labels; 0 when there is none yet.
    pub(super) async fn metric(&mut self, name: &str) -> Result<f64> {
        Ok(sum_of(&String::from_utf8(self.get("/metrics").await?)?, name))
    }

    /// A connection that was idle for long is closed by the node: then it is asked once more on another one.
    async fn get(&mut self, path: &str) -> Result<Vec<u8>> {
        if let Ok(body) = self.connection.exchange_ok("GET", path, b"").await {
            return Ok(body.to_vec());
        }
        Ok(self.connection.exchange_ok("GET", path, b"").await?.to_vec())
    }
}

/// The sum of the samples of `name` on a metrics page.
fn sum_of(page: &str, name: &str) -> f64 {
    let samples = page.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
    samples.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

/// The service and the id of instance `index`.
pub(super) fn names(index: usize) -> (String, String) {
    (format!("health-{}", index % SERVICES), format!("i{index:06}"))
}

/// Where instance `index` is found.
pub(super) fn path(index: usize) -> String {
    let (service, id) = names(index);
    format!("/v1/services/{service}/instances/{id}")
}

/// A registration with one http check of `target`.
pub(super) fn checked(target: SocketAddr, interval_ms: u64) -> Vec<u8> {
    let (host, port) = (target.ip().to_string(), target.port());
    let check = json!({
        "type": "http",
        "url": format!("http://{target}/health"),
        "interval_ms": interval_ms,
        "timeout_ms": interval_ms.min(2000),
    });
    json!({"endpoints": [{"protocol": "http", "host": host, "port": port}], "checks": [check]}).to_string().into_bytes()
}

/// Registers `bodies`, as instance 0 and so on, on all nodes in turn. Any failure ends it.
pub(super) async fn register(addresses: &[SocketAddr], bodies: Vec<Vec<u8>>) -> Result<()> {
    let (bodies, numbers) = (std::sync::Arc::new(bodies), Numbers::default());
    let mut registrars = JoinSet::new();
    for address in addresses.iter().cycle().take(REGISTRARS) {
        let mut connection = HttpConnection::connect(*address).await?;
        let (bodies, numbers) = (bodies.clone(), numbers.clone());
        registrars.spawn(async move {
            loop {
                let index = usize::try_from(numbers.next())?;
                let Some(body) = bodies.get(index) else { return anyhow::Ok(()) };
                connection.exchange_ok("PUT", &path(index), body).await?;
            }
        });
    }
    while let Some(finished) = registrars.join_next().await {
        finished??;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_not_taken_for_one_whose_name_it_begins() {
        let page = "# TYPE a_total counter\na_total{x=\"1\"} 2\na_total{x=\"2\"} 3\na_total_more 5\nb 1\n";
        assert_eq!((sum_of(page, "a_total"), sum_of(page, "b"), sum_of(page, "c")), (5.0, 1.0, 0.0));
    }
}
