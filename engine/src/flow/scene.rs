//! Written scenes: what random orders would hardly ever build.

use super::market::{ASSETS, FRAGILE, LATE, PLENTY, RATED, RISKY, SIXTH, VAST, WIDE, middle_of};
use super::message::{DAY, FOK, GTC, GTT, IOC, preventing};
use super::operator::{clear, deposit, no_limit, no_risk, risk, state_of, target};
use super::{Flow, Plan, Profile};
use crate::control::{Control, ControlKind, Empty, MoveLadder, SetRisk};
use crate::record::State;
use ring0_wire::message::{
    BOTH, BUY, PEG_MIDPOINT, PEG_PRIMARY, SCOPE_ACCOUNT, SCOPE_SESSION, SELL,
};
use ring0_wire::{Flags, Message};

const fn other(side: u8) -> u8 {
    if side == BUY { SELL } else { BUY }
}

impl Flow {
    pub(super) fn begins_scene(&mut self) -> bool {
        let per_mille = match self.phase {
            Profile::Deep => 120,
            Profile::Calm => 1,
            Profile::Hostile | Profile::Mixed => 4,
            Profile::Auction | Profile::Stops | Profile::Day => 12,
            Profile::SelfTrade | Profile::Pegs => 8,
        };
        self.random.below(1000) < per_mille
    }

    pub(super) fn scene(&mut self) {
        self.clean();
        let own = self.random.percent(75);
        match self.phase {
            Profile::Auction if own => match self.random.below(3) {
                0 => self.scene_pause(),
                _ => self.scene_auction(),
            },
            Profile::Stops if own => self.scene_cascade(),
            Profile::SelfTrade if own => self.scene_one_hand(),
            Profile::Pegs if own => match self.random.below(3) {
                0 => self.scene_icebergs(),
                _ => self.scene_pegs(),
            },
            Profile::Day if own => match self.random.below(3) {
                0 => self.scene_purge(),
                1 => self.scene_good_till(),
                _ => self.scene_day(),
            },
            _ => self.any_scene(),
        }
    }

    fn any_scene(&mut self) {
        match self.random.below(19) {
            0 | 1 => self.scene_sweep(),
            2 => self.scene_mass_cancel(),
            3 => self.scene_levels(),
            4 => self.scene_full_book(),
            5 => self.scene_packet_work(),
            6 => self.scene_narrow(),
            7 => self.scene_levelless_remainder(),
            8 => self.scene_account(),
            9 => self.scene_auction(),
            10 => self.scene_pause(),
            11 | 12 => self.scene_cascade(),
            13 => self.scene_one_hand(),
            14 => self.scene_icebergs(),
            15 => self.scene_pegs(),
            16 => self.scene_good_till(),
            17 => self.scene_rate(),
            _ => self.scene_purge(),
        }
    }

    /// Everything is taken back to where orders can be entered, sometimes with empty books.
    fn clean(&mut self) {
        let mut controls = vec![Control::new(ControlKind::ResumeShard, &Empty {})];
        if self.random.percent(60) {
            for session in WIDE {
                controls.push(target(ControlKind::KillSession, session));
            }
            controls.push(target(ControlKind::KillSession, SIXTH));
            self.plans.push_back(Plan::Control(controls));
            self.steps(8);
            controls = Vec::new();
        }
        for session in [0, 1, 5, 6, SIXTH, VAST] {
            controls.push(target(ControlKind::ReviveSession, session));
        }
        for account in [0, 1, 5] {
            controls.push(target(ControlKind::ReviveAccount, account));
            controls.push(no_risk(account));
            for asset in 0..ASSETS {
                controls.push(no_limit(account, asset));
                controls.push(deposit(account, asset, PLENTY / 1024));
            }
        }
        self.plans.push_back(Plan::Control(controls));
        for _ in 0..4 {
            self.plans.push_back(Plan::Restore);
        }
    }

    fn interlude(&mut self) {
        for _ in 0..self.random.below(4) {
            self.plans.push_back(Plan::Random);
        }
    }

    fn steps(&mut self, runs: u32) {
        for _ in 0..runs {
            self.plans.push_back(Plan::Steps);
        }
    }

    fn control(&mut self, control: Control) {
        self.plans.push_back(Plan::Control(vec![control]));
    }

    /// So many orders of a session, all alike but for the price.
    fn build(&mut self, session: u32, order: Message, step: u32, orders: u32) {
        let each = if order.letter == b'O' { 24 } else { 37 };
        let (mut left, mut order) = (orders, order);
        while left > 0 {
            let count = left.min(each);
            self.plans.push_back(Plan::Orders {
                session,
                order,
                step,
                count,
            });
            order.price += step * count;
            left -= count;
        }
    }

    fn place(&mut self, session: u32, order: Message) {
        self.build(session, order, 0, 1);
    }

    /// One or two wide sessions that are not these.
    fn others(&mut self, taken: [u32; 2]) -> u32 {
        let free: Vec<_> = WIDE
            .into_iter()
            .filter(|session| !taken.contains(session))
            .collect();
        self.random.pick(&free)
    }

    /// A long mass cancel that stands in the queue before what comes next.
    fn jam(&mut self, session: u32) {
        let orders = self.random.between(700, 1000);
        let order = Flow::limit(2, BUY, middle_of(2) - 3, 1, DAY);
        self.build(session, order, 0, orders);
        let scope = if self.random.percent(20) {
            SCOPE_ACCOUNT
        } else {
            SCOPE_SESSION
        };
        let kill = u8::from(self.random.percent(20));
        self.plans.push_back(Plan::Mass {
            session,
            scope,
            kill,
        });
    }

    /// One order against many; often more than the steps of one run can finish, sometimes on two instruments at once.
    fn scene_sweep(&mut self) {
        let jam = self.random.percent(70);
        let orders = self
            .random
            .between(if jam { 600 } else { 270 }, if jam { 1000 } else { 1700 });
        let side = self.random.pick(&[BUY, SELL]);
        let maker = self.random.pick(&WIDE);
        let taker = self.random.pick(&WIDE);
        let locates = if self.random.percent(40) {
            vec![1, 3]
        } else {
            vec![self.random.pick(&[1, 3])]
        };
        let each = orders / locates.len() as u32;
        let makes = self.random.pick(&[DAY, GTC, DAY.with(Flags::HIDDEN), DAY]);
        for &locate in &locates {
            for n in 0..3 {
                let order = Flow::limit(locate, side, middle_of(locate) + n, 1, makes);
                self.build(maker, order, 0, each / 3);
            }
        }
        if jam {
            let session = self.others([maker, taker]);
            self.jam(session);
        }
        for &locate in &locates {
            let middle = middle_of(locate);
            let worst = if side == SELL { middle + 3 } else { middle - 1 };
            let lots = self.random.between(each / 2, each + 40);
            if self.random.percent(20) {
                let away = if side == SELL { middle - 3 } else { middle + 5 };
                self.place(taker, Flow::limit(locate, other(side), away, 1, DAY));
                self.plans.push_back(Plan::Move {
                    session: taker,
                    price: worst,
                    lots,
                });
                continue;
            }
            let flags = [DAY, DAY, IOC, FOK, DAY.with(Flags::MARKET), GTT];
            let flags = self.random.pick(&flags);
            let mut order = Flow::limit(locate, other(side), worst, lots, flags);
            if flags == GTT {
                order.letter = b'O';
                order.expiry_s = self.expiry_in(2);
            }
            if self.random.percent(20) && flags != FOK {
                // A peg whose limit lets it sweep.
                order.letter = b'O';
                order.peg = PEG_PRIMARY;
                order.flags = Flags(order.flags.0 & !Flags::MARKET);
                order.peg_offset_ticks = 5;
            }
            self.place(taker, order);
        }
        if !jam {
            self.interlude();
        }
        match self.random.below(if jam { 5 } else { 6 }) {
            0 => self.control(target(ControlKind::KillSession, taker)),
            1 => self.control(state_of(u32::from(locates[0]) - 1, State::Halted)),
            2 => self.control(target(ControlKind::KillSession, maker)),
            3 => self.plans.push_back(Plan::Expire { seconds: 4 }),
            4 if jam => self.frozen(u32::from(locates[0]) - 1),
            4 => {
                self.control(Control::new(ControlKind::HaltShard, &Empty {}));
                self.interlude();
                self.control(Control::new(ControlKind::ResumeShard, &Empty {}));
            }
            _ => {}
        }
        self.interlude();
    }

    /// Everything that an operator may not do to an instrument while work of it is pending.
    fn frozen(&mut self, index: u32) {
        let Some(mut controls) = self.every_change(index) else {
            return;
        };
        controls.push(state_of(index, State::Closed));
        self.plans.push_back(Plan::Control(controls));
    }

    /// A session with more orders than some runs can cancel, and what comes in between.
    fn scene_mass_cancel(&mut self) {
        let session = self.random.pick(&[0, 1, 5, 6, FRAGILE, VAST]);
        let first = self.random.between(40, 900);
        let second = self.random.between(40, 900);
        let (bid, ask) = (middle_of(1) - 6, middle_of(3) + 20);
        self.build(session, Flow::limit(1, BUY, bid, 1, DAY), 0, first);
        self.build(session, Flow::limit(3, SELL, ask, 1, GTC), 0, second);
        if self.random.percent(45) {
            self.plans.push_back(Plan::Disconnect { session });
            self.plans.push_back(Plan::Disconnect { session });
            return;
        }
        let kill = u8::from(self.random.percent(30));
        let scope = self.random.pick(&[SCOPE_SESSION, SCOPE_ACCOUNT]);
        self.plans.push_back(Plan::Mass {
            session,
            scope,
            kill,
        });
        if self.random.percent(30) {
            self.plans.push_back(Plan::Disconnect { session });
        }
        self.interlude();
        match self.random.below(5) {
            0 => self.control(target(ControlKind::KillSession, session)),
            1 => self.plans.push_back(Plan::Mass {
                session,
                scope,
                kill: 1,
            }),
            2 => self.plans.push_back(Plan::Control(vec![
                target(ControlKind::ReviveSession, session),
                target(ControlKind::CloseSession, session),
            ])),
            3 => {
                // Both scopes at once.
                self.plans.push_back(Plan::Mass {
                    session,
                    scope: SCOPE_SESSION,
                    kill: 1,
                });
                self.plans.push_back(Plan::Mass {
                    session,
                    scope: SCOPE_ACCOUNT,
                    kill: 1,
                });
            }
            _ => {
                // Somebody takes what waits to be cancelled; some want more than the others have.
                let taker = self.random.pick(&WIDE);
                let other = self.others([session, taker]);
                let count = self.random.between(1, 40);
                self.build(other, Flow::limit(1, BUY, bid, 1, DAY), 0, count);
                for _ in 0..3 {
                    let flags = self.random.pick(&[IOC, FOK, FOK, DAY]);
                    let lots = self.random.between(1, 2 * count);
                    let mut order = Flow::limit(1, SELL, bid, lots, flags);
                    if flags == DAY {
                        (order.letter, order.minimum) = (b'O', lots);
                    }
                    self.place(taker, order);
                }
                self.place(taker, Flow::limit(3, BUY, ask, second, IOC));
            }
        }
        self.interlude();
        let scope = self.random.pick(&[SCOPE_SESSION, SCOPE_ACCOUNT]);
        self.revive_later(session, scope);
    }

    /// The sessions of an account together send more than it may, each for itself not; one of them has a rate of its own.
    fn scene_rate(&mut self) {
        let (account, sessions) = self.random.pick(&[
            (0, [0, 6, FRAGILE]),
            (1, [1, 5, RISKY]),
            (2, [RATED, RATED, RATED]),
        ]);
        let rate = SetRisk {
            burst: self.random.between(8, 24),
            interval_ns: self.random.pick(&[100_000, 400_000, 1_000_000]),
            ..risk(account)
        };
        self.control(Control::new(ControlKind::SetRisk, &rate));
        for _ in 0..self.random.between(6, 16) {
            let session = self.random.pick(&sessions);
            let order = Flow::limit(1, BUY, middle_of(1) - 4, 1, DAY);
            let orders = self.random.between(1, 8);
            self.build(session, order, 0, orders);
        }
        self.interlude();
        if self.random.percent(50) {
            // Another rate goes on from what was charged.
            let other = SetRisk {
                burst: self.random.between(2, 24),
                interval_ns: self.random.pick(&[10_000, 100_000, 4_000_000]),
                ..rate
            };
            self.control(Control::new(ControlKind::SetRisk, &other));
            for session in sessions {
                self.place(session, Flow::limit(1, SELL, middle_of(1) + 4, 1, DAY));
            }
        }
        self.control(no_risk(account));
    }

    /// The account of many sessions: one of them with a window that takes many looks.
    fn scene_account(&mut self) {
        for session in [0, 6, FRAGILE, VAST] {
            let orders = self.random.between(10, 70);
            let order = Flow::limit(1, BUY, middle_of(1) - 7, 1, DAY);
            self.build(session, order, 0, orders);
        }
        // References far apart, so that looks are many and visits few.
        self.clients[VAST as usize].skip(self.random.below(9000));
        self.build(VAST, Flow::limit(3, SELL, middle_of(3) + 9, 1, DAY), 0, 30);
        match self.random.below(3) {
            0 => self.control(target(ControlKind::KillAccount, 0)),
            kill => self.plans.push_back(Plan::Mass {
                session: VAST,
                scope: self.random.pick(&[SCOPE_ACCOUNT, SCOPE_SESSION]),
                kill: kill as u8 - 1,
            }),
        }
        self.interlude();
        if self.random.percent(30) {
            self.control(target(ControlKind::KillAccount, 0));
        }
        self.steps(2);
        self.plans.push_back(Plan::Control(vec![
            target(ControlKind::ReviveSession, VAST),
            target(ControlKind::ReviveAccount, 0),
        ]));
    }

    /// Many prices: fill-or-kill that looks too deep, and a full level pool.
    fn scene_levels(&mut self) {
        let (maker, taker) = (self.random.pick(&WIDE), self.random.pick(&WIDE));
        let levels = self.random.between(262, 298);
        let offers = Flow::limit(3, SELL, 100, 1, DAY);
        self.build(maker, offers, 1, levels);
        for _ in 0..3 {
            let lots = self.random.between(240, levels + 5);
            let mut order = Flow::limit(3, BUY, 400, lots, FOK);
            if self.random.percent(40) {
                order.letter = b'O';
                (order.minimum, order.flags) = (lots, DAY);
                order.shares += 3;
            }
            self.place(taker, order);
            self.interlude();
            self.build(maker, offers, 1, levels);
        }
        self.build(maker, Flow::limit(3, BUY, 20, 1, DAY), 1, 60);
        for locate in [1, 2] {
            let middle = middle_of(locate);
            self.build(maker, Flow::limit(locate, BUY, middle - 7, 1, DAY), 1, 6);
            // Other books, which need levels too.
            let hidden = DAY.with(Flags::HIDDEN);
            self.build(maker, Flow::limit(locate, BUY, middle - 7, 1, hidden), 1, 6);
            let mut peg = Flow::limit(locate, BUY, middle - 2, 1, DAY);
            (peg.letter, peg.peg) = (b'O', PEG_MIDPOINT);
            self.build(maker, peg, 1, 3);
            let mut stop = Flow::limit(locate, BUY, middle + 9, 1, DAY);
            (stop.letter, stop.trigger) = (b'O', middle + 7);
            self.place(maker, stop);
        }
        self.interlude();
    }

    /// More orders than the pool holds.
    fn scene_full_book(&mut self) {
        for session in WIDE {
            let order = Flow::limit(1, BUY, middle_of(1) - 9, 1, GTC);
            self.build(session, order, 0, 580);
            self.interlude();
        }
    }

    /// Packets whose messages together cause more than their share.
    fn scene_packet_work(&mut self) {
        let (maker, taker) = (self.random.pick(&WIDE), self.random.pick(&WIDE));
        let price = middle_of(1);
        self.build(maker, Flow::limit(1, SELL, price, 1, DAY), 0, 1500);
        self.plans.push_back(Plan::Work {
            session: taker,
            order: Flow::limit(1, BUY, price, 240, IOC),
        });
        for _ in 0..2 {
            let lots = self.random.between(180, 250);
            let order = Flow::limit(1, BUY, price, lots, IOC);
            self.build(taker, order, 0, 7);
        }
        if self.random.percent(50) {
            // Fill-or-kill that looks and does not trade counts too; so do mass cancels.
            let order = Flow::limit(1, BUY, price, 250, FOK);
            self.build(taker, order, 0, 9);
        }
        self.interlude();
    }

    /// More orders than the windows and buckets of a session hold, and replaces among them.
    fn scene_narrow(&mut self) {
        let session = self.random.pick(&[LATE, LATE, 4, FRAGILE]);
        if session == LATE {
            let grant = self.granting(session);
            self.plans.push_back(Plan::Control(vec![
                grant,
                target(ControlKind::ReviveSession, session),
            ]));
        }
        for _ in 0..3 {
            let order = Flow::limit(1, BUY, middle_of(1) - 5, 1, DAY);
            self.build(session, order, 0, 111);
            for _ in 0..4 {
                self.plans.push_back(Plan::Replaces { session });
            }
        }
        if self.random.percent(50) {
            self.plans.push_back(Plan::Mass {
                session,
                scope: SCOPE_SESSION,
                kill: 0,
            });
        }
        self.interlude();
    }

    /// A day order sweeps behind a long mass cancel; meanwhile its makers go and the last levels are taken.
    fn scene_levelless_remainder(&mut self) {
        let [a, b, c, d] = WIDE;
        let (bid, ask) = (middle_of(1) - 9, middle_of(1));
        self.build(d, Flow::limit(3, SELL, 60, 1, DAY), 1, 325);
        self.build(a, Flow::limit(1, BUY, bid, 1, DAY), 0, 1100);
        self.place(d, Flow::limit(1, BUY, bid, 1, DAY)); // so that the mass cancel frees no level
        let makers = self.random.between(258, 300);
        self.build(b, Flow::limit(1, SELL, ask, 1, DAY), 0, makers);
        self.plans.push_back(Plan::Mass {
            session: a,
            scope: SCOPE_SESSION,
            kill: 0,
        });
        self.place(c, Flow::limit(1, BUY, ask, 600, DAY));
        self.control(target(ControlKind::KillSession, b));
        self.build(d, Flow::limit(3, BUY, 20, 1, DAY), 1, 37);
        self.steps(4);
        self.interlude();
    }

    /// A call with many orders, mostly crossed, and the auction in steps; then what can happen between them.
    fn scene_auction(&mut self) {
        let locate = self.random.pick(&[1, 5, 5, 6]);
        let (index, middle) = (u32::from(locate) - 1, middle_of(locate));
        let call = [
            State::OpeningAuction,
            State::ClosingAuction,
            State::PreOpen,
            State::VolatilityPause,
        ];
        let call = self.random.pick(&call);
        self.control(state_of(index, call));
        let (buyer, seller) = (self.random.pick(&WIDE), self.random.pick(&WIDE));
        let deep = self.random.percent(50);
        let each = if deep {
            self.random.between(90, 320)
        } else {
            self.random.between(1, 9)
        };
        let leaver = self.others([buyer, seller]);
        for n in 0..3 {
            let flags = self.random.pick(&[DAY, GTC, DAY.with(Flags::HIDDEN), GTT]);
            let mut bid = Flow::limit(
                locate,
                BUY,
                middle + 2 - n,
                self.random.between(1, 3),
                flags,
            );
            let mut ask = Flow::limit(locate, SELL, middle - 1 + n, self.random.between(1, 3), DAY);
            if flags == GTT {
                (bid.letter, bid.expiry_s) = (b'O', self.expiry_in(2));
            }
            if self.random.percent(30) {
                (ask.letter, ask.display) = (b'O', 1);
            }
            ask.flags = ask.flags.with(preventing(self.random.below(5) as u16));
            self.build(buyer, bid, 0, each);
            self.build(seller, ask, 0, each);
            self.build(
                leaver,
                Flow::limit(locate, BUY, middle + 1, 1, DAY),
                0,
                each.min(30),
            );
        }
        let mut stop = Flow::limit(locate, BUY, middle + 4, 3, DAY);
        (stop.letter, stop.trigger) = (b'O', middle + 1);
        self.place(leaver, stop);
        if self.random.percent(40) {
            let session = self.others([buyer, seller]);
            self.jam(session);
        }
        if call == State::PreOpen {
            self.control(state_of(index, State::OpeningAuction));
        }
        self.control(state_of(index, State::Uncrossing));
        self.interlude();
        let uncross = self.uncross(index, State::Continuous);
        self.control(uncross);
        match self.random.below(6) {
            0 => self.control(state_of(index, State::Halted)),
            1 => self.control(target(ControlKind::KillSession, leaver)),
            2 => self.control(target(ControlKind::KillSession, seller)),
            3 => self.plans.push_back(Plan::Expire { seconds: 4 }),
            _ => {}
        }
        self.interlude();
        for _ in 0..6 {
            self.plans.push_back(Plan::Restore);
            self.plans.push_back(Plan::Steps);
        }
    }

    /// Trades that go farther from the last auction than trading may; sometimes in a sweep of many steps.
    fn scene_pause(&mut self) {
        let (locate, middle) = (5, middle_of(5));
        let (maker, taker) = (self.random.pick(&WIDE), self.random.pick(&WIDE));
        let side = self.random.pick(&[BUY, SELL]);
        let deep = self.random.percent(40);
        let near = if deep {
            self.random.between(200, 600)
        } else {
            self.random.between(0, 9)
        };
        let far = if side == SELL { middle + 5 } else { middle - 5 };
        self.build(maker, Flow::limit(locate, side, middle, 1, DAY), 0, near);
        self.build(maker, Flow::limit(locate, side, far, 1, GTC), 0, 20);
        let mut stop = Flow::limit(locate, other(side), far, 4, DAY);
        stop.letter = b'O';
        stop.trigger = if side == SELL { middle + 1 } else { middle - 1 };
        self.place(taker, stop);
        let lots = near + self.random.between(1, 30);
        let flags = [DAY, IOC, FOK, GTC, DAY.with(Flags::MARKET), GTT];
        let flags = self.random.pick(&flags);
        let mut order = Flow::limit(locate, other(side), far, lots, flags);
        if flags == GTT {
            (order.letter, order.expiry_s) = (b'O', self.expiry_in(3));
        }
        self.place(taker, order);
        self.interlude();
        self.plans.push_back(Plan::Restore);
    }

    /// Stops that trigger each other, more than one run can carry out; some whose owner is being cancelled.
    fn scene_cascade(&mut self) {
        let (locate, middle) = (1, middle_of(1));
        let (maker, taker) = (self.random.pick(&WIDE), self.random.pick(&WIDE));
        let stopper = self.random.pick(&WIDE);
        let side = self.random.pick(&[BUY, SELL]);
        let at = |n: u32| if side == BUY { middle + n } else { middle - n };
        // The trades that trigger: offers at prices that go away from the middle.
        let each = self.random.pick(&[3, 20, 100, 280]);
        for n in 0..4 {
            self.build(
                maker,
                Flow::limit(locate, other(side), at(n), 1, DAY),
                0,
                each,
            );
        }
        // The first trade puts the last price at the middle.
        self.place(taker, Flow::limit(locate, side, middle, 1, IOC));
        let stops = self.random.between(2, 12);
        for n in 1..4 {
            let flags = [
                DAY,
                GTC,
                IOC,
                GTT,
                DAY.with(Flags::MARKET),
                DAY.with(Flags::HIDDEN),
                DAY.with(preventing(2)),
                DAY.with(preventing(1)),
            ];
            let flags = self.random.pick(&flags);
            let lots = self.random.between(1, each + 10);
            let mut stop = Flow::limit(locate, side, at(n + self.random.below(2)), lots, flags);
            stop.letter = b'O';
            stop.trigger = at(n);
            if flags == GTT {
                stop.expiry_s = self.expiry_in(2);
            }
            if self.random.percent(20) && !flags.has(Flags::HIDDEN | Flags::MARKET) {
                stop.display = 1;
            }
            let count = if self.random.percent(20) { 40 } else { stops };
            self.build(stopper, stop, 0, count);
        }
        let jam = self.random.percent(50);
        if jam {
            let session = self.others([stopper, taker]);
            self.jam(session);
        }
        self.place(taker, Flow::limit(locate, side, at(1), each + 1, IOC));
        match self.random.below(6) {
            0 => self.control(target(ControlKind::KillSession, stopper)),
            1 => self.control(state_of(0, State::Halted)),
            2 => self.plans.push_back(Plan::Expire { seconds: 4 }),
            3 => self.plans.push_back(Plan::Mass {
                session: stopper,
                scope: SCOPE_SESSION,
                kill: 0,
            }),
            _ => {}
        }
        self.interlude();
    }

    /// One hand on both sides, in a sweep of many steps and with every mode.
    fn scene_one_hand(&mut self) {
        // Sessions of one account; and two of different accounts, with one trade group.
        let pairs = [(0, 6), (6, 0), (1, 5), (SIXTH, SIXTH), (1, SIXTH)];
        let (maker, taker) = self.random.pick(&pairs);
        let stranger = if maker == 0 || maker == 6 { 1 } else { 0 };
        let side = self.random.pick(&[BUY, SELL]);
        let deep = self.random.percent(60);
        let each = if deep {
            self.random.between(100, 300)
        } else {
            self.random.between(1, 6)
        };
        let (locate, middle) = (1, middle_of(1));
        for n in 0..3 {
            let price = if side == SELL { middle + n } else { middle - n };
            let mut order = Flow::limit(locate, side, price, self.random.between(1, 3), DAY);
            if self.random.percent(40) {
                order.letter = b'O';
                order.shares += self.random.below(9);
                order.display = 1;
            } else if self.random.percent(30) {
                order.flags = order.flags.with(Flags::HIDDEN);
            }
            self.build(maker, order, 0, each);
            self.build(
                stranger,
                Flow::limit(locate, side, price, 1, DAY),
                0,
                each / 3 + 1,
            );
        }
        if self.random.percent(30) {
            let session = self.others([maker, taker]);
            self.jam(session);
        }
        for _ in 0..2 {
            let worst = if side == SELL { middle + 2 } else { middle - 2 };
            let lots = self.random.between(1, each * 7);
            let flags = [DAY, IOC, FOK, GTC];
            let mode = self.random.below(5) as u16;
            let flags = self.random.pick(&flags).with(preventing(mode));
            let mut order = Flow::limit(locate, other(side), worst, lots, flags);
            if self.random.percent(40) {
                order.letter = b'O';
                order.trade_group = 7;
            }
            if self.random.percent(20) && !flags.is_immediate() {
                order.letter = b'O';
                order.minimum = self.random.between(1, lots.min(9));
            }
            self.place(taker, order);
            self.interlude();
        }
    }

    /// Icebergs that are used up slice by slice.
    fn scene_icebergs(&mut self) {
        let (maker, taker) = (self.random.pick(&WIDE), self.random.pick(&WIDE));
        let side = self.random.pick(&[BUY, SELL]);
        let (locate, middle) = (1, middle_of(1));
        let total = self.random.pick(&[5, 30, 300, 900]);
        for _ in 0..self.random.between(1, 5) {
            let mut order = Flow::limit(locate, side, middle, total, GTC);
            (order.letter, order.display) = (b'O', self.random.between(1, 3));
            self.place(maker, order);
            let hidden = DAY.with(Flags::HIDDEN);
            self.build(maker, Flow::limit(locate, side, middle, 2, hidden), 0, 3);
        }
        for _ in 0..3 {
            let lots = self.random.between(1, total + 5);
            let flags = self.random.pick(&[DAY, IOC, FOK, FOK]);
            let mut order = Flow::limit(locate, other(side), middle, lots, flags);
            if flags == DAY && self.random.percent(50) {
                (order.letter, order.minimum) = (b'O', self.random.between(1, lots));
            }
            self.place(taker, order);
            self.interlude();
        }
    }

    /// All peg queues of a side and one more, books that move under them, and what meets them.
    fn scene_pegs(&mut self) {
        let locate = self.random.pick(&[1, 3, 5]);
        let middle = middle_of(locate);
        let (maker, taker) = (self.random.pick(&WIDE), self.random.pick(&WIDE));
        let side = self.random.pick(&[BUY, SELL]);
        let deep = self.random.percent(30);
        if deep {
            // Nothing between the prices that pegs look at.
            self.control(clear(u32::from(locate) - 1, BOTH));
            self.steps(4);
        }
        self.place(maker, Flow::limit(locate, BUY, middle - 3, 9, DAY));
        self.place(maker, Flow::limit(locate, SELL, middle + 3, 9, DAY));
        if deep {
            // A peg that sweeps: it never reaches what is displayed, only what hides before it.
            let makers = self.random.between(258, 330);
            let hidden = DAY.with(Flags::HIDDEN);
            self.build(
                maker,
                Flow::limit(locate, SELL, middle, 1, hidden),
                0,
                makers,
            );
            let lots = makers + self.random.between(1, 60);
            let mut peg = Flow::limit(locate, BUY, middle + 1, lots, DAY);
            (peg.letter, peg.peg, peg.peg_offset_ticks) = (b'O', PEG_PRIMARY, 4);
            self.place(taker, peg);
        }
        let queues = self.random.between(3, 19);
        for n in 0..queues {
            let mut peg = Flow::limit(locate, side, middle, 1, DAY);
            peg.letter = b'O';
            peg.peg = if n % 2 == 0 {
                PEG_PRIMARY
            } else {
                PEG_MIDPOINT
            };
            peg.peg_offset_ticks = n as i8 / 2 - 3;
            let lasting = [DAY, GTC, DAY.with(Flags::HIDDEN), DAY.with(preventing(2))];
            peg.flags = self.random.pick(&lasting);
            peg.price = if side == BUY {
                middle + n % 3
            } else {
                middle - n % 3
            };
            let count = if deep { 40 } else { self.random.between(1, 3) };
            self.build(maker, peg, 0, count);
        }
        for _ in 0..4 {
            let away = self.random.below(3);
            let price = if side == BUY {
                middle - 1 + away
            } else {
                middle + 1 - away
            };
            let lots = self.random.between(1, if deep { 600 } else { 30 });
            let flags = self
                .random
                .pick(&[DAY, IOC, FOK, DAY.with(Flags::POST_REJECT)]);
            let mut order = Flow::limit(locate, other(side), price, lots, flags);
            if self.random.percent(25) && !flags.has(Flags::POST_REJECT) && flags != FOK {
                (order.letter, order.peg) = (b'O', PEG_MIDPOINT);
                order.peg_offset_ticks = self.random.below(5) as i8;
            }
            self.place(taker, order);
            self.interlude();
            let near = if self.random.percent(50) { BUY } else { SELL };
            let beside = if near == BUY { middle - 2 } else { middle + 2 };
            self.place(maker, Flow::limit(locate, near, beside, 1, DAY));
        }
    }

    /// Many orders that are good till the same seconds.
    fn scene_good_till(&mut self) {
        let maker = self.random.pick(&WIDE);
        let orders = self.random.between(20, 400);
        for n in 0..3 {
            let mut order = Flow::limit(1, BUY, middle_of(1) - 4, 1, GTT);
            order.letter = b'O';
            // The last ones, which their owner remembers, go first: they stand at the end of the first second.
            order.expiry_s = self.expiry_in(1 + n % 2);
            if n == 1 {
                order.trigger = middle_of(1) + 6;
                order.price = middle_of(1) + 9;
            }
            self.build(maker, order, 0, orders / 3 + 1);
        }
        if self.random.percent(40) {
            let session = self.others([maker, maker]);
            self.jam(session);
        }
        self.plans.push_back(Plan::Expire {
            seconds: self.random.between(1, 5),
        });
        match self.random.below(6) {
            0 => {
                // Somebody takes what is about to go.
                let taker = self.random.pick(&WIDE);
                let flags = self.random.pick(&[IOC, FOK]);
                self.place(taker, Flow::limit(1, SELL, middle_of(1) - 4, 90, flags));
            }
            // Its owner changes what is about to go.
            3 | 4 => self.plans.push_back(Plan::Replaces { session: maker }),
            1 => self.plans.push_back(Plan::Expire { seconds: 3 }),
            2 => {
                let open = target(ControlKind::KillSession, maker);
                self.control(open);
            }
            _ => {}
        }
        self.interlude();
    }

    /// Books so deep that taking them away takes several runs, and what happens meanwhile.
    fn scene_purge(&mut self) {
        let locate = self.random.pick(&[1, 6]);
        let (index, middle) = (u32::from(locate) - 1, middle_of(locate));
        let (first, second) = (self.random.pick(&WIDE), self.random.pick(&WIDE));
        let each = self.random.between(10, 250);
        let mut good = Flow::limit(locate, BUY, middle - 2, 1, GTT);
        (good.letter, good.expiry_s) = (b'O', self.expiry_in(2));
        let mut peg = Flow::limit(locate, SELL, middle + 2, 1, GTC);
        (peg.letter, peg.peg) = (b'O', PEG_PRIMARY);
        let mut stop = Flow::limit(locate, BUY, middle + 6, 1, GTC);
        (stop.letter, stop.trigger) = (b'O', middle + 5);
        let hidden = DAY.with(Flags::HIDDEN);
        self.build(first, Flow::limit(locate, BUY, middle - 1, 1, DAY), 0, each);
        self.build(second, good, 0, each / 2);
        self.build(
            second,
            Flow::limit(locate, SELL, middle + 1, 1, GTC),
            0,
            each,
        );
        self.build(
            first,
            Flow::limit(locate, SELL, middle + 1, 1, hidden),
            0,
            each / 2,
        );
        self.build(first, peg, 0, each / 4 + 1);
        self.build(second, stop, 0, each / 4 + 1);
        if self.random.percent(30) {
            let session = self.others([first, second]);
            self.jam(session);
        }
        let state = self.random.pick(&[State::Closed, State::Halted]);
        let purge = match self.random.below(4) {
            0 => clear(index, self.random.pick(&[BUY, SELL, BOTH])),
            1 => target(ControlKind::CloseDay, index),
            2 => target(ControlKind::Delist, index),
            _ => Control::new(
                ControlKind::MoveLadder,
                &MoveLadder {
                    instrument: index,
                    ladder_base: middle,
                    ladder_len: 40,
                    reserved: 0,
                },
            ),
        };
        self.plans
            .push_back(Plan::Control(vec![state_of(index, state), purge]));
        match self.random.below(4) {
            0 => self.control(target(ControlKind::KillSession, first)),
            1 => self.control(target(ControlKind::KillSession, second)),
            2 => self.plans.push_back(Plan::Expire { seconds: 4 }),
            _ => self.frozen(index),
        }
        self.interlude();
        self.steps(2);
        if locate == 1 {
            // Back to where it was.
            let list = super::market::list_of(locate);
            let back = MoveLadder {
                instrument: index,
                ladder_base: list.ladder_base,
                ladder_len: list.ladder_len,
                reserved: 0,
            };
            self.plans.push_back(Plan::Control(vec![
                state_of(index, State::Closed),
                Control::new(ControlKind::MoveLadder, &back),
            ]));
        }
    }

    /// A day ends and the next begins.
    fn scene_day(&mut self) {
        let maker = self.random.pick(&WIDE);
        let late = self.random.percent(50);
        if late {
            let mut order = Flow::limit(1, BUY, middle_of(1) - 4, 1, GTT);
            (order.letter, order.expiry_s) = (b'O', self.expiry_in(1));
            self.build(maker, order, 0, 450);
        }
        for index in 0..=super::market::LATE_MARKET {
            self.control(state_of(index, State::Closed));
        }
        if late {
            // Too early: what expires is not gone yet.
            self.plans.push_back(Plan::Expire { seconds: 2 });
            let day = self.next_day();
            self.control(day);
        }
        self.interlude();
        self.steps(2);
        for index in 0..super::market::MARKETS.len() as u32 {
            self.plans.push_back(Plan::Control(vec![
                state_of(index, State::Closed),
                target(ControlKind::CloseDay, index),
            ]));
        }
        self.steps(4);
        if self.random.percent(60) {
            self.plans.push_back(Plan::Expire { seconds: 5 });
            self.steps(2);
        }
        let mut controls: Vec<_> = (0..=super::market::LATE_MARKET)
            .map(|index| state_of(index, State::Closed))
            .collect();
        controls.push(self.next_day());
        self.plans.push_back(Plan::Control(controls));
        for _ in 0..4 {
            self.plans.push_back(Plan::Restore);
        }
    }
}
