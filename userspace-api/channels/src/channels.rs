//! All channels of a chain: followed through its blocks and reorganisations, and what is signed for them; each step on disk before it counts.

use crate::B256;
use crate::chain::{Block, Chain, ChainError};
use crate::life::{Fact, Life, Refused, Rules, Signed};
use crate::store::{Event, Store, StoreError};
use std::collections::{BTreeMap, HashMap};

/// Hashes of so many of the newest blocks are kept. A reorganisation that is deeper has taken back what counted.
const REMEMBERED: u64 = 256;

/// Why a step was not made. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum ChannelsError {
    /// The chain's node.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The channel's life.
    #[error("channel {channel}: {why}")]
    Refused {
        /// Which.
        channel: B256,
        /// Why.
        why: Refused,
    },
    /// The chain never opened it.
    #[error("channel {0} was never seen on the chain; wait until its opening is in a block")]
    Unknown(B256),
    /// No block that was seen is there.
    #[error(
        "the node's chain ends at block {tip} and has none of the blocks up to {seen} that were seen; it is of another chain, or still fetches this one"
    )]
    OtherChain {
        /// The node's.
        tip: u64,
        /// What was seen.
        seen: u64,
    },
}

/// What a look at the chain brought.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Followed {
    /// New facts.
    pub facts: usize,
    /// Last common block's height, if blocks went.
    pub reorganised: Option<u64>,
}

/// The channels of one chain.
#[derive(Debug)]
pub struct Channels {
    rules: Rules,
    /// First block that can have a channel.
    start: u64,
    store: Store,
    lives: HashMap<B256, Life>,
    exits: HashMap<B256, Vec<u8>>,
    blocks: BTreeMap<u64, B256>,
}

impl Channels {
    /// From their store, which is new or holds what happened so far. `start` is the first block that can have a channel.
    ///
    /// # Errors
    /// An event cannot be read, or does not follow from those before it.
    pub fn open(store: Store, rules: Rules, start: u64) -> Result<Channels, ChannelsError> {
        let events = store.events()?;
        let mut channels = Channels {
            rules,
            start,
            store,
            lives: HashMap::new(),
            exits: HashMap::new(),
            blocks: BTreeMap::new(),
        };
        for event in &events {
            channels.apply(event)?;
        }
        Ok(channels)
    }

    /// A channel's life so far.
    #[must_use]
    pub fn life(&self, channel: B256) -> Option<&Life> {
        self.lives.get(&channel)
    }

    /// All channels.
    pub fn iter(&self) -> impl Iterator<Item = (B256, &Life)> {
        self.lives.iter().map(|(channel, life)| (*channel, life))
    }

    /// What shows the last state of a channel to its chain.
    #[must_use]
    pub fn exit(&self, channel: B256) -> Option<&[u8]> {
        self.exits.get(&channel).map(Vec::as_slice)
    }

    /// Looks at the chain: takes in its new blocks, or takes back those that went. `now` is the venue's clock in seconds.
    ///
    /// # Errors
    /// The node or the disk; it is as before then, and may be called again.
    pub fn follow<C: Chain>(&mut self, chain: &mut C, now: u64) -> Result<Followed, ChannelsError> {
        let mut followed = Followed::default();
        let tip = chain.tip()?;
        let common = self.common(chain, &tip)?;
        if let Some((seen, _)) = self.blocks.last_key_value()
            && common < *seen
        {
            self.step(Event::Reorganised { height: common })?;
            followed.reorganised = Some(common);
        }
        let from = self.next();
        if tip.height < from {
            return Ok(followed);
        }
        let mut blocks = Vec::new();
        for height in from.max(tip.height.saturating_sub(REMEMBERED))..=tip.height {
            match chain.block(height)? {
                Some(block) => blocks.push(block),
                // It went while it was asked for: the next look sees which.
                None => return Ok(followed),
            }
        }
        let seen = chain.facts(from, tip.height)?;
        // All was read of one chain if its end is still there.
        if chain.block(tip.height)? != Some(tip) || blocks.last() != Some(&tip) {
            return Ok(followed);
        }
        followed.facts = seen.len();
        self.step(Event::Advanced { blocks, seen, now })?;
        Ok(followed)
    }

    /// First block that was not seen.
    fn next(&self) -> u64 {
        let last = self.blocks.last_key_value();
        last.map_or(self.start, |(height, _)| height + 1)
    }

    /// The highest block that was seen and is still in the chain.
    fn common<C: Chain>(&self, chain: &mut C, tip: &Block) -> Result<u64, ChannelsError> {
        for (height, hash) in self.blocks.iter().rev() {
            if *height <= tip.height && chain.block(*height)?.is_some_and(|it| it.hash == *hash) {
                return Ok(*height);
            }
        }
        let (Some((lowest, _)), Some((seen, _))) =
            (self.blocks.first_key_value(), self.blocks.last_key_value())
        else {
            return Ok(self.start);
        };
        match lowest.checked_sub(1) {
            // Deeper than is remembered: what counted is gone.
            Some(below) if tip.height > below => Ok(below),
            // A node that is being filled says the same as a chain that lost its history, and only the first is likely.
            _ => Err(ChannelsError::OtherChain {
                tip: tip.height,
                seen: *seen,
            }),
        }
    }

    /// The exchange signs a state. When this returns the signature may leave.
    ///
    /// # Errors
    /// The life refuses it, or the disk.
    pub fn offer(&mut self, channel: B256, state: Signed) -> Result<(), ChannelsError> {
        self.try_life(channel, |life| life.offer(state))?;
        self.step(Event::Offered { channel, state })
    }

    /// The trader has signed too. `exit` shows the state to the chain.
    ///
    /// # Errors
    /// It was not offered, or the disk.
    pub fn complete(
        &mut self,
        channel: B256,
        version: u64,
        exit: Vec<u8>,
    ) -> Result<(), ChannelsError> {
        self.try_life(channel, |life| life.complete(version).map(drop))?;
        self.step(Event::Completed {
            channel,
            version,
            exit,
        })
    }

    /// Both sign a withdrawal up to this much in all, until a deadline in seconds of Unix time.
    ///
    /// # Errors
    /// The life refuses it, or the disk.
    pub fn withdraw(
        &mut self,
        channel: B256,
        withdrawn: u128,
        deadline: u64,
    ) -> Result<(), ChannelsError> {
        self.try_life(channel, |life| life.withdraw(withdrawn, deadline))?;
        self.step(Event::Withdrawing {
            channel,
            withdrawn,
            deadline,
        })
    }

    /// Both sign the end.
    ///
    /// # Errors
    /// The life refuses it, or the disk.
    pub fn close(&mut self, channel: B256) -> Result<(), ChannelsError> {
        self.try_life(channel, |life| life.close().map(drop))?;
        self.step(Event::Closing { channel })
    }

    /// Whether a life would take a step.
    fn try_life(
        &self,
        channel: B256,
        step: impl FnOnce(&mut Life) -> Result<(), Refused>,
    ) -> Result<(), ChannelsError> {
        let life = self.lives.get(&channel);
        let mut life = life.ok_or(ChannelsError::Unknown(channel))?.clone();
        step(&mut life).map_err(|why| ChannelsError::Refused { channel, why })
    }

    /// Writes an event, then lets it count.
    fn step(&mut self, event: Event) -> Result<(), ChannelsError> {
        self.store.append(&event)?;
        self.apply(&event)
    }

    fn apply(&mut self, event: &Event) -> Result<(), ChannelsError> {
        let (channel, done) = match event {
            Event::Advanced { blocks, seen, now } => {
                for it in seen {
                    if it.channel == B256::ZERO {
                        for life in self.lives.values_mut() {
                            let _ = life.see(it.fact, it.height); // a settled one is not frozen any more
                        }
                        continue;
                    }
                    let life = match it.fact {
                        Fact::Opened { .. } => {
                            let new = || Life::new(self.rules);
                            Some(self.lives.entry(it.channel).or_insert_with(new))
                        }
                        _ => self.lives.get_mut(&it.channel),
                    };
                    // What comes behind the end (a claim that is paid) and a channel from before the start change nothing.
                    let _ = life.map(|life| life.see(it.fact, it.height));
                }
                for block in blocks {
                    self.blocks.insert(block.height, block.hash);
                }
                if let Some(tip) = blocks.last() {
                    self.blocks = self
                        .blocks
                        .split_off(&tip.height.saturating_sub(REMEMBERED));
                    for life in self.lives.values_mut() {
                        life.tip(tip.height, *now);
                    }
                }
                return Ok(());
            }
            Event::Reorganised { height } => {
                self.blocks.split_off(&(height + 1));
                if self.blocks.is_empty() {
                    // What is seen next begins here.
                    self.start = self.start.max(height + 1);
                }
                for life in self.lives.values_mut() {
                    life.reorganised(*height);
                }
                return Ok(());
            }
            Event::Offered { channel, state } => (channel, self.life_mut(*channel)?.offer(*state)),
            Event::Completed {
                channel,
                version,
                exit,
            } => {
                let done = self.life_mut(*channel)?.complete(*version).map(drop);
                if done.is_ok() {
                    self.exits.insert(*channel, exit.clone());
                }
                (channel, done)
            }
            Event::Withdrawing {
                channel,
                withdrawn,
                deadline,
            } => (
                channel,
                self.life_mut(*channel)?.withdraw(*withdrawn, *deadline),
            ),
            Event::Closing { channel } => (channel, self.life_mut(*channel)?.close().map(drop)),
        };
        done.map_err(|why| ChannelsError::Refused {
            channel: *channel,
            why,
        })
    }

    fn life_mut(&mut self, channel: B256) -> Result<&mut Life, ChannelsError> {
        let life = self.lives.get_mut(&channel);
        life.ok_or(ChannelsError::Unknown(channel))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::{Progress, Seen, Sent};
    use crate::life::Phase;
    use proptest::prelude::*;
    use std::path::Path;

    const RULES: Rules = Rules {
        confirmations: 3,
        pin_every: 10,
    };

    /// Blocks and what is in them; a block's hash is its place and a number of its own.
    #[derive(Default)]
    struct Ledger {
        blocks: Vec<(B256, Vec<(B256, Fact)>)>,
        made: u64,
    }

    impl Ledger {
        fn mine(&mut self, facts: Vec<(B256, Fact)>) {
            self.made += 1;
            self.blocks
                .push((B256::from(alloy_primitives::U256::from(self.made)), facts));
        }
        fn at(&self, height: u64) -> Option<Block> {
            let block = self.blocks.get(usize::try_from(height).unwrap())?;
            Some(Block {
                height,
                hash: block.0,
                time: height,
            })
        }
        /// What counts of a channel's deposits, and its version in dispute: read off the chain as it is.
        fn deposited(&self, channel: B256) -> u128 {
            let counted = self
                .blocks
                .len()
                .saturating_sub(RULES.confirmations as usize);
            let facts = self.blocks[..counted].iter().flat_map(|(_, facts)| facts);
            facts
                .filter(|(of, _)| *of == channel)
                .filter_map(|(_, fact)| match fact {
                    Fact::Opened { deposited } | Fact::Deposited { deposited } => Some(*deposited),
                    _ => None,
                })
                .max()
                .unwrap_or(0)
        }
    }

    impl Chain for Ledger {
        type Exit = ();
        fn tip(&mut self) -> Result<Block, ChainError> {
            Ok(self.at(self.blocks.len() as u64 - 1).unwrap())
        }
        fn block(&mut self, height: u64) -> Result<Option<Block>, ChainError> {
            Ok(self.at(height))
        }
        fn facts(&mut self, from: u64, to: u64) -> Result<Vec<Seen>, ChainError> {
            let all = (from..=to).flat_map(|height| {
                let facts = &self.blocks[usize::try_from(height).unwrap()].1;
                let seen = move |(channel, fact): &(B256, Fact)| Seen {
                    height,
                    channel: *channel,
                    fact: *fact,
                };
                facts.iter().map(seen)
            });
            Ok(all.collect())
        }
        fn dispute(&mut self, (): &()) -> Result<Sent, ChainError> {
            Err(ChainError::Unsupported("it only tells"))
        }
        fn refute(&mut self, (): &()) -> Result<Sent, ChainError> {
            Err(ChainError::Unsupported("it only tells"))
        }
        fn settle(&mut self, (): &()) -> Result<Sent, ChainError> {
            Err(ChainError::Unsupported("it only tells"))
        }
        fn progress(&mut self, _: &Sent) -> Result<Progress, ChainError> {
            Ok(Progress::Gone)
        }
        fn bump(&mut self, _: &Sent) -> Result<Sent, ChainError> {
            Err(ChainError::Unsupported("it only tells"))
        }
    }

    fn open(file: &Path) -> Channels {
        Channels::open(Store::open(file).unwrap(), RULES, 0).unwrap()
    }

    #[derive(Clone, Debug)]
    enum Step {
        Mine(Option<(u8, u32)>),
        /// So many blocks go and one more comes.
        Fork(usize),
        Follow,
        Restart,
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        /// Forks that are not deeper than what does not count yet: the lives are what the chain says, also after a restart at any place.
        #[test]
        fn what_counts_is_what_the_chain_says(steps in prop::collection::vec(prop_oneof![
            5 => prop::option::of((1_u8..4, 1_u32..50)).prop_map(Step::Mine),
            2 => (1_usize..3).prop_map(Step::Fork),
            3 => Just(Step::Follow),
            1 => Just(Step::Restart),
        ], 1..60)) {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("channels");
            let mut chain = Ledger::default();
            chain.mine(Vec::new());
            let mut channels = open(&file);
            let mut totals: BTreeMap<u8, u128> = BTreeMap::new();
            for step in steps.into_iter().chain([Step::Follow, Step::Restart]) {
                match step {
                    Step::Mine(paid) => {
                        let fact = paid.map(|(number, more)| {
                            let channel = B256::repeat_byte(number);
                            let fresh = !totals.contains_key(&number);
                            let total = totals.entry(number).or_default();
                            *total += u128::from(more);
                            let deposited = *total;
                            (channel, if fresh { Fact::Opened { deposited } } else { Fact::Deposited { deposited } })
                        });
                        chain.mine(fact.into_iter().collect());
                    }
                    Step::Fork(depth) => {
                        // Openings stay: a life begins with one.
                        let opens = |facts: &[(B256, Fact)]| facts.iter().any(|(_, fact)| matches!(fact, Fact::Opened { .. }));
                        let from = chain.blocks.len().saturating_sub(depth).max(1);
                        if !chain.blocks[from..].iter().any(|(_, facts)| opens(facts)) {
                            let gone = chain.blocks.len() - from;
                            chain.blocks.truncate(from);
                            for _ in 0..=gone {
                                chain.mine(Vec::new());
                            }
                        }
                    }
                    Step::Follow => drop(channels.follow(&mut chain, 0).unwrap()),
                    Step::Restart => {
                        drop(channels);
                        channels = open(&file);
                        channels.follow(&mut chain, 0).unwrap();
                        for (channel, life) in channels.iter() {
                            prop_assert_ne!(life.phase(), Phase::Frozen);
                            prop_assert_eq!(life.deposited(), chain.deposited(channel));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn what_was_signed_is_there_after_a_restart_and_a_deep_fork_freezes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("channels");
        let channel = B256::repeat_byte(7);
        let mut chain = Ledger::default();
        chain.mine(vec![(channel, Fact::Opened { deposited: 100 })]);
        (0..6).for_each(|_| chain.mine(Vec::new()));
        let mut channels = open(&file);
        channels.follow(&mut chain, 0).unwrap();
        let state = Signed {
            version: 1,
            balance: 90,
            deposited_seen: 100,
            withdrawn_seen: 0,
            epoch: 1,
            pin: 3,
        };
        channels.offer(channel, state).unwrap();
        drop(channels);
        let mut channels = open(&file);
        // Another state of that version: the first may be in the trader's hands.
        let other = Signed {
            balance: 80,
            ..state
        };
        let refused = channels.offer(channel, other).unwrap_err();
        assert!(
            refused.to_string().contains("version 1 is not above 1"),
            "{refused}"
        );
        channels.complete(channel, 1, vec![1, 2]).unwrap();
        channels.withdraw(channel, 40, 1000).unwrap();
        drop(channels);
        let mut channels = open(&file);
        assert_eq!(channels.exit(channel), Some(&[1, 2][..]));
        let life = channels.life(channel).unwrap();
        assert_eq!((life.phase(), life.entitlement()), (Phase::Withdrawing, 90));
        chain.blocks.truncate(1);
        (0..9).for_each(|_| chain.mine(Vec::new()));
        let followed = channels.follow(&mut chain, 0).unwrap();
        assert_eq!(followed.reorganised, Some(0));
        assert_eq!(channels.life(channel).unwrap().phase(), Phase::Frozen);
        // A node that has nothing of it.
        let mut elsewhere = Ledger {
            made: 500,
            ..Ledger::default()
        };
        elsewhere.mine(Vec::new());
        let refused = channels.follow(&mut elsewhere, 0).unwrap_err();
        assert!(
            matches!(refused, ChannelsError::OtherChain { .. }),
            "{refused}"
        );
    }
}
