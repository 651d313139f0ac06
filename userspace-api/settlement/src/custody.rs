//! What the ledger has beside the shards' cells: channels, withdrawals, credits, the books of operator and holdings, lines since the last cut.
//!
//! Always true: a fact that [`Custody::judge`] lets pass is carried out whole; every entry's postings sum to zero; `customers` is the sum of all
//! customers' books here, kept beside them as a control.

use crate::batch::Batch;
use crate::book::{Book, Class};
use crate::fact::{Fact, Purse, Refused, WithdrawalId};
use crate::id::{AccountId, AssetId, Epoch, PeerId};
use crate::line::{Line, LineKind, Source};
use crate::venue::{PlaceIndex, Venue};
use ring0_channels::B256;
use ring0_channels::message::AMOUNT_MAX;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What a customer has of an asset beside what shards have.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Aside {
    /// Between two shards.
    #[serde(with = "crate::decimal")]
    pub transit: i128,
    /// Debited for withdrawals.
    #[serde(with = "crate::decimal")]
    pub pending: i128,
    /// Came in, not yet in a shard.
    #[serde(with = "crate::decimal")]
    pub arriving: i128,
    /// Below an engine unit.
    #[serde(with = "crate::decimal")]
    pub dust: i128,
}

impl Aside {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> i128 {
        self.transit + self.pending + self.arriving + self.dust
    }
}

/// The last state that was made of a channel: its leaf.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ChannelLeaf {
    /// Its version.
    pub version: u64,
    /// The batch that made it.
    pub epoch: Epoch,
    /// What the trader owns once all that is seen counts.
    #[serde(with = "crate::decimal")]
    pub balance: u128,
    /// Cumulative deposits in it.
    #[serde(with = "crate::decimal")]
    pub deposited_seen: u128,
    /// Cumulative withdrawals no longer in it.
    #[serde(with = "crate::decimal")]
    pub withdrawn_seen: u128,
    /// What of the balance is above the channel's own escrow.
    #[serde(with = "crate::decimal")]
    pub excess: u128,
    /// The pin that it is signed under.
    pub branch: B256,
}

/// A channel as its chain has confirmed it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Channel {
    /// Its trader.
    pub account: AccountId,
    /// Where it is.
    pub place: PlaceIndex,
    /// Paid in, cumulative.
    #[serde(with = "crate::decimal")]
    pub deposited: u128,
    /// Paid out, cumulative.
    #[serde(with = "crate::decimal")]
    pub withdrawn: u128,
    /// Moved from the vault, cumulative; negative: to it.
    #[serde(with = "crate::decimal")]
    pub moved: i128,
    /// A dispute is on the chain.
    pub disputed: bool,
    /// Its end was paid.
    pub closed: bool,
    /// Its last state.
    pub leaf: Option<ChannelLeaf>,
}

impl Channel {
    /// What is the channel's own.
    #[must_use]
    pub fn escrow(&self) -> u128 {
        if self.closed {
            return 0;
        }
        self.escrow_with(self.withdrawn, self.moved).unwrap_or(0)
    }

    fn escrow_with(&self, withdrawn: u128, moved: i128) -> Option<u128> {
        let paid_in = self.deposited.checked_add_signed(moved)?;
        paid_in.checked_sub(withdrawn)
    }
}

/// A withdrawal that is neither paid nor lapsed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Withdrawal {
    /// The rail that pays it.
    pub rail: PeerId,
    /// Of which asset.
    pub asset: AssetId,
    /// How much, base units.
    #[serde(with = "crate::decimal")]
    pub amount: u128,
}

/// What a rail brings an account into a shard by.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct CreditLine {
    /// Whose.
    pub account: AccountId,
    /// The rail.
    pub rail: PeerId,
    /// The shard.
    pub shard: PeerId,
}

/// A credit that a rail decided and a shard has not recorded.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Credit {
    /// The transfer's number.
    pub number: u64,
    /// Of which asset.
    pub asset: AssetId,
    /// Engine units.
    pub units: u64,
}

/// The credits of a [`CreditLine`].
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Credits {
    /// The last number that was used.
    pub last: u64,
    /// Those that are not recorded.
    pub open: Vec<Credit>,
}

/// A deposit that is not confirmed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Awaited {
    /// The rail.
    pub rail: PeerId,
    /// Whose it will be.
    pub account: AccountId,
    /// Of which asset.
    pub asset: AssetId,
    /// How much, base units.
    #[serde(with = "crate::decimal")]
    pub amount: u128,
}

/// A shard recorded a transfer from a rail that no fact backs: money that nobody paid in.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Unbacked {
    /// The shard.
    pub shard: PeerId,
    /// The record.
    pub sequence: u64,
    /// The rail it names.
    pub rail: PeerId,
    /// Whose.
    pub account: AccountId,
    /// Of which asset.
    pub asset: AssetId,
    /// The number it has.
    pub number: u64,
    /// Engine units.
    pub units: u64,
}

/// Names a part of the state that is stored by itself.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Part {
    Control,
    Book(Book, AssetId),
    Aside(AccountId, AssetId),
    Channel(B256),
    Withdrawal(WithdrawalId),
    Credits(CreditLine),
    Received(PeerId),
    Awaited(B256),
    Pin(PlaceIndex),
    Batch,
    Covers,
    Unbacked(PeerId, u64),
    Open(OpenKey),
}

/// Orders lines since the last cut the same whenever and in whatever pieces records come: behind how many facts; of a fact itself, or a shard and its
/// record; which line of that. Records of two shards between two facts have no order of their own.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct OpenKey {
    pub(crate) facts: u64,
    /// 0: the last of these facts; else the shard's number plus one.
    pub(crate) shard: u32,
    pub(crate) sequence: u64,
    pub(crate) line: u32,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Custody {
    pub(crate) facts: u64,
    pub(crate) epoch: Epoch,
    /// Sum of all customers' books here, by asset.
    pub(crate) customers: Vec<i128>,
    pub(crate) books: BTreeMap<(Book, AssetId), i128>,
    pub(crate) asides: BTreeMap<(AccountId, AssetId), Aside>,
    pub(crate) channels: BTreeMap<B256, Channel>,
    /// Channels that are not closed; follows from them.
    pub(crate) of_account: BTreeMap<(AccountId, AssetId), Vec<B256>>,
    pub(crate) withdrawals: BTreeMap<WithdrawalId, Withdrawal>,
    pub(crate) credits: BTreeMap<CreditLine, Credits>,
    pub(crate) received: BTreeMap<PeerId, u64>,
    pub(crate) awaited: BTreeMap<B256, Awaited>,
    /// By the first place of a hub.
    pub(crate) pins: BTreeMap<PlaceIndex, B256>,
    /// By shard and record.
    pub(crate) unbacked: BTreeMap<(PeerId, u64), Unbacked>,
    /// The last one that was cut.
    pub(crate) batch: Batch,
    /// Since the last cut.
    pub(crate) open: BTreeMap<OpenKey, (AccountId, Line)>,
    /// Parts that changed since the last commit.
    pub(crate) dirty: BTreeSet<Part>,
}

impl Custody {
    pub(crate) fn new(assets: usize) -> Custody {
        Custody {
            customers: vec![0; assets],
            ..Custody::default()
        }
    }

    /// Puts an amount into a book; what shards have (`Trading`, `Fees`) is not here.
    pub(crate) fn post(&mut self, book: Book, asset: AssetId, amount: i128) {
        if amount == 0 {
            return;
        }
        if book.class() == Class::Customer {
            self.customers[asset.0 as usize] += amount;
            self.dirty.insert(Part::Control);
        }
        let (account, of): (AccountId, fn(&mut Aside) -> &mut i128) = match book {
            Book::Transit { account } => (account, |it| &mut it.transit),
            Book::Pending { account } => (account, |it| &mut it.pending),
            Book::Arriving { account } => (account, |it| &mut it.arriving),
            Book::Dust { account } => (account, |it| &mut it.dust),
            _ => {
                self.dirty.insert(Part::Book(book, asset));
                add(&mut self.books, (book, asset), amount);
                return;
            }
        };
        self.dirty.insert(Part::Aside(account, asset));
        let aside = self.asides.entry((account, asset)).or_default();
        *of(aside) += amount;
        if *aside == Aside::default() {
            self.asides.remove(&(account, asset));
        }
    }

    pub(crate) fn book(&self, book: Book, asset: AssetId) -> i128 {
        self.books.get(&(book, asset)).copied().unwrap_or(0)
    }

    pub(crate) fn aside(&self, account: AccountId, asset: AssetId) -> Aside {
        self.asides
            .get(&(account, asset))
            .copied()
            .unwrap_or_default()
    }

    pub(crate) fn line(
        &mut self,
        account: AccountId,
        asset: AssetId,
        kind: LineKind,
        amount: i128,
        source: Source,
    ) {
        if amount == 0 {
            return;
        }
        let (shard, sequence) = match source {
            Source::Record { shard, sequence } => (shard + 1, sequence),
            Source::Fact(_) | Source::Batch => (0, 0),
        };
        let mut key = OpenKey {
            facts: self.facts,
            shard,
            sequence,
            line: 0,
        };
        let last = OpenKey {
            line: u32::MAX,
            ..key
        };
        key.line = self.open.range(key..=last).count() as u32;
        self.dirty.insert(Part::Open(key));
        let line = Line {
            asset,
            kind,
            amount,
            source,
        };
        self.open.insert(key, (account, line));
    }

    /// An amount comes to an account: whole engine units wait to be credited, the rest is dust.
    fn give(&mut self, venue: &Venue, account: AccountId, asset: AssetId, amount: u128) {
        let unit = venue.unit(asset) as i128;
        let dust = self.aside(account, asset).dust;
        let whole = (dust + amount as i128) / unit * unit;
        self.post(Book::Arriving { account }, asset, whole);
        self.post(Book::Dust { account }, asset, amount as i128 - whole);
    }

    /// What of an account may still be credited, engine units.
    pub(crate) fn creditable(&self, venue: &Venue, account: AccountId, asset: AssetId) -> u64 {
        let arriving = self.aside(account, asset).arriving.max(0).cast_unsigned();
        let whole = arriving / venue.unit(asset).max(1);
        let promised: u128 = self
            .credits_of(account)
            .flat_map(|(_, credits)| &credits.open)
            .filter(|it| it.asset == asset)
            .map(|it| u128::from(it.units))
            .sum();
        u64::try_from(whole.saturating_sub(promised)).unwrap_or(u64::MAX)
    }

    pub(crate) fn credits_of(
        &self,
        account: AccountId,
    ) -> impl Iterator<Item = (&CreditLine, &Credits)> {
        let line = |number| CreditLine {
            account,
            rail: PeerId(number),
            shard: PeerId(number),
        };
        self.credits.range(line(0)..=line(u32::MAX))
    }

    /// The place that a hub's pin is kept under: the first of the hub.
    fn pin_place(venue: &Venue, place: PlaceIndex) -> PlaceIndex {
        let hub = venue.places()[place as usize].hub;
        let first = venue.places().iter().position(|it| it.hub == hub);
        first.map_or(place, |at| at as u32)
    }

    pub(crate) fn pin(&self, venue: &Venue, place: PlaceIndex) -> Option<B256> {
        self.pins.get(&Custody::pin_place(venue, place)).copied()
    }

    /// Whether a fact may count. Changes nothing.
    pub(crate) fn judge(&self, venue: &Venue, fact: &Fact) -> Result<(), Refused> {
        match fact {
            Fact::Seen {
                id,
                rail,
                account,
                asset,
                amount,
            } => {
                a_rail(venue, *rail)?;
                an_account(venue, *account, *asset)?;
                an_amount("a deposit", *amount)?;
                if self.awaited.contains_key(id) {
                    return Err(Refused::Known(format!("deposit {id}")));
                }
            }
            Fact::Unseen { id } => {
                if !self.awaited.contains_key(id) {
                    return Err(Refused::Unknown(format!("deposit {id} on its way")));
                }
            }
            Fact::Opened {
                channel,
                account,
                place,
            } => {
                let asset = a_place(venue, *place)?;
                an_account(venue, *account, asset)?;
                if self.channels.contains_key(channel) {
                    return Err(Refused::Known(format!("channel {channel}")));
                }
                let others = self.of_account.get(&(*account, asset));
                let same = |it: &&B256| self.channels[*it].place == *place;
                if let Some(other) = others.and_then(|all| all.iter().find(same)) {
                    return Err(Refused::Known(format!(
                        "channel {other}, the one of {account} at place {place},"
                    )));
                }
            }
            Fact::Deposited { channel, deposited } => {
                let open = self.an_open_channel(channel)?;
                risen(
                    &format!("what was paid into {channel}"),
                    open.deposited,
                    *deposited,
                )?;
            }
            Fact::Withdrawn {
                channel,
                withdrawn,
                withdrawals,
            } => {
                let open = self.an_open_channel(channel)?;
                let what = format!("what was paid out of {channel}");
                risen(&what, open.withdrawn, *withdrawn)?;
                let delta = (withdrawn - open.withdrawn) as i128;
                let sum = self.sum_of(venue, open, withdrawals)?;
                amounts("the withdrawals together", sum, delta, sum == delta)?;
                let escrow = open.escrow() as i128;
                amounts(
                    "the withdrawal beside the channel's escrow (write Rebalanced first)",
                    delta,
                    escrow,
                    delta <= escrow,
                )?;
            }
            Fact::Rebalanced { channel, moved } => {
                let open = self.an_open_channel(channel)?;
                if *moved == open.moved {
                    return Err(Refused::Known(format!(
                        "that {moved} were moved to {channel}"
                    )));
                }
                an_amount("what was moved", moved.unsigned_abs())?;
                let escrow = open.escrow_with(open.withdrawn, *moved);
                amounts(
                    "what is moved out of the channel",
                    *moved,
                    open.escrow() as i128,
                    escrow.is_some(),
                )?;
                self.vault_has(venue, open.place, moved - open.moved)?;
            }
            Fact::Disputed { channel } => {
                if self.an_open_channel(channel)?.disputed {
                    return Err(Refused::Known(format!("the dispute about {channel}")));
                }
            }
            Fact::Closed {
                channel,
                paid,
                claim,
                withdrawals,
            } => {
                let open = self.an_open_channel(channel)?;
                an_amount("what was paid", *paid)?;
                an_amount("the claim", *claim)?;
                let sum = self.sum_of(venue, open, withdrawals)?;
                let taken = (paid + claim) as i128;
                amounts("the withdrawals together", sum, taken, sum <= taken)?;
                self.vault_has(venue, open.place, *paid as i128 - open.escrow() as i128)?;
            }
            Fact::Absorbed { withdrawal } => {
                self.a_withdrawal(withdrawal)?;
            }
            Fact::Reserved { place, amount } => {
                a_place(venue, *place)?;
                an_amount("what is set aside", *amount)?;
                self.vault_has(venue, *place, *amount as i128)?;
            }
            Fact::Claimed { place, amount } => {
                let (asset, place) = (a_place(venue, *place)?, *place);
                an_amount("the claim", *amount)?;
                let owed = self.book(Book::Claims { place }, asset);
                let reserve = -self.book(Book::Reserve { place }, asset);
                let amount = *amount as i128;
                amounts("the claim", amount, owed, amount <= owed)?;
                amounts("the claim", amount, reserve, amount <= reserve)?;
            }
            Fact::Received {
                rail,
                number,
                account,
                asset,
                amount,
            } => {
                a_rail(venue, *rail)?;
                an_account(venue, *account, *asset)?;
                an_amount("what was received", *amount)?;
                let last = self.received.get(rail).copied().unwrap_or(0);
                if *number <= last {
                    return Err(Refused::Known(format!("receipt {number} of {rail}")));
                }
                if *number != last + 1 {
                    return Err(Refused::Number {
                        what: format!("a receipt of {rail}"),
                        expected: last + 1,
                        given: *number,
                    });
                }
            }
            Fact::Credited {
                rail,
                shard,
                account,
                asset,
                number,
                units,
            } => {
                a_rail(venue, *rail)?;
                an_account(venue, *account, *asset)?;
                if venue.shard_index(*shard).is_none() {
                    return Err(Refused::Unknown(format!("shard {shard}")));
                }
                let line = CreditLine {
                    account: *account,
                    rail: *rail,
                    shard: *shard,
                };
                let credits = self.credits.get(&line);
                let same = Credit {
                    number: *number,
                    asset: *asset,
                    units: *units,
                };
                if credits.is_some_and(|it| it.open.contains(&same)) {
                    return Err(Refused::Known(format!("credit {number}")));
                }
                let expected = credits.map_or(0, |it| it.last) + 1;
                if *number < expected {
                    return Err(Refused::Number {
                        what: "the credit".to_owned(),
                        expected,
                        given: *number,
                    });
                }
                let there = self.creditable(venue, *account, *asset);
                let fits = *units != 0 && *units <= there;
                amounts("the credit", (*units).into(), there.into(), fits)?;
            }
            Fact::DustTaken {
                withdrawal,
                rail,
                asset,
                amount,
            } => {
                a_rail(venue, *rail)?;
                an_account(venue, withdrawal.account, *asset)?;
                match self.withdrawals.get(withdrawal) {
                    Some(open) if (open.rail, open.asset) == (*rail, *asset) => {}
                    None if withdrawal.from == *rail => {}
                    _ => return Err(Refused::Unknown(format!("such {withdrawal}"))),
                }
                let dust = self.aside(withdrawal.account, *asset).dust;
                let given = i128::try_from(*amount).unwrap_or(i128::MAX);
                amounts("the dust", given, dust, given != 0 && given <= dust)?;
            }
            Fact::Lapsed { withdrawal } => {
                self.a_withdrawal(withdrawal)?;
            }
            Fact::Paid { withdrawal, cost } => {
                self.a_withdrawal(withdrawal)?;
                an_amount("the cost", *cost)?;
            }
            Fact::Funded {
                purse,
                asset,
                amount,
                own,
            } => {
                an_amount("what was put in", amount.unsigned_abs())?;
                an_account(venue, AccountId(0), *asset)?;
                match *purse {
                    Purse::Rail(rail) => a_rail(venue, rail)?,
                    Purse::Vault(place) => {
                        let there = a_place(venue, place)?;
                        if there != *asset {
                            return Err(Refused::Unknown(format!("{asset} at place {place}")));
                        }
                        self.vault_has(venue, place, -amount)?;
                    }
                }
                let has = self.book(Book::Own(*own), *asset);
                amounts("what is taken out", -amount, has, -amount <= has)?;
            }
            Fact::Cut { epoch, pins, .. } => {
                // Numbers may be left out: after the loss of a signer's store batches go on above everything that it may have signed.
                if *epoch <= self.epoch {
                    return Err(Refused::Known(epoch.to_string()));
                }
                let mut pinned: BTreeSet<PlaceIndex> = self.pins.keys().copied().collect();
                for pin in pins {
                    a_place(venue, pin.place)?;
                    pinned.insert(Custody::pin_place(venue, pin.place));
                }
                let open = self.channels.values().filter(|it| !it.closed);
                let mut places: Vec<PlaceIndex> = open.map(|it| it.place).collect();
                places.sort_unstable();
                places.dedup();
                for place in places {
                    if !pinned.contains(&Custody::pin_place(venue, place)) {
                        return Err(Refused::Unknown(format!(
                            "pin of the hub of place {place}, which has channels"
                        )));
                    }
                }
            }
        }
        Ok(())
    }

    fn an_open_channel(&self, channel: &B256) -> Result<&Channel, Refused> {
        match self.channels.get(channel) {
            None => Err(Refused::Unknown(format!("channel {channel}"))),
            Some(it) if it.closed => Err(Refused::Known(format!("the end of channel {channel}"))),
            Some(it) => Ok(it),
        }
    }

    fn a_withdrawal(&self, id: &WithdrawalId) -> Result<&Withdrawal, Refused> {
        let unknown = || Refused::Unknown(format!("open {id}"));
        self.withdrawals.get(id).ok_or_else(unknown)
    }

    /// Sum of open withdrawals of a channel's account, asset and rail, each named once.
    fn sum_of(
        &self,
        venue: &Venue,
        channel: &Channel,
        ids: &[WithdrawalId],
    ) -> Result<i128, Refused> {
        let place = &venue.places()[channel.place as usize];
        let mut seen = BTreeSet::new();
        let mut sum = 0_i128;
        for id in ids {
            let open = self.a_withdrawal(id)?;
            if id.account != channel.account
                || (open.asset, open.rail) != (place.asset, place.rail)
                || !seen.insert(*id)
            {
                return Err(Refused::Unknown(format!("{id} of the channel's account")));
            }
            sum += open.amount as i128;
        }
        Ok(sum)
    }

    /// Whether a vault has an amount to give.
    fn vault_has(&self, venue: &Venue, place: PlaceIndex, amount: i128) -> Result<(), Refused> {
        let asset = venue.places()[place as usize].asset;
        let there = -self.book(Book::Vault { place }, asset);
        amounts(
            "what the vault gives",
            amount,
            there,
            amount <= there.max(0),
        )
    }

    /// Carries out a fact that [`judge`](Custody::judge) let pass, but for what a cut does with cells.
    pub(crate) fn carry_out(&mut self, venue: &Venue, number: u64, fact: &Fact) {
        let source = Source::Fact(number);
        match fact {
            Fact::Seen {
                id,
                rail,
                account,
                asset,
                amount,
            } => {
                let awaited = Awaited {
                    rail: *rail,
                    account: *account,
                    asset: *asset,
                    amount: *amount,
                };
                self.await_more(&awaited, 1);
                self.awaited.insert(*id, awaited);
                self.dirty.insert(Part::Awaited(*id));
            }
            Fact::Unseen { id } => {
                if let Some(awaited) = self.awaited.remove(id) {
                    self.await_more(&awaited, -1);
                    self.dirty.insert(Part::Awaited(*id));
                }
            }
            Fact::Opened {
                channel,
                account,
                place,
            } => {
                let opened = Channel {
                    account: *account,
                    place: *place,
                    deposited: 0,
                    withdrawn: 0,
                    moved: 0,
                    disputed: false,
                    closed: false,
                    leaf: None,
                };
                self.channels.insert(*channel, opened);
                self.list_channel(venue, *channel);
                self.dirty.insert(Part::Channel(*channel));
            }
            Fact::Deposited { channel, deposited } => {
                let (account, place, asset, open) = self.change_channel(venue, channel);
                let delta = deposited - open.deposited;
                open.deposited = *deposited;
                self.post(Book::Escrow { place }, asset, -(delta as i128));
                self.give(venue, account, asset, delta);
                self.line(account, asset, LineKind::Deposit, delta as i128, source);
            }
            Fact::Withdrawn {
                channel,
                withdrawn,
                withdrawals,
            } => {
                let (account, place, asset, open) = self.change_channel(venue, channel);
                let delta = (withdrawn - open.withdrawn) as i128;
                open.withdrawn = *withdrawn;
                self.post(Book::Escrow { place }, asset, delta);
                self.post(Book::Pending { account }, asset, -delta);
                self.end_withdrawals(withdrawals);
                self.line(account, asset, LineKind::Withdrawal, -delta, source);
            }
            Fact::Rebalanced { channel, moved } => {
                let (_, place, asset, open) = self.change_channel(venue, channel);
                let delta = moved - open.moved;
                open.moved = *moved;
                self.post(Book::Escrow { place }, asset, -delta);
                self.post(Book::Vault { place }, asset, delta);
            }
            Fact::Disputed { channel } => {
                let (.., open) = self.change_channel(venue, channel);
                open.disputed = true;
            }
            Fact::Closed {
                channel,
                paid,
                claim,
                withdrawals,
            } => {
                let (account, place, asset, open) = self.change_channel(venue, channel);
                let escrow = open.escrow() as i128;
                open.closed = true;
                let (paid, claim) = (*paid as i128, *claim as i128);
                self.post(Book::Escrow { place }, asset, escrow);
                self.post(Book::Vault { place }, asset, paid - escrow);
                self.post(Book::Pending { account }, asset, -(paid + claim));
                self.post(Book::Claims { place }, asset, claim);
                self.end_withdrawals(withdrawals);
                self.line(account, asset, LineKind::Exit, -paid, source);
                self.line(account, asset, LineKind::Claim, -claim, source);
                if let Some(own) = self.of_account.get_mut(&(account, asset)) {
                    own.retain(|it| it != channel);
                    if own.is_empty() {
                        self.of_account.remove(&(account, asset));
                    }
                }
            }
            Fact::Absorbed { withdrawal } => self.end_withdrawals(&[*withdrawal]),
            Fact::Reserved { place, amount } => {
                let (place, asset) = (*place, venue.places()[*place as usize].asset);
                self.post(Book::Vault { place }, asset, *amount as i128);
                self.post(Book::Reserve { place }, asset, -(*amount as i128));
            }
            Fact::Claimed { place, amount } => {
                let (place, asset) = (*place, venue.places()[*place as usize].asset);
                self.post(Book::Reserve { place }, asset, *amount as i128);
                self.post(Book::Claims { place }, asset, -(*amount as i128));
            }
            Fact::Received {
                rail,
                number,
                account,
                asset,
                amount,
            } => {
                self.received.insert(*rail, *number);
                self.dirty.insert(Part::Received(*rail));
                let credit = *amount as i128;
                self.post(Book::Rail { rail: *rail }, *asset, -credit);
                self.give(venue, *account, *asset, *amount);
                self.line(*account, *asset, LineKind::Deposit, credit, source);
            }
            Fact::Credited {
                rail,
                shard,
                account,
                asset,
                number,
                units,
            } => {
                let line = CreditLine {
                    account: *account,
                    rail: *rail,
                    shard: *shard,
                };
                let credits = self.credits.entry(line).or_default();
                credits.last = *number;
                credits.open.push(Credit {
                    number: *number,
                    asset: *asset,
                    units: *units,
                });
                self.dirty.insert(Part::Credits(line));
            }
            Fact::DustTaken {
                withdrawal,
                rail,
                asset,
                amount,
            } => {
                let account = withdrawal.account;
                let moved = *amount as i128;
                self.post(Book::Dust { account }, *asset, -moved);
                self.post(Book::Pending { account }, *asset, moved);
                self.ask(*withdrawal, *rail, *asset, *amount);
                self.line(account, *asset, LineKind::WithdrawalAsked, -moved, source);
            }
            Fact::Lapsed { withdrawal } => {
                let account = withdrawal.account;
                let Withdrawal { asset, amount, .. } = self.withdrawals[withdrawal];
                self.end_withdrawals(&[*withdrawal]);
                let moved = amount as i128;
                self.post(Book::Pending { account }, asset, -moved);
                self.give(venue, account, asset, amount);
                self.line(account, asset, LineKind::WithdrawalLapsed, moved, source);
            }
            Fact::Paid { withdrawal, cost } => {
                let account = withdrawal.account;
                let open = self.withdrawals[withdrawal];
                let Withdrawal {
                    rail,
                    asset,
                    amount,
                } = open;
                self.end_withdrawals(&[*withdrawal]);
                let (amount, cost) = (amount as i128, *cost as i128);
                self.post(Book::Pending { account }, asset, -amount);
                self.post(Book::Rail { rail }, asset, cost);
                self.post(Book::RailFees { rail }, asset, amount - cost);
                self.line(account, asset, LineKind::Withdrawal, -amount, source);
            }
            Fact::Funded {
                purse,
                own,
                asset,
                amount,
            } => {
                let purse = match *purse {
                    Purse::Vault(place) => Book::Vault { place },
                    Purse::Rail(rail) => Book::Rail { rail },
                };
                self.post(purse, *asset, -amount);
                self.post(Book::Own(*own), *asset, *amount);
            }
            Fact::Cut { epoch, pins, .. } => {
                self.epoch = *epoch;
                for pin in pins {
                    let place = Custody::pin_place(venue, pin.place);
                    self.pins.insert(place, pin.branch);
                    self.dirty.insert(Part::Pin(place));
                }
            }
        }
    }

    /// A withdrawal is open, or more so.
    pub(crate) fn ask(&mut self, id: WithdrawalId, rail: PeerId, asset: AssetId, amount: u128) {
        let none = Withdrawal {
            rail,
            asset,
            amount: 0,
        };
        self.withdrawals.entry(id).or_insert(none).amount += amount;
        self.dirty.insert(Part::Withdrawal(id));
    }

    fn end_withdrawals(&mut self, ids: &[WithdrawalId]) {
        for id in ids {
            self.withdrawals.remove(id);
            self.dirty.insert(Part::Withdrawal(*id));
        }
    }

    fn await_more(&mut self, awaited: &Awaited, sign: i128) {
        let Awaited {
            rail,
            account,
            asset,
            amount,
        } = *awaited;
        let amount = sign * amount as i128;
        self.post(Book::Unconfirmed { account }, asset, amount);
        self.post(Book::Awaited { rail }, asset, -amount);
    }

    /// Puts a channel among its account's.
    pub(crate) fn list_channel(&mut self, venue: &Venue, channel: B256) {
        let Channel {
            account,
            place,
            closed,
            ..
        } = self.channels[&channel];
        if !closed {
            let asset = venue.places()[place as usize].asset;
            let own = self.of_account.entry((account, asset)).or_default();
            own.push(channel);
            // The order in which balances are laid on them: by place.
            let channels = &self.channels;
            own.sort_by_key(|it| (channels[it].place, *it));
        }
    }

    fn change_channel(
        &mut self,
        venue: &Venue,
        channel: &B256,
    ) -> (AccountId, PlaceIndex, AssetId, &mut Channel) {
        self.dirty.insert(Part::Channel(*channel));
        let open = self
            .channels
            .get_mut(channel)
            .expect("the fact was judged: its channel is there");
        let asset = venue.places()[open.place as usize].asset;
        (open.account, open.place, asset, open)
    }

    /// A shard recorded a transfer from a rail: takes the credit off the list, or notes that there is none.
    pub(crate) fn credited(&mut self, seen: Unbacked) {
        let line = CreditLine {
            account: seen.account,
            rail: seen.rail,
            shard: seen.shard,
        };
        let credit = Credit {
            number: seen.number,
            asset: seen.asset,
            units: seen.units,
        };
        if let Some(credits) = self.credits.get_mut(&line)
            && let Some(at) = credits.open.iter().position(|it| *it == credit)
        {
            credits.open.remove(at);
            self.dirty.insert(Part::Credits(line));
            return;
        }
        self.dirty.insert(Part::Unbacked(seen.shard, seen.sequence));
        self.unbacked.insert((seen.shard, seen.sequence), seen);
    }

    /// What a place's vault has, by the facts.
    pub(crate) fn vault(&self, place: PlaceIndex, asset: AssetId) -> u128 {
        let has = -self.book(Book::Vault { place }, asset);
        has.max(0).cast_unsigned()
    }

    /// Sums of the operator's own books, by asset: what it put in, gave away, and rails brought or cost.
    pub(crate) fn operator(&self, asset: AssetId) -> i128 {
        let own = |((book, of), _): &(&(Book, AssetId), &i128)| {
            *of == asset && book.class() == Class::Operator
        };
        self.books
            .iter()
            .filter(own)
            .map(|(_, amount)| amount)
            .sum()
    }
}

/// Adds to an amount of a map that has no zeros.
fn add<K: Ord>(map: &mut BTreeMap<K, i128>, key: K, amount: i128) {
    use std::collections::btree_map::Entry;
    match map.entry(key) {
        Entry::Vacant(none) => {
            none.insert(amount);
        }
        Entry::Occupied(mut there) => {
            *there.get_mut() += amount;
            if *there.get() == 0 {
                there.remove();
            }
        }
    }
}

fn a_rail(venue: &Venue, rail: PeerId) -> Result<(), Refused> {
    match venue.is_rail(rail) {
        true => Ok(()),
        false => Err(Refused::Unknown(format!("rail {rail}"))),
    }
}

fn a_place(venue: &Venue, place: PlaceIndex) -> Result<AssetId, Refused> {
    let found = venue.places().get(place as usize);
    found
        .map(|it| it.asset)
        .ok_or_else(|| Refused::Unknown(format!("place {place}")))
}

fn an_account(venue: &Venue, account: AccountId, asset: AssetId) -> Result<(), Refused> {
    if account.0 >= venue.accounts_max() {
        return Err(Refused::Unknown(account.to_string()));
    }
    match venue.assets().get(asset.0 as usize) {
        Some(_) => Ok(()),
        None => Err(Refused::Unknown(asset.to_string())),
    }
}

/// Amounts stay far below what sums of them could pass.
fn an_amount(what: &str, amount: u128) -> Result<(), Refused> {
    let given = i128::try_from(amount).unwrap_or(i128::MAX);
    amounts(what, given, AMOUNT_MAX as i128, amount <= AMOUNT_MAX)
}

fn amounts(what: &str, given: i128, there: i128, fits: bool) -> Result<(), Refused> {
    if fits {
        return Ok(());
    }
    Err(Refused::Amount {
        what: what.to_owned(),
        given,
        there,
    })
}

fn risen(what: &str, before: u128, given: u128) -> Result<(), Refused> {
    an_amount(what, given)?;
    if given == before {
        return Err(Refused::Known(format!("that {what} is {given}")));
    }
    if given < before {
        return Err(Refused::Fell {
            what: what.to_owned(),
            before: before as i128,
            given: given as i128,
        });
    }
    Ok(())
}
