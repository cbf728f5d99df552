//! What answers look like, from a catalogue and nodes alone.

use rollcall_catalog::{Actor, Command, Precondition, Request, StatusChange};
use rollcall_gossip::State;
use rollcall_types::{
    CheckKind, CheckSpec, Endpoint, Host, InstanceSpec, LeaseSpec, Millis, Port, Revision, Text, Weight,
};
use serde_json::{Value, json};

use super::*;
use crate::consul::nodes::Member;

/// A catalogue that tests write into, and the members beside it.
struct Story {
    catalog: Catalog,
    members: Vec<Member>,
}

fn member(name: &str, state: State) -> Member {
    Member {
        id: format!("id-of-{name}"),
        name: name.parse().unwrap(),
        address: "10.9.0.1".to_owned(),
        port: 7401,
        state: Some(state),
        is_voter: true,
        is_awaited: false,
        meta: vec![("consul-network-segment".to_owned(), String::new())],
    }
}

fn spec(metadata: &[(&str, &str)]) -> InstanceSpec {
    let endpoint = Endpoint {
        name: "main".parse().unwrap(),
        protocol: "tcp".parse().unwrap(),
        host: Host::try_from("10.0.0.7").unwrap(),
        port: Port::try_from(8080).unwrap(),
    };
    let pairs = metadata.iter().map(|(key, value)| (key.parse().unwrap(), value.parse().unwrap()));
    InstanceSpec {
        endpoints: Box::new([endpoint]),
        zone: None,
        region: None,
        version: None,
        tags: ["v1", "primary"].into_iter().map(|tag| tag.parse().unwrap()).collect(),
        metadata: pairs.collect(),
        weight: Weight::try_from(3).unwrap(),
        lease: None,
        checks: Box::default(),
        deregister_after: None,
    }
}

fn http_check(id: &str) -> CheckSpec {
    CheckSpec {
        id: id.parse().unwrap(),
        name: Text::default(),
        notes: "is it well?".parse().unwrap(),
        capability: None,
        kind: CheckKind::Http { url: "http://10.0.0.7:8080/health".parse().unwrap() },
        interval: Millis::new(10_000),
        timeout: Millis::new(1_500),
        failures_before_critical: 3,
        successes_before_passing: 1,
    }
}

impl Story {
    fn new() -> Self {
        Self { catalog: Catalog::default(), members: vec![member("n1", State::Alive), member("n2", State::Suspect)] }
    }

    fn apply(&mut self, command: Command) {
        let revision = Revision::new(self.catalog.revision().get() + 1);
        let actor = Actor { name: "ann".parse().unwrap(), via: "n2".parse().unwrap() };
        self.catalog.apply(revision, &Request { id: None, at: UnixMillis::new(1_000), actor, command });
    }

    fn register(&mut self, service: &str, id: &str, spec: InstanceSpec) {
        let (service, id) = (service.parse().unwrap(), id.parse().unwrap());
        self.apply(Command::Register { service, id, spec: Arc::new(spec), expect: Precondition::None });
    }

    fn journal(&mut self, service: &str, id: &str, to: Status) {
        self.journal_checks(service, id, to, |_| None);
    }

    fn journal_checks(&mut self, service: &str, id: &str, to: Status, of_check: impl Fn(&str) -> Option<Status>) {
        let (service, id) = (service.parse().unwrap(), id.parse().unwrap());
        let instance = self.catalog.instance(&service, &id).unwrap();
        let (created, checks) = (instance.created, &instance.spec.checks);
        let checks = CheckStatuses::of(checks, |_, check| of_check(&check.id));
        let change = StatusChange { service, id, created, to, cause: StatusCause::Confirmed, checks };
        self.apply(Command::RecordStatuses { transitions: [change].into() });
    }

    fn views(&self) -> Views {
        let nodes = Nodes::from_members(self.members.clone());
        Views::journaled(&Arc::new(self.catalog.clone()), nodes, UnixMillis::new(2_000))
    }

    /// The line of `health/service` about an instance.
    fn entry(&self, service: &str, id: &str) -> Value {
        let views = self.views();
        let instance = self.catalog.instance(&service.parse().unwrap(), &id.parse().unwrap()).unwrap().clone();
        let place = views.place(&instance).unwrap();
        let checks = views.node_checks();
        let of_node = checks.get(&place.name().to_ascii_lowercase()).cloned().unwrap_or_default();
        serde_json::to_value(views.entry(&instance, place, &of_node)).unwrap()
    }
}

#[test]
fn a_plain_service_has_every_field_and_no_null() {
    let mut story = Story::new();
    story.register("web", "web-1", spec(&[("team", "blue"), ("consul:weight-warning", "2")]));
    let entry = story.entry("web", "web-1");
    assert!(!entry.to_string().contains("null"), "{entry}");
    assert_eq!(
        entry,
        json!({
            "Node": {
                "ID": "id-of-n2", "Node": "n2", "Address": "10.9.0.1", "Datacenter": "dc1",
                "TaggedAddresses": {
                    "lan": "10.9.0.1", "lan_ipv4": "10.9.0.1", "wan": "10.9.0.1", "wan_ipv4": "10.9.0.1"
                },
                "Meta": {"consul-network-segment": ""}, "CreateIndex": 1, "ModifyIndex": 1
            },
            "Service": {
                "ID": "web-1", "Service": "web", "Tags": ["primary", "v1"], "Address": "10.0.0.7",
                "TaggedAddresses": {}, "Meta": {"team": "blue"}, "Port": 8080,
                "Weights": {"Passing": 3, "Warning": 2}, "EnableTagOverride": false,
                "Proxy": {"Mode": "", "MeshGateway": {}, "Expose": {}}, "Connect": {}, "PeerName": "",
                "CreateIndex": 1, "ModifyIndex": 1
            },
            "Checks": [{
                "Node": "n2", "CheckID": "serfHealth", "Name": "Serf Health Status", "Status": "passing", "Notes": "",
                "Output": "Agent alive and reachable", "ServiceID": "", "ServiceName": "", "ServiceTags": [], "Type": "",
                "Interval": "", "Timeout": "", "ExposedPort": 0, "Definition": {}, "CreateIndex": 1, "ModifyIndex": 1
            }]
        })
    );
}

#[test]
fn the_status_of_a_check_is_that_of_the_journal_and_critical_before_there_is_any() {
    let mut story = Story::new();
    let checks = Box::new([http_check("service:web-1")]);
    story.register("web", "web-1", InstanceSpec { checks, ..spec(&[]) });
    let status = |story: &Story| story.entry("web", "web-1")["Checks"][1]["Status"].clone();
    assert_eq!(status(&story), "critical");
    story.journal("web", "web-1", Status::Passing);
    assert_eq!(status(&story), "passing");
    story.journal("web", "web-1", Status::Warning);
    assert_eq!(status(&story), "warning");
    let check = story.entry("web", "web-1")["Checks"][1].clone();
    assert_eq!(
        (&check["Type"], &check["Interval"], &check["Timeout"], &check["Name"], &check["Notes"], &check["ServiceTags"]),
        (
            &json!("http"),
            &json!("10s"),
            &json!("1.5s"),
            &json!("Service 'web' check"),
            &json!("is it well?"),
            &json!(["primary", "v1"])
        )
    );
    assert!(check["Output"].as_str().unwrap().starts_with("warning: "), "{check}");
}

#[test]
fn each_of_several_checks_has_its_own_status_and_says_why() {
    let mut story = Story::new();
    let ttl =
        |id: &str, initial| CheckSpec { kind: CheckKind::Ttl { ttl: Millis::new(10_000), initial }, ..http_check(id) };
    let fixed = CheckSpec { kind: CheckKind::Fixed { status: Status::Warning }, ..http_check("fixed") };
    let checks = [http_check("http"), ttl("db", Status::Critical), ttl("mail", Status::Passing), fixed];
    story.register("web", "web-1", InstanceSpec { checks: Box::new(checks.clone()), ..spec(&[]) });
    let shown = |story: &Story| {
        let checks = story.entry("web", "web-1")["Checks"].as_array().unwrap()[1..].to_vec();
        let told =
            checks.iter().map(|it| format!("{} {}", it["CheckID"].as_str().unwrap(), it["Output"].as_str().unwrap()));
        (checks.iter().map(|it| it["Status"].clone()).collect::<Vec<_>>(), told.collect::<Vec<_>>())
    };
    assert_eq!(shown(&story).0, ["critical", "critical", "passing", "warning"], "as they begin");
    story.journal_checks("web", "web-1", Status::Critical, |id| match id {
        "http" => Some(Status::Passing),
        "db" => Some(Status::Critical),
        "mail" => Some(Status::Warning),
        _ => None,
    });
    let (statuses, outputs) = shown(&story);
    assert_eq!(statuses, ["passing", "critical", "warning", "warning"]);
    assert_eq!(
        outputs,
        [
            "http passing: check http is answered",
            "db critical: TTL check db was told so, or was not told in time",
            "mail warning: TTL check mail was told so",
            "fixed warning: check fixed was registered so"
        ]
    );
    // Another check comes: the others stay what they are.
    let more = [&checks[1..], &[ttl("new", Status::Critical)]].concat();
    story.register("web", "web-1", InstanceSpec { checks: more.into(), ..spec(&[]) });
    assert_eq!(shown(&story).0, ["critical", "warning", "warning", "critical"]);
    story.journal("web", "web-1", Status::Passing);
    assert_eq!(shown(&story).0, ["passing", "passing", "warning", "passing"], "what nobody tells is as its instance");
}

#[test]
fn a_lease_shows_as_a_check_that_heartbeats_keep() {
    let mut story = Story::new();
    story.register("web", "web-1", InstanceSpec { lease: Some(LeaseSpec { ttl: Millis::new(30_000) }), ..spec(&[]) });
    let check = story.entry("web", "web-1")["Checks"][1].clone();
    assert_eq!(
        (&check["CheckID"], &check["Type"], &check["Timeout"]),
        (&json!("service:web-1"), &json!("ttl"), &json!("30s"))
    );
}

#[test]
fn who_is_drained_has_one_more_check_that_is_critical() {
    let mut story = Story::new();
    story.register("web", "web-1", spec(&[]));
    let lifecycle = Lifecycle::Draining { deadline: None, reason: "rolling out".parse().unwrap() };
    let (service, id) = ("web".parse().unwrap(), "web-1".parse().unwrap());
    story.apply(Command::SetLifecycle { service, id, lifecycle, expect: Precondition::None, reason: None });
    let check = story.entry("web", "web-1")["Checks"][1].clone();
    assert_eq!(check["CheckID"], "_service_maintenance:web-1");
    assert_eq!((&check["Status"], &check["Notes"]), (&json!("critical"), &json!("rolling out")));
}

#[test]
fn an_instance_does_not_fall_with_the_node_that_took_its_registration() {
    let mut story = Story::new();
    story.register("web", "web-1", spec(&[]));
    for (state, node) in [(State::Suspect, "n2"), (State::Dead, "n1"), (State::Left, "n1"), (State::Alive, "n2")] {
        story.members[1].state = Some(state);
        let entry = story.entry("web", "web-1");
        assert_eq!(
            (&entry["Node"]["Node"], &entry["Checks"][0]["Status"]),
            (&json!(node), &json!("passing")),
            "{state:?}"
        );
    }
}

#[test]
fn who_was_registered_on_a_machine_stays_there_and_has_no_liveness_check() {
    let mut story = Story::new();
    let node = [("consul:node", "db.example"), ("consul:node-address", "192.0.2.1"), ("consul:node-meta:rack", "7")];
    story.register("db", "db.example/pg0", spec(&node));
    let check = InstanceSpec { endpoints: Box::default(), checks: Box::new([http_check("ping")]), ..spec(&node) };
    story.register("consul", "db.example/ping", check);
    let entry = story.entry("db", "db.example/pg0");
    assert_eq!((&entry["Node"]["Node"], &entry["Node"]["Address"]), (&json!("db.example"), &json!("192.0.2.1")));
    assert_eq!((&entry["Node"]["Meta"], &entry["Service"]["Meta"]), (&json!({"rack": "7"}), &json!({})));
    assert_eq!(entry["Service"]["ID"], "pg0");
    let checks: Vec<_> =
        entry["Checks"].as_array().unwrap().iter().map(|it| (&it["CheckID"], &it["ServiceID"])).collect();
    assert_eq!(checks, [(&json!("ping"), &json!(""))]);
}

#[test]
fn a_service_without_address_or_port_shows_none_and_its_node_is_where_it_was_registered_from() {
    let mut story = Story::new();
    story.register("web", "here", spec(&[("consul:no-address", "")]));
    let entry = story.entry("web", "here");
    assert_eq!((&entry["Service"]["Address"], &entry["Node"]["Address"]), (&json!(""), &json!("10.0.0.7")));
    story.register("web", "bare", InstanceSpec { endpoints: Box::default(), ..spec(&[]) });
    let entry = story.entry("web", "bare");
    assert_eq!((&entry["Service"]["Port"], &entry["Service"]["Address"]), (&json!(0), &json!("")));
    assert_eq!(entry["Node"]["Address"], "10.9.0.1");
}

#[test]
fn tagged_addresses_are_objects() {
    let mut story = Story::new();
    story.register(
        "web",
        "web-1",
        spec(&[("consul:tagged:lan", "10.0.0.8:81"), ("consul:tagged:wan", "2001:db8::1:82")]),
    );
    let tagged = story.entry("web", "web-1")["Service"]["TaggedAddresses"].clone();
    assert_eq!(
        tagged,
        json!({"lan": {"Address": "10.0.0.8", "Port": 81}, "wan": {"Address": "2001:db8::1", "Port": 82}})
    );
}

#[test]
fn the_catalogue_and_the_agent_show_the_same_service() {
    let mut story = Story::new();
    story.register("web", "web-1", spec(&[("team", "blue")]));
    let views = story.views();
    let instance = story.catalog.instance(&"web".parse().unwrap(), &"web-1".parse().unwrap()).unwrap().clone();
    let place = views.place(&instance).unwrap();
    let line = serde_json::to_value(views.catalog_service(&instance, place)).unwrap();
    for (field, value) in [
        ("Node", json!("n2")),
        ("Address", json!("10.9.0.1")),
        ("ServiceID", json!("web-1")),
        ("ServiceName", json!("web")),
        ("ServiceAddress", json!("10.0.0.7")),
        ("ServicePort", json!(8080)),
        ("ServiceTags", json!(["primary", "v1"])),
        ("ServiceMeta", json!({"team": "blue"})),
        ("ServiceWeights", json!({"Passing": 3, "Warning": 1})),
    ] {
        assert_eq!(line[field], value, "{field}");
    }
    assert!(!line.to_string().contains("null"), "{line}");
    assert_eq!(
        serde_json::to_value(views.agent_service(&instance, place)).unwrap(),
        json!({
            "ID": "web-1", "Service": "web", "Tags": ["primary", "v1"], "Meta": {"team": "blue"}, "Port": 8080,
            "Address": "10.0.0.7", "Weights": {"Passing": 3, "Warning": 1}, "EnableTagOverride": false, "Datacenter": "dc1"
        })
    );
}

#[test]
fn nodes_are_the_members_and_the_machines_that_were_named() {
    let mut story = Story::new();
    story.register("web", "web-1", spec(&[]));
    story.register("db", "zeta/pg0", spec(&[("consul:node", "zeta"), ("consul:node-address", "192.0.2.1")]));
    let views = story.views();
    assert_eq!(views.places().keys().collect::<Vec<_>>(), ["n1", "n2", "zeta"]);
    let on = |name: &str| views.on_node(name).iter().map(|(it, _)| it.id.to_string()).collect::<Vec<_>>();
    assert_eq!((on("N2"), on("zeta"), on("n1")), (vec!["web-1".to_owned()], vec!["zeta/pg0".to_owned()], vec![]));
    let own: Vec<_> = views.own_entries().iter().map(|it| serde_json::to_value(it).unwrap()).collect();
    assert_eq!(
        (own.len(), &own[0]["Service"]["Service"], &own[0]["Checks"][0]["CheckID"]),
        (2, &json!("consul"), &json!("serfHealth"))
    );
}
