//! States that the operator has signed and the trader has not: what a signature that the trader shows elsewhere makes of them (CUSTODY 4).
//!
//! A trader signs one root over all its channels. If it shows that signature on any hub, the operator's halves that lie under the same root count too.
//! Such a state is written as a [`Holding`] whose co-signature is all zeros.

use crate::B256;
use crate::evidence::Holding;
use crate::key::Signature;
use std::collections::HashMap;

/// Halves, by the account's signed words.
#[derive(Debug, Default)]
pub struct Offered {
    halves: HashMap<(u64, u64, B256), Vec<Holding>>,
    signatures: HashMap<(u64, u64, B256), Vec<Signature>>,
}

impl Offered {
    /// Whether a holding is such a half.
    #[must_use]
    pub fn is_half(holding: &Holding) -> bool {
        let newest = holding.newest.as_ref();
        newest.is_some_and(|newest| newest.cosignature == Signature::default())
    }

    /// Whether there is any half: otherwise nothing need be read from chains.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.halves.is_empty()
    }

    /// Takes in a half. Gives it whole if its signature was shown already.
    ///
    /// # Errors
    /// Its way leads nowhere.
    pub fn add(
        &mut self,
        holding: Holding,
    ) -> Result<Option<Holding>, crate::evidence::EvidenceError> {
        let Some(newest) = &holding.newest else {
            return Ok(None);
        };
        let root = newest.account_root(holding.channel())?;
        let key = (newest.account, newest.epoch, root);
        let signatures = self.signatures.get(&key).into_iter().flatten();
        let whole = signatures
            .filter_map(|signature| whole(&holding, *signature))
            .next();
        if whole.is_none() {
            let halves = self.halves.entry(key).or_default();
            if !halves.contains(&holding) {
                halves.push(holding);
            }
        }
        Ok(whole)
    }

    /// A trader's signature was shown: gives the states that it makes whole. Anybody can show anything, so each is verified.
    pub fn disclosed(
        &mut self,
        account: u64,
        epoch: u64,
        root: B256,
        signature: Signature,
    ) -> Vec<Holding> {
        let key = (account, epoch, root);
        let known = self.signatures.entry(key).or_default();
        if !known.contains(&signature) {
            known.push(signature);
        }
        let halves = self.halves.get(&key).into_iter().flatten();
        let whole: Vec<_> = halves.filter_map(|half| whole(half, signature)).collect();
        if !whole.is_empty() {
            self.halves.remove(&key);
        }
        whole
    }
}

/// The state with the trader's signature in place, if it counts then.
fn whole(half: &Holding, signature: Signature) -> Option<Holding> {
    let mut holding = half.clone();
    holding.newest.as_mut()?.cosignature = signature;
    holding.verify().is_ok().then_some(holding)
}
