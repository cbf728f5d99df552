//! chitchat's side of the wire: the transport that it is started with, and its lives.
//!
//! chitchat runs as one task that can end while the process goes on, since it holds assertions about what other members
//! sent. Each life has its own codec and its own inbox; the sockets and who is let in outlive it. Decoding runs in a task of
//! its own, because chitchat drops the future that receives whenever its own timer fires.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chitchat::transport::{RecvOutcome, SendOutcome, Socket, Transport};
use chitchat::{
    Chitchat, ChitchatConfig, ChitchatEnvelope, ChitchatHandle, ChitchatId, FailureDetectorConfig, ProtocolVersion,
    spawn_chitchat,
};
use tokio::sync::{Mutex, Notify, mpsc};
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use crate::codec::{Decoder, Encoder};
use crate::metrics::{self, Queue, Rejection};
use crate::seal::Kind;
use crate::wire::{Undecoded, Wire};

/// Authentic messages that wait to be decoded, at most 8 MiB.
const DECODE_QUEUE: usize = 128;
/// Decoded messages that wait for chitchat.
const GOSSIP_QUEUE: usize = 128;
/// Time that a member is remembered by gossip after it fell silent. Half of it later it is no longer spoken of. The shell
/// forgets it then too, unless the caller holds it as a member.
const FORGET_AFTER: Duration = Duration::from_secs(600);
/// Time that a removed value is remembered as removed. Who was away for longer is sent everything anew.
const TOMBSTONE_AFTER: Duration = Duration::from_secs(600);
/// chitchat's name of the cluster, which travels with every first message of a round. It need not tell clusters apart: what
/// another cluster sealed does not open.
pub(crate) const CLUSTER: &str = "";
/// chitchat's own detector only chooses whom to gossip with: elapsed time over mean interval, where 8 tolerates heavy loss.
const PHI: f64 = 8.0;
const PHI_SAMPLES: usize = 1_000;
const PHI_INTERVAL_MAX: Duration = Duration::from_secs(10);

struct GossipTransport {
    wire: Arc<Wire>,
    progress: Arc<Notify>,
}

struct GossipSocket {
    wire: Arc<Wire>,
    encoder: Encoder,
    decoded: mpsc::Receiver<RecvOutcome>,
    progress: Arc<Notify>,
    address: SocketAddr,
    _decoding: AbortOnDropHandle<()>,
}

#[async_trait]
impl Transport for GossipTransport {
    async fn open(&self, address: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let (inbox, undecoded) = mpsc::channel(DECODE_QUEUE);
        let (decoded_tx, decoded) = mpsc::channel(GOSSIP_QUEUE);
        let decoding = tokio::spawn(decode(self.wire.clone(), Decoder::open().await?, undecoded, decoded_tx));
        let socket = GossipSocket {
            wire: self.wire.clone(),
            encoder: Encoder::open().await?,
            decoded,
            progress: self.progress.clone(),
            address,
            _decoding: AbortOnDropHandle::new(decoding),
        };
        self.wire.set_inbox(inbox);
        Ok(Box::new(socket))
    }
}

#[async_trait]
impl Socket for GossipSocket {
    fn local_addr(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.address)
    }

    async fn send(&mut self, to: SocketAddr, envelope: ChitchatEnvelope) -> anyhow::Result<SendOutcome> {
        match self.encoder.encode(envelope).await {
            Ok(bytes) => Ok(SendOutcome { num_bytes_sent: self.wire.send(to, Kind::Gossip, bytes) }),
            Err(error) => {
                warn!(error = %error, "a gossip message could not be encoded: {error}");
                self.encoder = Encoder::open().await?;
                Ok(SendOutcome { num_bytes_sent: 0 })
            }
        }
    }

    async fn recv(&mut self) -> anyhow::Result<RecvOutcome> {
        // chitchat asks for more when it has done what there was, so its state may have changed.
        self.progress.notify_one();
        let received = self.decoded.recv().await.ok_or_else(|| anyhow::anyhow!("the decoder ended"))?;
        metrics::round();
        Ok(received)
    }
}

/// Decodes what comes until the life of chitchat that it belongs to ends, or loopback fails.
async fn decode(
    wire: Arc<Wire>,
    mut decoder: Decoder,
    mut undecoded: mpsc::Receiver<Undecoded>,
    decoded: mpsc::Sender<RecvOutcome>,
) {
    while let Some((from_addr, bytes)) = undecoded.recv().await {
        match decoder.decode(&bytes).await {
            Ok(Some(envelope)) => {
                let received = RecvOutcome { from_addr, envelope, num_bytes_received: bytes.len() };
                if decoded.try_send(received).is_err() {
                    metrics::dropped(Queue::Gossip);
                }
            }
            Ok(None) => wire.refuse(Rejection::Undecodable, from_addr),
            Err(error) => {
                warn!(error = %error, "a gossip message could not be decoded: {error}");
                match Decoder::open().await {
                    Ok(fresh) => decoder = fresh,
                    Err(_) => return,
                }
            }
        }
    }
}

/// What all lives of chitchat on a node share.
pub(crate) struct Lives {
    pub(crate) wire: Arc<Wire>,
    pub(crate) gossip_interval: Duration,
    /// Told whenever chitchat has done something.
    pub(crate) progress: Arc<Notify>,
}

/// One life of chitchat.
pub(crate) struct Life {
    handle: ChitchatHandle,
    pub(crate) chitchat: Arc<Mutex<Chitchat>>,
}

impl Lives {
    /// Begins a life under the generation that the wire speaks with, in which these values are there from the start.
    pub(crate) async fn begin(&self, values: Vec<(String, String)>) -> anyhow::Result<Life> {
        let sender = self.wire.seal.sender();
        let config = ChitchatConfig {
            chitchat_id: ChitchatId::new(sender.name.as_str(), sender.generation, sender.address),
            cluster_id: CLUSTER.to_owned(),
            gossip_interval: self.gossip_interval,
            listen_addr: sender.address,
            // The shell gossips with seeds by itself: here they could not be changed.
            seed_nodes: Vec::new(),
            failure_detector_config: FailureDetectorConfig {
                phi_threshold: PHI,
                sampling_window_size: PHI_SAMPLES,
                max_interval: PHI_INTERVAL_MAX,
                initial_interval: self.gossip_interval,
                dead_node_grace_period: FORGET_AFTER,
            },
            marked_for_deletion_grace_period: TOMBSTONE_AFTER,
            catchup_callback: None,
            extra_liveness_predicate: None,
            protocol_version: ProtocolVersion::V1,
        };
        let transport = GossipTransport { wire: self.wire.clone(), progress: self.progress.clone() };
        let handle = spawn_chitchat(config, values, &transport).await?;
        let chitchat = handle.chitchat();
        Ok(Life { handle, chitchat })
    }
}

impl Life {
    /// Starts a round with the member at `address`, soon.
    pub(crate) fn gossip(&self, address: SocketAddr) {
        // Fails only when this life has ended, which is noticed elsewhere.
        let _ = self.handle.gossip(address);
    }

    /// Waits for the end of this life, and says what ended it.
    pub(crate) fn ended(&self) -> impl Future<Output = String> + use<> {
        let ended = self.handle.termination_watcher();
        async move { ended.await.err().map_or_else(|| "it stopped".to_owned(), |error| error.to_string()) }
    }

    /// Ends this life.
    pub(crate) async fn end(self) {
        // How it ended is of no interest any more.
        let _ = self.handle.shutdown().await;
    }
}
