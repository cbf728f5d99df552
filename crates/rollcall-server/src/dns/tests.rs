//! Facts about answers, shown on bytes: no sockets.

mod hostile;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};

use super::fixture::{self, Fixture, responder};
use super::message::Transport;

/// A query as a client sends it.
fn query(name: &str, kind: RecordType) -> Message {
    let labels = name.trim_end_matches('.').split('.').map(str::as_bytes);
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_labels(labels).unwrap(), kind));
    message
}

fn ask_bytes(source: Fixture, bytes: &[u8], transport: Transport) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let from = IpAddr::from([127, 0, 0, 1]);
    responder(source, transport).respond(bytes, from, Instant::now(), &mut out).then_some(out)
}

fn ask_message(source: Fixture, message: &Message, transport: Transport) -> Message {
    let answer = ask_bytes(source, &message.to_vec().unwrap(), transport).expect("an answer");
    let answer = Message::from_vec(&answer).expect("an answer can be read");
    assert_eq!((answer.metadata.id, answer.metadata.message_type), (0x1234, MessageType::Response));
    assert!(!answer.metadata.recursion_available);
    answer
}

fn ask(name: &str, kind: RecordType) -> Message {
    ask_message(Fixture::usual(), &query(name, kind), Transport::Udp)
}

/// An answer in short: code, answers and what comes with them.
fn told(answer: &Message) -> (ResponseCode, Vec<String>, Vec<String>) {
    let data = |records: &[hickory_proto::rr::Record]| {
        records.iter().map(|record| format!("{} {}", record.record_type(), record.data)).collect()
    };
    (answer.metadata.response_code, data(&answer.answers), data(&answer.additionals))
}

#[track_caller]
fn check(name: &str, kind: RecordType, answers: &[&str], extra: &[&str]) {
    let answer = ask(name, kind);
    let (code, got, with) = told(&answer);
    assert_eq!(
        (code, got, with),
        (
            ResponseCode::NoError,
            answers.iter().map(ToString::to_string).collect(),
            extra.iter().map(ToString::to_string).collect(),
        ),
        "{name} {kind}"
    );
    assert!(answer.metadata.authoritative);
    assert_eq!(answer.authorities.is_empty(), !answers.is_empty(), "a SOA record stands for no answer");
}

#[track_caller]
fn check_none(name: &str, kind: RecordType, code: ResponseCode) {
    let answer = ask(name, kind);
    assert_eq!((answer.metadata.response_code, answer.answers.len()), (code, 0), "{name} {kind}");
    match code {
        ResponseCode::NoError | ResponseCode::NXDomain => {
            let [soa] = &answer.authorities[..] else { panic!("no SOA for {name}") };
            let RData::SOA(data) = &soa.data else { panic!("{soa}") };
            assert_eq!((soa.ttl, data.minimum, data.serial), (0, 0, 42));
            assert!(soa.name.zone_of(&answer.queries[0].name), "{soa}");
        }
        _ => assert!(answer.authorities.is_empty() && !answer.metadata.authoritative),
    }
}

#[test]
fn addresses_of_a_service_come_best_first_and_each_once() {
    check("web.service.rollcall", RecordType::A, &["A 10.0.0.1", "A 10.0.0.2"], &[]);
    check("web.service.rollcall", RecordType::AAAA, &["AAAA fd00::3"], &[]);
    check("api.web.service.dc1.consul", RecordType::A, &["A 10.0.0.1"], &[]);
}

#[test]
fn srv_records_carry_port_and_weight_and_the_addresses_of_their_targets() {
    check(
        "_web._tcp.service.consul",
        RecordType::SRV,
        &[
            "SRV 1 90 8080 0a000001.addr.dc1.consul.",
            "SRV 1 160 8080 0a000002.addr.dc1.consul.",
            "SRV 1 50 8080 fd000000000000000000000000000003.addr.dc1.consul.",
            "SRV 1 1 9000 0a000001.addr.dc1.consul.",
        ],
        &["A 10.0.0.1", "A 10.0.0.2", "AAAA fd00::3", "A 10.0.0.1"],
    );
    check("0a000001.addr.dc1.consul", RecordType::A, &["A 10.0.0.1"], &[]);
    check(
        "_admin._tcp.web.service.rollcall",
        RecordType::SRV,
        &["SRV 1 80 9901 0a000001.addr.dc1.rollcall."],
        &["A 10.0.0.1"],
    );
}

#[test]
fn weights_that_do_not_fit_are_scaled_together() {
    check(
        "heavy.service.rollcall",
        RecordType::SRV,
        &["SRV 1 65535 1 0a000001.addr.dc1.rollcall.", "SRV 1 32768 2 0a000002.addr.dc1.rollcall."],
        &["A 10.0.0.1", "A 10.0.0.2"],
    );
}

#[test]
fn a_service_says_how_long_answers_about_it_may_be_kept_and_else_the_node_does() {
    for (name, ttl_s) in [("heavy.service.rollcall", 5), ("web.service.rollcall", 0), ("n1.node.rollcall", 0)] {
        let answer = ask(name, RecordType::A);
        let records = answer.answers.iter().chain(&answer.additionals);
        assert!(records.clone().count() > 0 && records.clone().all(|record| record.ttl == ttl_s), "{answer:?}");
    }
}

#[test]
fn hosts_that_are_names_are_targets_and_an_alias() {
    check(
        "named.service.rollcall",
        RecordType::SRV,
        &["SRV 1 100 80 db-1.example.com.", "SRV 1 90 80 db-2.example.com."],
        &[],
    );
    check("named.service.rollcall", RecordType::A, &["CNAME db-1.example.com."], &[]);
    check("named.service.rollcall", RecordType::CNAME, &["CNAME db-1.example.com."], &[]);
    check_none("web.service.rollcall", RecordType::CNAME, ResponseCode::NoError);
}

#[test]
fn nodes_and_the_domain_itself() {
    check("N1.node.rollcall", RecordType::A, &["A 127.0.0.1"], &[]);
    check("rollcall", RecordType::NS, &["NS n1.node.dc1.rollcall."], &["A 127.0.0.1"]);
    check("consul", RecordType::SOA, &["SOA n1.node.dc1.consul. hostmaster.consul. 42 3600 600 86400 0"], &[]);
    check("2.0.0.10.in-addr.arpa", RecordType::PTR, &["PTR web.service.rollcall."], &[]);
    check("1.0.0.127.in-addr.arpa", RecordType::PTR, &["PTR n1.node.dc1.rollcall."], &[]);
}

#[test]
fn a_name_without_such_records_is_not_a_name_that_does_not_exist() {
    for (name, kind) in [
        ("web.service.rollcall", RecordType::TXT),
        ("v1.2.web.service.rollcall", RecordType::AAAA),
        ("2.web.service.rollcall", RecordType::A),
        ("service.rollcall", RecordType::A),
        ("rollcall", RecordType::A),
        ("0a000001.addr.rollcall", RecordType::AAAA),
        ("0.0.10.in-addr.arpa", RecordType::PTR),
    ] {
        check_none(name, kind, ResponseCode::NoError);
    }
    for (name, kind) in [
        ("nothing.service.rollcall", RecordType::A),
        ("down.service.rollcall", RecordType::SRV),
        ("beta.web.service.rollcall", RecordType::A),
        ("n9.node.rollcall", RecordType::A),
        ("web.rollcall", RecordType::A),
        ("9.9.9.10.in-addr.arpa", RecordType::PTR),
    ] {
        check_none(name, kind, ResponseCode::NXDomain);
    }
}

#[test]
fn everything_at_once_is_not_told() {
    check("web.service.rollcall", RecordType::ANY, &["HINFO RFC8482 "], &[]);
    check_none("nothing.service.rollcall", RecordType::ANY, ResponseCode::NXDomain);
}

#[test]
fn what_is_not_ours_is_refused() {
    check_none("example.com", RecordType::A, ResponseCode::Refused);
    check_none("rollcall", RecordType::AXFR, ResponseCode::NotImp);
    let mut chaos = query("version.bind", RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    let refused = ask_message(Fixture::usual(), &chaos, Transport::Udp);
    assert_eq!(refused.metadata.response_code, ResponseCode::Refused);
    let mut update = query("rollcall", RecordType::SOA);
    update.metadata.op_code = OpCode::Notify;
    assert_eq!(ask_message(Fixture::usual(), &update, Transport::Udp).metadata.response_code, ResponseCode::NotImp);
}

#[test]
fn the_case_of_the_question_is_kept_from_the_codec_and_from_prepared_answers() {
    let mut responder = responder(Fixture::usual(), Transport::Udp);
    let (from, now) = (IpAddr::from([127, 0, 0, 1]), Instant::now());
    let mut out = Vec::new();
    for round in 0..40_u16 {
        let name = if round % 2 == 0 { "wEb.SERVICE.rollCALL" } else { "Web.service.ROLLcall" };
        let mut message = query(name, RecordType::A);
        message.metadata.id = round;
        assert!(responder.respond(&message.to_vec().unwrap(), from, now, &mut out));
        let answer = Message::from_vec(&out).unwrap();
        assert_eq!(answer.metadata.id, round);
        assert!(answer.queries[0].name.eq_case(&message.queries[0].name), "{answer}");
        assert!(answer.answers.iter().all(|record| record.name.eq_case(&message.queries[0].name)), "{answer}");
        assert_eq!(answer.answers.len(), 2);
    }
    assert!(responder.prepared_used() > 0);
}

#[test]
fn prepared_answers_end_with_what_they_were_made_from_and_with_time() {
    let source = Fixture::usual();
    let version = source.version.clone();
    let mut responder = responder(source, Transport::Udp);
    let (from, start) = (IpAddr::from([127, 0, 0, 1]), Instant::now());
    let bytes = query("web.service.rollcall", RecordType::A).to_vec().unwrap();
    let mut out = Vec::new();
    let mut ask = |now| assert!(responder.respond(&bytes, from, now, &mut out));
    (0..20).for_each(|_| ask(start));
    assert_eq!(version.picks(), 16, "each draw is a selection of its own, then they are dealt");
    version.change();
    ask(start);
    assert_eq!(version.picks(), 17, "what changed is seen by the next question");
    (0..20).for_each(|_| ask(start));
    assert_eq!(version.picks(), 32);
    ask(start + Duration::from_secs(1));
    assert_eq!(version.picks(), 33, "nothing is kept for long");
}

#[test]
fn an_answer_that_does_not_fit_is_cut_and_tcp_has_all_of_it() {
    let plain = query("many.service.rollcall", RecordType::SRV);
    let bytes = ask_bytes(Fixture::usual(), &plain.to_vec().unwrap(), Transport::Udp).unwrap();
    assert!(bytes.len() <= 512, "{}", bytes.len());
    let cut = Message::from_vec(&bytes).unwrap();
    assert!(cut.metadata.truncation);
    let (some, extra) = (cut.answers.len(), cut.additionals.len());
    assert!(some > 3 && some == extra, "{some} with {extra}: an answer goes with its address");

    let mut large = plain.clone();
    let mut edns = Edns::new();
    edns.set_max_payload(65_000);
    large.set_edns(edns);
    let bytes = ask_bytes(Fixture::usual(), &large.to_vec().unwrap(), Transport::Udp).unwrap();
    assert!((513..=1_232).contains(&bytes.len()), "{}", bytes.len());
    let more = Message::from_vec(&bytes).unwrap();
    assert!(more.metadata.truncation && more.answers.len() > some);
    assert_eq!(more.edns.unwrap().max_payload(), 1_232);

    let all = ask_message(Fixture::usual(), &plain, Transport::Tcp);
    assert_eq!((all.answers.len(), all.metadata.truncation), (100, false));
    assert_eq!(all.answers[..some], cut.answers[..], "the best are kept");
}

#[test]
fn edns_is_answered_with_edns_and_an_unknown_version_is_told_ours() {
    let mut message = query("web.service.rollcall", RecordType::A);
    let mut edns = Edns::new();
    edns.set_max_payload(100).set_dnssec_ok(true);
    message.set_edns(edns.clone());
    let answer = ask_message(Fixture::usual(), &message, Transport::Udp);
    let own = answer.edns.expect("EDNS for EDNS");
    assert_eq!((own.max_payload(), own.version(), own.flags().dnssec_ok), (1_232, 0, true));
    edns.set_version(7);
    message.set_edns(edns);
    let answer = ask_message(Fixture::usual(), &message, Transport::Udp);
    assert_eq!(u16::from(answer.metadata.response_code), 16, "BADVERS (RFC 6891 §9)");
    assert_eq!(answer.edns.expect("EDNS for EDNS").version(), 0);
}

#[test]
fn a_network_beyond_its_share_is_sent_to_tcp_with_no_more_bytes_than_it_sent() {
    let mut responder = fixture::responder_with(Fixture::usual(), Transport::Udp, 3);
    let (from, now) = (IpAddr::from([192, 0, 2, 1]), Instant::now());
    let bytes = query("web.service.rollcall", RecordType::A).to_vec().unwrap();
    let mut out = Vec::new();
    for _ in 0..3 {
        assert!(responder.respond(&bytes, from, now, &mut out));
        assert!(!Message::from_vec(&out).unwrap().answers.is_empty());
    }
    assert!(responder.respond(&bytes, from, now, &mut out));
    let cut = Message::from_vec(&out).unwrap();
    assert!(cut.metadata.truncation && cut.answers.is_empty() && out.len() <= bytes.len());
    assert!(
        !responder.respond(b"\x12\x34nonsense that is no query at all", from, now, &mut out),
        "and nonsense to nothing"
    );
}
