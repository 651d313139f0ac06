//! One trader of the demo: keys of its own, a session on the shard, channels on the chain, and its states in two places.

use super::venue::{Asset, Place};
use crate::fail::Fail;
use alloy_primitives::{Address, B256, TxKind, U256};
use alloy_sol_types::SolCall;
use ring0_channels::batch_file::BatchFile;
use ring0_channels::evidence::Holding;
use ring0_channels::guard::Guard;
use ring0_channels::keep::Keep;
use ring0_channels::key::{Signature, Signer};
use ring0_channels::message::{Hub, Terms, Withdrawal};
use ring0_channels_evm::Evm;
use ring0_channels_evm::abi::{self, ChannelHub};
use ring0_channels_evm::leave::{LIMIT, PATIENCE};
use ring0_dev::anvil::Node;
use ring0_dev::hub::{Token, new_key};
use ring0_trader::{Order, Trader, UdpTransport};
use std::path::{Path, PathBuf};

/// What a trader has in its own wallet at the beginning, in the chain's coin.
pub(super) const WALLET: u128 = 1_000 * super::ETHER;

/// A trader.
pub(super) struct Member {
    pub(super) name: &'static str,
    /// Its account at the venue: one more than its place in the market.
    pub(super) account: u64,
    pub(super) owner: Signer,
    pub(super) key_file: PathBuf,
    cosigner: Guard,
    keep: Keep,
    pub(super) places: Vec<PathBuf>,
    evm: Evm,
    trader: Trader<UdpTransport>,
    /// Its channels, one an asset.
    pub(super) channels: Vec<Holding>,
}

impl Member {
    /// Makes keys and folders; `index` is the account's in the market.
    pub(super) fn new(
        name: &'static str,
        index: u32,
        folder: &Path,
        node: &Node,
        place: &Place,
        trader: Trader<UdpTransport>,
    ) -> Result<Member, Fail> {
        let folder = folder.join(name);
        let places = vec![folder.join("disk-1"), folder.join("disk-2")];
        let keep = Keep::open(&places)?;
        // In a file of its own from the beginning: an exit needs it, and nothing else of this process.
        let key_file = folder.join("owner.key");
        let owner = ring0_dev::hub::key_file(&key_file)?;
        let cosigner = Guard::open(new_key()?, &folder.join("signed"))?;
        node.give(owner.address(), WALLET)?;
        Ok(Member {
            name,
            account: u64::from(index) + 1,
            evm: Evm::connect(&node.url, place.hub, Some(owner.clone()))?,
            owner,
            key_file,
            cosigner,
            keep,
            places,
            trader,
            channels: Vec::new(),
        })
    }

    /// Opens a channel with a first deposit, and keeps what is known of it.
    pub(super) fn open(&mut self, place: &Place, asset: &Asset, amount: u128) -> Result<(), Fail> {
        let terms = Terms {
            owner: self.owner.address(),
            cosigner: self.cosigner.signer().address(),
            token: asset.token,
            nonce: 1,
        };
        let value = match asset.token {
            Address::ZERO => amount,
            token => {
                let approve = Token::approveCall {
                    spender: place.hub.address,
                    amount: U256::from(amount),
                };
                self.pay("approval", token, &approve)?;
                0
            }
        };
        let open = ChannelHub::openCall {
            cosigner: terms.cosigner,
            token: terms.token,
            nonce: terms.nonce,
            amount,
        };
        let sent = self.evm.send("opening", &open, value)?;
        self.evm.confirm(sent, PATIENCE, LIMIT)?;
        let holding = Holding {
            hub: place.hub,
            venue: place.venue,
            operator: place.operator,
            terms,
            newest: None,
        };
        self.keep.keep(&holding)?;
        self.channels.push(holding);
        Ok(())
    }

    fn pay<C: SolCall>(&mut self, what: &'static str, to: Address, call: &C) -> Result<(), Fail> {
        let to = TxKind::Call(to);
        let sent = self.evm.send_to(what, to, call.abi_encode().into(), 0)?;
        self.evm.confirm(sent, PATIENCE, LIMIT)?;
        Ok(())
    }

    /// Sends orders to the shard as signed packets. Each must be taken.
    pub(super) fn order(&mut self, orders: &[Order]) -> Result<(), Fail> {
        for ack in self.trader.submit(orders)? {
            ack.accepted()
                .map_err(|why| Fail::new(format!("{}: {why}", self.name)))?;
        }
        Ok(())
    }

    /// Checks its part of a batch (by `ring0 channel verify`, too), signs it, keeps it in both places, and only then gives it back.
    pub(super) fn cosign(&mut self, path: &Path) -> Result<Vec<Holding>, Fail> {
        let batch: BatchFile = serde_json::from_slice(&std::fs::read(path)?)?;
        let (epoch, path) = (batch.epoch.to_string(), path.display().to_string());
        let places = [0, 1].map(|it| self.places[it].display().to_string());
        let verify = [
            "verify", &epoch, "--batch", &path, "--keep", &places[0], "--keep", &places[1],
        ];
        let output = super::ring0(&verify)?.output()?;
        if !output.status.success() {
            return Err(Fail::disagreed(format!(
                "{} does not sign batch {epoch}",
                self.name
            )));
        }
        let state = batch.check(&self.channels).map_err(Fail::disagreed)?;
        let venue = self.channels.first().map_or(B256::ZERO, |it| it.venue);
        let signed = batch.cosigned(self.cosigner.account(venue, &state)?);
        for holding in &signed {
            self.keep.keep(holding)?;
        }
        self.channels = signed.clone();
        Ok(signed)
    }

    /// The owner's half of a withdrawal.
    pub(super) fn sign_withdrawal(&self, hub: &Hub, withdrawal: &Withdrawal) -> Signature {
        self.owner.sign(withdrawal, &hub.domain())
    }

    /// Sends a withdrawal that both signed.
    pub(super) fn withdraw(&mut self, withdrawal: abi::Withdrawal) -> Result<(), Fail> {
        let call = ChannelHub::withdrawCall { w: withdrawal };
        let sent = self.evm.send("withdrawal", &call, 0)?;
        self.evm.confirm(sent, PATIENCE, LIMIT)?;
        Ok(())
    }
}
