//! Forecasts of the instances of one chunk as one gossip value, beside its digest, with the key `f/<chunk>`.
//!
//! ```text
//! base64url without padding of:
//!   1 byte    version, 1
//!   for each instance that degrades, in order of slot, 29 bytes, numbers little-endian:
//!     1 byte    place in the chunk, 0 to 63
//!     2 bytes   tenancy
//!     1 byte    bit 0–3 quantity, 4–5 outlook (1 degrading, 2 failure predicted), 6 straight, 7 zero
//!     4 bytes   level, IEEE 754 single
//!     4 bytes   threshold, the same
//!     4 bytes   rate per minute, the same: units when straight, else the slope of the natural logarithm
//!     1 byte    confidence in percent
//!     12 bytes  due in ms: earliest, likely, latest; all ones: never. All three never: nothing is due
//! ```
//! Digests carry trend and time class of every instance in five bits; only those few of which something is expected have numbers
//! here. The same content has exactly one text. There is no checksum: what gossip delivers is authenticated. Times count from
//! when the value was written; whoever reads it later has less. An observer writes it anew when [`Forecast::is_news`] says so, and
//! deletes it when nothing is expected any more.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::alarm::Outlook;
use super::numbers::{Due, Forecast};
use super::quantity::Quantity;
use crate::digest::{CHUNK_SLOTS, ChunkId, Slot, Tenancy};

const VERSION: u8 = 1;
const ENTRY: usize = 29;
const KEY_PREFIX: &str = "f/";
/// Longest text, in bytes: all slots of a chunk degrade.
pub const FORECASTS_TEXT_MAX: usize = ((1 + ENTRY * CHUNK_SLOTS as usize) * 4).div_ceil(3);

/// The key of the forecasts of a chunk in gossip.
pub fn key(chunk: ChunkId) -> String {
    format!("{KEY_PREFIX}{chunk}")
}

/// The chunk whose key this is; `None` when it is no such key, or not written as [`key`] writes it.
pub fn chunk_of_key(key: &str) -> Option<ChunkId> {
    ChunkId::from_digits(key.strip_prefix(KEY_PREFIX)?)
}

/// What one observer expects of the instances of one chunk.
///
/// Invariant: places rise, and lie within a chunk.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Forecasts(Vec<(u8, Tenancy, Forecast)>);

/// Why a text is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ForecastsError {
    /// It is longer than any.
    #[error("forecasts of {0} bytes are too long")]
    TooLong(usize),
    /// It is not base64url without padding, written in the one way there is.
    #[error("forecasts that are not base64url")]
    NotBase64,
    /// It was written in another version.
    #[error("forecasts of the unknown version {0}")]
    UnknownVersion(u8),
    /// It does not consist of whole entries.
    #[error("forecasts whose length fits no number of entries")]
    WrongLength,
    /// Places do not rise, or lie outside the chunk.
    #[error("forecasts that are out of order")]
    OutOfOrder,
    /// A quantity or outlook that this version does not have, or a number that cannot be.
    #[error("a forecast that cannot be")]
    NotSound,
}

impl ForecastsError {
    /// The reason in one word, for metrics.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::TooLong(_) => "too_long",
            Self::NotBase64 => "not_base64",
            Self::UnknownVersion(_) => "unknown_version",
            Self::WrongLength => "wrong_length",
            Self::OutOfOrder => "out_of_order",
            Self::NotSound => "not_sound",
        }
    }
}

impl Forecasts {
    /// Those of the instances of `chunk`; slots of another chunk are left out, of two for one slot the later counts.
    pub fn of(chunk: ChunkId, all: impl IntoIterator<Item = (Slot, Tenancy, Forecast)>) -> Self {
        let of_chunk = all.into_iter().filter(|(slot, ..)| slot.chunk() == chunk);
        let by_place: std::collections::BTreeMap<_, _> =
            of_chunk.map(|(slot, tenancy, forecast)| (slot.place() as u8, (tenancy, forecast))).collect();
        Self(by_place.into_iter().map(|(place, (tenancy, forecast))| (place, tenancy, forecast)).collect())
    }

    /// What is expected of an instance; `slot` must lie in the chunk. `None` when nothing is, or it is about another that had
    /// the slot.
    pub fn get(&self, slot: Slot, tenancy: Tenancy) -> Option<&Forecast> {
        let found = self.0.binary_search_by_key(&(slot.place() as u8), |entry| entry.0).ok()?;
        self.0.get(found).filter(|entry| entry.1 == tenancy).map(|entry| &entry.2)
    }

    /// Instances of which something is expected.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is expected.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads a text. Total, and never takes more memory than a full chunk needs.
    ///
    /// # Errors
    /// [`ForecastsError`] when it is none.
    pub fn decode(text: &str) -> Result<Self, ForecastsError> {
        if text.len() > FORECASTS_TEXT_MAX {
            return Err(ForecastsError::TooLong(text.len()));
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| ForecastsError::NotBase64)?;
        let (&version, rest) = bytes.split_first().ok_or(ForecastsError::WrongLength)?;
        if version != VERSION {
            return Err(ForecastsError::UnknownVersion(version));
        }
        let (entries, []) = rest.as_chunks::<ENTRY>() else { return Err(ForecastsError::WrongLength) };
        let is_rising = entries.windows(2).all(|two| two[0][0] < two[1][0]);
        if !is_rising || entries.iter().any(|entry| u32::from(entry[0]) >= CHUNK_SLOTS) {
            return Err(ForecastsError::OutOfOrder);
        }
        let entries = entries.iter().map(|entry| unpack(entry).ok_or(ForecastsError::NotSound));
        Ok(Self(entries.collect::<Result<_, _>>()?))
    }

    /// Writes the text.
    pub fn encode(&self) -> String {
        let mut bytes = Vec::with_capacity(1 + ENTRY * self.0.len());
        bytes.push(VERSION);
        for entry in &self.0 {
            pack(entry, &mut bytes);
        }
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }
}

fn pack((place, tenancy, it): &(u8, Tenancy, Forecast), bytes: &mut Vec<u8>) {
    bytes.push(*place);
    bytes.extend(tenancy.bits().to_le_bytes());
    pack_numbers(it, bytes);
}

fn unpack(entry: &[u8; ENTRY]) -> Option<(u8, Tenancy, Forecast)> {
    let [place, low, high, numbers @ ..] = entry;
    Some((*place, Tenancy::from_bits(u16::from_le_bytes([*low, *high])), unpack_numbers(numbers)?))
}

/// Bytes of a forecast without whom it is about.
pub(super) const NUMBERS: usize = ENTRY - 3;

/// A forecast as bytes: of an entry what follows place and tenancy.
pub(super) fn pack_numbers(it: &Forecast, bytes: &mut Vec<u8>) {
    let outlook = if it.outlook == Outlook::FailurePredicted { 2 } else { 1 };
    bytes.push(it.quantity as u8 | outlook << 4 | u8::from(it.is_straight) << 6);
    bytes.extend([it.level, it.threshold, it.rate_per_minute].map(f32::to_le_bytes).as_flattened());
    bytes.push(it.confidence);
    let due = it.due.map_or([Due::NEVER; 3], |due| [due.earliest, due.likely, due.latest.unwrap_or(Due::NEVER)]);
    bytes.extend(due.map(u32::to_le_bytes).as_flattened());
}

/// What [`pack_numbers`] packed; `None` when that cannot be.
pub(super) fn unpack_numbers(packed: &[u8; NUMBERS]) -> Option<Forecast> {
    let [kind, numbers @ ..] = packed;
    let (numbers, rest) = numbers.split_first_chunk::<12>()?;
    let (&confidence, due) = rest.split_first()?;
    let (numbers, _) = numbers.as_chunks::<4>();
    let &[level, threshold, rate_per_minute] = numbers else { return None };
    let (due, _) = due.as_chunks::<4>();
    let &[earliest, likely, latest] = due else { return None };
    let forecast = Forecast {
        quantity: *Quantity::ALL.get(usize::from(kind & 0xf))?,
        outlook: match kind >> 4 & 0b1011 {
            1 => Outlook::Degrading,
            2 => Outlook::FailurePredicted,
            _ => return None,
        },
        is_straight: kind >> 6 & 1 == 1,
        level: f32::from_le_bytes(level),
        threshold: f32::from_le_bytes(threshold),
        rate_per_minute: f32::from_le_bytes(rate_per_minute),
        confidence,
        due: match [earliest, likely, latest].map(u32::from_le_bytes) {
            [Due::NEVER, Due::NEVER, Due::NEVER] => None,
            [earliest, likely, latest] => {
                Some(Due { earliest, likely, latest: (latest < Due::NEVER).then_some(latest) })
            }
        },
    };
    forecast.is_sound().then_some(forecast)
}
