//! The way to a service: whom to trust, who we are, and through which proxy.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use clap::builder::FalseyValueParser;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::Error;

/// Over these options, in `--help`.
const HEADING: &str = "On the way to the service";

/// How a service is reached, as every backend over HTTP can be told.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
#[non_exhaustive]
pub struct Way {
    /// Certificate authorities to trust, a PEM file, beside those of the system
    #[arg(long, value_name = "FILE", env = "ZIBRATO_CA_FILE", help_heading = HEADING)]
    pub ca_file: Option<PathBuf>,
    /// Trust only the authorities in --ca-file, none of the system
    #[arg(long, env = "ZIBRATO_CA_ONLY", value_parser = FalseyValueParser::new(), help_heading = HEADING)]
    pub ca_only: bool,
    /// The certificate to show to a service that asks for one, a PEM file with its chain; goes with --client-key
    #[arg(long, value_name = "FILE", env = "ZIBRATO_CLIENT_CERT", help_heading = HEADING)]
    pub client_cert: Option<PathBuf>,
    /// The private key of the certificate, a PEM file
    #[arg(long, value_name = "FILE", env = "ZIBRATO_CLIENT_KEY", help_heading = HEADING)]
    pub client_key: Option<PathBuf>,
    /// http://HOST:PORT, or `none`; otherwise HTTPS_PROXY and HTTP_PROXY say. NO_PROXY counts, and so does loopback
    #[arg(long, value_name = "URL", env = "ZIBRATO_PROXY", help_heading = HEADING)]
    pub proxy: Option<Proxy>,
}

/// Through what requests go. Its text may have a password in it, and is not shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Proxy {
    /// Nothing, whatever the environment says.
    None,
    /// This one.
    Url(reqwest::Url),
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Proxy::None => f.write_str("None"),
            Proxy::Url(url) => write!(f, "Url({})", url.origin().ascii_serialization()),
        }
    }
}

impl FromStr for Proxy {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        const FORM: &str = "write it as http://HOST:PORT, or none";
        if text == "none" {
            return Ok(Proxy::None);
        }
        let url = reqwest::Url::parse(text).map_err(|_| FORM)?;
        if matches!(url.scheme(), "http" | "https") && url.has_host() {
            Ok(Proxy::Url(url))
        } else {
            Err(FORM)
        }
    }
}

impl Way {
    /// Whom to trust and who we are.
    pub(crate) fn tls(&self) -> Result<rustls::ClientConfig, Error> {
        let bad = |why: &dyn std::fmt::Display| Error::Client { why: why.to_string() };
        let mut roots = rustls::RootCertStore::empty();
        if !self.ca_only {
            // Certificates that cannot be read are left out; with none left, an https request says what is wrong.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        } else if self.ca_file.is_none() {
            return Err(bad(&"--ca-only trusts nobody: give --ca-file"));
        }
        if let Some(path) = &self.ca_file {
            for certificate in certificates("certificate authorities", path)? {
                let unusable = |why: rustls::Error| pem("certificate authorities", path, &why);
                roots.add(certificate).map_err(unusable)?;
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|why| bad(&why))?
            .with_root_certificates(roots);
        match (&self.client_cert, &self.client_key) {
            (None, None) => Ok(builder.with_no_client_auth()),
            (Some(certificate), Some(key)) => {
                let chain = certificates("client certificate", certificate)?;
                let secret = PrivateKeyDer::from_pem_file(key).map_err(|why| pem("client key", key, &why))?;
                let mismatch = |why: rustls::Error| pem("client certificate", certificate, &why);
                builder.with_client_auth_cert(chain, secret).map_err(mismatch)
            }
            _ => Err(bad(&"give both --client-cert and --client-key, or none")),
        }
    }

    /// The proxy for a service that is on this host or not, where the environment does not say.
    pub(crate) fn apply(
        &self,
        client: reqwest::ClientBuilder,
        loopback: bool,
    ) -> Result<reqwest::ClientBuilder, Error> {
        Ok(match &self.proxy {
            // What is for this host needs nobody else, and nobody else is to see it.
            _ if loopback => client.no_proxy(),
            Some(Proxy::None) => client.no_proxy(),
            Some(Proxy::Url(url)) => {
                let proxy = reqwest::Proxy::all(url.clone())
                    .map_err(|_| Error::Client { why: "the proxy's address cannot be used".into() })?;
                client.proxy(proxy.no_proxy(reqwest::NoProxy::from_env()))
            }
            None => client,
        })
    }
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|why| pem(what, path, &why))?;
    if found.is_empty() {
        return Err(pem(what, path, &"it has no certificate: give a PEM file (BEGIN CERTIFICATE)"));
    }
    Ok(found)
}

fn pem(what: &'static str, path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::SecretFile { what, path: path.into(), why: why.to_string() }
}
