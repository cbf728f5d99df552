//! A client of the HTTP API that knows several nodes and uses the one that answers.
//!
//! Any node takes any request, so the client stays with one node and moves to the next when it does not answer or says
//! that it cannot serve now. Every write carries an `Idempotency-Key`, which makes sending it again to another node safe:
//! the cluster gives the first answer again. Changes of membership have no key; they are sent again only when the first
//! try did not reach anybody.
//!
//! Limits: HTTP without TLS; addresses are given, not discovered; an answer is held in memory up to [`ANSWER_MAX_BYTES`]
//! (snapshot images and watches are streamed).

mod calls;
mod error;
mod locks;
mod sse;
mod transport;
mod watch;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::HeaderValue;

pub use calls::{KeyValue, Precondition};
pub use error::ClientError;
pub use transport::{ANSWER_MAX_BYTES, Answer};

use transport::Transport;

/// How patient a client is, and who it says it is.
#[derive(Debug, Clone)]
pub struct Options {
    /// Longest wait for one node to answer one request, body included. The wait of a long poll comes on top.
    /// Longer bears slow nodes; shorter moves on sooner. 5 s is above the 1.5 s that a new leader may take.
    pub attempt_timeout: Duration,
    /// Longest time to go on asking nodes that cannot serve. Zero asks every node once. 10 s outlasts an election.
    pub give_up_after: Duration,
    /// A watch that hears nothing for so long, not even a keep-alive, moves to the next node.
    pub watch_silence_max: Duration,
    /// A download of an image that brings nothing for so long has failed. It comes on top of `attempt_timeout` before the first
    /// byte, since the node writes the whole image before it sends it: a minute for gigabytes on a slow disk.
    pub download_silence_max: Duration,
    /// Name that history shows for changes made by this client; `None` leaves it to the server, which takes the address.
    pub actor: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            attempt_timeout: Duration::from_secs(5),
            give_up_after: Duration::from_secs(10),
            watch_silence_max: Duration::from_secs(45),
            download_silence_max: Duration::from_secs(120),
            actor: None,
        }
    }
}

/// A client. Clones share connections and the node in use.
#[derive(Debug, Clone)]
pub struct Client {
    transport: Arc<Transport>,
}

impl Client {
    /// A client of the nodes at `addresses`, each `http://host:port` or `host:port`; the first is asked first.
    ///
    /// # Errors
    /// [`ClientError::Address`] when there is none or one cannot be read.
    pub fn new<A: AsRef<str>>(addresses: impl IntoIterator<Item = A>) -> Result<Self, ClientError> {
        Self::with_options(addresses, Options::default())
    }

    /// [`Self::new`] with other options.
    ///
    /// # Errors
    /// [`ClientError::Address`] as above, [`ClientError::Actor`] when the actor cannot stand in a header.
    pub fn with_options<A: AsRef<str>>(
        addresses: impl IntoIterator<Item = A>,
        options: Options,
    ) -> Result<Self, ClientError> {
        let nodes: Vec<Url> =
            addresses.into_iter().map(|address| read_address(address.as_ref())).collect::<Result<_, _>>()?;
        if nodes.is_empty() {
            return Err(ClientError::Address { address: String::new() });
        }
        let actor = options.actor.as_deref().map(|actor| HeaderValue::from_bytes(actor.as_bytes())).transpose();
        let http = reqwest::Client::builder().connect_timeout(options.attempt_timeout).no_proxy().build();
        Ok(Self {
            transport: Arc::new(Transport {
                http: http.map_err(|source| ClientError::Transport { node: nodes[0].to_string(), source })?,
                nodes,
                in_use: AtomicUsize::new(0),
                actor: actor.map_err(|_| ClientError::Actor)?,
                options,
            }),
        })
    }
}

fn read_address(address: &str) -> Result<Url, ClientError> {
    let refused = || ClientError::Address { address: address.to_owned() };
    let url = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let url = Url::parse(&url).map_err(|_| refused())?;
    if url.scheme() == "http" && url.has_host() && url.path() == "/" && url.query().is_none() {
        Ok(url)
    } else {
        Err(refused())
    }
}
