//! A session's client references are used up at 2^32 − 1: what follows is refused with a reason, and the session, closed and granted anew, begins
//! at 1 again (RULES 16). Engine and reference say the same.
#![cfg(feature = "std")]

mod pair;
mod tape;
mod venue;

use pair::Pair;
use ring0_engine::Reason;
use ring0_engine::control::{Control, ControlKind, Grant, Target};
use ring0_engine::flow::Input;
use ring0_engine::record::Outcome;
use ring0_wire::host::{Answer, Inbound, PacketBuilder};
use ring0_wire::message::{BUY, STOCK_SPACES};
use ring0_wire::{Ack, Message, SessionId};
use venue::{BOOT_NS, CAPACITY, setup};

struct Venue(Pair);

impl Venue {
    fn send(&mut self, id: SessionId, sequence: u64, message: &Message) -> Ack {
        let mut packet = PacketBuilder::new(id, sequence);
        packet
            .push(&Inbound::from_message(message).unwrap())
            .unwrap();
        let fed = self.0.feed(&Input::Packet(packet.sign(None)), BOOT_NS);
        let answer = fed.unwrap().answer.expect("the session is granted");
        self.0.same_states().unwrap();
        Answer::read(&answer, None).unwrap().acks[0]
    }

    fn control(&mut self, control: Control) -> (Outcome, Reason) {
        let fed = self
            .0
            .feed(&Input::Control(vec![control]), BOOT_NS)
            .unwrap();
        self.0.same_states().unwrap();
        fed.results[0]
    }
}

fn buy(reference: u32) -> Message {
    Message {
        letter: b'A',
        locate: 1,
        reference,
        side: BUY,
        shares: 1,
        stock: STOCK_SPACES,
        price: 100,
        ..Message::default()
    }
}

fn cancel(reference: u32) -> Message {
    Message {
        letter: b'D',
        locate: 1,
        reference,
        ..Message::default()
    }
}

#[test]
fn a_session_without_references_is_refused_and_opened_anew() {
    let mut venue = Venue(Pair::new(CAPACITY));
    venue.0.feed(&setup(), BOOT_NS).unwrap();
    let old = venue.0.native.shard().session_id(0).unwrap();
    let accepted = (Outcome::Accepted as u8, 0);
    let said = |ack: Ack| (ack.result, ack.reason);
    let refused = (Outcome::Rejected as u8, Reason::ReferenceNotRising as u8);

    assert_eq!(said(venue.send(old, 1, &buy(u32::MAX))), accepted);
    // There is none above the last, and none below it counts; what is live can still be cancelled.
    assert_eq!(said(venue.send(old, 3, &buy(u32::MAX))), refused);
    assert_eq!(said(venue.send(old, 5, &buy(1))), refused);
    let close = || {
        let (index, reserved) = (0, 0);
        Control::new(ControlKind::CloseSession, &Target { index, reserved })
    };
    let lives = venue.control(close());
    assert_eq!(lives, (Outcome::Rejected, Reason::OrdersLive));
    assert_eq!(said(venue.send(old, 7, &cancel(u32::MAX))), accepted);
    assert_eq!(venue.control(close()), (Outcome::Accepted, Reason::None));

    let new = SessionId::new(0, 2).unwrap();
    let grant = Grant {
        session: 0,
        account: 0,
        id: new.0,
        answers_log2: 7,
        references_log2: 4,
        burst: 0,
        interval_ns: 0,
        expires_ns: u64::MAX,
        orders_max: 0,
        shares_max: 0,
        notional_max: 0,
        cancel_on_disconnect: 0,
        reserved: 0,
    };
    let granted = venue.control(Control::new(ControlKind::GrantSession, &grant));
    assert_eq!(granted, (Outcome::Accepted, Reason::None));
    assert_eq!(said(venue.send(new, 1, &buy(1))), accepted);
}
