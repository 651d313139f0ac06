//! What every queue of the bench has in common: how records are sent, how they are received and checked, and two processes.
//!
//! A record is 64, 256 or 1,024 bytes: a head, the number of its producer's record, the time when it was sent, and bytes of that number. A receiver copies every
//! record out, as whoever keeps it must, and checks that no number is missing.
#![deny(unsafe_code)]

mod drain;
mod processes;
mod shape;

pub use drain::{Copied, Receiver, Sender, drain, send_all, send_paced};
pub use processes::{Measured, consumer_is_ready, measured, on_processor, start_consumer};
pub use shape::{Job, RECORD_BYTES_MAX, Shape, now_ns, record};

/// How the bench fails.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The system refused.
    #[error(transparent)]
    System(#[from] std::io::Error),
    /// The ring.
    #[error(transparent)]
    Ring(#[from] ring0_mq::ring::SharedError),
    /// The record file.
    #[error(transparent)]
    Recording(#[from] ring0_mq::MqError),
    /// The other process said something else, or nothing.
    #[error("the other process of the bench failed: {0}")]
    Other(String),
    /// A queue lost or changed a record: its figures mean nothing.
    #[error(
        "record {expected} of producer {producer} should have come, {found} came: the queue is wrong"
    )]
    Lost {
        /// Of which producer.
        producer: u64,
        /// Its next record.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// A queue's own words.
    #[error("{0}")]
    Queue(String),
}

impl BenchError {
    /// From an error of a queue.
    pub fn queue(error: impl std::fmt::Display) -> BenchError {
        BenchError::Queue(error.to_string())
    }
}
