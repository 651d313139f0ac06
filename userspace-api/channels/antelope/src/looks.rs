//! What happened to channels, from looks at the hub's rows: a node has no log, so each look is compared with the one before.
//!
//! Always true: a look's facts are what its rows add to those of the looks below it, and it stands at the block whose rows it saw. So it goes with that block.

use crate::row::Channel;
use alloy_primitives::B256;
use ring0_channels::chain::Seen;
use ring0_channels::life::Fact;
use std::collections::BTreeMap;

/// Looks so many blocks below the newest are taken together: no chain takes so many back.
const REMEMBERED: u64 = 1_000;

/// Rows that differ from those below, and what that means.
#[derive(Debug, Default)]
struct Look {
    height: u64,
    hash: B256,
    channels: BTreeMap<B256, Channel>,
    frozen: bool,
    facts: Vec<Seen>,
}

/// All looks of one process, the lowest first.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    channels: BTreeMap<B256, Channel>,
    frozen: bool,
    looks: Vec<Look>,
}

impl Looks {
    /// Blocks with a look, from this height on.
    pub(crate) fn blocks(&self, from: u64) -> Vec<(u64, B256)> {
        let looks = self.looks.iter().filter(|it| it.height >= from);
        looks.map(|it| (it.height, it.hash)).collect()
    }

    /// The blocks from this height on are not in the chain any more.
    pub(crate) fn cut(&mut self, height: u64) {
        self.looks.retain(|it| it.height < height);
    }

    /// Takes in all rows as they are after the block at `height`.
    pub(crate) fn see(&mut self, height: u64, hash: B256, rows: Vec<Channel>, frozen: bool) {
        let mut known = self.channels.clone();
        known.extend(self.looks.iter().flat_map(|it| it.channels.clone()));
        let mut look = Look {
            height,
            hash,
            frozen,
            ..Look::default()
        };
        for row in rows {
            let before = known.get(&row.id);
            if before != Some(&row) {
                let seen = |fact| Seen {
                    height,
                    channel: row.id,
                    fact,
                };
                look.facts
                    .extend(between(before, &row).into_iter().map(seen));
                look.channels.insert(row.id, row);
            }
        }
        if frozen && !self.looks.last().map_or(self.frozen, |it| it.frozen) {
            look.facts.push(Seen {
                height,
                channel: B256::ZERO,
                fact: Fact::Frozen,
            });
        }
        self.looks.push(look);
        self.take_together(height.saturating_sub(REMEMBERED));
    }

    /// What was first seen in these blocks.
    pub(crate) fn facts(&self, from: u64, to: u64) -> Vec<Seen> {
        let looks = self.looks.iter();
        let looks = looks.filter(|it| (from..=to).contains(&it.height));
        looks.flat_map(|it| it.facts.iter().copied()).collect()
    }

    fn take_together(&mut self, below: u64) {
        let old = self.looks.partition_point(|it| it.height < below);
        for look in self.looks.drain(..old) {
            self.channels.extend(look.channels);
            self.frozen = look.frozen;
        }
    }
}

/// What has happened to a channel between two looks.
fn between(before: Option<&Channel>, now: &Channel) -> Vec<Fact> {
    let mut facts = Vec::new();
    let deposited = u128::from(now.deposited);
    match before {
        None => facts.push(Fact::Opened { deposited }),
        Some(before) if before.deposited != now.deposited => {
            facts.push(Fact::Deposited { deposited });
        }
        Some(_) => {}
    }
    if before.map_or(0, |it| it.withdrawn) != now.withdrawn {
        let withdrawn = u128::from(now.withdrawn);
        facts.push(Fact::Withdrawn { withdrawn });
    }
    if let Some(version) = now.disputed()
        && before.and_then(Channel::disputed) != Some(version)
    {
        facts.push(Fact::Disputed { version });
    }
    if now.closed && !before.is_some_and(|it| it.closed) {
        facts.push(Fact::Settled);
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(change: impl FnOnce(&mut Channel)) -> Channel {
        let mut row = Channel::unpack(&[0; 241]).unwrap();
        row.id = B256::repeat_byte(1);
        change(&mut row);
        row
    }

    #[test]
    fn facts_are_differences_and_go_with_their_block() {
        let hash = B256::with_last_byte;
        let facts = |looks: &Looks, from, to| -> Vec<(u64, Fact)> {
            let all = looks.facts(from, to).into_iter();
            all.map(|it| (it.height, it.fact)).collect()
        };
        let mut looks = Looks::default();
        looks.see(10, hash(10), vec![row(|_| ())], false);
        looks.see(12, hash(12), vec![row(|it| it.deposited = 5)], false);
        looks.see(13, hash(13), vec![row(|it| it.deposited = 5)], true);
        let opened = (10, Fact::Opened { deposited: 0 });
        let paid = (12, Fact::Deposited { deposited: 5 });
        assert_eq!(facts(&looks, 0, 20), [opened, paid, (13, Fact::Frozen)]);
        assert_eq!(facts(&looks, 11, 12), [paid]);
        assert_eq!(looks.blocks(12), [(12, hash(12)), (13, hash(13))]);
        // A fork without the deposit; it comes again later, with a dispute that was answered between two looks.
        looks.cut(12);
        looks.see(12, hash(99), vec![row(|_| ())], false);
        assert_eq!(facts(&looks, 11, 20), []);
        let answered = row(|it| (it.deposited, it.deadline, it.version) = (5, 9, 2));
        looks.see(14, hash(14), vec![answered], false);
        let paid = (14, Fact::Deposited { deposited: 5 });
        let disputed = (14, Fact::Disputed { version: 2 });
        assert_eq!(facts(&looks, 11, 20), [paid, disputed]);
        // More is paid in while it runs, which does not begin it again.
        let more = row(|it| (it.deposited, it.deadline, it.version) = (6, 9, 2));
        looks.see(15, hash(15), vec![more], false);
        let paid = (15, Fact::Deposited { deposited: 6 });
        assert_eq!(facts(&looks, 15, 20), [paid]);
        let end = |it: &mut Channel| {
            (
                it.deposited,
                it.withdrawn,
                it.deadline,
                it.version,
                it.closed,
            ) = (6, 1, 9, 3, true)
        };
        looks.see(14 + 2 * REMEMBERED, hash(15), vec![row(end)], true);
        let height = 14 + 2 * REMEMBERED;
        let withdrawn = (height, Fact::Withdrawn { withdrawn: 1 });
        let end = [withdrawn, (height, Fact::Settled), (height, Fact::Frozen)];
        assert_eq!(facts(&looks, 0, height), end);
        assert_eq!(looks.looks.len(), 1, "what is old is taken together");
    }
}
