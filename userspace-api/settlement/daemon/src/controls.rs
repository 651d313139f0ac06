//! What a withdrawal has to pass before anything is debited (CUSTODY 19): limits by hour and day, of an account and of the whole venue; an address that is
//! not the owner's own only when it was named long enough ago; a second person above an amount; one switch for all.
//!
//! Always true: what is decided follows from journaled entries and their times alone, so a replay decides the same.

use crate::decimal;
use ring0_channels::{Address, B256};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::collections::VecDeque;

/// Seconds of the two windows that limits are of.
const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;

/// Limits of an asset in base units; what is not given has none.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Limits {
    /// Of one account in an hour.
    #[serde(default, with = "option")]
    pub account_hour: Option<u128>,
    /// Of one account in a day.
    #[serde(default, with = "option")]
    pub account_day: Option<u128>,
    /// Of all accounts together in an hour.
    #[serde(default, with = "option")]
    pub venue_hour: Option<u128>,
    /// Of all accounts together in a day.
    #[serde(default, with = "option")]
    pub venue_day: Option<u128>,
    /// A withdrawal of more than this waits for an approver.
    #[serde(default, with = "option")]
    pub approve_above: Option<u128>,
}

/// The venue's rules.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Controls {
    /// Seconds from the naming of an address until money may go there.
    pub new_address_s: u64,
    /// Keys of those who approve large withdrawals.
    pub approvers: Vec<Address>,
    /// By asset index.
    pub assets: BTreeMap<u32, Limits>,
}

/// Why a withdrawal does not pass. Nothing was debited.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Held {
    /// All withdrawals stand still.
    #[error("withdrawals are stopped: {0}; an operator starts them again with `start-withdrawals`")]
    Stopped(String),
    /// An asset stands still.
    #[error("the asset is halted: {0}; it can be withdrawn again when an operator has cleared it")]
    AssetHalted(String),
    /// A limit would be passed.
    #[error(
        "with this the {whose} would withdraw {sum} base units in {window}, and {limit} is the limit; ask for less, or later"
    )]
    Limit {
        /// Whose limit.
        whose: &'static str,
        /// Of which window.
        window: &'static str,
        /// What it would come to.
        sum: u128,
        /// The limit.
        limit: u128,
    },
    /// The address was never named.
    #[error(
        "{0} is not the owner's own address and was not named; name it with `address`, money may go there after the venue's delay"
    )]
    AddressUnknown(Address),
    /// The address was named a short time ago.
    #[error(
        "{address} was named a short time ago; money may go there from second {from} of Unix time on"
    )]
    AddressNew {
        /// Which.
        address: Address,
        /// From when on.
        from: u64,
    },
}

/// Rules, and what they count.
#[derive(Clone, Debug, Default)]
pub struct Desk {
    controls: Controls,
    stopped: Option<String>,
    halted: BTreeMap<u32, String>,
    addresses: BTreeMap<(u32, Address), u64>,
    /// Time, account, amount and request of what was let through in the last day, by asset.
    passed: BTreeMap<u32, VecDeque<(u64, u32, u128, B256)>>,
}

impl Desk {
    /// The rules in force.
    #[must_use]
    pub fn controls(&self) -> &Controls {
        &self.controls
    }

    /// New rules.
    pub fn set(&mut self, controls: Controls) {
        self.controls = controls;
    }

    /// The switch for all: a reason stops, none starts.
    pub fn switch(&mut self, stopped: Option<String>) {
        self.stopped = stopped;
    }

    /// Why all withdrawals stand still.
    #[must_use]
    pub fn stopped(&self) -> Option<&str> {
        self.stopped.as_deref()
    }

    /// An asset stands still. What is said of it again stands behind what was said before.
    pub fn halt(&mut self, asset: u32, why: String) {
        match self.halted.get_mut(&asset) {
            None => drop(self.halted.insert(asset, why)),
            Some(all) if all.contains(&why) => {}
            Some(all) => {
                all.push_str("; ");
                all.push_str(&why);
            }
        }
    }

    /// An asset goes on.
    pub fn clear(&mut self, asset: u32) {
        self.halted.remove(&asset);
    }

    /// Why an asset stands still.
    #[must_use]
    pub fn halted(&self, asset: u32) -> Option<&str> {
        self.halted.get(&asset).map(String::as_str)
    }

    /// All assets that stand still.
    pub fn all_halted(&self) -> impl Iterator<Item = (u32, &str)> {
        self.halted
            .iter()
            .map(|(asset, why)| (*asset, why.as_str()))
    }

    /// An account names an address for its withdrawals. Named again it keeps its first time.
    pub fn name_address(&mut self, account: u32, address: Address, at: u64) {
        self.addresses.entry((account, address)).or_insert(at);
    }

    /// Whether a request passes now; whether an approver is needed then. `own`: the recipient is the owner itself.
    ///
    /// # Errors
    /// See [`Held`].
    pub fn check(
        &self,
        account: u32,
        asset: u32,
        amount: u128,
        recipient: Address,
        own: bool,
        now: u64,
    ) -> Result<bool, Held> {
        if let Some(why) = &self.stopped {
            return Err(Held::Stopped(why.clone()));
        }
        if let Some(why) = self.halted.get(&asset) {
            return Err(Held::AssetHalted(why.clone()));
        }
        if !own {
            let named = self.addresses.get(&(account, recipient));
            let named = named.ok_or(Held::AddressUnknown(recipient))?;
            let from = named.saturating_add(self.controls.new_address_s);
            if now < from {
                return Err(Held::AddressNew {
                    address: recipient,
                    from,
                });
            }
        }
        let Some(limits) = self.controls.assets.get(&asset) else {
            return Ok(false);
        };
        let sum = |seconds: u64, of: Option<u32>| {
            let all = self.passed.get(&asset).into_iter().flatten();
            let inside = all.filter(|(at, account, ..)| {
                at + seconds > now && of.is_none_or(|of| of == *account)
            });
            inside.fold(amount, |sum, (_, _, amount, _)| sum.saturating_add(*amount))
        };
        for (limit, whose, window, seconds, of) in [
            (
                limits.account_hour,
                "account",
                "an hour",
                HOUR,
                Some(account),
            ),
            (limits.account_day, "account", "a day", DAY, Some(account)),
            (limits.venue_hour, "venue", "an hour", HOUR, None),
            (limits.venue_day, "venue", "a day", DAY, None),
        ] {
            let sum = sum(seconds, of);
            if let Some(limit) = limit.filter(|limit| sum > *limit) {
                return Err(Held::Limit {
                    whose,
                    window,
                    sum,
                    limit,
                });
            }
        }
        Ok(limits.approve_above.is_some_and(|above| amount > above))
    }

    /// Counts a request that passed.
    pub fn count(&mut self, id: B256, account: u32, asset: u32, amount: u128, now: u64) {
        let passed = self.passed.entry(asset).or_default();
        while passed.front().is_some_and(|(at, ..)| at + DAY <= now) {
            passed.pop_front();
        }
        passed.push_back((now, account, amount, id));
    }

    /// Takes back what never left: it was refused after all, or lapsed.
    pub fn uncount(&mut self, id: B256, asset: u32) {
        if let Some(passed) = self.passed.get_mut(&asset) {
            passed.retain(|(.., of)| *of != id);
        }
    }
}

/// An amount that may be missing, as text.
mod option {
    use super::decimal;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize, Serialize)]
    struct Text(#[serde(with = "decimal")] u128);

    pub(super) fn serialize<S: Serializer>(
        amount: &Option<u128>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        amount.map(Text).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<u128>, D::Error> {
        Ok(Option::<Text>::deserialize(from)?.map(|text| text.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHER: Address = Address::repeat_byte(9);

    fn desk() -> Desk {
        let mut desk = Desk::default();
        desk.set(Controls {
            new_address_s: 86_400,
            approvers: vec![],
            assets: BTreeMap::from([(
                1,
                Limits {
                    account_hour: Some(100),
                    account_day: Some(150),
                    venue_hour: Some(200),
                    venue_day: Some(1_000),
                    approve_above: Some(60),
                },
            )]),
        });
        desk
    }

    fn pass(desk: &mut Desk, account: u32, amount: u128, now: u64) -> Result<bool, Held> {
        let approve = desk.check(account, 1, amount, OTHER, true, now)?;
        let id = B256::left_padding_from(&now.to_be_bytes());
        desk.count(id, account, 1, amount, now);
        Ok(approve)
    }

    #[test]
    fn limits_slide_and_are_of_account_and_venue() {
        let mut desk = desk();
        assert_eq!(pass(&mut desk, 1, 60, 1_000), Ok(false));
        let whose = |held| match held {
            Err(Held::Limit { whose, window, .. }) => (whose, window),
            other => panic!("{other:?}"),
        };
        assert_eq!(whose(pass(&mut desk, 1, 41, 1_001)), ("account", "an hour"));
        assert_eq!(pass(&mut desk, 2, 100, 1_002), Ok(true));
        assert_eq!(whose(pass(&mut desk, 3, 41, 1_003)), ("venue", "an hour"));
        assert_eq!(pass(&mut desk, 1, 90, 4_700), Ok(true));
        assert_eq!(whose(pass(&mut desk, 1, 1, 8_400)), ("account", "a day"));
        assert_eq!(pass(&mut desk, 1, 60, 87_401), Ok(false));
        // What lapsed does not count.
        desk.uncount(B256::left_padding_from(&4_700_u64.to_be_bytes()), 1);
        assert_eq!(pass(&mut desk, 1, 40, 87_402), Ok(false));
    }

    #[test]
    fn an_address_waits_and_switches_stop() {
        let mut desk = desk();
        let ask = |desk: &Desk, now| desk.check(1, 1, 1, OTHER, false, now);
        assert_eq!(ask(&desk, 5), Err(Held::AddressUnknown(OTHER)));
        desk.name_address(1, OTHER, 10);
        desk.name_address(1, OTHER, 5_000);
        assert!(matches!(
            ask(&desk, 86_409),
            Err(Held::AddressNew { from: 86_410, .. })
        ));
        assert_eq!(ask(&desk, 86_410), Ok(false));
        assert!(
            desk.check(2, 1, 1, OTHER, false, 86_410).is_err(),
            "another's"
        );
        desk.halt(1, "a unit is missing".to_owned());
        for _ in 0..2 {
            desk.halt(1, "first: record 7".to_owned());
        }
        assert_eq!(desk.halted(1), Some("a unit is missing; first: record 7"));
        assert!(matches!(ask(&desk, 86_410), Err(Held::AssetHalted(_))));
        desk.clear(1);
        desk.switch(Some("drill".to_owned()));
        assert!(matches!(ask(&desk, 86_410), Err(Held::Stopped(_))));
        desk.switch(None);
        assert_eq!(ask(&desk, 86_410), Ok(false));
    }
}
