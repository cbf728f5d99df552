//! TLS of `https` checks, and of whatever else this node asks: who is trusted.
//!
//! The certificate authorities of the machine (`SSL_CERT_FILE` and `SSL_CERT_DIR` are heeded), and those of
//! `probe.tls-ca-file`. They are read when the first such check is run, since they take memory that most nodes never need.
//!
//! With `probe.tls-verify = false` every certificate will do. Then a check only says that somebody answers.

use std::sync::Arc;

use rollcall_health::check::Failure;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tracing::warn;

use super::failed::Failed;

/// Who is trusted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trust {
    /// Whether certificates are checked at all.
    pub(crate) verify: bool,
    /// Authorities beside those of the machine.
    pub(crate) authorities: Vec<CertificateDer<'static>>,
}

/// Makes TLS connections.
pub(crate) struct Tls {
    trust: Trust,
    connector: OnceCell<TlsConnector>,
}

impl Tls {
    pub(crate) fn new(trust: Trust) -> Self {
        Self { trust, connector: OnceCell::new() }
    }

    /// Speaks TLS with `host` over `stream`.
    pub(crate) async fn connect(&self, stream: TcpStream, host: &str) -> Result<Box<TlsStream<TcpStream>>, Failed> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Failed::new(Failure::Protocol, format!("{host} is no name that a certificate could have")))?;
        let connector = self.connector.get_or_try_init(|| connector(self.trust.clone())).await?;
        let stream = connector.connect(name, stream).await.map_err(|error| Failed::io("no TLS", &error))?;
        Ok(Box::new(stream))
    }
}

/// Reads what the machine trusts. This is work of milliseconds on files, so it is done aside.
async fn connector(trust: Trust) -> Result<TlsConnector, Failed> {
    let made = tokio::task::spawn_blocking(move || client_config(trust)).await;
    let config = made.unwrap_or_else(|error| Err(error.to_string()));
    // Nothing was asked: this is no evidence against the target.
    let config =
        config.map_err(|what| Failed::new(Failure::Forbidden, format!("this node cannot speak TLS: {what}")))?;
    Ok(TlsConnector::from(Arc::new(config)))
}

fn client_config(trust: Trust) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let mut config = if trust.verify {
        builder.with_root_certificates(roots(trust.authorities)?).with_no_client_auth()
    } else {
        let verifier = Arc::new(Anyone(provider));
        builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn roots(authorities: Vec<CertificateDer<'static>>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities);
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        warn!(%error, "some certificate authorities of this machine cannot be read: {error}");
    }
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err("it knows no certificate authority; install ca-certificates, or for probes set probe.tls-ca-file"
            .to_owned());
    }
    Ok(roots)
}

/// Takes every certificate whose owner proves to have its key.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
