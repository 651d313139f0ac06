//! The hub's calls under short names.

#![allow(unused_imports, reason = "each test takes what it needs")]

pub(crate) use ring0_channels_evm::abi::ChannelHub::*;
pub(crate) use ring0_channels_evm::abi::*;
