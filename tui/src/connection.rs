//! The connection: follows the event streams of one node, answers requests through it, and moves to the next when it dies.
//!
//! The nodes are those that were given and those that the cluster names as its members, so that one address is enough. A
//! watch is resumed at the next node after the last revision that was seen: nothing is told twice, nothing is lost. Reads
//! go to the node that is followed; actions go to whichever node answers, and are safe to send again.
//!
//! Channels: messages wait when nobody takes them (the streams of the node wait then too); requests are bounded by what
//! `update` has under way.

mod reads;

use std::pin::pin;
use std::time::Duration;

use futures_util::stream::{BoxStream, StreamExt as _};
use rollcall_api::client::{Client, ClientError, Options};
use rollcall_api::{ClusterEvent, Code, MemberState, Members};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use crate::message::{Action, Answer, LinkEvent, Message, Request};

/// Messages that wait to be taken.
const MESSAGES_MAX: usize = 256;
/// Requests that wait to be sent.
const REQUESTS_MAX: usize = 64;
/// Nodes that are known; more are not learnt.
const NODES_MAX: usize = 64;
/// Actions under way.
const ACTIONS_MAX: usize = 4;
/// Longest wait for one answer.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// Silence of a stream after which its node is left: a node says something every 10 s.
const SILENCE_MAX: Duration = Duration::from_secs(25);
/// Longest time to find a node that takes an action.
const ACTION_PATIENCE: Duration = Duration::from_secs(10);
/// Pause after every node was tried; doubles up to the second one.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Whom to connect to.
#[derive(Debug, Clone)]
pub struct Target {
    /// Nodes, each `http://host:port` or `host:port`; the first is tried first.
    pub addresses: Vec<String>,
    /// Who acts, as history shows it; `None`: the address of this machine.
    pub actor: Option<String>,
}

/// A connection; dropping it ends it.
#[derive(Debug)]
pub struct Connection {
    messages: mpsc::Receiver<Message>,
    requests: mpsc::Sender<Request>,
    task: JoinHandle<()>,
}

impl Connection {
    /// Begins to connect.
    ///
    /// # Errors
    /// When an address or the actor cannot be used.
    pub fn open(target: &Target) -> Result<Self, ClientError> {
        // Says now what would be found out at the first try.
        client(&target.addresses, target.actor.as_deref(), ATTEMPT_TIMEOUT, Duration::ZERO)?;
        let (messages_tx, messages) = mpsc::channel(MESSAGES_MAX);
        let (requests, requests_rx) = mpsc::channel(REQUESTS_MAX);
        let nodes = target.addresses.iter().map(|address| with_scheme(address)).collect();
        let follower = Follower {
            nodes,
            actor: target.actor.clone(),
            since: None,
            messages: messages_tx,
            requests: requests_rx,
            actions: JoinSet::new(),
        };
        Ok(Self { messages, requests, task: tokio::spawn(follower.run()) })
    }

    /// The next message; `None` when the connection is no more.
    pub async fn next(&mut self) -> Option<Message> {
        self.messages.recv().await
    }

    /// A message that is there already.
    pub fn next_now(&mut self) -> Option<Message> {
        self.messages.try_recv().ok()
    }

    /// Sends a request. With too many waiting it is dropped: a read comes again with the next event, and an action is
    /// answered by nothing.
    pub fn ask(&self, request: Request) {
        // The other end is there as long as this is, unless it panicked; `next` tells then.
        let _ = self.requests.try_send(request);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Nobody takes messages any more.
struct Closed;

struct Follower {
    nodes: Vec<String>,
    actor: Option<String>,
    /// The last revision that was seen whole.
    since: Option<u64>,
    messages: mpsc::Sender<Message>,
    requests: mpsc::Receiver<Request>,
    actions: JoinSet<()>,
}

impl Follower {
    async fn run(mut self) {
        let (mut at, mut failed, mut pause) = (0, 0, PAUSE_MIN);
        loop {
            let node = self.nodes[at % self.nodes.len()].clone();
            let place = (at % self.nodes.len() + 1, self.nodes.len());
            if self.tell(LinkEvent::Trying { node: node.clone(), place }).await.is_err() {
                return;
            }
            let mut was_connected = false;
            let Ok(error) = self.follow(&node, &mut was_connected).await else { return };
            let is_compacted = error.problem().is_some_and(|problem| problem.code == Code::RevisionCompacted);
            if is_compacted {
                // What changed meanwhile is not remembered there: begin with a snapshot.
                self.since = None;
                continue;
            }
            if self.tell(LinkEvent::Lost { node, reason: reason(&error) }).await.is_err() {
                return;
            }
            (failed, pause) = if was_connected { (1, PAUSE_MIN) } else { (failed + 1, pause) };
            at += 1;
            if failed >= self.nodes.len() {
                tokio::time::sleep(pause).await;
                (failed, pause) = (0, (pause * 2).min(PAUSE_MAX));
            }
        }
    }

    async fn tell(&self, event: LinkEvent) -> Result<(), Closed> {
        self.send(Message::Link(event)).await
    }

    async fn send(&self, message: Message) -> Result<(), Closed> {
        self.messages.send(message).await.map_err(|_| Closed)
    }

    /// Follows a node until it is lost, and says why.
    async fn follow(&mut self, node: &str, was_connected: &mut bool) -> Result<ClientError, Closed> {
        let client = match client(&[node], self.actor.as_deref(), ATTEMPT_TIMEOUT, Duration::ZERO) {
            Ok(client) => client,
            Err(error) => return Ok(error),
        };
        // A watch that resumes may have nothing to say for a while; this says at once whether somebody is there.
        if let Err(error) = client.cluster().await {
            return Ok(error);
        }
        let mut members = match open_events(&client).await {
            Ok(members) => members,
            Err(error) => return Ok(error),
        };
        self.refuse_old_requests().await?;
        *was_connected = true;
        self.tell(LinkEvent::Connected { node: node.to_owned() }).await?;
        let mut watch = pin!(client.watch(&[], self.since));
        let mut reads = JoinSet::new();
        loop {
            tokio::select! {
                event = watch.next() => match event {
                    Some(Ok(event)) => {
                        self.since = event.resume_from().or(self.since);
                        self.send(Message::Watch(Box::new(event))).await?;
                    }
                    Some(Err(error)) => return Ok(error),
                    None => return Ok(ClientError::WatchEnded { node: node.to_owned() }),
                },
                event = members.next() => match event {
                    Some(Ok(event)) => {
                        if let ClusterEvent::Members(members) = &event {
                            self.learn(members);
                        }
                        self.send(Message::Cluster(Box::new(event))).await?;
                    }
                    // The node may only have ended this stream: a watch that goes on says that it lives.
                    Some(Err(_)) | None => match open_events(&client).await {
                        Ok(again) => members = again,
                        Err(error) => return Ok(error),
                    },
                },
                request = self.requests.recv() => match request {
                    Some(Request::Read(subject)) => {
                        let (client, messages) = (client.clone(), self.messages.clone());
                        reads.spawn(async move {
                            // When nobody takes it any more, the program ends.
                            let _ = messages.send(Message::Answer(reads::read(&client, subject).await)).await;
                        });
                    }
                    Some(Request::Act(action)) => self.act(node, action).await?,
                    Some(Request::Quit) | None => return Err(Closed),
                },
                Some(_) = reads.join_next() => {}
                Some(_) = self.actions.join_next() => {}
            }
        }
    }

    /// What was asked of a node that is gone: reads come again by themselves, actions are said to be not done.
    async fn refuse_old_requests(&mut self) -> Result<(), Closed> {
        while let Ok(request) = self.requests.try_recv() {
            if let Request::Act(action) = request {
                let refused = Err("the connection was lost before it was asked".to_owned());
                self.send(Message::Answer(Answer::Done(action, refused))).await?;
            }
        }
        Ok(())
    }

    async fn act(&mut self, node: &str, action: Action) -> Result<(), Closed> {
        if self.actions.len() >= ACTIONS_MAX {
            let refused = Err("too many actions are under way".to_owned());
            return self.send(Message::Answer(Answer::Done(action, refused))).await;
        }
        let others = self.nodes.iter().filter(|other| *other != node);
        let nodes: Vec<&String> = self.nodes.iter().filter(|it| *it == node).chain(others).collect();
        let client = client(&nodes, self.actor.as_deref(), ATTEMPT_TIMEOUT, ACTION_PATIENCE);
        let messages = self.messages.clone();
        self.actions.spawn(async move {
            let done = match client {
                Ok(client) => reads::act(&client, &action).await.map_err(|error| reason(&error)),
                Err(error) => Err(reason(&error)),
            };
            // When nobody takes it any more, the program ends.
            let _ = messages.send(Message::Answer(Answer::Done(action, done))).await;
        });
        Ok(())
    }

    /// Remembers where the members listen.
    fn learn(&mut self, members: &Members) {
        let present = members.items.iter().filter(|member| member.state != MemberState::Left);
        for address in present.filter_map(|member| member.addresses.http.as_deref()) {
            let node = with_scheme(address);
            let is_usable = !address.starts_with("0.0.0.0") && !address.starts_with("[::]");
            if is_usable && self.nodes.len() < NODES_MAX && !self.nodes.contains(&node) {
                // One that cannot be an address would fail at each turn.
                if Client::new([&node]).is_ok() {
                    self.nodes.push(node);
                }
            }
        }
    }
}

/// The events of the members; none ever of a node whose API does not have them.
async fn open_events(client: &Client) -> Result<BoxStream<'static, Result<ClusterEvent, ClientError>>, ClientError> {
    match client.cluster_events().await {
        Ok(events) => Ok(events.boxed()),
        Err(ClientError::Unexpected { status: 404, .. }) => Ok(futures_util::stream::pending().boxed()),
        Err(ClientError::Problem(problem)) if problem.code == Code::NotFound => {
            Ok(futures_util::stream::pending().boxed())
        }
        Err(error) => Err(error),
    }
}

fn client<A: AsRef<str>>(
    nodes: &[A],
    actor: Option<&str>,
    attempt_timeout: Duration,
    give_up_after: Duration,
) -> Result<Client, ClientError> {
    let actor = actor.map(str::to_owned);
    let options =
        Options { attempt_timeout, give_up_after, watch_silence_max: SILENCE_MAX, actor, ..Options::default() };
    Client::with_options(nodes, options)
}

fn with_scheme(address: &str) -> String {
    let address = address.trim_end_matches('/');
    if address.contains("://") { address.to_owned() } else { format!("http://{address}") }
}

/// The error with its innermost cause.
fn reason(error: &ClientError) -> String {
    let mut root = std::error::Error::source(error);
    while let Some(deeper) = root.and_then(std::error::Error::source) {
        root = Some(deeper);
    }
    match root {
        Some(root) => format!("{error}: {root}"),
        None => error.to_string(),
    }
}
