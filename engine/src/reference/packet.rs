//! Packets: taken or not, their messages one by one, their answer.
//! Rule: `docs/matching.md#packet-taken-or-not`, `#messages`.

use super::{Done, Reference};
use crate::Reason;
use crate::record::{Head, Kind, Message as MessageRecord, Outcome};
use ring0_wire::shape::TAG_LETTER;
use ring0_wire::{Buffer, HEADER, MessageCells, Native};

/// What an ack says, and what is stored of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Ack {
    pub(super) outcome: Outcome,
    pub(super) reason: Reason,
    pub(super) reference: u32,
    pub(super) quantity: u32,
    pub(super) venue_sequence: u64,
}

/// One block of a packet: where it starts, its letter, its content.
type Block<'a> = (usize, u8, &'a [u8]);

impl Reference {
    /// Only the packet, without this run's continuation steps: a replay takes the steps where the record has them.
    ///
    /// # Panics
    /// As [`Reference::packet`].
    pub fn replay_packet(&mut self, payload: &[u8], boot_ns: u64) -> Vec<u8> {
        let buf = Buffer::new();
        buf.copy_in(payload);
        let shape = match ring0_wire::shape::<Native>(&buf, payload.len()) {
            Ok(shape) => shape,
            Err(cause) => panic!("the caller hands over well-formed packets only: {cause:?}"),
        };
        let index = shape.session;
        let granted = self.sessions.get(index as usize).and_then(Option::as_ref);
        let granted = granted.expect("the caller hands over packets of granted sessions only");
        assert_eq!(
            granted.grant.id,
            payload[..10],
            "the caller compares the whole session id"
        );
        let mut blocks = Vec::new();
        let mut at = HEADER;
        for _ in 0..shape.count() {
            let block = ring0_wire::block(&buf, at);
            blocks.push((block.start, block.letter, &payload[block.start..block.next]));
            at = block.next;
        }

        let acks = self.sequenced(&buf, &blocks, index, shape.sequence, boot_ns);

        let mut answer = payload[..HEADER].to_vec();
        if shape.messages == 0 {
            let expected = self.session(index).expected;
            answer[10..18].copy_from_slice(&expected.to_be_bytes());
        }
        for ack in &acks[..usize::from(shape.messages)] {
            answer.extend([0, 19, b'K', ack.outcome as u8, ack.reason as u8]);
            answer.extend(ack.reference.to_be_bytes());
            answer.extend(ack.quantity.to_be_bytes());
            answer.extend(ack.venue_sequence.to_be_bytes());
        }
        answer.extend([0, 17, TAG_LETTER]);
        answer.extend([0; 16]);
        answer
    }

    /// Takes or does not take the packet; an ack for every block, the tag block too.
    fn sequenced(
        &mut self,
        buf: &Buffer,
        blocks: &[Block],
        index: u32,
        first: u64,
        boot_ns: u64,
    ) -> Vec<Ack> {
        let echo = |&(start, letter, _): &Block| match letter {
            TAG_LETTER => 0,
            _ => ring0_wire::inbound::echo(buf, start, letter),
        };
        let refuse = |reason, venue_sequence| -> Vec<Ack> {
            let ack = |block| Ack {
                outcome: Outcome::NotTaken,
                reason,
                reference: echo(block),
                quantity: 0,
                venue_sequence,
            };
            blocks.iter().map(ack).collect()
        };
        let session = self.session(index);
        let expected = session.expected;
        let grant = session.grant;
        let count = blocks.len() as u64;
        if first > expected {
            return refuse(Reason::Hole, expected);
        }
        if first + count <= expected {
            let stored = |(sequence, block)| match session.answers.get(&sequence) {
                Some(&ack) => ack,
                None => Ack {
                    outcome: Outcome::Answered,
                    reason: Reason::Answered,
                    reference: echo(block),
                    quantity: 0,
                    venue_sequence: 0,
                },
            };
            return (first..).zip(blocks).map(stored).collect();
        }
        if first < expected {
            return refuse(Reason::Straddle, expected);
        }
        if self.halted {
            return refuse(Reason::Halted, 0);
        }
        let now = self.now(boot_ns);
        let charged = |state: u64, burst: u32, interval_ns: u64| -> Option<u64> {
            let interval = u128::from(interval_ns);
            let state = u128::from(state.max(now)) + u128::from(count) * interval;
            if interval != 0 && state > u128::from(now) + u128::from(burst) * interval {
                return None;
            }
            Some(u64::try_from(state).unwrap_or(u64::MAX))
        };
        let account = self.account(grant.account);
        let (Some(of_session), Some(of_account)) = (
            charged(session.rate_state, grant.burst, grant.interval_ns),
            charged(account.rate_state, account.burst, account.interval_ns),
        ) else {
            return refuse(Reason::RateLimited, 0);
        };

        self.time_ns = now;
        let account = self.account_mut(grant.account);
        if account.interval_ns != 0 {
            account.rate_state = of_account;
        }
        let session = self.session_mut(index);
        session.rate_state = of_session;
        session.expected = first + count;
        let mut work = 0;
        let mut acks = Vec::new();
        for (place, block) in blocks.iter().enumerate() {
            let place = (place as u16, count as u16);
            let ack = self.message(buf, *block, index, first, place, &mut work);
            acks.push(ack);
        }
        let session = self.session_mut(index);
        session.answers.extend((first..).zip(acks.iter().copied()));
        let oldest = session.oldest_answer();
        while session.answers.keys().next().is_some_and(|&q| q < oldest) {
            session.answers.pop_first();
        }
        acks
    }

    /// One message of a taken packet: record, events, ack. `place` is its index and the packet's count.
    fn message(
        &mut self,
        buf: &Buffer,
        (start, letter, content): Block,
        index: u32,
        first: u64,
        place: (u16, u16),
        work: &mut u32,
    ) -> Ack {
        let sequence = self.next();
        let account = self.session(index).grant.account;
        let cells = MessageCells::default();
        let (done, reference, locate) = if letter == TAG_LETTER {
            (Ok(Done::accepted(0)), 0, 0)
        } else {
            let parsed = ring0_wire::parse(buf, start, letter, &cells);
            let message = cells.get();
            let done = match parsed {
                Err(error) => Err(Reason::of_field(error)),
                Ok(()) => match letter {
                    b'A' | b'F' | b'O' => self.enter(index, sequence, &message, work),
                    b'U' => self.replace(index, sequence, &message, work),
                    b'X' | b'D' => self.reduce(index, &message),
                    b'M' => self.mass_cancel(index, &message, work),
                    _ => panic!("a well-formed packet has only our letters"),
                },
            };
            let reference = match letter {
                b'U' => message.new_reference,
                _ => message.reference,
            };
            (done, reference, u32::from(message.locate))
        };
        let (outcome, reason, quantity) = match done {
            Ok(done) => (done.outcome, Reason::None, done.quantity),
            Err(Reason::WrongShard) => {
                let port = self.route_of(cells.get().locate).expect("it is routed");
                (Outcome::Rejected, Reason::WrongShard, port.into())
            }
            Err(reason) => (Outcome::Rejected, reason, 0),
        };
        let mut whole = [0; 56];
        whole[..content.len()].copy_from_slice(content);
        if letter == TAG_LETTER {
            whole[1..].fill(0); // a tag is a credential
        }
        self.publish(&MessageRecord {
            head: Head {
                kind: Kind::Message as u16,
                slots: 2,
                side: 0,
                locate,
                sequence,
            },
            time_ns: self.time_ns,
            session: index,
            account,
            client_sequence: first + u64::from(place.0),
            index: place.0,
            count: place.1,
            quantity,
            outcome: outcome as u8,
            reason: reason as u8,
            length: content.len() as u8,
            reserved: [0; 5],
            message: whole,
            reply_to: self.reply_to,
        });
        Ack {
            outcome,
            reason,
            reference,
            quantity,
            venue_sequence: sequence,
        }
    }
}
