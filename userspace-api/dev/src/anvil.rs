//! A chain of one's own: anvil on loopback, gone with the value, and the contracts that are put on it.

use crate::{Trouble, port};
use alloy_primitives::{Address, Bytes, U256, hex};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the contracts are, from the root of the repository.
const CONTRACTS: &str = "contracts/evm";

/// A node.
#[derive(Debug)]
pub struct Node {
    child: Child,
    /// Its RPC address.
    pub url: String,
}

/// The folder of the contracts: under this folder or the one that this program was built in.
fn contracts() -> Result<PathBuf, Trouble> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let places = [PathBuf::from("."), built];
    let found = places.iter().map(|it| it.join(CONTRACTS));
    let found = found
        .into_iter()
        .find(|it| it.join("foundry.toml").exists());
    found.ok_or_else(|| {
        Trouble::from(format!(
            "there is no {CONTRACTS} here; run this in a checkout of the repository"
        ))
    })
}

fn run(folder: &Path, program: &str, arguments: &[&str]) -> Result<(), Trouble> {
    let ran = Command::new(folder.join(program).canonicalize()?)
        .args(arguments)
        .current_dir(folder)
        .output()?;
    match ran.status.success() {
        true => Ok(()),
        false => Err(Trouble::from(format!(
            "{program} failed: {}",
            String::from_utf8_lossy(&ran.stderr).trim()
        ))),
    }
}

/// Whether the folder of the contracts and its tools are here: without them there is no chain.
#[must_use]
pub fn is_here() -> bool {
    contracts().is_ok_and(|folder| folder.join("tools/bin/anvil").exists())
}

/// Creation code of a contract; what is missing is installed and compiled.
///
/// # Errors
/// No contracts here, or their compiler's.
pub fn code(contract: &str) -> Result<Vec<u8>, Trouble> {
    let folder = contracts()?;
    run(&folder, "setup", &["--no-halmos"])?;
    run(&folder, "tools/bin/forge", &["build"])?;
    let built = std::fs::read(folder.join("out/cancun").join(contract))?;
    let built: Value = serde_json::from_slice(&built)?;
    let code = built["bytecode"]["object"].as_str().unwrap_or_default();
    hex::decode(code).map_err(|why| Trouble::from(format!("{contract}: {why}")))
}

impl Node {
    /// Starts one. It ends with this process, however that ends.
    ///
    /// # Errors
    /// There is none, or it does not answer.
    pub fn start() -> Result<Node, Trouble> {
        let anvil = contracts()?.join("tools/bin/anvil").canonicalize()?;
        // Free now; should another process take it first, the node ends and says so.
        let port = port::tcp(None)?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(anvil)
            .args(["--host", "127.0.0.1", "--silent", "--hardfork", "cancun"])
            .args(["--port", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        let mut node = Node {
            child,
            url: format!("http://127.0.0.1:{port}"),
        };
        let end = Instant::now() + PATIENCE;
        while node.call("eth_chainId", json!([])).is_err() {
            if node.child.try_wait()?.is_some() || Instant::now() > end {
                return Err(Trouble::from(
                    "the node does not answer; its message is above",
                ));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(node)
    }

    /// One request.
    ///
    /// # Errors
    /// The node's.
    pub fn call(&self, method: &str, parameters: Value) -> Result<Value, Trouble> {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters});
        let mut answer = ureq::post(&self.url)
            .send_json(&request)
            .map_err(|why| Trouble::from(format!("{method}: {why}")))?;
        let mut answer: Value = answer
            .body_mut()
            .read_json()
            .map_err(|why| Trouble::from(format!("{method}: {why}")))?;
        match answer.get("error") {
            Some(error) => Err(Trouble::from(format!("{method}: {error}"))),
            None => Ok(answer["result"].take()),
        }
    }

    /// Gives an address this much of the chain's coin.
    ///
    /// # Errors
    /// The node's.
    pub fn give(&self, to: Address, amount: u128) -> Result<(), Trouble> {
        self.call("anvil_setBalance", json!([to, U256::from(amount)]))?;
        Ok(())
    }

    /// Mines blocks, each this many seconds behind the one before.
    ///
    /// # Errors
    /// The node's.
    pub fn mine(&self, blocks: u64, seconds: u64) -> Result<(), Trouble> {
        let parameters = json!([U256::from(blocks), U256::from(seconds)]);
        self.call("anvil_mine", parameters)?;
        Ok(())
    }
}

/// Creation code with a constructor's arguments.
#[must_use]
pub fn creation(code: &[u8], arguments: &[u8]) -> Bytes {
    [code, arguments].concat().into()
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill(); // ended already
        let _ = self.child.wait();
    }
}
