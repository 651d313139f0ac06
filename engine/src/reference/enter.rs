//! `A`, `F`, `O`: a new order. First decided, then done; the comment `Done:` is the border.
//! Rule: `docs/matching.md#enter-a-f-o`, whose numbers the comments bear; 1 is the parser's.

use super::money::is_on_ladder;
use super::order::Order;
use super::peg::{Peg, Quote};
use super::terms::{lots_of, ticks_of, work_is_left};
use super::{Done, Reference};
use crate::Reason;
use ring0_wire::message::{BUY, STOCK_SPACES};
use ring0_wire::{Flags, Message, TimeInForce};

impl Reference {
    pub(super) fn enter(
        &mut self,
        index: u32,
        sequence: u64,
        message: &Message,
        work: &mut u32,
    ) -> Result<Done, Reason> {
        self.rising(index, message.reference)?; // 2
        let flags = message.flags;
        let market = flags.has(Flags::MARKET);
        let fok = flags.time() == TimeInForce::FillOrKill as u8;
        let good_till_cancel = flags.time() == TimeInForce::GoodTillCancel as u8;
        let good_till_time = flags.is_good_till_time();
        let immediate = market || flags.is_immediate();
        let post_only = flags.has(Flags::POST_REJECT | Flags::POST_SLIDE);
        let minimum = message.minimum != 0;
        let stop = message.trigger != 0;
        let pegged = message.peg != 0;
        if (stop && (fok || minimum || post_only || pegged))
            || (stop && market && (good_till_cancel || good_till_time))
            || (pegged && (market || fok || minimum || post_only || message.display != 0))
            || (minimum && post_only)
        {
            return Err(Reason::NotTogether); // 3
        }
        let account = self.session(index).grant.account;
        let group = u32::from(message.trade_group);
        if group != 0 && group != self.account(account).group {
            return Err(Reason::WrongTradeGroup); // 4
        }
        self.may_enter(index)?; // 5 to 8
        let at = self
            .listed(message.locate)
            .ok_or_else(|| self.not_here(message.locate, Reason::UnknownInstrument))?; // 9
        let list = self.instrument(at).list;
        if message.stock != STOCK_SPACES && message.stock != u64::from_be_bytes(list.symbol) {
            return Err(Reason::StockMismatch); // 10
        }
        self.takes_orders(at)?; // 11, 12
        let collects = self.instrument(at).collects();
        if collects && !stop && (immediate || post_only || pegged || minimum) {
            return Err(Reason::NotInAuction); // 13
        }
        work_is_left(*work)?; // 14
        let price = ticks_of(&list, message.price)?; // 15
        let lots = lots_of(&list, message.shares)?; // 16
        let minimum = lots_of(&list, message.minimum)?;
        let display = lots_of(&list, message.display)?;
        self.not_too_large(index, at, lots, message.shares)?; // 17, 18
        if good_till_time && !immediate && message.expiry_s <= self.second {
            return Err(Reason::AlreadyExpired); // 19
        }
        let trigger = ticks_of(&list, message.trigger).map_err(|_| Reason::BadTrigger)?;
        if stop && !is_on_ladder(&list, trigger) {
            return Err(Reason::BadTrigger); // 20
        }
        let hidden = flags.has(Flags::HIDDEN) && !pegged && !immediate;
        let iceberg = display != 0 && display != lots && !immediate;
        let self_trade = match flags.self_trade() {
            0 => self.account(account).self_trade as u8,
            mode => mode,
        };
        let mut order = Order {
            id: sequence,
            session: index,
            account,
            reference: message.reference,
            instrument: at,
            side: message.side,
            price,
            open: lots,
            executed: 0,
            slice: 0,
            peak: if iceberg { display } else { 0 },
            trigger,
            expiry: if immediate { 0 } else { message.expiry_s },
            peg: pegged.then_some(Peg {
                kind: message.peg,
                offset: message.peg_offset_ticks,
            }),
            self_trade,
            by_group: group != 0,
            post_only: flags.has(Flags::POST_REJECT),
            slides: flags.has(Flags::POST_SLIDE),
            immediate,
            hidden,
            good_till_cancel: good_till_cancel && !immediate,
        };
        let quote = self.quote(at);
        self.price_on_ladder(&mut order, market, quote)?; // 21
        self.within_limits(&order, market)?; // 22 to 26
        let last = self.instrument(at).last;
        let reached = if order.side == BUY {
            trigger <= last
        } else {
            trigger >= last
        };
        if stop && last != 0 && reached {
            return Err(Reason::WouldTrigger); // 27
        }
        self.affordable(&order, 0)?; // 28, 29
        let may_rest = stop || !immediate;
        if may_rest {
            self.may_have_one_more(index)?; // 30
        }
        if self.orders.len() as u64 >= u64::from(self.capacity.orders) {
            return Err(Reason::BookFull); // 31
        }
        if may_rest {
            self.room_in_book(&order, None)?; // 32
        }
        if !self.place_to_be_had(index, order.reference, None) {
            return Err(Reason::TooManyLive); // 33
        }
        if !stop && !collects {
            self.does_not_take(&order, quote)?; // 34
        }
        let least = if fok { lots } else { minimum };
        if least != 0 {
            let (feasible, looks) = self.feasible(&order, least, quote); // 35
            *work += looks;
            feasible?;
        }

        // Done:
        self.hold(&order);
        let done = self.come_in(order, quote, work);
        let lot_size = self.instrument(at).list.lot_size;
        assert!(
            done.quantity / lot_size >= least,
            "a feasible order gets its least quantity in its own command"
        );
        Ok(done)
    }

    /// An order whose hold is taken waits, is collected, or sweeps.
    pub(super) fn come_in(&mut self, mut order: Order, quote: Quote, work: &mut u32) -> Done {
        let at = order.instrument;
        if order.waits() || self.instrument(at).collects() {
            self.join(order);
            return Done::accepted(0);
        }
        let swept = self.sweep(&mut order, quote);
        *work += swept.met;
        let outcome = self.settle(order, swept.end, quote);
        self.look_at_triggers(at);
        Done {
            outcome,
            quantity: swept.filled * self.instrument(at).list.lot_size,
        }
    }

    /// Enter 30.
    fn may_have_one_more(&self, index: u32) -> Result<(), Reason> {
        let grant = &self.session(index).grant;
        let account = self.account(grant.account);
        let live = |session: &u32| self.session(*session).references.len() as u64;
        let of_account: u64 = account.sessions.iter().map(live).sum();
        let full = |live: u64, max: u32| max != 0 && live >= u64::from(max);
        if full(live(&index), grant.orders_max) || full(of_account, account.orders_max) {
            return Err(Reason::RiskOrders);
        }
        Ok(())
    }
}
