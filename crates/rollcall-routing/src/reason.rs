//! Why an instance is in an answer or not: a closed list of codes, each with a phrase and with what would change it.

use std::fmt;

/// What a reason says about the instance that it is given for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// It is in, for this.
    In,
    /// It is out, for this.
    Out,
    /// It counts for less, or for something else than measured.
    Note,
}

/// Defines the list once: variant, code, side, phrase, what would change it.
macro_rules! reasons {
    ($($variant:ident $code:literal $side:ident $phrase:literal, $remedy:literal;)*) => {
        /// Why an instance is in an answer or not.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $(#[doc = concat!("`", $code, "`: ", $phrase, ". ", $remedy, ".")] $variant,)*
        }

        impl Reason {
            /// All of them, in the order in which they are told.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The stable word for it in the API, logs and metrics.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// Whether it tells why an instance is in or out.
            pub const fn side(self) -> Side {
                match self { $(Self::$variant => Side::$side,)* }
            }

            /// The same for people.
            pub const fn phrase(self) -> &'static str {
                match self { $(Self::$variant => $phrase,)* }
            }

            /// What would change it.
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy,)* }
            }
        }
    };
}

reasons! {
    Best "best" In "its rank is the best", "Another instance with a better rank";
    NearTie "near_tie" In "its rank is within the tie band of the best, the draw decides", "A narrower tie band, or a draw that goes to another";
    NextBest "next_best" In "more instances were asked for than are near the best", "A smaller n";
    Turn "turn" In "it is its turn", "The next request";
    LeastLoaded "least_loaded" In "it has the fewest requests in flight for its weight", "A request that goes to it";
    BetterOfTwo "better_of_two" In "the better of two that were drawn", "The next draw";
    Drawn "drawn" In "it was drawn by its share", "The next draw";
    KeyOwner "key_owner" In "the hash key belongs to it", "Another key; or its leaving, or its being full";
    KeyOverflow "key_overflow" In "the owner of the hash key has more than its bound of requests", "The owner getting below 1.25 times the mean";
    Local "local" In "it was drawn among the nearest instances", "The nearest instances running out of capacity";
    SpillOver "spill_over" In "nearer instances lack capacity for all requests", "More healthy capacity nearby";
    FailOpen "fail_open" In "too few instances are healthy, so health is not asked", "Instances of this service passing again";

    Draining "draining" Out "an operator drains it", "`undrain`";
    Quarantined "quarantined" Out "an operator put it into quarantine", "`release`, or the end of the quarantine";
    Critical "critical" Out "its checks fail", "Its checks passing";
    Starting "starting" Out "it was registered a short while ago and has not passed yet", "Its first check passing";
    NotPassing "not_passing" Out "only `passing` was asked for", "Its checks passing, or a request that takes `warning` and `unknown`";
    Ejected "ejected" Out "several callers report that it fails", "The end of the ejection";
    Excluded "excluded" Out "the request excludes it", "A request that does not";
    ZoneMismatch "zone_mismatch" Out "it is not in the zone that was asked for", "A request without a zone";
    TagMissing "tag_missing" Out "it lacks a tag that was asked for", "The tag on the instance or its service";
    CapabilityMissing "capability_missing" Out "it lacks a capability that was asked for, or that capability fails", "The capability in the definition of its service, or its check passing";
    VersionMismatch "version_mismatch" Out "its version does not satisfy the constraint", "Another constraint, or another version";
    VersionUnknown "version_unknown" Out "it has no semantic version, so no constraint can be satisfied", "A version such as 1.4.2 in its registration";
    NotInSubset "not_in_subset" Out "this client sees a subset of the service without it", "A greater subset in the selection policy";
    Outranked "outranked" Out "its rank is below the tie band of the best", "A better rank, or a wider tie band";
    PassedOver "passed_over" Out "the strategy prefers others: the owner of the key, fewer requests in flight, nearer ones", "Those leaving, or filling up";
    NotDrawn "not_drawn" Out "it could have been selected, another one was", "The next request";

    Warning "warning" Note "its checks pass with a reserve", "Its checks passing";
    UnknownStatus "unknown_status" Note "nothing fresh is known of its health", "A check or a heartbeat";
    FailurePredicted "failure_predicted" Note "it is predicted to fail, so its share is smaller", "The signal behind the forecast recovering";
    Degrading "degrading" Note "it is getting worse, so its share is smaller", "The signal behind the forecast recovering";
    Warming "warming" Note "it is new and gets its share step by step", "The end of the slow start";
    LoadUnknown "load_unknown" Note "it does not report its load", "Load in its heartbeats";
    PerformanceUnknown "performance_unknown" Note "no caller reports how requests to it go", "Reports of its callers";
    ProximityUnknown "proximity_unknown" Note "the distance between caller and instance is not known", "Zone and region of both";
    CostUnknown "cost_unknown" Note "its service does not declare a cost, others do", "A cost in the definition of its service";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

/// A set of reasons, without an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reasons(u64);

// A reason is a bit.
const _: () = assert!(Reason::ALL.len() <= u64::BITS as usize);

impl Reasons {
    /// Adds one.
    pub fn add(&mut self, reason: Reason) {
        self.0 |= 1 << reason as u32;
    }

    /// With one more.
    #[must_use]
    pub fn with(mut self, reason: Reason) -> Self {
        self.add(reason);
        self
    }

    /// With those of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether `reason` is one of them.
    pub const fn contains(self, reason: Reason) -> bool {
        self.0 & (1 << reason as u32) != 0
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// All of them, in the order of [`Reason::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Reason> {
        Reason::ALL.iter().copied().filter(move |reason| self.contains(*reason))
    }

    /// Without those that tell why an instance is in or out.
    #[must_use]
    pub fn only_notes(self) -> Self {
        self.iter().filter(|reason| reason.side() == Side::Note).collect()
    }

    /// Whether one of them keeps an instance out.
    pub fn is_out(self) -> bool {
        self.iter().any(|reason| reason.side() == Side::Out)
    }
}

impl FromIterator<Reason> for Reasons {
    fn from_iter<I: IntoIterator<Item = Reason>>(reasons: I) -> Self {
        reasons.into_iter().fold(Self::default(), Self::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_words_and_every_reason_says_what_would_change_it() {
        for (position, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, position);
            assert!(reason.code().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{reason}");
            assert!(!reason.phrase().is_empty() && !reason.remedy().is_empty(), "{reason}");
            assert_eq!(Reason::ALL.iter().filter(|other| other.code() == reason.code()).count(), 1);
        }
    }

    #[test]
    fn a_set_holds_what_was_added() {
        let set = Reasons::default().with(Reason::Draining).with(Reason::CostUnknown);
        assert_eq!(set.iter().collect::<Vec<_>>(), [Reason::Draining, Reason::CostUnknown]);
        assert!(set.is_out() && !Reasons::default().with(Reason::Best).is_out());
    }
}
