//! How many traders can sign how often: the daemon's own threads, journal, ledger and socket with a real signer, while a shard's journal grows and traders
//! send signatures that were made before.
//!
//! For `ring0 bench settle`. Everything runs twice on the same records: as fast as it goes, while the traders sign what is published; then by the clock,
//! with those signatures. Beside it stand a chain that has said everything it has to say, and a shard that takes credits and marks into its journal; no
//! engine matches here, and no trader checks its part of a batch.

use crate::chain::Looked;
use crate::config::Config;
use crate::desk::Message;
use crate::events::{Holds, HubEvent, Told};
use crate::lives::Look;
use crate::process::{Process, ProcessError};
use crate::protocol::{CoSignature, Request};
use crate::published::{Batch, Published};
use crate::workers::{JobError, ShardJob};
use ring0_channels::chain::{Block, Seen};
use ring0_channels::key::{Signature, Signer};
use ring0_channels::life::Fact;
use ring0_channels::message::{Hub, Terms};
use ring0_channels::{Address, B256, U256};
use ring0_engine::control::{Control, ControlKind, SettlementMark, TransferIn};
use ring0_journal::{Journal, JournalError, Options as JournalOptions};
use ring0_mq::Identity;
use ring0_settlement::bench::{Random, Spread, Writer};
use ring0_signer::stand::Stand;
use ring0_socket::{Client, Peer};
use serde::Serialize;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long any step may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often a step is looked for.
const LOOK: Duration = Duration::from_micros(200);
/// Connections of traders, and signatures in one request.
const CONNECTIONS: usize = 2;
const REQUEST: usize = 1_000;
/// Parts of a batch's records that come one after the other.
const SLICES: u32 = 10;
/// What everybody has of both assets in the beginning, and what the operator has put into each vault.
const DEPOSIT: u128 = 1 << 40;
const VAULT: u128 = 1 << 60;
/// Height at which everything happened, of the pinned block, and of the chain.
const HAPPENED: u64 = 1;
const PINNED: u64 = 3;
const TIP: u64 = 10;
/// Blocks that lie on what counts.
const CONFIRMATIONS: u64 = 2;

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Traders. Each has two channels and trades in every batch.
    pub traders: u32,
    /// From one cut to the next.
    pub period: Duration,
    /// For how long.
    pub time: Duration,
    /// Choices are made from it.
    pub seed: u64,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Traders who signed every batch.
    pub traders: u32,
    /// Their channels, each with a new state in every batch.
    pub channels: u32,
    /// From one cut to the next, milliseconds.
    pub period_ms: u64,
    /// Batches.
    pub batches: u32,
    /// From the first cut's time to the last batch's last signature, seconds.
    pub seconds: f64,
    /// Fills in them.
    pub fills: u64,
    /// Signatures that are durable and were answered.
    pub cosignatures: u64,
    /// From when a cut was due until every trader's signature was durable and answered.
    pub age: Spread,
    /// Of that, until the operator's signature was published.
    pub published: Spread,
    /// What the traders' signatures took after that.
    pub signed: Spread,
    /// Age in periods, of 99 in 100 batches: 2 is the most that is wanted.
    pub age_p99_periods: f64,
    /// Settlement marks that the shard was given.
    pub marks: u64,
}

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The daemon.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The shard's journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Files.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The signer, or an answer that should not be.
    #[error("{0}")]
    Wrong(String),
}

fn wrong(why: impl ToString) -> BenchError {
    BenchError::Wrong(why.to_string())
}

/// A trader's keys. Nobody needs the owner's here.
struct Trader {
    owner: Address,
    cosigner: Signer,
}

impl Trader {
    fn all(count: u32) -> Vec<Trader> {
        let trader = |number: u32| {
            let name = alloy_primitives::keccak256(number.to_be_bytes());
            Trader {
                owner: Address::from_word(name),
                cosigner: Signer::new(name.0).expect("a hash is a key but once in 2^128"),
            }
        };
        (0..count).map(trader).collect()
    }
}

/// A signer's process, and the hub that it signs for.
struct Operator {
    stand: Stand,
    address: Address,
    venue: B256,
    hub: Hub,
    tokens: [Address; 2],
}

impl Operator {
    fn start() -> Result<Operator, BenchError> {
        let mut stand = Stand::of_this_program()?;
        let hub = Hub {
            lineage: U256::from(31_337),
            address: Address::repeat_byte(0x11),
        };
        let venue = B256::repeat_byte(0x22);
        let tokens = [Address::repeat_byte(0x33), Address::repeat_byte(0x44)];
        stand.init("operator", "").map_err(wrong)?;
        let made = stand.run("operator", &["key", "new", "operator"]);
        let made = made.map_err(wrong)?;
        let address = made["key"]["address"]
            .as_str()
            .and_then(|it| it.parse().ok());
        let address = address.ok_or_else(|| wrong(format!("no address: {made}")))?;
        let rules = format!(
            "[[hub]]\nname = \"main\"\nlineage = \"{}\"\naddress = \"{}\"\n\
             [[asset]]\nname = \"USD\"\nhub = \"main\"\ntoken = \"{}\"\n\
             [[asset]]\nname = \"ETH\"\nhub = \"main\"\ntoken = \"{}\"\n\
             [[key]]\nname = \"operator\"\nkinds = [\"batch\"]\nhubs = [\"main\"]\nvenues = [\"{venue}\"]\nper_second = 1000000\n",
            hub.lineage, hub.address, tokens[0], tokens[1]
        );
        stand.configure("operator", &rules)?;
        stand.serve("operator").map_err(wrong)?;
        Ok(Operator {
            stand,
            address,
            venue,
            hub,
            tokens,
        })
    }

    /// A folder with market and configuration.
    fn configure(&self, folder: &Path, traders: u32) -> Result<Config, BenchError> {
        let market = format!(
            r#"
[shard]
name = "main"
port = 1
ring_slots = 65_536
acks = "durable"

[shard.capacity]
orders = 1_024
accounts = {}

[[asset]]
name = "USD"
decimals = 6
unit_exponent = 0

[[asset]]
name = "ETH"
decimals = 6
unit_exponent = 0

[[instrument]]
symbol = "ETH-USD"
base = "ETH"
quote = "USD"
tick_size = 1
lot_size = 1
tick_value = 3
lot_value = 10
ladder_base = 10_000
ladder_len = 65_536
lots_max = 1_000_000
maker_ppm = -100
taker_ppm = 300

[[rail]]
name = "hub"
"#,
            traders.max(16)
        );
        fs::write(folder.join("market.toml"), market)?;
        let settled = format!(
            r#"
venue = "{}"
market = "market.toml"
store = "store"
sockets = "."

[signer]
socket = {:?}
key = "operator"
operator = "{}"

[batch]
period_ms = 1_000_000_000
records = 1_000_000_000_000
cosign_ms = 600_000
compare_ms = 1_000_000_000

[[shard]]
name = "main"
journal = "journal"

[[hub]]
name = "main"
rpc = "http://127.0.0.1:1"
address = "{}"
lineage = "{}"
confirmations = {CONFIRMATIONS}
pin_every = 100
anchor_s = 3600
token = [{{ asset = "USD", token = "{}" }}, {{ asset = "ETH", token = "{}" }}]
"#,
            self.venue,
            self.stand.socket("operator"),
            self.address,
            self.hub.address,
            self.hub.lineage,
            self.tokens[0],
            self.tokens[1]
        );
        let file = folder.join("settled.toml");
        fs::write(&file, settled)?;
        Config::load(&file).map_err(|error| BenchError::Process(error.into()))
    }

    /// What the chain has to say: every trader's two channels, the vaults, a pinned block.
    fn chain(&self, traders: &[Trader]) -> Looked {
        let block = |height: u64| Block {
            height,
            hash: alloy_primitives::keccak256(height.to_be_bytes()),
            time: height,
        };
        let (mut seen, mut told) = (Vec::new(), Vec::new());
        let mut tell = |height, event| told.push(Told { height, event });
        for token in self.tokens {
            let amount = VAULT as i128;
            tell(HAPPENED, HubEvent::Funded { token, amount });
            for trader in traders {
                let terms = Terms {
                    owner: trader.owner,
                    cosigner: trader.cosigner.address(),
                    token,
                    nonce: 0,
                };
                let deposited = DEPOSIT;
                seen.push(Seen {
                    height: HAPPENED,
                    channel: self.hub.channel(&terms),
                    fact: Fact::Opened { deposited },
                });
                tell(HAPPENED, HubEvent::Opened { terms, deposited });
            }
        }
        let pin = HubEvent::Pinned {
            branch: block(PINNED).hash,
            number: PINNED,
        };
        tell(PINNED, pin);
        let holds = Holds {
            height: TIP - CONFIRMATIONS,
            balance: DEPOSIT * traders.len() as u128 + VAULT,
            vault: VAULT,
            ..Holds::default()
        };
        Looked {
            hub: 0,
            look: Look::Advanced {
                blocks: (0..=TIP).map(block).collect(),
                seen,
            },
            told,
            holds: self.tokens.map(|token| (token, holds)).to_vec(),
            tip: Some(block(TIP)),
        }
    }
}

/// A shard's journal, and what would stand in it of the daemon's requests.
struct Shard {
    journal: Journal,
    writer: Writer,
    credits: usize,
    marks: u64,
}

impl Shard {
    fn begin(folder: &Path) -> Result<Shard, JournalError> {
        let identity = Identity {
            layout_hash: 1,
            boot_id: [1; 16],
            arena_id: 0,
        };
        let options = JournalOptions::default();
        let mut shard = Shard {
            journal: Journal::open(&folder.join("journal"), &identity, 0, options)?,
            writer: Writer::default(),
            credits: 0,
            marks: 0,
        };
        shard.writer.listings(1);
        shard.write()?;
        Ok(shard)
    }

    /// What was made goes to the disk. Gives the sequence behind it.
    fn write(&mut self) -> Result<u64, JournalError> {
        self.journal.append(&self.writer.bytes)?;
        self.writer.bytes.clear();
        Ok(self.journal.sync()?.next_sequence)
    }

    fn answer(&mut self, job: &ShardJob) -> Result<Value, JobError> {
        let gone = |error: JournalError| JobError::Gone(error.to_string());
        match job {
            ShardJob::Credit(credit) => {
                let into = TransferIn {
                    account: credit.account,
                    asset: credit.asset,
                    amount: credit.units,
                    number: credit.number,
                    from: 7,
                    reserved: 0,
                };
                let command = Control::new(ControlKind::TransferIn, &into);
                self.writer.control(&command);
                self.credits += 1;
                // Thousands come at once: what is not on the disk yet is said again.
                Ok(json!({ "ok": true }))
            }
            ShardJob::Marks { epoch, marks } => {
                for (account, asset, units) in marks {
                    let mark = SettlementMark {
                        account: *account,
                        asset: *asset,
                        covered: *units,
                        epoch: *epoch,
                    };
                    let command = Control::new(ControlKind::SettlementMark, &mark);
                    self.writer.control(&command);
                }
                self.marks += marks.len() as u64;
                let next = self.write().map_err(gone)?;
                Ok(json!({ "ok": true, "next_sequence": next }))
            }
            ShardJob::Status => {
                let next = self.write().map_err(gone)?;
                Ok(json!({ "ok": true, "next_sequence": next }))
            }
            // Not of the cut's own records: the ledger's figures stand for it.
            ShardJob::Figures { .. } => Ok(json!({ "ok": true, "before": 0 })),
            ShardJob::Limits { .. } => Ok(json!({ "ok": true })),
            other => Err(JobError::Refused(format!("{other:?} does not come here"))),
        }
    }
}

/// A daemon that runs, its shard and its traders.
struct Field<'a> {
    desk: Sender<Message>,
    published: Published,
    records: Box<dyn Fn() -> u64 + Send + Sync + 'a>,
    shard: Arc<Mutex<Shard>>,
    socket: std::path::PathBuf,
    traders: &'a [Trader],
}

impl Field<'_> {
    fn ask(&self, request: Request) -> Result<Receiver<Value>, BenchError> {
        let peer = Peer {
            user: rustix::process::geteuid().as_raw(),
            is_operator: true,
        };
        let (reply, answer) = sync_channel(1);
        let message = Message::Ask {
            peer,
            request,
            reply,
        };
        let sent = self.desk.send(message);
        sent.map_err(|_| wrong("the desk has ended"))?;
        Ok(answer)
    }

    fn answered(answer: &Receiver<Value>) -> Result<(), BenchError> {
        let answer = answer.recv_timeout(PATIENCE).map_err(wrong)?;
        match answer["ok"].as_bool() {
            Some(true) => Ok(()),
            _ => Err(wrong(answer)),
        }
    }

    fn wait(&self, what: &str, is_there: impl Fn(&Self) -> bool) -> Result<(), BenchError> {
        let end = Instant::now() + PATIENCE;
        while !is_there(self) {
            if Instant::now() > end {
                let status = self.ask(Request::Status)?.recv_timeout(PATIENCE);
                return Err(wrong(format!("{what} does not come: {status:?}")));
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    fn shard(&self) -> std::sync::MutexGuard<'_, Shard> {
        self.shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The traders are registered, the chain says what it has to say, every deposit comes into the shard.
    fn set_up(&self, operator: &Operator) -> Result<(), BenchError> {
        let mut answers = Vec::new();
        for (account, trader) in (0..).zip(self.traders) {
            answers.push(self.ask(Request::Register {
                account,
                owner: trader.owner,
                cosigner: trader.cosigner.address(),
                grants: Vec::new(),
            })?);
        }
        for answer in &answers {
            Field::answered(answer)?;
        }
        let (done, durable) = sync_channel(1);
        let looked = Box::new(operator.chain(self.traders));
        let sent = self.desk.send(Message::Looked(looked, done));
        sent.map_err(|_| wrong("the desk has ended"))?;
        durable.recv_timeout(PATIENCE).map_err(wrong)?;
        let all = 2 * self.traders.len();
        self.wait("all deposits", |it| it.shard().credits == all)?;
        let next = self.shard().write()?;
        self.wait("all deposits in the ledger", |it| {
            (it.records)() + 1 >= next
        })
    }

    /// Fills of a batch: everybody with somebody, once.
    fn fills(&self, random: &mut Random, slice: &[u32]) -> Result<u64, BenchError> {
        let mut shard = self.shard();
        for pair in slice.chunks_exact(2) {
            shard.writer.fill(random, 0, pair[0], pair[1]);
        }
        Ok(shard.write()?)
    }

    /// A batch is cut of all records below `next`, made and signed by the operator.
    fn batch(&self, epoch: u64, next: u64) -> Result<Arc<Batch>, BenchError> {
        self.wait("the records", |it| (it.records)() + 1 >= next)?;
        Field::answered(&self.ask(Request::Cut)?)?;
        let newest = |it: &Self| it.published.get().filter(|it| it.epoch == epoch);
        self.wait("the batch", |it| newest(it).is_some())?;
        newest(self).ok_or_else(|| wrong("the batch is another one"))
    }

    /// Everybody's signatures go to the daemon, by several connections.
    fn send(
        &self,
        clients: &mut [Client],
        epoch: u64,
        signatures: &[Signature],
    ) -> Result<(), BenchError> {
        let share = signatures.len().div_ceil(clients.len());
        let mut shares = (0_usize..).step_by(share).zip(signatures.chunks(share));
        thread::scope(|scope| {
            let sending: Vec<_> = clients
                .iter_mut()
                .zip(&mut shares)
                .map(|(client, (first, share))| {
                    scope.spawn(move || send_share(client, epoch, first, share))
                })
                .collect();
            sending
                .into_iter()
                .try_for_each(|it| it.join().map_err(|_| wrong("a client's thread ended"))?)
        })
    }

    /// What everybody signs of a batch.
    fn sign(&self, batch: &Batch) -> Result<Vec<Signature>, BenchError> {
        let share = self.traders.len().div_ceil(CONNECTIONS);
        thread::scope(|scope| {
            let shares = (0_usize..).step_by(share).zip(self.traders.chunks(share));
            let signing: Vec<_> = shares
                .map(|(first, traders)| {
                    scope.spawn(move || {
                        let sign = |(account, trader): (u32, &Trader)| {
                            let part = batch.parts.get(&account);
                            let part = part.ok_or_else(|| wrong("a trader has no part"))?;
                            Ok(trader.cosigner.sign_digest(part.digest))
                        };
                        (first as u32..).zip(traders).map(sign).collect()
                    })
                })
                .collect();
            let mut all = Vec::with_capacity(self.traders.len());
            for it in signing {
                let share: Result<Vec<Signature>, BenchError> =
                    it.join().map_err(|_| wrong("a trader's thread ended"))?;
                all.extend(share?);
            }
            Ok(all)
        })
    }

    fn clients(&self) -> Result<Vec<Client>, BenchError> {
        let client = |_| Client::patient(&self.socket, PATIENCE).map_err(wrong);
        (0..CONNECTIONS).map(client).collect()
    }
}

fn send_share(
    client: &mut Client,
    epoch: u64,
    first: usize,
    share: &[Signature],
) -> Result<(), BenchError> {
    for (at, signatures) in (first..).step_by(REQUEST).zip(share.chunks(REQUEST)) {
        let part = |(account, signature): (usize, &Signature)| CoSignature {
            account: account as u32,
            epoch,
            signature: *signature,
        };
        let parts: Vec<CoSignature> = (at..).zip(signatures).map(part).collect();
        let sent = parts.len() as u64;
        let answer = client.call(&Request::Cosign { parts }).map_err(wrong)?;
        if answer["accepted"].as_u64() != Some(sent) {
            return Err(wrong(format!("not all signatures are taken: {answer}")));
        }
    }
    Ok(())
}

/// Who trades with whom in a batch: neighbours.
fn pairs(random: &mut Random, traders: u32) -> Vec<u32> {
    let mut order: Vec<u32> = (0..traders).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, random.below(at as u32 + 1) as usize);
    }
    order
}

/// Starts a daemon in a folder and lets `work` have it.
fn with_daemon<T>(
    folder: &Path,
    operator: &Operator,
    traders: &[Trader],
    work: impl FnOnce(&Field<'_>) -> Result<T, BenchError>,
) -> Result<T, BenchError> {
    let config = Arc::new(operator.configure(folder, traders.len() as u32)?);
    let shard = Arc::new(Mutex::new(Shard::begin(folder)?));
    let mut desk = None;
    let process = Process::open(&config, |_, sender| {
        desk = Some(sender.clone());
        let (jobs, receiver) = channel();
        let (shard, desk) = (Arc::clone(&shard), sender.clone());
        thread::spawn(move || {
            for job in receiver {
                let mut own = shard.lock().unwrap_or_else(PoisonError::into_inner);
                let result = own.answer(&job);
                drop(own);
                let told = Message::Shard {
                    shard: 0,
                    job,
                    result,
                };
                if desk.send(told).is_err() {
                    return;
                }
            }
        });
        // Nobody takes what is sent to the chain: there is no key that pays for it.
        Ok((vec![jobs], vec![channel().0]))
    })?;
    let numbers = Arc::clone(&process.numbers);
    let field = Field {
        desk: desk.ok_or_else(|| wrong("no desk"))?,
        published: process.published.clone(),
        records: Box::new(move || numbers.records_taken()),
        shard,
        socket: config.sockets.join("settled.sock"),
        traders,
    };
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let stop = &stop;
        let running = scope.spawn(move || process.run(stop));
        let done = field.set_up(operator).and_then(|()| work(&field));
        stop.store(true, Ordering::Release);
        let ended = running
            .join()
            .map_err(|_| wrong("the desk's thread ended"))?;
        let done = done?;
        ended?;
        Ok(done)
    })
}

/// Measures. `folder` is empty, and is left with two daemons' stores in it.
///
/// # Errors
/// No signer beside this program, no disk; or a signature that is not taken, which would be the daemon's error.
pub fn cosigners(folder: &Path, options: &Options) -> Result<Report, BenchError> {
    let Options {
        traders: count,
        period,
        time,
        seed,
    } = *options;
    let batches = time.div_duration_f64(period).ceil().max(1.0) as u32;
    let operator = Operator::start()?;
    let traders = Trader::all(count);
    let inside = |name: &str| {
        let folder = folder.join(name);
        fs::create_dir_all(&folder).map(|()| folder)
    };

    let signatures: Vec<Vec<Signature>> =
        with_daemon(&inside("signing")?, &operator, &traders, |field| {
            let (mut random, mut clients) = (Random(seed), field.clients()?);
            (1..=u64::from(batches))
                .map(|epoch| {
                    let order = pairs(&mut random, count);
                    let next = field.fills(&mut random, &order)?;
                    let batch = field.batch(epoch, next)?;
                    let signed = field.sign(&batch)?;
                    field.send(&mut clients, epoch, &signed)?;
                    Ok(signed)
                })
                .collect::<Result<_, BenchError>>()
        })?;

    // The signer gives one root an epoch: another run of the same venue is a new one to it.
    drop(operator);
    let operator = Operator::start()?;
    with_daemon(&inside("clock")?, &operator, &traders, |field| {
        measure(field, options, &signatures)
    })
}

/// By the clock, with signatures that were made before.
fn measure(
    field: &Field<'_>,
    options: &Options,
    signatures: &[Vec<Signature>],
) -> Result<Report, BenchError> {
    let (count, period) = (options.traders, options.period);
    let (mut random, mut clients) = (Random(options.seed), field.clients()?);
    let began = Instant::now();
    // The traders sign one batch while the records of the next one come.
    let (given, published) = channel::<(u64, Instant)>();
    let (fills, times) = thread::scope(|scope| {
        let signing = scope.spawn(move || {
            let mut times = Vec::new();
            for (epoch, published) in published {
                let own = &signatures[epoch as usize - 1];
                field.send(&mut clients, epoch, own)?;
                let due = began + period * epoch as u32;
                times.push((due.elapsed(), published - due, published.elapsed()));
            }
            Ok::<_, BenchError>(times)
        });
        let mut fills = 0;
        let mut trade = || {
            for epoch in 1..=signatures.len() as u32 {
                let order = pairs(&mut random, count);
                let slice = order.len().div_ceil(SLICES as usize).next_multiple_of(2);
                let (mut next, begins) = (0, began + period * (epoch - 1));
                for (number, slice) in (0_u32..).zip(order.chunks(slice)) {
                    sleep_until(begins + period * number / SLICES);
                    next = field.fills(&mut random, slice)?;
                    fills += (slice.len() / 2) as u64;
                }
                sleep_until(begins + period);
                field.batch(epoch.into(), next)?;
                if given.send((epoch.into(), Instant::now())).is_err() {
                    break; // it has failed and says why
                }
            }
            Ok::<_, BenchError>(())
        };
        let traded = trade();
        drop(given);
        let times = signing
            .join()
            .map_err(|_| wrong("the traders' thread ended"))?;
        let times = times?;
        traded?;
        Ok::<_, BenchError>((fills, times))
    })?;
    let seconds = began.elapsed().as_secs_f64();
    let age = Spread::of(times.iter().map(|it| it.0).collect());
    Ok(Report {
        traders: count,
        channels: 2 * count,
        period_ms: period.as_millis() as u64,
        batches: times.len() as u32,
        seconds,
        fills,
        cosignatures: u64::from(count) * times.len() as u64,
        age_p99_periods: age.p99_ms / (period.as_secs_f64() * 1e3),
        age,
        published: Spread::of(times.iter().map(|it| it.1).collect()),
        signed: Spread::of(times.iter().map(|it| it.2).collect()),
        marks: field.shard().marks,
    })
}

fn sleep_until(at: Instant) {
    thread::sleep(at.saturating_duration_since(Instant::now()));
}
