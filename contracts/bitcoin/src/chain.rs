//! Which chain: how its addresses are written and below what an output is dust.
//!
//! Bitcoin and Litecoin share transactions, scripts and taproot to the byte. What differs and matters here: the
//! human-readable part of addresses (BIP173) and the dust rate, ten times Bitcoin's on Litecoin.

use bech32::Hrp;
use bitcoin::{Amount, FeeRate, Script, ScriptBuf, WitnessProgram, WitnessVersion};
use serde::{Deserialize, Serialize};

/// A chain that channels can stand on.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Chain {
    /// Bitcoin, the main network.
    Bitcoin,
    /// Bitcoin's test networks (testnet, signet): one human-readable part for both.
    BitcoinTest,
    /// Bitcoin, regtest.
    BitcoinRegtest,
    /// Litecoin, the main network.
    Litecoin,
    /// Litecoin's test network.
    LitecoinTest,
    /// Litecoin, regtest.
    LitecoinRegtest,
}

/// An address that cannot be paid to.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AddressError {
    /// Not bech32 or bech32m of a witness program.
    #[error("`{address}` is no segwit address ({reason}); give one that starts with `{expected}1`")]
    Malformed {
        /// What was given.
        address: String,
        /// What the decoder said.
        reason: String,
        /// The chain's human-readable part.
        expected: &'static str,
    },
    /// An address of another chain or network.
    #[error("`{address}` belongs to another chain: here addresses start with `{expected}1`")]
    OtherChain {
        /// What was given.
        address: String,
        /// The chain's human-readable part.
        expected: &'static str,
    },
    /// A script that has no segwit address.
    #[error("script {0} pays to no witness program and has no segwit address")]
    NoAddress(ScriptBuf),
}

impl Chain {
    /// The human-readable part of segwit addresses (BIP173, SLIP173).
    pub const fn hrp(self) -> &'static str {
        match self {
            Self::Bitcoin => "bc",
            Self::BitcoinTest => "tb",
            Self::BitcoinRegtest => "bcrt",
            Self::Litecoin => "ltc",
            Self::LitecoinTest => "tltc",
            Self::LitecoinRegtest => "rltc",
        }
    }

    /// The number under which keys of this chain are derived (SLIP44; 1 for every test network).
    pub const fn coin_type(self) -> u32 {
        match self {
            Self::Bitcoin => 0,
            Self::Litecoin => 2,
            Self::BitcoinTest
            | Self::BitcoinRegtest
            | Self::LitecoinTest
            | Self::LitecoinRegtest => 1,
        }
    }

    /// The rate nodes judge dust by: 3 sat/vB in Bitcoin Core, 30 in Litecoin Core 0.21 (`-dustrelayfee`, 0.0003 LTC/kB).
    pub const fn dust_rate(self) -> FeeRate {
        match self {
            Self::Bitcoin | Self::BitcoinTest | Self::BitcoinRegtest => {
                FeeRate::from_sat_per_vb_u32(3)
            }
            Self::Litecoin | Self::LitecoinTest | Self::LitecoinRegtest => {
                FeeRate::from_sat_per_vb_u32(30)
            }
        }
    }

    /// The smallest amount that nodes relay to `script`. For taproot outputs: 330 sat on Bitcoin, 3,300 on Litecoin.
    pub fn dust(self, script: &Script) -> Amount {
        script.minimal_non_dust_custom(self.dust_rate())
    }

    /// The address of `script`.
    ///
    /// # Errors
    /// [`AddressError::NoAddress`] when the script is no witness program.
    pub fn address(self, script: &Script) -> Result<String, AddressError> {
        let none = || AddressError::NoAddress(script.to_owned());
        let version = script.witness_version().ok_or_else(none)?;
        let program = script.as_bytes().get(2..).ok_or_else(none)?;
        let hrp = Hrp::parse(self.hrp()).map_err(|_| none())?;
        bech32::segwit::encode(hrp, version.to_fe(), program).map_err(|_| none())
    }

    /// The script that `address` pays to. Segwit addresses only: a payout to an older kind costs more and is not offered.
    ///
    /// # Errors
    /// [`AddressError::Malformed`] or [`AddressError::OtherChain`].
    pub fn script(self, address: &str) -> Result<ScriptBuf, AddressError> {
        let malformed = |reason: String| AddressError::Malformed {
            address: address.to_owned(),
            reason,
            expected: self.hrp(),
        };
        let (hrp, version, program) =
            bech32::segwit::decode(address).map_err(|error| malformed(error.to_string()))?;
        if hrp.to_lowercase() != self.hrp() {
            return Err(AddressError::OtherChain {
                address: address.to_owned(),
                expected: self.hrp(),
            });
        }
        let version =
            WitnessVersion::try_from(version).map_err(|error| malformed(error.to_string()))?;
        let program =
            WitnessProgram::new(version, &program).map_err(|error| malformed(error.to_string()))?;
        Ok(ScriptBuf::new_witness_program(&program))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The taproot address of BIP350's test vectors and the same program on other chains.
    #[test]
    fn addresses_of_one_program_on_every_chain() {
        let script = Chain::Bitcoin
            .script("bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0")
            .unwrap();
        assert_eq!(
            script.to_hex_string(),
            "512079be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
        );
        for chain in [
            Chain::Bitcoin,
            Chain::BitcoinTest,
            Chain::BitcoinRegtest,
            Chain::Litecoin,
            Chain::LitecoinTest,
            Chain::LitecoinRegtest,
        ] {
            let address = chain.address(&script).unwrap();
            assert!(
                address.starts_with(&format!("{}1p", chain.hrp())),
                "{address}"
            );
            assert_eq!(chain.script(&address), Ok(script.clone()));
        }
    }

    #[test]
    fn foreign_and_broken_addresses_are_refused() {
        let ours = Chain::Litecoin
            .address(&ScriptBuf::from_hex("0014751e76e8199196d454941c45d1b3a323f1433bd6").unwrap())
            .unwrap();
        assert_eq!(ours, "ltc1qw508d6qejxtdg4y5r3zarvary0c5xw7kgmn4n9");
        assert!(matches!(
            Chain::Bitcoin.script(&ours),
            Err(AddressError::OtherChain { .. })
        ));
        assert!(matches!(
            Chain::Litecoin.script("ltc1qw508d6qejxtdg4y5r3zarvary0c5xw7kgmn4n8"),
            Err(AddressError::Malformed { .. })
        ));
        assert!(matches!(
            Chain::Litecoin.address(&ScriptBuf::new_op_return([1])),
            Err(AddressError::NoAddress(_))
        ));
    }

    #[test]
    fn dust_is_what_the_nodes_say() {
        let taproot = ScriptBuf::from_hex(
            "512079be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
        )
        .unwrap();
        assert_eq!(Chain::Bitcoin.dust(&taproot).to_sat(), 330);
        assert_eq!(Chain::LitecoinRegtest.dust(&taproot).to_sat(), 3_300);
    }
}
