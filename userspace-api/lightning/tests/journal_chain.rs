//! The rail followed by the exchange's side of channels, and a node's start on chains that are not its own.

use std::{num::NonZeroU64, sync::Arc, time::Duration};

use bitcoin::{
    Block, BlockHash, Network, Transaction,
    constants::genesis_block,
    hashes::{Hash, sha256},
};
use lightning::{chain::BestBlock, ln::types::ChannelId};
use lightning_persister::fs_store::FilesystemStore;
use ring0_channels::{
    B256,
    chain::{Chain, ChainError},
    life::{Fact, Life, Phase, Rules},
};
use ring0_lightning::{
    amount::{Msat, Scale},
    blocks::{BlockSource, SourceError},
    exchange::Exchange,
    journal::{Account, Direction, FileJournal},
    journal_chain::{JournalChain, channel_of},
    node::Options,
    rail::Limits,
};

/// A chain of one block.
struct Genesis;

impl BlockSource for Genesis {
    fn tip(&self) -> Result<BestBlock, SourceError> {
        Ok(BestBlock::new(
            genesis_block(Network::Regtest).block_hash(),
            0,
        ))
    }
    fn hash_at(&self, height: u32) -> Result<Option<BlockHash>, SourceError> {
        Ok((height == 0).then(|| genesis_block(Network::Regtest).block_hash()))
    }
    fn block(&self, _: &BlockHash) -> Result<Block, SourceError> {
        Ok(genesis_block(Network::Regtest))
    }
    fn send(&self, _: &[Transaction]) -> Result<(), SourceError> {
        Err(SourceError("nothing is sent here".to_owned()))
    }
    fn fee_rate(&self, _: u16) -> Result<Option<u32>, SourceError> {
        Ok(None)
    }
}

fn msat(msat: u64) -> Msat {
    Msat::new(msat).unwrap()
}

fn hash(number: u8) -> sha256::Hash {
    sha256::Hash::hash(&[number])
}

fn open(folder: &std::path::Path) -> Arc<Exchange<FileJournal>> {
    let options = Options {
        network: Network::Regtest,
        seed: [3; 32],
        store: Arc::new(FilesystemStore::new(folder.join("node"))),
        blocks: Arc::new(Genesis),
        listen: None,
        accept_channels: false,
        forward: false,
        delay_blocks: 144,
        confirmations: 3,
        poll: Duration::from_millis(50),
        reserve_sat_per_kw: 2_500,
        log: Arc::new(|_| {}),
    };
    let limits = Limits {
        deposit: msat(1)..=msat(1_000_000),
        withdrawal: msat(1)..=msat(1_000_000),
        expiry_max_s: 100,
        expiry_margin_s: 10,
    };
    let scale = Scale {
        msat_per_unit: NonZeroU64::new(1_000).unwrap(),
    };
    let (journal, entries) = FileJournal::open(&folder.join("rail")).unwrap();
    Arc::new(Exchange::open(options, journal, &entries, limits, scale).unwrap())
}

/// Lives of two accounts by all facts, in two readings that overlap.
fn lives(chain: &mut JournalChain<FileJournal>) -> [Life; 2] {
    let rules = Rules {
        confirmations: 1,
        pin_every: 10,
    };
    let tip = chain.tip().unwrap().height;
    let mut lives = [Account(1), Account(2)].map(|account| (channel_of(account), Life::new(rules)));
    for (from, to) in [(0, tip / 2), (tip / 2, tip)] {
        for seen in chain.facts(from, to).unwrap() {
            let (_, life) = lives
                .iter_mut()
                .find(|(id, _)| *id == seen.channel)
                .unwrap();
            life.see(seen.fact, seen.height).unwrap();
            life.tip(to, 0);
        }
    }
    lives.map(|(_, life)| life)
}

#[test]
fn an_account_lives_by_the_rails_facts() {
    let folder = tempfile::tempdir().unwrap();
    let exchange = open(folder.path());
    {
        let mut rail = exchange.rail();
        for (number, account, amount) in [(1, 1, 5_500), (2, 1, 700), (3, 2, 9_000)] {
            rail.invoiced(hash(number), Account(account), msat(amount), 0, 100)
                .unwrap();
        }
        rail.claimed(hash(1), msat(5_500)).unwrap();
        // Account 2 begins by paying out what it had traded.
        rail.moved(Account(2), 1, Direction::FromEngine, 8).unwrap();
        rail.hold(hash(4), Account(2), msat(7_000), msat(100), "ln", 60)
            .unwrap();
        rail.claimed(hash(2), msat(701)).unwrap();
        rail.claimed(hash(2), msat(701)).unwrap();
        rail.sent(hash(4), msat(40), "00").unwrap();
        rail.hold(hash(5), Account(1), msat(1_000), msat(0), "ln", 60)
            .unwrap();
        rail.failed(hash(5), "no way").unwrap();
        assert_eq!(rail.movable(Account(1)), (6, msat(201)));
    }
    let mut chain = JournalChain::new(exchange.clone());
    let tip = chain.tip().unwrap();
    assert_eq!(tip.height, 10, "an entry a block; what comes twice is none");
    let facts: Vec<_> = chain
        .facts(0, tip.height)
        .unwrap()
        .iter()
        .map(|it| (it.height, it.fact))
        .collect();
    assert_eq!(
        facts,
        [
            (4, Fact::Opened { deposited: 5_500 }),
            (7, Fact::Deposited { deposited: 6_201 }),
            (8, Fact::Opened { deposited: 0 }),
            (8, Fact::Withdrawn { withdrawn: 7_040 }),
        ]
    );
    let [one, two] = lives(&mut chain);
    assert_eq!((one.phase(), one.deposited()), (Phase::Open, 6_201));
    assert_eq!((two.phase(), two.deposited()), (Phase::Open, 0));

    // After a restart the same blocks; there is one genesis, and nothing above the tip.
    let blocks: Vec<_> = (0..=tip.height)
        .map(|height| chain.block(height).unwrap().unwrap())
        .collect();
    assert_eq!(chain.block(tip.height + 1).unwrap(), None);
    drop((chain, exchange));
    let exchange = open(folder.path());
    let mut chain = JournalChain::new(exchange.clone());
    let again: Vec<_> = (0..=tip.height)
        .map(|height| chain.block(height).unwrap().unwrap())
        .collect();
    // One withdrawal was held and never sent by this node: opening has released nothing else.
    assert_eq!(again, blocks);
    assert_eq!(chain.tip().unwrap(), tip);
    assert_eq!(blocks[0].hash, B256::ZERO);

    // An exit is a channel's, and there is none.
    let none = ChannelId([9; 32]);
    assert!(matches!(
        chain.dispute(&none),
        Err(ChainError::Refused { .. })
    ));
    assert!(matches!(
        chain.refute(&none),
        Err(ChainError::Unsupported(_))
    ));
    assert!(matches!(
        chain.settle(&none),
        Err(ChainError::Unsupported(_))
    ));
}
