//! Message rates of sessions and accounts: random packets at random times against a bucket that leaks, which says the same in another
//! way, and against what a rate promises: in no stretch of time is more taken than its burst and what it refills.
#![cfg(feature = "std")]

mod pair;
mod tape;

use pair::{Limited, Pair};
use proptest::prelude::*;
use ring0_engine::control::{Body, Clock, Control, ControlKind, Grant, OpenAccount, SetRisk};
use ring0_engine::flow::Input;
use ring0_engine::record::Outcome;
use ring0_engine::{Capacity, Reason};
use ring0_wire::host::{Inbound, PacketBuilder};
use ring0_wire::{Message, SessionId};

/// Sessions 0 and 1 are of account 0, session 2 of account 1.
const ACCOUNT_OF: [usize; 3] = [0, 0, 1];
/// As small as it can be: the state is hashed at every packet.
const CAPACITY: Capacity = Capacity {
    accounts: 2,
    assets: 1,
    instruments: 1,
    sessions: 3,
    orders: 1,
    levels: 1,
    ladder: 64,
    answers: 3 * 128,
    references: 3 * 64,
    buckets: 1,
};
const WHOLE_MAX: u64 = (1 << 62) - 1;

/// Burst and interval; interval 0: none.
type Rate = (u32, u64);

/// What was charged and has not leaked yet, in nanoseconds.
#[derive(Clone, Copy, Default)]
struct Bucket {
    rate: Rate,
    level: u128,
}

impl Bucket {
    fn leak(&mut self, ns: u64) {
        self.level = self.level.saturating_sub(ns.into());
    }

    fn size(&self) -> u128 {
        u128::from(self.rate.0) * u128::from(self.rate.1)
    }

    fn holds(&self, messages: u64) -> bool {
        let cost = u128::from(messages) * u128::from(self.rate.1);
        self.rate.1 == 0 || self.level + cost <= self.size()
    }

    fn charge(&mut self, messages: u64) {
        self.level += u128::from(messages) * u128::from(self.rate.1);
    }

    fn set(&mut self, rate: Rate) {
        self.rate = rate;
        self.level = self.level.min(self.size());
    }
}

struct Venue {
    pair: Pair,
    boot_ns: u64,
    next: [u64; 3],
    sessions: [Bucket; 3],
    accounts: [Bucket; 2],
}

impl Venue {
    /// Venue time is `end_ns` before the end of time.
    fn new(grants: [Rate; 3], end_ns: u64) -> Venue {
        let mut venue = Venue {
            pair: Pair::new(CAPACITY),
            boot_ns: 1_000_000,
            next: [1; 3],
            sessions: grants.map(|rate| Bucket { rate, level: 0 }),
            accounts: [Bucket::default(); 2],
        };
        let day_base_ns = (u64::MAX - end_ns).wrapping_sub(venue.boot_ns);
        venue.accepts(ControlKind::Clock, &Clock { day_base_ns });
        for account in [0, 1] {
            let reserved = 0;
            venue.accepts(ControlKind::OpenAccount, &OpenAccount { account, reserved });
        }
        for (session, (burst, interval_ns)) in (0..).zip(grants) {
            let grant = Grant {
                session,
                account: ACCOUNT_OF[session as usize] as u32,
                id: id(session as usize).0,
                answers_log2: 7,
                references_log2: 4,
                burst,
                interval_ns,
                expires_ns: u64::MAX,
                orders_max: 0,
                shares_max: 0,
                notional_max: 0,
                cancel_on_disconnect: 0,
                reserved: 0,
            };
            venue.accepts(ControlKind::GrantSession, &grant);
        }
        venue
    }

    fn control<B: Body>(&mut self, kind: ControlKind, body: &B) -> (Outcome, Reason) {
        let control = [Control::new(kind, body)];
        let native = self.pair.native.control(&control, self.boot_ns);
        let reference = self.pair.reference.control(&control, self.boot_ns);
        assert_eq!(native, reference);
        self.pair.same_states().unwrap();
        native[0]
    }

    fn accepts<B: Body>(&mut self, kind: ControlKind, body: &B) {
        assert_eq!(self.control(kind, body), (Outcome::Accepted, Reason::None));
    }

    fn set(&mut self, account: usize, rate: Rate) -> (Outcome, Reason) {
        let (burst, interval_ns) = rate;
        let body = SetRisk {
            account: account as u32,
            orders_max: 0,
            shares_max: 0,
            burst,
            notional_max: 0,
            interval_ns,
        };
        let done = self.control(ControlKind::SetRisk, &body);
        if done.0 == Outcome::Accepted {
            self.accounts[account].set(rate);
        }
        done
    }

    /// Time passes.
    fn wait(&mut self, ns: u64) {
        self.boot_ns += ns;
        for bucket in self.sessions.iter_mut().chain(&mut self.accounts) {
            bucket.leak(ns);
        }
    }

    /// Sends so many messages, the tag block counted: whether they were taken, or whose rate they are above. Both must say what
    /// the buckets say, and a packet that is not taken changes nothing.
    fn send(&mut self, session: usize, messages: u64) -> Result<(), Limited> {
        let mut packet = PacketBuilder::new(id(session), self.next[session]);
        let cancel = Message {
            letter: b'D',
            locate: 1,
            reference: 1,
            ..Message::default()
        };
        let cancel = Inbound::from_message(&cancel).unwrap();
        for _ in 1..messages {
            packet.push(&cancel).unwrap();
        }
        let before = self.pair.native.shard().state_hash();
        let fed = self
            .pair
            .feed(&Input::Packet(packet.sign(None)), self.boot_ns)
            .unwrap();
        self.pair.same_hashes().unwrap();
        let account = ACCOUNT_OF[session];
        let holds = (
            self.sessions[session].holds(messages),
            self.accounts[account].holds(messages),
        );
        let want = match holds {
            (true, true) => None,
            (false, true) => Some(Limited::Session),
            (true, false) => Some(Limited::Account),
            (false, false) => Some(Limited::Both),
        };
        assert_eq!(fed.limited, want);
        assert_eq!(fed.has_messages(), want.is_none());
        if let Some(limited) = want {
            assert_eq!(self.pair.native.shard().state_hash(), before);
            return Err(limited);
        }
        self.next[session] += messages;
        self.sessions[session].charge(messages);
        self.accounts[account].charge(messages);
        Ok(())
    }
}

fn id(session: usize) -> SessionId {
    SessionId::new(session as u32, 9).expect("a small index")
}

/// Centuries before the end of time.
const NEVER: u64 = u64::MAX / 2;

#[test]
fn two_sessions_below_their_rates_are_above_their_accounts() {
    // Ten at once and one a microsecond for each session; for both together twelve at once and one a microsecond.
    let mut venue = Venue::new([(10, 1000); 3], NEVER);
    venue.set(0, (12, 1000));
    assert_eq!(venue.send(0, 6), Ok(()));
    assert_eq!(venue.send(1, 6), Ok(()));
    assert_eq!(venue.send(0, 3), Err(Limited::Account));
    assert_eq!(venue.send(1, 3), Err(Limited::Account));
    assert_eq!(venue.send(1, 5), Err(Limited::Both));
    assert_eq!(venue.send(2, 10), Ok(()), "the other account has no rate");
    assert_eq!(venue.send(2, 2), Err(Limited::Session));
    venue.wait(2000);
    assert_eq!(venue.send(0, 2), Ok(()));
    assert_eq!(venue.send(1, 2), Err(Limited::Account));
    // What the account did not take was not charged to the session, nor the other way round.
    venue.set(0, (0, 0));
    assert_eq!(venue.send(1, 7), Err(Limited::Session));
    assert_eq!(venue.send(1, 6), Ok(()));
}

#[test]
fn another_rate_goes_on_from_what_was_charged() {
    let mut venue = Venue::new([(0, 0); 3], NEVER);
    venue.set(0, (10, 1000));
    assert_eq!(venue.send(0, 8), Ok(()));
    venue.set(0, (10, 1000));
    assert_eq!(venue.send(1, 3), Err(Limited::Account), "the same again");
    // A slip: ten messages cost 146 years.
    venue.set(0, (10, WHOLE_MAX / 10));
    assert_eq!(venue.send(0, 9), Ok(()));
    assert_eq!(venue.send(0, 2), Err(Limited::Account));
    venue.set(0, (10, 1000));
    assert_eq!(venue.send(0, 2), Err(Limited::Account));
    venue.wait(2000);
    assert_eq!(venue.send(0, 2), Ok(()), "no longer than one burst");
    // Without a rate nothing is charged, and nothing kept.
    venue.set(0, (0, 0));
    assert_eq!(venue.send(0, 60), Ok(()));
    venue.set(0, (10, 1000));
    assert_eq!(venue.send(0, 10), Ok(()));
}

#[test]
fn a_bad_rate_changes_nothing() {
    let mut venue = Venue::new([(0, 0); 3], NEVER);
    venue.set(0, (3, 1000));
    assert_eq!(venue.send(0, 2), Ok(()));
    let bad = (Outcome::Rejected, Reason::BadSetting);
    for rate in [
        (0, 1),
        (1, WHOLE_MAX + 1),
        (2, WHOLE_MAX / 2 + 1),
        (u32::MAX, u64::MAX),
    ] {
        assert_eq!(venue.set(0, rate), bad, "{rate:?}");
        assert_eq!(venue.send(1, 2), Err(Limited::Account));
    }
    assert_eq!(venue.set(0, (1, WHOLE_MAX)).0, Outcome::Accepted);
    assert_eq!(venue.set(0, (7, 0)).0, Outcome::Accepted);
    assert_eq!(venue.send(0, 60), Ok(()));
}

/// A stretch: what is taken in it, and how long it is.
fn promised(taken: &[(u64, u64)], (burst, interval_ns): Rate) {
    for (first, &(from, _)) in taken.iter().enumerate() {
        let mut sum = 0;
        for &(until, messages) in &taken[first..] {
            sum += messages;
            let refilled = u128::from(until - from) / u128::from(interval_ns);
            assert!(
                u128::from(sum) <= u128::from(burst) + refilled,
                "{sum} messages in {} ns",
                until - from
            );
        }
    }
}

fn rate() -> impl Strategy<Value = Rate> {
    prop_oneof![
        1 => Just((0, 0)),
        4 => (2_u32..30, 1_u64..3_000),
        1 => (2_u32..30).prop_map(|burst| (burst, WHOLE_MAX / u64::from(burst))),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Send(usize, u64),
    Set(usize, Rate),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_u64..8_000).prop_map(Step::Wait),
        12 => (0_usize..3, 2_u64..14).prop_map(|(session, messages)| Step::Send(session, messages)),
        1 => (0_usize..2, rate()).prop_map(|(account, rate)| Step::Set(account, rate)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rates_are_buckets_that_leak(
        grants in [rate(), rate(), rate()],
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut venue = Venue::new(grants, NEVER);
        for step in steps {
            match step {
                Step::Wait(ns) => venue.wait(ns),
                Step::Send(session, messages) => drop(venue.send(session, messages)),
                Step::Set(account, rate) => drop(venue.set(account, rate)),
            }
        }
        venue.pair.same_states().unwrap();
    }

    #[test]
    fn no_stretch_takes_more_than_the_account_may(
        burst in 2_u32..20,
        interval_ns in 1_u64..2_000,
        sends in prop::collection::vec((0_u64..4_000, 0_usize..2, 2_u64..10), 1..150),
        end_ns in prop_oneof![Just(NEVER), 0_u64..200_000],
    ) {
        let mut venue = Venue::new([(0, 0); 3], end_ns);
        venue.set(0, (burst, interval_ns));
        let (mut now, mut taken) = (0, Vec::new());
        for (wait, session, messages) in sends {
            let wait = wait.min(end_ns - now); // behind the end time stands still
            now += wait;
            venue.wait(wait);
            // At the very end states are no longer exact: they stay there.
            if now + u64::from(burst) * interval_ns <= end_ns && venue.send(session, messages).is_ok() {
                taken.push((now, messages));
            }
        }
        promised(&taken, (burst, interval_ns));
        venue.pair.same_states().unwrap();
    }
}

/// Where the state would pass the end of time it stays there: nothing wraps, and engine and reference say the same.
#[test]
fn the_end_of_time_is_no_way_round() {
    let mut venue = Venue::new([(0, 0); 3], 1000);
    venue.set(0, (10, 100));
    assert_eq!(venue.send(0, 10), Ok(()), "exactly to the end");
    assert_eq!(venue.send(1, 2), Err(Limited::Account));
    venue.wait(500);
    assert_eq!(venue.send(1, 6), Err(Limited::Account));
    assert_eq!(venue.send(1, 5), Ok(()), "the state is at its end");
    assert_eq!(venue.set(0, (10, WHOLE_MAX / 10)).0, Outcome::Accepted);
    venue.set(1, (10, WHOLE_MAX / 10));
    assert_eq!(venue.send(2, 10), Ok(()));
}
