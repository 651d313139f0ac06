//! The policy: what is asked before every signature. It reads the memory and changes nothing; the refusal that comes first is the answer.

use crate::config::{AssetRule, CallRule, Config, KeyRule};
use crate::history::Count;
use crate::memory::{Amount, Memory, Standing};
use crate::message::{Kind, Message};
use crate::protocol::{Name, Refusal};
use crate::transaction::Transaction;
use crate::vault_move::Moved;
use ring0_channels::key::Signature;
use ring0_channels::message::Hub;
use ring0_channels::{Address, B256};
use std::collections::BTreeMap;

/// After a restore what was moved before is unknown for so long: each message that moves money needs an approver.
const UNKNOWN_MS: u64 = 86_400_000;

/// A message with what can be computed of it without any state.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) message: Message,
    pub(crate) digest: B256,
    /// Whether its owner signed it; `None`: it has no owner, or gave no signature.
    owner_signed: Option<bool>,
    moved: Option<Moved>,
}

impl Prepared {
    /// Of a message.
    pub(crate) fn new(message: Message) -> Result<Prepared, Box<Unprepared>> {
        let malformed = |message, error: crate::message::Malformed| {
            let refusal = Refusal::new(Name::Malformed, error.0);
            Box::new(Unprepared { message, refusal })
        };
        let digest = match message.digest() {
            Ok(digest) => digest,
            Err(error) => return Err(malformed(message, error)),
        };
        let by_owner = |signature: &Option<Signature>, owner: Address| {
            let signature = signature.as_ref()?;
            Some(signature.recover(digest).is_ok_and(|who| who == owner))
        };
        let owner_signed = match &message {
            Message::Withdrawal(it) => by_owner(&it.owner_signature, it.terms.owner),
            Message::Close(it) => by_owner(&it.owner_signature, it.terms.owner),
            _ => None,
        };
        let moved = match &message {
            Message::VaultMove(it) => match it.moved() {
                Ok(moved) => Some(moved),
                Err(error) => return Err(malformed(message, error)),
            },
            _ => None,
        };
        Ok(Prepared {
            message,
            digest,
            owner_signed,
            moved,
        })
    }
}

/// A message that says nothing, and what is wrong with it.
#[derive(Clone, Debug)]
pub(crate) struct Unprepared {
    pub(crate) message: Message,
    pub(crate) refusal: Refusal,
}

/// What the policy has to know of a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct KeyFacts {
    pub(crate) address: Address,
    /// Taproot output's script.
    pub(crate) script: Vec<u8>,
    pub(crate) retired: bool,
    pub(crate) ecdsa: bool,
    pub(crate) taproot: bool,
}

/// A yes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Yes {
    /// It was signed before: nothing counts again.
    pub(crate) again: bool,
    pub(crate) counts: Vec<Count>,
}

/// The rules, with what each key did in this second.
#[derive(Debug)]
pub(crate) struct Policy {
    config: Config,
    hubs: BTreeMap<String, Hub>,
    rates: BTreeMap<String, Bucket>,
}

/// Messages that a key may still sign, in thousandths, and when that was counted.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: u64,
    at_ms: u64,
}

impl Policy {
    pub(crate) fn new(config: Config) -> Policy {
        let hub = |it: &crate::config::HubRule| {
            let hub = Hub {
                lineage: it.lineage,
                address: it.address,
            };
            (it.name.clone(), hub)
        };
        Policy {
            hubs: config.hubs.iter().map(hub).collect(),
            config,
            rates: BTreeMap::new(),
        }
    }

    /// Whether a key may sign a message now.
    pub(crate) fn judge(
        &mut self,
        memory: &Memory,
        name: &str,
        key: Option<&KeyFacts>,
        asked: &Prepared,
        now_ms: u64,
    ) -> Result<Yes, Refusal> {
        if memory.stopped {
            let text = "the signer is stopped; an admin says `ring0 signer resume`";
            return Err(Refusal::new(Name::Stopped, text));
        }
        // What time allows and what a deadline ends are judged by the clock.
        if now_ms + 1000 < memory.last_ms {
            let text = format!(
                "the clock is {} ms behind the history; set it right",
                memory.last_ms - now_ms
            );
            return Err(Refusal::new(Name::Clock, text));
        }
        let rule = self.config.keys.iter().find(|it| it.name == name);
        let (Some(key), Some(rule)) = (key, rule) else {
            let text = format!(
                "there is no key {name:?} with a [[key]] rule; `ring0 signer key list` shows the keys"
            );
            return Err(Refusal::new(Name::Key, text));
        };
        if key.retired {
            let text = format!("the key {name:?} was rotated out; ask its successor");
            return Err(Refusal::new(Name::Key, text));
        }
        self.may(rule, key, &asked.message)?;
        let standing = memory.standing(&asked.message, asked.digest, key.address, now_ms)?;
        self.terms(rule, key, asked, now_ms)?;
        let counts = self.counts(rule, key, asked, memory)?;
        let again = standing == Standing::Again;
        if !again {
            self.limits(&counts, asked.digest, memory, now_ms)?;
        }
        let per_second = rule.per_second;
        self.rate(name, per_second, now_ms)?;
        Ok(Yes {
            again,
            counts: if again { Vec::new() } else { counts },
        })
    }

    /// Kind, scheme, hub and venue.
    fn may(&self, rule: &KeyRule, key: &KeyFacts, message: &Message) -> Result<(), Refusal> {
        let kind = message.kind();
        if !rule.kinds.contains(&kind) {
            let text = format!(
                "the key {:?} does not sign a {}; its rule names its kinds",
                rule.name,
                kind.name()
            );
            return Err(Refusal::new(Name::Kind, text));
        }
        let fits = match kind {
            Kind::VaultMove => key.taproot,
            _ => key.ecdsa,
        };
        if !fits {
            let text = format!(
                "the backend of {:?} cannot sign a {}",
                rule.name,
                kind.name()
            );
            return Err(Refusal::new(Name::Scheme, text));
        }
        let (hubs, venue): (Vec<&Hub>, _) = match message {
            Message::Batch(it) => (
                it.entries.iter().map(|it| &it.hub).collect(),
                Some(it.venue),
            ),
            Message::State(it) => (vec![&it.hub], None),
            Message::Withdrawal(it) => (vec![&it.hub], None),
            Message::Close(it) => (vec![&it.hub], None),
            Message::Rebalance(it) => (vec![&it.hub], None),
            Message::Revocation { venue, .. } | Message::Statement { venue, .. } => {
                (vec![], Some(*venue))
            }
            Message::Transaction(_) | Message::VaultMove(_) => (vec![], None),
        };
        let own = |hub: &Hub| {
            rule.hubs
                .iter()
                .any(|name| self.hubs.get(name) == Some(hub))
        };
        if let Some(hub) = hubs.into_iter().find(|hub| !own(hub)) {
            let text = format!(
                "the hub {} of lineage {} is not one of {:?}",
                hub.address, hub.lineage, rule.name
            );
            return Err(Refusal::new(Name::Hub, text));
        }
        if let Some(venue) = venue.filter(|venue| !rule.venues.contains(venue)) {
            let text = format!("the venue {venue} is not one of {:?}", rule.name);
            return Err(Refusal::new(Name::Venue, text));
        }
        Ok(())
    }

    /// What the message itself has to be: owner, deadline, call, fee, excess.
    fn terms(
        &self,
        rule: &KeyRule,
        key: &KeyFacts,
        asked: &Prepared,
        now_ms: u64,
    ) -> Result<(), Refusal> {
        match &asked.message {
            Message::Withdrawal(crate::message::Withdrawal { deadline, .. })
            | Message::Close(crate::message::Close { deadline, .. }) => {
                deadline_fits(rule, *deadline, now_ms)?;
                match asked.owner_signed {
                    Some(true) => Ok(()),
                    None if rule.contract_owners => Ok(()),
                    _ => {
                        let text = "the owner has not signed it; give owner_signature, or allow contract_owners where the owner is a contract";
                        Err(Refusal::new(Name::Owner, text))
                    }
                }
            }
            Message::Rebalance(it) => deadline_fits(rule, it.deadline, now_ms),
            Message::Batch(it) => it.entries.iter().try_for_each(|entry| {
                let asset = self.asset_of(&entry.hub, entry.token)?;
                match asset.excess_max {
                    Some(most) if entry.sums.excess > most => {
                        let text = format!(
                            "an excess of {} {} is above {most}",
                            entry.sums.excess, asset.name
                        );
                        Err(Refusal::new(Name::Excess, text))
                    }
                    _ => Ok(()),
                }
            }),
            Message::Transaction(it) => {
                let most = rule.gas_cost_max.unwrap_or(0);
                if it.gas_cost() > most {
                    let text = format!("its gas may cost {}, above {most}", it.gas_cost());
                    return Err(Refusal::new(Name::Fee, text));
                }
                call_rule(rule, key, it).map(|_| ())
            }
            Message::VaultMove(it) => {
                let moved = asked.moved.as_ref().expect("a move was prepared");
                let most = rule.fee_max.unwrap_or(0);
                if u128::from(moved.fee) > most {
                    let text = format!("the miners get {}, above {most}", moved.fee);
                    return Err(Refusal::new(Name::Fee, text));
                }
                let (script, _) = &moved.spends[it.input as usize];
                if script.as_bytes() != key.script {
                    let text = format!(
                        "input {} does not spend an output of {:?}",
                        it.input, rule.name
                    );
                    return Err(Refusal::new(Name::Key, text));
                }
                let ours = |script: &[u8]| {
                    script == key.script
                        || rule.scripts.iter().any(|it| {
                            alloy_primitives::hex::decode(it).is_ok_and(|it| it == script)
                        })
                };
                match moved
                    .pays
                    .iter()
                    .find(|(script, _)| !ours(script.as_bytes()))
                {
                    Some((script, _)) => {
                        let text = format!(
                            "the script {} is not in the list of {:?}",
                            script.to_hex_string(),
                            rule.name
                        );
                        Err(Refusal::new(Name::Recipient, text))
                    }
                    None => Ok(()),
                }
            }
            Message::State(_) | Message::Revocation { .. } | Message::Statement { .. } => Ok(()),
        }
    }

    /// What the message moves out, by asset.
    fn counts(
        &self,
        rule: &KeyRule,
        key: &KeyFacts,
        asked: &Prepared,
        memory: &Memory,
    ) -> Result<Vec<Count>, Refusal> {
        let count = |asset: &AssetRule, amount: u128| Count {
            asset: asset.name.clone(),
            amount: Amount(amount),
        };
        let counts = match &asked.message {
            Message::Withdrawal(it) => {
                // Cumulative: what was signed before is counted, whatever became of it.
                let more = it
                    .withdrawn
                    .saturating_sub(memory.withdrawn(&asked.message));
                vec![count(self.asset_of(&it.hub, it.terms.token)?, more)]
            }
            Message::Close(it) => {
                // What the close pays is not known here; it is at most this and what was paid in since.
                vec![count(self.asset_of(&it.hub, it.terms.token)?, it.balance)]
            }
            Message::Rebalance(it) => {
                let out = it.moved.max(0).unsigned_abs();
                vec![count(self.asset_of(&it.hub, it.terms.token)?, out)]
            }
            Message::Transaction(it) => self.counts_of_call(rule, key, it, &count)?,
            Message::VaultMove(it) => {
                let moved = asked.moved.as_ref().expect("a move was prepared");
                let out = moved
                    .pays
                    .iter()
                    .filter(|(script, _)| script.as_bytes() != key.script);
                let out = out.map(|(_, amount)| u128::from(*amount)).sum();
                let asset = |asset: &&AssetRule| asset.network.as_ref() == Some(&it.network);
                let asset = self.config.assets.iter().find(asset);
                vec![count(
                    asset.ok_or_else(|| no_asset(&format!("network {:?}", it.network)))?,
                    out,
                )]
            }
            Message::Batch(_)
            | Message::State(_)
            | Message::Revocation { .. }
            | Message::Statement { .. } => vec![],
        };
        Ok(counts.into_iter().filter(|it| it.amount.0 > 0).collect())
    }

    fn counts_of_call(
        &self,
        rule: &KeyRule,
        key: &KeyFacts,
        it: &Transaction,
        count: &dyn Fn(&AssetRule, u128) -> Count,
    ) -> Result<Vec<Count>, Refusal> {
        let mut counts = Vec::new();
        if it.value > 0 {
            let asset = |asset: &&AssetRule| asset.chain == Some(it.chain_id);
            let asset = self.config.assets.iter().find(asset);
            let asset = asset.ok_or_else(|| no_asset(&format!("chain {}", it.chain_id)))?;
            counts.push(count(asset, it.value));
        }
        let call = call_rule(rule, key, it)?;
        if let Some((word, name)) = call.and_then(|it| it.amount_word.zip(it.amount_asset.as_ref()))
        {
            let amount = it.word(word).and_then(|word| u128::try_from(word).ok());
            let amount = amount.ok_or_else(|| {
                Refusal::new(
                    Name::Malformed,
                    "the call's amount is missing or has more than 128 bits",
                )
            })?;
            let asset = self.config.assets.iter().find(|it| it.name == *name);
            counts.push(count(asset.ok_or_else(|| no_asset(name))?, amount));
        }
        Ok(counts)
    }

    fn limits(
        &self,
        counts: &[Count],
        digest: B256,
        memory: &Memory,
        now_ms: u64,
    ) -> Result<(), Refusal> {
        for (place, count) in counts.iter().enumerate() {
            let Amount(amount) = count.amount;
            let asset = self.config.assets.iter().find(|it| it.name == count.asset);
            let asset = asset.expect("counts are of the policy's assets");
            // One call may move one asset twice: as its value and as its argument.
            let before = counts[..place].iter().filter(|it| it.asset == asset.name);
            let before = before.fold(0_u128, |sum, it| sum.saturating_add(it.amount.0));
            let over = |name, limit: Option<u128>, sum: u128, time: &str| match limit {
                Some(most) if sum > most => {
                    let text = format!(
                        "{sum} {} in {time} is above {most}; raise it in signer.toml, or wait",
                        asset.name
                    );
                    Err(Refusal::new(name, text))
                }
                _ => Ok(()),
            };
            let whole = before.saturating_add(amount);
            over(Name::LimitEach, asset.each, whole, "one message")?;
            let with = |minutes| {
                memory
                    .spent(&asset.name, minutes, now_ms)
                    .saturating_add(whole)
            };
            over(Name::LimitHour, asset.hour, with(60), "an hour")?;
            over(Name::LimitDay, asset.day, with(1440), "a day")?;
            let unknown = memory
                .restored_ms
                .is_some_and(|at| now_ms < at + UNKNOWN_MS);
            let above = asset.approve_above.is_some_and(|most| whole > most);
            if (above || unknown) && !memory.approved(digest, &self.config.approvers, now_ms) {
                let why = match unknown {
                    true => "the store was restored, and what it moved in the last day is unknown"
                        .to_owned(),
                    false => format!("{whole} {} is above what one alone decides", asset.name),
                };
                let text = format!(
                    "{why}; an approver says `ring0 signer approve {digest}`, then ask again"
                );
                return Err(Refusal::new(Name::Approval, text));
            }
        }
        Ok(())
    }

    fn rate(&mut self, name: &str, per_second: u32, now_ms: u64) -> Result<(), Refusal> {
        let full = u64::from(per_second) * 1000;
        if !self.rates.contains_key(name) {
            let bucket = Bucket {
                left: full,
                at_ms: now_ms,
            };
            self.rates.insert(name.to_owned(), bucket);
        }
        let bucket = self.rates.get_mut(name).expect("it was just made");
        let since = now_ms.saturating_sub(bucket.at_ms);
        bucket.left = full.min(bucket.left + since.min(1000) * u64::from(per_second));
        bucket.at_ms = bucket.at_ms.max(now_ms);
        match bucket.left.checked_sub(1000) {
            Some(left) => {
                bucket.left = left;
                Ok(())
            }
            None => {
                let text = format!("{name:?} signs {per_second} a second; ask again later");
                Err(Refusal::new(Name::Rate, text))
            }
        }
    }

    fn asset_of(&self, hub: &Hub, token: Address) -> Result<&AssetRule, Refusal> {
        let fits = |asset: &&AssetRule| {
            let of = asset.hub.as_ref().and_then(|name| self.hubs.get(name));
            of == Some(hub) && asset.token == Some(token)
        };
        let found = self.config.assets.iter().find(fits);
        found.ok_or_else(|| no_asset(&format!("hub {} and token {token}", hub.address)))
    }
}

fn no_asset(of: &str) -> Refusal {
    Refusal::new(Name::Asset, format!("there is no [[asset]] of {of}"))
}

fn deadline_fits(rule: &KeyRule, deadline: u64, now_ms: u64) -> Result<(), Refusal> {
    let (now, most) = (now_ms / 1000, rule.deadline_seconds_max);
    if deadline > now && deadline - now <= most {
        return Ok(());
    }
    let text = format!("the deadline {deadline} is over or more than {most} s from now ({now})");
    Err(Refusal::new(Name::Deadline, text))
}

/// The rule that allows a transaction; `None`: it does nothing, which takes back another of its number.
fn call_rule<'a>(
    rule: &'a KeyRule,
    key: &KeyFacts,
    it: &Transaction,
) -> Result<Option<&'a CallRule>, Refusal> {
    if it.to == key.address && it.value == 0 && it.data.is_empty() {
        return Ok(None);
    }
    let fits = |call: &&CallRule| {
        let selector = match call.selector {
            Some(selector) => it.selector() == Some(selector),
            None => it.data.is_empty(),
        };
        call.chain == it.chain_id && call.to == it.to && selector
    };
    let mut fitting = rule.calls.iter().filter(fits).peekable();
    if fitting.peek().is_none() {
        let selector = it.selector().map_or_else(
            || "no call".to_owned(),
            |selector| format!("selector 0x{}", alloy_primitives::hex::encode(selector)),
        );
        let text = format!(
            "no [[key.call]] of {:?} allows {selector} to {} on chain {}",
            rule.name, it.to, it.chain_id
        );
        return Err(Refusal::new(Name::Call, text));
    }
    let receives = |call: &&CallRule| match call.recipient_word {
        Some(word) => it.word(word).is_some_and(|word| {
            let bytes = word.to_be_bytes::<32>();
            bytes[..12] == [0; 12] && call.recipients.contains(&Address::from_slice(&bytes[12..]))
        }),
        None => true,
    };
    match fitting.find(receives) {
        Some(call) => Ok(Some(call)),
        None => {
            let text = format!(
                "whom the call to {} names is not in the recipients of {:?}",
                it.to, rule.name
            );
            Err(Refusal::new(Name::Recipient, text))
        }
    }
}

#[cfg(test)]
mod tests;
