//! The mind of answers over UDP: who is subscribed, which datagrams are believed, and what is sent. No socket and no clock.
//!
//! Always true: nothing changes but by a request that is genuine, comes from an address that has proved to be its own, and is newer
//! than all before from there; until then an address gets no more bytes than it sent; a subscription ends by itself.
//! Cost: a datagram of a stranger is one look-up and one tag of 47 bytes.

use crate::answer_access::{Access, subscription_key};
use crate::answer_datagram::{LEAVE, Request, SEALED_MAX, Status, open, seal};
use crate::answer_streams::{Stream, Streams};
use crate::counters::{AnswerCounters, add};
use crate::rerequest::{Limits, RequestOptions};
use ring0_itch::mold::{BLOCK_LENGTH, HEADER, PacketBuilder, Session, end_of_session, heartbeat};
use ring0_wire::{Domain, Key, TAG_BLOCK};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

/// How subscriptions are served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SubscriptionOptions {
    /// Subscribers of a stream at a time; more are refused.
    pub per_stream_max: usize,
    /// A subscriber that asked for nothing for so long gets nothing more until it asks again.
    pub expire_after: Duration,
    /// A subscriber that was sent nothing for so long gets a heartbeat.
    pub heartbeat: Duration,
    /// How long a cookie is made; it is good for as long again. It must be at least `expire_after`.
    pub cookie_time: Duration,
    /// Bytes of a datagram at most, its tag included; one of [`SubscriptionOptions::PAYLOAD`].
    pub payload_max: usize,
    /// How requests for messages are answered.
    pub requests: RequestOptions,
}

impl SubscriptionOptions {
    /// What [`SubscriptionOptions::payload_max`] may be: room for one answer of 126 bytes, which none has, up to what is tagged at once.
    pub const PAYLOAD: RangeInclusive<usize> =
        HEADER + BLOCK_LENGTH + 126 + TAG_BLOCK..=SEALED_MAX + TAG_BLOCK;
}

impl Default for SubscriptionOptions {
    /// 8 of a stream; 5 seconds, ten times what a client takes to ask again; a heartbeat a second; 30 seconds; 1,400 bytes.
    fn default() -> Self {
        SubscriptionOptions {
            per_stream_max: 8,
            expire_after: Duration::from_secs(5),
            heartbeat: Duration::from_secs(1),
            cookie_time: Duration::from_secs(30),
            payload_max: 1400,
            requests: RequestOptions::default(),
        }
    }
}

/// Packets that a subscriber is pushed in one round, so that all get theirs.
const PACKETS_A_ROUND: usize = 16;

/// Who read, or reads, a stream from one address.
#[derive(Debug)]
struct Subscriber {
    address: SocketAddr,
    nonce: u64,
    key: Key,
    /// Highest number of its requests.
    number: u64,
    /// When its last request came.
    heard: Duration,
    /// When it was last sent anything.
    said: Duration,
    /// Number of the next message that it is pushed.
    next: u64,
    /// Whether it is sent messages. One that is not is remembered until what it sent can do nothing more.
    active: bool,
}

/// Where datagrams go: to whom, what.
pub(crate) type Outbox = Vec<(SocketAddr, Vec<u8>)>;

/// The state machine.
pub(crate) struct Subscribers {
    options: SubscriptionOptions,
    /// What cookies follow from; of this process alone.
    secret: [u8; 32],
    by_stream: HashMap<Session, Vec<Subscriber>>,
    limits: Limits,
}

impl Subscribers {
    pub(crate) fn new(options: SubscriptionOptions, secret: [u8; 32]) -> Subscribers {
        Subscribers {
            options,
            secret,
            by_stream: HashMap::new(),
            limits: Limits::new(options.requests),
        }
    }

    /// Takes a datagram that came from an address at a time.
    pub(crate) fn datagram(
        &mut self,
        bytes: &[u8],
        (from, now): (SocketAddr, Duration),
        access: &dyn Fn(Session) -> Option<Access>,
        streams: &Streams,
        counters: &AnswerCounters,
        out: &mut Outbox,
    ) {
        add(&counters.requests, 1);
        let Some(request) = Request::read(bytes) else {
            return add(&counters.requests_malformed, 1);
        };
        let Some(access) = access(request.stream) else {
            return add(&counters.requests_unknown, 1);
        };
        if open(bytes, &access.key, Domain::Request).is_none() {
            return add(&counters.requests_forged, 1);
        }
        // The key is right. Whether the sender holds it, or repeats what it has seen, its address and its number say.
        let before = self.number_of(&request, from);
        if !self.is_proved(&request, from, now) {
            add(&counters.requests_unproved, 1);
            let challenge = Status {
                stream: request.stream,
                next: 0,
                first: 0,
                number: request.number.max(before),
                cookie: self.cookie(request.stream, from, self.epoch(now)),
                ended: false,
            };
            let key = subscription_key(&access.key, request.nonce);
            return out.push((from, challenge.seal(&key)));
        }
        if request.number <= before {
            return add(&counters.requests_replayed, 1);
        }
        // Decided; now it is done.
        self.take(&request, (from, now), &access, streams, counters, out);
    }

    /// Highest number that was taken from an address for a stream; 0: none is remembered.
    fn number_of(&self, request: &Request, from: SocketAddr) -> u64 {
        let subscribers = self.by_stream.get(&request.stream);
        let one = subscribers.and_then(|all| all.iter().find(|it| it.address == from));
        one.map_or(0, |it| it.number)
    }

    fn epoch(&self, now: Duration) -> u64 {
        (now.as_millis() / self.options.cookie_time.as_millis().max(1)) as u64
    }

    /// What only who receives at an address can know.
    fn cookie(&self, stream: Session, address: SocketAddr, epoch: u64) -> u64 {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        hasher.update(&stream.0);
        hasher.update(&epoch.to_le_bytes());
        hasher.update(&address.port().to_le_bytes());
        match address.ip() {
            IpAddr::V4(ip) => hasher.update(&ip.octets()),
            IpAddr::V6(ip) => hasher.update(&ip.octets()),
        };
        let hash = hasher.finalize();
        u64::from_le_bytes(std::array::from_fn(|at| hash.as_bytes()[at]))
    }

    fn is_proved(&self, request: &Request, from: SocketAddr, now: Duration) -> bool {
        let epoch = self.epoch(now);
        [Some(epoch), epoch.checked_sub(1)]
            .into_iter()
            .flatten()
            .any(|epoch| self.cookie(request.stream, from, epoch) == request.cookie)
    }

    /// Does what a good request asks for.
    fn take(
        &mut self,
        request: &Request,
        (from, now): (SocketAddr, Duration),
        access: &Access,
        streams: &Streams,
        counters: &AnswerCounters,
        out: &mut Outbox,
    ) {
        let cookie = self.cookie(request.stream, from, self.epoch(now));
        let (first, next) = streams.range(request.stream);
        let subscribers = self.by_stream.entry(request.stream).or_default();
        let place = match subscribers.iter().position(|it| it.address == from) {
            Some(place) => place,
            None if request.count == LEAVE => return, // it was not here
            None => {
                if subscribers.len() >= self.options.per_stream_max {
                    // A place that is only remembered may be had: the one unheard for longest. What somebody has recorded of that
                    // address could then begin one more subscription there, for `expire_after`.
                    let idle = (0..subscribers.len()).filter(|at| !subscribers[*at].active);
                    let Some(idle) = idle.min_by_key(|at| subscribers[*at].heard) else {
                        return add(&counters.requests_refused, 1);
                    };
                    subscribers.swap_remove(idle);
                }
                subscribers.push(Subscriber {
                    address: from,
                    nonce: request.nonce,
                    key: subscription_key(&access.key, request.nonce),
                    number: 0,
                    heard: now,
                    said: now,
                    next: 0,
                    active: false,
                });
                subscribers.len() - 1
            }
        };
        let subscriber = &mut subscribers[place];
        (subscriber.number, subscriber.heard) = (request.number, now);
        if request.count == LEAVE {
            add(&counters.departures, u64::from(subscriber.active));
            subscriber.active = false;
            return;
        }
        if !subscriber.active || subscriber.nonce != request.nonce {
            add(&counters.subscriptions, 1);
            subscriber.nonce = request.nonce;
            subscriber.key = subscription_key(&access.key, request.nonce);
            subscriber.active = true;
            // What is to come; a stream that is still being made anew is not said again below what is wanted.
            subscriber.next = next.max(request.sequence);
        }
        subscriber.said = now;
        let key = subscriber.key;
        let stream = streams.get(request.stream);
        let status = Status {
            stream: request.stream,
            next,
            first,
            number: request.number,
            cookie,
            ended: stream.is_some_and(Stream::ended),
        };
        out.push((from, status.seal(&key)));
        if request.count != 0 {
            self.answer(request, (from, now), key, stream, counters, out);
        }
    }

    /// Messages that are wanted again, as many as may be.
    fn answer(
        &mut self,
        request: &Request,
        (to, now): (SocketAddr, Duration),
        key: Key,
        stream: Option<&Stream>,
        counters: &AnswerCounters,
        out: &mut Outbox,
    ) {
        let end = request.sequence.saturating_add(request.count.into());
        let first = stream.map_or(1, Stream::first).max(request.sequence);
        let mut packet = PacketBuilder::new(request.stream, first, packet_max(&self.options));
        for sent in 0..self.options.requests.packets_max {
            if let Some(stream) = stream {
                stream.fill(&mut packet, end);
            }
            if packet.count() == 0 {
                add(&counters.requests_unavailable, u64::from(sent == 0));
                return;
            }
            if !self.limits.allows(to.ip(), now) {
                return add(&counters.requests_limited, 1);
            }
            out.push((to, seal(packet.packet(), &key, Domain::Answer)));
            add(&counters.repeated, packet.count().into());
            packet.begin_next();
        }
    }

    /// What is due: new messages, heartbeats, ends of sessions; who was not heard is left alone, and in the end forgotten. Whether there
    /// is more to push at once.
    pub(crate) fn push(
        &mut self,
        now: Duration,
        streams: &Streams,
        counters: &AnswerCounters,
        out: &mut Outbox,
    ) -> bool {
        let options = self.options;
        let mut more = false;
        self.by_stream.retain(|name, subscribers| {
            let stream = streams.get(*name);
            for subscriber in subscribers.iter_mut().filter(|it| it.active) {
                if now.saturating_sub(subscriber.heard) >= options.expire_after {
                    subscriber.active = false;
                    add(&counters.expiries, 1);
                    continue;
                }
                more |= push_to(subscriber, *name, stream, &options, now, counters, out);
            }
            // By then no cookie that it had is good: what somebody has recorded of it does nothing.
            let remembered = options.cookie_time * 2;
            subscribers.retain(|it| now.saturating_sub(it.heard) < remembered);
            !subscribers.is_empty()
        });
        more
    }

    /// Subscribers that are sent messages.
    #[cfg(test)]
    pub(crate) fn active(&self) -> usize {
        let all = self.by_stream.values().flatten();
        all.filter(|it| it.active).count()
    }
}

/// Bytes of a packet without its tag.
fn packet_max(options: &SubscriptionOptions) -> usize {
    options
        .payload_max
        .saturating_sub(TAG_BLOCK)
        .min(SEALED_MAX)
}

fn push_to(
    subscriber: &mut Subscriber,
    name: Session,
    stream: Option<&Stream>,
    options: &SubscriptionOptions,
    now: Duration,
    counters: &AnswerCounters,
    out: &mut Outbox,
) -> bool {
    let mut say = |subscriber: &mut Subscriber, packet: &[u8]| {
        out.push((
            subscriber.address,
            seal(packet, &subscriber.key, Domain::Answer),
        ));
        subscriber.said = now;
    };
    let (first, next) = stream.map_or((1, 1), |it| (it.first(), it.next()));
    if subscriber.next < first {
        // It will ask, and be told where the stream begins.
        add(&counters.given_up, first - subscriber.next);
        subscriber.next = first;
    }
    if let Some(stream) = stream.filter(|_| subscriber.next < next) {
        let mut packet = PacketBuilder::new(name, subscriber.next, packet_max(options));
        for _ in 0..PACKETS_A_ROUND {
            stream.fill(&mut packet, next);
            if packet.count() == 0 {
                break;
            }
            say(subscriber, packet.packet());
            add(&counters.packets, 1);
            add(&counters.messages, packet.count().into());
            packet.begin_next();
        }
        subscriber.next = packet.sequence();
    } else if now.saturating_sub(subscriber.said) >= options.heartbeat {
        let packet: [u8; HEADER] = if stream.is_some_and(Stream::ended) {
            end_of_session(name, next)
        } else {
            heartbeat(name, next)
        };
        say(subscriber, &packet);
        add(&counters.heartbeats, 1);
    }
    subscriber.next < next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer_access::drop_copy;
    use crate::answer_reader::AnswerReader;
    use crate::answers::AnswerSink;
    use ring0_itch::Text;
    use ring0_itch::mold::Packet;
    use ring0_wire::SessionId;
    use ring0_wire::host::PacketBuilder as OrderPacket;
    use std::net::Ipv4Addr;
    use std::sync::atomic::Ordering;

    const OWN: Session = Text(*b"SESSION001");
    const OTHER: Session = Text(*b"SESSION002");
    const SESSION_KEY: [u8; 16] = [1; 16];

    /// What each stream opens with; only these two sessions and the drop copy of account 7 may be read.
    fn access(name: Session) -> Option<Access> {
        match name {
            OWN => Some(Access::of(&SESSION_KEY, "answers")),
            OTHER => Some(Access::of(&[2; 16], "answers")),
            copy if copy == drop_copy(7) => Some(Access::of(&SESSION_KEY, "drop copy")),
            _ => None,
        }
    }

    fn address(last: u8, port: u16) -> SocketAddr {
        (Ipv4Addr::new(10, 0, 0, last), port).into()
    }

    /// A server's mind with its surroundings.
    struct World {
        subscribers: Subscribers,
        streams: Streams,
        counters: AnswerCounters,
        now: Duration,
    }

    impl World {
        fn new(options: SubscriptionOptions) -> World {
            let mut streams = Streams::new(1 << 20);
            streams.granted(0, 7, OWN);
            streams.granted(1, 8, OTHER);
            let mut world = World {
                subscribers: Subscribers::new(options, [9; 32]),
                streams,
                counters: AnswerCounters::default(),
                now: Duration::from_secs(1000),
            };
            world.grow(10);
            world
        }

        fn grow(&mut self, messages: u8) {
            for number in 0..messages {
                self.streams.answer(Some(0), 7, &[number; 40]);
            }
        }

        fn hear(&mut self, bytes: &[u8], from: SocketAddr) -> Outbox {
            let mut out = Outbox::new();
            self.subscribers.datagram(
                bytes,
                (from, self.now),
                &access,
                &self.streams,
                &self.counters,
                &mut out,
            );
            out
        }

        fn push(&mut self) -> Outbox {
            let mut out = Outbox::new();
            while self
                .subscribers
                .push(self.now, &self.streams, &self.counters, &mut out)
            {}
            out
        }

        fn counted(&self) -> Vec<(&'static str, u64)> {
            let named = self.counters.named().into_iter();
            named.filter(|(_, count)| *count != 0).collect()
        }

        /// Everything that a datagram may change.
        fn state(&self) -> String {
            format!("{:?} {:?}", self.subscribers.by_stream, self.streams)
        }

        /// Takes a datagram that changes nothing but the count of datagrams and its own counter.
        fn refuse(&mut self, what: &str, bytes: &[u8], from: SocketAddr, counter: &str) -> Outbox {
            let (state, mut counted) = (self.state(), self.counters.named());
            for (name, count) in &mut counted {
                *count += u64::from(*name == "requests" || *name == counter);
            }
            let out = self.hear(bytes, from);
            assert_eq!(self.counters.named(), counted, "{what}");
            assert_eq!(self.state(), state, "{what}");
            let sent: usize = out.iter().map(|(_, bytes)| bytes.len()).sum();
            assert!(sent <= bytes.len(), "{what}: {sent} bytes to a stranger");
            out
        }
    }

    fn request(nonce: u64, number: u64, cookie: u64) -> Request {
        Request {
            stream: OWN,
            sequence: 1,
            count: 0,
            nonce,
            number,
            cookie,
        }
    }

    fn key() -> Key {
        access(OWN).unwrap().key
    }

    /// The status of a datagram to who chose `nonce`.
    fn status(out: &Outbox, nonce: u64) -> Status {
        let body = open(&out[0].1, &subscription_key(&key(), nonce), Domain::Answer);
        Status::read(body.expect("genuine")).expect("a status")
    }

    /// Subscribes an address by hand; gives the cookie and the last request.
    fn subscribe(world: &mut World, from: SocketAddr, nonce: u64) -> (u64, Vec<u8>) {
        let challenge = status(&world.hear(&request(nonce, 1, 0).seal(&key()), from), nonce);
        assert!(challenge.is_challenge());
        let number = challenge.number + 1;
        let bytes = request(nonce, number, challenge.cookie).seal(&key());
        let accepted = status(&world.hear(&bytes, from), nonce);
        assert_eq!((accepted.first, accepted.number), (1, number));
        (challenge.cookie, bytes)
    }

    #[test]
    fn who_proves_its_address_is_sent_what_is_new() {
        let mut world = World::new(SubscriptionOptions::default());
        let from = address(1, 5000);
        subscribe(&mut world, from, 77);
        assert!(world.push().is_empty(), "what was is asked for");
        world.grow(100);
        let out = world.push();
        let key = subscription_key(&key(), 77);
        let mut number = 11;
        for (to, bytes) in &out {
            assert_eq!(*to, from);
            assert!(bytes.len() <= 1400);
            let packet = open(bytes, &key, Domain::Answer).unwrap();
            for (at, message) in Packet::read(packet).unwrap().messages() {
                assert_eq!((at, message), (number, &[(number - 11) as u8; 40][..]));
                number += 1;
            }
        }
        assert_eq!((number, out.len()), (111, 4));
        // A heartbeat a second, and silence to who is silent.
        let beats: usize = (0..20)
            .map(|_| {
                world.now += Duration::from_secs(1);
                world.push().len()
            })
            .sum();
        assert_eq!(beats, 4);
        assert_eq!(
            world.counted(),
            [
                ("requests", 2),
                ("requests_unproved", 1),
                ("subscriptions", 1),
                ("expiries", 1),
                ("packets", 4),
                ("messages", 100),
                ("heartbeats", 4)
            ]
        );
        world.now += Duration::from_secs(60);
        world.push();
        assert!(world.subscribers.by_stream.is_empty(), "forgotten");
    }

    #[test]
    fn what_is_not_believed_changes_nothing() {
        let mut world = World::new(SubscriptionOptions::default());
        let (own, elsewhere) = (address(1, 5000), address(66, 5000));
        let (cookie, captured) = subscribe(&mut world, own, 77);
        let none = |out: Outbox| assert!(out.is_empty(), "{out:?}");

        // Not a request: cut, too long, an order of the session itself, a plain MoldUDP64 request.
        for length in 0..captured.len() {
            none(world.refuse("cut", &captured[..length], own, "requests_malformed"));
        }
        let long = [&captured[..], &[0]].concat();
        none(world.refuse("long", &long, own, "requests_malformed"));
        let order_key = Key::from_bytes(&SESSION_KEY);
        let order = OrderPacket::new(SessionId(OWN.0), 1).sign(Some(&order_key));
        none(world.refuse("an order", &order, own, "requests_malformed"));
        none(world.refuse("untagged", &captured[..20], own, "requests_malformed"));

        // Not of the stream's key: changed, the key of orders, another session's, the drop copy's, another nonce's.
        // (Bytes 0 to 9 name the stream, 20 to 22 say that it is a request: with others it is of none, or none.)
        for at in (10..20).chain(23..captured.len()) {
            let mut changed = captured.clone();
            changed[at] ^= 1;
            none(world.refuse("changed", &changed, own, "requests_forged"));
        }
        let next = request(77, 3, cookie);
        for (what, key) in [
            ("the key of orders", order_key),
            ("another session's", access(OTHER).unwrap().key),
            ("the drop copy's", access(drop_copy(7)).unwrap().key),
            ("the subscription's", subscription_key(&key(), 77)),
        ] {
            none(world.refuse(what, &next.seal(&key), own, "requests_forged"));
        }
        // The session's key does not open the drop copy.
        let copy = Request {
            stream: drop_copy(7),
            ..next
        };
        none(world.refuse("drop copy", &copy.seal(&key()), own, "requests_forged"));
        let unknown = Request {
            stream: drop_copy(9),
            ..next
        };
        none(world.refuse("unknown", &unknown.seal(&key()), own, "requests_unknown"));

        // Reflected: what the server said.
        world.grow(1);
        let pushed = world.push().remove(0).1;
        none(world.refuse("a packet", &pushed, own, "requests_malformed"));
        let challenge = world.hear(&request(77, 3, 0).seal(&key()), own).remove(0).1;
        none(world.refuse("a challenge", &challenge, own, "requests_malformed"));

        // Replayed: from its own address too old, from another one the wrong cookie, at another port, for another stream.
        none(world.refuse("replayed", &captured, own, "requests_replayed"));
        for from in [elsewhere, address(1, 5001)] {
            let out = world.refuse("elsewhere", &captured, from, "requests_unproved");
            assert_eq!((out.len(), out[0].0), (1, from));
            assert!(status(&out, 77).is_challenge());
        }
        let other = Request {
            stream: OTHER,
            ..next
        };
        let bytes = other.seal(&access(OTHER).unwrap().key);
        world.refuse("another stream's cookie", &bytes, own, "requests_unproved");
        // When the subscription has ended and is forgotten, its cookie is too.
        for _ in 0..13 {
            world.now += Duration::from_secs(5);
            world.push();
            let state = world.state();
            let out = world.hear(&captured, own);
            assert_eq!(world.state(), state, "replayed later");
            let sent: usize = out.iter().map(|(_, bytes)| bytes.len()).sum();
            assert!(sent <= captured.len());
        }
        assert!(world.subscribers.by_stream.is_empty());
        assert!(world.push().is_empty(), "nobody is sent anything");
    }

    #[test]
    fn a_stream_that_is_made_anew_is_not_said_again() {
        let mut world = World::new(SubscriptionOptions::default());
        let from = address(1, 1);
        let challenge = status(&world.hear(&request(1, 1, 0).seal(&key()), from), 1);
        let ahead = Request {
            sequence: 15,
            ..request(1, 2, challenge.cookie)
        };
        assert_eq!(status(&world.hear(&ahead.seal(&key()), from), 1).next, 11);
        let pushed = |world: &mut World| {
            let out = world.push();
            let key = subscription_key(&key(), 1);
            let packets = out.iter().map(|(_, bytes)| {
                let packet = Packet::read(open(bytes, &key, Domain::Answer).unwrap()).unwrap();
                (packet.sequence(), packet.next_sequence())
            });
            packets.collect::<Vec<_>>()
        };
        world.grow(3);
        assert_eq!(pushed(&mut world), []);
        world.grow(3);
        assert_eq!(pushed(&mut world), [(15, 17)]);
    }

    #[test]
    fn a_stream_has_so_many_subscribers() {
        let mut world = World::new(SubscriptionOptions {
            per_stream_max: 2,
            ..SubscriptionOptions::default()
        });
        subscribe(&mut world, address(1, 1), 1);
        world.now += Duration::from_secs(4);
        let (cookie, _) = subscribe(&mut world, address(1, 2), 2);
        let third = address(1, 3);
        let challenge = status(&world.hear(&request(3, 1, 0).seal(&key()), third), 3);
        let bytes = request(3, 2, challenge.cookie).seal(&key());
        assert!(
            world
                .refuse("a third", &bytes, third, "requests_refused")
                .is_empty()
        );
        // One leaves: its place is free, and what it sent is not good again.
        let leave = Request {
            count: LEAVE,
            ..request(2, 3, cookie)
        };
        let leave = leave.seal(&key());
        assert!(world.hear(&leave, address(1, 2)).is_empty());
        assert_eq!(
            (world.subscribers.active(), world.counted()[4]),
            (1, ("departures", 1))
        );
        world.refuse("left twice", &leave, address(1, 2), "requests_replayed");
        assert_eq!(world.hear(&bytes, third).len(), 1);
        assert_eq!(world.subscribers.active(), 2);
        // One is silent: expired, so another has its place.
        world.now += Duration::from_secs(2);
        world.push();
        assert_eq!(world.subscribers.active(), 1);
        subscribe(&mut world, address(1, 4), 4);
        assert_eq!(world.subscribers.active(), 2);
    }

    #[test]
    fn an_answer_is_bounded_and_says_what_is_not_there() {
        let mut world = World::new(SubscriptionOptions {
            requests: RequestOptions {
                packets_max: 3,
                per_second: 1,
                burst: 5,
                addresses_max: 10,
            },
            ..SubscriptionOptions::default()
        });
        world.grow(240);
        let from = address(1, 1);
        let (cookie, _) = subscribe(&mut world, from, 1);
        let mut number = 10;
        let mut ask = |world: &mut World, sequence, count| {
            number += 1;
            let request = Request {
                sequence,
                count,
                ..request(1, number, cookie)
            };
            let out = world.hear(&request.seal(&key()), from);
            let key = subscription_key(&key(), 1);
            let packets = out[1..].iter().map(|(_, bytes)| {
                let packet = open(bytes, &key, Domain::Answer).unwrap();
                let packet = Packet::read(packet).unwrap();
                (packet.sequence(), packet.next_sequence())
            });
            packets.collect::<Vec<_>>()
        };
        assert_eq!(ask(&mut world, 5, 7), [(5, 12)]);
        assert_eq!(
            ask(&mut world, 250, 7),
            [(250, 251)],
            "fewer than asked for"
        );
        assert_eq!(ask(&mut world, 1, 300), [(1, 33), (33, 65), (65, 97)]);
        assert_eq!(ask(&mut world, 1, 300), [], "often enough for now");
        world.now += Duration::from_secs(1);
        assert_eq!(ask(&mut world, 1, 300), [(1, 33)]);
        assert_eq!(ask(&mut world, 251, 1), []);
        assert_eq!(ask(&mut world, u64::MAX, 0xFFFE), []);
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        assert_eq!(count(&world.counters.requests_limited), 2);
        assert_eq!(count(&world.counters.requests_unavailable), 2);
        assert_eq!(count(&world.counters.repeated), 7 + 1 + 96 + 32);
    }

    #[test]
    fn a_client_at_an_address_known_before_goes_on_with_its_number() {
        let mut world = World::new(SubscriptionOptions::default());
        let from = address(1, 1);
        for nonce in 1..=3 {
            let mut reader = AnswerReader::new(OWN, &access(OWN).unwrap(), nonce, 1);
            let mut taken = Vec::new();
            for _ in 0..1000 {
                for bytes in reader.requests(world.now) {
                    for (to, bytes) in world.hear(&bytes, from) {
                        assert_eq!(to, from);
                        reader.datagram(&bytes, world.now, &mut |at, _| taken.push(at));
                    }
                }
                world.now += Duration::from_millis(5);
            }
            assert_eq!(taken, (1..=10).collect::<Vec<_>>(), "client {nonce}");
            // None of its first requests was taken for an old one.
            assert_eq!(world.counters.requests_replayed.load(Ordering::Relaxed), 0);
            assert_eq!(reader.heard().challenges, 1);
            assert_eq!(world.subscribers.active(), 1);
        }
    }
}
