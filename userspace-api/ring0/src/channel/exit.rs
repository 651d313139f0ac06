//! `ring0 channel exit`: a trader leaves with a file, a key and a node.

use crate::fail::Fail;
use ring0_channels::evidence::Holding;
use ring0_channels::exit_file::ExitFile;
use ring0_channels::{B256, U256};
use ring0_channels_evm::{Evm, leave};
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

/// How long somebody who may know a newer state is waited for.
const ASK: Duration = Duration::from_secs(5);

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What `ring0 channel export` wrote.
    file: PathBuf,
    /// A node of the channels' chain, http or https.
    #[arg(long, value_name = "URL")]
    rpc: String,
    /// File of the owner's or the co-signer's key; it pays for the transactions, too.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Only this channel.
    #[arg(long, value_name = "ID")]
    channel: Option<B256>,
    /// Also ask here for a newer state: `<URL>/holdings/<channel>`.
    #[arg(long, value_name = "URL")]
    ask: Vec<String>,
    /// Start the exit and do not wait for the window's end; the same command ends it later.
    #[arg(long)]
    no_wait: bool,
    /// One JSON object at the end.
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    let file = ExitFile::read(&args.file)?;
    let key = super::key(&args.key)?;
    let mut channels: Vec<Holding> = file.holdings.clone();
    if let Some(one) = args.channel {
        channels.retain(|it| it.channel() == one);
        if channels.is_empty() {
            return Err(Fail::new(format!("channel {one} is not in the file")));
        }
    }
    let asked: Vec<&String> = file.ask.iter().chain(&args.ask).collect();
    let say = |text: String| {
        if !args.json {
            println!("{text}");
        }
    };
    let mut leaving = Vec::new();
    let mut fees = 0_u128;
    for holding in channels {
        let id = holding.channel();
        let mut evm = Evm::connect(&args.rpc, holding.hub, Some(key.clone()))?;
        if !evm.is_deployed()? {
            say(format!(
                "{id}: its hub is not on this chain, left for a node of its own"
            ));
            continue;
        }
        leave::check_hub(&evm, &holding)?;
        let pinned = |branch| evm.is_pinned(branch).unwrap_or(false);
        let holding = newer(holding, &asked, &pinned, &say);
        say(format!("{id}: leaving with version {}", holding.version()));
        match leave::show(&mut evm, &holding)? {
            Some(fee) => {
                fees += fee;
                say(format!("{id}: the state is on the chain"));
            }
            None => say(format!("{id}: the chain has it, or one as new")),
        }
        leaving.push((evm, holding));
    }
    if leaving.is_empty() {
        return Err(Fail::new(
            "none of the file's channels is on this node's chain; name a node of their chain",
        ));
    }
    let mut ended = Vec::new();
    for (evm, holding) in &mut leaving {
        let id = holding.channel();
        let mut told = None;
        let over = leave::wait(evm, holding, |left| {
            if told.is_none() {
                say(format!(
                    "{id}: the window ends in {left} s of the chain's time"
                ));
                told = Some(left);
            }
            !args.no_wait
        })?;
        if !over {
            continue;
        }
        let left = leave::settle(evm, holding)?;
        fees += left.fees;
        say(format!(
            "{id}: paid {} to {}",
            left.paid, holding.terms.owner
        ));
        if left.claim > U256::ZERO {
            say(format!(
                "{id}: the vault could not cover {}; it is claimed and paid from what comes in later",
                left.claim
            ));
        }
        if left.version > holding.version() {
            say(format!(
                "{id}: a newer state, version {}, was shown meanwhile and decided",
                left.version
            ));
        }
        ended.push(json!({
            "channel": id,
            "token": holding.terms.token,
            "version": left.version,
            "paid": left.paid.to_string(),
            "claim": left.claim.to_string(),
        }));
    }
    let open = leaving.len() - ended.len();
    if args.json {
        println!(
            "{}",
            json!({ "channels": ended, "open": open, "fees": fees.to_string() })
        );
    } else if open > 0 {
        println!("{open} channels wait for the window's end; run the same command then");
    }
    Ok(())
}

/// The newest state that anybody of these gives; what does not count here is said and left.
fn newer(
    mut holding: Holding,
    asked: &[&String],
    is_pinned: &dyn Fn(B256) -> bool,
    say: &dyn Fn(String),
) -> Holding {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(ASK))
        .build()
        .into();
    let id = holding.channel();
    for base in asked {
        let url = format!("{}/holdings/{id}", base.trim_end_matches('/'));
        let answer = agent
            .get(&url)
            .call()
            .map_err(|why| why.to_string())
            .and_then(|mut it| {
                it.body_mut()
                    .read_json::<Holding>()
                    .map_err(|why| why.to_string())
            });
        match better(&holding, answer, is_pinned) {
            Ok(other) => {
                say(format!(
                    "{base} knows the newer version {}",
                    other.version()
                ));
                holding = other;
            }
            Err(why) => say(format!(
                "{base} {why}; going on with version {}",
                holding.version()
            )),
        }
    }
    holding
}

/// An answer that is better than what there is; else why it is not.
fn better(
    own: &Holding,
    answer: Result<Holding, String>,
    is_pinned: &dyn Fn(B256) -> bool,
) -> Result<Holding, String> {
    let other = answer.map_err(|why| format!("gives no state ({why})"))?;
    // The id has the hub and the terms in it; who signs for the exchange is the file's word, which the hub has confirmed.
    let same =
        (other.channel(), other.venue, other.operator) == (own.channel(), own.venue, own.operator);
    if !same {
        return Err("answers with another channel or another operator's signature".to_owned());
    }
    if other.version() <= own.version() {
        return Err("knows none newer".to_owned());
    }
    other
        .verify()
        .map_err(|why| format!("gives a state that does not count ({why})"))?;
    match &other.newest {
        Some(newest) if !is_pinned(newest.branch) => {
            Err("gives a state of another branch of the chain".to_owned())
        }
        _ => Ok(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::aliases::U40;
    use alloy_primitives::{Address, keccak256};
    use ring0_channels::batch::{Built, Leaf};
    use ring0_channels::batch_file::BatchFile;
    use ring0_channels::key::Signer;
    use ring0_channels::message::{ChannelState, Hub, KIND_TRADING, Terms, venue_domain};

    fn signer(name: &str) -> Signer {
        Signer::new(keccak256(name).0).unwrap()
    }

    fn at(version: u64, operator: &Signer) -> Holding {
        let (trader, venue) = (signer("trader"), keccak256("venue"));
        let hub = Hub {
            lineage: U256::from(1),
            address: Address::repeat_byte(9),
        };
        let empty = Holding {
            hub,
            venue,
            operator: operator.address(),
            terms: Terms {
                owner: trader.address(),
                cosigner: trader.address(),
                token: Address::ZERO,
                nonce: 1,
            },
            newest: None,
        };
        let leaf = Leaf {
            hub,
            token: Address::ZERO,
            account: 1,
            state: ChannelState {
                channel: empty.channel(),
                version: U40::from(version),
                balance: u128::from(version),
                depositedSeen: 0,
                withdrawnSeen: 0,
                epoch: U40::from(version),
                kind: KIND_TRADING,
                branch: keccak256("block"),
            },
            excess: 0,
        };
        let built = Built::new(U40::from(version), B256::ZERO, vec![leaf]).unwrap();
        let signature = operator.sign(built.batch(), &venue_domain(venue));
        let file = BatchFile::new(&built, signature, 1, &[empty]).unwrap();
        let account = built.account(1).unwrap();
        file.cosigned(trader.sign(&account, &venue_domain(venue)))
            .remove(0)
    }

    #[test]
    fn only_a_newer_state_that_counts_here_takes_the_files_place() {
        let operator = signer("operator");
        let (own, new) = (at(3, &operator), at(4, &operator));
        let here = |_: B256| true;
        assert_eq!(better(&own, Ok(new.clone()), &here), Ok(new.clone()));
        let refused = |answer, is_pinned: &dyn Fn(B256) -> bool, says: &str| {
            let why = better(&own, answer, is_pinned).unwrap_err();
            assert!(why.contains(says), "{why}");
        };
        refused(Ok(own.clone()), &here, "none newer");
        refused(Ok(at(2, &operator)), &here, "none newer");
        refused(
            Err("connection refused".to_owned()),
            &here,
            "connection refused",
        );
        refused(Ok(new.clone()), &|_| false, "another branch");
        // A stranger's state with a higher version, and one that was changed on the way.
        refused(Ok(at(9, &signer("stranger"))), &here, "another operator");
        let mut changed = new;
        changed.newest.as_mut().unwrap().balance += 1;
        refused(Ok(changed), &here, "does not count");
    }
}
