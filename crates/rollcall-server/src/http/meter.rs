//! What is counted of every request. The recorder is asked for each counter once: looking it up by its labels costs as much
//! as a tenth of a short answer.

use std::sync::OnceLock;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use metrics::{Counter, Histogram, counter, histogram};

const METHODS: [&str; 7] = ["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "other"];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Counts answers by method and class of status, and how long they took.
#[derive(Default)]
pub(super) struct Meter {
    answers: [[OnceLock<Counter>; CLASSES.len()]; METHODS.len()],
    durations: OnceLock<Histogram>,
}

impl Meter {
    pub(super) fn count(&self, method: &Method, status: StatusCode, elapsed: Duration) {
        let (method, class) = (position(method), usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1);
        let answers = self.answers[method][class].get_or_init(
            || counter!("rollcall_http_requests_total", "method" => METHODS[method], "status" => CLASSES[class]),
        );
        answers.increment(1);
        self.durations.get_or_init(|| histogram!("rollcall_http_request_duration_seconds")).record(elapsed);
    }
}

/// A method in one of few words.
pub(super) fn label(method: &Method) -> &'static str {
    METHODS[position(method)]
}

/// Position in [`METHODS`].
fn position(method: &Method) -> usize {
    METHODS.iter().position(|known| *known == method.as_str()).unwrap_or(METHODS.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_a_label() {
        for (method, label) in
            [(Method::GET, "GET"), (Method::POST, "POST"), (Method::HEAD, "HEAD"), (Method::OPTIONS, "other")]
        {
            assert_eq!(super::label(&method), label);
        }
    }
}
