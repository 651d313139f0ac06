//! A large shard: what it needs is said before it is made, and a million orders rest in the kernel.

use ring0_engine::control::{Clock, Control, ControlKind, Deposit, Grant, List, OpenAccount};
use ring0_engine::record::{Outcome, State};
use ring0_engine::{Capacity, Reason};
use ring0_rings::Ring;
use ring0_tests::{Kernel, ring0};
use ring0_wire::host::{Answer, Inbound, PacketBuilder};
use ring0_wire::message::{BUY, SELL, STOCK_SPACES};
use ring0_wire::{Key, Message, SessionId};

const INSTRUMENTS: u32 = 256;
const ORDERS: u32 = 1_000_000;
const LADDER_BASE: u32 = 8_000;
const LADDER: u32 = 4_096;

/// As `markets/large.toml` has it.
const LARGE: Capacity = Capacity {
    accounts: 4,
    assets: 2,
    instruments: INSTRUMENTS,
    sessions: 4,
    orders: ORDERS,
    levels: 500_000,
    ladder: INSTRUMENTS * LADDER,
    answers: 4 * 256,
    references: 1 << 21,
    buckets: 1 << 10,
};

fn controls() -> Vec<Control> {
    let mut controls = vec![
        Control::new(ControlKind::Clock, &Clock { day_base_ns: 0 }),
        Control::new(
            ControlKind::OpenAccount,
            &OpenAccount {
                account: 0,
                reserved: 0,
            },
        ),
    ];
    for asset in 0..2 {
        let deposit = Deposit {
            account: 0,
            asset,
            amount: 1 << 60,
        };
        controls.push(Control::new(ControlKind::Deposit, &deposit));
    }
    for instrument in 0..INSTRUMENTS {
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
            ladder_len: LADDER,
            lots_max: 100_000,
            band_low: 0,
            band_high: 0,
            notional_max: 0,
            maker_ppm: -10,
            taker_ppm: 30,
        };
        controls.push(Control::new(ControlKind::List, &list));
    }
    let grant = Grant {
        session: 0,
        account: 0,
        id: id().0,
        answers_log2: 8,
        references_log2: 21,
        burst: 0,
        interval_ns: 0,
        expires_ns: u64::MAX,
        orders_max: 0,
        shares_max: 0,
        notional_max: 0,
        cancel_on_disconnect: 0,
        reserved: 0,
    };
    controls.push(Control::new(ControlKind::GrantSession, &grant));
    controls
}

fn id() -> SessionId {
    SessionId::new(0, 77).expect("small numbers")
}

/// Order `number` (from 0): every instrument in turn, both sides, over most of the ladder, and none crosses.
fn order(number: u32) -> Inbound {
    let place = number / INSTRUMENTS;
    let depth = place / 2 % 976;
    let (side, tick) = match place % 2 {
        0 => (BUY, LADDER_BASE + LADDER / 2 - 1 - depth),
        _ => (SELL, LADDER_BASE + LADDER / 2 + depth),
    };
    let message = Message {
        letter: b'A',
        locate: (number % INSTRUMENTS + 1) as u16,
        reference: number + 1,
        side,
        shares: 100,
        price: tick * 100,
        stock: STOCK_SPACES,
        ..Message::default()
    };
    Inbound::from_message(&message).expect("a letter of ours")
}

#[test]
fn a_million_orders_rest_in_the_kernel() {
    let mut kernel = Kernel::up(&LARGE, 1 << 16, ring0_lab::Options::default());
    println!("{:?}", kernel.loaded.report);
    println!("arena of {} bytes", kernel.loaded.pinned.arena_bytes());
    let shard = &mut kernel.shard;
    let key = [0x5A; 16];
    shard.set_key(0, Some(&key)).unwrap();
    let results = shard.command(&controls()).unwrap();
    assert!(
        results
            .iter()
            .all(|(outcome, _)| *outcome == Outcome::Accepted),
        "{results:?}"
    );
    let key = Key::from_bytes(&key);
    let send = |sequence: u64, orders: std::ops::Range<u32>| {
        let mut builder = PacketBuilder::new(id(), sequence);
        let mut number = orders.start;
        while number < orders.end && builder.push(&order(number)).is_ok() {
            number += 1;
        }
        let next = builder.next_sequence();
        let run = shard
            .run_frame(&shard.frame(&builder.sign(Some(&key))))
            .unwrap();
        assert_eq!(run.verdict, 3, "every packet is answered");
        (
            number,
            next,
            Answer::read(&run.frame[42..], Some(&key)).unwrap(),
        )
    };
    let (mut number, mut sequence) = (0, 1);
    while number < ORDERS {
        let (after, next, answer) = send(sequence, number..ORDERS);
        for ack in answer.acks {
            assert_eq!(
                (ack.result, ack.reason),
                (b'A', 0),
                "order {number}: {ack:?}"
            );
        }
        (number, sequence) = (after, next);
    }
    let (_, _, answer) = send(sequence, ORDERS..ORDERS + 1);
    assert_eq!(answer.acks[0].reason, Reason::BookFull as u8);

    let header = shard.shard();
    assert_eq!(header.header().orders_live.get(), ORDERS);
    for instrument in [0, 100, INSTRUMENTS - 1] {
        let best = [b'B', b'S'].map(|side| shard.depth(instrument, side, 1)[0].price);
        assert_eq!(
            best,
            [LADDER_BASE + LADDER / 2 - 1, LADDER_BASE + LADDER / 2]
        );
    }
    shard.shard().check();
    println!("state {}", shard.state_hash());
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
