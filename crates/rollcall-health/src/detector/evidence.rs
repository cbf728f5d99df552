//! What a member publishes of its own observations, and its text.
//!
//! ```text
//! 1 <lateness 0-3> <name>:<generation>:<heartbeat>,… <name>,…
//!                  suspicions                        unheard
//! ```
//! One space between the four fields, numbers in lower-case hexadecimal, names in ascending order, an empty list is an empty
//! field: `1 0 db-2:18c9:3f db-9`. It is text because gossip carries text. Each member writes only its own, so two
//! suspicions of one member by two origins are two independent observations, and gossip repairs what got lost (SWIM's
//! bounded retransmission does not). Decoding accepts exactly what encoding makes, so equal evidence is equal text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use rollcall_types::NodeName;
use thiserror::Error;

/// The only version of the format.
const VERSION: &str = "1";

/// How far behind its own schedule a process was recently. What a late process says about others weighs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Lateness {
    /// Below 100 ms.
    #[default]
    OnTime,
    /// 100 ms to 1 s.
    Late,
    /// 1 s to 5 s.
    VeryLate,
    /// 5 s and more: it was stopped, or its machine was.
    Stopped,
}

impl Lateness {
    /// A tick that comes this much too late counts as a stall.
    pub const THRESHOLD: Duration = Duration::from_millis(100);

    /// The band of a delay.
    pub fn of(late: Duration) -> Self {
        match late.as_millis() {
            0..=99 => Self::OnTime,
            100..=999 => Self::Late,
            1000..=4999 => Self::VeryLate,
            _ => Self::Stopped,
        }
    }

    /// The word for it in logs and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OnTime => "on_time",
            Self::Late => "late",
            Self::VeryLate => "very_late",
            Self::Stopped => "stopped",
        }
    }
}

/// The life of a member up to which somebody suspects it: any progress beyond refutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Heard {
    /// Start of the process.
    pub generation: u64,
    /// Last heartbeat of it that the origin saw.
    pub heartbeat: u64,
}

/// All that one member publishes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Evidence {
    /// How late the origin is.
    pub lateness: Lateness,
    /// Whom it suspects or holds dead on its own probes. At most [`Self::SUSPICIONS_MAX`].
    pub suspicions: BTreeMap<NodeName, Heard>,
    /// Whose packets do not reach it though others hear them. At most [`Self::UNHEARD_MAX`].
    pub unheard: BTreeSet<NodeName>,
}

/// Why text is no evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EvidenceError {
    /// Another version, newer or never made.
    #[error("the version of a member's evidence is unknown")]
    Version,
    /// More than is ever published.
    #[error(
        "a member's evidence holds more than {} suspicions or {} unheard",
        Evidence::SUSPICIONS_MAX,
        Evidence::UNHEARD_MAX
    )]
    TooMuch,
    /// Not what encoding makes.
    #[error("a member's evidence is malformed")]
    Malformed,
}

impl Evidence {
    /// Most suspicions in one text. A member is a monitor of five others on average, so 64 are many at once already.
    pub const SUSPICIONS_MAX: usize = 64;
    /// Most unheard members in one text.
    pub const UNHEARD_MAX: usize = 16;
    /// Longest text, in bytes.
    pub const MAX_BYTES: usize = 5
        + Self::SUSPICIONS_MAX * (NodeName::MAX_BYTES + 2 * (1 + 16) + 1)
        + Self::UNHEARD_MAX * (NodeName::MAX_BYTES + 1);

    /// The text of it. What is beyond the bounds is left out.
    pub fn encode(&self) -> String {
        let mut text = format!("{VERSION} {} ", self.lateness as u8);
        for (i, (name, heard)) in self.suspicions.iter().take(Self::SUSPICIONS_MAX).enumerate() {
            let comma = if i == 0 { "" } else { "," };
            // Writing to a string cannot fail.
            let _ = write!(text, "{comma}{name}:{:x}:{:x}", heard.generation, heard.heartbeat);
        }
        text.push(' ');
        for (i, name) in self.unheard.iter().take(Self::UNHEARD_MAX).enumerate() {
            text.push_str(if i == 0 { "" } else { "," });
            text.push_str(name);
        }
        text
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`EvidenceError`] for everything else.
    pub fn decode(text: &str) -> Result<Self, EvidenceError> {
        let (version, rest) = text.split_once(' ').ok_or(EvidenceError::Malformed)?;
        if version != VERSION {
            return Err(EvidenceError::Version);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(EvidenceError::TooMuch);
        }
        let mut fields = rest.split(' ');
        let mut field = || fields.next().ok_or(EvidenceError::Malformed);
        let (lateness, suspicions, unheard) = (field()?, field()?, field()?);
        let evidence = Self {
            lateness: read_lateness(lateness)?,
            suspicions: read_ascending(suspicions, Self::SUSPICIONS_MAX, read_suspicion)?.into_iter().collect(),
            unheard: read_ascending(unheard, Self::UNHEARD_MAX, |item| Some((read_name(item)?, ())))?
                .into_iter()
                .map(|(name, ())| name)
                .collect(),
        };
        if fields.next().is_none() { Ok(evidence) } else { Err(EvidenceError::Malformed) }
    }
}

fn read_lateness(text: &str) -> Result<Lateness, EvidenceError> {
    match text {
        "0" => Ok(Lateness::OnTime),
        "1" => Ok(Lateness::Late),
        "2" => Ok(Lateness::VeryLate),
        "3" => Ok(Lateness::Stopped),
        _ => Err(EvidenceError::Malformed),
    }
}

/// A list whose names strictly ascend.
fn read_ascending<T>(
    text: &str,
    most: usize,
    read: impl Fn(&str) -> Option<(NodeName, T)>,
) -> Result<Vec<(NodeName, T)>, EvidenceError> {
    let mut items: Vec<(NodeName, T)> = Vec::new();
    if text.is_empty() {
        return Ok(items);
    }
    for item in text.split(',') {
        if items.len() == most {
            return Err(EvidenceError::TooMuch);
        }
        let item = read(item).ok_or(EvidenceError::Malformed)?;
        if items.last().is_some_and(|last| last.0 >= item.0) {
            return Err(EvidenceError::Malformed);
        }
        items.push(item);
    }
    Ok(items)
}

fn read_suspicion(text: &str) -> Option<(NodeName, Heard)> {
    let (name, life) = text.split_once(':')?;
    let (generation, heartbeat) = life.split_once(':')?;
    Some((read_name(name)?, Heard { generation: read_hex(generation)?, heartbeat: read_hex(heartbeat)? }))
}

fn read_name(text: &str) -> Option<NodeName> {
    NodeName::try_from(text).ok()
}

/// Lower-case hexadecimal without leading zeros or a sign.
fn read_hex(text: &str) -> Option<u64> {
    let is_canonical = !text.is_empty()
        && (text == "0" || !text.starts_with('0'))
        && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_canonical { u64::from_str_radix(text, 16).ok() } else { None }
}
