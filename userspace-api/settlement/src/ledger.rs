//! The ledger: a function of the shards' records and the facts' journal, each taken exactly once (CUSTODY 13, 14).
//!
//! Always true: a record below a shard's next sequence changes nothing, one above it is an error; the postings of each record and each fact sum to
//! zero per asset; equal records and facts give an equal ledger, byte for byte, in whatever pieces they come. Knows no file, clock or socket.

use crate::batch::{self, Batch, Cover, Mark};
use crate::book::{Book, Class, FeePart, Own};
use crate::custody::{
    Aside, Awaited, Channel, Credit, CreditLine, Custody, Part, Unbacked, Withdrawal,
};
use crate::error::LedgerError;
use crate::fact::{Entry, Fact, Refused, WithdrawalId};
use crate::id::{AccountId, AssetId, Epoch, PeerId};
use crate::line::{AccountLines, Closing, Line, LineKind, Source};
use crate::previous::Previous;
use crate::schedule::Schedule;
use crate::stream::{Moved, Stream};
use crate::venue::{PlaceIndex, Venue};
use ring0_channels::B256;
use ring0_channels::batch::Leaf;
use ring0_engine::limits::SLOT_LEN;
use ring0_engine::record::{ControlRecord, Crossed, Filled, Head, Kind, Outcome};
use std::collections::BTreeMap;
use zerocopy::FromBytes;

/// What [`Ledger::take`] took.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Taken {
    /// Bytes of whole records; what stands behind them is the beginning of a record whose end was not given.
    pub bytes: usize,
    /// Records that were new.
    pub records: u64,
}

/// Running counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Fills, auctions' too.
    pub fills: u64,
    /// Postings of all records.
    pub postings: u64,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub(crate) venue: Venue,
    pub(crate) streams: Vec<Stream>,
    pub(crate) custody: Custody,
    /// The last batch that touched each account.
    pub(crate) previous: Previous,
    /// The last batch that each account has marks of.
    pub(crate) marked: Previous,
    /// Lines of batches that were not handed to the store.
    pub(crate) fresh: Vec<AccountLines>,
    broken: bool,
}

impl Ledger {
    /// An empty one: before each shard's first record and before the first fact.
    #[must_use]
    pub fn new(venue: Venue) -> Ledger {
        let assets = venue.assets().len();
        let stream =
            |shard: &crate::venue::Peer| Stream::new(shard.number, assets, venue.accounts_max());
        Ledger {
            streams: venue.shards().iter().map(stream).collect(),
            custody: Custody::new(assets),
            previous: Previous::default(),
            marked: Previous::default(),
            fresh: Vec::new(),
            broken: false,
            venue,
        }
    }

    /// The venue.
    #[must_use]
    pub fn venue(&self) -> &Venue {
        &self.venue
    }

    /// Takes a shard's next records, 64-byte slots one after the other. What was taken before is passed over.
    ///
    /// # Errors
    /// See [`LedgerError`]. What came before the record was taken.
    pub fn take(&mut self, shard: PeerId, bytes: &[u8]) -> Result<Taken, LedgerError> {
        if self.broken {
            return Err(LedgerError::Broken);
        }
        let index = self.venue.shard_index(shard);
        let index = index.ok_or(LedgerError::UnknownShard(shard))?;
        let mut taken = Taken::default();
        loop {
            let rest = &bytes[taken.bytes..];
            let Ok((head, _)) = Head::read_from_prefix(rest) else {
                return Ok(taken);
            };
            let len = usize::from(head.slots) * SLOT_LEN;
            let expected = self.streams[index].last + 1;
            if len == 0 {
                return Err(LedgerError::Unreadable {
                    shard,
                    sequence: expected,
                });
            }
            let Some(record) = rest.get(..len) else {
                return Ok(taken);
            };
            if head.sequence > expected {
                return Err(LedgerError::Gap {
                    shard,
                    expected,
                    found: head.sequence,
                });
            }
            if head.sequence == expected {
                self.streams[index].last = expected;
                let done = self.record(index, &head, record);
                self.broken = done.is_err();
                done?;
                taken.records += 1;
            }
            taken.bytes += len;
        }
    }

    #[inline(always)]
    fn record(&mut self, index: usize, head: &Head, bytes: &[u8]) -> Result<(), LedgerError> {
        const FILLED: u16 = Kind::Filled as u16;
        const CROSSED: u16 = Kind::Crossed as u16;
        const CONTROL: u16 = Kind::Control as u16;
        let stream = &mut self.streams[index];
        let unreadable = LedgerError::Unreadable {
            shard: stream.shard,
            sequence: head.sequence,
        };
        match head.kind {
            FILLED => {
                let fill = Filled::read_from_bytes(bytes).map_err(|_| unreadable)?;
                stream.filled(&fill)
            }
            CROSSED => {
                let cross = Crossed::read_from_bytes(bytes).map_err(|_| unreadable)?;
                stream.crossed(&cross)
            }
            CONTROL => {
                let record = ControlRecord::read_from_bytes(bytes).map_err(|_| unreadable)?;
                if record.outcome != Outcome::Accepted as u8 {
                    return Ok(());
                }
                match stream.control_record(&record)? {
                    Some(moved) => self.moved(index, head.sequence, moved),
                    None => Ok(()),
                }
            }
            // All other kinds move orders and no money: a hold is still its account's.
            other => match Kind::from_number(other) {
                Some(_) => Ok(()),
                None => Err(unreadable),
            },
        }
    }

    /// Posts the other side of what a record moved into a shard or out of it.
    fn moved(&mut self, index: usize, sequence: u64, moved: Moved) -> Result<(), LedgerError> {
        let shard = self.streams[index].shard;
        let source = Source::Record {
            shard: shard.0,
            sequence,
        };
        let no_peer = |peer: u32| LedgerError::Impossible {
            shard,
            sequence,
            what: format!("peer {peer} is neither a shard nor a rail of the venue"),
        };
        let (venue, custody) = (&self.venue, &mut self.custody);
        let base = |asset: u32, units: i64| i128::from(units) * venue.unit(AssetId(asset)) as i128;
        match moved {
            Moved::Granted {
                account,
                asset,
                units,
            } => {
                let (account, amount) = (AccountId(account), base(asset, units));
                let (asset, kind) = match units {
                    0.. => (AssetId(asset), LineKind::Granted),
                    _ => (AssetId(asset), LineKind::Revoked),
                };
                custody.post(Book::Granted, asset, -amount);
                custody.line(account, asset, kind, amount, source);
            }
            Moved::Out(out) => {
                let (account, asset) = (AccountId(out.account), AssetId(out.asset));
                let amount = base(out.asset, out.amount.cast_signed());
                let to = PeerId(out.to);
                if venue.is_rail(to) {
                    let id = WithdrawalId {
                        from: shard,
                        account,
                        number: out.number,
                    };
                    custody.post(Book::Pending { account }, asset, amount);
                    custody.ask(id, to, asset, amount.cast_unsigned());
                    let kind = LineKind::WithdrawalAsked;
                    custody.line(account, asset, kind, -amount, source);
                } else if venue.shard_index(to).is_some() {
                    custody.post(Book::Transit { account }, asset, amount);
                    let kind = LineKind::TransferOut;
                    custody.line(account, asset, kind, -amount, source);
                } else {
                    return Err(no_peer(out.to));
                }
            }
            Moved::In(into) => {
                let (account, asset) = (AccountId(into.account), AssetId(into.asset));
                let amount = base(into.asset, into.amount.cast_signed());
                let from = PeerId(into.from);
                if venue.is_rail(from) {
                    custody.post(Book::Arriving { account }, asset, -amount);
                    custody.credited(Unbacked {
                        shard,
                        sequence,
                        rail: from,
                        account,
                        asset,
                        number: into.number,
                        units: into.amount,
                    });
                } else if venue.shard_index(from).is_some() {
                    custody.post(Book::Transit { account }, asset, -amount);
                } else {
                    return Err(no_peer(into.from));
                }
                custody.line(account, asset, LineKind::TransferIn, amount, source);
            }
            Moved::Marked { account, epoch } => {
                let account = AccountId(account);
                if Epoch(epoch) > self.marked.get(account) {
                    self.marked.set(account, Epoch(epoch));
                }
            }
            Moved::Busted(changes) => {
                for (account, asset, units) in changes {
                    let amount = base(asset, units);
                    let (account, asset) = (AccountId(account), AssetId(asset));
                    custody.line(account, asset, LineKind::Bust, amount, source);
                }
            }
        }
        Ok(())
    }

    /// Whether a fact may be journaled now. Changes nothing.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn judge(&self, fact: &Fact) -> Result<(), Refused> {
        if self.broken {
            return Err(Refused::Broken);
        }
        self.custody.judge(&self.venue, fact)
    }

    /// The entries of several facts, each judged behind those before it. Facts that are known already are passed over; the first other one that is refused
    /// ends it. Changes nothing.
    pub(crate) fn judge_all(&self, facts: Vec<Fact>) -> (Vec<Entry>, Result<(), Refused>) {
        let mut entries = Vec::with_capacity(facts.len());
        if self.broken {
            return (entries, Err(Refused::Broken));
        }
        let mut trial = self.custody.clone();
        for fact in facts {
            match trial.judge(&self.venue, &fact) {
                Ok(()) => {}
                Err(Refused::Known(_)) => continue,
                Err(refused) => return (entries, Err(refused)),
            }
            let number = trial.facts + 1;
            trial.carry_out(&self.venue, number, &fact);
            trial.facts = number;
            entries.push(Entry {
                number,
                at: self.at(),
                fact,
            });
        }
        (entries, Ok(()))
    }

    /// The entry that a fact gets in the journal now.
    #[must_use]
    pub fn entry(&self, fact: Fact) -> Entry {
        Entry {
            number: self.custody.facts + 1,
            at: self.at(),
            fact,
        }
    }

    /// Takes a fact that is in the journal. One that was taken before changes nothing. Gives the batch where it is a cut.
    ///
    /// # Errors
    /// See [`Refused`]; the ledger stands at other records or before another fact than the entry says.
    pub fn apply(&mut self, entry: &Entry) -> Result<Option<&Batch>, Refused> {
        if self.broken {
            return Err(Refused::Broken);
        }
        if entry.number <= self.custody.facts {
            return Ok(None);
        }
        if entry.number != self.custody.facts + 1 {
            return Err(Refused::Number {
                what: "the fact".to_owned(),
                expected: self.custody.facts + 1,
                given: entry.number,
            });
        }
        for (index, stream) in self.streams.iter().enumerate() {
            let wanted = entry.at.get(index).copied().unwrap_or(0);
            if stream.last != wanted {
                return Err(Refused::Position {
                    shard: stream.shard,
                    wanted,
                    taken: stream.last,
                });
            }
        }
        self.custody.judge(&self.venue, &entry.fact)?;
        // Decided.
        self.custody.facts = entry.number;
        self.custody
            .carry_out(&self.venue, entry.number, &entry.fact);
        if let Fact::Cut { time_ns, renew, .. } = entry.fact {
            self.cut(time_ns, renew);
            return Ok(Some(&self.custody.batch));
        }
        Ok(None)
    }

    /// Closes the open lines, counts what marks have to cover, and makes states.
    fn cut(&mut self, time_ns: u64, renew: bool) {
        let mut lines: BTreeMap<AccountId, Vec<Line>> = BTreeMap::new();
        let open = std::mem::take(&mut self.custody.open);
        for (key, (account, line)) in open {
            self.custody.dirty.insert(Part::Open(key));
            lines.entry(account).or_default().push(line);
        }
        let epoch = self.custody.epoch;
        let mut trades: BTreeMap<(AccountId, AssetId), (u128, u128, i128)> = BTreeMap::new();
        let mut covers = Vec::new();
        for stream in &mut self.streams {
            let shard = stream.shard;
            stream.cells.cut(|account, asset, cell| {
                let (account, asset) = (AccountId(account), AssetId(asset));
                if cell.uncovered() != 0 {
                    covers.push(Cover {
                        epoch,
                        shard,
                        account,
                        asset,
                        through: cell.outflow,
                    });
                }
                if cell.has_traded() {
                    let sums = trades.entry((account, asset)).or_default();
                    sums.0 += cell.received;
                    sums.1 += cell.given;
                    sums.2 += i128::from(cell.fee);
                }
            });
        }
        covers.sort_by_key(|it| (it.account, it.asset, it.shard));
        for ((account, asset), (received, given, fee)) in trades {
            let unit = self.venue.unit(asset) as i128;
            let own = lines.entry(account).or_default();
            for (kind, units) in [
                (LineKind::Received, received as i128),
                (LineKind::Given, -(given as i128)),
                (LineKind::Fee, -fee),
            ] {
                if units != 0 {
                    own.push(Line {
                        asset,
                        kind,
                        amount: units * unit,
                        source: Source::Batch,
                    });
                }
            }
        }
        let accounts = lines.keys().copied().collect();
        for (account, lines) in lines {
            let mut assets: Vec<AssetId> = lines.iter().map(|it| it.asset).collect();
            assets.sort_unstable();
            assets.dedup();
            let closing = assets.into_iter().map(|asset| Closing {
                asset,
                balance: self.balance(account, asset),
            });
            let entry = AccountLines {
                account,
                epoch,
                previous: self.previous.get(account),
                closing: closing.collect(),
                lines,
            };
            self.previous.set(account, epoch);
            self.fresh.push(entry);
        }

        let streams = &self.streams;
        let venue = &self.venue;
        let custody = &mut self.custody;
        // Laying out changes no balance: what it looks at is put back as it was.
        let asides = std::mem::take(&mut custody.asides);
        let total = |account, asset| {
            let aside = asides.get(&(account, asset)).map_or(0, Aside::total);
            trading(streams, venue, account, asset) + aside
        };
        let (places, in_leaves) = batch::lay_out(venue, custody, renew, total);
        custody.asides = asides;
        let everything = self.sums();
        let outside = everything.iter().zip(in_leaves);
        self.custody.batch = Batch {
            epoch,
            time_ns,
            at: self.at(),
            accounts,
            covers,
            customers: self.control(),
            outside: outside.map(|(all, in_leaves)| all - in_leaves).collect(),
            places,
        };
        self.custody.dirty.extend([Part::Batch, Part::Covers]);
    }

    /// The last batch that was cut; epoch 0: none was.
    #[must_use]
    pub fn batch(&self) -> &Batch {
        &self.custody.batch
    }

    /// The leaves of the last batch: of every channel that is not closed its last state, by channel id.
    #[must_use]
    pub fn leaves(&self) -> Vec<Leaf> {
        let open = self.custody.channels.iter().filter(|(_, it)| !it.closed);
        open.filter_map(|(id, it)| batch::leaf(&self.venue, *id, it))
            .collect()
    }

    /// Channels that got a new state in the last batch.
    pub fn touched(&self) -> impl Iterator<Item = B256> {
        let epoch = self.custody.batch.epoch;
        let is_new = move |(_, it): &(&B256, &Channel)| {
            !it.closed && it.leaf.is_some_and(|leaf| leaf.epoch == epoch)
        };
        let channels = self.custody.channels.iter();
        channels.filter(is_new).map(|(id, _)| *id)
    }

    /// What of a cover is still to be marked, engine units: what its batch covers less what marks of the records taken so far have covered. Nothing, where a
    /// later batch has marks of the account: it covers what this one does.
    ///
    /// Take the shard's records up to the last mark that was sent before asking: what is asked, marked and recorded is then covered exactly once.
    #[must_use]
    pub fn uncovered(&self, cover: &Cover) -> i64 {
        let Some(index) = self.venue.shard_index(cover.shard) else {
            return 0;
        };
        if cover.epoch < self.marked.get(cover.account) {
            return 0;
        }
        let cell = self.streams[index]
            .cells
            .get(cover.account.0, cover.asset.0);
        cover.through.wrapping_sub(cell.marked).cast_signed()
    }

    /// The marks of an account's covers that are to be sequenced now, none for zero.
    pub fn marks<'a>(&'a self, covers: &'a [Cover]) -> impl Iterator<Item = Mark> + 'a {
        covers.iter().filter_map(|cover| {
            let units = self.uncovered(cover);
            (units != 0).then_some(Mark {
                shard: cover.shard,
                account: cover.account,
                asset: cover.asset,
                units,
            })
        })
    }

    /// The net outflow that no mark has covered, engine units: what the engine has as `outflow` (RULES 19).
    #[must_use]
    pub fn outflow(&self, shard: PeerId, account: AccountId, asset: AssetId) -> i64 {
        let index = self.venue.shard_index(shard);
        index.map_or(0, |index| {
            self.streams[index]
                .cells
                .get(account.0, asset.0)
                .uncovered()
        })
    }

    /// Sequence of the last record taken of each shard, in the order of the venue's shards.
    #[must_use]
    pub fn at(&self) -> Vec<u64> {
        self.streams.iter().map(|it| it.last).collect()
    }

    pub(crate) fn at_of(&self, index: usize) -> u64 {
        self.streams[index].last
    }

    /// What a shard (by its place among the venue's) has of all accounts, engine units, by its control total.
    #[must_use]
    pub fn in_shard(&self, index: usize, asset: AssetId) -> i128 {
        let stream = &self.streams[index];
        let of = stream.fees.iter().filter(|it| it.schedule.asset == asset);
        let fees: i128 = of.flat_map(|it| it.taken).sum();
        stream.moved.get(asset.0 as usize).copied().unwrap_or(0) - fees
    }

    /// What the operator put in as this, base units.
    #[must_use]
    pub fn own(&self, own: Own, asset: AssetId) -> i128 {
        self.custody.book(Book::Own(own), asset)
    }

    /// The last batch that touched an account; epoch 0: none did.
    #[must_use]
    pub fn last_touched(&self, account: AccountId) -> Epoch {
        self.previous.get(account)
    }

    /// All that the venue owed an account in an asset when the last batch was cut, base units.
    #[must_use]
    pub fn balance_at_cut(&self, account: AccountId, asset: AssetId) -> i128 {
        let open = self
            .custody
            .open
            .values()
            .filter(|(of, line)| (*of, line.asset) == (account, asset) && line.kind.counts());
        let mut since: i128 = open.map(|(_, line)| line.amount).sum();
        let unit = self.venue.unit(asset) as i128;
        for stream in &self.streams {
            let cell = stream.cells.get(account.0, asset.0);
            let traded = cell.received.cast_signed() - cell.given.cast_signed();
            since += (traded - i128::from(cell.fee)) * unit;
        }
        self.balance(account, asset) - since
    }

    /// Facts taken.
    #[must_use]
    pub fn facts(&self) -> u64 {
        self.custody.facts
    }

    /// The last batch's number.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.custody.epoch
    }

    /// Counts of what was taken, in this process and before.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            fills: self.streams.iter().map(|it| it.fills).sum(),
            postings: self.streams.iter().map(|it| it.postings).sum(),
        }
    }

    /// All that the venue owes an account in an asset, base units.
    #[must_use]
    pub fn balance(&self, account: AccountId, asset: AssetId) -> i128 {
        let aside = self.custody.aside(account, asset).total();
        trading(&self.streams, &self.venue, account, asset) + aside
    }

    /// What a shard has of an account's asset, available and held, engine units.
    #[must_use]
    pub fn trading(&self, shard: PeerId, account: AccountId, asset: AssetId) -> i64 {
        let index = self.venue.shard_index(shard);
        index.map_or(0, |index| {
            self.streams[index].cells.get(account.0, asset.0).balance()
        })
    }

    /// What an account has of an asset beside what shards have.
    #[must_use]
    pub fn aside(&self, account: AccountId, asset: AssetId) -> Aside {
        self.custody.aside(account, asset)
    }

    /// What of an account may still be credited by a rail, engine units.
    #[must_use]
    pub fn creditable(&self, account: AccountId, asset: AssetId) -> u64 {
        self.custody.creditable(&self.venue, account, asset)
    }

    /// Accounts and assets that have something to be credited, with engine units.
    pub fn all_creditable(&self) -> impl Iterator<Item = (AccountId, AssetId, u64)> {
        let arriving = self.custody.asides.iter().filter(|(_, it)| it.arriving > 0);
        arriving.filter_map(|((account, asset), _)| {
            let units = self.creditable(*account, *asset);
            (units != 0).then_some((*account, *asset, units))
        })
    }

    /// Credits that were decided and that no record has: they have to be told to their shard again.
    pub fn open_credits(&self) -> impl Iterator<Item = (CreditLine, Credit)> {
        let all = self.custody.credits.iter();
        all.flat_map(|(line, credits)| credits.open.iter().map(|it| (*line, *it)))
    }

    /// The last number of a rail's credits to an account in a shard; 0: none.
    #[must_use]
    pub fn last_credit(&self, line: &CreditLine) -> u64 {
        self.custody.credits.get(line).map_or(0, |it| it.last)
    }

    /// The last number of a rail's receipts; 0: none.
    #[must_use]
    pub fn last_receipt(&self, rail: PeerId) -> u64 {
        self.custody.received.get(&rail).copied().unwrap_or(0)
    }

    /// Withdrawals that are neither paid nor lapsed.
    pub fn withdrawals(&self) -> impl Iterator<Item = (WithdrawalId, Withdrawal)> {
        self.custody.withdrawals.iter().map(|(id, it)| (*id, *it))
    }

    /// One of them.
    #[must_use]
    pub fn withdrawal(&self, id: &WithdrawalId) -> Option<Withdrawal> {
        self.custody.withdrawals.get(id).copied()
    }

    /// Deposits that are seen and not confirmed, by name.
    pub fn awaited(&self) -> impl Iterator<Item = (B256, Awaited)> {
        self.custody.awaited.iter().map(|(id, it)| (*id, *it))
    }

    /// All channels, closed ones too.
    pub fn channels(&self) -> impl Iterator<Item = (B256, &Channel)> {
        self.custody.channels.iter().map(|(id, it)| (*id, it))
    }

    /// A channel.
    #[must_use]
    pub fn channel(&self, id: B256) -> Option<&Channel> {
        self.custody.channels.get(&id)
    }

    /// An account's channels of an asset that are not closed, in the order in which its balance is laid on them.
    #[must_use]
    pub fn channels_of(&self, account: AccountId, asset: AssetId) -> &[B256] {
        let own = self.custody.of_account.get(&(account, asset));
        own.map_or(&[], Vec::as_slice)
    }

    /// What the channels of a place have of their own, base units.
    #[must_use]
    pub fn escrow(&self, place: PlaceIndex) -> u128 {
        let channels = self.custody.channels.values();
        let here = channels.filter(|it| it.place == place);
        here.map(Channel::escrow).sum()
    }

    /// Transfers from rails that shards recorded and no fact backs; there must be none.
    #[must_use]
    pub fn unbacked(&self) -> Vec<Unbacked> {
        self.custody.unbacked.values().copied().collect()
    }

    /// Every fee schedule, and what it brought in by part, base units.
    pub fn fees(&self) -> impl Iterator<Item = (Schedule, FeePart, i128)> {
        let all = self.streams.iter().flat_map(|it| &it.fees);
        all.flat_map(|fees| {
            let unit = self.venue.unit(fees.schedule.asset) as i128;
            FeePart::ALL.map(|part| (fees.schedule, part, fees.taken[part as usize] * unit))
        })
    }

    /// What is owed to all customers by the control totals: by what came in, went out and was paid in fees. By asset, base units.
    #[must_use]
    pub fn control(&self) -> Vec<i128> {
        let mut totals = self.custody.customers.clone();
        for stream in &self.streams {
            for (asset, units) in self.venue.asset_ids().zip(stream.control()) {
                totals[asset.0 as usize] += units * self.venue.unit(asset) as i128;
            }
        }
        totals
    }

    /// What is owed to all customers by adding up their accounts. By asset, base units.
    #[must_use]
    pub fn sums(&self) -> Vec<i128> {
        let mut totals = self.trading_sums();
        for (asset, aside) in totals.iter_mut().zip(self.aside_sums()) {
            *asset += aside;
        }
        totals
    }

    /// What shards have of all accounts, by adding them up. By asset, base units.
    #[must_use]
    pub fn trading_sums(&self) -> Vec<i128> {
        let mut totals = vec![0; self.venue.assets().len()];
        for stream in &self.streams {
            let mut units = vec![0_i128; totals.len()];
            for (_, asset, cell) in stream.cells.iter() {
                units[asset as usize] += i128::from(cell.balance());
            }
            for (asset, units) in self.venue.asset_ids().zip(units) {
                totals[asset.0 as usize] += units * self.venue.unit(asset) as i128;
            }
        }
        totals
    }

    /// What customers have beside what shards have, claims too, by adding it up. By asset, base units.
    #[must_use]
    pub fn aside_sums(&self) -> Vec<i128> {
        let mut totals = vec![0; self.venue.assets().len()];
        for ((_, asset), aside) in &self.custody.asides {
            totals[asset.0 as usize] += aside.total();
        }
        for ((book, asset), amount) in &self.custody.books {
            if book.class() == Class::Customer {
                totals[asset.0 as usize] += amount;
            }
        }
        totals
    }

    /// The operator's books together: fees, what it put in, what it gave away, what rails cost. Base units.
    #[must_use]
    pub fn operator(&self, asset: AssetId) -> i128 {
        let fees = self.fees().filter(|(it, ..)| it.asset == asset);
        self.custody.operator(asset) + fees.map(|(.., amount)| amount).sum::<i128>()
    }

    /// What is held of an asset by the books, negative: escrow, vaults, reserves, rails. Base units.
    #[must_use]
    pub fn holdings(&self, asset: AssetId) -> i128 {
        let all = self.custody.books.iter();
        let held = all.filter(|((book, it), _)| *it == asset && book.class() == Class::Holding);
        held.map(|(_, amount)| amount).sum()
    }

    /// Every book that is not empty, with its amount: the trial balance. Per asset it sums to zero.
    #[must_use]
    pub fn books(&self) -> Vec<(Book, AssetId, i128)> {
        let mut all = Vec::new();
        for stream in &self.streams {
            for (account, asset, cell) in stream.cells.iter() {
                let (account, asset) = (AccountId(account), AssetId(asset));
                let shard = stream.shard;
                let amount = i128::from(cell.balance()) * self.venue.unit(asset) as i128;
                all.push((Book::Trading { shard, account }, asset, amount));
            }
        }
        for (schedule, part, amount) in self.fees() {
            let book = Book::Fees {
                shard: schedule.shard,
                schedule: schedule.number,
                part,
            };
            all.push((book, schedule.asset, amount));
        }
        for ((account, asset), aside) in &self.custody.asides {
            let account = *account;
            all.extend([
                (Book::Transit { account }, *asset, aside.transit),
                (Book::Pending { account }, *asset, aside.pending),
                (Book::Arriving { account }, *asset, aside.arriving),
                (Book::Dust { account }, *asset, aside.dust),
            ]);
        }
        let books = self.custody.books.iter();
        all.extend(books.map(|((book, asset), amount)| (*book, *asset, *amount)));
        all.retain(|(.., amount)| *amount != 0);
        all.sort_unstable_by_key(|(book, asset, _)| (*book, *asset));
        all
    }
}

/// What shards have of an account's asset, base units.
fn trading(streams: &[Stream], venue: &Venue, account: AccountId, asset: AssetId) -> i128 {
    let cells = streams.iter().map(|it| it.cells.get(account.0, asset.0));
    let units: i128 = cells.map(|it| i128::from(it.balance())).sum();
    units * venue.unit(asset) as i128
}
