//! A packet from anybody: what may be said of any answer, whatever was asked.

use std::net::IpAddr;
use std::time::Instant;

use hickory_proto::op::{Message, MessageType, ResponseCode};

use super::fixture::{Fixture, responder};
use super::message::Transport;
use super::responder::Responder;

/// Sends a packet through, over both transports, and once more to whoever has prepared an answer to it.
pub(crate) fn dns_packet(bytes: &[u8]) {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut responder = responder(Fixture::usual(), transport);
        let first = send(&mut responder, bytes, transport);
        let again = send(&mut responder, bytes, transport);
        assert_eq!(first.map(|answer| answer.metadata), again.map(|answer| answer.metadata));
    }
}

/// Sends a packet through and checks what may be said of any answer.
pub(super) fn send(responder: &mut Responder<Fixture>, packet: &[u8], transport: Transport) -> Option<Message> {
    let mut out = Vec::new();
    if !responder.respond(packet, IpAddr::from([127, 0, 0, 1]), Instant::now(), &mut out) {
        return None;
    }
    let answer = Message::from_vec(&out).unwrap_or_else(|error| panic!("{error}: {out:02x?} for {packet:02x?}"));
    assert_eq!(out[..2], packet[..2], "the id is that of the query");
    assert_eq!(answer.metadata.message_type, MessageType::Response);
    assert_eq!(packet[2] & 0x80, 0, "answers are not answered");
    if transport == Transport::Udp {
        assert!(out.len() <= 1_232, "{} bytes", out.len());
        assert!(answer.edns.is_some() || out.len() <= 512, "{} bytes", out.len());
    }
    if !matches!(answer.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain) {
        assert!(out.len() <= packet.len().max(12), "an error of {} bytes for {}", out.len(), packet.len());
    }
    Some(answer)
}
