//! What can happen to the dashboard, and what it can ask for.

use std::fmt;

use crossterm::event::{KeyEvent, MouseEvent};
use rollcall_api::words::one_line;
use rollcall_api::{
    ClusterEvent, ClusterStatus, DependencyGraph, Explanation, HealthReport, HistoryRecord, InstanceHealth, Members,
    RaftStatus, ServiceHealthReport, Timestamp, WatchEvent,
};

/// Something happened.
#[derive(Debug)]
pub enum Message {
    /// A key was pressed.
    Key(KeyEvent),
    /// The mouse was used.
    Mouse(MouseEvent),
    /// The terminal has another size: columns and rows.
    Resize(u16, u16),
    /// It is this late.
    Tick(Timestamp),
    /// The connection says how it is.
    Link(LinkEvent),
    /// A frame of the watch.
    Watch(Box<WatchEvent>),
    /// An event about the members.
    Cluster(Box<ClusterEvent>),
    /// An answer to a request.
    Answer(Answer),
}

/// How the connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEvent {
    /// A node is tried.
    Trying {
        /// Its address.
        node: String,
        /// Its place among the known ones, from 1, and how many there are.
        place: (usize, usize),
    },
    /// The node answers and its events are followed.
    Connected {
        /// Its address.
        node: String,
    },
    /// The node was lost, or could not be reached.
    Lost {
        /// Its address.
        node: String,
        /// Why.
        reason: String,
    },
}

/// What can be asked for again and again; at most one request for each is on its way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The health of everything.
    Health,
    /// Members and Raft.
    Cluster,
    /// One service with its instances.
    Service(String),
    /// One instance, by service and id.
    Instance(String, String),
    /// Why the instances of a service would be picked or not.
    Explanation(String),
    /// Which services need which.
    Graph,
    /// What happened before.
    History,
}

/// Something to be done by whoever has a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Read; the answer comes as [`Answer`].
    Read(Subject),
    /// Change something.
    Act(Action),
    /// End the program.
    Quit,
}

/// What an operator can do from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Let the instance finish what it has.
    Drain(String, String),
    /// End a drain.
    Undrain(String, String),
    /// Keep the instance out for an hour.
    Quarantine(String, String),
    /// End a quarantine.
    Release(String, String),
    /// Remove the instance.
    Deregister(String, String),
    /// Move the leadership to this node.
    TransferLeader(String),
}

/// An answer, or why there is none.
#[derive(Debug)]
pub enum Answer {
    /// To [`Subject::Health`].
    Health(Result<Box<HealthReport>, String>),
    /// To [`Subject::Cluster`].
    Cluster(Result<Box<ClusterFigures>, String>),
    /// To [`Subject::Service`], by its name.
    Service(String, Result<Box<ServiceHealthReport>, String>),
    /// To [`Subject::Instance`], by service and id.
    Instance(String, String, Result<Box<InstanceDetail>, String>),
    /// To [`Subject::Explanation`], by its service.
    Explanation(String, Result<Box<Explanation>, String>),
    /// To [`Subject::Graph`].
    Graph(Result<Box<DependencyGraph>, String>),
    /// To [`Subject::History`], newest first.
    History(Result<Vec<HistoryRecord>, String>),
    /// To [`Request::Act`].
    Done(Action, Result<(), String>),
}

/// The cluster in figures.
#[derive(Debug, Clone)]
pub struct ClusterFigures {
    /// In short, as the connected node sees it.
    pub status: ClusterStatus,
    /// The members, as the connected node sees them.
    pub members: Members,
    /// Raft, as the connected node sees it.
    pub raft: RaftStatus,
    /// Raft, as the leader sees it: it alone knows how far the others are. `None` when it was not reached.
    pub leader: Option<RaftStatus>,
    /// What each other node sees of the members, by name; `None` of one that did not answer.
    pub others: Vec<(String, Option<Members>)>,
}

/// One instance in full.
#[derive(Debug, Clone)]
pub struct InstanceDetail {
    /// What the observers see.
    pub health: InstanceHealth,
    /// What happened to it, newest first.
    pub history: Vec<HistoryRecord>,
}

impl Answer {
    /// What was asked for; `None` for an action.
    pub fn subject(&self) -> Option<Subject> {
        Some(match self {
            Self::Health(_) => Subject::Health,
            Self::Cluster(_) => Subject::Cluster,
            Self::Service(name, _) => Subject::Service(name.clone()),
            Self::Instance(service, id, _) => Subject::Instance(service.clone(), id.clone()),
            Self::Explanation(service, _) => Subject::Explanation(service.clone()),
            Self::Graph(_) => Subject::Graph,
            Self::History(_) => Subject::History,
            Self::Done(..) => return None,
        })
    }
}

impl Action {
    /// What it does, for the person who is about to do it.
    pub fn consequence(&self) -> &'static str {
        match self {
            Self::Drain(..) => "It finishes what it has and takes nothing new, until it is undrained.",
            Self::Undrain(..) => "It takes traffic again, as its health allows.",
            Self::Quarantine(..) => "It takes no traffic for an hour, then comes back by itself.",
            Self::Release(..) => "It takes traffic again, as its health allows.",
            Self::Deregister(..) => "It is gone for everybody, until it registers again.",
            Self::TransferLeader(_) => "Writes wait for a moment.",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, service, id) = match self {
            Self::Drain(service, id) => ("drain", service, id),
            Self::Undrain(service, id) => ("undrain", service, id),
            Self::Quarantine(service, id) => ("quarantine", service, id),
            Self::Release(service, id) => ("release", service, id),
            Self::Deregister(service, id) => ("deregister", service, id),
            Self::TransferLeader(node) => return write!(f, "make {} the leader", one_line(node, 63)),
        };
        write!(f, "{verb} {}/{}", one_line(service, 63), one_line(id, 128))
    }
}
