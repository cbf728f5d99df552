//! Clusters as messages: what a dashboard hears of one that is calm, and of the same in each kind of trouble.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use rollcall_api::{Timestamp, WatchEvent};
use rollcall_tui::{
    Answer, ClusterFigures, InstanceDetail, LinkEvent, Look, Message, Request, State, View, draw, update,
};
use serde_json::{Value, json};

/// When all stories happen.
pub(crate) const NOW: u64 = 1_795_233_550_000;
/// The node that the dashboard is connected to.
pub(crate) const NODE: &str = "http://10.0.0.1:7400";

pub(crate) fn at(seconds_ago: u64) -> Timestamp {
    Timestamp::from_millis(NOW - seconds_ago * 1_000)
}

/// A dashboard with its terminal.
pub(crate) struct Story {
    pub(crate) state: State,
}

impl Story {
    pub(crate) fn new(size: (u16, u16)) -> Self {
        Self::with_look(size, Look::default())
    }

    pub(crate) fn with_look(size: (u16, u16), look: Look) -> Self {
        let mut story = Self { state: State::new(look, size, at(0)) };
        story.hear(Message::Link(LinkEvent::Trying { node: NODE.to_owned(), place: (1, 3) }));
        story
    }

    pub(crate) fn hear(&mut self, message: Message) -> Vec<Request> {
        update(&mut self.state, message)
    }

    pub(crate) fn connect(&mut self) {
        self.hear(Message::Link(LinkEvent::Connected { node: NODE.to_owned() }));
    }

    pub(crate) fn watch(&mut self, event: Value) {
        let event: WatchEvent = serde_json::from_value(event).unwrap();
        self.hear(Message::Watch(Box::new(event)));
    }

    pub(crate) fn cluster(&mut self, event: Value) {
        let event = serde_json::from_value(event).unwrap();
        self.hear(Message::Cluster(Box::new(event)));
    }

    pub(crate) fn snapshot(&mut self, instances: Vec<Value>) {
        self.watch(json!({"event": "snapshot", "revision": 40, "items": instances, "part": 0, "last": true}));
    }

    pub(crate) fn health(&mut self, services: Vec<Value>) {
        let report = json!({
            "status": "passing", "services": {}, "instances": {}, "healthy": 0, "items": services, "revision": 40,
            "next_cursor": null,
        });
        let report = serde_json::from_value(report).unwrap();
        self.hear(Message::Answer(Answer::Health(Ok(Box::new(report)))));
    }

    pub(crate) fn service(&mut self, health: Value, instances: Vec<Value>) {
        let mut report = health.clone();
        report["items"] = Value::Array(instances);
        report["omitted"] = json!(0);
        report["revision"] = json!(40);
        let name = health["service"].as_str().unwrap().to_owned();
        let report = serde_json::from_value(report).unwrap();
        self.hear(Message::Answer(Answer::Service(name, Ok(Box::new(report)))));
    }

    pub(crate) fn figures(&mut self, has_quorum: bool, members: &Value) {
        let figures = figures(has_quorum, members);
        self.hear(Message::Answer(Answer::Cluster(Ok(Box::new(figures)))));
    }

    pub(crate) fn tick(&mut self, seconds: u64) -> Vec<Request> {
        self.hear(Message::Tick(Timestamp::from_millis(NOW + seconds * 1_000)))
    }

    pub(crate) fn press(&mut self, code: KeyCode) -> Vec<Request> {
        self.hear(Message::Key(KeyEvent::new(code, KeyModifiers::NONE)))
    }

    pub(crate) fn type_in(&mut self, text: &str) {
        text.chars().for_each(|letter| drop(self.press(KeyCode::Char(letter))));
    }

    /// The screen as text.
    pub(crate) fn screen(&self, (width, height): (u16, u16)) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let frame = terminal.draw(|frame| draw(&self.state, frame)).unwrap();
        let lines = frame.buffer.content.chunks(usize::from(width));
        let text = |line: &[ratatui::buffer::Cell]| line.iter().map(|cell| cell.symbol()).collect::<String>();
        lines.map(|line| text(line).trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }
}

pub(crate) fn instance(service: &str, id: &str, state: &str) -> Value {
    json!({
        "service": service, "id": id,
        "endpoints": [{"name": "http", "protocol": "http", "host": "10.0.1.7", "port": 8080}],
        "zone": "a", "region": null, "version": "1.4.2", "tags": ["api"], "metadata": {"owner": "shop"}, "weight": 10,
        "lease": null, "checks": [], "deregister_after_ms": null, "lifecycle": {"state": "active"},
        "state": state, "since": at(90), "cause": if state == "critical" { "confirmed" } else { "observed" },
        "score": if state == "critical" { 0.12 } else { 0.98 }, "trend": "stable", "forecast": null, "overlays": [],
        "looking": 2, "failing": if state == "critical" { 2 } else { 0 },
        "registered_at": at(9_000), "modified_at": at(9_000), "registered_by": "deploy",
        "created_revision": 7, "revision": 7,
    })
}

pub(crate) fn health(service: &str, status: &str, healthy: u64, states: Value, predicted: u64) -> Value {
    let instances: u64 = states.as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    json!({
        "service": service, "status": status, "instances": instances, "healthy": healthy, "states": states,
        "predicted": predicted,
    })
}

pub(crate) fn member(name: &str, state: &str, role: &str, rtt_us: Option<u64>) -> Value {
    json!({
        "name": name, "node_id": 1, "state": state, "role": role, "zone": &name[name.len() - 1..], "version": "0.1.0",
        "addresses": {"http": "10.0.0.1:7400"}, "since": at(if state == "alive" { 7_000 } else { 12 }),
        "cause": if state == "alive" { "its heartbeat advances" } else { "silent, and two others agree" },
        "gossip": {
            "generation": 1, "silence_ms": 100, "patience_ms": 2_000, "rtt_us": rtt_us, "lateness": "on_time",
            "witnesses": [], "flaps": 0, "is_unheard": false, "rival_generation": null,
        },
    })
}

pub(crate) fn members(items: Vec<Value>, isolated_since: Option<Timestamp>, faults: Value) -> Value {
    json!({
        "items": items, "revision": 40, "next_cursor": null,
        "observer": {
            "name": "node-a", "generation": 1, "sealing_key": "k", "lateness": "on_time", "stalls": 0,
            "isolated_since": isolated_since, "outranked_by": null, "link_faults": faults,
        },
    })
}

pub(crate) fn three_nodes() -> Vec<Value> {
    vec![
        member("node-a", "alive", "leader", None),
        member("node-b", "alive", "follower", Some(640)),
        member("node-c", "alive", "follower", Some(31_000)),
    ]
}

fn figures(has_quorum: bool, members: &Value) -> ClusterFigures {
    let leader = if has_quorum { json!("node-a") } else { Value::Null };
    let raft = json!({
        "node": "node-a", "role": if has_quorum { "leader" } else { "candidate" }, "term": 3, "leader": leader,
        "commit_index": 40, "applied_index": 40, "last_log_index": 41, "snapshot_index": 30, "purged_index": 20,
        "voters": ["node-a", "node-b", "node-c"], "learners": [],
        "followers": if has_quorum { json!([{"node": "node-b", "matched_index": 40, "lag": 0},
            {"node": "node-c", "matched_index": 31, "lag": 9}]) } else { json!([]) },
        "quorum_ack_age_ms": if has_quorum { json!(12) } else { Value::Null },
    });
    let status = json!({
        "cluster_id": "0", "node": "node-a", "node_id": 1, "version": "0.1.0", "leader": leader, "term": 3,
        "revision": 40, "has_quorum": has_quorum, "voters": 3, "learners": 0, "services": 3, "instances": 6,
    });
    let raft: rollcall_api::RaftStatus = serde_json::from_value(raft).unwrap();
    let others = members["items"].as_array().unwrap().iter().filter(|member| member["name"] != "node-a");
    let others = others.map(|member| {
        let sees = (member["state"] == "alive").then(|| serde_json::from_value(members.clone()).unwrap());
        (member["name"].as_str().unwrap().to_owned(), sees)
    });
    ClusterFigures {
        status: serde_json::from_value(status).unwrap(),
        members: serde_json::from_value(members.clone()).unwrap(),
        leader: has_quorum.then(|| raft.clone()),
        others: others.collect(),
        raft,
    }
}

/// Three services, six instances, everything passes.
pub(crate) fn calm(size: (u16, u16)) -> Story {
    let mut story = Story::new(size);
    make_calm(&mut story);
    story
}

pub(crate) fn make_calm(story: &mut Story) {
    story.connect();
    let members = members(three_nodes(), None, json!([]));
    let mut event = members.clone();
    event["event"] = json!("members");
    story.cluster(event);
    story.snapshot(instances("passing"));
    story.health(vec![
        health("billing", "passing", 2, json!({"passing": 2}), 0),
        health("search", "passing", 1, json!({"passing": 1}), 0),
        health("web", "passing", 3, json!({"passing": 3}), 0),
    ]);
    for score in [0.99, 0.97, 0.98] {
        let with_score = |mut instance: Value| {
            instance["score"] = json!(score);
            instance
        };
        let web = instances("passing").into_iter().filter(|it| it["service"] == "web").map(with_score).collect();
        story.service(health("web", "passing", 3, json!({"passing": 3}), 0), web);
    }
    story.figures(true, &members);
}

fn instances(search: &str) -> Vec<Value> {
    let passing =
        [("billing", "billing-1"), ("billing", "billing-2"), ("web", "web-1"), ("web", "web-2"), ("web", "web-3")];
    let mut all: Vec<Value> = passing.iter().map(|(service, id)| instance(service, id, "passing")).collect();
    all.push(instance("search", "search-1", search));
    all
}

/// A node is dead, `search` has nothing left, one of `web` is critical and one drains.
pub(crate) fn failing(size: (u16, u16)) -> Story {
    let mut story = calm(size);
    let change = |service: &str, id: &str, state: &str, cause: &str| json!({"service": service, "id": id, "from": "passing", "state": state, "cause": cause, "since": at(8)});
    let items = vec![
        change("search", "search-1", "critical", "confirmed"),
        change("web", "web-2", "critical", "confirmed"),
        change("billing", "billing-2", "warning", "path"),
    ];
    story.watch(json!({"event": "state", "revision": 41, "at": at(7), "items": items}));
    let mut drained = instance("web", "web-3", "passing");
    drained["lifecycle"] = json!({"state": "draining", "reason": "deploy 42"});
    story.watch(json!({"event": "put", "revision": 42, "at": at(5), "service": "web", "instance": drained,
        "cause": "deploy 42", "actor": "ann"}));
    story.cluster(json!({"event": "member", "at": at(12), "kind": "state", "member": "node-c", "state": "dead",
        "cause": "silent, and two others agree"}));
    let mut nodes = three_nodes();
    nodes[2] = member("node-c", "dead", "follower", Some(31_000));
    story.figures(true, &members(nodes, None, json!([])));
    story
}

/// `web-2` is predicted to fail.
pub(crate) fn predicted(size: (u16, u16)) -> Story {
    let mut story = calm(size);
    story.health(vec![
        health("billing", "passing", 2, json!({"passing": 2}), 0),
        health("search", "passing", 1, json!({"passing": 1}), 0),
        health("web", "passing", 3, json!({"passing": 3}), 1),
    ]);
    for (step, latency) in [300.0, 420.0, 540.0, 700.0].into_iter().enumerate() {
        story.tick(step as u64 * 10);
        let mut web = instance("web", "web-2", "passing");
        web["trend"] = json!("degrading");
        web["score"] = json!(0.9 - step as f64 * 0.1);
        web["forecast"] = json!({
            "outlook": "predicted_failure", "time_to_failure_ms": 120_000, "earliest_ms": 60_000,
            "likely_ms": 80_000, "latest_ms": 125_000, "confidence": 0.83, "signal": "latency", "now": latency,
            "threshold": 2_000.0, "slope_per_minute": 720.0,
        });
        let web = vec![instance("web", "web-1", "passing"), web, instance("web", "web-3", "passing")];
        story.service(health("web", "passing", 3, json!({"passing": 3}), 1), web);
    }
    story.figures(true, &members(three_nodes(), None, json!([])));
    story
}

/// The node that is connected to is cut off from the two others.
pub(crate) fn partitioned(size: (u16, u16)) -> Story {
    let mut story = calm(size);
    story.cluster(json!({"event": "member", "at": at(20), "kind": "isolated", "member": "node-a",
        "cause": "it hears 0 of 2 others"}));
    let nodes = vec![
        member("node-a", "alive", "candidate", None),
        member("node-b", "suspect", "follower", None),
        member("node-c", "suspect", "follower", None),
    ];
    let faults = json!([{"from": "node-b", "to": "node-a"}, {"from": "node-c", "to": "node-a"}]);
    story.figures(false, &members(nodes, Some(at(20)), faults));
    story
}

/// No node answers any more.
pub(crate) fn disconnected(size: (u16, u16)) -> Story {
    let mut story = calm(size);
    story.hear(Message::Link(LinkEvent::Lost {
        node: NODE.to_owned(),
        reason: "no answer: connection refused".to_owned(),
    }));
    story.hear(Message::Link(LinkEvent::Trying { node: "http://10.0.0.2:7400".to_owned(), place: (2, 3) }));
    story.tick(23);
    story
}

/// What the observers of `web-2` see.
pub(crate) fn detail(story: &mut Story) {
    let check = json!({
        "id": "http", "capability": null, "state": "passing", "cause": "observed", "explanation": "it answers",
        "since": at(90), "latency_ms": 41.5, "error_rate": 0.0, "next_probe_in_ms": 800,
        "last": {"at": at(1), "outcome": "passed", "latency_ms": 40.0, "output": "200 OK"},
    });
    let sees = json!({
        "state": "passing", "cause": "observed", "explanation": "it answers", "since": at(90), "check": null,
        "score": 0.93, "terms": [{"signal": "connectivity", "value": 1.0, "weight": 0.4},
            {"signal": "latency", "value": 0.62, "weight": 0.3}], "lease": null, "checks": [check],
    });
    let health = json!({
        "service": "web", "id": "web-2", "node": "node-a", "state": "passing", "cause": "observed",
        "explanation": "so it is seen by those who look", "since": at(90), "score": 0.93, "trend": "stable",
        "time_to_failure_ms": null, "flap": "calm", "looking": 2, "failing": 0,
        "observers": [{"node": "node-a", "duty": "prober", "says": null, "sees": sees},
            {"node": "node-b", "duty": "prober", "says": {"state": "passing", "counts": true, "score": 0.91,
                "trend": "stable", "time_to_failure_ms": null, "flap": "calm"}, "sees": null, "error": "it did not answer in time"},
            {"node": "node-c", "duty": "confirmer", "says": null, "sees": null}],
        "vouching": [],
    });
    let history = json!([
        {"revision": 9, "at": at(90), "actor": "rollcall", "via": "node-a", "service": "web", "instance": "web-2",
            "action": "state", "cause": "observed", "from": "unknown", "state": "passing"},
        {"revision": 7, "at": at(91), "actor": "deploy", "via": "node-a", "service": "web", "instance": "web-2",
            "action": "registered", "cause": null},
    ]);
    let detail = InstanceDetail {
        health: serde_json::from_value(health).unwrap(),
        history: serde_json::from_value(history).unwrap(),
    };
    let answer = Answer::Instance("web".to_owned(), "web-2".to_owned(), Ok(Box::new(detail)));
    story.hear(Message::Answer(answer));
}

/// The five stories by name.
pub(crate) type Tell = fn((u16, u16)) -> Story;
pub(crate) const STORIES: [(&str, Tell); 5] = [
    ("calm", calm),
    ("failing", failing),
    ("predicted", predicted),
    ("partitioned", partitioned),
    ("disconnected", disconnected),
];

/// Every view by name.
pub(crate) fn views() -> [(&'static str, View); 8] {
    [
        ("overview", View::Overview),
        ("services", View::Services),
        ("service", View::Service("web".to_owned())),
        ("instance", View::Instance("web".to_owned(), "web-2".to_owned())),
        ("explain", View::Explain("web".to_owned())),
        ("graph", View::Graph),
        ("cluster", View::Cluster),
        ("events", View::Events),
    ]
}

/// Answers whatever may have been asked for, as a calm cluster does.
pub(crate) fn make_answers(story: &mut Story) {
    story.health(vec![
        health("billing", "passing", 2, json!({"passing": 2}), 0),
        health("search", "passing", 1, json!({"passing": 1}), 0),
        health("web", "passing", 3, json!({"passing": 3}), 0),
    ]);
    story.figures(true, &members(three_nodes(), None, json!([])));
}
