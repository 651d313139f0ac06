//! How the bench fails: one line that says what and what to do, and the exit status, as `ring0`'s own.

use ring0_drive::DriveError;
use ring0_engine::native::{Dropped, NativeError};
use ring0_rings::RingError;

/// A failed bench.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// The stream does not reach the ring.
    #[error(transparent)]
    Drive(#[from] DriveError),
    /// The native shard could not be made.
    #[error(transparent)]
    Native(#[from] NativeError),
    /// The kernel failed.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// A packet of ours is none.
    #[error("packet {index} was dropped: {cause:?}")]
    Dropped {
        /// Which.
        index: usize,
        /// Why.
        cause: Dropped,
    },
    /// The kernel program gave no answer.
    #[error("packet {index} got no answer from the kernel program (verdict {verdict})")]
    NoAnswer {
        /// Which.
        index: usize,
        /// The XDP action.
        verdict: u32,
    },
    /// Our trades are not the header's.
    #[error("{engine}, {flow}: {what}; the engine is wrong, its times mean nothing")]
    Disagreed {
        /// The engine.
        engine: &'static str,
        /// The stream.
        flow: &'static str,
        /// What disagreed.
        what: String,
    },
    /// Callgrind did not count.
    #[error("{0}")]
    Callgrind(String),
    /// The system refused.
    #[error(transparent)]
    System(#[from] std::io::Error),
}

impl BenchError {
    /// The exit status.
    pub(crate) fn code(&self) -> u8 {
        match self {
            BenchError::Disagreed { .. } | BenchError::NoAnswer { .. } => 3,
            BenchError::Drive(DriveError::Privilege) => 5,
            BenchError::Drive(
                DriveError::Loader(error) | DriveError::Ring(RingError::Loader(error)),
            )
            | BenchError::Ring(RingError::Loader(error)) => error.exit() as u8,
            _ => 1,
        }
    }

    /// Why there is no kernel ring here, if that is what the error says: no privilege, or a kernel without a feature.
    pub(crate) fn no_kernel(&self) -> Option<String> {
        [5, 6].contains(&self.code()).then(|| self.to_string())
    }
}
