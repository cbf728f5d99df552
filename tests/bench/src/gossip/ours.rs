//! What a Rollcall node says about the members.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{State, States};
use crate::client::http::HttpConnection;

/// The counter of bytes that gossip has sent, one line per way.
const SENT_BYTES: &str = "rollcall_gossip_sent_bytes_total";

/// The API of one node.
pub(super) struct Api {
    address: SocketAddr,
    connection: Option<HttpConnection>,
}

impl Api {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, connection: None }
    }

    /// What the node says about all members.
    pub(super) async fn states(&mut self) -> Result<States> {
        let list: Value = serde_json::from_slice(&self.get("/v1/cluster/members").await?)?;
        let items = list["items"].as_array().context("/v1/cluster/members has no items")?;
        let state = |item: &Value| {
            let name = item["name"].as_str().context("a member without a name")?;
            let state = match item["state"].as_str() {
                Some("alive") => State::Alive,
                Some("dead") => State::Dead,
                _ => State::Other,
            };
            Ok((name.to_owned(), state))
        };
        items.iter().map(state).collect()
    }

    /// Bytes that its gossip has sent; `None` when it does not count them.
    pub(super) async fn sent_bytes(&mut self) -> Result<Option<f64>> {
        let text = String::from_utf8(self.get("/metrics").await?)?;
        let lines = text.lines().filter(|line| line.starts_with(SENT_BYTES));
        let values: Vec<f64> = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse().ok()).collect();
        Ok((!values.is_empty()).then(|| values.iter().sum()))
    }

    async fn get(&mut self, path: &str) -> Result<Vec<u8>> {
        // A connection that was idle for longer than a node waits for the next request is closed by then: another one is made.
        if let Some(mut connection) = self.connection.take()
            && let Ok(body) = connection.exchange_ok("GET", path, b"").await.map(<[u8]>::to_vec)
        {
            self.connection = Some(connection);
            return Ok(body);
        }
        let mut connection = HttpConnection::connect(self.address).await?;
        let body = connection.exchange_ok("GET", path, b"").await?.to_vec();
        self.connection = Some(connection);
        Ok(body)
    }
}
