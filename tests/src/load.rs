//! Writers that keep a ledger: what was acknowledged, and what happened to it.
//!
//! Each writer is one client with one request under way. It writes, in turn, two kinds of things whose double application
//! would show: a new instance under an id of its own that carries a serial number, and a [`Counter`], one instance per writer that is
//! registered again with the next number. A late second arrival of an old request would make the counter run backwards.
//! An attempt that is not answered, or with a 5xx, is made again on the next node under the same `Idempotency-Key`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::JoinHandle;

use crate::http::{Answer, Unanswered, segment};
use crate::node::Node;
use crate::wait::{DEADLINE, wait_until};
use crate::{registration, registration_with_serial};

/// Longest wait for one attempt. Short, so that attempts to a paused node are made again while the first still hangs there.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(1500);
/// Pause after an attempt that failed at once.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// Longest time until a write must be acknowledged by some node.
const WRITE_DEADLINE: Duration = Duration::from_secs(60);

/// An acknowledged registration.
#[derive(Debug, Clone)]
pub struct Written {
    /// Its service.
    pub service: String,
    /// Its instance id.
    pub id: String,
    /// What the client wrote into it.
    pub serial: String,
    /// The `Idempotency-Key` it was sent with.
    pub key: String,
    /// The revision in the acknowledgement.
    pub revision: u64,
    /// The status of the acknowledgement.
    pub status: u16,
    /// How often it was sent.
    pub attempts: usize,
}

/// The last acknowledged state of a writer's counter.
#[derive(Debug, Clone)]
pub struct Counter {
    /// Its service.
    pub service: String,
    /// Its instance id.
    pub id: String,
    /// The last acknowledged number.
    pub number: u64,
    /// The revision of each acknowledged number, in the order of numbers.
    pub revisions: Vec<u64>,
}

/// What writers were told.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// Every acknowledged new instance.
    pub written: Vec<Written>,
    /// One counter per writer.
    pub counters: Vec<Counter>,
    /// The longest time between two acknowledgements to the same writer.
    pub longest_gap: Duration,
}

/// Writers at work.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    writers: Vec<JoinHandle<Ledger>>,
}

impl Load {
    /// Starts `writers` writers; each begins at another of `nodes`. `name` keeps the services of several loads apart.
    pub fn start(name: &str, nodes: &[Arc<Node>], writers: usize) -> Self {
        let (stop, acknowledged) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let start = |index| {
            let writer = Writer {
                name: format!("{name}-{index}"),
                nodes: nodes.to_vec(),
                next_node: index,
                stop: stop.clone(),
                acknowledged: acknowledged.clone(),
            };
            tokio::spawn(writer.run())
        };
        let writers = (0..writers).map(start).collect();
        Self { stop, acknowledged, writers }
    }

    /// How many writes were acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until `more` further writes are acknowledged, counted from now.
    pub async fn wait_for(&self, more: usize) {
        let goal = self.acknowledged() + more;
        wait_until(&format!("{more} more acknowledged writes"), DEADLINE, async || match self.acknowledged() {
            count if count >= goal => Ok(()),
            count => Err(format!("{} are missing", goal - count)),
        })
        .await;
    }

    /// Stops the writers, each after the write it is at is acknowledged, and returns their ledgers as one.
    pub async fn stop(self) -> Ledger {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Ledger::default();
        for writer in self.writers {
            let ledger = writer.await.expect("a writer ends in order");
            all.written.extend(ledger.written);
            all.counters.extend(ledger.counters);
            all.longest_gap = all.longest_gap.max(ledger.longest_gap);
        }
        all
    }
}

struct Writer {
    name: String,
    nodes: Vec<Arc<Node>>,
    next_node: usize,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
}

impl Writer {
    async fn run(mut self) -> Ledger {
        let mut ledger = Ledger::default();
        let service = format!("load-{}", self.name);
        let mut counter = Counter {
            service: format!("{service}-counter"),
            id: "counter".to_owned(),
            number: 0,
            revisions: Vec::new(),
        };
        let mut last = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            let number = counter.number + 1;
            let serial = format!("{}-{number}", self.name);
            ledger.written.push(self.write_new(&service, &serial).await);
            let revision = self.write_counter(&counter, number).await;
            counter.number = number;
            counter.revisions.push(revision);
            ledger.longest_gap = ledger.longest_gap.max(last.elapsed());
            last = Instant::now();
        }
        ledger.counters.push(counter);
        ledger
    }

    async fn write_new(&mut self, service: &str, serial: &str) -> Written {
        let (id, key) = (format!("i/{serial}"), format!("new {serial}"));
        let path = format!("/v1/services/{service}/instances/{}", segment(&id));
        let (answer, attempts) = self.write(&path, &key, &registration_with_serial(serial)).await;
        Written {
            service: service.to_owned(),
            id,
            serial: serial.to_owned(),
            key,
            revision: answer.revision(),
            status: answer.status,
            attempts,
        }
    }

    async fn write_counter(&mut self, counter: &Counter, number: u64) -> u64 {
        let path = format!("/v1/services/{}/instances/{}", counter.service, counter.id);
        let mut body = registration(8080);
        body["metadata"] = serde_json::json!({ "number": number.to_string() });
        let key = format!("{} {number}", counter.service);
        self.write(&path, &key, &body).await.0.revision()
    }

    /// Sends the request until it is acknowledged; returns the acknowledgement and the number of attempts.
    async fn write(&mut self, path: &str, key: &str, body: &Value) -> (Answer, usize) {
        let start = Instant::now();
        for attempt in 1.. {
            let node = &self.nodes[self.next_node % self.nodes.len()];
            let call = node.put(path).header("Idempotency-Key", key).header("X-Rollcall-Actor", &self.name);
            match call.json(body).timeout(ATTEMPT_TIMEOUT).send().await {
                Ok(answer) if answer.status < 300 => {
                    self.acknowledged.fetch_add(1, Ordering::Relaxed);
                    return (answer, attempt);
                }
                Ok(answer) if answer.status < 500 => {
                    panic!("{} answered {}: {}", answer.line, answer.status, answer.text())
                }
                failed => self.wait_before_retry(start, failed).await,
            }
        }
        unreachable!("the loop ends by an acknowledgement or a panic")
    }

    async fn wait_before_retry(&mut self, start: Instant, failed: Result<Answer, Unanswered>) {
        let shown = failed.map_or_else(|error| format!("{error:?}"), |answer| answer.text());
        assert!(
            start.elapsed() < WRITE_DEADLINE,
            "no node acknowledged a write of {}; the last said {shown}",
            self.name
        );
        self.next_node += 1;
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

impl Ledger {
    /// The highest acknowledged revision.
    pub fn revision(&self) -> u64 {
        let counters = self.counters.iter().flat_map(|counter| counter.revisions.last().copied());
        self.written.iter().map(|written| written.revision).chain(counters).max().unwrap_or(0)
    }

    /// Checks that `node` holds every acknowledged write exactly once, as acknowledged.
    ///
    /// # Panics
    /// With every difference.
    pub async fn check_on(&self, node: &Node) {
        let mut differences = Vec::new();
        let mut by_service: BTreeMap<&str, Vec<&Written>> = BTreeMap::new();
        for written in &self.written {
            by_service.entry(&written.service).or_default().push(written);
        }
        for (service, written) in by_service {
            let path = format!("/v1/services/{service}/instances?limit=10000&min_revision={}", self.revision());
            let held = by_serial(node.get(&path).answer().await.expect(200).items());
            differences.extend(written.into_iter().filter_map(|one| difference(one, held.get(&one.serial))));
        }
        for counter in &self.counters {
            let path = format!("/v1/services/{}/instances/{}", counter.service, counter.id);
            let held = node.get(&path).answer().await.expect(200).json();
            let number = held["metadata"]["number"].as_str().unwrap_or_default();
            if number != counter.number.to_string() || held["revision"].as_u64() != counter.revisions.last().copied() {
                differences.push(format!("{} was acknowledged at {} but is {held}", counter.service, counter.number));
            }
        }
        assert!(
            differences.is_empty(),
            "{}: {} differences\n{}",
            node.name(),
            differences.len(),
            differences.join("\n")
        );
    }

    /// Checks that history shows every acknowledged write exactly once, at its revision.
    ///
    /// # Panics
    /// With the first service whose history differs.
    pub async fn check_history_on(&self, node: &Node) {
        for counter in &self.counters {
            let shown = history(node, &counter.service).await;
            assert_eq!(shown, counter.revisions, "history of {} on {}", counter.service, node.name());
            let service = counter.service.trim_end_matches("-counter");
            let mut expected: Vec<u64> =
                self.written.iter().filter(|one| one.service == service).map(|one| one.revision).collect();
            expected.sort_unstable();
            assert_eq!(history(node, service).await, expected, "history of {service} on {}", node.name());
        }
    }

    /// Sends a sample of the acknowledged requests again, with the same keys, and checks that each gets its first answer.
    ///
    /// The sample holds every request that was sent more than once and every tenth of the others.
    ///
    /// # Panics
    /// When an answer differs from the first.
    pub async fn check_replays_on(&self, node: &Node) {
        for (index, one) in self.written.iter().enumerate() {
            if one.attempts > 1 || index % 10 == 0 {
                let path = format!("/v1/services/{}/instances/{}", one.service, segment(&one.id));
                let call = node.put(&path).header("Idempotency-Key", &one.key);
                let again = call.json(&registration_with_serial(&one.serial)).answer().await.expect(one.status);
                assert_eq!(again.revision(), one.revision, "the answer to {} sent again", one.serial);
            }
        }
    }
}

/// Instances by what the client wrote into them.
fn by_serial(items: Vec<Value>) -> BTreeMap<String, Vec<Value>> {
    let mut held: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for item in items {
        let serial = item["metadata"]["serial"].as_str().unwrap_or_default().to_owned();
        held.entry(serial).or_default().push(item);
    }
    held
}

fn difference(one: &Written, held: Option<&Vec<Value>>) -> Option<String> {
    match held.map(Vec::as_slice) {
        Some([only])
            if only["id"] == one.id && only["revision"] == one.revision && only["created_revision"] == one.revision =>
        {
            None
        }
        Some([only]) => Some(format!("{one:?} is held as {only}")),
        Some(several) => Some(format!("{one:?} is held {} times", several.len())),
        None => Some(format!("{one:?} is missing")),
    }
}

/// Revisions in the history of a service, oldest first, over all pages.
async fn history(node: &Node, service: &str) -> Vec<u64> {
    let mut revisions = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/history?service={service}&limit=1000{cursor}");
        let page = node.get(&path).answer().await.expect(200);
        revisions.extend(page.items().iter().filter_map(|record| record["revision"].as_u64()));
        match page.json()["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={}", segment(next)),
            None => break,
        }
    }
    revisions.sort_unstable();
    revisions
}
