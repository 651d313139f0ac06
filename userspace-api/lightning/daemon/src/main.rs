//! `ring0-lightning`: see the library.

use clap::{Parser, Subcommand};
use ring0_lightning_daemon::{Config, Verb, run};
use ring0_socket::Client;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

/// A venue's Lightning: deposits by invoice, withdrawals to invoices, channels.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Serve until SIGTERM or SIGINT.
    Run {
        /// The configuration (docs/lightning.md).
        #[arg(value_name = "FILE")]
        config: PathBuf,
        /// End when the process that started this one does: for demos and tests.
        #[arg(long, hide = true)]
        with_parent: bool,
    },
    /// Check a configuration and its market file.
    Check {
        /// The configuration.
        #[arg(value_name = "FILE")]
        config: PathBuf,
    },
    /// Ask the process that serves; prints its answer as JSON.
    Ask {
        /// Its configuration.
        #[arg(value_name = "FILE")]
        config: PathBuf,
        #[command(subcommand)]
        verb: Verb,
    },
}

fn main() -> ExitCode {
    match obey(Cli::parse().what) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ring0-lightning: {error}");
            ExitCode::FAILURE
        }
    }
}

fn obey(what: What) -> Result<(), Box<dyn Error>> {
    match what {
        What::Run {
            config,
            with_parent,
        } => {
            if with_parent {
                ring0d::end_with_parent();
            }
            run(Config::load(&config)?)
        }
        What::Check { config } => {
            let config = Config::load(&config)?;
            println!(
                "{} carries {} to and from shard {}",
                config.rail, config.asset.name, config.plan.shard.name
            );
            Ok(())
        }
        What::Ask { config, verb } => {
            let config = Config::load(&config)?;
            println!("{}", Client::connect(&config.socket())?.call(&verb)?);
            Ok(())
        }
    }
}
