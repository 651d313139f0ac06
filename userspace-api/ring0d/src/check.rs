//! `ring0d check FILE`: whether a venue's file is right as a whole. Every table is read by the program that reads it when the venue runs; what two of them have
//! to agree on is compared here, because neither sees the other's.

mod agreement;
mod listeners;
mod secrets;

use crate::Args;
use clap::{Args as _, Command, FromArgMatches};
use ring0_config::{Options, TABLES};
use ring0_market::{Market, Plan};
use serde_json::{Value, json};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use toml::Table;

/// What is wrong, and what to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// Table and key, for instance `settled.hub[0].address`; a table alone where its program says the key.
    pub key: String,
    /// What is wrong and what to do.
    pub problem: String,
}

/// What a check has come to.
#[derive(Clone, Debug)]
pub struct Report {
    /// The file.
    pub file: PathBuf,
    /// Tables that were looked at.
    pub tables: Vec<&'static str>,
    /// What is wrong; nothing: the file is good.
    pub findings: Vec<Finding>,
}

impl fmt::Display for Report {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        for Finding { key, problem } in &self.findings {
            match key.as_str() {
                "" => writeln!(to, "{file}: {problem}")?,
                key => writeln!(to, "{file}: {key}: {problem}")?,
            }
        }
        let tables = self.tables.join("], [");
        match self.findings.len() {
            0 => write!(to, "{file}: good: [{tables}]"),
            1 => write!(to, "{file}: 1 thing is wrong; looked at [{tables}]"),
            many => write!(to, "{file}: {many} things are wrong; looked at [{tables}]"),
        }
    }
}

impl Report {
    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let one = |it: &Finding| json!({ "key": it.key, "problem": it.problem });
        json!({
            "ok": self.findings.is_empty(),
            "file": self.file,
            "tables": self.tables,
            "findings": self.findings.iter().map(one).collect::<Vec<Value>>(),
        })
    }
}

/// Findings so far.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, key: impl fmt::Display, problem: impl fmt::Display) {
        self.0.push(Finding {
            key: key.to_string(),
            problem: problem.to_string(),
        });
    }
}

/// A venue's file, read.
struct Venue<'a> {
    file: &'a Path,
    /// Paths in it are of this folder.
    folder: &'a Path,
    tables: Table,
    /// By number.
    plans: Vec<Plan>,
    /// By the shard's number: what its daemon is started with.
    daemons: Vec<Args>,
}

impl Venue<'_> {
    fn table(&self, name: &str) -> Option<&Table> {
        self.tables.get(name)?.as_table()
    }

    /// A path from the file's folder.
    fn path(&self, text: &str) -> PathBuf {
        self.folder.join(text)
    }

    /// The folder that the signer's paths are of.
    fn signer_home(&self) -> Option<PathBuf> {
        Some(self.path(self.table("signer")?.get("home")?.as_str()?))
    }
}

/// Text of a key.
fn text<'a>(table: &'a Table, key: &str) -> Option<&'a str> {
    table.get(key)?.as_str()
}

/// The tables of an array of tables; a table alone is one.
fn tables<'a>(of: &'a Table, key: &str) -> impl Iterator<Item = (usize, &'a Table)> + use<'a> {
    let found = of.get(key);
    let many = found.and_then(toml::Value::as_array);
    let one = found.and_then(toml::Value::as_table);
    let many = many.into_iter().flatten().filter_map(|it| it.as_table());
    many.chain(one).enumerate()
}

/// The options of a shard's daemon, as a venue's file has them.
pub(crate) fn command() -> Command {
    Args::augment_args(Command::new("ring0d"))
}

/// The daemon and its table.
pub(crate) fn options(command: &Command) -> Options<'_> {
    Options {
        command,
        table: "ring0d",
        of_a_start: &["restore", "seconds", "unload"],
        in_place_of_market: &[],
    }
}

/// Checks a venue's file; with `nodes` also what the nodes of its hubs say.
#[must_use]
pub fn check(file: &Path, nodes: bool) -> Report {
    let mut findings = Findings::default();
    let mut looked = Vec::new();
    look(file, &mut findings, &mut looked);
    // A file that is wrong names the wrong nodes.
    if nodes && findings.0.is_empty() {
        ask_nodes(file, &looked, &mut findings);
    }
    Report {
        file: file.to_owned(),
        tables: looked,
        findings: findings.0,
    }
}

fn look(file: &Path, findings: &mut Findings, looked: &mut Vec<&'static str>) {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            return findings.add(
                "",
                format_args!("it cannot be read: {error}; name a venue's TOML file"),
            );
        }
    };
    let tables: Table = match text.parse() {
        Ok(tables) => tables,
        Err(error) => return findings.add("", error),
    };
    if !ring0_config::is_venue(&text) {
        return findings.add(
            "",
            "it has no table [market], so it is no venue's file; a process's own file is checked by that process (`ring0-settled check FILE`)",
        );
    }
    for name in tables.keys().filter(|it| !TABLES.contains(&it.as_str())) {
        let known = TABLES.join("], [");
        findings.add(
            name,
            format_args!("no program reads it; the tables are [{known}]"),
        );
    }
    looked.extend(TABLES.into_iter().filter(|it| tables.contains_key(*it)));
    secrets::file_itself(file, findings);
    // Every other table means something only beside a market.
    let plans = match Plan::load_all(file) {
        Ok(plans) => plans,
        Err(error) => return findings.add("market", error),
    };
    if let Err(error) = Market::load(&named(file, &plans, 0)) {
        findings.add("market", error); // a key file
    }
    let daemons = daemons(file, &plans, &tables, findings);
    recorders(file, &plans, &tables, findings);
    for (table, program, arguments) in [
        ("settled", "ring0-settled", &["check"][..]),
        ("signer", "ring0-signer", &["check", "--config"]),
        ("gateway", "ring0-gateway", &["check"]),
        ("lightning", "ring0-lightning", &["check"]),
    ] {
        if tables.contains_key(table) {
            ask(table, program, arguments, file, findings);
        }
    }
    let Some(daemons) = daemons else {
        return; // what they listen at is not known
    };
    let venue = Venue {
        file,
        folder: file.parent().unwrap_or(Path::new("")),
        tables,
        plans,
        daemons,
    };
    agreement::compare(&venue, findings);
    listeners::compare(&venue, findings);
    secrets::look(&venue, findings);
}

/// `FILE#SHARD`.
fn named(file: &Path, plans: &[Plan], number: usize) -> PathBuf {
    PathBuf::from(format!("{}#{}", file.display(), plans[number].shard.name))
}

/// The options of each shard's daemon, by number; `None` if one's are wrong.
fn daemons(file: &Path, plans: &[Plan], all: &Table, findings: &mut Findings) -> Option<Vec<Args>> {
    if !all.contains_key("ring0d") {
        findings.add(
            "ring0d",
            "it is missing: nothing would start the shard; write [ring0d], or a [[ring0d]] with its `shard` for each",
        );
        return None;
    }
    is_each_shards_own("ring0d", plans, all, findings);
    let mut found = Vec::new();
    for number in 0..plans.len() {
        match read(&named(file, plans, number)) {
            Ok(args) => found.push(args),
            Err(error) => findings.add("ring0d", error),
        }
    }
    (found.len() == plans.len()).then_some(found)
}

/// The options of one shard's daemon.
fn read(file: &Path) -> Result<Args, String> {
    let command = command();
    let given = options(&command)
        .read(file)
        .map_err(|error| error.to_string())?;
    let given = std::iter::once("ring0d".into()).chain(given);
    let given = command.try_get_matches_from(given);
    given
        .and_then(|it| Args::from_arg_matches(&it))
        .map_err(|error| first_lines(&error.to_string()))
}

/// The operator's socket of the shard of a market file: of a venue's file where its `[ring0d]` says, else the usual one.
///
/// # Errors
/// The file's.
pub fn operator_socket(file: &Path) -> Result<PathBuf, String> {
    let plan = Plan::load(file).map_err(|error| error.to_string())?;
    let text = std::fs::read_to_string(&plan.path).map_err(|error| error.to_string())?;
    match ring0_config::is_venue(&text) {
        true => Ok(agreement::socket(&read(file)?, &plan)),
        false => Ok(crate::default_socket(&plan.shard.name)),
    }
}

/// Whether no two of several shards have one table.
fn is_each_shards_own(table: &str, plans: &[Plan], all: &Table, findings: &mut Findings) {
    let mut seen = std::collections::BTreeSet::new();
    for (place, one) in tables(all, table) {
        let Some(name) = text(one, "shard") else {
            if plans.len() > 1 {
                findings.add(
                    format_args!("{table}[{place}].shard"),
                    "it is missing, and the market has several shards; name one",
                );
            }
            continue;
        };
        if !plans.iter().any(|it| it.shard.name == name) {
            findings.add(
                format_args!("{table}[{place}].shard"),
                format_args!("the market has no shard {name:?}; correct the name"),
            );
        }
        if !seen.insert(name) {
            findings.add(
                format_args!("{table}[{place}].shard"),
                format_args!("{name:?} comes twice; give each shard one"),
            );
        }
    }
}

/// Has the recorders' tables read by the program that records.
fn recorders(file: &Path, plans: &[Plan], all: &Table, findings: &mut Findings) {
    if !all.contains_key("recorder") {
        return;
    }
    is_each_shards_own("recorder", plans, all, findings);
    for number in 0..plans.len() {
        let file = named(file, plans, number);
        let arguments = ["record", "--check", "--config"];
        ask("recorder", "ring0", &arguments, &file, findings);
    }
}

/// Asks a program whether it takes its table.
fn ask(table: &str, program: &str, arguments: &[&str], file: &Path, findings: &mut Findings) {
    let Some(path) = beside(program) else {
        let fix = format!("build it: cargo build --release -p {program}; it lies beside ring0d");
        return findings.add(
            table,
            format_args!("{program}, which reads it, is not there; {fix}"),
        );
    };
    let asked = std::process::Command::new(path)
        .args(arguments)
        .arg(file)
        .stdin(Stdio::null())
        .output();
    match asked {
        Ok(said) if said.status.success() => {}
        Ok(said) => {
            let said = String::from_utf8_lossy(&said.stderr);
            findings.add(table, first_lines(&said));
        }
        Err(error) => findings.add(table, format_args!("{program} cannot be started: {error}")),
    }
}

/// What the nodes say of the hubs: settlement asks them, a finding a line.
fn ask_nodes(file: &Path, looked: &[&str], findings: &mut Findings) {
    if !looked.contains(&"settled") {
        return findings.add(
            "settled",
            "there is no such table, so no hub whose node could be asked; check without --nodes",
        );
    }
    let mut said = Findings::default();
    let arguments = ["check", "--nodes"];
    ask("settled", "ring0-settled", &arguments, file, &mut said);
    for Finding { key, problem } in said.0 {
        for line in problem.lines() {
            match line.trim().split_once(": ") {
                Some((at, problem)) if at.starts_with("hub[") => {
                    findings.add(format_args!("{key}.{at}"), problem);
                }
                _ => findings.add(&key, line.trim()),
            }
        }
    }
}

/// A program of the venue beside this one, or, where this is a test, in the folder above.
fn beside(program: &str) -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    let folders = own.ancestors().skip(1).take(2);
    folders.map(|it| it.join(program)).find(|it| it.is_file())
}

/// What a program says, without its usage.
fn first_lines(said: &str) -> String {
    let lines = said.lines().map(str::trim_end);
    let lines: Vec<&str> = lines
        .take_while(|line| !line.starts_with("Usage:"))
        .filter(|line| !line.is_empty())
        .collect();
    match lines.is_empty() {
        true => "its program refuses it and does not say why".to_owned(),
        false => lines.join("\n  "),
    }
}
