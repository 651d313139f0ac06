//! Instruments in the operator's hands: states, auctions, price limits, listing and delisting, moved ladders.
//!
//! What takes steps is waited for: the answer comes when the last one is done. Whoever dies meanwhile, the state in the region says how
//! to go on, and the same verb said again goes on with it.
//! Rule: RULES 4, 29; `docs/matching.md#market-states-and-auctions`.

use crate::amount;
use crate::daemon::Daemon;
use crate::protocol::{Afterwards, BookSide, state_name};
use crate::steady::steady;
use ring0_engine::control::{
    Body, Clear, Control, ControlKind, MoveLadder, SetBands, SetState, Target, Uncross,
};
use ring0_engine::record::{Outcome, State, Work};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How long the steps of a verb are waited for: less than a client waits for its answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long nothing may happen before a verb gives its steps up.
const STUCK: Duration = Duration::from_secs(3);

/// Prices at which an auction is carried out before somebody has to look at the book: each takes the orders that meet there away.
const ROUNDS_MAX: u32 = 64;

/// Price limits as the operator says them: what is not given stays.
pub(crate) struct Limits<'a> {
    pub(crate) band: Option<&'a (String, String)>,
    pub(crate) dynamic: Option<u32>,
    pub(crate) fat: Option<u32>,
    pub(crate) pause: Option<u32>,
    pub(crate) reference: Option<&'a str>,
}

impl Daemon {
    /// The state of an instrument's market; `None` when it is not listed.
    pub(crate) fn market_state(&self, index: u32) -> Option<State> {
        self.shard.shard().market_state(index)
    }

    /// The work pending for an instrument: one of [`Work`], or 0.
    pub(crate) fn work(&self, index: u32) -> u32 {
        self.shard.instrument(index).map_or(0, |one| one.work.get())
    }

    /// Wire price of a tick of an instrument that is listed.
    pub(crate) fn tick_size(&self, index: u32) -> Result<u32, String> {
        let listed = self.shard.instrument(index);
        listed.map(|one| one.tick_size.get()).ok_or_else(|| {
            format!(
                "{0} is not listed; `ring0 ctl list {0}` lists it",
                self.symbol(index)
            )
        })
    }

    fn symbol(&self, index: u32) -> &str {
        &self.market.plan.instruments[index as usize].symbol
    }

    /// A command about an instrument; a refusal says in which state it is.
    fn command<B: Body>(
        &mut self,
        index: u32,
        kind: ControlKind,
        body: &B,
    ) -> Result<Value, String> {
        self.control(kind, body).map_err(|error| {
            let state = self.market_state(index).map_or("not listed", state_name);
            format!("{error} ({} is {state})", self.symbol(index))
        })
    }

    /// Changes the state of an instrument's market.
    pub(crate) fn set_state(&mut self, index: u32, state: State) -> Result<Value, String> {
        let body = SetState {
            instrument: index,
            state: state as u32,
        };
        self.command(index, ControlKind::SetState, &body)
    }

    /// Rings until an instrument has no work of this kind; false when that takes longer than a client waits.
    fn finish(&mut self, index: u32, work: Work) -> Result<bool, String> {
        let begun = Instant::now();
        let next = |daemon: &Daemon| daemon.shard.shard().header().next_sequence.get();
        let (mut seen, mut since) = (next(self), begun);
        while self.work(index) == work as u32 {
            if begun.elapsed() > PATIENCE {
                return Ok(false);
            }
            self.shard
                .ring_doorbell()
                .map_err(|error| error.to_string())?;
            if let Some(text) = self.fault_text() {
                return Err(text);
            }
            if next(self) != seen {
                (seen, since) = (next(self), Instant::now());
            } else if since.elapsed() > STUCK {
                return Err(format!(
                    "it is begun and {} stays frozen, but no step was taken for {} s: the shard is halted, or its record ring is full \
                     (`ring0 ctl status`); it goes on by itself when that is over",
                    self.symbol(index),
                    STUCK.as_secs()
                ));
            }
        }
        Ok(true)
    }

    /// A command that begins a purge, and its steps. Gives how many orders there are fewer in the shard.
    fn purge<B: Body>(&mut self, index: u32, kind: ControlKind, body: &B) -> Result<Value, String> {
        let live = |daemon: &Daemon| daemon.shard.shard().header().orders_live.get();
        let before = live(self);
        let begun = Instant::now();
        self.command(index, kind, body)?;
        let outcome = match self.finish(index, Work::Purge)? {
            true => "accepted",
            false => "continues",
        };
        Ok(json!({
            "ok": true,
            "outcome": outcome,
            "orders_fewer": i64::from(before) - i64::from(live(self)),
            "took_ns": begun.elapsed().as_nanos() as u64,
        }))
    }

    /// Cancels all orders of an instrument.
    pub(crate) fn clear(&mut self, index: u32, side: Option<BookSide>) -> Result<Value, String> {
        let body = Clear {
            instrument: index,
            side: side.unwrap_or(BookSide::Both).meaning().into(),
        };
        self.purge(index, ControlKind::Clear, &body)
    }

    /// Takes an instrument's listing away.
    pub(crate) fn delist(&mut self, index: u32) -> Result<Value, String> {
        self.purge(index, ControlKind::Delist, &Target { index, reserved: 0 })
    }

    /// Takes the day's orders of a closed instrument away.
    pub(crate) fn end_day(&mut self, index: u32) -> Result<Value, String> {
        self.purge(index, ControlKind::CloseDay, &Target { index, reserved: 0 })
    }

    /// Moves an instrument's ladder.
    pub(crate) fn move_ladder(
        &mut self,
        index: u32,
        lowest: &str,
        prices: u32,
    ) -> Result<Value, String> {
        let body = MoveLadder {
            instrument: index,
            ladder_base: amount::ticks(lowest, self.tick_size(index)?)?,
            ladder_len: prices,
            reserved: 0,
        };
        self.move_ladder_to(index, &body)
    }

    /// Moves an instrument's ladder, and waits for its steps.
    pub(crate) fn move_ladder_to(&mut self, index: u32, to: &MoveLadder) -> Result<Value, String> {
        self.purge(index, ControlKind::MoveLadder, to)
    }

    /// Sets an instrument's price limits.
    pub(crate) fn bands(&mut self, index: u32, limits: &Limits<'_>) -> Result<Value, String> {
        let tick_size = self.tick_size(index)?;
        let ticks = |text: &str| amount::ticks(text, tick_size);
        let body = {
            let now = self.shard.instrument(index).ok_or("it is not listed")?;
            let (band_low, band_high) = match limits.band {
                Some((low, high)) => (ticks(low)?, ticks(high)?),
                None => (now.band_low.get(), now.band_high.get()),
            };
            SetBands {
                instrument: index,
                band_low,
                band_high,
                dynamic_ticks: limits.dynamic.unwrap_or(now.dynamic_ticks.get()),
                fat_ticks: limits.fat.unwrap_or(now.fat_ticks.get()),
                pause_ticks: limits.pause.unwrap_or(now.pause_ticks.get()),
                reference: match limits.reference {
                    Some(text) => ticks(text)?,
                    None => now.reference.get(),
                },
                reserved: 0,
            }
        };
        self.command(index, ControlKind::SetBands, &body)
    }

    /// Ends the call of an instrument and carries its auction out, at as many prices as it takes until the book is not crossed.
    pub(crate) fn auction(
        &mut self,
        index: u32,
        then: Option<Afterwards>,
        price: Option<&str>,
    ) -> Result<Value, String> {
        let begun = Instant::now();
        let tick_size = self.tick_size(index)?;
        let mut asked = price
            .map(|text| amount::ticks(text, tick_size))
            .transpose()?;
        let state = self.market_state(index);
        let then = then.map(Afterwards::meaning).unwrap_or(match state {
            Some(State::ClosingAuction) => State::Closed,
            _ => State::Continuous,
        });
        // A daemon may have died after this command: then it is carried on.
        if state != Some(State::Uncrossing) {
            self.set_state(index, State::Uncrossing)?;
        }
        let mut rounds = Vec::new();
        // An auction that was begun already is ended first.
        let mut is_done = self.finish(index, Work::Uncross)?;
        while is_done && self.market_state(index) == Some(State::Uncrossing) {
            if rounds.len() as u32 == ROUNDS_MAX {
                return Err(format!(
                    "the book is still crossed after {ROUNDS_MAX} prices; `ring0 ctl auction` goes on, `ring0 ctl clear` empties it"
                ));
            }
            let price = match asked.take() {
                Some(price) => price,
                None => self.auction_price(index)?,
            };
            let body = Uncross {
                instrument: index,
                price,
                then: then as u32,
                reserved: 0,
            };
            self.command(index, ControlKind::Uncross, &body)?;
            is_done = self.finish(index, Work::Uncross)?;
            let traded = self
                .shard
                .instrument(index)
                .map_or((0, 0), |one| (one.cross_volume.get(), one.lot_size.get()));
            rounds.push(json!({
                "price": amount::price(price, tick_size),
                "shares": traded.0 * u64::from(traded.1),
            }));
        }
        // The last price at which something traded is the auction's.
        let traded = rounds.iter().rev().find(|round| round["shares"] != 0);
        let shares: u64 = rounds.iter().filter_map(|one| one["shares"].as_u64()).sum();
        Ok(json!({
            "ok": true,
            "outcome": if is_done { "accepted" } else { "continues" },
            "price": traded.map(|round| round["price"].clone()),
            "shares": shares,
            "rounds": rounds.len(),
            "state": self.market_state(index).map(state_name),
            "took_ns": begun.elapsed().as_nanos() as u64,
        }))
    }

    /// The price of an auction whose call is over: where most trades, and where nothing would, any on the ladder.
    fn auction_price(&self, index: u32) -> Result<u32, String> {
        // Nothing that comes in changes the book of this instrument, but the pools it lies in are the others' too.
        let best = steady(&*self.shard, |shard| shard.equilibrium(index)).ok_or(
            "the market gives no time to look at the book; halt the shard (`ring0 ctl halt`), say it again, and resume",
        )?;
        let one = self.shard.instrument(index).ok_or("it is not listed")?;
        let (base, len) = (one.ladder_base.get(), one.ladder_len.get());
        let known = [one.last.get(), one.reference.get()];
        let on_ladder = known
            .into_iter()
            .find(|&price| price >= base && price - base < len);
        Ok(best.map_or_else(|| on_ladder.unwrap_or(base), |best| best.price))
    }

    /// Lists an instrument of the market file, which may have grown or, for one that is not listed, changed.
    pub(crate) fn list(&mut self, symbol: &str) -> Result<Value, String> {
        let old = &self.market.plan;
        let new = old.again().map_err(|error| error.to_string())?;
        let index = new
            .instruments
            .iter()
            .position(|one| one.symbol == symbol)
            .ok_or_else(|| format!("{} lists no instrument {symbol:?}", old.path.display()))?;
        if !new.trades(index) {
            let peer = &new.peers[new.instruments[index].shard as usize];
            return Err(format!(
                "shard {} trades {symbol}; say it to that one's daemon",
                peer.name
            ));
        }
        if self.shard.instrument(index as u32).is_some() {
            return Err(format!("{symbol} is listed already"));
        }
        let moved = old
            .instruments
            .iter()
            .zip(&new.instruments)
            .enumerate()
            .find(|(at, (old, new))| *at != index && old.symbol != new.symbol);
        if let Some((at, (old, new))) = moved {
            return Err(format!(
                "instrument {at} of the market file is {} and was {}: an instrument's number is its place; put new ones at the end",
                new.symbol, old.symbol
            ));
        }
        if new.instruments.len() < old.instruments.len() || new.assets != old.assets {
            return Err("the market file has lost instruments, or its assets are others; only instruments may be added while it trades".to_owned());
        }
        if new.shard.capacity != old.shard.capacity {
            return Err(format!(
                "the market file now asks for another capacity, with which no daemon could adopt this shard; write [shard.capacity] as it was made: {:?}",
                old.shard.capacity
            ));
        }
        let listing = new.instruments[index].controls(index as u32);
        let commands: Vec<Control> = [Some(listing.list), listing.bands, listing.state]
            .into_iter()
            .flatten()
            .collect();
        let begun = Instant::now();
        for command in commands {
            let results = self
                .shard
                .command(&[command])
                .map_err(|error| self.fault_text().unwrap_or(error.to_string()))?;
            if let Some((Outcome::Rejected, reason)) = results.first() {
                return Err(rejected(*reason));
            }
        }
        self.market.plan.instruments = new.instruments;
        Ok(json!({
            "ok": true,
            "outcome": "accepted",
            "locate": index + 1,
            "state": self.market_state(index as u32).map(state_name),
            "took_ns": begun.elapsed().as_nanos() as u64,
        }))
    }
}

/// A refusal of the shard, for people.
pub(crate) fn rejected(reason: ring0_engine::Reason) -> String {
    format!(
        "the shard rejected it: {}: {}",
        reason.name(),
        reason.help().trim()
    )
}
