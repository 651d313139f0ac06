//! Disputes at a hub, for a tower.

use crate::Evm;
use alloy_primitives::I256;
use ring0_channels::chain::{Chain, ChainError};
use ring0_channels::evidence::Holding;
use ring0_channels::tower::{Court, Dispute, Purse};

impl Court for Evm {
    fn dispute_of(&mut self, exit: &Holding) -> Result<Option<Dispute>, ChainError> {
        let status = self.status(exit.channel())?;
        let deadline: u64 = status.deadline.to();
        // A checkpoint has a version and no deadline. What was closed before its window ended was closed by both.
        if deadline == 0 || (status.closed && self.tip()?.time < deadline) {
            return Ok(None);
        }
        let base = match &exit.newest {
            Some(newest) => {
                let state = newest.state(exit.channel()).ok();
                let base = state.and_then(|state| state.base().ok());
                base.ok_or(ChainError::Unsupported(
                    "the evidence has amounts that no hub takes; give a file that counts",
                ))?
            }
            None => 0,
        };
        let base = I256::try_from(base).expect("128 bits are fewer than 256");
        // Entitlement never is negative (CUSTODY 2).
        let paid_in = status.deposited.saturating_sub(status.withdrawn);
        let paid_in = I256::try_from(paid_in).unwrap_or(I256::MAX);
        let entitled = |base: I256| -> u128 {
            let all = base.saturating_add(paid_in);
            all.try_into()
                .unwrap_or(if all.is_negative() { 0 } else { u128::MAX })
        };
        Ok(Some(Dispute {
            version: status.version.to(),
            deadline,
            settled: status.closed,
            gives: entitled(status.base),
            owed: entitled(base),
        }))
    }

    fn purse(&mut self) -> Result<Purse, ChainError> {
        let payer = self.payer().ok_or(ChainError::Unsupported(
            "there is no key that pays for answers; name one",
        ))?;
        let (base, tip) = self.fees()?;
        Ok(Purse {
            payer: payer.to_string(),
            has: self.balance(payer)?.saturating_to(),
            needs: crate::evm::GAS_TYPICAL * (2 * base + tip),
        })
    }
}
