//! The WebSocket: channels that say what happens, public ones to everybody, private ones to who may read the account.
//!
//! Always true: of a channel a client gets what it began with (a snapshot, where there is one) and everything behind it, or it is cut off.
//! A connection has bounded memory: small buffers, and a queue of [`crate::config::Http::websocket_queue`] messages that are shared.

use crate::app::App;
use crate::authority::{Asked, Right, Who};
use crate::hub::{Channel, Listener, Text};
use crate::market::{INTERVALS, Interval};
use crate::messages::{self, OrderInfo};
use crate::problem::Problem;
use crate::rate::Buckets;
use crate::rest::{Peer, who};
use crate::serve::{Seat, drained};
use crate::shard::Shard;
use axum::Extension;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes that a client's message may have.
const MESSAGE_BYTES_MAX: usize = 8 << 10;

/// Bytes of a connection's read buffer. Clients send a few words; ten thousand buffers are memory.
const READ_BUFFER: usize = 4 << 10;

/// Bytes of a connection's write buffer: nothing is gathered, and a whole snapshot may be written.
const WRITE_BUFFER_MAX: usize = 16 << 20;

/// How long one message may take to leave.
const SEND_WAIT: Duration = Duration::from_secs(10);

/// Channels of a connection at the most.
const CHANNELS_MAX: usize = 256;

/// Pings without any word of the client after which it is gone.
const PINGS_MAX: u32 = 4;

/// What a client says.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
enum Said {
    Subscribe {
        #[serde(default)]
        id: Option<Value>,
        channel: Name,
        #[serde(default)]
        symbol: Option<String>,
        #[serde(default)]
        interval: Option<String>,
        #[serde(default)]
        account: Option<String>,
    },
    Unsubscribe {
        #[serde(default)]
        id: Option<Value>,
        channel: Name,
        #[serde(default)]
        symbol: Option<String>,
        #[serde(default)]
        interval: Option<String>,
        #[serde(default)]
        account: Option<String>,
    },
    /// A credential, as the header `Authorization` would have it.
    Login {
        #[serde(default)]
        id: Option<Value>,
        authorization: String,
    },
    Ping {
        #[serde(default)]
        id: Option<Value>,
    },
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Name {
    Book,
    Trades,
    Ticker,
    Candles,
    Orders,
    Fills,
}

/// Opens it: `GET /v1/stream`.
pub(crate) async fn open(
    State(app): State<Arc<App>>,
    Extension(Peer(peer)): Extension<Peer>,
    Extension(seat): Extension<Arc<Seat>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    request: Request,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(error) => {
            return Problem::malformed(error.status(), error.body_text()).into_response();
        }
    };
    let (parts, _) = request.into_parts();
    let shows = |name| parts.headers.contains_key(name);
    let caller = if shows(header::AUTHORIZATION) || shows(header::COOKIE) {
        match who(&app, &parts, &[], peer.ip()) {
            Ok(who) => Some(who),
            Err(problem) => return problem.into_response(),
        }
    } else {
        None
    };
    upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_MAX)
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .on_upgrade(move |socket| async move {
            let _seat = seat;
            let gauge = app.metrics.connections.with_label_values(&["websocket"]);
            gauge.inc();
            serve(&app, socket, peer.ip(), caller).await;
            gauge.dec();
        })
}

/// Why a connection ends.
enum End {
    /// The client is gone.
    Gone,
    /// With a close frame.
    Close(u16, &'static str),
}

async fn serve(app: &App, mut socket: WebSocket, from: IpAddr, caller: Option<Arc<dyn Who>>) {
    let (listener, mut queue) = Listener::new(app.http.websocket_queue);
    let mut client = Client {
        app,
        from,
        caller,
        listener: Arc::clone(&listener),
        channels: HashSet::new(),
        words: Buckets::new(20, 200),
    };
    let mut draining = app.draining.clone();
    let mut ping = tokio::time::interval(Duration::from_secs(app.http.websocket_ping_seconds));
    ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ping.tick().await; // the first is at once
    let mut unheard = 0;
    let end = loop {
        tokio::select! {
            biased;
            () = listener.cut_off() => {
                break End::Close(close_code::POLICY, "too slow: read faster, or subscribe to less");
            }
            () = drained(&mut draining) => {
                break End::Close(close_code::AWAY, "the gateway is ending; connect again");
            }
            message = socket.recv() => {
                unheard = 0;
                match message {
                    Some(Ok(Message::Text(text))) => {
                        if let Err(end) = client.hear(&text) {
                            break end;
                        }
                    }
                    Some(Ok(Message::Binary(_))) => {
                        break End::Close(close_code::UNSUPPORTED, "messages are JSON text");
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Close(_)) | Err(_)) | None => break End::Gone,
                }
            }
            Some(text) = queue.recv() => {
                if let Err(end) = send(&mut socket, Message::Text(text)).await {
                    break end;
                }
            }
            _ = ping.tick() => {
                unheard += 1;
                if unheard > PINGS_MAX {
                    break End::Close(close_code::POLICY, "nothing was heard for four pings");
                }
                if client.caller.as_ref().is_some_and(|who| who.still().is_err()) {
                    break End::Close(close_code::POLICY, "the credential does not hold any more");
                }
                if let Err(end) = send(&mut socket, Message::Ping(Vec::new().into())).await {
                    break end;
                }
            }
        }
    };
    client.leave_all();
    if let End::Close(code, reason) = end {
        app.metrics
            .refused
            .with_label_values(&[
                "websocket",
                if listener.is_slow() { "slow" } else { "closed" },
            ])
            .inc();
        let frame = CloseFrame {
            code,
            reason: reason.into(),
        };
        let _ = send(&mut socket, Message::Close(Some(frame))).await; // it may be gone
    }
}

async fn send(socket: &mut WebSocket, message: Message) -> Result<(), End> {
    match tokio::time::timeout(SEND_WAIT, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::Gone),
        Err(_) => Err(End::Close(
            close_code::POLICY,
            "too slow: a message did not leave in 10 s",
        )),
    }
}

/// One connection.
struct Client<'a> {
    app: &'a App,
    from: IpAddr,
    caller: Option<Arc<dyn Who>>,
    listener: Arc<Listener>,
    /// With the number of the shard.
    channels: HashSet<(u32, Channel)>,
    words: Buckets<()>,
}

impl Client<'_> {
    fn say(&self, value: &Value) {
        self.listener.say(Text::from(value.to_string()));
    }

    fn hear(&mut self, text: &str) -> Result<(), End> {
        if self.words.take(&(), Instant::now()).wait_ms.is_some() {
            return Err(End::Close(
                close_code::POLICY,
                "too many messages: 20 a second",
            ));
        }
        let said: Result<Said, _> = serde_json::from_str(text);
        let (id, done) = match said {
            Ok(Said::Ping { id }) => (id, Ok(json!({ "op": "pong" }))),
            Ok(Said::Login { id, authorization }) => (id, self.login(&authorization)),
            Ok(Said::Subscribe {
                id,
                channel,
                symbol,
                interval,
                account,
            }) => {
                let asked = (
                    channel,
                    symbol.as_deref(),
                    interval.as_deref(),
                    account.as_deref(),
                );
                let done = self.subscribe(asked, id.as_ref());
                (id, done)
            }
            Ok(Said::Unsubscribe {
                id,
                channel,
                symbol,
                interval,
                account,
            }) => {
                let asked = (
                    channel,
                    symbol.as_deref(),
                    interval.as_deref(),
                    account.as_deref(),
                );
                (id, self.unsubscribe(asked))
            }
            Err(error) => {
                let detail = format!("{error}; see docs/api.md#websocket");
                let problem = Problem::malformed(axum::http::StatusCode::BAD_REQUEST, detail);
                (None, Err(problem))
            }
        };
        let answer = match done {
            Ok(Value::Null) => return Ok(()), // said already
            Ok(value) => value,
            Err(problem) => json!({ "op": "error", "problem": problem }),
        };
        self.say(&with_id(answer, id.as_ref()));
        Ok(())
    }

    fn login(&mut self, authorization: &str) -> Result<Value, Problem> {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_str(authorization).map_err(|_| {
            Problem::unauthenticated("the credential has letters that no header has")
        })?;
        headers.insert(header::AUTHORIZATION, value);
        self.caller = Some(self.app.authority.who(&Asked {
            method: "GET",
            path: "/v1/stream",
            query: "",
            body: &[],
            headers: &headers,
            from: self.from,
        })?);
        Ok(json!({ "op": "welcome" }))
    }

    /// The channel that is meant, in which shards.
    fn channels_of(
        &self,
        (name, symbol, interval, account): AskedChannel<'_>,
    ) -> Result<(Vec<Arc<Shard>>, Channel), Problem> {
        if let Name::Orders | Name::Fills = name {
            let account = account
                .ok_or_else(|| Problem::field("account", "name the account of the channel"))?;
            let caller = self.caller.as_ref().ok_or_else(|| {
                Problem::unauthenticated(
                    "a private channel needs `Authorization` at the connection, or `{\"op\":\"login\"}`",
                )
            })?;
            let account = self.app.venue.account(account)?;
            caller.may(Right::Read, account)?;
            let channel = if name == Name::Orders {
                Channel::Orders(account)
            } else {
                Channel::Fills(account)
            };
            return Ok((self.app.shards.clone(), channel));
        }
        let symbol =
            symbol.ok_or_else(|| Problem::field("symbol", "name the channel's instrument"))?;
        let it = self.app.venue.instrument(symbol)?;
        let channel = match name {
            Name::Book => Channel::Book(it.index),
            Name::Trades => Channel::Trades(it.index),
            Name::Ticker => Channel::Ticker(it.index),
            _ => {
                let interval = Interval::named(interval.unwrap_or("1m")).ok_or_else(|| {
                    let names = INTERVALS.map(Interval::name).join(", ");
                    Problem::field("interval", format!("give one of {names}"))
                })?;
                Channel::Candles(it.index, interval)
            }
        };
        Ok((vec![Arc::clone(self.app.shard_of(it))], channel))
    }

    fn subscribe(&mut self, asked: AskedChannel<'_>, id: Option<&Value>) -> Result<Value, Problem> {
        let (shards, channel) = self.channels_of(asked)?;
        if self.channels.len() + shards.len() > CHANNELS_MAX {
            return Err(Problem::conflict(
                "too-many-channels",
                format!("a connection has {CHANNELS_MAX} channels; open another one"),
            ));
        }
        let answer = json!({
            "op": "subscribed", "channel": asked.0, "symbol": asked.1, "interval": asked.2, "account": asked.3,
        });
        self.say(&with_id(answer, id));
        for shard in shards {
            // Under the lock that the follower writes under: the snapshot, and behind it everything.
            let state = shard.state();
            match channel {
                Channel::Book(index) => {
                    let text = messages::book_text(&state.market, &shard.venue, index);
                    self.listener.say(Text::from(text));
                }
                Channel::Ticker(index) => {
                    let now_s = crate::clock::unix_now_ns() / 1_000_000_000;
                    let text = messages::ticker_text(&state.market, &shard.venue, index, now_s);
                    self.listener.say(Text::from(text));
                }
                Channel::Orders(account) => {
                    let live = state.orders.live(account);
                    let orders: Vec<_> = live.map(|it| OrderInfo::of(&shard, it)).collect();
                    self.say(&json!({ "channel": "orders", "type": "snapshot", "shard": shard.name, "data": orders }));
                }
                Channel::Trades(_) | Channel::Candles(..) | Channel::Fills(_) => {}
            }
            shard.hub.join(channel, &self.listener);
            drop(state);
            self.channels.insert((shard.number, channel));
        }
        Ok(Value::Null)
    }

    fn unsubscribe(&mut self, asked: AskedChannel<'_>) -> Result<Value, Problem> {
        let (shards, channel) = self.channels_of(asked)?;
        for shard in shards {
            shard.hub.leave(channel, &self.listener);
            self.channels.remove(&(shard.number, channel));
        }
        Ok(json!({
            "op": "unsubscribed", "channel": asked.0, "symbol": asked.1, "interval": asked.2, "account": asked.3,
        }))
    }

    fn leave_all(&self) {
        for (shard, channel) in &self.channels {
            self.app.shards[*shard as usize]
                .hub
                .leave(*channel, &self.listener);
        }
    }
}

/// A channel as a client names it: name, symbol, interval, account.
type AskedChannel<'a> = (Name, Option<&'a str>, Option<&'a str>, Option<&'a str>);

fn with_id(mut answer: Value, id: Option<&Value>) -> Value {
    if let Some(object) = answer.as_object_mut() {
        object.retain(|_, value| !value.is_null());
        if let Some(id) = id {
            object.insert("id".into(), id.clone());
        }
    }
    answer
}
