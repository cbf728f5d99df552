//! The connection against nodes that are a few lines of TCP: what it follows, and where it goes when that breaks.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails by panicking")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use rollcall_tui::{Connection, LinkEvent, Message, Target};
use serde_json::json;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(30);

/// What a node does with the watch.
#[derive(Clone, Copy, PartialEq)]
enum Watch {
    /// Breaks off in the middle of an event, after a whole one.
    CutInMidEvent,
    /// Says one event and stays.
    Stays,
}

/// A node, until the test process ends. `peer` is the address that its members name; `has_events` whether its API has
/// events of the members.
fn node(revision: u64, watch: Watch, peer: Option<String>, has_events: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let peer = peer.clone();
            thread::spawn(move || answer(stream, revision, watch, peer, has_events));
        }
    });
    address
}

/// A client that goes away early is its own business.
fn answer(mut stream: TcpStream, revision: u64, watch: Watch, peer: Option<String>, has_events: bool) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut request = String::new();
    reader.read_line(&mut request).unwrap_or_default();
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|count| count > 0) && !line.trim().is_empty() {
        line.clear();
    }
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    let path = request.split(' ').nth(1).unwrap_or_default();
    let (text, stays) = match path.split('?').next().unwrap_or_default() {
        "/v1/watch" => {
            let bookmark = format!(
                "event: bookmark\nid: {revision}\ndata: {{\"event\":\"bookmark\",\"revision\":{revision}}}\n\n"
            );
            let half = "event: put\nid: 99\ndata: {\"event\":\"put\",\"revi";
            match watch {
                Watch::CutInMidEvent => (format!("{head}{bookmark}{half}"), false),
                Watch::Stays => (format!("{head}{bookmark}"), true),
            }
        }
        "/v1/cluster/events" if has_events => {
            let members = json!({"event": "members", "items": peer.iter().map(|peer| member(peer)).collect::<Vec<_>>(),
                "revision": 1, "next_cursor": null});
            (format!("{head}event: members\ndata: {members}\n\n"), true)
        }
        "/v1/cluster" => {
            let body = json!({"cluster_id": "0", "node": "n", "node_id": 1, "version": "0.1.0", "leader": "n", "term": 1,
                "revision": 1, "has_quorum": true, "voters": 1, "learners": 0, "services": 0, "instances": 0});
            let body = body.to_string();
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            (head + &body, false)
        }
        _ => ("HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".to_owned(), false),
    };
    let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
    if stays {
        // Until the client goes.
        let _ = reader.read_line(&mut line);
    }
}

fn member(address: &str) -> serde_json::Value {
    json!({"name": "other", "node_id": 2, "state": "alive", "role": "follower", "zone": null, "version": null,
        "addresses": {"http": address.trim_start_matches("http://")}, "since": null, "cause": ""})
}

/// The next message that `pick` takes.
async fn wait_for<T>(connection: &mut Connection, pick: impl Fn(&Message) -> Option<T>) -> T {
    let found = timeout(DEADLINE, async {
        loop {
            let message = connection.next().await.expect("the connection goes on");
            if let Some(found) = pick(&message) {
                return found;
            }
        }
    });
    found.await.expect("in time")
}

fn connected(message: &Message) -> Option<String> {
    match message {
        Message::Link(LinkEvent::Connected { node }) => Some(node.clone()),
        _ => None,
    }
}

fn revision(message: &Message) -> Option<u64> {
    match message {
        Message::Watch(event) => Some(event.revision()),
        _ => None,
    }
}

fn lost(message: &Message) -> Option<String> {
    match message {
        Message::Link(LinkEvent::Lost { node, .. }) => Some(node.clone()),
        _ => None,
    }
}

fn open(addresses: Vec<String>) -> Connection {
    Connection::open(&Target { addresses, actor: None }).unwrap()
}

#[tokio::test]
async fn a_stream_that_is_cut_in_mid_event_goes_on_at_the_next_node() {
    let second = node(8, Watch::Stays, None, true);
    let first = node(7, Watch::CutInMidEvent, None, true);
    let mut connection = open(vec![first.clone(), second.clone()]);
    assert_eq!(wait_for(&mut connection, connected).await, first);
    assert_eq!(wait_for(&mut connection, revision).await, 7);
    assert_eq!(wait_for(&mut connection, lost).await, first);
    assert_eq!(wait_for(&mut connection, connected).await, second);
    assert_eq!(wait_for(&mut connection, revision).await, 8, "half an event is none");
}

#[tokio::test]
async fn one_address_is_enough_since_the_members_name_the_others() {
    let other = node(8, Watch::Stays, None, true);
    let first = node(7, Watch::CutInMidEvent, Some(other.clone()), true);
    let mut connection = open(vec![first]);
    loop {
        // It may take more than one turn: the members are told beside the watch, which breaks at once.
        if wait_for(&mut connection, connected).await == other {
            break;
        }
    }
    assert_eq!(wait_for(&mut connection, revision).await, 8);
}

#[tokio::test]
async fn a_node_whose_api_has_no_member_events_is_followed_all_the_same() {
    let old = node(7, Watch::Stays, None, false);
    let mut connection = open(vec![old.clone()]);
    assert_eq!(wait_for(&mut connection, connected).await, old);
    assert_eq!(wait_for(&mut connection, revision).await, 7);
}

#[tokio::test]
async fn nodes_that_do_not_answer_are_tried_again_and_again() {
    let mut connection = open(vec!["127.0.0.1:1".to_owned(), "http://127.0.0.1:2/".to_owned()]);
    for node in ["http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:1"] {
        assert_eq!(wait_for(&mut connection, lost).await, node);
    }
}
