//! The trader's end: a node in the test's process, which pays and is paid.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::{
    collections::HashMap,
    error::Error,
    net::{Ipv4Addr, TcpListener},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bitcoin::{
    Network,
    hashes::{Hash, sha256},
};
use lightning_persister::fs_store::FilesystemStore;
use ring0_bitcoin::rpc::Node as Rpc;
use ring0_bitcoinkernel_tests::served::Served;
use ring0_lightning::{
    amount::Msat,
    core_node::CoreNode,
    node::{Node, Options, Payments},
};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The trader's side: takes every payment and remembers how its own ended.
#[derive(Default)]
pub(crate) struct Till {
    /// Fee in millisatoshi if it was paid, the reason if it failed.
    pub(crate) ended: Mutex<HashMap<sha256::Hash, Result<u64, String>>>,
    pub(crate) received: Mutex<HashMap<sha256::Hash, u64>>,
    pub(crate) refusing: Mutex<bool>,
}

impl Payments for Till {
    fn claimable(&self, _: sha256::Hash, _: Msat) -> bool {
        !*self.refusing.lock().unwrap()
    }
    fn claimed(&self, hash: sha256::Hash, amount: Msat) -> Result<(), Box<dyn Error>> {
        let before = self.received.lock().unwrap().insert(hash, amount.get());
        assert_eq!(before, None, "the trader was paid twice for {hash}");
        Ok(())
    }
    fn sent(&self, hash: sha256::Hash, fee: Option<Msat>, _: &str) -> Result<(), Box<dyn Error>> {
        let fee = fee.expect("LDK knows its fees").get();
        self.ended.lock().unwrap().insert(hash, Ok(fee));
        Ok(())
    }
    fn failed(&self, hash: sha256::Hash, reason: &str) -> Result<(), Box<dyn Error>> {
        self.ended
            .lock()
            .unwrap()
            .insert(hash, Err(reason.to_owned()));
        Ok(())
    }
}

pub(crate) fn until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// A node that takes channels if it is the payee, and forwards if it is the trader.
pub(crate) fn node(chain: &Served, name: &str, till: Arc<Till>) -> Node {
    let rpc = Rpc::on_loopback(chain.port(), &chain.cookie()).unwrap();
    let options = Options {
        network: Network::Regtest,
        seed: sha256::Hash::hash(name.as_bytes()).to_byte_array(),
        store: Arc::new(FilesystemStore::new(chain.folder().join(name))),
        blocks: Arc::new(CoreNode::new(rpc, Network::Regtest).unwrap()),
        listen: Some((Ipv4Addr::LOCALHOST, 0).into()),
        accept_channels: name != "trader",
        forward: name == "trader",
        delay_blocks: 144,
        confirmations: 3,
        poll: Duration::from_millis(50),
        reserve_sat_per_kw: 2_500,
        log: Arc::new({
            let name = name.to_owned();
            move |line| {
                if std::env::var_os("RING0_LOG").is_some() {
                    eprintln!("{name}: {line}");
                }
            }
        }),
    };
    let mut node = Node::load(options, till).unwrap();
    node.turn().unwrap();
    node.run().unwrap();
    node
}
