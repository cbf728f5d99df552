//! Properties of any bytes, and of any sequence of inputs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use rollcall_health::detector::{
    Action, Cause, Detector, Event, Evidence, Heard, Lateness, MEMBERS_MAX, Message, Options, State, TICK,
};
use rollcall_types::{MonoTime, NodeName};

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

fn name(index: usize) -> NodeName {
    NAMES[index].parse().unwrap()
}

#[derive(Debug, Clone)]
enum Input {
    Tick {
        after: u64,
    },
    Heartbeat {
        member: usize,
        generation: u64,
        advance: u64,
    },
    Evidence {
        from: usize,
        lateness: u8,
        accused: Vec<(usize, u64)>,
    },
    /// An answer to the last message that was sent, if it was one that can be answered.
    Answer,
    Message {
        from: usize,
        message: Message,
    },
    Left {
        member: usize,
    },
    Forget {
        member: usize,
    },
    Heard {
        member: usize,
    },
}

fn any_message() -> impl Strategy<Value = Message> {
    let number = any::<u64>;
    prop_oneof![
        (number(), any::<bool>()).prop_map(|(nonce, suspected)| Message::Ping { nonce, suspected }),
        (number(), number()).prop_map(|(nonce, generation)| Message::Ack { nonce, generation }),
        (number(), 0..6_usize).prop_map(|(nonce, target)| Message::PingReq { nonce, target: name(target) }),
        (number(), number(), 0..6_usize).prop_map(|(nonce, generation, target)| Message::RelayedAck {
            nonce,
            generation,
            target: name(target)
        }),
        (number(), number()).prop_map(|(nonce, generation)| Message::FalseDeath { nonce, generation }),
    ]
}

fn any_input() -> impl Strategy<Value = Input> {
    // Mostly ticks on time, and often enough for silence to reach its end.
    prop_oneof![
        40 => Just(Input::Tick { after: 100 }),
        3 => (0..12_000_u64).prop_map(|after| Input::Tick { after }),
        8 => (0..6_usize, 1..3_u64, 0..3_u64)
            .prop_map(|(member, generation, advance)| Input::Heartbeat { member, generation, advance }),
        6 => (0..6_usize, 0..2_u8, vec((0..6_usize, 0..40_u64), 0..4))
            .prop_map(|(from, lateness, accused)| Input::Evidence { from, lateness, accused }),
        2 => Just(Input::Answer),
        2 => (0..6_usize, any_message()).prop_map(|(from, message)| Input::Message { from, message }),
        1 => (1..6_usize).prop_map(|member| Input::Left { member }),
        1 => (1..6_usize).prop_map(|member| Input::Forget { member }),
        2 => (0..6_usize).prop_map(|member| Input::Heard { member }),
    ]
}

/// A detector called `a`, and what the test itself knows of the course of things.
struct Course {
    detector: Detector,
    now: MonoTime,
    /// The furthest life told of each member, and when it last advanced.
    lives: BTreeMap<usize, (Heard, MonoTime)>,
    late: BTreeSet<NodeName>,
    last_sent: Option<(NodeName, Message)>,
    /// Up to when nobody may be judged.
    abstains_until: MonoTime,
    last_tick: MonoTime,
}

impl Course {
    fn new() -> Self {
        let now = MonoTime::default();
        let detector = Detector::new(name(0), 1, Options::default(), 3, now);
        let (abstains_until, last_tick) = (now, now);
        Self {
            detector,
            now,
            lives: BTreeMap::new(),
            late: BTreeSet::new(),
            last_sent: None,
            abstains_until,
            last_tick,
        }
    }

    fn follow(&mut self, input: &Input) -> Vec<Action> {
        let actions = match input {
            Input::Tick { after } => self.tick(Duration::from_millis(*after)),
            Input::Heartbeat { member, generation, advance } => self.heartbeat(*member, *generation, *advance),
            Input::Evidence { from, lateness, accused } => self.evidence(*from, *lateness, accused),
            Input::Answer => self.answer(),
            Input::Message { from, message } => self.detector.message(&name(*from), message.clone(), self.now),
            Input::Left { member } => self.detector.left(&name(*member), self.now),
            Input::Forget { member } => {
                self.lives.remove(member);
                self.detector.forget(&name(*member))
            }
            Input::Heard { member } => self.detector.heard(&name(*member), self.now),
        };
        self.check(&actions);
        actions
    }

    fn tick(&mut self, after: Duration) -> Vec<Action> {
        self.now = self.now.plus(after);
        let late = self.now.since(self.last_tick.plus(TICK));
        if late >= Lateness::THRESHOLD {
            let span = (late * 2).min(Duration::from_secs(2));
            self.abstains_until = self.abstains_until.max(self.now.plus(span));
        }
        self.last_tick = self.now;
        self.detector.tick(self.now)
    }

    fn heartbeat(&mut self, member: usize, generation: u64, advance: u64) -> Vec<Action> {
        let (old, at) = self.lives.get(&member).copied().unwrap_or((Heard { generation: 0, heartbeat: 0 }, self.now));
        let heartbeat = if generation == old.generation { old.heartbeat + advance } else { advance };
        let new = Heard { generation, heartbeat };
        let was_left = self.detector.member(&name(member)).is_some_and(|row| row.state == State::Left);
        let actions = self.detector.heartbeat(&name(member), generation, heartbeat, self.now);
        let is_progress = new > old && member != 0;
        self.lives.insert(member, (old.max(new), if is_progress { self.now } else { at }));
        if is_progress && new.generation > old.generation {
            // Another process: what the older one said is void.
            self.late.remove(&name(member));
        }
        if is_progress && !(was_left && generation == old.generation) {
            let row = self.detector.member(&name(member)).unwrap();
            assert_eq!(row.state, State::Alive, "progress always refutes");
            assert!(row.witnesses.is_empty() || row.witnesses.iter().all(|witness| *witness != name(0)));
        }
        actions
    }

    fn evidence(&mut self, from: usize, lateness: u8, accused: &[(usize, u64)]) -> Vec<Action> {
        let lateness = if lateness == 0 { Lateness::OnTime } else { Lateness::VeryLate };
        if lateness == Lateness::OnTime {
            self.late.remove(&name(from))
        } else {
            self.late.insert(name(from))
        };
        let life = |heartbeat: &u64| Heard { generation: 2, heartbeat: *heartbeat };
        let suspicions = accused.iter().map(|(member, heartbeat)| (name(*member), life(heartbeat))).collect();
        let evidence = Evidence { lateness, suspicions, unheard: BTreeSet::new() };
        self.detector.evidence(&name(from), &evidence, self.now)
    }

    fn answer(&mut self) -> Vec<Action> {
        let Some((to, message)) = self.last_sent.take() else { return Vec::new() };
        let generation = self.detector.member(&to).map_or(1, |row| row.generation);
        match message {
            Message::Ping { nonce, .. } => {
                let actions = self.detector.message(&to, Message::Ack { nonce, generation }, self.now);
                let is_life = self.detector.member(&to).is_some_and(|row| row.silence.is_zero());
                let index = NAMES.iter().position(|other| *other == to.as_str()).unwrap();
                if let Some((_, at)) = self.lives.get_mut(&index).filter(|_| is_life) {
                    *at = self.now;
                }
                actions
            }
            _ => Vec::new(),
        }
    }

    fn check(&mut self, actions: &[Action]) {
        for action in actions {
            match action {
                Action::Event(Event::Changed { member, to: State::Dead, cause, .. }) => {
                    self.check_death(member, *cause)
                }
                Action::Event(Event::Changed { to: State::Suspect, .. }) => self.check_on_time(),
                Action::Send { to, message } => self.last_sent = Some((to.clone(), message.clone())),
                Action::Publish(evidence) => assert!(evidence.encode().len() <= Evidence::MAX_BYTES),
                Action::Event(_) | Action::Gossip { .. } => {}
            }
        }
        for row in self.detector.members() {
            let is_late = |witness: &NodeName| self.late.contains(witness) && *witness != name(0);
            assert!(!row.witnesses.iter().any(is_late), "a late member is no witness: {row:?}");
        }
    }

    fn check_death(&self, member: &NodeName, cause: Cause) {
        self.check_on_time();
        let index = NAMES.iter().position(|other| *other == member.as_str()).unwrap();
        let silence = self.now.since(self.lives[&index].1);
        let patience = Options::default().silence;
        let least = match cause {
            Cause::Confirmed => patience,
            Cause::OneWitness => patience * 3,
            Cause::NoWitness => patience * 6,
            other => panic!("dead because {other}"),
        };
        assert!(silence >= least, "{member} was silent for {silence:?} only: {cause}");
    }

    fn check_on_time(&self) {
        assert!(self.now >= self.abstains_until, "judged at {:?}, before {:?}", self.now, self.abstains_until);
        assert!(self.detector.standing().isolated_since.is_none(), "an isolated node judges nobody");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_course_of_things_breaks_the_rules(inputs in vec(any_input(), 1..400)) {
        let mut course = Course::new();
        for input in &inputs {
            course.follow(input);
        }
    }

    #[test]
    fn the_same_inputs_give_the_same_outputs(inputs in vec(any_input(), 1..200)) {
        let (mut one, mut other) = (Course::new(), Course::new());
        for input in &inputs {
            prop_assert_eq!(one.follow(input), other.follow(input));
        }
        prop_assert!(one.detector.members().eq(other.detector.members()));
    }

    #[test]
    fn any_bytes_are_a_message_in_one_spelling_or_refused(bytes in vec(any::<u8>(), 0..100)) {
        if let Ok(message) = Message::decode(&bytes) {
            prop_assert_eq!(message.encode(), bytes);
        }
    }

    #[test]
    fn a_message_bent_in_one_byte_is_read_or_refused(message in any_message(), at in any::<prop::sample::Index>(), to: u8) {
        let mut bytes = message.encode();
        prop_assert_eq!(Message::decode(&bytes), Ok(message));
        *at.get_mut(bytes.as_mut_slice()) = to;
        if let Ok(message) = Message::decode(&bytes) {
            prop_assert_eq!(message.encode(), bytes);
        }
    }

    #[test]
    fn any_text_is_evidence_in_one_spelling_or_refused(text in "\\PC{0,60}|1 [0-4] [a-c:,0-9]{0,40} [a-c,]{0,12}") {
        if let Ok(evidence) = Evidence::decode(&text) {
            prop_assert_eq!(evidence.encode(), text);
        }
    }

    #[test]
    fn evidence_is_read_as_it_was_written(
        suspected in vec((0..6_usize, any::<u64>(), any::<u64>()), 0..6), unheard in vec(0..6_usize, 0..6), late in 0..6000_u64
    ) {
        let life = |generation, heartbeat| Heard { generation, heartbeat };
        let evidence = Evidence {
            lateness: Lateness::of(Duration::from_millis(late)),
            suspicions: suspected.into_iter().map(|(member, g, h)| (name(member), life(g, h))).collect(),
            unheard: unheard.into_iter().map(name).collect(),
        };
        prop_assert_eq!(Evidence::decode(&evidence.encode()), Ok(evidence));
    }
}

#[test]
fn members_beyond_the_most_are_refused_and_counted() {
    let now = MonoTime::default();
    let mut detector = Detector::new("me".parse().unwrap(), 1, Options::default(), 3, now);
    for i in 0..MEMBERS_MAX + 10 {
        let _ = detector.heartbeat(&format!("n{i}").parse().unwrap(), 1, 1, now);
    }
    assert_eq!((detector.members().count(), detector.refused()), (MEMBERS_MAX, 10));
}

#[test]
fn two_processes_learn_that_they_share_a_name() {
    let mut now = MonoTime::default();
    let me: NodeName = "me".parse().unwrap();
    let mut detector = Detector::new(me.clone(), 5, Options::default(), 3, now);
    let told = |older, newer| vec![Action::Event(Event::NameShared { member: me.clone(), older, newer })];
    assert_eq!(detector.heartbeat(&me, 7, 1, now), told(5, 7));
    assert_eq!(detector.heartbeat(&me, 7, 2, now), [], "once is enough");
    assert_eq!(detector.heartbeat(&me, 4, 1, now), [], "gossip remembers our last life");
    for _ in 0..40 {
        now = now.plus(TICK);
        let _ = detector.tick(now);
    }
    assert_eq!(detector.heartbeat(&me, 4, 2, now), told(4, 5), "its heart still beats");
}
