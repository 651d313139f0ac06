//! Builds `ebpf/` for the kernel.

use crate::{
    compiler::{self, Versions},
    object_rules::{self, Violation},
};
use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
};

/// Rust's flags for the kernel's instruction set.
///
/// Version 3 has 32-bit arithmetic and atomics and is the newest that all arena kernels take.
/// Without the misaligned accesses `read_unaligned::<u64>` is fifteen instructions, with them one;
/// the verifier takes them for packets, maps and the arena (x86-64), never for the stack. (rustc
/// warns that the feature is unstable; so is all of this target.)
const FLAGS: [&str; 3] = [
    "-Ctarget-cpu=v3",
    "-Ctarget-feature=+allows-misaligned-mem-access",
    "-Cdebuginfo=0",
];

/// Why there is no object.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    #[error(
        "no compiler with library sources; run `scripts/setup`, or use the kept object ebpf/prebuilt/ring0.bpf.o"
    )]
    NoCompiler,
    #[error("no bpf-linker in target/tools; run `scripts/setup`")]
    NoLinker,
    #[error("cannot run {name}: {source}; run `scripts/setup`")]
    Run { name: String, source: io::Error },
    #[error("{name} printed something that is not text; run `scripts/setup` to replace it")]
    NotText { name: String },
    #[error("the eBPF program does not compile; the compiler's message is above")]
    Compile,
    #[error("{}", list(.0))]
    Rules(Vec<Violation>),
    #[error("{path}: {source}; the build wrote no object the linker could finish")]
    Elf {
        path: PathBuf,
        source: object::read::Error,
    },
    #[error("{path}: {source}; check that it is there and readable")]
    File { path: PathBuf, source: io::Error },
    #[error("{path}: {source}; `cargo xtask ebpf --keep` writes it anew")]
    Kept {
        path: PathBuf,
        source: toml::de::Error,
    },
}

fn list(violations: &[Violation]) -> String {
    let mut text = String::from("the object breaks the rules of the kernel ring (RULES 1):");
    for violation in violations {
        text.push_str(&format!("\n  {violation}"));
    }
    text.push_str("\n  remove the panic path (index by `get`, checked arithmetic, `ensure`)");
    text
}

/// The programs of `ebpf/`: the matcher, what the loader's tests load, what feeds the AF_XDP ring, what stands before several shards of one
/// interface, and what benches measure beside.
pub(crate) const PROGRAMS: [&str; 5] = ["ring0", "proof", "steer", "dispatch", "echo"];

/// [`PROGRAMS`]' matcher with its log.
const LOG_PROGRAM: &str = "ring0-log";

/// Where cargo puts objects, below the target folder.
const RELEASE: &str = "bpfel-unknown-none/release";

/// A finished object.
pub(crate) struct Object {
    /// One of [`PROGRAMS`].
    pub(crate) name: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
}

/// A finished build, with the objects in the order of [`PROGRAMS`].
pub(crate) struct Built {
    pub(crate) objects: [Object; PROGRAMS.len()],
    pub(crate) versions: Versions,
}

/// Compiles, links and checks the programs.
pub(crate) fn build(root: &Path) -> Result<Built, BuildError> {
    let folder = root.join("ebpf");
    let (folder, versions) = compile(root, &folder, &folder.join("target"), &[])?;
    let [ring0, proof, steer, dispatch, echo] =
        PROGRAMS.map(|name| checked(name, folder.join(name)));
    Ok(Built {
        objects: [ring0?, proof?, steer?, dispatch?, echo?],
        versions,
    })
}

/// Compiles, links and checks the matcher with its log, and gives its path: beside the programs, never in their place. It is
/// built in a folder of its own, because cargo would put it where the program without the log is.
pub(crate) fn build_log(root: &Path) -> Result<PathBuf, BuildError> {
    let folder = root.join("ebpf");
    let target = folder.join("target/log");
    let (objects, _) = compile(
        root,
        &folder,
        &target,
        &["--bin", "ring0", "--features", "log"],
    )?;
    let built = checked(PROGRAMS[0], objects.join(PROGRAMS[0]))?;
    let path = folder.join("target").join(RELEASE).join(LOG_PROGRAM);
    let error = |source| BuildError::File {
        path: path.clone(),
        source,
    };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(error)?;
    }
    // Whoever loads it meanwhile has the old file or the new one, whole.
    let next = path.with_extension(std::process::id().to_string());
    std::fs::write(&next, &built.bytes).map_err(error)?;
    std::fs::rename(&next, &path).map_err(error)?;
    Ok(path)
}

fn checked(name: &'static str, path: PathBuf) -> Result<Object, BuildError> {
    let bytes = read(&path)?;
    let violations = object_rules::violations(&bytes).map_err(|source| BuildError::Elf {
        path: path.clone(),
        source,
    })?;
    if violations.is_empty() {
        Ok(Object { name, path, bytes })
    } else {
        Err(BuildError::Rules(violations))
    }
}

/// Compiles the package in `folder` without judging it; gives the folder of the objects, below `target`.
fn compile(
    root: &Path,
    folder: &Path,
    target: &Path,
    options: &[&str],
) -> Result<(PathBuf, Versions), BuildError> {
    let compiler = compiler::find(root)?;
    let mut flags = FLAGS.map(str::to_owned).to_vec();
    flags.push(format!("-Clinker={}", compiler.linker.display()));
    let mut command = Command::new(&compiler.cargo);
    command
        .current_dir(folder)
        .args(["build", "--release", "--locked", "-Zbuild-std=core"])
        .args(["--target", "bpfel-unknown-none"])
        .arg("--target-dir")
        .arg(target)
        .args(options)
        .env("RUSTC", &compiler.rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    // What the outer cargo set is about another toolchain and target.
    for name in [
        "RUSTFLAGS",
        "RUSTUP_TOOLCHAIN",
        "RUSTC_WRAPPER",
        "CARGO_BUILD_TARGET",
        "RUSTDOC",
    ] {
        command.env_remove(name);
    }
    let status = command.status().map_err(|source| BuildError::Run {
        name: compiler.cargo.display().to_string(),
        source,
    })?;
    if !status.success() {
        return Err(BuildError::Compile);
    }
    Ok((target.join(RELEASE), compiler.versions))
}

/// A file's bytes, with its name in the error.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, BuildError> {
    std::fs::read(path).map_err(|source| BuildError::File {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that panics is refused, by the name of what it would call.
    #[test]
    fn panicking_program_is_refused() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        if compiler::find(&root).is_err() {
            eprintln!("skipped: no eBPF compiler here (`scripts/setup` installs it)");
            return;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join("src")).expect("a new folder");
        let manifest = "[package]\nname='ring0'\nversion='0.0.0'\nedition='2024'\n[profile.release]\npanic='abort'\nlto='fat'\n[workspace]\n";
        let program = "#![no_std]\n#![no_main]\n\
            #[unsafe(no_mangle)] #[unsafe(link_section = \"xdp\")]\n\
            pub extern \"C\" fn ring0(words: *const u32) -> u32 {\n\
                let index = unsafe { words.read_volatile() };\n\
                [1_u32, 2, 3, 4, 5][index as usize]\n\
            }\n\
            #[panic_handler] fn panic(_: &core::panic::PanicInfo<'_>) -> ! { loop {} }\n";
        let lock = "version = 4\n\n[[package]]\nname = \"ring0\"\nversion = \"0.0.0\"\n";
        for (name, text) in [
            ("Cargo.toml", manifest),
            ("Cargo.lock", lock),
            ("src/main.rs", program),
        ] {
            std::fs::write(folder.path().join(name), text).expect("a new file");
        }
        let (objects, _) = compile(&root, folder.path(), &folder.path().join("target"), &[])
            .expect("it compiles: that is the trap");
        let object = read(&objects.join("ring0")).expect("an object");
        let violations = object_rules::violations(&object).expect("an object file");
        assert!(
            violations
                .iter()
                .any(|one| matches!(one, Violation::Panic { .. })),
            "not seen: {violations:?}"
        );
    }
}
