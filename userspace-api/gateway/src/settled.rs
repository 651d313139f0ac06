//! The settlement daemon's socket: JSON lines, one object a request, one an answer with `ok`.
//!
//! What only reads goes over connections that are kept: each new one is a thread of the daemon's. One that has broken since, with a daemon that was
//! started again, is replaced and the request made again. What changes something has a connection of its own, and is never sent twice.

use crate::problem::Problem;
use axum::http::StatusCode;
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of an answer at the most.
const ANSWER_BYTES_MAX: u64 = 8 << 20;

/// Connections kept at the most, of the 256 that the daemon has.
const KEPT: usize = 32;

/// Verbs that change nothing.
const READS: [&str; 5] = ["balances", "batch", "channels", "moves", "withdrawals"];

/// See the module.
#[derive(Clone, Debug)]
pub struct Settled {
    path: PathBuf,
    kept: Arc<Mutex<Vec<BufReader<UnixStream>>>>,
}

impl Settled {
    /// At this socket. Nothing is opened yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Settled {
        Settled {
            path,
            kept: Arc::default(),
        }
    }

    /// Asks; gives the answer without its `ok`.
    ///
    /// # Errors
    /// It refuses, or does not answer.
    pub async fn call(&self, verb: &str, fields: Map<String, Value>) -> Result<Value, Problem> {
        let mut request = Map::new();
        request.insert("verb".into(), verb.into());
        request.extend(fields);
        let asked = tokio::time::timeout(
            PATIENCE,
            self.ask(Value::Object(request), READS.contains(&verb)),
        );
        let line = match asked.await {
            Ok(Ok(line)) => line,
            Ok(Err(error)) => {
                tracing::warn!(%error, verb, "the settlement daemon cannot be reached");
                return Err(Problem::unavailable(
                    "settlement does not answer; try again",
                ));
            }
            Err(_) => return Err(Problem::unavailable("settlement took too long; try again")),
        };
        let answer: Result<Map<String, Value>, _> = serde_json::from_str(&line);
        let Ok(mut answer) = answer else {
            return Err(Problem::unavailable(
                "settlement's answer cannot be read; are both of one version?",
            ));
        };
        if answer.remove("ok") == Some(Value::Bool(true)) {
            return Ok(Value::Object(answer));
        }
        let error = answer.get("error").and_then(Value::as_str);
        Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "settlement",
            "Settlement refused",
            error.unwrap_or("it does not say why"),
        ))
    }

    fn kept(&self) -> MutexGuard<'_, Vec<BufReader<UnixStream>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, request: Value, reads: bool) -> std::io::Result<String> {
        let mut line = request.to_string();
        line.push('\n');
        let kept = if reads { self.kept().pop() } else { None };
        if let Some(kept) = kept
            && let Ok(answer) = self.exchange(kept, &line, reads).await
        {
            return Ok(answer);
        }
        let stream = UnixStream::connect(&self.path).await?;
        self.exchange(BufReader::new(stream), &line, reads).await
    }

    async fn exchange(
        &self,
        mut connection: BufReader<UnixStream>,
        line: &str,
        keep: bool,
    ) -> std::io::Result<String> {
        connection.get_mut().write_all(line.as_bytes()).await?;
        let mut answer = String::new();
        let mut lines = (&mut connection).take(ANSWER_BYTES_MAX);
        lines.read_line(&mut answer).await?;
        if !answer.ends_with('\n') {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if keep {
            let mut kept = self.kept();
            if kept.len() < KEPT {
                kept.push(connection);
            }
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UnixListener;

    #[test]
    fn answers_refusals_and_silence() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settled.sock");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let settled = Settled::new(path.clone());
            let gone = settled.call("balances", Map::new()).await.unwrap_err();
            assert_eq!(gone.status, 503);
            let listener = UnixListener::bind(&path).unwrap();
            let answers = [
                "{\"ok\":true,\"x\":\"1\"}\n",
                "{\"ok\":false,\"error\":\"no; ask\"}\n",
                "nonsense\n",
                "",
            ];
            let server = tokio::spawn(async move {
                let mut asked = Vec::new();
                for answer in answers {
                    let (stream, _) = listener.accept().await.unwrap();
                    let mut stream = BufReader::new(stream);
                    let mut line = String::new();
                    stream.read_line(&mut line).await.unwrap();
                    asked.push(line);
                    let _ = stream.get_mut().write_all(answer.as_bytes()).await;
                }
                asked
            });
            let mut fields = Map::new();
            fields.insert("account".into(), 7.into());
            let good = settled.call("balances", fields).await.unwrap();
            assert_eq!(good, serde_json::json!({ "x": "1" }));
            let refused = settled.call("batch", Map::new()).await.unwrap_err();
            assert_eq!((refused.status, &*refused.detail), (422, "no; ask"));
            for _ in 0..2 {
                let error = settled.call("batch", Map::new()).await.unwrap_err();
                assert_eq!(error.status, 503);
            }
            let asked = server.await.unwrap();
            assert_eq!(asked[0], "{\"verb\":\"balances\",\"account\":7}\n");
        });
    }

    #[test]
    fn reads_share_a_connection_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settled.sock");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let settled = Settled::new(path.clone());
            let listener = UnixListener::bind(&path).unwrap();
            // Each connection's number is its answer, as often as it is asked.
            let server = tokio::spawn(async move {
                for number in 0.. {
                    let (stream, _) = listener.accept().await.unwrap();
                    tokio::spawn(async move {
                        let mut stream = BufReader::new(stream);
                        let mut line = String::new();
                        while stream.read_line(&mut line).await.is_ok_and(|it| it > 0) {
                            let answer = format!("{{\"ok\":true,\"on\":{number}}}\n");
                            stream.get_mut().write_all(answer.as_bytes()).await.unwrap();
                            if line.contains("last") {
                                return; // as a daemon that ends
                            }
                            line.clear();
                        }
                    });
                }
            });
            let mut found = Vec::new();
            let last = Map::from_iter([("last".to_owned(), Value::Bool(true))]);
            for (verb, fields) in [
                ("balances", Map::new()),
                ("channels", Map::new()),
                ("withdraw", Map::new()),
                ("withdraw", Map::new()),
                ("balances", last),
                ("balances", Map::new()),
                ("withdrawals", Map::new()),
            ] {
                let answer = settled.call(verb, fields).await.unwrap();
                found.push(answer["on"].as_u64().unwrap());
            }
            assert_eq!(found, [0, 0, 1, 2, 0, 3, 3]);
            server.abort();
        });
    }
}
