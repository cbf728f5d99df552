//! What each command does. One file per kind of thing.
//!
//! Every function checks first and changes after, so a refusal leaves the catalogue as it was.

mod instances;
mod kv;
mod locks;
mod nodes;
mod services;
mod statuses;
mod user_events;

pub use locks::LOCK_SESSIONS_MAX;
use rollcall_types::Revision;
pub use user_events::USER_EVENTS_MAX;

use crate::catalog::Done;
use crate::{Catalog, Command, Precondition, Refusal, Request};

impl Catalog {
    pub(crate) fn execute(&mut self, revision: Revision, request: &Request) -> Result<Done, Refusal> {
        match &request.command {
            Command::Register { service, id, spec, expect } => {
                self.register(revision, &request.actor, service, id, spec, *expect)
            }
            Command::Deregister { service, id, expect, reason } => {
                self.deregister(revision, service, id, *expect, reason.clone())
            }
            Command::SetLifecycle { service, id, lifecycle, expect, reason } => {
                self.set_lifecycle(revision, service, id, lifecycle, *expect, reason.clone())
            }
            Command::Define { service, definition, expect } => self.define(revision, service, definition, *expect),
            Command::RemoveService { service, expect } => self.remove_service(revision, service, *expect),
            Command::SetConfig { service, document, schema_at, expect } => {
                self.set_config(revision, &request.actor, service, document, *schema_at, *expect)
            }
            Command::KvPut { key, value, flags, expect } => self.kv_put(revision, key, value, *flags, *expect),
            Command::KvDelete { key, expect } => self.kv_delete(revision, key, *expect),
            Command::AllocateNode { name, nonce } => self.allocate_node(name, *nonce),
            Command::ForgetNode { node } => Ok(self.forget_node(*node)),
            Command::RecordStatuses { transitions } => self.record_statuses(revision, transitions),
            Command::KvTransact { ops } => self.kv_transact(revision, ops),
            Command::OpenSession { id, spec } => self.open_session(revision, &request.actor, *id, spec),
            Command::RenewSession { id } => self.renew_session(revision, *id),
            Command::CloseSession { id, renewed, reason } => {
                self.close_session(revision, *id, *renewed, reason.clone())
            }
            Command::EndLockDelays { ended } => Ok(self.end_lock_delays(ended)),
            Command::FireEvent { event } => Ok(self.fire_event(revision, event)),
        }
    }
}

/// Checks `expect` against when the thing was last changed (`None`: it does not exist).
fn check(expect: Precondition, actual: Option<Revision>) -> Result<(), Refusal> {
    let holds = match expect {
        Precondition::None => true,
        Precondition::Exists => actual.is_some(),
        Precondition::Absent => actual.is_none(),
        Precondition::At(revision) => actual == Some(revision),
    };
    if holds { Ok(()) } else { Err(Refusal::PreconditionFailed { actual }) }
}
