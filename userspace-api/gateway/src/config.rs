//! The gateway's TOML file. `docs/api.md#configuration` explains every key; one that is not there is refused.

use serde::{Deserialize, Deserializer};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}", path = .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is not of the form.
    #[error("{path}: {source}", path = .path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong, with line and column.
        source: Box<toml::de::Error>,
    },
    /// A rule is broken.
    #[error("{path}: {what}", path = .path.display())]
    Rule {
        /// Which.
        path: PathBuf,
        /// What is wrong and what to do.
        what: String,
    },
}

/// The whole file. Relative paths are from the file's folder.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The venue's market file, all of its shards.
    pub market: PathBuf,
    /// Folder of the gateway's own stores: candles, client order ids.
    pub store: PathBuf,
    /// File of bearer tokens, for a venue on a machine of one's own; not beside `[identity]`. Without either, private routes let nobody in.
    pub tokens: Option<PathBuf>,
    /// People, organisations, API keys.
    pub identity: Option<Identity>,
    /// Socket of the settlement daemon; without it what only that knows is not served.
    pub settled: Option<PathBuf>,
    /// Days that a client order id is remembered.
    #[serde(default = "defaults::intent_days")]
    pub client_order_id_days: u64,
    /// REST and WebSocket.
    pub http: Http,
    /// OUCH over SoupBinTCP.
    pub ouch: Option<Ouch>,
    /// How often.
    #[serde(default)]
    pub limits: Limits,
    /// How much is kept.
    #[serde(default)]
    pub keep: Keep,
    /// The shards.
    #[serde(rename = "shard")]
    pub shards: Vec<ShardEntry>,
    /// Trading sessions of the market file that the gateway uses.
    #[serde(default, rename = "session")]
    pub sessions: Vec<SessionEntry>,
    /// Where it was read from.
    #[serde(skip)]
    pub path: PathBuf,
}

/// See [`Config::identity`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Folder of its log.
    pub folder: PathBuf,
    /// Scheme, host and port of the venue's pages: `https://trade.example`. Passkeys are bound to its host.
    pub origin: String,
    /// EIP-155 ids of chains whose wallets sign in.
    pub chain_ids: Vec<u64>,
    /// The venue's id, 32 bytes: what owner and session keys sign under.
    pub venue: ring0_identity::B256,
    /// Where the key that seals API keys' secrets is; not given: in the folder.
    pub key_file: Option<PathBuf>,
    /// Folder of the shards' daemons' sockets, each SHARD.sock.
    pub sockets: PathBuf,
    /// What its audit log is called in the venue's batches; two gateways with a log each have two names.
    #[serde(default = "defaults::audit_name")]
    pub audit_name: String,
}

/// A certificate and its key, as PEM files.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Certificate and those that lead to a root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// See [`Config::http`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Without it: plain, on loopback only.
    pub tls: Option<Tls>,
    /// Connections at a time.
    #[serde(default = "defaults::connections")]
    pub connections_max: usize,
    /// Of them from one address.
    #[serde(default = "defaults::connections")]
    pub connections_per_address: usize,
    /// Bytes of a request's body.
    #[serde(default = "defaults::body_bytes")]
    pub body_bytes_max: usize,
    /// Seconds for the head of a request, and between two of them on one connection.
    #[serde(default = "defaults::head_seconds")]
    pub head_seconds: u64,
    /// Seconds for a request and its answer.
    #[serde(default = "defaults::request_seconds")]
    pub request_seconds: u64,
    /// Messages that a WebSocket may be behind before it is cut off.
    #[serde(default = "defaults::queue")]
    pub websocket_queue: usize,
    /// Seconds between two pings; a client that says nothing for four of them is gone.
    #[serde(default = "defaults::ping_seconds")]
    pub websocket_ping_seconds: u64,
}

/// See [`Config::ouch`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ouch {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Without it: plain, on loopback only.
    pub tls: Option<Tls>,
    /// Connections at a time.
    #[serde(default = "defaults::ouch_connections")]
    pub connections_max: usize,
}

/// Requests a second and how many at once; more are answered 429.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Public requests of an address.
    pub public_per_second: u32,
    /// At once.
    pub public_burst: u32,
    /// Private requests of a credential.
    pub private_per_second: u32,
    /// At once.
    pub private_burst: u32,
    /// Attempts of an address to sign in, to use an invitation, or with a credential that is none: at once, and one more every so many milliseconds.
    pub attempts_burst: u32,
    /// See `attempts_burst`.
    pub attempts_every_ms: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            public_per_second: 20,
            public_burst: 100,
            private_per_second: 100,
            private_burst: 500,
            attempts_burst: 20,
            attempts_every_ms: 3_000,
        }
    }
}

/// How much is kept in memory.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keep {
    /// Orders of an account that are over.
    pub orders: usize,
    /// Fills of an account.
    pub fills: usize,
    /// MiB of each OUCH stream.
    pub ouch_mib: usize,
}

impl Default for Keep {
    fn default() -> Keep {
        Keep {
            orders: 10_000,
            fills: 50_000,
            ouch_mib: 64,
        }
    }
}

/// A path, or a list of them.
fn one_or_several<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PathBuf>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a folder, or a list of folders")]
    enum Folders {
        One(PathBuf),
        Several(Vec<PathBuf>),
    }
    Ok(match Folders::deserialize(from)? {
        Folders::One(folder) => vec![folder],
        Folders::Several(folders) => folders,
    })
}

/// A shard.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardEntry {
    /// Its name in the market file.
    pub name: String,
    /// Pins or file of its record ring.
    pub ring: Option<PathBuf>,
    /// Folder of its journal, or a list of those of its lives, the oldest first.
    #[serde(default, deserialize_with = "one_or_several")]
    pub journal: Vec<PathBuf>,
    /// Its door.
    pub door: Option<PathBuf>,
    /// Its UDP address, where it has no door here.
    pub udp: Option<SocketAddr>,
}

/// What a session is for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Use {
    /// REST: of its account, one a shard.
    Api,
    /// OUCH: its owner logs in under its name.
    Ouch,
}

/// A session.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionEntry {
    /// Its name in the market file.
    pub name: String,
    /// What it is for.
    #[serde(rename = "use")]
    pub used: Use,
}

mod defaults {
    pub(super) fn audit_name() -> String {
        "gateway".to_owned()
    }
    pub(super) fn intent_days() -> u64 {
        30
    }
    pub(super) fn connections() -> usize {
        20_000
    }
    pub(super) fn body_bytes() -> usize {
        64 << 10
    }
    pub(super) fn head_seconds() -> u64 {
        10
    }
    pub(super) fn request_seconds() -> u64 {
        15
    }
    pub(super) fn queue() -> usize {
        1_024
    }
    pub(super) fn ping_seconds() -> u64 {
        15
    }
    pub(super) fn ouch_connections() -> usize {
        256
    }
}

impl Config {
    /// Reads the file and checks the rules that need nothing else.
    ///
    /// # Errors
    /// The first thing wrong.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::File {
            path: path.to_owned(),
            source,
        })?;
        let read = ring0_config::read(path, &text, "gateway");
        let mut config: Config = read.map_err(|source| ConfigError::Content {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        config.path = path.to_owned();
        config.resolve(path.parent().unwrap_or(Path::new("")));
        config.check().map_err(|what| ConfigError::Rule {
            path: path.to_owned(),
            what,
        })?;
        Ok(config)
    }

    /// Paths from the file's folder.
    fn resolve(&mut self, folder: &Path) {
        let from_there = |path: &mut PathBuf| *path = folder.join(&*path);
        from_there(&mut self.market);
        from_there(&mut self.store);
        self.tokens.as_mut().map(from_there);
        if let Some(identity) = &mut self.identity {
            from_there(&mut identity.folder);
            from_there(&mut identity.sockets);
            identity.key_file.as_mut().map(from_there);
        }
        self.settled.as_mut().map(from_there);
        let ouch = self.ouch.as_mut().and_then(|it| it.tls.as_mut());
        for tls in self.http.tls.iter_mut().chain(ouch) {
            from_there(&mut tls.certificate);
            from_there(&mut tls.key);
        }
        for shard in &mut self.shards {
            shard.ring.as_mut().map(from_there);
            shard.journal.iter_mut().for_each(from_there);
            shard.door.as_mut().map(from_there);
        }
    }

    fn check(&self) -> Result<(), String> {
        if let Some(identity) = &self.identity {
            ring0_identity::channels::heads::check_name(&identity.audit_name)
                .map_err(|error| format!("[identity] audit_name: {error}"))?;
        }
        let ouch = self.ouch.as_ref();
        let listeners = [
            ("http", Some((self.http.listen, self.http.tls.is_some()))),
            ("ouch", ouch.map(|it| (it.listen, it.tls.is_some()))),
        ];
        for (name, listener) in listeners {
            if let Some((address, false)) = listener
                && !address.ip().is_loopback()
            {
                return Err(format!(
                    "[{name}] listens at {address} without TLS, where others could read credentials; give `tls = {{ certificate, key }}`, or a loopback address"
                ));
            }
        }
        for shard in &self.shards {
            let name = &shard.name;
            if shard.ring.is_none() && shard.journal.is_empty() {
                return Err(format!(
                    "shard {name} has neither `ring` nor `journal`; give one, or both"
                ));
            }
            if shard.door.is_some() == shard.udp.is_some() {
                return Err(format!(
                    "shard {name} needs a way for orders: `door` or `udp`, one of them"
                ));
            }
        }
        if self.tokens.is_some() && self.identity.is_some() {
            return Err("both `tokens` and [identity] say who is let in; give one".to_owned());
        }
        if self.shards.is_empty() {
            return Err("there is no [[shard]]".to_owned());
        }
        let numbers = [
            ("http.connections_max", self.http.connections_max),
            (
                "http.connections_per_address",
                self.http.connections_per_address,
            ),
            ("http.body_bytes_max", self.http.body_bytes_max),
            ("http.websocket_queue", self.http.websocket_queue),
            ("http.head_seconds", self.http.head_seconds as usize),
            ("http.request_seconds", self.http.request_seconds as usize),
            (
                "http.websocket_ping_seconds",
                self.http.websocket_ping_seconds as usize,
            ),
            (
                "limits.public_per_second",
                self.limits.public_per_second as usize,
            ),
            ("limits.public_burst", self.limits.public_burst as usize),
            (
                "limits.private_per_second",
                self.limits.private_per_second as usize,
            ),
            ("limits.private_burst", self.limits.private_burst as usize),
            ("limits.attempts_burst", self.limits.attempts_burst as usize),
            ("keep.ouch_mib", self.keep.ouch_mib),
        ];
        match numbers.iter().find(|(_, number)| *number == 0) {
            Some((name, _)) => Err(format!(
                "{name} is 0, which lets nothing through; give a number"
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path).map_err(|it| it.to_string())
    }

    const GOOD: &str = "market = \"m.toml\"\nstore = \"/s\"\n[http]\nlisten = \"127.0.0.1:0\"\n\
        [[shard]]\nname = \"one\"\nring = \"one.ring\"\nudp = \"127.0.0.1:9000\"\n";

    #[test]
    fn paths_are_from_the_files_folder() {
        let config = load(GOOD).unwrap();
        let folder = config.path.parent().unwrap();
        assert_eq!(config.market, folder.join("m.toml"));
        assert_eq!(config.store, Path::new("/s"));
        assert_eq!(config.shards[0].ring, Some(folder.join("one.ring")));
    }

    #[test]
    fn what_is_wrong_is_said_with_what_to_do() {
        let check = |from: &str, to: &str, wanted: &str| {
            assert!(GOOD.contains(from));
            let error = load(&GOOD.replace(from, to)).unwrap_err();
            assert!(error.contains(wanted), "{error}");
        };
        check("127.0.0.1:0", "0.0.0.0:0", "without TLS");
        check("ring = \"one.ring\"\n", "", "neither `ring` nor `journal`");
        check("udp = \"127.0.0.1:9000\"\n", "", "`door` or `udp`");
        check("store", "stroe", "unknown field");
        check(
            "[http]\n",
            "[http]\nbody_bytes_max = 0\n",
            "body_bytes_max is 0",
        );
        assert!(Config::load(Path::new("/nowhere/at-all")).is_err());
    }
}
