//! A message rate as people say it, and as the engine counts it.

/// Messages of the largest packet with its tag block: a smaller burst would refuse it for ever.
const BURST_MIN: u32 = 69;

const SECOND_NS: u64 = 1_000_000_000;

/// How many messages a session, or all sessions of an account together, may send. The default: no limit.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Rate {
    /// Nanoseconds that one message costs; 0: no limit.
    pub interval_ns: u64,
    /// Messages that may come at once; 0 without a limit.
    pub burst: u32,
}

// Whatever is asked, the engine takes it: burst · interval is at most 2^62 − 1.
const _: () = assert!(u32::MAX as u64 * SECOND_NS < 1 << 62);

impl Rate {
    /// So many messages a second, so many of them at once.
    ///
    /// # Errors
    /// No second has so many or so few, or a whole packet would never be taken.
    pub fn new(per_second: u32, burst: u32) -> Result<Rate, RateError> {
        if per_second == 0 || u64::from(per_second) > SECOND_NS {
            return Err(RateError::PerSecond(per_second));
        }
        if burst < BURST_MIN {
            return Err(RateError::Burst(burst));
        }
        // Rounded up: never more than the rate asked for.
        let interval_ns = SECOND_NS.div_ceil(per_second.into());
        Ok(Rate { interval_ns, burst })
    }
}

/// Why there is no such rate.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RateError {
    /// Too few messages a second, or too many.
    #[error("{0} is not 1 to 1,000,000,000 messages a second")]
    PerSecond(u32),
    /// The burst is too small.
    #[error("{0} is below {BURST_MIN}, the largest packet, which would never be taken")]
    Burst(u32),
}

impl RateError {
    /// What to do.
    #[must_use]
    pub fn fix(&self) -> String {
        match self {
            RateError::PerSecond(_) => "leave the rate out where there is no limit".to_owned(),
            RateError::Burst(_) => format!("give a burst of at least {BURST_MIN}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_rounded_up() {
        for (per_second, interval_ns) in [
            (1, SECOND_NS),
            (3, 333_333_334),
            (100_000, 10_000),
            (999_999_999, 2),
            (1_000_000_000, 1),
        ] {
            let burst = BURST_MIN;
            assert_eq!(
                Rate::new(per_second, burst),
                Ok(Rate { interval_ns, burst })
            );
        }
    }

    #[test]
    fn what_could_never_be_kept_is_refused() {
        let wrong = Rate::new(0, 100).unwrap_err();
        assert_eq!(wrong, RateError::PerSecond(0));
        assert!(wrong.fix().contains("leave the rate out"));
        let wrong = Rate::new(1_000_000_001, 100).unwrap_err();
        assert_eq!(wrong, RateError::PerSecond(1_000_000_001));
        let wrong = Rate::new(1, 68).unwrap_err();
        assert_eq!(
            wrong.to_string(),
            "68 is below 69, the largest packet, which would never be taken"
        );
        assert!(wrong.fix().contains("69"));
    }
}
