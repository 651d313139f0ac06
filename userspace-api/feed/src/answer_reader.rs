//! The mind of a client of answers over UDP: subscribes and stays subscribed, believes only what is genuine, has gaps filled, and gives
//! answers in their order. No socket and no clock.
//!
//! The server may die and come back: the reader is challenged anew, and goes on with the number that it has come to.

use crate::answer_access::{Access, subscription_key};
use crate::answer_datagram::{LEAVE, Request, Status, open};
use crate::arbiter::{Arbiter, ArbiterOptions, Heard, Listener, Via};
use ring0_itch::mold::{Session, end_of_session, heartbeat};
use ring0_wire::{Domain, Key};
use std::time::Duration;

/// How often the subscription is renewed, which is also how soon a server that was started anew knows of it. The server lets it go after
/// ten times that.
const RENEW_AFTER: Duration = Duration::from_millis(500);
/// How long a renewal may go unanswered.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// How soon a challenge is answered at the most often: a server that challenges every request is not flooded.
const CHALLENGE_RETRY: Duration = Duration::from_millis(5);

/// Messages asked for at once: some 13 packets, which a server sends in answer to one request.
const REQUEST_MAX: u16 = 256;

/// What a client of answers over UDP counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct AnswersHeard {
    /// Datagrams that were dropped because their tag is not of this subscription.
    pub forged: u64,
    /// Challenges that were taken up: one at the start, one whenever the server has forgotten this address.
    pub challenges: u64,
    /// Requests of all kinds.
    pub requests: u64,
    /// Answers that came again.
    pub duplicates: u64,
    /// Gaps that opened.
    pub gaps: u64,
}

/// Gives the arbiter's messages on as answers.
struct Answers<'a> {
    take: &'a mut dyn FnMut(u64, &[u8]),
    ended: &'a mut bool,
}

impl Listener for Answers<'_> {
    fn begin(&mut self, _: Session) {}

    fn message(&mut self, sequence: u64, message: &[u8]) {
        (self.take)(sequence, message);
    }

    fn end(&mut self, _: Session) {
        *self.ended = true;
    }
}

/// The state machine.
pub(crate) struct AnswerReader {
    stream: Session,
    /// Tags what is asked.
    key: Key,
    /// What is sent to this client is tagged under this.
    subscription: Key,
    nonce: u64,
    /// Number of the last request.
    number: u64,
    cookie: u64,
    /// Number of the first message wanted, 0 for only new ones.
    from: u64,
    /// Orders messages, once the server has said where they begin.
    arbiter: Option<Arbiter>,
    /// When the server last took a renewal.
    renewed: Option<Duration>,
    /// When a renewal was last sent.
    asked: Option<Duration>,
    challenged: bool,
    /// The messages between, which the server no longer had when they were asked for.
    missed: Option<(u64, u64)>,
    ended: bool,
    /// When anything genuine last came.
    heard_at: Duration,
    heard: AnswersHeard,
}

impl AnswerReader {
    /// One that has heard nothing; `nonce` is random.
    pub(crate) fn new(stream: Session, access: &Access, nonce: u64, from: u64) -> AnswerReader {
        AnswerReader {
            stream,
            key: access.key,
            subscription: subscription_key(&access.key, nonce),
            nonce,
            number: 0,
            cookie: 0,
            from,
            arbiter: None,
            renewed: None,
            asked: None,
            challenged: false,
            missed: None,
            ended: false,
            heard_at: Duration::ZERO,
            heard: AnswersHeard::default(),
        }
    }

    /// Whether the server has said where the stream begins.
    pub(crate) fn has_begun(&self) -> bool {
        self.arbiter.is_some()
    }

    /// Number of the next answer; 0 before it has begun.
    pub(crate) fn next(&self) -> u64 {
        self.arbiter.as_ref().map_or(0, Arbiter::next)
    }

    /// Whether all answers that are known to exist were given.
    #[cfg(test)]
    pub(crate) fn is_whole(&self) -> bool {
        self.ended || self.arbiter.as_ref().is_some_and(Arbiter::is_whole)
    }

    /// Whether the stream has ended and all of it was given.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// First and next number behind of what the server no longer has.
    pub(crate) fn missed(&self) -> Option<(u64, u64)> {
        self.missed
    }

    /// When anything genuine last came.
    pub(crate) fn heard_at(&self) -> Duration {
        self.heard_at
    }

    /// The counters.
    pub(crate) fn heard(&self) -> AnswersHeard {
        let none = Heard::default();
        let order = self.arbiter.as_ref().map_or(&none, Arbiter::heard);
        AnswersHeard {
            duplicates: order.duplicates,
            gaps: order.gaps,
            ..self.heard
        }
    }

    /// Takes a datagram that claims to be from the server.
    pub(crate) fn datagram(
        &mut self,
        bytes: &[u8],
        now: Duration,
        take: &mut dyn FnMut(u64, &[u8]),
    ) {
        let Some(body) = open(bytes, &self.subscription, Domain::Answer) else {
            self.heard.forged += 1;
            return;
        };
        self.heard_at = now;
        match Status::read(body) {
            Some(status) if status.is_challenge() => self.challenge(&status),
            Some(status) => self.status(&status, now, take),
            // Before it has begun nothing is pushed, but what comes late of the order of things.
            None => self.order(body, now, take),
        }
    }

    fn challenge(&mut self, status: &Status) {
        // One to an earlier request, recorded or late, has nothing to say any more.
        if status.number < self.number {
            return;
        }
        self.heard.challenges += 1;
        (self.number, self.cookie) = (status.number, status.cookie);
        (self.challenged, self.renewed) = (true, None);
    }

    fn status(&mut self, status: &Status, now: Duration, take: &mut dyn FnMut(u64, &[u8])) {
        if status.number == self.number {
            self.cookie = status.cookie;
        }
        (self.challenged, self.renewed) = (false, Some(now));
        let next = self.next();
        if next == 0 {
            let wanted = if self.from == 0 {
                status.next
            } else {
                self.from
            };
            let mut arbiter = Arbiter::new(ArbiterOptions {
                request_max: REQUEST_MAX,
                // The server says what cannot be had; until then a gap is asked for.
                attempts_max: u32::MAX,
                ..ArbiterOptions::default()
            });
            arbiter.snapshot(
                self.stream,
                std::iter::empty(),
                wanted.max(status.first),
                now,
                &mut Answers {
                    take,
                    ended: &mut self.ended,
                },
            );
            self.arbiter = Some(arbiter);
        } else if status.first > next {
            self.missed = Some((next, status.first));
        }
        // To the arbiter it is a heartbeat, or the end: what exists and is not here is a gap.
        let packet = if status.ended {
            end_of_session(self.stream, status.next)
        } else {
            heartbeat(self.stream, status.next)
        };
        self.order(&packet, now, take);
    }

    fn order(&mut self, packet: &[u8], now: Duration, take: &mut dyn FnMut(u64, &[u8])) {
        if let Some(arbiter) = &mut self.arbiter {
            let ended = &mut self.ended;
            arbiter.packet(packet, Via::Line(0), now, &mut Answers { take, ended });
        }
    }

    /// What is to be sent now. Ask often: this is also how time passes for it.
    pub(crate) fn requests(&mut self, now: Duration) -> Vec<Vec<u8>> {
        if self.ended || self.missed.is_some() {
            return Vec::new();
        }
        let mut requests = Vec::new();
        let retry = if self.challenged {
            CHALLENGE_RETRY
        } else {
            RETRY_AFTER
        };
        let passed = |since: Option<Duration>, limit| {
            since.is_none_or(|since| now.saturating_sub(since) >= limit)
        };
        if passed(self.renewed, RENEW_AFTER) && passed(self.asked, retry) {
            self.asked = Some(now);
            let sequence = if self.has_begun() {
                self.next()
            } else {
                self.from
            };
            requests.push(self.request(sequence, 0));
        }
        if self.renewed.is_some()
            && let Some(arbiter) = &mut self.arbiter
        {
            for gap in arbiter.wants(now).requests {
                requests.push(self.request(gap.sequence, gap.count));
            }
        }
        requests
    }

    /// The last request of all.
    pub(crate) fn leave(&mut self) -> Vec<u8> {
        self.request(self.next(), LEAVE)
    }

    fn request(&mut self, sequence: u64, count: u16) -> Vec<u8> {
        self.number = self.number.saturating_add(1);
        self.heard.requests += 1;
        let request = Request {
            stream: self.stream,
            sequence,
            count,
            nonce: self.nonce,
            number: self.number,
            cookie: self.cookie,
        };
        request.seal(&self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer_streams::Streams;
    use crate::answer_subscribers::{Outbox, Subscribers, SubscriptionOptions};
    use crate::answers::AnswerSink as _;
    use crate::counters::AnswerCounters;
    use ring0_itch::Text;
    use std::collections::BTreeMap;
    use std::net::{Ipv4Addr, SocketAddr};

    const OWN: Session = Text(*b"SESSION001");

    fn access(_: Session) -> Option<Access> {
        Some(Access::of(&[1; 16], "answers"))
    }

    /// Sebastiano Vigna's splitmix64.
    struct Random(u64);

    impl Random {
        fn below(&mut self, end: u64) -> u64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            (z ^ (z >> 31)) % end
        }
    }

    /// A net that loses 20 %, repeats 10 % and delays 20 %, in virtual time.
    struct Net {
        random: Random,
        /// What arrives when, and a number that tells two of one time apart.
        under_way: BTreeMap<(Duration, u64), Vec<u8>>,
        sent: u64,
    }

    impl Net {
        fn send(&mut self, bytes: &[u8], now: Duration) {
            if self.random.below(100) < 20 {
                return;
            }
            let copies = 1 + u64::from(self.random.below(100) < 10);
            for _ in 0..copies {
                let late = if self.random.below(100) < 20 { 30 } else { 1 };
                let delay = Duration::from_millis(1 + self.random.below(late));
                self.sent += 1;
                self.under_way
                    .insert((now + delay, self.sent), bytes.to_vec());
            }
        }

        fn arrived(&mut self, now: Duration) -> Vec<Vec<u8>> {
            let later = self.under_way.split_off(&(now, u64::MAX));
            std::mem::replace(&mut self.under_way, later)
                .into_values()
                .collect()
        }
    }

    /// Seeds: `RING0_SEED` alone, or a hundred from the clock on.
    fn seeds() -> Vec<u64> {
        if let Ok(text) = std::env::var("RING0_SEED") {
            return vec![text.parse().expect("RING0_SEED is a number")];
        }
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let first = now.expect("a clock after 1970").as_nanos() as u64;
        (first..first + 100).collect()
    }

    #[test]
    fn every_answer_once_and_in_order_over_a_bad_net_and_a_restart() {
        for seed in seeds() {
            println!("RING0_SEED={seed}");
            lossy(seed);
        }
    }

    fn lossy(seed: u64) {
        let mut random = Random(seed);
        let [mut up, mut down] = [1, 2].map(|more| Net {
            random: Random(seed ^ more),
            under_way: BTreeMap::new(),
            sent: 0,
        });
        let client: SocketAddr = (Ipv4Addr::LOCALHOST, 5000).into();
        let fresh = || {
            let mut streams = Streams::new(1 << 30);
            streams.granted(0, 7, OWN);
            streams
        };
        let server = |secret| Subscribers::new(SubscriptionOptions::default(), [secret; 32]);
        let (mut streams, mut subscribers) = (fresh(), server(1));
        let mut reader = AnswerReader::new(OWN, &access(OWN).unwrap(), seed, 1);
        let counters = AnswerCounters::default();
        let (mut all, mut taken) = (Vec::new(), Vec::new());
        let mut now = Duration::ZERO;
        // Down for a while in the middle; the next one's streams grow from the beginning again.
        let (dies, comes_back) = (3000, 4000 + random.below(15_000));
        for step in 0..comes_back + 12_000 {
            now += Duration::from_millis(1);
            if step < comes_back + 4000 && random.below(4) == 0 {
                let message = vec![random.below(256) as u8; 40 + random.below(30) as usize];
                if step < dies {
                    streams.answer(Some(0), 7, &message);
                }
                all.push(message);
            }
            if step == comes_back {
                (streams, subscribers) = (fresh(), server(2));
            }
            if step >= comes_back {
                // From the records: half of what was, then all of it.
                let until = if step == comes_back {
                    all.len() / 2
                } else {
                    all.len()
                };
                for message in &all[streams.range(OWN).1 as usize - 1..until] {
                    streams.answer(Some(0), 7, message);
                }
            }
            for bytes in reader.requests(now) {
                up.send(&bytes, now);
            }
            let mut out = Outbox::new();
            let requests = up.arrived(now);
            if !(dies..comes_back).contains(&step) {
                for bytes in requests {
                    let from = (client, now);
                    subscribers.datagram(&bytes, from, &access, &streams, &counters, &mut out);
                }
                subscribers.push(now, &streams, &counters, &mut out);
            }
            for (_, bytes) in out {
                down.send(&bytes, now);
            }
            for bytes in down.arrived(now) {
                reader.datagram(&bytes, now, &mut |number, message| {
                    assert_eq!(number, taken.len() as u64 + 1);
                    taken.push(message.to_vec());
                });
            }
        }
        let heard = reader.heard();
        assert!(
            taken == all,
            "{} of {}: {heard:?} {:?}",
            taken.len(),
            all.len(),
            counters.named()
        );
        assert!(reader.is_whole() && reader.missed().is_none());
        assert!(heard.gaps > 0 && heard.duplicates > 0, "{heard:?}");
        assert!(
            heard.challenges >= 2,
            "once more after the death: {heard:?}"
        );
        assert_eq!(heard.forged, 0);
        // The end is heard as well.
        streams.granted(0, 7, Text(*b"SESSION002"));
        for _ in 0..20_000 {
            now += Duration::from_millis(1);
            let mut out = Outbox::new();
            for bytes in reader.requests(now) {
                up.send(&bytes, now);
            }
            for bytes in up.arrived(now) {
                let from = (client, now);
                subscribers.datagram(&bytes, from, &access, &streams, &counters, &mut out);
            }
            subscribers.push(now, &streams, &counters, &mut out);
            for (_, bytes) in out {
                down.send(&bytes, now);
            }
            for bytes in down.arrived(now) {
                reader.datagram(&bytes, now, &mut |_, _| panic!("nothing is left"));
            }
        }
        assert!(reader.ended());
        assert_eq!(reader.next(), all.len() as u64 + 1);
    }

    #[test]
    fn only_what_is_of_this_subscription_is_believed() {
        let access = access(OWN).unwrap();
        let mut streams = Streams::new(1 << 20);
        streams.granted(0, 7, OWN);
        (0..3).for_each(|_| streams.answer(Some(0), 7, b"answer"));
        let mut subscribers = Subscribers::new(SubscriptionOptions::default(), [1; 32]);
        let counters = AnswerCounters::default();
        let now = Duration::from_secs(1);
        // Two clients, one behind the other at the same address; everything said to each is kept.
        let mut said = [Vec::new(), Vec::new()];
        let mut readers = [1, 2].map(|nonce| AnswerReader::new(OWN, &access, nonce, 1));
        for (reader, said) in readers.iter_mut().zip(&mut said) {
            for round in 0..40 {
                // Long enough for another cookie.
                let now = now + Duration::from_secs(round);
                for bytes in reader.requests(now) {
                    let from = ((Ipv4Addr::LOCALHOST, 1).into(), now);
                    let mut out = Outbox::new();
                    let of = |_| Some(access);
                    subscribers.datagram(&bytes, from, &of, &streams, &counters, &mut out);
                    for (_, bytes) in out {
                        reader.datagram(&bytes, now, &mut |_, _| {});
                        said.push(bytes);
                    }
                    assert_eq!(reader.heard().forged, 0);
                    // Its own request, turned round.
                    reader.datagram(&bytes, now, &mut |_, _| panic!("a reflection"));
                    reader.heard.forged = 0;
                }
            }
            assert_eq!(reader.next(), 4);
        }
        // What was said to the first is nothing to the second, neither message nor challenge.
        let [first, second] = &said;
        assert!(first.len() >= 3);
        let reader = &mut readers[1];
        let before = (reader.number, reader.cookie, reader.next());
        for bytes in first {
            reader.datagram(bytes, now, &mut |_, _| panic!("of another subscription"));
        }
        assert_eq!(reader.heard().forged, first.len() as u64);
        // And what was said to itself, said again, brings nothing twice and takes no cookie back.
        for bytes in second.iter().rev() {
            reader.datagram(bytes, now, &mut |_, _| panic!("twice"));
        }
        assert_eq!((reader.number, reader.cookie, reader.next()), before);
    }

    #[test]
    fn what_is_no_longer_kept_is_said() {
        let access = access(OWN).unwrap();
        let mut reader = AnswerReader::new(OWN, &access, 5, 3);
        let mut take = |_: u64, _: &[u8]| panic!("no message");
        let status = |next, first, number| {
            let status = Status {
                stream: OWN,
                next,
                first,
                number,
                cookie: 8,
                ended: false,
            };
            status.seal(&subscription_key(&access.key, 5))
        };
        let now = Duration::from_secs(1);
        assert_eq!(reader.requests(now).len(), 1);
        // At the beginning it is where the stream begins.
        reader.datagram(&status(20, 10, 1), now, &mut take);
        assert_eq!((reader.next(), reader.missed()), (10, None));
        assert_eq!(reader.requests(now + Duration::from_millis(3)).len(), 1);
        // Later it is an error.
        reader.datagram(&status(60, 50, 2), now, &mut take);
        assert_eq!(reader.missed(), Some((10, 50)));
        assert!(reader.requests(now + Duration::from_secs(9)).is_empty());
    }
}
