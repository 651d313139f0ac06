//! The re-request server: a lost message again, by unicast, from memory or the journal.
//!
//! A request costs its sender 20 bytes and the server up to [`RequestOptions::packets_max`] packets, and its address may be a
//! lie: so each address has a rate, in packets of answer, and the number of addresses kept is bounded. Offer it only to a net
//! whose addresses are checked.

use crate::counters::{Counters, add};
use crate::follow::SharedJournal;
use crate::history::History;
use ring0_itch::mold::{PacketBuilder, Request};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How requests are answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequestOptions {
    /// Packets in answer to one request at most.
    pub packets_max: u16,
    /// Packets of answer that an address gets in a second, in the long run; not 0.
    pub per_second: u32,
    /// Packets that it may get at once.
    pub burst: u32,
    /// Addresses that are kept in mind; requests of others are left unanswered while all are busy.
    pub addresses_max: usize,
}

impl Default for RequestOptions {
    /// 16 packets, some 500 messages, a request; 5,000 packets a second and 500 at once, which is 7 MB/s; 4,096 addresses.
    fn default() -> Self {
        RequestOptions {
            packets_max: 16,
            per_second: 5_000,
            burst: 500,
            addresses_max: 4_096,
        }
    }
}

/// The rate of each address, as GCRA: when its allowance will be whole again.
pub(crate) struct Limits {
    options: RequestOptions,
    whole_at: HashMap<IpAddr, Duration>,
}

impl Limits {
    pub(crate) fn new(options: RequestOptions) -> Limits {
        Limits {
            options,
            whole_at: HashMap::new(),
        }
    }

    /// Whether an address may have one packet more now.
    pub(crate) fn allows(&mut self, address: IpAddr, now: Duration) -> bool {
        let cost = Duration::from_secs(1) / self.options.per_second.max(1);
        if self.whole_at.len() >= self.options.addresses_max
            && !self.whole_at.contains_key(&address)
        {
            self.whole_at.retain(|_, at| *at > now);
            if self.whole_at.len() >= self.options.addresses_max {
                return false;
            }
        }
        let at = self.whole_at.entry(address).or_insert(now);
        let next = (*at).max(now) + cost;
        if next > now + cost * self.options.burst.max(1) {
            return false;
        }
        *at = next;
        true
    }
}

/// What the server's thread works with.
pub(crate) struct Requests {
    pub(crate) socket: UdpSocket,
    pub(crate) options: RequestOptions,
    pub(crate) payload_max: usize,
    pub(crate) history: Arc<Mutex<History>>,
    pub(crate) journal: Option<SharedJournal>,
    pub(crate) counters: Arc<Counters>,
}

impl Requests {
    /// Answers until told to stop.
    pub(crate) fn serve(&self, stop: &AtomicBool) {
        let begun = Instant::now();
        let mut limits = Limits::new(self.options);
        // One byte more than a request has: longer ones are refused, not cut.
        let mut bytes = [0; 21];
        while !stop.load(Ordering::Acquire) {
            // The socket has a read timeout. Other errors are of packets sent before, to who has gone.
            let Ok((len, from)) = self.socket.recv_from(&mut bytes) else {
                continue;
            };
            add(&self.counters.requests, 1);
            match Request::read(&bytes[..len]) {
                Ok(request) => self.answer(request, from, &mut limits, begun.elapsed()),
                Err(_) => add(&self.counters.requests_malformed, 1),
            }
        }
    }

    fn answer(
        &self,
        mut request: Request,
        from: std::net::SocketAddr,
        limits: &mut Limits,
        now: Duration,
    ) {
        for sent in 0..self.options.packets_max {
            let mut packet =
                PacketBuilder::new(request.session, request.sequence, self.payload_max);
            let found = self.find(&request, &mut packet).unwrap_or(0);
            if found == 0 {
                if sent == 0 {
                    add(&self.counters.requests_unavailable, 1);
                }
                return;
            }
            if !limits.allows(from.ip(), now) {
                add(&self.counters.requests_limited, 1);
                return;
            }
            if self.socket.send_to(packet.packet(), from).is_ok() {
                add(&self.counters.answers, 1);
            }
            request.sequence += u64::from(found);
            request.count -= found;
            if request.count == 0 {
                return;
            }
        }
    }

    /// From memory, else from the journal.
    fn find(&self, request: &Request, packet: &mut PacketBuilder) -> io::Result<u16> {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let found = history.answer(request, packet);
        drop(history);
        match &self.journal {
            Some(journal) if found == 0 => {
                let journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
                journal.answer(request, packet)
            }
            _ => Ok(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn an_address_gets_its_burst_and_then_its_rate() {
        let mut limits = Limits::new(RequestOptions {
            packets_max: 1,
            per_second: 10,
            burst: 5,
            addresses_max: 2,
        });
        let [one, two, three] = [1, 2, 3].map(|last| IpAddr::from(Ipv4Addr::new(10, 0, 0, last)));
        let allowed = |limits: &mut Limits, address, now| {
            (0..100).filter(|_| limits.allows(address, now)).count()
        };
        let now = Duration::from_secs(1);
        assert_eq!(allowed(&mut limits, one, now), 5);
        assert_eq!(allowed(&mut limits, two, now), 5);
        assert_eq!(
            allowed(&mut limits, three, now),
            0,
            "two addresses are busy"
        );
        let now = now + Duration::from_millis(300);
        assert_eq!(allowed(&mut limits, one, now), 3);
        let now = now + Duration::from_secs(60);
        assert_eq!(allowed(&mut limits, three, now), 5, "the others are quiet");
        assert_eq!(allowed(&mut limits, one, now), 5);
    }
}
