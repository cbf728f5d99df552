//! Who looks on: who leads in which term while things go wrong, and whether all is well once they are mended.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::Value;
use tokio::time::sleep;

use crate::client::{Answer, call};
use crate::history::History;
use crate::workload::{Node, SERVICE, now, number_in, registration};

/// Between two looks at who leads.
const LOOK_EVERY: Duration = Duration::from_millis(150);
const LOOK_PATIENCE: Duration = Duration::from_millis(100);
/// Longest wait for an answer, once all is mended.
const PATIENCE: Duration = Duration::from_secs(15);
/// Time in which the nodes must serve and agree, after the last fault was mended.
const RECOVERY_MAX: Duration = Duration::from_secs(30);
const RETRY_EVERY: Duration = Duration::from_millis(200);

/// Who led, as far as was seen.
#[derive(Debug, Default)]
pub(crate) struct Leaders {
    by_term: BTreeMap<u64, String>,
    /// Who led when somebody last looked.
    pub(crate) latest: Option<String>,
}

impl Leaders {
    /// `node` says that it leads in `term`; answers what is wrong with that.
    fn note(&mut self, term: u64, node: &str) -> Option<String> {
        if self.by_term.last_key_value().is_none_or(|(newest, _)| *newest <= term) {
            self.latest = Some(node.to_owned());
        }
        let known = self.by_term.entry(term).or_insert_with(|| node.to_owned());
        (known != node).then(|| format!("{known} and {node} both led in term {term}"))
    }

    /// In how many terms somebody did.
    pub(crate) fn terms(&self) -> usize {
        self.by_term.len()
    }
}

/// The one who looks.
pub(crate) struct Judge {
    pub(crate) nodes: Vec<Node>,
    pub(crate) history: Rc<RefCell<History>>,
    pub(crate) leaders: Rc<RefCell<Leaders>>,
    /// When the last fault is mended.
    pub(crate) end: Duration,
}

impl Judge {
    /// Looks on until the end, and then for as long as the nodes take to recover. Answers how long that was.
    pub(crate) async fn run(self) -> Duration {
        while now() < self.end {
            for node in &self.nodes {
                self.look_for_leader(node).await;
            }
            sleep(LOOK_EVERY).await;
        }
        let mended = now();
        loop {
            let Some(problem) = self.problem().await else { break };
            if now() - mended > RECOVERY_MAX {
                self.find(format!("{RECOVERY_MAX:?} after the last fault was mended: {problem}"));
                break;
            }
            sleep(RETRY_EVERY).await;
        }
        let recovery = now() - mended;
        for node in &self.nodes {
            self.look_for_leader(node).await;
            self.look_for_losses(node).await;
        }
        recovery
    }

    fn find(&self, finding: String) {
        self.history.borrow_mut().findings.push(finding);
    }

    async fn look_for_leader(&self, node: &Node) {
        let answered = call(node.http, Method::GET, "/v1/cluster/raft", None, LOOK_PATIENCE).await;
        let Ok(answer) = answered else { return };
        if let (Some("leader"), Some(term)) = (answer.body["role"].as_str(), answer.body["term"].as_u64()) {
            let wrong = self.leaders.borrow_mut().note(term, &node.name);
            wrong.into_iter().for_each(|wrong| self.find(wrong));
        }
    }

    async fn ask(&self, node: &Node, path: &str) -> Result<Answer, String> {
        match call(node.http, Method::GET, path, None, PATIENCE).await {
            Ok(answer) if answer.status == StatusCode::OK => Ok(answer),
            Ok(answer) => Err(format!("{} answers {path} with {} {}", node.name, answer.status, answer.body)),
            Err(unanswered) => Err(format!("{} does not answer {path}: {unanswered:?}", node.name)),
        }
    }

    /// Why the cluster has not recovered yet.
    async fn problem(&self) -> Option<String> {
        self.recovered().await.err()
    }

    async fn recovered(&self) -> Result<(), String> {
        for node in &self.nodes {
            let path = format!("{SERVICE}/after-{}", node.name);
            let written = call(node.http, Method::PUT, &path, Some(&registration(1)), PATIENCE).await;
            if !written.as_ref().is_ok_and(|answer| answer.status.is_success()) {
                return Err(format!("{} does not take a write: {written:?}", node.name));
            }
        }
        let mut catalogues = Vec::new();
        for node in &self.nodes {
            self.ask(node, "/readyz").await?;
            let members = self.ask(node, "/v1/cluster/members").await?;
            let items = members.body["items"].as_array().cloned().unwrap_or_default();
            let alive = items.iter().filter(|member| member["state"] == "alive").count();
            if (items.len(), alive) != (self.nodes.len(), self.nodes.len()) {
                return Err(format!("{} holds {alive} of {} members for alive", node.name, items.len()));
            }
            catalogues.push(self.catalogue(node).await?);
        }
        match catalogues.iter().all(|catalogue| *catalogue == catalogues[0]) {
            true => Ok(()),
            false => Err("the nodes show different catalogues".to_owned()),
        }
    }

    /// All registers with their numbers and revisions, as `node` shows them when it answers a linearizable read.
    async fn catalogue(&self, node: &Node) -> Result<BTreeMap<String, Value>, String> {
        let mut catalogue = BTreeMap::new();
        let mut cursor = String::new();
        loop {
            let answer = self.ask(node, &format!("{SERVICE}?consistency=linearizable&limit=500{cursor}")).await?;
            for item in answer.body["items"].as_array().into_iter().flatten() {
                let facts = ["metadata", "created_revision", "revision"].map(|fact| item[fact].clone());
                catalogue.insert(item["id"].to_string(), facts.into_iter().collect());
            }
            match answer.body["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(catalogue),
            }
        }
    }

    /// Every register, read on `node`: what was acknowledged is there.
    async fn look_for_losses(&self, node: &Node) {
        let ids = self.history.borrow().ids();
        for id in ids {
            let floor = self.history.borrow().floor(&id);
            let path = format!("{SERVICE}/{id}?consistency=linearizable");
            let answered = call(node.http, Method::GET, &path, None, PATIENCE).await;
            let seen = answered.as_ref().ok().and_then(number_in);
            match seen {
                Some(seen) => self.history.borrow_mut().linearizable_read(&node.name, &id, floor, seen, now()),
                None => self.find(format!("after recovery {} does not answer {path}: {answered:?}", node.name)),
            }
        }
    }
}
