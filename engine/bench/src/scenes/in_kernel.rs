//! A scene in the kernel: packets by test-run, commands by doorbell, the price computed here over the shard's own memory.

use super::Play;
use super::drive::{Carrier, accepted};
use crate::fail::BenchError;
use crate::kernel::RECORD_SLOTS;
use ring0_drive::{Packets, WireLab, XDP_TX};
use ring0_engine::Shard;
use ring0_engine::control::Control;
use ring0_rings::{Live, Ring};
use serde_json::Value;
use std::ops::Range;

/// A shard in the kernel with the scene's market.
pub(super) struct InKernel(WireLab);

impl InKernel {
    pub(super) fn up(play: &Play, key: Option<&[u8; 16]>) -> Result<InKernel, BenchError> {
        let mut lab = WireLab::up(&play.capacity()?, RECORD_SLOTS)?;
        for session in 0..play.sessions {
            lab.shard.set_key(session, key)?;
        }
        accepted(lab.shard.command(&play.controls())?)?;
        Ok(InKernel(lab))
    }

    pub(super) fn records(&mut self) -> Result<Vec<u8>, BenchError> {
        Ok(self.0.shard.take_records()?)
    }

    /// What the verifier said of the program.
    pub(super) fn verifier(&self) -> Value {
        crate::kernel::verifier(&self.0)
    }
}

impl Carrier for InKernel {
    const NAME: &str = "kernel";

    fn packets(&mut self, packets: &Packets, mut range: Range<usize>) -> Result<f64, BenchError> {
        let took = range.try_fold(0, |sum, index| {
            Ok::<_, BenchError>(sum + self.one(packets, index)?)
        })?;
        Ok(took as f64)
    }

    fn one(&mut self, packets: &Packets, index: usize) -> Result<u64, BenchError> {
        let shard = &self.0.shard;
        let ran = shard.run_frame(&shard.frame(packets.get(index)))?;
        if ran.verdict != XDP_TX {
            let verdict = ran.verdict;
            return Err(BenchError::NoAnswer { index, verdict });
        }
        Ok(ran.duration_ns.into())
    }

    fn control(&mut self, controls: &[Control], _: usize) -> Result<(), BenchError> {
        accepted(self.0.shard.command(controls)?)
    }

    fn shard(&self) -> Shard<'_> {
        self.0.shard.shard()
    }
}
