//! The channels of one hub, as the journal tells their chain: what is confirmed, what both have signed, whose they are.
//!
//! `ring0_channels::channels::Channels` does the same with a store of its own and one wait for the disk a step. Here thousands of states are offered and
//! completed a second, all journaled together, and everything that has to come back after a death stands in one journal
//! (`docs/decisions/0081-settled.md`); the rules are the same, [`Life`]'s.

use ring0_channels::B256;
use ring0_channels::chain::{Block, Chain, ChainError, Seen};
use ring0_channels::life::{Fact, Life, Refused, Rules, Signed};
use ring0_channels::message::{Hub, Terms};
use std::collections::BTreeMap;

/// Hashes of so many of the newest blocks are kept. A reorganisation that is deeper has taken back what counted.
const REMEMBERED: u64 = 256;

/// What a look at a chain brought: one step of the journal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Look {
    /// New blocks and what happened to channels in them.
    Advanced {
        /// Oldest first; the newest ones of a long way.
        blocks: Vec<Block>,
        /// In the chain's order.
        seen: Vec<Seen>,
    },
    /// The blocks above a height are no longer in the chain.
    Reorganised {
        /// The last common block's.
        height: u64,
    },
}

/// Blocks that were seen: what the chain's thread compares the chain with.
#[derive(Clone, Debug)]
pub struct Blocks {
    /// First block that can have a channel.
    start: u64,
    seen: BTreeMap<u64, Block>,
}

impl Blocks {
    /// None yet; `start` is the first block that can have a channel.
    #[must_use]
    pub fn new(start: u64) -> Blocks {
        Blocks {
            start,
            seen: BTreeMap::new(),
        }
    }

    /// The newest block that was seen.
    #[must_use]
    pub fn tip(&self) -> Option<Block> {
        self.seen.last_key_value().map(|(_, block)| *block)
    }

    /// A block that was seen, by its height.
    #[must_use]
    pub fn at(&self, height: u64) -> Option<Block> {
        self.seen.get(&height).copied()
    }

    /// Looks at the chain. `None`: nothing new, or it changed while it was looked at; the next look sees more.
    ///
    /// # Errors
    /// The node; or its chain has no block that was seen.
    pub fn look<C: Chain>(&self, chain: &mut C) -> Result<Option<Look>, ChainError> {
        let tip = chain.tip()?;
        let mut common = None;
        for (height, block) in self.seen.iter().rev() {
            if *height <= tip.height
                && chain
                    .block(*height)?
                    .is_some_and(|it| it.hash == block.hash)
            {
                common = Some(*height);
                break;
            }
        }
        let common = match (common, self.seen.first_key_value(), self.tip()) {
            (Some(common), ..) => common,
            (None, Some((lowest, _)), Some(seen)) => match lowest.checked_sub(1) {
                // Deeper than is remembered: what counted is gone, and every life says so.
                Some(below) if tip.height > below => below,
                _ => {
                    return Err(ChainError::Node {
                        node: "the node".to_owned(),
                        why: format!(
                            "its chain ends at block {} and has none of the blocks up to {} that were seen; it is of another chain, or still fetches this one",
                            tip.height, seen.height
                        ),
                    });
                }
            },
            _ => self.start,
        };
        if self.tip().is_some_and(|seen| common < seen.height) {
            return Ok(Some(Look::Reorganised { height: common }));
        }
        let from = self.tip().map_or(self.start, |seen| seen.height + 1);
        if tip.height < from {
            return Ok(None);
        }
        let mut blocks = Vec::new();
        for height in from.max(tip.height.saturating_sub(REMEMBERED))..=tip.height {
            match chain.block(height)? {
                Some(block) => blocks.push(block),
                None => return Ok(None),
            }
        }
        let seen = chain.facts(from, tip.height)?;
        // All was read of one chain if its end is still there.
        if chain.block(tip.height)? != Some(tip) || blocks.last() != Some(&tip) {
            return Ok(None);
        }
        Ok(Some(Look::Advanced { blocks, seen }))
    }

    /// Takes in a look that is durable.
    pub fn apply(&mut self, look: &Look) {
        match look {
            Look::Advanced { blocks, .. } => {
                self.seen
                    .extend(blocks.iter().map(|block| (block.height, *block)));
                if let Some(tip) = self.tip() {
                    self.seen = self.seen.split_off(&tip.height.saturating_sub(REMEMBERED));
                }
            }
            Look::Reorganised { height } => {
                self.seen.split_off(&(height + 1));
                if self.seen.is_empty() {
                    self.start = self.start.max(height + 1);
                }
            }
        }
    }
}

/// The channels of one hub.
#[derive(Clone, Debug)]
pub struct Lives {
    hub: Hub,
    rules: Rules,
    blocks: Blocks,
    lives: BTreeMap<B256, Life>,
    terms: BTreeMap<B256, Terms>,
    pin: Option<Block>,
    /// Time of the newest block that counts: what has a deadline before it and did not happen never will.
    counted_s: u64,
}

impl Lives {
    /// Of a hub whose first channel can be in block `start`.
    #[must_use]
    pub fn new(hub: Hub, rules: Rules, start: u64) -> Lives {
        Lives {
            hub,
            rules,
            blocks: Blocks::new(start),
            lives: BTreeMap::new(),
            terms: BTreeMap::new(),
            pin: None,
            counted_s: 0,
        }
    }

    /// The hub.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Confirmations and blocks between pins.
    #[must_use]
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// Blocks that were seen.
    #[must_use]
    pub fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// Seconds of Unix time of the newest block that counts.
    #[must_use]
    pub fn counted_s(&self) -> u64 {
        self.counted_s
    }

    /// The pinned block that is signed under.
    #[must_use]
    pub fn pin(&self) -> Option<Block> {
        self.pin
    }

    /// A channel's life.
    #[must_use]
    pub fn life(&self, channel: B256) -> Option<&Life> {
        self.lives.get(&channel)
    }

    /// A channel's terms.
    #[must_use]
    pub fn terms(&self, channel: B256) -> Option<&Terms> {
        self.terms.get(&channel)
    }

    /// All channels with their terms and lives.
    pub fn iter(&self) -> impl Iterator<Item = (B256, &Terms, &Life)> {
        self.terms.iter().filter_map(|(channel, terms)| {
            let life = self.lives.get(channel)?;
            Some((*channel, terms, life))
        })
    }

    /// Takes in a durable look; `opened` are the terms of channels that were opened in it.
    pub fn look(&mut self, look: &Look, opened: &[Terms]) {
        for terms in opened {
            self.terms.insert(self.hub.channel(terms), *terms);
        }
        self.blocks.apply(look);
        match look {
            Look::Advanced { seen, .. } => {
                for it in seen {
                    self.see(it);
                }
                let Some(tip) = self.blocks.tip() else { return };
                let counted = tip.height.saturating_sub(self.rules.confirmations);
                if let Some(block) = self.blocks.at(counted) {
                    self.counted_s = self.counted_s.max(block.time);
                }
                for life in self.lives.values_mut() {
                    life.tip(tip.height, self.counted_s);
                }
            }
            Look::Reorganised { height } => {
                for life in self.lives.values_mut() {
                    life.reorganised(*height);
                }
                if self.pin.is_some_and(|pin| pin.height > *height) {
                    // The pinned block is gone: nothing is signed until another one is pinned.
                    self.pin = None;
                }
            }
        }
    }

    fn see(&mut self, it: &Seen) {
        if it.channel == B256::ZERO {
            for life in self.lives.values_mut() {
                let _ = life.see(it.fact, it.height); // a settled one is not frozen any more
            }
            return;
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

    /// A block was pinned and is confirmed as such.
    pub fn pinned(&mut self, block: Block) {
        self.pin = Some(block);
    }

    /// Whether a channel's life takes a step; nothing changes.
    ///
    /// # Errors
    /// The life's reason; an unknown channel is one that is not open.
    pub fn would<T>(
        &self,
        channel: B256,
        step: impl FnOnce(&mut Life) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let none = Life::new(self.rules);
        step(&mut self.lives.get(&channel).unwrap_or(&none).clone())
    }

    /// Takes a journaled step.
    ///
    /// # Errors
    /// The life's reason: the journal contradicts itself.
    pub fn step<T>(
        &mut self,
        channel: B256,
        step: impl FnOnce(&mut Life) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        match self.lives.get_mut(&channel) {
            Some(life) => step(life),
            None => step(&mut Life::new(self.rules)),
        }
    }

    /// Version that the next state of a channel has: above every one that was offered.
    #[must_use]
    pub fn next_version(&self, offered: Option<&Signed>, channel: B256) -> u64 {
        let last = self.life(channel).and_then(Life::last);
        let last = last.map_or(0, |last| last.version);
        offered.map_or(last, |it| it.version.max(last)) + 1
    }
}
