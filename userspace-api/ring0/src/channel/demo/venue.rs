//! The demo's venue: the shard, the hub, the operator's key, and the batch that nets the recorded fills (CUSTODY 3, 11, 13).

use super::ledger::Ledger;
use super::trader::Member;
use crate::demo::check::Recording;
use crate::demo::market::Stage;
use crate::fail::Fail;
use alloy_primitives::aliases::U40;
use alloy_primitives::{Address, B256, TxKind, U256, keccak256};
use alloy_sol_types::{SolCall, SolValue};
use ring0_channels::batch::{Built, Leaf};
use ring0_channels::batch_file::BatchFile;
use ring0_channels::chain::Chain;
use ring0_channels::channels::Channels;
use ring0_channels::evidence::{Holding, OperatorHalf};
use ring0_channels::guard::Guard;
use ring0_channels::life::Signed;
use ring0_channels::message::{ChannelState, Hub, KIND_TRADING, Withdrawal};
use ring0_channels::store::Store;
use ring0_channels_evm::Evm;
use ring0_channels_evm::abi::{self, ChannelHub};
use ring0_channels_evm::leave::{LIMIT, PATIENCE};
use ring0_dev::anvil::Node;
use ring0_dev::hub::{self, ANCHOR, RULES, Token, WHOLE, new_key};
use ring0_market::Market;
use ring0d::Verb;
use std::collections::BTreeMap;
use std::path::Path;

/// An asset of the market and what it is on the chain.
pub(super) struct Asset {
    pub(super) name: &'static str,
    /// Its index in the market.
    pub(super) index: u32,
    /// Zero: the chain's own coin.
    pub(super) token: Address,
    /// An engine unit in base units.
    pub(super) unit: u128,
    /// A whole unit is 10^places engine units.
    places: u32,
}

/// Where channels are.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) hub: Hub,
    pub(super) venue: B256,
    pub(super) operator: Address,
}

/// The venue.
pub(super) struct Venue {
    pub(super) stage: Stage,
    pub(super) place: Place,
    pub(super) assets: Vec<Asset>,
    market: Market,
    evm: Evm,
    guard: Guard,
    channels: Channels,
    pub(super) ledger: Ledger,
    /// Deposits that the shard knows of, base units by channel.
    credited: BTreeMap<B256, u128>,
    epoch: u64,
    previous: B256,
    pin: (u64, B256),
}

/// 12.5 of an amount with so many decimal places.
pub(super) fn whole(amount: u128, places: u32) -> String {
    let one = 10_u128.pow(places);
    let fraction = format!("{:0width$}", amount % one, width = places as usize);
    match fraction.trim_end_matches('0') {
        "" => (amount / one).to_string(),
        fraction => format!("{}.{fraction}", amount / one),
    }
}

fn units(text: &str, places: u32) -> Option<u128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let missing = (places as usize).checked_sub(fraction.len())?;
    format!("{whole}{fraction}{}", "0".repeat(missing))
        .parse()
        .ok()
}

impl Venue {
    /// Puts token and hub on the chain, funds the vault, and takes the shard over.
    pub(super) fn open(
        stage: Stage,
        node: &Node,
        folder: &Path,
        vault: (u128, u128),
    ) -> Result<Venue, Fail> {
        let operator = new_key()?;
        node.give(operator.address(), 1_000 * WHOLE)?;
        let id = keccak256("the demo's venue");
        let placed = hub::place(node, id, operator.address(), &new_key()?, vault)?;
        let place = Place {
            hub: placed.hub,
            venue: id,
            operator: operator.address(),
        };
        let evm = Evm::connect(&node.url, place.hub, Some(operator.clone()))?;
        let market = stage.folder.market.clone();
        let mut assets = Vec::new();
        for (name, token) in [("ETH", Address::ZERO), ("USD", placed.token)] {
            let index = market.plan.assets.iter().position(|it| it.name == name);
            let index = index.ok_or_else(|| Fail::new(format!("the market has no {name}")))?;
            let terms = &market.plan.assets[index];
            assets.push(Asset {
                name,
                index: index as u32,
                token,
                unit: 10_u128.pow(terms.unit_exponent),
                places: terms.places(),
            });
        }
        let own = folder.join("operator");
        std::fs::create_dir_all(&own)?;
        Ok(Venue {
            stage,
            place,
            assets,
            market,
            evm,
            guard: Guard::open(operator, &own.join("signed"))?,
            channels: Channels::open(Store::open(&own.join("channels"))?, RULES, placed.start)?,
            ledger: Ledger::default(),
            credited: BTreeMap::new(),
            epoch: 0,
            previous: B256::ZERO,
            pin: (0, B256::ZERO),
        })
    }

    pub(super) fn asset(&self, name: &str) -> &Asset {
        let found = self.assets.iter().find(|it| it.name == name);
        found.expect("the demo names its own assets")
    }

    /// Gives somebody dollars.
    pub(super) fn mint(&mut self, to: Address, amount: u128) -> Result<(), Fail> {
        let amount = U256::from(amount);
        let token = self.asset("USD").token;
        self.pay("mint", token, &Token::mintCall { to, amount })
    }

    fn pay<C: SolCall>(&mut self, what: &'static str, to: Address, call: &C) -> Result<(), Fail> {
        let to = TxKind::Call(to);
        let sent = self.evm.send_to(what, to, call.abi_encode().into(), 0)?;
        self.evm.confirm(sent, PATIENCE, LIMIT)?;
        Ok(())
    }

    fn say<C: SolCall>(&mut self, what: &'static str, call: &C, value: u128) -> Result<(), Fail> {
        let sent = self.evm.send(what, call, value)?;
        self.evm.confirm(sent, PATIENCE, LIMIT)?;
        Ok(())
    }

    /// What the hub holds of an asset, and what of it is the vault's.
    pub(super) fn hub_holds(&self, asset: &Asset) -> Result<(u128, u128), Fail> {
        let hub = self.place.hub.address;
        let holds = match asset.token {
            Address::ZERO => self.evm.balance(hub)?,
            token => self
                .evm
                .read_from(token, &Token::balanceOfCall { account: hub })?,
        };
        let token = asset.token;
        let vault = self.evm.read(&ChannelHub::vaultOfCall { token })?;
        Ok((holds.saturating_to(), vault.balance.saturating_to()))
    }

    /// What the trader of a channel may take out alone.
    pub(super) fn entitlement(&self, channel: B256) -> u128 {
        self.channels
            .life(channel)
            .map_or(0, |life| life.entitlement())
    }

    /// Looks at the chain and credits what is confirmed: first in the store, then in the ledger, then by a sequenced command in the shard.
    pub(super) fn follow(&mut self, members: &[&Member]) -> Result<(), Fail> {
        self.channels.follow(&mut self.evm, super::super::now())?;
        for member in members {
            for (holding, asset) in member.channels.iter().zip(&self.assets) {
                let channel = holding.channel();
                let deposited = self
                    .channels
                    .life(channel)
                    .map_or(0, |life| life.deposited());
                let before = self.credited.insert(channel, deposited).unwrap_or(0);
                let (index, more) = (member.account as u32 - 1, deposited - before);
                if more == 0 {
                    continue;
                }
                self.ledger.add(index, asset.index, more as i128);
                // What is below one engine unit stays the trader's as dust (CUSTODY 15).
                let units = deposited / asset.unit - before / asset.unit;
                self.stage.tell(&Verb::Deposit {
                    account: member.name.to_owned(),
                    asset: asset.name.to_owned(),
                    amount: whole(units, asset.places),
                })?;
            }
        }
        Ok(())
    }

    /// Takes in the recorded fills, and compares the shard's balances with them: equation (i) of CUSTODY 13, to the unit.
    pub(super) fn reconcile(
        &mut self,
        members: &[&Member],
        alive: &dyn Fn() -> Result<(), Fail>,
    ) -> Result<(), Fail> {
        let status = self.stage.quiet(alive)?;
        let published = status["ring"]["published"].as_u64().unwrap_or(0);
        let recording: Recording = self.stage.recorded(published)?;
        self.ledger.take_in(&recording.bytes, &self.market)?;
        let accounts = self.stage.tell(&Verb::Accounts)?;
        for member in members {
            let all = accounts["accounts"].as_array();
            let mut all = all.into_iter().flatten();
            let own = all.find(|it| it["name"] == member.name);
            for asset in &self.assets {
                let balance = own.map(|own| &own["balances"][asset.name]);
                let part = |name| balance.and_then(|it| units(it[name].as_str()?, asset.places));
                let shard = part("available")
                    .zip(part("held"))
                    .map(|(one, other)| one + other);
                let owned = self
                    .ledger
                    .balance(member.account as u32 - 1, asset.index)?;
                if shard != Some(owned / asset.unit) {
                    return Err(Fail::disagreed(format!(
                        "{}'s {}: the shard says {shard:?} engine units and the recorded fills {}",
                        member.name,
                        asset.name,
                        owned / asset.unit
                    )));
                }
            }
        }
        Ok(())
    }

    /// Pins a block that is confirmed; what is signed from now on is valid where it is.
    fn pin(&mut self) -> Result<(), Fail> {
        // One more than the hub asks for: nodes estimate as if in the newest block, not in the next.
        let tip = self.evm.tip()?.height;
        let number = tip.saturating_sub(RULES.confirmations + 1);
        if number > self.pin.0 {
            let block = self.evm.block(number)?;
            let block = block.ok_or_else(|| Fail::new("the node lost a block"))?;
            self.say(
                "pin",
                &ChannelHub::pinCall {
                    number: U256::from(number),
                },
                0,
            )?;
            self.pin = (number, block.hash);
        }
        Ok(())
    }

    /// A batch: cut, trees, solvency, the operator's one signature, roots posted, co-signatures, all of it durable in this order (CUSTODY 11).
    pub(super) fn settle(
        &mut self,
        members: &mut [&mut Member],
        folder: &Path,
    ) -> Result<u64, Fail> {
        self.pin()?;
        self.channels.follow(&mut self.evm, super::super::now())?;
        let epoch = self.epoch + 1;
        let mut leaves = Vec::new();
        for member in members.iter() {
            for (holding, asset) in member.channels.iter().zip(&self.assets) {
                let channel = holding.channel();
                let life = self.channels.life(channel);
                let life = life.ok_or_else(|| Fail::new(format!("{channel} is not open")))?;
                let balance = self
                    .ledger
                    .balance(member.account as u32 - 1, asset.index)?;
                let (deposited, withdrawn) = (life.deposited(), life.withdrawn());
                leaves.push(Leaf {
                    hub: self.place.hub,
                    token: asset.token,
                    account: member.account,
                    state: ChannelState {
                        channel,
                        version: U40::from(holding.version() + 1),
                        balance,
                        depositedSeen: deposited,
                        withdrawnSeen: withdrawn,
                        epoch: U40::from(epoch),
                        kind: KIND_TRADING,
                        branch: self.pin.1,
                    },
                    // Own escrow is what was paid in and not out.
                    excess: (balance + withdrawn).saturating_sub(deposited),
                });
            }
        }
        let built = Built::new(U40::from(epoch), self.previous, leaves)?;
        for asset in &self.assets {
            let sums = built.sums(&self.place.hub, asset.token).unwrap_or_default();
            let (_, vault) = self.hub_holds(asset)?;
            if sums.excess > vault {
                return Err(Fail::disagreed(format!(
                    "{}: winnings of {} are above the vault's {vault}; rebalance first",
                    asset.name, sums.excess
                )));
            }
        }
        for member in members.iter() {
            for leaf in built.states(member.account) {
                let state = &leaf.state;
                let signed = Signed {
                    version: state.version.to(),
                    balance: state.balance,
                    deposited_seen: state.depositedSeen,
                    withdrawn_seen: state.withdrawnSeen,
                    epoch,
                    pin: self.pin.0,
                };
                self.channels.offer(state.channel, signed)?;
            }
        }
        let signature = self.guard.batch(self.place.venue, built.batch())?;
        self.post(&built, members, signature)?;
        for member in members.iter_mut() {
            let file = BatchFile::new(&built, signature, member.account, &member.channels);
            let file = file.ok_or_else(|| Fail::new("a channel is not in its own batch"))?;
            let path = folder.join(format!("{}-{epoch}.json", member.name));
            std::fs::write(&path, serde_json::to_vec_pretty(&file)?)?;
            for holding in member.cosign(&path)? {
                holding.verify().map_err(Fail::disagreed)?;
                let exit = serde_json::to_vec(&holding)?;
                self.channels
                    .complete(holding.channel(), holding.version(), exit)?;
            }
        }
        self.previous = built.batch().entries;
        self.epoch = epoch;
        Ok(epoch)
    }

    /// Locks the winnings of all traders in the vault.
    fn post(
        &mut self,
        built: &Built,
        members: &[&mut Member],
        signature: ring0_channels::key::Signature,
    ) -> Result<(), Fail> {
        let any = members.first().map_or(&[][..], |it| &it.channels);
        for holding in any {
            let Some(OperatorHalf::Leaf(leaf)) = built.proof(holding.channel(), signature) else {
                return Err(Fail::new("a channel is not in its own batch"));
            };
            let token = holding.terms.token;
            let sums = built.sums(&self.place.hub, token).unwrap_or_default();
            let post = ChannelHub::postCall {
                token,
                root: abi::SumNode {
                    hash: sums.hash,
                    balance: sums.balance,
                    excess: sums.excess,
                },
                entryProof: abi::EntryProof::from(&leaf).abi_encode().into(),
            };
            self.say("root", &post, 0)?;
        }
        Ok(())
    }

    /// A partial withdrawal: debited in the shard by a sequenced command, then signed by both, then sent by the trader (CUSTODY 6).
    pub(super) fn withdraw(
        &mut self,
        member: &mut Member,
        asset: usize,
        amount: u128,
    ) -> Result<(), Fail> {
        let (asset, holding) = (&self.assets[asset], &member.channels[asset]);
        let channel = holding.channel();
        let life = self.channels.life(channel);
        let life = life.ok_or_else(|| Fail::new(format!("{channel} is not open")))?;
        let withdrawn = life.withdrawn() + amount;
        let deadline = self.evm.tip()?.time + ANCHOR;
        self.channels.withdraw(channel, withdrawn, deadline)?;
        self.stage.tell(&Verb::Withdraw {
            account: member.name.to_owned(),
            asset: asset.name.to_owned(),
            amount: whole(amount / asset.unit, asset.places),
        })?;
        self.ledger
            .add(member.account as u32 - 1, asset.index, -(amount as i128));
        let message = Withdrawal {
            channel,
            withdrawn,
            recipient: holding.terms.owner,
            branch: self.pin.1,
            deadline: U40::saturating_from(deadline),
        };
        let operator = self.guard.signer().sign(&message, &self.place.hub.domain());
        let owner = member.sign_withdrawal(&self.place.hub, &message);
        let w = abi::Withdrawal {
            channel: (&holding.terms).into(),
            withdrawn,
            recipient: message.recipient,
            branch: message.branch,
            deadline: message.deadline,
            owner: owner.into(),
            operator: operator.into(),
        };
        member.withdraw(w)
    }

    /// Everything of the operator's is gone: shard, daemon, keys, stores.
    pub(super) fn vanish(self, folder: &Path) -> Result<(), Fail> {
        drop(self);
        std::fs::remove_dir_all(folder.join("operator"))?;
        Ok(())
    }

    /// The newest holding of a channel as the operator's store has it.
    pub(super) fn stored(&self, channel: B256) -> Result<Holding, Fail> {
        let exit = self.channels.exit(channel);
        let exit = exit.ok_or_else(|| Fail::new(format!("{channel} has no state")))?;
        Ok(serde_json::from_slice(exit)?)
    }
}
