//! The steering program from the ring's process: which sessions it lets through, and what it counts.

use ring0_abi::steer::{self, Tag};
use ring0_wire::SessionId;
use xdp_loader::{Counters, Keys, LoaderError, Steer};

/// Belongs to whoever carries out control commands; the port belongs to the ring's thread. Both keep the program attached: the last one to go
/// detaches it.
#[derive(Debug)]
pub struct AfxdpControl {
    pub(crate) steer: std::sync::Arc<Steer>,
    pub(crate) sessions: Keys,
    pub(crate) counters: Counters,
}

impl AfxdpControl {
    /// Lets packets of a granted session through, its tag checked or not; the next packet sees it. Called when the engine has granted it, and again
    /// when its key changes.
    ///
    /// # Errors
    /// The id's index is not below `sessions_max`.
    pub fn set_session(&self, id: SessionId, tag: Tag<'_>) -> Result<(), LoaderError> {
        // An id that is not of the alphabet has no index; nor would the program ever find it.
        let index = id.index().unwrap_or(u32::MAX);
        self.sessions.set(index, &steer::session_entry(id, tag))
    }

    /// Lets nothing of a session through: it was closed.
    ///
    /// # Errors
    /// The index is not below `sessions_max`.
    pub fn clear_session(&self, index: u32) -> Result<(), LoaderError> {
        self.sessions.clear(index)
    }

    /// What the steering program counts, by the names of the kernel ring where they mean the same. The sums are not of one moment while packets flow.
    ///
    /// # Errors
    /// The kernel's.
    pub fn counters(&self) -> Result<Vec<(String, u64)>, LoaderError> {
        let names = (0..steer::COUNTERS_USED)
            .filter_map(|number| Some((number, steer::counter_name(number)?)));
        names
            .map(|(number, (prefix, name))| Ok((format!("{prefix}{name}"), self.sum(number)?)))
            .collect()
    }

    /// A counter by its number (`ring0_abi::steer`).
    ///
    /// # Errors
    /// The kernel's.
    pub fn sum(&self, number: u32) -> Result<u64, LoaderError> {
        self.counters.sum(number)
    }

    /// Counters that the kernel ring does not have.
    pub(crate) fn own_counters(&self) -> Result<[(&'static str, u64); 3], LoaderError> {
        Ok([
            ("redirected", self.sum(steer::REDIRECTED)?),
            ("drop_no_socket", self.sum(steer::NO_SOCKET)?),
            ("drop_no_metadata", self.sum(steer::NO_METADATA)?),
        ])
    }

    /// Numbers that the steering program has given so far: what was delivered, what was lost behind it, and what still waits in the rings.
    ///
    /// # Errors
    /// The kernel's.
    pub fn arrivals(&self) -> Result<u64, LoaderError> {
        self.steer.arrivals()
    }

    /// The steering program, to run it on bytes of one's own.
    #[must_use]
    pub fn program(&self) -> &xdp_loader::Program {
        self.steer.program()
    }
}
