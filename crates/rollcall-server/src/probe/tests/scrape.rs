//! Metrics pages over real sockets.

use std::time::Duration;

use rollcall_types::{Endpoint, InstanceSpec};
use tokio::io::AsyncWriteExt as _;

use super::target::{Target, ok, read_head};
use super::{LONG, SHORT, prober, until};
use crate::probe::scrape::metrics_url;

#[tokio::test]
async fn a_page_of_metrics_tells_the_load_and_keeps_its_connection() {
    let target = Target::answering(ok("rollcall_load_cpu_ratio 0.5\nrollcall_load_p95_seconds 0.2\n")).await;
    let prober = prober();
    for _ in 0..3 {
        let load = prober.load(&target.url("/metrics"), LONG).await.unwrap();
        assert_eq!((load.cpu, load.p95), (Some(0.5), Some(Duration::from_millis(200))));
    }
    assert_eq!(target.accepted(), 1);
}

#[tokio::test]
async fn a_page_that_says_nothing_of_load_is_told_from_one_that_is_not_there() {
    let prober = prober();
    let garbage = Target::answering(ok("\u{0}\u{1}garbage")).await;
    assert_eq!(&*prober.load(&garbage.url("/"), LONG).await.unwrap_err(), "the page says nothing of load");
    let missing = Target::answering("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(&*prober.load(&missing.url("/"), LONG).await.unwrap_err(), "404 Not Found");
    let silent = Target::falling_silent_after(b"").await;
    assert!(prober.load(&silent.url("/"), SHORT).await.unwrap_err().contains("timeout"));
    assert!(prober.load("http://169.254.169.254/metrics", LONG).await.unwrap_err().contains("never probed"));
}

#[tokio::test]
async fn a_page_without_end_is_cut_and_what_came_counts() {
    let target = Target::new(|mut stream| async move {
        read_head(&mut stream).await;
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\nrollcall_load_cpu_ratio 0.5\n";
        let mut said = stream.write_all(head.as_bytes()).await;
        let part = vec![b'x'; 64 * 1_024];
        while said.is_ok() {
            said = stream.write_all(&part).await;
        }
    })
    .await;
    let load = prober().load(&target.url("/metrics"), LONG).await.unwrap();
    assert_eq!(load.cpu, Some(0.5));
    until("the end of the connection", || target.open() == 0).await;
}

fn spec(metadata: &[(&str, &str)], protocol: &str, host: &str) -> InstanceSpec {
    let endpoint = Endpoint {
        name: "main".parse().unwrap(),
        protocol: protocol.parse().unwrap(),
        host: host.try_into().unwrap(),
        port: 8_080_u64.try_into().unwrap(),
    };
    let metadata = metadata.iter().map(|(key, value)| (key.parse().unwrap(), value.parse().unwrap()));
    InstanceSpec {
        endpoints: Box::new([endpoint]),
        zone: None,
        region: None,
        version: None,
        tags: Default::default(),
        metadata: metadata.collect(),
        weight: Default::default(),
        lease: None,
        checks: Box::new([]),
        deregister_after: None,
    }
}

#[test]
fn a_metrics_page_is_a_path_on_the_first_endpoint() {
    let declared = [("metrics_path", "/metrics")];
    let url = |spec: &InstanceSpec| metrics_url(spec);
    assert_eq!(url(&spec(&declared, "http", "web")).as_deref(), Some("http://web:8080/metrics"));
    assert_eq!(url(&spec(&declared, "https", "fd00::1")).as_deref(), Some("https://[fd00::1]:8080/metrics"));
    assert_eq!(url(&spec(&[], "http", "web")), None);
    for elsewhere in ["http://other/", "@other/", ":9/", "metrics", ""] {
        assert_eq!(url(&spec(&[("metrics_path", elsewhere)], "http", "web")), None, "{elsewhere}");
    }
}
