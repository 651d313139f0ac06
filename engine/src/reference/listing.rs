//! Listing an instrument, and the ladder places that it gets.
//! Rule: `docs/matching.md#control-commands`, `List` and `BadListing`.

use super::Reference;
use super::book::Instrument;
use super::money::{hold_per_lot, notional};
use super::operate::in_range;
use super::session::Session;
use crate::Reason;
use crate::control::{Grant, List};
use crate::limits::{AMOUNT_MAX, ANSWERS_LOG2, FEE_PPM_MAX, REFERENCES_LOG2};
use crate::record::State;
use ring0_wire::SessionId;

/// The page's bound of a burst in nanoseconds, and of one lot at the top price.
const PRODUCT_MAX: u128 = (1 << 62) - 1;

impl Reference {
    pub(super) fn list_instrument(&mut self, list: List) -> Result<(), Reason> {
        let index = list.instrument;
        in_range(index, self.capacity.instruments)?;
        in_range(list.base_asset, self.capacity.assets)?;
        in_range(list.quote_asset, self.capacity.assets)?;
        if self.instruments[index as usize].is_some() {
            return Err(Reason::AlreadyListed);
        }
        let state = begins_in(&list);
        let state = state.filter(|_| is_good(&list)).ok_or(Reason::BadListing)?;
        let places = u64::from(list.ladder_len).next_power_of_two().max(64);
        let had = self.ladders.get(&index).copied().unwrap_or(0);
        if places > had {
            let pool = u64::from(self.capacity.ladder).next_multiple_of(64);
            if self.ladder_used + places > pool {
                return Err(Reason::LadderFull);
            }
            self.ladder_used += places;
            self.ladders.insert(index, places);
        }
        self.routes.remove(&index);
        self.instruments[index as usize] = Some(Instrument {
            list,
            state,
            dynamic_ticks: 0,
            fat_ticks: 0,
            pause_ticks: 0,
            reference: 0,
            last: 0,
            auction: 0,
            pause_low: 0,
            pause_high: 0,
            books: Default::default(),
            pegs: Default::default(),
            work: None,
        });
        Ok(())
    }

    pub(super) fn grant(&mut self, grant: Grant) -> Result<(), Reason> {
        in_range(grant.session, self.capacity.sessions)?;
        in_range(grant.account, self.capacity.accounts)?;
        if self.accounts[grant.account as usize].is_none() {
            return Err(Reason::UnknownAccount);
        }
        if self.sessions[grant.session as usize].is_some() {
            return Err(Reason::SessionOpen);
        }
        if !ANSWERS_LOG2.contains(&grant.answers_log2)
            || !REFERENCES_LOG2.contains(&grant.references_log2)
            || !is_rate(grant.burst, grant.interval_ns)
            || grant.cancel_on_disconnect > 1
            || SessionId(grant.id).index() != Some(grant.session)
        {
            return Err(Reason::BadGrant);
        }
        if let Some(&(answers, references)) = self.windows.get(&grant.session) {
            if grant.answers_log2 > answers || grant.references_log2 > references {
                return Err(Reason::WindowsFull);
            }
        } else {
            let first = (grant.answers_log2, grant.references_log2);
            let all = || self.windows.values().chain([&first]);
            let answers: u64 = all().map(|(answers, _)| 1 << answers).sum();
            let places = |log2: u8| (1_u64 << log2).next_multiple_of(64);
            let references: u64 = all().map(|(_, references)| places(*references)).sum();
            let pool = u64::from(self.capacity.references).next_multiple_of(64);
            if answers > u64::from(self.capacity.answers) || references > pool {
                return Err(Reason::WindowsFull);
            }
            self.windows.insert(grant.session, first);
        }
        self.sessions[grant.session as usize] = Some(Session::new(grant));
        self.account_mut(grant.account).sessions.push(grant.session);
        Ok(())
    }
}

/// Whether a message rate can be set.
pub(super) fn is_rate(burst: u32, interval_ns: u64) -> bool {
    let whole = u128::from(burst) * u128::from(interval_ns);
    (interval_ns == 0 || burst != 0) && whole <= PRODUCT_MAX
}

/// The state that a listing begins in, if it is one of those.
fn begins_in(list: &List) -> Option<State> {
    use State::{Closed, Continuous, Halted, PreOpen};
    let state = State::from_number(u8::try_from(list.state).ok()?)?;
    [Closed, PreOpen, Continuous, Halted]
        .contains(&state)
        .then_some(state)
}

/// None of the causes of `BadListing`, the state left out.
pub(super) fn is_good(list: &List) -> bool {
    let never_zero = [
        u64::from(list.tick_size),
        u64::from(list.lot_size),
        u64::from(list.tick_value),
        u64::from(list.ladder_base),
        list.lot_value,
        u64::from(list.ladder_len),
        u64::from(list.lots_max),
    ];
    if list.base_asset == list.quote_asset || never_zero.contains(&0) {
        return false;
    }
    let word = u64::from(u32::MAX);
    let ladder_end = u64::from(list.ladder_base) + u64::from(list.ladder_len);
    if list.ladder_len > 1 << 24 || ladder_end > word {
        return false;
    }
    let top = super::money::top_of(list);
    let lots_max = u128::from(list.lots_max);
    let taker_ppm = i64::from(list.taker_ppm);
    list.symbol.iter().all(|byte| (0x20..=0x7E).contains(byte))
        && u64::from(top) * u64::from(list.tick_size) <= word
        && u64::from(list.lots_max) * u64::from(list.lot_size) <= word
        && (list.band_low == 0) == (list.band_high == 0)
        && list.band_low <= list.band_high
        && list.taker_ppm <= FEE_PPM_MAX
        && (-taker_ppm..=taker_ppm).contains(&i64::from(list.maker_ppm))
        && notional(list, top, 1) <= PRODUCT_MAX
        && lots_max * hold_per_lot(list, top) <= u128::from(AMOUNT_MAX)
        && lots_max * u128::from(list.lot_value) <= u128::from(AMOUNT_MAX)
}
