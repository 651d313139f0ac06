//! The commands of `ring0-signer` and of `ring0 signer`.

mod ceremony;
mod key;
mod store;

use crate::approval::Approval;
use crate::client::Client;
use crate::desk::now_ms;
use crate::history::{self, Entry, Event, Filter, History};
use crate::home::{Home, SignerError};
use crate::message::Kind;
use crate::protocol::Request;
use crate::{passphrase, server};
use ring0_channels::B256;
use ring0_channels::key::Signer;
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The signer's folder.
    #[arg(
        long,
        value_name = "DIR",
        global = true,
        default_value = "/var/lib/ring0/signer"
    )]
    home: PathBuf,
    /// A venue's file: its table `[signer]` names the folder, and is the policy in place of the folder's signer.toml.
    #[arg(long, value_name = "FILE", global = true, conflicts_with = "home")]
    config: Option<PathBuf>,
    /// The signer's socket [default: as its signer.toml says]: for whoever reaches it from elsewhere.
    #[arg(long, value_name = "PATH", global = true)]
    socket: Option<PathBuf>,
    /// Answers as JSON, one object.
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    passphrase: passphrase::From,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a signer's folder: keystore, identity, history, and a signer.toml that allows nothing.
    Init {
        /// Highest epoch and version that there is: of a venue that has run with another signer.
        #[arg(long, value_name = "N", default_value_t = 0)]
        first_number: u64,
        /// How fast epochs and versions rise at most: batches a second. Fixed for good: what a lost store may have signed is bounded by it.
        #[arg(long, value_name = "N", default_value_t = 10)]
        per_second: u64,
    },
    /// Serve until ended by a signal.
    Serve(Serve),
    /// Keys: new, rotate, list.
    #[command(subcommand)]
    Key(key::Verb),
    /// Make a key in shares, over holders that are running.
    #[command(subcommand)]
    Ceremony(ceremony::Verb),
    /// Shares: refresh those of a key, show this holder's identity, serve as a holder.
    #[command(subcommand)]
    Share(Share),
    /// What was signed and refused.
    History(Search),
    /// Check the policy, and say what is wrong with it and what to do.
    Check,
    /// Check the whole history.
    Verify,
    /// Say yes to a request above a limit, with an approver's key.
    Approve {
        /// Digest of the request, as its refusal names it.
        request: B256,
        /// File with the approver's key, 64 hexadecimal digits, mode 0600.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Minutes that the yes counts for.
        #[arg(long, value_name = "N", default_value_t = 60)]
        minutes: u64,
        /// Do not ask again.
        #[arg(long)]
        yes: bool,
    },
    /// Let the signer sign nothing, whatever is asked.
    Stop,
    /// Let it sign again.
    Resume,
    /// How it is.
    Status,
    /// Its numbers, as Prometheus reads them.
    Metrics,
    /// Copy keystore, keys, policy and history into another folder, while it runs or not.
    Backup {
        /// The folder, which is made.
        to: PathBuf,
    },
    /// Go on from a backup: into a folder without a signer, or in this one after it was put back by other means.
    Restore {
        /// The backup's folder; left out: this folder is an old copy already.
        from: Option<PathBuf>,
        /// Sign no epoch or version up to here either.
        #[arg(long, value_name = "N", default_value_t = 0)]
        floor: u64,
    },
    /// Measure: signatures a second through the socket, with PKCS#11, and with three holders of shares.
    Bench(crate::bench::Args),
}

#[derive(Debug, clap::Args)]
struct Serve {
    /// Serve the numbers to Prometheus at this address too.
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics: Option<SocketAddr>,
    /// End when standard input does: for tests and for programs that start it.
    #[arg(long, hide = true)]
    with_parent: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Share {
    /// Serve as a holder of shares: a signer like any other, whose keys are shares.
    Serve(Serve),
    /// Show the identity that other holders have to know.
    Identity,
    /// Give the holders of a key new shares; the old ones are worth nothing afterwards.
    Refresh(ceremony::Refresh),
}

#[derive(Debug, clap::Args)]
struct Search {
    /// Of this kind of message.
    #[arg(long)]
    kind: Option<Kind>,
    /// Of this key.
    #[arg(long)]
    key: Option<String>,
    /// From this time on: seconds of Unix time, or so long ago (`30m`, `12h`, `7d`).
    #[arg(long, value_parser = time)]
    since: Option<u64>,
    /// Before this time.
    #[arg(long, value_parser = time)]
    until: Option<u64>,
    /// Of this digest.
    #[arg(long)]
    digest: Option<B256>,
    /// Only refusals.
    #[arg(long)]
    refused: bool,
    /// How: text, JSON lines, or CSV.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum Format {
    Text,
    Jsonl,
    Csv,
}

/// Milliseconds of Unix time.
fn time(text: &str) -> Result<u64, String> {
    let unit = text.chars().last().and_then(|unit| match unit {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(3600),
        'd' => Some(86_400),
        _ => None,
    });
    let digits = if unit.is_some() {
        &text[..text.len() - 1]
    } else {
        text
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "write seconds of Unix time, or 30m, 12h, 7d".to_owned())?;
    Ok(match unit {
        Some(unit) => now_ms().saturating_sub(number.saturating_mul(unit * 1000)),
        None => number.saturating_mul(1000),
    })
}

/// Runs a command.
///
/// # Errors
/// See [`SignerError`].
pub fn run(args: &Args) -> Result<(), SignerError> {
    let home = match &args.config {
        Some(file) => Home::of_venue(file)?,
        None => Home::new(&args.home),
    };
    let passphrase = || args.passphrase.read(false).map_err(SignerError::Passphrase);
    match &args.verb {
        Verb::Init {
            first_number,
            per_second,
        } => {
            if *per_second == 0 {
                return Err(SignerError::Refused(
                    "--per-second is at least 1".to_owned(),
                ));
            }
            let passphrase = args
                .passphrase
                .read(true)
                .map_err(SignerError::Passphrase)?;
            home.init(&passphrase, *first_number, *per_second)?;
            let text = format!(
                "{} is a signer: write its policy, {}, make its keys, serve",
                home.folder().display(),
                home.config_file().display()
            );
            args.say(&json!({"home": home.folder()}), &text)
        }
        Verb::Serve(serve) | Verb::Share(Share::Serve(serve)) => {
            serve_until_ended(args, &home, serve)
        }
        Verb::Key(verb) => key::run(args, &home, verb),
        Verb::Ceremony(verb) => ceremony::run(args, &home, verb),
        Verb::Share(Share::Identity) => {
            let store = crate::keystore::Keystore::open(&home.keystore_file(), &passphrase()?)?;
            let (_, public) = crate::sealed::identity(&store).map_err(SignerError::Refused)?;
            let identity = alloy_primitives::hex::encode(public.serialize());
            args.say(&json!({"identity": identity}), &identity)
        }
        Verb::Share(Share::Refresh(refresh)) => ceremony::refresh(args, &home, refresh),
        Verb::History(search) => show(&home, search),
        Verb::Check => {
            let config = home.config()?;
            let text = format!(
                "{}: good: {} keys, {} hubs, {} assets have rules",
                home.config_file().display(),
                config.keys.len(),
                config.hubs.len(),
                config.assets.len()
            );
            args.say(&json!({"ok": true, "keys": config.keys.len()}), &text)
        }
        Verb::Verify => {
            let seen = history::verify(&home.history())?;
            let text = format!("{} entries, whole; head {}", seen.entries, seen.head);
            args.say(
                &json!({"ok": true, "entries": seen.entries, "head": seen.head.to_string()}),
                &text,
            )
        }
        Verb::Approve {
            request,
            key,
            minutes,
            yes,
        } => approve(args, &home, *request, key, *minutes, *yes),
        Verb::Stop => args.tell(
            &home,
            &Request::Stop,
            "stopped: nothing is signed until `resume`",
        ),
        Verb::Resume => args.tell(&home, &Request::Resume, "signing again"),
        Verb::Status => {
            let status: Value = args.client(&home)?.call(&Request::Status)?;
            let lines = status.as_object().into_iter().flatten();
            let lines = lines.filter(|(name, _)| *name != "ok");
            let text: Vec<_> = lines
                .map(|(name, value)| format!("{name:16} {value}"))
                .collect();
            args.say(&status, &text.join("\n"))
        }
        Verb::Metrics => {
            let answer: Value = args.client(&home)?.call(&Request::Metrics)?;
            args.say(
                &answer,
                answer["text"].as_str().unwrap_or_default().trim_end(),
            )
        }
        Verb::Backup { to } => store::backup(args, &home, to),
        Verb::Restore { from, floor } => store::restore(args, &home, from.as_deref(), *floor),
        Verb::Bench(bench) => {
            let report = crate::bench::run(bench)?;
            let text = serde_json::to_string_pretty(&report).unwrap_or_default();
            args.say(&report, &text)
        }
    }
}

impl Args {
    fn say(&self, json: &Value, text: &str) -> Result<(), SignerError> {
        let line = if self.json {
            json.to_string()
        } else {
            text.to_owned()
        };
        writeln!(std::io::stdout(), "{line}").map_err(|source| SignerError::File {
            path: PathBuf::from("standard output"),
            source,
        })
    }

    fn client(&self, home: &Home) -> Result<Client, SignerError> {
        match &self.socket {
            Some(socket) => Ok(Client::connect(socket)?),
            None => Ok(Client::connect(&home.config()?.socket)?),
        }
    }

    fn tell(&self, home: &Home, request: &Request, text: &str) -> Result<(), SignerError> {
        let answer: Value = self.client(home)?.call(request)?;
        self.say(&answer, text)
    }

    /// The history of a signer that does not run, for a change of its keys.
    fn history(&self, home: &Home) -> Result<History, SignerError> {
        let config = home.config()?;
        let (history, stale) =
            History::open(&home.history(), &config.witnesses, config.segment_bytes)?;
        match stale {
            Some(why) => Err(SignerError::Stale(format!(
                "{why}; `ring0 signer restore` goes on from it"
            ))),
            None => Ok(history),
        }
    }
}

/// Writes one event of this process's user.
fn record(history: &mut History, event: Event) -> Result<(), SignerError> {
    history.stage(Entry {
        at_ms: now_ms(),
        user: rustix::process::geteuid().as_raw(),
        event,
    });
    history.commit()?;
    Ok(())
}

fn serve_until_ended(args: &Args, home: &Home, serve: &Serve) -> Result<(), SignerError> {
    let passphrase = args
        .passphrase
        .read(false)
        .map_err(SignerError::Passphrase)?;
    let served = server::serve(home, &passphrase, serve.metrics.or(home.config()?.metrics))?;
    drop(passphrase);
    if let Some(why) = served.unguarded {
        eprintln!("ring0-signer: {why}");
    }
    if let Some(why) = &served.fenced {
        eprintln!("ring0-signer: nothing is signed: {why}");
    }
    let metrics = served.metrics().map(|it| it.to_string());
    let text = format!("ring0-signer: listening at {}", served.socket().display());
    args.say(
        &json!({"ok": true, "socket": served.socket(), "metrics": metrics}),
        &text,
    )?;
    if serve.with_parent {
        // Nothing is said there; its end is the parent's.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        return Ok(());
    }
    // A signer has nothing to put in order: what counts is on the disk before it answers. Signals end it as they are.
    loop {
        std::thread::park();
    }
}

fn show(home: &Home, search: &Search) -> Result<(), SignerError> {
    let filter = Filter {
        kind: search.kind,
        key: search.key.clone(),
        since_ms: search.since,
        until_ms: search.until,
        digest: search.digest,
        refused: search.refused,
    };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut failed = None;
    if search.format == Format::Csv {
        let _ = writeln!(out, "at_ms,user,entry,key,kind,digest,text"); // seen below
    }
    history::search(&home.history(), &filter, |entry| {
        let written = match search.format {
            Format::Jsonl => writeln!(out, "{}", serde_json::to_string(&entry).unwrap_or_default()),
            Format::Csv => writeln!(out, "{}", row(&entry, ',')),
            Format::Text => writeln!(out, "{}", row(&entry, ' ')),
        };
        if let Err(error) = written {
            failed.get_or_insert(error);
        }
    })?;
    match failed.or(out.flush().err()) {
        Some(source) if source.kind() != std::io::ErrorKind::BrokenPipe => Err(SignerError::File {
            path: PathBuf::from("standard output"),
            source,
        }),
        _ => Ok(()),
    }
}

/// An entry on one line.
fn row(entry: &Entry, separator: char) -> String {
    let json = serde_json::to_value(&entry.event).unwrap_or_default();
    let (key, digest, kind) = entry.event.about();
    let text = match &entry.event {
        Event::Refused { name, text, .. } => format!("{}: {text}", name.text()),
        Event::Failed { text, .. } => text.clone(),
        Event::Signed { again: true, .. } => "again".to_owned(),
        Event::Key {
            act, public_key, ..
        } => format!("{act} {public_key}"),
        Event::Restored { floor, .. } => format!("floor {floor}"),
        Event::Approved { approver, .. } => format!("by {approver}"),
        _ => String::new(),
    };
    let digest = digest.map(|it| it.to_string()).unwrap_or_default();
    let fields = [
        entry.at_ms.to_string(),
        entry.user.to_string(),
        json["entry"].as_str().unwrap_or_default().to_owned(),
        key.cloned().unwrap_or_default(),
        kind.map(Kind::name).unwrap_or_default().to_owned(),
        digest,
        text,
    ];
    let quoted = fields.iter().map(|field| match separator {
        ',' if field.contains([',', '"', '\n']) => format!("\"{}\"", field.replace('"', "\"\"")),
        _ => field.clone(),
    });
    let some = quoted.filter(|field| separator == ',' || !field.is_empty());
    some.collect::<Vec<_>>().join(&separator.to_string())
}

fn approve(
    args: &Args,
    home: &Home,
    request: B256,
    key: &Path,
    minutes: u64,
    yes: bool,
) -> Result<(), SignerError> {
    let mut client = args.client(home)?;
    // What is approved is shown from the message itself, and its digest computed here: whoever runs the signer cannot show another.
    let filter = Filter {
        digest: Some(request),
        refused: true,
        ..Filter::default()
    };
    let answer: Value = client.call(&Request::History { filter, limit: 1 })?;
    let none = || SignerError::Refused(format!("the signer has refused no request {request}"));
    let entry: Entry = serde_json::from_value(answer["entries"][0].clone()).map_err(|_| none())?;
    let Event::Refused {
        message, key: name, ..
    } = &entry.event
    else {
        return Err(none());
    };
    if message.digest().ok() != Some(request) {
        return Err(SignerError::Refused("the signer shows a message with another digest: approve nothing, and look at the machine".to_owned()));
    }
    let shown = serde_json::to_string_pretty(message).unwrap_or_default();
    eprintln!("to be signed by {name}:\n{shown}");
    if !yes {
        if !std::io::stdin().is_terminal() {
            return Err(SignerError::Refused(
                "nobody can be asked here; give --yes".to_owned(),
            ));
        }
        eprint!("Approve for {minutes} minutes? [yes/no] ");
        let mut line = String::new();
        let read = std::io::stdin().read_line(&mut line);
        if read.is_err() || line.trim() != "yes" {
            return Err(SignerError::Refused("not approved".to_owned()));
        }
    }
    let secret = passphrase::of_file(key).map_err(|source| SignerError::File {
        path: key.to_owned(),
        source,
    })?;
    let wrong = |what: &str| SignerError::Refused(format!("{}: {what}", key.display()));
    let secret = alloy_primitives::hex::decode_to_array(secret.trim());
    let mut secret = secret.map_err(|_| wrong("a key is 64 hexadecimal digits"))?;
    let signer = Signer::new(secret).map_err(|error| wrong(&error.to_string()));
    zeroize::Zeroize::zeroize(&mut secret);
    let until = now_ms() / 1000 + minutes * 60;
    let approval = Approval::sign(request, until, &signer?)
        .map_err(|error| SignerError::Refused(error.to_string()))?;
    let answer: Value = client.call(&Request::Approve { approval })?;
    args.say(&answer, "approved: ask again for the signature")
}
