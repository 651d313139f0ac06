//! A shard's state in a region of more capacity (RULES 20, 27).
//!
//! Entries keep their index, so every handle in them stays good; what changes is said table by table in [`Move::tables`]: balances have another
//! stride, a book's ladders begin elsewhere, the overflow table has more buckets, and continuations have other numbers.
//! The proof that nothing else changed is the state hash, which knows no capacity: it is compared before anything is given out.

use crate::cancel::{ACCOUNT, SESSION};
use crate::layout::{Layout, Part};
use crate::limits::AMOUNT_MAX;
use crate::native::Region;
use crate::shard::{BOOKS, Balance, Header, Shard};
use crate::snapshot::{Snapshot, SnapshotError};
use core::cell::Cell;

impl Snapshot {
    /// The same state in a layout that has room for as much in every dimension.
    ///
    /// # Errors
    /// A dimension is smaller; this build has another layout than the snapshot's; memory is short.
    ///
    /// # Panics
    /// An invariant does not hold ([`Shard::check`]).
    pub fn enlarged(&self, to: &Layout) -> Result<Snapshot, SnapshotError> {
        let from = self.layout()?;
        if let Some((old, new)) = smaller(&from, to) {
            return Err(SnapshotError::Smaller {
                part: old.name,
                has: old.entries,
                asked: new.entries,
            });
        }
        let old = Region::new(from.bytes).map_err(SnapshotError::Memory)?;
        self.restore(Shard::new(old.memory()), &from)?;
        let new = Region::new(to.bytes).map_err(SnapshotError::Memory)?;
        let moved = Move {
            from: Shard::new(old.memory()),
            to: Shard::new(new.memory()),
            old: &from,
            new: to,
        };
        moved.run();
        let found = moved.to.state_hash();
        if found != self.state_hash() {
            return Err(SnapshotError::OtherState {
                found,
                expected: self.state_hash(),
            });
        }
        Snapshot::take(moved.to, to)
    }
}

/// The first table that would have fewer entries. Balances are judged by accounts and assets.
fn smaller<'a>(from: &'a Layout, to: &'a Layout) -> Option<(&'a Part, &'a Part)> {
    let mut pairs = from.parts.iter().zip(&to.parts);
    pairs.find(|(old, new)| new.entries < old.entries)
}

struct Move<'a> {
    from: Shard<'a>,
    to: Shard<'a>,
    old: &'a Layout,
    new: &'a Layout,
}

impl Move<'_> {
    fn run(&self) {
        let (from, to) = (self.from.header(), self.to.header());
        self.copy(0, 0, size_of::<Header>() as u64);
        self.new.initialise(self.to);
        to.next_sequence.set(from.next_sequence.get());
        self.tables();
        self.ladders();
        self.buckets();
        self.pending();
    }

    fn tables(&self) {
        for (old, new) in self.old.parts.iter().zip(&self.new.parts) {
            match old.name {
                // Made above; of a run; each below.
                "header" | "scratch" | "ladder" | "buckets" | "pending" => {}
                "balances" => {
                    let (accounts, assets) = (
                        self.from.header().accounts_max.get(),
                        self.from.header().assets_max.get(),
                    );
                    let row = |of: &Part, assets: u32, account: u32| {
                        of.at + u64::from(account) * u64::from(assets) * size_of::<Balance>() as u64
                    };
                    let wide = self.to.header().assets_max.get();
                    let bytes = u64::from(assets) * size_of::<Balance>() as u64;
                    for account in 0..accounts {
                        self.copy(row(old, assets, account), row(new, wide, account), bytes);
                        // As `OpenAccount` leaves the balance of every asset.
                        for asset in
                            (assets..wide).filter(|_| self.from.account(account).open.get() != 0)
                        {
                            self.to.balance(account, asset).limit.set(AMOUNT_MAX);
                        }
                    }
                }
                _ => self.copy(old.at, new.at, old.bytes()),
            }
        }
    }

    /// Ladders of a book lie behind those of the book before it; offsets of ladders and bitmaps are of the region.
    fn ladders(&self) {
        let (old, new) = (self.from.header(), self.to.header());
        let (was, is) = (
            u64::from(old.ladder_max.get()),
            u64::from(new.ladder_max.get()),
        );
        let (from, to) = (
            u64::from(old.ladder_at.get()),
            u64::from(new.ladder_at.get()),
        );
        for book in 0..BOOKS as u64 {
            self.copy(from + book * was * 4, to + book * is * 4, was * 4);
        }
        let shift = |cell: &Cell<u32>, by: u64| cell.set((u64::from(cell.get()) + by) as u32);
        let bitmaps = u64::from(new.bitmap_at.get() - old.bitmap_at.get());
        for index in 0..old.instruments_max.get() {
            let instrument = self.to.instrument(index);
            if instrument.places.get() == 0 {
                continue;
            }
            for book in 0..BOOKS as u32 {
                let side = instrument.side(book);
                shift(&side.ladder, to - from + u64::from(book) * (is - was) * 4);
                for bits in &side.bits {
                    shift(bits, bitmaps);
                }
            }
        }
    }

    /// With twice as many buckets each one's orders go into one of two, so none has more than it had.
    fn buckets(&self) {
        for index in 0..self.from.header().orders_fresh.get() {
            let slot = index + 1;
            let order = self.from.order(slot);
            let (session, reference) = (order.session(), order.reference.get());
            let holds = |shard: Shard<'_>, wanted: u32| {
                let bucket = shard.bucket(session, reference);
                bucket.slots.iter().position(|one| one.get() == wanted)
            };
            if holds(self.from, slot).is_some() {
                let free = holds(self.to, 0).expect("no fuller than the bucket it came from");
                self.to.bucket(session, reference).slots[free].set(slot);
            }
        }
    }

    /// Continuations in their order, under the numbers of the new layout.
    fn pending(&self) {
        let header = self.to.header();
        for cell in [
            &header.pending_first,
            &header.pending_last,
            &header.pending_count,
        ] {
            cell.set(0);
        }
        for number in self.from.pending_numbers() {
            let number = match self.from.pending_what(number) {
                (1, index) => index + 1,
                (2, index) => self.to.mass_number(SESSION, index),
                (3, index) => self.to.mass_number(ACCOUNT, index),
                _ => self.to.expiry_number(),
            };
            self.to.push_pending(number);
        }
    }

    /// Copies words that are not zero: memory that was never touched stays so.
    fn copy(&self, from: u64, to: u64, bytes: u64) {
        for at in (0..bytes).step_by(8) {
            let word = self.from.memory.at::<Cell<u64>>((from + at) as u32).get();
            if word != 0 {
                self.to.memory.at::<Cell<u64>>((to + at) as u32).set(word);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Capacity;
    use crate::Reason;
    use crate::flow::{Flow, Input, Options};
    use crate::limits::SLOT_LEN;
    use crate::native::{Discard, Native, Tape};
    use crate::record::{ControlRecord, Head, Kind, Message};
    use crate::snapshot::Replica;
    use zerocopy::FromBytes;

    /// Every dimension grows on its own, and all at once.
    fn larger() -> Vec<Capacity> {
        let base = Flow::capacity();
        let mut all = vec![base];
        let grow: [fn(&mut Capacity); 10] = [
            |it| it.accounts += 3,
            |it| it.assets += 1,
            |it| it.instruments += 5,
            |it| it.sessions += 7,
            |it| it.orders += 1_000,
            |it| it.levels += 100,
            |it| it.ladder += 4_096,
            |it| it.answers += 999,
            |it| it.references += 640,
            |it| it.buckets *= 4,
        ];
        let mut every = base;
        for change in grow {
            let mut one = base;
            change(&mut one);
            change(&mut every);
            all.push(one);
        }
        all.push(every);
        all
    }

    fn drive(native: &mut Native, flow: &mut Flow, inputs: usize) {
        for _ in 0..inputs {
            let input = flow.next_input();
            let boot_ns = flow.boot_ns();
            match input {
                Input::Packet(payload) => {
                    let answer = native.packet(&payload, boot_ns, None).ok();
                    flow.observe(answer.as_ref().map(|(_, answer)| answer.as_slice()));
                }
                Input::Control(commands) => {
                    native.control(&commands, boot_ns);
                }
                Input::Steps => native.steps(),
            }
        }
    }

    /// Whether a command met a bound of the smaller shard, where the larger one goes another way.
    fn met_a_bound(mut records: &[u8]) -> bool {
        const BOUNDS: [Reason; 6] = [
            Reason::BookFull,
            Reason::LevelsFull,
            Reason::TooManyLive,
            Reason::IndexOutOfRange,
            Reason::LadderFull,
            Reason::WindowsFull,
        ];
        while let Ok((head, _)) = Head::read_from_prefix(records) {
            let (record, rest) = records.split_at(usize::from(head.slots) * SLOT_LEN);
            records = rest;
            let reason = if head.kind == Kind::Message as u16 {
                Message::read_from_prefix(record).unwrap().0.reason
            } else if head.kind == Kind::Control as u16 {
                ControlRecord::read_from_prefix(record).unwrap().0.reason
            } else {
                continue;
            };
            if BOUNDS.iter().any(|bound| *bound as u8 == reason) {
                return true;
            }
        }
        false
    }

    /// A shard in the middle of a flow, moved, goes on as the one that stayed: record by record, to the same state.
    #[test]
    fn a_moved_shard_goes_on_as_the_one_that_stayed() {
        let (mut busy, mut compared) = (0, 0);
        for (capacity, seed) in larger().into_iter().zip(0xE1A6..) {
            let mut flow = Flow::new(seed, Options::default());
            let mut native: Native<Tape> = Native::new(&Flow::capacity()).unwrap();
            let setup = flow.setup();
            native.control(&setup, flow.boot_ns());
            for round in 0..20 {
                drive(&mut native, &mut flow, 240);
                let layout = Layout::new(&capacity).unwrap();
                let snapshot = Snapshot::take(native.shard(), native.layout()).unwrap();
                let moved = snapshot
                    .enlarged(&layout)
                    .unwrap_or_else(|error| panic!("{error} {capacity:?} round {round}"));
                assert_eq!(moved.layout_hash(), layout.hash());
                moved.verify().unwrap();
                busy += native.shard().header().pending_count.get();
                // What comes next is replayed by the moved shard from the records alone.
                native.take_records();
                drive(&mut native, &mut flow, 60);
                let records = native.take_records();
                if met_a_bound(&records) {
                    continue;
                }
                compared += 1;
                let mut replica: Replica<Discard> =
                    Replica::from_snapshot(&moved, &capacity, None).unwrap();
                replica.feed(&records).unwrap();
                replica.shard().check();
                assert_eq!(
                    replica.shard().state_hash(),
                    native.shard().state_hash(),
                    "seed {seed:#x}, round {round}, {capacity:?}"
                );
            }
        }
        println!(
            "{compared} moved shards went on for 60 commands; {busy} continuations were pending"
        );
        assert!(compared >= 20, "{compared} compared");
        assert!(busy > 0, "no shard was moved with a continuation pending");
    }

    #[test]
    fn a_smaller_dimension_is_refused() {
        let native: Native<Tape> = Native::new(&Flow::capacity()).unwrap();
        let snapshot = Snapshot::take(native.shard(), native.layout()).unwrap();
        let mut capacity = Flow::capacity();
        capacity.orders -= 1;
        capacity.sessions += 1;
        let refused = snapshot.enlarged(&Layout::new(&capacity).unwrap());
        let text = refused.unwrap_err().to_string();
        assert!(text.contains("orders"), "{text}");
    }
}
