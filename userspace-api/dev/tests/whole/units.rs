//! One wrong unit at each of the four places of CUSTODY 13, in a venue that runs: in what the ledger's store has of an account, in a tree, at the hub, in the
//! operator's books; and one in the engine's own memory. Each halts its asset and no other by a sequenced command and says both figures, and then exactly
//! the row, fact, shard or block that is wrong; cancels work, other assets trade; cured, it goes on.
//! And a trader who leaves by the chain while it trades is no wrong unit.

use crate::alone;
use crate::books::COIN;
use crate::memory::poke;
use crate::stage::{PATIENCE, Person, Stage, order};
use alloy_primitives::{Address, B256, TxKind, U256};
use alloy_sol_types::SolCall;
use redb::{Database, ReadableTable, TableDefinition};
use ring0_channels::chain::{Chain, Progress};
use ring0_channels_evm::leave;
use ring0_dev::Options;
use ring0_dev::hub::{Token, WHOLE};
use ring0_engine::control::{ControlKind, SetState};
use ring0_engine::record::{ControlRecord, Kind, State};
use ring0_hashlog::Head;
use ring0_journal::Reader;
use ring0_trader::{Locate, Order, Outcome, Price, Reason, Shares, Trader, UdpTransport};
use serde_json::{Value, json};
use std::fs;
use zerocopy::{FromBytes, IntoBytes};

/// A third asset, which no hub has, and what it is traded against.
const MORE: &str = r#"
[[asset]]
name = "EUR"
decimals = 18
unit_exponent = 12

[[instrument]]
symbol = "ETH-EUR"
base = "ETH"
quote = "EUR"
tick_size = 1_000
lot_size = 1
tick_value = 100
lot_value = 100_000
ladder_base = 10_000
ladder_len = 65_536
lots_max = 1_000_000
maker_ppm = 0
taker_ppm = 300

[[instrument]]
symbol = "EUR-USD"
base = "EUR"
quote = "USD"
tick_size = 1_000
lot_size = 1
tick_value = 100_000
lot_value = 1_000_000
ladder_base = 1
ladder_len = 1_024
lots_max = 1_000_000
maker_ppm = 0
taker_ppm = 300

[[rail]]"#;

/// Its place in the market file.
const EURO: u32 = 2;

/// Instruments with the assets that they are traded in and paid in, by locate, and a price in the middle of their ladders.
const INSTRUMENTS: [(&str, [&str; 2], u32); 3] = [
    ("ETH-USD", ["ETH", "USD"], 3_000),
    ("ETH-EUR", ["ETH", "EUR"], 3_000),
    ("EUR-USD", ["EUR", "USD"], 2),
];

const LEDGER: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("ledger");
const FACTS: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("facts");

/// Changes one row of the ledger's store, which nobody has open: key and value of the first that `is_it`.
fn change<T>(
    stage: &Stage,
    is_it: impl Fn(&[u8]) -> bool,
    alter: impl FnOnce(Vec<u8>, Vec<u8>) -> (Vec<u8>, Vec<u8>, T),
) -> T {
    let database = Database::open(stage.folder.join("settlement/ledger.redb")).unwrap();
    let write = database.begin_write().unwrap();
    let told = {
        let mut table = write.open_table(LEDGER).unwrap();
        let row = table.iter().unwrap().find_map(|row| {
            let (key, value) = row.unwrap();
            is_it(key.value()).then(|| (key.value().to_vec(), value.value().to_vec()))
        });
        let (key, value) = row.expect("the store has the row");
        let (key, value, told) = alter(key, value);
        table.insert(key.as_slice(), value.as_slice()).unwrap();
        told
    };
    write.commit().unwrap();
    told
}

/// One more in a little-endian number of the store: what it is now, and what it was.
fn one_more(value: &mut [u8], at: usize) -> String {
    let low = u64::from_le_bytes(value[at..at + 8].try_into().unwrap());
    value[at..at + 8].copy_from_slice(&(low + 1).to_le_bytes());
    format!("{} and {low}", low + 1)
}

/// A unit too many in what the ledger has of an account's ether in the shard: a cell of 64 bytes, of which the third number is what was moved in.
fn in_an_account(stage: &Stage, person: &Person) -> String {
    const CELLS: u8 = 1;
    const CELL: usize = 64;
    const PAGE_CELLS: usize = 56;
    const ASSETS: usize = 3;
    const ETHER: usize = 1;
    let cell = person.account as usize * ASSETS + ETHER;
    let page = u32::try_from(cell / PAGE_CELLS).unwrap().to_be_bytes();
    let key = [&[CELLS, 0][..], &page].concat();
    let amounts = change(
        stage,
        |it| it == key,
        |key, mut value| {
            let amounts = one_more(&mut value, cell % PAGE_CELLS * CELL + 32);
            (key, value, amounts)
        },
    );
    let account = person.account;
    format!("account {account} in shard dev, moved in less moved out, engine units: {amounts}")
}

/// A unit of the operator's own that nobody put in.
fn in_the_operators_books(stage: &Stage, _: &Person) -> String {
    let dollars = 0_u32.to_be_bytes();
    let amount = change(
        stage,
        |key| key.starts_with(&[4, 2, 11]) && key.ends_with(&dollars),
        |key, mut value| {
            one_more(&mut value, 0);
            let amount = i128::from_le_bytes(value[..].try_into().unwrap());
            (key, value, amount)
        },
    );
    format!(
        "the book {{\"own\":\"equity\"}}: {amount} and {}",
        amount - 1
    )
}

/// A channel that nobody opened, with one unit of a trader's: what is laid on it is in no tree.
fn in_a_tree(stage: &Stage, person: &Person) -> String {
    let mut channels = person.holdings.iter();
    let own = channels.find(|it| it.terms.token == COIN).unwrap();
    let real = [&[4, 4][..], own.channel().as_slice()].concat();
    let nobodys = B256::with_last_byte(1);
    let forged = [&[4, 4][..], nobodys.as_slice()].concat();
    change(
        stage,
        |key| key == real,
        |_, mut value| {
            // Deposited 1; withdrawn, moved, and the state of it: nothing. Account and place stay.
            value[..160].fill(0);
            value[168..].fill(0);
            value[0] = 1;
            (forged, value, ())
        },
    );
    let account = person.account;
    format!(
        "channel {nobodys}: of account {account} at place 0, 1 deposited, 0 withdrawn, 0 moved and nothing"
    )
}

/// A unit more in a fact of the ledger's journal, by somebody who can also make all hashes behind it anew; and no store that remembers better.
fn in_a_fact(stage: &Stage, _: &Person) -> String {
    fs::remove_file(stage.folder.join("settlement/ledger.redb")).unwrap();
    let number = change_a_fact(stage, 1);
    format!("fact {number}: the ledger's journal has ")
}

/// Changes what the operator first put into the dollars' vault, by its fact in the ledger's journal: its number.
fn change_a_fact(stage: &Stage, by: i128) -> u64 {
    let database = Database::open(stage.folder.join("settlement/facts.redb")).unwrap();
    let write = database.begin_write().unwrap();
    let mut changed = None;
    {
        let mut table = write.open_table(FACTS).unwrap();
        let rows = table.iter().unwrap().map(|row| {
            let (number, bytes) = row.unwrap();
            (number.value(), bytes.value()[32..].to_vec())
        });
        let rows: Vec<(u64, Vec<u8>)> = rows.collect();
        let mut before = Head::default();
        for (number, json) in rows {
            let mut json = String::from_utf8(json).unwrap();
            let mut entry: Value = serde_json::from_str(&json).unwrap();
            let funded = &entry["fact"]["funded"];
            if changed.is_none() && funded["asset"] == 0 {
                let amount: i128 = funded["amount"].as_str().unwrap().parse().unwrap();
                entry["fact"]["funded"]["amount"] = (amount + by).to_string().into();
                json = entry.to_string();
                changed = Some(number);
            }
            before = before.then(&json);
            let row = [&before.0[..], json.as_bytes()].concat();
            table.insert(number, row.as_slice()).unwrap();
        }
    }
    write.commit().unwrap();
    changed.expect("the operator has funded the dollars' vault")
}

/// A unit that came to the hub's address past its books, in a block.
fn at_the_hub(stage: &Stage, person: &mut Person) -> String {
    let mint = Token::mintCall {
        to: stage.chain.placed.hub.address,
        amount: U256::from(1),
    };
    let dollar = TxKind::Call(stage.dollar());
    let evm = &mut person.evm;
    let sent = evm.send_to("mint", dollar, mint.abi_encode().into(), 0);
    let sent = evm.confirm(sent.unwrap(), PATIENCE, PATIENCE).unwrap();
    let Progress::Mined { height, .. } = evm.progress(&sent).unwrap() else {
        panic!("it is in a block");
    };
    stage.confirm();
    format!("from block {height} of dev on the hub has ")
}

/// Two who trade, whose money the operator gave them.
struct Traders {
    alice: Trader<UdpTransport>,
    bob: Trader<UdpTransport>,
}

impl Traders {
    /// Everything of it trades: a maker and a taker meet.
    fn trade(&mut self, place: usize) {
        let (locate, price) = (Locate(place as u16 + 1), INSTRUMENTS[place].2);
        let (shares, price) = (Shares(1), Price(price * 10_000));
        order(&mut self.alice, &Order::buy(locate, shares, price));
        let sell = Order::sell(locate, shares, price).immediate();
        let ack = order(&mut self.bob, &sell);
        assert_eq!(ack.quantity, 1, "{ack:?}");
    }

    /// Alice's order that stands below what anybody sells at.
    fn stand(&mut self, place: usize) -> Order {
        let locate = Locate(place as u16 + 1);
        let price = Price(INSTRUMENTS[place].2 * 10_000 / 2);
        let buy = [Order::buy(locate, Shares(1), price)];
        let acks = self.alice.submit(&buy).unwrap();
        assert_eq!(acks[0].outcome, Outcome::Accepted, "{acks:?}");
        Order::cancel(locate, acks[0].reference)
    }
}

/// States of the instruments, as the shard's daemon tells them.
fn states(stage: &Stage) -> Option<[Value; 3]> {
    let status = stage.say("dev", &json!({ "verb": "status" }))?;
    let all = status["instruments"].as_array()?;
    let state = |symbol: &str| all.iter().find(|it| it["symbol"] == symbol);
    let found = INSTRUMENTS.map(|(symbol, ..)| state(symbol).map(|it| it["state"].clone()));
    Some(found.map(Option::unwrap_or_default))
}

/// Commands in the journal that halted an instrument, by its place.
fn sequenced_halts(stage: &Stage) -> Vec<u32> {
    let mut halts = Vec::new();
    let mut reader = Reader::open(&stage.folder.join("journal")).unwrap();
    while let Some(record) = reader.next_record().unwrap() {
        let kind = u16::from_le_bytes([record[0], record[1]]);
        if Kind::from_number(kind) != Some(Kind::Control) {
            continue;
        }
        let (control, _) = ControlRecord::read_from_prefix(record).unwrap();
        if control.kind == ControlKind::SetState as u32 {
            let (set, _) = SetState::read_from_prefix(control.body.as_bytes()).unwrap();
            if set.state == State::Halted as u32 {
                halts.push(set.instrument);
            }
        }
    }
    halts
}

fn halted(stage: &Stage) -> Option<Vec<(String, String)>> {
    let status = stage.status()?;
    let all = status["halted"].as_array()?.iter();
    let of = |it: &Value, name: &str| it[name].as_str().unwrap_or_default().to_owned();
    Some(all.map(|it| (of(it, "asset"), of(it, "why"))).collect())
}

/// Two numbers in what is said of a difference: both figures.
fn figures(why: &str) -> [i128; 2] {
    let (figures, _) = why.split_once(" base units").unwrap();
    let mut words = figures.rsplit(' ');
    let right = words.next().unwrap().parse().unwrap();
    assert_eq!(words.next(), Some("and"), "{why}");
    [words.next().unwrap().parse().unwrap(), right]
}

/// One unit is wrong: its asset stands still, and no other.
fn stands_still(stage: &Stage, traders: &mut Traders, asset: &str, equation: &str, unit: i128) {
    let of_it = INSTRUMENTS.map(|(_, assets, _)| assets.contains(&asset));
    let [(name, why)] = &stage.wait(&format!("the halt of {asset}"), || {
        halted(stage).filter(|it| !it.is_empty())
    })[..] else {
        panic!("{:?}", halted(stage));
    };
    println!("{name}: {why}");
    assert_eq!(name, asset, "{why}");
    assert!(why.contains(equation), "{why}");
    let [left, right] = figures(why);
    assert_eq!((left - right).abs(), unit, "{why}");
    // Between which records.
    assert!(why.contains("record ") && why.contains(" of dev"), "{why}");
    stage.wait("the halt in the shard", || {
        let halted = states(stage)?.map(|it| it == "halted");
        (halted == of_it).then_some(())
    });
    for (place, stands) in of_it.into_iter().enumerate() {
        if !stands {
            traders.trade(place);
            continue;
        }
        let (locate, price) = (Locate(place as u16 + 1), INSTRUMENTS[place].2);
        let buy = Order::buy(locate, Shares(1), Price(price * 10_000));
        let acks = traders.bob.submit(&[buy]).unwrap();
        assert_eq!(acks[0].reason(), Some(Reason::InstrumentHalted));
    }
}

/// The search that follows the halt names exactly what is wrong: in `status`, in `health`, in the audit log.
pub(crate) fn part_first_at(stage: &Stage, asset: &str, exactly: &str) -> String {
    let first = stage.wait("where the figures part", || {
        let all = halted(stage)?;
        let (_, why) = all.into_iter().find(|(name, _)| name == asset)?;
        let (_, first) = why.split_once("; first: ")?;
        Some(first.to_owned())
    });
    println!("first: {first}");
    assert!(first.contains(exactly), "{first}\nand not {exactly}");
    let health = stage.say("settled", &json!({ "verb": "health" }));
    let health = health.expect("it works").to_string();
    let quoted = json!(exactly).to_string();
    assert!(health.contains(quoted.trim_matches('"')), "{health}");
    let audit = fs::read_to_string(stage.folder.join("settlement/audit.log")).unwrap();
    let last = audit.lines().rfind(|it| it.contains("\"locate\"")).unwrap();
    let quoted = json!(first).to_string();
    assert!(last.contains(quoted.trim_matches('"')), "{last}");
    first
}

/// The operators of settlement and of the shard let an asset go on, and everything trades.
fn goes_on(stage: &Stage, traders: &mut Traders, asset: &str, why: &str) {
    let request = json!({ "verb": "clear-halt", "asset": asset, "reason": why });
    // Right after a start the halt may be on its way to the shard again; until it is there nothing is cleared.
    stage.wait("the clearance", || stage.say("settled", &request));
    for (symbol, ..) in INSTRUMENTS.iter().filter(|it| it.1.contains(&asset)) {
        let request = json!({ "verb": "resume", "instrument": symbol });
        stage.say("dev", &request).expect("an operator may");
    }
    (0..3).for_each(|place| traders.trade(place));
    some_cuts(stage);
    assert_eq!(halted(stage), Some(vec![]));
}

/// Waits until figures were compared a few times more.
fn some_cuts(stage: &Stage) {
    let cuts = || stage.say("settled", &json!({ "verb": "batches" }))?["epoch"].as_u64();
    let before = stage.wait("batches", cuts);
    stage.wait("more cuts", || (cuts()? > before + 3).then_some(()));
}

#[test]
fn one_wrong_unit_at_any_place_halts_its_asset_and_no_other() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let options = Stage::options(folder.path());
    let stage = Stage::up(Options {
        market: options.market.replacen("[[rail]]", MORE, 1),
        ..options
    });
    let mut traders = {
        let venue = stage.venue();
        let of = |name: &str| stage.connect(venue.market.session(name).unwrap().clone());
        Traders {
            alice: of("alice-1"),
            bob: of("bob-1"),
        }
    };
    for account in ["alice", "bob"] {
        for (asset, amount) in [("USD", "50000"), ("EUR", "50000"), ("ETH", "50")] {
            let request =
                json!({ "verb": "deposit", "account": account, "asset": asset, "amount": amount });
            stage
                .say("dev", &request)
                .expect("the operator gives money");
        }
    }
    let mut carol = stage.welcome("carol");
    stage.deposit(&mut carol, COIN, 10 * WHOLE);
    stage.deposit(&mut carol, stage.dollar(), 1_000 * WHOLE);
    let mut dave = stage.welcome("dave");
    stage.deposit(&mut dave, COIN, 10 * WHOLE);
    stage.deposit(&mut dave, stage.dollar(), 10_000 * WHOLE);
    stage.confirm();
    stage.has(&carol, "ETH", "10");
    stage.has(&dave, "USD", "10000");
    let signed = |people: &mut [&mut Person], token: Address, amount: u128| {
        stage.wait("both signatures", || {
            people.iter_mut().for_each(|it| stage.cosign(it));
            let all = people.iter().all(|it| it.co_signed(token) == amount);
            all.then_some(())
        });
    };
    signed(&mut [&mut carol, &mut dave], COIN, 10 * WHOLE);
    (0..3).for_each(|place| traders.trade(place));

    // Dave leaves by the chain and trades on before that counts: his channel keeps what was signed last, and nothing is wrong.
    stage.open_session(&mut dave);
    let own = dave.holdings.iter().find(|it| it.terms.token == COIN);
    let own = own.unwrap().clone();
    leave::show(&mut dave.evm, &own).unwrap();
    stage.wait("the dispute", || {
        let request = json!({ "verb": "channels", "account": dave.account });
        let answer = stage.say("settled", &request)?;
        let all = answer["channels"].as_array()?;
        all.iter().any(|it| it["phase"] == "disputed").then_some(())
    });
    let (locate, price) = (Locate(1), Price(3_000 * 10_000));
    order(&mut traders.alice, &Order::buy(locate, Shares(100), price));
    let sell = Order::sell(locate, Shares(100), price).immediate();
    let ack = order(dave.trader.as_mut().unwrap(), &sell);
    assert_eq!(ack.quantity, 100, "{ack:?}");
    some_cuts(&stage);
    assert_eq!(halted(&stage), Some(vec![]));
    stage.confirm();
    stage.wait("the end of his trading", || {
        let answer = stage.say("dev", &json!({ "verb": "accounts" }))?;
        let all = answer["accounts"].as_array()?;
        let own = all.iter().find(|it| it["number"] == dave.account)?;
        (own["killed"] == true).then_some(())
    });
    some_cuts(&stage);
    assert_eq!(halted(&stage), Some(vec![]));

    let unit = |asset: &str| if asset == "ETH" { 10_i128.pow(10) } else { 1 };
    type Injury = fn(&Stage, &Person) -> String;
    let injuries: [(&str, &str, Injury, i128); 4] = [
        ("ETH", "(i)", in_an_account, unit("ETH")),
        ("USD", "(iv)", in_the_operators_books, 1),
        ("ETH", "(ii)", in_a_tree, 1),
        ("USD", "(iv)", in_a_fact, 1),
    ];
    let mut halts = 0;
    for (asset, equation, injure, unit) in injuries {
        let cancels: Vec<Order> = (0..3).map(|place| traders.stand(place)).collect();
        stage.venue().settled.as_mut().unwrap().kill();
        let exactly = injure(&stage, &carol);
        stage.venue().start_settled().unwrap();
        stands_still(&stage, &mut traders, asset, equation, unit);
        part_first_at(&stage, asset, &exactly);
        for (place, cancel) in cancels.into_iter().enumerate() {
            let acks = traders.alice.submit(&[cancel]).unwrap();
            assert_eq!(acks[0].reason(), Some(Reason::None), "{place}: {acks:?}");
        }
        let sequenced = stage.wait("the commands on the disk", || {
            let all = sequenced_halts(&stage);
            (all.len() >= halts + 2).then_some(all)
        });
        for place in &sequenced[halts..] {
            let (symbol, assets, _) = INSTRUMENTS[*place as usize];
            assert!(assets.contains(&asset), "{symbol} was halted for {asset}");
        }
        halts = sequenced.len();

        // Cured: the store is made again from the journals.
        stage.venue().settled.as_mut().unwrap().kill();
        fs::remove_file(stage.folder.join("settlement/ledger.redb")).unwrap();
        if exactly.starts_with("fact ") {
            change_a_fact(&stage, -1);
        }
        stage.venue().start_settled().unwrap();
        goes_on(&stage, &mut traders, asset, "the store was made again");
    }

    // In the engine's own memory: every record agrees, and what the shard says that it has does not.
    let has = poke(&stage, carol.account, EURO, 1);
    stands_still(&stage, &mut traders, "EUR", "(i)", 10_i128.pow(12));
    let exactly = format!("the memory of dev has {has} engine units, its records up to ");
    let first = part_first_at(&stage, "EUR", &exactly);
    assert!(first.ends_with(&format!(" lead to {}", has - 1)), "{first}");
    poke(&stage, carol.account, EURO, -1);
    goes_on(&stage, &mut traders, "EUR", "the unit was taken out");

    let exactly = at_the_hub(&stage, &mut carol);
    stands_still(&stage, &mut traders, "USD", "(iii)", 1);
    part_first_at(&stage, "USD", &exactly);
}
