use super::*;

const KEY: [u8; 32] = [7; 32];

fn seal_of(cluster: u128, key: &[u8; 32], name: &str) -> Seal {
    let sender = Sender {
        name: NodeName::try_from(name).unwrap(),
        generation: 0x0102_0304_0506_0708,
        address: "10.1.2.3:7402".parse().unwrap(),
    };
    Seal::new(ClusterId::new(cluster), Keyring::new(key), sender)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A change of these bytes means that old and new nodes no longer understand each other.
#[test]
fn golden_bytes() {
    let sealed = seal_of(9, &KEY, "n1").seal_with_random(Kind::Gossip, b"hello", [0xAA; 16]).unwrap();
    assert_eq!(hex(&sealed), include_str!("golden.hex").trim());
    let opened = seal_of(9, &KEY, "n2").open(&sealed).unwrap();
    assert_eq!((opened.kind, opened.counter, &*opened.payload), (Kind::Gossip, 1, &b"hello"[..]));
    assert_eq!(opened.sender, *seal_of(9, &KEY, "n1").sender());
}

#[test]
fn golden_plain_text_of_both_address_families() {
    let mut plain = Vec::new();
    let mut sender = seal_of(9, &KEY, "n1").sender().as_ref().clone();
    write_envelope(&mut plain, Kind::Detector, &sender);
    assert_eq!(hex(&plain), "020807060504030201040a010203ea1c026e31");
    sender.address = "[2001:db8::1]:7402".parse().unwrap();
    plain.clear();
    write_envelope(&mut plain, Kind::Answer, &sender);
    assert_eq!(hex(&plain), "0408070605040302010620010db8000000000000000000000001ea1c026e31");
    assert_eq!(read_envelope(&plain), Some((Kind::Answer, sender, &b""[..])));
}

#[test]
fn the_same_payload_is_never_sealed_to_the_same_bytes() {
    let seal = seal_of(9, &KEY, "n1");
    let same_random = || seal.seal_with_random(Kind::Gossip, b"x", [0; 16]).unwrap();
    assert_ne!(same_random(), same_random(), "the counter keeps nonces apart by itself");
    let (one, other) = (seal_of(9, &KEY, "n1"), seal_of(9, &KEY, "n1"));
    assert_ne!(one.seal(Kind::Gossip, b"x"), other.seal(Kind::Gossip, b"x"), "the random bits do so by themselves");
}

#[test]
fn every_flipped_bit_is_noticed() {
    let sealed = seal_of(9, &KEY, "n1").seal(Kind::Gossip, b"hello").unwrap();
    let receiver = seal_of(9, &KEY, "n2");
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let rejection = receiver.open(&changed).unwrap_err().rejection;
        let expected = match bit / 8 {
            0 => Rejection::UnknownVersion,
            1..5 => Rejection::UnknownKey,
            _ => Rejection::NotAuthentic,
        };
        assert_eq!(rejection, expected, "bit {bit}");
    }
}

#[test]
fn every_truncation_is_noticed() {
    let sealed = seal_of(9, &KEY, "n1").seal(Kind::Gossip, b"hello").unwrap();
    let receiver = seal_of(9, &KEY, "n2");
    for length in 0..sealed.len() {
        let rejection = receiver.open(&sealed[..length]).unwrap_err().rejection;
        let expected = if length < SEALED_BYTES_MIN { Rejection::TooShort } else { Rejection::NotAuthentic };
        assert_eq!(rejection, expected, "cut to {length}");
    }
}

#[test]
fn another_cluster_with_the_same_key_is_a_stranger() {
    let sealed = seal_of(9, &KEY, "n1").seal(Kind::Gossip, b"hello").unwrap();
    let refused = seal_of(10, &KEY, "n2").open(&sealed).unwrap_err();
    assert_eq!(refused.rejection, Rejection::NotAuthentic);
}

#[test]
fn another_key_is_named_when_it_is_refused() {
    let stranger = seal_of(9, &[8; 32], "n1");
    let refused = seal_of(9, &KEY, "n2").open(&stranger.seal(Kind::Gossip, b"hello").unwrap()).unwrap_err();
    assert_eq!(refused, NotOpened { rejection: Rejection::UnknownKey, key: Some(stranger.keyring().sealing_key()) });
}

#[test]
fn a_rotation_has_no_moment_in_which_two_nodes_do_not_understand_each_other() {
    let (old, new) = ("11".repeat(32), "22".repeat(32));
    let ring = |keys: &[&String]| keys.iter().map(|key| format!("{key}\n")).collect::<String>();
    let steps = [ring(&[&old]), ring(&[&old, &new]), ring(&[&new, &old]), ring(&[&new])];
    let (left, right) = (seal_of(9, &KEY, "n1"), seal_of(9, &KEY, "n2"));
    // Every pair of neighbouring steps: one node is a step ahead of the other.
    for pair in steps.windows(2) {
        left.set_keyring(Keyring::parse(&pair[1], "-").unwrap());
        right.set_keyring(Keyring::parse(&pair[0], "-").unwrap());
        for (from, to) in [(&left, &right), (&right, &left)] {
            to.open(&from.seal(Kind::Gossip, b"x").unwrap()).unwrap();
        }
    }
}

#[test]
fn sealed_sizes_stay_within_the_bounds_that_receivers_check() {
    let mut long = seal_of(9, &KEY, &"n".repeat(NodeName::MAX_BYTES));
    let address = "[2001:db8::1]:7402".parse().unwrap();
    long.sender = ArcSwap::from_pointee(Sender { address, ..long.sender().as_ref().clone() });
    let largest = long.seal(Kind::Gossip, &vec![0; PAYLOAD_BYTES_MAX]).unwrap();
    assert_eq!(largest.len(), FRAME_BYTES_MAX);
    assert!(long.seal(Kind::Gossip, &vec![0; PAYLOAD_BYTES_MAX + 1]).is_none());
    assert_eq!(seal_of(9, &KEY, "n").seal(Kind::Gossip, b"").unwrap().len(), SEALED_BYTES_MIN);
}

#[test]
fn an_authentic_envelope_that_makes_no_sense_is_undecodable() {
    let seal = seal_of(9, &KEY, "n1");
    let mut plain = Vec::new();
    write_envelope(&mut plain, Kind::Gossip, &seal.sender());
    for (at, byte) in [(0, 0), (0, 9), (9, 5), (16, 0), (16, 200), (17, b' ')] {
        let mut broken = plain.clone();
        broken[at] = byte;
        assert_eq!(read_envelope(&broken), None, "byte {at} = {byte}");
    }
    for length in 0..plain.len() {
        assert_eq!(read_envelope(&plain[..length]), None, "cut to {length}");
    }
}
