//! A hub's figures by its node, block by block: from which block on it has another amount than its channels and its vault.

use super::First;
use crate::config::HubConfig;
use crate::events::{HubEvent, Rpc, Told};
use ring0_channels::chain::Block;
use ring0_channels::message::Hub;
use ring0_channels::{Address, B256};
use std::collections::BTreeMap;

/// What of a hub is looked at.
pub(super) struct Whose<'a> {
    pub(super) hub: &'a HubConfig,
    pub(super) token: Address,
    /// The vault as the hub says it: equation (iii). Else as its events lead to it: equation (iv).
    pub(super) vault_by_hub: bool,
}

/// The first block whose figures differ, between the last height that agreed and the cut's. `None`: by the node they agree at the cut's.
pub(super) fn first(
    whose: &Whose<'_>,
    journaled: &[Told],
    agreed: Option<u64>,
    height: u64,
) -> Result<Option<First>, String> {
    let hub = whose.hub;
    let rpc = Rpc::new(&hub.rpc);
    let told = rpc.told(&hub.hub, hub.start, height);
    let told = told.map_err(|error| error.to_string())?;
    let journaled: Vec<&Told> = journaled.iter().filter(|it| it.height <= height).collect();
    if let Some(at) = differs(&journaled, &told) {
        let text =
            |it: Option<&Told>| it.map_or("nothing".to_owned(), |it| format!("{:?}", it.event));
        let (there, here) = (journaled.get(at).copied(), told.get(at));
        let height = here.or(there).map_or(height, |it| it.height);
        return Ok(Some(First::Told {
            hub: hub.name.clone(),
            height,
            journal: text(there),
            chain: text(here),
        }));
    }
    let sides = |height: u64| -> Result<(i128, i128), String> {
        let block = Block {
            height,
            hash: B256::ZERO,
            time: 0,
        };
        let holds = rpc.holds(&hub.hub, whose.token, &block);
        let holds = holds.map_err(|error| format!("block {height}: {error}"))?;
        let tally = Tally::of(&hub.hub, told.iter().take_while(|it| it.height <= height));
        let (escrow, vault) = tally.sums(whose.token);
        let vault = match whose.vault_by_hub {
            true => holds.vault.cast_signed(),
            false => vault,
        };
        Ok((holds.balance.cast_signed(), escrow + vault))
    };
    let (mut has, mut parts) = sides(height)?;
    if has == parts {
        return Ok(None);
    }
    // What is wrong stays wrong until somebody looks: the border lies where halves say it does.
    let (mut below, mut above) = (agreed.unwrap_or(hub.start).min(height), height);
    let mut is_first = below < height
        && match sides(below) {
            Ok((has, parts)) => has == parts,
            Err(_) => false, // the node has forgotten that block
        };
    while is_first && above - below > 1 {
        let middle = below + (above - below) / 2;
        match sides(middle) {
            Ok((left, right)) if left == right => below = middle,
            Ok(found) => (above, (has, parts)) = (middle, found),
            Err(_) => is_first = false,
        }
    }
    Ok(Some(First::Block {
        hub: hub.name.clone(),
        height: above,
        has,
        parts,
        is_first,
    }))
}

/// The place of the first event that is not the same.
fn differs(journaled: &[&Told], told: &[Told]) -> Option<usize> {
    let same = journaled.iter().zip(told).position(|(a, b)| *a != b);
    let lengths = (journaled.len() != told.len()).then(|| journaled.len().min(told.len()));
    same.or(lengths)
}

struct Channel {
    token: Address,
    deposited: i128,
    withdrawn: i128,
    moved: i128,
    ended: bool,
}

impl Channel {
    fn escrow(&self) -> i128 {
        match self.ended {
            true => 0,
            false => self.deposited + self.moved - self.withdrawn,
        }
    }
}

/// Channels and vaults by a hub's events alone, base units.
#[derive(Default)]
struct Tally {
    channels: BTreeMap<B256, Channel>,
    vaults: BTreeMap<Address, i128>,
}

impl Tally {
    fn of<'a>(hub: &Hub, told: impl Iterator<Item = &'a Told>) -> Tally {
        let mut tally = Tally::default();
        for it in told {
            tally.take(hub, &it.event);
        }
        tally
    }

    fn take(&mut self, hub: &Hub, event: &HubEvent) {
        match *event {
            HubEvent::Opened { terms, deposited } => {
                let channel = Channel {
                    token: terms.token,
                    deposited: deposited.cast_signed(),
                    withdrawn: 0,
                    moved: 0,
                    ended: false,
                };
                self.channels.insert(hub.channel(&terms), channel);
            }
            HubEvent::Funded { token, amount } => *self.vaults.entry(token).or_default() += amount,
            HubEvent::Deposited { channel, deposited } => self.change(channel, |it| {
                it.deposited = deposited.cast_signed();
                0
            }),
            HubEvent::Withdrawn { channel, withdrawn } => self.change(channel, |it| {
                // Winnings: the hub moved the vault's money into the escrow first.
                let amount = withdrawn.cast_signed() - it.withdrawn;
                let more = (amount - it.escrow()).max(0);
                it.moved += more;
                it.withdrawn = withdrawn.cast_signed();
                -more
            }),
            HubEvent::Rebalanced { channel, moved, .. } => self.change(channel, |it| {
                it.moved += moved;
                -moved
            }),
            HubEvent::Ended { channel, paid, .. } => self.change(channel, |it| {
                let own = it.escrow();
                it.ended = true;
                own - paid.cast_signed()
            }),
            HubEvent::ClaimPaid { channel, amount } => {
                self.change(channel, |_| -amount.cast_signed());
            }
            HubEvent::Disputed { .. } | HubEvent::Posted { .. } | HubEvent::Pinned { .. } => {}
        }
    }

    /// What happens to a channel, and what it gives to the vault.
    fn change(&mut self, channel: B256, change: impl FnOnce(&mut Channel) -> i128) {
        if let Some(channel) = self.channels.get_mut(&channel) {
            *self.vaults.entry(channel.token).or_default() += change(channel);
        }
    }

    /// Of a token: channels' own together, and the vault.
    fn sums(&self, token: Address) -> (i128, i128) {
        let own = self.channels.values().filter(|it| it.token == token);
        let vault = self.vaults.get(&token).copied().unwrap_or(0);
        (own.map(Channel::escrow).sum(), vault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring0_channels::U256;
    use ring0_channels::message::Terms;

    const TOKEN: Address = Address::repeat_byte(7);

    /// Whatever happens to a channel, what the hub has is what came in less what went out, and it is all somebody's.
    #[test]
    fn the_vault_follows_from_the_events() {
        let hub = Hub {
            lineage: U256::from(1),
            address: Address::repeat_byte(1),
        };
        let terms = Terms {
            owner: Address::repeat_byte(2),
            cosigner: Address::repeat_byte(3),
            token: TOKEN,
            nonce: 1,
        };
        let channel = hub.channel(&terms);
        let token = TOKEN;
        let steps = [
            (
                HubEvent::Opened {
                    terms,
                    deposited: 50,
                },
                (50, 0),
                50,
            ),
            (HubEvent::Funded { token, amount: 100 }, (50, 100), 150),
            (
                HubEvent::Deposited {
                    channel,
                    deposited: 60,
                },
                (60, 100),
                160,
            ),
            // 20 of its own.
            (
                HubEvent::Withdrawn {
                    channel,
                    withdrawn: 20,
                },
                (40, 100),
                140,
            ),
            // 70 more: 40 of its own and 30 won.
            (
                HubEvent::Withdrawn {
                    channel,
                    withdrawn: 90,
                },
                (0, 70),
                70,
            ),
            (
                HubEvent::Rebalanced {
                    channel,
                    number: 1,
                    moved: 25,
                },
                (25, 45),
                70,
            ),
            (
                HubEvent::Rebalanced {
                    channel,
                    number: 2,
                    moved: -5,
                },
                (20, 50),
                70,
            ),
            // It won 12 more than it had.
            (
                HubEvent::Ended {
                    channel,
                    paid: 32,
                    claim: 0,
                },
                (0, 38),
                38,
            ),
            (HubEvent::Funded { token, amount: -8 }, (0, 30), 30),
        ];
        let mut tally = Tally::default();
        for (event, sums, held) in steps {
            tally.take(&hub, &event);
            assert_eq!(tally.sums(TOKEN), sums, "{event:?}");
            assert_eq!(sums.0 + sums.1, held, "{event:?}");
        }
        assert_eq!(tally.sums(Address::ZERO), (0, 0));
    }
}
