//! The certificate of the simulated Azure: made at the first start, kept in the state folder, and renewed in time.
//!
//! Its authority signs it and nothing else: the authority's key is dropped at once, and its certificate is limited to the
//! names of this machine. So a client that trusts the CA file trusts this server alone. A renewed certificate has another
//! authority, in the same file.

use super::state_folder::{CertificateFiles, write_private};
use crate::engine::keep_private;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{RootCertStore, ServerConfig};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};
use time::{Duration, OffsetDateTime};

/// The names that clients use. A vault's own domain is not among them: the clients of Key Vault can be told not to insist
/// on it, and a certificate for it would be one for the vaults of others.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
const VALIDITY: Duration = Duration::days(365);
/// Before its end the certificate is renewed, so that no run of `local` meets it.
const RENEWED_BEFORE: Duration = Duration::days(30);
/// The clocks of clients in virtual machines and containers can be behind.
const BACKDATED: Duration = Duration::days(1);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("cannot use {path}")]
    Io { path: PathBuf, source: io::Error },
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
    #[error("a certificate that was just made cannot be used")]
    Unusable,
}

/// The TLS settings of the simulated Azure, with the certificate that is kept or a new one.
pub fn open(files: &CertificateFiles, now: OffsetDateTime) -> Result<Arc<ServerConfig>, CertificateError> {
    if let Some(kept) = read(files, now)? {
        return Ok(Arc::new(kept));
    }
    make(files, now)?;
    read(files, now)?.map(Arc::new).ok_or(CertificateError::Unusable)
}

/// What is kept, if clients accept it today and for a while. Files that cannot be understood are replaced.
fn read(files: &CertificateFiles, now: OffsetDateTime) -> Result<Option<ServerConfig>, CertificateError> {
    let (Some(ca), Some(server)) = (read_file(&files.ca)?, read_file(&files.server)?) else {
        return Ok(None);
    };
    keep_private(&files.server).map_err(io_error(&files.server))?;
    Ok(settings(&ca, &server, now))
}

fn read_file(path: &Path) -> Result<Option<Vec<u8>>, CertificateError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error(path)(error)),
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> CertificateError {
    let path = path.to_owned();
    |source| CertificateError::Io { path, source }
}

fn settings(ca: &[u8], server: &[u8], now: OffsetDateTime) -> Option<ServerConfig> {
    let ca = CertificateDer::from_pem_slice(ca).ok()?;
    let certificate = CertificateDer::from_pem_slice(server).ok()?;
    let key = PrivateKeyDer::from_pem_slice(server).ok()?;
    let provider = Arc::new(ring::default_provider());
    if !is_accepted(&ca, &certificate, &provider, &[now, now + RENEWED_BEFORE]) {
        return None;
    }
    let settings =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
    let mut settings = settings.with_no_client_auth().with_single_cert(vec![certificate], key).ok()?;
    settings.alpn_protocols = vec![b"http/1.1".to_vec()];
    Some(settings)
}

/// Whether a client that trusts `ca` accepts the certificate for every name, at all of those times.
fn is_accepted(
    ca: &CertificateDer<'_>,
    certificate: &CertificateDer<'_>,
    provider: &Arc<CryptoProvider>,
    times: &[OffsetDateTime],
) -> bool {
    let mut roots = RootCertStore::empty();
    if roots.add(ca.clone().into_owned()).is_err() {
        return false;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    let Ok(verifier) = verifier else { return false };
    times.iter().all(|at| {
        let seconds = u64::try_from(at.unix_timestamp()).unwrap_or_default();
        let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        NAMES.iter().all(|name| {
            ServerName::try_from(*name)
                .is_ok_and(|name| verifier.verify_server_cert(certificate, &[], &name, &[], at).is_ok())
        })
    })
}

fn make(files: &CertificateFiles, now: OffsetDateTime) -> Result<(), CertificateError> {
    let authority_key = KeyPair::generate()?;
    let authority = authority(now)?;
    let ca = authority.self_signed(&authority_key)?.pem();
    let key = KeyPair::generate()?;
    let certificate = server(now)?.signed_by(&key, &Issuer::new(authority, authority_key))?;
    let both = format!("{}{}", certificate.pem(), key.serialize_pem());
    write_private(&files.ca, ca.as_bytes()).map_err(io_error(&files.ca))?;
    write_private(&files.server, both.as_bytes()).map_err(io_error(&files.server))
}

fn authority(now: OffsetDateTime) -> Result<CertificateParams, rcgen::Error> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.distinguished_name = common_name("azure-backup-scim local: authority of one certificate");
    (authority.not_before, authority.not_after) = (now - BACKDATED, now + VALIDITY);
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    authority.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("localhost".to_owned()),
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix(Ipv4Addr::LOCALHOST.octets(), 32)),
            GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix(Ipv6Addr::LOCALHOST.octets(), 128)),
        ],
        excluded_subtrees: Vec::new(),
    });
    Ok(authority)
}

fn server(now: OffsetDateTime) -> Result<CertificateParams, rcgen::Error> {
    let mut server = CertificateParams::new(NAMES.map(str::to_owned))?;
    server.distinguished_name = common_name("localhost");
    (server.not_before, server.not_after) = (now - BACKDATED, now + VALIDITY);
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    Ok(server)
}

fn common_name(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, text);
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-30 12:00 UTC);

    fn files(folder: &Path) -> CertificateFiles {
        CertificateFiles { ca: folder.join("ca.pem"), server: folder.join("server.pem") }
    }

    fn contents(files: &CertificateFiles) -> (String, String) {
        (fs::read_to_string(&files.ca).unwrap(), fs::read_to_string(&files.server).unwrap())
    }

    /// Whether a start at that time keeps the certificate of `NOW`, after `damage`.
    fn is_kept(at: OffsetDateTime, damage: impl FnOnce(&CertificateFiles)) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        open(&files, NOW).unwrap();
        let before = contents(&files);
        damage(&files);
        open(&files, at).unwrap();
        contents(&files) == before
    }

    #[test]
    fn a_certificate_is_kept_until_its_end_is_near() {
        assert!(is_kept(NOW, |_| {}));
        assert!(is_kept(NOW + VALIDITY - RENEWED_BEFORE - Duration::HOUR, |_| {}));
        assert!(!is_kept(NOW + VALIDITY - RENEWED_BEFORE + Duration::HOUR, |_| {}));
        assert!(!is_kept(NOW + VALIDITY * 2, |_| {}));
        assert!(!is_kept(NOW - BACKDATED * 2, |_| {}), "not valid yet");
    }

    #[test]
    fn files_that_do_not_belong_together_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let other = files(folder.path());
        open(&other, NOW).unwrap();
        assert!(!is_kept(NOW, |files| fs::write(&files.ca, contents(&other).0).unwrap()));
        assert!(!is_kept(NOW, |files| fs::write(&files.server, "cut off").unwrap()));
        assert!(!is_kept(NOW, |files| {
            let (_, server) = contents(files);
            let (_, others) = contents(&other);
            let (certificate, _) = server.split_once("-----BEGIN PRIVATE").unwrap();
            let (_, key) = others.split_once("-----BEGIN PRIVATE").unwrap();
            fs::write(&files.server, format!("{certificate}-----BEGIN PRIVATE{key}")).unwrap();
        }));
    }

    #[test]
    #[cfg(unix)]
    fn only_its_owner_reads_the_key_and_the_key_of_the_authority_is_nowhere() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        open(&files, NOW).unwrap();
        assert_eq!(fs::metadata(&files.server).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&files.server, fs::Permissions::from_mode(0o644)).unwrap();
        open(&files, NOW).unwrap();
        assert_eq!(fs::metadata(&files.server).unwrap().permissions().mode() & 0o777, 0o600);
        let (ca, server) = contents(&files);
        assert!(!ca.contains("PRIVATE"));
        assert_eq!(server.matches("BEGIN PRIVATE KEY").count(), 1);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
