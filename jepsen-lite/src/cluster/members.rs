//! Members that come and go: a node is replaced by a new one, and one node more than the run has comes and goes.
//!
//! The cluster keeps its number of places for clients, since they know no others: so who leaves is succeeded in the end, and the
//! spare node leaves again. In between the cluster has had one more voter, and later again, and other voters each time. The spare
//! node is asked nothing by clients; it votes, and leads when it is elected.
//!
//! A cluster may refuse to change its members, or take longer than anybody waits: that is no failure of the harness, and what was
//! asked for may still happen. So it is remembered who leaves from before it is asked for, and [`Cluster::restore_members`] goes on
//! from wherever the last attempt ended.

use std::time::Duration;

use anyhow::{Context, Error, bail};
use rollcall_api::{ClusterStatus, RaftStatus, paths};
use tokio::time::{Instant, sleep};

use super::{Cluster, Node, POLL};

/// Longest wait for the removal of a member.
const REMOVE_PATIENCE: Duration = Duration::from_secs(15);

/// Why the members are not those that there should be.
#[derive(Debug)]
pub(crate) enum Unchanged {
    /// The cluster refused, or did not do it in time. It may still do it.
    Cluster(Error),
    /// The harness could not do its part.
    Harness(Error),
}

impl From<Error> for Unchanged {
    fn from(error: Error) -> Self {
        Self::Harness(error)
    }
}

impl From<Unchanged> for Error {
    fn from(unchanged: Unchanged) -> Self {
        match unchanged {
            Unchanged::Cluster(error) | Unchanged::Harness(error) => error,
        }
    }
}

/// A node that leaves, or left, and is to be succeeded in its place.
#[derive(Debug, Clone)]
pub(super) struct Leaver {
    index: usize,
    /// The name under which the cluster knows it: another one than that of whoever succeeds it.
    member: String,
}

impl Cluster {
    /// Whether the members are those that there should be, as far as the harness was told.
    pub(crate) fn is_whole(&self) -> bool {
        self.leaver.is_none() && !self.spare.as_ref().is_some_and(Node::is_started)
    }

    /// Whether the place of a node is empty, until somebody succeeds it.
    pub(crate) fn is_vacant(&self, node: &Node) -> bool {
        self.leaver.as_ref().is_some_and(|leaver| leaver.member == node.member())
    }

    /// The spare node joins, and when it has a vote the node at `leaver` leaves. Says who votes.
    ///
    /// # Errors
    /// When one of that does not happen in time; [`Self::restore_members`] then undoes the other.
    pub(crate) async fn swap_in_spare(&mut self, leaver: usize, patience: Duration) -> Result<String, Unchanged> {
        self.spare.as_mut().context("this run has no spare node")?.start()?;
        let spare = self.spare.as_ref().context("this run has no spare node")?;
        self.wait_joined(spare, patience).await?;
        let grown = self.wait_votes(&spare.member(), true, patience).await?;
        self.mark_leaver(leaver);
        let shrunk = self.expel(leaver, patience).await?;
        Ok(format!("votes: {}, then {}", grown.join(" "), shrunk.join(" ")))
    }

    /// Removes a node from the cluster for good, and lets a new one without data join in its place. Says who votes.
    ///
    /// # Errors
    /// When one of that does not happen in time; [`Self::restore_members`] then goes on.
    pub(crate) async fn replace(&mut self, index: usize, patience: Duration) -> Result<String, Unchanged> {
        self.mark_leaver(index);
        self.restore_members(patience).await
    }

    /// A new node joins in the place of the one that leaves or left, and the spare one leaves. Says who votes; nothing when nothing
    /// was to do.
    ///
    /// # Errors
    /// When one of that does not happen in time. Another call goes on from there.
    pub(crate) async fn restore_members(&mut self, patience: Duration) -> Result<String, Unchanged> {
        let mut notes = Vec::new();
        if let Some(Leaver { index, member }) = self.leaver.clone() {
            if self.nodes[index].member() == member {
                self.expel(index, patience).await?;
                self.nodes[index].succeed()?;
            }
            if !self.nodes[index].is_started() {
                self.nodes[index].start()?;
            }
            notes.push(self.take_in(index, patience).await?.join(" "));
            self.leaver = None;
        }
        if self.spare.as_ref().is_some_and(Node::is_started) {
            notes.push(self.send_spare_away(patience).await?.join(" "));
        }
        Ok(if notes.is_empty() { String::new() } else { format!("votes: {}", notes.join(", then ")) })
    }

    /// From here on a new node is to take the place of this one, whatever becomes of asking for it.
    fn mark_leaver(&mut self, index: usize) {
        self.leaver = Some(Leaver { index, member: self.nodes[index].member() });
    }

    /// Removes a node from the cluster, and ends its process. Returns who votes then.
    async fn expel(&mut self, index: usize, patience: Duration) -> Result<Vec<String>, Unchanged> {
        // A node that learns of its removal stops.
        self.nodes[index].may_end(true);
        self.remove(&self.nodes[index]).await?;
        end(&mut self.nodes[index])?;
        self.wait_votes(&self.nodes[index].member(), false, patience).await
    }

    /// Waits until the new node in a place serves and has a vote. Returns who votes then.
    async fn take_in(&mut self, index: usize, patience: Duration) -> Result<Vec<String>, Unchanged> {
        self.wait_joined(&self.nodes[index], patience).await?;
        let status = self.client.fetch::<ClusterStatus>(&self.nodes[index].place(), paths::CLUSTER).await;
        let status = status.map_err(Unchanged::Cluster)?;
        if let Some(id) = self.ids.get_mut(index) {
            *id = status.node_id;
        }
        self.wait_votes(&self.nodes[index].member(), true, patience).await
    }

    /// The spare node leaves, and is as new. Returns who votes then.
    async fn send_spare_away(&mut self, patience: Duration) -> Result<Vec<String>, Unchanged> {
        self.spare.as_mut().context("this run has no spare node")?.may_end(true);
        let spare = self.spare.as_ref().context("this run has no spare node")?;
        self.remove(spare).await?;
        let voters = self.wait_votes(&spare.member(), false, patience).await?;
        let spare = self.spare.as_mut().context("this run has no spare node")?;
        end(spare)?;
        spare.succeed()?;
        Ok(voters)
    }

    /// Asks the other nodes in turn to remove one; says what the last of them said, when none did it.
    async fn remove(&self, leaver: &Node) -> Result<(), Unchanged> {
        let mut last = None;
        let others = self.all_nodes().filter(|node| node.is_started() && node.name() != leaver.name());
        for node in others {
            match self.client.delete(&node.place(), &paths::member(&leaver.member()), REMOVE_PATIENCE).await {
                Ok(()) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        Err(Unchanged::Cluster(last.unwrap_or_else(|| anyhow::anyhow!("no other node runs"))))
    }

    /// Waits until a node that was started serves.
    async fn wait_joined(&self, node: &Node, patience: Duration) -> Result<(), Unchanged> {
        let waited = async {
            let start = Instant::now();
            while !self.client.is_ready(&node.place()).await {
                if start.elapsed() > patience {
                    bail!("{} does not serve {} s after it was to join", node.member(), patience.as_secs());
                }
                sleep(POLL).await;
            }
            Ok(())
        };
        waited.await.map_err(Unchanged::Cluster)
    }

    /// Waits until the leader counts `member` among those that vote, or does not; returns who votes then.
    async fn wait_votes(&self, member: &str, should: bool, patience: Duration) -> Result<Vec<String>, Unchanged> {
        let start = Instant::now();
        while start.elapsed() <= patience {
            for node in self.all_nodes().filter(|node| node.is_started()) {
                let Ok(raft) = self.client.fetch::<RaftStatus>(&node.place(), paths::RAFT).await else { continue };
                let is_leader = raft.leader.as_ref() == Some(&raft.node);
                if is_leader && raft.voters.iter().any(|voter| voter == member) == should {
                    return Ok(raft.voters);
                }
            }
            sleep(POLL).await;
        }
        let wish = if should { "has no vote" } else { "still has a vote" };
        Err(Unchanged::Cluster(anyhow::anyhow!("{member} {wish} after {} s", patience.as_secs())))
    }
}

/// Ends the process of a node, if there is one.
fn end(node: &mut Node) -> Result<(), Unchanged> {
    if node.is_running() {
        node.kill()?;
    }
    node.forget();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};

    use rollcall_api::RaftRole;

    use super::*;
    use crate::client::Client;

    /// A node's API that gives these answers, one after the other.
    fn api(answers: Vec<String>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                read_request(&mut stream);
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        address
    }

    /// A request without a body.
    fn read_request(stream: &mut TcpStream) {
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
    }

    fn answer(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    fn leads_alone(name: &str) -> String {
        let raft = RaftStatus {
            node: name.to_owned(),
            role: RaftRole::Leader,
            term: 1,
            leader: Some(name.to_owned()),
            commit_index: 1,
            applied_index: 1,
            last_log_index: 1,
            snapshot_index: 0,
            purged_index: 0,
            voters: vec![name.to_owned()],
            learners: Vec::new(),
            followers: Vec::new(),
            quorum_ack_age_ms: None,
        };
        answer("200 OK", &serde_json::to_string(&raft).unwrap())
    }

    /// Two nodes, the second of which answers so.
    fn cluster(answers: Vec<String>) -> Cluster {
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
        // The first stops when it is let, as one does that is removed.
        let first = Node::of_shell("n1", nobody, "read line; exit 2");
        let second = Node::of_shell("n2", api(answers), "exec sleep 600");
        let mut cluster = Cluster::of(vec![first, second], Client::new(Duration::from_secs(5)).unwrap());
        cluster.ids = vec![1, 2];
        cluster
    }

    #[tokio::test]
    async fn what_the_cluster_refuses_is_no_failure_of_the_harness_and_is_asked_for_again() {
        let done = answer("204 No Content", "");
        let mut cluster = cluster(vec![answer("503 Service Unavailable", ""), done, leads_alone("n2")]);
        let refused = cluster.replace(0, Duration::from_secs(5)).await;
        assert!(matches!(refused, Err(Unchanged::Cluster(_))), "{refused:?}");
        assert!(!cluster.is_whole() && cluster.is_vacant(&cluster.nodes[0]));

        cluster.nodes[0].let_end();
        // Now it is removed, and what succeeds it cannot be started: there is no such program.
        let removed = cluster.restore_members(Duration::from_secs(5)).await;
        assert!(matches!(removed, Err(Unchanged::Harness(_))), "{removed:?}");
        assert_eq!(cluster.nodes[0].member(), "n1-1");
        assert!(cluster.nodes[0].take_own_end().is_none(), "who is removed may stop");

        // Whoever succeeds it is not removed in turn: nobody would answer that any more.
        let again = cluster.restore_members(Duration::from_secs(5)).await;
        assert!(matches!(again, Err(Unchanged::Harness(_))), "{again:?}");
        assert!(!cluster.is_whole() && !cluster.is_vacant(&cluster.nodes[0]));
    }

    #[tokio::test]
    async fn where_nobody_left_nothing_is_to_do() {
        let mut cluster = cluster(Vec::new());
        assert!(cluster.is_whole());
        assert_eq!(cluster.restore_members(Duration::ZERO).await.unwrap(), "");
    }
}
