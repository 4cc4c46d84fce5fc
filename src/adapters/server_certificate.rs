//! Verifies the certificates of servers as the system does, and names the one that it rejects: its subject, its issuer and its
//! dates. They tell a proxy that inspects TLS from a server that was not renewed.

use crate::ports::connectivity::UnreachableKind;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use rustls_platform_verifier::Verifier;
use std::fmt;
use std::sync::Arc;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

/// Longest name of a certificate that is passed on.
const NAME_CHARS_MAX: usize = 100;

/// The TLS side of a client: HTTP/1.1, and the certificates that the system trusts.
pub(super) fn client_config() -> Result<ClientConfig, Error> {
    let provider =
        CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(ring::default_provider()));
    let verifier = NamingVerifier(Verifier::new(provider.clone())?);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// A certificate that is not accepted, and why.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{reason}; it is the certificate of {certificate}")]
pub(super) struct RejectedCertificate {
    pub kind: UnreachableKind,
    reason: CertificateError,
    certificate: CertificateNames,
}

impl RejectedCertificate {
    /// The rejection that an error of TLS carries.
    pub fn of(error: &Error) -> Option<&Self> {
        let Error::InvalidCertificate(CertificateError::Other(OtherError(held))) = error else { return None };
        held.downcast_ref()
    }
}

/// The system's verifier, whose rejections say what they rejected.
#[derive(Debug)]
struct NamingVerifier(Verifier);

impl ServerCertVerifier for NamingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        verified.map_err(|error| match error {
            Error::InvalidCertificate(reason) => named(reason, end_entity),
            other => other,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

fn named(reason: CertificateError, certificate: &CertificateDer<'_>) -> Error {
    let rejected = RejectedCertificate {
        kind: kind_of(&reason),
        reason,
        certificate: CertificateNames::of(certificate),
    };
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(rejected))))
}

fn kind_of(reason: &CertificateError) -> UnreachableKind {
    match reason {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => UnreachableKind::CertificateExpired,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            UnreachableKind::CertificateForAnotherName
        }
        _ => UnreachableKind::CertificateNotTrusted,
    }
}

/// What a certificate says of itself. The server chose the text, so it is cut, and without control characters.
#[derive(Debug, Clone)]
enum CertificateNames {
    Read { subject: String, issuer: String, from: String, until: String },
    Unreadable,
}

impl CertificateNames {
    fn of(certificate: &CertificateDer<'_>) -> Self {
        let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Self::Unreadable };
        let validity = certificate.validity();
        Self::Read {
            subject: shown(&certificate.subject().to_string()),
            issuer: shown(&certificate.issuer().to_string()),
            from: moment(validity.not_before),
            until: moment(validity.not_after),
        }
    }
}

impl fmt::Display for CertificateNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { subject, issuer, from, until } => {
                write!(f, "{subject:?}, issued by {issuer:?}, valid from {from} to {until}")
            }
            Self::Unreadable => f.write_str("a subject that cannot be read"),
        }
    }
}

fn shown(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { ' ' } else { c }).take(NAME_CHARS_MAX).collect()
}

fn moment(time: ASN1Time) -> String {
    let moment = OffsetDateTime::from_unix_timestamp(time.timestamp()).ok();
    moment.and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_else(|| "?".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

    fn rejected(certificate: &CertificateDer<'_>) -> String {
        let error = named(CertificateError::UnknownIssuer, certificate);
        RejectedCertificate::of(&error).unwrap().to_string()
    }

    #[test]
    fn a_rejected_certificate_is_named_with_its_dates() {
        let mut params = CertificateParams::new(vec!["vault.example".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, format!("proxy\n{}", "x".repeat(200)));
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let text = rejected(certificate.der());
        assert!(text.contains("UnknownIssuer"), "{text}");
        assert!(text.contains("CN=proxy "), "{text}");
        assert!(text.ends_with("valid from 2020-01-01T00:00:00Z to 2021-01-01T00:00:00Z"), "{text}");
        assert!(text.len() < 400 && !text.contains('\n'), "{text}");
    }

    #[test]
    fn what_is_no_certificate_is_rejected_all_the_same() {
        assert!(rejected(&CertificateDer::from(vec![1, 2, 3])).ends_with("cannot be read"));
    }
}
