//! How the tests of Consul's API ask a node.

use http::Method;
use rollcall_tests::{Answer, Node};
use serde_json::Value;

pub(crate) async fn put(node: &Node, path: &str, body: impl AsRef<[u8]>) -> Answer {
    node.consul(Method::PUT, path).body(body.as_ref().to_vec()).led().await
}

pub(crate) async fn get(node: &Node, path: &str) -> Answer {
    node.consul(Method::GET, path).led().await
}

/// What a node answers with 200, as JSON.
pub(crate) async fn seen(node: &Node, path: &str) -> Value {
    get(node, path).await.expect(200).json()
}

/// When what was asked for last changed.
#[track_caller]
pub(crate) fn index(answer: &Answer) -> u64 {
    let index = answer.header("x-consul-index").unwrap_or_else(|| panic!("{} has no index", answer.line));
    index.parse().expect("an index is a number")
}

/// The answer is this line of text and nothing else.
#[track_caller]
pub(crate) fn said(answer: &Answer, status: u16, text: &str) {
    assert_eq!((answer.status, answer.text().as_str()), (status, text), "{}", answer.line);
    assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")), "{}", answer.line);
}
