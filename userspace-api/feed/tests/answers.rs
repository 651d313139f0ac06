//! OUCH of random markets: what clients learn from it alone, their open orders and their fills, is what the engine has.

mod market;

use market::{Market, seed};
use ring0_engine::canon::{Listing, Tag};
use ring0_engine::flow::Profile;
use ring0_engine::record::{Crossed, Filled, Head, Kind};
use ring0_feed::{AnswerSink, Answers, FIRST_SESSION};
use ring0_itch::mold::Session;
use ring0_itch::ouch::Outbound;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use zerocopy::FromBytes;

const INPUTS: usize = 4_000;

/// Everything that clients know.
#[derive(Default)]
struct Clients {
    /// Open shares by session and client reference.
    open: BTreeMap<(u32, u32), u64>,
    /// Shares traded by account.
    traded: BTreeMap<u32, u64>,
    accounts: BTreeMap<u32, u32>,
    letters: BTreeMap<u8, u64>,
    /// Feed references told, with the order that has each.
    references: HashMap<u64, (u32, u32)>,
}

impl Clients {
    fn take(&mut self, session: u32, user_ref: u32, shares: u64) {
        let open = self
            .open
            .get_mut(&(session, user_ref))
            .expect("an open order");
        *open = open.checked_sub(shares).expect("no more than is open");
        if *open == 0 {
            self.open.remove(&(session, user_ref));
        }
    }
}

impl AnswerSink for Clients {
    fn granted(&mut self, session: u32, account: u32, _: Session) {
        assert!(
            self.open
                .range((session, 0)..(session + 1, 0))
                .next()
                .is_none()
        );
        self.accounts.insert(session, account);
    }

    fn answer(&mut self, session: Option<u32>, account: u32, answer: &[u8]) {
        *self.letters.entry(answer[0]).or_default() += 1;
        let message = Outbound::read(answer).unwrap();
        let Some(session) = session else {
            assert!(matches!(message, Outbound::Broken(..)));
            return;
        };
        let is_broken = matches!(message, Outbound::Broken(..)); // its session may be granted anew
        assert!(
            is_broken || self.accounts[&session] == account,
            "another's account"
        );
        match message {
            Outbound::Accepted(it, _) => {
                let key = (session, it.user_ref.get());
                let before = self.open.insert(key, it.quantity.get().into());
                assert_eq!(before, None, "a reference twice");
            }
            Outbound::Replaced(it, _) => {
                let original = self.open.remove(&(session, it.original_user_ref.get()));
                assert!(original.is_some());
                self.open
                    .insert((session, it.user_ref.get()), it.quantity.get().into());
            }
            Outbound::Executed(it, _) => {
                let shares = u64::from(it.quantity.get());
                *self.traded.entry(account).or_default() += shares;
                self.take(session, it.user_ref.get(), shares);
            }
            Outbound::Canceled(it, _) => {
                self.take(session, it.user_ref.get(), it.decrement.get().into())
            }
            Outbound::AiqCanceled(it, _) => {
                self.take(session, it.user_ref.get(), it.decrement.get().into())
            }
            Outbound::PriorityUpdate(it, _) => {
                assert_ne!(it.order_reference.get(), 0);
                assert!(self.open.contains_key(&(session, it.user_ref.get())));
                self.references
                    .insert(it.order_reference.get(), (session, it.user_ref.get()));
            }
            _ => {}
        }
    }
}

/// The engine's live orders: session, reference and open lots, with the locate.
#[derive(Default)]
struct Live {
    orders: BTreeMap<(u32, u32), (u32, u64)>,
    locate: u32,
}

impl Listing for Live {
    fn item(&mut self, tag: Tag, numbers: &[u64]) {
        match tag {
            Tag::Instrument => self.locate = numbers[0] as u32 + 1,
            Tag::Order => {
                let key = (numbers[1] as u32, numbers[3] as u32);
                let before = self.orders.insert(key, (self.locate, numbers[5]));
                assert!(before.is_none(), "an order twice");
            }
            _ => {}
        }
    }
}

fn run(seed: u64, profile: Profile, letters: &mut BTreeSet<u8>) {
    println!("{profile:?}: seed {seed}");
    let mut market = Market::new(seed, profile);
    let (mut answers, mut clients) = (Answers::new(FIRST_SESSION), Clients::default());
    let mut traded: BTreeMap<u32, u64> = BTreeMap::new();
    let mut lots = HashMap::new();
    for input in 0..INPUTS {
        if input != 0 {
            market.step();
        }
        for index in 0..market::INSTRUMENTS {
            if let Some((_, lot)) = market.native.shard().wire_units(index) {
                lots.insert(index + 1, u64::from(lot));
            }
        }
        answers.feed(&market.records, &mut clients).unwrap();
        let mut rest = &market.records[..];
        while let Ok((head, _)) = Head::read_from_prefix(rest) {
            let parties = if head.kind == Kind::Filled as u16 {
                let (it, _) = Filled::read_from_prefix(rest).unwrap();
                Some(([it.maker_account, it.taker_account], it.lots))
            } else if head.kind == Kind::Crossed as u16 {
                let (it, _) = Crossed::read_from_prefix(rest).unwrap();
                Some(([it.buy_account, it.sell_account], it.lots))
            } else {
                None
            };
            if let Some((accounts, count)) = parties {
                for account in accounts {
                    *traded.entry(account).or_default() += u64::from(count) * lots[&head.locate];
                }
            }
            rest = &rest[usize::from(head.slots) * 64..];
        }
        if input % 20 == 0 || input + 1 == INPUTS {
            let mut live = Live::default();
            market.native.shard().list(&mut live);
            let engine: BTreeMap<_, _> = live
                .orders
                .iter()
                .map(|(key, (locate, open))| (*key, open * lots[locate]))
                .collect();
            assert_eq!(
                clients.open, engine,
                "{profile:?}, seed {seed}, input {input}"
            );
            assert_eq!(answers.live(), engine.len());
        }
    }
    assert_eq!(clients.traded, traded, "shares traded by account");
    println!("  {} open, {:?}", clients.open.len(), clients.letters);
    letters.extend(clients.letters.keys());
}

#[test]
fn what_clients_learn_is_what_the_engine_has() {
    let seed = seed();
    let mut letters = BTreeSet::new();
    let profiles = Profile::PURE.into_iter().chain([Profile::Mixed]);
    for (number, profile) in profiles.enumerate() {
        run(seed.wrapping_add(number as u64), profile, &mut letters);
    }
    for letter in *b"SAUCDEBJIT" {
        assert!(letters.contains(&letter), "no {} came", char::from(letter));
    }
}
