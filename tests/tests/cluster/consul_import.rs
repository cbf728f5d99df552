//! `rollcall import consul`: what one cluster holds, copied into another through the API that both speak.

use rollcall_tests::{Cluster, Node, rollcall};
use serde_json::{Value, json};

use crate::consul_calls::{put, seen};

/// What the command printed; it must succeed.
async fn run(arguments: &[&str], more: &[&str]) -> String {
    let finished = rollcall(arguments.iter().chain(more)).await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    finished.stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn services_and_keys_are_copied_and_a_second_time_changes_nothing() {
    let (source, target) = (Cluster::start(1).await, Cluster::start(1).await);
    let (from, to) = (source.node(0), target.node(0));
    put(
        from,
        "/v1/agent/service/register",
        r#"{"Name":"web","ID":"web-1","Address":"10.0.0.7","Port":80,"Tags":["v1"],"Meta":{"team":"blue"}}"#,
    )
    .await
    .expect(200);
    put(
        from,
        "/v1/catalog/register",
        r#"{"Node":"db-host","Address":"10.0.0.9","Service":{"Service":"pg","ID":"pg-1","Port":5432}}"#,
    )
    .await
    .expect(200);
    put(from, "/v1/kv/app/a%2Fb%20%C3%A7?flags=42", vec![0, 159, 146, 150]).await.expect(200);
    put(from, "/v1/kv/app/empty", "").await.expect(200);
    put(from, "/v1/kv/other", "x").await.expect(200);
    let url = |node: &Node| format!("http://127.0.0.1:{}", node.options().consul);
    let (source_url, target_url) = (url(from), url(to));
    let arguments = ["import", "consul", &source_url, "--to", &target_url];

    let would = run(&arguments, &["--dry-run"]).await;
    assert_eq!(would, "would copy 2 instances of 2 services\nwould copy 3 keys\n");
    assert_eq!(seen(to, "/v1/catalog/services").await, json!({"consul": []}));

    let done = run(&arguments, &["--prefix", "app/"]).await;
    assert_eq!(done, "copied 2 instances of 2 services\ncopied 2 keys\n");
    let web = seen(to, "/v1/catalog/service/web").await[0].clone();
    assert_eq!(
        (&web["ServiceAddress"], &web["ServicePort"], &web["ServiceTags"], &web["ServiceMeta"]),
        (&json!("10.0.0.7"), &json!(80), &json!(["v1"]), &json!({"team": "blue"}))
    );
    let pg = seen(to, "/v1/catalog/service/pg").await[0].clone();
    assert_eq!(
        (&pg["Node"], &pg["Address"], &pg["ServiceID"]),
        (&json!("db-host"), &json!("10.0.0.9"), &json!("pg-1"))
    );
    let key = seen(to, "/v1/kv/app/a%2Fb%20%C3%A7").await[0].clone();
    assert_eq!((&key["Flags"], &key["Value"]), (&json!(42), &json!("AJ+Slg==")));
    let keys = seen(to, "/v1/kv/?keys").await;
    assert_eq!(keys, json!(["app/a/b ç", "app/empty"]));

    let index = |key: Value| key[0]["ModifyIndex"].clone();
    let before = index(seen(to, "/v1/kv/app/empty").await);
    run(&arguments, &["--prefix", "app/"]).await;
    assert_eq!(index(seen(to, "/v1/kv/app/empty").await), before);

    from.kill9();
    let refused = rollcall(arguments).await;
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    assert!(refused.stderr.contains("does not answer"), "{}", refused.stderr);
}
