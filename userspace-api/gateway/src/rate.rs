//! How often somebody may ask: a bucket for each address or credential, and the headers that say what is left in it.

use crate::problem::Problem;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Buckets kept at the most. Full ones are forgotten first; when all are in use the oldest half goes, which lets somebody ask more, not less.
const BUCKETS_MAX: usize = 100_000;

/// What is left after a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Left {
    /// Requests at once at the most.
    pub limit: u32,
    /// Of them left.
    pub remaining: u32,
    /// Seconds until all are there again.
    pub reset_s: u64,
    /// Milliseconds until one is, where none was left.
    pub wait_ms: Option<u64>,
}

impl Left {
    /// Writes `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset`.
    pub fn write(&self, headers: &mut HeaderMap) {
        for (name, value) in [
            ("ratelimit-limit", u64::from(self.limit)),
            ("ratelimit-remaining", self.remaining.into()),
            ("ratelimit-reset", self.reset_s),
        ] {
            headers.insert(HeaderName::from_static(name), value.into());
        }
    }

    /// The answer where none was left.
    #[must_use]
    pub fn problem(&self) -> Option<Problem> {
        let wait_ms = self.wait_ms?;
        let mut problem = Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate-limited",
            "Too many requests",
            format!("wait {wait_ms} ms; a WebSocket says what happens without being asked"),
        );
        problem.retry_after = Some(wait_ms.div_ceil(1_000));
        Some(problem)
    }
}

/// Buckets of one kind, by whose they are.
#[derive(Debug)]
pub struct Buckets<K> {
    burst: u32,
    /// What one request costs.
    each: Duration,
    /// When each bucket is full again: later than now by what was taken out (GCRA).
    full_at: Mutex<HashMap<K, Instant>>,
}

impl<K: Clone + Eq + Hash> Buckets<K> {
    /// So many requests a second, so many at once.
    #[must_use]
    pub fn new(per_second: u32, burst: u32) -> Buckets<K> {
        Buckets {
            burst: burst.max(1),
            each: Duration::from_secs(1) / per_second.max(1),
            full_at: Mutex::new(HashMap::new()),
        }
    }

    /// Takes one request out of somebody's bucket.
    pub fn take(&self, whose: &K, now: Instant) -> Left {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if full_at.len() >= BUCKETS_MAX && !full_at.contains_key(whose) {
            full_at.retain(|_, at| *at > now);
            if full_at.len() >= BUCKETS_MAX {
                let mut turn = false;
                full_at.retain(|_, _| {
                    turn = !turn;
                    turn
                });
            }
        }
        let all = self.each * self.burst;
        let at = full_at.get(whose).copied().unwrap_or(now).max(now);
        let then = at + self.each;
        let missing = then - now;
        let left = |missing: Duration, wait_ms| {
            let used = missing.as_nanos().div_ceil(self.each.as_nanos().max(1));
            Left {
                limit: self.burst,
                remaining: self.burst.saturating_sub(used as u32),
                reset_s: missing.as_millis().div_ceil(1_000) as u64,
                wait_ms,
            }
        };
        if missing > all {
            let wait_ms = ((missing - all).as_millis() as u64).max(1);
            return left(at - now, Some(wait_ms));
        }
        full_at.insert(whose.clone(), then);
        left(missing, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate_and_each_has_its_own() {
        let buckets = Buckets::new(10, 3);
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let take = |whose: &str, ms| buckets.take(&whose.to_owned(), at(ms));
        assert_eq!([0, 0, 0].map(|ms| take("a", ms).remaining), [2, 1, 0]);
        let none = take("a", 0);
        assert_eq!((none.remaining, none.wait_ms), (0, Some(100)));
        assert_eq!(none.problem().unwrap().retry_after, Some(1));
        assert_eq!(take("b", 0).remaining, 2);
        assert!(take("a", 100).wait_ms.is_none());
        assert!(take("a", 150).wait_ms.is_some());
        assert_eq!(take("a", 10_000).remaining, 2);
        let mut headers = HeaderMap::new();
        take("a", 10_000).write(&mut headers);
        assert_eq!(headers["ratelimit-limit"], "3");
        assert_eq!(headers["ratelimit-remaining"], "1");
    }
}
