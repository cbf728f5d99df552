//! What single keys and transactions have in common.

use rollcall_catalog::Precondition;
use rollcall_types::{Revision, SessionId};

use crate::consul::failure::{Failure, Result};

/// The session that a caller names.
pub(in crate::consul) fn session(text: &str) -> Result<SessionId> {
    if text.is_empty() {
        return Err(Failure::server("missing session"));
    }
    text.parse().map_err(|_| Failure::server(format!("invalid session {text:?}")))
}

/// Consul's check-and-set: an index of 0 means that the key must not be there.
pub(in crate::consul) fn at(index: u64) -> Precondition {
    if index == 0 { Precondition::Absent } else { Precondition::At(Revision::new(index)) }
}
