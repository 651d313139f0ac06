//! The C interface against the native engine driven by packets that are made here: the same random orders give the same
//! answers, the same records and the same state hash. A failure prints its seed: `RING0_SEED=… cargo test --release -p ring0-capi`.

use ring0::{
    Ack, Engine, Event, Options, Order, RING0_ACCEPTED, RING0_ALL, RING0_BUY, RING0_CANCEL,
    RING0_COMMAND_EVENTS, RING0_CONTINUES, RING0_HIDDEN, RING0_MARKET, RING0_MASS_CANCEL,
    RING0_NEW, RING0_NOT_TAKEN, RING0_POST_ONLY, RING0_POST_SLIDE, RING0_REDUCE, RING0_REJECTED,
    RING0_REPLACE, RING0_SELL, ring0_check, ring0_create, ring0_destroy, ring0_poll,
    ring0_set_time, ring0_state_hash, ring0_submit_batch,
};
use ring0_engine::Capacity;
use ring0_engine::control::{Body, Control, ControlKind, Deposit, Grant, List, OpenAccount};
use ring0_engine::native::Native;
use ring0_engine::record::{Head, Outcome, State};
use ring0_wire::host::{Answer, Inbound, PacketBuilder};
use ring0_wire::message::{BOTH, STOCK_SPACES};
use ring0_wire::{Flags, Message, SessionId};
use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use zerocopy::{FromBytes, FromZeros};

const TRADERS: u32 = 3;
const INSTRUMENTS: u32 = 2;
const TICKS: u32 = 100;
const BASE: u32 = 950;
const ORDERS: u32 = 48;
/// Calls of a run; the second half has orders of every kind.
const CALLS: u32 = 20_000;
const DEPOSIT: u64 = 40_000_000;

fn options() -> Options {
    Options {
        traders: TRADERS,
        instruments: INSTRUMENTS,
        ticks: TICKS,
        price_base: BASE,
        orders: ORDERS,
        lots_max: 500,
        deposit: DEPOSIT,
        taker_ppm: 2500,
        maker_ppm: -700,
        events_max: 0,
        flags: RING0_COMMAND_EVENTS,
        ..Options::DEFAULT
    }
}

/// Sebastiano Vigna's splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u32) -> u32 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u32
    }

    fn percent(&mut self, chance: u32) -> bool {
        self.below(100) < chance
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u32) as usize]
    }
}

fn seed() -> u64 {
    let seed = match std::env::var("RING0_SEED") {
        Ok(text) => text.parse().expect("RING0_SEED is a number"),
        Err(_) => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.expect("a clock after 1970").as_nanos() as u64
        }
    };
    println!("RING0_SEED={seed}");
    seed
}

/// The engine without the C interface: controls and packets as its documentation says they are.
struct Direct {
    native: Native,
    last_reference: [u32; TRADERS as usize],
    /// An order was accepted after which orders travel alone.
    unforeseen: bool,
}

/// An iceberg, a hidden order, a stop or a peg.
fn is_unforeseen(order: &Order) -> bool {
    order.action == RING0_NEW
        && (order.display != 0
            || order.trigger != 0
            || order.peg != 0
            || order.flags & RING0_HIDDEN != 0)
}

fn control<B: Body + FromZeros>(kind: ControlKind, body: impl FnOnce(&mut B)) -> Control {
    let mut zeroed = B::new_zeroed();
    body(&mut zeroed);
    Control::new(kind, &zeroed)
}

impl Direct {
    #[allow(
        clippy::needless_update,
        reason = "the engine may get further dimensions"
    )]
    fn new() -> Direct {
        let capacity = Capacity {
            accounts: TRADERS,
            assets: INSTRUMENTS + 1,
            instruments: INSTRUMENTS,
            sessions: TRADERS,
            orders: ORDERS,
            levels: ORDERS,
            ladder: INSTRUMENTS * 128,
            answers: TRADERS * 128,
            references: TRADERS * 64,
            buckets: 16,
            ..Capacity::SMALL
        };
        let mut controls = Vec::new();
        for instrument in 0..INSTRUMENTS {
            controls.push(control(ControlKind::List, |list: &mut List| {
                list.instrument = instrument;
                list.state = State::Continuous as u32;
                list.symbol = *b"R0000001";
                list.symbol[7] += instrument as u8;
                list.base_asset = instrument + 1;
                (list.tick_size, list.lot_size) = (1, 1);
                (list.tick_value, list.lot_value) = (1, 1);
                (list.ladder_base, list.ladder_len) = (BASE, TICKS);
                list.lots_max = 500;
                (list.maker_ppm, list.taker_ppm) = (-700, 2500);
            }));
        }
        for trader in 0..TRADERS {
            controls.push(control(
                ControlKind::OpenAccount,
                |open: &mut OpenAccount| {
                    open.account = trader;
                },
            ));
            for asset in 0..=INSTRUMENTS {
                controls.push(control(ControlKind::Deposit, |deposit: &mut Deposit| {
                    (deposit.account, deposit.asset, deposit.amount) = (trader, asset, DEPOSIT);
                }));
            }
            controls.push(control(ControlKind::GrantSession, |grant: &mut Grant| {
                (grant.session, grant.account) = (trader, trader);
                grant.id = session(trader).0;
                (grant.answers_log2, grant.references_log2) = (7, 6);
                grant.expires_ns = u64::MAX;
            }));
        }
        let mut native = Native::new(&capacity).expect("memory for a small shard");
        for (outcome, reason) in native.control(&controls, 0) {
            assert_eq!(outcome, Outcome::Accepted, "{reason:?}");
        }
        Direct {
            native,
            last_reference: [0; TRADERS as usize],
            unforeseen: false,
        }
    }

    fn message(&mut self, order: &Order) -> Message {
        let last = &mut self.last_reference[order.trader as usize];
        let mut message = Message {
            reference: order.reference,
            locate: if order.instrument == RING0_ALL {
                0
            } else {
                order.instrument as u16 + 1
            },
            shares: order.lots,
            price: order.price,
            ..Message::default()
        };
        match order.action {
            RING0_NEW => {
                *last += 1;
                let extended = order.minimum
                    | order.display
                    | order.trigger
                    | order.expiry_s
                    | u32::from(order.peg)
                    | u32::from(order.trade_group)
                    | u32::from(order.time_in_force == ring0::RING0_GTT);
                message = Message {
                    letter: if extended == 0 { b'A' } else { b'O' },
                    reference: *last,
                    side: order.side,
                    stock: STOCK_SPACES,
                    flags: Flags(
                        order.flags
                            | u16::from(order.time_in_force)
                            | u16::from(order.self_trade) << 5,
                    ),
                    minimum: order.minimum,
                    display: order.display,
                    trigger: order.trigger,
                    expiry_s: order.expiry_s,
                    peg: order.peg,
                    peg_offset_ticks: order.peg_offset,
                    trade_group: order.trade_group,
                    ..message
                };
            }
            RING0_REPLACE => {
                *last += 1;
                (message.letter, message.new_reference) = (b'U', *last);
            }
            RING0_REDUCE => message.letter = b'X',
            RING0_CANCEL => message.letter = b'D',
            _ => (message.letter, message.scope, message.side) = (b'M', b'S', BOTH),
        }
        message
    }

    fn travels_alone(&self, order: &Order) -> bool {
        let enters = matches!(order.action, RING0_NEW | RING0_REPLACE);
        is_unforeseen(order) || (self.unforeseen && enters)
    }

    /// One packet for each run of orders of one trader, but for those that travel alone.
    fn submit(&mut self, orders: &[Order], time_ns: u64) -> Vec<ring0_wire::Ack> {
        let mut acks = Vec::new();
        let mut rest = orders;
        while let [first, others @ ..] = rest {
            let mut count = 1;
            if !self.travels_alone(first) {
                let joins =
                    |next: &&Order| next.trader == first.trader && !self.travels_alone(next);
                count += others.iter().take_while(joins).count();
            }
            let (packet, later) = rest.split_at(count);
            acks.extend(self.packet(packet, time_ns));
            rest = later;
        }
        acks
    }

    fn packet(&mut self, orders: &[Order], time_ns: u64) -> Vec<ring0_wire::Ack> {
        let trader = orders[0].trader;
        let sequence = self.native.shard().expected_sequence(trader).unwrap();
        let mut packet = PacketBuilder::new(session(trader), sequence);
        for order in orders {
            let message = Inbound::from_message(&self.message(order)).unwrap();
            packet.push(&message).expect("a small packet");
        }
        let payload = packet.sign(None);
        let (_, answer) = self.native.packet(&payload, time_ns, None).unwrap();
        while self.native.shard().header().pending_count.get() != 0 {
            self.native.steps();
        }
        let acks = Answer::read(&answer, None).unwrap().acks;
        for (order, ack) in orders.iter().zip(&acks) {
            self.unforeseen |= is_unforeseen(order) && matches!(ack.result, b'A' | b'C');
        }
        acks
    }
}

fn session(trader: u32) -> SessionId {
    SessionId::new(trader, 0).unwrap()
}

fn random_order(random: &mut Random, trader: u32, last_reference: u32, extended: bool) -> Order {
    let known = last_reference.saturating_sub(random.below(20)).max(1);
    let order = Order {
        trader,
        instrument: random.below(INSTRUMENTS),
        side: random.pick(&[RING0_BUY, RING0_SELL]),
        price: BASE + 45 + random.below(9),
        lots: 1 + random.below(12),
        ..Order::default()
    };
    match random.below(100) {
        0..55 => Order {
            time_in_force: random.pick(&[0, 0, 0, 0, 0, 2, 3]),
            flags: random.pick(&[0, 0, 0, 0, 0, RING0_POST_ONLY]),
            ..order
        },
        55..60 => Order {
            price: random.pick(&[0, order.price]),
            time_in_force: random.pick(&[0, 2, 3]),
            flags: RING0_MARKET,
            ..order
        },
        60..70 if extended => Order {
            self_trade: random.below(6) as u8,
            minimum: random.pick(&[0, 0, 2]),
            display: random.pick(&[0, 0, 3, 20]),
            trigger: random.pick(&[0, 0, BASE + 48, BASE + 50]),
            time_in_force: random.pick(&[0, 0, 1, 2, 4, 6]),
            expiry_s: random.pick(&[0, 0, 50_000]),
            flags: random.pick(&[0, 0, RING0_HIDDEN, RING0_POST_SLIDE]),
            peg: random.pick(&[0, 0, 0, b'P', b'M']),
            trade_group: random.pick(&[0, 0, 0, 1]),
            ..order
        },
        60..80 => Order {
            action: RING0_REPLACE,
            reference: known,
            ..order
        },
        80..88 => Order {
            action: RING0_REDUCE,
            reference: known,
            ..order
        },
        88..98 => Order {
            action: RING0_CANCEL,
            reference: known,
            ..order
        },
        _ => Order {
            action: RING0_MASS_CANCEL,
            instrument: random.pick(&[RING0_ALL, 0]),
            side: 0,
            ..order
        },
    }
}

/// One call's orders: a few of one or more traders. A mass cancel comes alone, as in a packet.
fn random_orders(random: &mut Random, last_references: &[u32], extended: bool) -> Vec<Order> {
    let count = 1 + random.below(12);
    let mut trader = random.below(TRADERS);
    let mut orders = Vec::new();
    for _ in 0..count {
        if random.percent(10) {
            trader = random.below(TRADERS);
        }
        let order = random_order(random, trader, last_references[trader as usize], extended);
        if order.action == RING0_MASS_CANCEL {
            if orders.is_empty() {
                orders.push(order);
                break;
            }
        } else {
            orders.push(order);
        }
    }
    orders
}

fn submit(engine: &mut Engine, orders: &[Order]) -> (i64, Vec<Ack>) {
    let mut acks = vec![Ack::default(); orders.len()];
    // SAFETY: both have as many entries as the call is told.
    let accepted = unsafe {
        ring0_submit_batch(
            Some(engine),
            orders.as_ptr(),
            orders.len(),
            acks.as_mut_ptr(),
        )
    };
    (accepted, acks)
}

fn events(engine: &mut Engine) -> Vec<Event> {
    let mut all = Vec::new();
    loop {
        let mut some = [Event::default(); 37];
        // SAFETY: as many as the array has.
        let count = unsafe { ring0_poll(Some(engine), some.as_mut_ptr(), some.len()) };
        assert!(count >= 0);
        all.extend_from_slice(&some[..count as usize]);
        if count == 0 {
            return all;
        }
    }
}

fn hash(engine: &mut Engine) -> [u8; 32] {
    let mut hash = [0; 32];
    // SAFETY: 32 bytes.
    let done = unsafe { ring0_state_hash(Some(engine), hash.as_mut_ptr()) };
    assert_eq!(done, RING0_ACCEPTED);
    hash
}

/// Kinds and sequence numbers of records.
fn heads(mut bytes: &[u8]) -> Vec<(u32, u64)> {
    let mut heads = Vec::new();
    while let Ok((head, _)) = Head::read_from_prefix(bytes) {
        heads.push((head.kind.into(), head.sequence));
        bytes = &bytes[usize::from(head.slots) * 64..];
    }
    heads
}

#[test]
fn the_same_orders_give_the_same_state() {
    let mut random = Random(seed());
    let mut direct = Direct::new();
    let mut place = MaybeUninit::uninit();
    // SAFETY: options of this program, without symbols.
    let made = unsafe { ring0_create(Some(&options()), Some(&mut place)) };
    assert_eq!(made, RING0_ACCEPTED);
    // SAFETY: written by the call.
    let pointer = unsafe { place.assume_init() };
    // SAFETY: an engine that nobody else uses until it is destroyed below.
    let engine = unsafe { &mut *pointer };
    assert_eq!(
        hash(engine),
        direct.native.shard().state_hash().0,
        "after the creation"
    );

    let mut time_ns = 0;
    let mut reasons = BTreeMap::<u32, u32>::new();
    for call in 0..CALLS {
        if random.percent(20) {
            time_ns += u64::from(random.below(1_000_000));
            assert_eq!(ring0_set_time(Some(engine), time_ns), RING0_ACCEPTED);
        }
        let orders = random_orders(&mut random, &direct.last_reference, call >= CALLS / 2);
        let (accepted, acks) = submit(engine, &orders);
        // A market order that names no price takes any: for a buy the interface says so with the highest.
        let mut priced = orders.clone();
        for order in &mut priced {
            let market = order.flags & RING0_MARKET != 0 && order.side == RING0_BUY;
            if market && order.action == RING0_NEW && order.price == 0 {
                order.price = u32::MAX;
            }
        }
        let answers = direct.submit(&priced, time_ns);
        assert_eq!(answers.len(), acks.len());
        for ((ack, answer), order) in acks.iter().zip(&answers).zip(&orders) {
            *reasons.entry(ack.reason).or_default() += 1;
            let outcome = match answer.result {
                b'A' | b'C' => RING0_ACCEPTED,
                b'R' => RING0_REJECTED,
                _ => RING0_NOT_TAKEN,
            };
            assert_eq!(
                (ack.outcome, ack.reason, ack.reference, ack.sequence),
                (
                    outcome,
                    answer.reason.into(),
                    answer.reference,
                    answer.sequence
                ),
                "call {call}: {order:?}"
            );
            assert!(ack.lots >= answer.quantity);
            assert_ne!(ack.outcome, RING0_CONTINUES);
        }
        let done = acks.iter().filter(|ack| ack.outcome == RING0_ACCEPTED);
        assert_eq!(accepted, done.count() as i64);
        let seen: Vec<_> = events(engine)
            .iter()
            .map(|event| (event.kind, event.sequence))
            .collect();
        assert_eq!(seen, heads(&direct.native.take_records()), "call {call}");
        if call % 500 == 0 {
            assert_eq!(
                hash(engine),
                direct.native.shard().state_hash().0,
                "call {call}"
            );
            assert_eq!(ring0_check(Some(engine)), RING0_ACCEPTED);
        }
    }
    assert_eq!(hash(engine), direct.native.shard().state_hash().0);
    println!("reasons seen: {reasons:?}");
    assert!(reasons.len() > 8, "the flow meets its reasons: {reasons:?}");
    // SAFETY: made above, given back once.
    unsafe { ring0_destroy(pointer) };
}
