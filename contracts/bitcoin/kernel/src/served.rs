//! The chain behind a node's JSON-RPC interface on loopback, with as much of a mempool as one needs that judges nothing: transactions
//! wait for the next block, one that spends what another spends takes its place, and the engine judges the block.

use std::{
    collections::{HashMap, HashSet},
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use bitcoin::{
    Amount, OutPoint, Sequence, Transaction, TxIn, TxOut, Txid, Witness,
    absolute::LockTime,
    consensus::encode::{deserialize_hex, serialize_hex},
    transaction::Version,
};
use serde_json::{Value, json};

use crate::Regtest;

/// What a transaction that the chain's own key signs pays for its block, satoshi.
const FEE: Amount = Amount::from_sat(1_000);

/// A chain and what waits for its next block.
pub struct Chain {
    /// The chain.
    pub regtest: Regtest,
    waiting: Vec<Transaction>,
    /// Every output of a mined transaction.
    outputs: HashMap<OutPoint, TxOut>,
    spent: HashSet<OutPoint>,
    /// Transactions of blocks, in order, without coinbases.
    mined: Vec<Transaction>,
}

impl Chain {
    /// Takes a transaction for the next block.
    ///
    /// # Errors
    /// An input is spent or unknown: the engine's words.
    pub fn take(&mut self, tx: Transaction) -> Result<(), String> {
        if self.mined.contains(&tx) || self.waiting.contains(&tx) {
            return Ok(());
        }
        let known = |place: &OutPoint| {
            self.outputs.contains_key(place)
                || self
                    .waiting
                    .iter()
                    .any(|it| it.compute_txid() == place.txid)
        };
        if tx.input.iter().any(|input| {
            self.spent.contains(&input.previous_output) || !known(&input.previous_output)
        }) {
            return Err("bad-txns-inputs-missingorspent".to_owned());
        }
        // What spends the same goes, and what spends that.
        let mut gone: Vec<Txid> = Vec::new();
        let places: HashSet<_> = tx.input.iter().map(|input| input.previous_output).collect();
        self.waiting.retain(|it| {
            let goes = it.input.iter().any(|input| {
                places.contains(&input.previous_output)
                    || gone.contains(&input.previous_output.txid)
            });
            if goes {
                gone.push(it.compute_txid());
            }
            !goes
        });
        self.waiting.push(tx);
        Ok(())
    }

    /// The transactions that wait.
    pub fn waiting(&self) -> &[Transaction] {
        &self.waiting
    }

    /// Transactions of blocks, in order, without coinbases.
    pub fn mined(&self) -> &[Transaction] {
        &self.mined
    }

    /// What a mined transaction paid for its block.
    ///
    /// # Panics
    /// When it was not mined here.
    pub fn fee(&self, tx: &Transaction) -> Amount {
        let spent: Amount = tx
            .input
            .iter()
            .map(|input| self.outputs[&input.previous_output].value)
            .sum();
        spent - tx.output.iter().map(|output| output.value).sum()
    }

    /// A block with all that waits, then empty ones. How many transactions it took.
    ///
    /// # Panics
    /// When the engine refuses: then one of the transactions is not valid.
    pub fn mine(&mut self, blocks: u32) -> usize {
        let waiting = std::mem::take(&mut self.waiting);
        let taken = waiting.len();
        if let Err(reason) = self.regtest.confirm(&waiting) {
            panic!("Bitcoin Core's engine refuses a block of {waiting:#?}: {reason}");
        }
        for tx in waiting {
            let txid = tx.compute_txid();
            self.spent
                .extend(tx.input.iter().map(|input| input.previous_output));
            for (vout, output) in (0..).zip(&tx.output) {
                self.outputs.insert(OutPoint { txid, vout }, output.clone());
            }
            self.mined.push(tx);
        }
        self.regtest.mine(blocks.saturating_sub(1));
        taken
    }

    /// A coin of the chain's own goes to a script, with the next block.
    ///
    /// # Panics
    /// When the coin is smaller.
    pub fn pay(&mut self, script: bitcoin::ScriptBuf, value: Amount) {
        let (outpoint, coin) = self.regtest.coin();
        self.outputs.insert(outpoint, coin.clone());
        let change = TxOut {
            value: coin.value - value - FEE,
            script_pubkey: self.regtest.script(),
        };
        let mut tx = Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                previous_output: outpoint,
                script_sig: bitcoin::ScriptBuf::new(),
                sequence: Sequence::MAX,
                witness: Witness::new(),
            }],
            output: vec![
                TxOut {
                    value,
                    script_pubkey: script,
                },
                change,
            ],
        };
        self.regtest.sign(&mut tx, 0, &[coin]);
        self.take(tx).expect("the coin is there");
    }
}

/// A chain that answers.
pub struct Served {
    chain: Arc<Mutex<Chain>>,
    port: u16,
    folder: tempfile::TempDir,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    /// A fresh chain behind any free port.
    ///
    /// # Panics
    /// Without a port or a folder.
    pub fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join(".cookie"), "__cookie__:regtest").expect("it is new");
        let chain = Arc::new(Mutex::new(Chain {
            regtest: Regtest::new(),
            waiting: Vec::new(),
            outputs: HashMap::new(),
            spent: HashSet::new(),
            mined: Vec::new(),
        }));
        let stopping = Arc::new(AtomicBool::new(false));
        let (behind, stop) = (chain.clone(), stopping.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Acquire) {
                    return;
                }
                // A client that dies in the middle of a question is no concern of the chain.
                let _ = stream.and_then(|stream| answer(stream, &behind));
            }
        });
        Self {
            chain,
            port,
            folder,
            stopping,
            thread: Some(thread),
        }
    }

    /// The chain.
    ///
    /// # Panics
    /// After a panic with it.
    pub fn chain(&self) -> MutexGuard<'_, Chain> {
        self.chain.lock().expect("no panic while locked")
    }

    /// Where it answers.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The cookie that a client needs.
    pub fn cookie(&self) -> PathBuf {
        self.folder.path().join(".cookie")
    }

    /// A folder that goes with it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Default for Served {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)); // wakes it
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(mut stream: TcpStream, chain: &Mutex<Chain>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
    let request = loop {
        let read = stream.read(&mut part)?;
        if read == 0 {
            return Ok(());
        }
        bytes.extend_from_slice(&part[..read]);
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: "))
                .and_then(|length| length.parse::<usize>().ok())
                .unwrap_or_default();
            if body.len() >= length {
                break serde_json::from_str::<Value>(body)?;
            }
        }
    };
    let result = {
        let mut chain = chain.lock().expect("no panic while locked");
        call(
            &mut chain,
            request["method"].as_str().unwrap_or_default(),
            &request["params"],
        )
    };
    let (status, body) = match result {
        Ok(result) => ("200 OK", json!({"result": result, "error": null, "id": 0})),
        Err((code, message)) => (
            "500 Internal Server Error",
            json!({"result": null, "error": {"code": code, "message": message}, "id": 0}),
        ),
    };
    write!(
        stream,
        "HTTP/1.0 {status}\r\nContent-Type: application/json\r\n\r\n{body}"
    )
}

fn call(chain: &mut Chain, method: &str, params: &Value) -> Result<Value, (i64, String)> {
    let text = |place: usize| params[place].as_str().unwrap_or_default().to_owned();
    match method {
        "getblockcount" => Ok(json!(chain.regtest.height())),
        "getblockhash" => {
            let height = params[0]
                .as_u64()
                .and_then(|height| u32::try_from(height).ok());
            let hash = height
                .filter(|height| *height <= chain.regtest.height())
                .and_then(|height| chain.regtest.hash_at(height));
            hash.map(|hash| json!(hash.to_string()))
                .ok_or((-8, "Block height out of range".to_owned()))
        }
        "getblock" => {
            let hash = text(0).parse().map_err(|_| (-8, "no hash".to_owned()))?;
            let block = chain.regtest.block(&hash);
            block
                .map(|block| json!(serialize_hex(block)))
                .ok_or((-5, "Block not found".to_owned()))
        }
        "sendrawtransaction" => {
            let tx: Transaction = deserialize_hex(&text(0))
                .map_err(|error| (-22, format!("TX decode failed: {error}")))?;
            let txid = tx.compute_txid();
            chain.take(tx).map_err(|reason| (-25, reason))?;
            Ok(json!(txid.to_string()))
        }
        "estimatesmartfee" => {
            Ok(json!({"errors": ["Insufficient data or no feerate found"], "blocks": 2}))
        }
        _ => Err((-32_601, "Method not found".to_owned())),
    }
}
