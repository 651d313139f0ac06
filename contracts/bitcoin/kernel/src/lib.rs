//! A regtest chain in this process: blocks are mined here and judged by Bitcoin Core's own validation code.
//!
//! There is no mempool and no wallet: a transaction is valid if a block with it is. Coins come from coinbases that pay to
//! one taproot key of the chain's own.
#![deny(unsafe_code)]

pub mod served;

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{Arc, Mutex, Once},
};

use bitcoin::{
    Amount, Block, BlockHash, OutPoint, ScriptBuf, Sequence, TapSighashType, Transaction, TxIn,
    TxMerkleNode, TxOut, Witness,
    absolute::LockTime,
    block::{Header, Version},
    consensus::encode::{deserialize, serialize},
    hashes::Hash,
    key::{Keypair, Secp256k1, TapTweak},
    opcodes::all::OP_RETURN,
    secp256k1::{Message, SecretKey},
    sighash::{Prevouts, SighashCache},
};
use bitcoinkernel::{
    BlockValidationStateRef, ChainType, ChainstateManager, Context, ContextBuilder, Log, Logger,
    ValidationMode, prelude::*,
};

/// A coinbase can be spent so many blocks after its own.
const COINBASE_MATURITY: u32 = 100;
/// Blocks between halvings on regtest.
const HALVING_BLOCKS: u32 = 150;
/// The easiest target there is: every second header meets it.
const BITS: u32 = 0x207f_ffff;

thread_local! {
    /// What the validation code said since the last block was submitted; it runs on the thread that submits.
    static SAID: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Listener;

impl Log for Listener {
    fn log(&self, message: &str) {
        SAID.with_borrow_mut(|said| said.push(message.trim_end().to_owned()));
    }
}

/// What happened to the active chain, in order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// A block was added at the end.
    Connected(BlockHash),
    /// A block was taken off the end.
    Disconnected(BlockHash),
}

/// A chain.
pub struct Regtest {
    manager: ChainstateManager,
    _context: Arc<Context>,
    _folder: tempfile::TempDir,
    key: Keypair,
    /// Every block mined here, with its height, also those off the active chain.
    blocks: HashMap<BlockHash, (u32, Block)>,
    events: Arc<Mutex<Vec<Event>>>,
    verdict: Arc<Mutex<Option<bool>>>,
    /// Makes coinbases of one height differ.
    mined: u64,
    spent: u32,
}

fn hash_of(block: &bitcoinkernel::Block) -> BlockHash {
    BlockHash::from_byte_array(block.hash().to_bytes())
}

impl Regtest {
    /// A fresh chain in a temporary folder, with a coin to spend.
    ///
    /// # Panics
    /// When the folder or the validation engine cannot be made.
    pub fn new() -> Self {
        static LISTENING: Once = Once::new();
        // Listens for as long as the process lives: the handle, which would end it, is given away.
        LISTENING.call_once(|| {
            std::mem::forget(Logger::new(Listener).expect("a log callback can be registered"))
        });
        let (events, verdict) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(None)));
        let (connected, disconnected, checked) = (events.clone(), events.clone(), verdict.clone());
        let context = ContextBuilder::new()
            .chain_type(ChainType::Regtest)
            .with_block_connected_validation(
                move |block: bitcoinkernel::Block, _: bitcoinkernel::BlockTreeEntry<'_>| {
                    connected
                        .lock()
                        .expect("no panic while locked")
                        .push(Event::Connected(hash_of(&block)));
                },
            )
            .with_block_disconnected_validation(
                move |block: bitcoinkernel::Block, _: bitcoinkernel::BlockTreeEntry<'_>| {
                    disconnected
                        .lock()
                        .expect("no panic while locked")
                        .push(Event::Disconnected(hash_of(&block)));
                },
            )
            .with_block_checked_validation(
                move |_: bitcoinkernel::Block, state: BlockValidationStateRef<'_>| {
                    *checked.lock().expect("no panic while locked") =
                        Some(state.mode() == ValidationMode::Valid);
                },
            )
            .build()
            .expect("a regtest context can be made");
        let context = Arc::new(context);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let manager = ChainstateManager::new(&context, &path("data"), &path("blocks"))
            .expect("a chain in an empty folder");
        let key = Keypair::from_secret_key(
            &Secp256k1::new(),
            &SecretKey::from_slice(&[0x33; 32]).expect("a valid key"),
        );
        let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
        let blocks = HashMap::from([(genesis.block_hash(), (0, genesis))]);
        let mut chain = Self {
            manager,
            _context: context,
            _folder: folder,
            key,
            blocks,
            events,
            verdict,
            mined: 0,
            spent: 0,
        };
        chain.mine(COINBASE_MATURITY + 1);
        chain
    }

    /// The block at the end of the active chain.
    pub fn tip(&self) -> BlockHash {
        BlockHash::from_byte_array(self.manager.active_chain().tip().block_hash().to_bytes())
    }

    /// The height of the active chain.
    pub fn height(&self) -> u32 {
        u32::try_from(self.manager.active_chain().height()).expect("heights are not negative")
    }

    /// The block of the active chain at a height; `None` above its end.
    pub fn hash_at(&self, height: u32) -> Option<BlockHash> {
        let entry = self.manager.active_chain().at_height(height as usize)?;
        Some(BlockHash::from_byte_array(entry.block_hash().to_bytes()))
    }

    /// A block that was mined here, also one off the active chain.
    pub fn block(&self, hash: &BlockHash) -> Option<&Block> {
        self.blocks.get(hash).map(|(_, block)| block)
    }

    /// What happened since the last call.
    pub fn events(&self) -> Vec<Event> {
        std::mem::take(&mut self.events.lock().expect("no panic while locked"))
    }

    /// A script of the chain's own key.
    pub fn script(&self) -> ScriptBuf {
        ScriptBuf::new_p2tr(&Secp256k1::new(), self.key.x_only_public_key().0, None)
    }

    /// Mines empty blocks on the active chain.
    pub fn mine(&mut self, blocks: u32) {
        for _ in 0..blocks {
            self.confirm(&[]).expect("an empty block is valid");
        }
    }

    /// Mines a block with transactions on the active chain.
    ///
    /// # Errors
    /// The validation code's reason, such as `bad-txns-nonfinal`; the chain is as before.
    pub fn confirm(&mut self, transactions: &[Transaction]) -> Result<BlockHash, String> {
        self.mine_on(self.tip(), transactions)
    }

    /// Mines a block with transactions on any block. It becomes part of the active chain if its branch is longer.
    ///
    /// # Errors
    /// As [`Regtest::confirm`]; a block of a shorter branch is only judged once the branch is longer.
    pub fn mine_on(
        &mut self,
        parent: BlockHash,
        transactions: &[Transaction],
    ) -> Result<BlockHash, String> {
        let (height, parent_block) = &self.blocks[&parent];
        let (height, time) = (height + 1, parent_block.header.time + 600);
        self.mined += 1;
        let block = self.build(parent, height, time, transactions);
        let hash = block.block_hash();
        SAID.with_borrow_mut(Vec::clear);
        *self.verdict.lock().expect("no panic while locked") = None;
        let parsed =
            bitcoinkernel::Block::new(&serialize(&block)).map_err(|error| error.to_string())?;
        let result = self.manager.process_block(&parsed);
        let judged = *self.verdict.lock().expect("no panic while locked");
        if result.is_rejected() || judged == Some(false) {
            let said = SAID.with_borrow(|said| said.join("\n"));
            return Err(said);
        }
        self.blocks.insert(hash, (height, block));
        Ok(hash)
    }

    fn build(
        &self,
        parent: BlockHash,
        height: u32,
        time: u32,
        transactions: &[Transaction],
    ) -> Block {
        let subsidy = Amount::from_int_btc(50).to_sat() >> (height / HALVING_BLOCKS);
        let coinbase = Transaction {
            version: bitcoin::transaction::Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                previous_output: OutPoint::null(),
                script_sig: ScriptBuf::builder()
                    .push_int(i64::from(height))
                    .push_int(self.mined as i64 + 1_000)
                    .into_script(),
                sequence: Sequence::MAX,
                witness: Witness::from_slice(&[[0u8; 32]]),
            }],
            output: vec![TxOut {
                value: Amount::from_sat(subsidy),
                script_pubkey: self.script(),
            }],
        };
        let mut block = Block {
            header: Header {
                version: Version::from_consensus(0x2000_0000),
                prev_blockhash: parent,
                merkle_root: TxMerkleNode::all_zeros(),
                time,
                bits: bitcoin::CompactTarget::from_consensus(BITS),
                nonce: 0,
            },
            txdata: std::iter::once(coinbase)
                .chain(transactions.iter().cloned())
                .collect(),
        };
        let root = block.witness_root().expect("there is a coinbase");
        let commitment = Block::compute_witness_commitment(&root, &[0; 32]);
        let mut data = vec![0xaa, 0x21, 0xa9, 0xed]; // BIP141's header of the commitment
        data.extend_from_slice(commitment.as_byte_array());
        let script = ScriptBuf::builder()
            .push_opcode(OP_RETURN)
            .push_slice(<[u8; 36]>::try_from(data).expect("4 and 32 bytes"));
        block.txdata[0].output.push(TxOut {
            value: Amount::ZERO,
            script_pubkey: script.into_script(),
        });
        block.header.merkle_root = block.compute_merkle_root().expect("there is a coinbase");
        while block.header.validate_pow(block.header.target()).is_err() {
            block.header.nonce += 1;
        }
        block
    }

    /// A mature coin that was not given out before: its place and what it is.
    ///
    /// # Panics
    /// When none is mature: mine more blocks first.
    pub fn coin(&mut self) -> (OutPoint, TxOut) {
        self.spent += 1;
        assert!(
            self.spent + COINBASE_MATURITY <= self.height() + 1,
            "no mature coin: mine a block before"
        );
        let entry = self
            .manager
            .active_chain()
            .at_height(self.spent as usize)
            .expect("the height is below the tip's");
        let hash = BlockHash::from_byte_array(entry.block_hash().to_bytes());
        let coinbase = &self.blocks[&hash].1.txdata[0];
        (
            OutPoint {
                txid: coinbase.compute_txid(),
                vout: 0,
            },
            coinbase.output[0].clone(),
        )
    }

    /// Signs an input that spends one of the chain's own outputs; `prevouts` are all inputs' outputs.
    ///
    /// # Panics
    /// When `prevouts` are not one an input.
    pub fn sign(&self, tx: &mut Transaction, place: usize, prevouts: &[TxOut]) {
        let secp = Secp256k1::new();
        let sighash = SighashCache::new(&*tx)
            .taproot_key_spend_signature_hash(
                place,
                &Prevouts::All(prevouts),
                TapSighashType::Default,
            )
            .expect("an output for each input");
        let key = self.key.tap_tweak(&secp, None).to_keypair();
        let signature =
            secp.sign_schnorr_no_aux_rand(&Message::from_digest(sighash.to_byte_array()), &key);
        tx.input[place].witness = Witness::from_slice(&[signature.as_ref()]);
    }

    /// Whether a transaction is in the active chain, read back from the engine's own files.
    pub fn contains(&self, txid: bitcoin::Txid) -> bool {
        let chain = self.manager.active_chain();
        (1..=self.height() as usize).any(|height| {
            let entry = chain
                .at_height(height)
                .expect("the height is not above the tip's");
            let raw = self
                .manager
                .read_block_data(&entry)
                .expect("a block of the active chain is on the disk");
            let block: Block =
                deserialize(&raw.consensus_encode().expect("a block can be written"))
                    .expect("and read");
            block.txdata.iter().any(|tx| tx.compute_txid() == txid)
        })
    }
}

impl Default for Regtest {
    fn default() -> Self {
        Self::new()
    }
}
