//! The two parties and their keys: four each, one per power.
//!
//! A tower is given the anchor key and nothing else (it can pay for a transaction's way into a block, and spend dust);
//! every key that moves funds stays with its party.

use std::{fmt, sync::LazyLock};

use bitcoin::{
    NetworkKind, XOnlyPublicKey,
    bip32::{ChildNumber, Xpriv},
    key::Keypair,
    secp256k1::{All, PublicKey, Secp256k1},
};
use serde::{Deserialize, Serialize};

use crate::{chain::Chain, revocation::RevocationSeed};

/// The context of libsecp256k1: building one takes about a millisecond, so there is one.
pub(crate) static SECP: LazyLock<Secp256k1<All>> = LazyLock::new(Secp256k1::new);

/// One side of a channel.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Party {
    /// Whose account it is.
    Trader,
    /// Who runs the venue.
    Operator,
}

impl Party {
    /// The other side.
    pub const fn other(self) -> Self {
        match self {
            Self::Trader => Self::Operator,
            Self::Operator => Self::Trader,
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trader => "trader",
            Self::Operator => "operator",
        })
    }
}

/// The public keys of one party in one channel.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PartyKeys {
    /// Spends the funding output together with the other party's: aggregated in the key path, side by side in the leaf.
    pub funding: PublicKey,
    /// Takes this party's balance out of a commitment, after its delay.
    pub payout: PublicKey,
    /// Takes the other party's balance out of a revoked commitment, together with the version's revealed secret.
    pub penalty: PublicKey,
    /// Spends this party's anchor: brings a commitment into a block by a child's fee. May be given to a tower.
    pub anchor: PublicKey,
}

/// The secret keys of one party in one channel.
pub struct Secrets {
    /// See [`PartyKeys::funding`].
    pub funding: Keypair,
    /// See [`PartyKeys::payout`].
    pub payout: Keypair,
    /// See [`PartyKeys::penalty`].
    pub penalty: Keypair,
    /// See [`PartyKeys::anchor`].
    pub anchor: Keypair,
    /// What the per-version secrets come from.
    pub revocation: RevocationSeed,
}

impl Secrets {
    /// Derives the keys of channel number `channel` from a seed by BIP32, hardened throughout:
    /// `m/5260'/coin'/channel'/{0: funding, 1: payout, 2: penalty, 3: anchor, 4: revocation seed}'`.
    ///
    /// One seed and the channel's number are a party's whole key backup. A channel number must never be used for two channels:
    /// the versions of both would have the same revocation secrets.
    ///
    /// # Errors
    /// BIP32's: a seed outside of 16 to 64 bytes, a channel number above 2^31 − 1, or (with negligible probability) an unusable key.
    pub fn derive(seed: &[u8], chain: Chain, channel: u32) -> Result<Self, bitcoin::bip32::Error> {
        // The network kind is written only into the text form of extended keys, which is never made.
        let master = Xpriv::new_master(NetworkKind::Main, seed)?;
        let key = |purpose: u32| -> Result<Keypair, bitcoin::bip32::Error> {
            let path = [5260, chain.coin_type(), channel, purpose]
                .into_iter()
                .map(ChildNumber::from_hardened_idx)
                .collect::<Result<Vec<_>, _>>()?;
            Ok(master.derive_priv(&SECP, &path)?.to_keypair(&SECP))
        };
        Ok(Self {
            funding: key(0)?,
            payout: key(1)?,
            penalty: key(2)?,
            anchor: key(3)?,
            revocation: RevocationSeed::new(key(4)?.secret_bytes()),
        })
    }

    /// The public halves, for the channel's terms.
    pub fn public(&self) -> PartyKeys {
        PartyKeys {
            funding: self.funding.public_key(),
            payout: self.payout.public_key(),
            penalty: self.penalty.public_key(),
            anchor: self.anchor.public_key(),
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets")
            .field("public", &self.public())
            .finish_non_exhaustive()
    }
}

impl Drop for Secrets {
    fn drop(&mut self) {
        for key in [
            &mut self.funding,
            &mut self.payout,
            &mut self.penalty,
            &mut self.anchor,
        ] {
            key.non_secure_erase();
        }
    }
}

/// The key as scripts and BIP340 signatures have it.
pub(crate) fn x_only(key: &PublicKey) -> XOnlyPublicKey {
    key.x_only_public_key().0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_chains_and_purposes_have_keys_of_their_own() {
        let mut seen = std::collections::HashSet::new();
        for chain in [Chain::Bitcoin, Chain::Litecoin] {
            for channel in 0..3 {
                let secrets = Secrets::derive(&[7; 32], chain, channel).unwrap();
                let again = Secrets::derive(&[7; 32], chain, channel).unwrap();
                assert_eq!(secrets.public(), again.public());
                let PartyKeys {
                    funding,
                    payout,
                    penalty,
                    anchor,
                } = secrets.public();
                for key in [
                    funding,
                    payout,
                    penalty,
                    anchor,
                    secrets.revocation.point(0),
                ] {
                    assert!(seen.insert(key), "a key twice");
                }
            }
        }
        assert!(Secrets::derive(&[7; 32], Chain::Bitcoin, 1 << 31).is_err());
    }
}
