//! A scene in the engine in this process.

use super::Play;
use super::drive::{Carrier, accepted};
use crate::clock::ticks;
use crate::fail::BenchError;
use crate::native::PACKET_NS;
use ring0_drive::Packets;
use ring0_engine::control::Control;
use ring0_engine::native::{Native, TagRule, Tape};
use ring0_engine::{Recorder, Shard};
use std::ops::Range;
use std::time::Instant;

/// A shard with the scene's market.
pub(super) struct InProcess<R>(Native<R>);

impl<R: Recorder> InProcess<R> {
    pub(super) fn up(play: &Play, recorder: R) -> Result<InProcess<R>, BenchError> {
        let mut native = Native::with_recorder(&play.capacity()?, recorder)?;
        accepted(native.control(&play.controls(), 0))?;
        Ok(InProcess(native))
    }

    #[inline(always)]
    pub(super) fn packet(&mut self, packets: &Packets, index: usize) -> Result<(), BenchError> {
        let boot_ns = index as u64 * PACKET_NS;
        let taken = self
            .0
            .packet_in_place(packets.get(index), boot_ns, |_| TagRule::Unchecked);
        taken
            .map(drop)
            .map_err(|cause| BenchError::Dropped { index, cause })
    }
}

impl InProcess<Tape> {
    pub(super) fn records(&mut self) -> Vec<u8> {
        self.0.take_records()
    }
}

impl<R: Recorder> Carrier for InProcess<R> {
    const NAME: &str = "native";

    fn packets(&mut self, packets: &Packets, range: Range<usize>) -> Result<f64, BenchError> {
        let begin = Instant::now();
        for index in range {
            self.packet(packets, index)?;
        }
        Ok(begin.elapsed().as_nanos() as f64)
    }

    fn one(&mut self, packets: &Packets, index: usize) -> Result<u64, BenchError> {
        let begin = ticks();
        self.packet(packets, index)?;
        Ok(ticks() - begin)
    }

    fn control(&mut self, controls: &[Control], index: usize) -> Result<(), BenchError> {
        accepted(self.0.control(controls, index as u64 * PACKET_NS))
    }

    fn shard(&self) -> Shard<'_> {
        self.0.shard()
    }
}
