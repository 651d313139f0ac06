//! Counters of a feed's threads, read by whoever prints them.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// What the feed did so far. Writers: its threads, each its own words. Readers: anyone, each word by itself.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])+ pub $name: AtomicU64,)+
        }

        impl Counters {
            /// Every counter with its name.
            #[must_use]
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.load(Ordering::Relaxed)),)+]
            }
        }
    };
}

counters! {
    /// Messages published.
    messages,
    /// Packets with messages published, each counted once for all lines.
    packets,
    /// Heartbeats.
    heartbeats,
    /// Packets that a line did not take: its listeners find a gap, and the other line's do not.
    line_errors,
    /// Requests that came.
    requests,
    /// Requests that were no requests.
    requests_malformed,
    /// Requests left unanswered because their address asked too often.
    requests_limited,
    /// Requests of messages that are in neither memory nor journal.
    requests_unavailable,
    /// Packets sent in answer.
    answers,
    /// Snapshots sent whole.
    snapshots,
    /// Snapshot clients that were turned away: there are too many.
    snapshots_refused,
    /// Snapshot clients that were cut off: too slow, gone, or not speaking SoupBinTCP.
    snapshots_cut_off,
    /// Batches that the journal did not take.
    journal_errors,
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}
