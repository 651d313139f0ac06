//! How often somebody may try: a bucket an address, filled at a steady rate.
//!
//! Always true: at most [`PLACES_MAX`] addresses are known; when they are full, strangers share one bucket, and those who are known keep theirs.

use crate::refused::Refused;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Addresses known at once: some megabytes.
const PLACES_MAX: usize = 65_536;

/// Attempts at once, and how long one takes to come back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pace {
    /// At once.
    pub burst: u32,
    /// Milliseconds until one more.
    pub every_ms: u64,
}

/// Buckets by where attempts come from.
#[derive(Debug)]
pub(crate) struct Attempts {
    pace: Pace,
    /// When a place's bucket is full again (GCRA's theoretical arrival time), milliseconds of Unix time.
    full_ms: Mutex<HashMap<Option<IpAddr>, u64>>,
}

impl Attempts {
    pub(crate) fn new(pace: Pace) -> Attempts {
        Attempts {
            pace,
            full_ms: Mutex::default(),
        }
    }

    /// Takes one attempt from a place.
    pub(crate) fn take(&self, from: IpAddr, now_ms: u64) -> Result<(), Refused> {
        let mut buckets = self.full_ms.lock().unwrap_or_else(PoisonError::into_inner);
        let mut place = Some(of(from));
        if buckets.len() >= PLACES_MAX && !buckets.contains_key(&place) {
            buckets.retain(|_, full| *full > now_ms);
            if buckets.len() >= PLACES_MAX {
                place = None;
            }
        }
        let full = buckets.get(&place).copied().unwrap_or(0).max(now_ms);
        let most = u64::from(self.pace.burst.saturating_sub(1)) * self.pace.every_ms;
        let wait = (full - now_ms).saturating_sub(most);
        if wait > 0 {
            return Err(Refused::TooMany {
                retry_after_s: wait.div_ceil(1000),
            });
        }
        buckets.insert(place, full + self.pace.every_ms);
        Ok(())
    }
}

/// Who has an IPv6 address has a network of them.
fn of(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(address) => {
            let mut octets = address.octets();
            octets[8..].fill(0);
            IpAddr::V6(octets.into())
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_and_fills_and_strangers_share_when_there_are_too_many() {
        let attempts = Attempts::new(Pace {
            burst: 3,
            every_ms: 1_000,
        });
        let at = |text: &str| text.parse::<IpAddr>().unwrap();
        let one = at("192.0.2.1");
        for _ in 0..3 {
            attempts.take(one, 10_000).unwrap();
        }
        match attempts.take(one, 10_000) {
            Err(Refused::TooMany { retry_after_s }) => assert_eq!(retry_after_s, 1),
            other => panic!("{other:?}"),
        }
        attempts.take(at("192.0.2.2"), 10_000).unwrap();
        attempts.take(one, 11_000).unwrap();
        assert!(attempts.take(one, 11_000).is_err());
        // One network of IPv6 is one place.
        for host in 1..4 {
            let address = format!("2001:db8:1:2::{host}");
            attempts.take(at(&address), 0).unwrap();
        }
        assert!(attempts.take(at("2001:db8:1:2:ffff::"), 0).is_err());
        attempts.take(at("2001:db8:1:3::1"), 0).unwrap();
        for host in 0..PLACES_MAX as u32 {
            let address = IpAddr::from((0x0A00_0000 + host).to_be_bytes());
            let _ = attempts.take(address, 20_000);
        }
        assert!(attempts.full_ms.lock().unwrap().len() <= PLACES_MAX + 1);
        let strangers = (0..9).map(|it| attempts.take(at(&format!("198.51.100.{it}")), 20_000));
        assert!(strangers.filter(Result::is_ok).count() <= 3);
    }
}
