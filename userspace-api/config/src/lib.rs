//! One TOML file for a venue: a table for each process and one for the market. A process that is given it reads its own table by the parser that reads a file
//! of its own, so there is one set of keys and of errors. `docs/operations.md#one-file` has the form.
//!
//! A file is a venue's if it has a table `market`: no process's own file has one.
//! Knows which tables there are; knows no key of any.
#![deny(unsafe_code)]

mod options;

pub use options::{Options, OptionsError};

use serde::de::{DeserializeOwned, Error as _};
use std::borrow::Cow;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Error, ValueDeserializer};

/// The tables of a venue's file, each named after the program that reads it, and the market.
pub const TABLES: [&str; 7] = [
    "market",
    "ring0d",
    "recorder",
    "settled",
    "signer",
    "gateway",
    "lightning",
];

/// Those whose program asks for a market file: in a venue's file that is the file itself.
const WITH_MARKET: [&str; 3] = ["settled", "gateway", "lightning"];

/// Reads a process's table of a venue's file, or the whole of a file of its own.
///
/// # Errors
/// No TOML, a table that no process reads, no table of this name, or what the type does not take: with line and column.
pub fn read<T: DeserializeOwned>(path: &Path, text: &str, table: &str) -> Result<T, Error> {
    let read = || {
        let root = DeTable::parse(text)?;
        if !is_whole(root.get_ref()) {
            return T::deserialize(ValueDeserializer::from(as_value(root)));
        }
        T::deserialize(ValueDeserializer::from(own(
            path,
            root.into_inner(),
            table,
        )?))
    };
    read().map_err(|mut error| {
        error.set_input(Some(text));
        error
    })
}

/// Whether a text is a whole venue's file.
#[must_use]
pub fn is_venue(text: &str) -> bool {
    DeTable::parse(text).is_ok_and(|root| is_whole(root.get_ref()))
}

fn is_whole(root: &DeTable<'_>) -> bool {
    root.get("market").is_some_and(|it| it.get_ref().is_table())
}

fn as_value(table: Spanned<DeTable<'_>>) -> Spanned<DeValue<'_>> {
    let span = table.span();
    Spanned::new(span, DeValue::Table(table.into_inner()))
}

/// A table of a venue's file.
fn own<'i>(path: &Path, mut root: DeTable<'i>, table: &str) -> Result<Spanned<DeValue<'i>>, Error> {
    let known = || TABLES.join("], [");
    for name in root.keys() {
        if !TABLES.contains(&name.get_ref().as_ref()) {
            return Err(Error::custom(format_args!(
                "[{}] is no table of a venue's file, and nothing would read it; its tables are [{}]",
                name.get_ref(),
                known()
            )));
        }
    }
    let Some(mut found) = root.remove(table) else {
        return Err(Error::custom(format_args!(
            "there is no [{table}] in it; add one, or give the program a file of its own"
        )));
    };
    if WITH_MARKET.contains(&table)
        && let DeValue::Table(own) = found.get_mut()
    {
        let shard = match own.get("market").map(|it| it.get_ref()) {
            None => "",
            Some(DeValue::String(shard)) if shard.starts_with('#') => shard,
            Some(_) => {
                return Err(Error::custom(format_args!(
                    "{table}.market names a file, and the market is [market] of this one; leave the key out, or name a shard alone, \"#SHARD\""
                )));
            }
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = Cow::Owned(format!("{name}{shard}"));
        own.insert(
            Spanned::new(0..0, Cow::Borrowed("market")),
            Spanned::new(0..0, DeValue::String(name)),
        );
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::path::PathBuf;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Gateway {
        market: PathBuf,
        store: PathBuf,
    }

    fn read(text: &str) -> Result<Gateway, String> {
        super::read(Path::new("/etc/ring0/venue.toml"), text, "gateway")
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_of_its_own_and_a_table_say_the_same() {
        let own = read("market = \"venue.toml\"\nstore = \"s\"\n").unwrap();
        let table = read("[market]\nx = 1\n[gateway]\nstore = \"s\"\n[signer]\ny = 2\n").unwrap();
        assert_eq!((own.market, own.store), (table.market, table.store));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let check = |text: &str, wanted: &str| {
            let error = read(text).unwrap_err();
            assert!(error.contains(wanted), "{error}");
        };
        let unknown = "[market]\n[gateway]\nstroe = \"s\"\n";
        check(unknown, "unknown field `stroe`");
        check(unknown, "line 3");
        check(
            "[market]\n[gatewya]\nstore = \"s\"\n",
            "[gatewya] is no table",
        );
        check("[market]\n", "there is no [gateway]");
        check(
            "[market]\n[gateway]\nmarket = \"m.toml\"\nstore = \"s\"\n",
            "leave the key out",
        );
        let shard = read("[market]\n[gateway]\nmarket = \"#a\"\nstore = \"s\"\n").unwrap();
        assert_eq!(shard.market, Path::new("venue.toml#a"));
        check("[market]\n[gateway]\nstore = 1\n", "line 3");
        check("market = 1", "invalid type");
        check("market = ", "line 1");
        assert!(is_venue("[market]\n") && !is_venue("market = \"m.toml\"\n"));
    }
}
