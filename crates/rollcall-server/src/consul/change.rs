//! Registrations that are changed: read, made anew, and written on the condition that nobody came in between.

use std::sync::Arc;
use std::time::Duration;

use rollcall_catalog::{Command, Instance, Outcome, Precondition, Refusal, Reply};
use rollcall_types::{Host, InstanceId, InstanceSpec, ServiceName, Text};
use tokio::time::Instant;

use super::blocking::{READ_DEADLINE, await_leader};
use super::call::Call;
use super::failure::{Failure, Result};
use super::ids::FoundCheck;
use super::{host_of, meta};

/// Attempts of a change of an instance that others change at the same time.
const ATTEMPTS: usize = 8;
/// Longest wait for the log before something is said not to be there: as long as any read waits for a leader.
const LOOK_DEADLINE: Duration = READ_DEADLINE;

/// Registers an instance as what `next` makes of it as it is. An equal registration changes nothing.
///
/// # Errors
/// Those of `next`, 400 when a check leads where nothing may be probed, 500 without a leader.
pub(crate) async fn register(
    call: &Call,
    service: &ServiceName,
    id: &InstanceId,
    next: impl Fn(Option<&Instance>) -> Result<InstanceSpec> + Send + Sync,
) -> Result<Outcome> {
    for _ in 0..ATTEMPTS {
        let present = call.app.consensus.catalog().instance(service, id).cloned();
        let spec = next(present.as_deref())?;
        if let Some(problem) = call.app.targets.review(&spec.checks).first() {
            return Err(Failure::bad_request(format!("Invalid check: {problem}")));
        }
        let (service, id, spec) = (service.clone(), id.clone(), Arc::new(spec));
        let expect = present.map_or(Precondition::Absent, |present| Precondition::At(present.modified));
        let outcome = call.propose(Command::Register { service, id, spec, expect }).await?;
        match outcome.reply {
            Reply::Refused(Refusal::PreconditionFailed { .. }) => {
                call.app.consensus.wait_for(outcome.revision, Instant::now() + LOOK_DEADLINE).await?;
            }
            Reply::Refused(refusal) => return Err(refusal.into()),
            _ => return Ok(outcome),
        }
    }
    Err(Failure::server("the service is changed by others all the time; try again"))
}

/// Deregisters an instance, if it is there.
///
/// # Errors
/// 500 without a leader.
pub(crate) async fn deregister(call: &Call, service: &ServiceName, id: &InstanceId) -> Result<Outcome> {
    let (service, id, expect) = (service.clone(), id.clone(), Precondition::None);
    call.execute(Command::Deregister { service, id, expect, reason: None }).await
}

/// Deregisters what had the id of an instance before on the same node and under another name: on a node of Consul an id is that
/// of one service. `is_there` tells what is on that node, and `registered` is the write of the instance: of two that come at
/// once the later one in the log stays.
///
/// # Errors
/// 500 without a leader.
pub(crate) async fn retire_namesakes(
    call: &Call,
    (service, id): (&ServiceName, &InstanceId),
    registered: &Outcome,
    is_there: impl Fn(&Instance) -> bool,
) -> Result<()> {
    for other in call.layer.ids.instances(&call.app.consensus.catalog(), id) {
        let is_other =
            ![service.as_str(), meta::SELF_SERVICE].iter().any(|name| other.service.eq_ignore_ascii_case(name));
        if !is_other || other.modified >= registered.revision || !is_there(&other) {
            continue;
        }
        let (of, id, expect) = (other.service.clone(), other.id.clone(), Precondition::At(other.modified));
        let reason = Text::try_from(&*format!("the same ID was registered as {service}")).ok();
        match call.propose(Command::Deregister { service: of, id, expect, reason }).await?.reply {
            // Somebody else changed it, and came last.
            Reply::Refused(Refusal::PreconditionFailed { .. }) => {}
            Reply::Refused(refusal) => return Err(refusal.into()),
            _ => {}
        }
    }
    Ok(())
}

/// The instance with this id.
///
/// # Errors
/// 404 in Consul's words when there is none; 500 when this node cannot know for want of a leader.
pub(crate) async fn instance(call: &Call, id: &str) -> Result<Arc<Instance>> {
    let find = || call.layer.ids.instance(&call.app.consensus.catalog(), id, &call.app.name);
    look_twice(call, find).await?.ok_or_else(|| {
        Failure::not_found(format!(
            "Unknown service ID {id:?}. Ensure that the service ID is passed, not the service name."
        ))
    })
}

/// The check with this id.
///
/// # Errors
/// As [`instance`].
pub(crate) async fn check(call: &Call, id: &str) -> Result<FoundCheck> {
    find_check(call, id).await?.ok_or_else(|| {
        Failure::not_found(format!("Unknown check ID {id:?}. Ensure that the check ID is passed, not the check name."))
    })
}

/// The check with this id, if there is one anywhere.
///
/// # Errors
/// 500 when this node cannot know for want of a leader.
pub(crate) async fn find_check(call: &Call, id: &str) -> Result<Option<FoundCheck>> {
    look_twice(call, || call.layer.ids.check(&call.app.consensus.catalog(), id, &call.app.name)).await
}

/// What `find` finds here, else when all that was written before this began is here too: another node may have taken the
/// registration a moment ago.
async fn look_twice<T>(call: &Call, find: impl Fn() -> Option<T>) -> Result<Option<T>> {
    if let Some(found) = find() {
        return Ok(Some(found));
    }
    catch_up(call).await?;
    Ok(find())
}

/// Waits until all that was written anywhere before this began is here.
///
/// # Errors
/// 500 without a leader.
pub(crate) async fn catch_up(call: &Call) -> Result<()> {
    await_leader(call, Instant::now() + LOOK_DEADLINE).await
}

/// The host of who registers something that does not say where it is: where the call came from, or this node when that is the
/// same machine.
///
/// # Errors
/// 500 while this node does not know its own address.
pub(crate) fn caller_host(call: &Call) -> Result<Host> {
    let caller = call.from.ip().to_canonical();
    if !caller.is_loopback() {
        return Host::try_from(caller.to_string().as_str()).map_err(|error| Failure::internal(&error));
    }
    let status = call.app.consensus.status();
    let mut members = status.voters.values().chain(status.learners.values());
    let own = members.find(|member| member.name == call.app.name).map(host_of);
    Host::try_from(own.unwrap_or("127.0.0.1")).map_err(|error| Failure::internal(&error))
}
