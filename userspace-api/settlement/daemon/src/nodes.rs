//! Whether the chains are what the configuration says: asked of their nodes by `ring0-settled check --nodes`, and of each token before anything of its hub
//! counts (CUSTODY 19: decimals are pinned).

use crate::config::{Config, HubConfig};
use crate::desk::now_s;
use crate::events::{HubSays, Rpc, Token};
use ring0_channels::chain::ChainError;
use ring0_channels::message::venue_domain;
use ring0_channels::{Address, U256};
use std::fmt::Display;
use std::time::Duration;

/// How far a chain's newest block may be from this machine's clock. Slower chains have none that is this old; above it a node is behind, or a clock is
/// wrong, and deadlines would be judged by it.
const CLOCK: Duration = Duration::from_secs(15 * 60);

/// Something that is not as it should be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// The key in the configuration.
    pub key: String,
    /// What is wrong and what to do.
    pub problem: String,
}

impl Display for Finding {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{}: {}", self.key, self.problem)
    }
}

/// Asks the node of each hub.
#[must_use]
pub fn check(config: &Config) -> Vec<Finding> {
    let mut all = Vec::new();
    for (index, hub) in config.hubs.iter().enumerate() {
        Look {
            config,
            hub,
            rpc: Rpc::new(&hub.rpc),
            index,
            all: &mut all,
        }
        .hub();
    }
    all
}

/// Whether a hub's tokens have the decimals that the market file says.
pub(crate) fn admit(config: &Config, hub: &HubConfig, rpc: &Rpc) -> Result<(), ChainError> {
    for token in hub.tokens.iter().filter(|it| it.token != Address::ZERO) {
        let found = rpc.latest(token.token, &Token::decimalsCall {})?;
        let asset = &config.plans[0].assets[token.asset as usize];
        if u32::from(found) != asset.decimals {
            return Err(rpc.failed(other_decimals(&asset.name, asset.decimals, found)));
        }
    }
    Ok(())
}

fn other_decimals(name: &str, said: u32, found: u8) -> String {
    format!(
        "the token has {found} decimals and the market file gives {name} {said}: amounts would be another thing on the chain; name the right token, or the right decimals"
    )
}

/// One hub, being looked at.
struct Look<'a> {
    config: &'a Config,
    hub: &'a HubConfig,
    rpc: Rpc,
    index: usize,
    all: &'a mut Vec<Finding>,
}

impl Look<'_> {
    fn add(&mut self, key: impl Display, problem: impl Display) {
        self.all.push(Finding {
            key: format!("hub[{}].{key}", self.index),
            problem: problem.to_string(),
        });
    }

    fn hub(mut self) {
        let (height, time) = match self.rpc.newest() {
            Ok(newest) => newest,
            // Nothing else can be asked.
            Err(error) => return self.add("rpc", error),
        };
        self.head(height, time);
        match self.rpc.has_code(self.hub.hub.address) {
            Ok(true) => {}
            Ok(false) => {
                let address = self.hub.hub.address;
                return self.add(
                    "address",
                    format_args!(
                        "there is no contract at {address} on this chain; name the hub's address, or the node of its chain"
                    ),
                );
            }
            Err(error) => return self.add("address", error),
        }
        self.terms();
        self.tokens();
    }

    /// The node's head: far enough, in sync, and of this time.
    fn head(&mut self, height: u64, time: u64) {
        let (start, confirmations) = (self.hub.start, self.hub.rules.confirmations);
        if height < start {
            self.add(
                "start",
                format_args!(
                    "the node's newest block is {height}, below {start}; it is behind, or of another chain"
                ),
            );
        } else if height < start + confirmations {
            self.add(
                "confirmations",
                format_args!(
                    "the node's newest block is {height}: with {confirmations} confirmations nothing since {start} counts yet; wait, or look at the node"
                ),
            );
        }
        match self.rpc.is_syncing() {
            Ok(false) => {}
            Ok(true) => self.add(
                "rpc",
                "the node says that it is still syncing; wait until it is done",
            ),
            Err(error) => self.add("rpc", error),
        }
        let now = now_s();
        if now.abs_diff(time) > CLOCK.as_secs() {
            let (apart, which) = match now > time {
                true => (now - time, "behind"),
                false => (time - now, "ahead of"),
            };
            self.add(
                "rpc",
                format_args!(
                    "the newest block, {height}, is {apart} s {which} this machine's clock; the node is out of sync, the chain stands still, or a clock is wrong"
                ),
            );
        }
    }

    /// What the contract was made with.
    fn terms(&mut self) {
        let (rpc, at) = (self.rpc.clone(), self.hub.hub.address);
        match rpc.latest(at, &HubSays::lineageCall {}) {
            Ok(found) if found == self.hub.hub.lineage => {}
            Ok(found) => {
                let said = self.hub.hub.lineage;
                self.add("lineage", differs("lineage", found, said));
            }
            // A contract that is no hub answers nothing else either.
            Err(error) => return self.add("address", answers_not(at, "a hub", &error)),
        }
        match rpc.latest(at, &HubSays::operatorCall {}) {
            Ok(found) if found == self.config.operator => {}
            Ok(found) => {
                let said = self.config.operator;
                self.add("address", differs("operator", found, said));
            }
            Err(error) => self.add("address", error),
        }
        let venue = venue_domain(self.config.venue).separator();
        match rpc.latest(at, &HubSays::venueDomainCall {}) {
            Ok(found) if found == venue => {}
            Ok(_) => self.add(
                "address",
                format_args!(
                    "the hub is another venue's than {}; what is signed for this one would count for nothing there: name this venue's hub",
                    self.config.venue
                ),
            ),
            Err(error) => self.add("address", error),
        }
        match rpc.latest(at, &HubSays::anchorCall {}) {
            Ok(found) if U256::from(found) >= U256::from(self.hub.anchor.as_secs()) => {}
            Ok(found) => {
                let said = self.hub.anchor.as_secs();
                self.add(
                    "anchor_s",
                    format_args!(
                        "{said} is above the hub's own anchor, {found} s: roots would come too late; give at most that"
                    ),
                );
            }
            Err(error) => self.add("address", error),
        }
        match rpc.latest(at, &HubSays::frozenAtCall {}) {
            Ok(at) if at.is_zero() => {}
            Ok(at) => self.add(
                "address",
                format_args!(
                    "the hub is frozen since {at} (Unix time): nothing is deposited or posted there any more, all leave by it (docs/runbook.md)"
                ),
            ),
            Err(error) => self.add("address", error),
        }
    }

    fn tokens(&mut self) {
        for (index, token) in self.hub.tokens.iter().enumerate() {
            // The coin's are looked at when the file is read.
            if token.token == Address::ZERO {
                continue;
            }
            let key = format!("token[{index}].token");
            match self.rpc.has_code(token.token) {
                Ok(true) => {}
                Ok(false) => {
                    let problem = format!(
                        "there is no contract at {} on this chain; name the token's",
                        token.token
                    );
                    self.add(key, problem);
                    continue;
                }
                Err(error) => {
                    self.add(key, error);
                    continue;
                }
            }
            let asset = &self.config.plans[0].assets[token.asset as usize];
            match self.rpc.latest(token.token, &Token::decimalsCall {}) {
                Ok(found) if u32::from(found) == asset.decimals => {}
                Ok(found) => self.add(key, other_decimals(&asset.name, asset.decimals, found)),
                Err(error) => self.add(
                    key,
                    answers_not(token.token, "a token with decimals", &error),
                ),
            }
        }
    }
}

fn answers_not(at: Address, what: &str, error: &ChainError) -> String {
    format!("the contract at {at} does not answer as {what} does; name the right one ({error})")
}

fn differs(what: &str, found: impl Display, said: impl Display) -> String {
    format!(
        "the hub's {what} is {found} and the configuration says {said}; correct it, or name the right hub"
    )
}
