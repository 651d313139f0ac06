//! Amounts on their way to another shard of the venue: what this shard has debited is credited by the other one's daemon, then done here.
//! Rule: `docs/matching.md#several-shards`; why so: `docs/decisions/0053-allotments.md`.
//!
//! Always true: what is in flight is state of this shard, so a daemon that dies at any point leaves it to the next one; the other shard takes
//! each number once, so saying it again does no harm. The other daemon is asked in a thread of its own, because two that ask each other would both wait.

use crate::daemon::{Daemon, index};
use crate::{Client, Verb, amount};
use ring0_engine::Reason;
use ring0_engine::control::{Control, ControlKind, TransferDone, TransferIn, TransferOut};
use ring0_engine::record::Outcome;
use ring0_rings::Acks;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long after it did not work a credit is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// What is in flight, and what the other daemons have said.
pub(crate) struct Transfers {
    /// Folder of the sockets of the venue's daemons.
    sockets: PathBuf,
    said: Sender<Said>,
    answers: Receiver<Said>,
    /// By account: those that are being said, or when they may be said again.
    tried: BTreeMap<u32, Tried>,
    /// Accounts that have one in flight: every one of them has begun here, or was there at the start.
    flying: BTreeSet<u32>,
    /// By account and rail: the number that came in last in this daemon's time, and the last record then.
    credited: BTreeMap<(u32, u32), (u64, u64)>,
}

enum Tried {
    /// The debit stands in a record up to this one, which must be on the disk of a shard whose acks are durable.
    Recorded(u64),
    /// A thread waits for the answer.
    Asking,
    /// It did not work; what was told of it.
    Failed { at: Instant, why: String },
}

/// What came of saying a credit.
struct Said {
    account: u32,
    number: u64,
    result: Result<(), String>,
}

impl Transfers {
    /// `sockets` is the folder where the venue's daemons listen, each as `SHARD.sock`.
    pub(crate) fn new(sockets: PathBuf) -> Transfers {
        let (said, answers) = channel();
        Transfers {
            sockets,
            said,
            answers,
            tried: BTreeMap::new(),
            flying: BTreeSet::new(),
            credited: BTreeMap::new(),
        }
    }

    /// What is in flight at the start.
    pub(crate) fn begin(&mut self, accounts: impl Iterator<Item = u32>) {
        self.flying = accounts.collect();
    }
}

impl Daemon {
    /// Debits an account's allotment here; the credit follows by itself.
    pub(crate) fn transfer(
        &mut self,
        account: &str,
        asset: &str,
        text: &str,
        to: &str,
        number: Option<u64>,
    ) -> Result<Value, String> {
        let (name, account) = (account, self.account(account)?);
        let (asset, places) = self.asset(asset)?;
        let amount = amount::units(text, places)?;
        let to = self.party(to)?;
        if to == self.market.plan.number {
            return Err("that is this shard; name the one that the amount goes to".to_owned());
        }
        let last = self.shard.transfers(account).ok_or("it is not open")?;
        if let Some(number) = number.filter(|number| *number <= last.number.get()) {
            return Ok(json!({ "ok": true, "outcome": "known", "number": number }));
        }
        if last.amount.get() != 0 {
            return Err(format!(
                "transfer {} of {name} to {} is in flight and finished first; {}",
                last.number.get(),
                self.party_name(last.to.get()),
                self.cure(account)
            ));
        }
        let next = last.number.get() + 1;
        let number = number.unwrap_or(next);
        let body = TransferOut {
            account,
            asset,
            amount,
            number,
            to,
            reserved: 0,
        };
        let mut answer = self.control(ControlKind::TransferOut, &body)?;
        answer["number"] = number.into();
        self.transfers.flying.insert(account);
        self.carry_transfers();
        Ok(answer)
    }

    /// Takes in what another shard has debited, or what a rail brings; what came in already is no error.
    pub(crate) fn credit(
        &mut self,
        account: &str,
        asset: &str,
        units: u64,
        number: u64,
        from: &str,
    ) -> Result<Value, String> {
        let from = self.party(from)?;
        if from == self.market.plan.number {
            return Err("it comes from this shard itself".to_owned());
        }
        let body = TransferIn {
            account: self.account(account)?,
            asset: self.asset(asset)?.0,
            amount: units,
            number,
            from,
            reserved: 0,
        };
        let known = self
            .shard
            .transfers(body.account)
            .and_then(|one| one.credited.get(from as usize))
            .is_some_and(|last| number <= last.get());
        let mut answer = match known {
            true => json!({ "ok": true, "outcome": "known" }),
            false => self.control(ControlKind::TransferIn, &body)?,
        };
        if !self.market.plan.is_rail(from) {
            self.note_durable(&mut answer);
            return Ok(answer);
        }
        // A rail brings what is not in any shard, and must not forget it before it is on the disk here.
        let recorded = self.shard.shard().header().next_sequence.get() - 1;
        let last = self.transfers.credited.entry((body.account, from));
        let last = last.or_insert((number, recorded));
        if last.0 < number {
            *last = (number, recorded);
        }
        answer["durable"] = (self.shard.durable() >= last.1).into();
        Ok(answer)
    }

    /// Hears what the other daemons have said, and says what is in flight. To be called each time around.
    pub(crate) fn carry_transfers(&mut self) {
        while let Ok(said) = self.transfers.answers.try_recv() {
            self.said(said);
        }
        if self.transfers.flying.is_empty() || self.shard.shard().broken().is_some() {
            return;
        }
        for account in self.transfers.flying.clone() {
            let Some(one) = self.shard.transfers(account) else {
                continue;
            };
            let is_durable = self.market.plan.shard.acks == Acks::Durable;
            let may_be_said = match self.transfers.tried.get(&account) {
                // Off the venue goes only what is on the journal's disk, whatever the acks are.
                None => !is_durable && !self.market.plan.is_rail(one.to.get()),
                Some(Tried::Recorded(last)) => self.shard.durable() >= *last,
                Some(Tried::Asking) => false,
                Some(Tried::Failed { at, .. }) => at.elapsed() >= AGAIN,
            };
            if one.amount.get() == 0 {
                self.transfers.flying.remove(&account);
                continue;
            }
            if !may_be_said {
                let recorded = self.shard.shard().header().next_sequence.get() - 1;
                let debit = Tried::Recorded(recorded);
                self.transfers.tried.entry(account).or_insert(debit);
                continue;
            }
            let plan = &self.market.plan;
            let (Some(asset), Some(to)) = (
                plan.assets.get(one.asset.get() as usize),
                plan.parties().find(|(_, number)| *number == one.to.get()),
            ) else {
                continue; // another market's: told at the start
            };
            let verb = Verb::Credit {
                account: self.account_name(account),
                asset: asset.name.clone(),
                units: one.amount.get(),
                number: one.number.get(),
                from: plan.shard.name.clone(),
            };
            let socket = self.transfers.sockets.join(format!("{}.sock", to.0));
            let (number, said) = (one.number.get(), self.transfers.said.clone());
            thread::spawn(move || {
                let asked = Client::connect(&socket).and_then(|mut peer| peer.call(&verb));
                let result = match asked {
                    // On a shard whose acks are durable the credit is on its disk before it is done here.
                    Ok(answer) if answer["durable"] == false => {
                        Err("its journal has not written the credit yet".to_owned())
                    }
                    Ok(_) => Ok(()),
                    Err(error) => Err(error.to_string()),
                };
                let _ = said.send(Said {
                    account,
                    number,
                    result,
                }); // the daemon has ended
            });
            self.transfers.tried.insert(account, Tried::Asking);
        }
    }

    fn said(&mut self, said: Said) {
        let account = said.account;
        let why = match said.result {
            Ok(()) => {
                let body = TransferDone {
                    account,
                    reserved: 0,
                    number: said.number,
                };
                let done = Control::new(ControlKind::TransferDone, &body);
                match self.shard.command(&[done]).as_deref() {
                    // Rejected: it was done before this daemon.
                    Ok([(Outcome::Accepted, _)] | [(_, Reason::TransferNumber)]) => {
                        self.transfers.tried.remove(&account);
                        self.transfers.flying.remove(&account);
                        return;
                    }
                    Ok([(_, reason), ..]) => {
                        format!("the shard refused its end: {}", reason.name())
                    }
                    Ok([]) => "the record of its end was overrun".to_owned(),
                    Err(error) => format!("the shard did not take its end: {error}"),
                }
            }
            Err(why) => why,
        };
        let told = matches!(self.transfers.tried.get(&account), Some(Tried::Failed { why: before, .. }) if *before == why);
        if !told && let Some(to) = self.shard.transfers(account).map(|one| one.to.get()) {
            eprintln!(
                "ring0d: transfer {} of {} to {} waits: {why}",
                said.number,
                self.account_name(account),
                self.party_name(to)
            );
        }
        let at = Instant::now();
        let failed = Tried::Failed { at, why };
        self.transfers.tried.insert(account, failed);
    }

    /// For the accounts: what an account has in flight.
    pub(crate) fn in_flight(&self, account: u32) -> Option<Value> {
        let one = self.shard.transfers(account)?;
        let plan = &self.market.plan;
        let asset = plan.assets.get(one.asset.get() as usize)?;
        (one.amount.get() != 0).then(|| {
            json!({
                "number": one.number.get(),
                "asset": asset.name,
                "amount": amount::text(one.amount.get().into(), asset.places()),
                "to": self.party_name(one.to.get()),
                "waits_for": match self.transfers.tried.get(&account) {
                    Some(Tried::Failed { why, .. }) => Some(why.as_str()),
                    Some(Tried::Recorded(_)) => Some("the journal"),
                    _ => None,
                },
            })
        })
    }

    fn cure(&self, account: u32) -> String {
        match self.transfers.tried.get(&account) {
            Some(Tried::Failed { why, .. }) => format!("it waits: {why}"),
            _ => "try again in a second".to_owned(),
        }
    }

    /// The number of a shard or rail.
    fn party(&self, name: &str) -> Result<u32, String> {
        let parties = self.market.plan.parties();
        let at = index(parties.clone().map(|(name, _)| name), "shard or rail", name)?;
        Ok(parties
            .skip(at as usize)
            .map(|(_, number)| number)
            .next()
            .unwrap_or(u32::MAX))
    }

    fn party_name(&self, number: u32) -> String {
        let mut parties = self.market.plan.parties();
        let known = parties.find(|(_, other)| *other == number);
        known.map_or_else(
            || format!("party {number}, which the market file does not have"),
            |(name, _)| name.to_owned(),
        )
    }
}
