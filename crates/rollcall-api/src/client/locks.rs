//! The calls about locks: sessions, keys that they hold, and events.

use bytes::Bytes;
use reqwest::Method;

use super::transport::{Answer, Call};
use super::{Client, ClientError};
use crate::query::{EventsQuery, KeyWriteQuery, KeysQuery, ReadQuery, SessionsQuery};
use crate::{EventRequest, Key, List, Session, SessionRequest, UserEvent, WriteReply, paths};

/// Sessions, and the keys that they hold. Every method fails with [`ClientError`]; a refusal is [`ClientError::Problem`].
impl Client {
    /// Opens a session.
    pub async fn open_session(&self, request: &SessionRequest) -> Result<Session, ClientError> {
        let call = Call::write(Method::POST, paths::SESSIONS)?.json(request)?;
        Ok(self.transport.fetch(&call).await?.value)
    }

    /// A page of the open sessions.
    pub async fn sessions(&self, query: &SessionsQuery) -> Result<Answer<List<Session>>, ClientError> {
        self.transport.fetch(&Call::get(paths::SESSIONS).query(query)?).await
    }

    /// A session.
    pub async fn session(&self, id: &str, query: &ReadQuery) -> Result<Answer<Session>, ClientError> {
        self.transport.fetch(&Call::get(paths::session(id)).query(query)?).await
    }

    /// Says that the holder of a session is there. The time to live counts anew from a moment after this was called, so a holder
    /// that counts from the call lets go before the cluster does.
    pub async fn renew_session(&self, id: &str) -> Result<Session, ClientError> {
        Ok(self.transport.fetch(&Call::idempotent(Method::PUT, paths::session(id))).await?.value)
    }

    /// Closes a session. That it was not there is no error.
    pub async fn close_session(&self, id: &str) -> Result<(), ClientError> {
        self.transport.fetch_bytes(&Call::idempotent(Method::DELETE, paths::session(id))).await.map(drop)
    }

    /// Sets a key and locks it for a session. `lock_held` says who has it; asking anew is another call.
    pub async fn acquire_key(
        &self,
        key: &str,
        value: impl Into<Bytes>,
        session: &str,
    ) -> Result<WriteReply, ClientError> {
        let query = KeyWriteQuery { acquire: Some(session.to_owned()), release: None };
        self.write_key(key, value.into(), &query).await
    }

    /// Sets a key that the session holds, and unlocks it.
    pub async fn release_key(
        &self,
        key: &str,
        value: impl Into<Bytes>,
        session: &str,
    ) -> Result<WriteReply, ClientError> {
        let query = KeyWriteQuery { acquire: None, release: Some(session.to_owned()) };
        self.write_key(key, value.into(), &query).await
    }

    async fn write_key(&self, key: &str, value: Bytes, query: &KeyWriteQuery) -> Result<WriteReply, ClientError> {
        let call = Call::write(Method::PUT, paths::key(key))?.query(query)?;
        Ok(self.transport.fetch(&call.body(value, "application/octet-stream")?).await?.value)
    }

    /// A page of the keys, without their values.
    pub async fn keys(&self, query: &KeysQuery) -> Result<Answer<List<Key>>, ClientError> {
        self.transport.fetch(&Call::get(paths::KEYS).query(query)?).await
    }
}

/// Events that users fire for each other.
impl Client {
    /// Fires an event.
    pub async fn fire_event(&self, request: &EventRequest) -> Result<UserEvent, ClientError> {
        let call = Call::write(Method::POST, paths::EVENTS)?.json(request)?;
        Ok(self.transport.fetch(&call).await?.value)
    }

    /// The latest events, oldest first.
    pub async fn events(&self, query: &EventsQuery) -> Result<Answer<List<UserEvent>>, ClientError> {
        self.transport.fetch(&Call::get(paths::EVENTS).query(query)?).await
    }
}
