//! What a caller asks: for whom, how many, which ones and which not.

use rollcall_types::{CapabilityName, Host, InstanceId, Invalid, Label, Tag, UnixMillis};
use semver::VersionReq;

use crate::policy::{FailOpen, Ratio, Strategy, Weights};
use crate::tally::Tally;

/// Most instances in one answer.
pub const PICKS_MAX: usize = 100;
/// Most instances that one request may exclude.
pub const EXCLUDED_MAX: usize = 64;
/// Most tags, and most capabilities, that one request may require, and most that it may prefer.
pub const WANTED_MAX: usize = 16;
/// Longest hash key, in bytes.
pub const HASH_KEY_MAX: usize = 1024;
/// Longest client id, in bytes.
pub const CLIENT_ID_MAX: usize = 128;
/// Longest version constraint as text, in bytes.
pub const VERSION_REQ_MAX: usize = 128;

/// Who asks. Everything may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Caller<'a> {
    /// Name of the client, at most [`CLIENT_ID_MAX`] bytes: decides which subset of a big service it sees.
    pub id: Option<&'a str>,
    /// Host that it runs on.
    pub host: Option<&'a Host>,
    /// Zone that it runs in.
    pub zone: Option<&'a Label>,
    /// Region that it runs in.
    pub region: Option<&'a Label>,
    /// What kind of request it is going to send; performance is kept by it.
    pub context: Option<&'a Label>,
}

/// What is wanted or preferred of an instance, beside its being there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traits<'a> {
    /// Tags that it has, at most [`WANTED_MAX`].
    pub tags: &'a [Tag],
    /// Capabilities that it has, at most [`WANTED_MAX`].
    pub capabilities: &'a [CapabilityName],
    /// What its version satisfies.
    pub version: Option<&'a VersionReq>,
}

/// One question. [`Query::default`] asks for one instance, whichever.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Query<'a> {
    /// Who asks.
    pub caller: Caller<'a>,
    /// How many instances, 1 to [`PICKS_MAX`]; the answer has fewer when there are fewer.
    pub n: usize,
    /// Instances must have all of this.
    pub require: Traits<'a>,
    /// Instances score higher the more they have of this.
    pub prefer: Traits<'a>,
    /// Instances must be in this zone.
    pub zone: Option<&'a Label>,
    /// Instances that must not be in the answer, at most [`EXCLUDED_MAX`]: those that were tried already.
    pub exclude: &'a [InstanceId],
    /// Whether `warning` and `unknown` are not enough.
    pub only_passing: bool,
    /// What [`Strategy::ConsistentHash`] hashes, at most [`HASH_KEY_MAX`] bytes; the client id when missing.
    pub hash_key: Option<&'a [u8]>,
    /// Instead of that of the policy.
    pub strategy: Option<Strategy>,
    /// Instead of those of the policy.
    pub weights: Option<Weights>,
    /// Instead of that of the policy.
    pub tie_band: Option<Ratio>,
    /// Instead of that of the policy; see [`Policy::fail_open`](crate::Policy::fail_open).
    pub fail_open: Option<FailOpen>,
}

impl Default for Query<'_> {
    fn default() -> Self {
        Self {
            caller: Caller::default(),
            n: 1,
            require: Traits::default(),
            prefer: Traits::default(),
            zone: None,
            exclude: &[],
            only_passing: false,
            hash_key: None,
            strategy: None,
            weights: None,
            tie_band: None,
            fail_open: None,
        }
    }
}

/// What the answer depends on beside views and question.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// The time.
    pub now: UnixMillis,
    /// How many picks of this service were made before; the rotating strategies go on from here.
    pub turn: u64,
    /// Picks that no load report tells of yet; `None`: they are not counted.
    pub tally: Option<&'a Tally>,
}

impl Moment<'_> {
    /// `now`, on the first turn, without a tally.
    pub const fn at(now: UnixMillis) -> Self {
        Self { now, turn: 0, tally: None }
    }
}

/// A question that cannot be answered as it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {invalid}")]
pub struct QueryError {
    /// Which part, as the API names it: `n`, `hash_key`, `prefer.tags`.
    pub field: &'static str,
    /// Which rule it breaks.
    pub invalid: Invalid,
}

impl Query<'_> {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The first field that is out of bounds.
    pub fn validate(&self) -> Result<(), QueryError> {
        let refuse = |field, rule: String, got: usize| Err(QueryError { field, invalid: Invalid::new(rule, got) });
        if !(1..=PICKS_MAX).contains(&self.n) {
            return refuse("n", format!("be 1 to {PICKS_MAX}"), self.n);
        }
        let lists = [
            ("exclude", self.exclude.len(), EXCLUDED_MAX),
            ("tags", self.require.tags.len(), WANTED_MAX),
            ("capabilities", self.require.capabilities.len(), WANTED_MAX),
            ("prefer.tags", self.prefer.tags.len(), WANTED_MAX),
            ("prefer.capabilities", self.prefer.capabilities.len(), WANTED_MAX),
        ];
        if let Some((field, len, max)) = lists.into_iter().find(|(_, len, max)| len > max) {
            return refuse(field, format!("have at most {max} entries"), len);
        }
        let texts = [
            ("hash_key", self.hash_key.map_or(0, <[u8]>::len), HASH_KEY_MAX),
            ("client.id", self.caller.id.map_or(0, str::len), CLIENT_ID_MAX),
        ];
        if let Some((field, len, max)) = texts.into_iter().find(|(_, len, max)| len > max) {
            return refuse(field, format!("be at most {max} bytes"), len);
        }
        Ok(())
    }
}

/// Reads a version constraint: `^1.4`, `>=1.2, <2`, `~1.4.2` (Cargo's rules).
///
/// # Errors
/// When it is longer than [`VERSION_REQ_MAX`] bytes or no constraint.
pub fn version_req(text: &str) -> Result<VersionReq, QueryError> {
    let refuse = |rule: String| QueryError { field: "version", invalid: Invalid::new(rule, text) };
    if text.len() > VERSION_REQ_MAX {
        return Err(refuse(format!("be at most {VERSION_REQ_MAX} bytes")));
    }
    VersionReq::parse(text)
        .map_err(|wrong| refuse(format!("be a version constraint such as ^1.4 or >=1.2, <2 ({wrong})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: Query<'_>, field: &str) {
        assert_eq!(query.validate().unwrap_err().field, field);
    }

    #[test]
    fn what_is_out_of_bounds_is_refused_by_name() {
        assert_eq!(Query::default().validate(), Ok(()));
        check(Query { n: 0, ..Query::default() }, "n");
        check(Query { n: 1_000_000, ..Query::default() }, "n");
        check(Query { hash_key: Some(&[0; 1 << 20]), ..Query::default() }, "hash_key");
        let tags = vec![Tag::try_from("a").unwrap(); WANTED_MAX + 1];
        check(Query { prefer: Traits { tags: &tags, ..Traits::default() }, ..Query::default() }, "prefer.tags");
        let ids = vec![InstanceId::try_from("a").unwrap(); EXCLUDED_MAX + 1];
        check(Query { exclude: &ids, ..Query::default() }, "exclude");
    }

    #[test]
    fn a_version_constraint_that_is_none_is_refused_with_the_reason() {
        assert!(version_req("^1.4").is_ok());
        for wrong in ["", "latest", "1.x.2", ">>1", &"1".repeat(1 << 20)] {
            assert_eq!(version_req(wrong).unwrap_err().field, "version", "{wrong}");
        }
    }
}
