//! Venue time and the calendar: the engine counts nanoseconds from the midnight, UTC, before its shard began.

use ring0_engine::control::Clock;
use std::time::{SystemTime, UNIX_EPOCH};

/// Nanoseconds of a day.
const DAY_NS: i128 = 86_400_000_000_000;

/// From venue time to Unix time.
#[derive(Clone, Copy, Debug, Default)]
pub struct VenueClock {
    /// Unix time of venue time zero, a whole number of days, in nanoseconds.
    origin_ns: u64,
}

impl VenueClock {
    /// Learns from a clock command which day it was when venue time began: the machine's calendar and its boot-time clock agree with the
    /// command's sum to within half a day, and venue time began at a midnight.
    pub fn learn(&mut self, clock: &Clock) {
        let unix = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |it| it.as_nanos() as i128);
        let venue = clock.day_base_ns.wrapping_add(ring0_rings::boot_ns());
        self.origin_ns = origin(unix, venue.into());
    }

    /// Unix time in nanoseconds of a venue time.
    #[must_use]
    pub fn unix_ns(&self, venue_ns: u64) -> u64 {
        self.origin_ns.saturating_add(venue_ns)
    }
}

fn origin(unix_ns: i128, venue_ns: i128) -> u64 {
    let days = (unix_ns - venue_ns + DAY_NS / 2).div_euclid(DAY_NS);
    u64::try_from(days * DAY_NS).unwrap_or(0)
}

/// Unix time now in nanoseconds.
#[must_use]
pub fn unix_now_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |it| it.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn venue_time_began_at_a_midnight() {
        let day = DAY_NS;
        let hour = day / 24;
        assert_eq!(
            origin(20_000 * day + 5 * hour, 5 * hour),
            (20_000 * day) as u64
        );
        // Two days on, with clocks that have drifted by a second.
        let drifted = 20_002 * day + 5 * hour + 1_000_000_000;
        assert_eq!(origin(drifted, 2 * day + 5 * hour), (20_000 * day) as u64);
        assert_eq!(origin(0, 5 * hour), 0);
    }
}
