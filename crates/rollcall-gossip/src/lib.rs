//! Encrypted gossip between nodes: the only crate that names chitchat.
