//! Counters of a feed's threads, read by whoever prints them.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($(#[$about:meta])+ $Counters:ident: $($(#[$doc:meta])+ $name:ident,)+) => {
        $(#[$about])+
        #[derive(Debug, Default)]
        pub struct $Counters {
            $($(#[$doc])+ pub $name: AtomicU64,)+
        }

        impl $Counters {
            /// Every counter with its name.
            #[must_use]
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.load(Ordering::Relaxed)),)+]
            }
        }
    };
}

counters! {
    /// What the feed did so far. Writers: its threads, each its own words. Readers: anyone, each word by itself.
    Counters:
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

counters! {
    /// What the server of answers did so far. Writers: its threads. Readers: anyone, each word by itself.
    AnswerCounters:
    /// Logins over SoupBinTCP that were rejected.
    logins_rejected,
    /// Clients over SoupBinTCP that were cut off: too slow, gone, or not speaking it.
    clients_cut_off,
    /// Datagrams that came.
    requests,
    /// Datagrams that were no requests.
    requests_malformed,
    /// Requests of a stream that nobody may read.
    requests_unknown,
    /// Requests whose tag is not of the stream's key, or that were changed.
    requests_forged,
    /// Genuine requests from an address that has not shown, or not lately, that it receives; it was challenged.
    requests_unproved,
    /// Genuine requests that are not newer than one before from the same address.
    requests_replayed,
    /// Genuine requests of one subscriber too many.
    requests_refused,
    /// Requests whose answer ended early because their address asked too often.
    requests_limited,
    /// Requests of messages that are not there: not yet, or no more.
    requests_unavailable,
    /// Subscriptions that began, or began again.
    subscriptions,
    /// Subscriptions that ended because nothing was heard.
    expiries,
    /// Subscriptions that their clients ended.
    departures,
    /// Packets with messages pushed, each to one subscriber.
    packets,
    /// Messages in them.
    messages,
    /// Messages sent again, because they were asked for.
    repeated,
    /// Heartbeats and ends of sessions.
    heartbeats,
    /// Messages that were no longer kept when a subscriber's turn came.
    given_up,
    /// Datagrams that the network did not take.
    send_errors,
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}
