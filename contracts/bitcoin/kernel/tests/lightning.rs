//! Deposits and withdrawals over Lightning, on a chain under Bitcoin Core's validation: every transaction is in a block of its engine. The trader's node is
//! in this process; the exchange is a process of its own, which is killed at every place where a crash could matter.

use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr},
    os::unix::process::ExitStatusExt,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use bitcoin::{
    Address, Amount,
    hashes::{Hash, sha256},
    secp256k1::PublicKey,
};
use lightning::ln::channel_state::ChannelDetails;
use ring0_bitcoinkernel_tests::served::Served;
use ring0_lightning::{amount::Msat, node::Node};
use serde_json::{Value, json};

mod payer;
use payer::{Till, free_port, node, until};

const CHANNEL: Amount = Amount::from_sat(1_000_000);
const WALLET: Amount = Amount::from_sat(5_000_000);
/// The exchange asks for so many blocks of the trader's balance.
const DELAY: u32 = 144;
const ACCOUNT: u32 = 7;
/// LDK counts both anchors off the capacity of whoever opened the channel, 330 satoshi each.
const ANCHORS_MSAT: u64 = 660_000;

/// The exchange's process.
struct Exchange {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    setup: Value,
    id: PublicKey,
    wallet: String,
}

impl Exchange {
    fn start(setup: &Value) -> Option<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lightning-exchange"))
            .arg(setup.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(if std::env::var_os("RING0_LOG").is_some() {
                Stdio::inherit()
            } else {
                Stdio::null()
            })
            .spawn()
            .unwrap();
        let to = child.stdin.take().unwrap();
        let mut from = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        from.read_line(&mut line).unwrap();
        let Ok(ready) = serde_json::from_str::<Value>(&line) else {
            let status = child.wait().unwrap();
            assert_eq!(
                status.signal(),
                Some(9),
                "the exchange did not start: {status}"
            );
            return None;
        };
        Some(Self {
            child,
            to,
            from,
            setup: setup.clone(),
            id: ready["id"].as_str().unwrap().parse().unwrap(),
            wallet: ready["address"].as_str().unwrap().to_owned(),
        })
    }

    /// `None`: it died.
    fn ask(&mut self, command: Value) -> Option<Value> {
        writeln!(self.to, "{command}").ok()?;
        let mut line = String::new();
        self.from.read_line(&mut line).ok()?;
        serde_json::from_str(&line).ok()
    }

    fn status(&mut self) -> Option<Value> {
        let status = self.ask(json!({"status": {"account": ACCOUNT}}))?;
        assert_eq!(status["failure"], Value::Null, "the node stopped");
        Some(status)
    }

    fn address(&self) -> SocketAddr {
        (
            Ipv4Addr::LOCALHOST,
            self.setup["port"].as_u64().unwrap() as u16,
        )
            .into()
    }

    fn kill(&mut self) {
        self.child.kill().unwrap(); // SIGKILL
        assert_eq!(self.child.wait().unwrap().signal(), Some(9));
    }

    /// After its death, by its own hand or ours. It dies again at these places while it recovers. How often it did.
    fn again(&mut self, places: &[u64]) -> u32 {
        assert_eq!(
            self.child.wait().unwrap().signal(),
            Some(9),
            "it ended otherwise"
        );
        let (setup, mut deaths) = (self.setup.clone(), 0);
        for place in places.iter().chain(&[0]) {
            let mut mortal = setup.clone();
            mortal["die_at"] = json!(place);
            if let Some(mut started) = Self::start(&mortal)
                && started.ask(json!({"arm": 0})).is_some()
            {
                started.setup = setup;
                *self = started;
                return deaths;
            }
            deaths += 1;
        }
        panic!("nothing kills it the last time");
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A chain, a trader, an exchange, a channel from the trader that is ready.
struct Stand {
    trader: Node,
    till: Arc<Till>,
    exchange: Exchange,
    /// Last, as its folder has the nodes' in it and goes with it.
    chain: Served,
}

impl Stand {
    fn new() -> Self {
        let chain = Served::new();
        let till = Arc::new(Till::default());
        let trader = node(&chain, "trader", till.clone());
        let folder = chain.folder().join("exchange");
        std::fs::create_dir(&folder).unwrap();
        let setup = json!({"folder": folder, "port": free_port(), "rpc_port": chain.port(), "cookie": chain.cookie()});
        let exchange = Exchange::start(&setup).unwrap();
        let mut stand = Self {
            chain,
            trader,
            till,
            exchange,
        };

        // Without coins for the end of a channel neither side takes one.
        stand.connect();
        let early = stand
            .trader
            .open_channel(stand.exchange.id, CHANNEL)
            .unwrap_err();
        assert!(early.to_string().contains("pay in at bcrt1q"), "{early}");
        let exchange_wallet = Address::from_str(&stand.exchange.wallet)
            .unwrap()
            .assume_checked();
        {
            let mut chain = stand.chain.chain();
            chain.regtest.mine(2);
            chain.pay(stand.trader.wallet().script(), WALLET);
            chain.pay(exchange_wallet.script_pubkey(), WALLET);
        }
        assert_eq!(stand.mine(1), 2);
        stand
            .trader
            .open_channel(stand.exchange.id, CHANNEL)
            .unwrap();
        until("the funding transaction", || {
            (stand.chain.chain().waiting().len() == 1).then_some(())
        });
        assert_eq!(stand.mine(6), 1);
        stand.usable();
        assert_eq!(
            stand.trader_msat(),
            CHANNEL.to_sat() * 1_000,
            "all is the trader's"
        );
        stand
    }

    /// Blocks, and both sides have seen them. How many transactions they took.
    fn mine(&mut self, blocks: u32) -> usize {
        let (taken, height) = {
            let mut chain = self.chain.chain();
            (chain.mine(blocks), chain.regtest.height())
        };
        until("the trader's node", || {
            (self.trader.best_block().height == height).then_some(())
        });
        let exchange = &mut self.exchange;
        until("the exchange's node", || {
            (exchange.status().unwrap()["height"].as_u64() == Some(height.into())).then_some(())
        });
        taken
    }

    fn connect(&self) {
        until("a connection", || {
            self.trader
                .connect(self.exchange.id, self.exchange.address())
                .ok()
        });
    }

    fn connect_to(&self, other: &Node) {
        self.trader
            .connect(other.id(), other.address().unwrap())
            .unwrap();
    }

    fn usable(&mut self) {
        until("a channel that can be used", || {
            let _ = self
                .trader
                .connect(self.exchange.id, self.exchange.address());
            let ours = self
                .trader
                .channels()
                .iter()
                .any(|channel| channel.is_usable);
            (ours && self.exchange.status().unwrap()["usable"] == 1).then_some(())
        });
    }

    fn channel(&self) -> ChannelDetails {
        let ours = |channel: &ChannelDetails| channel.counterparty.node_id == self.exchange.id;
        self.trader
            .channels()
            .into_iter()
            .find(ours)
            .expect("there is one")
    }

    /// The trader's side of the channel, exact while nothing is under way and it has its reserve.
    fn trader_msat(&self) -> u64 {
        let channel = self.channel();
        assert!(channel.outbound_capacity_msat > 0, "below its reserve");
        channel.outbound_capacity_msat
            + channel.unspendable_punishment_reserve.unwrap() * 1_000
            + ANCHORS_MSAT
    }

    /// Nothing is under way, and what the exchange owes is what it has in the channel, to the millisatoshi.
    fn settled(&mut self) -> Value {
        let status = until("nothing under way", || {
            let status = self.exchange.status().unwrap();
            let channel = self.channel();
            let quiet = channel.pending_outbound_htlcs.is_empty()
                && channel.pending_inbound_htlcs.is_empty();
            let matched = quiet
                && status["owed"].as_u64() == Some(CHANNEL.to_sat() * 1_000 - self.trader_msat());
            (matched && status["held"] == 0).then_some(status)
        });
        assert_eq!(
            status["available"].as_u64().unwrap()
                + status["withdrawn"].as_u64().unwrap()
                + status["fees"].as_u64().unwrap(),
            status["deposited"].as_u64().unwrap(),
        );
        status
    }

    fn invoice(&mut self, msat: u64) -> Option<String> {
        let command = json!({"invoice": {"account": ACCOUNT, "msat": msat, "expiry_s": 600}});
        let answer = self.exchange.ask(command)?;
        Some(
            answer["invoice"]
                .as_str()
                .unwrap_or_else(|| panic!("{answer}"))
                .to_owned(),
        )
    }

    /// The trader pays. The payment hash.
    fn pay(&self, invoice: &str) -> sha256::Hash {
        let invoice = lightning_invoice(invoice);
        let amount = Msat::new(invoice.amount_milli_satoshis().unwrap()).unwrap();
        self.trader.pay(&invoice, amount, Msat::ZERO).unwrap();
        *invoice.payment_hash()
    }

    fn deposit(&mut self, msat: u64) {
        let invoice = self.invoice(msat).unwrap();
        let hash = self.pay(&invoice);
        assert_eq!(self.ended(hash), Ok(0));
    }

    fn ended(&self, hash: sha256::Hash) -> Result<u64, String> {
        until("the end of a payment", || {
            self.till.ended.lock().unwrap().get(&hash).cloned()
        })
    }

    fn withdraw(&mut self, invoice: &str, msat: Option<u64>, fee_limit: u64) -> Option<Value> {
        let command = json!({"withdraw": {"account": ACCOUNT, "invoice": invoice, "msat": msat, "fee_limit": fee_limit}});
        self.exchange.ask(command)
    }

    fn trader_invoice(&self, msat: Option<u64>) -> (String, sha256::Hash) {
        let amount = msat.map(|msat| Msat::new(msat).unwrap());
        let invoice = self.trader.invoice(amount, "withdrawal", 600).unwrap();
        (invoice.to_string(), *invoice.payment_hash())
    }

    fn progress(&mut self, hash: sha256::Hash) -> Value {
        self.exchange
            .ask(json!({"progress": {"hash": hash}}))
            .unwrap()
    }
}

fn lightning_invoice(text: &str) -> lightning::bolt11_invoice::Bolt11Invoice {
    text.parse().unwrap()
}

#[test]
fn deposits_withdrawals_failures_and_what_is_refused() {
    let mut stand = Stand::new();
    for msat in [300_000_001, 1_999, 54_321] {
        stand.deposit(msat);
    }
    let status = stand.settled();
    assert_eq!(status["deposited"], 300_000_001 + 1_999 + 54_321);

    // A withdrawal with an amount in the invoice, the same again, one without an amount.
    let (invoice, hash) = stand.trader_invoice(Some(100_000_500));
    let answer = stand.withdraw(&invoice, None, 7_000).unwrap();
    assert!(
        answer["is"] == "held" || answer["is"] == "settled",
        "{answer}"
    );
    until("the payee's money", || {
        stand.till.received.lock().unwrap().get(&hash).copied()
    });
    stand.settled();
    let again = stand.withdraw(&invoice, None, 7_000).unwrap();
    assert_eq!(
        (&again["is"], &again["fee"]),
        (&json!("settled"), &json!(0))
    );
    let other = stand.withdraw(&invoice, None, 8_000).unwrap();
    assert!(
        other["error"].as_str().unwrap().contains("new invoice"),
        "{other}"
    );
    let (open, hash) = stand.trader_invoice(None);
    let nothing = stand.withdraw(&open, None, 0).unwrap();
    assert!(
        nothing["error"]
            .as_str()
            .unwrap()
            .contains("names no amount"),
        "{nothing}"
    );
    stand.withdraw(&open, Some(5_000), 0).unwrap();
    assert_eq!(
        until("the payee's money", || stand
            .till
            .received
            .lock()
            .unwrap()
            .get(&hash)
            .copied()),
        5_000
    );
    let status = stand.settled();
    assert_eq!(
        (&status["withdrawn"], &status["fees"]),
        (&json!(100_005_500), &json!(0))
    );

    // What cannot be: too much, another amount, no invoice, the exchange's own, more than the account has.
    let own = stand.invoice(1_000).unwrap();
    let (named, _) = stand.trader_invoice(Some(1_000));
    let (large, _) = stand.trader_invoice(Some(900_000_000));
    for (invoice, msat, reason) in [
        ("lnbc1", None, "begins with `ln`"),
        (own.as_str(), None, "own"),
        (named.as_str(), Some(999), "leave the amount away"),
        (large.as_str(), None, "available"),
    ] {
        let answer = stand.withdraw(invoice, msat, 0).unwrap();
        assert!(
            answer["error"]
                .as_str()
                .is_some_and(|it| it.contains(reason)),
            "{reason}: {answer}"
        );
    }

    // The payee refuses: the hold comes back, once.
    *stand.till.refusing.lock().unwrap() = true;
    let (invoice, hash) = stand.trader_invoice(Some(20_000_000));
    let answer = stand.withdraw(&invoice, None, 1_000).unwrap();
    assert!(
        answer["is"] == "held" || answer["is"] == "released",
        "{answer}"
    );
    let released = until("the release", || {
        Some(stand.progress(hash)).filter(|it| it["is"] == "released")
    });
    assert!(
        released["reason"]
            .as_str()
            .unwrap()
            .contains("RecipientRejected"),
        "{released}"
    );
    let after = stand.settled();
    assert_eq!(after["available"], status["available"]);
    let again = stand.withdraw(&invoice, None, 1_000).unwrap();
    assert_eq!(
        again["is"], "released",
        "a payment that failed is not sent again"
    );
}

/// A payee that the exchange has no channel with: the way is in its invoice, and costs what the trader in the middle asks for, one
/// satoshi. The account pays that and gets the rest of its limit back; below it nothing is sent.
#[test]
fn a_withdrawal_through_the_trader_pays_the_ways_fee() {
    let mut stand = Stand::new();
    stand.deposit(300_000_000);
    let till = Arc::new(Till::default());
    let payee = node(&stand.chain, "payee", till.clone());
    {
        let mut chain = stand.chain.chain();
        chain.regtest.mine(3);
        chain.pay(payee.wallet().script(), WALLET);
    }
    stand.mine(1);
    stand.connect_to(&payee);
    let shared = stand.trader.open_channel(payee.id(), CHANNEL).unwrap_err();
    assert!(shared.to_string().contains("in 1 coins"), "{shared}");
    let script = stand.trader.wallet().script();
    stand.chain.chain().pay(script, WALLET);
    stand.mine(1);
    until("the payee's coins", || {
        (payee.wallet().balance() == WALLET).then_some(())
    });
    stand
        .trader
        .connect(payee.id(), payee.address().unwrap())
        .unwrap();
    stand.trader.open_channel(payee.id(), CHANNEL).unwrap();
    until("the funding transaction", || {
        (stand.chain.chain().waiting().len() == 1).then_some(())
    });
    stand.mine(6);
    let usable = |node: &Node| {
        node.channels()
            .iter()
            .filter(|channel| channel.is_usable)
            .count()
    };
    until("both channels", || {
        (usable(&stand.trader) == 2 && usable(&payee) == 1).then_some(())
    });

    let before = stand.exchange.status().unwrap();
    for (fee_limit, fee) in [(999, None), (1_700, Some(1_000))] {
        let msat = Msat::new(50_000_321).unwrap();
        let invoice = payee.invoice(Some(msat), "withdrawal", 600).unwrap();
        stand
            .withdraw(&invoice.to_string(), None, fee_limit)
            .unwrap();
        let end = until("its end", || {
            Some(stand.progress(*invoice.payment_hash())).filter(|it| it["is"] != "held")
        });
        let received = till
            .received
            .lock()
            .unwrap()
            .get(invoice.payment_hash())
            .copied();
        match fee {
            None => {
                assert!(
                    end["reason"].as_str().unwrap().contains("fee limit"),
                    "{end}"
                );
                assert_eq!(received, None);
            }
            Some(fee) => {
                assert_eq!((&end["is"], &end["fee"]), (&json!("settled"), &json!(fee)));
                assert_eq!(received, Some(msat.get()));
                let preimage: Vec<u8> =
                    bitcoin::hex::FromHex::from_hex(end["preimage"].as_str().unwrap()).unwrap();
                assert_eq!(
                    sha256::Hash::hash(&preimage),
                    *invoice.payment_hash(),
                    "no proof of payment"
                );
            }
        }
    }
    let after = stand.exchange.status().unwrap();
    let paid = 50_000_321 + 1_000;
    assert_eq!(
        after["available"].as_u64(),
        Some(before["available"].as_u64().unwrap() - paid)
    );
    assert_eq!((&after["held"], &after["fees"]), (&json!(0), &json!(1_000)));

    // Back by the same way: the payee pays an invoice of the exchange. Paid again, by the trader this time, it comes back: one credit.
    let invoice = stand.invoice(10_000_000).unwrap();
    let parsed = lightning_invoice(&invoice);
    let amount = Msat::new(10_000_000).unwrap();
    until("the payee's balance", || {
        let there = payee.channels()[0].next_outbound_htlc_limit_msat;
        (there > 11_000_000).then_some(())
    });
    payee
        .pay(&parsed, amount, Msat::new(1_000).unwrap())
        .unwrap();
    let hash = *parsed.payment_hash();
    let paid = until("the payee's deposit", || {
        till.ended.lock().unwrap().get(&hash).cloned()
    });
    assert_eq!(paid, Ok(1_000));
    let credited = until("the credit", || {
        let status = stand.exchange.status().unwrap();
        (status["deposited"] == 310_000_000).then_some(status)
    });
    assert_eq!(stand.pay(&invoice), hash);
    let again = stand.ended(hash).unwrap_err();
    assert!(again.contains("RecipientRejected"), "{again}");
    assert_eq!(stand.exchange.status().unwrap(), credited);
}

/// For each kind of payment: killed at the first place where a crash could matter, at the second, and so on until it goes through
/// without dying. Nothing is credited or paid twice, no hold is lost, no channel is lost.
#[test]
fn killed_at_every_place() {
    let mut stand = Stand::new();
    stand.deposit(400_000_000);
    stand.settled();
    for kind in ["deposit", "withdrawal", "failing withdrawal"] {
        *stand.till.refusing.lock().unwrap() = kind == "failing withdrawal";
        let (mut deaths, mut recovering) = (0, 0);
        for place in 1.. {
            assert!(place < 200, "a {kind} never ends");
            let before = stand.settled();
            let msat = 1_000_000 + place * 7;
            let (invoice, hash) = stand.trader_invoice(Some(msat));
            stand.exchange.ask(json!({"arm": place})).unwrap();
            let asked = match kind {
                "deposit" => stand.invoice(msat).map(|invoice| stand.pay(&invoice)),
                _ => stand.withdraw(&invoice, None, 500).map(|_| hash),
            };
            // Until it is dead, or all is done and quiet.
            let quiet_since = Instant::now();
            let died = until("death or quiet", || match stand.exchange.status() {
                None => Some(true),
                Some(status) => {
                    let ended = match kind {
                        "deposit" => asked.is_some_and(|hash| {
                            stand.till.ended.lock().unwrap().contains_key(&hash)
                        }),
                        _ => status["held"] == 0,
                    };
                    let channel = stand.channel();
                    let quiet = channel.pending_outbound_htlcs.is_empty()
                        && channel.pending_inbound_htlcs.is_empty();
                    (ended && quiet && quiet_since.elapsed() > Duration::from_millis(400))
                        .then_some(false)
                }
            });
            if died {
                deaths += 1;
                recovering += stand.exchange.again(&[1 + place % 7, 1 + place % 5]);
                stand.usable();
            } else {
                stand.exchange.ask(json!({"arm": 0})).unwrap();
            }
            let paid = match kind {
                "deposit" => asked.is_some_and(|hash| {
                    // It may have been asked for, and refused or not sent; then it ends as failed.
                    stand.ended(hash).is_ok()
                }),
                _ => false,
            };
            let after = stand.settled();
            let change = |of: &str| after[of].as_u64().unwrap() - before[of].as_u64().unwrap();
            let received = stand.till.received.lock().unwrap().get(&hash).copied();
            match kind {
                "deposit" => assert_eq!(
                    change("deposited"),
                    if paid { msat } else { 0 },
                    "place {place}"
                ),
                "withdrawal" => {
                    assert_eq!(change("withdrawn"), received.unwrap_or(0), "place {place}")
                }
                _ => assert_eq!((change("withdrawn"), received), (0, None), "place {place}"),
            }
            assert_eq!(
                after["open"], 1,
                "place {place} of a {kind}: the channel is lost"
            );
            if !died {
                break;
            }
        }
        println!("{kind}: killed at {deaths} places, and {recovering} times while it recovered");
        assert!(
            deaths >= 8 && recovering >= 8,
            "a {kind} has more places than {deaths} and {recovering}"
        );
    }
}

/// The exchange vanishes. The trader leaves alone, waits its delay, and has its balance in its wallet, less fees, to the satoshi.
#[test]
fn the_trader_leaves_alone_when_the_exchange_is_gone() {
    let mut stand = Stand::new();
    stand.deposit(250_000_000);
    stand.settled();
    stand.exchange.kill();
    let (balance, wallet) = (stand.trader_msat() / 1_000, stand.trader.wallet().balance());
    let funding = stand.channel().funding_txo.unwrap().txid;
    let channel = stand.channel();
    let before = stand.chain.chain().mined().len();
    stand
        .trader
        .leave(&channel.channel_id, &channel.counterparty.node_id)
        .unwrap();
    let mine = |stand: &Stand, blocks: u32| {
        let mut chain = stand.chain.chain();
        let taken = chain.mine(blocks);
        let height = chain.regtest.height();
        drop(chain);
        until("the trader's node", || {
            (stand.trader.best_block().height == height).then_some(())
        });
        taken
    };
    // The commitment and the child on its anchor that pays for it, in one block.
    until("commitment and child", || {
        (stand.chain.chain().waiting().len() == 2).then_some(())
    });
    assert_eq!(mine(&stand, 1), 2);
    let mut swept = None;
    for blocks in 1..=DELAY + 10 {
        std::thread::sleep(Duration::from_millis(10));
        if mine(&stand, 1) > 0 && swept.is_none() {
            swept = Some(blocks);
        }
        if swept.is_some_and(|at| blocks > at + 6) {
            break;
        }
    }
    let swept = swept.expect("the balance is swept");
    assert!(
        swept >= DELAY,
        "swept after {swept} blocks, the delay is {DELAY}"
    );
    let chain = stand.chain.chain();
    let after = stand.trader.wallet().balance();
    let mut fees = Amount::ZERO;
    for tx in &chain.mined()[before..] {
        let fee = chain.fee(tx);
        println!(
            "{} of {} vB pays {fee} in fees",
            tx.compute_txid(),
            tx.vsize()
        );
        fees += fee;
    }
    let commitment = &chain.mined()[before];
    assert_eq!(commitment.input[0].previous_output.txid, funding);
    // The exchange's balance and anchor, and what of a satoshi the trader had above whole ones, are not the trader's.
    let theirs: u64 = 250_000;
    let anchors: u64 = commitment
        .output
        .iter()
        .map(|output| output.value.to_sat())
        .filter(|value| *value == 330)
        .sum();
    let their_anchor = anchors / 2;
    println!(
        "trader: {balance} sat in the channel, wallet {wallet} before and {after} after, fees {fees}, the exchange's anchor {their_anchor} sat, swept {swept} blocks after the commitment"
    );
    assert_eq!(
        after + fees + Amount::from_sat(their_anchor),
        wallet + Amount::from_sat(balance),
        "the trader's money does not add up to the satoshi"
    );
    assert_eq!(balance, CHANNEL.to_sat() - theirs);
}
