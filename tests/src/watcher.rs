//! A watch stream (server-sent events), recorded as it comes.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::node::Node;
use crate::wait::DEADLINE;

/// Events that may wait to be looked at: more than any test causes.
const QUEUE_MAX: usize = 100_000;

/// One event of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Its name: `snapshot`, `put`, `delete`, …
    pub event: String,
    /// Its id, the revision; `None` when it has none.
    pub id: Option<u64>,
    /// Its data.
    pub data: Value,
}

/// A client that watches one node.
#[derive(Debug)]
pub struct Watcher {
    events: mpsc::Receiver<Seen>,
    reader: JoinHandle<()>,
}

impl Watcher {
    /// Opens `/v1/watch` with this query; `last_event_id` says what was seen before.
    ///
    /// # Panics
    /// When the node does not answer with a stream.
    pub async fn open(node: &Node, query: &str, last_event_id: Option<u64>) -> Self {
        Self::open_path(node, &format!("/v1/watch?{query}"), last_event_id).await
    }

    /// Opens the stream of what changes among the members.
    ///
    /// # Panics
    /// When the node does not answer with a stream.
    pub async fn open_cluster(node: &Node) -> Self {
        Self::open_path(node, "/v1/cluster/events", None).await
    }

    async fn open_path(node: &Node, path: &str, last_event_id: Option<u64>) -> Self {
        let mut call = node.get(path).timeout(Duration::from_secs(600));
        if let Some(id) = last_event_id {
            call = call.header("Last-Event-ID", id);
        }
        let response = call.open().await.expect("the node opens a watch");
        assert_eq!(response.status(), 200, "{path}");
        let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        assert!(kind.starts_with("text/event-stream"), "a watch answers {kind:?}");
        let (tx, events) = mpsc::channel(QUEUE_MAX);
        Self { events, reader: tokio::spawn(read(response, tx)) }
    }

    /// The next event; `None` when the stream has ended.
    ///
    /// # Panics
    /// When nothing comes.
    pub async fn next(&mut self) -> Option<Seen> {
        let next = tokio::time::timeout(DEADLINE, self.events.recv());
        next.await.expect("a watch that is open says something")
    }

    /// The next event that is a change: bookmarks and the snapshot are passed over. `None` when the stream has ended.
    ///
    /// # Panics
    /// When nothing comes.
    pub async fn next_change(&mut self) -> Option<Seen> {
        loop {
            let seen = self.next().await?;
            if !matches!(seen.event.as_str(), "bookmark" | "snapshot") {
                return Some(seen);
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read(mut response: reqwest::Response, events: mpsc::Sender<Seen>) {
    let mut parser = Parser::default();
    // A broken connection ends the stream like an orderly end does: what came before was seen.
    while let Ok(Some(chunk)) = response.chunk().await {
        for seen in parser.push(&chunk) {
            if events.send(seen).await.is_err() {
                return;
            }
        }
    }
}

/// Lines to events (WHATWG HTML §9.2.6), as far as a server of ours goes: LF line ends, no retry, no BOM.
#[derive(Debug, Default)]
struct Parser {
    rest: Vec<u8>,
    event: String,
    id: Option<u64>,
    data: String,
}

impl Parser {
    fn push(&mut self, chunk: &[u8]) -> Vec<Seen> {
        self.rest.extend_from_slice(chunk);
        let mut seen = Vec::new();
        while let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8(line).expect("a stream is UTF-8");
            seen.extend(self.line(line.trim_end_matches(['\r', '\n'])));
        }
        seen
    }

    fn line(&mut self, line: &str) -> Option<Seen> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            let (id, data) = (self.id.take(), std::mem::take(&mut self.data));
            // A block without data is dropped by the rules; a comment is one.
            return (!data.is_empty()).then(|| Seen {
                event,
                id,
                data: serde_json::from_str(&data).unwrap_or_else(|error| panic!("{error} in event data {data}")),
            });
        }
        match line.split_once(':').map(|(field, value)| (field, value.strip_prefix(' ').unwrap_or(value))) {
            Some(("event", value)) => value.clone_into(&mut self.event),
            Some(("id", value)) => self.id = value.parse().ok(),
            Some(("data", value)) => self.data.push_str(value),
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_however_the_bytes_are_cut() {
        let stream = b": hello\n\nevent: put\nid: 7\ndata: {\"a\":1}\n\nevent: bookmark\nid: 9\ndata: {}\n\n";
        for size in 1..stream.len() {
            let mut parser = Parser::default();
            let seen: Vec<Seen> = stream.chunks(size).flat_map(|chunk| parser.push(chunk)).collect();
            assert_eq!(seen.len(), 2, "in pieces of {size}");
            assert_eq!((seen[0].event.as_str(), seen[0].id), ("put", Some(7)));
            assert_eq!((seen[1].event.as_str(), seen[1].id), ("bookmark", Some(9)));
        }
    }
}
