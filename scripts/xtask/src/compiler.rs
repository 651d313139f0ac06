//! Which compiler builds the eBPF program, and which linker.
//!
//! A rustup nightly with rust-src if there is one, otherwise Debian's `rustc-web`, whose package
//! `rust-web-src` ships the library sources. `scripts/setup` chooses in the same order.

use crate::program::BuildError;
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// A compiler that can build `core` for another target.
pub(crate) struct Compiler {
    pub(crate) rustc: PathBuf,
    pub(crate) cargo: PathBuf,
    pub(crate) linker: PathBuf,
    pub(crate) versions: Versions,
}

/// What decides the instructions besides the sources.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub(crate) struct Versions {
    /// First line of `rustc --version`.
    pub(crate) compiler: String,
    /// LLVM of the compiler.
    pub(crate) llvm: String,
    /// `bpf-linker --version`, and the LLVM it was built with where it says so.
    pub(crate) linker: String,
}

impl std::fmt::Display for Versions {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "{}, LLVM {}, {}",
            self.compiler, self.llvm, self.linker
        )
    }
}

/// Finds compiler and linker.
pub(crate) fn find(root: &Path) -> Result<Compiler, BuildError> {
    let (rustc, cargo) = nightly().or_else(debian).ok_or(BuildError::NoCompiler)?;
    let linker = [root.join("target/tools/bin/bpf-linker")]
        .into_iter()
        .find(|path| path.is_file())
        .ok_or(BuildError::NoLinker)?;
    let verbose = output(Command::new(&rustc).arg("-vV"))?;
    let compiler = verbose.lines().next().unwrap_or_default().to_owned();
    let llvm = verbose
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "))
        .unwrap_or("unknown")
        .to_owned();
    let linker_version = output(Command::new(&linker).arg("--version"))?;
    let versions = Versions {
        compiler,
        llvm,
        linker: linker_version.trim().to_owned(),
    };
    Ok(Compiler {
        rustc,
        cargo,
        linker,
        versions,
    })
}

fn nightly() -> Option<(PathBuf, PathBuf)> {
    let sysroot = Command::new("rustup")
        .args(["run", "nightly", "rustc", "--print", "sysroot"])
        .output()
        .ok()?;
    let sysroot = PathBuf::from(String::from_utf8(sysroot.stdout).ok()?.trim());
    let sources = sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs");
    sources
        .is_file()
        .then(|| (sysroot.join("bin/rustc"), sysroot.join("bin/cargo")))
}

fn debian() -> Option<(PathBuf, PathBuf)> {
    let rustc = PathBuf::from("/usr/bin/rustc");
    let cargo = PathBuf::from("/usr/bin/cargo");
    let sources = Path::new("/usr/lib/rustlib/src/rust/library/core/src/lib.rs");
    (rustc.is_file() && cargo.is_file() && sources.is_file()).then_some((rustc, cargo))
}

fn output(command: &mut Command) -> Result<String, BuildError> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|source| BuildError::Run {
        name: name.clone(),
        source,
    })?;
    String::from_utf8(output.stdout).map_err(|_| BuildError::NotText { name })
}
