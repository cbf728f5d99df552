//! What handlers take from a request, validated.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use rollcall_api::decode;
use rollcall_catalog::{Actor, Precondition};
use rollcall_types::{ActorName, Revision, SessionId};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::failure::{Failure, Result};
use crate::app::Shared;

/// The address a request came from; set by the router.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeerAddress(pub(crate) std::net::SocketAddr);

/// The values of the path, percent-decoded, each still to be validated with [`PathValues::get`].
pub(crate) struct PathValues(Vec<(String, String)>);

impl FromRequestParts<Shared> for PathValues {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self> {
        let Path(values) = Path::<Vec<(String, String)>>::from_request_parts(parts, &())
            .await
            .map_err(|_| Failure::parameter("path", "must be percent-encoded UTF-8"))?;
        Ok(Self(values))
    }
}

impl PathValues {
    /// The value called `name`, as it is.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, text)| text.as_str())
    }

    /// The value called `name`, as the validated type its handler asks for.
    pub(crate) fn get<T>(&self, name: &str) -> Result<T>
    where
        T: for<'t> TryFrom<&'t str, Error = rollcall_types::Invalid>,
    {
        named(name, self.text(name))
    }
}

/// The id of a session, in the path or the query under `name`.
pub(crate) fn session_id(name: &str, text: &str) -> Result<SessionId> {
    text.parse().map_err(|invalid: rollcall_types::Invalid| Failure::parameter(name, invalid.to_string()))
}

/// A value from a query, as the validated type its handler asks for.
pub(crate) fn named<T>(name: &str, text: &str) -> Result<T>
where
    T: for<'t> TryFrom<&'t str, Error = rollcall_types::Invalid>,
{
    T::try_from(text).map_err(|invalid| Failure::parameter(name, invalid.to_string()))
}

/// The query, decoded; unknown parameters are refused.
pub(crate) struct Query<T>(pub(crate) T);

/// Left in a request whose query a handler has read.
#[derive(Debug, Clone, Copy)]
struct QueryWasRead;

/// The query of a request that takes no parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoParameters {}

/// Refuses parameters that nobody has read: a caller who gives a condition must not be told that all is well without it.
pub(crate) fn refuse_unread_query(parts: &Parts) -> Result<()> {
    if let (Some(query), None) = (parts.uri.query(), parts.extensions.get::<QueryWasRead>()) {
        let NoParameters {} = decode::from_query(query)?;
    }
    Ok(())
}

impl<T: DeserializeOwned> FromRequestParts<Shared> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self> {
        let query = decode::from_query(parts.uri.query().unwrap_or_default())?;
        parts.extensions.insert(QueryWasRead);
        Ok(Self(query))
    }
}

/// Who asks: the name in `X-Rollcall-Actor`, else the address the connection came from.
pub(crate) fn actor(parts: &Parts, app: &Shared) -> Result<Actor> {
    let name = match header(&parts.headers, &rollcall_api::headers::ACTOR)? {
        Some(name) => ActorName::try_from(name)
            .map_err(|invalid| Failure::parameter(rollcall_api::headers::ACTOR.as_str(), invalid.to_string()))?,
        None => {
            let address = parts.extensions.get::<PeerAddress>().map(|from| from.0.ip().to_string()).unwrap_or_default();
            ActorName::try_from(address.as_str())
                .map_err(|invalid| Failure::internal(format!("no address for the request: {invalid}")))?
        }
    };
    Ok(Actor { name, via: app.name.clone() })
}

/// The condition in `If-Match` or `If-None-Match` (RFC 9110 §13.1); entity tags are revisions in quotes.
pub(crate) fn precondition(headers: &HeaderMap) -> Result<Precondition> {
    let none_match = header(headers, &http::header::IF_NONE_MATCH)?;
    let matches = header(headers, &http::header::IF_MATCH)?;
    match (matches, none_match) {
        (None, None) => Ok(Precondition::None),
        (Some("*"), None) => Ok(Precondition::Exists),
        (None, Some("*")) => Ok(Precondition::Absent),
        (Some(tag), None) => parse_tag(tag).map(Precondition::At).ok_or_else(|| {
            Failure::parameter("If-Match", format!("must be * or one revision in quotes, as ETag gave it; got {tag}"))
        }),
        (None, Some(tag)) => Err(Failure::parameter("If-None-Match", format!("must be * on a write; got {tag}"))),
        (Some(_), Some(_)) => Err(Failure::parameter("If-Match", "must not come together with If-None-Match")),
    }
}

/// The revision in an entity tag: `"41"`.
pub(crate) fn parse_tag(tag: &str) -> Option<Revision> {
    tag.trim().strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}

/// A header as text; `None` when it is absent.
pub(crate) fn header<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    value.to_str().map(Some).map_err(|_| Failure::parameter(name.as_str(), "must be visible ASCII characters"))
}
