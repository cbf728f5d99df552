//! One request, as handlers get it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, MatchedPath, Request as HttpRequest};
use axum::http::HeaderMap;
use percent_encoding::percent_decode_str;
use rollcall_catalog::{Actor, Command, Outcome, Reply, Request};
use rollcall_types::{ActorName, UnixMillis};
use tokio::time::Instant;

use super::failure::{Failure, Result};
use super::params::Params;
use super::{Layer, router};
use crate::app::Shared;
use crate::http::body::{BODY_BYTES_MAX, HeldBody};

/// Longest wait of a write for a quorum.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// With what the name begins that the log has for a client of Consul.
const ACTOR: &str = "consul:";

/// The address that a request came from; set by the router.
#[derive(Debug, Clone, Copy)]
pub(super) struct From(pub(super) SocketAddr);

/// A request with what there is to answer it.
pub(crate) struct Call {
    /// The node.
    pub(crate) app: Shared,
    /// The layer.
    pub(crate) layer: Arc<Layer>,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Where it came from.
    pub(crate) from: SocketAddr,
    /// Its query.
    pub(crate) params: Params,
    rest: String,
    /// Never contended: a handler that waits can lend the call only if all of it can be shared.
    body: Mutex<Body>,
}

impl FromRequest<router::Front> for Call {
    type Rejection = Failure;

    async fn from_request(request: HttpRequest, front: &router::Front) -> Result<Self> {
        let (parts, body) = request.into_parts();
        let from = parts.extensions.get::<From>().ok_or_else(|| Failure::internal(&"a request without an address"))?;
        let pattern = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
        let rest = rest(pattern, parts.uri.path())?;
        let params = Params::parse(parts.uri.query().unwrap_or_default());
        let call = Self {
            app: front.app.clone(),
            layer: front.layer.clone(),
            headers: parts.headers,
            from: from.0,
            params,
            rest,
            body: Mutex::new(body),
        };
        call.check_place()?;
        Ok(call)
    }
}

impl Call {
    /// What stands in the path where the route has `{*rest}`, percent-decoded once; empty when there is nothing.
    pub(crate) fn rest(&self) -> &str {
        &self.rest
    }

    /// The same, which must not be empty: `what` is what Consul calls it.
    ///
    /// # Errors
    /// 400 `Missing …`.
    pub(crate) fn name(&self, what: &str) -> Result<&str> {
        if self.rest.is_empty() { Err(Failure::missing(what)) } else { Ok(&self.rest) }
    }

    /// The body, read whole; the second time it is empty.
    ///
    /// # Errors
    /// 413 when it is too large, 429 when the node holds its most large bodies, 408 when it does not arrive.
    pub(crate) async fn body(&mut self) -> Result<HeldBody> {
        self.body_within(BODY_BYTES_MAX).await
    }

    /// The body, of at most `bytes_max`.
    ///
    /// # Errors
    /// As [`Self::body`].
    pub(crate) async fn body_within(&mut self, bytes_max: usize) -> Result<HeldBody> {
        let body = std::mem::take(self.body.get_mut().unwrap_or_else(PoisonError::into_inner));
        Ok(self.app.bodies.read_within(body, bytes_max).await?)
    }

    /// Who the log says asked.
    pub(crate) fn actor(&self) -> Actor {
        let name = format!("{ACTOR}{}", self.from.ip());
        let name = ActorName::try_from(name.as_str()).expect("an address is a name");
        Actor { name, via: self.app.name.clone() }
    }

    /// Puts `command` into the log and waits until it is applied here. A refusal is an outcome; see [`Self::execute`].
    ///
    /// # Errors
    /// 500 `No cluster leader` and the like.
    pub(crate) async fn propose(&self, command: Command) -> Result<Outcome> {
        let request = Request { id: None, at: UnixMillis::default(), actor: self.actor(), command };
        let deadline = Instant::now() + WRITE_DEADLINE;
        let outcome = self.app.consensus.propose(request, deadline).await?;
        // Another node may have applied it first, and a client reads what it wrote on the agent that it wrote to. When this
        // node stays behind, the write is done all the same.
        drop(self.app.consensus.wait_for(outcome.revision, deadline).await);
        Ok(outcome)
    }

    /// [`Self::propose`] for who has nothing to say about a refusal.
    ///
    /// # Errors
    /// As [`Self::propose`], and the refusal.
    pub(crate) async fn execute(&self, command: Command) -> Result<Outcome> {
        let outcome = self.propose(command).await?;
        match outcome.reply {
            Reply::Refused(refusal) => Err(refusal.into()),
            _ => Ok(outcome),
        }
    }

    /// Whether the request is about the services of another cluster, of which there are none.
    pub(crate) fn is_about_peer(&self) -> bool {
        self.params.text("peer").is_some() || self.params.text("peer-name").is_some()
    }

    /// Datacenter, namespace and partition must be those that there are.
    fn check_place(&self) -> Result<()> {
        if let Some(datacenter) = self.params.text("dc") {
            self.check_datacenter(datacenter)?;
        }
        for (name, what) in [("ns", "Namespaces"), ("partition", "Partitions")] {
            if self.params.text(name).is_some_and(|place| place != "default") {
                return Err(Failure::bad_request(format!(
                    "Invalid query parameter: \"{name}\" - {what} are a Consul Enterprise feature"
                )));
            }
        }
        Ok(())
    }

    /// There is one datacenter.
    ///
    /// # Errors
    /// 500 `No path to datacenter`.
    pub(crate) fn check_datacenter(&self, datacenter: &str) -> Result<()> {
        if datacenter.is_empty() || datacenter.eq_ignore_ascii_case(self.layer.datacenter.as_str()) {
            return Ok(());
        }
        Err(Failure::server("No path to datacenter"))
    }
}

/// The part of `path` that `pattern` leaves open, decoded.
fn rest(pattern: &str, path: &str) -> Result<String> {
    let Some(fixed) = pattern.find('{') else { return Ok(String::new()) };
    let open = path.get(fixed..).unwrap_or_default();
    let decoded = percent_decode_str(open).decode_utf8();
    decoded.map(String::from).map_err(|_| Failure::bad_request("Invalid path: it must be percent-encoded UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_open_part_of_a_path_is_decoded_once_and_may_hold_anything() {
        let check = |path: &str, expected: &str| assert_eq!(rest("/v1/kv/{*rest}", path).unwrap(), expected);
        check("/v1/kv/a/b", "a/b");
        check("/v1/kv/a%2Fx%2F1", "a/x/1");
        check("/v1/kv/%2541", "%41");
        check("/v1/kv/service:web-1%231", "service:web-1#1");
        check("/v1/kv/", "");
        assert_eq!(rest("/v1/kv", "/v1/kv").unwrap(), "");
        assert!(rest("/v1/kv/{*rest}", "/v1/kv/%ff").is_err());
    }
}
