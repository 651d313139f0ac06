//! What the signer has to remember: nothing but a fold over its history, so that what is on the disk and what is decided by cannot differ.
//!
//! Always true: of a strict subject (a venue's batches, a channel's states, an account's statements of an epoch) one number was signed once, and numbers rise. An agreement
//! with a deadline (a withdrawal, a close, a rebalance) is followed by another of its number only after the deadline. A transaction's number has one effect.

use crate::history::{Entry, Event};
use crate::message::Message;
use crate::protocol::{Name, Refusal};
use alloy_primitives::keccak256;
use alloy_sol_types::SolValue;
use ring0_channels::{Address, B256};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// Milliseconds in a minute: limits count in minutes.
pub(crate) const MINUTE_MS: u64 = 60_000;
/// Minutes in a day.
const DAY: u64 = 1440;
/// Numbers above what time allows that are let through all the same: a batch that waited, two clocks.
pub(crate) const SLACK: u64 = 1000;
/// Effects of a key's so many newest transactions are remembered.
const NONCES: usize = 1024;

/// See the module.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Memory {
    /// When the first entry was made, milliseconds of Unix time.
    pub(crate) born_ms: u64,
    /// The highest number that existed when it was born.
    pub(crate) first_number: u64,
    /// How fast numbers may rise.
    pub(crate) per_second: u64,
    /// When the newest entry was made.
    pub(crate) last_ms: u64,
    /// Somebody said stop.
    pub(crate) stopped: bool,
    /// Strict numbers up to here are refused: a lost store may have signed them.
    pub(crate) floor: u64,
    /// When the store was last restored.
    pub(crate) restored_ms: Option<u64>,
    numbers: BTreeMap<B256, Last>,
    nonces: BTreeMap<B256, Nonces>,
    /// Digests (of moves: transactions) that count already, with when.
    counted: BTreeMap<B256, u64>,
    spent: BTreeMap<String, VecDeque<(u64, Amount)>>,
    /// By request: who approved, until when (seconds).
    approvals: BTreeMap<B256, BTreeMap<Address, u64>>,
}

/// Effects of a key's newest transactions on a chain, by their numbers.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
struct Nonces(#[serde(with = "crate::pairs")] BTreeMap<u64, B256>);

/// An amount, text in JSON.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Amount(#[serde(with = "crate::decimal")] pub u128);

/// What was last signed of a subject.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Last {
    number: Amount,
    digest: B256,
    /// Of agreements.
    deadline: Option<u64>,
}

/// What a message is one of, and its number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Subject {
    pub(crate) id: B256,
    pub(crate) number: u128,
    /// `None`: strict.
    pub(crate) deadline: Option<u64>,
    pub(crate) what: &'static str,
}

/// How a message stands to what was signed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Standing {
    /// Nothing of it yet.
    New,
    /// The very same was signed.
    Again,
}

/// The subject of a message that has numbers.
pub(crate) fn subject(message: &Message) -> Option<Subject> {
    let id = |kind: &str, of: B256| keccak256([kind.as_bytes(), of.as_slice()].concat());
    let subject = match message {
        Message::Batch(it) => Subject {
            id: id("batch", it.venue),
            number: it.epoch.into(),
            deadline: None,
            what: "batches of the venue",
        },
        Message::State(it) => Subject {
            id: id(
                "state",
                keccak256((it.hub.lineage, it.hub.address, it.channel).abi_encode()),
            ),
            number: it.version.into(),
            deadline: None,
            what: "states of the channel",
        },
        Message::Statement {
            venue,
            account,
            epoch,
            ..
        } => Subject {
            id: id("statement", keccak256((*venue, *account).abi_encode())),
            number: (*epoch).into(),
            deadline: None,
            what: "statements of the account",
        },
        Message::Withdrawal(it) => Subject {
            id: id("withdrawal", it.hub.channel(&it.terms)),
            number: it.withdrawn,
            deadline: Some(it.deadline),
            what: "withdrawals of the channel",
        },
        Message::Close(it) => Subject {
            id: id("close", it.hub.channel(&it.terms)),
            number: 0,
            deadline: Some(it.deadline),
            what: "closes of the channel",
        },
        Message::Rebalance(it) => Subject {
            id: id("rebalance", it.hub.channel(&it.terms)),
            number: it.number.into(),
            deadline: Some(it.deadline),
            what: "rebalances of the channel",
        },
        Message::Revocation { .. } | Message::Transaction(_) | Message::VaultMove(_) => {
            return None;
        }
    };
    Some(subject)
}

fn account(chain_id: u64, key: Address) -> B256 {
    keccak256((chain_id, key).abi_encode())
}

impl Memory {
    /// The highest strict number that time allows.
    pub(crate) fn line(&self, now_ms: u64) -> u64 {
        let age = now_ms.saturating_sub(self.born_ms);
        let risen = (u128::from(age) * u128::from(self.per_second)).div_ceil(1000);
        let risen = u64::try_from(risen).unwrap_or(u64::MAX);
        self.first_number
            .saturating_add(SLACK)
            .saturating_add(risen)
    }

    /// How a message stands to what was signed.
    pub(crate) fn standing(
        &self,
        message: &Message,
        digest: B256,
        key: Address,
        now_ms: u64,
    ) -> Result<Standing, Refusal> {
        if let Message::Transaction(it) = message {
            return self.standing_of_nonce(it, key);
        }
        if let Message::VaultMove(it) = message {
            let txid = it.txid();
            let known = txid.is_ok_and(|txid| self.counted.contains_key(&txid));
            return Ok(if known {
                Standing::Again
            } else {
                Standing::New
            });
        }
        if let Message::Revocation {
            venue, from_epoch, ..
        } = message
        {
            let batches = keccak256([b"batch".as_slice(), venue.as_slice()].concat());
            let last = self.numbers.get(&batches).map_or(0, |it| it.number.0);
            // A lost store may have signed batches up to the floor.
            let last = last.max(self.floor.into());
            if u128::from(*from_epoch) <= last {
                let text = format!(
                    "batches up to {last} may be signed, and a revocation unmakes no earlier state: revoke from {} on",
                    last + 1
                );
                return Err(Refusal::new(Name::Revocation, text));
            }
            return Ok(Standing::New);
        }
        let Some(it) = subject(message) else {
            return Ok(Standing::New);
        };
        let last = self.numbers.get(&it.id);
        if last.is_some_and(|last| last.digest == digest) {
            return Ok(Standing::Again);
        }
        let signed = |last: u128, cure: &str| {
            let Subject { what, number, .. } = it;
            Refusal::new(
                Name::Signed,
                format!(
                    "{what}: number {last} was signed, and {number} is not the same and not above; {cure}"
                ),
            )
        };
        match (it.deadline, last) {
            (None, last) => {
                if let Some(last) = last.filter(|last| it.number <= last.number.0) {
                    let cure = "whoever asks has lost what it knew: restore it, and go on above";
                    return Err(signed(last.number.0, cure));
                }
                if it.number <= self.floor.into() {
                    let text = format!(
                        "{}: number {} may have been signed before this store was restored; go on above {}",
                        it.what, it.number, self.floor
                    );
                    return Err(Refusal::new(Name::Floor, text));
                }
                let line = self.line(now_ms);
                if it.number > line.into() {
                    let text = format!(
                        "{}: number {} is above {line}, which {} a second since the start allow; check the asker's numbers and this machine's clock",
                        it.what, it.number, self.per_second
                    );
                    return Err(Refusal::new(Name::Ahead, text));
                }
            }
            // The chain takes one of two, and which is the asker's business once the first one is over.
            (Some(_), Some(last)) if it.number <= last.number.0 => {
                let until = last.deadline.unwrap_or(0);
                if now_ms / 1000 <= until {
                    let cure =
                        format!("wait until the deadline of the signed one is over ({until})");
                    return Err(signed(last.number.0, &cure));
                }
            }
            (Some(_), _) => {}
        }
        Ok(Standing::New)
    }

    fn standing_of_nonce(
        &self,
        it: &crate::transaction::Transaction,
        key: Address,
    ) -> Result<Standing, Refusal> {
        let Some(Nonces(known)) = self.nonces.get(&account(it.chain_id, key)) else {
            return Ok(Standing::New);
        };
        match known.get(&it.nonce) {
            Some(effect) if *effect == it.effect() => Ok(Standing::Again),
            // A transaction that does nothing may take another's place: that is how one is called back.
            Some(_) if it.to == key && it.value == 0 && it.data.is_empty() => Ok(Standing::New),
            Some(_) => Err(Refusal::new(
                Name::Signed,
                format!(
                    "transaction {} was signed with another effect; a higher fee for the same is signed, or one that does nothing (no value, no data, to {key})",
                    it.nonce
                ),
            )),
            None => match known.first_key_value() {
                Some((oldest, _)) if known.len() >= NONCES && it.nonce < *oldest => {
                    Err(Refusal::new(
                        Name::Signed,
                        format!(
                            "transaction {} is older than all that are remembered ({oldest} on)",
                            it.nonce
                        ),
                    ))
                }
                _ => Ok(Standing::New),
            },
        }
    }

    /// The largest cumulative withdrawal signed of a channel.
    pub(crate) fn withdrawn(&self, message: &Message) -> u128 {
        let last = subject(message).and_then(|it| self.numbers.get(&it.id));
        last.map_or(0, |it| it.number.0)
    }

    /// What an asset's messages moved in the newest minutes, this one included.
    pub(crate) fn spent(&self, asset: &str, minutes: u64, now_ms: u64) -> u128 {
        let from = (now_ms / MINUTE_MS).saturating_sub(minutes - 1);
        let of = self.spent.get(asset).into_iter().flatten();
        of.filter(|(minute, _)| *minute >= from)
            .fold(0, |sum, (_, amount)| sum.saturating_add(amount.0))
    }

    /// Whether one of these approved a request that is still in time.
    pub(crate) fn approved(&self, request: B256, approvers: &[Address], now_ms: u64) -> bool {
        self.approvals.get(&request).is_some_and(|by| {
            by.iter()
                .any(|(who, until)| approvers.contains(who) && now_ms / 1000 <= *until)
        })
    }

    /// Takes in an entry that is on the disk, or about to be.
    pub(crate) fn apply(&mut self, entry: &Entry) {
        match &entry.event {
            Event::Born {
                first_number,
                per_second,
            } => {
                self.born_ms = entry.at_ms;
                self.first_number = *first_number;
                self.per_second = *per_second;
            }
            Event::Carried { memory, .. } => *self = (**memory).clone(),
            Event::Signed {
                address,
                digest,
                message,
                counts,
                ..
            } => {
                self.signed(message, *digest, *address, entry.at_ms);
                for count in counts {
                    self.count(&count.asset, count.amount, entry.at_ms);
                }
            }
            Event::Stopped => self.stopped = true,
            Event::Resumed => self.stopped = false,
            Event::Approved { approval, approver } => {
                let now = entry.at_ms / 1000;
                self.approvals
                    .retain(|_, by| by.values().any(|until| now <= *until));
                let by = self.approvals.entry(approval.request).or_default();
                by.insert(*approver, approval.until);
            }
            Event::Restored { floor, .. } => {
                self.floor = self.floor.max(*floor);
                self.restored_ms = Some(entry.at_ms);
            }
            Event::Refused { .. }
            | Event::Failed { .. }
            | Event::Started { .. }
            | Event::Key { .. } => {}
        }
        self.last_ms = self.last_ms.max(entry.at_ms);
    }

    fn signed(&mut self, message: &Message, digest: B256, key: Address, at_ms: u64) {
        if let Some(it) = subject(message) {
            let last = Last {
                number: Amount(it.number),
                digest,
                deadline: it.deadline,
            };
            let kept = self.numbers.entry(it.id).or_insert(last);
            // A repeat of an older agreement, or a lower one after a deadline, takes back nothing.
            let higher = kept.number.0.max(it.number);
            let later = kept.deadline.max(it.deadline);
            *kept = Last {
                number: Amount(higher),
                deadline: later,
                ..last
            };
        }
        match message {
            Message::Transaction(it) => {
                let Nonces(of) = self.nonces.entry(account(it.chain_id, key)).or_default();
                of.insert(it.nonce, it.effect());
                while of.len() > NONCES {
                    of.pop_first();
                }
            }
            Message::VaultMove(it) => {
                self.counted.retain(|_, at| *at + DAY * MINUTE_MS > at_ms);
                if let Ok(txid) = it.txid() {
                    self.counted.insert(txid, at_ms);
                }
            }
            _ => {}
        }
    }

    fn count(&mut self, asset: &str, amount: Amount, at_ms: u64) {
        let minute = at_ms / MINUTE_MS;
        if !self.spent.contains_key(asset) {
            self.spent.insert(asset.to_owned(), VecDeque::new());
        }
        let of = self.spent.get_mut(asset).expect("it was just made");
        while of.front().is_some_and(|(at, _)| at + DAY <= minute) {
            of.pop_front();
        }
        match of.back_mut() {
            Some((at, sum)) if *at == minute => sum.0 = sum.0.saturating_add(amount.0),
            _ => of.push_back((minute, amount)),
        }
    }
}
