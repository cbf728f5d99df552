use std::collections::VecDeque;

use super::*;

/// A gate, and a clock that only the test moves.
struct Scene {
    gate: Gate,
    now: Instant,
    drawn: u8,
}

pub(super) fn process(name: &str, generation: u64, port: u16) -> Sender {
    Sender { name: NodeName::try_from(name).unwrap(), generation, address: SocketAddr::from(([10, 0, 0, 1], port)) }
}

impl Scene {
    fn new() -> Self {
        let now = Instant::now();
        Self { gate: Gate::new(now), now, drawn: 0 }
    }

    fn pass(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }

    fn admit(&mut self, sender: &Sender, counter: u64) -> Verdict {
        self.drawn = self.drawn.wrapping_add(1);
        let drawn = self.drawn;
        self.gate.admit(sender, counter, self.now, || Some([drawn; NONCE_BYTES]))
    }

    #[track_caller]
    fn challenge(&mut self, sender: &Sender, counter: u64) -> Challenge {
        match self.admit(sender, counter) {
            Verdict::Challenge { challenge, .. } => challenge,
            other => panic!("no challenge but {other:?}"),
        }
    }

    /// `sender` is challenged, and answers with the counter after `counter`.
    #[track_caller]
    fn introduce(&mut self, sender: &Sender, counter: u64) {
        let challenge = self.challenge(sender, counter);
        self.gate.prove(sender, counter + 1, &challenge.nonce, self.now).unwrap();
    }
}

#[test]
fn a_message_is_accepted_only_after_its_sender_proved_to_live_and_only_once() {
    let (mut scene, sender) = (Scene::new(), process("a", 5, 1));
    assert!(matches!(scene.admit(&sender, 1), Verdict::Challenge { rejection: Rejection::Unproven, .. }));
    scene.pass(CHALLENGE_INTERVAL.as_millis() as u64);
    scene.introduce(&sender, 2);
    assert_eq!(scene.admit(&sender, 4), Verdict::Accept);
    for replayed in 1..=4 {
        assert_eq!(scene.admit(&sender, replayed), Verdict::Refuse(Rejection::Replayed), "{replayed}");
    }
}

#[test]
fn recorded_messages_do_not_open_a_gate_that_remembers_nothing() {
    let (mut scene, sender) = (Scene::new(), process("a", 5, 1));
    for counter in 1..=1_000 {
        assert!(!matches!(scene.admit(&sender, counter), Verdict::Accept));
        // The answer to a challenge of another receiver, or of a former life of this one.
        let recorded = scene.gate.prove(&sender, counter, &[0xEE; NONCE_BYTES], scene.now);
        assert_eq!(recorded, Err(Rejection::Replayed));
        scene.pass(20);
    }
}

#[test]
fn an_answer_counts_once_and_not_too_late() {
    let (mut scene, sender) = (Scene::new(), process("a", 5, 1));
    let challenge = scene.challenge(&sender, 1);
    scene.pass(ANSWER_TIMEOUT.as_millis() as u64);
    assert_eq!(scene.gate.prove(&sender, 2, &challenge.nonce, scene.now), Err(Rejection::Replayed));
    let challenge = scene.challenge(&sender, 3);
    let other = process("b", 5, 2);
    assert_eq!(scene.gate.prove(&other, 4, &challenge.nonce, scene.now), Err(Rejection::Replayed));
    assert_eq!(scene.gate.prove(&sender, 4, &challenge.nonce, scene.now), Ok(()));
    assert_eq!(scene.gate.prove(&sender, 5, &challenge.nonce, scene.now), Err(Rejection::Replayed));
}

#[test]
fn a_newer_life_takes_the_place_of_the_older() {
    let (mut scene, old, new) = (Scene::new(), process("a", 5, 1), process("a", 6, 1));
    scene.introduce(&old, 1);
    assert!(matches!(
        scene.admit(&new, 1),
        Verdict::Challenge { rejection: Rejection::Unproven, challenge: Challenge { newest: 0, .. }, .. }
    ));
    assert_eq!(scene.admit(&old, 3), Verdict::Accept, "until the newer one proved itself");
    scene.pass(200);
    scene.introduce(&new, 2);
    assert_eq!(scene.admit(&new, 4), Verdict::Accept);
    assert!(matches!(scene.admit(&old, 4), Verdict::Challenge { rejection: Rejection::OldIncarnation, .. }));
}

#[test]
fn the_older_of_two_processes_with_one_name_stays_out_while_the_newer_lives() {
    let (mut scene, old, new) = (Scene::new(), process("a", 5, 1), process("a", 6, 2));
    scene.introduce(&new, 1);
    let told = scene.challenge(&old, 1);
    assert_eq!((told.newest, told.is_gone), (6, false));
    assert_eq!(scene.gate.prove(&old, 2, &told.nonce, scene.now), Err(Rejection::OldIncarnation));
    scene.pass(GONE.as_millis() as u64);
    assert!(scene.challenge(&old, 3).is_gone, "silent for long");
}

#[test]
fn a_process_at_the_address_of_a_newer_life_is_told_that_it_is_gone() {
    let mut scene = Scene::new();
    scene.introduce(&process("a", 6, 1), 1);
    assert!(scene.challenge(&process("a", 5, 1), 1).is_gone);
}

#[test]
fn replays_cannot_make_a_member_flood_anyone() {
    let mut scene = Scene::new();
    let sender = process("a", 5, 1);
    let sent = (0..1_000).filter(|&n| matches!(scene.admit(&sender, n), Verdict::Challenge { .. })).count();
    assert_eq!(sent, 1, "one process, at one moment");
    let sent = (0..5_000_u64)
        .filter(|&generation| matches!(scene.admit(&process("b", generation, 1), 1), Verdict::Challenge { .. }))
        .count();
    assert!(sent <= PROOF_RATE.burst as usize, "{sent} for many lives at one moment");
    assert!(scene.gate.pending.len() <= PENDING_MAX);
}

#[test]
fn one_member_cannot_take_all_attention() {
    let (mut scene, sender) = (Scene::new(), process("a", 5, 1));
    scene.introduce(&sender, 0);
    let accepted = (2..5_000).filter(|&counter| scene.admit(&sender, counter) == Verdict::Accept).count();
    assert_eq!(accepted, SESSION_RATE.burst as usize);
    scene.pass(100);
    assert_eq!(scene.admit(&sender, 6_000), Verdict::Accept);
}

#[test]
fn when_all_places_are_taken_the_quietest_gives_way() {
    let mut scene = Scene::new();
    for n in 0..SESSIONS_MAX {
        scene.introduce(&process(&format!("n{n}"), 5, 1), 1);
        scene.pass(2);
    }
    let late = process("late", 5, 1);
    let challenge = scene.challenge(&late, 1);
    assert_eq!(scene.gate.prove(&late, 2, &challenge.nonce, scene.now), Err(Rejection::Full));
    scene.pass(IDLE.as_millis() as u64);
    scene.introduce(&late, 3);
    assert_eq!(scene.gate.sessions.len(), SESSIONS_MAX);
    assert!(!scene.gate.sessions.contains_key("n0"));
}

/// Sends a message every 100 ms for `limit`, and answers each challenge, which takes `rtt` there and back.
/// How long it took until a session began.
fn time_to_enter(rtt: Duration, limit: Duration) -> Option<Duration> {
    let (mut scene, sender) = (Scene::new(), process("a", 5, 1));
    let start = scene.now;
    let mut answers = VecDeque::new();
    for counter in 1.. {
        while answers.front().is_some_and(|(at, _)| *at <= scene.now) {
            let (_, nonce): (_, Nonce) = answers.pop_front()?;
            if scene.gate.prove(&sender, counter, &nonce, scene.now).is_ok() {
                return Some(scene.now - start);
            }
        }
        if let Verdict::Challenge { challenge, .. } = scene.admit(&sender, counter) {
            answers.push_back((scene.now + rtt, challenge.nonce));
        }
        scene.pass(100);
        if scene.now - start > limit {
            break;
        }
    }
    None
}

#[test]
fn two_nodes_far_from_each_other_meet_after_one_round_trip() {
    for rtt in [1, 300, 1_000, 3_000, 4_900].map(Duration::from_millis) {
        let took = time_to_enter(rtt, Duration::from_secs(60));
        assert!(took.is_some_and(|took| took < rtt + Duration::from_millis(100)), "{rtt:?}: {took:?}");
    }
    assert_eq!(time_to_enter(ANSWER_TIMEOUT + CHALLENGE_INTERVAL, Duration::from_secs(60)), None);
}

#[test]
fn a_challenge_names_whom_it_challenges() {
    let (mut scene, sender) = (Scene::new(), process("a", 5, 1));
    let challenge = scene.challenge(&sender, 1);
    assert!(challenge.is_for(&sender));
    assert!(!challenge.is_for(&process("b", 5, 1)));
    assert!(!challenge.is_for(&process("a", 6, 1)), "nor is it for its next life");
}

/// The seconds at which `sender`, who speaks every second, is said to be mute.
fn said_mute(scene: &mut Scene, sender: &Sender, seconds: u64) -> Vec<u64> {
    let mut said = Vec::new();
    for second in 0..seconds {
        if matches!(scene.admit(sender, second + 1), Verdict::Challenge { is_mute: true, .. }) {
            said.push(second);
        }
        scene.pass(1_000);
    }
    said
}

#[test]
fn who_speaks_and_never_answers_is_told_of_once_a_minute() {
    let (mut scene, sender) = (Scene::new(), process("a", 5, 1));
    assert_eq!(said_mute(&mut scene, &sender, 130), [5, 65, 125]);
    assert_eq!(said_mute(&mut scene, &process("a", 6, 1), 30), [0; 0], "a new life, within the minute");
    assert_eq!(said_mute(&mut scene, &process("b", 5, 1), 30), [5], "another name");
}

#[test]
fn who_answers_is_not_mute() {
    let (mut scene, newer, older) = (Scene::new(), process("a", 6, 1), process("a", 5, 1));
    scene.introduce(&newer, 1);
    assert_eq!(said_mute(&mut scene, &newer, 30), [0; 0]);
    for second in 0..30 {
        let Verdict::Challenge { challenge, is_mute, .. } = scene.admit(&older, second) else { panic!("no challenge") };
        assert!(!is_mute, "it stays out, and for another reason");
        assert_eq!(scene.gate.prove(&older, second, &challenge.nonce, scene.now), Err(Rejection::OldIncarnation));
        scene.pass(1_000);
    }
}
