use rollcall_health::detector::MEMBERS_MAX;
use rollcall_types::{ClusterId, Label};
use tokio::sync::broadcast::Receiver;
use tokio_util::task::TaskTracker;

use super::*;
use crate::key::Keyring;
use crate::membership::META_KEY;
use crate::scan::Newest;
use crate::seal::{Seal, Sender};
use crate::sockets::Sockets;
use crate::streams::Outbound;
use crate::wire::{DETECTOR_QUEUE, NOTICE_QUEUE};

const GENERATION: u64 = 5;
/// Steps of the tests' own clock, short enough to be no stall.
const STEP: Duration = Duration::from_millis(100);

/// A shell that does nothing by itself: the test says what gossip knows, and what time it is.
struct Stage {
    shell: Shell,
    events: Receiver<MemberEvent>,
    now: MonoTime,
    _dir: tempfile::TempDir,
}

impl Stage {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let Sockets { udp, .. } = Sockets::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let keyring = Keyring::new(&[7; 32]);
        let sender = Sender { name: name("me"), generation: GENERATION, address: udp.local_addr().unwrap() };
        let (detector, _) = mpsc::channel(DETECTOR_QUEUE);
        let (notices, _) = mpsc::channel(NOTICE_QUEUE);
        let clock = Clock::start();
        let view = MembershipView::empty(name("me"), GENERATION, clock.now(), keyring.sealing_key());
        let outbound = Outbound::new(TaskTracker::new(), CancellationToken::new());
        let wire = Arc::new(Wire::new(Seal::new(ClusterId::new(1), keyring, sender), udp, outbound, detector, notices));
        let parts = Parts {
            shared: Arc::new(Shared {
                clock,
                view: ArcSwap::from_pointee(view),
                values: ArcSwap::default(),
                events: broadcast::Sender::new(2 * MEMBERS_MAX),
                updates: broadcast::Sender::new(64),
                published: Published::default(),
            }),
            chosen: Arc::new(Chosen { members: ArcSwap::default(), meta: ArcSwap::from_pointee(meta("ours")) }),
            lives: Lives { wire: wire.clone(), gossip_interval: Duration::from_secs(3_600), progress: Arc::default() },
            wire,
            generations: Arc::new(GenerationFile::new(dir.path())),
            seeds: Arc::default(),
            detector: detector::Options::default(),
        };
        let mut shell = Shell::start(parts).await.unwrap();
        shell.life_began = Instant::now().checked_sub(SETTLE).unwrap();
        let events = shell.shared.events.subscribe();
        let now = shell.shared.clock.now();
        Self { shell, events, now, _dir: dir }
    }

    fn hold(&self, members: &[&str]) {
        self.shell.chosen.members.store(Arc::new(members.iter().map(|text| name(text)).collect()));
    }

    /// Time passes, in which the hearts of `beating` beat, and gossip knows of `known`.
    fn run(&mut self, span: Duration, beating: &[&str], known: &[&str]) {
        let end = self.now.plus(span);
        while self.now < end {
            self.now = self.now.plus(STEP);
            for text in beating {
                let heartbeat = self.now.since(MonoTime::default()).as_millis() as u64;
                let actions = self.shell.detector.heartbeat(&name(text), 1, heartbeat, self.now);
                self.shell.perform(actions);
            }
            self.follow(known);
            let actions = self.shell.detector.tick(self.now);
            self.shell.perform(actions);
            self.shell.show();
        }
    }

    fn follow(&mut self, known: &[&str]) {
        let values = self.shell.shared.values.load_full();
        let newest = known.iter().map(|text| (name(text), newest(1, &[]))).collect();
        self.shell.follow(newest, &values);
    }

    fn told(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.events.try_recv().ok()).map(|told| told.event).collect()
    }
}

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

fn meta(zone: &str) -> Meta {
    Meta { zone: Some(Label::try_from(zone).unwrap()), ..Meta::default() }
}

/// The first state of this generation of a member, which publishes `present`.
fn newest(generation: u64, present: &[(&str, &str)]) -> Newest {
    let progress = Progress { generation, max_version: 1, last_gc_version: 0 };
    let present = present.iter().map(|(key, value)| (*key, 1, Some(*value)));
    let (all, changes) = crate::values::MemberValues::default().follow(generation, 1, present);
    Newest { address: "127.0.0.1:9".parse().unwrap(), progress, news: Some((Arc::new(all), changes)) }
}

fn forgotten(text: &str) -> Event {
    Event::Forgotten { member: name(text) }
}

#[tokio::test]
async fn a_dead_member_stays_dead_though_gossip_forgot_it_and_a_stranger_is_forgotten_aloud() {
    let mut stage = Stage::new().await;
    stage.hold(&["b", "c"]);
    stage.run(Duration::from_secs(2), &["b", "c", "d", "x"], &["b", "c", "d", "x"]);
    stage.run(Duration::from_secs(10), &["c", "d"], &["b", "c", "d", "x"]);
    let before = stage.shell.shared.view.load().members[&name("b")].clone();
    assert_eq!(before.health.state, State::Dead);
    stage.told();

    stage.run(Duration::from_secs(1), &["c", "d"], &["c", "d"]);
    let view = stage.shell.shared.view.load_full();
    let after = &view.members[&name("b")];
    assert_eq!(
        (after.since, after.health.state, after.health.cause, after.address),
        (before.since, State::Dead, before.health.cause, before.address)
    );
    assert_eq!(view.state(&name("x")), None);
    assert_eq!(stage.told(), [forgotten("x")]);

    stage.hold(&["c"]);
    stage.run(STEP, &["c", "d"], &["c", "d"]);
    assert_eq!(stage.shell.shared.view.load().state(&name("b")), None);
    assert_eq!(stage.told(), [forgotten("b")]);
}

#[tokio::test]
async fn an_isolated_node_is_isolated_still_when_gossip_forgot_all_others() {
    let others = ["b", "c", "d"];
    for held in [&others[..], &[]] {
        let mut stage = Stage::new().await;
        stage.hold(held);
        stage.run(Duration::from_secs(2), &others, &others);
        stage.run(Duration::from_secs(2), &[], &others);
        assert_eq!(stage.told().last(), Some(&Event::Isolated));
        stage.run(Duration::from_secs(2), &[], &[]);
        let view = stage.shell.shared.view.load_full();
        assert!(view.standing.isolated_since.is_some());
        assert_eq!(view.members.len(), 1 + held.len());
        assert!(!stage.told().contains(&Event::Reconnected));
        stage.run(Duration::from_secs(1), &others, &others);
        assert!(stage.told().contains(&Event::Reconnected));
    }
}

#[tokio::test]
async fn what_a_member_says_is_read_again_when_gossip_had_forgotten_it() {
    let mut stage = Stage::new().await;
    stage.hold(&["b"]);
    let hear = |stage: &mut Stage| {
        let values = stage.shell.shared.values.load_full();
        stage.shell.follow([(name("b"), newest(1, &[("h/1", "said")]))].into(), &values);
        stage.shell.shared.values.load().with_prefix("h/").len()
    };
    assert_eq!(hear(&mut stage), 1);
    stage.follow(&[]);
    assert!(stage.shell.shared.values.load().with_prefix("h/").is_empty());
    assert_eq!(stage.shell.known[&name("b")].progress, None, "so that scanning reads all of it");
    assert_eq!(hear(&mut stage), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_told_of_a_change_finds_it_in_the_view() {
    let mut stage = Stage::new().await;
    let (mut events, shared) = (stage.shell.shared.events.subscribe(), stage.shell.shared.clone());
    let reader = tokio::task::spawn_blocking(move || {
        for _ in 0..500 {
            let event = events.blocking_recv().unwrap().event;
            let Event::Changed { member, to, .. } = &event else { panic!("{event:?}") };
            assert_eq!(shared.view.load().state(member), Some(*to));
        }
    });
    for n in 0..500 {
        let actions = stage.shell.detector.heartbeat(&name(&format!("n{n}")), 1, 1, stage.now);
        stage.shell.perform(actions);
        stage.shell.show();
    }
    reader.await.unwrap();
}

#[tokio::test]
async fn a_node_that_took_a_newer_generation_is_outranked_no_longer() {
    let mut stage = Stage::new().await;
    let outranked_by = |stage: &mut Stage| {
        stage.shell.show();
        stage.shell.shared.view.load().outranked_by
    };
    stage.shell.heed(Notice::Outranked { newest: 9, is_gone: false }).await;
    assert_eq!(outranked_by(&mut stage), Some(9));
    stage.shell.revive(9).await;
    assert!(stage.shell.generation > 9);
    assert_eq!(outranked_by(&mut stage), None);
}

#[tokio::test]
async fn the_own_row_says_what_this_process_says_and_not_another_with_its_name() {
    let mut stage = Stage::new().await;
    let theirs = newest(GENERATION + 1, &[(META_KEY, &meta("theirs").encode())]);
    let values = stage.shell.shared.values.load_full();
    stage.shell.follow([(name("me"), theirs)].into(), &values);
    stage.shell.show();
    let view = stage.shell.shared.view.load_full();
    let own = &view.members[&name("me")];
    assert_eq!(own.meta.as_deref(), Some(&meta("ours")));
    assert_eq!(own.address, Some(stage.shell.wire.seal.sender().address));
}
