//! How fast it signs: through the socket with a local key, with a key in a PKCS#11 token, and with keys in three processes' shares.

use crate::client::Client;
use crate::home::SignerError;
use crate::message::{Message, State};
use crate::protocol::Outcome;
use crate::stand::{Stand, Trouble};
use crate::transaction::Transaction;
use crate::vault_move::{Spent, VaultMove};
use bitcoin::consensus::encode::serialize_hex;
use bitcoin::hashes::Hash;
use ring0_channels::message::Hub;
use ring0_channels::{Address, B256, U256};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// States in one request.
const REQUEST: usize = 500;
/// Connections at once.
const CONNECTIONS: u8 = 2;
/// Signatures that are checked of each request: all of them would measure the checker.
const CHECKED: usize = 1;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Seconds that each measurement takes.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub seconds: u64,
}

/// Rules of the measured signers.
const RULES: &str = r#"
[[hub]]
name = "main"
lineage = "31337"
address = "0x1111111111111111111111111111111111111111"

[[asset]]
name = "BTC"
network = "regtest"

[[key]]
name = "operator"
kinds = ["state"]
hubs = ["main"]
per_second = 1000000

[[key]]
name = "vault"
kinds = ["vault-move"]
per_second = 1000000
fee_max = "100000"

[[key]]
name = "treasury"
kinds = ["transaction"]
per_second = 1000000
gas_cost_max = "1000000"
[[key.call]]
chain = 1
to = "0x3333333333333333333333333333333333333333"
"#;

/// Measures; JSON with a figure for each and what it must be.
///
/// # Errors
/// A signer does not start, or refuses.
pub fn run(args: &Args) -> Result<Value, SignerError> {
    let time = Duration::from_secs(args.seconds.max(1));
    measure(time).map_err(|error| SignerError::Refused(error.to_string()))
}

fn measure(time: Duration) -> Result<Value, Trouble> {
    let mut stand = Stand::of_this_program()?;
    stand.init("local", RULES)?;
    stand.run("local", &["key", "new", "operator"])?;
    let socket = stand.serve("local")?;
    let local = states(&socket, REQUEST, time)?;
    stand.kill("local");

    let pkcs11 = match stand.soft_hsm()? {
        Some(module) => {
            stand.init("token", &format!("{RULES}{module}"))?;
            stand.run("token", &["key", "new", "operator", "--backend", "pkcs11"])?;
            let socket = stand.serve("token")?;
            let figures = states(&socket, 20, time)?;
            stand.kill("token");
            figures
        }
        None => json!({"skipped": "SoftHSM is not here: apt install softhsm2"}),
    };

    let known = stand.holders(&["a", "b", "c"], RULES)?;
    stand.init("vault", &format!("{RULES}{known}"))?;
    stand.run("vault", &["ceremony", "dkg", "vault", "--threshold", "2"])?;
    let socket = stand.serve("vault")?;
    let frost = moves(&socket, time)?;
    stand.kill("vault");

    stand.run(
        "vault",
        &[
            "ceremony",
            "dkg",
            "treasury",
            "--threshold",
            "2",
            "--scheme",
            "ecdsa",
        ],
    )?;
    let socket = stand.serve("vault")?;
    let dkls = payments(&socket, time)?;
    Ok(json!({
        "local": local,
        "pkcs11": pkcs11,
        "frost_2_of_3": frost,
        "threshold_ecdsa_2_of_3": dkls,
        "floors": {"local_per_second": 8000, "pkcs11_per_second": 200, "frost_ms": 50, "threshold_ecdsa_ms": 5000},
    }))
}

fn state(channel: u64, version: u64) -> Message {
    Message::State(State {
        hub: Hub {
            lineage: U256::from(31337),
            address: Address::repeat_byte(0x11),
        },
        channel: B256::from(U256::from(channel)),
        version,
        balance: 1_000_000 + u128::from(version),
        deposited_seen: 1_000_000,
        withdrawn_seen: 0,
        epoch: version,
        branch: B256::repeat_byte(1),
        account_root: B256::repeat_byte(2),
    })
}

/// States of many channels over some connections until the time is over.
fn states(socket: &Path, request: usize, time: Duration) -> Result<Value, Trouble> {
    let address = Client::connect(socket)?
        .keys()?
        .first()
        .ok_or("no key")?
        .address;
    let started = Instant::now();
    let connection = |number: u8| -> Result<(u64, Vec<Duration>), Trouble> {
        let mut client = Client::connect(socket)?;
        let (mut signed, mut took, mut round) = (0, Vec::new(), 0);
        while started.elapsed() < time {
            // Versions rise slower than time allows them to: a set of channels is used for a while, then another one.
            let (set, version) = (round / 100, round % 100 + 1);
            let first = (u64::from(number) << 48) + set * request as u64;
            let messages: Vec<_> = (0..request as u64)
                .map(|it| state(first + it, version))
                .collect();
            let checked: Vec<_> = messages.iter().take(CHECKED).map(Message::digest).collect();
            let asked = Instant::now();
            let outcomes = client.sign("operator", messages)?;
            took.push(asked.elapsed());
            for (place, outcome) in outcomes.iter().enumerate() {
                match (outcome, checked.get(place)) {
                    (Outcome::Ecdsa(signature), Some(Ok(digest))) => {
                        if signature.recover(*digest) != Ok(address) {
                            return Err("a signature does not fit".into());
                        }
                    }
                    (Outcome::Ecdsa(_), _) => {}
                    (other, _) => return Err(format!("{other:?}").into()),
                }
            }
            signed += outcomes.len() as u64;
            round += 1;
        }
        Ok((signed, took))
    };
    let done = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS)
            .map(|number| scope.spawn(move || connection(number)))
            .collect();
        let join = |it: std::thread::ScopedJoinHandle<'_, Result<_, Trouble>>| {
            it.join().map_err(|_| Trouble::from("a client died"))?
        };
        threads
            .into_iter()
            .map(join)
            .collect::<Result<Vec<_>, Trouble>>()
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let signed: u64 = done.iter().map(|it| it.0).sum();
    let took = done.into_iter().flat_map(|it| it.1).collect();
    Ok(json!({
        "signatures": signed,
        "per_second": (signed as f64 / seconds).round(),
        "messages_a_request": request,
        "request_ms": percentiles(took),
    }))
}

/// Moves of a vault, one after the other.
fn moves(socket: &Path, time: Duration) -> Result<Value, Trouble> {
    let mut client = Client::connect(socket)?;
    let script = client.keys()?.first().ok_or("no key")?.script.clone();
    let (started, mut took, mut number) = (Instant::now(), Vec::new(), 0_u32);
    while started.elapsed() < time {
        let message = vault_move(&script, &script, number)?;
        let asked = Instant::now();
        let outcome = client.sign("vault", vec![message])?.pop();
        took.push(asked.elapsed());
        // The coordinator has checked the signature against the output's key.
        let Some(Outcome::Taproot(_)) = outcome else {
            return Err(format!("{outcome:?}").into());
        };
        number += 1;
    }
    Ok(json!({"signatures": took.len(), "signature_ms": percentiles(took)}))
}

/// Transactions of a key in shares, one after the other.
fn payments(socket: &Path, time: Duration) -> Result<Value, Trouble> {
    let mut client = Client::connect(socket)?;
    let keys = client.keys()?;
    let address = keys
        .iter()
        .find(|it| it.name == "treasury")
        .ok_or("no key")?
        .address;
    let (started, mut took, mut nonce) = (Instant::now(), Vec::new(), 0);
    while started.elapsed() < time {
        let message = payment(nonce);
        let digest = message.digest()?;
        let asked = Instant::now();
        let signature = client.sign_one("treasury", message)?;
        took.push(asked.elapsed());
        if signature.recover(digest) != Ok(address) {
            return Err("a signature does not fit".into());
        }
        nonce += 1;
    }
    Ok(json!({"signatures": took.len(), "signature_ms": percentiles(took)}))
}

/// A transaction that moves nothing.
#[must_use]
pub fn payment(nonce: u64) -> Message {
    Message::Transaction(Transaction {
        chain_id: 1,
        nonce,
        max_priority_fee_per_gas: 1,
        max_fee_per_gas: 10,
        gas_limit: 21_000,
        to: Address::repeat_byte(0x33),
        value: 0,
        data: Default::default(),
    })
}

/// A move of one bitcoin from one script to another; the number makes it another one.
///
/// # Errors
/// A script is no hexadecimal text.
pub fn vault_move(from: &str, to: &str, number: u32) -> Result<Message, Trouble> {
    let transaction = bitcoin::Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![bitcoin::TxIn {
            previous_output: bitcoin::OutPoint {
                txid: bitcoin::Txid::from_byte_array([7; 32]),
                vout: number,
            },
            ..bitcoin::TxIn::default()
        }],
        output: vec![bitcoin::TxOut {
            value: bitcoin::Amount::from_sat(99_999_000),
            script_pubkey: bitcoin::ScriptBuf::from_hex(to)?,
        }],
    };
    Ok(Message::VaultMove(VaultMove {
        network: "regtest".to_owned(),
        transaction: serialize_hex(&transaction),
        spends: vec![Spent {
            amount: 100_000_000,
            script: from.to_owned(),
        }],
        input: 0,
    }))
}

fn percentiles(mut took: Vec<Duration>) -> Value {
    took.sort();
    let at = |share: f64| {
        let place = ((took.len() as f64 * share).ceil() as usize).clamp(1, took.len().max(1)) - 1;
        took.get(place)
            .map(|it| (it.as_secs_f64() * 1e5).round() / 100.0)
    };
    json!({"p50": at(0.5), "p99": at(0.99), "max": at(1.0)})
}
