//! The process: everything made from its configuration, served until SIGTERM, and ended in peace.

use crate::access::{Access, Daemons, People, Seating};
use crate::app::App;
use crate::audit_head;
use crate::authority::{Authority, Nobody, Tokens, TokensError};
use crate::clock::unix_now_ns;
use crate::config::{Config, ConfigError, ShardEntry, Use};
use crate::desk::{Desk, DeskOptions, Way};
use crate::desks::Desks;
use crate::intents::{IntentError, Intents};
use crate::market::{CandleStore, StoreError};
use crate::metrics::Metrics;
use crate::orders::Kept;
use crate::ouch::{self, OuchSession, OuchSessions};
use crate::seats::{self, Seats};
use crate::serve::{self, TlsError, acceptor};
use crate::settled::Settled;
use crate::shard::{Follower, Shard, ShardError, ShardOptions};
use crate::trading_key::{TradingKey, TradingKeyError};
use crate::venue::{Venue, VenueError};
use ring0_identity::records::Account;
use ring0_identity::{Address, OrganisationId, Pace};
use ring0_itch::Text;
use ring0_market::{Plan, SessionPlan};
use ring0_trader::{Session, SessionError};
use ring0_wire::SessionId;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

/// Why the gateway does not start, or ends.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The market.
    #[error(transparent)]
    Venue(#[from] VenueError),
    /// A session's key.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// Who may do what.
    #[error(transparent)]
    Identity(#[from] ring0_identity::OpenError),
    /// The gateway's own trading key.
    #[error(transparent)]
    TradingKey(#[from] TradingKeyError),
    /// The tokens.
    #[error(transparent)]
    Tokens(#[from] TokensError),
    /// Certificate and key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A shard.
    #[error("shard {name}: {source}")]
    Shard {
        /// Which.
        name: String,
        /// Why.
        source: ShardError,
    },
    /// The candles.
    #[error(transparent)]
    Candles(#[from] StoreError),
    /// The client order ids.
    #[error(transparent)]
    Intents(#[from] IntentError),
    /// The configuration does not fit the market.
    #[error("{path}: {what}", path = .path.display())]
    Unfit {
        /// The configuration.
        path: PathBuf,
        /// What does not fit, and what to do.
        what: String,
    },
    /// The system refused.
    #[error("cannot {what}: {source}")]
    System {
        /// What.
        what: String,
        /// Why not.
        source: io::Error,
    },
}

fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> GatewayError {
    let what = what.into();
    move |source| GatewayError::System { what, source }
}

/// A configuration with what it names, read and compared.
pub struct Checked {
    config: Config,
    venue: Arc<Venue>,
    plans: Vec<Plan>,
    /// With the place of each one's plan.
    sessions: Vec<(Session, usize, Use)>,
    tokens: Option<Tokens>,
    http_tls: Option<TlsAcceptor>,
    ouch_tls: Option<TlsAcceptor>,
}

impl Checked {
    /// Reads everything that a configuration names, and opens nothing.
    ///
    /// # Errors
    /// The first thing wrong.
    pub fn load(path: &Path) -> Result<Checked, GatewayError> {
        let config = Config::load(path)?;
        let (venue, plans) = Venue::load(&config.market)?;
        let unfit = |what: String| GatewayError::Unfit {
            path: path.to_owned(),
            what,
        };
        for plan in &plans {
            let name = &plan.shard.name;
            let entries = config.shards.iter().filter(|it| it.name == *name).count();
            if entries != 1 {
                return Err(unfit(format!(
                    "the market's shard {name} has {entries} [[shard]] entries; give one"
                )));
            }
        }
        if let Some(entry) = config
            .shards
            .iter()
            .find(|it| !plans.iter().any(|plan| plan.shard.name == it.name))
        {
            return Err(unfit(format!(
                "the market has no shard {}; correct the name",
                entry.name
            )));
        }
        let mut sessions = Vec::new();
        let mut used = HashMap::new();
        for entry in &config.sessions {
            let all = &plans[0].sessions; // a market has a shard; sessions are the whole venue's
            let index = all.iter().position(|it| it.name == entry.name);
            let index = index.ok_or_else(|| {
                unfit(format!(
                    "the market has no session {}; correct the name",
                    entry.name
                ))
            })?;
            let plan: &SessionPlan = &all[index];
            if entry.used == Use::Api
                && let Some(other) = used.insert((plan.account, plan.shard), &entry.name)
            {
                return Err(unfit(format!(
                    "sessions {other} and {} are of one account in one shard; `use = \"api\"` takes one",
                    entry.name
                )));
            }
            let session = Session::open(&plan.key_file)?.with_answers(plan.answers);
            sessions.push((session, index, entry.used));
        }
        let tokens = config.tokens.as_deref().map(Tokens::load).transpose()?;
        let http_tls = config.http.tls.as_ref().map(acceptor).transpose()?;
        let ouch_tls = config.ouch.as_ref().and_then(|it| it.tls.as_ref());
        let ouch_tls = ouch_tls.map(acceptor).transpose()?;
        Ok(Checked {
            venue: Arc::new(venue),
            plans,
            sessions,
            tokens,
            http_tls,
            ouch_tls,
            config,
        })
    }

    /// In a sentence.
    #[must_use]
    pub fn summary(&self) -> String {
        format!(
            "{} instruments in {} shards, {} sessions; HTTP{} at {}{}",
            self.venue.instruments.len(),
            self.plans.len(),
            self.sessions.len(),
            if self.http_tls.is_some() { "S" } else { "" },
            self.config.http.listen,
            self.config
                .ouch
                .as_ref()
                .map_or_else(String::new, |it| format!(", OUCH at {}", it.listen)),
        )
    }

    /// Brings an account of the market file into an organisation, at the word of whoever may run this program here. The log is the gateway's while it
    /// runs.
    ///
    /// # Errors
    /// There is no such account or organisation, or it is somebody's; the log is in use.
    pub fn assign_account(
        &self,
        named: &str,
        organisation: u64,
        owner: Address,
        cosigner: Address,
    ) -> Result<(), GatewayError> {
        let unfit = |what: String| GatewayError::Unfit {
            path: self.config.path.clone(),
            what,
        };
        let index = self.venue.accounts.iter().position(|it| it == named);
        let index = index.and_then(|it| u32::try_from(it).ok());
        let index = index.ok_or_else(|| {
            unfit(format!(
                "the market has no account {named}; one that people open for themselves needs no command"
            ))
        })?;
        let access = access(self)?;
        let access = access.ok_or_else(|| {
            unfit("there is no [identity], so there are no organisations; add it".to_owned())
        })?;
        let operator = format!("uid {}", rustix::process::getuid().as_raw());
        let account = Account {
            index,
            organisation: OrganisationId(organisation),
            owner,
            cosigner,
        };
        let assigned = access.identity().assign_account(&operator, account);
        assigned.map_err(|refused| unfit(refused.to_string()))
    }

    fn options(&self, plan: &Plan, entry: &ShardEntry, seats: Vec<SessionId>) -> ShardOptions {
        let streams = self.sessions.iter().filter(|(_, index, used)| {
            *used == Use::Ouch && plan.sessions[*index].shard == plan.number
        });
        ShardOptions {
            name: plan.shard.name.clone(),
            number: plan.number,
            ring: entry.ring.clone(),
            journals: entry.journal.clone(),
            streams: streams
                .map(|(session, ..)| session.id())
                .chain(seats)
                .collect(),
            stream_bytes: self.config.keep.ouch_mib << 20,
            kept: Kept {
                orders: self.config.keep.orders,
                fills: self.config.keep.fills,
            },
        }
    }
}

/// People, organisations and API keys, where they are wanted.
fn access(checked: &Checked) -> Result<Option<Access>, GatewayError> {
    let Some(entry) = &checked.config.identity else {
        return Ok(None);
    };
    let names: Vec<&str> = checked.plans.iter().map(|it| &*it.shard.name).collect();
    let mut config =
        ring0_identity::Config::new(&entry.origin, &entry.chain_ids, entry.venue, &names);
    config.key_file.clone_from(&entry.key_file);
    config.attempts = Pace {
        burst: checked.config.limits.attempts_burst,
        every_ms: checked.config.limits.attempts_every_ms,
    };
    let identity = ring0_identity::Identity::open(&entry.folder, config)?;
    let daemons = Daemons {
        sockets: names
            .iter()
            .map(|name| (name.to_string(), entry.sockets.join(format!("{name}.sock"))))
            .collect(),
        accounts: checked.venue.accounts.clone(),
        // What every shard has room for.
        accounts_max: checked
            .plans
            .iter()
            .map(|plan| plan.capacity().accounts)
            .min()
            .unwrap_or(0),
        settled: checked.config.settled.clone(),
    };
    Ok(Some(Access::new(Arc::new(identity), Arc::new(daemons))))
}

/// Where it listens.
#[derive(Clone, Copy, Debug)]
pub struct Listening {
    /// REST and WebSocket.
    pub http: SocketAddr,
    /// OUCH.
    pub ouch: Option<SocketAddr>,
}

/// The threads that serve.
pub(crate) fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
}

/// Serves until SIGTERM or SIGINT. `ready` is told where, once it listens.
///
/// # Errors
/// It cannot start, or a shard's records cannot be followed any more.
pub fn run(checked: Checked, ready: impl FnOnce(Listening)) -> Result<(), GatewayError> {
    raise_descriptors();
    let runtime = runtime().map_err(system("start threads"))?;
    let ran = runtime.block_on(serve_all(checked, ready));
    // What still waits for a client is not worth waiting for.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    ran
}

/// Ten thousand connections are as many descriptors: as many as the system lets.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the number of descriptors stays as it is");
    }
}

async fn serve_all(
    mut checked: Checked,
    ready: impl FnOnce(Listening),
) -> Result<(), GatewayError> {
    let access = access(&checked)?;
    let authority: Arc<dyn Authority> = match (&access, checked.tokens.take()) {
        (Some(access), _) => Arc::new(People(Arc::clone(access.identity()))),
        (None, Some(tokens)) => Arc::new(tokens),
        (None, None) => Arc::new(Nobody),
    };
    let config = &checked.config;
    std::fs::create_dir_all(&config.store).map_err(system(format!(
        "make the folder {}",
        config.store.display()
    )))?;
    let candles = Arc::new(CandleStore::open(&config.store.join("candles.redb"))?);
    let keep_s = config.client_order_id_days.saturating_mul(86_400);
    let intents = Intents::open(
        &config.store.join("client-order-ids.redb"),
        unix_now_ns(),
        keep_s,
    )?;
    let intents = Arc::new(intents);
    let metrics = Arc::new(Metrics::new());
    let listen = |address: SocketAddr| async move {
        let listener = TcpListener::bind(address)
            .await
            .map_err(system(format!("listen at {address}")))?;
        let local = listener
            .local_addr()
            .map_err(system(format!("listen at {address}")))?;
        Ok::<_, GatewayError>((listener, local))
    };
    // Listening comes first: a port that is taken is said before the records are read.
    let (http_listener, http) = listen(config.http.listen).await?;
    let ouch_listener = match &config.ouch {
        Some(ouch) => Some(listen(ouch.listen).await?),
        None => None,
    };

    let (mut shards, mut followers, mut ways) = (Vec::new(), Vec::new(), Vec::new());
    for plan in &checked.plans {
        // `load` has seen to it that there is one.
        let entry = config.shards.iter().find(|it| it.name == plan.shard.name);
        let entry = entry.expect("every shard has its entry");
        let seats = access.as_ref().map_or_else(Vec::new, |it| {
            seats::streams(it.identity(), &plan.shard.name)
        });
        let options = checked.options(plan, entry, seats);
        let opened = Shard::open(&options, &checked.venue, &candles, &intents);
        let (shard, follower) = opened.map_err(|source| GatewayError::Shard {
            name: plan.shard.name.clone(),
            source,
        })?;
        tracing::info!(
            shard = shard.name,
            seq = shard.state().sequence,
            "records read"
        );
        ways.push(match (&entry.door, entry.udp) {
            (Some(door), _) => Way::Door(door.clone()),
            (None, Some(udp)) => Way::Udp(udp),
            (None, None) => unreachable!("the configuration was checked"),
        });
        shards.push(shard);
        followers.push(follower);
    }
    let (desks, sessions) = desks(&checked, &shards, &ways, &intents, &metrics);
    let (mut access, mut seats) = (access, None);
    if let Some(of) = access.take() {
        let taken = Arc::new(Seats {
            key: TradingKey::open(&config.store.join("trading.key"))?,
            identity: Arc::clone(of.identity()),
            shards: shards.iter().cloned().zip(ways.clone()).collect(),
            desks: Arc::clone(&desks),
            ouch: Arc::clone(&sessions),
            intents: Arc::clone(&intents),
            metrics: Arc::clone(&metrics),
        });
        taken.take_up();
        access = Some(of.with_seating(Arc::clone(&taken) as Arc<dyn Seating>));
        seats = Some(taken);
    }

    let stop = Arc::new(AtomicBool::new(false));
    let (failed, mut failures) = mpsc::channel(1);
    let threads: Vec<_> = followers
        .into_iter()
        .zip(&shards)
        .map(|(follower, shard)| {
            let (stop, metrics) = (Arc::clone(&stop), Arc::clone(&metrics));
            let (failed, name) = (failed.clone(), shard.name.clone());
            std::thread::spawn(move || follow(follower, &stop, &metrics, &failed, name))
        })
        .collect();

    let (drain, draining) = watch::channel(false);
    let app = Arc::new(App::new(
        Arc::clone(&checked.venue),
        shards,
        (desks, seats),
        intents,
        Arc::clone(&metrics),
        authority,
        config.settled.clone().map(Settled::new),
        (config.http.clone(), &config.limits),
        draining.clone(),
    ));
    let router = crate::rest::router(&app, access.as_ref().map(Access::router));
    let telling = match (&access, &config.settled, &config.identity) {
        (Some(access), Some(settled), Some(identity)) => {
            let (of, settled) = (Arc::clone(access.identity()), Settled::new(settled.clone()));
            let telling = audit_head::keep_telling(of, settled, identity.audit_name.clone());
            Some(tokio::spawn(telling))
        }
        _ => None,
    };
    let asking = access.map(|it| tokio::spawn(it.keep_asking()));
    let web = tokio::spawn(serve::http(
        http_listener,
        Arc::clone(&app),
        router,
        checked.http_tls.clone(),
    ));
    let ouch = ouch_listener.map(|(listener, address)| {
        let connections_max = config.ouch.as_ref().map_or(0, |it| it.connections_max);
        let task = tokio::spawn(ouch::serve(
            listener,
            checked.ouch_tls.clone(),
            connections_max,
            sessions,
            metrics,
            draining,
        ));
        (task, address)
    });
    ready(Listening {
        http,
        ouch: ouch.as_ref().map(|(_, address)| *address),
    });

    let ended = end(&mut failures).await;
    tracing::info!("ending: no new connections, those that are there get their answers");
    let _ = drain.send(true);
    let _ = web.await;
    if let Some((task, _)) = ouch {
        let _ = task.await;
    }
    for task in [asking, telling].into_iter().flatten() {
        task.abort();
    }
    stop.store(true, Ordering::Release);
    for thread in threads {
        let _ = thread.join(); // its panic has been printed
    }
    ended
}

/// Waits until the process is to end.
async fn end(failures: &mut mpsc::Receiver<GatewayError>) -> Result<(), GatewayError> {
    let listen = |kind| signal(kind).map_err(system("hear signals"));
    let (mut term, mut int) = (
        listen(SignalKind::terminate())?,
        listen(SignalKind::interrupt())?,
    );
    tokio::select! {
        _ = term.recv() => Ok(()),
        _ = int.recv() => Ok(()),
        Some(error) = failures.recv() => Err(error),
    }
}

fn follow(
    follower: Follower,
    stop: &AtomicBool,
    metrics: &Metrics,
    failed: &mpsc::Sender<GatewayError>,
    name: String,
) {
    if let Err(source) = follower.run(stop, metrics) {
        tracing::error!(shard = name, error = %source, "records cannot be followed");
        let _ = failed.try_send(GatewayError::Shard { name, source }); // another one has failed first
    }
}

fn desks(
    checked: &Checked,
    shards: &[Arc<Shard>],
    ways: &[Way],
    intents: &Arc<Intents>,
    metrics: &Arc<Metrics>,
) -> (Arc<Desks>, Arc<OuchSessions>) {
    let (desks, sessions) = (Desks::default(), OuchSessions::default());
    for (session, index, used) in &checked.sessions {
        let plan = &checked.plans[0].sessions[*index];
        let options = DeskOptions {
            name: plan.name.clone(),
            account: plan.account,
            session: session.clone(),
            way: ways[plan.shard as usize].clone(),
            heartbeat: plan.cancel_on_disconnect_s != 0,
            expires_s: None,
        };
        let shard = &shards[plan.shard as usize];
        let desk = Arc::new(Desk::start(options, shard, intents, metrics));
        match used {
            Use::Api => desks.add(desk),
            Use::Ouch => {
                // A session without a key is of a shard without tags: whoever reaches that may trade.
                let password = ouch::password(session).unwrap_or(Text(*b"          "));
                sessions.add(OuchSession::new(desk, password));
            }
        }
    }
    (Arc::new(desks), Arc::new(sessions))
}
