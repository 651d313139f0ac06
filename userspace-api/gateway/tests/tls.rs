//! TLS from files, for REST and OUCH.

mod stand;

use ring0_itch::soup::{LoginRequest, encode, kind};
use ring0_itch::zerocopy::IntoBytes;
use stand::{PATIENCE, Stand};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

struct Certificate {
    folder: tempfile::TempDir,
    der: CertificateDer<'static>,
}

fn certificate() -> Certificate {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("chain.pem"), made.cert.pem()).unwrap();
    fs::write(
        folder.path().join("key.pem"),
        made.signing_key.serialize_pem(),
    )
    .unwrap();
    Certificate {
        folder,
        der: made.cert.der().clone(),
    }
}

fn connect(
    to: SocketAddr,
    trusted: &CertificateDer<'static>,
) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider();
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let client = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    StreamOwned::new(client, stream)
}

#[test]
fn rest_and_ouch_speak_tls_and_nothing_else() {
    let certificate = certificate();
    let path = |name| certificate.folder.path().join(name);
    let tls = format!(
        "tls = {{ certificate = {:?}, key = {:?} }}",
        path("chain.pem"),
        path("key.pem")
    );
    let stand = Stand::with(&tls, "");

    let mut client = connect(stand.http, &certificate.der);
    let request = b"GET /v1/time HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    client.write_all(request).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let session = stand.market.session("ops-1").unwrap();
    let password = ring0_gateway::ouch_password(session).unwrap();
    let id = session.id().to_string();
    let login = LoginRequest::new(&id[4..], password.as_str(), "", 0).unwrap();
    let mut bytes = Vec::new();
    encode(kind::LOGIN, login.as_bytes(), &mut bytes).unwrap();
    let mut client = connect(stand.ouch, &certificate.der);
    client.write_all(&bytes).unwrap();
    let mut head = [0; 3];
    client.read_exact(&mut head).unwrap();
    assert_eq!(head[2], kind::LOGIN_ACCEPTED);

    // In plain, nobody answers; under another's certificate, nobody asks.
    for (to, said) in [(stand.http, &request[..]), (stand.ouch, &bytes[..])] {
        let mut plain = TcpStream::connect(to).unwrap();
        plain.set_read_timeout(Some(PATIENCE)).unwrap();
        plain.write_all(said).unwrap();
        let mut answer = Vec::new();
        let _ = plain.read_to_end(&mut answer);
        assert!(
            answer.len() < 16 && !answer.starts_with(b"HTTP"),
            "{answer:?}"
        );
    }
    let other = self::certificate();
    assert!(connect(stand.http, &other.der).write_all(request).is_err());
}
