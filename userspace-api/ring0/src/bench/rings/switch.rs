//! A port that a bench turns: to its ring, to an echo in the ring's place, or off.
//!
//! So ring and echo share everything but the engine: thread, processor, socket or device, wire. Invariants: the ring sees arrival numbers without
//! those that the echo used up; a port that is off takes nothing, and its thread sleeps.

use crate::fail::Fail;
use ring0_engine::record::ReplyTo;
use ring0_rings::{Arrival, Bell, Port, PortError};
use ring0_wire::Buffer;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a port that is off sleeps between two looks at its switch: a few hundred wakings a second, which no figure sees.
const NAP: Duration = Duration::from_millis(4);
/// How long a thread may take to see its switch.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a port's packets go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Way {
    /// Nowhere: they wait outside.
    Off,
    /// To the ring.
    Ring,
    /// Back as they came.
    Echo,
}

impl Way {
    fn of(number: u8) -> Way {
        [Way::Off, Way::Ring, Way::Echo][usize::from(number)]
    }
}

#[derive(Default)]
struct Words {
    /// Writer: [`Switch`].
    wanted: AtomicU8,
    /// The way that the port takes. Writer: its thread; pairs with the reads of [`Switch::turn`].
    taken: AtomicU8,
}

/// Turns a [`Switched`].
#[derive(Default)]
pub(crate) struct Switch(Arc<Words>);

impl Switch {
    /// Turns it, and waits until its thread has seen that.
    pub(crate) fn turn(&self, way: Way) -> Result<(), Fail> {
        self.0.wanted.store(way as u8, Ordering::Release);
        let begin = Instant::now();
        while self.0.taken.load(Ordering::Acquire) != way as u8 {
            if begin.elapsed() > PATIENCE {
                return Err(Fail::new(
                    "the ring's thread has ended, or does not look at its port any more",
                ));
            }
            sleep(Duration::from_micros(100));
        }
        Ok(())
    }

    /// A port behind this switch, off.
    pub(crate) fn before(&self, port: Box<dyn Port>) -> Box<dyn Port> {
        Box::new(Switched {
            port,
            words: Arc::clone(&self.0),
            buffer: Buffer::new(),
            last: 0,
            echoed: 0,
            received: 0,
        })
    }
}

/// A port behind a switch.
struct Switched {
    port: Box<dyn Port>,
    words: Arc<Words>,
    buffer: Buffer,
    /// Arrival number of the last packet, whichever way it went.
    last: u64,
    /// Arrival numbers that the echo used up.
    echoed: u64,
    /// Packets that the port gave the last time.
    received: usize,
}

impl Switched {
    /// Packets for the ring; those of the echo are answered here.
    fn receive_for(&mut self, way: Way, wait: Duration) -> Result<usize, PortError> {
        if way == Way::Off {
            sleep(NAP);
            return Ok(0);
        }
        let packets = self.port.receive(wait)?;
        self.received = packets;
        match way {
            Way::Ring => {
                if packets != 0
                    && let Some(number) = self.port.packet(packets - 1).number
                {
                    self.last = number;
                }
                Ok(packets)
            }
            _ => {
                if packets != 0 {
                    self.echo(packets)?;
                }
                Ok(0)
            }
        }
    }

    fn echo(&mut self, packets: usize) -> Result<(), PortError> {
        for index in 0..packets {
            let Arrival {
                payload, number, ..
            } = self.port.packet(index);
            let len = self.buffer.copy_in(payload);
            if let Some(number) = number {
                self.echoed += number - self.last;
                self.last = number;
            }
            self.port.answer(index, &self.buffer, len);
        }
        self.port.flush()
    }
}

impl Port for Switched {
    fn name(&self) -> &'static str {
        self.port.name()
    }

    fn heed(&mut self, bell: &Arc<Bell>) {
        self.port.heed(bell);
    }

    fn receive(&mut self, wait: Duration) -> Result<usize, PortError> {
        let wanted = self.words.wanted.load(Ordering::Acquire);
        let taken = self.words.taken.load(Ordering::Relaxed);
        if taken == wanted || Way::of(taken) == Way::Off {
            self.words.taken.store(wanted, Ordering::Release);
            return self.receive_for(Way::of(wanted), wait);
        }
        // What still waits is the way's that it was sent to: the next one begins with an empty port.
        let packets = self.receive_for(Way::of(taken), wait)?;
        if self.received == 0 {
            self.words.taken.store(wanted, Ordering::Release);
        }
        Ok(packets)
    }

    fn packet(&self, index: usize) -> Arrival<'_> {
        let arrival = self.port.packet(index);
        Arrival {
            number: arrival.number.map(|number| number - self.echoed),
            ..arrival
        }
    }

    fn answer(&mut self, index: usize, answer: &Buffer, len: usize) {
        self.port.answer(index, answer, len);
    }

    fn flush(&mut self) -> Result<(), PortError> {
        self.port.flush()
    }

    fn send(&mut self, to: &ReplyTo, payload: &[u8]) -> bool {
        self.port.send(to, payload)
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        self.port.counters()
    }
}
