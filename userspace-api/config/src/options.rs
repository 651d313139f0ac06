//! A table as the options of a command line: for programs that are told everything there. A key is an option's long name, a path in it is of the file's folder.

use clap::builder::ValueParser;
use clap::{ArgAction, Command};
use std::any::TypeId;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Why a table is no command line.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// The file cannot be read.
    #[error("{path} cannot be read: {source}; give --config a venue's TOML file", path = .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Not TOML, not a venue's, or without the table.
    #[error("{path}: {why}", path = .path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong and what to do.
        why: String,
    },
    /// A key.
    #[error("{path}: {key}: {problem}", path = .path.display())]
    Key {
        /// Which file.
        path: PathBuf,
        /// Which key.
        key: String,
        /// What is wrong and what to do.
        problem: String,
    },
}

/// A program that is told everything on its command line, and its table.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// Its options: the keys that the table may have.
    pub command: &'a Command,
    /// The table.
    pub table: &'a str,
    /// Options that are of one start and not of a file.
    pub of_a_start: &'a [&'a str],
    /// Options that cannot stand beside `--market`: with one of them in the table it is left out.
    pub in_place_of_market: &'a [&'a str],
}

impl Options<'_> {
    /// Puts the options that `--config FILE[#SHARD]` names in its place into a command line, where it has that.
    ///
    /// # Errors
    /// See [`OptionsError`].
    pub fn insert(&self, given: Vec<OsString>) -> Result<Vec<OsString>, OptionsError> {
        let mut all = Vec::with_capacity(given.len());
        let mut rest = given.into_iter();
        while let Some(one) = rest.next() {
            let text = one.to_string_lossy();
            let file = match text.strip_prefix("--config=") {
                Some(file) => Some(OsString::from(file)),
                None if text == "--config" => Some(rest.next().unwrap_or_default()),
                None => None,
            };
            match file {
                Some(file) => all.extend(self.read(Path::new(&file))?),
                None => all.push(one),
            }
        }
        Ok(all)
    }

    /// The command line that a venue's file says: of its `[TABLE]`, or of several shards of the `[[TABLE]]` whose `shard` the path names behind `#`. It begins
    /// with `--market FILE[#SHARD]`.
    ///
    /// # Errors
    /// See [`OptionsError`].
    pub fn read(&self, path: &Path) -> Result<Vec<OsString>, OptionsError> {
        let (file, shard) = split(path);
        let text = std::fs::read_to_string(&file).map_err(|source| OptionsError::File {
            path: file.clone(),
            source,
        })?;
        let table = self.table;
        let content = |why: String| OptionsError::Content {
            path: file.clone(),
            why,
        };
        let read = crate::read::<Value>(&file, &text, table);
        let tables = read.map_err(|error| content(error.to_string().trim().to_owned()))?;
        if !crate::is_venue(&text) {
            return Err(content(format!(
                "it is no venue's file: that has a [market] and a [{table}]"
            )));
        }
        let (chosen, key) = choose(tables, shard.as_deref(), table).map_err(content)?;
        let mut all = Vec::new();
        let is_elsewhere = |name: &&str| chosen.contains_key(name.replace('-', "_").as_str());
        if !self.in_place_of_market.iter().any(is_elsewhere) {
            let name = chosen.get("shard").and_then(Value::as_str);
            all.push("--market".into());
            all.push(match name.or(shard.as_deref()) {
                Some(name) => format!("{}#{name}", file.display()).into(),
                None => file.clone().into_os_string(),
            });
        }
        let folder = file.parent().unwrap_or(Path::new(""));
        for (name, value) in chosen.iter().filter(|(name, _)| *name != "shard") {
            let wrong = |problem: String| OptionsError::Key {
                path: file.clone(),
                key: format!("{key}.{name}"),
                problem,
            };
            all.extend(self.option(folder, name, value).map_err(wrong)?);
        }
        Ok(all)
    }

    /// One key as an option.
    fn option(&self, folder: &Path, name: &str, value: &Value) -> Result<Vec<OsString>, String> {
        let long = name.replace('_', "-");
        let found = self
            .command
            .get_arguments()
            .find(|it| it.get_long() == Some(long.as_str()) && !it.is_hide_set());
        let Some(found) = found.filter(|_| long != "config" && long != "market") else {
            return Err(format!(
                "there is no such key; they are the long options that `{} --help` lists",
                self.command.get_name()
            ));
        };
        if self.of_a_start.contains(&long.as_str()) {
            return Err(
                "that is of one start, not of every one; give it on the command line".to_owned(),
            );
        }
        let is_switch = matches!(found.get_action(), ArgAction::SetTrue);
        let is_path = is_of::<PathBuf>(found.get_value_parser());
        let text = match value {
            Value::Boolean(on) if is_switch => {
                return Ok(on.then(|| format!("--{long}").into()).into_iter().collect());
            }
            _ if is_switch => return Err("write true or false".to_owned()),
            Value::String(text) if is_path => folder.join(text).into_os_string(),
            Value::String(text) => text.into(),
            Value::Integer(number) => number.to_string().into(),
            other => {
                let given = other.type_str();
                return Err(format!("it is of type {given}; write text or a number"));
            }
        };
        Ok(vec![format!("--{long}").into(), text])
    }
}

/// The file and the shard that `FILE#SHARD` names; a file that has such a name itself is meant whole.
fn split(path: &Path) -> (PathBuf, Option<String>) {
    let name = path.file_name().and_then(|name| name.to_str());
    match name.and_then(|name| name.rsplit_once('#')) {
        Some((file, shard)) if !path.exists() => {
            (path.with_file_name(file), Some(shard.to_owned()))
        }
        _ => (path.to_owned(), None),
    }
}

/// The one table, or the one of a shard, and how errors name it.
fn choose(tables: Value, shard: Option<&str>, table: &str) -> Result<(Table, String), String> {
    let tables = match tables {
        Value::Table(one) => return Ok((one, table.to_owned())),
        Value::Array(many) => many,
        other => {
            return Err(format!(
                "{table} is {}; write [{table}], or a [[{table}]] for each shard",
                other.type_str()
            ));
        }
    };
    let named = |one: &Value| one.get("shard").and_then(Value::as_str).map(str::to_owned);
    let names: Vec<String> = tables.iter().filter_map(named).collect();
    if names.len() != tables.len() {
        return Err(format!(
            "a [[{table}]] names no shard; add shard = \"NAME\""
        ));
    }
    let found = tables
        .into_iter()
        .enumerate()
        .find(|(_, one)| shard.is_none_or(|shard| named(one).as_deref() == Some(shard)));
    match found {
        Some((_, _)) if shard.is_none() && names.len() > 1 => Err(format!(
            "it has several [[{table}]]; name one behind the file, FILE#SHARD: {}",
            names.join(", ")
        )),
        Some((place, Value::Table(one))) => Ok((one, format!("{table}[{place}]"))),
        _ => Err(format!(
            "no [[{table}]] is of shard {}; there are: {}",
            shard.unwrap_or_default(),
            names.join(", ")
        )),
    }
}

fn is_of<T: 'static>(parser: &ValueParser) -> bool {
    parser.type_id() == TypeId::of::<T>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Arg, value_parser};

    fn command() -> Command {
        Command::new("ring0d").args([
            Arg::new("ring").long("ring"),
            Arg::new("queues").long("queues"),
            Arg::new("grants")
                .long("grants")
                .value_parser(value_parser!(PathBuf)),
            Arg::new("door").long("door").action(ArgAction::SetTrue),
            Arg::new("seconds").long("seconds"),
            Arg::new("pin-root")
                .long("pin-root")
                .value_parser(value_parser!(PathBuf)),
        ])
    }

    fn of(text: &str, shard: &str) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("venue.toml");
        std::fs::write(&file, text).unwrap();
        let asked = PathBuf::from(format!("{}{shard}", file.display()));
        let options = Options {
            command: &command(),
            table: "ring0d",
            of_a_start: &["seconds"],
            in_place_of_market: &["pin-root"],
        };
        let all = options.read(&asked);
        let own = file.display().to_string();
        let folder = format!("{}/", folder.path().display());
        let plain = |it: &str| it.replace(&own, "FILE").replace(&folder, "");
        match all {
            Ok(all) => Ok(all.iter().map(|it| plain(&it.to_string_lossy())).collect()),
            Err(error) => Err(plain(&error.to_string())),
        }
    }

    #[test]
    fn a_table_is_a_command_line() {
        let text =
            "[market]\n[ring0d]\nring = \"udp\"\nqueues = 2\npin_root = \"pins\"\ndoor = true\n";
        let all = of(text, "").unwrap().join(" ");
        // In the order of the keys' names: a table has none of its own.
        assert_eq!(all, "--door --pin-root pins --queues 2 --ring udp");
        let text =
            "[market]\n[[ring0d]]\nshard = \"a\"\n[[ring0d]]\nshard = \"b\"\ngrants = \"/g\"\n";
        let all = of(text, "#b").unwrap().join(" ");
        assert_eq!(all, "--market FILE#b --grants /g");
    }

    #[test]
    fn what_is_no_option_is_refused() {
        let check = |text: &str, wanted: &str| {
            let error = of(text, "").unwrap_err();
            assert!(error.contains(wanted), "{error}");
        };
        check(
            "[market]\n[ring0d]\nrnig = \"udp\"\n",
            "ring0d.rnig: there is no such key",
        );
        check("[market]\n[ring0d]\nseconds = 3\n", "of one start");
        check("[market]\n[ring0d]\ndoor = \"yes\"\n", "true or false");
        check(
            "[market]\n[ring0d]\nqueues = [1]\n",
            "write text or a number",
        );
        check("[market]\n[[ring0d]]\n", "names no shard");
        check(
            "[market]\n[[ring0d]]\nshard = \"a\"\n[[ring0d]]\nshard = \"b\"\n",
            "FILE#SHARD: a, b",
        );
        check("[market]\n", "there is no [ring0d]");
        check("market = \"m\"\n", "no venue's file");
        assert!(
            of("[market]\n[[ring0d]]\nshard = \"a\"\n", "#c")
                .unwrap_err()
                .contains("of shard c")
        );
    }
}
