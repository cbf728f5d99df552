//! Who should serve a request: asked of any node, over HTTP and from the command line, with reasons.

use std::collections::BTreeSet;

use rollcall_tests::{Answer, Call, DEADLINE, Node, SharedCluster, registration, rollcall, segment, wait_until};
use serde_json::{Value, json};
use tokio::net::TcpListener;

fn select(node: &Node, service: &str, body: &Value) -> Call {
    node.post(&format!("/v1/services/{service}/select")).json(body)
}

async fn selected(node: &Node, service: &str, body: &Value) -> Value {
    select(node, service, body).answer().await.expect(200).json()
}

fn ids(answer: &Value) -> BTreeSet<String> {
    let picks = answer["picks"].as_array().expect("picks are a list");
    picks.iter().map(|pick| pick["id"].as_str().expect("an id").to_owned()).collect()
}

fn set(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(ToString::to_string).collect()
}

/// Registers instances of `service` on a node, and waits until every node has them.
async fn registered(cluster: &SharedCluster, service: &str, ids: &[&str]) {
    for (index, id) in ids.iter().enumerate() {
        cluster.node(index % 3).register(service, id, &registration(8080)).await.expect(201);
    }
    cluster.wait_caught_up().await;
}

/// The reason codes of each instance, by `GET …/explain`.
async fn reasons(node: &Node, service: &str, query: &str) -> Vec<(String, bool, Vec<String>)> {
    let told = node.get(&format!("/v1/services/{service}/explain{query}")).answer().await.expect(200).json();
    let mut lines: Vec<_> = told["instances"].as_array().expect("a list").iter().map(line).collect();
    lines.sort();
    lines
}

fn line(instance: &Value) -> (String, bool, Vec<String>) {
    let codes =
        instance["reasons"].as_array().expect("a list").iter().map(|it| it["code"].as_str().unwrap_or("?").to_owned());
    (instance["id"].as_str().unwrap_or("?").to_owned(), instance["is_in"] == true, codes.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn any_node_picks_what_was_registered_on_any_other() {
    let cluster = SharedCluster::get().await;
    registered(&cluster, "sel-any", &["a", "b", "c"]).await;
    for node in cluster.nodes() {
        let answer = selected(node, "SEL-any", &json!({"n": 3})).await;
        assert_eq!(ids(&answer), set(&["a", "b", "c"]), "{answer}");
        let first = &answer["picks"][0];
        assert_eq!((&first["service"], &first["state"]), (&json!("sel-any"), &json!("passing")));
        assert_eq!(first["endpoints"][0]["port"], 8080);
        assert!(first["score"].as_f64().is_some_and(|score| (0.0..=1.0).contains(&score)), "{first}");
        assert_eq!(
            (&answer["strategy"], &answer["eligible"], &answer["fail_open"]),
            (&json!("scored"), &json!(3), &json!(false))
        );
        let none = node.post("/v1/services/sel-any/select").answer().await.expect(200).json();
        assert_eq!(none["picks"].as_array().map(Vec::len), Some(1), "an empty body asks for one");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_was_told_to_take_out_it_never_picks_again_and_says_why() {
    let cluster = SharedCluster::get().await;
    registered(&cluster, "sel-out", &["drained", "gone", "kept", "shut"]).await;
    let act = async |path: &str, body: Value| {
        for node in cluster.nodes() {
            // Prepared before the change, so that this is about noticing it.
            selected(node, "sel-out", &json!({"n": 4})).await;
        }
        let path = format!("/v1/services/sel-out/instances/{path}");
        cluster.node(0).post(&path).json(&body).answer().await.expect(200).revision()
    };
    let picked = async |revision: u64| {
        let mut sets = BTreeSet::new();
        for node in cluster.nodes() {
            for body in [json!({"n": 100, "fail_open": true}), json!({"n": 4, "strategy": "round_robin"})] {
                let call = node.post(&format!("/v1/services/sel-out/select?min_revision={revision}"));
                sets.insert(ids(&call.json(&body).answer().await.expect(200).json()));
            }
        }
        assert_eq!(sets.len(), 1, "every node and every strategy picks from the same set: {sets:?}");
        sets.into_iter().next().unwrap_or_default()
    };
    let revision = act("drained/drain", json!({"reason": "deploy"})).await;
    assert_eq!(picked(revision).await, set(&["gone", "kept", "shut"]));
    let revision = act("shut/quarantine", json!({"ttl_ms": 60_000})).await;
    assert_eq!(picked(revision).await, set(&["gone", "kept"]));
    let gone = cluster.node(1).delete("/v1/services/sel-out/instances/gone").answer().await.expect(204);
    assert_eq!(picked(gone.revision()).await, set(&["kept"]));
    let out = |id: &str, code: &str| (id.to_owned(), false, code.to_owned());
    for node in cluster.nodes() {
        let told = reasons(node, "sel-out", "").await;
        let first =
            |(id, is_in, codes): (String, bool, Vec<String>)| (id, is_in, codes.into_iter().next().unwrap_or_default());
        let told: Vec<_> = told.into_iter().map(first).collect();
        assert_eq!(
            told,
            [out("drained", "draining"), ("kept".to_owned(), true, "best".to_owned()), out("shut", "quarantined")]
        );
    }
    let back = act("drained/undrain", json!({})).await;
    assert_eq!(picked(back).await, set(&["drained", "kept"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_sees_failing_it_does_not_pick_and_when_all_fail_it_says_so_or_fails_open() {
    let cluster = SharedCluster::get().await;
    // The kernel takes connections as long as it is bound.
    let target = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = target.local_addr().unwrap().port();
    let mut body = registration(port);
    let check = json!({"id": "tcp", "type": "tcp", "address": format!("127.0.0.1:{port}"), "interval_ms": 1_000, "timeout_ms": 500});
    body["checks"] = json!([check]);
    cluster.node(0).register("sel-sick", "sick", &body).await.expect(201);
    cluster.node(0).register("sel-sick", "well", &registration(8080)).await.expect(201);
    for node in cluster.nodes() {
        wait_until("both to be passing, and picked", DEADLINE, async || {
            let shown = node.get("/v1/services/sel-sick/instances/sick").answer().await;
            let picked = ids(&selected(node, "sel-sick", &json!({"n": 2})).await);
            // One that never passed is only starting, whatever its probes say.
            let is_passing = shown.json_or_null()["state"] == "passing";
            if is_passing && picked == set(&["sick", "well"]) {
                Ok(())
            } else {
                Err(format!("{picked:?} {}", shown.text()))
            }
        })
        .await;
    }
    drop(target);
    for node in cluster.nodes() {
        wait_until("the failing one to be critical", DEADLINE, async || {
            let shown = node.get("/v1/services/sel-sick/instances/sick").answer().await;
            let is_critical = shown.json_or_null()["state"] == "critical";
            // Asked at the same moment, the same node must not pick it.
            let picked = select(node, "sel-sick", &json!({"n": 2})).answer().await;
            if !is_critical {
                return Err(shown.text());
            }
            assert_eq!(ids(&picked.expect(200).json()), set(&["well"]));
            Ok(())
        })
        .await;
        let told = reasons(node, "sel-sick", "").await;
        assert_eq!((told[0].1, told[0].2[0].as_str()), (false, "critical"), "{told:?}");
    }
    let gone = cluster.node(0).delete("/v1/services/sel-sick/instances/well").answer().await.expect(204);
    let path = format!("/v1/services/sel-sick/select?min_revision={}", gone.revision());
    let refused = cluster.node(2).post(&path).answer().await.expect(503);
    assert_eq!((refused.code().as_str(), &refused.json()["reasons"]), ("no_healthy_instance", &json!({"critical": 1})));
    let open = cluster.node(2).post(&path).json(&json!({"fail_open": true})).answer().await.expect(200).json();
    assert_eq!((&open["fail_open"], &open["picks"][0]["id"]), (&json!(true), &json!("sick")));
    assert!(open["picks"][0]["reasons"].as_array().is_some_and(|codes| codes.contains(&json!("fail_open"))), "{open}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capability_is_asked_for_across_services() {
    let cluster = SharedCluster::get().await;
    let define = json!({"capabilities": ["sel.resize"]});
    for service in ["sel-cap-a", "sel-cap-b"] {
        cluster.node(0).put(&format!("/v1/services/{service}")).json(&define).answer().await.expect(201);
        cluster.node(0).register(service, "1", &registration(8080)).await.expect(201);
    }
    cluster.wait_caught_up().await;
    let ask = |body: Value| cluster.node(1).post("/v1/select").json(&body).answer();
    let answer = ask(json!({"capability": "sel.resize", "n": 5})).await.expect(200).json();
    let services: BTreeSet<_> =
        answer["picks"].as_array().unwrap().iter().map(|pick| pick["service"].to_string()).collect();
    assert_eq!(services.len(), 2, "{answer}");
    let unknown = ask(json!({"capability": "sel.resiez"})).await.expect(404);
    assert_eq!((unknown.code().as_str(), &unknown.json()["similar"]), ("capability_not_found", &json!(["sel.resize"])));
    let missing = ask(json!({})).await.expect(422);
    assert_eq!(missing.json()["errors"][0]["field"], "capability");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_cannot_be_answered_is_refused_with_the_field() {
    let cluster = SharedCluster::get().await;
    registered(&cluster, "sel-bad", &["a"]).await;
    let field = |answer: Answer| answer.expect(422).json()["errors"][0]["field"].as_str().map(str::to_owned);
    let node = cluster.node(0);
    for (body, expected) in [
        (json!({"n": 0}), "n"),
        (json!({"n": 1_000_000}), "n"),
        (json!({"weights": {"load": -1}}), "weights.load"),
        (json!({"weights": {"load": "NaN"}}), "weights.load"),
        (json!({"weights": {"load": 0, "cost": 0}}), "weights"),
        (json!({"version": "newest"}), "version"),
        (json!({"strategy": "best"}), "strategy"),
        (json!({"hash_key": "k".repeat(1 << 20)}), "hash_key"),
        (json!({"capability": "x"}), "capability"),
        (json!({"colour": "red"}), "colour"),
    ] {
        let answer = select(node, "sel-bad", &body).answer().await;
        assert_eq!(field(answer).as_deref(), Some(expected));
    }
    let large = node.post("/v1/services/sel-bad/select").body(vec![b' '; 3 << 20]).answer().await;
    assert_eq!(large.expect(413).code(), "body_too_large");
    let unknown = select(node, "sel-bda", &json!({})).answer().await.expect(404);
    assert_eq!(unknown.code(), "service_not_found");
    assert!(
        unknown.json()["similar"].as_array().is_some_and(|names| names.contains(&json!("sel-bad"))),
        "{}",
        unknown.text()
    );
    let none = select(node, "sel-bad", &json!({"zone": "nowhere"})).answer().await.expect(503);
    assert_eq!((none.code().as_str(), &none.json()["reasons"]), ("no_fitting_instance", &json!({"zone_mismatch": 1})));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_and_http_pick_from_the_same_set() {
    let cluster = SharedCluster::get().await;
    registered(&cluster, "sel-cli", &["a", "b", "c", "d"]).await;
    cluster.node(0).post("/v1/services/sel-cli/instances/d/drain").json(&json!({})).answer().await.expect(200);
    cluster.wait_caught_up().await;
    let told =
        rollcall(["select", "sel-cli", "--count", "10", "--output", "json", "--server", &cluster.servers()]).await;
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(ids(&told), ids(&selected(cluster.node(2), "sel-cli", &json!({"n": 10})).await));
    let keyed = json!({"strategy": "consistent_hash", "hash_key": "user-42"});
    let owner = ids(&selected(cluster.node(0), "sel-cli", &keyed).await);
    for node in cluster.nodes() {
        let arguments =
            ["select", "sel-cli", "--strategy", "consistent_hash", "--hash-key", "user-42", "--server", &node.url()];
        let told = rollcall(arguments).await;
        assert!(owner.iter().all(|id| told.stdout.contains(&format!("  {id}  "))), "{}", told.stdout);
    }
    let table = rollcall(["explain", "sel-cli", "--detail", "--server", &cluster.node(1).url()]).await;
    for part in ["draining", "changes with: `undrain`", "proximity", "strategy scored"] {
        assert!(table.stdout.contains(part), "{part} in {}", table.stdout);
    }
    let refused = rollcall(["select", "sel-clj", "--server", &cluster.node(1).url()]).await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("did you mean sel-cli?"), "{}", refused.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_explains_itself_and_the_past_is_explained_as_it_was() {
    let cluster = SharedCluster::get().await;
    registered(&cluster, "sel-past", &["a", "b"]).await;
    let node = cluster.node(1);
    let drained =
        node.post(&format!("/v1/services/sel-past/instances/{}/drain", segment("a"))).json(&json!({})).answer().await;
    let drained = drained.expect(200).revision();
    let answer = selected(node, "sel-past", &json!({"explain": true})).await;
    let lines = answer["explanation"]["instances"].as_array().expect("it explains");
    let lines: Vec<_> = lines.iter().map(line).collect();
    assert_eq!((lines[0].0.as_str(), lines[0].1, lines[1].0.as_str(), lines[1].1), ("b", true, "a", false), "{answer}");
    let terms = answer["explanation"]["instances"][0]["terms"].as_array().map(Vec::len);
    assert_eq!(terms, Some(5), "{answer}");
    let before = reasons(node, "sel-past", &format!("?at={}", drained - 1)).await;
    assert!(before.iter().all(|(_, is_in, _)| *is_in), "{before:?}");
    let now = reasons(node, "sel-past", &format!("?at={drained}")).await;
    assert_eq!((now[0].1, now[0].2[0].as_str()), (false, "draining"));
    let ahead = node.get(&format!("/v1/services/sel-past/explain?at={}", drained + 1_000_000)).answer().await;
    assert_eq!(ahead.expect(409).code(), "revision_unavailable");
    let never = node.get("/v1/services/sel-past/explain?at=0").answer().await;
    assert_eq!(never.expect(404).code(), "service_not_found");
}

/// Three instances that differ in version, zone and tags.
async fn three_kinds(cluster: &SharedCluster, service: &str) {
    let kinds =
        [("a", "1.4.2", "z1", json!(["gpu"])), ("b", "1.5.0", "z1", json!([])), ("c", "2.0.0", "z2", json!([]))];
    for (id, version, zone, tags) in kinds {
        let mut body = registration(8080);
        body["version"] = json!(version);
        body["zone"] = json!(zone);
        body["tags"] = tags;
        cluster.node(0).register(service, id, &body).await.expect(201);
    }
    cluster.wait_caught_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_given_only_what_fits_it() {
    let cluster = SharedCluster::get().await;
    three_kinds(&cluster, "sel-fits").await;
    let questions = [
        (json!({}), ["a", "b", "c"].as_slice()),
        (json!({"exclude": ["a", "nobody"]}), &["b", "c"]),
        (json!({"version": "^1.4"}), &["a", "b"]),
        (json!({"version": ">=1.5, <3"}), &["b", "c"]),
        (json!({"tags": ["gpu"]}), &["a"]),
        (json!({"zone": "z2"}), &["c"]),
        (json!({"version": "^1.4", "exclude": ["a"], "zone": "z1"}), &["b"]),
    ];
    for (mut question, fitting) in questions {
        question["n"] = json!(10);
        for node in cluster.nodes() {
            assert_eq!(ids(&selected(node, "sel-fits", &question).await), set(fitting), "{question}");
        }
    }
    let none = select(cluster.node(0), "sel-fits", &json!({"version": "^9"})).answer().await;
    assert_eq!(none.expect(503).code(), "no_fitting_instance");
}

#[tokio::test(flavor = "multi_thread")]
async fn preferences_and_distance_are_told_as_signal_value_weight_and_product_which_add_up() {
    let cluster = SharedCluster::get().await;
    three_kinds(&cluster, "sel-sums").await;
    let question = json!({
        "explain": true, "n": 3, "prefer": {"tags": ["gpu"]}, "client": {"zone": "z2"},
        "weights": {"specialization": 3, "proximity": 1},
    });
    let answer = selected(cluster.node(1), "sel-sums", &question).await;
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("no number: {value}"));
    let instances = answer["explanation"]["instances"].as_array().expect("it explains");
    let term = |id: &str, factor: &str| {
        let terms = instances.iter().find(|it| it["id"] == id).and_then(|it| it["terms"].as_array());
        terms.into_iter().flatten().find(|term| term["factor"] == factor).expect("every factor is told").clone()
    };
    assert_eq!(instances.len(), 3, "{answer}");
    for instance in instances {
        let terms = instance["terms"].as_array().expect("a list");
        for term in terms {
            assert!(!term["signal"].as_str().unwrap_or_default().is_empty(), "what was measured: {term}");
            let product = number(&term["value"]) * number(&term["weight"]);
            assert!((product - number(&term["product"])).abs() < 0.002, "{term}");
        }
        let sum: f64 = terms.iter().map(|term| number(&term["product"])).sum();
        assert!((sum - number(&instance["sum"])).abs() < 0.005, "{instance}");
        let score = ["sum", "health", "forecast", "ramp"].map(|part| number(&instance[part])).iter().product::<f64>();
        assert!((score - number(&instance["score"])).abs() < 0.005, "{instance}");
    }
    let weights =
        ["load", "performance", "proximity", "specialization", "cost"].map(|it| number(&term("a", it)["weight"]));
    assert_eq!(weights, [0.0, 0.0, 0.25, 0.75, 0.0]);
    let worth = |id, factor| number(&term(id, factor)["value"]);
    assert!(worth("a", "specialization") > worth("b", "specialization"), "the preferred tag: {answer}");
    assert!(worth("c", "proximity") > worth("a", "proximity"), "the zone of the client: {answer}");
    assert_eq!(answer["explanation"]["decided_by"]["weights"], "request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_a_big_service_sees_the_same_few_instances_at_every_node() {
    let cluster = SharedCluster::get().await;
    let many: Vec<String> = (1..=12).map(|index| format!("i-{index}")).collect();
    registered(&cluster, "sel-big", &many.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let few = json!({"selection": {"subset": 4}});
    cluster.node(0).put("/v1/services/sel-big").json(&few).settled().await.expect(201);
    cluster.wait_caught_up().await;
    let mut seen = BTreeSet::new();
    for client in 0..20 {
        let question = json!({"n": 100, "client": {"id": format!("client-{client}")}});
        let subset = ids(&selected(cluster.node(0), "sel-big", &question).await);
        assert_eq!(subset.len(), 4, "{subset:?}");
        for node in &cluster.nodes()[1..] {
            assert_eq!(ids(&selected(node, "sel-big", &question).await), subset);
        }
        seen.extend(subset);
    }
    assert_eq!(seen.len(), 12, "the clients together use all of it");
    let nameless = ids(&selected(cluster.node(2), "sel-big", &json!({"n": 100})).await);
    assert_eq!(nameless.len(), 12, "who does not say who it is sees all");
}

#[tokio::test(flavor = "multi_thread")]
async fn selections_are_counted_by_strategy_and_reason() {
    let cluster = SharedCluster::get().await;
    registered(&cluster, "sel-count", &["a"]).await;
    let node = cluster.node(2);
    selected(node, "sel-count", &json!({"strategy": "health_based"})).await;
    select(node, "sel-count", &json!({"strategy": "health_based", "zone": "nowhere"})).answer().await.expect(503);
    let metrics = node.metrics().await;
    for reason in ["drawn", "none_fits"] {
        let series = format!("rollcall_selection_total{{strategy=\"health_based\",reason=\"{reason}\"}} 1");
        assert!(metrics.contains(&series), "{series}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_list_from_kept_bytes_says_what_a_computed_one_says() {
    let cluster = SharedCluster::get().await;
    registered(&cluster, "sel-list", &["a", "b", "c"]).await;
    let list = "/v1/services/sel-list/instances";
    let same = async |revision: u64| {
        let mut listed = Vec::new();
        for node in cluster.nodes() {
            for filter in ["health=any", "health=healthy"] {
                let get = async |more: &str| {
                    let path = format!("{list}?{filter}&min_revision={revision}{more}");
                    let answer = node.get(&path).answer().await.expect(200);
                    (answer.items(), answer.header("etag").map(str::to_owned), answer.json()["next_cursor"].clone())
                };
                let (first, second) = (get("").await, get("").await);
                assert_eq!((&first, &second), (&get("&limit=1000").await, &first), "{filter}");
                listed = first.0;
            }
        }
        listed.iter().map(|item| item["id"].as_str().unwrap_or("?").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(same(0).await, ["a", "b", "c"]);
    let act = async |path: &str, body: Value| {
        cluster.node(0).post(&format!("{list}/{path}")).json(&body).answer().await.expect(200).revision()
    };
    let drained = act("a/drain", json!({"deadline_ms": 60_000})).await;
    assert_eq!(same(drained).await, ["b", "c"]);
    let kept = act("b/quarantine", json!({"ttl_ms": 60_000})).await;
    assert_eq!(same(kept).await, ["c"]);
    let brief = act("b/quarantine", json!({"ttl_ms": 1_000})).await;
    // It is over by the clock first, and is then written down as over, with a revision of its own.
    wait_until("the end of the quarantine to be written down", DEADLINE, async || {
        for node in cluster.nodes() {
            let answer = node.get(&format!("{list}?health=healthy&min_revision={brief}")).answer().await.expect(200);
            let is_over = |item: &Value| item["id"] == "b" && item["revision"].as_u64() > Some(brief);
            if !answer.items().iter().any(is_over) {
                return Err(answer.text());
            }
        }
        Ok(())
    })
    .await;
    assert_eq!(same(brief).await, ["b", "c"]);
    let gone = cluster.node(2).delete(&format!("{list}/c")).answer().await.expect(204).revision();
    assert_eq!(same(gone).await, ["b"]);
    // A definition with a slow start changes what is said of instances that begin to pass.
    let defined = cluster.node(1).put("/v1/services/sel-list").json(&json!({"slow_start_ms": 60_000})).answer().await;
    let revision = defined.expect(201).revision();
    let shown = cluster.node(0).get(&format!("{list}?min_revision={revision}")).answer().await.expect(200).items();
    assert!(shown.iter().all(|item| item["overlays"].to_string().contains("warming")), "{shown:?}");
}
