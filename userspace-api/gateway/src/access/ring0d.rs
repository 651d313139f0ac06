//! The shards' daemons by their Unix sockets: one JSON object a line, answered by one (`ring0d`'s protocol).

use super::venue::{Answer, Venue, VenueError};
use ring0_identity::records::{Account, Opened, TradingSession};
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
    /// Socket of the settlement daemon, where there is one.
    pub settled: Option<PathBuf>,
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
        ask(&format!("shard {shard}"), path, &request).await
    }
}

/// Asks a daemon, which waits no longer than it should.
async fn ask(who: &str, path: &Path, request: &Value) -> Result<Value, VenueError> {
    let answer = tokio::time::timeout(PATIENCE, call(path, request)).await;
    let unavailable = |what: &str| VenueError::Unavailable(format!("{who}: {what}"));
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

    fn open_account(&self, account: Account) -> Answer<'_, ()> {
        Box::pin(async move {
            for shard in self.sockets.keys() {
                let request =
                    json!({ "verb": "open-account", "account": self.name(account.index) });
                self.ask(shard, request).await?;
            }
            let Some(settled) = &self.settled else {
                return Ok(());
            };
            let request = json!({
                "verb": "register",
                "account": account.index,
                "owner": account.owner,
                "cosigner": account.cosigner,
            });
            ask("settlement", settled, &request).await.map(drop)
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

#[cfg(test)]
mod tests {
    use super::*;
    use ring0_identity::records::{Authority, Stage, Through};
    use ring0_identity::{Address, B256, LoginId, OrganisationId, PersonId, SessionId};
    use tokio::net::UnixListener;

    /// A daemon that gives these answers in turn, one a connection, and keeps what it was asked.
    async fn daemon(listener: UnixListener, answers: Vec<&'static str>) -> Vec<Value> {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut line = String::new();
            let (read, mut write) = stream.split();
            BufReader::new(read).read_line(&mut line).await.unwrap();
            asked.push(serde_json::from_str(&line).unwrap());
            write.write_all(answer.as_bytes()).await.unwrap();
        }
        asked
    }

    #[tokio::test]
    async fn a_daemon_is_asked_in_its_words_and_its_answers_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("main.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let daemons = Daemons {
            sockets: [("main".to_owned(), path)].into(),
            accounts: vec!["alice".to_owned()],
            accounts_max: 9,
            settled: Some(folder.path().join("main.sock")),
        };
        let mut session = TradingSession {
            id: SessionId(1),
            opening: B256::ZERO,
            organisation: OrganisationId(1),
            account: 0,
            shard: "main".to_owned(),
            person: PersonId(1),
            through: Through::Login(LoginId(1)),
            authority: Authority::Owner,
            public_key: "02aa".to_owned(),
            nonce: "11".repeat(16),
            expires_s: 77,
            seat: None,
            since_ms: 0,
            stage: Stage::Opening,
        };
        let granted = r##"{"ok":true,"outcome":"granted","session":"#17","id":"0017ABCDEF","nonce":"22","agreement":1,"agreement_key":"03bb"}"##;
        let answers = vec![
            "{\"ok\":true}\n",
            "{\"ok\":true}\n", // as settlement
            Box::leak(format!("{granted}\n").into_boxed_str()),
            "{\"ok\":false,\"error\":\"all sessions are granted\"}\n",
            "{\"ok\":true}\n", // a grant that says nothing
            "{\"ok\":true,\"outcome\":\"revoked\"}\n",
            "{\"ok\":false,\"error\":\"its key is still there\"}\n",
            "{\"ok\"", // torn
            "",
        ];
        let daemon = tokio::spawn(daemon(listener, answers));
        let account = Account {
            index: 5,
            organisation: OrganisationId(1),
            owner: Address::repeat_byte(1),
            cosigner: Address::repeat_byte(2),
        };
        daemons.open_account(account).await.unwrap();
        let opened = daemons.grant(&session).await.unwrap();
        assert_eq!((opened.session, opened.id.as_str()), (17, "0017ABCDEF"));
        session.account = 5;
        let refused = daemons.grant(&session).await;
        let why = "all sessions are granted".to_owned();
        assert_eq!(refused, Err(VenueError::Refused(why)));
        let unread = daemons.grant(&session).await;
        assert!(matches!(unread, Err(VenueError::Unavailable(_))));
        daemons.revoke(&session, &opened).await.unwrap();
        // Whatever a daemon says but yes, the session may still be there.
        for _ in 0..3 {
            let result = daemons.revoke(&session, &opened).await;
            assert!(matches!(result, Err(VenueError::Unavailable(_))));
        }
        let asked = daemon.await.unwrap();
        let grant = json!({ "verb": "grant", "account": "alice", "public_key": "02aa", "nonce": "11".repeat(16), "expires_s": 77 });
        let revoke = json!({ "verb": "revoke", "session": "#17", "id": "0017ABCDEF" });
        assert_eq!(asked[0], json!({ "verb": "open-account", "account": "#5" }));
        let register = json!({ "verb": "register", "account": 5, "owner": account.owner, "cosigner": account.cosigner });
        assert_eq!(
            (&asked[1], &asked[2], &asked[5]),
            (&register, &grant, &revoke)
        );
        assert_eq!(asked[3]["account"], "#5");
        session.shard = "elsewhere".to_owned();
        let nowhere = daemons.grant(&session).await;
        assert!(matches!(nowhere, Err(VenueError::Refused(_))));
        session.shard = "main".to_owned();
        let gone = daemons.grant(&session).await;
        assert!(matches!(gone, Err(VenueError::Unavailable(_))));
    }
}
