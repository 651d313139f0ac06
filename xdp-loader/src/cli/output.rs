//! How a verb says what it found: text for people, or one JSON object with the number of its schema.

use serde::Serialize;
use std::fmt::Display;
use std::io::Write;
use xdp_loader::{Exit, LoaderError};

/// Name and version of what every JSON object here follows: `schema/xdp-loader-1.json`. A field may be added under the same number; one that goes or
/// changes its meaning makes the next.
const SCHEMA: &str = "xdp-loader/1";

#[derive(Clone, Copy)]
pub(crate) struct Output {
    pub(crate) json: bool,
    pub(crate) verb: &'static str,
}

#[derive(Serialize)]
struct Versioned<'a, T> {
    schema: &'static str,
    verb: &'static str,
    #[serde(flatten)]
    value: &'a T,
}

impl Output {
    /// The value as JSON, or the text. False: whoever read our output has gone.
    pub(crate) fn say(self, value: &impl Serialize, text: impl Display) -> bool {
        let line = if self.json {
            self.line(value)
        } else {
            text.to_string()
        };
        writeln!(std::io::stdout(), "{line}").is_ok()
    }

    fn line(self, value: &impl Serialize) -> String {
        let versioned = Versioned {
            schema: SCHEMA,
            verb: self.verb,
            value,
        };
        serde_json::to_string(&versioned).expect("plain data is JSON")
    }

    pub(crate) fn error(self, error: &LoaderError) -> Exit {
        let exit = error.exit();
        if self.json {
            let value = serde_json::json!({"error": error.to_string(), "exit": exit as u8});
            println!("{}", self.line(&value));
        } else {
            eprintln!("xdp-loader: {error}");
        }
        exit
    }
}
