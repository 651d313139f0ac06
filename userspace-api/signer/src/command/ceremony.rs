//! `ceremony dkg`, `ceremony dealer`, `share refresh`: the coordinator's side, which relays and keeps what is public.

use super::{Args, record};
use crate::backend::frost::generation;
use crate::ceremony::Step;
use crate::client::Client;
use crate::config::Config;
use crate::desk::now_ms;
use crate::home::{Home, SignerError};
use crate::keyring::{self, KeyFile, Place};
use crate::protocol::Request;
use crate::random::{self, Kernel};
use crate::server::key_event;
use alloy_primitives::{B256, hex};
use frost_secp256k1_tr::keys::{IdentifierList, generate_with_dealer};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use zeroize::Zeroizing;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// The holders make a key together: nobody ever has it.
    Dkg(Make),
    /// This process makes a key, deals its shares and forgets it: for holders that cannot talk at one time.
    Dealer(Make),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Make {
    /// The key's name.
    name: String,
    /// Shares that sign.
    #[arg(long, value_name = "T")]
    threshold: u16,
    /// Holders, by their names in signer.toml [default: all of them].
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    holders: Vec<String>,
    /// What the key signs: moves of a vault on a UTXO chain, or messages and transactions of account-based chains.
    #[arg(long, value_enum, default_value_t = Scheme::Taproot)]
    scheme: Scheme,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum Scheme {
    /// BIP-340 by FROST.
    Taproot,
    /// ECDSA by DKLs23; by `dkg` alone.
    Ecdsa,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Refresh {
    /// The key's name.
    name: String,
    /// Holders that go on [default: all of the key's]. Whoever is left out has a worthless share afterwards.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    holders: Vec<String>,
}

type Peers = BTreeMap<u16, Client>;

fn refused(text: impl std::fmt::Display) -> SignerError {
    SignerError::Refused(text.to_string())
}

fn connect(config: &Config, holders: &BTreeMap<u16, String>) -> Result<Peers, SignerError> {
    let mut peers = BTreeMap::new();
    for (number, name) in holders {
        let of = config.holders.iter().find(|it| it.name == *name);
        let socket: Option<&PathBuf> = of.and_then(|it| it.socket.as_ref());
        let none = || {
            refused(format!(
                "signer.toml has no [[holder]] {name:?} with a socket"
            ))
        };
        peers.insert(*number, Client::connect(socket.ok_or_else(none)?)?);
    }
    Ok(peers)
}

fn say(peers: &mut Peers, number: u16, step: Step) -> Result<Value, SignerError> {
    let peer = peers.get_mut(&number).expect("numbers are of the peers");
    let name = step.name();
    peer.call(&Request::Ceremony { step })
        .map_err(|error| refused(format!("holder {number}, step {name}: {error}")))
}

fn text(answer: &Value, field: &str) -> Result<String, SignerError> {
    let text = answer[field].as_str().map(str::to_owned);
    text.ok_or_else(|| refused(format!("a holder's answer has no {field}")))
}

/// All three rounds. Gives the group's key and the public package, which all holders have said alike.
fn together(
    peers: &mut Peers,
    key: &str,
    threshold: u16,
    holders: &BTreeMap<u16, String>,
    refresh: bool,
) -> Result<(String, String), SignerError> {
    let session = B256::from(random::bytes());
    let numbers: Vec<u16> = holders.keys().copied().collect();
    let mut packages = BTreeMap::new();
    for &number in &numbers {
        let step = Step::Begin {
            key: key.to_owned(),
            session,
            threshold,
            holders: holders.clone(),
            number,
            refresh,
        };
        packages.insert(number, text(&say(peers, number, step)?, "package")?);
    }
    let mut for_holder: BTreeMap<u16, BTreeMap<u16, String>> = BTreeMap::new();
    for &from in &numbers {
        let step = Step::Exchange {
            session,
            packages: packages.clone(),
        };
        let answer = say(peers, from, step)?;
        let sealed: Vec<(u16, String)> =
            serde_json::from_value(answer["sealed"].clone()).map_err(refused)?;
        for (to, bytes) in sealed {
            for_holder.entry(to).or_default().insert(from, bytes);
        }
    }
    let mut made = None;
    for &number in &numbers {
        let step = Step::Finish {
            session,
            sealed: for_holder.remove(&number).unwrap_or_default(),
        };
        let answer = say(peers, number, step)?;
        let own = (text(&answer, "public_key")?, text(&answer, "package")?);
        if made.get_or_insert_with(|| own.clone()) != &own {
            return Err(refused(
                "the holders have come to different keys: hold the ceremony anew",
            ));
        }
    }
    made.ok_or_else(|| refused("a key in shares needs holders"))
}

/// Numbers of holders by the names that were given.
fn numbered(config: &Config, given: &[String]) -> BTreeMap<u16, String> {
    let names: Vec<String> = match given {
        [] => config.holders.iter().map(|it| it.name.clone()).collect(),
        given => given.to_vec(),
    };
    (1..).zip(names).collect()
}

pub(crate) fn run(args: &Args, home: &Home, verb: &Verb) -> Result<(), SignerError> {
    let (Verb::Dkg(make) | Verb::Dealer(make)) = verb;
    let config = home.config()?;
    let mut history = args.history(home)?;
    let mut files = keyring::read(&home.keys_file())?;
    if files.iter().any(|it| it.name == make.name) || !keyring::is_name(&make.name) {
        return Err(refused(format!(
            "{:?} is the name of a key already, or no name",
            make.name
        )));
    }
    let holders = numbered(&config, &make.holders);
    if make.threshold < 2 || usize::from(make.threshold) > holders.len() {
        return Err(refused(format!(
            "a threshold is from 2 to the number of holders, here {}",
            holders.len()
        )));
    }
    let mut peers = connect(&config, &holders)?;
    let frost = |holders, (public_key, package)| {
        let threshold = make.threshold;
        (
            Place::Frost {
                threshold,
                holders,
                package,
            },
            public_key,
        )
    };
    let (place, public_key) = match (verb, make.scheme) {
        (Verb::Dkg(_), Scheme::Taproot) => {
            let made = together(&mut peers, &make.name, make.threshold, &holders, false)?;
            frost(holders, made)
        }
        (Verb::Dealer(_), Scheme::Taproot) => {
            let made = deal(&mut peers, make, &holders)?;
            frost(holders, made)
        }
        (Verb::Dkg(_), Scheme::Ecdsa) => {
            let public_key = ecdsa(&mut peers, &make.name, make.threshold, &holders)?;
            let threshold = make.threshold;
            (Place::Dkls { threshold, holders }, public_key)
        }
        (Verb::Dealer(_), Scheme::Ecdsa) => {
            return Err(refused(
                "a key for ECDSA is made by `ceremony dkg`: its holders need secrets of each pair, which no dealer should have",
            ));
        }
    };
    let file = KeyFile {
        name: make.name.clone(),
        place,
        public_key,
        made_ms: now_ms(),
        retired: false,
    };
    let info = keyring::info(&file).map_err(refused)?;
    record(&mut history, key_event(&file, "made in shares"))?;
    files.push(file);
    keyring::write(&home.keys_file(), &files)?;
    let text = format!(
        "{} is {}; its outputs have the script {}",
        info.name, info.public_key, info.script
    );
    args.say(&json!({ "key": info }), &text)
}

/// Rounds of the holders' making a key for ECDSA until all have it.
fn ecdsa(
    peers: &mut Peers,
    key: &str,
    threshold: u16,
    holders: &BTreeMap<u16, String>,
) -> Result<String, SignerError> {
    let session = B256::from(random::bytes());
    let mut inboxes: BTreeMap<u16, BTreeMap<u16, String>> = BTreeMap::new();
    let post = |inboxes: &mut BTreeMap<u16, BTreeMap<u16, String>>, from: u16, answer: &Value| {
        let out: Vec<(u16, String)> =
            serde_json::from_value(answer["out"].clone()).map_err(refused)?;
        for (to, package) in out {
            inboxes.entry(to).or_default().insert(from, package);
        }
        Ok::<(), SignerError>(())
    };
    for &number in holders.keys() {
        let step = Step::EcdsaBegin {
            key: key.to_owned(),
            session,
            threshold,
            holders: holders.clone(),
            number,
        };
        let answer = say(peers, number, step)?;
        post(&mut inboxes, number, &answer)?;
    }
    loop {
        let (mut next, mut made) = (BTreeMap::new(), None);
        for &number in holders.keys() {
            let step = Step::EcdsaRound {
                session,
                inbox: inboxes.remove(&number).unwrap_or_default(),
            };
            let answer = say(peers, number, step)?;
            if answer["public_key"].is_null() {
                post(&mut next, number, &answer)?;
                continue;
            }
            let own = text(&answer, "public_key")?;
            if made.get_or_insert_with(|| own.clone()) != &own {
                return Err(refused(
                    "the holders have come to different keys: hold the ceremony anew",
                ));
            }
        }
        if let Some(made) = made {
            return Ok(made);
        }
        inboxes = next;
    }
}

fn deal(
    peers: &mut Peers,
    make: &Make,
    holders: &BTreeMap<u16, String>,
) -> Result<(String, String), SignerError> {
    let max = u16::try_from(holders.len()).map_err(refused)?;
    let made = generate_with_dealer(max, make.threshold, IdentifierList::Default, &mut Kernel);
    let (shares, package) = made.map_err(refused)?;
    let public_key = hex::encode(package.verifying_key().serialize().map_err(refused)?);
    let package = hex::encode(package.serialize().map_err(refused)?);
    for &number in holders.keys() {
        let identifier = frost_secp256k1_tr::Identifier::try_from(number).map_err(refused)?;
        let share = shares
            .get(&identifier)
            .ok_or_else(|| refused("the dealer made too few shares"))?;
        let share = Zeroizing::new(share.serialize().map_err(refused)?);
        let step = Step::Deal {
            key: make.name.clone(),
            number,
            share: hex::encode(&*share),
            package: package.clone(),
        };
        say(peers, number, step)?;
    }
    Ok((public_key, package))
}

/// New shares for the holders of a key. The coordinator changes over between the holders' having the new and their forgetting the old: at every moment there
/// is a generation that all of them have.
pub(crate) fn refresh(args: &Args, home: &Home, refresh: &Refresh) -> Result<(), SignerError> {
    let config = home.config()?;
    let mut history = args.history(home)?;
    let mut files = keyring::read(&home.keys_file())?;
    let none = || refused(format!("there is no key {:?} in shares", refresh.name));
    let file = files
        .iter_mut()
        .find(|it| it.name == refresh.name)
        .ok_or_else(none)?;
    let Place::Frost {
        threshold,
        holders,
        package,
    } = &mut file.place
    else {
        return Err(none());
    };
    if let Some(unknown) = refresh
        .holders
        .iter()
        .find(|name| !holders.values().any(|it| it == *name))
    {
        return Err(refused(format!(
            "{unknown:?} holds no share of {:?}",
            refresh.name
        )));
    }
    let mut go_on = holders.clone();
    go_on.retain(|_, name| refresh.holders.is_empty() || refresh.holders.contains(name));
    if go_on.len() < usize::from(*threshold) {
        return Err(refused(format!("{threshold} holders have to go on")));
    }
    let mut peers = connect(&config, &go_on)?;
    let (public_key, refreshed) = together(&mut peers, &refresh.name, *threshold, &go_on, true)?;
    if public_key != file.public_key {
        return Err(refused(
            "the refreshed shares are of another key: nothing was changed here, the former shares go on",
        ));
    }
    *package = refreshed;
    *holders = go_on.clone();
    let generation = generation(&hex::decode(&*package).map_err(refused)?);
    record(&mut history, key_event(file, "shares refreshed"))?;
    keyring::write(&home.keys_file(), &files)?;
    for number in go_on.keys() {
        let key = refresh.name.clone();
        say(&mut peers, *number, Step::Keep { key, generation })?;
    }
    let names: Vec<_> = go_on.values().cloned().collect();
    let text = format!(
        "{} has new shares, held by {}",
        refresh.name,
        names.join(", ")
    );
    args.say(&json!({"key": refresh.name, "holders": names}), &text)
}
