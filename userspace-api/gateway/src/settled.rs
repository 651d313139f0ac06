//! The settlement daemon's socket: JSON lines, one object a request, one an answer with `ok`.
//!
//! A connection is made for each request: they are rare beside orders, and a daemon that was started again is reached at once.

use crate::problem::Problem;
use axum::http::StatusCode;
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of an answer at the most.
const ANSWER_BYTES_MAX: u64 = 8 << 20;

/// See the module.
#[derive(Clone, Debug)]
pub struct Settled {
    path: PathBuf,
}

impl Settled {
    /// At this socket. Nothing is opened yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Settled {
        Settled { path }
    }

    /// Asks; gives the answer without its `ok`.
    ///
    /// # Errors
    /// It refuses, or does not answer.
    pub async fn call(&self, verb: &str, fields: Map<String, Value>) -> Result<Value, Problem> {
        let mut request = Map::new();
        request.insert("verb".into(), verb.into());
        request.extend(fields);
        let asked = tokio::time::timeout(PATIENCE, self.ask(Value::Object(request)));
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

    async fn ask(&self, request: Value) -> std::io::Result<String> {
        let mut stream = UnixStream::connect(&self.path).await?;
        let mut line = request.to_string();
        line.push('\n');
        stream.write_all(line.as_bytes()).await?;
        line.clear();
        let mut lines = BufReader::new(stream).take(ANSWER_BYTES_MAX);
        lines.read_line(&mut line).await?;
        if line.ends_with('\n') {
            Ok(line)
        } else {
            Err(std::io::ErrorKind::UnexpectedEof.into())
        }
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
}
