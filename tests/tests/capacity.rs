//! Large shards: what they need is said before they are made, and the two configurations of RULES 20 are filled in the kernel.

use ring0_engine::control::{Clock, Control, ControlKind, Deposit, Grant, List, OpenAccount};
use ring0_engine::native::{Discard, Native};
use ring0_engine::record::{Outcome, State};
use ring0_engine::{Capacity, Reason};
use ring0_rings::Live;
use ring0_tests::{Kernel, ring0};
use ring0_wire::host::{Answer, Inbound, PacketBuilder};
use ring0_wire::message::{BUY, SELL, STOCK_SPACES};
use ring0_wire::{Ack, Key, Message, SessionId};

/// Many instruments and sessions (RULES 20).
const MANY: Shape = Shape {
    instruments: 1_024,
    ladder_len: 16_384,
    sessions: 65_536,
    answers_log2: 7,
    references_log2: 7,
    orders: 4_000_000,
    levels: 2_000_000,
    depths: 900,
};

/// Few instruments whose prices reach far (RULES 20).
const WIDE: Shape = Shape {
    instruments: 8,
    ladder_len: 1 << 20,
    sessions: 8,
    answers_log2: 8,
    references_log2: 16,
    orders: 400_000,
    levels: 400_000,
    depths: 1 << 19,
};

const LADDER_BASE: u32 = 1_000;

/// What a shard is made for, and filled with.
struct Shape {
    instruments: u32,
    ladder_len: u32,
    sessions: u32,
    answers_log2: u8,
    references_log2: u8,
    orders: u32,
    levels: u32,
    /// Prices on a side that orders are entered at.
    depths: u32,
}

impl Shape {
    fn capacity(&self) -> Capacity {
        Capacity {
            accounts: 4,
            assets: 2,
            instruments: self.instruments,
            sessions: self.sessions,
            orders: self.orders,
            levels: self.levels,
            ladder: self.instruments * self.ladder_len,
            answers: self.sessions << self.answers_log2,
            references: self.sessions << self.references_log2,
            buckets: 1 << 10,
        }
    }

    fn controls(&self) -> Vec<Control> {
        let mut controls = vec![Control::new(ControlKind::Clock, &Clock { day_base_ns: 0 })];
        for account in 0..4 {
            let open = OpenAccount {
                account,
                reserved: 0,
            };
            controls.push(Control::new(ControlKind::OpenAccount, &open));
            for asset in 0..2 {
                let deposit = Deposit {
                    account,
                    asset,
                    amount: 1 << 60,
                };
                controls.push(Control::new(ControlKind::Deposit, &deposit));
            }
        }
        controls.extend((0..self.instruments).map(|instrument| self.list(instrument)));
        controls.extend((0..self.sessions).map(|session| self.grant(session)));
        controls
    }

    fn list(&self, instrument: u32) -> Control {
        let list = List {
            instrument,
            state: State::Continuous as u32,
            symbol: *b"LARGE   ",
            base_asset: 1,
            quote_asset: 0,
            tick_size: 100,
            lot_size: 1,
            tick_value: 10_000,
            ladder_base: LADDER_BASE,
            lot_value: 1,
            ladder_len: self.ladder_len,
            lots_max: 100_000,
            band_low: 0,
            band_high: 0,
            notional_max: 0,
            maker_ppm: -10,
            taker_ppm: 30,
        };
        Control::new(ControlKind::List, &list)
    }

    fn grant(&self, session: u32) -> Control {
        let grant = Grant {
            session,
            account: session % 4,
            id: SessionId::new(session % (1 << 20), 77).expect("20 bits").0,
            answers_log2: self.answers_log2,
            references_log2: self.references_log2,
            burst: 0,
            interval_ns: 0,
            expires_ns: u64::MAX,
            orders_max: 0,
            shares_max: 0,
            notional_max: 0,
            cancel_on_disconnect: 0,
            reserved: 0,
        };
        Control::new(ControlKind::GrantSession, &grant)
    }

    /// Order `number` (from 0): every instrument in turn, both sides, over all of the ladder from its middle out, and none crosses.
    fn order(&self, number: u32, reference: u32) -> Inbound {
        let place = number / self.instruments;
        let half = self.ladder_len / 2;
        // An odd stride visits every depth of a power of two before it comes again.
        let depth = (place / 2).wrapping_mul(0x9E37_79B1) % self.depths;
        let (side, tick) = match place % 2 {
            0 => (BUY, LADDER_BASE + half - 1 - depth),
            _ => (SELL, LADDER_BASE + half + depth),
        };
        self.message(
            b'A',
            number % self.instruments,
            (side, tick, 100),
            reference,
        )
    }

    fn message(
        &self,
        letter: u8,
        instrument: u32,
        terms: (u8, u32, u32),
        reference: u32,
    ) -> Inbound {
        let (side, tick, shares) = terms;
        let message = Message {
            letter,
            locate: (instrument + 1) as u16,
            reference,
            side,
            shares,
            price: tick * 100,
            stock: STOCK_SPACES,
            ..Message::default()
        };
        Inbound::from_message(&message).expect("a letter of ours")
    }
}

/// A shard in the kernel and what is sent to it; natively the same again where `twin` is set.
struct Filled {
    kernel: Kernel,
    key: Key,
    expected: Vec<u64>,
    references: Vec<u32>,
    twin: Option<Native<Discard>>,
}

impl Filled {
    fn up(shape: &Shape, twin: bool) -> Filled {
        let mut kernel = Kernel::up(&shape.capacity(), 1 << 20, ring0_lab::Options::default());
        println!("{:?}", kernel.loaded.report);
        println!("arena of {} bytes", kernel.loaded.pinned.arena_bytes());
        let key = [0x5A; 16];
        for session in 0..shape.sessions {
            kernel.shard.set_key(session, Some(&key)).unwrap();
        }
        let controls = shape.controls();
        let results = kernel.shard.command(&controls).unwrap();
        assert_eq!(results.len(), controls.len());
        for (at, (outcome, reason)) in results.iter().enumerate() {
            assert_eq!(*outcome, Outcome::Accepted, "command {at}: {reason:?}");
        }
        let twin = twin.then(|| {
            let mut native = Native::with_recorder(&shape.capacity(), Discard).unwrap();
            native.control(&controls, 0);
            native
        });
        Filled {
            kernel,
            key: Key::from_bytes(&key),
            expected: vec![1; shape.sessions as usize],
            references: vec![1; shape.sessions as usize],
            twin,
        }
    }

    /// Sends messages of a session in one packet, as many as fit; `message` makes the one of that number (from 0) with that reference. Gives the acks.
    fn send(&mut self, session: u32, message: impl Fn(u32, u32) -> Option<Inbound>) -> Vec<Ack> {
        let at = session as usize;
        let id = SessionId::new(session, 77).expect("20 bits");
        let mut builder = PacketBuilder::new(id, self.expected[at]);
        let mut count = 0;
        while let Some(message) = message(count, self.references[at]) {
            if builder.push(&message).is_err() {
                break;
            }
            count += 1;
            self.references[at] += 1;
        }
        self.expected[at] = builder.next_sequence();
        let packet = builder.sign(Some(&self.key));
        let shard = &self.kernel.shard;
        let run = shard.run_frame(&shard.frame(&packet)).unwrap();
        assert_eq!(run.verdict, 3, "every packet is answered");
        if let Some(native) = &mut self.twin {
            native.packet(&packet, 0, None).unwrap();
        }
        let answer = Answer::read(&run.frame[42..], Some(&self.key)).unwrap();
        answer.acks
    }

    /// Enters so many orders, the sessions in turn; none trades.
    fn fill(&mut self, shape: &Shape, orders: u32) {
        let (mut number, mut session) = (0, 0);
        while number < orders {
            let acks = self.send(session, |count, reference| {
                let number = number + count;
                (number < orders).then(|| shape.order(number, reference))
            });
            for ack in &acks {
                assert_eq!(
                    (ack.result, ack.reason),
                    (b'A', 0),
                    "order {number}: {ack:?}"
                );
                number += 1;
            }
            session = (session + 1) % shape.sessions;
        }
    }

    /// One more control command is rejected for that reason.
    fn refuses(&mut self, control: Control, reason: Reason) {
        let result = self.kernel.shard.command(&[control]).unwrap();
        assert_eq!(result, [(Outcome::Rejected, reason)]);
    }
}

#[test]
fn many_instruments_and_sessions_with_four_million_orders_in_the_kernel() {
    let mut filled = Filled::up(&MANY, false);
    filled.fill(&MANY, MANY.orders);
    let acks = filled.send(0, |count, reference| {
        (count == 0).then(|| MANY.order(0, reference))
    });
    assert_eq!(acks[0].reason, Reason::BookFull as u8);
    filled.refuses(MANY.list(MANY.instruments), Reason::IndexOutOfRange);
    filled.refuses(MANY.grant(MANY.sessions), Reason::IndexOutOfRange);

    let shard = filled.kernel.shard.shard();
    assert_eq!(shard.header().orders_live.get(), MANY.orders);
    for instrument in [0, 400, MANY.instruments - 1] {
        let half = LADDER_BASE + MANY.ladder_len / 2;
        let best = [b'B', b'S'].map(|side| shard.depth(instrument, side, 1)[0].price);
        assert_eq!(best, [half - 1, half]);
    }
    shard.check();
    println!("state {}", shard.state_hash());
}

#[test]
fn few_instruments_with_a_million_prices_each_in_the_kernel() {
    let mut filled = Filled::up(&WIDE, true);
    filled.fill(&WIDE, WIDE.orders - 1);
    // Orders that sweep far: each one up to 256 levels, and then goes on by steps.
    let top = LADDER_BASE + WIDE.ladder_len - 1;
    for instrument in 0..WIDE.instruments {
        let limit = if instrument % 2 == 0 {
            (BUY, top, 90_000)
        } else {
            (SELL, LADDER_BASE, 90_000)
        };
        let acks = filled.send(instrument, |count, reference| {
            (count == 0).then(|| WIDE.message(b'A', instrument, limit, reference))
        });
        assert_eq!(acks[0].result, b'C', "{:?}", acks[0]);
        for _ in 0..2 {
            // A heartbeat: its run takes steps before it.
            filled.send(instrument, |_, _| None);
        }
    }
    filled.refuses(WIDE.list(WIDE.instruments), Reason::IndexOutOfRange);
    let shard = filled.kernel.shard.shard();
    shard.check();
    let native = filled.twin.as_ref().expect("asked for").shard();
    for instrument in 0..WIDE.instruments {
        let best = |side| {
            (
                shard.depth(instrument, side, 3),
                native.depth(instrument, side, 3),
            )
        };
        for (kernel, native) in [best(b'B'), best(b'S')] {
            assert_eq!(kernel, native, "instrument {instrument}");
        }
    }
}

#[test]
fn the_large_market_is_planned() {
    let market = concat!(env!("CARGO_MANIFEST_DIR"), "/../markets/large.toml");
    let ran = ring0(&["capacity", "--market", market, "--json"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let report = ran.json();
    println!("{report}");
    let parts = report["parts"].as_array().expect("a list");
    let sum: u64 = parts.iter().filter_map(|part| part["bytes"].as_u64()).sum();
    let bytes = report["bytes"].as_u64().expect("a number");
    assert!(
        sum <= bytes && bytes < sum + parts.len() as u64 * 64 + 4096,
        "{report}"
    );
    for name in ["order", "level", "session", "instrument"] {
        assert!(report[format!("bytes_per_{name}")].as_u64() > Some(0));
    }
}

#[test]
fn what_does_not_fit_is_refused_in_one_line() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("capacity.toml");
    let write = |orders: &str| {
        let rest = "accounts = 4\nassets = 2\ninstruments = 4\nsessions = 4\nlevels = 9\nladder = 64\nanswers = 512\nreferences = 64\nbuckets = 64\n";
        std::fs::write(&file, format!("{rest}orders = {orders}\n")).expect("room");
        let path = file.to_str().expect("a plain name");
        ring0(&["capacity", "--config", path, "--json"])
    };
    assert_eq!(write("1000").status, 0);
    let ran = write("67_108_863");
    assert_eq!((ran.status, ran.err.lines().count()), (1, 1), "{ran:?}");
    assert!(ran.err.contains("do not fit one arena"), "{ran:?}");
    let ran = write("0");
    assert_eq!((ran.status, ran.err.lines().count()), (1, 1), "{ran:?}");
    let ran = write("\"many\"");
    assert_eq!((ran.status, ran.err.lines().count()), (1, 1), "{ran:?}");
}
