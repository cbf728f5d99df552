//! A question as it came from outside, judged in full: whatever front door it came through, the same rules hold.

use rollcall_api::{CheckedSelection, FieldError, SelectRequest};
use rollcall_routing::{
    Caller, FailOpen, Query, QueryError, Ratio, Strategy, Traits, VersionReq, Weights, version_req,
};
use rollcall_types::CapabilityName;

/// A question that can be asked as it is.
#[derive(Debug)]
pub(crate) struct Question {
    asked: CheckedSelection,
    strategy: Option<Strategy>,
    weights: Option<Weights>,
    version: Option<VersionReq>,
    preferred_version: Option<VersionReq>,
    tie_band: Option<Ratio>,
    fail_open: Option<FailOpen>,
}

const _: () = assert!(rollcall_api::PICKS_MAX == rollcall_routing::PICKS_MAX as u64);

impl Question {
    /// The question of a request.
    ///
    /// # Errors
    /// Every field that breaks a rule.
    pub(crate) fn of(request: SelectRequest) -> Result<Self, Vec<FieldError>> {
        let mut asked = request.check()?;
        if let Some(capability) = &asked.capability {
            // It may be down on an instance of a service that offers it.
            asked.require.capabilities = asked.require.capabilities.iter().chain([capability]).cloned().collect();
        }
        let mut errors = Vec::new();
        let mut keep = |field: &str, rule: String| errors.push(FieldError::new(field, rule));
        let strategy = asked.strategy.as_deref().map(str::parse::<Strategy>);
        let strategy = strategy.and_then(|read| read.map_err(|invalid| keep("strategy", invalid.to_string())).ok());
        let weights = asked.weights.map(Weights::new);
        let weights = weights.and_then(|read| read.map_err(|invalid| keep("weights", invalid.to_string())).ok());
        let mut constraint = |field, text: Option<&str>| {
            let read = text.map(version_req);
            read.and_then(|read| read.map_err(|error| keep(field, error.invalid.to_string())).ok())
        };
        let version = constraint("version", asked.require.version.as_deref());
        let preferred_version = constraint("prefer.version", asked.prefer.version.as_deref());
        let ratio = |part: Option<f64>| part.and_then(|part| Ratio::try_from(part).ok());
        let tie_band = ratio(asked.tie_band);
        let fail_open = match asked.fail_open {
            None => None,
            Some(rollcall_api::FailOpen::Never) => Some(FailOpen::Never),
            Some(rollcall_api::FailOpen::Below(part)) => ratio(Some(part)).map(FailOpen::Below),
        };
        let question = Self { strategy, weights, version, preferred_version, tie_band, fail_open, asked };
        if let Err(error) = question.query().validate() {
            errors.push(field_error(&error));
        }
        if errors.is_empty() { Ok(question) } else { Err(errors) }
    }

    /// The same for selection.
    pub(crate) fn query(&self) -> Query<'_> {
        let asked = &self.asked;
        Query {
            caller: Caller {
                id: asked.client_id.as_deref(),
                host: asked.client_host.as_ref(),
                zone: asked.client_zone.as_ref(),
                region: asked.client_region.as_ref(),
                context: asked.context.as_ref(),
            },
            n: asked.n,
            require: Traits {
                tags: &asked.require.tags,
                capabilities: &asked.require.capabilities,
                version: self.version.as_ref(),
            },
            prefer: Traits {
                tags: &asked.prefer.tags,
                capabilities: &asked.prefer.capabilities,
                version: self.preferred_version.as_ref(),
            },
            zone: asked.zone.as_ref(),
            exclude: &asked.exclude,
            only_passing: asked.only_passing,
            hash_key: asked.hash_key.as_deref().map(str::as_bytes),
            strategy: self.strategy,
            weights: self.weights,
            tie_band: self.tie_band,
            fail_open: self.fail_open,
        }
    }

    /// The capability whose services are meant, if one was named.
    pub(crate) fn capability(&self) -> Option<&CapabilityName> {
        self.asked.capability.as_ref()
    }

    /// Whether the answer is to say why.
    pub(crate) fn wants_explanation(&self) -> bool {
        self.asked.explain
    }
}

/// The field of a question that is out of bounds, for the caller.
pub(crate) fn field_error(error: &QueryError) -> FieldError {
    FieldError::new(error.field, error.invalid.to_string())
}

#[cfg(test)]
mod tests {
    use rollcall_api::decode::{self, DecodeError};

    use super::*;

    /// The fields that are refused in a body.
    #[track_caller]
    fn refused(body: &str) -> Vec<String> {
        let request = match decode::from_json::<SelectRequest>(body.as_bytes()) {
            Ok(request) => request,
            Err(DecodeError::Fields(errors)) => return errors.into_iter().map(|error| error.field).collect(),
            Err(other) => panic!("{other}"),
        };
        Question::of(request).err().unwrap_or_default().into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn an_empty_question_asks_for_one_instance() {
        let question = Question::of(SelectRequest::default()).unwrap();
        assert_eq!(question.query(), Query::default());
    }

    #[test]
    fn what_breaks_a_rule_is_named() {
        let long = "k".repeat(1_025);
        for (body, fields) in [
            (r#"{"n": 0}"#.to_owned(), vec!["n"]),
            (r#"{"n": 1000000}"#.to_owned(), vec!["n"]),
            (r#"{"n": -1}"#.to_owned(), vec!["n"]),
            (r#"{"n": 1.5, "strategy": "best"}"#.to_owned(), vec!["n"]),
            (r#"{"strategy": "best", "version": "one"}"#.to_owned(), vec!["strategy", "version"]),
            (r#"{"prefer": {"version": ">>1"}}"#.to_owned(), vec!["prefer.version"]),
            (r#"{"weights": {"load": -1}}"#.to_owned(), vec!["weights.load"]),
            (r#"{"weights": {"load": "NaN", "cost": null}}"#.to_owned(), vec!["weights.load"]),
            (r#"{"weights": {"load": 0, "cost": 0}}"#.to_owned(), vec!["weights"]),
            (r#"{"weights": {}}"#.to_owned(), vec!["weights"]),
            (r#"{"weights": {"speed": 1}}"#.to_owned(), vec!["weights.speed"]),
            (r#"{"tie_band": 1.1, "fail_open": -0.1}"#.to_owned(), vec!["tie_band", "fail_open"]),
            (r#"{"client": {"zone": "a b", "host": "a b"}}"#.to_owned(), vec!["client.host", "client.zone"]),
            (r#"{"exclude": ["", "ok"]}"#.to_owned(), vec!["exclude[0]"]),
            (format!(r#"{{"hash_key": "{long}"}}"#), vec!["hash_key"]),
            (format!(r#"{{"client": {{"id": "{long}"}}}}"#), vec!["client.id"]),
            (format!(r#"{{"tags": [{}]}}"#, vec![r#""t""#; 17].join(",")), vec!["tags"]),
            (r#"{"color": "red"}"#.to_owned(), vec!["color"]),
        ] {
            assert_eq!(refused(&body), fields, "{body:.80}");
        }
    }

    #[test]
    fn failing_open_is_a_part_a_yes_or_a_no() {
        let asked = |body: &str| {
            let request = decode::from_json::<SelectRequest>(body.as_bytes()).unwrap();
            Question::of(request).unwrap().query().fail_open
        };
        let below = |part: f64| Some(FailOpen::Below(part.try_into().unwrap()));
        assert_eq!(asked(r#"{"fail_open": true}"#), below(0.0));
        assert_eq!(asked(r#"{"fail_open": false}"#), Some(FailOpen::Never));
        assert_eq!(asked(r#"{"fail_open": 0.5}"#), below(0.5));
        assert_eq!(asked("{}"), None);
    }
}
