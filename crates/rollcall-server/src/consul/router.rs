//! All routes of Consul's API that are answered, and what every request passes through.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Body;
use axum::handler::Handler;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use axum::routing::{MethodRouter, get, put};
use futures_util::future::{Either, ready};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tower::Service as _;
use tracing::{Instrument as _, Span};

use super::call::From;
use super::failure::Failure;
use super::metrics::{self, Meter};
use super::params::Params;
use super::{Layer, agent, catalog, event, external, health, kv, pretty, refused, session, status, txn};
use crate::app::Shared;
use crate::http::listener::Answering;
use crate::http::{browser, trace};

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Front {
    pub(super) app: Shared,
    pub(super) layer: Arc<Layer>,
}

/// Paths with what answers them. A path that takes a name ends with [`REST`].
pub(super) type Table = Vec<(&'static str, MethodRouter<Front>)>;

/// The open end of a path: whatever is there, slashes too. Without it the path is routed as well, so that a missing name is
/// answered in words.
pub(super) const REST: &str = "/{*rest}";

/// Every path.
fn table(layer: &Layer) -> Table {
    let keys = [kv::table(), session::table(layer), txn::table(), event::table(layer)];
    let written = [external::table(layer), agent::table(layer)];
    let read = [status::table(), catalog::table(), health::table(), refused::table()];
    keys.into_iter().chain(written).chain(read).flatten().collect()
}

/// A route for what writes: PUT, and GET if this node is told to take it.
pub(super) fn write<H: Handler<T, Front>, T: 'static>(layer: &Layer, handler: H) -> MethodRouter<Front> {
    if layer.legacy_get { put(handler.clone()).get(handler) } else { put(handler) }
}

fn routes(front: Front) -> axum::Router {
    let mut routes = axum::Router::new();
    for (path, methods) in table(&front.layer) {
        if let Some(fixed) = path.strip_suffix(REST) {
            routes = routes.route(fixed, methods.clone()).route(&format!("{fixed}/"), methods.clone());
        }
        routes = routes.route(path, methods);
    }
    routes
        .fallback(async || Failure::not_found("404 page not found"))
        .method_not_allowed_fallback(async |request: axum::extract::Request| {
            Failure::new(StatusCode::METHOD_NOT_ALLOWED, format!("method {} not allowed", request.method()))
        })
        .route("/", get(async || super::answer::text("Consul Agent API of a Rollcall node; see /v1/agent/self\n")))
        .with_state(front)
}

/// The routes with what surrounds them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Router {
    shared: Arc<Surroundings>,
}

struct Surroundings {
    /// Empty until the node is a member of its cluster.
    serving: OnceLock<Serving>,
    meter: Meter,
    /// The host under which clients are told to reach this node.
    own_host: String,
}

struct Serving {
    front: Front,
    routes: axum::Router,
}

/// Where plain discovery is asked.
const HEALTH_SERVICE: &str = "/v1/health/service/";

impl Router {
    /// A router that answers for a node which is not a member of its cluster yet. `public_address` is the `host:port` under
    /// which clients reach it.
    pub(crate) fn starting(public_address: &str) -> Self {
        let own_host = browser::host_name(public_address).to_owned();
        Self { shared: Arc::new(Surroundings { serving: OnceLock::new(), meter: Meter::default(), own_host }) }
    }

    /// Begins to serve.
    pub(crate) fn start(&self, app: Shared, layer: Arc<Layer>) {
        let front = Front { app, layer };
        self.shared.serving.get_or_init(|| Serving { routes: routes(front.clone()), front });
    }
}

impl Answering for Router {
    const CONNECTIONS: &'static str = metrics::CONNECTIONS;
    const CONNECTIONS_REFUSED: &'static str = metrics::CONNECTIONS_REFUSED;
    const CONNECTION_ERRORS: &'static str = metrics::CONNECTION_ERRORS;
    // Longer than that of the native API: clients of Consul keep connections idle and do not expect them to be closed.
    const HEADER_DEADLINE: Duration = Duration::from_secs(75);

    fn answer(
        &self,
        request: Request<Incoming>,
        from: SocketAddr,
    ) -> impl Future<Output = Response<Body>> + Send + use<> {
        let shared = self.shared.clone();
        // What is not traced has no span: nothing names it, since there is no request id.
        let span = trace::traced(&request, None).unwrap_or_else(Span::none);
        if let Some(response) = span.in_scope(|| shared.at_once(&request)) {
            shared.finish(&span, response.status());
            return Either::Left(ready(response));
        }
        // On the heap, since a connection would move it for every request.
        let within = span.clone();
        let answer = async move {
            let response = shared.answer(request, from).await;
            shared.finish(&span, response.status());
            response
        };
        Either::Right(Box::pin(answer.instrument(within)))
    }
}

impl Surroundings {
    /// The answer to a request that needs neither waiting nor the table of routes: it is refused, or asks for what is kept.
    fn at_once(&self, request: &Request<Incoming>) -> Option<Response<Body>> {
        if let Some(refused) = browser::refuse(request.method(), request.headers(), &self.own_host) {
            return Some(Failure::from(refused).into_response());
        }
        let serving = self.serving.get()?;
        let name = request.uri().path().strip_prefix(HEALTH_SERVICE).filter(|_| request.method() == Method::GET)?;
        super::health::at_once(&serving.front, name, &Params::parse(request.uri().query().unwrap_or_default()))
    }

    /// Counts an answer, and tells of it in the span of its request.
    fn finish(&self, span: &Span, status: StatusCode) {
        self.meter.count(status);
        trace::answered(span, status);
    }

    async fn answer(&self, mut request: Request<Incoming>, from: SocketAddr) -> Response<Body> {
        let Some(Serving { routes, .. }) = self.serving.get() else { return Failure::no_leader().into_response() };
        let is_pretty = request.uri().query().is_some_and(|query| Params::parse(query).has("pretty"));
        request.extensions_mut().insert(From(from));
        let Ok(response) = routes.clone().call(request.map(Body::new)).await;
        if is_pretty { indented(response).await } else { response }
    }
}

/// Longest answer that is indented, bytes: nobody reads more, and it takes its memory twice.
const PRETTY_BYTES_MAX: u64 = 4 << 20;

/// The same answer for people, if it is JSON.
async fn indented(response: Response<Body>) -> Response<Body> {
    let json = HeaderValue::from_static("application/json");
    let is_short = response.body().size_hint().exact().is_some_and(|size| size <= PRETTY_BYTES_MAX);
    if response.headers().get(header::CONTENT_TYPE) != Some(&json) || !is_short {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(body) = body.collect().await else { return Failure::server("the answer broke off").into_response() };
    // It counted what was there before.
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(pretty::indented(&body.to_bytes())))
}
