//! The streams of answers: each session's, and each account's drop copy, numbered from 1.
//!
//! Always true of a stream: its numbers have no gap; the oldest messages may be given up, never one in between; after it has ended
//! it does not grow, unless its session is granted again.

use crate::answer_access::drop_copy;
use crate::answers::AnswerSink;
use ring0_itch::mold::{PacketBuilder, Session};
use std::collections::{HashMap, VecDeque};

/// Bytes that a message is counted as beside its own.
const MESSAGE_OVERHEAD: usize = 48;

/// One stream.
#[derive(Debug)]
pub(crate) struct Stream {
    first: u64,
    messages: VecDeque<Box<[u8]>>,
    bytes: usize,
    ended: bool,
}

impl Stream {
    /// Number of the first message kept, or of the next where there is none.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// Number of the next message.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.messages.len() as u64
    }

    /// Whether its session is over.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Messages from a number on; from the first one kept where that is given up.
    pub(crate) fn from(&self, number: u64) -> impl Iterator<Item = &[u8]> {
        let skipped = number.saturating_sub(self.first);
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        let skipped = skipped.min(self.messages.len());
        self.messages.range(skipped..).map(|message| &**message)
    }

    /// Fills a packet with messages from its number on, up to number `end`, which is not of them.
    pub(crate) fn fill(&self, packet: &mut PacketBuilder, end: u64) {
        if packet.sequence() < self.first {
            return;
        }
        for message in self.from(packet.sequence()) {
            if packet.next_sequence() >= end || packet.push(message).is_err() {
                return; // full: an OUCH message fits an empty packet, `AnswerServer::start` has seen to that
            }
        }
    }
}

/// All streams. Writer: the thread that takes records.
#[derive(Debug)]
pub(crate) struct Streams {
    by_name: HashMap<Session, Stream>,
    /// Id of each session index.
    ids: HashMap<u32, Session>,
    /// Bytes of each stream that are kept.
    bytes_max: usize,
    /// Batches of records taken: who waits for news compares.
    pub(crate) version: u64,
}

impl Streams {
    pub(crate) fn new(bytes_max: usize) -> Streams {
        Streams {
            by_name: HashMap::new(),
            ids: HashMap::new(),
            bytes_max,
            version: 0,
        }
    }

    /// A stream that has begun.
    pub(crate) fn get(&self, name: Session) -> Option<&Stream> {
        self.by_name.get(&name)
    }

    /// Number of a stream's first message and of its next; 1 and 1 before it has begun.
    pub(crate) fn range(&self, name: Session) -> (u64, u64) {
        self.get(name).map_or((1, 1), |it| (it.first(), it.next()))
    }

    fn append(&mut self, name: Session, message: &[u8]) {
        let bytes_max = self.bytes_max;
        let stream = self.by_name.entry(name).or_insert_with(|| Stream {
            first: 1,
            messages: VecDeque::new(),
            bytes: 0,
            ended: false,
        });
        stream.ended = false;
        stream.bytes += message.len() + MESSAGE_OVERHEAD;
        stream.messages.push_back(message.into());
        while stream.bytes > bytes_max && stream.messages.len() > 1 {
            if let Some(oldest) = stream.messages.pop_front() {
                stream.bytes -= oldest.len() + MESSAGE_OVERHEAD;
                stream.first += 1;
            }
        }
    }
}

impl AnswerSink for Streams {
    fn granted(&mut self, session: u32, _: u32, id: Session) {
        let before = self.ids.insert(session, id);
        if let Some(before) = before.filter(|before| *before != id)
            && let Some(stream) = self.by_name.get_mut(&before)
        {
            // From now on the answers of that index are of the new id.
            stream.ended = true;
        }
    }

    fn answer(&mut self, session: Option<u32>, account: u32, answer: &[u8]) {
        if let Some(id) = session.and_then(|session| self.ids.get(&session).copied()) {
            self.append(id, answer);
        }
        self.append(drop_copy(account), answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring0_itch::Text;

    const ONE: Session = Text(*b"SESSION001");
    const TWO: Session = Text(*b"SESSION002");

    #[test]
    fn the_oldest_go_and_numbers_stay() {
        let mut streams = Streams::new(10 * (MESSAGE_OVERHEAD + 1));
        streams.granted(0, 7, ONE);
        assert_eq!(streams.range(ONE), (1, 1));
        for number in 1..=25_u8 {
            streams.answer(Some(0), 7, &[number]);
        }
        for name in [ONE, drop_copy(7)] {
            assert_eq!(streams.range(name), (16, 26));
            let stream = streams.get(name).unwrap();
            let from = |number| stream.from(number).map(|it| it[0]).collect::<Vec<_>>();
            assert_eq!(from(24), [24, 25]);
            assert_eq!(from(1), (16..=25).collect::<Vec<_>>());
            assert!(from(26).is_empty() && from(u64::MAX).is_empty());
            let filled = |first, end| {
                let mut packet = PacketBuilder::new(name, first, 20 + 3 * 4);
                stream.fill(&mut packet, end);
                packet.count()
            };
            assert_eq!([filled(15, 26), filled(16, 26), filled(16, 18)], [0, 4, 2]);
            assert_eq!([filled(25, u64::MAX), filled(26, u64::MAX)], [1, 0]);
        }
    }

    #[test]
    fn a_session_granted_anew_ends_the_one_before() {
        let mut streams = Streams::new(1 << 20);
        streams.granted(0, 7, ONE);
        streams.answer(Some(0), 7, b"a");
        streams.granted(0, 7, ONE);
        assert!(!streams.get(ONE).unwrap().ended(), "the same id goes on");
        streams.granted(0, 7, TWO);
        streams.answer(Some(0), 7, b"b");
        streams.answer(None, 7, b"c");
        assert!(streams.get(ONE).unwrap().ended() && !streams.get(TWO).unwrap().ended());
        let next = [ONE, TWO, drop_copy(7)].map(|name| streams.range(name).1);
        assert_eq!(next, [2, 2, 4]);
    }
}
