//! What all client commands share: which nodes to ask, how to answer, and what a refusal means for the exit code.

use std::time::Duration;

use clap::{Args, ValueEnum};
use rollcall_api::client::{Client, ClientError, Options};
use rollcall_api::query::Consistency;
use rollcall_api::{Code, Problem, Retry};
use serde::Serialize;

use crate::duration::parse_duration;
use crate::failure::Failure;
use crate::table::Table;
use crate::terminal::{ColorWhen, Paint, print};

/// How a command writes its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs: what the API answers.
    Json,
}

/// Flags that every client command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection and output")]
pub(crate) struct ServerArgs {
    /// Nodes to ask; the next is tried when one does not answer
    #[arg(
        long,
        value_name = "URL,…",
        env = "ROLLCALL_SERVER",
        hide_env_values = true,
        value_delimiter = ',',
        default_value = "http://127.0.0.1:7400"
    )]
    pub(crate) server: Vec<String>,
    /// How long to go on asking nodes that do not answer
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = parse_duration)]
    pub(crate) timeout: Duration,
    /// How to write the answer
    #[arg(
        long,
        short,
        value_enum,
        env = "ROLLCALL_OUTPUT",
        hide_env_values = true,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub(crate) output: Output,
    /// When to colour
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) color: ColorWhen,
    /// Who asks, as history shows it; default: your address
    #[arg(long, value_name = "NAME", env = "ROLLCALL_ACTOR", hide_env_values = true)]
    pub(crate) actor: Option<String>,
}

/// How fresh a read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Freshness {
    /// Whatever the asked node has.
    #[default]
    Stale,
    /// What the leader has.
    Leader,
    /// What a majority confirms.
    Linearizable,
}

impl From<Freshness> for Option<Consistency> {
    /// `None` for the default, which needs no parameter.
    fn from(freshness: Freshness) -> Self {
        match freshness {
            Freshness::Stale => None,
            Freshness::Leader => Some(Consistency::Leader),
            Freshness::Linearizable => Some(Consistency::Linearizable),
        }
    }
}

/// A client, and how to write what it brings.
pub(crate) struct Session {
    /// Speaks to the cluster.
    pub(crate) client: Client,
    /// For tables and remarks.
    pub(crate) paint: Paint,
    output: Output,
}

impl ServerArgs {
    /// Makes the client.
    ///
    /// # Errors
    /// When an address or the actor cannot be used.
    pub(crate) fn connect(&self) -> Result<Session, Failure> {
        self.connect_within(Options::default().attempt_timeout)
    }

    /// [`Self::connect`] with another longest wait for one node.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn connect_within(&self, attempt_timeout: Duration) -> Result<Session, Failure> {
        let (give_up_after, actor) = (self.timeout, self.actor.clone());
        let options = Options { attempt_timeout, give_up_after, actor, ..Options::default() };
        let client = Client::with_options(&self.server, options).map_err(|error| explain(&error))?;
        Ok(Session { client, paint: self.color.stdout(), output: self.output })
    }
}

impl Session {
    /// Whether programs read the answer.
    pub(crate) fn is_json(&self) -> bool {
        self.output == Output::Json
    }

    /// Writes the answer as JSON, or as the table made of it.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(crate) fn answer<T: Serialize>(&self, value: &T, table: impl FnOnce(&T) -> Table) -> Result<(), Failure> {
        self.say(value, |value| table(value).render(self.paint))
    }

    /// Writes the answer as JSON, or as the text made of it.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(crate) fn say<T: Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) -> Result<(), Failure> {
        match self.output {
            Output::Table => print(&text(value)),
            Output::Json => {
                let json = serde_json::to_string_pretty(value)
                    .map_err(|error| Failure::failed("the answer cannot be written as JSON").because(&error))?;
                print(&format!("{json}\n"))
            }
        }
    }
}

/// The failure that a client error is for the person who asked.
pub(crate) fn explain(error: &ClientError) -> Failure {
    match error {
        ClientError::Problem(problem) => explain_problem(problem),
        ClientError::Address { .. } => Failure::usage(error.to_string()).hint("--server http://127.0.0.1:7400"),
        ClientError::Actor => Failure::usage(error.to_string()).hint("--actor takes plain text without line ends"),
        ClientError::Transport { .. } | ClientError::Timeout { .. } | ClientError::WatchEnded { .. } => {
            let (what, causes) = with_causes(error);
            causes.into_iter().fold(Failure::unavailable(what), Failure::cause).hint(
                "start a cluster with `rollcall dev`, or name its nodes with --server or the variable ROLLCALL_SERVER",
            )
        }
        ClientError::Unexpected { .. } => {
            Failure::failed(error.to_string()).hint("make sure that --server names the HTTP address of a Rollcall node")
        }
        ClientError::Random(_) | ClientError::Request(_) => {
            let (what, causes) = with_causes(error);
            causes.into_iter().fold(Failure::failed(what), Failure::cause)
        }
    }
}

/// The message, and the root of what caused it: what lies between says the same in other words.
fn with_causes(error: &ClientError) -> (String, Option<String>) {
    let mut root = std::error::Error::source(error);
    while let Some(deeper) = root.and_then(std::error::Error::source) {
        root = Some(deeper);
    }
    (error.to_string(), root.map(ToString::to_string))
}

fn explain_problem(problem: &Problem) -> Failure {
    let what = if problem.detail.is_empty() { problem.title.clone() } else { problem.to_string() };
    let failure = match problem.code.retry() {
        Retry::Later => Failure::unavailable(what),
        Retry::Never | Retry::OutcomeUnknown => Failure::failed(what),
    };
    let failure = if problem.errors.len() > 1 {
        problem.errors.iter().map(ToString::to_string).fold(failure, Failure::cause)
    } else {
        failure
    };
    match hint(problem) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn hint(problem: &Problem) -> Option<String> {
    let fixed = match problem.code {
        Code::NoLeader | Code::NoQuorum => {
            "`rollcall members` shows which nodes are there; writes need a majority of them"
        }
        Code::ShuttingDown => "ask another node with --server",
        Code::TimeoutOutcomeUnknown => "the change may have been made: look before you repeat it",
        Code::RevisionMismatch => "somebody changed it meanwhile: read it again",
        Code::LifecycleConflict => "`rollcall instances SERVICE` shows what was decided about it",
        Code::NoHealthyInstance | Code::NoFittingInstance => {
            "`rollcall explain SERVICE` shows why each instance is out"
        }
        Code::CapabilityNotFound => "`rollcall services` lists what services offer",
        Code::ServiceNotFound => "`rollcall services` lists the services there are",
        Code::InstanceNotFound => "`rollcall instances SERVICE` lists the instances there are",
        Code::MemberNotFound => "`rollcall members` lists the members there are",
        Code::SessionNotFound => "the session ended, or was silent for longer than its time to live",
        Code::RevisionCompacted => "begin without --since",
        Code::Internal => {
            let request = problem.instance.as_deref()?;
            return Some(format!("the log of the node says more under request id {request}"));
        }
        _ => return None,
    };
    Some(fixed.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    #[track_caller]
    fn check(code: Code, exit: Exit) {
        let problem = Problem::new(code, "because");
        assert_eq!(explain(&ClientError::Problem(Box::new(problem))).exit(), exit, "{code:?}");
    }

    #[test]
    fn the_exit_code_says_whether_to_repair_the_request_or_to_wait() {
        check(Code::InvalidField, Exit::Failed);
        check(Code::ServiceNotFound, Exit::Failed);
        check(Code::TimeoutOutcomeUnknown, Exit::Failed);
        check(Code::NoLeader, Exit::Unavailable);
        check(Code::ShuttingDown, Exit::Unavailable);
        check(Code::TooManyRequests, Exit::Unavailable);
    }

    #[test]
    fn every_field_that_breaks_a_rule_is_listed() {
        let error =
            |field: &str| rollcall_api::FieldError { field: field.to_owned(), rule: "must be there".to_owned() };
        let problem = Problem::fields(vec![error("a"), error("b")]);
        let text = explain(&ClientError::Problem(Box::new(problem))).render(Paint::plain());
        assert!(text.contains("cause: a") && text.contains("cause: b"), "{text}");
    }
}
