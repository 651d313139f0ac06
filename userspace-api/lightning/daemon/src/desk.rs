//! The rail's desk: accounts of the shard on one side, the rail's book on the other. Each amount is in one of them, or in the shard's record as on its way.
//!
//! ```text
//! deposit     claimed, in the book -> moved, durable -> the shard credits (again until its journal has it)
//! withdrawal  the shard debits, journaled -> told to us -> moved, durable -> held, durable -> paid -> what is left goes back as a deposit does
//! ```
//!
//! Whatever is free on the rail and fills a unit goes to the shard by itself, but for an account whose withdrawal is just being made. So a process that dies
//! anywhere in a withdrawal leaves either a hold, which ends as the payment does, or a free amount, which goes back to be traded.

use crate::config::{Config, msat, text};
use crate::protocol::Verb;
use bitcoin::hashes::sha256;
use ring0_lightning::amount::Msat;
use ring0_lightning::book::Progress;
use ring0_lightning::exchange::Exchange;
use ring0_lightning::journal::{Account, Direction, FileJournal};
use ring0_socket::{Client, ClientError, refusal};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::str::FromStr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long a withdrawal waits for its debit to come here: as long as a journal takes to write it.
const DEBIT_PATIENCE: Duration = Duration::from_secs(20);

/// How often what is free is looked at, and how long after a failure it is tried again.
const SWEEP: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

type Fail = Box<dyn Error + Send + Sync>;

/// What both ends share.
pub struct Desk {
    config: Config,
    exchange: Exchange<FileJournal>,
    /// Accounts whose withdrawal is being made: what comes in for them stays.
    paying: Mutex<BTreeSet<Account>>,
    /// Movements to the shard that its journal is not known to have: number and units by account.
    landing: Mutex<BTreeMap<Account, (u64, u64)>>,
}

/// Takes an account's withdrawal out of those that are being made.
struct Paying<'a>(&'a Desk, Account);

impl Drop for Paying<'_> {
    fn drop(&mut self) {
        self.0.paying.lock().expect(POISON).remove(&self.1);
    }
}

const POISON: &str = "nobody panics with it";

impl Desk {
    /// A desk over an open exchange. What moved to the shard last is said again: the shard knows whether it has it.
    #[must_use]
    pub fn new(config: Config, exchange: Exchange<FileJournal>) -> Desk {
        let last = |(account, funds): (Account, &ring0_lightning::book::Funds)| {
            let (number, amount) = funds.last_move(Direction::ToEngine)?;
            Some((account, (number, config.scale.split(amount).0)))
        };
        let landing = exchange.rail().book().accounts().filter_map(last).collect();
        Desk {
            exchange,
            paying: Mutex::default(),
            landing: Mutex::new(landing),
            config,
        }
    }

    /// The exchange.
    #[must_use]
    pub fn exchange(&self) -> &Exchange<FileJournal> {
        &self.exchange
    }

    /// Movements to the shard that its journal is not known to have.
    pub(crate) fn landing(&self) -> usize {
        self.landing.lock().expect(POISON).len()
    }

    /// Answers a request.
    pub fn answer(&self, verb: &Verb) -> Value {
        self.done(verb)
            .unwrap_or_else(|error| refusal(&error.to_string()))
    }

    fn done(&self, verb: &Verb) -> Result<Value, Fail> {
        match verb {
            Verb::Credit {
                account,
                asset,
                units,
                number,
                from,
            } => self.credit(account, asset, *units, *number, from),
            Verb::Invoice {
                account,
                amount,
                description,
                expiry_s,
            } => {
                let expiry_s = expiry_s.unwrap_or(self.config.limits.expiry_max_s);
                let (account, amount) = (self.account(account)?, msat(amount)?);
                let invoice = self
                    .exchange
                    .invoice(account, amount, description, expiry_s)?;
                let hash = invoice.payment_hash().to_string();
                Ok(json!({ "ok": true, "invoice": invoice.to_string(), "hash": hash }))
            }
            Verb::Pay {
                account,
                invoice,
                amount,
                fee_limit,
            } => self.pay(account, invoice, amount.as_deref(), fee_limit),
            Verb::Payment { hash } => self.payment(hash),
            Verb::Funds { account } => {
                let account = self.account(account)?;
                let funds = self.exchange.rail().book().funds(account);
                let landing = self.landing.lock().expect(POISON).get(&account).copied();
                let amount = |it: Msat| text(it.get().into());
                Ok(json!({
                    "ok": true,
                    "available": amount(funds.available),
                    "held": amount(funds.held),
                    "deposited": amount(funds.deposited),
                    "withdrawn": amount(funds.withdrawn),
                    "fees": amount(funds.fees),
                    "landing": landing.map(|(number, units)| json!({ "number": number, "units": units })),
                }))
            }
            Verb::OpenChannel { peer, amount } => self.open_channel(peer, amount),
            Verb::CloseChannel { channel } | Verb::LeaveChannel { channel } => {
                let all = self.exchange.node().channels();
                let one = all
                    .iter()
                    .find(|one| one.channel_id.to_string() == *channel)
                    .ok_or("there is no such channel; `channels` lists them")?;
                let (id, peer) = (&one.channel_id, &one.counterparty.node_id);
                match verb {
                    Verb::CloseChannel { .. } => self.exchange.node().close(id, peer)?,
                    _ => self.exchange.node().leave(id, peer)?,
                }
                Ok(json!({ "ok": true }))
            }
            Verb::Channels => {
                let all = self.exchange.node().channels();
                let channels: Vec<Value> = all
                    .iter()
                    .map(|one| {
                        json!({
                            "channel": one.channel_id.to_string(),
                            "peer": one.counterparty.node_id.to_string(),
                            "amount": text(u128::from(one.channel_value_satoshis) * 1_000),
                            "can_send": text(one.outbound_capacity_msat.into()),
                            "can_receive": text(one.inbound_capacity_msat.into()),
                            "is_ready": one.is_channel_ready,
                            "is_usable": one.is_usable,
                        })
                    })
                    .collect();
                Ok(json!({ "ok": true, "channels": channels }))
            }
            Verb::Status => Ok(self.status()),
        }
    }

    fn status(&self) -> Value {
        let cover = self.exchange.cover();
        let node = self.exchange.node();
        let channels = node.channels();
        let (failure, landing) = (node.failure(), self.landing.lock().expect(POISON).len());
        let rail = self.exchange.rail(); // last: nothing else is asked while it is kept
        json!({
            "ok": true,
            "rail": self.config.rail,
            "shard": self.config.plan.shard.name,
            "node": node.id().to_string(),
            "listens": node.address().map(|it| it.to_string()),
            "wallet_address": node.wallet().address().to_string(),
            "height": node.best_block().height,
            "channels": channels.len(),
            "channels_usable": channels.iter().filter(|one| one.is_usable).count(),
            "owed": text(cover.owed_msat),
            "in_channels": text(u128::from(cover.channels.to_sat()) * 1_000),
            "in_wallet": text(u128::from(cover.wallet.to_sat()) * 1_000),
            "under_way": rail.book().under_way().count(),
            "landing": landing,
            "stopped": rail.stopped(),
            "failure": failure,
        })
    }

    fn open_channel(&self, peer: &str, amount: &str) -> Result<Value, Fail> {
        let wrong = "name the peer as KEY@ADDRESS:PORT";
        let (key, address) = peer.split_once('@').ok_or(wrong)?;
        let key = key.parse().map_err(|_| wrong)?;
        let address = address.parse().map_err(|_| wrong)?;
        let amount = msat(amount)?.get();
        if amount % 1_000 != 0 {
            return Err("a channel has whole satoshi".into());
        }
        let node = self.exchange.node();
        node.connect(key, address)?;
        let channel = node.open_channel(key, bitcoin::Amount::from_sat(amount / 1_000))?;
        Ok(json!({ "ok": true, "channel": channel.to_string() }))
    }

    fn account(&self, name: &str) -> Result<Account, Fail> {
        let plan = &self.config.plan;
        let named = match name.strip_prefix('#') {
            Some(digits) => digits.parse().ok(),
            None => plan
                .accounts
                .iter()
                .position(|one| one.name == name)
                .map(|at| at as u32),
        };
        let account = named.filter(|it| *it < plan.shard.capacity.accounts);
        let unknown = || {
            format!(
                "there is no account {name:?}; name one of the market file, or `#` and a number below the shard's capacity"
            )
        };
        Ok(Account(account.ok_or_else(unknown)?))
    }

    /// An account as the shard's daemon names it.
    fn name(&self, account: Account) -> String {
        let named = self.config.plan.accounts.get(account.0 as usize);
        named.map_or_else(|| format!("#{}", account.0), |one| one.name.clone())
    }

    fn credit(
        &self,
        account: &str,
        asset: &str,
        units: u64,
        number: u64,
        from: &str,
    ) -> Result<Value, Fail> {
        let account = self.account(account)?;
        if asset != self.config.asset.name {
            return Err(format!(
                "this rail carries {}, not {asset}: the amount waits in the shard; take the rail that carries it",
                self.config.asset.name
            )
            .into());
        }
        if from != self.config.plan.shard.name {
            return Err(format!(
                "this rail serves shard {}, not {from}",
                self.config.plan.shard.name
            )
            .into());
        }
        let mut rail = self.exchange.rail();
        rail.moved(account, number, Direction::FromEngine, units)?;
        Ok(json!({ "ok": true, "durable": true }))
    }

    /// A withdrawal: judged, debited in the shard, held, paid.
    fn pay(
        &self,
        name: &str,
        invoice: &str,
        amount: Option<&str>,
        fee_limit: &str,
    ) -> Result<Value, Fail> {
        let account = self.account(name)?;
        let (amount, fee_limit) = (amount.map(msat).transpose()?, msat(fee_limit)?);
        let payable = self.exchange.payable(invoice, amount)?;
        let known = self
            .exchange
            .rail()
            .book()
            .withdrawal(&payable.hash)
            .is_some();
        if !known {
            let rail = self.exchange.rail();
            rail.may_hold(&payable.hash, payable.amount, fee_limit, payable.left_s())?;
        }
        let _paying = match known {
            true => None,
            false => {
                let first = self.paying.lock().expect(POISON).insert(account);
                if !first {
                    return Err(
                        "another withdrawal of this account is being made; ask again when it is"
                            .into(),
                    );
                }
                let paying = Paying(self, account);
                self.debit(account, payable.amount, fee_limit)?;
                Some(paying)
            }
        };
        let progress = self
            .exchange
            .withdraw(account, invoice, amount, fee_limit)?;
        let mut answer = describe(&progress);
        answer["hash"] = payable.hash.to_string().into();
        Ok(answer)
    }

    /// Sees to it that an account has a withdrawal's amount on the rail.
    fn debit(&self, account: Account, amount: Msat, fee_limit: Msat) -> Result<(), Fail> {
        let has = || self.exchange.rail().book().funds(account);
        let hold = amount.get() + fee_limit.get();
        let missing = hold.saturating_sub(has().available.get());
        if missing == 0 {
            return Ok(());
        }
        let unit = self.config.scale.msat_per_unit.get();
        let units = missing.div_ceil(unit);
        let debit = ring0d::Verb::Transfer {
            account: self.name(account),
            asset: self.config.asset.name.clone(),
            amount: text(u128::from(units) * u128::from(unit)),
            to: self.config.rail.clone(),
            number: None,
        };
        let answer = Client::connect(&self.config.shard_socket())?.call(&debit)?;
        let number = answer["number"]
            .as_u64()
            .ok_or("the shard's daemon named no number")?;
        let end = Instant::now() + DEBIT_PATIENCE;
        loop {
            let came = has().last_move(Direction::FromEngine);
            if came.is_some_and(|(last, _)| last >= number) {
                return Ok(());
            }
            if Instant::now() >= end {
                return Err(format!(
                    "the account is debited (transfer {number}), and the shard's journal has not written it for {} s; nothing was paid, and the amount goes back by itself. Look after the shard's recorder",
                    DEBIT_PATIENCE.as_secs()
                )
                .into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn payment(&self, hash: &str) -> Result<Value, Fail> {
        let hash =
            sha256::Hash::from_str(hash).map_err(|_| "a payment hash is 64 hexadecimal digits")?;
        let rail = self.exchange.rail();
        if let Some(deposit) = rail.book().deposit(&hash) {
            return Ok(json!({
                "ok": true,
                "is": if deposit.credited.is_some() { "credited" } else { "invoiced" },
                "account": self.name(deposit.account),
                "amount": text(deposit.credited.unwrap_or(deposit.amount).get().into()),
            }));
        }
        let withdrawal = rail.book().withdrawal(&hash);
        let withdrawal =
            withdrawal.ok_or("there is no such payment: it was never invoiced here, nor held")?;
        let mut answer = describe(&withdrawal.progress);
        answer["account"] = self.name(withdrawal.account).into();
        answer["amount"] = text(withdrawal.amount.get().into()).into();
        Ok(answer)
    }

    /// Brings what is free to the shard, until `stop` says so.
    pub fn sweep(&self, stop: &dyn Fn() -> bool) {
        let mut told = String::new();
        while !stop() {
            match self.sweep_once() {
                Ok(()) => std::thread::sleep(SWEEP.0),
                Err(error) => {
                    let error = error.to_string();
                    if error != told {
                        eprintln!("ring0-lightning: deposits wait: {error}");
                        told = error;
                    }
                    std::thread::sleep(SWEEP.1);
                }
            }
        }
    }

    fn sweep_once(&self) -> Result<(), Fail> {
        {
            // Together, so that no withdrawal begins to count on what is just being moved.
            let paying = self.paying.lock().expect(POISON);
            let mut landing = self.landing.lock().expect(POISON);
            let mut rail = self.exchange.rail();
            let accounts: Vec<Account> =
                rail.book().accounts().map(|(account, _)| account).collect();
            for account in accounts {
                let (units, _) = rail.movable(account);
                if units == 0 || paying.contains(&account) || landing.contains_key(&account) {
                    continue;
                }
                let number = rail.book().funds(account).next_out();
                rail.moved(account, number, Direction::ToEngine, units)?;
                landing.insert(account, (number, units));
            }
        }
        let landing: Vec<_> = {
            let landing = self.landing.lock().expect(POISON);
            landing
                .iter()
                .map(|(account, it)| (*account, *it))
                .collect()
        };
        if landing.is_empty() {
            return Ok(());
        }
        let mut shard = Client::connect(&self.config.shard_socket())?;
        let mut refused = None;
        for (account, (number, units)) in landing {
            let credit = ring0d::Verb::Credit {
                account: self.name(account),
                asset: self.config.asset.name.clone(),
                units,
                number,
                from: self.config.rail.clone(),
            };
            match shard.call(&credit) {
                // Until its journal has it, it is said again: a machine that is lost meanwhile forgets it.
                Ok(answer) if answer["durable"] == true => {
                    self.landing.lock().expect(POISON).remove(&account);
                }
                Ok(_) => {}
                Err(ClientError::Refused(why)) => {
                    refused = Some(format!("{}: {why}", self.name(account)));
                }
                Err(error) => return Err(error.into()),
            }
        }
        refused.map_or(Ok(()), |why| Err(why.into()))
    }
}

fn describe(progress: &Progress) -> Value {
    match progress {
        Progress::Held => json!({ "ok": true, "is": "held" }),
        Progress::Settled { fee, preimage } => json!({
            "ok": true,
            "is": "settled",
            "fee": text(fee.get().into()),
            "preimage": preimage,
        }),
        Progress::Released { reason } => json!({ "ok": true, "is": "released", "reason": reason }),
    }
}
