//! Packets that nobody should send, and a mutation test over them.
//!
//! The corpus lies in `corpus/` as hexadecimal text, a packet each. Every packet and thousands of damaged copies of it go
//! through the whole path from bytes to bytes, over both transports. Nothing may panic, every answer must be readable, an
//! answer to a query, no longer than its transport allows, and an error must not be longer than what asked for it.
//! `ROLLCALL_FUZZ_SECONDS` makes it go on for so long instead of a fixed number of rounds; `ROLLCALL_FUZZ_SEED` chooses the seed.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::{ask_bytes, query};
use crate::dns::fixture::{Fixture, responder};
use crate::dns::fuzz::send;
use crate::dns::message::Transport;

/// Rounds over the corpus when no time is given.
const ROUNDS: usize = 400;
/// Most changes to one packet.
const CHANGES_MAX: usize = 6;

fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/dns/tests/corpus");
    let mut packets: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let digits: String =
                text.lines().filter(|line| !line.starts_with('#')).collect::<String>().split_whitespace().collect();
            let bytes = (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap());
            (path.file_stem().unwrap().to_string_lossy().into_owned(), bytes.collect())
        })
        .collect();
    packets.sort();
    packets
}

fn damage(packet: &mut Vec<u8>, others: &[(String, Vec<u8>)], rng: &mut StdRng) {
    for _ in 0..rng.random_range(1..=CHANGES_MAX) {
        let at = rng.random_range(0..=packet.len());
        match rng.random_range(0..8) {
            0 if at < packet.len() => packet[at] ^= 1 << rng.random_range(0..8),
            1 if at < packet.len() => packet[at] = rng.random(),
            2 => packet.truncate(at),
            3 => packet.insert(at, rng.random()),
            4 if at < packet.len() => drop(packet.remove(at)),
            // A pointer (RFC 1035 §4.1.4) to somewhere.
            5 if at + 1 < packet.len() => packet[at..at + 2].copy_from_slice(&[0xc0, rng.random_range(0..64)]),
            6 => packet.extend_from_slice(&others[rng.random_range(0..others.len())].1),
            _ if packet.len() >= 12 => {
                let field = rng.random_range(2..6) * 2;
                packet[field..field + 2]
                    .copy_from_slice(&[0, 0xff, 1, 0x80, 0xff, 0xff][rng.random_range(0..5)..][..2]);
            }
            _ => {}
        }
    }
    packet.truncate(70_000);
}

#[test]
fn no_packet_of_the_corpus_or_near_it_does_harm() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seed = number("ROLLCALL_FUZZ_SEED").unwrap_or(1);
    let until = number("ROLLCALL_FUZZ_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut rng = StdRng::seed_from_u64(seed);
    let corpus = corpus();
    let mut responders =
        [Transport::Udp, Transport::Tcp].map(|transport| (responder(Fixture::usual(), transport), transport));
    let (mut round, mut answered) = (0, 0_u64);
    while until.map_or(round < ROUNDS, |until| Instant::now() < until) {
        for (_, packet) in &corpus {
            let mut packet = packet.clone();
            if round > 0 {
                damage(&mut packet, &corpus, &mut rng);
            }
            for (responder, transport) in &mut responders {
                answered += u64::from(send(responder, &packet, *transport).is_some());
            }
        }
        round += 1;
    }
    assert!(answered > 0, "seed {seed}");
}

#[test]
fn what_the_corpus_holds_gets_what_it_deserves() {
    let deserved = [
        ("answer", None),
        ("axfr", Some(ResponseCode::NotImp)),
        ("claims-65535-questions", Some(ResponseCode::FormErr)),
        ("compression-loop", Some(ResponseCode::FormErr)),
        ("edns", Some(ResponseCode::NoError)),
        ("forward-pointer", Some(ResponseCode::FormErr)),
        ("long-label", Some(ResponseCode::FormErr)),
        ("plain", Some(ResponseCode::NoError)),
        ("short", None),
        ("srv", Some(ResponseCode::NoError)),
        ("truncated", Some(ResponseCode::FormErr)),
        ("two-opt", Some(ResponseCode::FormErr)),
        ("two-questions", Some(ResponseCode::FormErr)),
        ("update", Some(ResponseCode::NotImp)),
    ];
    let corpus = corpus();
    assert_eq!(corpus.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), deserved.map(|(name, _)| name));
    for ((name, packet), (_, deserved)) in corpus.iter().zip(deserved) {
        let answer = send(&mut responder(Fixture::usual(), Transport::Udp), packet, Transport::Udp);
        assert_eq!(answer.map(|answer| answer.metadata.response_code), deserved, "{name}");
    }
}

#[test]
fn a_question_that_points_into_the_header_is_refused_with_less_than_was_sent() {
    // An id whose bytes read as the label "a" and the root; the name of the question points to them.
    let packet = [1, b'a', 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0, 1, 0, 1];
    let answer = send(&mut responder(Fixture::usual(), Transport::Udp), &packet, Transport::Udp);
    assert_eq!(
        answer.map(|answer| (answer.metadata.response_code, answer.queries.len())),
        Some((ResponseCode::FormErr, 0))
    );
}

#[test]
fn a_query_longer_than_any_question_needs_is_refused() {
    let mut bytes = query("web.service.rollcall", RecordType::A).to_vec().unwrap();
    bytes.resize(5_000, 0);
    let refused = Message::from_vec(&ask_bytes(Fixture::usual(), &bytes, Transport::Udp).unwrap()).unwrap();
    assert_eq!(refused.metadata.response_code, ResponseCode::FormErr);
}

#[test]
fn a_service_name_that_is_hostile_injects_no_records() {
    // A label of "web\0\x07service" must not be read as two.
    let name = hickory_proto::rr::Name::from_labels([&b"web\x00\x07service"[..], b"service", b"rollcall"]).unwrap();
    let mut message = query("x", RecordType::A);
    message.queries[0].set_name(name);
    let answer = ask_bytes(Fixture::usual(), &message.to_vec().unwrap(), Transport::Udp).unwrap();
    assert_eq!(Message::from_vec(&answer).unwrap().metadata.response_code, ResponseCode::NXDomain);
}
