//! Verifies the certificates of servers as the system does, and names the one that it rejects: its subject, its issuer and its
//! dates. They tell a proxy that inspects TLS from a server that was not renewed.

use crate::error_chain::escape_control;
use crate::ports::connectivity::UnreachableKind;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use rustls_platform_verifier::Verifier;
use std::fmt;
use std::sync::Arc;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate, X509Name};

/// Longest subject and issuer that are passed on.
const NAME_CHARS_MAX: usize = 120;
/// Longest reason, which may list all names of the certificate.
const REASON_CHARS_MAX: usize = 200;

/// The TLS side of a client: HTTP/1.1, and the authorities that the system trusts.
pub(super) fn client_config() -> Result<ClientConfig, Error> {
    let verifier = NamingVerifier(Verifier::new(provider())?);
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// For a client that calls plain http only: no certificate is accepted.
pub(super) fn client_config_without_authorities() -> Result<ClientConfig, Error> {
    let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn provider() -> Arc<CryptoProvider> {
    CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(ring::default_provider()))
}

/// A certificate that is not accepted, and why.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the certificate of {certificate} is rejected: {reason}")]
pub(super) struct RejectedCertificate {
    pub kind: UnreachableKind,
    reason: String,
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
        reason: shown(&reason.to_string(), REASON_CHARS_MAX),
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

/// What a certificate says of itself. The server chose the text, so it is cut, and control characters are escaped.
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
            subject: name(certificate.subject()),
            issuer: name(certificate.issuer()),
            from: moment(validity.not_before),
            until: moment(validity.not_after),
        }
    }
}

impl fmt::Display for CertificateNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { subject, issuer, from, until } => {
                write!(f, "\"{subject}\", issued by \"{issuer}\", valid from {from} to {until}")
            }
            Self::Unreadable => f.write_str("a subject that cannot be read"),
        }
    }
}

/// The whole name where it is short, else its common name, which tells the most.
fn name(name: &X509Name<'_>) -> String {
    let whole = name.to_string();
    let common = name.iter_common_name().next().and_then(|common| common.as_str().ok());
    match common {
        Some(common) if whole.chars().count() > NAME_CHARS_MAX => {
            shown(&format!("CN={common}"), NAME_CHARS_MAX)
        }
        _ => shown(&whole, NAME_CHARS_MAX),
    }
}

fn shown(text: &str, chars_max: usize) -> String {
    let mut shown: String = escape_control(text).chars().take(chars_max).collect();
    if text.chars().count() > chars_max {
        shown.push('…');
    }
    shown
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
        params.distinguished_name.push(DnType::OrganizationName, "a long name of a company ".repeat(9));
        params.distinguished_name.push(DnType::CommonName, format!("proxy\n{}", "x".repeat(200)));
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let text = rejected(certificate.der());
        assert!(text.starts_with(r#"the certificate of "CN=proxy\u{a}xxx"#), "{text}");
        let rest = "valid from 2020-01-01T00:00:00Z to 2021-01-01T00:00:00Z is rejected: UnknownIssuer";
        assert!(text.ends_with(rest), "{text}");
        assert!(text.len() < 400 && !text.contains('\n'), "{text}");
    }

    #[test]
    fn what_is_no_certificate_is_rejected_all_the_same() {
        assert!(rejected(&CertificateDer::from(vec![1, 2, 3])).contains("a subject that cannot be read"));
    }
}
