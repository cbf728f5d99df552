//! What a probed instance answers.

use super::grpc;
use super::page::Sink as _;
use super::scrape::MetricsPage;

/// Metrics that are read the same however they are cut, and a message of the gRPC health protocol.
pub(crate) fn probe_answer(bytes: &[u8]) {
    let read = |size: usize| {
        let mut page = MetricsPage::default();
        bytes.chunks(size).for_each(|part| page.take(part));
        page.load()
    };
    let whole = read(bytes.len().max(1));
    assert_eq!(whole, read(3));
    if let Some(load) = whole {
        let parts = [load.cpu, load.memory, load.error_rate];
        assert!(parts.into_iter().flatten().all(|part| part.is_finite() && part >= 0.0), "{load:?}");
    }
    let _ = grpc::serving_status(bytes);
}
