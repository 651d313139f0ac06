//! The OUCH streams of trading sessions: every answer with its number, as [`ring0_feed::Answers`] makes them from the record.
//!
//! Always true of a stream: numbers begin with 1 and have no gap; the oldest messages may be given up, never one in between. They follow from
//! the record alone, so after a restart of the gateway the same message has the same number.

use ring0_feed::AnswerSink;
use ring0_itch::mold::Session;
use ring0_wire::SessionId;
use std::collections::{HashMap, VecDeque};

/// Bytes that a message is counted as beside its own.
const MESSAGE_OVERHEAD: usize = 48;

#[derive(Debug, Default)]
struct Stream {
    first: u64,
    messages: VecDeque<Box<[u8]>>,
    bytes: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Streams {
    by_session: HashMap<SessionId, Stream>,
    /// Id of each session index.
    ids: HashMap<u32, SessionId>,
    bytes_max: usize,
    /// Sessions that got answers since somebody looked.
    grown: Vec<SessionId>,
}

impl Streams {
    /// Streams of these sessions, of which so many bytes are kept each.
    #[must_use]
    pub fn new(sessions: impl IntoIterator<Item = SessionId>, bytes_max: usize) -> Streams {
        let mut streams = Streams {
            by_session: HashMap::new(),
            ids: HashMap::new(),
            bytes_max,
            grown: Vec::new(),
        };
        sessions.into_iter().for_each(|it| streams.add(it));
        streams
    }

    /// Begins the stream of a session that has had no answers yet.
    pub fn add(&mut self, session: SessionId) {
        let stream = Stream {
            first: 1,
            ..Stream::default()
        };
        self.by_session.entry(session).or_insert(stream);
    }

    /// Number of the next answer of a session.
    #[must_use]
    pub fn next(&self, session: SessionId) -> u64 {
        let stream = self.by_session.get(&session);
        stream.map_or(1, |it| it.first + it.messages.len() as u64)
    }

    /// Number of the first answer that is kept.
    #[must_use]
    pub fn first(&self, session: SessionId) -> u64 {
        self.by_session.get(&session).map_or(1, |it| it.first)
    }

    /// Answers from a number on.
    pub fn from(&self, session: SessionId, number: u64) -> impl Iterator<Item = &[u8]> {
        self.by_session
            .get(&session)
            .into_iter()
            .flat_map(move |it| {
                let skipped = number.saturating_sub(it.first);
                let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
                let messages = it.messages.range(skipped.min(it.messages.len())..);
                messages.map(|message| &**message)
            })
    }

    /// Sessions that got answers since the last time, once.
    pub fn take_grown(&mut self) -> Vec<SessionId> {
        let mut grown = std::mem::take(&mut self.grown);
        grown.sort_unstable_by_key(|id| id.0);
        grown.dedup();
        grown
    }
}

impl AnswerSink for Streams {
    fn granted(&mut self, session: u32, _: u32, id: Session) {
        self.ids.insert(session, SessionId(id.0));
    }

    fn answer(&mut self, session: Option<u32>, _: u32, answer: &[u8]) {
        let id = session.and_then(|session| self.ids.get(&session).copied());
        let Some((id, stream)) = id.and_then(|id| Some((id, self.by_session.get_mut(&id)?))) else {
            return;
        };
        stream.bytes += answer.len() + MESSAGE_OVERHEAD;
        stream.messages.push_back(answer.into());
        while stream.bytes > self.bytes_max && stream.messages.len() > 1 {
            if let Some(oldest) = stream.messages.pop_front() {
                stream.bytes -= oldest.len() + MESSAGE_OVERHEAD;
                stream.first += 1;
            }
        }
        self.grown.push(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring0_itch::Text;

    #[test]
    fn numbers_stay_while_the_oldest_go() {
        let id = SessionId::new(3, 4).unwrap();
        let mut streams = Streams::new([id], 10 * (MESSAGE_OVERHEAD + 1));
        streams.answer(Some(0), 7, b"of nobody");
        streams.granted(0, 7, Text(id.0));
        for number in 1..=25_u8 {
            streams.answer(Some(0), 7, &[number]);
        }
        assert_eq!((streams.first(id), streams.next(id)), (16, 26));
        let from = |number| streams.from(id, number).map(|it| it[0]).collect::<Vec<_>>();
        assert_eq!(from(24), [24, 25]);
        assert_eq!(from(1), (16..=25).collect::<Vec<_>>());
        assert!(from(26).is_empty());
        assert_eq!(streams.take_grown(), [id]);
        assert!(streams.take_grown().is_empty());
        let other = SessionId::new(5, 6).unwrap();
        assert_eq!((streams.next(other), streams.first(other)), (1, 1));
    }
}
