//! What the daemon does by itself as time passes: good-till-time orders expire, auctions are indicated, silent sessions lose their orders.
//!
//! All of it is a command that the shard judges: a daemon that is late, dead or started twice makes nothing wrong. Nothing is sent that
//! would change nothing.

use crate::daemon::Daemon;
use crate::day::since_midnight;
use crate::steady::steady;
use ring0_engine::control::{Body, Control, ControlKind, Disconnect, Expire, Indicate};
use ring0_engine::limits::DAY_SECONDS;
use ring0_engine::record::{Outcome, State};
use ring0_engine::{Equilibrium, Reason};
use std::time::{Duration, Instant};

/// How often expiry and auctions are looked at; a session's silence is looked at each time around.
const PERIOD: Duration = Duration::from_secs(1);

/// What was done last.
pub(crate) struct Duties {
    /// When expiry and auctions were looked at.
    looked: Instant,
    /// Sequence number of the shard's next record when auctions were looked at.
    sequence: u64,
    /// What was published of each instrument's auction last: price, volume, imbalance.
    indicated: Vec<(u32, u64, i64)>,
    /// By session.
    silences: Vec<Silence>,
}

/// How long a session has sent nothing.
#[derive(Clone, Copy)]
struct Silence {
    /// Client sequence it goes on with.
    expected: u64,
    since: Instant,
    /// Its orders were cancelled, or that was tried, and nothing came since.
    is_told: bool,
}

impl Duties {
    pub(crate) fn new() -> Duties {
        Duties {
            looked: Instant::now(),
            sequence: 0,
            indicated: Vec::new(),
            silences: Vec::new(),
        }
    }
}

impl Daemon {
    /// To be called each time around.
    pub(crate) fn do_duties(&mut self) {
        let header = self.shard.shard().header();
        if header.halted.get() != 0 || header.broken.get() != 0 {
            return;
        }
        self.watch_sessions();
        if self.duties.looked.elapsed() >= PERIOD {
            self.duties.looked = Instant::now();
            self.clock.look(self.venue_now(), since_midnight());
            self.expire();
            self.indicate();
            self.close_revoked();
        }
    }

    /// Sends a command of its own accord; tells of an error. Gives the shard's reason, if it did not accept.
    fn send<B: Body>(&mut self, kind: ControlKind, body: &B) -> Reason {
        match self.shard.command(&[Control::new(kind, body)]) {
            Ok(results) => match results.first() {
                Some((Outcome::Rejected, reason)) => *reason,
                _ => Reason::None,
            },
            Err(error) => {
                eprintln!("ring0d: {kind:?} could not be sent: {error}");
                Reason::None
            }
        }
    }

    /// Tells the shard the second of the day, if a good-till-time order ends by it.
    fn expire(&mut self) {
        let header = self.shard.shard().header();
        let since_midnight = self.venue_now().saturating_sub(header.midnight_ns.get());
        let second = (since_midnight / 1_000_000_000).min(DAY_SECONDS.into()) as u32;
        let is_due = self
            .shard
            .first_expiry()
            .is_some_and(|first| first <= second);
        if header.expiring.get() != 0 || second == 0 || !is_due || !self.clock.lets_expire() {
            return;
        }
        let body = Expire {
            second,
            reserved: 0,
        };
        let reason = self.send(ControlKind::Expire, &body);
        if reason != Reason::None {
            eprintln!("ring0d: expiry was rejected: {}", reason.name());
        }
    }

    /// Publishes what the auction of each instrument that collects orders would do, where that has changed.
    fn indicate(&mut self) {
        let sequence = self.shard.shard().header().next_sequence.get();
        if sequence == self.duties.sequence {
            return; // nothing has happened at all
        }
        let instruments = self.market.plan.instruments.len();
        self.duties.indicated.resize(instruments, (0, 0, 0));
        for index in 0..instruments as u32 {
            let collects = matches!(
                self.market_state(index),
                Some(State::OpeningAuction | State::VolatilityPause | State::ClosingAuction)
            );
            let last = self.duties.indicated[index as usize];
            if !collects {
                self.duties.indicated[index as usize] = (0, 0, 0);
                continue;
            }
            let Some(found) = steady(&*self.shard, |shard| shard.equilibrium(index)) else {
                return; // too busy: in a second again
            };
            let now = found.map_or((0, 0, 0), |it: Equilibrium| {
                (it.price, it.volume, it.imbalance)
            });
            if now == last {
                continue;
            }
            let body = Indicate {
                instrument: index,
                price: now.0,
                volume: now.1,
                imbalance: now.2,
            };
            // Rejected only where the call ended meanwhile.
            if self.send(ControlKind::Indicate, &body) == Reason::None {
                self.duties.indicated[index as usize] = now;
            }
        }
        self.duties.sequence = self.shard.shard().header().next_sequence.get();
    }

    /// Cancels the orders of sessions that have been silent for longer than the market file allows them.
    fn watch_sessions(&mut self) {
        for index in 0..self.market.plan.sessions.len() {
            let seconds = self.market.plan.sessions[index].cancel_on_disconnect_s;
            if seconds != 0 {
                self.watch_session(index, Duration::from_secs(seconds.into()));
            }
        }
        let granted = self.grants.as_ref().map(|it| it.watched());
        for (session, seconds) in granted.into_iter().flatten() {
            self.watch_session(session as usize, Duration::from_secs(seconds.into()));
        }
    }

    fn watch_session(&mut self, index: usize, limit: Duration) {
        let Some((expected, has_orders)) = self.shard.session(index as u32).map(|session| {
            let counts = session.cancel_on_disconnect.get() != 0 && session.orders_live.get() != 0;
            (session.expected.get(), counts)
        }) else {
            return;
        };
        let now = Instant::now();
        let fresh = Silence {
            expected,
            since: now,
            is_told: false,
        };
        let silences = &mut self.duties.silences;
        silences.resize(silences.len().max(index + 1), fresh);
        let silence = &mut silences[index];
        if silence.expected != expected {
            *silence = fresh;
        }
        if silence.is_told || !has_orders || silence.since.elapsed() < limit {
            return;
        }
        silence.is_told = true;
        let body = Disconnect {
            session: index as u32,
            reserved: 0,
            expected,
        };
        let reason = self.send(ControlKind::Disconnect, &body);
        let named = self.market.plan.sessions.get(index);
        let name = named.map_or_else(|| format!("#{index}"), |one| one.name.clone());
        match reason {
            Reason::None => eprintln!(
                "ring0d: session {name} was silent for {} s: its orders are cancelled",
                limit.as_secs()
            ),
            Reason::SessionAlive => {} // it has just sent something
            // Its orders are being cancelled already, or some of them: looked at again.
            Reason::Continuing => self.duties.silences[index].is_told = false,
            other => eprintln!(
                "ring0d: disconnecting {name} was rejected: {}",
                other.name()
            ),
        }
    }
}
