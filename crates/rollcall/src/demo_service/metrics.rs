//! What a demo service tells Prometheus, and Rollcall of its load.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::Service;

/// `GET /metrics`.
pub(super) async fn page(State(service): State<Arc<Service>>) -> impl IntoResponse {
    let tasks = service.tasks.load(Ordering::Relaxed);
    let in_flight = service.in_flight.load(Ordering::Relaxed);
    let uptime = service.started.elapsed().as_secs_f64();
    let page = format!(
        "# HELP demo_tasks_total Tasks taken\n# TYPE demo_tasks_total counter\ndemo_tasks_total {tasks}\n\
         # HELP demo_uptime_seconds Time since the start\n# TYPE demo_uptime_seconds gauge\ndemo_uptime_seconds {uptime:.3}\n\
         # HELP rollcall_load_in_flight Tasks under way\n# TYPE rollcall_load_in_flight gauge\nrollcall_load_in_flight {in_flight}\n"
    );
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], page)
}
