//! An exchange's rail as a process, for tests that kill it: commands as lines of JSON on standard input, an answer a line.
//!
//! After `arm` it counts every place at which a crash could matter, before and after each write to the journal and to the node's
//! store, and kills itself with SIGKILL at the place that was named.

use std::{
    io::{BufRead, Write},
    num::NonZeroU64,
    path::PathBuf,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use bitcoin::Network;
use lightning::{io, util::persist::KVStoreSync};
use lightning_persister::fs_store::FilesystemStore;
use ring0_bitcoin::rpc::Node as Rpc;
use ring0_lightning::{
    amount::{Msat, Scale},
    book::Progress,
    core_node::CoreNode,
    exchange::Exchange,
    journal::{Account, Entry, FileJournal, Journal},
    node::Options,
    rail::Limits,
};
use serde::Deserialize;
use serde_json::{Value, json};

/// Where and how; the only argument, as JSON.
#[derive(Deserialize)]
struct Setup {
    folder: PathBuf,
    port: u16,
    rpc_port: u16,
    cookie: PathBuf,
    /// Die at this place while opening; 0 for never.
    #[serde(default)]
    die_at: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Command {
    /// Die at the place of this number, from now.
    Arm(i64),
    Invoice {
        account: u32,
        msat: u64,
        expiry_s: u32,
    },
    Withdraw {
        account: u32,
        invoice: String,
        msat: Option<u64>,
        fee_limit: u64,
    },
    Status {
        account: u32,
    },
    Progress {
        hash: String,
    },
}

/// Places left until death; not positive: none.
static LEFT: AtomicI64 = AtomicI64::new(0);

/// One place at which the process may die.
fn place() {
    if LEFT.fetch_sub(1, Ordering::SeqCst) == 1 {
        let ourselves = rustix::process::getpid();
        let _ = rustix::process::kill_process(ourselves, rustix::process::Signal::KILL);
        std::thread::sleep(Duration::from_secs(60)); // the signal comes before anything else
    }
}

struct MortalJournal(FileJournal);

impl Journal for MortalJournal {
    fn append(&mut self, entry: &Entry) -> std::io::Result<()> {
        place();
        self.0.append(entry)?;
        place();
        Ok(())
    }
}

struct MortalStore(FilesystemStore);

impl KVStoreSync for MortalStore {
    fn read(&self, primary: &str, secondary: &str, key: &str) -> Result<Vec<u8>, io::Error> {
        self.0.read(primary, secondary, key)
    }
    fn write(
        &self,
        primary: &str,
        secondary: &str,
        key: &str,
        bytes: Vec<u8>,
    ) -> Result<(), io::Error> {
        place();
        self.0.write(primary, secondary, key, bytes)?;
        place();
        Ok(())
    }
    fn remove(
        &self,
        primary: &str,
        secondary: &str,
        key: &str,
        lazy: bool,
    ) -> Result<(), io::Error> {
        self.0.remove(primary, secondary, key, lazy)
    }
    fn list(&self, primary: &str, secondary: &str) -> Result<Vec<String>, io::Error> {
        self.0.list(primary, secondary)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let setup = std::env::args().nth(1).ok_or("the setup is missing")?;
    let setup: Setup = serde_json::from_str(&setup)?;
    LEFT.store(setup.die_at, Ordering::SeqCst);
    let rpc = Rpc::on_loopback(setup.rpc_port, &setup.cookie)?;
    let (journal, records) = FileJournal::open(&setup.folder.join("rail"))?;
    let options = Options {
        network: Network::Regtest,
        seed: [0xe5; 32],
        store: Arc::new(MortalStore(FilesystemStore::new(setup.folder.join("node")))),
        blocks: Arc::new(CoreNode::new(rpc, Network::Regtest)?),
        listen: Some(([127, 0, 0, 1], setup.port).into()),
        accept_channels: true,
        forward: false,
        delay_blocks: 144,
        confirmations: 3,
        poll: Duration::from_millis(50),
        reserve_sat_per_kw: 2_500,
        log: Arc::new(|line| eprintln!("exchange: {line}")),
    };
    let limits = Limits {
        deposit: Msat::new(1)?..=Msat::new(1_000_000_000_000)?,
        withdrawal: Msat::new(1)?..=Msat::new(1_000_000_000_000)?,
        expiry_max_s: 3_600,
        expiry_margin_s: 30,
    };
    let scale = Scale {
        msat_per_unit: NonZeroU64::new(1_000).ok_or("not zero")?,
    };
    let exchange = Exchange::open(options, MortalJournal(journal), &records, limits, scale)?;
    let mut out = std::io::stdout();
    let node = exchange.node();
    let ready =
        json!({"id": node.id().to_string(), "address": node.wallet().address().to_string()});
    writeln!(out, "{ready}")?;
    for line in std::io::stdin().lock().lines() {
        let answer = match serde_json::from_str(&line?) {
            Ok(command) => {
                obey(&exchange, command).unwrap_or_else(|error| json!({"error": error.to_string()}))
            }
            Err(error) => json!({"error": format!("no command: {error}")}),
        };
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn obey(
    exchange: &Exchange<MortalJournal>,
    command: Command,
) -> Result<Value, Box<dyn std::error::Error>> {
    let progress = |progress: &Progress| match progress {
        Progress::Held => json!({"is": "held"}),
        Progress::Settled { fee, preimage } => {
            json!({"is": "settled", "fee": fee, "preimage": preimage})
        }
        Progress::Released { reason } => json!({"is": "released", "reason": reason}),
    };
    Ok(match command {
        Command::Arm(at) => {
            LEFT.store(at, Ordering::SeqCst);
            json!({})
        }
        Command::Invoice {
            account,
            msat,
            expiry_s,
        } => {
            let invoice =
                exchange.invoice(Account(account), Msat::new(msat)?, "deposit", expiry_s)?;
            json!({"invoice": invoice.to_string()})
        }
        Command::Withdraw {
            account,
            invoice,
            msat,
            fee_limit,
        } => {
            let amount = msat.map(Msat::new).transpose()?;
            progress(&exchange.withdraw(
                Account(account),
                &invoice,
                amount,
                Msat::new(fee_limit)?,
            )?)
        }
        Command::Progress { hash } => {
            let hash = bitcoin::hashes::sha256::Hash::from_str(&hash)?;
            let rail = exchange.rail();
            rail.book()
                .withdrawal(&hash)
                .map_or(json!({"is": "unknown"}), |it| progress(&it.progress))
        }
        Command::Status { account } => {
            let cover = exchange.cover();
            let rail = exchange.rail();
            rail.book().check();
            let funds = rail.book().funds(Account(account));
            json!({
                "available": funds.available, "held": funds.held, "deposited": funds.deposited,
                "withdrawn": funds.withdrawn, "fees": funds.fees, "owed": cover.owed_msat as u64,
                "channels_sat": cover.channels.to_sat(), "wallet_sat": cover.wallet.to_sat(),
                "usable": exchange.node().channels().iter().filter(|channel| channel.is_usable).count(),
                "open": exchange.node().channels().len(),
                "height": exchange.node().best_block().height,
                "failure": exchange.node().failure(),
            })
        }
    })
}
