//! The naive reference book: `docs/matching.md` as a program, a second reading of the page beside the engine.
//!
//! Everything is kept in the plainest form that is still usable: orders in a map by id, price levels as sorted maps of
//! id lists, peg queues in a list that is searched, amounts computed in 128 bits, sums made anew whenever they are needed.
//! Nothing is shared with the engine but the vocabulary: reasons, bounds, records, control bodies and the canonical listing.
//! Each file is one section of the page.
//!
//! What is always true between two commands is in [`Reference::check`]. The record ring is endless here and no fault
//! exists, so `RingFull`, `Busy` and a broken shard never happen.
//! Rule: `docs/matching.md`; layout of the answer: `docs/wire.md#answer`.

mod auction;
mod book;
mod cancel;
mod check;
mod enter;
mod event;
mod expiry;
mod feasibility;
mod hash;
mod listing;
mod mass;
mod money;
mod operate;
mod order;
mod packet;
mod peg;
mod purge;
mod replace;
mod session;
mod step;
mod stop;
mod sweep;
mod terms;
#[cfg(test)]
mod tests;
mod transfer;

use crate::Capacity;
use crate::canon::{Hasher, StateHash};
use crate::limits::STEPS_MAX;
use crate::record::{Outcome, ReplyTo};
use book::Instrument;
use money::{Account, Asset};
use order::Order;
use ring0_wire::SessionId;
use session::Session;
use std::collections::{BTreeMap, HashMap, VecDeque};
use step::Pending;
use transfer::Transfers;

/// A shard as the page describes it.
#[derive(Clone)]
pub struct Reference {
    capacity: Capacity,
    time_ns: u64,
    day_base_ns: u64,
    /// Sequence number of the next record.
    next_sequence: u64,
    halted: bool,
    /// Number of the day, 0 before the first was opened.
    day: u32,
    /// Venue time of the day's midnight.
    midnight_ns: u64,
    /// Second of the day that expiry has come to.
    second: u32,
    /// Where the next packet's answer goes if it is held.
    reply_to: ReplyTo,
    assets: Vec<Asset>,
    /// By index; `None` where nothing is listed.
    instruments: Vec<Option<Instrument>>,
    /// By index of an instrument that is not listed: port of the shard that trades it.
    routes: BTreeMap<u32, u16>,
    /// By account index, what moved to and from other shards.
    transfers: BTreeMap<u32, Transfers>,
    /// By index; `None` where none is open.
    accounts: Vec<Option<Account>>,
    /// By index; `None` where none is granted.
    sessions: Vec<Option<Session>>,
    /// By session index, what its first grant took from the two pools: (answers_log2, references_log2).
    windows: BTreeMap<u32, (u8, u8)>,
    /// By instrument index, the ladder places that its listings have.
    ladders: BTreeMap<u32, u64>,
    /// Ladder places ever given to an instrument.
    ladder_used: u64,
    /// Every live order by id: those in a book, and those that sweep on.
    orders: HashMap<u64, Order>,
    /// Price levels and peg queues of all instruments.
    levels_count: u32,
    /// Buckets of the overflow table: (session, reference) of the live orders there.
    overflow: HashMap<u32, Vec<(u32, u32)>>,
    /// Good-till-time orders in a book, by their second; no list is empty.
    expiring: BTreeMap<u32, Vec<u64>>,
    /// Continuations, the next one first.
    pending: VecDeque<Pending>,
    /// Events of the command that is being carried out.
    events: Vec<u8>,
    /// Records that were not yet taken.
    records: Vec<u8>,
}

/// A message, step or control command that was not rejected.
#[derive(Clone, Copy)]
struct Done {
    outcome: Outcome,
    /// In the unit of its ack or step.
    quantity: u32,
}

impl Done {
    fn accepted(quantity: u32) -> Done {
        let outcome = Outcome::Accepted;
        Done { outcome, quantity }
    }

    fn continues(quantity: u32) -> Done {
        let outcome = Outcome::Continues;
        Done { outcome, quantity }
    }
}

impl Reference {
    /// An empty shard.
    #[must_use]
    pub fn new(capacity: Capacity) -> Reference {
        Reference {
            capacity,
            time_ns: 0,
            day_base_ns: 0,
            next_sequence: 1,
            halted: false,
            day: 0,
            midnight_ns: 0,
            second: 0,
            reply_to: ReplyTo::default(),
            assets: vec![Asset::default(); capacity.assets as usize],
            instruments: (0..capacity.instruments).map(|_| None).collect(),
            routes: BTreeMap::new(),
            transfers: BTreeMap::new(),
            accounts: (0..capacity.accounts).map(|_| None).collect(),
            sessions: (0..capacity.sessions).map(|_| None).collect(),
            windows: BTreeMap::new(),
            ladders: BTreeMap::new(),
            ladder_used: 0,
            orders: HashMap::new(),
            levels_count: 0,
            overflow: HashMap::new(),
            expiring: BTreeMap::new(),
            pending: VecDeque::new(),
            events: Vec::new(),
            records: Vec::new(),
        }
    }

    /// From the next packet on answers count as held, to be sent to `reply_to` (all zero: not held), which is what their records say.
    pub fn hold_answers(&mut self, reply_to: ReplyTo) {
        self.reply_to = reply_to;
    }

    /// One run: continuation steps, then the packet. `payload` is a whole, well-formed UDP payload with a good tag.
    /// Returns the answer's payload, its tag zero.
    ///
    /// # Panics
    /// When the payload is malformed or its session is not granted: the caller checks both.
    pub fn packet(&mut self, payload: &[u8], boot_ns: u64) -> Vec<u8> {
        self.steps();
        self.replay_packet(payload, boot_ns)
    }

    /// One run by doorbell: continuation steps, then these control commands.
    pub fn control(
        &mut self,
        commands: &[crate::control::Control],
        boot_ns: u64,
    ) -> Vec<(Outcome, crate::Reason)> {
        self.steps();
        commands
            .iter()
            .map(|command| self.replay_control(command, boot_ns))
            .collect()
    }

    /// A run with neither packet nor command: at most [`STEPS_MAX`] continuation steps.
    pub fn steps(&mut self) {
        for _ in 0..STEPS_MAX {
            if self.halted || !self.replay_step() {
                return;
            }
        }
    }

    /// The id of a granted session.
    #[must_use]
    pub fn session_id(&self, session: u32) -> Option<SessionId> {
        let session = self.sessions.get(session as usize)?.as_ref()?;
        Some(SessionId(session.grant.id))
    }

    /// Sequence number of the next record.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Added to the boot-time clock.
    #[must_use]
    pub fn day_base_ns(&self) -> u64 {
        self.day_base_ns
    }

    /// The raw records since the last call.
    pub fn take_records(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.records)
    }

    /// Hash of the canonical listing.
    #[must_use]
    pub fn state_hash(&self) -> StateHash {
        let mut hasher = Hasher::default();
        self.list(&mut hasher);
        hasher.finish()
    }

    // State.

    fn now(&self, boot_ns: u64) -> u64 {
        self.time_ns.max(self.day_base_ns.wrapping_add(boot_ns))
    }

    fn session(&self, index: u32) -> &Session {
        self.sessions[index as usize]
            .as_ref()
            .expect("a granted session")
    }

    fn session_mut(&mut self, index: u32) -> &mut Session {
        self.sessions[index as usize]
            .as_mut()
            .expect("a granted session")
    }

    fn account(&self, index: u32) -> &Account {
        self.accounts[index as usize]
            .as_ref()
            .expect("an open account")
    }

    fn account_mut(&mut self, index: u32) -> &mut Account {
        self.accounts[index as usize]
            .as_mut()
            .expect("an open account")
    }

    fn instrument(&self, index: u32) -> &Instrument {
        self.instruments[index as usize]
            .as_ref()
            .expect("a listed instrument")
    }

    fn instrument_mut(&mut self, index: u32) -> &mut Instrument {
        self.instruments[index as usize]
            .as_mut()
            .expect("a listed instrument")
    }

    fn order_mut(&mut self, id: u64) -> &mut Order {
        self.orders.get_mut(&id).expect("a live order")
    }

    /// Index of the listed instrument that a locate names.
    fn listed(&self, locate: u16) -> Option<u32> {
        let index = u32::from(locate).checked_sub(1)?;
        let instrument = self.instruments.get(index as usize)?;
        instrument.as_ref().map(|_| index)
    }
}

fn locate_of(instrument: u32) -> u32 {
    instrument + 1
}
