//! The handshake against those who should not get in.

use tokio::io::{AsyncWriteExt, duplex};

use super::*;

const SECRET: &[u8] = b"the secret of this cluster";
const CLUSTER: ClusterId = ClusterId::new(7);

fn who(cluster: ClusterId, node: u64) -> Who {
    Who { member: Some((cluster, NodeId::new(node))) }
}

struct Attempt {
    client_secret: &'static [u8],
    client: Who,
    target: Option<NodeId>,
    purpose: Purpose,
}

impl Attempt {
    /// Node 2 calls node 1.
    fn good() -> Self {
        Self { client_secret: SECRET, client: who(CLUSTER, 2), target: Some(NodeId::new(1)), purpose: Purpose::Control }
    }

    async fn run(self) -> (Result<(), HandshakeError>, Result<Accepted, HandshakeError>) {
        let (mut near, mut far) = duplex(64 << 10);
        let client_secret = Secret::new(self.client_secret);
        let server_secret = Secret::new(SECRET);
        let client = async {
            let result = connect(&mut near, &client_secret, self.client, self.target, self.purpose).await;
            drop(near);
            result
        };
        let server = async {
            let result = accept(&mut far, &server_secret, who(CLUSTER, 1), |_| true).await;
            drop(far);
            result
        };
        tokio::join!(client, server)
    }
}

#[tokio::test]
async fn members_of_one_cluster_accept_each_other() {
    let (client, server) = Attempt::good().run().await;
    client.unwrap();
    assert_eq!(server.unwrap(), Accepted { purpose: Purpose::Control, from: Some(NodeId::new(2)) });
}

#[tokio::test]
async fn a_node_without_a_cluster_may_only_discover() {
    let stranger = Attempt { client: Who::default(), target: None, purpose: Purpose::Discover, ..Attempt::good() };
    stranger.run().await.0.unwrap();
    let bold = Attempt { client: Who::default(), ..Attempt::good() };
    assert!(matches!(bold.run().await.1, Err(HandshakeError::Cluster(None))));
}

#[tokio::test]
async fn a_wrong_secret_is_told_nothing() {
    let (client, server) = Attempt { client_secret: b"another secret of some length", ..Attempt::good() }.run().await;
    assert!(matches!(server, Err(HandshakeError::Secret)));
    assert!(matches!(client, Err(HandshakeError::Io(_))), "the server hangs up without a proof of its own");
}

#[tokio::test]
async fn another_cluster_is_refused_and_told_which_this_is() {
    let (client, server) = Attempt { client: who(ClusterId::new(8), 2), ..Attempt::good() }.run().await;
    assert!(matches!(server, Err(HandshakeError::Cluster(Some(theirs))) if theirs == ClusterId::new(8)));
    assert!(matches!(client, Err(HandshakeError::Cluster(Some(ours))) if ours == CLUSTER));
}

#[tokio::test]
async fn a_call_for_another_node_is_refused() {
    let (client, server) = Attempt { target: Some(NodeId::new(3)), ..Attempt::good() }.run().await;
    assert!(matches!(server, Err(HandshakeError::Target(_))));
    assert!(matches!(client, Err(HandshakeError::Target(Some(node))) if node == NodeId::new(1)));
}

#[tokio::test]
async fn a_node_in_the_servers_own_name_is_refused() {
    let (_, server) = Attempt { client: who(CLUSTER, 1), ..Attempt::good() }.run().await;
    assert!(matches!(server, Err(HandshakeError::Target(_))));
}

#[tokio::test]
async fn a_recorded_handshake_does_not_open_the_door_again() {
    let secret = Secret::new(SECRET);
    let hello = encode(&Message::ClientHello {
        magic: MAGIC,
        protocol_min: PROTOCOL_MIN,
        protocol_max: PROTOCOL_MAX,
        cluster: Some(CLUSTER),
        from: Some(NodeId::new(2)),
        target: Some(NodeId::new(1)),
        purpose: Purpose::Control,
        nonce: [9; 32],
    })
    .unwrap();
    // A client that knows the secret, once; its bytes are recorded.
    let (mut near, mut far) = duplex(64 << 10);
    let (server, recorded) = tokio::join!(accept(&mut far, &secret, who(CLUSTER, 1), |_| true), async {
        write(&mut near, &hello).await.unwrap();
        let answer = read(&mut near).await.unwrap();
        let proof = encode(&Message::ClientProof(secret.prove(&[CLIENT_LABEL, &hello, &answer]))).unwrap();
        write(&mut near, &proof).await.unwrap();
        read(&mut near).await.unwrap();
        proof
    });
    server.unwrap();
    // The same bytes again.
    let (mut near, mut far) = duplex(64 << 10);
    let (server, ()) = tokio::join!(accept(&mut far, &secret, who(CLUSTER, 1), |_| true), async {
        write(&mut near, &hello).await.unwrap();
        read(&mut near).await.unwrap();
        write(&mut near, &recorded).await.unwrap();
    });
    assert!(matches!(server, Err(HandshakeError::Secret)));
}

#[tokio::test]
async fn a_server_that_reflects_the_clients_proof_is_not_believed() {
    let secret = Secret::new(SECRET);
    let (mut near, mut far) = duplex(64 << 10);
    let (client, ()) =
        tokio::join!(connect(&mut near, &secret, who(CLUSTER, 2), Some(NodeId::new(1)), Purpose::Control), async {
            read(&mut far).await.unwrap();
            let hello = Message::ServerHello {
                protocol_min: PROTOCOL_MIN,
                protocol_max: PROTOCOL_MAX,
                cluster: Some(CLUSTER),
                node: Some(NodeId::new(1)),
                nonce: [1; 32],
            };
            write(&mut far, &encode(&hello).unwrap()).await.unwrap();
            let Message::ClientProof(proof) = decode(&read(&mut far).await.unwrap()).unwrap() else { panic!() };
            write(&mut far, &encode(&Message::Verdict { refusal: None, proof }).unwrap()).await.unwrap();
        });
    assert!(matches!(client, Err(HandshakeError::Secret)));
}

#[tokio::test]
async fn a_future_protocol_is_refused() {
    let secret = Secret::new(SECRET);
    let (mut near, mut far) = duplex(64 << 10);
    let (server, ()) = tokio::join!(accept(&mut far, &secret, who(CLUSTER, 1), |_| true), async {
        let hello = encode(&Message::ClientHello {
            magic: MAGIC,
            protocol_min: 900,
            protocol_max: 901,
            cluster: Some(CLUSTER),
            from: Some(NodeId::new(2)),
            target: Some(NodeId::new(1)),
            purpose: Purpose::Control,
            nonce: [9; 32],
        })
        .unwrap();
        write(&mut near, &hello).await.unwrap();
        let answer = read(&mut near).await.unwrap();
        let proof = secret.prove(&[CLIENT_LABEL, &hello, &answer]);
        write(&mut near, &encode(&Message::ClientProof(proof)).unwrap()).await.unwrap();
        let verdict = decode(&read(&mut near).await.unwrap()).unwrap();
        assert!(matches!(verdict, Message::Verdict { refusal: Some(Refusal::Protocol), .. }));
    });
    assert!(matches!(server, Err(HandshakeError::Protocol)));
}

#[track_caller]
fn check_refused(result: &Result<Accepted, HandshakeError>, expected: &str) {
    let found = match result {
        Ok(_) => "accepted",
        Err(error) => error.rejection().map_or("lost", Rejection::as_str),
    };
    assert_eq!(found, expected);
}

async fn send(bytes: &[u8]) -> Result<Accepted, HandshakeError> {
    let (mut near, mut far) = duplex(64 << 10);
    near.write_all(bytes).await.unwrap();
    drop(near);
    accept(&mut far, &Secret::new(SECRET), who(CLUSTER, 1), |_| true).await
}

#[tokio::test]
async fn garbage_is_refused_without_reading_much_of_it() {
    check_refused(&send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await, "oversized");
    check_refused(&send(&[0, 0, 0, 4, 1, 20, 99, 99]).await, "garbage");
    check_refused(&send(&[0, 0, 0, 0]).await, "garbage");
    check_refused(&send(&(HELLO_BYTES_MAX as u32 + 1).to_be_bytes()).await, "oversized");
    check_refused(&send(&[0, 0]).await, "lost");
}
