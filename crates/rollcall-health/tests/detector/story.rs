//! The language of the stories: a detector called `me` among peers whose behaviour the story sets.
//!
//! ```text
//! meet b c d        peers that beat and answer; gossip tells of them at once and at every tick
//! crash b           it neither beats nor answers          back b      it does both again
//! mute b            its packets do not arrive here, its heartbeats do through others
//! wedge b           it answers, but its heartbeat stands still
//! cut / mend        nothing arrives here at all           hear        one datagram comes straight from each that beats
//! run 2s            time passes, tick by tick             stall 8s    time passes without a tick
//! restart b         a newer generation                    rival b     an older generation that still beats
//! stale b           gossip repeats its old generation     leave b, forget b …, remove b …
//! accuse c b …      c publishes that it suspects b …      clear c     c publishes that it suspects nobody
//! late c b …        the same as accuse, but c says that it is late
//! tell b ping 7 | suspected-ping 7 | ping-req 7 c | false-death 7 5
//!                   a message of b; the last word is a generation, and that of `me` is 5
//! show              the table of members                  links       link faults that are known
//! ```
//! Answers come without delay. Plain pings of ticks are not told; they would hide everything else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use rollcall_health::detector::{Action, Detector, Event, Evidence, Heard, Lateness, Message, Options, TICK};
use rollcall_types::{MonoTime, NodeName};

/// A peer as the story has it.
struct Peer {
    generation: u64,
    heartbeat: u64,
    beats: bool,
    answers: bool,
    /// Its packets arrive here.
    reaches: bool,
    /// An older process with its name.
    rival: Option<Heard>,
}

pub(crate) struct Story {
    now: MonoTime,
    detector: Detector,
    peers: BTreeMap<NodeName, Peer>,
    is_cut: bool,
    told: String,
}

impl Story {
    /// What the detector does in the course of `script`, a line each.
    pub(crate) fn tell(script: &str) -> String {
        let now = MonoTime::default();
        let detector = Detector::new(name("me"), 5, Options::default(), 42, now);
        let mut story = Self { now, detector, peers: BTreeMap::new(), is_cut: false, told: String::new() };
        for line in script.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let words: Vec<&str> = line.split(' ').collect();
            story.step(words[0], &words[1..]);
        }
        story.told
    }

    fn step(&mut self, verb: &str, words: &[&str]) {
        let names: Vec<NodeName> = words.iter().filter_map(|word| NodeName::try_from(*word).ok()).collect();
        match verb {
            "meet" => names.iter().for_each(|name| self.meet(name)),
            "crash" => self.set(&names, |peer| (peer.beats, peer.answers) = (false, false)),
            "back" => self.set(&names, |peer| (peer.beats, peer.answers, peer.reaches) = (true, true, true)),
            "mute" => self.set(&names, |peer| peer.reaches = false),
            "wedge" => self.set(&names, |peer| peer.beats = false),
            "cut" => self.is_cut = true,
            "mend" => self.is_cut = false,
            "hear" => self.hear(),
            "run" => self.run(span(words[0])),
            "stall" => self.now = self.now.plus(span(words[0])),
            "restart" => self.set(&names, |peer| {
                (peer.generation, peer.heartbeat) = (peer.generation + 1, 1);
                (peer.beats, peer.answers, peer.reaches) = (true, true, true);
            }),
            "rival" => {
                self.set(&names, |peer| peer.rival = Some(Heard { generation: peer.generation - 1, heartbeat: 900 }))
            }
            "stale" => self.stale(&names[0]),
            "leave" => {
                let actions = self.detector.left(&names[0], self.now);
                self.perform(actions, true);
            }
            "forget" => names.iter().for_each(|name| {
                let actions = self.detector.forget(name);
                self.perform(actions, true);
            }),
            "remove" => names.iter().for_each(|name| {
                let actions = self.detector.remove(name);
                self.perform(actions, true);
            }),
            "accuse" => self.accuse(&names[0], &names[1..], Lateness::OnTime),
            "late" => self.accuse(&names[0], &names[1..], Lateness::Stopped),
            "clear" => self.accuse(&names[0], &[], Lateness::OnTime),
            "tell" => self.message(&names[0], &words[1..]),
            "show" => self.show(),
            "links" => self.links(),
            other => panic!("no such command: {other}"),
        }
    }

    fn set(&mut self, names: &[NodeName], change: impl Fn(&mut Peer)) {
        for name in names {
            change(self.peers.get_mut(name).unwrap());
        }
    }

    fn meet(&mut self, name: &NodeName) {
        let peer = Peer { generation: 5, heartbeat: 1, beats: true, answers: true, reaches: true, rival: None };
        self.peers.insert(name.clone(), peer);
        let actions = self.detector.heartbeat(name, 5, 1, self.now);
        self.perform(actions, true);
    }

    fn run(&mut self, span: Duration) {
        let end = self.now.plus(span);
        while self.now < end {
            self.now = self.now.plus(TICK);
            self.beat();
            let actions = self.detector.tick(self.now);
            self.perform(actions, false);
        }
    }

    /// What a shell does before it ticks: it tells how far gossip has come.
    fn beat(&mut self) {
        let mut seen = Vec::new();
        for (name, peer) in &mut self.peers {
            if peer.beats && !self.is_cut {
                peer.heartbeat += 1;
                seen.push((name.clone(), Heard { generation: peer.generation, heartbeat: peer.heartbeat }));
            }
            if let Some(rival) = &mut peer.rival {
                rival.heartbeat += 1;
                seen.push((name.clone(), *rival));
            }
        }
        for (name, heard) in seen {
            let actions = self.detector.heartbeat(&name, heard.generation, heard.heartbeat, self.now);
            self.perform(actions, true);
        }
    }

    fn stale(&mut self, name: &NodeName) {
        let generation = self.peers[name].generation - 1;
        let actions = self.detector.heartbeat(name, generation, 700, self.now);
        self.perform(actions, true);
    }

    fn hear(&mut self) {
        let names: Vec<NodeName> =
            self.peers.iter().filter(|(_, peer)| peer.beats && peer.reaches).map(|(name, _)| name.clone()).collect();
        for name in names {
            let actions = self.detector.heard(&name, self.now);
            self.perform(actions, true);
        }
    }

    fn accuse(&mut self, from: &NodeName, accused: &[NodeName], lateness: Lateness) {
        let life = |name: &NodeName| match self.peers.get(name) {
            Some(peer) => Heard { generation: peer.generation, heartbeat: peer.heartbeat },
            None => Heard { generation: 5, heartbeat: 1 },
        };
        let suspicions = accused.iter().map(|name| (name.clone(), life(name))).collect();
        let evidence = Evidence { lateness, suspicions, unheard: BTreeSet::new() };
        let actions = self.detector.evidence(from, &evidence, self.now);
        self.perform(actions, true);
    }

    fn message(&mut self, from: &NodeName, words: &[&str]) {
        let nonce = words[1].parse().unwrap();
        let message = match words[0] {
            "ping" => Message::Ping { nonce, suspected: false },
            "suspected-ping" => Message::Ping { nonce, suspected: true },
            "false-death" => Message::FalseDeath { nonce, generation: words[2].parse().unwrap() },
            "ping-req" => Message::PingReq { nonce, target: name(words[2]) },
            other => panic!("no such message: {other}"),
        };
        let actions = self.detector.message(from, message, self.now);
        self.perform(actions, true);
    }

    fn perform(&mut self, actions: Vec<Action>, is_all_told: bool) {
        for action in actions {
            if is_all_told || !matches!(action, Action::Send { message: Message::Ping { suspected: false, .. }, .. }) {
                let text = describe(&action);
                writeln!(self.told, "{} {text}", seconds(self.now.since(MonoTime::default()))).unwrap();
            }
            if let Action::Send { to, message } = action {
                self.answer(&to, message);
            }
        }
    }

    /// What a peer answers, as far as its answer arrives.
    fn answer(&mut self, to: &NodeName, message: Message) {
        let Some(peer) = self.peers.get(to).filter(|peer| peer.answers && peer.reaches && !self.is_cut) else { return };
        let answer = match message {
            Message::Ping { nonce, .. } => Message::Ack { nonce, generation: peer.generation },
            Message::PingReq { nonce, target } => match self.peers.get(&target) {
                Some(other) if other.answers => Message::RelayedAck { nonce, generation: other.generation, target },
                _ => return,
            },
            Message::Ack { .. } | Message::RelayedAck { .. } | Message::FalseDeath { .. } => return,
        };
        let actions = self.detector.message(to, answer, self.now);
        self.perform(actions, true);
    }

    fn show(&mut self) {
        let standing = self.detector.standing();
        let held_dead = match self.detector.false_deaths() {
            0 => String::new(),
            count => format!(", held dead {count} times"),
        };
        let isolated = if standing.isolated_since.is_some() { ", isolated" } else { "" };
        let mut text = format!(
            "{} me {}{isolated}{held_dead}\n",
            seconds(self.now.since(MonoTime::default())),
            standing.lateness.as_str()
        );
        for row in self.detector.members() {
            write!(
                text,
                "     {} {} since {}: {}",
                row.name,
                row.state,
                seconds(row.since.since(MonoTime::default())),
                row.cause.phrase()
            )
            .unwrap();
            write!(text, "; silent {} of {}", seconds(row.silence), seconds(row.patience)).unwrap();
            if !row.was_heard {
                text.push_str("; only told of");
            }
            if !row.witnesses.is_empty() {
                let names: Vec<&str> = row.witnesses.iter().map(NodeName::as_str).collect();
                write!(text, "; witnesses {}", names.join(" ")).unwrap();
            }
            if row.lateness != Lateness::OnTime {
                write!(text, "; {}", row.lateness.as_str()).unwrap();
            }
            if let Some(rival) = row.rival {
                write!(text, "; generation {} still runs", rival).unwrap();
            }
            text.push_str(if row.is_unheard { "; unheard\n" } else { "\n" });
        }
        self.told.push_str(&text);
    }

    fn links(&mut self) {
        let faults: Vec<String> =
            self.detector.link_faults().iter().map(|fault| format!("{} → {}", fault.from, fault.to)).collect();
        let list = if faults.is_empty() { "none".to_owned() } else { faults.join(", ") };
        writeln!(self.told, "{} link faults: {list}", seconds(self.now.since(MonoTime::default()))).unwrap();
    }
}

fn describe(action: &Action) -> String {
    match action {
        Action::Send { to, message } => match message {
            Message::Ping { suspected: true, .. } => format!("→ {to}: are you there?"),
            Message::Ping { .. } => format!("→ {to}: ping"),
            Message::Ack { nonce, .. } => format!("→ {to}: ack {nonce}"),
            Message::PingReq { target, .. } => format!("→ {to}: ping {target} for me"),
            Message::FalseDeath { .. } => format!("→ {to}: I held you dead"),
            Message::RelayedAck { nonce, target, .. } => format!("→ {to}: {target} answered {nonce}"),
        },
        Action::Publish(evidence) => format!("publishes \"{}\"", evidence.encode()),
        Action::Gossip { with } => format!("gossips with {with} at once"),
        Action::Event(event) => describe_event(event),
    }
}

fn describe_event(event: &Event) -> String {
    match event {
        Event::Changed { member, from: None, to, cause, .. } => format!("{member}: {to} ({cause})"),
        Event::Changed { member, from: Some(from), to, cause, .. } => format!("{member}: {from} → {to} ({cause})"),
        Event::Forgotten { member } => format!("{member}: forgotten"),
        Event::Stalled { late } => format!("was stalled for {}", seconds(*late)),
        Event::Isolated => "is isolated".to_owned(),
        Event::Reconnected => "is connected again".to_owned(),
        Event::LinkFault(link) => format!("link fault: {} → {}", link.from, link.to),
        Event::LinkRepaired(link) => format!("link works again: {} → {}", link.from, link.to),
        Event::Accused { by } => format!("is suspected by {by}"),
        Event::NameShared { member, older, newer } => {
            format!("{member} is two processes: {older} still runs beside {newer}")
        }
    }
}

fn seconds(span: Duration) -> String {
    format!("{:.1}s", span.as_secs_f64())
}

fn span(text: &str) -> Duration {
    match text.strip_suffix("ms") {
        Some(count) => Duration::from_millis(count.parse().unwrap()),
        None => Duration::from_secs(text.strip_suffix('s').unwrap().parse().unwrap()),
    }
}

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}
