//! The place of `device` where there is no DPDK: nothing of it can be made.

use crate::port::Stats;
use crate::{DpdkError, Eal, PortOptions};
use std::convert::Infallible;
use std::ffi::CString;
use std::io;

pub(crate) fn start(_: Vec<CString>) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn end() {}

pub(crate) struct Device(Infallible);

impl Device {
    pub(crate) fn open(_: &Eal, _: &PortOptions) -> Result<Device, DpdkError> {
        Err(DpdkError::Unavailable {
            missing: dpdk_sys::MISSING,
        })
    }

    pub(crate) fn hardware(&self) -> [u8; 6] {
        match self.0 {}
    }

    pub(crate) fn know_thread(&self) {
        match self.0 {}
    }

    pub(crate) fn receive(&mut self, _: &mut Vec<Frame>) {
        match self.0 {}
    }

    pub(crate) fn transmit(&mut self, _: impl Iterator<Item = Frame>) -> usize {
        match self.0 {}
    }

    pub(crate) fn frame(&mut self) -> Option<Frame> {
        match self.0 {}
    }

    pub(crate) fn stats(&self) -> Stats {
        match self.0 {}
    }
}

pub(crate) struct Frame(Infallible);

impl Frame {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self.0 {}
    }

    pub(crate) fn room(&mut self) -> &mut [u8] {
        match self.0 {}
    }

    pub(crate) fn set_len(&mut self, _: usize) {
        match self.0 {}
    }

    pub(crate) fn segments(&self) -> u16 {
        match self.0 {}
    }

    pub(crate) fn references(&self) -> u16 {
        match self.0 {}
    }
}
