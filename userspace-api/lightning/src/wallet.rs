//! The node's coins on the chain: they fund channels and pay the fees of leaving them, and what comes out of channels goes here.
//!
//! One key, P2WPKH, known by blocks: what pays to it is added, what is spent taken away. Its coins are on the disk with the block they
//! are as of. A reorganisation takes back what the blocks above brought; it remembers so many.

use std::{collections::BTreeMap, sync::Mutex};

use bitcoin::{
    Amount, CompressedPublicKey, EcdsaSighashType, Network, OutPoint, Psbt, ScriptBuf, Sequence,
    Transaction, TxIn, TxOut, Witness,
    absolute::LockTime,
    bip32::{ChildNumber, Xpriv},
    block::Header,
    secp256k1::{All, Message, Secp256k1, SecretKey},
    sighash::SighashCache,
    transaction::Version,
};
use lightning::{
    chain::{BestBlock, Listen, transaction::TransactionData},
    events::bump_transaction::{Utxo, sync::WalletSourceSync},
    sign::ChangeDestinationSourceSync,
};
use serde::{Deserialize, Serialize};

/// Blocks after which a spent coin is forgotten: no reorganisation is expected to be deeper (a coinbase's maturity).
const REMEMBERED_BLOCKS: u32 = 100;
/// Weight of a P2WPKH input with its witness: 41 bytes and a signature of at most 72, a key of 33 and three lengths.
const INPUT_WEIGHT: u64 = 41 * 4 + 109;
/// Weight of a transaction without inputs and outputs, with the two bytes that mark witnesses.
const BASE_WEIGHT: u64 = 10 * 4 + 2;

/// A coin of this wallet.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Coin {
    output: TxOut,
    /// Height of the block that has it.
    since: u32,
    /// Height of the block that spends it.
    spent: Option<u32>,
    /// A coinbase's: not to be spent before it is mature.
    coinbase: bool,
}

/// What is on the disk.
#[derive(Debug, Deserialize, Serialize)]
struct State {
    height: u32,
    hash: bitcoin::BlockHash,
    coins: BTreeMap<OutPoint, Coin>,
    /// Promised to a funding transaction that is not in a block.
    promised: BTreeMap<OutPoint, bitcoin::Txid>,
}

/// Why the wallet does not pay.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum WalletError {
    /// Too little there.
    #[error(
        "the node's wallet has {has} that can be spent, and {needs} are needed; pay the difference to {address}"
    )]
    Short {
        /// Confirmed and not promised.
        has: Amount,
        /// Amount and fee.
        needs: Amount,
        /// Where to.
        address: String,
    },
}

/// The wallet.
pub struct Wallet {
    secp: Secp256k1<All>,
    key: SecretKey,
    public: CompressedPublicKey,
    network: Network,
    state: Mutex<State>,
}

impl Wallet {
    /// The wallet of a seed, as of a block, empty.
    ///
    /// # Panics
    /// For a seed that gives no key, which nobody will ever see.
    pub fn new(seed: &[u8; 32], network: Network, at: BestBlock) -> Self {
        let secp = Secp256k1::new();
        // Beside the children 0' to 7' that LDK's key manager takes of the same seed.
        let hardened = |index| ChildNumber::from_hardened_idx(index).expect("below 2^31");
        let path = [
            hardened(84),
            hardened(u32::from(network != Network::Bitcoin)),
            hardened(0),
        ];
        let key = Xpriv::new_master(network, seed)
            .and_then(|master| master.derive_priv(&secp, &path))
            .expect("a key, but with a probability of 2^-127")
            .private_key;
        let state = State {
            height: at.height,
            hash: at.block_hash,
            coins: BTreeMap::new(),
            promised: BTreeMap::new(),
        };
        Self {
            public: CompressedPublicKey(key.public_key(&secp)),
            secp,
            key,
            network,
            state: Mutex::new(state),
        }
    }

    /// As [`Wallet::new`], with what [`Wallet::encode`] gave.
    ///
    /// # Errors
    /// It is not that.
    pub fn read(
        seed: &[u8; 32],
        network: Network,
        bytes: &[u8],
    ) -> Result<Self, serde_json::Error> {
        let state: State = serde_json::from_slice(bytes)?;
        let wallet = Self::new(seed, network, BestBlock::new(state.hash, state.height));
        *wallet.state.lock().expect("no panic while locked") = state;
        Ok(wallet)
    }

    /// What has to be on the disk.
    ///
    /// # Panics
    /// Never: coins can be written.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(&*self.state.lock().expect("no panic while locked"))
            .expect("coins can be written")
    }

    /// The block it is as of.
    ///
    /// # Panics
    /// After a panic with it.
    pub fn best_block(&self) -> BestBlock {
        let state = self.state.lock().expect("no panic while locked");
        BestBlock::new(state.hash, state.height)
    }

    /// Where it is paid.
    pub fn script(&self) -> ScriptBuf {
        ScriptBuf::new_p2wpkh(&self.public.wpubkey_hash())
    }

    /// Where it is paid, for people.
    pub fn address(&self) -> bitcoin::Address {
        bitcoin::Address::p2wpkh(&self.public, self.network)
    }

    /// Confirmed coins that are neither spent nor promised.
    ///
    /// # Panics
    /// After a panic with it.
    pub fn spendable(&self) -> Vec<Utxo> {
        let state = self.state.lock().expect("no panic while locked");
        state
            .coins
            .iter()
            .filter(|(place, coin)| {
                coin.spent.is_none()
                    && !state.promised.contains_key(*place)
                    && !(coin.coinbase && state.height + 1 < coin.since + REMEMBERED_BLOCKS)
            })
            .map(|(place, coin)| {
                Utxo::new_v0_p2wpkh(*place, coin.output.value, &self.public.wpubkey_hash())
            })
            .collect()
    }

    /// What can be spent.
    pub fn balance(&self) -> Amount {
        self.spendable().iter().map(|coin| coin.output.value).sum()
    }

    /// A signed transaction that pays `value` to `script`; its coins are promised to it until a block has it or [`Wallet::discard`].
    ///
    /// # Errors
    /// [`WalletError`].
    ///
    /// # Panics
    /// After a panic with it.
    pub fn fund(
        &self,
        script: ScriptBuf,
        value: Amount,
        sat_per_kw: u32,
    ) -> Result<Transaction, WalletError> {
        let mut coins = self.spendable();
        coins.sort_by_key(|coin| std::cmp::Reverse(coin.output.value));
        let has = coins.iter().map(|coin| coin.output.value).sum();
        let out = TxOut {
            value,
            script_pubkey: script,
        };
        let mut change = TxOut {
            value: Amount::ZERO,
            script_pubkey: self.script(),
        };
        let fixed = BASE_WEIGHT + out.weight().to_wu() + change.weight().to_wu();
        let fee = |inputs: u64| {
            let weight = fixed + inputs * INPUT_WEIGHT;
            Amount::from_sat((weight * u64::from(sat_per_kw)).div_ceil(1_000))
        };
        let (mut taken, mut sum) = (Vec::new(), Amount::ZERO);
        for coin in coins {
            if sum >= value + fee(taken.len() as u64) && !taken.is_empty() {
                break;
            }
            sum += coin.output.value;
            taken.push(coin);
        }
        let needs = value + fee(taken.len().max(1) as u64);
        let Some(rest) = sum.checked_sub(needs) else {
            let address = self.address().to_string();
            return Err(WalletError::Short {
                has,
                needs,
                address,
            });
        };
        let mut output = vec![out];
        if rest >= change.script_pubkey.minimal_non_dust() {
            change.value = rest;
            output.push(change);
        }
        let mut tx = Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: taken
                .iter()
                .map(|coin| TxIn {
                    previous_output: coin.outpoint,
                    script_sig: ScriptBuf::new(),
                    sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
                    witness: Witness::new(),
                })
                .collect(),
            output,
        };
        for (place, coin) in taken.iter().enumerate() {
            self.sign(&mut tx, place, &coin.output);
        }
        let txid = tx.compute_txid();
        let mut state = self.state.lock().expect("no panic while locked");
        state
            .promised
            .extend(taken.iter().map(|coin| (coin.outpoint, txid)));
        Ok(tx)
    }

    /// A funding transaction will never be: its coins can be spent again.
    ///
    /// # Panics
    /// After a panic with it.
    pub fn discard(&self, txid: bitcoin::Txid) {
        let mut state = self.state.lock().expect("no panic while locked");
        state.promised.retain(|_, promised| *promised != txid);
    }

    fn sign(&self, tx: &mut Transaction, place: usize, spent: &TxOut) {
        let sighash = SighashCache::new(&*tx)
            .p2wpkh_signature_hash(
                place,
                &spent.script_pubkey,
                spent.value,
                EcdsaSighashType::All,
            )
            .expect("the input is there and the script is P2WPKH");
        let signature = bitcoin::ecdsa::Signature {
            signature: self
                .secp
                .sign_ecdsa_low_r(&Message::from(sighash), &self.key),
            sighash_type: EcdsaSighashType::All,
        };
        tx.input[place].witness = Witness::p2wpkh(&signature, &self.public.0);
    }
}

impl Listen for Wallet {
    fn filtered_block_connected(&self, header: &Header, txdata: &TransactionData<'_>, height: u32) {
        let script = self.script();
        let mut state = self.state.lock().expect("no panic while locked");
        for (_, tx) in txdata {
            for input in &tx.input {
                if let Some(coin) = state.coins.get_mut(&input.previous_output) {
                    coin.spent = Some(height);
                    state.promised.remove(&input.previous_output);
                }
            }
            let txid = tx.compute_txid();
            for (vout, output) in (0..).zip(&tx.output) {
                if output.script_pubkey == script {
                    let coin = Coin {
                        output: output.clone(),
                        since: height,
                        spent: None,
                        coinbase: tx.is_coinbase(),
                    };
                    state.coins.insert(OutPoint { txid, vout }, coin);
                }
            }
        }
        let gone = |spent: u32| spent + REMEMBERED_BLOCKS <= height;
        state.coins.retain(|_, coin| !coin.spent.is_some_and(gone));
        (state.height, state.hash) = (height, header.block_hash());
    }

    fn blocks_disconnected(&self, fork: BestBlock) {
        let mut state = self.state.lock().expect("no panic while locked");
        state.coins.retain(|_, coin| coin.since <= fork.height);
        for coin in state.coins.values_mut() {
            coin.spent = coin.spent.filter(|height| *height <= fork.height);
        }
        (state.height, state.hash) = (fork.height, fork.block_hash);
    }
}

impl WalletSourceSync for Wallet {
    fn list_confirmed_utxos(&self) -> Result<Vec<Utxo>, ()> {
        Ok(self.spendable())
    }

    fn get_change_script(&self) -> Result<ScriptBuf, ()> {
        Ok(self.script())
    }

    fn sign_psbt(&self, psbt: Psbt) -> Result<Transaction, ()> {
        let mut tx = psbt.unsigned_tx;
        let ours = self.script();
        for (place, input) in psbt.inputs.iter().enumerate() {
            if let Some(spent) = input
                .witness_utxo
                .as_ref()
                .filter(|spent| spent.script_pubkey == ours)
            {
                self.sign(&mut tx, place, spent);
            }
        }
        Ok(tx)
    }
}

impl ChangeDestinationSourceSync for Wallet {
    fn get_change_destination_script(&self) -> Result<ScriptBuf, ()> {
        Ok(self.script())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::{BlockHash, constants::genesis_block, hashes::Hash};

    const RATE: u32 = 1_000;

    fn start() -> Wallet {
        let genesis = BestBlock::new(BlockHash::all_zeros(), 10);
        Wallet::new(&[5; 32], Network::Regtest, genesis)
    }

    fn connect(wallet: &Wallet, height: u32, txs: &[Transaction]) {
        let mut block = genesis_block(Network::Regtest);
        block.header.nonce = height;
        block.txdata = txs.to_vec();
        wallet.block_connected(&block, height);
    }

    /// A transaction from elsewhere that pays the wallet; a coinbase if it spends nothing.
    fn pays(wallet: &Wallet, sat: u64, from: Option<u8>) -> Transaction {
        let previous_output = from.map_or(OutPoint::null(), |byte| {
            OutPoint::new(bitcoin::Txid::from_byte_array([byte; 32]), 0)
        });
        Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                previous_output,
                ..TxIn::default()
            }],
            output: vec![TxOut {
                value: Amount::from_sat(sat),
                script_pubkey: wallet.script(),
            }],
        }
    }

    #[test]
    fn coins_come_are_promised_go_and_come_back_by_a_reorganisation() {
        let wallet = start();
        connect(
            &wallet,
            11,
            &[
                pays(&wallet, 100_000, Some(1)),
                pays(&wallet, 50_000, Some(2)),
            ],
        );
        connect(&wallet, 12, &[pays(&wallet, 7_000_000, None)]);
        assert_eq!(
            wallet.balance().to_sat(),
            150_000,
            "a coinbase is not mature"
        );

        let script = ScriptBuf::new_p2wsh(&bitcoin::WScriptHash::all_zeros());
        let short = wallet
            .fund(script.clone(), Amount::from_sat(150_000), RATE)
            .unwrap_err();
        let WalletError::Short { has, needs, .. } = &short;
        assert_eq!(has.to_sat(), 150_000);
        assert!(
            needs > has && short.to_string().contains("bcrt1q"),
            "{short}"
        );

        let tx = wallet
            .fund(script.clone(), Amount::from_sat(120_000), RATE)
            .unwrap();
        assert_eq!((tx.input.len(), tx.output.len()), (2, 2));
        let fee = 150_000
            - tx.output
                .iter()
                .map(|output| output.value.to_sat())
                .sum::<u64>();
        let weight = tx.weight().to_wu();
        assert!(
            (weight..weight + 12).contains(&fee),
            "{fee} for {weight} weight units at 1 a unit"
        );
        assert_eq!(wallet.balance(), Amount::ZERO, "both coins are promised");
        wallet.discard(tx.compute_txid());
        assert_eq!(wallet.balance().to_sat(), 150_000);

        let tx = wallet.fund(script, Amount::from_sat(80_000), RATE).unwrap();
        assert_eq!(tx.input.len(), 1, "one coin is enough");
        // All of it is there after a restart.
        let bytes = wallet.encode();
        let wallet = Wallet::read(&[5; 32], Network::Regtest, &bytes).unwrap();
        assert_eq!(wallet.balance().to_sat(), 50_000);
        connect(&wallet, 13, std::slice::from_ref(&tx));
        let change = tx.output[1].value.to_sat();
        assert_eq!(wallet.balance().to_sat(), 50_000 + change);
        wallet.blocks_disconnected(BestBlock::new(BlockHash::all_zeros(), 11));
        assert_eq!(wallet.balance().to_sat(), 150_000);
        connect(&wallet, 12, std::slice::from_ref(&tx));
        assert_eq!(wallet.balance().to_sat(), 50_000 + change);
        assert_eq!(wallet.best_block().height, 12);
    }

    #[test]
    fn a_coinbase_is_spent_when_it_is_mature() {
        let wallet = start();
        connect(&wallet, 11, &[pays(&wallet, 9_000, None)]);
        for height in 12..110 {
            connect(&wallet, height, &[]);
            assert_eq!(wallet.balance(), Amount::ZERO, "height {height}");
        }
        // In block 111 it is spent at the earliest: 100 blocks after its own.
        connect(&wallet, 110, &[]);
        assert_eq!(wallet.balance().to_sat(), 9_000);
    }
}
