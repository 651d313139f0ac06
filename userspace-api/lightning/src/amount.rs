//! Millisatoshi, and the units that the engine counts in.
//!
//! Lightning moves thousandths of a satoshi; the engine whole units, whose size the market file says. What does not fill a unit is dust: it stays the
//! account's, and can be withdrawn (CUSTODY 15).

use std::{fmt, num::NonZeroU64};

use serde::{Deserialize, Serialize};

/// All the coins there will be, in millisatoshi: no amount is above.
pub const MSAT_MAX: u64 = 21_000_000 * 100_000_000 * 1_000;

/// An amount in millisatoshi, at most [`MSAT_MAX`].
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(try_from = "u64", into = "u64")]
pub struct Msat(u64);

/// An amount that cannot be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0} msat are more than all coins there will be; give millisatoshi, not satoshi's parts")]
pub struct TooMuch(pub u64);

impl Msat {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// So many millisatoshi.
    ///
    /// # Errors
    /// More than [`MSAT_MAX`].
    pub fn new(msat: u64) -> Result<Self, TooMuch> {
        if msat <= MSAT_MAX {
            Ok(Self(msat))
        } else {
            Err(TooMuch(msat))
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The sum, if it is an amount.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        Self::new(self.0 + other.0).ok() // two amounts fit into 63 bits
    }

    /// The difference, if it is not negative.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }
}

impl TryFrom<u64> for Msat {
    type Error = TooMuch;
    fn try_from(msat: u64) -> Result<Self, TooMuch> {
        Self::new(msat)
    }
}

impl From<Msat> for u64 {
    fn from(msat: Msat) -> u64 {
        msat.0
    }
}

impl fmt::Display for Msat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} msat", self.0)
    }
}

/// How much one unit of the engine is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Scale {
    /// Millisatoshi in a unit; 1,000 when the engine counts satoshi.
    pub msat_per_unit: NonZeroU64,
}

impl Scale {
    /// Whole units in an amount, and the dust that is left.
    #[must_use]
    pub fn split(self, amount: Msat) -> (u64, Msat) {
        let unit = self.msat_per_unit.get();
        (amount.0 / unit, Msat(amount.0 % unit))
    }

    /// What so many units are.
    ///
    /// # Errors
    /// More than there can be; the number is what it would be, or `u64::MAX`.
    pub fn units(self, units: u64) -> Result<Msat, TooMuch> {
        Msat::new(units.saturating_mul(self.msat_per_unit.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_dust_are_the_whole_amount() {
        for (msat_per_unit, msat) in [(1, 7), (1_000, 999), (1_000, 1_000), (100_000, 123_456_789)]
        {
            let scale = Scale {
                msat_per_unit: NonZeroU64::new(msat_per_unit).unwrap(),
            };
            let amount = Msat::new(msat).unwrap();
            let (units, dust) = scale.split(amount);
            assert!(dust.get() < msat_per_unit);
            assert_eq!(scale.units(units).unwrap().checked_add(dust), Some(amount));
        }
    }

    #[test]
    fn no_amount_is_above_all_coins() {
        assert_eq!(Msat::new(MSAT_MAX + 1), Err(TooMuch(MSAT_MAX + 1)));
        let all = Msat::new(MSAT_MAX).unwrap();
        assert_eq!(all.checked_add(Msat::new(1).unwrap()), None);
        assert_eq!(Msat::ZERO.checked_sub(all), None);
        let scale = Scale {
            msat_per_unit: NonZeroU64::new(1_000).unwrap(),
        };
        assert!(scale.units(u64::MAX / 10).is_err());
        assert!(serde_json::from_str::<Msat>(&u64::MAX.to_string()).is_err());
    }
}
