//! `ring0 feed answers`: a session's full answers, or its account's drop copy, on the terminal.

use super::Until;
use crate::fail::Fail;
use ring0_feed::{Access, MoldAnswerClient, SoupAnswerClient, drop_copy};
use ring0_itch::Text;
use ring0_itch::mold::Session as Stream;
use ring0_itch::ouch::Outbound;
use ring0_trader::Session;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use zerocopy::IntoBytes;

/// Arguments.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("where").required(true))]
pub(crate) struct Args {
    /// Over SoupBinTCP, where `ring0 feed serve --answers` listens.
    #[arg(long, value_name = "ADDRESS:PORT", group = "where")]
    server: Option<SocketAddr>,
    /// Over MoldUDP64, where `ring0 feed serve --answers-udp` does.
    #[arg(long, value_name = "ADDRESS:PORT", group = "where")]
    udp: Option<SocketAddr>,
    /// The session's key file; for a drop copy that of the account's first session.
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    /// The drop copy of this account, by its place in the market file from 0, in place of the session's own answers.
    #[arg(long, value_name = "ACCOUNT")]
    drop_copy: Option<u32>,
    /// Number of the first answer wanted; 0: only new ones.
    #[arg(long, value_name = "N", default_value_t = 1)]
    from: u64,
    /// Network namespace from which the server is reached [default: this process's].
    #[arg(long, value_name = "NS")]
    in_netns: Option<String>,
    #[command(flatten)]
    until: Until,
    /// One JSON object an answer, each on a line.
    #[arg(long)]
    json: bool,
}

/// What opens a session's own stream.
pub(super) fn session_access(session: &Session) -> Option<Access> {
    access(session, "answers")
}

/// What opens an account's drop copy, from its first session.
pub(super) fn drop_copy_access(first: &Session) -> Option<Access> {
    access(first, "drop copy")
}

fn access(session: &Session, purpose: &str) -> Option<Access> {
    let key = session.key()?.as_bytes();
    Some(Access::of(key.try_into().ok()?, purpose))
}

/// A client of either protocol.
enum Client {
    Soup(SoupAnswerClient),
    Mold(Box<MoldAnswerClient>),
}

impl Client {
    fn open(args: &Args, name: Stream, access: &Access) -> Result<Client, Fail> {
        Ok(match (args.server, args.udp) {
            (Some(server), _) => {
                let client = SoupAnswerClient::login(server, name, access.password, args.from)?;
                Client::Soup(client)
            }
            (None, Some(server)) => {
                let client = MoldAnswerClient::subscribe(server, name, access, args.from)?;
                Client::Mold(Box::new(client))
            }
            (None, None) => return Err(Fail::new("give --server or --udp")), // clap wants one
        })
    }

    fn next(&self) -> u64 {
        match self {
            Client::Soup(client) => client.next(),
            Client::Mold(client) => client.next(),
        }
    }

    fn poll(&mut self, take: &mut dyn FnMut(u64, &[u8])) -> Result<(), Fail> {
        match self {
            Client::Soup(client) => client.poll(take)?,
            Client::Mold(client) => client.poll(take)?,
        }
        Ok(())
    }
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    let mut stop = args.until.begin();
    let session =
        Session::open(&args.key_file).map_err(|error| Fail::new(format!("--key-file: {error}")))?;
    let (name, access): (Stream, _) = match args.drop_copy {
        Some(account) => (drop_copy(account), drop_copy_access(&session)),
        None => (Text(session.id().0), session_access(&session)),
    };
    let access =
        access.ok_or_else(|| Fail::new("the session has no key, and so opens no stream"))?;
    let open = || Client::open(args, name, &access);
    let mut client = match &args.in_netns {
        Some(netns) => ring0_lab::in_netns(netns, open)?,
        None => open(),
    }?;
    eprintln!("ring0 feed: stream {name} from answer {} on", client.next());
    while !stop() {
        client.poll(&mut |number, answer| print(number, answer, args.json))?;
    }
    Ok(())
}

fn print(number: u64, answer: &[u8], as_json: bool) {
    let Ok(message) = Outbound::read(answer) else {
        return; // of a later edition
    };
    if as_json {
        println!("{}", object(number, &message));
    } else {
        println!("{number} {message:?}");
    }
}

fn object(number: u64, message: &Outbound<'_>) -> Value {
    let letter = |byte: u8| char::from(byte).to_string();
    let mut object = match message {
        Outbound::SystemEvent(it, _) => {
            json!({ "kind": "system_event", "event": letter(it.event_code) })
        }
        Outbound::Accepted(it, _) => json!({
            "kind": "accepted", "user_ref": it.user_ref.get(), "side": letter(it.side),
            "quantity": it.quantity.get(), "symbol": it.symbol.to_string(), "price": it.price.get(),
            "order_reference": it.order_reference.get(),
        }),
        Outbound::Replaced(it, _) => json!({
            "kind": "replaced", "original_user_ref": it.original_user_ref.get(), "user_ref": it.user_ref.get(),
            "quantity": it.quantity.get(), "price": it.price.get(), "order_reference": it.order_reference.get(),
        }),
        Outbound::Canceled(it, _) => json!({
            "kind": "canceled", "user_ref": it.user_ref.get(), "decrement": it.decrement.get(), "reason": letter(it.reason),
        }),
        Outbound::AiqCanceled(it, _) => json!({
            "kind": "self_match_canceled", "user_ref": it.user_ref.get(), "decrement": it.decrement.get(),
            "price": it.price.get(),
        }),
        Outbound::Executed(it, _) => json!({
            "kind": "executed", "user_ref": it.user_ref.get(), "quantity": it.quantity.get(), "price": it.price.get(),
            "liquidity": letter(it.liquidity), "match_number": it.match_number.get(),
        }),
        Outbound::Broken(it, _) => json!({
            "kind": "broken", "user_ref": it.user_ref.get(), "match_number": it.match_number.get(), "reason": letter(it.reason),
        }),
        Outbound::Rejected(it, _) => json!({
            "kind": "rejected", "user_ref": it.user_ref.get(), "reason": it.reason.get(),
        }),
        Outbound::CancelRejected(it, _) => {
            json!({ "kind": "cancel_rejected", "user_ref": it.user_ref.get() })
        }
        Outbound::PriorityUpdate(it, _) => json!({
            "kind": "priority_update", "user_ref": it.user_ref.get(), "price": it.price.get(),
            "order_reference": it.order_reference.get(),
        }),
        other => json!({ "kind": format!("{other:?}") }), // none that we send
    };
    object["sequence"] = number.into();
    object
}
