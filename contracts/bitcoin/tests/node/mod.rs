//! A `litecoind` on regtest, started for one test: loopback, a free port, a temporary data directory; ended with the test.

#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]

use std::{
    net::{Ipv4Addr, TcpListener},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use bitcoin::{
    Amount, OutPoint, ScriptBuf, Transaction, TxOut, Txid,
    consensus::encode::{deserialize_hex, serialize_hex},
};
use ring0_bitcoin::{
    chain::Chain,
    fees::FeeInput,
    rpc::{Node, RpcError},
};
use serde_json::{Value, json};

pub const CHAIN: Chain = Chain::LitecoinRegtest;

/// BIP68 and BIP112 are rules of the chain from here on, not only of the mempool (regtest's `CSVHeight` in Litecoin Core 0.21).
const CSV_HEIGHT: u64 = 432;

pub struct Litecoind {
    child: Child,
    pub node: Node,
    _folder: tempfile::TempDir,
}

impl Litecoind {
    /// Starts a node, mines until relative locks are rules of the chain and coins are there to spend.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with replacement by fee, as every Bitcoin node has it; Litecoin's do not by default.
    pub fn start_with_replacement() -> Self {
        Self::start_with(&["-mempoolreplacement=1"])
    }

    fn start_with(options: &[&str]) -> Self {
        for _ in 0..5 {
            // The port is free now; another program may take it before the node does, hence the tries.
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .unwrap()
                .local_addr()
                .unwrap()
                .port();
            if let Some(started) = Self::start_on(port, options) {
                started.call("createwallet", &[json!("w")]);
                let address = started.call("getnewaddress", &[json!(""), json!("bech32")]);
                started.call("generatetoaddress", &[json!(CSV_HEIGHT + 1), address]);
                return started;
            }
        }
        panic!("litecoind did not start on five ports");
    }

    fn start_on(port: u16, options: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("litecoind");
        command
            .arg("-regtest")
            .arg(format!("-datadir={}", folder.path().display()))
            .arg(format!("-rpcport={port}"));
        // No peers at all. MWEB never begins: with it blocks from 432 on need peg-ins and have a part that Bitcoin's format does not.
        command.args([
            "-server",
            "-listen=0",
            "-connect=0",
            "-dnsseed=0",
            "-discover=0",
            "-vbparams=mweb:4000000000:4000000001",
        ]);
        command.args(options).args([
            "-fallbackfee=0.0002",
            "-txindex",
            "-acceptnonstdtxn=0",
            "-rpcbind=127.0.0.1",
            "-rpcallowip=127.0.0.1",
        ]);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut child = child.unwrap_or_else(|error| {
            panic!("cannot start litecoind ({error}): `apt-get install litecoind`")
        });
        let cookie = folder.path().join("regtest/.cookie");
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline {
            if child.try_wait().unwrap().is_some() {
                return None;
            }
            if let Ok(node) = Node::on_loopback(port, &cookie)
                && node.call("getblockchaininfo", &[]).is_ok()
            {
                return Some(Self {
                    child,
                    node,
                    _folder: folder,
                });
            }
            sleep(Duration::from_millis(50));
        }
        let _ = child.kill();
        let _ = child.wait();
        panic!("litecoind does not answer within a minute");
    }

    pub fn call(&self, method: &str, params: &[Value]) -> Value {
        self.node
            .call(method, params)
            .unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    pub fn mine(&self, blocks: u64) -> Vec<String> {
        let address = self.call("getnewaddress", &[json!(""), json!("bech32")]);
        let hashes = self.call("generatetoaddress", &[json!(blocks), address]);
        hashes
            .as_array()
            .unwrap()
            .iter()
            .map(|hash| hash.as_str().unwrap().to_owned())
            .collect()
    }

    /// A fresh script of the node's wallet.
    pub fn script(&self) -> ScriptBuf {
        let address = self.call("getnewaddress", &[json!(""), json!("bech32")]);
        CHAIN.script(address.as_str().unwrap()).unwrap()
    }

    /// An output of the wallet, which nothing else will take.
    pub fn coin(&self) -> FeeInput {
        let unspent = self.call("listunspent", &[json!(1)]);
        let coin = &unspent.as_array().unwrap()[0];
        let outpoint = OutPoint {
            txid: coin["txid"].as_str().unwrap().parse().unwrap(),
            vout: coin["vout"].as_u64().unwrap() as u32,
        };
        self.call(
            "lockunspent",
            &[
                json!(false),
                json!([{"txid": outpoint.txid.to_string(), "vout": outpoint.vout}]),
            ],
        );
        let script_pubkey = ScriptBuf::from_hex(coin["scriptPubKey"].as_str().unwrap()).unwrap();
        let value = Amount::from_btc(coin["amount"].as_f64().unwrap()).unwrap();
        FeeInput {
            outpoint,
            output: TxOut {
                value,
                script_pubkey,
            },
            witness_weight: 108,
        }
    }

    /// The wallet signs its inputs.
    pub fn sign(&self, tx: &Transaction) -> Transaction {
        let signed = self.call("signrawtransactionwithwallet", &[json!(serialize_hex(tx))]);
        deserialize_hex(signed["hex"].as_str().unwrap()).unwrap()
    }

    /// The wallet signs a bump of `penalty` again after it was changed. The penalty's witness is put back afterwards: this
    /// wallet aborts the node when it finds a taproot witness in what it is to sign.
    pub fn resign_fee_input(&self, changed: &Transaction, penalty: &Transaction) -> Transaction {
        let mut bare = changed.clone();
        bare.input
            .iter_mut()
            .for_each(|input| input.witness.clear());
        let mut signed = self.sign(&bare);
        signed.input[0].witness = penalty.input[0].witness.clone();
        signed
    }

    /// Sends a transaction; the reject reason when the node refuses it.
    pub fn send(&self, tx: &Transaction) -> Result<Txid, String> {
        match self
            .node
            .call("sendrawtransaction", &[json!(serialize_hex(tx)), json!(0)])
        {
            Ok(txid) => Ok(txid.as_str().unwrap().parse().unwrap()),
            Err(RpcError::Refused { message, .. }) => Err(message),
            Err(error) => panic!("{error}"),
        }
    }

    /// Puts a transaction into a block past the mempool; the reason when the chain's rules forbid it.
    pub fn force(&self, tx: &Transaction) -> Result<(), String> {
        let address = self.call("getnewaddress", &[json!(""), json!("bech32")]);
        match self
            .node
            .call("generateblock", &[address, json!([serialize_hex(tx)])])
        {
            Ok(_) => Ok(()),
            Err(RpcError::Refused { message, .. }) => Err(message),
            Err(error) => panic!("{error}"),
        }
    }

    /// Sends a transaction and mines it.
    pub fn confirm(&self, tx: &Transaction) {
        let txid = self.send(tx).unwrap();
        self.mine(1);
        assert!(self.confirmations(txid) >= Some(1), "{txid} was not mined");
    }

    pub fn confirmations(&self, txid: Txid) -> Option<u64> {
        self.call("getrawtransaction", &[json!(txid.to_string()), json!(true)])["confirmations"]
            .as_u64()
    }

    pub fn in_mempool(&self, txid: Txid) -> bool {
        self.call("getrawmempool", &[])
            .as_array()
            .unwrap()
            .contains(&json!(txid.to_string()))
    }

    /// The unspent output at a place in the chain, `None` when it is spent.
    pub fn unspent(&self, outpoint: OutPoint) -> Option<Amount> {
        let output = self.call(
            "gettxout",
            &[json!(outpoint.txid.to_string()), json!(outpoint.vout)],
        );
        Some(Amount::from_btc(output["value"].as_f64()?).unwrap())
    }
}

impl Drop for Litecoind {
    fn drop(&mut self) {
        let _ = self.node.call("stop", &[]);
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
