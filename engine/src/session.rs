//! Control commands about sessions: granted, closed, revived. Rule: `docs/matching.md#control-commands`.
//!
//! The granted sessions of an account are a list in the order of their grants, which its mass cancels go through; invariant, checked by
//! [`Shard::check`](crate::Shard::check).

use crate::Reason;
use crate::control::{ControlKind, Grant, Target};
use crate::limits::{ANSWERS_LOG2, REFERENCES_LOG2};
use crate::operate::{DONE, half, rejected, word};
use crate::outbox::Done;
use crate::rate;
use crate::region::{Finished, clear, clear32};
use crate::shard::{OPEN, Shard};
use core::mem::offset_of;

const _: () = assert!(offset_of!(Grant, id) == 8 && offset_of!(Grant, answers_log2) == 18);
const _: () = assert!(offset_of!(Grant, references_log2) == 19);

impl Shard<'_> {
    #[inline(never)]
    pub(crate) fn grant_session(self) -> Done {
        let header = self.header();
        let (index, account) = (half!(self, Grant, session), half!(self, Grant, account));
        if index >= header.sessions_max.get() || account >= header.accounts_max.get() {
            return rejected(Reason::IndexOutOfRange);
        }
        if self.account(account).open.get() == 0 {
            return rejected(Reason::UnknownAccount);
        }
        let session = self.session(index);
        if session.status.get() != 0 {
            return rejected(Reason::SessionOpen);
        }
        if !self.grant_is_good(index) {
            return rejected(Reason::BadGrant);
        }
        if !self.takes_windows(index) {
            return rejected(Reason::WindowsFull);
        }

        // Decided.
        let rest = self.control_body(2);
        session.id_head.set(u64::from_be(self.control_body(1)));
        session.id_tail.set(u32::from(u16::from_be(rest as u16)));
        session.answers_log2.set((rest >> 16) as u32 & 0xFF);
        session.references_log2.set((rest >> 24) as u32 & 0xFF);
        session.account.set(account);
        session.expected.set(1);
        clear32(&session.last_reference);
        clear(&session.rate_state);
        session.interval_ns.set(word!(self, Grant, interval_ns));
        session.burst.set(half!(self, Grant, burst));
        session.expires_ns.set(word!(self, Grant, expires_ns));
        session.orders_max.set(half!(self, Grant, orders_max));
        session.shares_max.set(half!(self, Grant, shares_max));
        session.notional_max.set(word!(self, Grant, notional_max));
        let any = session.notional_max.get()
            | u64::from(session.orders_max.get() | session.shares_max.get());
        session.limited.set(u32::from(any != 0));
        session
            .cancel_on_disconnect
            .set(half!(self, Grant, cancel_on_disconnect));
        session.status.set(OPEN);
        self.link_session(index).seen();
        DONE
    }

    /// The checks of `BadGrant`.
    #[inline(always)]
    fn grant_is_good(self, index: u32) -> bool {
        let rest = self.control_body(2);
        let (answers_log2, references_log2) = ((rest >> 16) as u8, (rest >> 24) as u8);
        let (burst, interval) = (half!(self, Grant, burst), word!(self, Grant, interval_ns));
        let id = &self.scratch().answer; // scratch: no answer is being written during a control command
        id.put_u64_be(0, u64::from_be(self.control_body(1)));
        ring0_wire::mold::session_index(id) == Some(index)
            && answers_log2 >= *ANSWERS_LOG2.start()
            && answers_log2 <= *ANSWERS_LOG2.end()
            && references_log2 >= *REFERENCES_LOG2.start()
            && references_log2 <= *REFERENCES_LOG2.end()
            && half!(self, Grant, cancel_on_disconnect) <= 1
            && rate::is_good(burst, interval)
    }

    /// Gives a session the windows of its grant, unless its index has them: false where the pools have no room, or the index too little.
    #[inline(always)]
    fn takes_windows(self, index: u32) -> bool {
        let header = self.header();
        let session = self.session(index);
        let rest = self.control_body(2);
        let answers_log2 = (rest >> 16) as u32 & 0xFF;
        let references_log2 = (rest >> 24) as u32 & 0xFF;
        if session.answers_owned.get() != 0 {
            return answers_log2 <= session.answers_owned.get()
                && references_log2 <= session.references_owned.get();
        }
        let answers = 1_u32 << (answers_log2 & 31);
        let references = (1_u32 << (references_log2 & 31)).wrapping_add(63) & !63;
        let (answers_used, references_used) =
            (header.answers_used.get(), header.references_used.get());
        if answers > header.answers_max.get().wrapping_sub(answers_used)
            || references > header.references_max.get().wrapping_sub(references_used)
        {
            return false;
        }
        session.answers_first.set(answers_used);
        session.references_first.set(references_used);
        header.answers_used.set(answers_used.wrapping_add(answers));
        header
            .references_used
            .set(references_used.wrapping_add(references));
        session.answers_owned.set(answers_log2);
        session.references_owned.set(references_log2);
        true
    }

    /// `CloseSession` and `ReviveSession`.
    #[inline(never)]
    pub(crate) fn control_session(self, kind: u32) -> Done {
        let index = half!(self, Target, index);
        if index >= self.header().sessions_max.get() {
            return rejected(Reason::IndexOutOfRange);
        }
        let session = self.session(index);
        if session.status.get() == 0 {
            return rejected(Reason::UnknownSession);
        }
        if kind == ControlKind::ReviveSession as u32 {
            if session.mass.removal.get() != 0 {
                return rejected(Reason::Continuing);
            }
            session.status.set(OPEN);
            return DONE;
        }
        if session.orders_live.get() != 0 {
            return rejected(Reason::OrdersLive);
        }
        if self.mass_pends(index) {
            return rejected(Reason::Continuing);
        }
        clear32(&session.status);
        self.unlink_session(index).seen();
        DONE
    }

    /// Makes a session the last of its account's.
    #[inline(never)]
    fn link_session(self, index: u32) -> Finished {
        let session = self.session(index);
        let account = self.account(session.account.get());
        let last = account.sessions_tail.get();
        let own = index.wrapping_add(1);
        session.account_prev.set(last);
        clear32(&session.account_next);
        if last == 0 {
            account.sessions_head.set(own);
        } else {
            self.session(last.wrapping_sub(1)).account_next.set(own);
        }
        account.sessions_tail.set(own);
        Finished::here()
    }

    /// Takes a session out of its account's.
    #[inline(never)]
    fn unlink_session(self, index: u32) -> Finished {
        let session = self.session(index);
        let account = self.account(session.account.get());
        let (prev, next) = (session.account_prev.get(), session.account_next.get());
        if prev == 0 {
            account.sessions_head.set(next);
        } else {
            self.session(prev.wrapping_sub(1)).account_next.set(next);
        }
        if next == 0 {
            account.sessions_tail.set(prev);
        } else {
            self.session(next.wrapping_sub(1)).account_prev.set(prev);
        }
        Finished::here()
    }
}
