//! Build chores with logic in them: `cargo xtask --help`.
#![deny(unsafe_code)]

mod compiler;
mod kept;
mod object_rules;
mod program;

use clap::{Parser, Subcommand};
use std::{path::Path, process::ExitCode};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Build chores with logic in them.")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Build the eBPF program; prints the object's path.
    Ebpf(EbpfArguments),
}

/// Without an option: build into `ebpf/target` and check the object.
#[derive(clap::Args)]
#[group(multiple = false)]
struct EbpfArguments {
    /// Build, then replace the kept object in `ebpf/prebuilt`.
    #[arg(long)]
    keep: bool,
    /// Build, then compare with the kept object: instructions must be equal when compiler and
    /// linker are (exit 0 equal, 1 differs, 3 not comparable because the compiler differs).
    #[arg(long)]
    check: bool,
    /// Say whether the kept object was made from the sources as they are (exit 0 yes, 1 no).
    #[arg(long)]
    current: bool,
    /// Print the path of a usable object: the kept one if it is current, otherwise a new build.
    #[arg(long)]
    path: bool,
    /// Build the matcher with its log (`docs/decisions/0022-kernel-log.md`) into `ebpf/target`, beside
    /// the programs; prints the object's path. Never kept.
    #[arg(long)]
    log: bool,
}

/// Exit code of `--check` when the versions differ, so that nothing can be said.
const EXIT_NOT_COMPARABLE: u8 = 3;

fn main() -> ExitCode {
    let Chore::Ebpf(arguments) = Arguments::parse().chore;
    // The manifest lies in `scripts/xtask`.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = root.canonicalize().unwrap_or(root);
    match ebpf(&root, &arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn ebpf(root: &Path, arguments: &EbpfArguments) -> Result<ExitCode, program::BuildError> {
    if arguments.current {
        return Ok(match kept::staleness(root)? {
            None => {
                println!("the kept objects in ebpf/prebuilt are current");
                ExitCode::SUCCESS
            }
            Some(reason) => {
                eprintln!("xtask: {reason}; `cargo xtask ebpf --keep` renews it");
                ExitCode::FAILURE
            }
        });
    }
    if arguments.path && kept::staleness(root)?.is_none() {
        println!(
            "{}",
            kept::object_path(root, program::PROGRAMS[0]).display()
        );
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.log {
        println!("{}", program::build_log(root)?.display());
        return Ok(ExitCode::SUCCESS);
    }
    let built = program::build(root)?;
    if arguments.keep {
        kept::replace(root, &built)?;
        println!(
            "{}",
            kept::object_path(root, program::PROGRAMS[0]).display()
        );
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.check {
        return Ok(match kept::compare(root, &built)? {
            kept::Comparison::Equal => {
                println!("the kept object has the instructions that these sources give");
                ExitCode::SUCCESS
            }
            kept::Comparison::Differs(what) => {
                eprintln!(
                    "xtask: the kept object differs from its sources ({what}); \
                     `cargo xtask ebpf --keep` renews it"
                );
                ExitCode::FAILURE
            }
            kept::Comparison::OtherTools { kept, here } => {
                println!(
                    "not comparable: kept object by {kept}, here {here}; run the differential \
                     suite on both"
                );
                ExitCode::from(EXIT_NOT_COMPARABLE)
            }
        });
    }
    let printed = if arguments.path {
        1
    } else {
        built.objects.len()
    };
    for object in &built.objects[..printed] {
        println!("{}", object.path.display());
    }
    Ok(ExitCode::SUCCESS)
}
