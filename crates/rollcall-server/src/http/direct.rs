//! The two questions that most requests ask, answered without the way through the table of routes: plain discovery of a
//! service, and whom to pick of it.
//!
//! A route costs a dozen allocations (the matched path and its values in the request's extensions, boxed futures and bodies),
//! more than either answer. So what is asked in the usual words is recognised here and goes to the same functions that
//! the handlers call. Everything else goes by the table, a name that has to be decoded or is refused too: there is one
//! place that tells callers what is wrong.

use axum::http::{Method, Uri};
use rollcall_types::ServiceName;

use crate::selection::Listing;

/// In front of the name in [`paths::INSTANCES`](rollcall_api::paths::INSTANCES) and [`paths::SELECT`](rollcall_api::paths::SELECT).
const SERVICES: &str = "/v1/services/";

/// A question that is answered directly.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Direct {
    /// A plain list of a service.
    List(ServiceName, Listing),
    /// An instance of a service.
    Select(ServiceName),
}

impl Direct {
    /// What a request asks, if it is one of these.
    pub(super) fn of(method: &Method, uri: &Uri) -> Option<Self> {
        let (name, what) = uri.path().strip_prefix(SERVICES)?.split_once('/')?;
        let query = uri.query().unwrap_or_default();
        let name = || ServiceName::try_from(name).ok();
        match (method, what, query) {
            (&Method::GET, "instances", "" | "health=any") => Some(Self::List(name()?, Listing::All)),
            (&Method::GET, "instances", "health=healthy") => Some(Self::List(name()?, Listing::Healthy)),
            (&Method::POST, "select", "") => Some(Self::Select(name()?)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use rollcall_api::paths;

    use super::*;

    fn asked(method: Method, uri: &str) -> Option<Direct> {
        Direct::of(&method, &uri.parse().unwrap())
    }

    #[test]
    fn the_usual_words_are_recognised() {
        let web = ServiceName::try_from("web").unwrap();
        let (list, select) = (paths::instances(&web), paths::select(&web));
        assert_eq!(asked(Method::GET, &list), Some(Direct::List(web.clone(), Listing::All)));
        let healthy = format!("{list}?health=healthy");
        assert_eq!(asked(Method::GET, &healthy), Some(Direct::List(web.clone(), Listing::Healthy)));
        assert_eq!(asked(Method::POST, &select), Some(Direct::Select(web)));
    }

    #[test]
    fn everything_else_goes_by_the_table() {
        for (method, uri) in [
            (Method::HEAD, "/v1/services/web/instances"),
            (Method::POST, "/v1/services/web/instances"),
            (Method::GET, "/v1/services/web/select"),
            (Method::GET, "/v1/services/web/instances/"),
            (Method::GET, "/v1/services/web/instances/1"),
            (Method::GET, "/v1/services/web/instances?health=healthy&tag=a"),
            (Method::GET, "/v1/services/web/instances?health=ill"),
            (Method::POST, "/v1/services/web/select?consistency=leader"),
            (Method::GET, "/v1/services/w%65b/instances"),
            (Method::GET, "/v1/services//instances"),
            (Method::GET, "/v1/capabilities/web/instances"),
        ] {
            assert_eq!(asked(method.clone(), uri), None, "{method} {uri}");
        }
    }
}
