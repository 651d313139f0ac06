//! A [`Ring`] reached as a trader reaches it: a socket in front of a living shard.

use crate::live::Live;
use crate::records::Consumer;
use crate::ring::{Ring, RingError};
use crate::sign::sign;
use ring0_abi::Counter;
use ring0_engine::canon::StateHash;
use ring0_engine::control::Control;
use ring0_engine::record::Outcome;
use ring0_engine::{Depth, Reason};
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

/// How long an answer may take on a machine that does something else too.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait before the counters are looked at.
const LOOK: Duration = Duration::from_millis(5);

/// A living shard and a client's socket, connected to it. Nobody else sends to the shard.
pub struct Wire<S> {
    /// The shard.
    pub shard: S,
    name: &'static str,
    client: UdpSocket,
    records: Consumer,
    answer: Box<[u8; 2048]>,
}

impl<S: Live> Wire<S> {
    /// A ring of this name over a connected socket; `records` is a reader of the shard's records of its own.
    ///
    /// # Errors
    /// The socket's.
    pub fn new(
        shard: S,
        name: &'static str,
        client: UdpSocket,
        records: Consumer,
    ) -> std::io::Result<Wire<S>> {
        client.set_read_timeout(Some(LOOK))?;
        Ok(Wire {
            shard,
            name,
            client,
            records,
            answer: Box::new([0; 2048]),
        })
    }

    /// Packets that were dropped so far.
    fn dropped(&self) -> Result<u64, RingError> {
        let counters = self.shard.counters()?;
        Ok(counters[Counter::DropLength as usize..].iter().sum())
    }
}

impl<S: Live> Ring for Wire<S> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn control(
        &mut self,
        commands: &[Control],
        _: u64,
    ) -> Result<Vec<(Outcome, Reason)>, RingError> {
        self.shard.command(commands)
    }

    /// The payload's tag is made here, with the session's key.
    fn packet(&mut self, payload: &[u8], _: u64) -> Result<Vec<u8>, RingError> {
        let mut signed = payload.to_vec();
        sign(&mut signed, self.shard.tags());
        let before = self.dropped()?;
        self.client.send(&signed).map_err(RingError::Client)?;
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            match self.client.recv(&mut self.answer[..]) {
                Ok(len) => return Ok(self.answer[..len].to_vec()),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    if self.dropped()? != before {
                        return Err(RingError::Unanswered);
                    }
                }
                Err(error) => return Err(RingError::Client(error)),
            }
        }
        Err(RingError::Client(ErrorKind::TimedOut.into()))
    }

    fn steps(&mut self) -> Result<(), RingError> {
        self.shard.ring_doorbell()
    }

    fn take_records(&mut self) -> Result<Vec<u8>, RingError> {
        let mut bytes = Vec::new();
        self.records.read(&mut bytes, u64::MAX / 2)?;
        Ok(bytes)
    }

    fn state_hash(&mut self) -> StateHash {
        self.shard.shard().state_hash()
    }

    fn depth(&mut self, instrument: u32, side: u8, levels: usize) -> Vec<Depth> {
        self.shard.shard().depth(instrument, side, levels)
    }
}
