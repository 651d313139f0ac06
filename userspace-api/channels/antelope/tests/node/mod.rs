//! A node of a test's own: the built hub and a token in the VeRT virtual machine behind nodeos' HTTP API, on loopback, ended with the value.

use ring0_channels::B256;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Once;

/// A node.
pub(crate) struct Node {
    child: Child,
    port: u64,
    /// The pinned block.
    pub(crate) branch: B256,
    /// How long a dispute may be answered, seconds.
    pub(crate) window: u64,
}

/// What the contracts' folder has: the tools, and the compiled hub; both are made if they are not there.
fn contracts() -> PathBuf {
    static BUILT: Once = Once::new();
    let folder = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../contracts/antelope"
    ));
    BUILT.call_once(|| {
        for program in ["setup", "build"] {
            let mut command = Command::new(folder.join(program));
            // The folder is a workspace of its own, with its own output.
            command.current_dir(&folder).env_remove("CARGO_TARGET_DIR");
            let ran = command.output();
            let ran = ran.unwrap_or_else(|error| panic!("{program}: {error}"));
            let said = String::from_utf8_lossy(&ran.stderr);
            assert!(ran.status.success(), "{program}: {said}");
        }
    });
    folder
}

impl Node {
    /// Starts one on which the hub has these settings and accounts these keys.
    pub(crate) fn start(chain: B256, settings: &Value, keys: &Value) -> Node {
        let digits = alloy_primitives::hex::encode(chain);
        let given = json!({"chain": digits, "settings": settings, "keys": keys});
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node/node.mjs");
        let mut child = Command::new("node")
            .args([script, contracts().to_str().unwrap(), &given.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts: run contracts/antelope/setup");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let ready: Value = serde_json::from_str(&line).expect("the node says where it is");
        Node {
            child,
            port: ready["port"].as_u64().unwrap(),
            branch: ready["branch"].as_str().unwrap().parse().unwrap(),
            window: ready["window"].as_u64().unwrap(),
        }
    }

    /// Where it answers.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    fn control(&self, what: &str, parameters: &Value) -> Value {
        let url = format!("{}test/{what}", self.url());
        let mut answer = ureq::post(&url).send_json(parameters).unwrap();
        answer.body_mut().read_json().unwrap()
    }

    /// Blocks, each this many seconds behind the one before.
    pub(crate) fn mine(&self, blocks: u64, seconds: u64) {
        self.control("mine", &json!({"blocks": blocks, "seconds": seconds}));
    }

    /// Where [`Node::fork`] goes back to.
    pub(crate) fn mark(&self) {
        self.control("mark", &json!({}));
    }

    /// Takes back all blocks since the mark; the next ones are others.
    pub(crate) fn fork(&self) {
        self.control("fork", &json!({}));
    }

    /// Units of the token that an account has.
    pub(crate) fn balance(&self, account: &str) -> u64 {
        let it = self.control("balance", &json!({"account": account}));
        it["balance"].as_u64().unwrap()
    }

    /// From now on it runs without transaction status.
    pub(crate) fn forget_status(&self) {
        self.control("forget_status", &json!({}));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill(); // ended already
        let _ = self.child.wait();
    }
}
