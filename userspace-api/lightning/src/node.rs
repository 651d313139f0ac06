//! A Lightning node in this process: LDK's parts, put together, with one thread that turns them.
//!
//! It knows channels and payments and no accounts: whoever has those implements [`Payments`]. It knows direct peers and the ways that an
//! invoice itself names; no gossip is kept, no channel is announced, nothing is forwarded unless [`Options::forward`] says so.
//!
//! Always true: what a peer hears was on the disk before (`monitors.rs`); an event counts as handled when [`Payments`] has taken it,
//! and comes again otherwise, also after a restart. When the disk or [`Payments`] fails, the node stops ([`Node::failure`]) and what
//! it has in memory is given up: the disk says what happened.

use std::{
    collections::HashSet,
    error::Error,
    net::SocketAddr,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bitcoin::{
    Amount, Network, Transaction,
    hashes::{Hash, sha256},
    hex::DisplayHex,
    secp256k1::PublicKey,
};
use lightning::{
    chain::{
        BestBlock, Filter, Listen,
        chaininterface::{ConfirmationTarget, FeeEstimator},
        chainmonitor::ChainMonitor,
        channelmonitor::Balance,
    },
    events::{
        Event, EventsProvider, FundingInfo, PaymentPurpose, ReplayEvent,
        bump_transaction::sync::{BumpTransactionEventHandlerSync, WalletSync},
    },
    ln::{
        channel_state::ChannelDetails,
        channelmanager::{
            Bolt11InvoiceParameters, Bolt11PaymentError, ChainParameters, ChannelManager,
            ChannelManagerReadArgs, PaymentId, RecentPaymentDetails, Retry, RetryableSendFailure,
        },
        peer_handler::{IgnoringMessageHandler, MessageHandler, PeerManager},
        types::ChannelId,
    },
    onion_message::messenger::NullMessageRouter,
    routing::{
        gossip::NetworkGraph,
        router::{DefaultRouter, RouteParametersConfig},
        scoring::FixedPenaltyScorer,
    },
    sign::{EntropySource, InMemorySigner, KeysManager, NodeSigner},
    types::payment::PaymentHash,
    util::{
        anchor_channel_reserves::{
            AnchorChannelReserveContext, can_support_additional_anchor_channel,
            get_reserve_per_channel,
        },
        config::UserConfig,
        logger::{Level, Logger, Record},
        persist::{
            ARCHIVED_CHANNEL_MONITOR_PERSISTENCE_PRIMARY_NAMESPACE,
            CHANNEL_MANAGER_PERSISTENCE_KEY, CHANNEL_MONITOR_PERSISTENCE_PRIMARY_NAMESPACE,
            KVStoreSync, OUTPUT_SWEEPER_PERSISTENCE_KEY, read_channel_monitors,
        },
        ser::{ReadableArgs, Writeable},
        sweep::OutputSweeperSync,
        wakers::Sleeper,
    },
};
use lightning_invoice::{Bolt11Invoice, Bolt11InvoiceDescription, Description};
use lightning_net_tokio::SocketDescriptor;

use crate::{
    amount::Msat,
    blocks::{BlockSource, SourceError, follow},
    monitors::MonitorQueue,
    outbox::{FeeRates, Outbox},
    wallet::{Wallet, WalletError},
};

/// Where the node's state is kept: `lightning_persister::fs_store::FilesystemStore`, or another that is durable when `write` returns.
pub type Store = Arc<dyn KVStoreSync + Send + Sync>;

/// The wallet's key in the store.
const WALLET_KEY: &str = "wallet";
/// How often LDK wants to be told that time passes.
const TICK: Duration = Duration::from_secs(60);
/// How often connections are looked after.
const PEER_TICK: Duration = Duration::from_secs(10);
/// How long a connection attempt, with the handshake, may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a payment is tried again by other ways.
const RETRY_FOR: Duration = Duration::from_secs(60);
/// Rounds in which all listeners come to one block at the start, while the chain goes on.
const FOLLOW_ROUNDS: usize = 100;

/// Who has the accounts. Called by the node's thread; each call may come again with the same payment, also after a restart.
pub trait Payments: Send + Sync {
    /// Whether a payment that has arrived is claimed; otherwise it goes back.
    fn claimable(&self, hash: sha256::Hash, amount: Msat) -> bool;

    /// A payment was claimed.
    ///
    /// # Errors
    /// It is not written down: the node stops, and says it again when it is started again.
    fn claimed(&self, hash: sha256::Hash, amount: Msat) -> Result<(), Box<dyn Error>>;

    /// The payee has it; `fee` is what the way cost, if LDK knows.
    ///
    /// # Errors
    /// As [`Payments::claimed`].
    fn sent(
        &self,
        hash: sha256::Hash,
        fee: Option<Msat>,
        preimage: &str,
    ) -> Result<(), Box<dyn Error>>;

    /// It failed, and no part of it is on its way any more.
    ///
    /// # Errors
    /// As [`Payments::claimed`].
    fn failed(&self, hash: sha256::Hash, reason: &str) -> Result<(), Box<dyn Error>>;
}

/// What a node is made of.
#[derive(Clone)]
pub struct Options {
    /// Which of Bitcoin's networks.
    pub network: Network,
    /// All keys come from it. Another seed is another node; a lost one cannot be replaced.
    pub seed: [u8; 32],
    /// Its state.
    pub store: Store,
    /// Its chain.
    pub blocks: Arc<dyn BlockSource>,
    /// Where peers connect to; port 0 for any.
    pub listen: Option<SocketAddr>,
    /// Whether peers may open channels to this node.
    pub accept_channels: bool,
    /// Whether payments are forwarded between this node's channels.
    pub forward: bool,
    /// Blocks that a peer's balance waits when the peer leaves alone: our time to look. 144 is a day.
    pub delay_blocks: u16,
    /// Blocks, with the first, before a channel is used.
    pub confirmations: u32,
    /// How often the chain's node is asked for blocks.
    pub poll: Duration,
    /// The rate at which the wallet must be able to get every channel off the chain.
    pub reserve_sat_per_kw: u32,
    /// Hears what LDK says, from "info" up.
    pub log: Arc<dyn Fn(&str) + Send + Sync>,
}

/// A node that is not started, or a call without effect.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The store.
    #[error("the node's state cannot be kept: {0}; look after the disk and start again")]
    Store(#[from] lightning::io::Error),
    /// What the store has cannot be read.
    #[error(
        "the node's {part} cannot be read: {reason}; restore all of the node's folder from one newest copy. An older copy is dangerous: peers take what an old state gives"
    )]
    Damaged {
        /// Which part.
        part: &'static str,
        /// LDK's words.
        reason: String,
    },
    /// The chain.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The system.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// A peer.
    #[error("no connection to {peer} at {address}; is it running, and is that its key?")]
    Unreachable {
        /// Its key.
        peer: PublicKey,
        /// Where it was looked for.
        address: SocketAddr,
    },
    /// LDK does not do it.
    #[error("{what}: {reason}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// LDK's words.
        reason: String,
    },
    /// The wallet.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The wallet could not pay for another channel's end.
    #[error(
        "another channel needs {needs} in the node's wallet, in a coin of its own beside those of the other channels, to leave it when fees are high; {has} in {coins} coins are there; pay in at {address}"
    )]
    Reserve {
        /// For the channel, and to leave it.
        needs: Amount,
        /// Spendable.
        has: Amount,
        /// In so many coins: two channels that end in one block cannot share one.
        coins: usize,
        /// Where to.
        address: String,
    },
    /// It has stopped.
    #[error("the node has stopped: {0}; start it again when the reason is gone")]
    Stopped(String),
}

/// Why a payment was not sent.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PayError {
    /// It is under way already; how it ends is told to [`Payments`].
    #[error("it is under way already")]
    UnderWay,
    /// It was not sent and will not be.
    #[error("{0}")]
    Never(String),
}

struct Log(Arc<dyn Fn(&str) + Send + Sync>);

impl Logger for Log {
    fn log(&self, record: Record<'_>) {
        if record.level >= Level::Info {
            self.0(&format!(
                "{} {}: {}",
                record.level, record.module_path, record.args
            ));
        }
    }
}

type NoFilter = Arc<dyn Filter + Send + Sync>;
type Monitors = ChainMonitor<
    InMemorySigner,
    NoFilter,
    Arc<Outbox>,
    Arc<FeeRates>,
    Arc<Log>,
    Arc<MonitorQueue>,
    Arc<KeysManager>,
>;
type Scorer = RwLock<FixedPenaltyScorer>;
type Router = DefaultRouter<
    Arc<NetworkGraph<Arc<Log>>>,
    Arc<Log>,
    Arc<KeysManager>,
    Arc<Scorer>,
    (),
    FixedPenaltyScorer,
>;
type Manager = ChannelManager<
    Arc<Monitors>,
    Arc<Outbox>,
    Arc<KeysManager>,
    Arc<KeysManager>,
    Arc<KeysManager>,
    Arc<FeeRates>,
    Arc<Router>,
    Arc<NullMessageRouter>,
    Arc<Log>,
>;
type Peers = PeerManager<
    SocketDescriptor,
    Arc<Manager>,
    IgnoringMessageHandler,
    IgnoringMessageHandler,
    Arc<Log>,
    IgnoringMessageHandler,
    Arc<KeysManager>,
    Arc<Monitors>,
>;
type Sweeper = OutputSweeperSync<
    Arc<Outbox>,
    Arc<Wallet>,
    Arc<FeeRates>,
    NoFilter,
    Store,
    Arc<Log>,
    Arc<KeysManager>,
>;
type Bumper = BumpTransactionEventHandlerSync<
    Arc<Outbox>,
    Arc<WalletSync<Arc<Wallet>, Arc<Log>>>,
    Arc<KeysManager>,
    Arc<Log>,
>;

/// What the node's thread needs to remember between turns.
struct Turning {
    at: BestBlock,
    polled: Instant,
    ticked: Instant,
    peers_ticked: Instant,
    /// The wallet as it is on the disk.
    wallet: Vec<u8>,
}

struct Parts {
    options: Options,
    payments: Arc<dyn Payments>,
    outbox: Arc<Outbox>,
    fees: Arc<FeeRates>,
    queue: Arc<MonitorQueue>,
    monitors: Arc<Monitors>,
    manager: Arc<Manager>,
    peers: Arc<Peers>,
    wallet: Arc<Wallet>,
    sweeper: Sweeper,
    bumper: Bumper,
    turning: Mutex<Turning>,
    failure: Mutex<Option<String>>,
    stopping: AtomicBool,
}

/// A node. Dropping it stops its thread and its connections; what it promised is on the disk.
pub struct Node {
    parts: Arc<Parts>,
    runtime: Option<tokio::runtime::Runtime>,
    address: Option<SocketAddr>,
    thread: Option<JoinHandle<()>>,
}

fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn user_config(options: &Options) -> UserConfig {
    let mut config = UserConfig::default();
    config.channel_handshake_config.minimum_depth = options.confirmations;
    config.channel_handshake_config.our_to_self_delay = options.delay_blocks;
    config
        .channel_handshake_config
        .negotiate_anchors_zero_fee_htlc_tx = true;
    // A rail's payments may be as large as its channels.
    config
        .channel_handshake_config
        .max_inbound_htlc_value_in_flight_percent_of_channel = 100;
    config.channel_handshake_limits.trust_own_funding_0conf = false;
    config.manually_accept_inbound_channels = true; // after a look at the wallet's reserve
    config.accept_forwards_to_priv_channels = options.forward;
    config
}

/// The store has no such key yet: then it is `None`.
fn stored(store: &Store, key: &str) -> Result<Option<Vec<u8>>, lightning::io::Error> {
    match store.read("", "", key) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == lightning::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Node {
    /// Reads the node from its store, or makes a new one there, and brings it to the end of the chain. Events that were not handled
    /// come with the first [`Node::turn`]; peers are heard and the node's thread runs after [`Node::run`].
    ///
    /// # Errors
    /// See [`NodeError`].
    pub fn load(options: Options, payments: Arc<dyn Payments>) -> Result<Self, NodeError> {
        let now = since_epoch();
        let keys = Arc::new(KeysManager::new(
            &options.seed,
            now.as_secs(),
            now.subsec_nanos(),
            true,
        ));
        let log = Arc::new(Log(options.log.clone()));
        let (outbox, fees) = (Arc::new(Outbox::default()), Arc::new(FeeRates::new()));
        fees.refresh(&*options.blocks)?;
        let queue = Arc::new(MonitorQueue::default());
        let monitors: Arc<Monitors> = Arc::new(ChainMonitor::new(
            None,
            outbox.clone(),
            log.clone(),
            fees.clone(),
            queue.clone(),
            keys.clone(),
            keys.get_peer_storage_key(),
        ));
        let graph = Arc::new(NetworkGraph::new(options.network, log.clone()));
        let scorer = Arc::new(RwLock::new(FixedPenaltyScorer::with_penalty(0)));
        let router = Arc::new(DefaultRouter::new(
            graph,
            log.clone(),
            keys.clone(),
            scorer,
            (),
        ));
        let tip = options.blocks.tip()?;
        let store = &options.store;

        let known = read_channel_monitors(store.clone(), keys.clone(), keys.clone())?;
        let manager: Manager = match stored(store, CHANNEL_MANAGER_PERSISTENCE_KEY)? {
            Some(bytes) => {
                let arguments = ChannelManagerReadArgs::new(
                    keys.clone(),
                    keys.clone(),
                    keys.clone(),
                    fees.clone(),
                    monitors.clone(),
                    outbox.clone(),
                    router,
                    Arc::new(NullMessageRouter {}),
                    log.clone(),
                    user_config(&options),
                    known.iter().map(|(_, monitor)| monitor).collect(),
                );
                <(bitcoin::BlockHash, Manager)>::read(&mut &bytes[..], arguments)
                    .map_err(|error| damaged("channel manager", &error))?
                    .1
            }
            None if known.is_empty() => ChannelManager::new(
                fees.clone(),
                monitors.clone(),
                outbox.clone(),
                router,
                Arc::new(NullMessageRouter {}),
                log.clone(),
                keys.clone(),
                keys.clone(),
                keys.clone(),
                user_config(&options),
                ChainParameters {
                    network: options.network,
                    best_block: tip,
                },
                u32::try_from(now.as_secs()).unwrap_or(u32::MAX),
            ),
            None => {
                let reason = "it is missing, and there are channels".to_owned();
                let part = "channel manager";
                return Err(NodeError::Damaged { part, reason });
            }
        };
        let wallet = Arc::new(match stored(store, WALLET_KEY)? {
            Some(bytes) => Wallet::read(&options.seed, options.network, &bytes)
                .map_err(|error| damaged("wallet", &error))?,
            None => Wallet::new(&options.seed, options.network, tip),
        });
        let sweeper: Sweeper = match stored(store, OUTPUT_SWEEPER_PERSISTENCE_KEY)? {
            Some(bytes) => {
                let arguments = (
                    outbox.clone(),
                    fees.clone(),
                    None,
                    keys.clone(),
                    wallet.clone(),
                    store.clone(),
                    log.clone(),
                );
                <(BestBlock, Sweeper)>::read(&mut &bytes[..], arguments)
                    .map_err(|error| damaged("list of outputs to sweep", &error))?
                    .1
            }
            None => Sweeper::new(
                tip,
                outbox.clone(),
                fees.clone(),
                None,
                keys.clone(),
                wallet.clone(),
                store.clone(),
                log.clone(),
            ),
        };

        // Each is as of a block of its own; all come to one before they work together.
        let blocks = &*options.blocks;
        let known: Vec<_> = known
            .into_iter()
            .map(|(_, monitor)| (monitor, outbox.clone(), fees.clone(), log.clone()))
            .collect();
        let mut at = manager.current_best_block();
        let mut together = false;
        for _ in 0..FOLLOW_ROUNDS {
            at = follow(blocks, manager.current_best_block(), &manager)?;
            let mut all = vec![
                follow(blocks, wallet.best_block(), &*wallet)?,
                follow(blocks, sweeper.current_best_block(), &sweeper)?,
            ];
            for monitor in &known {
                all.push(follow(blocks, monitor.0.current_best_block(), monitor)?);
            }
            together = all.iter().all(|other| *other == at);
            if together {
                break;
            }
        }
        if !together {
            return Err(SourceError("its chain does not stand still".to_owned()).into());
        }
        for (monitor, ..) in known {
            let channel = monitor.channel_id();
            monitors
                .load_existing_monitor(channel, monitor)
                .map_err(|()| NodeError::Damaged {
                    part: "channel monitor",
                    reason: format!("{channel} is there twice"),
                })?;
        }

        let manager = Arc::new(manager);
        let peers = Arc::new(PeerManager::new(
            MessageHandler {
                chan_handler: manager.clone(),
                route_handler: IgnoringMessageHandler {},
                onion_message_handler: IgnoringMessageHandler {},
                custom_message_handler: IgnoringMessageHandler {},
                send_only_message_handler: monitors.clone(),
            },
            u32::try_from(now.as_secs()).unwrap_or(u32::MAX),
            &keys.get_secure_random_bytes(),
            log.clone(),
            keys.clone(),
        ));
        let bumper = Bumper::new(
            outbox.clone(),
            Arc::new(WalletSync::new(wallet.clone(), log.clone())),
            keys.clone(),
            log.clone(),
        );
        let turning = Turning {
            at,
            polled: Instant::now(),
            ticked: Instant::now(),
            peers_ticked: Instant::now(),
            wallet: Vec::new(),
        };
        let parts = Parts {
            options,
            payments,
            outbox,
            fees,
            queue,
            monitors,
            manager,
            peers,
            wallet,
            sweeper,
            bumper,
            turning: Mutex::new(turning),
            failure: Mutex::new(None),
            stopping: AtomicBool::new(false),
        };
        Ok(Self {
            parts: Arc::new(parts),
            runtime: None,
            address: None,
            thread: None,
        })
    }

    /// Listens to peers and turns until it is dropped.
    ///
    /// # Errors
    /// The address is in use; no thread is to be had.
    pub fn run(&mut self) -> Result<(), NodeError> {
        let system = |what| move |source| NodeError::System { what, source };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("lightning-net")
            .enable_all()
            .build()
            .map_err(system("no runtime for connections"))?;
        if let Some(address) = self.parts.options.listen {
            let listener = runtime
                .block_on(tokio::net::TcpListener::bind(address))
                .map_err(system("peers cannot be heard at the address given"))?;
            self.address = listener.local_addr().ok();
            let peers = self.parts.peers.clone();
            runtime.spawn(async move {
                loop {
                    let Ok((stream, _)) = listener.accept().await else {
                        tokio::time::sleep(Duration::from_millis(100)).await; // out of descriptors, for instance
                        continue;
                    };
                    if let Ok(stream) = stream.into_std() {
                        tokio::spawn(lightning_net_tokio::setup_inbound(peers.clone(), stream));
                    }
                }
            });
        }
        self.runtime = Some(runtime);
        let parts = self.parts.clone();
        let thread = std::thread::Builder::new().name("lightning".to_owned());
        self.thread = Some(
            thread
                .spawn(move || parts.turn_until_stopped())
                .map_err(system("no thread for the node"))?,
        );
        Ok(())
    }

    /// One turn: events are handled, what changed is written, what was written is told, new blocks are taken in when it is time.
    ///
    /// # Errors
    /// [`NodeError::Stopped`], from then on always.
    pub fn turn(&self) -> Result<(), NodeError> {
        self.parts.turn()
    }

    /// Why it has stopped, if it has.
    ///
    /// # Panics
    /// After a panic with it.
    pub fn failure(&self) -> Option<String> {
        self.parts
            .failure
            .lock()
            .expect("no panic while locked")
            .clone()
    }

    /// Its key, by which peers know it.
    pub fn id(&self) -> PublicKey {
        self.parts.manager.get_our_node_id()
    }

    /// Where peers connect to, once it runs.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Its coins on the chain.
    pub fn wallet(&self) -> &Wallet {
        &self.parts.wallet
    }

    /// The block it is as of.
    pub fn best_block(&self) -> BestBlock {
        self.parts.manager.current_best_block()
    }

    /// Connects to a peer, unless it is connected.
    ///
    /// # Errors
    /// [`NodeError::Unreachable`]; the node does not run.
    pub fn connect(&self, peer: PublicKey, address: SocketAddr) -> Result<(), NodeError> {
        let stopped = || NodeError::Stopped("it was not started by `run`".to_owned());
        let runtime = self.runtime.as_ref().ok_or_else(stopped)?;
        let unreachable = || NodeError::Unreachable { peer, address };
        let ready = || self.parts.peers.peer_by_node_id(&peer).is_some();
        if ready() {
            return Ok(());
        }
        let connection = runtime
            .block_on(lightning_net_tokio::connect_outbound(
                self.parts.peers.clone(),
                peer,
                address,
            ))
            .ok_or_else(unreachable)?;
        let connection = runtime.spawn(connection);
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        while !ready() {
            if connection.is_finished() || Instant::now() > deadline {
                return Err(unreachable());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Opens a channel to a connected peer, funded from the wallet. It can be used when its transaction has enough blocks on it.
    ///
    /// # Errors
    /// The wallet has too little for the channel, its fee and the reserve; LDK's refusal.
    pub fn open_channel(&self, peer: PublicKey, value: Amount) -> Result<ChannelId, NodeError> {
        self.parts.running()?;
        self.parts.check_reserve(value)?;
        self.parts
            .manager
            .create_channel(peer, value.to_sat(), 0, 0, None, None)
            .map_err(|error| refused("the channel is not opened", &error))
    }

    /// All channels that are not closed.
    pub fn channels(&self) -> Vec<ChannelDetails> {
        self.parts.manager.list_channels()
    }

    /// What is ours in channels and on its way out of them.
    pub fn balances(&self) -> Vec<Balance> {
        self.parts.monitors.get_claimable_balances(&[])
    }

    /// What is ours in one channel, also one that was left, until all of it is swept.
    pub fn channel_balances(&self, channel: &ChannelId) -> Vec<Balance> {
        let monitor = self.parts.monitors.get_monitor(*channel);
        monitor.map_or(Vec::new(), |monitor| monitor.get_claimable_balances())
    }

    /// Sends what waits for a block again, with the fees of today. It is done by itself about once a minute.
    pub fn rebroadcast(&self) {
        self.parts.monitors.rebroadcast_pending_claims();
    }

    /// Closes a channel together with its peer.
    ///
    /// # Errors
    /// LDK's refusal.
    pub fn close(&self, channel: &ChannelId, peer: &PublicKey) -> Result<(), NodeError> {
        self.parts.running()?;
        self.parts
            .manager
            .close_channel(channel, peer)
            .map_err(|error| refused("the channel is not closed", &error))
    }

    /// Leaves a channel alone: its newest state goes on the chain, our balance is swept after the delay.
    ///
    /// # Errors
    /// LDK's refusal.
    pub fn leave(&self, channel: &ChannelId, peer: &PublicKey) -> Result<(), NodeError> {
        self.parts.running()?;
        let reason = "the channel is left".to_owned();
        self.parts
            .manager
            .force_close_broadcasting_latest_txn(channel, peer, reason)
            .map_err(|error| refused("the channel is not left", &error))
    }

    /// An invoice for a payment to this node.
    ///
    /// # Errors
    /// LDK's refusal: a description above 639 bytes, for instance.
    pub fn invoice(
        &self,
        amount: Option<Msat>,
        description: &str,
        expiry_s: u32,
    ) -> Result<Bolt11Invoice, NodeError> {
        self.parts.running()?;
        let description = Description::new(description.to_owned())
            .map_err(|error| refused("no invoice is made", &error))?;
        let parameters = Bolt11InvoiceParameters {
            amount_msats: amount.map(Msat::get),
            description: Bolt11InvoiceDescription::Direct(description),
            invoice_expiry_delta_secs: Some(expiry_s),
            ..Default::default()
        };
        self.parts
            .manager
            .create_bolt11_invoice(parameters)
            .map_err(|error| refused("no invoice is made", &error))
    }

    /// Pays an invoice. How it ends is told to [`Payments`], under the invoice's payment hash.
    ///
    /// # Errors
    /// [`PayError::Never`] when nothing was sent and nothing will be.
    pub fn pay(
        &self,
        invoice: &Bolt11Invoice,
        amount: Msat,
        fee_limit: Msat,
    ) -> Result<(), PayError> {
        let amount = invoice
            .amount_milli_satoshis()
            .is_none()
            .then_some(amount.get());
        let limits = RouteParametersConfig {
            max_total_routing_fee_msat: Some(fee_limit.get()),
            ..Default::default()
        };
        let id = PaymentId(invoice.payment_hash().to_byte_array());
        let retry = Retry::Timeout(RETRY_FOR);
        let sent = self
            .parts
            .manager
            .pay_for_bolt11_invoice(invoice, id, amount, limits, retry);
        sent.map_err(|error| match error {
            Bolt11PaymentError::InvalidAmount => {
                PayError::Never("the amount is less than the invoice's".to_owned())
            }
            Bolt11PaymentError::SendingFailed(failure) => match failure {
                RetryableSendFailure::DuplicatePayment => PayError::UnderWay,
                RetryableSendFailure::RouteNotFound => PayError::Never(
                    "no way to the payee with enough in it for this amount and fee limit"
                        .to_owned(),
                ),
                RetryableSendFailure::PaymentExpired => {
                    PayError::Never("the invoice has expired".to_owned())
                }
                RetryableSendFailure::OnionPacketSizeExceeded => {
                    PayError::Never("the invoice asks for more data than fits".to_owned())
                }
            },
        })
    }

    /// The payments that LDK has in its hands: sent and open, failing, or done and not yet forgotten.
    pub fn in_hand(&self) -> HashSet<sha256::Hash> {
        let recent = self.parts.manager.list_recent_payments();
        recent
            .iter()
            .map(|payment| match payment {
                RecentPaymentDetails::AwaitingInvoice { payment_id }
                | RecentPaymentDetails::Pending { payment_id, .. }
                | RecentPaymentDetails::Fulfilled { payment_id, .. }
                | RecentPaymentDetails::Abandoned { payment_id, .. } => {
                    sha256::Hash::from_byte_array(payment_id.0)
                }
            })
            .collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.parts.stopping.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

fn damaged(part: &'static str, error: &dyn std::fmt::Debug) -> NodeError {
    NodeError::Damaged {
        part,
        reason: format!("{error:?}"),
    }
}

fn refused(what: &'static str, error: &dyn std::fmt::Debug) -> NodeError {
    NodeError::Refused {
        what,
        reason: format!("{error:?}"),
    }
}

/// All that wants blocks, in LDK's order: the manager before the monitors.
struct Listeners<'a>(&'a Parts);

impl Listen for Listeners<'_> {
    fn filtered_block_connected(
        &self,
        header: &bitcoin::block::Header,
        txdata: &lightning::chain::transaction::TransactionData<'_>,
        height: u32,
    ) {
        self.0
            .wallet
            .filtered_block_connected(header, txdata, height);
        self.0
            .manager
            .filtered_block_connected(header, txdata, height);
        self.0
            .monitors
            .filtered_block_connected(header, txdata, height);
        self.0
            .sweeper
            .filtered_block_connected(header, txdata, height);
    }

    fn blocks_disconnected(&self, fork: BestBlock) {
        self.0.wallet.blocks_disconnected(fork);
        self.0.manager.blocks_disconnected(fork);
        self.0.monitors.blocks_disconnected(fork);
        self.0.sweeper.blocks_disconnected(fork);
    }
}

impl Parts {
    fn turn_until_stopped(&self) {
        while !self.stopping.load(Ordering::Acquire) && self.turn().is_ok() {
            Sleeper::from_two_futures(
                &self.manager.get_event_or_persistence_needed_future(),
                &self.monitors.get_update_future(),
            )
            .wait_timeout(self.options.poll.min(Duration::from_millis(100)));
        }
        self.peers.disconnect_all_peers();
    }

    fn running(&self) -> Result<(), NodeError> {
        match &*self.failure.lock().expect("no panic while locked") {
            Some(failure) => Err(NodeError::Stopped(failure.clone())),
            None => Ok(()),
        }
    }

    /// The first failure counts.
    fn fail(&self, failure: String) {
        (self.options.log)(&format!("the node stops: {failure}"));
        self.failure
            .lock()
            .expect("no panic while locked")
            .get_or_insert(failure);
    }

    fn turn(&self) -> Result<(), NodeError> {
        let mut turning = self.turning.lock().expect("no panic while locked");
        self.running()?;
        self.manager
            .process_pending_events(&|event| self.handle(event));
        self.monitors
            .process_pending_events(&|event| self.handle(event));
        self.running()?;
        if self.manager.needs_pending_htlc_processing() {
            self.manager.process_pending_htlc_forwards();
        }
        self.take_blocks(&mut turning);
        if turning.ticked.elapsed() > TICK {
            turning.ticked = Instant::now();
            self.manager.timer_tick_occurred();
            self.monitors.rebroadcast_pending_claims();
            self.monitors.archive_fully_resolved_channel_monitors();
        }
        if turning.peers_ticked.elapsed() > PEER_TICK {
            turning.peers_ticked = Instant::now();
            self.peers.timer_tick_occurred();
        }
        if let Err(error) = self.write(&mut turning) {
            self.fail(format!("its state cannot be written: {error}"));
        }
        self.running()?;
        self.peers.process_events();
        self.outbox.flush(&*self.options.blocks, &*self.options.log);
        Ok(())
    }

    /// Until LDK has nothing that is not on the disk: first the manager, which has the monitors' unfinished updates in it, then the
    /// monitors; then LDK hears of it and sends what waited for it.
    fn write(&self, turning: &mut Turning) -> Result<(), lightning::io::Error> {
        let store = &self.options.store;
        let wallet = self.wallet.encode();
        if wallet != turning.wallet {
            // Before a funding transaction that its coins are promised to.
            store.write("", "", WALLET_KEY, wallet.clone())?;
            turning.wallet = wallet;
        }
        loop {
            let batch = self.queue.take();
            let changed = self.manager.get_and_clear_needs_persistence();
            if batch.is_empty() && !changed {
                return Ok(());
            }
            store.write(
                "",
                "",
                CHANNEL_MANAGER_PERSISTENCE_KEY,
                self.manager.encode(),
            )?;
            const MONITORS: &str = CHANNEL_MONITOR_PERSISTENCE_PRIMARY_NAMESPACE;
            for (name, bytes) in batch.writes {
                store.write(MONITORS, "", &name, bytes)?;
            }
            for name in batch.archived {
                const ARCHIVE: &str = ARCHIVED_CHANNEL_MONITOR_PERSISTENCE_PRIMARY_NAMESPACE;
                store.write(ARCHIVE, "", &name, store.read(MONITORS, "", &name)?)?;
                store.remove(MONITORS, "", &name, true)?;
            }
            for (channel, update) in batch.updates {
                // An error says that the channel's monitor is archived: then nobody waits.
                let _ = self.monitors.channel_monitor_updated(channel, update);
            }
        }
    }

    /// Asks the chain's node, when it is time. Without an answer it is asked again at the next time.
    fn take_blocks(&self, turning: &mut Turning) {
        if turning.polled.elapsed() < self.options.poll {
            return;
        }
        turning.polled = Instant::now();
        let blocks = &*self.options.blocks;
        let news = follow(blocks, turning.at, &Listeners(self));
        // What was told before an error is told; the manager knows how far.
        turning.at = self.manager.current_best_block();
        if let Err(error) = news.and_then(|_| self.fees.refresh(blocks)) {
            (self.options.log)(&error.to_string());
        }
        // An error here is the store's or a fee above the amount: it is tried again.
        let _ = self.sweeper.regenerate_and_broadcast_spend_if_necessary();
    }

    /// Whether the wallet could pay for the end of one more channel, after `spent` has left it.
    fn check_reserve(&self, spent: Amount) -> Result<(), NodeError> {
        let context = AnchorChannelReserveContext {
            upper_bound_fee_rate: bitcoin::FeeRate::from_sat_per_kwu(
                self.options.reserve_sat_per_kw.into(),
            ),
            ..Default::default()
        };
        let coins = self.wallet.spendable();
        let has: Amount = coins.iter().map(|coin| coin.output.value).sum();
        let needs = get_reserve_per_channel(&context);
        let enough = can_support_additional_anchor_channel(
            &context,
            &coins,
            self.manager.clone(),
            self.monitors.clone(),
        );
        if enough && has >= spent + needs {
            return Ok(());
        }
        Err(NodeError::Reserve {
            needs: needs + spent,
            has,
            coins: coins.len(),
            address: self.wallet.address().to_string(),
        })
    }

    fn handle(&self, event: Event) -> Result<(), ReplayEvent> {
        // After a failure nothing is decided any more: all comes again.
        if self.running().is_err() {
            return Err(ReplayEvent());
        }
        let payments = &*self.payments;
        let taken = match event {
            Event::PaymentClaimable {
                payment_hash,
                amount_msat,
                purpose,
                ..
            } => {
                self.claim_or_refuse(payment_hash, amount_msat, &purpose);
                Ok(())
            }
            Event::PaymentClaimed {
                payment_hash,
                amount_msat,
                ..
            } => {
                amount(amount_msat).and_then(|amount| payments.claimed(hash(payment_hash), amount))
            }
            Event::PaymentSent {
                payment_hash,
                payment_preimage,
                fee_paid_msat,
                ..
            } => fee_paid_msat.map(amount).transpose().and_then(|fee| {
                payments.sent(
                    hash(payment_hash),
                    fee,
                    &payment_preimage.0.to_lower_hex_string(),
                )
            }),
            Event::PaymentFailed {
                payment_id, reason, ..
            } => {
                let reason = reason.map_or("no reason given".to_owned(), |why| format!("{why:?}"));
                payments.failed(sha256::Hash::from_byte_array(payment_id.0), &reason)
            }
            Event::FundingGenerationReady {
                temporary_channel_id,
                counterparty_node_id,
                channel_value_satoshis,
                output_script,
                ..
            } => {
                let funding = self
                    .wallet
                    .fund(
                        output_script,
                        Amount::from_sat(channel_value_satoshis),
                        self.fees
                            .get_est_sat_per_1000_weight(ConfirmationTarget::NonAnchorChannelFee),
                    )
                    .map_err(NodeError::from)
                    .and_then(|tx| self.funded(temporary_channel_id, counterparty_node_id, tx));
                if let Err(error) = funding {
                    (self.options.log)(&format!("a channel is not funded: {error}"));
                    let reason = "no funding".to_owned();
                    let _ = self.manager.force_close_broadcasting_latest_txn(
                        &temporary_channel_id,
                        &counterparty_node_id,
                        reason,
                    );
                }
                Ok(())
            }
            Event::OpenChannelRequest {
                temporary_channel_id,
                counterparty_node_id,
                channel_type,
                ..
            } => {
                let refusal = if !self.options.accept_channels {
                    Some("this node takes no channels".to_owned())
                } else if !channel_type.requires_anchors_zero_fee_htlc_tx() {
                    Some("only channels with anchors are taken".to_owned())
                } else {
                    self.check_reserve(Amount::ZERO)
                        .err()
                        .map(|error| error.to_string())
                };
                let done = match refusal {
                    None => self.manager.accept_inbound_channel(
                        &temporary_channel_id,
                        &counterparty_node_id,
                        0,
                        None,
                    ),
                    Some(reason) => {
                        (self.options.log)(&format!("a channel is refused: {reason}"));
                        self.manager.force_close_broadcasting_latest_txn(
                            &temporary_channel_id,
                            &counterparty_node_id,
                            // The peer need not know what is in the wallet.
                            "no channel is taken now".to_owned(),
                        )
                    }
                };
                if let Err(error) = done {
                    (self.options.log)(&format!("a channel request came to nothing: {error:?}"));
                }
                Ok(())
            }
            Event::DiscardFunding { funding_info, .. } => {
                match funding_info {
                    FundingInfo::Tx { transaction } => {
                        self.wallet.discard(transaction.compute_txid())
                    }
                    FundingInfo::OutPoint { outpoint } => self.wallet.discard(outpoint.txid),
                }
                Ok(())
            }
            Event::SpendableOutputs {
                outputs,
                channel_id,
            } => self
                .sweeper
                .track_spendable_outputs(outputs, channel_id, false, None)
                .map_err(|()| "outputs to sweep cannot be written".into()),
            Event::BumpTransaction(event) => {
                self.bumper.handle_event(&event);
                Ok(())
            }
            Event::ChannelClosed {
                channel_id, reason, ..
            } => {
                (self.options.log)(&format!("channel {channel_id} is closed: {reason}"));
                Ok(())
            }
            // Told for information, or about what this node never does (offers, probes, splices, interception).
            _ => Ok(()),
        };
        taken.map_err(|error: Box<dyn Error>| {
            self.fail(error.to_string());
            ReplayEvent()
        })
    }

    fn claim_or_refuse(&self, payment: PaymentHash, amount_msat: u64, purpose: &PaymentPurpose) {
        let wanted = Msat::new(amount_msat)
            .is_ok_and(|amount| self.payments.claimable(hash(payment), amount));
        match purpose {
            PaymentPurpose::Bolt11InvoicePayment {
                payment_preimage: Some(preimage),
                ..
            } if wanted => self.manager.claim_funds(*preimage),
            // Offers and payments without an invoice have no account.
            _ => self.manager.fail_htlc_backwards(&payment),
        }
    }

    fn funded(
        &self,
        channel: ChannelId,
        peer: PublicKey,
        tx: Transaction,
    ) -> Result<(), NodeError> {
        let txid = tx.compute_txid();
        self.manager
            .funding_transaction_generated(channel, peer, tx)
            .map_err(|error| {
                self.wallet.discard(txid);
                refused("the channel is not funded", &error)
            })
    }
}

fn hash(payment: PaymentHash) -> sha256::Hash {
    sha256::Hash::from_byte_array(payment.0)
}

fn amount(msat: u64) -> Result<Msat, Box<dyn Error>> {
    Ok(Msat::new(msat)?)
}
