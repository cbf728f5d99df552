//! What happened before the dashboard began, as lines like those of the watch.

use rollcall_api::HistoryRecord;

use super::{named, phrase};
use crate::state::{Noted, shown};
use crate::theme::health_tone;
use crate::verdict::Tone;

/// The records that are about services, each with its revision.
pub(super) fn noted(records: Vec<HistoryRecord>) -> impl Iterator<Item = (u64, Noted)> {
    records.into_iter().filter_map(|record| {
        let service = record.service.as_deref()?;
        let name = named(service, record.instance.as_deref());
        let (tone, word, text) = match record.state {
            Some(state) => {
                let from = record.from.map(|from| format!(" was {}", from.as_str())).unwrap_or_default();
                let cause = record.cause.as_deref().map(phrase).unwrap_or_default();
                (health_tone(state), state.as_str().to_owned(), format!("{name}{from}{cause}"))
            }
            None => {
                let reason = record.cause.as_deref().filter(|reason| !reason.is_empty());
                let reason = reason.map(|reason| format!(": {}", shown(reason))).unwrap_or_default();
                let tone = tone(&record.action);
                (tone, shown(&record.action), format!("{name} by {}{reason}", shown(&record.actor)))
            }
        };
        let about = record.instance.as_ref().map(|id| (service.to_owned(), id.clone()));
        Some((record.revision, Noted { serial: 0, at: record.at, tone, word, text, about }))
    })
}

fn tone(action: &str) -> Tone {
    match action {
        "deregistered" | "removed" | "draining" | "quarantined" => Tone::Warn,
        _ => Tone::Plain,
    }
}
