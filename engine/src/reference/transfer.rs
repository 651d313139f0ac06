//! What other shards of the venue trade, and what moves between them.
//! Rule: `docs/matching.md#several-shards`.

use super::Reference;
use super::operate::in_range;
use crate::Reason;
use crate::canon::{Listing, Tag};
use crate::control::{Route, TransferDone, TransferIn, TransferOut};
use crate::limits::{AMOUNT_MAX, SHARDS_MAX};
use std::collections::BTreeMap;

/// What an account has moved to and from other shards.
#[derive(Clone, Default)]
pub(super) struct Transfers {
    /// Number of the last one out.
    number: u64,
    /// The one in flight.
    in_flight: Option<TransferOut>,
    /// By shard, the number of the last one in.
    credited: BTreeMap<u32, u64>,
}

impl Reference {
    pub(super) fn route(&mut self, body: Route) -> Result<(), Reason> {
        in_range(body.instrument, self.capacity.instruments)?;
        if self.instruments[body.instrument as usize].is_some() {
            return Err(Reason::AlreadyListed);
        }
        match u16::try_from(body.port) {
            Err(_) => return Err(Reason::BadSetting),
            Ok(0) => self.routes.remove(&body.instrument),
            Ok(port) => self.routes.insert(body.instrument, port),
        };
        Ok(())
    }

    /// Port of the shard that trades the instrument of a locate, where another one does.
    pub(super) fn route_of(&self, locate: u16) -> Option<u16> {
        let index = u32::from(locate).checked_sub(1)?;
        self.routes.get(&index).copied()
    }

    /// Why a message about what is not here is rejected.
    pub(super) fn not_here(&self, locate: u16, reason: Reason) -> Reason {
        match self.route_of(locate) {
            Some(_) => Reason::WrongShard,
            None => reason,
        }
    }

    pub(super) fn transfer_out(&mut self, body: TransferOut) -> Result<(), Reason> {
        self.account_and_asset(body.account, body.asset)?;
        if body.to >= SHARDS_MAX {
            return Err(Reason::BadSetting);
        }
        let available = self.balance(body.account, body.asset).available;
        let transfers = self.transfers.entry(body.account).or_default();
        if transfers.in_flight.is_some() {
            return Err(Reason::TransferPending);
        }
        if u128::from(body.number) != u128::from(transfers.number) + 1 {
            return Err(Reason::TransferNumber);
        }
        if body.amount == 0 {
            return Err(Reason::BadAmount);
        }
        if body.amount > available {
            return Err(Reason::Funds);
        }
        transfers.number = body.number;
        transfers.in_flight = Some(body);
        self.assets[body.asset as usize].total -= body.amount;
        self.balance_mut(body.account, body.asset).available -= body.amount;
        Ok(())
    }

    pub(super) fn transfer_in(&mut self, body: TransferIn) -> Result<(), Reason> {
        self.account_and_asset(body.account, body.asset)?;
        if body.from >= SHARDS_MAX {
            return Err(Reason::BadSetting);
        }
        let total = u128::from(self.assets[body.asset as usize].total);
        let transfers = self.transfers.entry(body.account).or_default();
        let last = transfers.credited.get(&body.from).copied().unwrap_or(0);
        if body.number <= last {
            return Err(Reason::TransferKnown);
        }
        if body.amount == 0 || total + u128::from(body.amount) > u128::from(AMOUNT_MAX) {
            return Err(Reason::BadAmount);
        }
        transfers.credited.insert(body.from, body.number);
        self.assets[body.asset as usize].total += body.amount;
        self.balance_mut(body.account, body.asset).available += body.amount;
        Ok(())
    }

    pub(super) fn transfer_done(&mut self, body: TransferDone) -> Result<(), Reason> {
        self.target_account(body.account)?;
        let transfers = self.transfers.entry(body.account).or_default();
        if transfers
            .in_flight
            .take_if(|it| it.number == body.number)
            .is_none()
        {
            return Err(Reason::TransferNumber);
        }
        Ok(())
    }

    pub(super) fn list_transfers(&self, to: &mut dyn Listing, account: u32) {
        let Some(transfers) = self.transfers.get(&account) else {
            return;
        };
        if transfers.number != 0 {
            let (amount, asset, shard) = match transfers.in_flight {
                Some(it) => (it.amount, it.asset, it.to),
                None => (0, 0, 0),
            };
            to.item(
                Tag::Transfer,
                &[
                    account.into(),
                    transfers.number,
                    amount,
                    asset.into(),
                    shard.into(),
                ],
            );
        }
        for (&shard, &number) in &transfers.credited {
            to.item(Tag::Credited, &[account.into(), shard.into(), number]);
        }
    }
}
