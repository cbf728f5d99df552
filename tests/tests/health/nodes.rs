//! A node whose disk fills says so to all others before it is full.

use std::time::{Duration, Instant};

use rollcall_tests::{Cluster, Node, Watcher, note, wait_until};
use serde_json::{Value, json};

use crate::support::all;

/// Longest wait for what a disk brings that is full after 20 s.
const FILLING: Duration = Duration::from_secs(90);
/// What the disk has at first, and what it loses in a second.
const FREE: u64 = 1_600_000_000;
const LOST: u64 = 66_000_000;

/// What `node` shows of the disk of the member `name`; `null` while nothing is expected.
async fn disk_of(node: &Node, name: &str) -> Value {
    let members = node.get("/v1/cluster/members").answer().await.expect(200).json();
    let items = members["items"].as_array().into_iter().flatten();
    let forecasts = items.filter(|member| member["name"] == name).filter_map(|member| member["forecasts"].as_array());
    forecasts.flatten().find(|forecast| forecast["signal"] == "disk_free").cloned().unwrap_or_default()
}

/// The next change of what the member `name` expects of its disk to this outlook, as a follower of the events is told it.
async fn next_of(follower: &mut Watcher, name: &str, outlook: &Value) -> Value {
    loop {
        let seen = follower.next().await.expect("the stream goes on");
        let items = seen.data["items"].as_array().into_iter().flatten().filter(|_| seen.event == "forecast");
        let mut of_disk = items.filter(|item| item["member"] == name && item["signal"] == "disk_free");
        if let Some(item) = of_disk.find(|item| item["outlook"] == *outlook) {
            return item.clone();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_disk_fills_is_predicted_to_fail_on_every_node_and_no_more_when_there_is_room() {
    let arguments = Cluster::of(3).with_fault_injection().argument("--forecast-bucket=100ms");
    let cluster = arguments.argument("--forecast-window=20").start().await;
    let nodes = all(&cluster);
    let name = nodes[0].name();

    let mut follower = Watcher::open_cluster(nodes[2]).await;
    let began = Instant::now();
    for node in &nodes {
        wait_until(&format!("{} to know that the disk of {name} fills", node.name()), FILLING, async || {
            let lost = u64::try_from(began.elapsed().as_millis()).unwrap() * LOST / 1_000;
            nodes[0].pretend_disk_free(Some(FREE.saturating_sub(lost).max(1 << 20))).await;
            let disk = disk_of(node, name).await;
            if disk["outlook"] == "predicted_failure" { Ok(()) } else { Err(disk.to_string()) }
        })
        .await;
        let disk = disk_of(node, name).await;
        assert_eq!(disk["threshold"], json!(268_435_456.0), "{disk}");
        assert!(disk["confidence"].as_f64() >= Some(0.4) && disk["now"].as_f64() < Some(1.6e9), "{disk}");
        note(format_args!("{}: {disk}", node.name()));
    }
    assert!(nodes[0].log().contains("this node is predicted to fail: disk_free"), "it does not say so in its log");

    let told = next_of(&mut follower, name, &json!("predicted_failure")).await;
    assert_eq!(
        (&told["signal"], &told["forecast"]["threshold"]),
        (&json!("disk_free"), &json!(268_435_456.0)),
        "{told}"
    );

    nodes[0].pretend_disk_free(None).await;
    for node in &nodes {
        wait_until(&format!("{} to know that {name} has room", node.name()), FILLING, async || {
            let disk = disk_of(node, name).await;
            if disk.is_null() { Ok(()) } else { Err(disk.to_string()) }
        })
        .await;
    }
    let told = next_of(&mut follower, name, &Value::Null).await;
    assert_eq!((&told["signal"], &told["forecast"]), (&json!("disk_free"), &Value::Null), "{told}");
}
