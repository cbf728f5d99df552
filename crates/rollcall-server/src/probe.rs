//! Probes: one question to one target, with bounds on everything that a target can do about it.
//!
//! ```text
//! CheckKind → Target → addresses of its host → Policy → place (host, rate, all) → connection → answer → Outcome
//! ```
//! [`Prober::probe`] runs one check once. When and what is probed, and what comes of it, is for others to decide.
//!
//! - **No network is scanned.** An address is judged after its name was resolved, and the connection goes to the address that
//!   was judged ([`policy`]). Redirects are followed on the origin of the check only.
//! - **No target costs much.** Time, bytes, redirects, connections and probes at once are bounded ([`page`], [`limits`],
//!   [`pool`]).
//! - **Only the target is judged.** Waiting for a place is not latency, and what this node lacks (descriptors, ports) is no
//!   evidence.
//! - **Nothing is left behind.** A probe is one future without a task of its own: whoever drops it closes its connection. Only
//!   a lookup goes on until the system's resolver is done ([`resolve`]).
//!
//! What a probe costs, over a kept connection: one write, two reads, two dozen small allocations and a read buffer.

mod dial;
pub(crate) mod failed;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod grpc;
mod limits;
mod metrics;
mod output;
mod page;
mod policy;
mod pool;
mod redirect;
mod resolve;
pub(crate) mod scrape;
mod target;
pub(crate) mod tls;

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use rollcall_health::check::{Answer, Failure, Load, Outcome};
use rollcall_types::{CheckKind, UnixMillis};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;

use crate::config::{ConfigError, NodeConfig};
use dial::Stream;
use failed::{Failed, Retry};
use grpc::Channel;
use limits::Places;
use page::{Beginning, Reply, Sink};
use pool::{Pool, Pooled};
use resolve::{LookupError, Resolve, Resolver, SystemResolver};
use scrape::MetricsPage;
use target::{Ask, Page, Target};
use tls::Tls;

pub(crate) use limits::Bounds;
pub(crate) use metrics::describe as describe_metrics;
pub use policy::Network;
pub(crate) use policy::Policy;
pub(crate) use tls::Trust;

/// Most redirects that are followed, all of them on the origin of the check.
const REDIRECTS_MAX: usize = 3;
/// Most connections to gRPC servers that are kept.
const CHANNELS_MAX: usize = 1_024;
/// How often kept connections are looked at.
const TIDY_PERIOD: Duration = Duration::from_secs(5);

/// What a [`Prober`] is made of.
pub(crate) struct Options {
    /// How much is probed at once.
    pub(crate) bounds: Bounds,
    /// Most connections that are kept for the next probe.
    pub(crate) idle_connections_max: usize,
    /// Which addresses may be probed.
    pub(crate) policy: Policy,
    /// Who is trusted by `https` checks.
    pub(crate) trust: Trust,
    /// Who turns names into addresses.
    pub(crate) resolver: Arc<dyn Resolve>,
}

impl Options {
    /// What the configuration of a node says.
    ///
    /// # Errors
    /// When the file of certificate authorities cannot be read or holds none.
    pub(crate) fn of(config: &NodeConfig) -> Result<Self, ConfigError> {
        Ok(Self {
            bounds: config.probe.bounds(),
            idle_connections_max: config.probe.idle_connections_max,
            policy: config.probe.policy(config.is_on_loopback()),
            trust: config.probe.trust()?,
            resolver: Arc::new(SystemResolver),
        })
    }
}

/// What a connection leads to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    address: SocketAddr,
    protocol: Protocol,
}

/// What is spoken over a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Protocol {
    Http,
    /// HTTP within TLS, with whom the certificate names.
    Https(Box<str>),
    Grpc,
}

/// One run of a check.
#[derive(Debug, Clone)]
pub(crate) struct Probed {
    /// What it means for the verdict.
    pub(crate) outcome: Outcome,
    /// What happened, for people: a line, and below it the beginning of what the target said. Printable, at most 4 KiB.
    pub(crate) output: Box<str>,
    /// When it ended.
    pub(crate) at: UnixMillis,
}

/// Runs checks. Clones share everything.
#[derive(Clone)]
pub(crate) struct Prober(Arc<Shared>);

struct Shared {
    policy: Policy,
    resolver: Resolver,
    places: Arc<Places>,
    tls: Tls,
    pool: Pool<Key, Stream>,
    channels: Pool<Key, Channel>,
}

/// An answer that came, good or bad.
struct Answered {
    answer: Answer,
    line: String,
    body: Vec<u8>,
}

impl Answered {
    fn passed(line: String) -> Self {
        Self { answer: Answer::Passed, line, body: Vec::new() }
    }
}

impl Prober {
    pub(crate) fn new(options: Options) -> Self {
        Self(Arc::new(Shared {
            policy: options.policy,
            resolver: Resolver::new(options.resolver),
            places: Arc::new(Places::new(options.bounds)),
            tls: Tls::new(options.trust),
            pool: Pool::new(options.idle_connections_max),
            channels: Pool::new(options.idle_connections_max.min(CHANNELS_MAX)),
        }))
    }

    /// Runs a check once. Waits for its place first, as long as that takes; then for an answer, at most `timeout`.
    ///
    /// A check that nobody probes (`ttl`, `alias`) comes out as [`Failure::Forbidden`]: nothing was asked.
    pub(crate) async fn probe(&self, kind: &CheckKind, timeout: Duration) -> Probed {
        let (name, (result, latency)) = match Target::of(kind) {
            Some(target) => {
                let asked = self.0.reach(&target.host, target.port, timeout, &target.ask).await;
                (target.ask.kind(), asked)
            }
            None => {
                let failed = Failed::new(Failure::Forbidden, "a check of this kind is not probed");
                ("none", (Err(failed), Duration::ZERO))
            }
        };
        let (answer, output) = match result {
            Ok(answered) => (answered.answer, output::compose(&answered.line, &answered.body)),
            Err(failed) => (failed.answer, output::compose(&failed.what, b"")),
        };
        metrics::ended(name, answer, latency);
        Probed { outcome: Outcome { answer, latency }, output, at: now() }
    }

    /// Asks an instance how loaded it is, at the page that [`scrape::metrics_url`] names. Waits for its place as a probe does.
    ///
    /// # Errors
    /// Why nothing is known, for people: no answer, one that is not 2xx, or one that says nothing of load.
    pub(crate) async fn load(&self, url: &str, timeout: Duration) -> Result<Load, Box<str>> {
        let result = self.0.scrape(url, timeout).await;
        metrics::scraped(result.is_ok());
        result.map_err(|failed| output::compose(&failed.what, b""))
    }

    /// Closes connections that nobody uses any more, until `stop`, and then all of them.
    pub(crate) async fn tidy(self, stop: CancellationToken) {
        let mut ticks = interval(TIDY_PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.0.pool.sweep(Instant::now());
            self.0.channels.sweep(Instant::now());
            self.0.resolver.sweep();
            metrics::idle(self.0.pool.len() + self.0.channels.len());
        }
        self.0.pool.clear();
        self.0.channels.clear();
    }
}

impl Shared {
    async fn scrape(&self, url: &str, timeout: Duration) -> Result<Load, Failed> {
        let strange = || Failed::new(Failure::Protocol, "no URL of a page");
        let target = Target::of_url(url).ok_or_else(strange)?;
        let Ask::Http(page) = &target.ask else { return Err(strange()) };
        let (reply, _) = self.reach(&target.host, target.port, timeout, &Scrape(page)).await;
        let reply = reply?;
        if !reply.status.is_success() {
            return Err(Failed::new(Failure::Status, reply.status.to_string()));
        }
        reply.body.load().ok_or_else(|| Failed::new(Failure::Protocol, "the page says nothing of load"))
    }

    /// Asks `question` at the addresses of `host`, one after the other, until one of them takes the connection. The latency is
    /// that of the attempts, without the waiting for places.
    async fn reach<Q: Question>(
        &self,
        host: &str,
        port: u16,
        timeout: Duration,
        question: &Q,
    ) -> (Result<Q::Reply, Failed>, Duration) {
        let addresses = match self.addresses(host, timeout).await {
            Ok(addresses) => addresses,
            Err(failed) => return (Err(failed), Duration::ZERO),
        };
        let mut spent = Duration::ZERO;
        let mut last = Err(Failed::new(Failure::Resolve, "the name has no address"));
        for (tried, address) in addresses.iter().enumerate() {
            let address = SocketAddr::new(*address, port);
            let Some(place) = self.places.enter(address).await else {
                let what = format!("not probed: too many probes of {} wait already", address.ip());
                return (Err(Failed::put_off(what)), spent);
            };
            let start = Instant::now();
            // An address that does not answer leaves time for the others.
            let share = (timeout - spent) / (addresses.len() - tried) as u32;
            let deadline = start + (timeout - spent);
            last = question.ask(self, Route { host, address, connected_by: start + share, deadline }).await;
            spent = (spent + start.elapsed()).min(timeout);
            place.ended(matches!(&last, Err(failed) if failed.is(Failure::Timeout)));
            match &last {
                Err(failed) if failed.retry == Retry::OtherAddress && spent < timeout => {}
                _ => break,
            }
        }
        if last.is_err() {
            self.resolver.forget(host);
        }
        (last, spent)
    }

    /// The addresses of `host` that may be probed, at least one.
    async fn addresses(&self, host: &str, timeout: Duration) -> Result<Vec<IpAddr>, Failed> {
        let found = self.resolver.lookup(host, timeout).await.map_err(|failed| unresolved(host, &failed))?;
        let mut refused = None;
        let mut allowed = Vec::with_capacity(found.len());
        for address in found.iter() {
            match self.policy.refusal(*address) {
                None => allowed.push(*address),
                Some(refusal) => refused = refused.or(Some((*address, refusal))),
            }
        }
        match refused {
            Some((address, refusal)) if allowed.is_empty() => {
                let what = format!("{host} may not be probed: {address} is {refusal}");
                Err(Failed::new(Failure::Forbidden, what))
            }
            _ => Ok(allowed),
        }
    }

    /// Asks for a page, and for where it redirects to on the same origin.
    async fn browse<B: Sink>(&self, mut route: Route<'_>, page: &Page) -> Result<Reply<B>, Failed> {
        let mut page = page.clone();
        for _ in 0..=REDIRECTS_MAX {
            let reply = self.get(&route, &page).await?;
            route.connected_by = route.deadline;
            match redirect::next_path(&page, reply.status, reply.location.as_ref()) {
                Ok(Some(path)) => page.path = path,
                Ok(None) => return Ok(reply),
                Err(what) => return Err(Failed::new(Failure::Status, format!("{}: {what}", reply.status))),
            }
        }
        Err(Failed::new(Failure::Status, format!("redirected more than {REDIRECTS_MAX} times")))
    }

    /// Asks for one page, over a kept connection if there is one.
    async fn get<B: Sink>(&self, route: &Route<'_>, page: &Page) -> Result<Reply<B>, Failed> {
        let protocol = if page.is_tls { Protocol::Https(route.host.into()) } else { Protocol::Http };
        let key = Key { address: route.address, protocol };
        if let Some(pooled) = self.pool.take(&key, Instant::now()) {
            match page::get(pooled, page, route.deadline).await {
                Err(failed) if failed.retry == Retry::NewConnection => {}
                done => return self.keep(&key, done),
            }
        }
        let stream = connect(route.address, route.connected_by).await?;
        let stream = if page.is_tls {
            let made = timeout_at(route.deadline, self.tls.connect(stream, route.host)).await;
            Either::Right(made.unwrap_or_else(|_| Err(Failed::timeout("connected, and TLS did not come about")))?)
        } else {
            Either::Left(stream)
        };
        self.keep(&key, page::get(Pooled::new(stream), page, route.deadline).await)
    }

    /// Takes the connection out of what `page::get` gave.
    fn keep<R>(&self, key: &Key, done: Result<(R, Option<Pooled<Stream>>), Failed>) -> Result<R, Failed> {
        let (reply, rest) = done?;
        if let Some(pooled) = rest {
            self.pool.put(key, pooled, Instant::now());
        }
        Ok(reply)
    }

    /// Asks a gRPC server, over a kept connection if there is one.
    async fn call(&self, route: &Route<'_>, service: &str) -> Result<Answered, Failed> {
        let key = Key { address: route.address, protocol: Protocol::Grpc };
        let authority = match route.host.contains(':') {
            true => format!("[{}]:{}", route.host, route.address.port()),
            false => format!("{}:{}", route.host, route.address.port()),
        };
        if let Some(pooled) = self.channels.take(&key, Instant::now()) {
            match grpc::check(pooled, &authority, service, route.deadline).await {
                Err(failed) if failed.retry == Retry::NewConnection => {}
                done => return self.keep_channel(&key, done),
            }
        }
        let stream = connect(route.address, route.connected_by).await?;
        let opened = timeout_at(route.deadline, Channel::open(stream)).await;
        let channel = opened.unwrap_or_else(|_| Err(Failed::timeout("connected, and HTTP/2 did not begin")))?;
        self.keep_channel(&key, grpc::check(Pooled::new(channel), &authority, service, route.deadline).await)
    }

    fn keep_channel(&self, key: &Key, done: Result<(Answered, Pooled<Channel>), Failed>) -> Result<Answered, Failed> {
        let (answered, pooled) = done?;
        self.channels.put(key, pooled, Instant::now());
        Ok(answered)
    }
}

/// What is asked over one connection.
trait Question: Sync {
    type Reply: Send;

    fn ask(&self, shared: &Shared, route: Route<'_>) -> impl Future<Output = Result<Self::Reply, Failed>> + Send;
}

impl Question for Ask<'_> {
    type Reply = Answered;

    async fn ask(&self, shared: &Shared, route: Route<'_>) -> Result<Answered, Failed> {
        match self {
            Self::Tcp => {
                connect(route.address, route.connected_by).await?;
                Ok(Answered::passed(format!("{} takes connections", route.address)))
            }
            Self::Http(page) => shared.browse::<Beginning>(route, page).await.map(judged),
            Self::Grpc(service) => shared.call(&route, service).await,
        }
    }
}

/// How loaded an instance is, by its page of metrics.
struct Scrape<'a>(&'a Page);

impl Question for Scrape<'_> {
    type Reply = Reply<MetricsPage>;

    async fn ask(&self, shared: &Shared, route: Route<'_>) -> Result<Reply<MetricsPage>, Failed> {
        shared.browse(route, self.0).await
    }
}

/// Where a question goes, and until when.
#[derive(Clone, Copy)]
struct Route<'a> {
    /// As the check calls it.
    host: &'a str,
    /// The address of it that was judged.
    address: SocketAddr,
    /// When a connection must be there.
    connected_by: Instant,
    /// When the answer must be there.
    deadline: Instant,
}

async fn connect(address: SocketAddr, deadline: Instant) -> Result<TcpStream, Failed> {
    let stage = || Failed::timeout(&format!("no connection to {address} came about")).or(Retry::OtherAddress);
    timeout_at(deadline, dial::connect(address)).await.unwrap_or_else(|_| Err(stage()))
}

fn unresolved(host: &str, failed: &LookupError) -> Failed {
    match failed {
        LookupError::Failed(error) => Failed::new(Failure::Resolve, format!("{host} cannot be resolved: {error}")),
        LookupError::TooMany => {
            Failed::put_off(format!("not probed: too many names wait for the resolver before {host}"))
        }
    }
}

/// What an answer means: 2xx passes, 429 asks for less, anything else is a no.
fn judged(reply: Reply<Beginning>) -> Answered {
    let answer = match reply.status {
        status if status.is_success() => Answer::Passed,
        StatusCode::TOO_MANY_REQUESTS => Answer::Strained,
        _ => Answer::Failed(Failure::Status),
    };
    Answered { answer, line: reply.status.to_string(), body: reply.body.0 }
}

fn now() -> UnixMillis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    UnixMillis::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
