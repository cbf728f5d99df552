use super::*;

/// A gate, and a clock that only the test moves.
struct Scene {
    gate: Gate,
    now: Instant,
    drawn: u8,
}

fn process(name: &str, generation: u64, port: u16) -> Sender {
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
            Verdict::Challenge(_, challenge) => challenge,
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
    assert!(matches!(scene.admit(&sender, 1), Verdict::Challenge(Rejection::Unproven, _)));
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
    assert!(matches!(scene.admit(&new, 1), Verdict::Challenge(Rejection::Unproven, Challenge { newest: 0, .. })));
    assert_eq!(scene.admit(&old, 3), Verdict::Accept, "until the newer one proved itself");
    scene.pass(200);
    scene.introduce(&new, 2);
    assert_eq!(scene.admit(&new, 4), Verdict::Accept);
    assert!(matches!(scene.admit(&old, 4), Verdict::Challenge(Rejection::OldIncarnation, _)));
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
    let sent = (0..1_000).filter(|&n| matches!(scene.admit(&sender, n), Verdict::Challenge(..))).count();
    assert_eq!(sent, 1, "one process, at one moment");
    let sent = (0..5_000_u64)
        .filter(|&generation| matches!(scene.admit(&process("b", generation, 1), 1), Verdict::Challenge(..)))
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

#[test]
fn golden_challenge() {
    let challenge = Challenge { nonce: [7; NONCE_BYTES], newest: 0x0102, is_gone: true };
    let bytes = challenge.encode();
    assert_eq!(&bytes[..NONCE_BYTES], [7; 16]);
    assert_eq!(&bytes[NONCE_BYTES..], [2, 1, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(Challenge::decode(&bytes), Some(challenge));
    assert_eq!(Challenge::decode(&bytes[1..]), None);
    let mut wrong = bytes;
    wrong[24] = 2;
    assert_eq!(Challenge::decode(&wrong), None);
}
