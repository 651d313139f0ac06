//! One process a role and shard: the recorder, the daemon.

use crate::MqError;
use std::fmt;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

/// Held while its process is the only one in its role. An abstract socket name, which the kernel gives back however the
/// process ends; it holds within a network namespace.
#[derive(Debug)]
pub struct Sole(#[expect(dead_code, reason = "held, never asked")] UnixListener);

impl Sole {
    /// Takes the role for the shard that this text names: a [`Place`](ring0_rings::Place)'s.
    ///
    /// # Errors
    /// [`MqError::NotAlone`] while another process has it.
    pub fn take(role: &'static str, shard: impl fmt::Display) -> Result<Sole, MqError> {
        SocketAddr::from_abstract_name(format!("ring0/{role}/{shard}"))
            .and_then(|name| UnixListener::bind_addr(&name))
            .map(Sole)
            .map_err(|_| MqError::NotAlone { role })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_free_again_when_it_was_given_up() {
        let arena = u32::MAX;
        let first = Sole::take("test", arena).unwrap();
        let error = Sole::take("test", arena).unwrap_err();
        assert!(error.to_string().contains("another test"), "{error}");
        drop(first);
        Sole::take("test", arena).unwrap();
    }
}
