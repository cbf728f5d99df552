//! All routes, and what every request passes through.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, delete, get, post, put};
use futures_util::future::{Either, ready};
use hyper::body::Incoming;
use rollcall_api::{Code, PROBLEM_JSON, Problem, headers, paths};
use rollcall_types::ServiceName;
use tokio::time::Instant;
use tower::Service;
use tracing::{Instrument as _, Span, debug, error};

use super::browser;
use super::consistency::View;
use super::direct::Direct;
use super::extract::PeerAddress;
use super::failure::Failure;
use super::handlers::{
    cluster, configs, events, graph, health, history, instances, kv, leases, lifecycle, members, node, reports,
    scraping, selection, services, sessions, summary, watches,
};
use super::listener::Answering;
use super::meter::Meter;
use super::request_id::RequestIds;
use super::{listing, trace};
use crate::app::Shared;

/// What a client of a starting node is told to wait.
const STARTING_RETRY_MS: u64 = 1_000;

/// Every path with what it answers; one screen, grouped by resource.
pub(super) fn table() -> Vec<(&'static str, MethodRouter<Shared>)> {
    vec![
        (paths::SERVICES, get(services::list)),
        (paths::SERVICE, get(services::read).put(services::define).delete(services::remove)),
        (paths::CONFIG, get(configs::read).put(configs::set)),
        (paths::INSTANCES, get(instances::list).post(instances::create)),
        (
            paths::INSTANCE,
            get(instances::read).put(instances::register).patch(instances::patch).delete(instances::deregister),
        ),
        (paths::LEASE, put(leases::renew)),
        (paths::RENEW_LEASES, post(leases::renew_many)),
        (paths::INSTANCE_HEALTH, get(health::read)),
        (paths::DRAIN, post(lifecycle::drain)),
        (paths::UNDRAIN, post(lifecycle::undrain)),
        (paths::QUARANTINE, post(lifecycle::quarantine)),
        (paths::RELEASE, post(lifecycle::release)),
        (paths::CAPABILITY_INSTANCES, get(instances::list_by_capability)),
        (paths::SELECT, post(selection::select)),
        (paths::EXPLAIN, get(selection::explain)),
        (paths::CAPABILITY_SELECT, post(selection::select_capability)),
        (paths::SELECT_ANY, post(selection::select_any)),
        (paths::HEALTH, get(summary::overview)),
        (paths::SERVICE_HEALTH, get(summary::of_service)),
        (paths::GRAPH, get(graph::read)),
        (paths::REPORTS, post(reports::report)),
        (paths::FEEDBACK, get(reports::feedback)),
        (paths::SESSIONS, get(sessions::list).post(sessions::open)),
        (paths::SESSION, get(sessions::read).put(sessions::renew).delete(sessions::close)),
        (paths::EVENTS, get(events::list).post(events::fire)),
        (paths::KEYS, get(kv::list)),
        (paths::KEY, get(kv::read).put(kv::put).delete(kv::delete)),
        (paths::WATCH, get(watches::watch)),
        (paths::HISTORY, get(history::list)),
        (paths::CLUSTER, get(cluster::status)),
        (paths::RAFT, get(cluster::raft)),
        (paths::MEMBERS, get(members::list)),
        (paths::CLUSTER_EVENTS, get(members::events)),
        (paths::MEMBER, delete(cluster::remove)),
        (paths::LEAVE, post(cluster::leave)),
        (paths::TRANSFER_LEADER, post(cluster::transfer_leader)),
        (paths::SNAPSHOT, get(cluster::snapshot)),
        (paths::BLOCK_PEERS, post(cluster::block_peers)),
        (paths::DISK_FREE, post(cluster::disk_free)),
        (paths::SD_PROMETHEUS, get(scraping::targets)),
        (paths::LIVEZ, get(node::livez)),
        (paths::READYZ, get(node::readyz)),
        (paths::METRICS, get(node::metrics)),
        (paths::OPENAPI, get(node::openapi)),
    ]
}

fn routes(app: Shared) -> axum::Router {
    let api = table().into_iter().fold(axum::Router::new(), |api, (path, methods)| api.route(path, methods));
    api.fallback(async || {
        Failure::new(Code::NotFound, "there is nothing at this path; /openapi.json lists what there is")
    })
    .method_not_allowed_fallback(async || Failure::new(Code::MethodNotAllowed, "this path does not take this method"))
    .with_state(app)
}

/// The routes with what surrounds them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Router {
    shared: Arc<Surroundings>,
}

struct Surroundings {
    /// Empty until the node is a member of its cluster.
    serving: OnceLock<Serving>,
    ids: RequestIds,
    meter: Meter,
    /// The host under which clients are told to reach this node.
    own_host: String,
}

struct Serving {
    app: Shared,
    routes: axum::Router,
}

impl Router {
    /// A router that answers for a node which is not a member of its cluster yet: it lives, and serves nothing.
    /// `public_address` is the `host:port` under which clients reach it.
    pub(crate) fn starting(public_address: &str) -> Self {
        let own_host = browser::host_name(public_address).to_owned();
        let (ids, meter) = (RequestIds::new(), Meter::default());
        Self { shared: Arc::new(Surroundings { serving: OnceLock::new(), ids, meter, own_host }) }
    }

    /// Begins to serve.
    pub(crate) fn start(&self, app: Shared) {
        self.shared.serving.get_or_init(|| Serving { routes: routes(app.clone()), app });
    }

    /// Answers one request. What is answered from memory alone is ready at once. The futures of everything else are on the heap,
    /// or a connection would move some kilobytes for every request; that of a selection is small and one of its own.
    pub(crate) fn call(
        &self,
        request: Request<Incoming>,
        from: SocketAddr,
    ) -> impl Future<Output = Response<Body>> + use<> {
        let started = Instant::now();
        let shared = self.shared.clone();
        let id = shared.ids.of(request.headers());
        let direct = Direct::of(request.method(), request.uri());
        let is_plain_read = direct.is_some() || request.method().is_safe();
        let traced = trace::traced(&request, Some(&id));
        let span = traced.clone().unwrap_or_else(|| trace::span(is_plain_read, request.headers(), &id));
        let asked = Asked {
            started,
            id,
            traced,
            method: request.method().clone(),
            path: tracing::enabled!(tracing::Level::DEBUG).then(|| request.uri().path().to_owned()),
        };
        let answer: Pin<Box<dyn Future<Output = Response<Body>> + Send>> =
            match span.in_scope(|| shared.way(&request, direct, started)) {
                Way::Now(response) => return Either::Left(ready(span.in_scope(|| shared.finish(asked, response)))),
                Way::Select(app, service) => {
                    let body = request.into_body();
                    let answer = async move {
                        let response = selection::of_present(&app, &service, body).await.into_response();
                        shared.finish(asked, response)
                    };
                    Box::pin(answer.instrument(span))
                }
                Way::Table => {
                    let answer = async move {
                        let response = shared.dispatch(request, from).await;
                        shared.finish(asked, response)
                    };
                    Box::pin(answer.instrument(span))
                }
            };
        Either::Right(answer)
    }
}

impl Answering for Router {
    const CONNECTIONS: &'static str = "rollcall_http_connections";
    const CONNECTIONS_REFUSED: &'static str = "rollcall_http_connections_refused_total";
    const CONNECTION_ERRORS: &'static str = "rollcall_http_connection_errors_total";
    const HEADER_DEADLINE: Duration = Duration::from_secs(9);

    fn answer(
        &self,
        request: Request<Incoming>,
        from: SocketAddr,
    ) -> impl Future<Output = Response<Body>> + Send + use<> {
        self.call(request, from)
    }
}

/// What is kept of a request while it is answered.
struct Asked {
    started: Instant,
    id: HeaderValue,
    /// Its span, when it is part of a trace that is exported.
    traced: Option<Span>,
    method: Method,
    /// Only when it will be logged.
    path: Option<String>,
}

/// How a request is answered.
enum Way {
    /// It needs no waiting: it is refused, or asks for what is kept.
    Now(Response<Body>),
    /// An instance of a service is picked, when the body is there.
    Select(Shared, ServiceName),
    /// By the table of routes.
    Table,
}

impl Surroundings {
    fn way(&self, request: &Request<Incoming>, direct: Option<Direct>, now: Instant) -> Way {
        if let Some(failure) = browser::refuse(request.method(), request.headers(), &self.own_host) {
            return Way::Now(failure.into_response());
        }
        let Some(Serving { app, .. }) = self.serving.get() else { return Way::Table };
        match direct {
            Some(Direct::List(service, listing)) => {
                listing::answer(app, &View::present(app, now), &service, listing).map_or(Way::Table, Way::Now)
            }
            Some(Direct::Select(service)) => Way::Select(app.clone(), service),
            None => Way::Table,
        }
    }

    async fn dispatch(&self, request: Request<Incoming>, from: SocketAddr) -> Response<Body> {
        match self.serving.get() {
            Some(serving) => serving.dispatch(request, from).await,
            None if request.uri().path() == paths::LIVEZ => Response::new(Body::from("ok\n")),
            None => Failure::from(
                Problem::new(Code::NoLeader, "this node is starting: it waits for its peers, or for its log")
                    .with_retry_after_ms(STARTING_RETRY_MS),
            )
            .into_response(),
        }
    }

    /// Renders a failure, counts the answer, logs it, and gives it its id.
    fn finish(&self, asked: Asked, mut response: Response<Body>) -> Response<Body> {
        let Asked { started, id, traced, method, path } = asked;
        if let Some(failure) = response.extensions_mut().remove::<Failure>() {
            response = render(failure, &id, response);
        }
        let elapsed = started.elapsed();
        self.meter.count(&method, response.status(), elapsed);
        if let Some(path) = path {
            let (status, duration_ms) = (response.status().as_u16(), elapsed.as_millis());
            debug!(request.id = ?id, duration_ms, "{method} {path} answered {status}");
        }
        if let Some(span) = traced {
            trace::answered(&span, response.status());
        }
        response.headers_mut().insert(headers::REQUEST_ID, id);
        response
    }
}

impl Serving {
    async fn dispatch(&self, mut request: Request<Incoming>, from: SocketAddr) -> Response<Body> {
        request.extensions_mut().insert(PeerAddress(from));
        let Ok(response) = self.routes.clone().call(request.map(Body::new)).await;
        response
    }
}

/// Turns a failure into its body, now that the request id is known, and logs what only operators may see.
fn render(mut failure: Failure, id: &HeaderValue, empty: Response<Body>) -> Response<Body> {
    let id = id.to_str().unwrap_or_default();
    if let Some(internal) = &failure.internal {
        error!(request.id = id, error = internal.as_str(), "request {id} failed: {internal}");
    } else if failure.problem.status >= 500 {
        let detail = failure.problem.detail.as_str();
        debug!(request.id = id, error = detail, "request {id} refused: {detail}");
    }
    failure.problem.instance = Some(id.to_owned());
    let (mut parts, _) = empty.into_parts();
    parts.headers.extend(std::mem::take(&mut *failure.headers));
    parts.status = StatusCode::from_u16(failure.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // It counted the empty body that carried the failure here.
    parts.headers.remove(http::header::CONTENT_LENGTH);
    parts.headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    if let Some(wait) = failure.problem.retry_after_ms {
        parts.headers.insert(http::header::RETRY_AFTER, HeaderValue::from(wait.div_ceil(1000)));
    }
    let body = serde_json::to_vec(&failure.problem).unwrap_or_default();
    Response::from_parts(parts, Body::from(body))
}
