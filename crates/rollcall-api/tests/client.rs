//! The client against nodes that are a few lines of TCP: each connection gets one canned answer and is closed.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails by panicking")]

use std::time::Duration;

use futures_util::StreamExt;
use rollcall_api::client::{Client, ClientError, Options, Precondition};
use rollcall_api::query::ReadQuery;
use rollcall_api::{Code, Problem, Registration, RegistrationEndpoint, Retry, WatchEvent};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

const EMPTY_LIST: &str = r#"{"items":[],"revision":1,"next_cursor":null}"#;

/// A node that gives `answers` one by one, then nothing more, and tells each request it got.
async fn node(answers: Vec<String>) -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (tx, rx) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let request = read_request(&mut stream).await;
            tx.send(request).ok();
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.ok();
        }
    });
    (address, rx)
}

async fn read_request(stream: &mut tokio::net::TcpStream) -> String {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0usize) {
                return text;
            }
        }
        if stream.read_buf(&mut request).await.unwrap() == 0 {
            return text;
        }
    }
}

fn answer(status: &str, content_type: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\nx-rollcall-revision: 12\r\netag: \"7\"\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn ok(body: &str) -> String {
    answer("200 OK", "application/json", body)
}

fn problem(code: Code) -> String {
    let body = serde_json::to_string(&Problem::new(code, "test")).unwrap();
    answer(&code.status().to_string(), "application/problem+json", &body)
}

/// An event stream that breaks off after `frames`.
fn events(frames: &[&str]) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{}", frames.concat())
}

fn put(revision: u64) -> String {
    let data = format!(
        r#"{{"event":"config","revision":{revision},"at":"1970-01-01T00:00:00.000Z","service":"web","cause":"configured","actor":"me"}}"#
    );
    format!("event: config\nid: {revision}\ndata: {data}\n\n")
}

fn header<'r>(request: &'r str, name: &str) -> Option<&'r str> {
    request.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn web() -> Registration {
    Registration { endpoints: vec![RegistrationEndpoint::new("http", "10.0.0.7", 80)], ..Registration::default() }
}

#[tokio::test]
async fn a_write_moves_to_the_next_node_with_the_same_key() {
    let (first, mut first_saw) = node(vec![problem(Code::NoLeader)]).await;
    let (second, mut second_saw) = node(vec![ok(r#"{"revision":12,"created":true}"#)]).await;
    let client = Client::new([first, second]).unwrap();
    let reply = client.register("web", "a/b#1", &web(), Precondition::Absent).await.unwrap();
    assert_eq!((reply.revision, reply.created), (12, Some(true)));
    let (first_try, second_try) = (first_saw.recv().await.unwrap(), second_saw.recv().await.unwrap());
    assert!(first_try.starts_with("PUT /v1/services/web/instances/a%2Fb%231 HTTP/1.1"), "{first_try}");
    assert_eq!(header(&first_try, "if-none-match"), Some("*"));
    assert!(header(&first_try, "idempotency-key").is_some_and(|key| key.len() == 32));
    assert_eq!(header(&first_try, "idempotency-key"), header(&second_try, "idempotency-key"));
}

#[tokio::test]
async fn the_client_stays_with_the_node_that_answered() {
    let (good, mut saw) = node(vec![ok(EMPTY_LIST), ok(EMPTY_LIST)]).await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone_address = gone.local_addr().unwrap().to_string();
    drop(gone);
    let client = Client::new([gone_address, good]).unwrap();
    assert_eq!(client.members().await.unwrap().items, []);
    assert_eq!(client.members().await.unwrap().items, []);
    assert!(saw.recv().await.is_some() && saw.recv().await.is_some());
}

#[tokio::test]
async fn a_refusal_is_final_and_comes_with_its_problem() {
    let (address, mut saw) = node(vec![problem(Code::InvalidField)]).await;
    let client = Client::new([address]).unwrap();
    let error = client.register("web", "1", &web(), Precondition::None).await.unwrap_err();
    assert_eq!(error.problem().map(|problem| problem.code), Some(Code::InvalidField));
    assert_eq!(error.retry(), Retry::Never);
    assert!(saw.recv().await.is_some());
}

#[tokio::test]
async fn a_transfer_whose_outcome_is_unknown_is_not_sent_again() {
    let (first, _first_saw) = node(vec![problem(Code::TimeoutOutcomeUnknown)]).await;
    let (second, mut second_saw) = node(vec![ok("")]).await;
    let client = Client::new([first, second]).unwrap();
    let error = client.transfer_leader(Some("n2")).await.unwrap_err();
    assert_eq!(error.retry(), Retry::OutcomeUnknown);
    assert!(second_saw.try_recv().is_err());
}

#[tokio::test]
async fn patience_ends_with_the_last_problem() {
    let (address, _saw) = node(vec![problem(Code::NoQuorum)]).await;
    let options = Options { give_up_after: Duration::ZERO, ..Options::default() };
    let client = Client::with_options([address], options).unwrap();
    let error = client.delete_key("k", Precondition::None).await.unwrap_err();
    assert_eq!(error.problem().map(|problem| problem.code), Some(Code::NoQuorum));
}

#[tokio::test]
async fn keys_are_raw_bytes_and_their_absence_is_an_answer() {
    let (address, _saw) =
        node(vec![answer("200 OK", "application/octet-stream", "a\0b"), problem(Code::KeyNotFound)]).await;
    let client = Client::new([address]).unwrap();
    let found = client.get_key("a/b", &ReadQuery::default()).await.unwrap().unwrap();
    assert_eq!((&found.value[..], found.revision), (&b"a\0b"[..], Some(7)));
    assert_eq!(client.get_key("c", &ReadQuery::default()).await.unwrap(), None);
}

#[tokio::test]
async fn a_watch_resumes_at_another_node_after_the_last_change() {
    let (first, mut first_saw) =
        node(vec![events(&[": hello\n\n", &put(3), &put(4), "event: config\nid: 5\ndata: {\"ev"])]).await;
    let (second, mut second_saw) = node(vec![events(&[&put(5), &put(6)])]).await;
    let client = Client::new([first, second]).unwrap();
    let watch = client.watch(&["web", "db"], Some(2)).take(4);
    let revisions: Vec<u64> = watch.map(|event| event.unwrap().revision()).collect().await;
    assert_eq!(revisions, [3, 4, 5, 6]);
    let (opened, resumed) = (first_saw.recv().await.unwrap(), second_saw.recv().await.unwrap());
    assert!(opened.starts_with("GET /v1/watch?service=web%2Cdb&since=2 "), "{opened}");
    assert_eq!(header(&resumed, "last-event-id"), Some("4"));
}

#[tokio::test]
async fn a_snapshot_that_broke_comes_again_from_the_start() {
    let part = |part: u32, last: bool| {
        let data = format!(r#"{{"event":"snapshot","revision":9,"items":[],"part":{part},"last":{last}}}"#);
        if last { format!("id: 9\ndata: {data}\n\n") } else { format!("data: {data}\n\n") }
    };
    let (first, _first_saw) = node(vec![events(&[&part(0, false)])]).await;
    let (second, mut second_saw) = node(vec![events(&[&part(0, false), &part(1, true)])]).await;
    let client = Client::new([first, second]).unwrap();
    let parts: Vec<(u32, bool)> = client
        .watch(&[], None)
        .take(3)
        .map(|event| match event.unwrap() {
            WatchEvent::Snapshot(part) => (part.part, part.last),
            other => panic!("{other:?}"),
        })
        .collect()
        .await;
    assert_eq!(parts, [(0, false), (0, false), (1, true)]);
    assert_eq!(header(&second_saw.recv().await.unwrap(), "last-event-id"), None);
}

#[tokio::test]
async fn a_watch_ends_when_its_revision_is_compacted() {
    let (address, _saw) = node(vec![problem(Code::RevisionCompacted)]).await;
    let client = Client::new([address]).unwrap();
    let events: Vec<_> = client.watch(&[], Some(1)).collect().await;
    assert_eq!(events.len(), 1);
    let error = events.into_iter().next().unwrap().unwrap_err();
    assert_eq!(error.problem().map(|problem| problem.code), Some(Code::RevisionCompacted));
}

#[tokio::test]
async fn a_poll_without_changes_is_none() {
    let (address, mut saw) = node(vec!["HTTP/1.1 304 Not Modified\r\nconnection: close\r\n\r\n".to_owned()]).await;
    let client = Client::new([address]).unwrap();
    assert_eq!(client.poll("web", 8, Duration::from_millis(300)).await.unwrap(), None);
    let request = saw.recv().await.unwrap();
    assert!(request.starts_with("GET /v1/services/web/instances?since=8&wait=300ms "), "{request}");
}

#[tokio::test]
async fn a_snapshot_image_that_breaks_off_is_an_error() {
    let whole = answer("200 OK", "application/octet-stream", "image");
    let (address, _saw) = node(vec![whole.clone(), whole.replace("content-length: 5", "content-length: 9")]).await;
    let client = Client::new([address]).unwrap();
    let (bytes, chunks) = client.snapshot().await.unwrap();
    let chunks: Vec<_> = chunks.map(Result::unwrap).collect().await;
    assert_eq!((bytes, chunks.concat()), (Some(5), b"image".to_vec()));
    let (_, broken) = client.snapshot().await.unwrap();
    let broken: Vec<_> = broken.collect().await;
    assert!(matches!(broken.last(), Some(Err(ClientError::Transport { .. }))));
}

#[tokio::test]
async fn an_image_may_take_longer_than_an_answer_as_long_as_it_goes_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let attempt_timeout = Duration::from_millis(100);
    let options = Options { attempt_timeout, give_up_after: Duration::ZERO, ..Options::default() };
    let client = Client::with_options([listener.local_addr().unwrap().to_string()], options).unwrap();
    // A node that takes longer than an answer may, before the image and in the middle of it.
    let slow = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        let whole = answer("200 OK", "application/octet-stream", "image");
        for part in [&whole[..whole.len() - 2], &whole[whole.len() - 2..]] {
            tokio::time::sleep(attempt_timeout * 2).await;
            stream.write_all(part.as_bytes()).await.unwrap();
        }
    };
    let image = async {
        let (_, chunks) = client.snapshot().await.unwrap();
        chunks.map(Result::unwrap).collect::<Vec<_>>().await.concat()
    };
    assert_eq!(tokio::join!(slow, image).1, b"image");
}

#[tokio::test]
async fn an_image_that_does_not_go_on_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silence = Duration::from_millis(100);
    let options = Options { download_silence_max: silence, give_up_after: Duration::ZERO, ..Options::default() };
    let client = Client::with_options([listener.local_addr().unwrap().to_string()], options).unwrap();
    let stuck = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        let whole = answer("200 OK", "application/octet-stream", "image");
        stream.write_all(&whole.as_bytes()[..whole.len() - 2]).await.unwrap();
        stream
    };
    let image = async {
        let (_, chunks) = client.snapshot().await.unwrap();
        chunks.collect::<Vec<_>>().await
    };
    let (_stream, chunks) = tokio::join!(stuck, image);
    assert!(matches!(chunks.last(), Some(Err(ClientError::Timeout { .. }))), "{chunks:?}");
}

#[tokio::test]
async fn addresses_that_are_none_are_refused() {
    for address in ["", "http://", "https://a:1", "ftp://a", "a b", "http://a/v1", "http://a?x=1"] {
        assert!(matches!(Client::new([address]), Err(ClientError::Address { .. })), "{address}");
    }
    assert!(Client::new(Vec::<String>::new()).is_err());
    assert!(Client::new(["127.0.0.1:7400", "http://[::1]:7400", "n1:7400/"]).is_ok());
}

/// Sent as it is, the call would reach another resource: `instances/..` is the service.
#[tokio::test]
async fn an_id_that_a_url_takes_for_here_or_up_is_not_sent() {
    let (address, mut saw) = node(Vec::new()).await;
    let client = Client::new([address]).unwrap();
    for id in [".", ".."] {
        let refused = client.deregister("web", id).await.unwrap_err();
        assert!(matches!(&refused, ClientError::Request(why) if why.contains("'.' or '..'")), "{refused}");
        assert_eq!(refused.retry(), Retry::Never);
        client.get_key(id, &ReadQuery::default()).await.unwrap_err();
    }
    assert!(saw.try_recv().is_err());
}

#[tokio::test]
async fn an_event_of_a_kind_that_is_not_known_is_skipped() {
    let unknown = "event: eclipse\nid: 8\ndata: {\"event\":\"eclipse\",\"revision\":8}\n\n".to_owned();
    let (address, _) = node(vec![events(&[&put(7), &unknown, &put(9)])]).await;
    let client = Client::new([address]).unwrap();
    let seen: Vec<u64> = client.watch(&[], Some(6)).take(2).map(|event| event.unwrap().revision()).collect().await;
    assert_eq!(seen, [7, 9]);
}

/// The log remembers the refusal under the key of the request, and would give it again when the lock is free.
#[tokio::test]
async fn a_lock_that_is_held_is_asked_for_anew_under_another_key() {
    let (address, mut saw) = node(vec![problem(Code::LockHeld), ok(r#"{"revision":12,"lock_index":2}"#)]).await;
    let client = Client::new([address]).unwrap();
    let refused = client.acquire_key("a/b", "v", "s").await.unwrap_err();
    assert_eq!(refused.problem().map(|problem| problem.code), Some(Code::LockHeld));
    assert_eq!(client.acquire_key("a/b", "v", "s").await.unwrap().lock_index, Some(2));
    let (first, second) = (saw.recv().await.unwrap(), saw.recv().await.unwrap());
    assert!(first.starts_with("PUT /v1/kv/a%2Fb?acquire=s HTTP/1.1"), "{first}");
    assert_ne!(header(&first, "idempotency-key"), header(&second, "idempotency-key"));
}
