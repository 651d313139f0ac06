//! Connections: accepted, counted, made safe by TLS, given limits of time and memory, and ended in peace.
//!
//! Always true: a connection holds a place from its acceptance to its end, so there are never more than the configuration says; one that sends
//! its request's head, or its TLS handshake, slower than the limit is closed and gives its place back.

use crate::app::App;
use crate::config::Tls;
use crate::metrics::Metrics;
use crate::rest::Peer;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt::set_socket_send_buffer_size;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;
use tower::Service;

/// Bytes of a connection's buffer for heads of requests: no route needs more, and ten thousand of them are memory.
const HEAD_BYTES: usize = 16 << 10;

/// Bytes that the system keeps of what a client has not taken yet (it doubles them). By itself it would keep megabytes of each, and a client that
/// does not read would be noticed when it is far behind.
const SEND_BYTES: usize = 128 << 10;

/// Header fields of a request.
const HEADERS_MAX: usize = 64;

/// How long connections may take to end when the process does.
pub const DRAIN: Duration = Duration::from_secs(10);

/// Why TLS cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file.
    #[error("{path}: {source}; give a PEM file of {wanted}", path = .path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// What it should be.
        wanted: &'static str,
        /// Why not.
        source: tokio_rustls::rustls::pki_types::pem::Error,
    },
    /// Both do not fit together.
    #[error("certificate and key cannot be used: {0}")]
    Pair(#[from] tokio_rustls::rustls::Error),
}

/// Reads certificate and key.
///
/// # Errors
/// A file is not there or none of its kind, or they do not fit.
pub fn acceptor(tls: &Tls) -> Result<TlsAcceptor, TlsError> {
    let failed = |path: &PathBuf, wanted| {
        let path = path.clone();
        move |source| TlsError::Pem {
            path,
            wanted,
            source,
        }
    };
    let chain = CertificateDer::pem_file_iter(&tls.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(failed(&tls.certificate, "the certificate and its chain"))?;
    let key =
        PrivateKeyDer::from_pem_file(&tls.key).map_err(failed(&tls.key, "the private key"))?;
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// A connection, plain or not.
pub enum Stream {
    /// On loopback.
    Plain(TcpStream),
    /// Over TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(it) => Pin::new(it).poll_read(cx, buf),
            Stream::Tls(it) => Pin::new(it).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(it) => Pin::new(it).poll_write(cx, buf),
            Stream::Tls(it) => Pin::new(it).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(it) => Pin::new(it).poll_flush(cx),
            Stream::Tls(it) => Pin::new(it).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(it) => Pin::new(it).poll_shutdown(cx),
            Stream::Tls(it) => Pin::new(it).poll_shutdown(cx),
        }
    }
}

/// Makes a connection safe, within a time.
///
/// # Errors
/// The handshake failed or took too long.
pub async fn secure(
    stream: TcpStream,
    tls: Option<&TlsAcceptor>,
    at_most: Duration,
) -> io::Result<Stream> {
    stream.set_nodelay(true)?;
    set_socket_send_buffer_size(&stream, SEND_BYTES)?;
    let Some(tls) = tls else {
        return Ok(Stream::Plain(stream));
    };
    let shaken = tokio::time::timeout(at_most, tls.accept(stream)).await;
    let shaken = shaken.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    Ok(Stream::Tls(Box::new(shaken)))
}

/// Places for connections, in all and for each address.
#[derive(Debug)]
pub struct Places {
    max: usize,
    per_address: usize,
    taken: Mutex<(usize, HashMap<IpAddr, usize>)>,
    metrics: Arc<Metrics>,
    protocol: &'static str,
}

/// A place; given back when dropped.
#[derive(Debug)]
pub struct Seat {
    places: Arc<Places>,
    address: IpAddr,
}

impl Places {
    /// So many.
    #[must_use]
    pub fn new(
        max: usize,
        per_address: usize,
        metrics: &Arc<Metrics>,
        protocol: &'static str,
    ) -> Arc<Places> {
        Arc::new(Places {
            max,
            per_address,
            taken: Mutex::default(),
            metrics: Arc::clone(metrics),
            protocol,
        })
    }

    /// One, if there is one.
    #[must_use]
    pub fn take(self: &Arc<Places>, address: IpAddr) -> Option<Seat> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address = taken.1.get(&address).copied().unwrap_or(0);
        if taken.0 >= self.max || of_address >= self.per_address {
            self.refused("full");
            return None;
        }
        taken.0 += 1;
        taken.1.insert(address, of_address + 1);
        self.gauge().set(taken.0 as i64);
        Some(Seat {
            places: Arc::clone(self),
            address,
        })
    }

    /// Counts a connection that was refused or cut off.
    pub fn refused(&self, reason: &str) {
        let labels = [self.protocol, reason];
        self.metrics.refused.with_label_values(&labels).inc();
    }

    fn gauge(&self) -> prometheus::IntGauge {
        self.metrics.connections.with_label_values(&[self.protocol])
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let places = &self.places;
        let mut taken = places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.0 -= 1;
        if let Some(of_address) = taken.1.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                taken.1.remove(&self.address);
            }
        }
        places.gauge().set(taken.0 as i64);
    }
}

/// The next connection; waits a moment where the system has no descriptor for it.
pub async fn next(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Comes back when the process is to end.
pub async fn drained(draining: &mut watch::Receiver<bool>) {
    // The sender lives as long as the process.
    let _ = draining.wait_for(|it| *it).await;
}

/// Serves HTTP until the process is to end, and then until every connection has ended or [`DRAIN`] is over.
pub async fn http(listener: TcpListener, app: Arc<App>, router: Router, tls: Option<TlsAcceptor>) {
    let http = &app.http;
    let places = Places::new(
        http.connections_max,
        http.connections_per_address,
        &app.metrics,
        "http",
    );
    let mut draining = app.draining.clone();
    // Each connection has one; the last one gone says that all have ended.
    let (alive, mut ended) = tokio::sync::mpsc::channel::<()>(1);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = next(&listener) => accepted,
            () = drained(&mut draining) => break,
        };
        let Some(seat) = places.take(peer.ip()) else {
            continue; // closed
        };
        let (router, tls, alive) = (router.clone(), tls.clone(), alive.clone());
        let head = Duration::from_secs(http.head_seconds);
        let (places, draining) = (Arc::clone(&places), app.draining.clone());
        tokio::spawn(async move {
            let _alive = alive;
            match secure(stream, tls.as_ref(), head).await {
                Ok(stream) => connection(stream, peer, router, head, seat, draining).await,
                Err(_) => places.refused("handshake"),
            }
        });
    }
    drop((listener, alive));
    let _ = tokio::time::timeout(DRAIN, ended.recv()).await;
}

async fn connection(
    stream: Stream,
    peer: SocketAddr,
    router: Router,
    head: Duration,
    seat: Seat,
    mut draining: watch::Receiver<bool>,
) {
    let seat = Arc::new(seat);
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        // A WebSocket goes on behind its connection's task, and keeps the place.
        request.extensions_mut().insert(Arc::clone(&seat));
        router.clone().call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let ending = drained(&mut draining);
    tokio::pin!(ending);
    let mut is_ending = false;
    loop {
        tokio::select! {
            // What goes wrong on a connection is the client's: it is closed.
            _ = &mut connection => return,
            () = &mut ending, if !is_ending => {
                is_ending = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
