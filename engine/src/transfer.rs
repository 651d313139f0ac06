//! Several shards of one venue: which one trades an instrument, and amounts that move between an account's allotments (RULES 7).
//! Rule: `docs/matching.md#several-shards`.
//!
//! Always true: of an account's transfers out of a shard one is in flight at most, and their numbers have no gaps; a shard takes in each number
//! once. So whoever finds one in flight may bring it in again, and it counts once.

use crate::Reason;
use crate::control::{ControlKind, Route, TransferDone, TransferIn, TransferOut};
use crate::limits::{AMOUNT_MAX, SHARDS_MAX};
use crate::operate::{DONE, half, rejected, word};
use crate::outbox::Done;
use crate::region::{clear, clear32};
use crate::shard::Shard;
use core::mem::offset_of;

impl Shard<'_> {
    /// Rejects a message about what this shard does not have: with the port of the shard that trades the instrument of the locate, else for `reason`.
    /// A function of its own: what it keeps is not on the stack of those that have what they are asked for.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    pub(crate) fn not_here(self, locate: u32, reason: u32) -> Done {
        let index = locate.wrapping_sub(1);
        if index < self.header().instruments_max.get() {
            let instrument = self.instrument(index);
            let port = instrument.route.get();
            if instrument.listed.get() == 0 && port != 0 {
                return Done::misdirected(port);
            }
        }
        Done::rejected(reason as u8)
    }

    #[inline(never)]
    pub(crate) fn route(self) -> Done {
        let (index, port) = (half!(self, Route, instrument), half!(self, Route, port));
        if index >= self.header().instruments_max.get() {
            return rejected(Reason::IndexOutOfRange);
        }
        let instrument = self.instrument(index);
        if instrument.listed.get() != 0 {
            return rejected(Reason::AlreadyListed);
        }
        if port > u32::from(u16::MAX) {
            return rejected(Reason::BadSetting);
        }
        instrument.route.set(port);
        DONE
    }

    /// A transfer's way out, in, or its end.
    #[inline(never)]
    pub(crate) fn transfer(self, kind: u32) -> Done {
        const _: () = {
            assert!(offset_of!(TransferOut, account) == 0 && offset_of!(TransferIn, account) == 0);
            assert!(offset_of!(TransferDone, account) == 0);
            assert!(offset_of!(TransferOut, asset) == offset_of!(TransferIn, asset));
            assert!(offset_of!(TransferOut, amount) == offset_of!(TransferIn, amount));
            assert!(offset_of!(TransferOut, number) == offset_of!(TransferIn, number));
            assert!(offset_of!(TransferOut, to) == offset_of!(TransferIn, from));
        };
        let header = self.header();
        let account = half!(self, TransferOut, account);
        if account >= header.accounts_max.get() {
            return rejected(Reason::IndexOutOfRange);
        }
        if kind == ControlKind::TransferDone as u32 {
            return self.transfer_done(account);
        }
        let asset = half!(self, TransferOut, asset);
        if asset >= header.assets_max.get() {
            return rejected(Reason::IndexOutOfRange);
        }
        if self.account(account).open.get() == 0 {
            return rejected(Reason::UnknownAccount);
        }
        let other = half!(self, TransferOut, to);
        if other >= SHARDS_MAX {
            return rejected(Reason::BadSetting);
        }
        let (amount, number) = (
            word!(self, TransferOut, amount),
            word!(self, TransferOut, number),
        );
        let transfers = self.transfers(account);
        let total = &self.asset(asset).total;
        let available = &self.balance(account, asset).available;
        if kind == ControlKind::TransferIn as u32 {
            let credited = &transfers.credited[(other & (SHARDS_MAX - 1)) as usize];
            if number <= credited.get() {
                return rejected(Reason::TransferKnown);
            }
            if amount == 0 || amount > AMOUNT_MAX.wrapping_sub(total.get()) {
                return rejected(Reason::BadAmount);
            }
            credited.set(number);
            available.set(available.get().wrapping_add(amount));
            total.set(total.get().wrapping_add(amount));
            return DONE;
        }
        if transfers.amount.get() != 0 {
            return rejected(Reason::TransferPending);
        }
        if number == 0 || number.wrapping_sub(1) != transfers.number.get() {
            return rejected(Reason::TransferNumber);
        }
        if amount == 0 {
            return rejected(Reason::BadAmount);
        }
        if amount > available.get() {
            return rejected(Reason::Funds);
        }
        transfers.number.set(number);
        transfers.amount.set(amount);
        transfers.asset.set(asset);
        transfers.to.set(other);
        available.set(available.get().wrapping_sub(amount));
        total.set(total.get().wrapping_sub(amount));
        DONE
    }

    #[inline(always)]
    fn transfer_done(self, account: u32) -> Done {
        if self.account(account).open.get() == 0 {
            return rejected(Reason::UnknownAccount);
        }
        let transfers = self.transfers(account);
        if transfers.amount.get() == 0
            || transfers.number.get() != word!(self, TransferDone, number)
        {
            return rejected(Reason::TransferNumber);
        }
        clear(&transfers.amount);
        clear32(&transfers.asset);
        clear32(&transfers.to);
        DONE
    }
}
