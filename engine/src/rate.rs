//! Message rates of sessions and accounts: the generic cell rate algorithm.
//!
//! A rate is a burst in messages and an interval in nanoseconds, what one message costs; interval 0: no rate. Its state is the
//! theoretical arrival time, in venue time. Sums of these could wrap and differences cannot: burst · interval is below 2^62.
//! Rule: `docs/matching.md#packet-taken-or-not`; RULES 8, 9; `docs/decisions/0036-account-rate.md`.

use crate::limits::AMOUNT_MAX;

/// Whether a rate may be set: with an interval a burst, and burst · interval at most 2^62 − 1.
#[inline(always)]
pub(crate) fn is_good(burst: u32, interval_ns: u64) -> bool {
    interval_ns == 0 || (burst != 0 && interval_ns <= AMOUNT_MAX / 2 / u64::from(burst))
}

/// The state after so many messages at venue time `now`; none where they are more than the rate allows.
#[inline(always)]
pub(crate) fn after(
    state: u64,
    now: u64,
    burst: u32,
    interval_ns: u64,
    messages: u64,
) -> Option<u64> {
    let from = if state > now { state } else { now };
    if interval_ns == 0 {
        return Some(from);
    }
    let burst = u64::from(burst);
    if messages > burst {
        return None;
    }
    let cost = messages.wrapping_mul(interval_ns);
    if from.wrapping_sub(now) > burst.wrapping_mul(interval_ns).wrapping_sub(cost) {
        return None;
    }
    let to = from.wrapping_add(cost);
    Some(if to < from { u64::MAX } else { to })
}

/// A state that another rate goes on from: not further ahead of `now` than a whole burst of it, which is as far as it would have come
/// itself. Otherwise what a lower rate has charged would keep its owner waiting after a higher one was set, for years if it was a slip.
#[inline(always)]
pub(crate) fn kept(state: u64, now: u64, burst: u32, interval_ns: u64) -> u64 {
    let whole = u64::from(burst).wrapping_mul(interval_ns);
    if state > now && state.wrapping_sub(now) > whole {
        now.wrapping_add(whole)
    } else {
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: u64 = u64::MAX;
    const WHOLE_MAX: u64 = (1 << 62) - 1;

    #[test]
    fn a_rate_has_a_burst_and_an_end() {
        for (burst, interval_ns, good) in [
            (0, 0, true),
            (7, 0, true),
            (0, 1, false),
            (1, WHOLE_MAX, true),
            (1, WHOLE_MAX + 1, false),
            (3, WHOLE_MAX / 3, true),
            (3, WHOLE_MAX / 3 + 1, false),
            (u32::MAX, WHOLE_MAX / u64::from(u32::MAX), true),
            (u32::MAX, WHOLE_MAX / u64::from(u32::MAX) + 1, false),
            (2, END, false),
        ] {
            assert_eq!(is_good(burst, interval_ns), good, "{burst} {interval_ns}");
        }
    }

    #[test]
    fn messages_are_charged_up_to_the_burst() {
        // state, now, burst, interval, messages
        for (given, want) in [
            ((0, 100, 0, 0, 9), Some(100)),
            ((500, 100, 0, 0, 9), Some(500)),
            ((0, 100, 3, 10, 3), Some(130)),
            ((0, 100, 3, 10, 4), None),
            ((110, 100, 3, 10, 2), Some(130)),
            ((111, 100, 3, 10, 2), None),
            ((130, 110, 3, 10, 1), Some(140)),
            ((130, 109, 3, 10, 1), None),
            ((0, 5, 1, WHOLE_MAX, 1), Some(5 + WHOLE_MAX)),
            // The end of time: the state stays there, and what is ahead of now is still exact.
            ((0, END, 3, 10, 3), Some(END)),
            ((END, END - 10, 3, 10, 2), Some(END)),
            ((END, END - 11, 3, 10, 2), None),
            ((END, END - WHOLE_MAX, 1, WHOLE_MAX, 1), None),
            (
                (END - WHOLE_MAX, END - WHOLE_MAX, 1, WHOLE_MAX, 1),
                Some(END),
            ),
        ] {
            let (state, now, burst, interval_ns, messages) = given;
            let found = after(state, now, burst, interval_ns, messages);
            assert_eq!(found, want, "{given:?}");
        }
    }

    #[test]
    fn a_state_is_kept_up_to_a_burst() {
        // state, now, burst, interval
        for (given, want) in [
            ((50, 100, 3, 10), 50),
            ((130, 100, 3, 10), 130),
            ((131, 100, 3, 10), 130),
            ((END, 100, 1, WHOLE_MAX), 100 + WHOLE_MAX),
            ((131, 100, 0, 0), 100),
            ((131, 100, 7, 0), 100),
            ((END, END - 1, 3, 10), END),
        ] {
            let (state, now, burst, interval_ns) = given;
            assert_eq!(kept(state, now, burst, interval_ns), want, "{given:?}");
        }
    }
}
