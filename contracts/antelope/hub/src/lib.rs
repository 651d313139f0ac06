//! The channel hub of one Antelope chain. Rules: `docs/channels.md`; what differs here: `docs/channels-antelope.md`; calls and rows: `hub.abi.json`.
//!
//! The rules are the machine's (`contracts/antelope/machine`); here is what a chain adds: who may call, the rows, the transfers in and out. It is built for
//! `wasm32v1-none` and exports `apply`; for any other target it is empty.
#![cfg(target_arch = "wasm32")]
#![no_std]

mod actions;
mod chain;
mod packed;
mod tables;

use ring0_antelope_machine::account::Name;

use crate::packed::Input;
use crate::tables::{Tables, name};

/// Longest action: a state by leaf with a grant and five paths of 16 steps.
const ACTION_SIZE_MAX: usize = 6 * 1024;

const TRANSFER: Name = name(b"transfer");

/// Called by the node for each action of the hub's and each that it is told of.
#[unsafe(no_mangle)]
pub extern "C" fn apply(receiver: u64, code: u64, action: u64) {
    let (receiver, code, action) = (Name(receiver), Name(code), Name(action));
    if receiver != code && action != TRANSFER {
        return; // Told of something that is no money: whoever tells it must not be able to be refused.
    }
    let mut buffer = [0; ACTION_SIZE_MAX];
    let mut input = Input(chain::action_data(&mut buffer));
    let tables = Tables { hub: receiver };
    if receiver == code {
        actions::call(&tables, action, &mut input);
    } else {
        actions::money_came(&tables, code, &mut input);
    }
}
