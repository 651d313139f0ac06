//! The policy beside a naive model that keeps everything that was signed in a list and looks at all of it, each time.

use super::*;
use crate::approval::Approval;
use crate::history::{Entry, Event};
use crate::message::{Batch, BatchEntry, Rebalance, State, Withdrawal};
use crate::vault_move::VaultMove;
use alloy_primitives::U256;
use proptest::prelude::*;
use ring0_channels::heads::{Heads, LogHead};
use ring0_channels::key::Signer;
use ring0_channels::message::Terms;
use ring0_channels::tree::Sums;

const START_MS: u64 = 1_800_000_000_000;

const RULES: &str = r#"
users = [0]
approvers = ["0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf"]
[[hub]]
name = "main"
lineage = "31337"
address = "0x1111111111111111111111111111111111111111"
[[asset]]
name = "USD"
hub = "main"
token = "0x2222222222222222222222222222222222222222"
each = "100"
hour = "250"
day = "400"
approve_above = "80"
excess_max = "1000"
[[asset]]
name = "ETH"
chain = 1
each = "50"
[[asset]]
name = "BTC"
network = "regtest"
day = "1000000000"
[[key]]
name = "operator"
kinds = ["batch", "state", "withdrawal", "close", "rebalance", "revocation"]
hubs = ["main"]
venues = ["0x0909090909090909090909090909090909090909090909090909090909090909"]
per_second = 1000
[[key]]
name = "treasury"
kinds = ["transaction", "vault-move"]
per_second = 3
gas_cost_max = "1000"
fee_max = "2000"
scripts = ["0014aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]
[[key.call]]
chain = 1
to = "0x3333333333333333333333333333333333333333"
[[key.call]]
chain = 1
to = "0x2222222222222222222222222222222222222222"
selector = "0xa9059cbb"
recipient_word = 0
recipients = ["0x4444444444444444444444444444444444444444"]
amount_word = 1
amount_asset = "USD"
"#;

fn hub() -> Hub {
    Hub {
        lineage: U256::from(31337),
        address: Address::repeat_byte(0x11),
    }
}

fn facts() -> KeyFacts {
    KeyFacts {
        address: Address::repeat_byte(0xee),
        script: [&[0x51, 0x20], [7; 32].as_slice()].concat(),
        retired: false,
        ecdsa: true,
        taproot: true,
    }
}

fn owner() -> Signer {
    Signer::new([9; 32]).unwrap()
}

fn terms(nonce: u64) -> Terms {
    Terms {
        owner: owner().address(),
        cosigner: owner().address(),
        token: Address::repeat_byte(0x22),
        nonce,
    }
}

fn withdrawal(channel: u64, withdrawn: u128, deadline: u64) -> Message {
    let mut it = Withdrawal {
        hub: hub(),
        terms: terms(channel),
        withdrawn,
        recipient: Address::repeat_byte(5),
        branch: B256::ZERO,
        deadline,
        owner_signature: None,
    };
    let digest = Message::Withdrawal(it.clone()).digest().unwrap();
    it.owner_signature = Some(owner().sign_digest(digest));
    Message::Withdrawal(it)
}

fn state(channel: u8, version: u64, balance: u128) -> Message {
    Message::State(State {
        hub: hub(),
        channel: B256::repeat_byte(channel),
        version,
        balance,
        deposited_seen: 0,
        withdrawn_seen: 0,
        epoch: version,
        branch: B256::ZERO,
        account_root: B256::ZERO,
    })
}

fn payment(nonce: u64, value: u128) -> Transaction {
    Transaction {
        chain_id: 1,
        nonce,
        max_priority_fee_per_gas: 1,
        max_fee_per_gas: 10,
        gas_limit: 100,
        to: Address::repeat_byte(0x33),
        value,
        data: Default::default(),
    }
}

/// Policy, memory and a clock.
struct Bench {
    policy: Policy,
    memory: Memory,
    now_ms: u64,
}

impl Bench {
    fn new() -> Bench {
        let mut memory = Memory::default();
        memory.apply(&Entry {
            at_ms: START_MS,
            user: 0,
            event: Event::Born {
                first_number: 0,
                per_second: 10,
            },
        });
        Bench {
            policy: Policy::new(Config::parse(std::path::Path::new("signer.toml"), RULES).unwrap()),
            memory,
            now_ms: START_MS,
        }
    }

    fn note(&mut self, event: Event) {
        self.memory.apply(&Entry {
            at_ms: self.now_ms,
            user: 0,
            event,
        });
    }

    fn ask(&mut self, key: &str, message: Message) -> Result<Yes, Name> {
        let asked = Prepared::new(message).map_err(|it| it.refusal.name)?;
        let facts = facts();
        let yes = self
            .policy
            .judge(&self.memory, key, Some(&facts), &asked, self.now_ms);
        let yes = yes.map_err(|refusal| refusal.name)?;
        self.note(Event::Signed {
            key: key.to_owned(),
            address: facts.address,
            digest: asked.digest,
            message: asked.message,
            again: yes.again,
            counts: yes.counts.clone(),
        });
        Ok(yes)
    }

    fn signs(&mut self, message: Message) -> Result<bool, Name> {
        self.ask("operator", message).map(|yes| yes.again)
    }
}

#[test]
fn one_state_a_version_and_one_root_an_epoch() {
    let mut it = Bench::new();
    assert_eq!(it.signs(state(1, 5, 10)), Ok(false));
    assert_eq!(it.signs(state(1, 5, 10)), Ok(true));
    assert_eq!(it.signs(state(1, 5, 11)), Err(Name::Signed));
    assert_eq!(it.signs(state(1, 4, 11)), Err(Name::Signed));
    assert_eq!(it.signs(state(2, 4, 11)), Ok(false));
    assert_eq!(it.signs(state(1, 6, 11)), Ok(false));
    // Above what time allows: 1000 and ten a second.
    assert_eq!(it.signs(state(1, 1011, 11)), Err(Name::Ahead));
    it.now_ms += 1100;
    assert_eq!(it.signs(state(1, 1011, 11)), Ok(false));

    let venue = B256::repeat_byte(9);
    let audited = |epoch, excess, token, audit| {
        Message::Batch(Batch {
            venue,
            epoch,
            previous: B256::ZERO,
            entries: vec![BatchEntry {
                hub: hub(),
                token: Address::repeat_byte(token),
                sums: Sums {
                    hash: B256::repeat_byte(1),
                    balance: 5000,
                    excess,
                },
            }],
            audit,
        })
    };
    let batch = |epoch, excess, token| audited(epoch, excess, token, Heads::default());
    let heads = |entries| {
        let log = LogHead {
            name: "settled".to_owned(),
            entries,
            head: B256::repeat_byte(4),
        };
        Heads::try_from(vec![log]).unwrap()
    };
    assert_eq!(it.signs(batch(7, 1000, 0x22)), Ok(false));
    assert_eq!(it.signs(batch(7, 999, 0x22)), Err(Name::Signed));
    assert_eq!(it.signs(batch(8, 1001, 0x22)), Err(Name::Excess));
    assert_eq!(it.signs(batch(8, 1, 0x23)), Err(Name::Asset));
    // The heads of audit logs are part of the root: one epoch has one set of them.
    assert_eq!(
        it.signs(audited(7, 1000, 0x22, heads(1))),
        Err(Name::Signed)
    );
    let revocation = |from_epoch| Message::Revocation {
        venue,
        cosigner: Address::ZERO,
        session: Address::ZERO,
        from_epoch,
    };
    assert_eq!(it.signs(revocation(7)), Err(Name::Revocation));
    assert_eq!(it.signs(revocation(8)), Ok(false));
    let mut other = batch(9, 1, 0x22);
    if let Message::Batch(it) = &mut other {
        it.venue = B256::repeat_byte(8);
    }
    assert_eq!(it.signs(other), Err(Name::Venue));
    it.now_ms -= 5000;
    assert_eq!(it.signs(batch(9, 1, 0x22)), Err(Name::Clock));
}

#[test]
fn a_restored_store_signs_no_number_that_a_lost_one_may_have() {
    let mut it = Bench::new();
    assert_eq!(it.signs(state(1, 5, 10)), Ok(false));
    it.now_ms += 86_400_000;
    let floor = it.memory.line(it.now_ms);
    let before = crate::protocol::Seen {
        entries: 1,
        head: Default::default(),
    };
    it.note(Event::Restored { floor, before });
    assert_eq!(it.signs(state(1, 5, 10)), Ok(true));
    assert_eq!(it.signs(state(1, 6, 10)), Err(Name::Floor));
    // A channel that the old copy has not heard of.
    assert_eq!(it.signs(state(3, floor, 10)), Err(Name::Floor));
    it.now_ms += 100;
    assert_eq!(it.signs(state(3, floor + 1, 10)), Ok(false));
    // What the lost one moved in its last day is unknown.
    let deadline = it.now_ms / 1000 + 100_000;
    assert_eq!(it.signs(withdrawal(1, 10, deadline)), Err(Name::Approval));
    it.now_ms += 86_400_000;
    assert_eq!(it.signs(withdrawal(1, 10, deadline)), Ok(false));
}

#[test]
fn withdrawals_are_the_owners_and_one_at_a_time() {
    let mut it = Bench::new();
    let now = START_MS / 1000;
    let strip = |message: Message| match message {
        Message::Withdrawal(it) => Message::Withdrawal(Withdrawal {
            owner_signature: None,
            ..it
        }),
        other => other,
    };
    assert_eq!(
        it.signs(strip(withdrawal(1, 10, now + 60))),
        Err(Name::Owner)
    );
    let mut forged = withdrawal(1, 10, now + 60);
    if let Message::Withdrawal(it) = &mut forged {
        it.recipient = Address::repeat_byte(6);
    }
    assert_eq!(it.signs(forged), Err(Name::Owner));
    assert_eq!(it.signs(withdrawal(1, 10, now)), Err(Name::Deadline));
    assert_eq!(
        it.signs(withdrawal(1, 10, now + 8 * 86_400)),
        Err(Name::Deadline)
    );
    assert_eq!(it.signs(withdrawal(1, 10, now + 60)), Ok(false));
    assert_eq!(it.signs(withdrawal(1, 10, now + 60)), Ok(true));
    // Another of the same amount while the first may still be used.
    assert_eq!(it.signs(withdrawal(1, 10, now + 90)), Err(Name::Signed));
    it.now_ms += 61_000;
    assert_eq!(it.signs(withdrawal(1, 10, now + 90)), Ok(false));
    let rebalance = |number, moved| {
        Message::Rebalance(Rebalance {
            hub: hub(),
            terms: terms(1),
            number,
            moved,
            branch: B256::ZERO,
            deadline: now + 100,
        })
    };
    assert_eq!(it.signs(rebalance(1, -50)), Ok(false));
    assert_eq!(it.signs(rebalance(1, -51)), Err(Name::Signed));
    assert_eq!(it.signs(rebalance(2, 81)), Err(Name::Approval));
    assert_eq!(it.signs(rebalance(2, 101)), Err(Name::LimitEach));
}

#[test]
fn an_approver_alone_lets_more_through() {
    let mut it = Bench::new();
    let deadline = START_MS / 1000 + 3600;
    let large = withdrawal(1, 90, deadline);
    let digest = large.digest().unwrap();
    assert_eq!(it.signs(large.clone()), Err(Name::Approval));
    // The key 1, whose address is in the rules, and another one.
    let mut secret = [0; 32];
    secret[31] = 1;
    for (secret, expected) in [([7; 32], Err(Name::Approval)), (secret, Ok(false))] {
        let key = Signer::new(secret).unwrap();
        let approval = Approval::sign(digest, START_MS / 1000 + 60, &key).unwrap();
        let approver = approval.approver().unwrap();
        assert_eq!(approver, key.address());
        it.note(Event::Approved { approval, approver });
        assert_eq!(it.signs(large.clone()), expected);
    }
    // Of this request, not of another; and not for ever.
    assert_eq!(it.signs(withdrawal(2, 90, deadline)), Err(Name::Approval));
    let late = withdrawal(3, 90, deadline);
    let key = Signer::new(secret).unwrap();
    let approval = Approval::sign(late.digest().unwrap(), START_MS / 1000 + 60, &key).unwrap();
    let approver = approval.approver().unwrap();
    it.note(Event::Approved { approval, approver });
    it.now_ms += 61_000;
    assert_eq!(it.signs(late), Err(Name::Approval));
}

#[test]
fn transactions_are_those_of_the_rules() {
    let mut it = Bench::new();
    let mut ask = |message: Transaction| {
        it.now_ms += 1000;
        it.ask("treasury", Message::Transaction(message))
            .map(|yes| yes.again)
    };
    assert_eq!(ask(payment(1, 40)), Ok(false));
    let dearer = Transaction {
        max_fee_per_gas: 9,
        ..payment(1, 40)
    };
    assert_eq!(ask(dearer), Ok(true));
    assert_eq!(ask(payment(1, 41)), Err(Name::Signed));
    let nothing = Transaction {
        to: Address::repeat_byte(0xee),
        ..payment(1, 0)
    };
    assert_eq!(ask(nothing), Ok(false));
    assert_eq!(ask(payment(2, 51)), Err(Name::LimitEach));
    let gas = Transaction {
        gas_limit: 101,
        ..payment(2, 1)
    };
    assert_eq!(ask(gas), Err(Name::Fee));
    let chain = Transaction {
        chain_id: 2,
        ..payment(2, 1)
    };
    assert_eq!(ask(chain), Err(Name::Call));
    let data = Transaction {
        data: vec![1].into(),
        ..payment(2, 1)
    };
    assert_eq!(ask(data), Err(Name::Call));
    let transfer = |to: u8, amount: u64, dirt: u8| {
        let mut to = [[0; 12].as_slice(), &[to; 20]].concat();
        to[0] = dirt;
        let words = [to, U256::from(amount).to_be_bytes_vec()].concat();
        Transaction {
            to: Address::repeat_byte(0x22),
            data: [vec![0xa9, 0x05, 0x9c, 0xbb], words].concat().into(),
            ..payment(3, 0)
        }
    };
    assert_eq!(ask(transfer(0x45, 10, 0)), Err(Name::Recipient));
    assert_eq!(ask(transfer(0x44, 10, 1)), Err(Name::Recipient));
    assert_eq!(ask(transfer(0x44, 101, 0)), Err(Name::LimitEach));
    assert_eq!(ask(transfer(0x44, 10, 0)), Ok(false));
    let short = Transaction {
        nonce: 4,
        data: transfer(0x44, 10, 0).data[..50].to_vec().into(),
        ..transfer(0x44, 10, 0)
    };
    assert_eq!(ask(short), Err(Name::Malformed));
}

#[test]
fn a_vault_pays_scripts_of_the_list_and_each_transaction_counts_once() {
    let own = alloy_primitives::hex::encode(facts().script);
    let listed = format!("0014{}", "aa".repeat(20));
    let strange = format!("0014{}", "ab".repeat(20));
    let mut it = Bench::new();
    let mut ask = |message: Message| {
        it.now_ms += 1000;
        it.ask("treasury", message)
            .map(|yes| yes.counts.iter().map(|it| it.amount.0).sum::<u128>())
    };
    let to = |script: &str, number| crate::bench::vault_move(&own, script, number).unwrap();
    assert_eq!(ask(to(&listed, 1)), Ok(99_999_000));
    assert_eq!(ask(to(&listed, 1)), Ok(0));
    assert_eq!(ask(to(&own, 2)), Ok(0));
    assert_eq!(ask(to(&strange, 3)), Err(Name::Recipient));
    let change = |message: Message, act: &dyn Fn(&mut VaultMove)| match message {
        Message::VaultMove(mut it) => {
            act(&mut it);
            Message::VaultMove(it)
        }
        other => other,
    };
    let fee = change(to(&listed, 4), &|it| it.spends[0].amount += 1001);
    assert_eq!(ask(fee), Err(Name::Fee));
    let others = change(to(&listed, 4), &|it| it.spends[0].script = listed.clone());
    assert_eq!(ask(others), Err(Name::Key));
    let less = change(to(&listed, 4), &|it| it.spends[0].amount = 1);
    assert_eq!(ask(less), Err(Name::Malformed));
    let beyond = change(to(&listed, 4), &|it| it.input = 1);
    assert_eq!(ask(beyond), Err(Name::Malformed));
    let network = change(to(&listed, 4), &|it| it.network = "bitcoin".to_owned());
    assert_eq!(ask(network), Err(Name::Asset));
}

#[test]
fn keys_kinds_and_rates() {
    let mut it = Bench::new();
    assert_eq!(it.ask("nobody", state(1, 1, 1)), Err(Name::Key));
    assert_eq!(it.ask("treasury", state(1, 1, 1)), Err(Name::Kind));
    let mut foreign = state(1, 1, 1);
    if let Message::State(it) = &mut foreign {
        it.hub.lineage = U256::from(1);
    }
    assert_eq!(it.signs(foreign), Err(Name::Hub));
    for nonce in 0..3 {
        assert!(
            it.ask("treasury", Message::Transaction(payment(nonce, 1)))
                .is_ok()
        );
    }
    let more = Message::Transaction(payment(3, 1));
    assert_eq!(it.ask("treasury", more.clone()), Err(Name::Rate));
    it.now_ms += 334;
    assert!(it.ask("treasury", more).is_ok());
    it.note(Event::Stopped);
    assert_eq!(it.signs(state(1, 1, 1)), Err(Name::Stopped));
    it.note(Event::Resumed);
    assert_eq!(it.signs(state(1, 1, 1)), Ok(false));
}

/// What the model remembers: each withdrawal that was signed, and when.
#[derive(Default)]
struct Naive(Vec<(u64, u64, u128, u64, u128)>);

impl Naive {
    /// Channel, cumulative amount, deadline, time: what the rules above say, from the list alone.
    fn ask(
        &mut self,
        channel: u64,
        withdrawn: u128,
        deadline: u64,
        now_ms: u64,
    ) -> Result<bool, Name> {
        let now = now_ms / 1000;
        let of: Vec<_> = self.0.iter().filter(|it| it.1 == channel).collect();
        let highest = of.iter().map(|it| it.2).max().unwrap_or(0);
        let newest = of.last();
        let again = newest.is_some_and(|it| (it.2, it.3) == (withdrawn, deadline));
        let open = of.iter().any(|it| now <= it.3);
        if !again && !of.is_empty() && withdrawn <= highest && open {
            return Err(Name::Signed);
        }
        if deadline <= now || deadline - now > 7 * 86_400 {
            return Err(Name::Deadline);
        }
        let amount = withdrawn.saturating_sub(highest);
        if again {
            return Ok(true);
        }
        let minute = now_ms / 60_000;
        let since = |minutes: u64| {
            let counted = self.0.iter().filter(|it| it.0 / 60_000 + minutes > minute);
            counted.map(|it| it.4).sum::<u128>() + amount
        };
        let over = [
            (amount > 100, Name::LimitEach),
            (since(60) > 250, Name::LimitHour),
            (since(1440) > 400, Name::LimitDay),
            (amount > 80, Name::Approval),
        ];
        if let Some((_, name)) = over.into_iter().find(|(over, _)| *over && amount > 0) {
            return Err(name);
        }
        self.0.push((now_ms, channel, withdrawn, deadline, amount));
        Ok(false)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Few channels, small amounts and long steps: limits, deadlines and repeats are met often. A memory that went through JSON decides the same.
    #[test]
    fn the_policy_is_the_naive_model(steps in prop::collection::vec((0..3_u64, 1..500_u128, 0..5_u64, 0..3_u32, any::<bool>()), 1..60)) {
        let (mut it, mut naive) = (Bench::new(), Naive::default());
        let mut last = None;
        for (channel, withdrawn, hours, wait, repeat) in steps {
            it.now_ms += [1_000, 600_000, 7_200_000][wait as usize];
            let deadline = it.now_ms / 1000 + hours * 3600;
            let (channel, withdrawn, deadline) = match last {
                Some(last) if repeat => last,
                _ => (channel, withdrawn, deadline),
            };
            last = Some((channel, withdrawn, deadline));
            let json = serde_json::to_string(&it.memory).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Memory>(&json).unwrap(), &it.memory);
            let expected = naive.ask(channel, withdrawn, deadline, it.now_ms);
            let found = it.signs(withdrawal(channel, withdrawn, deadline));
            prop_assert_eq!(found, expected, "channel {} withdrawn {} deadline {}", channel, withdrawn, deadline);
        }
    }
}
