//! A hub's thread: it looks at the chain, pins blocks, posts roots and sends moves. What it sees counts once the desk has it in the journal.

use crate::config::{Config, HubConfig};
use crate::desk::Message;
use crate::events::{Holds, Rpc, Told, rebalanceCall};
use crate::lives::{Blocks, Look};
use crate::nodes;
use alloy_sol_types::SolValue;
use ring0_channels::chain::{Block, Chain, ChainError};
use ring0_channels::evidence::LeafProof;
use ring0_channels::key::Signer;
use ring0_channels::tree::Sums;
use ring0_channels::{Address, U256};
use ring0_channels_evm::Evm;
use ring0_channels_evm::abi::{self, ChannelHub};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, sync_channel};
use std::time::{Duration, Instant};

/// A transaction that is in no block after this long gets a higher fee.
const PATIENCE: Duration = Duration::from_secs(45);
/// How long a transaction may take before the thread looks at the chain again; it is sent anew then, which outbids it.
const LIMIT: Duration = Duration::from_secs(120);

/// What the thread is asked to send.
pub(crate) enum Order {
    /// The root of a token's tree.
    Post {
        token: Address,
        sums: Sums,
        proof: Box<LeafProof>,
        epoch: u64,
    },
    /// Moves that both have signed.
    Rebalance(Vec<crate::events::RebalancingWords>),
}

/// What a look brought, for the desk.
pub(crate) struct Looked {
    pub(crate) hub: u32,
    pub(crate) look: Look,
    pub(crate) told: Vec<Told>,
    /// What the hub has of each token at the height that counts then.
    pub(crate) holds: Vec<(Address, Holds)>,
    /// The tip that was seen.
    pub(crate) tip: Option<Block>,
}

/// A key file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the key of {path} cannot be used: {why}; it is 64 hexadecimal digits in a file that no other user may read", path = .path.display())]
pub struct KeyError {
    path: PathBuf,
    why: String,
}

/// The key in a file that only its owner reads.
pub(crate) fn key(path: &Path) -> Result<Signer, KeyError> {
    use std::os::unix::fs::PermissionsExt;
    let wrong = |why: String| KeyError {
        path: path.to_owned(),
        why,
    };
    let about = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
    if about.permissions().mode() & 0o077 != 0 {
        return Err(wrong("other users may read it".to_owned()));
    }
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let bytes = alloy_primitives::hex::decode_to_array(text.trim());
    let bytes = bytes.map_err(|_| wrong("it is no key".to_owned()))?;
    Signer::new(bytes).map_err(|error| wrong(error.to_string()))
}

/// See the module.
pub(crate) struct HubThread {
    place: u32,
    venue: Arc<Config>,
    config: HubConfig,
    payer: Option<Signer>,
    blocks: Blocks,
    pinned: u64,
    desk: Sender<Message>,
}

impl HubThread {
    /// `blocks` and `pinned` as the journal has them.
    pub(crate) fn new(
        place: u32,
        venue: &Arc<Config>,
        blocks: Blocks,
        pinned: u64,
        desk: Sender<Message>,
    ) -> Result<HubThread, KeyError> {
        let config = venue.hubs[place as usize].clone();
        let payer = config.fee_key.as_deref().map(key).transpose()?;
        Ok(HubThread {
            place,
            venue: Arc::clone(venue),
            config,
            payer,
            blocks,
            pinned,
            desk,
        })
    }

    /// Works until the desk has ended.
    pub(crate) fn run(mut self, orders: &Receiver<Order>) {
        let rpc = Rpc::new(&self.config.rpc);
        let mut evm: Option<Evm> = None;
        // Before its tokens are what the configuration says nothing of the hub is told, so nothing of it is credited and no batch is cut.
        let (mut admitted, mut begun) = (false, false);
        let mut next = Instant::now();
        loop {
            let wait = next.saturating_duration_since(Instant::now());
            let order = match orders.recv_timeout(wait) {
                Ok(order) => Some(order),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let connected = match evm.take() {
                Some(evm) => Ok(evm),
                None => Evm::connect(&self.config.rpc, self.config.hub, self.payer.clone()),
            };
            let done = connected.and_then(|mut connected| {
                let done = match &order {
                    Some(order) => self.send(&mut connected, order),
                    None if !admitted => nodes::admit(&self.venue, &self.config, &rpc).map(|()| {
                        admitted = true;
                    }),
                    None if !begun => self.begin(&rpc).map(|()| begun = true),
                    None => self.look(&mut connected, &rpc),
                };
                evm = Some(connected);
                done
            });
            if order.is_none() && (begun || done.is_err()) {
                next = Instant::now() + self.config.poll;
            }
            let error = done.err().map(|error| error.to_string());
            let told = Message::Chain {
                hub: self.place,
                error,
            };
            if self.desk.send(told).is_err() {
                return;
            }
        }
    }

    /// What the hub has at the height that counts by the journal.
    fn begin(&self, rpc: &Rpc) -> Result<(), ChainError> {
        let Some(tip) = self.blocks.tip() else {
            return Ok(());
        };
        let counted = tip.height.saturating_sub(self.config.rules.confirmations);
        let Some(at) = self.blocks.at(counted) else {
            return Ok(());
        };
        let mut holds = Vec::new();
        for token in &self.config.tokens {
            holds.push((token.token, rpc.holds(&self.config.hub, token.token, &at)?));
        }
        let hub = self.place;
        let _ = self.desk.send(Message::Holds { hub, holds }); // the desk has ended
        Ok(())
    }

    /// Looks until there is nothing new.
    fn look(&mut self, evm: &mut Evm, rpc: &Rpc) -> Result<(), ChainError> {
        loop {
            let Some(look) = self.blocks.look(evm)? else {
                return self.pin(evm);
            };
            let mut told = Vec::new();
            let mut holds = Vec::new();
            if let Look::Advanced { blocks, .. } = &look {
                let from = self
                    .blocks
                    .tip()
                    .map_or(self.config.start, |it| it.height + 1);
                let Some(tip) = blocks.last() else {
                    return Ok(());
                };
                told = rpc.told(&self.config.hub, from, tip.height)?;
                let counted = tip.height.saturating_sub(self.config.rules.confirmations);
                let at = blocks.iter().find(|it| it.height == counted).copied();
                if let Some(at) = at.or_else(|| self.blocks.at(counted)) {
                    for token in &self.config.tokens {
                        holds.push((token.token, rpc.holds(&self.config.hub, token.token, &at)?));
                    }
                }
                // What was asked for is of one chain if its end is still there.
                if evm.block(tip.height)? != Some(*tip) {
                    return Ok(());
                }
            }
            let (done, durable) = sync_channel(1);
            let tip = match &look {
                Look::Advanced { blocks, .. } => blocks.last().copied(),
                Look::Reorganised { .. } => None,
            };
            let looked = Looked {
                hub: self.place,
                look: look.clone(),
                told: told.clone(),
                holds,
                tip,
            };
            let sent = self.desk.send(Message::Looked(Box::new(looked), done));
            if sent.is_err() || durable.recv().is_err() {
                return Ok(()); // the desk has ended
            }
            self.blocks.apply(&look);
            for it in &told {
                if let crate::events::HubEvent::Pinned { number, .. } = it.event {
                    self.pinned = self.pinned.max(number);
                }
            }
            if let Look::Reorganised { height } = look {
                self.pinned = self.pinned.min(height);
            }
        }
    }

    /// Pins the newest block that a hub takes, when it is time. That it is pinned the chain tells.
    fn pin(&mut self, evm: &mut Evm) -> Result<(), ChainError> {
        if self.payer.is_none() {
            return Ok(());
        }
        let Some(tip) = self.blocks.tip() else {
            return Ok(());
        };
        // One more than the hub asks for: nodes estimate as if in the newest block, not in the next.
        let number = tip
            .height
            .saturating_sub(self.config.rules.confirmations + 1);
        // In time: what is signed under a pin that is older than the hub's distance is refused.
        let next = self.pinned + (self.config.rules.pin_every / 2).max(1);
        if number == 0 || (self.pinned != 0 && number < next) {
            return Ok(());
        }
        let pin = ChannelHub::pinCall {
            number: U256::from(number),
        };
        let sent = evm.send("pin", &pin, 0)?;
        evm.confirm(sent, PATIENCE, LIMIT)?;
        Ok(())
    }

    fn send(&self, evm: &mut Evm, order: &Order) -> Result<(), ChainError> {
        if self.payer.is_none() {
            return Err(ChainError::Unsupported(
                "no key pays for the hub's transactions; name one as fee_key, or let others post, pin and send moves",
            ));
        }
        let (what, done) = match order {
            Order::Post {
                token, sums, proof, ..
            } => {
                let post = ChannelHub::postCall {
                    token: *token,
                    root: abi::SumNode {
                        hash: sums.hash,
                        balance: sums.balance,
                        excess: sums.excess,
                    },
                    entryProof: abi::EntryProof::from(&**proof).abi_encode().into(),
                };
                ("root", evm.send("root", &post, 0))
            }
            Order::Rebalance(items) => {
                let call = rebalanceCall {
                    items: items.clone(),
                };
                ("moves", evm.send("moves", &call, 0))
            }
        };
        let sent = done?;
        evm.confirm(sent, PATIENCE, LIMIT)?;
        if let Order::Post { token, epoch, .. } = order {
            tracing::info!(hub = self.config.name, %token, epoch, "root posted");
        } else {
            tracing::info!(hub = self.config.name, what, "sent");
        }
        Ok(())
    }
}
