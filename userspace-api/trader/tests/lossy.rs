//! A trader over a net that loses, repeats, delays and damages packets, against a venue that knows
//! the rules of the client sequence and nothing else: nothing is executed twice, nothing is lost.
//!
//! The net has its own time, so waiting takes none. Everything follows from the seed that proptest
//! prints with a failing case.

use proptest::prelude::*;
use ring0_trader::{
    Ack, Locate, Options, Order, Outcome, Price, Reason, Session, SessionId, Shares, Trader,
    TraderError, Transport,
};
use ring0_wire::host::{Answer, Inbound, PacketBuilder, Request};
use ring0_wire::outbound::{ACCEPTED, ANSWERED, NOT_TAKEN};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::rc::Rc;
use std::time::Duration;

const KEY: [u8; 16] = *b"sixteen bytes ok";
const STORED: u64 = 128;

fn session() -> Session {
    Session::new(SessionId::new(5, 77).unwrap(), &KEY)
}

/// Pseudo-random numbers from a seed (splitmix64).
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}

/// How bad the net and the venue are, in per cent of packets.
#[derive(Clone, Copy, Debug)]
struct Weather {
    lost: u64,
    repeated: u64,
    damaged: u64,
    refused: u64,
    delay_us: u64,
}

fn weather() -> impl Strategy<Value = Weather> {
    (0..40_u64, 0..30_u64, 0..10_u64, 0..20_u64, 1..5_000_u64).prop_map(
        |(lost, repeated, damaged, refused, delay_us)| Weather {
            lost,
            repeated,
            damaged,
            refused,
            delay_us,
        },
    )
}

/// The rules of `docs/matching.md#packet-taken-or-not`, as they stand there.
#[derive(Debug)]
struct Venue {
    expected: u64,
    venue_sequence: u64,
    stored: BTreeMap<u64, ring0_wire::Ack>,
    halted: bool,
    /// Prices of what was executed: the tests give every message its own.
    executed: Vec<u32>,
}

impl Venue {
    fn take(&mut self, packet: &[u8], dice: &mut Dice, refused: u64) -> Option<Vec<u8>> {
        let session = session();
        let request = Request::read(packet).ok()?;
        if !request.is_genuine(session.key()) {
            return None;
        }
        let (s, c) = (request.sequence, request.messages.len() as u64 + 1);
        let e = self.expected;
        let refusal = if s > e {
            Some((Reason::Hole, e))
        } else if s + c <= e {
            None
        } else if s < e {
            Some((Reason::Straddle, e))
        } else if self.halted {
            Some((Reason::Halted, 0))
        } else if dice.percent(refused) {
            let reasons = [Reason::Busy, Reason::RingFull, Reason::RateLimited];
            Some((reasons[dice.below(3) as usize], 0))
        } else {
            None
        };
        let mut acks = Vec::new();
        for (q, message) in (s..).zip(&request.messages) {
            let message = message.check().expect("the trader's messages are good");
            let reference = if message.letter == b'U' {
                message.new_reference
            } else {
                message.reference
            };
            let mut ack = ring0_wire::Ack {
                reference,
                ..Default::default()
            };
            if let Some((reason, sequence)) = refusal {
                (ack.result, ack.reason, ack.sequence) = (NOT_TAKEN, reason as u8, sequence);
            } else if s == e {
                self.venue_sequence += 1;
                (ack.result, ack.sequence) = (ACCEPTED, self.venue_sequence);
                ack.quantity = message.price; // tells an answer from that of another message
                self.executed.push(message.price);
                self.stored.insert(q, ack);
            } else if let Some(stored) = self.stored.get(&q).filter(|_| q + STORED >= e) {
                ack = *stored;
            } else {
                (ack.result, ack.reason) = (ANSWERED, Reason::Answered as u8);
            }
            acks.push(ack);
        }
        if refusal.is_none() && s == e {
            self.venue_sequence += 1;
            self.expected = s + c;
        }
        let sequence = if acks.is_empty() { self.expected } else { s };
        let answer = Answer {
            session: session.id(),
            sequence,
            acks,
        };
        Some(answer.sign(session.key()))
    }
}

/// The net between one trader and the venue.
#[derive(Debug)]
struct Net {
    weather: Weather,
    dice: Dice,
    now: Duration,
    venue: Venue,
    /// Packets on their way by arrival and a number that makes the key unique.
    to_venue: BTreeMap<(Duration, u64), Vec<u8>>,
    to_trader: BTreeMap<(Duration, u64), Vec<u8>>,
}

impl Net {
    fn new(seed: u64, weather: Weather) -> Rc<RefCell<Net>> {
        Rc::new(RefCell::new(Net {
            weather,
            dice: Dice(seed),
            now: Duration::ZERO,
            venue: Venue {
                expected: 1,
                venue_sequence: 0,
                stored: BTreeMap::new(),
                halted: false,
                executed: Vec::new(),
            },
            to_venue: BTreeMap::new(),
            to_trader: BTreeMap::new(),
        }))
    }

    /// When copies of a packet arrive: none, one or two.
    fn arrivals(&mut self) -> Vec<(Duration, u64)> {
        let copies = u64::from(!self.dice.percent(self.weather.lost))
            * (1 + u64::from(self.dice.percent(self.weather.repeated)));
        (0..copies)
            .map(|_| {
                let delay = 5 + self.dice.below(self.weather.delay_us);
                (self.now + Duration::from_micros(delay), self.dice.roll())
            })
            .collect()
    }

    fn damage(&mut self, packet: &[u8]) -> Vec<u8> {
        let mut packet = packet.to_vec();
        if self.dice.percent(self.weather.damaged) {
            let at = self.dice.below(packet.len() as u64) as usize;
            packet[at] ^= 1 << self.dice.below(8);
        }
        packet
    }

    /// Everything that reaches the venue up to `end` is answered.
    fn run_until(&mut self, end: Duration) {
        while let Some(entry) = self.to_venue.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((at, _), packet) = entry.remove_entry();
            self.now = self.now.max(at);
            let refused = self.weather.refused;
            if let Some(answer) = self.venue.take(&packet, &mut self.dice, refused) {
                for arrival in self.arrivals() {
                    let answer = self.damage(&answer);
                    self.to_trader.insert(arrival, answer);
                }
            }
        }
    }
}

#[derive(Debug)]
struct Way(Rc<RefCell<Net>>);

impl Transport for Way {
    fn now(&mut self) -> Duration {
        let mut net = self.0.borrow_mut();
        net.now += Duration::from_nanos(100); // looking at a clock takes time
        net.now
    }

    fn send(&mut self, packet: &[u8]) -> io::Result<()> {
        let mut net = self.0.borrow_mut();
        for arrival in net.arrivals() {
            let packet = net.damage(packet);
            net.to_venue.insert(arrival, packet);
        }
        Ok(())
    }

    fn receive(&mut self, into: &mut [u8], wait: Duration) -> io::Result<Option<usize>> {
        let mut net = self.0.borrow_mut();
        let end = net.now + wait;
        loop {
            // An answer is made when its request arrives, which may be before the next answer.
            let next = net.to_trader.first_key_value().map(|(key, _)| key.0);
            let request = net.to_venue.first_key_value().map(|(key, _)| key.0);
            match (next, request) {
                (Some(at), request) if at <= end && request.is_none_or(|r| at <= r) => {
                    let (_, packet) = net.to_trader.pop_first().unwrap();
                    net.now = net.now.max(at);
                    into[..packet.len()].copy_from_slice(&packet);
                    return Ok(Some(packet.len()));
                }
                (_, Some(request)) if request <= end => net.run_until(request),
                _ => {
                    net.now = end;
                    return Ok(None);
                }
            }
        }
    }
}

fn trader(net: &Rc<RefCell<Net>>) -> Trader<Way> {
    let options = Options {
        patience: Duration::from_secs(600), // of the net's time: the worst weather needs some
        ..Options::of(&session())
    };
    Trader::new(session(), Way(Rc::clone(net))).with_options(options)
}

/// Orders with the prices of `numbers`.
fn orders(numbers: std::ops::Range<u32>, dice: &mut Dice) -> Vec<Order> {
    numbers
        .map(|number| {
            let shares = Shares(1 + dice.below(9) as u32);
            match dice.below(3) {
                0 => Order::buy(Locate(1), shares, Price(number)),
                1 => Order::sell(Locate(2), shares, Price(number)).immediate(),
                _ => Order::replace(Locate(3), ring0_trader::Reference(1), shares, Price(number)),
            }
        })
        .collect()
}

/// Acks are those of the messages of these prices, in this order.
fn check_acks(acks: &[Ack], numbers: std::ops::Range<u32>) {
    assert!(acks.iter().all(|ack| ack.outcome == Outcome::Accepted));
    let prices: Vec<u32> = acks.iter().map(|ack| ack.quantity).collect();
    assert_eq!(prices, numbers.collect::<Vec<u32>>());
    assert!(acks.is_sorted_by(|a, b| a.venue_sequence < b.venue_sequence));
    assert!(acks.is_sorted_by(|a, b| a.reference < b.reference));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_submitted_is_executed_once_and_in_order(seed: u64, weather in weather()) {
        let net = Net::new(seed, weather);
        let mut trader = trader(&net);
        let mut dice = Dice(!seed);
        let mut next = 1;
        for _ in 0..8 {
            let end = next + dice.below(300) as u32;
            let acks = trader.submit(&orders(next..end, &mut dice)).unwrap();
            check_acks(&acks, next..end);
            next = end;
        }
        prop_assert_eq!(&net.borrow().venue.executed, &(1..next).collect::<Vec<u32>>());
        prop_assert_eq!(net.borrow().venue.expected, trader.next_sequence());
        prop_assert_eq!(trader.unanswered(), 0);
    }

    #[test]
    fn what_is_pipelined_is_executed_once_and_in_order(seed: u64, weather in weather()) {
        let net = Net::new(seed, weather);
        let mut trader = trader(&net);
        let mut dice = Dice(!seed);
        let mut acks = Vec::new();
        let mut next = 1;
        while next < 800 || trader.unanswered() > 0 {
            if next < 800 {
                let end = next + dice.below(30) as u32; // none: a heartbeat
                match trader.send(&mut orders(next..end, &mut dice)) {
                    Ok(_) => next = end,
                    Err(TraderError::WindowFull { unanswered, window }) => {
                        prop_assert!(unanswered <= window.into());
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            let wait = Duration::from_micros(dice.below(200));
            trader.poll(wait, &mut acks).unwrap();
        }
        acks.sort_by_key(|ack| ack.sequence);
        check_acks(&acks, 1..next);
        prop_assert_eq!(&net.borrow().venue.executed, &(1..next).collect::<Vec<u32>>());
        let stats = trader.stats();
        prop_assert_eq!(stats.packets, stats.answered);
        prop_assert_eq!(net.borrow().venue.expected, trader.next_sequence());
    }

    /// A client that dies with packets on their way and comes back: whatever of the first run
    /// arrived, the second goes on behind it.
    #[test]
    fn a_restarted_client_goes_on_where_the_venue_is(seed: u64, weather in weather()) {
        let net = Net::new(seed, weather);
        let mut dice = Dice(!seed);
        let mut first = trader(&net);
        let mut acks = Vec::new();
        for number in 0..10 {
            first.send(&mut orders(1 + number * 10..11 + number * 10, &mut dice)).unwrap();
            first.poll(Duration::from_micros(dice.below(3000)), &mut acks).unwrap();
            if dice.percent(20) || first.next_sequence() > 100 {
                break;
            }
        }
        drop(first);
        // A new process takes longer to start than packets live on the way.
        net.borrow_mut().now += Duration::from_millis(50);
        let now = net.borrow().now;
        net.borrow_mut().run_until(now);
        let before = net.borrow().venue.executed.clone();

        let mut second = trader(&net);
        let adopted = second.adopt().unwrap();
        prop_assert_eq!(adopted.expected, net.borrow().venue.expected);
        let acks = second.submit(&orders(1000..1300, &mut dice)).unwrap();
        check_acks(&acks, 1000..1300);
        let want: Vec<u32> = before.into_iter().chain(1000..1300).collect();
        prop_assert_eq!(&net.borrow().venue.executed, &want);
    }

    /// Adopting under way divides what was sent: executed and answered, or handed back.
    #[test]
    fn adopting_divides_what_was_sent(seed: u64, weather in weather(), halt_at in 0..600_u32) {
        let net = Net::new(seed, weather);
        let mut dice = Dice(!seed);
        let mut trader = trader(&net);
        let mut acks = Vec::new();
        let mut next = 1;
        let mut halted = false;
        while next < 700 {
            let end = next + 1 + dice.below(30) as u32; // a heartbeat is not told why
            match trader.send(&mut orders(next..end, &mut dice)) {
                Ok(_) => next = end,
                Err(TraderError::WindowFull { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            net.borrow_mut().venue.halted = next > halt_at;
            match trader.poll(Duration::from_micros(dice.below(200)), &mut acks) {
                Ok(_) => {}
                Err(TraderError::Halted { .. }) => {
                    halted = true;
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
        let adopted = trader.adopt().unwrap();
        net.borrow_mut().venue.halted = false;
        while trader.unanswered() > 0 {
            trader.poll(Duration::from_millis(1), &mut acks).unwrap();
        }
        trader.poll(Duration::ZERO, &mut acks).unwrap();
        let answered: BTreeSet<u32> = acks.iter().map(|ack| ack.quantity).collect();
        prop_assert_eq!(answered.len(), acks.len());
        let executed = net.borrow().venue.executed.clone();
        prop_assert_eq!(answered.into_iter().collect::<Vec<u32>>(), executed.clone());
        let back: Vec<u32> = adopted.dropped.iter().map(|order| order.message().price).collect();
        let all: Vec<u32> = executed.into_iter().chain(back).collect();
        prop_assert_eq!(all, (1..next).collect::<Vec<u32>>());
        prop_assert!(halted || halt_at > 300);

        // And the dropped ones may be sent once more.
        let again = trader.submit(&adopted.dropped).unwrap();
        prop_assert_eq!(again.len(), adopted.dropped.len());
        prop_assert_eq!(&net.borrow().venue.executed, &(1..next).collect::<Vec<u32>>());
    }
}

const CALM: Weather = Weather {
    lost: 0,
    repeated: 0,
    damaged: 0,
    refused: 0,
    delay_us: 20,
};

/// The venue as it is after another client of the session sent these numbers of messages.
fn used(net: &Rc<RefCell<Net>>, packets: &[u32]) {
    let mut sequence = net.borrow().venue.expected;
    for &messages in packets {
        let mut builder = PacketBuilder::new(session().id(), sequence);
        for number in 0..messages {
            let order = Order::buy(Locate(9), Shares(1), Price(5000 + number))
                .reference(ring0_trader::Reference(900 + number));
            let message = Inbound::from_message(order.message()).unwrap();
            builder.push(&message).unwrap();
        }
        sequence = builder.next_sequence();
        let packet = builder.sign(session().key());
        let mut dice = Dice(0);
        let net = &mut *net.borrow_mut();
        assert!(net.venue.take(&packet, &mut dice, 0).is_some());
    }
}

#[test]
fn a_straddle_of_one_packet_is_sent_again_from_the_expected_number() {
    let net = Net::new(1, CALM);
    used(&net, &[2]); // expected is 4
    let mut trader = trader(&net);
    let mut dice = Dice(1);
    let acks = trader.submit(&orders(1..6, &mut dice)).unwrap();
    check_acks(&acks, 1..6);
    assert_eq!(acks[0].sequence, 4);
    assert_eq!(trader.next_sequence(), 10);
}

#[test]
fn a_used_session_is_told_and_adopted() {
    let net = Net::new(1, CALM);
    used(&net, &[3, 3]);
    let mut trader = trader(&net);
    let mut dice = Dice(1);
    let mine = orders(1..4, &mut dice);
    let error = trader.submit(&mine).unwrap_err();
    assert!(
        matches!(error, TraderError::Foreign { sequence: 1 }),
        "{error}"
    );
    let adopted = trader.adopt().unwrap();
    assert_eq!(adopted.expected, 9);
    assert_eq!(adopted.dropped.len(), 3);
    let again: Vec<Order> = adopted
        .dropped
        .iter()
        .map(|order| order.reference(ring0_trader::Reference(0)))
        .collect();
    check_acks(&trader.submit(&again).unwrap(), 1..4);
}

#[test]
fn a_straddle_with_packets_behind_it_is_the_callers_to_decide() {
    let net = Net::new(1, CALM);
    used(&net, &[2]);
    let mut trader = trader(&net);
    let mut dice = Dice(1);
    trader.send(&mut orders(1..6, &mut dice)).unwrap();
    trader.send(&mut orders(6..9, &mut dice)).unwrap();
    let mut acks = Vec::new();
    let error = loop {
        match trader.poll(Duration::from_millis(10), &mut acks) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, TraderError::Moved { expected: 4 }),
        "{error}"
    );
    assert_eq!(trader.adopt().unwrap().dropped.len(), 8);
}

#[test]
fn nobody_there_ends_with_what_to_check() {
    let deaf = Weather { lost: 100, ..CALM };
    let net = Net::new(1, deaf);
    let mut trader = trader(&net).with_options(Options::of(&session()));
    let mut dice = Dice(1);
    let error = trader.submit(&orders(1..3, &mut dice)).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("check that the shard runs"), "{text}");
    assert!(net.borrow().now < Duration::from_secs(6));
    assert_eq!(trader.unanswered(), 1);

    net.borrow_mut().weather = CALM;
    let mut acks = Vec::new();
    while trader.unanswered() > 0 {
        trader.poll(Duration::from_secs(1), &mut acks).unwrap();
    }
    check_acks(&acks, 1..3);
}

#[test]
fn a_venue_that_is_always_busy_ends_with_its_reason() {
    let net = Net::new(
        1,
        Weather {
            refused: 100,
            ..CALM
        },
    );
    let mut trader = trader(&net).with_options(Options::of(&session()));
    let mut dice = Dice(1);
    let error = trader.submit(&orders(1..3, &mut dice)).unwrap_err();
    assert!(
        matches!(error, TraderError::NoAnswer { heard: Some(_), .. }),
        "{error}"
    );
    assert!(trader.stats().refusals > 10);
}

/// A venue that answers one packet after the other, each after the same time.
#[derive(Debug)]
struct Queue {
    now: Duration,
    each: Duration,
    free_at: Duration,
    venue: Venue,
    answers: Vec<(Duration, Vec<u8>)>,
    arrived: u64,
}

impl Transport for Queue {
    fn now(&mut self) -> Duration {
        self.now
    }

    fn send(&mut self, packet: &[u8]) -> io::Result<()> {
        self.arrived += 1;
        self.free_at = self.free_at.max(self.now) + self.each;
        let answer = self.venue.take(packet, &mut Dice(0), 0);
        let at = self.free_at;
        self.answers.extend(answer.map(|answer| (at, answer)));
        Ok(())
    }

    fn receive(&mut self, into: &mut [u8], wait: Duration) -> io::Result<Option<usize>> {
        let end = self.now + wait;
        match self.answers.first().filter(|(at, _)| *at <= end) {
            Some(&(at, _)) => {
                self.now = self.now.max(at);
                let (_, answer) = self.answers.remove(0);
                into[..answer.len()].copy_from_slice(&answer);
                Ok(Some(answer.len()))
            }
            None => {
                self.now = end;
                Ok(None)
            }
        }
    }
}

/// A round trip that grows a hundredfold, because more packets wait before the same venue, is learned: it is not answered with every packet twice
/// and thrice for ever, which made the queue still longer.
#[test]
fn a_way_that_becomes_slower_is_not_flooded() {
    let venue = Venue {
        expected: 1,
        venue_sequence: 0,
        stored: BTreeMap::new(),
        halted: false,
        executed: Vec::new(),
    };
    let queue = Queue {
        now: Duration::ZERO,
        each: Duration::from_millis(1),
        free_at: Duration::ZERO,
        venue,
        answers: Vec::new(),
        arrived: 0,
    };
    let mut trader = Trader::new(session(), queue);
    let mut dice = Dice(7);
    let mut acks = Vec::new();
    // One at a time: the round trip is a millisecond.
    for number in 0..50 {
        acks.extend(
            trader
                .submit(&orders(number..number + 1, &mut dice))
                .unwrap(),
        );
    }
    assert_eq!(trader.stats().resends, 0, "{:?}", trader.stats());
    // Then sixteen packets are always on their way: it is sixteen.
    let (mut sent, packets) = (50, 3_000);
    while acks.len() < packets as usize {
        while sent < packets && trader.unanswered() < 16 {
            trader.send(&mut orders(sent..sent + 1, &mut dice)).unwrap();
            sent += 1;
        }
        trader.poll(Duration::from_secs(1), &mut acks).unwrap();
    }
    let stats = trader.stats();
    let arrived = trader.transport().arrived;
    println!("{arrived} packets arrived of {packets}; {stats:?}");
    assert_eq!(trader.transport().venue.executed.len(), packets as usize);
    assert!(
        stats.resends < packets as u64 / 50,
        "the round trip is learned within a few of its own: {stats:?}"
    );
}
