//! The user command as it is built, run from outside.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What a run of the command gave.
#[derive(Debug)]
pub struct Ran {
    /// Exit status; 256 when a signal ended it.
    pub status: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ran {
    /// The JSON object that it printed.
    ///
    /// # Panics
    /// It printed something else.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs `ring0` with these arguments.
///
/// # Panics
/// It cannot be built or started.
#[must_use]
pub fn ring0(arguments: &[&str]) -> Ran {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    run(BUILT.get_or_init(|| build("ring0")), arguments)
}

/// Runs `xdp-loader` with these arguments.
///
/// # Panics
/// It cannot be built or started.
#[must_use]
pub fn xdp_loader(arguments: &[&str]) -> Ran {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    run(BUILT.get_or_init(|| build("xdp-loader")), arguments)
}

fn run(program: &Path, arguments: &[&str]) -> Ran {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .expect("the command was just built");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran {
        status: output.status.code().unwrap_or(256),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// The binary beside this test's own, built once a run: cargo gives tests no binary of another package.
fn build(package: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a file");
    let folder = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
    // Whoever has just built everything with the tests' features would have it built once more with others.
    if std::env::var_os("RING0_BUILT").is_some() {
        return folder.join(package);
    }
    let with_dpdk = cfg!(feature = "dpdk") && package == "ring0";
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "-p", package])
        .args(["--bin", package])
        .args(with_dpdk.then_some("--features=dpdk"))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .status()
        .expect("cargo runs: it runs this test");
    assert!(status.success(), "`cargo build -p {package}` failed");
    folder.join(package)
}
