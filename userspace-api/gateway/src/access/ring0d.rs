//! The shards' daemons by their Unix sockets: one JSON object a line, answered by one (`ring0d`'s protocol).

use super::venue::{Answer, Venue, VenueError};
use ring0_identity::records::{Opened, TradingSession};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// How long a daemon's answer is waited for: it does what is asked here in milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longest answer, in bytes.
const ANSWER_MAX: u64 = 65_536;

/// One daemon a shard.
#[derive(Clone, Debug)]
pub struct Daemons {
    /// Socket of each shard's daemon, by the shard's name.
    pub sockets: BTreeMap<String, PathBuf>,
    /// Names of the market file's accounts, by index.
    pub accounts: Vec<String>,
    /// Accounts that a shard has room for.
    pub accounts_max: u32,
}

impl Daemons {
    fn name(&self, account: u32) -> String {
        match self.accounts.get(account as usize) {
            Some(name) => name.clone(),
            None => format!("#{account}"),
        }
    }

    async fn ask(&self, shard: &str, request: Value) -> Result<Value, VenueError> {
        let path = self.sockets.get(shard);
        let path = path.ok_or_else(|| VenueError::Refused(format!("there is no shard {shard}")))?;
        let answer = tokio::time::timeout(PATIENCE, call(path, &request)).await;
        let unavailable = |what: &str| VenueError::Unavailable(format!("shard {shard}: {what}"));
        let answer = answer
            .map_err(|_| unavailable("no answer in 5 seconds"))?
            .map_err(|error| unavailable(&error.to_string()))?;
        match (answer["ok"].as_bool(), answer["error"].as_str()) {
            (Some(true), _) => Ok(answer),
            (_, Some(error)) => Err(VenueError::Refused(error.to_owned())),
            _ => Err(unavailable(
                "its answer cannot be read; are both of one version?",
            )),
        }
    }
}

async fn call(path: &Path, request: &Value) -> std::io::Result<Value> {
    let mut stream = UnixStream::connect(path).await?;
    stream.write_all(format!("{request}\n").as_bytes()).await?;
    let mut line = String::new();
    let read = BufReader::new(stream.take(ANSWER_MAX))
        .read_line(&mut line)
        .await?;
    if read == 0 {
        return Err(std::io::ErrorKind::ConnectionReset.into());
    }
    Ok(serde_json::from_str(&line)?)
}

fn opened(answer: &Value) -> Option<Opened> {
    let text = |name: &str| answer[name].as_str().map(str::to_owned);
    Some(Opened {
        session: answer["session"]
            .as_str()?
            .strip_prefix('#')?
            .parse()
            .ok()?,
        id: text("id")?,
        venue_nonce: text("nonce")?,
        agreement: answer["agreement"].as_u64()?,
        agreement_key: text("agreement_key")?,
    })
}

impl Venue for Daemons {
    fn accounts_max(&self) -> u32 {
        self.accounts_max
    }

    fn is_taken(&self, account: u32) -> bool {
        (account as usize) < self.accounts.len()
    }

    fn open_account(&self, account: u32) -> Answer<'_, ()> {
        Box::pin(async move {
            for shard in self.sockets.keys() {
                let request = json!({ "verb": "open-account", "account": self.name(account) });
                self.ask(shard, request).await?;
            }
            Ok(())
        })
    }

    fn grant(&self, session: &TradingSession) -> Answer<'_, Opened> {
        let shard = session.shard.clone();
        let request = json!({
            "verb": "grant",
            "account": self.name(session.account),
            "public_key": session.public_key,
            "nonce": session.nonce,
            "expires_s": session.expires_s,
        });
        Box::pin(async move {
            let answer = self.ask(&shard, request).await?;
            let unread = "its answer to a grant lacks something; are both of one version?";
            opened(&answer).ok_or_else(|| VenueError::Unavailable(unread.to_owned()))
        })
    }

    fn revoke(&self, session: &TradingSession, opened: &Opened) -> Answer<'_, ()> {
        let shard = session.shard.clone();
        let name = format!("#{}", opened.session);
        let request = json!({ "verb": "revoke", "session": name, "id": opened.id });
        Box::pin(async move {
            match self.ask(&shard, request).await {
                Ok(_) => Ok(()),
                // A daemon that says no has still not ended it: it is asked again.
                Err(VenueError::Refused(why) | VenueError::Unavailable(why)) => {
                    Err(VenueError::Unavailable(why))
                }
            }
        })
    }
}
