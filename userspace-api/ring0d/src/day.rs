//! The day's end and beginning. Rule: RULES 29; `docs/matching.md#control-commands`.

use crate::daemon::Daemon;
use ring0_engine::control::{ControlKind, OpenDay};
use ring0_engine::record::State;
use serde_json::{Value, json};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Nanoseconds of a day.
pub(crate) const DAY_NS: u64 = 86_400_000_000_000;

/// Nanoseconds since midnight UTC by the machine's clock.
pub(crate) fn since_midnight() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| (now.as_nanos() % u128::from(DAY_NS)) as u64)
}

impl Daemon {
    /// Closes the instruments, or one, and takes the orders away that do not last beyond the day.
    pub(crate) fn close_day(&mut self, instrument: Option<&str>) -> Result<Value, String> {
        let begun = Instant::now();
        let indices = match instrument {
            Some(symbol) => vec![self.instrument(symbol)?],
            None => (0..self.market.plan.instruments.len() as u32).collect(),
        };
        let (mut closed, mut fewer, mut outcome) = (0_u32, 0, "accepted");
        for index in indices {
            match self.market_state(index) {
                None if instrument.is_none() => continue, // not listed
                Some(State::Closed) => {}
                _ => {
                    self.set_state(index, State::Closed)?;
                }
            }
            let done = self.end_day(index)?;
            closed += 1;
            fewer += done["orders_fewer"].as_i64().unwrap_or(0);
            if done["outcome"] != "accepted" {
                outcome = "continues";
            }
        }
        Ok(json!({
            "ok": true,
            "outcome": outcome,
            "instruments": closed,
            "orders_fewer": fewer,
            "took_ns": begun.elapsed().as_nanos() as u64,
        }))
    }

    /// Opens a day.
    pub(crate) fn open_day(
        &mut self,
        day: Option<u32>,
        midnight: Option<&str>,
        feed_session: Option<&str>,
    ) -> Result<Value, String> {
        let header = self.shard.shard().header();
        let day = day.unwrap_or(header.day.get().saturating_add(1));
        let midnight_ns = match midnight {
            Some(text) => ring0_market::time_of_day(text).ok_or_else(|| {
                format!("{text:?} is no venue time; write hours:minutes:seconds, hours may pass 24")
            })?,
            None => self.midnight_ns(),
        };
        let letters = feed_session.map_or_else(|| format!("{day:010}"), str::to_owned);
        let feed_session = <[u8; 10]>::try_from(letters.as_bytes())
            .ok()
            .filter(|id| id.iter().all(u8::is_ascii_alphanumeric))
            .ok_or_else(|| {
                format!("{letters:?} is no feed session; give ten letters and digits")
            })?;
        let mut answer = self.control(
            ControlKind::OpenDay,
            &OpenDay {
                day,
                reserved: 0,
                midnight_ns,
                feed_session,
                reserved2: [0; 6],
            },
        )?;
        answer["day"] = day.into();
        answer["midnight_ns"] = midnight_ns.into();
        answer["feed_session"] = letters.into();
        Ok(answer)
    }

    /// Venue time of the machine's present midnight, UTC: a whole number of days, because venue time began at one.
    fn midnight_ns(&self) -> u64 {
        // The two clocks may have drifted apart: the nearest day is meant.
        (self.venue_now() + DAY_NS / 2).saturating_sub(since_midnight()) / DAY_NS * DAY_NS
    }

    /// Venue time that a command would have now.
    pub(crate) fn venue_now(&self) -> u64 {
        let header = self.shard.shard().header();
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let boot_ns = boot.tv_sec.cast_unsigned() * 1_000_000_000 + boot.tv_nsec.cast_unsigned();
        let clock = header.day_base_ns.get().wrapping_add(boot_ns);
        header.time_ns.get().max(clock)
    }
}
