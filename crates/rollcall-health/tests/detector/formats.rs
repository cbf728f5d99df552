//! The bytes of messages and the text of evidence, as they are today and must stay for this version.

use std::collections::{BTreeMap, BTreeSet};

use rollcall_health::detector::{Evidence, EvidenceError, Heard, Lateness, Message, MessageError};
use rollcall_types::NodeName;

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[track_caller]
fn check_message(message: &Message, golden: &str) {
    let bytes = message.encode();
    assert_eq!(hex(&bytes), golden);
    assert!(bytes.len() <= Message::MAX_BYTES);
    assert_eq!(Message::decode(&bytes).as_ref(), Ok(message));
}

#[test]
fn messages_have_these_bytes() {
    check_message(&Message::Ping { nonce: 1, suspected: false }, "0101010000000000000000");
    check_message(&Message::Ping { nonce: 0x0807_0605_0403_0201, suspected: true }, "0101010203040506070801");
    check_message(&Message::Ack { nonce: 2, generation: 3 }, "010202000000000000000300000000000000");
    check_message(&Message::PingReq { nonce: 4, target: name("db-2") }, "010304000000000000000464622d32");
    let relayed = Message::RelayedAck { nonce: 5, generation: 6, target: name("a") };
    check_message(&relayed, "0104050000000000000006000000000000000161");
    check_message(&Message::FalseDeath { nonce: 7, generation: 8 }, "010507000000000000000800000000000000");
}

#[test]
fn bytes_that_are_no_message_are_refused() {
    let ping = Message::Ping { nonce: 1, suspected: true }.encode();
    assert_eq!(Message::decode(&[]), Err(MessageError::Malformed));
    assert_eq!(Message::decode(&[2, 1]), Err(MessageError::Version(2)));
    assert_eq!(Message::decode(&[1, 9, 0]), Err(MessageError::Kind(9)));
    assert_eq!(Message::decode(&ping[..ping.len() - 1]), Err(MessageError::Malformed));
    assert_eq!(Message::decode(&[ping.as_slice(), &[0]].concat()), Err(MessageError::Malformed));
    let with_unknown_flag = [&ping[..ping.len() - 1], &[2]].concat();
    assert_eq!(Message::decode(&with_unknown_flag), Err(MessageError::Malformed));
    let request = Message::PingReq { nonce: 1, target: name("a") }.encode();
    let with_bad_name = [&request[..request.len() - 1], b"/"].concat();
    assert_eq!(Message::decode(&with_bad_name), Err(MessageError::Malformed));
}

#[track_caller]
fn check_evidence(evidence: &Evidence, golden: &str) {
    assert_eq!(evidence.encode(), golden);
    assert_eq!(Evidence::decode(golden).as_ref(), Ok(evidence));
}

#[test]
fn evidence_has_this_text() {
    check_evidence(&Evidence::default(), "1 0  ");
    let suspicions = BTreeMap::from([
        (name("db-2"), Heard { generation: 0x18c9, heartbeat: 63 }),
        (name("web_1"), Heard { generation: u64::MAX, heartbeat: 0 }),
    ]);
    let unheard = BTreeSet::from([name("db-9"), name("x")]);
    let full = Evidence { lateness: Lateness::Stopped, suspicions, unheard };
    check_evidence(&full, "1 3 db-2:18c9:3f,web_1:ffffffffffffffff:0 db-9,x");
}

#[test]
fn text_that_is_no_evidence_is_refused() {
    for malformed in [
        "",
        "1",
        "1 0 ",
        "1 4  ",
        "1 0   ",
        "1 0 a:1 ",
        "1 0 a:1:2, ",
        "1 0 a:01:2 ",
        "1 0 a:+1:2 ",
        "1 0 a:A:2 ",
        "1 0 a::2 ",
        "1 0 a:1:10000000000000000 ",
        "1 0 b:1:1,a:1:1 ",
        "1 0 a:1:1,a:1:1 ",
        "1 0 ü:1:1 ",
        "1 0  b,a",
    ] {
        assert_eq!(Evidence::decode(malformed), Err(EvidenceError::Malformed), "{malformed:?}");
    }
    assert_eq!(Evidence::decode("2 0  "), Err(EvidenceError::Version));
}

#[test]
fn evidence_beyond_its_bounds_is_not_written_and_not_read() {
    let life = Heard { generation: u64::MAX, heartbeat: u64::MAX };
    let long = |i: usize| name(&format!("{:063}", i));
    let suspicions = (0..200).map(|i| (long(i), life)).collect();
    let evidence = Evidence { suspicions, unheard: (0..200).map(long).collect(), ..Evidence::default() };
    let text = evidence.encode();
    assert!(text.len() <= Evidence::MAX_BYTES, "{} bytes", text.len());
    let read = Evidence::decode(&text).unwrap();
    assert_eq!((read.suspicions.len(), read.unheard.len()), (Evidence::SUSPICIONS_MAX, Evidence::UNHEARD_MAX));
    let list = (0..=Evidence::SUSPICIONS_MAX).map(|i| format!("n{i:03}:1:1")).collect::<Vec<_>>().join(",");
    assert_eq!(Evidence::decode(&format!("1 0 {list} ")), Err(EvidenceError::TooMuch));
}
