//! A node's HTTP API (`/v1/chain`): one question, one answer. nodeos answers with JSON; what it refuses has a code and a reason.

use alloy_primitives::{B256, hex};
use ring0_channels::chain::{Block, ChainError};
use serde_json::{Value, json};
use std::time::Duration;

/// How long a node may take for one answer.
const ANSWER: Duration = Duration::from_secs(30);
/// An answer is not longer: a thousand rows are half a megabyte.
const LENGTH_MAX: u64 = 16 << 20;
/// So much of an answer that is none is shown.
const SHOWN: usize = 80;
/// `unknown_block_exception` of nodeos.
const UNKNOWN_BLOCK: u64 = 3_100_002;

/// A node.
#[derive(Debug)]
pub(crate) struct Node {
    agent: ureq::Agent,
    pub(crate) url: String,
}

/// Why there is no answer.
pub(crate) enum NoAnswer {
    /// It is not there, or says what nobody understands.
    Broken(ChainError),
    /// It refuses.
    Refused {
        /// Of nodeos' exception.
        code: u64,
        /// Its reason.
        why: String,
    },
}

/// Where a node's chain is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Info {
    pub(crate) chain: B256,
    pub(crate) head: Block,
    /// The newest block that no fork takes back.
    pub(crate) irreversible: B256,
}

impl Node {
    pub(crate) fn new(url: &str) -> Node {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(ANSWER))
            .build()
            .into();
        Node {
            agent,
            url: url.trim_end_matches('/').to_owned(),
        }
    }

    pub(crate) fn failed(&self, why: impl ToString) -> ChainError {
        ChainError::Node {
            node: self.url.clone(),
            why: why.to_string(),
        }
    }

    /// One question, which the node may refuse.
    pub(crate) fn try_ask(&self, what: &str, question: &Value) -> Result<Value, NoAnswer> {
        let broken = |why: String| NoAnswer::Broken(self.failed(format!("{what}: {why}")));
        let url = format!("{}/v1/chain/{what}", self.url);
        let answer = self.agent.post(&url).send_json(question);
        let mut answer = answer.map_err(|error| broken(error.to_string()))?;
        let status = answer.status();
        let text = answer
            .body_mut()
            .with_config()
            .limit(LENGTH_MAX)
            .read_to_string();
        let text = text.map_err(|error| broken(error.to_string()))?;
        let Ok(value) = serde_json::from_str::<Value>(&text) else {
            let shown: String = text.chars().take(SHOWN).collect();
            return Err(broken(format!("{status} and no JSON but {shown:?}")));
        };
        let error = &value["error"];
        match error["code"].as_u64() {
            _ if status.is_success() => Ok(value),
            Some(code) => Err(NoAnswer::Refused {
                code,
                why: reason(error),
            }),
            None => Err(broken(format!("{status} without a reason"))),
        }
    }

    /// One question.
    pub(crate) fn ask(&self, what: &str, question: &Value) -> Result<Value, ChainError> {
        self.try_ask(what, question).map_err(|no| match no {
            NoAnswer::Broken(error) => error,
            NoAnswer::Refused { why, .. } => self.failed(format!("{what}: {why}")),
        })
    }

    /// A field of an answer.
    fn field<T>(
        &self,
        of: &Value,
        name: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<T, ChainError> {
        read(&of[name]).ok_or_else(|| {
            let shown: String = of[name].to_string().chars().take(SHOWN).collect();
            self.failed(format!("its answer's {name} is {shown}, which is none"))
        })
    }

    pub(crate) fn info(&self) -> Result<Info, ChainError> {
        let it = self.ask("get_info", &json!({}))?;
        Ok(Info {
            chain: self.field(&it, "chain_id", word)?,
            head: Block {
                height: self.field(&it, "head_block_num", number)?,
                hash: self.field(&it, "head_block_id", word)?,
                time: self.field(&it, "head_block_time", time)?,
            },
            irreversible: self.field(&it, "last_irreversible_block_id", word)?,
        })
    }

    /// The block at a height; `None` above the head.
    pub(crate) fn block(&self, height: u64) -> Result<Option<Block>, ChainError> {
        let it = match self.try_ask("get_block_info", &json!({"block_num": height})) {
            Ok(it) => it,
            Err(NoAnswer::Broken(error)) => return Err(error),
            Err(NoAnswer::Refused { code, .. })
                if code == UNKNOWN_BLOCK && height > self.info()?.head.height =>
            {
                return Ok(None);
            }
            Err(NoAnswer::Refused { why, .. }) => {
                return Err(self.failed(format!("it does not have block {height} ({why}); it needs a block log that goes back so far")));
            }
        };
        let block = Block {
            height: self.field(&it, "block_num", number)?,
            hash: self.field(&it, "id", word)?,
            time: self.field(&it, "timestamp", time)?,
        };
        if block.height != height {
            return Err(self.failed(format!(
                "asked for block {height} it gives {}",
                block.height
            )));
        }
        Ok(Some(block))
    }

    /// Rows of a table with keys from `from` on, up to and with `to`, as bytes.
    pub(crate) fn rows(
        &self,
        code: &str,
        scope: &str,
        table: &str,
        from: u64,
        to: u64,
    ) -> Result<Vec<Vec<u8>>, ChainError> {
        let (mut rows, mut from) = (Vec::new(), from.to_string());
        loop {
            let question = json!({
                "json": false, "code": code, "scope": scope, "table": table, "limit": 1000,
                "lower_bound": from, "upper_bound": to.to_string(),
            });
            let it = self.ask("get_table_rows", &question)?;
            for row in self.field(&it, "rows", |it| it.as_array().cloned())? {
                let row = row.as_str().and_then(|it| hex::decode(it).ok());
                rows.push(row.ok_or_else(|| self.failed(format!("a row of {table} is no bytes")))?);
            }
            if !self.field(&it, "more", Value::as_bool)? {
                return Ok(rows);
            }
            let next = self.field(&it, "next_key", |it| it.as_str().map(str::to_owned))?;
            // A node that goes on where it was would be asked for ever.
            let forwards = next.parse::<u64>().ok().zip(from.parse().ok());
            if forwards.is_none_or(|(next, from)| next <= from) {
                return Err(self.failed(format!(
                    "the rows of {table} go on at {next:?} after {from}, which is not forwards"
                )));
            }
            from = next;
        }
    }
}

/// nodeos' reason: a contract's own words, or the messages of its details, or what kind of refusal it is.
fn reason(error: &Value) -> String {
    let details = error["details"].as_array().into_iter().flatten();
    let details: Vec<&str> = details.filter_map(|it| it["message"].as_str()).collect();
    match details.as_slice() {
        [] => error["what"]
            .as_str()
            .unwrap_or("no reason given")
            .to_owned(),
        [first, ..] => match first.strip_prefix("assertion failure with message: ") {
            Some(words) => words.to_owned(),
            None => details.join("; "),
        },
    }
}

pub(crate) fn word(value: &Value) -> Option<B256> {
    let text = value.as_str().filter(|it| it.len() == 64)?;
    text.parse().ok()
}

/// Numbers above 32 bits come as text.
pub(crate) fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// Seconds of Unix time, of `2026-11-27T12:00:00.500`.
pub(crate) fn time(value: &Value) -> Option<u64> {
    let text = value.as_str()?;
    let (date, clock) = text.split_once('T')?;
    let part = |text: Option<&str>| text?.parse::<u64>().ok();
    let mut date = date.split('-');
    let (year, month, day) = (part(date.next())?, part(date.next())?, part(date.next())?);
    let clock = clock.trim_end_matches('Z');
    let mut clock = clock
        .split_once('.')
        .map_or(clock, |(whole, _)| whole)
        .split(':');
    let (hour, minute, second) = (
        part(clock.next())?,
        part(clock.next())?,
        part(clock.next())?,
    );
    let good =
        (1970..10_000).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !good || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Years from March on, so that a leap day is the last one.
    let (year, month) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day;
    let since_epoch = days - 719_469;
    Some(((since_epoch * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_unix_times() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00.000", Some(0)),
            ("2000-02-29T23:59:59.500", Some(951_868_799)),
            ("2027-01-15T08:00:00.000", Some(1_800_000_000)),
            ("2026-13-01T00:00:00", None),
            ("yesterday", None),
        ] {
            assert_eq!(time(&json!(text)), seconds, "{text}");
        }
    }

    #[test]
    fn a_reason_is_the_contracts_own_words_where_there_are_any() {
        let text = |error: Value| reason(&error);
        let assertion = json!({"what": "eosio_assert_message assertion failure", "details": [
            {"message": "assertion failure with message: version 4 is not newer than 5"}, {"message": "pending console output: "}]});
        assert_eq!(text(assertion), "version 4 is not newer than 5");
        let cpu = json!({"what": "CPU", "details": [{"message": "billed CPU time"}, {"message": "too much"}]});
        assert_eq!(text(cpu), "billed CPU time; too much");
        assert_eq!(text(json!({"what": "expired"})), "expired");
        assert_eq!(text(json!({})), "no reason given");
    }
}
