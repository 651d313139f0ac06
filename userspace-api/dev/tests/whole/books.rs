//! What two people must have, base unit by base unit, and who says so: the shard, the ledger, the states that both have signed, the hub.

use crate::stage::{Person, Stage, order};
use alloy_primitives::{Address, U256};
use ring0_channels_evm::abi::ChannelHub;
use ring0_dev::hub::{Token, WHOLE};
use ring0_trader::{Ack, Locate, Order, Price, Shares, Trader, UdpTransport};
use serde_json::json;

/// The chain's own coin.
pub(crate) const COIN: Address = Address::ZERO;

/// What somebody must have, base units.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Books {
    pub(crate) ether: u128,
    pub(crate) dollars: u128,
}

/// A tenth of an ether at 3,000 dollars, to and fro: the maker gets 0.005 %, the taker pays 0.03 %. The acks of both.
pub(crate) fn trade(
    maker: &mut Trader<UdpTransport>,
    taker: &mut Trader<UdpTransport>,
    taker_sells: bool,
) -> [Ack; 2] {
    let (locate, shares, price) = (Locate(1), Shares(100), Price(3_000 * 10_000));
    let buy = Order::buy(locate, shares, price);
    let sell = Order::sell(locate, shares, price);
    let (first, then) = match taker_sells {
        true => (buy, sell.immediate()),
        false => (sell, buy.immediate()),
    };
    [order(maker, &first), order(taker, &then)]
}

/// A maker buys a tenth of an ether from a taker, at a price in dollars.
pub(crate) fn met(maker: &mut Books, taker: &mut Books, price: u128) {
    exchanged(taker, maker, price);
    fees(maker, taker, price);
}

fn exchanged(seller: &mut Books, buyer: &mut Books, price: u128) {
    let (ether, paid) = (WHOLE / 10, price * WHOLE / 10);
    seller.ether -= ether;
    seller.dollars += paid;
    buyer.ether += ether;
    buyer.dollars -= paid;
}

fn fees(maker: &mut Books, taker: &mut Books, price: u128) {
    let paid = price * WHOLE / 10;
    maker.dollars += paid / 20_000;
    taker.dollars -= paid * 3 / 10_000;
}

/// What a [`trade`] comes to.
pub(crate) fn traded(maker: &mut Books, taker: &mut Books, taker_sells: bool) {
    match taker_sells {
        true => exchanged(taker, maker, 3_000),
        false => exchanged(maker, taker, 3_000),
    }
    fees(maker, taker, 3_000);
}

/// Carol and alice come, pay in 100 ether and 100,000 dollars each, and open sessions.
pub(crate) fn begin(stage: &Stage) -> ([Person; 2], [Books; 2]) {
    let mut people = ["carol", "alice"].map(|name| stage.welcome(name));
    for person in &mut people {
        stage.deposit(person, COIN, 100 * WHOLE);
        stage.deposit(person, stage.dollar(), 100_000 * WHOLE);
    }
    stage.confirm();
    for person in &mut people {
        stage.has(person, "ETH", "100");
        stage.has(person, "USD", "100000");
        stage.open_session(person);
    }
    let books = Books {
        ether: 100 * WHOLE,
        dollars: 100_000 * WHOLE,
    };
    (people, [books; 2])
}

/// So many trades, alice the maker.
pub(crate) fn day(people: &mut [Person; 2], books: &mut [Books; 2], trades: usize) {
    let ([carol, alice], [of_carol, of_alice]) = (people, books);
    let (maker, taker) = (
        alice.trader.as_mut().expect("it has a session"),
        carol.trader.as_mut().expect("it has a session"),
    );
    for at in 0..trades {
        trade(maker, taker, at % 2 == 0);
        traded(of_alice, of_carol, at % 2 == 0);
    }
}

/// Whole units with a decimal point as base units.
pub(crate) fn base(text: &str) -> u128 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{fraction:0<18}").parse().unwrap()
}

/// The ledger's total of an account.
pub(crate) fn in_ledger(stage: &Stage, account: u32) -> Option<Books> {
    let answer = stage.say(
        "settled",
        &json!({ "verb": "balances", "account": account }),
    )?;
    let of = |asset: &str| answer["assets"][asset]["total"].as_str()?.parse().ok();
    Some(Books {
        ether: of("ETH")?,
        dollars: of("USD")?,
    })
}

/// What the shard itself has of an account, available and held.
pub(crate) fn in_shard(stage: &Stage, account: u32) -> Option<Books> {
    let answer = stage.say("dev", &json!({ "verb": "accounts" }))?;
    let all = answer["accounts"].as_array()?;
    let own = all.iter().find(|it| it["number"] == account)?;
    let of = |asset: &str| {
        let parts = ["available", "held"].map(|part| own["balances"][asset][part].as_str());
        Some(base(parts[0]?) + base(parts[1]?))
    };
    Some(Books {
        ether: of("ETH")?,
        dollars: of("USD")?,
    })
}

/// What both have signed.
pub(crate) fn in_tree(stage: &Stage, person: &Person) -> Books {
    Books {
        ether: person.co_signed(COIN),
        dollars: person.co_signed(stage.dollar()),
    }
}

/// What the hub has of a token is what its channels and its vault have.
fn hub_is_exact(stage: &Stage, people: &mut [Person; 2], asset: &str, token: Address) {
    let hub = stage.chain.placed.hub.address;
    let mut escrow = 0;
    for person in people.iter() {
        let answer = stage.wait("channels", || {
            stage.say(
                "settled",
                &json!({ "verb": "channels", "account": person.account }),
            )
        });
        let all = answer["channels"].as_array().unwrap();
        let own = all.iter().find(|it| it["asset"] == asset).unwrap();
        escrow += own["escrow"].as_str().unwrap().parse::<u128>().unwrap();
    }
    let evm = &mut people[0].evm;
    let vault = evm.read(&ChannelHub::vaultOfCall { token }).unwrap();
    let has: u128 = match token {
        COIN => {
            let parameters = json!([hub, "latest"]);
            let balance = stage.chain.node.call("eth_getBalance", parameters);
            let balance: U256 = serde_json::from_value(balance.unwrap()).unwrap();
            balance.to()
        }
        token => {
            let balance = Token::balanceOfCall { account: hub };
            evm.read_from(token, &balance).unwrap().to()
        }
    };
    assert_eq!(
        has,
        escrow + vault.balance.to::<u128>(),
        "{asset} at the hub"
    );
}

/// How many cuts were compared with the shard itself.
fn comparisons(stage: &Stage) -> Option<u64> {
    let answer = stage.say("settled", &json!({ "verb": "metrics" }))?;
    let mut lines = answer["text"].as_str()?.lines();
    let line = lines.find(|it| it.starts_with("ring0_settled_live_comparisons_total"))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// Shard, ledger, trees and hub say the same, and it is what the people know.
pub(crate) fn all_is_exact(
    stage: &Stage,
    people: &mut [Person; 2],
    wanted: [Books; 2],
    home: u128,
) {
    let [carol, alice] = people;
    stage.wait(&format!("{wanted:?} everywhere"), || {
        stage.cosign(carol);
        stage.cosign(alice);
        let of = |person: &Person| {
            let books = [
                in_shard(stage, person.account)?,
                in_ledger(stage, person.account)?,
                in_tree(stage, person),
            ];
            Some(books)
        };
        let found = [of(carol)?, of(alice)?];
        (found == wanted.map(|it| [it; 3])).then_some(())
    });
    let before = stage.wait("numbers", || comparisons(stage));
    stage.wait("a cut that is compared with the shard", || {
        (comparisons(stage)? > before).then_some(())
    });
    // A shard that was killed has the credit before settlement hears of it: that is asked again.
    stage.wait("no credit that waits", || {
        (stage.status()?["credits_waiting"] == 0).then_some(())
    });
    let status = stage.wait("a status", || stage.status());
    assert_eq!(status["halted"], json!([]), "an equation does not hold");
    let wallet = carol.owner.address();
    assert_eq!(stage.dollars(carol, wallet), home, "what came home, once");
    hub_is_exact(stage, people, "ETH", COIN);
    hub_is_exact(stage, people, "USD", stage.dollar());
}
