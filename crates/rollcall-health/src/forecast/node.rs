//! What a node expects of itself, as one gossip value with the key `forecast/node`.
//!
//! ```text
//! base64url without padding of:
//!   1 byte    version, 1
//!   for each quantity of which something is expected, in order of the codes of quantities, 26 bytes:
//!             the entry of an instance without its place and tenancy: see `forecast/format.rs`
//! ```
//! Five quantities at most, and no value while nothing is expected. The same content has exactly one text.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::format::{ForecastsError, NUMBERS, pack_numbers, unpack_numbers};
use super::numbers::Forecast;
use super::quantity::Quantity;

/// The key of a node's forecasts in gossip.
pub const NODE_KEY: &str = "forecast/node";
/// Longest text, in bytes: something is expected of every quantity.
pub const NODE_TEXT_MAX: usize = ((1 + NUMBERS * Quantity::OF_NODE.len()) * 4).div_ceil(3);
const VERSION: u8 = 1;

/// What a node expects of itself.
///
/// Invariant: quantities are those of nodes, each once, in order of their codes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NodeForecasts(Vec<Forecast>);

impl NodeForecasts {
    /// Those of `all` that are of nodes; of two of one quantity the later counts.
    pub fn of(all: impl IntoIterator<Item = Forecast>) -> Self {
        let of_node = all.into_iter().filter(|it| Quantity::OF_NODE.contains(&it.quantity));
        Self(of_node.map(|it| (it.quantity, it)).collect::<BTreeMap<_, _>>().into_values().collect())
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Forecast> {
        self.0.iter()
    }

    /// What is expected of a quantity.
    pub fn get(&self, quantity: Quantity) -> Option<&Forecast> {
        self.0.iter().find(|it| it.quantity == quantity)
    }

    /// Whether nothing is expected.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads a text. Total, and never takes more memory than five forecasts need.
    ///
    /// # Errors
    /// [`ForecastsError`] when it is none.
    pub fn decode(text: &str) -> Result<Self, ForecastsError> {
        if text.len() > NODE_TEXT_MAX {
            return Err(ForecastsError::TooLong(text.len()));
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| ForecastsError::NotBase64)?;
        let (&version, rest) = bytes.split_first().ok_or(ForecastsError::WrongLength)?;
        if version != VERSION {
            return Err(ForecastsError::UnknownVersion(version));
        }
        let (entries, []) = rest.as_chunks::<NUMBERS>() else { return Err(ForecastsError::WrongLength) };
        let all = entries.iter().map(|entry| unpack_numbers(entry).ok_or(ForecastsError::NotSound));
        let all = all.collect::<Result<Vec<_>, _>>()?;
        if all.iter().any(|it| !Quantity::OF_NODE.contains(&it.quantity)) {
            return Err(ForecastsError::NotSound);
        }
        if all.windows(2).any(|two| two[0].quantity >= two[1].quantity) {
            return Err(ForecastsError::OutOfOrder);
        }
        Ok(Self(all))
    }

    /// Writes the text.
    pub fn encode(&self) -> String {
        let mut bytes = Vec::with_capacity(1 + NUMBERS * self.0.len());
        bytes.push(VERSION);
        self.0.iter().for_each(|it| pack_numbers(it, &mut bytes));
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::{Due, Outlook};

    fn forecast(quantity: Quantity) -> Forecast {
        Forecast {
            quantity,
            outlook: Outlook::FailurePredicted,
            is_straight: true,
            level: 54e9,
            threshold: 5e9,
            rate_per_minute: -4.44e6,
            confidence: 71,
            due: Some(Due { earliest: 36_000_000, likely: 40_000_000, latest: None }),
        }
    }

    #[test]
    fn what_is_written_is_read_and_has_one_text() {
        assert_eq!(NodeForecasts::decode(&NodeForecasts::default().encode()), Ok(NodeForecasts::default()));
        let all = NodeForecasts::of(Quantity::OF_NODE.into_iter().rev().map(forecast));
        let text = all.encode();
        assert_eq!((text.len(), all.iter().count()), (NODE_TEXT_MAX, 5));
        assert_eq!(NodeForecasts::decode(&text), Ok(all.clone()));
        assert_eq!(all.get(Quantity::DiskFree), Some(&forecast(Quantity::DiskFree)));
        assert_eq!(NodeForecasts::of([forecast(Quantity::Latency)]), NodeForecasts::default(), "not of a node");
    }

    #[test]
    fn what_no_node_writes_is_refused() {
        let pair = |one, other| NodeForecasts(vec![forecast(one), forecast(other)]).encode();
        for (text, error) in [
            ("?".to_owned(), ForecastsError::NotBase64),
            (String::new(), ForecastsError::WrongLength),
            (BASE64_URL_SAFE_NO_PAD.encode([2]), ForecastsError::UnknownVersion(2)),
            (BASE64_URL_SAFE_NO_PAD.encode([1, 0]), ForecastsError::WrongLength),
            (BASE64_URL_SAFE_NO_PAD.encode([&[1][..], &[0xff; NUMBERS]].concat()), ForecastsError::NotSound),
            ("A".repeat(NODE_TEXT_MAX + 1), ForecastsError::TooLong(NODE_TEXT_MAX + 1)),
            (pair(Quantity::DiskFree, Quantity::Fsync), ForecastsError::OutOfOrder),
            (pair(Quantity::Fsync, Quantity::Fsync), ForecastsError::OutOfOrder),
            (NodeForecasts(vec![forecast(Quantity::Cpu)]).encode(), ForecastsError::NotSound),
        ] {
            assert_eq!(NodeForecasts::decode(&text), Err(error), "{text}");
        }
    }
}
