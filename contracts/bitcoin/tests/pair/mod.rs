//! Both sides of one channel in one process, for tests: keys from fixed seeds, journals in memory or in files.

#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]

use std::{cell::RefCell, io, rc::Rc};

use bitcoin::{
    Amount, OutPoint, ScriptBuf, TapSighashType, Transaction, Witness,
    hashes::Hash,
    key::Keypair,
    secp256k1::{Message, Secp256k1},
    sighash::{Prevouts, SighashCache},
};
use ring0_bitcoin::{
    chain::Chain,
    channel::{Channel, Record},
    commitment::{Balance, State},
    cooperative::Cooperative,
    journal::Journal,
    keys::{Party, Secrets},
    psbt::CooperativePsbt,
    terms::{Funding, Terms},
};

pub const TRADER_SEED: [u8; 32] = [0x11; 32];
pub const OPERATOR_SEED: [u8; 32] = [0x22; 32];
pub const TRADER_DELAY: u16 = 12;
pub const OPERATOR_DELAY: u16 = 20;
/// Covers fee, anchors and dust on both chains, with the fee rates used here.
pub const RESERVE: Amount = Amount::from_sat(100_000);
pub const FEE_RATE: u64 = 2_000;

/// A journal that lives as long as its clones, and can be told to fail.
#[derive(Clone, Default)]
pub struct Memory {
    pub records: Rc<RefCell<Vec<Record>>>,
    pub failing: Rc<RefCell<bool>>,
}

impl Journal for Memory {
    fn append(&mut self, record: &Record) -> io::Result<()> {
        if *self.failing.borrow() {
            return Err(io::Error::other("the disk is full"));
        }
        self.records.borrow_mut().push(record.clone());
        Ok(())
    }
}

pub fn secrets(party: Party, chain: Chain, channel: u32) -> Secrets {
    let seed = match party {
        Party::Trader => TRADER_SEED,
        Party::Operator => OPERATOR_SEED,
    };
    Secrets::derive(&seed, chain, channel).unwrap()
}

pub fn terms(chain: Chain, channel: u32) -> Terms {
    Terms {
        chain,
        trader: secrets(Party::Trader, chain, channel).public(),
        operator: secrets(Party::Operator, chain, channel).public(),
        trader_delay_blocks: TRADER_DELAY,
        operator_delay_blocks: OPERATOR_DELAY,
        reserve: RESERVE,
    }
}

pub fn state(version: u64, trader_sat: u64) -> State {
    State {
        version,
        trader: Amount::from_sat(trader_sat),
        fee_rate_sat_per_kvb: FEE_RATE,
    }
}

/// A funding output that no chain knows, for tests without one.
pub fn imagined_funding() -> Funding {
    Funding {
        outpoint: OutPoint {
            txid: bitcoin::Txid::from_byte_array([0xab; 32]),
            vout: 1,
        },
        value: Amount::from_sat(10_000_000),
    }
}

pub struct Pair {
    pub trader: Channel<Memory>,
    pub operator: Channel<Memory>,
    pub journals: [Memory; 2],
}

impl Pair {
    /// Opens both sides and exchanges version 0.
    pub fn open(chain: Chain, channel: u32, funding: Funding, trader_sat: u64) -> Self {
        let journals = [Memory::default(), Memory::default()];
        let (trader, operator) = (
            secrets(Party::Trader, chain, channel),
            secrets(Party::Operator, chain, channel),
        );
        let points = [
            Channel::<Memory>::first_points(&operator),
            Channel::<Memory>::first_points(&trader),
        ];
        let mut pair = Self {
            trader: Channel::open(
                terms(chain, channel),
                Party::Trader,
                trader,
                funding,
                points[0],
                journals[0].clone(),
            )
            .unwrap(),
            operator: Channel::open(
                terms(chain, channel),
                Party::Operator,
                operator,
                funding,
                points[1],
                journals[1].clone(),
            )
            .unwrap(),
            journals,
        };
        pair.exchange(state(0, trader_sat));
        pair
    }

    pub fn side(&mut self, party: Party) -> &mut Channel<Memory> {
        match party {
            Party::Trader => &mut self.trader,
            Party::Operator => &mut self.operator,
        }
    }

    /// Both sign and accept a state.
    pub fn exchange(&mut self, state: State) {
        let for_operator = self.trader.sign(state).unwrap();
        let for_trader = self.operator.sign(state).unwrap();
        self.trader.accept(state, for_trader).unwrap();
        self.operator.accept(state, for_operator).unwrap();
    }

    /// Both give up the version before the newest.
    pub fn give_up(&mut self) {
        let (trader, operator) = (
            self.trader.disclose().unwrap(),
            self.operator.disclose().unwrap(),
        );
        self.trader.accept_disclosure(&operator).unwrap();
        self.operator.accept_disclosure(&trader).unwrap();
    }

    /// A whole update.
    pub fn update(&mut self, version: u64, trader_sat: u64) {
        self.exchange(state(version, trader_sat));
        self.give_up();
    }
}

/// Both sign a close or splice, each with its own copy of the PSBT; other inputs' witnesses come from `wallet`.
pub fn sign_together(
    pair: &Pair,
    cooperative: &Cooperative,
    wallet: Option<&Transaction>,
) -> Transaction {
    let trader_session = pair.trader.signer(cooperative).unwrap();
    let operator_session = pair.operator.signer(cooperative).unwrap();
    let mut at_trader = CooperativePsbt::new(cooperative.clone());
    at_trader.set_nonce(Party::Trader, &trader_session.nonce());
    let mut at_operator =
        CooperativePsbt::import(cooperative.clone(), &at_trader.export()).unwrap();
    at_operator.set_nonce(Party::Operator, &operator_session.nonce());
    let partial = operator_session
        .sign(&at_operator.nonce(Party::Trader).unwrap())
        .unwrap();
    at_operator.set_partial(Party::Operator, &partial);
    let mut at_trader =
        CooperativePsbt::import(cooperative.clone(), &at_operator.export()).unwrap();
    let partial = trader_session
        .sign(&at_trader.nonce(Party::Operator).unwrap())
        .unwrap();
    at_trader.set_partial(Party::Trader, &partial);
    if let Some(wallet) = wallet {
        for place in (0..wallet.input.len()).filter(|place| *place != cooperative.place()) {
            at_trader.set_witness(place, wallet.input[place].witness.clone());
        }
    }
    at_trader.finish().unwrap()
}

/// A claim signed again after it was changed.
pub fn resign(tx: &Transaction, balance: &Balance, payout: &Keypair) -> Transaction {
    let mut tx = tx.clone();
    let sighash = SighashCache::new(&tx)
        .taproot_script_spend_signature_hash(
            0,
            &Prevouts::All(&[&balance.output]),
            balance.leaf.hash(),
            TapSighashType::Default,
        )
        .unwrap();
    let signature = Secp256k1::new()
        .sign_schnorr_no_aux_rand(&Message::from_digest(sighash.to_byte_array()), payout);
    tx.input[0].witness = Witness::from_slice(&[
        signature.as_ref(),
        balance.leaf.script.as_bytes(),
        &balance.leaf.control_block().serialize(),
    ]);
    tx
}

/// A script that belongs to nobody in the channel.
pub fn elsewhere(byte: u8) -> ScriptBuf {
    ScriptBuf::from_hex(&format!("0014{}", hex_of(&[byte; 20]))).unwrap()
}

pub fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
