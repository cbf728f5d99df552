//! Bytes to a question, and an answer to bytes (RFC 1035 §4, RFC 6891). Pure.
//!
//! What cannot be read as a query of one question is refused before the codec allocates anything by numbers that the packet
//! claims: the header is looked at first. Limits of an answer: a client that does not say more gets 512 bytes over UDP, one that
//! does [`UDP_BYTES_MAX`] at most, so that no answer is fragmented and forged senders gain little; over TCP 65,535.

use hickory_proto::op::{Edns, Header, HeaderCounts, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, RecordType};
use hickory_proto::serialize::binary::{BinDecodable as _, BinDecoder};

use super::reply::Reply;

/// Longest answer over UDP, for clients that take as much; also what we say that we take. DNS flag day 2020: what passes
/// every usual link in one piece.
pub(super) const UDP_BYTES_MAX: u16 = 1_232;
/// Longest answer over UDP for clients that do not say (RFC 1035 §4.2.1).
const UDP_BYTES_DEFAULT: u16 = 512;
/// Longest query; a question is at most 271 bytes, the rest is options.
pub(super) const QUERY_BYTES_MAX: usize = 4_096;
/// Bytes of a header.
const HEADER_BYTES: usize = 12;
/// Most records after the question: options, and room for a signature, which is ignored.
const EXTRA_RECORDS_MAX: u16 = 2;

/// How a query came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Transport {
    /// In a datagram.
    Udp,
    /// On a connection.
    Tcp,
}

impl Transport {
    /// The word for it.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// A query that can be answered.
#[derive(Debug, Clone)]
pub(super) struct Request {
    metadata: Metadata,
    /// What is asked.
    pub(super) query: Query,
    /// Whether the client speaks EDNS, and whether it wants signatures.
    edns: Option<bool>,
    /// Longest answer.
    limit: u16,
}

/// A query that cannot be answered.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    /// What is said instead, encoded.
    pub(super) bytes: Vec<u8>,
    /// Why.
    pub(super) code: ResponseCode,
}

/// Reads a query.
///
/// # Errors
/// `Some` with the refusal to send; `None` for what gets silence: answers, and what is shorter than a header. Answering these
/// would let two servers talk to each other for ever.
pub(super) fn read(bytes: &[u8], transport: Transport) -> Result<Request, Option<Refused>> {
    if bytes.len() < HEADER_BYTES {
        return Err(None);
    }
    let mut decoder = BinDecoder::new(bytes);
    let Ok(Header { metadata, counts }) = Header::read(&mut decoder) else { return Err(None) };
    if metadata.message_type == MessageType::Response {
        return Err(None);
    }
    let refuse = |code| Err(Some(refused(metadata, None, code)));
    if bytes.len() > QUERY_BYTES_MAX {
        return refuse(ResponseCode::FormErr);
    }
    if metadata.op_code != OpCode::Query {
        return refuse(ResponseCode::NotImp);
    }
    if !is_plain(counts) {
        return refuse(ResponseCode::FormErr);
    }
    if has_pointer(bytes) {
        return refuse(ResponseCode::FormErr);
    }
    let Ok(query) = Query::read(&mut decoder) else { return refuse(ResponseCode::FormErr) };
    let extra = Message::read_records(&mut decoder, usize::from(counts.additionals), true, metadata.op_code);
    let Ok((_, edns, _)) = extra else { return refuse(ResponseCode::FormErr) };
    let limit = match (transport, &edns) {
        (Transport::Tcp, _) => u16::MAX,
        (Transport::Udp, None) => UDP_BYTES_DEFAULT,
        (Transport::Udp, Some(edns)) => edns.max_payload().clamp(UDP_BYTES_DEFAULT, UDP_BYTES_MAX),
    };
    let version = edns.as_ref().map_or(0, Edns::version);
    let request = Request { metadata, query, edns: edns.map(|edns| edns.flags().dnssec_ok), limit };
    match request.refusal(version) {
        Some(code) => Err(Some(Refused { bytes: request.write(&Reply::bare(code)).0, code })),
        None => Ok(request),
    }
}

/// What a query asks, for people: `A web.service.consul.`; `None` of what is no query of one question.
pub(super) fn question(bytes: &[u8]) -> Option<String> {
    let mut decoder = BinDecoder::new(bytes);
    let counts = Header::read(&mut decoder).ok()?.counts;
    if !is_plain(counts) || has_pointer(bytes) {
        return None;
    }
    let query = Query::read(&mut decoder).ok()?;
    Some(format!("{} {}", query.query_type(), query.name()))
}

/// Whether the name in the question is compressed. Before it is only the header, so no name can be there to point to, and the
/// answer, which repeats the question in full, would be longer than what asked for it.
fn has_pointer(bytes: &[u8]) -> bool {
    let mut at = HEADER_BYTES;
    while let Some(&length) = bytes.get(at).filter(|length| **length > 0) {
        // RFC 1035 §4.1.4: the two highest bits tell a pointer from a label.
        if length & 0xc0 != 0 {
            return true;
        }
        at += 1 + usize::from(length);
    }
    false
}

/// One question and nothing that only answers have.
fn is_plain(counts: HeaderCounts) -> bool {
    counts.queries == 1 && counts.answers == 0 && counts.authorities == 0 && counts.additionals <= EXTRA_RECORDS_MAX
}

fn refused(metadata: Metadata, query: Option<Query>, code: ResponseCode) -> Refused {
    let mut message = Message::error_msg(metadata.id, metadata.op_code, code);
    message.metadata.recursion_desired = metadata.recursion_desired;
    message.add_queries(query);
    Refused { bytes: message.to_vec().unwrap_or_default(), code }
}

impl Request {
    /// Why a well-formed query is refused all the same.
    fn refusal(&self, version: u8) -> Option<ResponseCode> {
        match self.query.query_type() {
            _ if version > 0 => Some(ResponseCode::BADVERS),
            _ if self.query.query_class() != DNSClass::IN => Some(ResponseCode::Refused),
            RecordType::AXFR | RecordType::IXFR => Some(ResponseCode::NotImp),
            RecordType::OPT | RecordType::ZERO => Some(ResponseCode::FormErr),
            _ => None,
        }
    }

    /// The answer as bytes, and whether something had to be left out.
    ///
    /// When not all of it fits, answers are left out from the end, each with its additional records, and TC says so: who needs
    /// all of them asks by TCP, who does not has the best.
    pub(super) fn write(&self, reply: &Reply) -> (Vec<u8>, bool) {
        let limit = usize::from(self.limit);
        let mut kept = reply.answers.len();
        let mut bytes = self.encode(reply, kept, true);
        while bytes.len() > limit && kept > 0 {
            // By proportion first, since an answer may have a hundred records; then one by one.
            kept = (kept * limit / bytes.len()).min(kept - 1);
            bytes = self.encode(reply, kept, true);
        }
        if bytes.len() > limit {
            bytes = self.encode(reply, 0, false);
        }
        let is_cut = kept < reply.answers.len();
        (bytes, is_cut)
    }

    /// An answer that says nothing but "ask by TCP".
    pub(super) fn write_cut(&self) -> Vec<u8> {
        let mut message = self.message(&Reply { authoritative: true, ..Reply::bare(ResponseCode::NoError) });
        message.metadata.truncation = true;
        message.to_vec().unwrap_or_default()
    }

    fn encode(&self, reply: &Reply, kept: usize, with_authority: bool) -> Vec<u8> {
        let mut message = self.message(reply);
        let kept = &reply.answers[..kept];
        message.metadata.truncation = kept.len() < reply.answers.len() || !with_authority;
        message.answers = kept.iter().map(|(record, _)| record.clone()).collect();
        // An address for each answer, also when several have one target: HAProxy takes an address for one of them, and waits for
        // the others' own.
        message.additionals = kept.iter().flat_map(|(_, extra)| extra).cloned().collect();
        message.authorities = reply.authority.iter().filter(|_| with_authority).cloned().collect();
        // What is in a reply was checked when it was made; should it not fit into a message, nothing is sent.
        message.to_vec().unwrap_or_default()
    }

    fn message(&self, reply: &Reply) -> Message {
        let mut message = Message::error_msg(self.metadata.id, self.metadata.op_code, reply.code);
        message.metadata.recursion_desired = self.metadata.recursion_desired;
        message.metadata.authoritative = reply.authoritative;
        message.add_query(self.query.clone());
        if let Some(dnssec_ok) = self.edns {
            let mut edns = Edns::new();
            edns.set_max_payload(UDP_BYTES_MAX).set_dnssec_ok(dnssec_ok);
            message.set_edns(edns);
        }
        message
    }
}
