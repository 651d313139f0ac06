//! Who listens to what: from the one thread that follows a shard to the sockets of its clients.
//!
//! Always true: a message is made into text once, however many listen; the follower never waits for a client. A client whose queue is full is
//! cut off with that as the reason, because a diff that was left out would be a wrong book.

use crate::market::Interval;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, mpsc};

/// Text on its way to clients, shared.
pub type Text = axum::extract::ws::Utf8Bytes;

/// What can be listened to.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Channel {
    /// The book of an instrument.
    Book(u32),
    /// Its trades.
    Trades(u32),
    /// Its ticker, at most once a second.
    Ticker(u32),
    /// Its candles.
    Candles(u32, Interval),
    /// An account's orders.
    Orders(u32),
    /// An account's fills.
    Fills(u32),
}

/// A client's queue.
#[derive(Debug)]
pub struct Listener {
    number: u64,
    queue: mpsc::Sender<Text>,
    /// Its queue was full: it is cut off.
    slow: AtomicBool,
    /// Said when it is.
    cut: Notify,
}

impl Listener {
    /// A queue of so many messages, and its other end.
    #[must_use]
    pub fn new(messages: usize) -> (Arc<Listener>, mpsc::Receiver<Text>) {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let (queue, taken) = mpsc::channel(messages);
        let listener = Listener {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            queue,
            slow: AtomicBool::new(false),
            cut: Notify::new(),
        };
        (Arc::new(listener), taken)
    }

    /// Puts a message into its queue; a full one cuts it off.
    pub fn say(&self, text: Text) {
        if self.slow.load(Ordering::Acquire) {
            return;
        }
        if let Err(mpsc::error::TrySendError::Full(_)) = self.queue.try_send(text) {
            self.slow.store(true, Ordering::Release);
            self.cut.notify_one();
        }
    }

    /// Whether it was cut off.
    #[must_use]
    pub fn is_slow(&self) -> bool {
        self.slow.load(Ordering::Acquire)
    }

    /// Comes back when it is cut off.
    pub async fn cut_off(&self) {
        self.cut.notified().await;
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Hub {
    listeners: Mutex<HashMap<Channel, Vec<Arc<Listener>>>>,
}

impl Hub {
    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<Channel, Vec<Arc<Listener>>>> {
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A client listens from now on.
    pub fn join(&self, channel: Channel, listener: &Arc<Listener>) {
        let mut all = self.all();
        let those = all.entry(channel).or_default();
        if !those.iter().any(|one| one.number == listener.number) {
            those.push(Arc::clone(listener));
        }
    }

    /// It listens no more.
    pub fn leave(&self, channel: Channel, listener: &Listener) {
        let mut all = self.all();
        if let Some(those) = all.get_mut(&channel) {
            those.retain(|one| one.number != listener.number);
            if those.is_empty() {
                all.remove(&channel);
            }
        }
    }

    /// Whether somebody listens.
    #[must_use]
    pub fn has(&self, channel: Channel) -> bool {
        self.all().contains_key(&channel)
    }

    /// Says it to all who listen; `text` is made only where there is one.
    pub fn say(&self, channel: Channel, text: impl FnOnce() -> String) {
        let all = self.all();
        let Some(those) = all.get(&channel) else {
            return;
        };
        let text = Text::from(text());
        for one in those {
            one.say(text.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_cuts_off_and_nobody_waits() {
        let hub = Hub::default();
        let (slow, mut taken) = Listener::new(2);
        let (quick, mut all) = Listener::new(100);
        for listener in [&slow, &quick, &quick] {
            hub.join(Channel::Trades(1), listener);
        }
        for number in 0..10 {
            hub.say(Channel::Trades(1), || number.to_string());
            hub.say(Channel::Trades(2), || unreachable!("nobody listens"));
        }
        assert!(slow.is_slow() && !quick.is_slow());
        let read =
            |from: &mut mpsc::Receiver<Text>| std::iter::from_fn(|| from.try_recv().ok()).count();
        assert_eq!((read(&mut taken), read(&mut all)), (2, 10));
        hub.leave(Channel::Trades(1), &quick);
        hub.leave(Channel::Trades(1), &slow);
        assert!(!hub.has(Channel::Trades(1)));
    }
}
