//! Whether this machine's clock can be trusted. Good-till-time orders expire by venue time, which begins as the machine's time of day and goes on by its
//! boot-time clock; where either may be wrong by more than a limit nothing expires (CUSTODY 19). An order that stays is cancelled by its owner, one that went
//! too early is gone.
//!
//! Knows what the kernel's time synchronisation says (`adjtimex(2)`) and how far venue time and time of day are apart; who sets the clock is not its matter.

use crate::day::DAY_NS;
use std::fs;
use std::io;
use std::path::PathBuf;

/// What the kernel says of its clock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Reading {
    /// Farthest that it can be off, nanoseconds. Rises while nobody sets it right.
    pub(crate) max_error_ns: u64,
    /// What it is thought to be off, nanoseconds.
    pub(crate) estimated_error_ns: u64,
    /// Whether anybody sets it right.
    pub(crate) is_synchronised: bool,
}

/// Who says so.
pub(crate) trait Source {
    /// What it says now.
    fn read(&self) -> io::Result<Reading>;
}

/// The kernel.
pub(crate) struct Kernel;

impl Source for Kernel {
    fn read(&self) -> io::Result<Reading> {
        // SAFETY: all of it is numbers, for which zero is good; with no modes the kernel only fills it in.
        let mut found: libc::timex = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is to a `timex` that lives until the call is over.
        let state = unsafe { libc::adjtimex(&raw mut found) };
        if state < 0 {
            return Err(io::Error::last_os_error());
        }
        let nanoseconds = |micro: i64| micro.unsigned_abs().saturating_mul(1_000);
        Ok(Reading {
            max_error_ns: nanoseconds(found.maxerror),
            estimated_error_ns: nanoseconds(found.esterror),
            is_synchronised: state != libc::TIME_ERROR && found.status & libc::STA_UNSYNC == 0,
        })
    }
}

/// A file with three numbers: farthest and estimated error in nanoseconds, and 1 where it is synchronised.
pub(crate) struct File(pub(crate) PathBuf);

impl Source for File {
    fn read(&self) -> io::Result<Reading> {
        let text = fs::read_to_string(&self.0)?;
        let numbers: Vec<u64> = text
            .split_whitespace()
            .filter_map(|it| it.parse().ok())
            .collect();
        match numbers[..] {
            [max_error_ns, estimated_error_ns, synchronised] => Ok(Reading {
                max_error_ns,
                estimated_error_ns,
                is_synchronised: synchronised == 1,
            }),
            _ => Err(io::Error::other("write three numbers")),
        }
    }
}

/// The clock as it was looked at last.
pub(crate) struct Clock {
    source: Box<dyn Source>,
    limit_ns: Option<u64>,
    reading: Option<Reading>,
    /// How far venue time and the machine's time of day are apart, nanoseconds.
    apart_ns: u64,
    /// Why it cannot be trusted, if so.
    doubt: Option<String>,
    /// Times that something was due and did not expire.
    refused: u64,
}

impl Clock {
    pub(crate) fn new(source: Box<dyn Source>, limit_ms: Option<u32>) -> Clock {
        Clock {
            source,
            limit_ns: limit_ms.map(|it| u64::from(it) * 1_000_000),
            reading: None,
            apart_ns: 0,
            doubt: None,
            refused: 0,
        }
    }

    /// Looks at it: with venue time and the time since midnight UTC, nanoseconds. Says when it begins or ceases to be trusted.
    pub(crate) fn look(&mut self, venue_ns: u64, day_ns: u64) {
        let read = self.source.read();
        self.apart_ns = apart(venue_ns, day_ns);
        let doubt = self
            .limit_ns
            .and_then(|limit| doubt(&read, self.apart_ns, limit));
        self.reading = read.ok();
        match (&self.doubt, &doubt) {
            (before, Some(why)) if before.is_none() => {
                eprintln!(
                    "ring0d: the clock cannot be trusted: {why}; no good-till-time order expires until it can"
                );
            }
            (Some(_), None) => eprintln!("ring0d: the clock can be trusted again: orders expire"),
            _ => {}
        }
        self.doubt = doubt;
    }

    /// Whether something that is due may expire now; where it may not, that is counted.
    pub(crate) fn lets_expire(&mut self) -> bool {
        self.refused += u64::from(self.doubt.is_some());
        self.doubt.is_none()
    }

    /// Why it cannot be trusted, if so.
    pub(crate) fn doubt(&self) -> Option<&str> {
        self.doubt.as_deref()
    }

    /// What the kernel said last; `None`: it says nothing.
    pub(crate) fn reading(&self) -> Option<Reading> {
        self.reading
    }

    /// How far venue time and the machine's time of day are apart, nanoseconds.
    pub(crate) fn apart_ns(&self) -> u64 {
        self.apart_ns
    }

    /// Times that something was due and did not expire.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }
}

/// How far two times of day are apart, the shorter way round.
fn apart(one_ns: u64, other_ns: u64) -> u64 {
    let way = (one_ns % DAY_NS).abs_diff(other_ns % DAY_NS);
    way.min(DAY_NS - way)
}

fn doubt(read: &io::Result<Reading>, apart_ns: u64, limit_ns: u64) -> Option<String> {
    let ms = |ns: u64| format!("{}.{:03} ms", ns / 1_000_000, ns / 1_000 % 1_000);
    let limit = ms(limit_ns);
    match read {
        Err(error) => Some(format!("the kernel does not say how good it is: {error}")),
        Ok(it) if !it.is_synchronised => Some(
            "nobody sets it right (the kernel's state is unsynchronised); start chrony or ntpd"
                .to_owned(),
        ),
        Ok(it) if it.max_error_ns > limit_ns => Some(format!(
            "it may be off by {}, and --clock-error-ms is {limit}; look at the time server",
            ms(it.max_error_ns)
        )),
        Ok(_) if apart_ns > limit_ns => Some(format!(
            "venue time and the time of day are {} apart, and --clock-error-ms is {limit}: the clock was set, or went wrong, since the shard was made; set it \
             right, or halt the shard and go on with its snapshot in a new one, which begins with the clock as it is",
            ms(apart_ns)
        )),
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;

    const GOOD: Reading = Reading {
        max_error_ns: 900_000,
        estimated_error_ns: 10_000,
        is_synchronised: true,
    };

    struct Given(Rc<Cell<Option<Reading>>>);

    impl Source for Given {
        fn read(&self) -> io::Result<Reading> {
            self.0.get().ok_or_else(|| io::Error::other("no"))
        }
    }

    #[test]
    fn what_is_off_lets_nothing_expire_until_it_is_right() {
        let said = Rc::new(Cell::new(Some(GOOD)));
        let mut clock = Clock::new(Box::new(Given(Rc::clone(&said))), Some(1));
        clock.look(5, 5);
        assert!(clock.lets_expire());
        let wrong = [
            None,
            Some(Reading {
                is_synchronised: false,
                ..GOOD
            }),
            Some(Reading {
                max_error_ns: 1_000_001,
                ..GOOD
            }),
        ];
        for (times, reading) in (1..).zip(wrong) {
            said.set(reading);
            clock.look(5, 5);
            assert!(!clock.lets_expire(), "{reading:?}");
            assert_eq!(clock.refused(), times);
        }
        said.set(Some(GOOD));
        clock.look(5 + 3 * DAY_NS, 1_000_006);
        assert!(!clock.lets_expire() && clock.doubt().unwrap().contains("1.000 ms apart"));
        clock.look(5 + 3 * DAY_NS, 1_000_005);
        assert!(clock.lets_expire());
        assert_eq!(clock.refused(), 4);
    }

    #[test]
    fn without_a_limit_it_is_told_and_halts_nothing() {
        let said = Rc::new(Cell::new(None));
        let mut clock = Clock::new(Box::new(Given(said)), None);
        clock.look(0, DAY_NS / 2);
        assert!(clock.lets_expire() && clock.doubt().is_none());
        assert_eq!((clock.apart_ns(), clock.reading()), (DAY_NS / 2, None));
    }

    #[test]
    fn the_kernel_says_something() {
        let found = Kernel.read().unwrap();
        assert!(
            found.estimated_error_ns <= found.max_error_ns.max(1),
            "{found:?}"
        );
    }

    #[test]
    fn midnight_is_no_difference() {
        assert_eq!(apart(DAY_NS - 1, 1), 2);
        assert_eq!(apart(1, 2 * DAY_NS - 1), 2);
    }
}
