//! What the benches choose from.

use std::time::Duration;

use rollcall_routing::{Candidate, LoadReport, Performance};
use rollcall_types::{InstanceId, Label, ServiceKey, ServiceName, Status, Tag, UnixMillis, Version};

/// When questions are asked.
pub(crate) const NOW: UnixMillis = UnixMillis::new(1_700_000_000_000);

/// Instances with every signal, in three zones.
pub(crate) fn candidates(n: u32) -> Vec<Candidate> {
    let service = ServiceKey::from(&ServiceName::try_from("orders").expect("a name"));
    let label = |text: &str| Label::try_from(text).expect("a label");
    let candidate = |i: u32| {
        let id = InstanceId::try_from(&*format!("orders-{i:04}")).expect("an id");
        let seen = Performance {
            latency: Duration::from_millis(20 + u64::from(i % 7)),
            success: 0.999,
            samples: 80.0,
            at: NOW,
        };
        Candidate {
            status: Status::Passing,
            health: Some(0.98),
            zone: Some(label(["a", "b", "c"][i as usize % 3])),
            region: Some(label("eu")),
            version: Version::try_from("1.4.2").ok(),
            tags: Tag::try_from("api").into_iter().collect(),
            load: Some(LoadReport { in_flight: Some(i % 50), used: Some(0.3), at: NOW }),
            max_concurrent: Some(100),
            performance: Some(seen),
            contexts: vec![(label("checkout"), seen)],
            cost_micros: Some(100),
            ..Candidate::new(service.clone(), id)
        }
    };
    (0..n).map(candidate).collect()
}
