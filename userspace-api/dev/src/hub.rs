//! A hub and a dollar token on a node, and the operator's vault.

use crate::Trouble;
use crate::anvil::{Node, code, creation};
use alloy_primitives::aliases::U40;
use alloy_primitives::{Address, B256, TxKind, U256, hex};
use alloy_sol_types::{SolCall, SolValue};
use ring0_channels::chain::Chain;
use ring0_channels::key::Signer;
use ring0_channels::life::Rules;
use ring0_channels::message::Hub;
use ring0_channels_evm::Evm;
use ring0_channels_evm::abi::{self, ChannelHub};
use ring0_channels_evm::leave::{LIMIT, PATIENCE};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A whole unit of the chain's coin, and of the dollar.
pub const WHOLE: u128 = 1_000_000_000_000_000_000;

/// How long a dispute lasts, as hubs have it by default, seconds.
pub const WINDOW: u64 = 24 * 3600;

/// A root is posted at least this often, seconds.
pub const ANCHOR: u64 = 3600;

/// Blocks between two pins, and those that lie on one.
pub const RULES: Rules = Rules {
    confirmations: 5,
    pin_every: 10,
};

alloy_sol_types::sol! {
    /// Dollars for anybody who asks.
    interface Token {
        function mint(address to, uint256 amount) external;
        function approve(address spender, uint256 amount) external returns (bool);
        function balanceOf(address account) external view returns (uint256);
    }
}

/// Where things are on the chain.
#[derive(Clone, Copy, Debug)]
pub struct Placed {
    /// The hub.
    pub hub: Hub,
    /// The dollar.
    pub token: Address,
    /// First block that can have a channel.
    pub start: u64,
}

/// 32 random bytes.
fn random() -> Result<[u8; 32], Trouble> {
    let mut bytes = [0; 32];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(bytes)
}

/// A new key.
///
/// # Errors
/// No random bytes.
pub fn new_key() -> Result<Signer, Trouble> {
    Ok(Signer::new(random()?)?)
}

/// A new key, in a file that nobody else may read.
///
/// # Errors
/// No random bytes, or the disk; a file that is there stays.
pub fn key_file(path: &Path) -> Result<Signer, Trouble> {
    let bytes = random()?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    writeln!(file, "{}", hex::encode(bytes))?;
    Ok(Signer::new(bytes)?)
}

fn deploy(evm: &mut Evm, code: &[u8], arguments: &[u8]) -> Result<Address, Trouble> {
    let sent = evm.send_to("deployment", TxKind::Create, creation(code, arguments), 0)?;
    let mined = evm.confirm(sent, PATIENCE, LIMIT)?;
    let (made, _) = evm.receipt(mined.id)?;
    made.ok_or_else(|| Trouble::from("the node made no contract"))
}

/// Sends a call and waits until it is mined.
///
/// # Errors
/// The node's, or the contract's.
pub fn call<C: SolCall>(
    evm: &mut Evm,
    what: &'static str,
    to: Address,
    call: &C,
    value: u128,
) -> Result<(), Trouble> {
    let sent = evm.send_to(what, TxKind::Call(to), call.abi_encode().into(), value)?;
    evm.confirm(sent, PATIENCE, LIMIT)?;
    Ok(())
}

/// Deploys token and hub, `treasury` paying, and funds the vault with whole units of ether and dollars.
///
/// # Errors
/// The node's.
pub fn place(
    node: &Node,
    venue: B256,
    operator: Address,
    treasury: &Signer,
    vault: (u128, u128),
) -> Result<Placed, Trouble> {
    node.give(treasury.address(), 10_000 * WHOLE)?;
    let mut hub = Hub {
        lineage: U256::from(31_337),
        address: Address::ZERO,
    };
    let mut evm = Evm::connect(&node.url, hub, Some(treasury.clone()))?;
    node.mine(1, 12)?;
    let token = deploy(&mut evm, &code("Tokens.sol/Token.json")?, &[])?;
    let settings = abi::Settings {
        lineage: hub.lineage,
        venue,
        operator,
        treasury: treasury.address(),
        anchor: U40::from(ANCHOR),
        window: U40::from(WINDOW),
        grace: U40::from(7 * 24 * 3600),
        vaultDelay: U40::from(WINDOW + ANCHOR),
        pinEvery: RULES.pin_every as u32,
        confirmations: RULES.confirmations as u32,
        firstEpoch: U40::ZERO,
    };
    let code = code("ChannelHub.sol/ChannelHub.json")?;
    hub.address = deploy(&mut evm, &code, &settings.abi_encode())?;
    let start = evm.tip()?.height;
    let mut evm = Evm::connect(&node.url, hub, Some(treasury.clone()))?;
    let dollars = vault.1 * WHOLE;
    let mint = Token::mintCall {
        to: treasury.address(),
        amount: U256::from(dollars),
    };
    call(&mut evm, "mint", token, &mint, 0)?;
    let approve = Token::approveCall {
        spender: hub.address,
        amount: U256::from(dollars),
    };
    call(&mut evm, "approval", token, &approve, 0)?;
    for (token, amount) in [(Address::ZERO, vault.0 * WHOLE), (token, dollars)] {
        let fund = ChannelHub::fundVaultCall { token, amount };
        let value = if token == Address::ZERO { amount } else { 0 };
        call(&mut evm, "vault funding", hub.address, &fund, value)?;
    }
    Ok(Placed { hub, token, start })
}
