//! How an order enters once, however often it is asked for.
//!
//! A client order id that is new gets a reference, is written down, and is sent. One that is known is looked up in the records; where they do not
//! have it, it is sent again under the reference it had, which the engine takes at most once because references of a session only rise. So
//! neither a lost answer nor a crash between the steps enters an order twice. Why so: `docs/decisions/0084-gateway-orders.md`.

use crate::app::App;
use crate::desk::{Desk, Named};
use crate::intents::{CLIENT_ORDER_ID_MAX, Intent};
use crate::messages::OrderInfo;
use crate::orders::Status;
use crate::problem::Problem;
use crate::shard::Shard;
use ring0_trader::{Ack, Order, Outcome, Reason, Reference};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// How long the records are waited for behind an answer: they are there within a millisecond, or something is wrong.
const RECORDS_WAIT: Duration = Duration::from_secs(2);

/// A client order id that can be one.
pub(super) fn client_order_id(text: &str) -> Result<Arc<str>, Problem> {
    let is_good = (1..=CLIENT_ORDER_ID_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || b"-_.".contains(&it));
    if is_good {
        Ok(Arc::from(text))
    } else {
        Err(Problem::field(
            "client_order_id",
            format!("give 1 to {CLIENT_ORDER_ID_MAX} letters, digits, `-`, `_` or `.`"),
        ))
    }
}

/// What was asked, in short: equal requests have equal digests.
pub(super) fn digest(asked: &(impl Serialize + ?Sized)) -> [u8; 16] {
    // A struct of text and numbers always is JSON, its fields in their order.
    let text = serde_json::to_vec(asked).unwrap_or_default();
    let hash = Sha256::digest(&text);
    std::array::from_fn(|at| hash[at])
}

/// Holds a client order id while its order enters.
struct Entering {
    app: Arc<App>,
    key: (u32, Arc<str>),
}

impl Entering {
    fn begin(app: &Arc<App>, account: u32, client: &Arc<str>) -> Result<Entering, Problem> {
        let key = (account, Arc::clone(client));
        let mut entering = app.entering.lock().unwrap_or_else(PoisonError::into_inner);
        if !entering.insert(key.clone()) {
            let mut problem = Problem::conflict(
                "in-progress",
                "the same client order id is being entered now; ask for it in a moment",
            );
            problem.retry_after = Some(1);
            return Err(problem);
        }
        Ok(Entering {
            app: Arc::clone(app),
            key,
        })
    }
}

impl Drop for Entering {
    fn drop(&mut self) {
        let mut entering = self
            .app
            .entering
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        entering.remove(&self.key);
    }
}

/// Enters an order, or a replacement, under a client order id; gives it, and whether it entered now.
///
/// Runs to its end even when the client goes, because an order that was sent is not unsent.
pub(super) async fn enter(
    app: Arc<App>,
    desk: Arc<Desk>,
    client: Arc<str>,
    digest: [u8; 16],
    order: Order,
) -> Result<(OrderInfo, bool), Problem> {
    let entering = Entering::begin(&app, desk.account, &client)?;
    let entered = tokio::spawn(async move {
        let _entering = entering;
        once(&app, &desk, client, digest, order).await
    });
    entered.await.unwrap_or_else(|_| {
        Err(Problem::unavailable(
            "entering the order failed; ask for it by its client order id",
        ))
    })
}

async fn once(
    app: &App,
    desk: &Desk,
    client: Arc<str>,
    digest: [u8; 16],
    order: Order,
) -> Result<(OrderInfo, bool), Problem> {
    if let Some(intent) = app.intents.find(desk.account, &client) {
        if intent.digest != digest {
            return Err(Problem::conflict(
                "client-order-id-used",
                "this client order id was used for other terms; choose another one",
            ));
        }
        if let Some(known) = again(app, desk, &intent, order).await? {
            return known;
        }
        // Surely not entered: it enters now, under a new reference.
    }
    let named = Named { client, digest };
    let ack = one(desk.submit(vec![(order, Some(named))]).await?)?;
    let _ = desk.shard.wait_for(ack.venue_sequence, RECORDS_WAIT).await;
    outcome(&desk.shard, &ack, ack.reference, desk).map(|it| (it, true))
}

/// What became of an order that was meant before; `None`: it surely never entered.
type Known = Option<Result<(OrderInfo, bool), Problem>>;

async fn again(app: &App, desk: &Desk, intent: &Intent, order: Order) -> Result<Known, Problem> {
    if let Some(known) = look_up(&desk.shard, intent) {
        return Ok(Some(known));
    }
    // It may have been meant for a session that ends before this one.
    let meant = app
        .desks
        .of_session(desk.account, desk.shard.number, intent.session);
    let desk = meant.as_deref().unwrap_or(desk);
    if intent.session != desk.session {
        return Err(Problem::conflict(
            "client-order-id-used",
            "this client order id belongs to an earlier trading session, and its outcome is no longer kept; choose another one",
        ));
    }
    let is_forgotten = {
        let state = desk.shard.state();
        intent.reference <= state.orders.last_reference(desk.session)
            && state.orders.was_forgotten(desk.account)
    };
    if is_forgotten {
        return Err(Problem::conflict(
            "client-order-id-used",
            "this client order id was used, and its outcome is no longer kept; choose another one",
        ));
    }
    // Under its old reference: taken at most once, whatever happened to the first one.
    let order = order.reference(Reference(intent.reference));
    let ack = one(desk.submit(vec![(order, None)]).await?)?;
    let _ = desk.shard.wait_for(ack.venue_sequence, RECORDS_WAIT).await;
    if ack.reason_number == Reason::ReferenceNotRising as u8 && ack.outcome == Outcome::Rejected {
        return Ok(look_up(&desk.shard, intent));
    }
    let entered = outcome(&desk.shard, &ack, Reference(intent.reference), desk);
    Ok(Some(entered.map(|it| (it, true))))
}

/// The order as the records have it.
fn look_up(shard: &Shard, intent: &Intent) -> Option<Result<(OrderInfo, bool), Problem>> {
    let state = shard.state();
    let order = state
        .orders
        .by_reference(intent.session, intent.reference)?;
    Some(if order.status == Status::Rejected {
        Err(Problem::reason_number(order.reason))
    } else {
        Ok((OrderInfo::of(shard, order), false))
    })
}

fn one(acks: Vec<Ack>) -> Result<Ack, Problem> {
    acks.into_iter()
        .next()
        .ok_or_else(|| Problem::unavailable("the exchange's answer has no content"))
}

/// What an answer says: the order, or why not.
fn outcome(
    shard: &Shard,
    ack: &Ack,
    reference: Reference,
    desk: &Desk,
) -> Result<OrderInfo, Problem> {
    if ack.outcome == Outcome::Rejected {
        return Err(Problem::reason_number(ack.reason_number));
    }
    let state = shard.state();
    let order = state.orders.by_reference(desk.session, reference.0);
    order
        .map(|order| OrderInfo::of(shard, order))
        .ok_or_else(|| {
            Problem::unavailable(
                "the order was taken, and its record is not here yet; ask for it by its client order id",
            )
        })
}

/// Sends a message that enters nothing; gives its answer once the records have it.
pub(super) async fn tell(desk: Arc<Desk>, order: Order) -> Result<Ack, Problem> {
    let told = tokio::spawn(async move {
        let ack = one(desk.submit(vec![(order, None)]).await?)?;
        if ack.outcome == Outcome::Rejected {
            return Err(Problem::reason_number(ack.reason_number));
        }
        let _ = desk.shard.wait_for(ack.venue_sequence, RECORDS_WAIT).await;
        Ok(ack)
    });
    told.await.unwrap_or_else(|_| {
        Err(Problem::unavailable(
            "the message could not be sent; try again",
        ))
    })
}
