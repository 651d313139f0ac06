//! Bugs that matching engines have had, each as a short script: `venue/mod.rs` has its language. Engine and reference do every line and
//! must both say what stands under it.
#![cfg(feature = "std")]

mod pair;
mod tape;
mod venue;

use venue::run;

/// A sweep ends at the taker's limit, however much is offered beyond it.
#[test]
fn nothing_trades_through_the_takers_limit() {
    run("
        a sell 2@100
          a1 rests 2@100
        a sell 2@102
          a2 rests 2@102
        b buy 4@101
          b1 takes 2@100 from a1
          b1 rests 2@101
        c sell 9@101
          c1 takes 2@101 from b1
          c1 rests 7@101
        b buy 3@100 ioc
          b2 leaves with 3: Ioc
    ");
}

/// As above for market orders: their price is a protection.
#[test]
fn a_market_order_stops_at_its_protection() {
    run("
        a sell 10@100
          a1 rests 10@100
        a sell 10@105
          a2 rests 10@105
        b buy 30@104 market
          b1 takes 10@100 from a1
          b1 leaves with 20: Ioc
    ");
}

/// What was filled whole can be neither cancelled nor replaced, and its reference may stand for a later order.
#[test]
fn a_filled_maker_is_gone_from_the_index() {
    run("
        a sell 2@100
          a1 rests 2@100
        b buy 2@100
          b1 takes 2@100 from a1
        a cancel a1
          rejected: UnknownOrder
        a replace a1 2@101
          rejected: UnknownOrder
        b cancel b1
          rejected: UnknownOrder
        b sell 1@99
          b2 rests 1@99
    ");
}

/// The slot of an order that is gone is taken by the next one at once. The old reference does not name the new order, and neither do the old
/// order's neighbours.
#[test]
fn a_slot_used_again_is_not_mistaken() {
    run("
        c sell 1@100
          c1 rests 1@100
        a sell 1@100
          a1 rests 1@100
        c sell 1@100
          c2 rests 1@100
        a cancel a1
          a1 leaves with 1: User
        b sell 7@120
          b1 rests 7@120
        a cancel a1
          rejected: UnknownOrder
        a reduce a1 1
          rejected: UnknownOrder
        a replace a1 2@101
          rejected: UnknownOrder
        a cancel last
          rejected: UnknownOrder
        b buy 2@100
          b2 takes 1@100 from c1
          b2 takes 1@100 from c2
        a sell 1@120
          a3 rests 1@120
        b cancel b1
          b1 leaves with 7: User
        b buy 1@120
          b3 takes 1@120 from a3
    ");
}

/// A maker that was filled in part is still first; so is one that was reduced or replaced by less.
#[test]
fn a_partial_fill_keeps_its_place() {
    run("
        a sell 3@100
          a1 rests 3@100
        c sell 3@100
          c1 rests 3@100
        b buy 1@100
          b1 takes 1@100 from a1
        a reduce a1 1
          a1 reduced by 1 to 1
        b buy 2@100
          b2 takes 1@100 from a1
          b2 takes 1@100 from c1
        c replace c1 1@100
          c1 becomes c2 1@100, kept
        a sell 1@100
          a2 rests 1@100
        b buy 1@100
          b3 takes 1@100 from c2
    ");
}

/// More lots or another price is a new place.
#[test]
fn more_lots_lose_their_place() {
    run("
        a sell 1@100
          a1 rests 1@100
        c sell 1@100
          c1 rests 1@100
        a replace a1 2@100
          a1 becomes a2 2@100
          a2 rests 2@100
        b buy 2@100
          b1 takes 1@100 from c1
          b1 takes 1@100 from a2
    ");
}

/// The next best price counts when the best is cancelled, also for post-only, slides and pegs.
#[test]
fn the_best_price_is_not_stale_after_a_cancel() {
    run("
        a sell 1@100
          a1 rests 1@100
        a sell 1@105
          a2 rests 1@105
        a cancel a1
          a1 leaves with 1: User
        b buy 1@103 post
          b1 rests 1@103
        b buy 1@110 slide
          b2 rests 1@104
        a sell 1@104
          a3 takes 1@104 from b2
        a sell 1@100
          a4 takes 1@103 from b1
        a sell 1@100
          a5 rests 1@100
    ");
}

/// A replace that crosses trades; it does not rest in a crossed book. A post-only one is refused and stays where it was.
#[test]
fn a_crossing_replace_trades() {
    run("
        a sell 2@101
          a1 rests 2@101
        b buy 1@100
          b1 rests 1@100
        b replace b1 3@101
          b1 becomes b2 3@101
          b2 takes 2@101 from a1
          b2 rests 1@101
        a sell 1@102 post
          a2 rests 1@102
        a replace a2 1@101
          rejected: WouldCross
        b buy 1@102
          b3 takes 1@102 from a2
    ");
}

/// Reducing by all there is cancels; nothing of no lots ever trades, rests or is reduced.
#[test]
fn no_quantity_is_ever_zero() {
    run("
        a sell 3@100 show=1
          a1 rests 3@100 showing 1
        a reduce a1 3
          a1 leaves with 3: User
        b buy 1@100
          b1 rests 1@100
        a sell 0@100
          rejected: SharesZero
        b replace b1 0@100
          rejected: SharesZero
        b reduce b1 0
          rejected: SharesZero
        b reduce b1 5
          b1 leaves with 1: User
        a sell 1@100
          a3 rests 1@100
    ");
}

/// What prevention ends never rests; what it takes off both sides leaves no trade.
#[test]
fn a_prevented_remainder_does_not_rest() {
    run("
        a sell 2@100
          a1 rests 2@100
        b sell 2@101
          b1 rests 2@101
        c buy 5@101 stp=1
          c1 leaves with 5: SelfTrade
        c buy 5@101 stp=3
          a1 leaves with 2: SelfTrade
          c2 leaves with 5: SelfTrade
        a sell 2@100
          a2 rests 2@100
        c buy 5@101 stp=4
          c3 and a2 lose 2@100
          c3 takes 2@101 from b1
          c3 rests 1@101
        a sell 3@101 stp=2
          c3 leaves with 1: SelfTrade
          a3 rests 3@101
    ");
}

/// The mode stays with an order: its replacement and its stop have it too.
#[test]
fn prevention_stays_with_the_order() {
    run("
        c buy 1@99 stp=1
          c1 rests 1@99
        a sell 1@101
          a1 rests 1@101
        c replace c1 1@101
          c1 becomes c2 1@101
          c2 leaves with 1: SelfTrade
        c buy 1@101 stop=101 stp=2
          c3 waits for 101
        b buy 1@101
          b1 takes 1@101 from a1
        a sell 1@101
          step Triggers
          c3 triggered
          c3 rests 1@101
          a2 takes 1@101 from c3
    ");
}

/// Fill-or-kill finds feasible exactly what its sweep then fills: not what prevention takes away, what hides behind a limit, or what
/// expires.
#[test]
fn fill_or_kill_agrees_with_its_sweep() {
    run("
        a sell 2@100
          a1 rests 2@100
        b sell 2@100
          b1 rests 2@100
        c buy 3@100 fok stp=2
          rejected: NotFillable
        c buy 2@100 fok stp=2
          a1 leaves with 2: SelfTrade
          c2 takes 2@100 from b1
        b sell 5@100 show=1
          b2 rests 5@100 showing 1
        b sell 2@100 hidden
          b3 rests 2@100 hidden
        a buy 7@100 fok
          a2 takes 1@100 from b2
          b2 shows 1 of 4
          a2 takes 1@100 from b2
          b2 shows 1 of 3
          a2 takes 1@100 from b2
          b2 shows 1 of 2
          a2 takes 1@100 from b2
          b2 shows 1 of 1
          a2 takes 1@100 from b2
          a2 takes 2@100 from b3
        a buy 1@100 fok
          rejected: NotFillable
    ");
}

/// A minimum is met at once or the order is refused; what rests afterwards has none.
#[test]
fn a_minimum_counts_at_entry_alone() {
    run("
        a sell 2@100
          a1 rests 2@100
        b buy 5@100 min=3
          rejected: NotFillable
        b buy 5@100 min=2
          b2 takes 2@100 from a1
          b2 rests 3@100
        a sell 1@100
          a2 takes 1@100 from b2
    ");
}

/// An iceberg's new slice goes behind the others, and its hidden rest trades only then; all of it takes part in an auction.
#[test]
fn an_iceberg_is_whole_in_an_auction() {
    run("
        operator state PreOpen
          state PreOpen
        a sell 5@100 show=2
          a1 rests 5@100 showing 2
        c sell 1@100
          c1 rests 1@100
        b buy 6@101
          b1 rests 6@101
        operator state OpeningAuction
          state OpeningAuction
        operator state Uncrossing
          state Uncrossing
        operator uncross 100
        steps
          step Uncross
          b1 buys 2@100 from a1
          a1 shows 2 of 3
          b1 buys 1@100 from c1
          b1 buys 2@100 from a1
          a1 shows 1 of 1
          b1 buys 1@100 from a1
          uncrossed 6@100
          state Continuous
        a cancel a1
          rejected: UnknownOrder
    ");
}

/// What does not trade in an auction stays with its place, its end and its kind: good till time, hidden, pegged.
#[test]
fn nothing_is_lost_in_an_auction() {
    run("
        b sell 1@110
          b1 rests 1@110
        a buy 1@105 peg=P
          a1 rests 1@105 pegged
        operator state ClosingAuction
          state ClosingAuction
        a buy 2@100 gtt=100
          a2 rests 2@100
        a buy 1@101 hidden
          a3 rests 1@101 hidden
        b sell 1@101
          b2 rests 1@101
        operator state Uncrossing
          state Uncrossing
        operator uncross 101
        steps
          step Uncross
          a3 buys 1@101 from b2
          uncrossed 1@101
          state Continuous
        b sell 1@100 ioc
          b3 takes 1@100 from a2
        operator expire 100
          a2 leaves with 1: Expired
        a buy 1@99
          a4 rests 1@99
        b sell 2@99 ioc
          b4 takes 1@99 from a4
          b4 takes 1@99 from a1
    ");
}

/// A stop that waits can be cancelled, reduced, replaced and mass cancelled, and then never triggers.
#[test]
fn a_stop_can_be_cancelled_before_its_trigger() {
    run("
        a buy 1@103 stop=102
          a1 waits for 102
        a buy 2@103 stop=102
          a2 waits for 102
        a buy 2@103 stop=102
          a3 waits for 102
        c buy 1@103 stop=102
          c1 waits for 102
        a cancel a1
          a1 leaves with 1: User
        a replace a2 2@104
          a2 becomes a4 2@104
          a4 waits for 102
        a reduce a4 1
          a4 reduced by 1 to 1
        c mass session
          c1 leaves with 1: Mass
        b sell 1@102
          b1 rests 1@102
        c buy 1@102
          c2 takes 1@102 from b1
        steps
          step Triggers
          a3 triggered
          a3 rests 2@103
          step Triggers
          a4 triggered
          a4 rests 1@104
    ");
}

/// While triggered stops have not come in yet, nobody else comes before them; and the stop itself cannot be cancelled between.
#[test]
fn nobody_comes_before_a_triggered_stop() {
    run("
        a sell 1@100
          a1 rests 1@100
        a sell 1@101
          a2 rests 1@101
        c buy 1@101 stop=100
          c1 waits for 100
        b buy 1@100 & buy 1@101
          b1 takes 1@100 from a1
          rejected: Continuing
        c cancel c1
          step Triggers
          c1 triggered
          c1 takes 1@101 from a2
          rejected: UnknownOrder
    ");
}

/// A trade too far from the last auction does not happen: trading pauses, orders are collected, an auction ends the pause.
#[test]
fn a_price_too_far_pauses_trading() {
    run("
        operator state Halted
          state Halted
        operator bands pause=2 reference=100
        operator state Continuous
          state Continuous
        a sell 1@102
          a1 rests 1@102
        a sell 2@103
          a2 rests 2@103
        b buy 2@103 ioc
          b1 takes 1@102 from a1
          state VolatilityPause
          b1 leaves with 1: Paused
        b buy 1@103 ioc
          rejected: NotInAuction
        b buy 1@103
          b3 rests 1@103
        operator state Continuous
          rejected: BookCrossed
        operator state Uncrossing
          state Uncrossing
        b cancel b3
          rejected: Continuing
        operator uncross 103
        steps
          step Uncross
          b3 buys 1@103 from a2
          uncrossed 1@103
          state Continuous
        b buy 1@103
          b4 takes 1@103 from a2
    ");
}

/// What leaves is not traded with: cancels that go on in steps do not fill what they have not come to yet. (One step here.)
#[test]
fn a_killed_session_trades_no_more() {
    run("
        a sell 1@100
          a1 rests 1@100
        c sell 1@100
          c1 rests 1@100
        a mass session kill
          a1 leaves with 1: Kill
        a sell 1@100
          rejected: SessionKilled
        b buy 2@100
          b1 takes 1@100 from c1
          b1 rests 1@100
        operator killaccount a
        c sell 1@100
          rejected: AccountKilled
        operator revive a
        operator reviveaccount a
        a sell 1@100
          a3 takes 1@100 from b1
    ");
}

/// The end of a day takes day orders and good-till-time orders, stops among them, and leaves what is good till cancelled in its place.
#[test]
fn the_end_of_a_day_keeps_what_is_good_till_cancelled() {
    run("
        a sell 1@101
          a1 rests 1@101
        a sell 1@101 gtc
          a2 rests 1@101
        a sell 1@101 gtt=50
          a3 rests 1@101
        a buy 1@103 stop=103
          a4 waits for 103
        a buy 1@104 stop=104 gtc
          a5 waits for 104
        c sell 1@101 gtc
          c1 rests 1@101
        operator state Closed
          state Closed
        operator closeday
        steps
          step Purge
          a1 leaves with 1: DayEnd
          a3 leaves with 1: DayEnd
          a4 leaves with 1: DayEnd
        operator openday
        operator state Continuous
          state Continuous
        operator expire 50
        b buy 2@101
          b1 takes 1@101 from a2
          b1 takes 1@101 from c1
    ");
}
