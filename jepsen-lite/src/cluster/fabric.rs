//! A network between nodes that is made of this process: it can keep, lose, repeat, overtake and damage packets.
//!
//! ```text
//!   node's namespace            this process                              node's namespace
//!   peer0 (TUN device) ──────── reads a packet, asks the schedule,  ───── peer0 (TUN device)
//!                               waits, writes it to the other device
//! ```
//!
//! Every node's `peer0` is a TUN device whose other end is held here, instead of a link to a bridge; all else about the
//! namespaces stays as it is, the packet filters too. What becomes of a packet is decided by [`schedule`], which knows no device
//! and no clock. The kernel's own means (netem) is missing in many kernels; and its choices follow from no seed.
//!
//! A thread of its own carries the packets. Its timers are true to about a millisecond, so a packet may take as much longer.
//! Without weather a round trip takes some 0.2 ms, many times that of a bridge: the fabric is made only when it is asked for.

mod schedule;

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_tun::Tun;

use schedule::Schedule;
pub(crate) use schedule::{Counts, Link, Links};

/// The device in each namespace.
const DEVICE: &str = "peer0";
/// As on Ethernet.
const MTU: i32 = 1500;
/// Shortest header of IPv4.
const IP_HEADER_BYTES: usize = 20;

/// Where a node's end of the fabric is.
#[derive(Debug, Clone)]
pub(super) struct End {
    pub(super) namespace: PathBuf,
    pub(super) address: Ipv4Addr,
}

/// What the carrying thread and the control plane share.
#[derive(Debug)]
struct Shared {
    schedule: Mutex<Schedule>,
    /// Why packets are not carried any more.
    broken: Mutex<Option<String>>,
    /// The next packet may be due earlier than it was.
    news: Notify,
    stop: Notify,
    start: Instant,
}

/// The fabric of a run. Dropping it takes the devices away.
#[derive(Debug)]
pub(super) struct Fabric {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Fabric {
    /// Makes a device in each namespace, and carries packets between them.
    ///
    /// # Errors
    /// When a right or `/dev/net/tun` is missing.
    pub(super) fn create(ends: Vec<End>, seed: u64) -> Result<Self> {
        let shared = Arc::new(Shared {
            schedule: Mutex::new(Schedule::new(ends.len(), seed)),
            broken: Mutex::new(None),
            news: Notify::new(),
            stop: Notify::new(),
            start: Instant::now(),
        });
        let (tx, rx) = mpsc::sync_channel(1);
        let of_thread = shared.clone();
        let thread = std::thread::Builder::new().name("fabric".to_owned());
        let thread = thread.spawn(move || work(&ends, &of_thread, &tx)).context("cannot start a thread")?;
        let made = Self { shared, thread: Some(thread) };
        rx.recv().context("the fabric's thread ended")??;
        Ok(made)
    }

    /// Whether it still carries packets.
    ///
    /// # Errors
    /// Why it does not: a device cannot be read, or its thread panicked.
    pub(super) fn check(&self) -> Result<()> {
        if let Some(why) = locked(&self.shared.broken).as_ref() {
            bail!("the fabric is broken: {why}");
        }
        // It ends when it is told to, by the drop of this, or by a panic.
        if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            bail!("the fabric is broken: its thread ended");
        }
        Ok(())
    }

    /// Treats packets like this from now on.
    ///
    /// # Errors
    /// When it carries no packets any more.
    pub(super) fn set(&self, links: &Links) -> Result<()> {
        self.check()?;
        locked(&self.shared.schedule).set(links);
        Ok(())
    }

    /// What became of packets since the last time.
    pub(super) fn take_counts(&self) -> Counts {
        locked(&self.shared.schedule).take_counts(self.shared.start.elapsed())
    }
}

impl Drop for Fabric {
    fn drop(&mut self) {
        self.shared.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has dropped its devices, too.
            let _ = thread.join();
        }
    }
}

/// The carrying thread. It goes from namespace to namespace to make the devices, and stays in the last.
fn work(ends: &[End], shared: &Arc<Shared>, made: &mpsc::SyncSender<Result<()>>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        // Whoever made the fabric waits for this; should it be gone, nobody needs the answer.
        Err(error) => return drop(made.send(Err(error.into()))),
    };
    runtime.block_on(async {
        match ends.iter().map(open).collect::<Result<Vec<_>>>() {
            Ok(devices) => {
                let _ = made.send(Ok(()));
                carry(Arc::new(devices), ends, shared).await;
            }
            Err(error) => drop(made.send(Err(error))),
        }
    });
}

/// Makes a device in a namespace. This thread is in that namespace afterwards.
fn open(end: &End) -> Result<Tun> {
    enter(&end.namespace)?;
    let device = Tun::builder().name(DEVICE).mtu(MTU).address(end.address).netmask(Ipv4Addr::new(255, 255, 255, 0));
    let mut devices = device.up().close_on_exec().build().context("cannot make a TUN device")?;
    devices.pop().context("no TUN device was made")
}

/// Takes this thread into a network namespace. Only for threads that end soon or do nothing else.
pub(super) fn enter(namespace: &PathBuf) -> Result<()> {
    let file = File::open(namespace).with_context(|| format!("cannot open {}", namespace.display()))?;
    let entered = move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network));
    entered.with_context(|| format!("cannot enter {}", namespace.display()))
}

/// Carries packets until it is told to stop, or a device cannot be read any more.
async fn carry(devices: Arc<Vec<Tun>>, ends: &[End], shared: &Arc<Shared>) {
    let addresses: Arc<[Ipv4Addr]> = ends.iter().map(|end| end.address).collect();
    let mut readers = JoinSet::new();
    for from in 0..devices.len() {
        readers.spawn(take_in(from, devices.clone(), addresses.clone(), shared.clone()));
    }
    tokio::select! {
        () = give_out(&devices, shared) => {}
        () = shared.stop.notified() => {}
        why = first_end(&mut readers) => *locked(&shared.broken) = Some(why),
    }
}

/// Waits until one of those that read ends, by an error or a panic, and says why.
async fn first_end(readers: &mut JoinSet<std::io::Error>) -> String {
    match readers.join_next().await {
        Some(Ok(error)) => format!("cannot read from a device: {error}"),
        Some(Err(panic)) => panic.to_string(),
        None => "there is no device".to_owned(),
    }
}

/// Reads the packets that a node sends, until it cannot.
async fn take_in(
    from: usize,
    devices: Arc<Vec<Tun>>,
    addresses: Arc<[Ipv4Addr]>,
    shared: Arc<Shared>,
) -> std::io::Error {
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let packet = match devices[from].recv(&mut buffer).await {
            Ok(length) => &buffer[..length],
            Err(error) => return error,
        };
        let Some(to) = destination(packet).and_then(|to| addresses.iter().position(|address| *address == to)) else {
            continue;
        };
        locked(&shared.schedule).send(from, to, packet.to_vec(), shared.start.elapsed());
        deliver(&devices, &shared);
        shared.news.notify_one();
    }
}

/// Writes packets when their time comes.
async fn give_out(devices: &[Tun], shared: &Shared) {
    loop {
        deliver(devices, shared);
        let due = locked(&shared.schedule).next_due();
        let waited = async {
            match due {
                Some(due) => tokio::time::sleep_until((shared.start + due).into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = waited => {}
            () = shared.news.notified() => {}
        }
    }
}

/// Writes what has arrived.
fn deliver(devices: &[Tun], shared: &Shared) {
    let now = shared.start.elapsed();
    let mut schedule = locked(&shared.schedule);
    while let Some((to, packet)) = schedule.arrived(now) {
        // A packet that the kernel does not take is lost, as on any network.
        let _ = devices[to].try_send(&packet);
    }
}

/// Where an IPv4 packet goes. What else the kernel sends (it looks for routers of IPv6) goes nowhere.
fn destination(packet: &[u8]) -> Option<Ipv4Addr> {
    let is_ipv4 = packet.len() >= IP_HEADER_BYTES && packet[0] >> 4 == 4;
    let bytes: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    is_ipv4.then(|| Ipv4Addr::from(bytes))
}

/// What a panic of another thread left is still sound: nothing is changed in several steps.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long `work` takes. For measuring what a fabric does.
pub(super) fn timed<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<Duration, E> {
    let start = Instant::now();
    work().map(|_| start.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ipv4_packets_go_somewhere() {
        let mut packet = vec![0; 40];
        (packet[0], packet[19]) = (0x45, 9);
        assert_eq!(destination(&packet), Some(Ipv4Addr::new(0, 0, 0, 9)));
        assert_eq!(destination(&packet[..19]), None);
        packet[0] = 0x60;
        assert_eq!(destination(&packet), None);
        assert_eq!(destination(&[]), None);
    }

    /// A fabric without devices, whose thread does this.
    fn fabric(work: impl FnOnce() + Send + 'static) -> Fabric {
        let shared = Arc::new(Shared {
            schedule: Mutex::new(Schedule::new(2, 7)),
            broken: Mutex::new(None),
            news: Notify::new(),
            stop: Notify::new(),
            start: Instant::now(),
        });
        Fabric { shared, thread: Some(std::thread::spawn(work)) }
    }

    #[test]
    fn a_fabric_whose_thread_panicked_is_broken() {
        let (tx, rx) = mpsc::sync_channel::<()>(0);
        let broken = fabric(move || panic!("on purpose, after {:?}", rx.recv()));
        assert!(broken.check().is_ok());
        drop(tx);
        while !broken.thread.as_ref().is_some_and(JoinHandle::is_finished) {
            std::thread::yield_now();
        }
        assert_eq!(broken.check().unwrap_err().to_string(), "the fabric is broken: its thread ended");
        assert!(broken.set(&Links::new()).is_err());
    }

    #[tokio::test]
    async fn a_reader_that_panicked_or_cannot_read_ends_the_fabric() {
        let mut readers = JoinSet::new();
        readers.spawn(std::future::pending());
        readers.spawn(async { panic!("on purpose") });
        assert!(first_end(&mut readers).await.contains("panicked"));
        readers.spawn(async { std::io::Error::other("gone") });
        assert_eq!(first_end(&mut readers).await, "cannot read from a device: gone");
    }
}
