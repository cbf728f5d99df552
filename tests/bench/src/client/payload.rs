//! What is stored: registrations of an exact size for us, values of the same size for the peers.

use serde_json::{Value, json};

/// Longest metadata value used as filler. The API allows more; this stays clear of the limit.
const FILLER_PART: usize = 200;

/// A registration whose JSON has `bytes` bytes, or as few as it takes when that is more.
pub(crate) fn registration(bytes: usize, lease: bool) -> Vec<u8> {
    let mut body = json!({
        "endpoints": [{"name": "http", "protocol": "http", "host": "10.0.0.7", "port": 8080}],
        "zone": "a",
        "version": "1.4.2",
        "tags": ["api"],
    });
    if lease {
        body["lease"] = json!({"ttl_ms": 3_600_000});
    }
    let mut metadata = serde_json::Map::new();
    loop {
        let missing = bytes.saturating_sub(length(&body));
        // `"metadata":{}` and its comma, or one more `,"k0":""`.
        let overhead = if metadata.is_empty() { ",\"metadata\":{\"k0\":\"\"}".len() } else { ",\"k0\":\"\"".len() };
        if missing <= overhead {
            break;
        }
        let filler = "x".repeat((missing - overhead).min(FILLER_PART));
        metadata.insert(format!("k{}", metadata.len()), filler.into());
        body["metadata"] = Value::Object(metadata.clone());
    }
    body.to_string().into_bytes()
}

fn length(body: &Value) -> usize {
    body.to_string().len()
}

/// `bytes` bytes.
pub(crate) fn filler(bytes: usize) -> Vec<u8> {
    vec![b'x'; bytes]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_has_the_size_asked_for() {
        for bytes in [200, 256, 500] {
            for lease in [false, true] {
                let body = registration(bytes, lease);
                assert_eq!(body.len(), bytes, "{}", String::from_utf8_lossy(&body));
                assert!(serde_json::from_slice::<Value>(&body).unwrap()["endpoints"][0]["port"].is_u64());
            }
        }
    }
}
