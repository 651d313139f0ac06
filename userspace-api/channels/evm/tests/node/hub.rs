//! The hub's calls under short names.

pub(crate) use ring0_channels_evm::abi::ChannelHub::*;
pub(crate) use ring0_channels_evm::abi::*;
