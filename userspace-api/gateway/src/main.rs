//! `ring0-gateway`: see the library.

use clap::{Parser, Subcommand, ValueEnum};
use ring0_gateway::{Checked, Listening, hello, openapi_json, ouch_password, run};
use ring0_identity::Address;
use ring0_trader::Session;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// The exchange's interfaces for people and programs: REST, WebSocket, OUCH over SoupBinTCP.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Serve until SIGTERM or SIGINT.
    Run {
        /// The configuration (docs/api.md#configuration).
        file: PathBuf,
        /// How the log is written, to standard error; RING0_LOG says what (default `info`).
        #[arg(long, value_enum, default_value = "text")]
        log: LogForm,
    },
    /// Read everything that a configuration names, and say what is wrong.
    Check {
        /// The configuration.
        file: PathBuf,
    },
    /// Bring an account of the market file into an organisation of people. While the gateway runs it has the log, and this is refused.
    AssignAccount {
        /// The configuration.
        file: PathBuf,
        /// The account's name in the market file.
        account: String,
        /// Number of the organisation, as `GET /v1/organisations` tells its members.
        organisation: u64,
        /// Address of the key that owns the account's channels and signs its grants.
        owner: Address,
        /// Address of the key that signs its states [default: the owner's].
        cosigner: Option<Address>,
    },
    /// Print the OpenAPI 3.1 document.
    Openapi,
    /// Print user and password with which a session logs in over OUCH. Both are secrets of its owner.
    OuchLogin {
        /// The session's key file.
        key_file: PathBuf,
    },
    /// Serve one route that says hello: what `ring0 bench rest` measures the gateway beside.
    #[command(hide = true)]
    Hello {
        /// Where.
        #[arg(default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum LogForm {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

fn log(form: LogForm) {
    let filter = EnvFilter::try_from_env("RING0_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match form {
        LogForm::Text => log.init(),
        LogForm::Json => log.json().init(),
    }
}

fn carry_out(verb: Verb) -> Result<(), Box<dyn std::error::Error>> {
    match verb {
        Verb::Run { file, log: form } => {
            log(form);
            run(Checked::load(&file)?, |listening: Listening| {
                // On standard output, for whoever has asked for any free port.
                println!("http {}", listening.http);
                if let Some(ouch) = listening.ouch {
                    println!("ouch {ouch}");
                }
                println!("ready");
            })?;
        }
        Verb::Check { file } => println!("{}", Checked::load(&file)?.summary()),
        Verb::AssignAccount {
            file,
            account,
            organisation,
            owner,
            cosigner,
        } => {
            let checked = Checked::load(&file)?;
            checked.assign_account(&account, organisation, owner, cosigner.unwrap_or(owner))?;
            println!("{account} is of organisation {organisation}; start the gateway");
        }
        Verb::Hello { listen } => hello(listen, |at| println!("http {at}\nready"))?,
        Verb::Openapi => print!("{}", openapi_json()),
        Verb::OuchLogin { key_file } => {
            let session = Session::open(&key_file)?;
            let password = ouch_password(&session).ok_or("the session has no key")?;
            let id = session.id().to_string();
            println!("user {}\npassword {password}\nsession {id}", &id[4..]);
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    match carry_out(Cli::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ring0-gateway: {error}");
            ExitCode::FAILURE
        }
    }
}
