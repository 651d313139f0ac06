//! A real EVM node (anvil) of a test's own, on loopback, ended with the value; and calls of the hub on it.

#![allow(dead_code, reason = "each test takes what it needs")]

pub(crate) mod hub;

use alloy_primitives::{Address, B256, Bytes, U256, hex};
use alloy_sol_types::{SolCall, SolValue};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a node may take to answer on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the contracts' folder has: the tools, and the compiled hub.
pub(crate) fn contracts() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../contracts/evm"
    ))
}

/// The hub's creation code; compiled if it is not.
pub(crate) fn hub_code() -> Vec<u8> {
    let folder = contracts();
    let run = |program: &str, arguments: &[&str]| {
        let ran = Command::new(folder.join(program))
            .args(arguments)
            .current_dir(&folder)
            .output();
        let ran = ran.unwrap_or_else(|error| panic!("{program}: {error}"));
        assert!(
            ran.status.success(),
            "{program}: {}",
            String::from_utf8_lossy(&ran.stderr)
        );
    };
    run("setup", &["--no-halmos"]);
    run("tools/bin/forge", &["build"]);
    let built = std::fs::read(folder.join("out/cancun/ChannelHub.sol/ChannelHub.json")).unwrap();
    let built: Value = serde_json::from_slice(&built).unwrap();
    hex::decode(built["bytecode"]["object"].as_str().unwrap()).unwrap()
}

/// A node.
pub(crate) struct Node {
    child: Child,
    address: String,
}

/// What a node refused.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) Value);

impl Refused {
    /// The bytes that a contract reverted with.
    pub(crate) fn data(&self) -> Vec<u8> {
        let data = self.0["data"]
            .as_str()
            .unwrap_or_else(|| panic!("no revert: {}", self.0));
        hex::decode(data).unwrap()
    }
}

impl Node {
    /// Starts one with this chain id, with the state and blocks of a file or anew; nothing is mined by itself but what is sent.
    pub(crate) fn start(chain_id: u64, load: Option<&Path>, dump: Option<&Path>) -> Node {
        // Free now; another process may take it first, and then the node ends and says so.
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut command = Command::new(contracts().join("tools/bin/anvil"));
        command
            .args(["--host", "127.0.0.1", "--silent", "--hardfork", "cancun"])
            .args([
                "--port",
                &port.to_string(),
                "--chain-id",
                &chain_id.to_string(),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        for (flag, file) in [("--load-state", load), ("--dump-state", dump)] {
            if let Some(file) = file {
                command.arg(flag).arg(file);
            }
        }
        let node = Node {
            child: command
                .spawn()
                .expect("anvil starts: run contracts/evm/setup"),
            address: format!("127.0.0.1:{port}"),
        };
        let end = Instant::now() + PATIENCE;
        while node.try_call("eth_chainId", &json!([])).is_none() {
            assert!(Instant::now() < end, "the node does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        node
    }

    /// Where it answers.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// One request; `None`: nobody answers.
    fn try_call(&self, method: &str, parameters: &Value) -> Option<Value> {
        let url = format!("http://{}/", self.address);
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters});
        let mut answer = ureq::post(&url).send_json(&request).ok()?;
        answer.body_mut().read_json().ok()
    }

    pub(crate) fn call(&self, method: &str, parameters: Value) -> Result<Value, Refused> {
        let answer = self.try_call(method, &parameters);
        let mut answer = answer.unwrap_or_else(|| panic!("{method}: no answer"));
        match answer.get("error") {
            Some(error) => Err(Refused(error.clone())),
            None => Ok(answer["result"].take()),
        }
    }

    fn number(&self, method: &str, parameters: Value) -> u64 {
        let value = self.call(method, parameters).unwrap();
        u64::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
    }

    pub(crate) fn height(&self) -> u64 {
        self.number("eth_blockNumber", json!([]))
    }

    pub(crate) fn chain_id(&self) -> u64 {
        self.number("eth_chainId", json!([]))
    }

    pub(crate) fn block_hash(&self, number: u64) -> B256 {
        let block = self.call(
            "eth_getBlockByNumber",
            json!([format!("{number:#x}"), false]),
        );
        block.unwrap()["hash"].as_str().unwrap().parse().unwrap()
    }

    pub(crate) fn balance(&self, of: Address) -> U256 {
        let value = self.call("eth_getBalance", json!([of, "latest"])).unwrap();
        value.as_str().unwrap().parse().unwrap()
    }

    /// Mines blocks, each this many seconds behind the one before.
    pub(crate) fn mine(&self, blocks: u64, seconds: u64) {
        let parameters = json!([format!("{blocks:#x}"), format!("{seconds:#x}")]);
        self.call("anvil_mine", parameters).unwrap();
    }

    /// One of the node's own accounts, which it signs for.
    pub(crate) fn account(&self, number: usize) -> Address {
        let all = self.call("eth_accounts", json!([])).unwrap();
        all[number].as_str().unwrap().parse().unwrap()
    }

    /// Sends a transaction and waits until it is mined; gives its receipt.
    fn transact(&self, transaction: Value) -> Result<Value, Refused> {
        // Asked first: a revert's bytes are in this answer alone.
        self.call("eth_call", json!([transaction.clone(), "latest"]))?;
        let hash = self.call("eth_sendTransaction", json!([transaction]))?;
        let end = Instant::now() + PATIENCE;
        loop {
            let receipt = self.call("eth_getTransactionReceipt", json!([hash]))?;
            if !receipt.is_null() {
                assert_eq!(receipt["status"], "0x1", "{receipt}");
                return Ok(receipt);
            }
            assert!(Instant::now() < end, "{hash} is not mined");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Puts a contract on the chain.
    pub(crate) fn deploy(&self, from: Address, code: &[u8], arguments: impl SolValue) -> Address {
        let code = [code, &arguments.abi_encode()].concat();
        let code = Bytes::from(code);
        let receipt = self
            .transact(json!({"from": from, "data": code, "gas": "0x1c9c380"}))
            .unwrap();
        receipt["contractAddress"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap()
    }

    /// Sends a call to a contract.
    pub(crate) fn send(
        &self,
        from: Address,
        to: Address,
        value: u128,
        call: &impl SolCall,
    ) -> Result<Value, Refused> {
        let data = Bytes::from(call.abi_encode());
        self.transact(json!({"from": from, "to": to, "value": format!("{value:#x}"), "data": data, "gas": "0x1e8480"}))
    }

    /// Ends it as an interrupt does: it writes its state where it was told to.
    pub(crate) fn interrupt(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill(); // ended already
        let _ = self.child.wait();
    }
}
