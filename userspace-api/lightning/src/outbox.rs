//! Transactions on their way to the chain's node, and what its blocks cost.
//!
//! LDK hands transactions over while it holds its locks, and asks for fees there; a node's answer may take seconds. So both are exchanged
//! with the node by the turn that holds none.

use std::sync::{
    Mutex,
    atomic::{AtomicU32, Ordering},
};

use bitcoin::Transaction;
use lightning::chain::chaininterface::{
    BroadcasterInterface, ConfirmationTarget, FEERATE_FLOOR_SATS_PER_KW, FeeEstimator,
};

use crate::blocks::{BlockSource, SourceError};

/// Times that a package is given to the chain's node that does not take it. LDK brings what still matters again with new fees.
const TRIES: u8 = 10;

/// Packages that wait, with the times they were tried.
#[derive(Default)]
pub(crate) struct Outbox(Mutex<Vec<(Vec<Transaction>, u8)>>);

impl Outbox {
    /// Gives all to the chain's node. What it does not take is kept for the next time; `trouble` hears why.
    pub(crate) fn flush(&self, source: &dyn BlockSource, trouble: &dyn Fn(&str)) {
        let waiting = std::mem::take(&mut *self.0.lock().expect("no panic while locked"));
        for (package, tried) in waiting {
            if let Err(error) = source.send(&package) {
                trouble(&format!(
                    "a transaction was not taken ({tried} times before): {error}"
                ));
                if tried + 1 < TRIES {
                    self.0
                        .lock()
                        .expect("no panic while locked")
                        .push((package, tried + 1));
                }
            }
        }
    }
}

impl BroadcasterInterface for Outbox {
    fn broadcast_transactions(&self, transactions: &[&Transaction]) {
        let package: Vec<_> = transactions.iter().map(|&tx| tx.clone()).collect();
        let mut waiting = self.0.lock().expect("no panic while locked");
        waiting.retain(|(before, _)| *before != package);
        waiting.push((package, 0));
    }
}

/// The last known fee rates, satoshi per 1,000 weight units.
pub(crate) struct FeeRates {
    /// To be in one of the next two blocks.
    soon: AtomicU32,
    /// Six blocks.
    normal: AtomicU32,
    /// A day.
    slow: AtomicU32,
}

impl FeeRates {
    /// Before the chain's node has said anything.
    pub(crate) fn new() -> Self {
        Self {
            soon: AtomicU32::new(5_000),
            normal: AtomicU32::new(2_000),
            slow: AtomicU32::new(FEERATE_FLOOR_SATS_PER_KW),
        }
    }

    /// Asks the chain's node. What it does not know stays as it is.
    pub(crate) fn refresh(&self, source: &dyn BlockSource) -> Result<(), SourceError> {
        for (blocks, rate) in [(2, &self.soon), (6, &self.normal), (144, &self.slow)] {
            if let Some(found) = source.fee_rate(blocks)? {
                rate.store(found.max(FEERATE_FLOOR_SATS_PER_KW), Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

impl FeeEstimator for FeeRates {
    fn get_est_sat_per_1000_weight(&self, target: ConfirmationTarget) -> u32 {
        let (soon, normal, slow) = (
            self.soon.load(Ordering::Relaxed),
            self.normal.load(Ordering::Relaxed),
            self.slow.load(Ordering::Relaxed),
        );
        match target {
            // What a peer's commitment may cost at most: far above what is usual, so that no channel is closed over it.
            ConfirmationTarget::MaximumFeeEstimate => soon.saturating_mul(10),
            ConfirmationTarget::UrgentOnChainSweep => soon,
            ConfirmationTarget::NonAnchorChannelFee | ConfirmationTarget::OutputSpendingFee => {
                normal
            }
            ConfirmationTarget::AnchorChannelFee | ConfirmationTarget::ChannelCloseMinimum => slow,
            ConfirmationTarget::MinAllowedAnchorChannelRemoteFee
            | ConfirmationTarget::MinAllowedNonAnchorChannelRemoteFee => FEERATE_FLOOR_SATS_PER_KW,
        }
    }
}
