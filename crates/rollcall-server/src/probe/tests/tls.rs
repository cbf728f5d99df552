//! `https` targets with certificates made for the test.

use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rollcall_health::check::{Answer, Failure};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

use super::target::{Target, ok, read_to_end};
use super::{LONG, Options, Prober, SHORT, Trust, assert_answer, assert_failed, http, options, until};

/// A target whose certificate names `name`, and the certificate.
async fn target(name: &str) -> (Target, CertificateDer<'static>) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = builder.with_single_cert(vec![cert.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let target = Target::new(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let mut head = Vec::new();
            while let Ok(byte) = stream.read_u8().await {
                head.push(byte);
                if head.ends_with(b"\r\n\r\n") {
                    head.clear();
                    stream.write_all(&ok("sealed")).await.unwrap();
                    stream.flush().await.unwrap();
                }
            }
        }
    })
    .await;
    (target, cert.der().clone())
}

fn trusting(verify: bool, authorities: Vec<CertificateDer<'static>>) -> Prober {
    Prober::new(Options { trust: Trust { verify, authorities }, ..options() })
}

fn https(target: &Target) -> rollcall_types::CheckKind {
    http(format!("https://{}/", target.address))
}

#[tokio::test]
async fn a_target_that_is_trusted_passes_and_keeps_its_connection() {
    let (target, certificate) = target("127.0.0.1").await;
    let prober = trusting(true, vec![certificate]);
    for _ in 0..5 {
        let probed = prober.probe(&https(&target), LONG).await;
        assert_answer(&probed, Answer::Passed);
        assert_eq!(&*probed.output, "200 OK\nsealed");
    }
    assert_eq!(target.accepted(), 1);
}

#[tokio::test]
async fn a_certificate_of_nobody_that_is_trusted_or_of_another_name_fails() {
    let (stranger, _) = target("127.0.0.1").await;
    let (_, other) = target("127.0.0.1").await;
    assert_failed(&trusting(true, vec![other]).probe(&https(&stranger), LONG).await, Failure::Protocol, "certificate");
    let (misnamed, certificate) = target("web.internal").await;
    let probed = trusting(true, vec![certificate]).probe(&https(&misnamed), LONG).await;
    assert_failed(&probed, Failure::Protocol, "certificate");
}

#[tokio::test]
async fn every_certificate_will_do_when_they_are_not_checked() {
    let (target, _) = target("web.internal").await;
    assert_answer(&trusting(false, Vec::new()).probe(&https(&target), LONG).await, Answer::Passed);
}

#[tokio::test]
async fn a_target_that_does_not_speak_tls_fails_and_one_that_hangs_times_out() {
    let (_, certificate) = target("127.0.0.1").await;
    let prober = trusting(true, vec![certificate]);
    let plain = Target::answering(ok("")).await;
    let probed = prober.probe(&https(&plain), SHORT).await;
    assert!(matches!(probed.outcome.answer, Answer::Failed(Failure::Protocol | Failure::Timeout)), "{}", probed.output);
    let garbage = Target::new(|mut stream| async move { stream.write_all(b"SSH-2.0-x\r\n").await.unwrap() }).await;
    assert_failed(&prober.probe(&https(&garbage), LONG).await, Failure::Protocol, "no TLS");
    let silent = Target::new(|mut stream| async move { read_to_end(&mut stream).await }).await;
    assert_failed(&prober.probe(&https(&silent), SHORT).await, Failure::Timeout, "TLS did not come about");
    until("the end of the connection", || silent.open() == 0).await;
    let (sealed, _) = target("127.0.0.1").await;
    assert_failed(&prober.probe(&http(sealed.url("/")), LONG).await, Failure::Protocol, "not HTTP/1");
}
