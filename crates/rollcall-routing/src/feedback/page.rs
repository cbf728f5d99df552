//! What a node says of instances, as text that travels through gossip.
//!
//! ```text
//! 1                                  version
//! s web                              the service of what follows
//! i web-1                            the instance of what follows
//! p 12500 998 14.5 3 8001            latency in µs, success in ‰, samples, age in s, reporters as a set in hexadecimal
//! c search 30100 1000 5 3            context key, then the same without reporters
//! l 12 640 64 9                      requests in flight, resource used most in ‰, capacity, age in s; `-` for what is not said
//! e 25                               ejected for so many s more
//! ```
//! Words are separated by tabs, which no name holds. An instance belongs to one of [`PAGES`] pages, by its name; a page is one
//! value of at most [`PAGE_BYTES_MAX`], and what finds no room in it is left out: the order in which entries are given says what
//! matters most.
//!
//! **Ages and not times**, since the clocks of nodes differ: who reads a page counts back from its own clock. Rejected: the packed
//! digests of health, whose slots need the catalogue to be read, and whose four bytes have no room for a latency.

use std::fmt::Write as _;
use std::time::Duration;

use rollcall_types::{InstanceId, Label, ServiceKey, ServiceName, UnixMillis};

use super::told::{Entry, OwnLoad, Reporters, Said};
use super::{CONTEXTS_PER_INSTANCE_MAX, EJECTION_MAX, LATENCY_MAX};
use crate::candidate::{LoadReport, Performance};
use crate::hash::{hash, hash_pair};

/// Pages of a node. With [`PAGE_BYTES_MAX`] they hold 256 KiB, about 5,000 instances.
pub const PAGES: u8 = 64;
/// Longest page.
pub const PAGE_BYTES_MAX: usize = 4 << 10;
/// What begins the keys of pages.
pub const KEY_PREFIX: &str = "r/";

const VERSION: &str = "1";
/// Greatest age that is told, a day.
const AGE_MAX: u64 = 86_400;
/// Most samples that are believed of one node: more than [`super::WITNESSES_MAX`] reporters count for.
const SAMPLES_MAX: f64 = 1_000.0;

/// Why a page was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// It is longer than [`PAGE_BYTES_MAX`].
    #[error("it is too long")]
    TooLong,
    /// It was written by another version.
    #[error("it has another version")]
    Version,
    /// A line is not what it should be.
    #[error("line {0} cannot be read")]
    Line(usize),
}

impl PageError {
    /// A word for metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Version => "version",
            Self::Line(_) => "line",
        }
    }
}

/// The page on which an instance is.
pub fn page_of(service: &ServiceKey, instance: &InstanceId) -> u8 {
    let hash = hash_pair(hash(service.as_str().as_bytes()), hash(instance.as_str().as_bytes()));
    (hash % u64::from(PAGES)) as u8
}

/// The key under which a page is published.
pub fn key(page: u8) -> String {
    format!("{KEY_PREFIX}{page}")
}

/// The page of a key; `None` when it is none, or not written as [`key`] writes it.
pub fn page_of_key(text: &str) -> Option<u8> {
    let page = text.strip_prefix(KEY_PREFIX)?.parse().ok()?;
    (page < PAGES && key(page) == text).then_some(page)
}

/// Writes the entries, as many as find room, with the number of those that did not.
pub fn encode<'a>(entries: impl IntoIterator<Item = &'a Entry>, now: UnixMillis) -> (String, usize) {
    let mut text = String::from(VERSION);
    let (mut service, mut left_out) = (None, 0);
    for entry in entries {
        let before = text.len();
        if service != Some(&entry.service) {
            let _ = write!(text, "\ns\t{}", entry.service);
        }
        write_entry(&mut text, entry, now);
        if text.len() > PAGE_BYTES_MAX {
            text.truncate(before);
            left_out += 1;
        } else {
            service = Some(&entry.service);
        }
    }
    (text, left_out)
}

// Writing to a string cannot fail.
fn write_entry(text: &mut String, Entry { instance, said, .. }: &Entry, now: UnixMillis) {
    let _ = write!(text, "\ni\t{instance}");
    if let Some(performance) = &said.performance {
        let _ = write!(text, "\np\t");
        write_performance(text, performance, now);
        let _ = write!(text, "\t{:x}", said.reporters.0);
    }
    for (context, performance) in &said.contexts {
        let _ = write!(text, "\nc\t{context}\t");
        write_performance(text, performance, now);
    }
    if let Some(OwnLoad { report, capacity }) = &said.load {
        let used = report.used.map(|used| (used.clamp(0.0, 1.0) * 1e3).round() as u32);
        let _ = write!(
            text,
            "\nl\t{}\t{}\t{}\t{}",
            maybe(report.in_flight),
            maybe(used),
            maybe(*capacity),
            age(report.at, now)
        );
    }
    if let Some(until) = said.ejected_until.filter(|until| *until > now) {
        let _ = write!(text, "\ne\t{}", (until.get() - now.get()).div_ceil(1_000));
    }
}

fn write_performance(text: &mut String, performance: &Performance, now: UnixMillis) {
    let latency = performance.latency.min(LATENCY_MAX).as_micros();
    let success = (performance.success.clamp(0.0, 1.0) * 1e3).round();
    let samples = (performance.samples.clamp(0.0, SAMPLES_MAX) * 10.0).round() / 10.0;
    let _ = write!(text, "{latency}\t{success}\t{samples}\t{}", age(performance.at, now));
}

fn maybe(number: Option<u32>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

fn age(at: UnixMillis, now: UnixMillis) -> u64 {
    (now.get().saturating_sub(at.get()) / 1_000).min(AGE_MAX)
}

/// Reads a page that was heard `now`.
///
/// # Errors
/// [`PageError`]. A page is read as a whole or not at all.
pub fn decode(text: &str, now: UnixMillis) -> Result<Vec<Entry>, PageError> {
    if text.len() > PAGE_BYTES_MAX {
        return Err(PageError::TooLong);
    }
    let mut lines = text.split('\n').enumerate();
    if lines.next().is_none_or(|(_, version)| version != VERSION) {
        return Err(PageError::Version);
    }
    let mut reader = Reader { now, service: None, entries: Vec::new() };
    for (index, line) in lines {
        reader.line(line).ok_or(PageError::Line(index + 1))?;
    }
    Ok(reader.entries)
}

struct Reader {
    now: UnixMillis,
    service: Option<ServiceKey>,
    entries: Vec<Entry>,
}

impl Reader {
    /// `None` for a line that cannot be read.
    fn line(&mut self, line: &str) -> Option<()> {
        let mut words = line.split('\t');
        let kind = words.next()?;
        match kind {
            "s" => self.service = Some(ServiceKey::from(&ServiceName::try_from(words.next()?).ok()?)),
            "i" => {
                let (service, instance) = (self.service.clone()?, InstanceId::try_from(words.next()?).ok()?);
                self.entries.push(Entry { service, instance, said: Said::default() });
            }
            "p" => {
                let performance = self.performance(&mut words)?;
                let reporters = Reporters(u64::from_str_radix(words.next()?, 16).ok()?);
                let said = self.said()?;
                (said.performance, said.reporters) = (Some(performance), reporters);
            }
            "c" => {
                let context = Label::try_from(words.next()?).ok()?;
                let performance = self.performance(&mut words)?;
                let contexts = &mut self.said()?.contexts;
                let is_one_more = contexts.len() < CONTEXTS_PER_INSTANCE_MAX;
                let is_new = contexts.iter().all(|(known, _)| *known != context);
                (is_one_more && is_new).then(|| contexts.push((context, performance)))?;
            }
            "l" => {
                let (in_flight, used) = (optional(words.next()?)?, optional(words.next()?)?);
                let (capacity, at) = (optional(words.next()?)?, self.time(words.next()?)?);
                let used = used.map(|used| f64::from(used.min(1_000)) / 1e3);
                self.said()?.load = Some(OwnLoad { report: LoadReport { in_flight, used, at }, capacity });
            }
            "e" => {
                let span = Duration::from_secs(words.next()?.parse().ok()?).min(EJECTION_MAX);
                let until = UnixMillis::new(self.now.get().saturating_add(span.as_millis() as u64));
                self.said()?.ejected_until = Some(until);
            }
            _ => return None,
        }
        words.next().is_none().then_some(())
    }

    fn said(&mut self) -> Option<&mut Said> {
        Some(&mut self.entries.last_mut()?.said)
    }

    fn performance<'w>(&self, words: &mut impl Iterator<Item = &'w str>) -> Option<Performance> {
        let latency = Duration::from_micros(words.next()?.parse().ok()?).min(LATENCY_MAX);
        let success = f64::from(words.next()?.parse::<u32>().ok()?.min(1_000)) / 1e3;
        let samples: f64 = words.next()?.parse().ok().filter(|samples| (0.0..=SAMPLES_MAX).contains(samples))?;
        Some(Performance { latency, success, samples, at: self.time(words.next()?)? })
    }

    /// The time so many seconds ago.
    fn time(&self, age: &str) -> Option<UnixMillis> {
        let age: u64 = age.parse().ok()?;
        Some(UnixMillis::new(self.now.get().saturating_sub(age.min(AGE_MAX) * 1_000)))
    }
}

fn optional(word: &str) -> Option<Option<u32>> {
    if word == "-" { Some(None) } else { word.parse().ok().map(Some) }
}
