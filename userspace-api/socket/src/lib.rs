//! JSON lines over a Unix socket, as all processes of the exchange talk to each other and to operators: one request a line, one answer a line.
//!
//! Who may ask is decided by the peer's user before anything is read: root and the process's own user always, others where they are named. An answer
//! has `ok`; where it is false `error` says what and what to do. A request that is too long ends its connection.
#![deny(unsafe_code)]

mod client;
mod server;

pub use client::{Client, ClientError};
pub use server::{Admission, Peer, Server, SocketError, refusal};
