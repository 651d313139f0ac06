//! A scene as packets and commands that any ring carries out alike.
//!
//! How many heartbeats it takes until no work is pending, and the prices of its auctions, are learnt from a native shard that goes
//! through it while it is cut. A heartbeat is a run that carries continuation steps and hardly anything else; the doorbell would
//! do as well, but its test-run tells no time.

use super::drive::Carrier;
use super::in_process::InProcess;
use super::{Action, Play};
use crate::fail::BenchError;
use ring0_drive::{Packets, session_id};
use ring0_engine::control::{Control, ControlKind, Uncross};
use ring0_engine::limits::{FILLS_MAX, PACKET_WORK_MAX};
use ring0_engine::native::Discard;
use ring0_engine::record::State;
use ring0_wire::Key;
use ring0_wire::host::{Inbound, PacketBuilder};
use std::ops::Range;

/// Fills that may stand before an entering message of a packet (`docs/matching.md`, Enter 14).
const WORK_BEFORE: u32 = PACKET_WORK_MAX - FILLS_MAX;

/// What packets are timed as.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Part {
    /// Before the clock starts, or for the operator.
    Untimed,
    /// Messages.
    Messages,
    /// Continuation steps behind heartbeats.
    Steps,
}

/// One stage of a script.
pub(super) enum Stage {
    /// Packets of one part.
    Packets(Part, Range<usize>),
    /// Commands by doorbell, not timed.
    Controls(Vec<Control>),
    /// The price of an auction is computed, and is this one.
    Price(u32),
}

/// A scene, cut.
#[derive(Default)]
pub(super) struct Script {
    pub(super) packets: Packets,
    pub(super) stages: Vec<Stage>,
}

impl Script {
    /// Packets of a part.
    pub(super) fn packets_of(&self, wanted: Part) -> usize {
        let lengths = self.stages.iter().map(|stage| match stage {
            Stage::Packets(part, range) if *part == wanted => range.len(),
            _ => 0,
        });
        lengths.sum()
    }
}

/// Cuts a scene into packets of so many messages at the most; with a key they are signed.
pub(super) fn cut(play: &Play, messages_max: u16, key: Option<&Key>) -> Result<Script, BenchError> {
    let mut cutter = Cutter {
        native: InProcess::up(play, Discard)?,
        script: Script::default(),
        sequences: vec![1; play.sessions as usize],
        open: None,
        work: 0,
        part: Part::Untimed,
        messages_max,
        key,
    };
    for action in &play.actions {
        match action {
            Action::Begin => {
                cutter.flush()?;
                cutter.part = Part::Messages;
            }
            Action::Message {
                session,
                message,
                meets,
            } => {
                let inbound = Inbound::from_message(message).expect("a letter of ours");
                cutter.message(*session, &inbound, *meets)?;
            }
            Action::Settle => cutter.settle(Part::Steps)?,
            Action::Command(control) => {
                cutter.controls(vec![*control])?;
                cutter.settle(Part::Untimed)?;
            }
            Action::Uncross { then } => cutter.uncross(*then)?,
        }
    }
    cutter.flush()?;
    Ok(cutter.script)
}

struct Cutter<'a> {
    native: InProcess<Discard>,
    script: Script,
    /// Next client sequence by session.
    sequences: Vec<u64>,
    /// The packet that is being filled and its session.
    open: Option<(u32, PacketBuilder)>,
    /// Makers that its messages meet.
    work: u32,
    part: Part,
    messages_max: u16,
    key: Option<&'a Key>,
}

impl Cutter<'_> {
    fn message(&mut self, session: u32, message: &Inbound, meets: u32) -> Result<(), BenchError> {
        let fits = self.open.as_ref().is_some_and(|(of, packet)| {
            *of == session && packet.messages() < self.messages_max && self.work <= WORK_BEFORE
        });
        if !fits {
            self.flush()?;
        }
        if self.packet(session).push(message).is_err() {
            self.flush()?;
            let packet = self.packet(session);
            packet.push(message).expect("one message has room");
        }
        self.work += meets;
        Ok(())
    }

    fn packet(&mut self, session: u32) -> &mut PacketBuilder {
        let sequence = self.sequences[session as usize];
        let open = self
            .open
            .get_or_insert_with(|| (session, PacketBuilder::new(session_id(session), sequence)));
        &mut open.1
    }

    /// Ends the packet that is being filled, if there is one.
    fn flush(&mut self) -> Result<(), BenchError> {
        self.work = 0;
        match self.open.take() {
            Some((session, packet)) => self.send(session, packet, self.part),
            None => Ok(()),
        }
    }

    fn send(&mut self, session: u32, packet: PacketBuilder, part: Part) -> Result<(), BenchError> {
        self.sequences[session as usize] = packet.next_sequence();
        let at = self.script.packets.len();
        self.script.packets.push(&packet.sign(self.key));
        self.native.packet(&self.script.packets, at)?;
        match self.script.stages.last_mut() {
            Some(Stage::Packets(of, range)) if *of == part => range.end = at + 1,
            _ => self.script.stages.push(Stage::Packets(part, at..at + 1)),
        }
        Ok(())
    }

    fn settle(&mut self, part: Part) -> Result<(), BenchError> {
        self.flush()?;
        let part = match self.part {
            Part::Untimed => Part::Untimed,
            _ => part,
        };
        while self.native.shard().header().pending_count.get() > 0 {
            let heartbeat = PacketBuilder::new(session_id(0), self.sequences[0]);
            self.send(0, heartbeat, part)?;
        }
        Ok(())
    }

    fn controls(&mut self, controls: Vec<Control>) -> Result<(), BenchError> {
        self.flush()?;
        self.native.control(&controls, self.script.packets.len())?;
        self.script.stages.push(Stage::Controls(controls));
        Ok(())
    }

    fn uncross(&mut self, then: State) -> Result<(), BenchError> {
        self.flush()?;
        while self.native.shard().market_state(0) == Some(State::Uncrossing) {
            // Where no two orders meet any price will do; nothing trades at it.
            let found = self.native.shard().equilibrium(0);
            let price = match found {
                Some(found) => {
                    self.script.stages.push(Stage::Price(found.price));
                    found.price
                }
                None => ring0_stream::lobstrm::CENTER_TICKS,
            };
            let uncross = Uncross {
                instrument: 0,
                price,
                then: then as u32,
                reserved: 0,
            };
            self.controls(vec![Control::new(ControlKind::Uncross, &uncross)])?;
            self.settle(Part::Steps)?;
        }
        Ok(())
    }
}
