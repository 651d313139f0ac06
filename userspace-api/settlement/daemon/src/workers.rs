//! Threads that wait for others in the desk's place: one for each shard's daemon, one for the signer. Each does one job at a time, in order.

use crate::config::Config;
use crate::credits::Credit;
use crate::desk::Message;
use ring0_channels::B256;
use ring0_channels::key::Signature;
use ring0_signer::Client as Signer;
use ring0_signer::message::Message as ToSign;
use ring0_signer::protocol::Seen as Known;
use ring0d::{Client, ClientError, Verb};
use serde_json::Value;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// What a shard's daemon is asked.
#[derive(Clone, Debug)]
pub(crate) enum ShardJob {
    /// Take in an amount of the rail's.
    Credit(Credit),
    /// Debit for a withdrawal.
    Transfer {
        id: B256,
        account: u32,
        asset: u32,
        units: u64,
        number: u64,
    },
    /// Open an account.
    Open { account: u32 },
    /// Settlement marks of an epoch.
    Marks {
        epoch: u64,
        marks: Vec<(u32, u32, i64)>,
    },
    /// Limits of un-co-signed outflow.
    Limits {
        limits: Vec<(u32, u32, Option<u64>)>,
    },
    /// An asset stands still.
    HaltAsset { asset: u32 },
    /// The account of somebody who left by the chain trades no more.
    KillAccount { account: u32 },
    /// How far its records are.
    Status,
    /// What it has of each asset, for the figures of an epoch's cut.
    Figures { epoch: u64 },
}

/// Why a job was not done.
#[derive(Clone, Debug)]
pub(crate) enum JobError {
    /// Nobody answers; whether it was done is not known.
    Gone(String),
    /// It was refused.
    Refused(String),
}

impl JobError {
    pub(crate) fn text(&self) -> &str {
        match self {
            JobError::Gone(text) | JobError::Refused(text) => text,
        }
    }
}

/// Starts the thread of a shard.
pub(crate) fn shard(config: &Arc<Config>, place: u32, desk: Sender<Message>) -> Sender<ShardJob> {
    let (jobs, receiver) = channel::<ShardJob>();
    let config = Arc::clone(config);
    thread::spawn(move || {
        let socket = &config.shards[place as usize].socket;
        let mut client = None;
        for job in receiver {
            let result = match &job {
                ShardJob::Figures { .. } => figures(&config, &mut client, socket),
                _ => ask(&mut client, socket, &verb(&config, &job)),
            };
            let told = Message::Shard {
                shard: place,
                job,
                result,
            };
            if desk.send(told).is_err() {
                return;
            }
        }
    });
    jobs
}

/// One question; after trouble with the connection the next one connects anew.
fn ask(
    client: &mut Option<Client>,
    socket: &std::path::Path,
    verb: &Verb,
) -> Result<Value, JobError> {
    let gone = |error: ClientError| JobError::Gone(error.to_string());
    let connected = match client.take() {
        Some(client) => client,
        None => Client::connect(socket).map_err(gone)?,
    };
    let mut connected = connected;
    match connected.call(verb) {
        Ok(answer) => {
            *client = Some(connected);
            Ok(answer)
        }
        Err(ClientError::Refused(why)) => {
            *client = Some(connected);
            Err(JobError::Refused(why))
        }
        Err(error) => Err(gone(error)),
    }
}

fn verb(config: &Config, job: &ShardJob) -> Verb {
    let asset_name = |asset: u32| config.asset_name(asset).to_owned();
    match job {
        ShardJob::Credit(credit) => Verb::Credit {
            account: config.account_name(credit.account),
            asset: asset_name(credit.asset),
            units: credit.units,
            number: credit.number,
            from: config.rail.clone(),
        },
        ShardJob::Transfer {
            account,
            asset,
            units,
            number,
            ..
        } => Verb::Transfer {
            account: config.account_name(*account),
            asset: asset_name(*asset),
            amount: config.whole(*asset, *units),
            to: config.rail.clone(),
            number: Some(*number),
        },
        ShardJob::Open { account } => Verb::OpenAccount {
            account: config.account_name(*account),
        },
        ShardJob::Marks { epoch, marks } => Verb::Marks {
            epoch: *epoch,
            marks: marks.clone(),
        },
        ShardJob::Limits { limits } => Verb::Limits {
            limits: limits.clone(),
        },
        ShardJob::HaltAsset { asset } => Verb::HaltAsset {
            asset: asset_name(*asset),
        },
        ShardJob::KillAccount { account } => Verb::KillAccount {
            account: config.account_name(*account),
        },
        ShardJob::Status | ShardJob::Figures { .. } => Verb::Status { hash: false },
    }
}

/// What a shard has of each asset, available and held of all accounts, engine units; and how far its records were before and after it was asked.
fn figures(
    config: &Config,
    client: &mut Option<Client>,
    socket: &std::path::Path,
) -> Result<Value, JobError> {
    let next = |client: &mut Option<Client>| {
        let status = ask(client, socket, &Verb::Status { hash: false })?;
        let next = status["next_sequence"].as_u64();
        next.ok_or_else(|| JobError::Gone("its status has no next_sequence".to_owned()))
    };
    let before = next(client)?;
    let answer = ask(client, socket, &Verb::Accounts)?;
    let after = next(client)?;
    let assets = &config.plans[0].assets;
    let mut sums = vec![0_u128; assets.len()];
    for account in answer["accounts"].as_array().into_iter().flatten() {
        for (sum, asset) in sums.iter_mut().zip(assets) {
            for part in ["available", "held"] {
                let text = account["balances"][&asset.name][part].as_str();
                let units = text.and_then(|text| engine_units(text, asset.places()));
                *sum += units.ok_or_else(|| {
                    JobError::Gone(format!("its accounts have no {part} {}", asset.name))
                })?;
            }
        }
    }
    let sums: Vec<String> = sums.iter().map(u128::to_string).collect();
    Ok(serde_json::json!({ "before": before, "after": after, "sums": sums }))
}

/// Whole units with a decimal point as engine units.
fn engine_units(text: &str, places: u32) -> Option<u128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let missing = (places as usize).checked_sub(fraction.len())?;
    format!("{whole}{fraction}{}", "0".repeat(missing))
        .parse()
        .ok()
}

/// What the signer is asked for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Wanted {
    /// A batch's signature.
    Batch(u64),
    /// A withdrawal's.
    Withdrawal(B256),
    /// A move's.
    Move(B256),
}

/// What the signer's thread is told.
pub(crate) enum SignerJob {
    /// Ask for a signature.
    Sign(Wanted, Box<ToSign>),
    /// Its history is another one: what was known of it is not asked for any more.
    Forget,
}

/// A signature with what the signer's history came to.
pub(crate) type Given = (Signature, Known);

/// Starts the signer's thread. `known` is what is known of the signer's history, for others to read.
pub(crate) fn signer(
    config: &Arc<Config>,
    known: Arc<Mutex<Option<Known>>>,
    desk: Sender<Message>,
) -> Sender<SignerJob> {
    let (jobs, receiver) = channel();
    let config = Arc::clone(config);
    thread::spawn(move || sign(&config, &known, &receiver, &desk));
    jobs
}

fn sign(
    config: &Config,
    shared: &Mutex<Option<Known>>,
    jobs: &Receiver<SignerJob>,
    desk: &Sender<Message>,
) {
    let mut client: Option<Signer> = None;
    let tell = |known| *shared.lock().unwrap_or_else(PoisonError::into_inner) = known;
    let mut known = *shared.lock().unwrap_or_else(PoisonError::into_inner);
    for job in jobs {
        let (wanted, message) = match job {
            SignerJob::Sign(wanted, message) => (wanted, *message),
            SignerJob::Forget => {
                (client, known) = (None, None);
                tell(known);
                continue;
            }
        };
        let result = (|| {
            use ring0_signer::ClientError;
            let gone = |error: ClientError| JobError::Gone(error.to_string());
            let mut signer = match client.take() {
                Some(signer) => signer,
                None => {
                    let mut signer = Signer::connect(&config.signer).map_err(gone)?;
                    if let Some(known) = known {
                        signer.expect(known);
                    }
                    signer
                }
            };
            let signed = signer.sign_one(&config.signer_key, message);
            known = signer.seen().or(known);
            tell(known);
            match signed {
                Ok(signature) => {
                    let seen = signer.seen().ok_or_else(|| {
                        JobError::Gone("the signer told nothing of its history".to_owned())
                    })?;
                    client = Some(signer);
                    Ok((signature, seen))
                }
                Err(error @ (ClientError::NotSigned(_) | ClientError::Refused(_))) => {
                    client = Some(signer);
                    Err(JobError::Refused(error.to_string()))
                }
                Err(error) => Err(gone(error)),
            }
        })();
        if desk.send(Message::Signer { wanted, result }).is_err() {
            return;
        }
    }
}
