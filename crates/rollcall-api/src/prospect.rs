//! News of forecasts: something else is expected of an instance or a node than before.
//!
//! They are observations of the answering node: without revision, in no history, and different for a moment from node to node.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Forecast, ForecastSignal, Outlook, Timestamp};

/// Most changes in one event; with more there are several events.
pub const FORECAST_CHANGES_MAX: usize = 200;

/// What the answering node learnt at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ForecastChanges {
    /// When, by the clock of the answering node: the times of the forecasts count from then.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The changes, at most 200.
    pub items: Vec<ForecastChange>,
}

/// Something else is expected of an instance (`service`, `id`) or of a node (`member`).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ForecastChange {
    /// Name of the node, of a change of a node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// Name of the service, of a change of an instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Id of the instance within the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What is measured. A node has a forecast for each signal, an instance one for all: the worst.
    pub signal: Option<ForecastSignal>,
    /// What was expected before; `null` is nothing.
    pub from: Option<Outlook>,
    /// What is expected now; `null` is nothing any more.
    pub outlook: Option<Outlook>,
    /// The numbers, while anything is expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Forecast>,
}

impl ForecastChange {
    /// Service and id of the instance that it is about.
    pub fn instance(&self) -> Option<(&str, &str)> {
        Some((self.service.as_deref()?, self.id.as_deref()?))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ClusterEvent;

    #[test]
    fn an_event_is_read_as_it_was_written_and_names_only_whom_it_is_about() {
        let change = json!({
            "service": "web", "id": "web-2", "signal": "latency", "from": "degrading", "outlook": "predicted_failure",
            "forecast": { "outlook": "predicted_failure", "time_to_failure_ms": 30_000, "signal": "latency" }
        });
        let over = json!({ "member": "node-3", "signal": "disk_free", "from": "degrading", "outlook": null });
        let text = json!({ "event": "forecast", "at": "2026-11-21T00:00:00.000Z", "items": [change, over] });
        let event: ClusterEvent = serde_json::from_value(text.clone()).unwrap();
        let ClusterEvent::Forecast(changes) = &event else { panic!("{event:?}") };
        assert_eq!(changes.items[0].instance(), Some(("web", "web-2")));
        assert_eq!((changes.items[1].instance(), changes.items[1].member.as_deref()), (None, Some("node-3")));
        assert_eq!(serde_json::to_value(&event).unwrap(), text);
        assert!(event.to_sse().starts_with("event: forecast\ndata: {"));
    }

    #[test]
    fn an_outlook_of_a_later_build_is_unknown_and_no_error() {
        let change: ForecastChange =
            serde_json::from_value(json!({ "member": "n", "outlook": "doomed", "signal": "entropy" })).unwrap();
        assert_eq!((change.outlook, change.signal), (Some(Outlook::Unknown), Some(ForecastSignal::Unknown)));
    }
}
