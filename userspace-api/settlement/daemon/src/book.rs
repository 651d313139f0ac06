//! What the journal's entries amount to: whose channels are whose, what goes into shards and out of them, how far batches are.
//!
//! Always true: the state follows from the entries alone; the facts for the ledger follow from them too, in one order that never changes, so that the
//! ledger's journal of facts is a beginning of that order, whenever the daemon died, and goes on where it stopped.

use crate::batch::{self, Protocol, Step};
use crate::config::Config;
use crate::controls;
use crate::credits::{Credits, Source};
use crate::entry::{Entry, Move, State};
use crate::events::{HubEvent, Told};
use crate::lives::{Lives, Look};
use crate::protocol::Granted;
use crate::withdrawal::{Debit, Misstep, Progress, Withdrawal, Withdrawals};
use ring0_channels::chain::Block;
use ring0_channels::heads::Heads;
use ring0_channels::key::Signature;
use ring0_channels::life::{Refused, Signed};
use ring0_channels::message::Terms;
use ring0_channels::{Address, B256};
use ring0_settlement::book::Own;
use ring0_settlement::{AccountId, AssetId, Cover, Epoch, Fact, PeerId, Pin, Purse, WithdrawalId};
use ring0_signer::protocol::Seen as Known;
use std::collections::{BTreeMap, BTreeSet};

/// An entry that does not follow from those before it: the journal is of another configuration, or damaged.
#[derive(Debug, thiserror::Error)]
pub enum Contradiction {
    /// A batch's step.
    #[error(transparent)]
    Batch(#[from] batch::Refused),
    /// A withdrawal's step.
    #[error(transparent)]
    Withdrawal(#[from] Misstep),
    /// A channel's step.
    #[error("channel {channel}: {why}")]
    Channel {
        /// Which.
        channel: B256,
        /// Why.
        why: Refused,
    },
    /// It names a hub, shard or asset that the configuration does not have.
    #[error(
        "{what} {index} is not in the configuration; the journal was written under another one"
    )]
    Unknown {
        /// What.
        what: &'static str,
        /// Its place.
        index: u32,
    },
}

/// A trader.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Registration {
    /// Owns the channels.
    pub owner: Address,
    /// Signs states.
    pub cosigner: Address,
    /// Session keys that may sign in its place.
    pub grants: Vec<Granted>,
}

/// A channel as its chain has confirmed it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Confirmed {
    /// Its terms.
    pub terms: Terms,
    /// Paid in.
    pub deposited: u128,
    /// Paid out.
    pub withdrawn: u128,
    /// Moved from the vault; negative: to it.
    pub moved: i128,
    /// Number of its last move.
    pub moves: u64,
    /// A dispute was begun.
    pub disputed: bool,
    /// Its end was paid.
    pub ended: bool,
    /// Whose it is, and where the ledger has it.
    pub account: Option<(u32, u32)>,
}

impl Confirmed {
    /// What is the channel's own.
    #[must_use]
    pub fn escrow(&self) -> u128 {
        let paid_in = self.deposited.saturating_add_signed(self.moved);
        paid_in.saturating_sub(self.withdrawn)
    }
}

/// A hub.
#[derive(Debug)]
pub struct HubBook {
    /// Its channels' lives.
    pub lives: Lives,
    /// Channels whose opening counts.
    pub channels: BTreeMap<B256, Confirmed>,
    /// What was told and does not count yet, by height.
    waiting: BTreeMap<u64, Vec<HubEvent>>,
    /// By token: the epoch of the last root that is in a block.
    pub posted: BTreeMap<Address, u64>,
    /// Height up to which what was told counts.
    counted: u64,
}

/// A batch that is recorded.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its number.
    pub epoch: u64,
    /// The batch before it.
    pub previous: B256,
    /// The root over its entries.
    pub root: B256,
    /// Heads of audit logs under the root.
    pub audit_heads: Heads,
    /// All channels' states.
    pub states: Vec<State>,
    /// The operator's signature.
    pub signature: Option<Signature>,
}

/// See the module.
#[derive(Debug)]
pub struct Book {
    /// Batches.
    pub protocol: Protocol,
    /// The newest recorded one.
    pub record: Option<Record>,
    /// Root of the last recorded one: what the next has as `previous`.
    pub previous: B256,
    /// Heads of audit logs in the last recorded one.
    pub audit_heads: Heads,
    /// The last state that was offered, by channel.
    pub offered: BTreeMap<B256, State>,
    /// Outflow at the newest cut that an account was in, by account, shard and asset.
    covers: BTreeMap<u32, Vec<Cover>>,
    /// Of those, what a durable co-signature covers.
    pub marks: BTreeMap<u32, (u64, Vec<Cover>)>,
    /// Traders by account.
    pub registered: BTreeMap<u32, Registration>,
    owners: BTreeMap<Address, u32>,
    /// Channels with their hubs, by owner, whether it is registered or not.
    of_owner: BTreeMap<Address, Vec<(u32, B256)>>,
    /// Those that are an account's.
    of_account: BTreeMap<u32, BTreeSet<(u32, B256)>>,
    /// Accounts' channels whose deposits may be more than was credited.
    uncredited: BTreeSet<(u32, B256)>,
    /// Hubs, in the order of the configuration.
    pub hubs: Vec<HubBook>,
    /// Into shards.
    pub credits: Credits,
    /// Number of the fact that has to be in the ledger before a credit is said, by shard, account and number.
    pub credit_facts: BTreeMap<(u32, u32, u64), u64>,
    /// Out of them.
    pub withdrawals: Withdrawals,
    /// Names of debited withdrawals in the ledger.
    ledger_names: BTreeMap<B256, WithdrawalId>,
    /// What may pass.
    pub controls: controls::Desk,
    /// Moves that the co-signer has signed, with the operator's signature.
    pub moves: BTreeMap<B256, (Move, Option<Signature>)>,
    /// What the signer's history had come to.
    pub known: Option<Known>,
    /// Facts so far, in all.
    pub facts: u64,
    /// Those that were not taken yet.
    fresh: Vec<Fact>,
    /// Accounts that leave by the chain, or left: they trade no more.
    pub left: BTreeSet<u32>,
    /// Time of the last cut, nanoseconds of Unix time.
    pub cut_ns: u64,
    /// Numbers of withdrawals that take dust alone, by account.
    dust_numbers: BTreeMap<u32, u64>,
    rail: PeerId,
    shards: Vec<PeerId>,
    units: Vec<u128>,
    /// By hub: tokens with their assets and places in the ledger's venue.
    tokens: Vec<BTreeMap<Address, (u32, u32)>>,
}

impl Book {
    /// Of a configuration, before any entry.
    #[must_use]
    pub fn new(config: &Config) -> Book {
        let mut place = 0_u32;
        let mut tokens = Vec::new();
        for hub in &config.hubs {
            let mut of_hub = BTreeMap::new();
            for token in &hub.tokens {
                of_hub.insert(token.token, (token.asset, place));
                place += 1;
            }
            tokens.push(of_hub);
        }
        let hub = |it: &crate::config::HubConfig| HubBook {
            lives: Lives::new(it.hub, it.rules, it.start),
            channels: BTreeMap::new(),
            waiting: BTreeMap::new(),
            posted: BTreeMap::new(),
            counted: 0,
        };
        Book {
            protocol: Protocol::default(),
            record: None,
            previous: B256::ZERO,
            audit_heads: Heads::default(),
            offered: BTreeMap::new(),
            covers: BTreeMap::new(),
            marks: BTreeMap::new(),
            registered: BTreeMap::new(),
            owners: BTreeMap::new(),
            of_owner: BTreeMap::new(),
            of_account: BTreeMap::new(),
            uncredited: BTreeSet::new(),
            hubs: config.hubs.iter().map(hub).collect(),
            credits: Credits::default(),
            credit_facts: BTreeMap::new(),
            withdrawals: Withdrawals::default(),
            ledger_names: BTreeMap::new(),
            controls: controls::Desk::default(),
            moves: BTreeMap::new(),
            known: None,
            facts: 0,
            fresh: Vec::new(),
            left: BTreeSet::new(),
            cut_ns: 0,
            dust_numbers: BTreeMap::new(),
            rail: PeerId(config.rail_number),
            shards: config.shards.iter().map(|it| PeerId(it.number)).collect(),
            units: (0..config.plans[0].assets.len() as u32)
                .map(|asset| config.unit(asset))
                .collect(),
            tokens,
        }
    }

    /// Facts that were derived since the last call, in their order.
    pub fn take_facts(&mut self) -> Vec<Fact> {
        std::mem::take(&mut self.fresh)
    }

    fn fact(&mut self, fact: Fact) {
        self.facts += 1;
        self.fresh.push(fact);
    }

    fn hub_mut(&mut self, hub: u32) -> Result<&mut HubBook, Contradiction> {
        let unknown = Contradiction::Unknown {
            what: "hub",
            index: hub,
        };
        self.hubs.get_mut(hub as usize).ok_or(unknown)
    }

    fn shard(&self, shard: u32) -> Result<PeerId, Contradiction> {
        let unknown = Contradiction::Unknown {
            what: "shard",
            index: shard,
        };
        self.shards.get(shard as usize).copied().ok_or(unknown)
    }

    /// An asset's engine unit in base units.
    ///
    /// # Errors
    /// The market has no such asset.
    pub fn unit(&self, asset: u32) -> Result<u128, Contradiction> {
        let unknown = Contradiction::Unknown {
            what: "asset",
            index: asset,
        };
        self.units.get(asset as usize).copied().ok_or(unknown)
    }

    /// The account of an owner.
    #[must_use]
    pub fn account_of(&self, owner: Address) -> Option<u32> {
        self.owners.get(&owner).copied()
    }

    /// The asset of a hub's token, and its place in the ledger's venue.
    #[must_use]
    pub fn token(&self, hub: u32, token: Address) -> Option<(u32, u32)> {
        self.tokens.get(hub as usize)?.get(&token).copied()
    }

    /// A channel with its hub.
    #[must_use]
    pub fn channel(&self, channel: B256) -> Option<(u32, &Confirmed)> {
        (0..).zip(&self.hubs).find_map(|(place, hub)| {
            let found = hub.channels.get(&channel)?;
            Some((place, found))
        })
    }

    /// An account's channels, with their hubs.
    pub fn channels_of(&self, account: u32) -> impl Iterator<Item = (u32, B256, &Confirmed)> {
        let own = self.of_account.get(&account).into_iter().flatten();
        own.filter_map(|(hub, id)| Some((*hub, *id, self.hubs[*hub as usize].channels.get(id)?)))
    }

    /// Takes in an entry.
    ///
    /// # Errors
    /// It does not follow from those before it.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), Contradiction> {
        match entry {
            Entry::Controls { controls } => self.controls.set(controls.clone()),
            Entry::Registered {
                account,
                owner,
                cosigner,
                grants,
            } => {
                self.owners.insert(*owner, *account);
                let registration = Registration {
                    owner: *owner,
                    cosigner: *cosigner,
                    grants: grants.clone(),
                };
                self.registered.insert(*account, registration);
                for (hub, channel) in self.of_owner.get(owner).cloned().unwrap_or_default() {
                    self.attach(hub, channel);
                }
            }
            Entry::Named {
                account,
                address,
                at,
            } => self.controls.name_address(*account, *address, *at),
            Entry::Advanced {
                hub,
                blocks,
                seen,
                told,
            } => {
                let look = Look::Advanced {
                    blocks: blocks.clone(),
                    seen: seen.clone(),
                };
                self.advanced(*hub, &look, told)?;
            }
            Entry::Reorganised { hub, height } => {
                let book = self.hub_mut(*hub)?;
                let look = Look::Reorganised { height: *height };
                book.lives.look(&look, &[]);
                book.waiting.split_off(&(height + 1));
            }
            Entry::Credited { credit } => {
                self.shard(credit.shard)?;
                if let Source::Unasked { shard, number } = credit.source {
                    let from = self.shard(shard)?;
                    self.fact(Fact::Lapsed {
                        withdrawal: WithdrawalId {
                            from,
                            account: AccountId(credit.account),
                            number,
                        },
                    });
                }
                self.credits.apply(credit);
                if let Source::Deposit { channel, deposited } = credit.source
                    && let Some((hub, it)) = self.channel(channel)
                    && it.deposited <= deposited
                {
                    self.uncredited.remove(&(hub, channel));
                }
                if credit.units > 0 {
                    let fact = Fact::Credited {
                        rail: self.rail,
                        shard: self.shard(credit.shard)?,
                        account: AccountId(credit.account),
                        asset: AssetId(credit.asset),
                        number: credit.number,
                        units: credit.units,
                    };
                    self.fact(fact);
                    let of = (credit.shard, credit.account, credit.number);
                    self.credit_facts.insert(of, self.facts);
                }
            }
            Entry::CreditDone {
                shard,
                account,
                number,
            } => {
                self.credits.done(*shard, *account, *number);
                let all = self
                    .credit_facts
                    .range((*shard, *account, 0)..=(*shard, *account, *number));
                for of in all.map(|(of, _)| *of).collect::<Vec<_>>() {
                    self.credit_facts.remove(&of);
                }
            }
            Entry::Asked { request } => {
                self.controls.count(
                    request.id,
                    request.account,
                    request.asset,
                    request.amount,
                    request.at,
                );
                self.withdrawals.ask(request.clone())?;
            }
            Entry::Stepped { id, to, known } => self.stepped(*id, to, *known)?,
            Entry::Arrived {
                shard,
                account,
                number,
                withdrawal,
                ..
            } => {
                let from = self.shard(*shard)?;
                self.withdrawals.arrive(*shard, *account, *number);
                if let Some(id) = withdrawal {
                    let debit = match self.withdrawals.get(*id).map(|it| &it.progress) {
                        Some(Progress::Debiting(debit)) => *debit,
                        _ => return Err(Misstep::Unknown(*id).into()),
                    };
                    let name = WithdrawalId {
                        from,
                        account: AccountId(*account),
                        number: *number,
                    };
                    self.debited(*id, debit, name)?;
                }
            }
            Entry::Cut {
                epoch,
                time_ns,
                pins,
            } => {
                self.protocol.apply(&Step::Cut { epoch: *epoch })?;
                self.cut_ns = *time_ns;
                let pins = pins.iter().zip(&self.tokens).filter_map(|(pin, tokens)| {
                    let (_, place) = tokens.values().min_by_key(|(_, place)| *place)?;
                    Some(Pin {
                        place: *place,
                        branch: pin.as_ref()?.hash,
                    })
                });
                let fact = Fact::Cut {
                    epoch: Epoch(*epoch),
                    time_ns: *time_ns,
                    pins: pins.collect(),
                    renew: false,
                };
                self.fact(fact);
            }
            Entry::GivenUp { epoch } => self.protocol.apply(&Step::GivenUp { epoch: *epoch })?,
            Entry::Recorded {
                epoch,
                previous,
                root,
                audit_heads,
                states,
                covers,
            } => {
                self.recorded(*epoch, *previous, *root, states, covers)?;
                self.audit_heads.clone_from(audit_heads);
                if let Some(record) = &mut self.record {
                    record.audit_heads.clone_from(audit_heads);
                }
            }
            Entry::Signed {
                epoch,
                signature,
                known,
            } => {
                self.protocol.apply(&Step::Signed { epoch: *epoch })?;
                self.known = Some(*known);
                if let Some(record) = &mut self.record {
                    record.signature = Some(*signature);
                }
            }
            Entry::SignerRestored { floor } => {
                let is_unsigned = self
                    .record
                    .as_ref()
                    .is_some_and(|it| it.signature.is_none());
                self.protocol.apply(&Step::Raised { floor: *floor })?;
                self.known = None;
                // The next batch stands on the last one that is signed.
                if is_unsigned && let Some(record) = self.record.take() {
                    self.previous = record.previous;
                }
            }
            Entry::CoSigned { epoch, parts } => {
                for (account, _) in parts {
                    self.cosigned(*epoch, *account)?;
                }
            }
            Entry::Closed { epoch } => self.protocol.apply(&Step::Closed { epoch: *epoch })?,
            Entry::Halted { asset, why } => self.controls.halt(*asset, why.clone()),
            Entry::Cleared { asset, .. } => self.controls.clear(*asset),
            Entry::Switched { stopped, reason } => {
                self.controls.switch(stopped.then(|| reason.clone()));
            }
            Entry::Moved { moved } => drop(self.moves.insert(moved.id, (*moved, None))),
            Entry::MoveSigned { id, operator } => {
                if let Some((_, signature)) = self.moves.get_mut(id) {
                    *signature = Some(*operator);
                }
            }
        }
        Ok(())
    }

    fn advanced(&mut self, hub: u32, look: &Look, told: &[Told]) -> Result<(), Contradiction> {
        let book = self.hub_mut(hub)?;
        let opened: Vec<Terms> = told
            .iter()
            .filter_map(|it| match it.event {
                HubEvent::Opened { terms, .. } => Some(terms),
                _ => None,
            })
            .collect();
        book.lives.look(look, &opened);
        for it in told {
            match it.event {
                // They are of use at once: a root that is in a block is not posted again, and a pin is of a block that is confirmed itself.
                HubEvent::Posted { token, epoch } => {
                    let posted = book.posted.entry(token).or_default();
                    *posted = epoch.max(*posted);
                }
                HubEvent::Pinned { branch, number } => {
                    let newer = book.lives.pin().is_none_or(|pin| pin.height < number);
                    if newer {
                        book.lives.pinned(Block {
                            height: number,
                            hash: branch,
                            time: 0,
                        });
                    }
                }
                _ => {
                    let at = book.waiting.entry(it.height).or_default();
                    at.push(it.event.clone());
                }
            }
        }
        let Some(tip) = book.lives.blocks().tip() else {
            return Ok(());
        };
        let confirmations = book.lives.rules().confirmations;
        let Some(end) = (tip.height + 1).checked_sub(confirmations) else {
            return Ok(());
        };
        let waiting = book.waiting.split_off(&end);
        let counts = std::mem::replace(&mut book.waiting, waiting);
        book.counted = book.counted.max(end);
        for event in counts.into_values().flatten() {
            self.counts(hub, &event)?;
        }
        self.lapse(hub)
    }

    /// Something that a hub told counts.
    fn counts(&mut self, hub: u32, event: &HubEvent) -> Result<(), Contradiction> {
        let book = &mut self.hubs[hub as usize];
        match *event {
            HubEvent::Opened { terms, deposited } => {
                let channel = book.lives.hub().channel(&terms);
                let confirmed = Confirmed {
                    terms,
                    deposited,
                    withdrawn: 0,
                    moved: 0,
                    moves: 0,
                    disputed: false,
                    ended: false,
                    account: None,
                };
                book.channels.insert(channel, confirmed);
                let own = self.of_owner.entry(terms.owner).or_default();
                own.push((hub, channel));
                self.attach(hub, channel);
            }
            HubEvent::Deposited { channel, deposited } => {
                let Some(it) = book.channels.get_mut(&channel) else {
                    return Ok(());
                };
                it.deposited = deposited;
                if it.account.is_some() {
                    self.uncredited.insert((hub, channel));
                    self.fact(Fact::Deposited { channel, deposited });
                }
            }
            HubEvent::Withdrawn { channel, withdrawn } => {
                return self.withdrawn(hub, channel, withdrawn);
            }
            HubEvent::Rebalanced {
                channel,
                number,
                moved,
            } => {
                let Some(it) = book.channels.get_mut(&channel) else {
                    return Ok(());
                };
                it.moved += moved;
                it.moves = number;
                let (moved, known) = (it.moved, it.account.is_some());
                self.moves
                    .retain(|_, (one, _)| one.channel != channel || one.number > number);
                if known {
                    self.fact(Fact::Rebalanced { channel, moved });
                }
            }
            HubEvent::Disputed { channel } => {
                let Some(it) = book.channels.get_mut(&channel) else {
                    return Ok(());
                };
                let first = !std::mem::replace(&mut it.disputed, true);
                if let Some((account, _)) = it.account.filter(|_| first) {
                    self.left.insert(account);
                    self.fact(Fact::Disputed { channel });
                }
            }
            HubEvent::Ended {
                channel,
                paid,
                claim,
            } => {
                let Some(it) = book.channels.get_mut(&channel) else {
                    return Ok(());
                };
                it.ended = true;
                if let Some((account, _)) = it.account {
                    self.left.insert(account);
                    let debited = self.debited_of(channel);
                    let withdrawals = debited.iter().map(|(_, name)| *name).collect();
                    if let Some((id, _)) = debited {
                        self.finish(id, Progress::Paid)?;
                    }
                    self.fact(Fact::Closed {
                        channel,
                        paid,
                        claim,
                        withdrawals,
                    });
                }
            }
            HubEvent::ClaimPaid { channel, amount } => {
                let place = book.channels.get(&channel).and_then(|it| it.account);
                if let Some((_, place)) = place {
                    // When inflow was set aside the hub does not tell; at the latest it was just before.
                    self.fact(Fact::Reserved { place, amount });
                    self.fact(Fact::Claimed { place, amount });
                }
            }
            HubEvent::Funded { token, amount } => {
                if let Some((asset, place)) = self.token(hub, token) {
                    self.fact(Fact::Funded {
                        purse: Purse::Vault(place),
                        own: Own::Equity,
                        asset: AssetId(asset),
                        amount,
                    });
                }
            }
            HubEvent::Posted { .. } | HubEvent::Pinned { .. } => {}
        }
        Ok(())
    }

    /// A withdrawal was paid: the one that is signed for it.
    fn withdrawn(&mut self, hub: u32, channel: B256, withdrawn: u128) -> Result<(), Contradiction> {
        let book = &mut self.hubs[hub as usize];
        let Some(it) = book.channels.get_mut(&channel) else {
            return Ok(());
        };
        let (amount, escrow) = (withdrawn.saturating_sub(it.withdrawn), it.escrow());
        // Winnings: the hub moved the vault's money into the escrow first.
        let more = amount.saturating_sub(escrow).cast_signed();
        it.moved += more;
        it.withdrawn = withdrawn;
        let (moved, known) = (it.moved, it.account.is_some());
        if !known {
            return Ok(());
        }
        if more > 0 {
            self.fact(Fact::Rebalanced { channel, moved });
        }
        let paid = self.debited_of(channel);
        let withdrawals = paid.iter().map(|(_, name)| *name).collect();
        if let Some((id, _)) = paid {
            self.finish(id, Progress::Paid)?;
        }
        self.fact(Fact::Withdrawn {
            channel,
            withdrawn,
            withdrawals,
        });
        Ok(())
    }

    /// The withdrawal of a channel that a shard has debited, with its name in the ledger.
    fn debited_of(&self, channel: B256) -> Option<(B256, WithdrawalId)> {
        let one = self.withdrawals.of_channel(channel)?;
        let name = self.ledger_names.get(&one.request.id)?;
        let leaves = matches!(one.progress, Progress::Leaving(_) | Progress::Signed(..));
        leaves.then_some((one.request.id, *name))
    }

    /// What was signed, not used, and cannot be used any more is over. What goes back is credited by an entry of its own.
    fn lapse(&mut self, hub: u32) -> Result<(), Contradiction> {
        let counted_s = self.hubs[hub as usize].lives.counted_s();
        let late = self.withdrawals.open().filter(|it| {
            it.request.hub == hub
                && it.request.deadline < counted_s
                && matches!(it.progress, Progress::Leaving(_) | Progress::Signed(..))
        });
        let late: Vec<B256> = late.map(|it| it.request.id).collect();
        for id in late {
            self.finish(id, Progress::Lapsed)?;
            if let Some(name) = self.ledger_names.get(&id).copied() {
                self.fact(Fact::Lapsed { withdrawal: name });
            }
        }
        self.moves
            .retain(|_, (one, _)| one.hub != hub || one.deadline >= counted_s);
        Ok(())
    }

    fn finish(&mut self, id: B256, to: Progress) -> Result<(), Contradiction> {
        if to != Progress::Paid
            && let Some(one) = self.withdrawals.get(id)
        {
            self.controls.uncount(id, one.request.asset);
        }
        Ok(self.withdrawals.step(id, to)?)
    }

    fn stepped(
        &mut self,
        id: B256,
        to: &Progress,
        known: Option<Known>,
    ) -> Result<(), Contradiction> {
        if let Some(known) = known {
            self.known = Some(known);
        }
        self.withdrawals.check(id, to)?;
        let one = self.withdrawals.get(id).ok_or(Misstep::Unknown(id))?;
        let Withdrawal { request, .. } = one.clone();
        match to {
            // The dust alone is enough: no shard is asked.
            Progress::Debited(debit) if debit.units == 0 => {
                let number = self.dust_numbers.entry(request.account).or_default();
                *number += 1;
                let name = WithdrawalId {
                    from: self.rail,
                    account: AccountId(request.account),
                    number: *number,
                };
                self.debited(id, *debit, name)
            }
            Progress::Leaving(_) => {
                let book = self.hub_mut(request.hub)?;
                let leaving = |life: &mut ring0_channels::life::Life| {
                    life.withdraw(request.withdrawn, request.deadline)
                };
                let why = |why| Contradiction::Channel {
                    channel: request.channel,
                    why,
                };
                book.lives.step(request.channel, leaving).map_err(why)?;
                Ok(self.withdrawals.step(id, to.clone())?)
            }
            Progress::Lapsed => {
                self.finish(id, Progress::Lapsed)?;
                if let Some(name) = self.ledger_names.get(&id).copied() {
                    self.fact(Fact::Lapsed { withdrawal: name });
                }
                Ok(())
            }
            _ => self.finish_or_step(id, to),
        }
    }

    fn finish_or_step(&mut self, id: B256, to: &Progress) -> Result<(), Contradiction> {
        match to {
            Progress::Refused(_) => self.finish(id, to.clone()),
            _ => Ok(self.withdrawals.step(id, to.clone())?),
        }
    }

    /// What a withdrawal takes is with the rail.
    fn debited(&mut self, id: B256, debit: Debit, name: WithdrawalId) -> Result<(), Contradiction> {
        let one = self.withdrawals.get(id).ok_or(Misstep::Unknown(id))?;
        let (account, asset) = (one.request.account, one.request.asset);
        let dust = one.request.amount % self.unit(asset)?;
        self.withdrawals.step(id, Progress::Debited(debit))?;
        self.ledger_names.insert(id, name);
        if dust > 0 {
            let left = self.credits.dust(account, asset).saturating_sub(dust);
            self.credits.set_dust(account, asset, left);
            self.fact(Fact::DustTaken {
                withdrawal: name,
                rail: self.rail,
                asset: AssetId(asset),
                amount: dust,
            });
        }
        Ok(())
    }

    /// Gives a channel to its owner's account, where there is one.
    fn attach(&mut self, hub: u32, channel: B256) {
        let book = &self.hubs[hub as usize];
        let Some(it) = book.channels.get(&channel) else {
            return;
        };
        if it.account.is_some() || it.ended || self.why_waiting(hub, channel).is_some() {
            return;
        }
        let Some(account) = self.account_of(it.terms.owner) else {
            return;
        };
        let Some((_, place)) = self.token(hub, it.terms.token) else {
            return;
        };
        let (deposited, moved, disputed) = (it.deposited, it.moved, it.disputed);
        if let Some(it) = self.hubs[hub as usize].channels.get_mut(&channel) {
            it.account = Some((account, place));
        }
        let of = (hub, channel);
        self.of_account.entry(account).or_default().insert(of);
        self.uncredited.insert(of);
        self.fact(Fact::Opened {
            channel,
            account: AccountId(account),
            place,
        });
        if deposited > 0 {
            self.fact(Fact::Deposited { channel, deposited });
        }
        if moved != 0 {
            self.fact(Fact::Rebalanced { channel, moved });
        }
        if disputed {
            self.fact(Fact::Disputed { channel });
        }
    }

    /// Why what was paid into a channel is nobody's here; `None`: it is somebody's.
    #[must_use]
    pub fn why_waiting(&self, hub: u32, channel: B256) -> Option<String> {
        let it = self.hubs.get(hub as usize)?.channels.get(&channel)?;
        if it.account.is_some() {
            return None;
        }
        let Terms {
            owner,
            cosigner,
            token,
            ..
        } = it.terms;
        let Some(account) = self.account_of(owner) else {
            return Some(format!("owner {owner} is not registered"));
        };
        let Some((_, place)) = self.token(hub, token) else {
            return Some(format!("token {token} is not admitted"));
        };
        let registered = &self.registered[&account];
        if registered.cosigner != cosigner {
            return Some(format!(
                "its co-signer is {cosigner}, and account {account} registered {}",
                registered.cosigner
            ));
        }
        let other = self.channels_of(account).find(|(_, id, other)| {
            *id != channel && !other.ended && other.account == Some((account, place))
        });
        other.map(|(_, id, _)| format!("account {account} has channel {id} for this token"))
    }

    fn recorded(
        &mut self,
        epoch: u64,
        previous: B256,
        root: B256,
        states: &[State],
        covers: &[Cover],
    ) -> Result<(), Contradiction> {
        let new = states.iter().filter(|it| it.epoch == epoch);
        let accounts: BTreeSet<u32> = new.clone().map(|it| it.account).collect();
        let accounts: Vec<u32> = accounts.into_iter().collect();
        self.protocol.apply(&Step::Recorded {
            epoch,
            root,
            accounts: &accounts,
        })?;
        for state in new {
            let channel = state.channel;
            let signed = signed(state);
            let hub = self.hub_mut(state.hub)?;
            let offered = hub.lives.step(channel, |life| life.offer(signed));
            offered.map_err(|why| Contradiction::Channel { channel, why })?;
            self.offered.insert(channel, *state);
        }
        for account in &accounts {
            self.covers.remove(account);
        }
        for cover in covers {
            self.covers.entry(cover.account.0).or_default().push(*cover);
        }
        self.previous = root;
        self.record = Some(Record {
            epoch,
            previous,
            root,
            audit_heads: Heads::default(),
            states: states.to_vec(),
            signature: None,
        });
        Ok(())
    }

    fn cosigned(&mut self, epoch: u64, account: u32) -> Result<(), Contradiction> {
        self.protocol.apply(&Step::CoSigned { epoch, account })?;
        let own: Vec<State> = self
            .channels_of(account)
            .filter_map(|(_, id, _)| self.offered.get(&id))
            .filter(|state| state.epoch == epoch)
            .copied()
            .collect();
        for state in own {
            let channel = state.channel;
            let hub = self.hub_mut(state.hub)?;
            let completed = hub.lives.step(channel, |life| life.complete(state.version));
            completed.map_err(|why| Contradiction::Channel { channel, why })?;
        }
        let covers = self.covers.get(&account).cloned().unwrap_or_default();
        self.marks.insert(account, (epoch, covers));
        Ok(())
    }

    /// What is worth crediting now and has no entry yet.
    pub fn creditable(&self) -> impl Iterator<Item = (Source, u32, u32, u128)> {
        let deposits = self.uncredited.iter().filter_map(move |(hub, id)| {
            let it = self.hubs[*hub as usize].channels.get(id)?;
            let (account, _) = it.account?;
            let (asset, _) = self.token(*hub, it.terms.token)?;
            let more = it.deposited.checked_sub(self.credits.deposited(*id))?;
            let source = Source::Deposit {
                channel: *id,
                deposited: it.deposited,
            };
            let goes = more > 0 && self.controls.halted(asset).is_none();
            goes.then_some((source, account, asset, more))
        });
        let lapsed = self.withdrawals.iter().filter_map(move |it| {
            let id = it.request.id;
            let source = Source::Lapsed { withdrawal: id };
            let is_due = it.progress == Progress::Lapsed && !self.credits.has_lapsed(id);
            let request = &it.request;
            is_due.then_some((source, request.account, request.asset, request.amount))
        });
        deposits.chain(lapsed)
    }

    /// The hubs' confirmed deposits that are nobody's here, by hub and token.
    #[must_use]
    pub fn nobodys(&self, hub: u32, token: Address) -> u128 {
        let Some(book) = self.hubs.get(hub as usize) else {
            return 0;
        };
        let own = book.channels.values();
        own.filter(|it| it.terms.token == token && it.account.is_none() && !it.ended)
            .map(Confirmed::escrow)
            .sum()
    }
}

/// A state as a channel's life takes it.
#[must_use]
pub fn signed(state: &State) -> Signed {
    Signed {
        version: state.version,
        balance: state.balance,
        deposited_seen: state.deposited_seen,
        withdrawn_seen: state.withdrawn_seen,
        epoch: state.epoch,
        pin: state.pin.height,
    }
}
