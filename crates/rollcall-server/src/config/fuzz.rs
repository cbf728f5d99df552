//! A configuration file and variables, each up to the next zero byte: the file, then `NAME=value`.

use super::*;

/// What is taken is shown as a file that is taken for the same, and no secret is in it.
pub(crate) fn config_file(bytes: &[u8]) {
    let Some(mut parts) = std::str::from_utf8(bytes).ok().map(|text| text.split('\0')) else { return };
    let Ok(mut merged) = NodeConfig::read_file(parts.next().unwrap_or_default(), "rollcall.toml") else { return };
    let mut origins = BTreeMap::new();
    for (name, value) in parts.filter_map(|variable| variable.split_once('=')) {
        take_variable(&mut merged, &mut origins, name.to_owned(), value);
    }
    // It would be read, and whoever writes the configuration may name any file.
    if merged.contains_key("secret-file") {
        return;
    }
    let Ok(config) = NodeConfig::from_table(merged, &origins) else { return };
    drop(config.validate());
    let shown = toml::to_string(&config).expect("a configuration has a text");
    let secrets = [&config.secret, &config.gossip_key].into_iter().flatten();
    // One that is short may stand there for another reason.
    for secret in secrets.filter(|secret| secret.as_str().len() >= 2 * SECRET_MIN_BYTES) {
        let others = toml::to_string(&NodeConfig { secret: None, gossip_key: None, ..config.clone() });
        assert!(others.is_ok_and(|others| others.contains(secret.as_str())) || !shown.contains(secret.as_str()));
    }
    let again: NodeConfig = toml::from_str(&shown).expect("what is shown can be read");
    let bare = |config: NodeConfig| NodeConfig { secret: None, gossip_key: None, ..config };
    assert_eq!(bare(again), bare(config));
}
