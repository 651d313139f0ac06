//! Which history a signature is for: a pin is the id of a block that the chain has.
//!
//! A contract cannot ask for a block's id. What it can ask is which block its transaction refers to, and nodes take a transaction only where that block is: the low 16
//! bits of the block's number and 32 bits of its id. The number stands in the first 4 bytes of the id, the 32 bits in bytes 8 to 12.

use crate::hash::Word;
use crate::hub::Settings;
use crate::refusal::Refusal;

/// What a transaction refers to, and the number of the block it is in.
#[derive(Clone, Copy, Debug)]
pub struct Reference {
    /// Low 16 bits of a block's number.
    pub number_low: u16,
    /// 32 bits of its id.
    pub prefix: u32,
    /// Number of the block the transaction is in.
    pub block: u32,
}

/// Whether a transaction shows that the chain has the block of this id, buried by the hub's confirmations.
///
/// # Errors
/// It refers to another block, or that block has too few above it.
pub fn require_referred(
    id: &Word,
    reference: &Reference,
    settings: &Settings,
) -> Result<u32, Refusal> {
    let part = |at: usize| [id[at], id[at + 1], id[at + 2], id[at + 3]];
    let number = u32::from_be_bytes(part(0));
    let reach = reference.block.saturating_sub(u16::MAX.into());
    // Of the numbers with these low bits, only one is within reach.
    if number as u16 != reference.number_low
        || u32::from_le_bytes(part(8)) != reference.prefix
        || number >= reference.block
        || number < reach
    {
        return Err(Refusal::BlockNotReferred);
    }
    let earliest = number
        .saturating_add(settings.confirmations)
        .saturating_add(1);
    if reference.block < earliest {
        return Err(Refusal::BlockNotConfirmed {
            earliest: earliest.into(),
        });
    }
    Ok(number)
}
