//! What clients of Consul send.

use rollcall_types::{CHECKS_MAX, Host};
use serde_json::json;

use super::checks::CheckDefinition;
use super::decode;
use super::duration::{self, Go};
use super::filter::Filter;
use super::registration::ServiceDefinition;
use super::{session, txn};

/// Longest refusal: it names the field and the rule, and shows no more of the body than a name.
const REFUSAL_BYTES_MAX: usize = 8 << 10;

/// The first byte says which body it is. What is taken is bounded and means the same each time; what is refused is told shortly.
pub(crate) fn consul_body(bytes: &[u8]) {
    let Some((kind, body)) = bytes.split_first() else { return };
    let refused = match kind % 4 {
        0 => {
            let host = Host::try_from("10.9.9.9").expect("an address");
            let register = || decode::from_json::<ServiceDefinition>(body).and_then(|it| it.register(&host, &|_| None));
            let registration = register();
            assert_eq!(registration, register());
            registration.map(|registration| assert!(registration.spec.checks.len() <= CHECKS_MAX)).err()
        }
        1 => decode::from_json::<CheckDefinition>(body).and_then(|it| it.define("c", "C", |_| None)).err(),
        2 => txn::read_body(body).map(|ops| assert!(ops.len() <= rollcall_catalog::KV_OPS_MAX)).err(),
        _ => session::fuzz(body).err(),
    };
    if let Some(failure) = refused {
        assert!(
            failure.text.len() <= REFUSAL_BYTES_MAX + body.len(),
            "{} bytes for {}",
            failure.text.len(),
            body.len()
        );
        assert!(failure.status.is_client_error() || failure.status == 500, "{failure:?}");
    }
}

/// `filter=`, asked of an item.
pub(crate) fn consul_filter(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let filter = match Filter::parse(text) {
        Ok(filter) => filter,
        Err(failure) => return assert!(failure.status == 400 && failure.text.len() <= REFUSAL_BYTES_MAX),
    };
    let item = json!({
        "Node": {"Node": "n1", "Meta": {"zone": "a"}},
        "Service": {"ID": "web-1", "Tags": ["primary", "v 2"], "Port": 80, "Address": "", "Meta": {"k x": "y"}},
        "Checks": []
    });
    let kept = filter.keeps(&item);
    // Whoever may say it may say the opposite.
    let opposite = Filter::parse(&format!("not ({text})")).and_then(|filter| filter.keeps(&item));
    if let (Ok(kept), Ok(opposite)) = (kept, opposite) {
        assert_ne!(kept, opposite, "{text}");
    }
}

/// A duration as Go writes it.
pub(crate) fn duration(text: &str) {
    drop(duration::parse_or_nanos(text));
    if let Ok(span) = duration::parse(text) {
        assert_eq!(duration::parse(&Go(span).to_string()), Ok(span));
    }
}
