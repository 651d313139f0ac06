//! A server of the same framework that says hello and does nothing else: what `ring0 bench rest` measures the gateway beside.

use crate::run::runtime;
use axum::Router;
use axum::routing::get;
use axum::serve::ListenerExt;
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// Serves until the process is killed, on threads like the gateway's. `ready` is told where, once it listens.
///
/// # Errors
/// It cannot listen.
pub fn hello(listen: SocketAddr, ready: impl FnOnce(SocketAddr)) -> io::Result<()> {
    runtime()?.block_on(async {
        let listener = TcpListener::bind(listen).await?;
        ready(listener.local_addr()?);
        let listener = listener.tap_io(|stream| {
            // As the gateway does; where the system refuses it, it says so itself when it is read.
            let _ = stream.set_nodelay(true);
        });
        let router = Router::new().route("/", get(async || "hello, world\n"));
        axum::serve(listener, router).await
    })
}
