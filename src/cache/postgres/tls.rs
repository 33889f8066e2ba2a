//! How a connection to PostgreSQL is protected: libpq's `sslmode`, by rustls. Owns whom it trusts; must not know what is
//! sent.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::cache::CacheError;
use crate::shown::shown;

/// What a connection asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tls {
    /// How much.
    pub mode: TlsMode,
    /// Whom it trusts, in PEM; the system's certificates where none is named.
    pub roots: Option<PathBuf>,
}

/// libpq's `sslmode`. Its `allow` is left out: it is a way to have no TLS where there is some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TlsMode {
    /// None.
    Disable,
    /// Where the server has it; nothing is verified.
    Prefer,
    /// Always; nothing is verified, unless it is said whom to trust.
    Require,
    /// And the server's certificate is by somebody who is trusted.
    VerifyCa,
    /// And names the host.
    VerifyFull,
}

impl TlsMode {
    /// The mode of a name.
    pub fn parse(text: &str) -> Option<TlsMode> {
        Some(match text {
            "disable" => TlsMode::Disable,
            "prefer" => TlsMode::Prefer,
            "require" => TlsMode::Require,
            "verify-ca" => TlsMode::VerifyCa,
            "verify-full" => TlsMode::VerifyFull,
            _ => return None,
        })
    }
}

impl Tls {
    /// What makes connections so.
    ///
    /// # Errors
    /// When nobody can be trusted, because the certificates can't be read.
    pub fn connector(&self) -> Result<MakeRustlsConnect, CacheError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match (self.mode, &self.roots) {
            (TlsMode::Disable | TlsMode::Prefer, _) | (TlsMode::Require, None) => {
                Arc::new(Lenient::nothing(&provider))
            }
            (TlsMode::VerifyFull, _) => self.verifier(&provider)?,
            (TlsMode::VerifyCa | TlsMode::Require, _) => {
                Arc::new(Lenient::any_name(&provider, self.verifier(&provider)?))
            }
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|cause| unusable("TLS", cause))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        Ok(MakeRustlsConnect::new(config))
    }

    fn verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<WebPkiServerVerifier>, CacheError> {
        let (place, roots) = match self.roots.as_deref() {
            // libpq's word for them.
            Some(path) if path != Path::new("system") => (shown(path), roots_in(path)?),
            _ => ("the system's certificates".to_owned(), of_the_system()),
        };
        let built =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        built.build().map_err(|cause| unusable(&place, cause))
    }
}

fn unusable(path: &str, cause: impl std::error::Error + Send + Sync + 'static) -> CacheError {
    CacheError::Open {
        path: path.to_owned(),
        operation: "use the certificates that a shared cache's server is verified by",
        cause: std::io::Error::other(cause),
    }
}

fn roots_in(path: &Path) -> Result<RootCertStore, CacheError> {
    let place = shown(path);
    let all = CertificateDer::pem_file_iter(path).map_err(|cause| unusable(&place, cause))?;
    let mut roots = RootCertStore::empty();
    for one in all {
        let one = one.map_err(|cause| unusable(&place, cause))?;
        roots.add(one).map_err(|cause| unusable(&place, cause))?;
    }
    Ok(roots)
}

fn of_the_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// A verifier that asks for less than rustls does, as libpq's weaker modes say. That the server holds the key of its
/// certificate is verified in any case.
#[derive(Debug)]
struct Lenient {
    algorithms: WebPkiSupportedAlgorithms,
    /// Who verifies the chain, if anybody does; that it names another host is passed over.
    chain: Option<Arc<WebPkiServerVerifier>>,
}

impl Lenient {
    fn nothing(provider: &CryptoProvider) -> Lenient {
        Lenient {
            algorithms: provider.signature_verification_algorithms,
            chain: None,
        }
    }

    fn any_name(provider: &CryptoProvider, chain: Arc<WebPkiServerVerifier>) -> Lenient {
        Lenient {
            chain: Some(chain),
            ..Lenient::nothing(provider)
        }
    }
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        let found =
            chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match found {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            found => found,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn whom_to_trust_has_to_be_said_in_pem() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roots.pem");
        for (text, mode, good) in [
            (None, TlsMode::VerifyCa, false),
            (Some("none"), TlsMode::VerifyFull, false),
            (Some("none"), TlsMode::Require, false),
            (None, TlsMode::Prefer, true),
        ] {
            let _ = std::fs::remove_file(&path);
            text.into_iter()
                .for_each(|text| std::fs::write(&path, text).unwrap());
            let roots = Some(path.clone());
            let made = Tls { mode, roots }.connector();
            assert_eq!(made.is_ok(), good, "{text:?} {mode:?}");
        }
    }

    /// Whoever it trusts, and be that nobody.
    #[test]
    fn the_system_is_no_file() {
        let tls = Tls {
            mode: TlsMode::VerifyFull,
            roots: Some("system".into()),
        };
        if let Err(error) = tls.connector() {
            let error = error.to_string();
            assert!(error.contains("the system's certificates"), "{error}");
        }
    }

    #[test]
    fn modes_have_libpqs_names() {
        for (name, mode) in [
            ("disable", Some(TlsMode::Disable)),
            ("prefer", Some(TlsMode::Prefer)),
            ("require", Some(TlsMode::Require)),
            ("verify-ca", Some(TlsMode::VerifyCa)),
            ("verify-full", Some(TlsMode::VerifyFull)),
            ("allow", None),
            ("", None),
        ] {
            assert_eq!(TlsMode::parse(name), mode, "{name}");
        }
    }
}
