//! A watch that survives its node: it comes back to the next one with the last revision it saw.

use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::unfold;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};

use super::sse::SseDecoder;
use super::transport::{Call, Opened, may_go_on};
use super::{Client, ClientError};
use crate::query::WatchQuery;
use crate::{ClusterEvent, WatchEvent, headers, paths};

impl Client {
    /// Follows the changes of `services` (none: all), after revision `since` (none: a snapshot comes first).
    ///
    /// Changes come once and in order, across any number of nodes. A snapshot whose connection broke comes again from
    /// part 0. The stream ends after an error: `revision_compacted` means to start again without `since`, anything else
    /// that no node could be reached for `give_up_after`. Dropping it closes the connection.
    pub fn watch(
        &self,
        services: &[&str],
        since: Option<u64>,
    ) -> impl Stream<Item = Result<WatchEvent, ClientError>> + Send + use<> {
        let following = Following {
            client: self.clone(),
            service: (!services.is_empty()).then(|| services.join(",")),
            resume_from: since,
            connection: None,
            lost_at: None,
        };
        unfold(Some(following), |following| async move {
            let mut following: Following = following?;
            match following.next().await {
                Ok(event) => Some((Ok(event), Some(following))),
                Err(error) => Some((Err(error), None)),
            }
        })
    }
}

impl Client {
    /// Follows what changes among the members, as one node sees it; all of them come first.
    ///
    /// The stream ends after an error, also when its node ends it; open another one then. Dropping it closes the connection.
    ///
    /// # Errors
    /// When no node can be reached.
    pub async fn cluster_events(
        &self,
    ) -> Result<impl Stream<Item = Result<ClusterEvent, ClientError>> + Send + use<>, ClientError> {
        let call = Call::get(paths::CLUSTER_EVENTS).header(reqwest::header::ACCEPT, "text/event-stream")?;
        let events = Events { opened: self.transport.stream(&call).await?, decoder: SseDecoder::default() };
        let silence_max = self.transport.options.watch_silence_max;
        Ok(unfold(Some(events), move |events| async move {
            let mut events: Events = events?;
            loop {
                match events.step(silence_max).await {
                    Ok(None) => {}
                    Ok(Some(event)) => return Some((Ok(event), Some(events))),
                    Err(error) => return Some((Err(error), None)),
                }
            }
        }))
    }
}

struct Following {
    client: Client,
    service: Option<String>,
    /// The last revision that was handed out whole.
    resume_from: Option<u64>,
    connection: Option<Events>,
    /// When a connection broke that gave no event yet since.
    lost_at: Option<Instant>,
}

impl Following {
    async fn next(&mut self) -> Result<WatchEvent, ClientError> {
        loop {
            match self.advance().await {
                Ok(Some(event)) => {
                    self.lost_at = None;
                    self.resume_from = event.resume_from().or(self.resume_from);
                    return Ok(event);
                }
                Ok(None) => {}
                Err(error) => {
                    self.connection = None;
                    // The node accepted the watch and dropped it: without a limit that could go on for ever.
                    let lost_at = *self.lost_at.get_or_insert_with(Instant::now);
                    let options = &self.client.transport.options;
                    if !may_go_on(&error, true) || lost_at.elapsed() >= options.give_up_after {
                        return Err(error);
                    }
                    self.client.transport.move_on().await;
                }
            }
        }
    }

    /// One step: connects, takes an event that is there, or reads more bytes.
    async fn advance(&mut self) -> Result<Option<WatchEvent>, ClientError> {
        let Some(events) = &mut self.connection else {
            let opened = self.client.transport.stream(&self.call()?).await?;
            self.connection = Some(Events { opened, decoder: SseDecoder::default() });
            return Ok(None);
        };
        events.step(self.client.transport.options.watch_silence_max).await
    }

    fn call(&self) -> Result<Call, ClientError> {
        let call = Call::get(paths::WATCH)
            .header(reqwest::header::ACCEPT, "text/event-stream")?
            .query(&WatchQuery { service: self.service.clone(), since: self.resume_from })?;
        match self.resume_from {
            Some(revision) => call.header(headers::LAST_EVENT_ID, &revision.to_string()),
            None => Ok(call),
        }
    }
}

/// A connection that server-sent events come from.
struct Events {
    opened: Opened,
    decoder: SseDecoder,
}

impl Events {
    /// Takes an event that is there, or reads more bytes.
    async fn step<T: StreamEvent>(&mut self, silence_max: Duration) -> Result<Option<T>, ClientError> {
        let Self { opened, decoder } = self;
        let unexpected = |reason: String| ClientError::Unexpected { node: opened.node.clone(), status: 200, reason };
        if let Some(event) = decoder.next_event().map_err(|_| unexpected("no event stream".to_owned()))? {
            return match serde_json::from_str(&event.data) {
                Ok(event) => Ok(Some(event)),
                Err(_) if is_of_unknown_kind::<T>(&event.data) => Ok(None),
                Err(error) => Err(unexpected(error.to_string())),
            };
        }
        let node = opened.node.clone();
        match timeout(silence_max, opened.response.chunk()).await {
            Err(_) | Ok(Ok(None)) => Err(ClientError::WatchEnded { node }),
            Ok(Err(source)) => Err(ClientError::Transport { node, source }),
            Ok(Ok(Some(chunk))) => {
                decoder.push(&chunk);
                Ok(None)
            }
        }
    }
}

/// The events of a stream. A newer node may send kinds that this build does not know: they are skipped.
trait StreamEvent: DeserializeOwned {
    /// What `event` says of each kind that is known.
    const KINDS: &[&str];
}

impl StreamEvent for WatchEvent {
    const KINDS: &[&str] = &["snapshot", "put", "delete", "definition", "config", "bookmark", "state"];
}

impl StreamEvent for ClusterEvent {
    const KINDS: &[&str] = &["members", "member", "forecast"];
}

fn is_of_unknown_kind<T: StreamEvent>(data: &str) -> bool {
    #[derive(Deserialize)]
    struct Kind {
        event: String,
    }
    serde_json::from_str::<Kind>(data).is_ok_and(|kind| !T::KINDS.contains(&kind.event.as_str()))
}
