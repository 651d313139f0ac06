//! What a tower is given for each version that the other party gave up: a transaction that can be sent and not redirected.

use bitcoin::{Amount, ScriptBuf, Transaction, Txid};
use serde::{Deserialize, Serialize};

use crate::{
    chain::Chain,
    fees::{FeeError, FeeInput, bump_penalty},
};

/// The answer to one revoked commitment. Its key is that commitment's id: a tower looks at every transaction that spends a funding
/// output it watches, and sends the kit of that id.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Kit {
    /// The commitment that must not appear.
    pub commitment: Txid,
    /// Its version, for alerts.
    pub version: u64,
    /// The signed penalty: input 0 is the cheater's balance, output 0 the party's own script.
    pub penalty: Transaction,
    /// The fee it pays without anybody's help.
    #[serde(with = "bitcoin::amount::serde::as_sat")]
    pub paid: Amount,
}

impl Kit {
    /// What is at stake: the amount that reaches the party.
    pub fn value(&self) -> Amount {
        self.penalty.output[0].value
    }

    /// Bytes of the kit in the tower's storage, less any index: the id, the version, the fee and the transaction.
    pub fn stored_bytes(&self) -> usize {
        32 + 8 + 8 + self.penalty.total_size()
    }

    /// The penalty at a higher fee rate, with an input of the tower's fee wallet and change, no witness yet: the wallet signs its
    /// input, then [`Kit::witness`] makes it whole.
    ///
    /// # Errors
    /// [`FeeError`].
    pub fn bump(
        &self,
        chain: Chain,
        fee_input: &FeeInput,
        change: ScriptBuf,
        rate_sat_per_kvb: u64,
    ) -> Result<Transaction, FeeError> {
        let dust = chain.dust(&change);
        bump_penalty(
            &self.penalty,
            self.paid,
            fee_input,
            change,
            dust,
            rate_sat_per_kvb,
        )
    }

    /// Puts the penalty's own witness back into a bump that the fee wallet has signed.
    #[must_use]
    pub fn witness(&self, mut bumped: Transaction) -> Transaction {
        bumped.input[0].witness = self.penalty.input[0].witness.clone();
        bumped
    }
}
