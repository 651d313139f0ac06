//! A channel's life on a chain through the adapter: the built hub executes in a virtual machine behind a node's HTTP API.

mod node;

use alloy_primitives::aliases::U40;
use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::{SolStruct, SolValue};
use node::Node;
use ring0_channels::chain::{Chain, ChainError, Progress, Seen, Sent};
use ring0_channels::channels::Channels;
use ring0_channels::evidence::{Evidence, GrantProof, Holding, LeafProof, OperatorHalf};
use ring0_channels::key::Signer;
use ring0_channels::life::{Fact, Phase, Rules};
use ring0_channels::message::{AccountState, Batch, Grant, Hub, State, Terms, venue_domain};
use ring0_channels::store::Store;
use ring0_channels::tree::{self, SumTree, Sums};
use ring0_channels_antelope::account::{Name, Token};
use ring0_channels_antelope::transaction::{Key, Wallet};
use ring0_channels_antelope::{Antelope, action};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpListener;

const RULES: Rules = Rules {
    confirmations: 3,
    pin_every: 1_000,
};
/// What each account has before.
const MILLION: u64 = 1_000_000;

struct Stage {
    node: Node,
    hub: Hub,
    account: Name,
    venue: B256,
    operator: Signer,
    token: Token,
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// The key of an account of that name.
fn wallet(account: &str) -> Wallet {
    Wallet {
        account: name(account),
        permission: name("active"),
        key: Key::new(keccak256(["account ", account].concat()).0).unwrap(),
    }
}

impl Stage {
    fn up() -> Stage {
        let operator = Signer::new(keccak256("operator").0).unwrap();
        let (chain, venue) = (keccak256("a chain"), keccak256("the venue"));
        let digits = alloy_primitives::hex::encode::<&[u8]>;
        let settings = json!({
            "lineage": digits(chain.as_ref()), "venue": digits(venue.as_ref()),
            "operator_key": digits(operator.address().as_ref()),
        });
        let keys =
            ["alice", "bob", "exchange"].map(|it| (it.to_owned(), json!(wallet(it).key.public())));
        let node = Node::start(chain, &settings, &json!(serde_json::Map::from_iter(keys)));
        let account = name("hub");
        Stage {
            node,
            hub: Hub {
                lineage: U256::from_be_bytes(chain.0),
                address: account.address(),
            },
            account,
            venue,
            operator,
            token: Token {
                contract: name("eosio.token"),
                symbol: "4,EOS".parse().unwrap(),
            },
        }
    }

    /// A process of an account's.
    fn connect(&self, account: &str) -> Antelope {
        Antelope::connect(&self.node.url(), self.hub, Some(wallet(account))).unwrap()
    }

    fn holding(&self, owner: &str) -> Holding {
        Holding {
            hub: self.hub,
            venue: self.venue,
            operator: self.operator.address(),
            terms: Terms {
                owner: name(owner).address(),
                cosigner: cosigner(owner).address(),
                token: self.token.address(),
                nonce: 1,
            },
            newest: None,
        }
    }

    /// Opens the channel and pays into it, in one transaction.
    fn open(&self, chain: &mut Antelope, owner: &str, amount: u64) -> Sent {
        let holding = self.holding(owner);
        let cosigner = holding.terms.cosigner;
        let open = action::open(self.account, name(owner), cosigner, self.token, 1);
        chain
            .send("opening", vec![open, self.deposit(owner, amount)])
            .unwrap()
    }

    fn deposit(&self, owner: &str, amount: u64) -> ring0_channels_antelope::transaction::Action {
        let channel = self.holding(owner).channel();
        action::deposit(self.account, name(owner), self.token, amount, channel)
    }

    /// A state that both have signed; by a session key and in a batch, or by the co-signer and alone.
    fn signed(
        &self,
        owner: &str,
        version: u64,
        balance: u128,
        deposited: u128,
        batched: bool,
    ) -> Holding {
        let mut holding = self.holding(owner);
        let channel = holding.channel();
        let (session, cosigner) = (
            Signer::new(keccak256("session").0).unwrap(),
            cosigner(owner),
        );
        let mut newest = Evidence {
            version,
            balance,
            deposited_seen: deposited,
            withdrawn_seen: 0,
            epoch: version + 1,
            branch: self.node.branch,
            account: 7,
            position: 1,
            path: vec![keccak256("a channel elsewhere")],
            cosignature: Default::default(),
            cosigner: cosigner.address(),
            grant: None,
            operator: OperatorHalf::Compact(Default::default()),
        };
        let whole = State {
            state: newest.state(channel).unwrap(),
            accountRoot: newest.account_root(channel).unwrap(),
        };
        let account = AccountState {
            account: newest.account,
            epoch: whole.state.epoch,
            accountRoot: whole.accountRoot,
        };
        let venue = venue_domain(self.venue);
        if batched {
            newest.grant = Some(self.grant(channel, &session, &cosigner));
            newest.cosignature = session.sign(&account, &venue);
            newest.operator = OperatorHalf::Leaf(self.leaf(&whole));
        } else {
            newest.cosignature = cosigner.sign(&account, &venue);
            newest.operator = OperatorHalf::Compact(self.operator.sign(&whole, &self.hub.domain()));
        }
        holding.newest = Some(newest);
        holding.verify().unwrap();
        holding
    }

    /// May sign all that this test signs, beside the limits of another channel.
    fn grant(&self, channel: B256, session: &Signer, cosigner: &Signer) -> GrantProof {
        let (floor, start_base, outflow) = (10, -5_i128, 1_000_000);
        let words = (channel, floor, start_base, outflow).abi_encode();
        let limits = keccak256([&[0], words.as_slice()].concat());
        let path = vec![keccak256("limits elsewhere")];
        let mut grant = GrantProof {
            session: session.address(),
            expiry: 4_000_000_000,
            first_epoch: 0,
            last_epoch: 201,
            floor,
            start_base,
            outflow,
            position: 0,
            path: path.clone(),
            signature: Default::default(),
        };
        let message = Grant {
            account: 7,
            session: grant.session,
            expiry: U40::from(grant.expiry),
            firstEpoch: U40::from(grant.first_epoch),
            lastEpoch: U40::from(grant.last_epoch),
            limits: tree::root(limits, 0, &path).unwrap(),
        };
        grant.signature = cosigner.sign(&message, &venue_domain(self.venue));
        grant
    }

    /// A state without excess in a batch, beside another channel's; the batch has another token too.
    fn leaf(&self, whole: &State) -> LeafProof {
        let leaf = Sums::leaf(whole.eip712_hash_struct(), whole.state.balance, 0);
        let other = Sums::leaf(keccak256("another state"), 500, 200);
        let sums = SumTree::new(vec![(B256::ZERO, leaf), (B256::repeat_byte(9), other)]).unwrap();
        let position = sums.position(&leaf).unwrap();
        let entry = sums.root().entry(&self.hub, self.token.address());
        let entry_path = vec![keccak256("another token")];
        let batch = Batch {
            epoch: whole.state.epoch,
            previous: keccak256("the batch before"),
            entries: tree::root(entry, 0, &entry_path).unwrap(),
        };
        LeafProof {
            excess: 0,
            position: position as u64,
            path: sums.path(position),
            entry_position: 0,
            entry_path,
            epoch: whole.state.epoch.to(),
            previous: batch.previous,
            signature: self.operator.sign(&batch, &venue_domain(self.venue)),
        }
    }
}

fn cosigner(owner: &str) -> Signer {
    Signer::new(keccak256(["co-signer ", owner].concat()).0).unwrap()
}

fn text(failed: Result<impl Sized, ChainError>) -> String {
    failed.err().expect("it fails").to_string()
}

#[test]
fn a_channel_is_followed_disputed_by_an_old_state_refuted_and_left() {
    let stage = Stage::up();
    let (mut alice, mut exchange) = (stage.connect("alice"), stage.connect("exchange"));
    let channel = stage.holding("alice").channel();
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("channels")).unwrap();
    let start = exchange.tip().unwrap().height;
    let mut channels = Channels::open(store, RULES, start).unwrap();
    assert_eq!(exchange.channel(channel).unwrap(), None);

    // Others open too: rows come in more answers than one.
    let sent = stage.open(&mut alice, "alice", 40_000);
    let height = start + 1;
    assert_eq!(alice.progress(&sent).unwrap(), Progress::Mined { height });
    let mut bob = stage.connect("bob");
    stage.open(&mut bob, "bob", 700);
    let more = action::open(
        stage.account,
        name("bob"),
        cosigner("bob").address(),
        stage.token,
        2,
    );
    bob.send("opening", vec![more]).unwrap();
    channels.follow(&mut exchange, 0).unwrap();
    assert_eq!(channels.iter().count(), 3);
    assert_eq!(channels.life(channel).unwrap().phase(), Phase::Opening);
    stage.node.mine(3, 1);
    channels.follow(&mut exchange, 0).unwrap();
    let life = channels.life(channel).unwrap();
    assert_eq!((life.phase(), life.entitlement()), (Phase::Open, 40_000));

    // A deposit, and the fork that takes it back before it counts. The owner pays again, and that one counts once.
    stage.node.mark();
    alice
        .send("deposit", vec![stage.deposit("alice", 10_000)])
        .unwrap();
    let tip = exchange.tip().unwrap().height;
    channels.follow(&mut exchange, 0).unwrap();
    stage.node.fork();
    stage.node.mine(4, 1);
    let followed = channels.follow(&mut exchange, 0).unwrap();
    assert_eq!((followed.reorganised, followed.facts), (Some(tip - 1), 0));
    assert_eq!(channels.life(channel).unwrap().deposited(), 40_000);
    alice
        .send("deposit", vec![stage.deposit("alice", 10_000)])
        .unwrap();
    stage.node.mine(3, 1);
    // A new process in between: it tells all there is again, and nothing counts twice.
    exchange = stage.connect("exchange");
    channels.follow(&mut exchange, 0).unwrap();
    stage.node.mine(3, 1);
    channels.follow(&mut exchange, 0).unwrap();
    assert_eq!(channels.life(channel).unwrap().deposited(), 50_000);

    // The owner shows an old state, which is better for it; the exchange answers.
    let old = stage.signed("alice", 1, 30_000, 50_000, true);
    let newest = stage.signed("alice", 2, 20_000, 50_000, false);
    assert!(text(alice.settle(&old)).contains("channel is not in dispute"));
    let tip = alice.tip().unwrap().height;
    let sent = alice.dispute(&old).unwrap();
    assert_eq!(
        alice.progress(&sent).unwrap(),
        Progress::Mined { height: tip + 1 }
    );
    channels.follow(&mut exchange, 0).unwrap();
    assert_eq!(channels.life(channel).unwrap().phase(), Phase::Disputed);
    let row = exchange.channel(channel).unwrap().unwrap();
    assert_eq!((row.disputed(), row.base), (Some(1), -20_000));
    assert_eq!(row.deadline, alice.tip().unwrap().time + stage.node.window);
    assert!(text(alice.refute(&old)).contains("version 1 is not newer than 1"));
    exchange.refute(&newest).unwrap();
    assert_eq!(
        exchange.channel(channel).unwrap().unwrap().disputed(),
        Some(2)
    );

    // Before the window's end nobody settles; then anybody does, and the owner is paid.
    assert!(text(exchange.settle(&newest)).contains("window is open until"));
    stage.node.mine(1, stage.node.window);
    assert_eq!(stage.node.balance("alice"), MILLION - 50_000);
    exchange.settle(&newest).unwrap();
    assert_eq!(stage.node.balance("alice"), MILLION - 50_000 + 20_000);
    // What the owner lost is the vault's, and the other's channel is as it was.
    assert_eq!(stage.node.balance("hub"), 30_000 + 700);
    let row = exchange.channel(channel).unwrap().unwrap();
    assert_eq!((row.closed, row.due, row.disputed()), (true, 0, None));
    // It counts from the block where it was first seen on.
    channels.follow(&mut exchange, 0).unwrap();
    assert_eq!(channels.life(channel).unwrap().phase(), Phase::Disputed);
    stage.node.mine(3, 1);
    channels.follow(&mut exchange, 0).unwrap();
    assert_eq!(channels.life(channel).unwrap().phase(), Phase::Settled);
}

#[test]
fn rows_of_a_block_above_what_was_asked_for_are_told_later_and_go_with_it() {
    let stage = Stage::up();
    let (mut alice, mut watcher) = (stage.connect("alice"), stage.connect("exchange"));
    let channel = stage.holding("alice").channel();
    let asked = watcher.tip().unwrap().height;
    let deposited = |amount| Fact::Opened { deposited: amount };
    stage.node.mark();
    stage.open(&mut alice, "alice", 40_000);
    // The block came behind the question for the tip.
    assert_eq!(watcher.facts(asked, asked).unwrap(), []);
    stage.node.mark();
    stage.node.mine(1, 1);
    let seen = Seen {
        height: asked + 1,
        channel,
        fact: deposited(40_000),
    };
    for _ in 0..2 {
        // Asked for again it is told again: the first answer may have been dropped.
        assert_eq!(watcher.facts(asked + 1, asked + 2).unwrap(), [seen]);
    }
    // A fork above it leaves it; one below it takes it along before it was told to anybody.
    stage.node.fork();
    stage.node.mine(2, 1);
    assert_eq!(watcher.facts(asked + 2, asked + 3).unwrap(), []);
    assert_eq!(watcher.facts(asked + 1, asked + 3).unwrap(), [seen]);
    stage.node.fork();
    stage.node.mine(1, 1);
    assert_eq!(watcher.facts(asked + 1, asked + 1).unwrap(), []);
    stage.open(&mut alice, "alice", 30_000);
    let seen = Seen {
        height: asked + 2,
        channel,
        fact: deposited(30_000),
    };
    assert_eq!(watcher.facts(asked + 1, asked + 2).unwrap(), [seen]);
    let behind = text(watcher.facts(asked + 1, asked + 3));
    assert!(behind.contains("changed while"), "{behind}");
}

#[test]
fn every_form_of_a_state_is_unpacked_as_it_was_meant() {
    let stage = Stage::up();
    let (mut alice, mut exchange) = (stage.connect("alice"), stage.connect("exchange"));
    stage.open(&mut alice, "alice", 50_000);
    let channel = stage.holding("alice").channel();
    alice
        .dispute(&stage.signed("alice", 1, 30_000, 50_000, false))
        .unwrap();
    exchange
        .refute(&stage.signed("alice", 2, 20_000, 50_000, true))
        .unwrap();
    let row = exchange.channel(channel).unwrap().unwrap();
    assert_eq!((row.version, row.epoch, row.base), (2, 3, -30_000));
    let beyond = stage.signed("alice", 200, 20_000, 50_000, true);
    exchange.refute(&beyond).unwrap();
    assert_eq!(exchange.channel(channel).unwrap().unwrap().version, 200);
    // Everything is lost: nothing is paid, and the settlement is booked all the same.
    let lost = stage.signed("alice", 201, 0, 50_000, false);
    exchange.refute(&lost).unwrap();
    stage.node.mine(1, stage.node.window);
    exchange.settle(&lost).unwrap();
    assert!(exchange.channel(channel).unwrap().unwrap().closed);
    assert_eq!(stage.node.balance("alice"), MILLION - 50_000);
    // Of one that never signed anything the hub's own record is disputed.
    let mut bob = stage.connect("bob");
    stage.open(&mut bob, "bob", 700);
    bob.dispute(&stage.holding("bob")).unwrap();
    let row = bob
        .channel(stage.holding("bob").channel())
        .unwrap()
        .unwrap();
    assert_eq!(row.disputed(), Some(0));
    let nothing = bob.refute(&stage.holding("bob"));
    assert!(matches!(nothing, Err(ChainError::Unsupported(_))));
    stage.node.mine(1, stage.node.window);
    bob.settle(&stage.holding("bob")).unwrap();
    assert_eq!(stage.node.balance("bob"), MILLION);
}

#[test]
fn what_cannot_be_done_says_what_to_do() {
    let stage = Stage::up();
    let holding = stage.holding("alice");
    let mut alice = stage.connect("alice");
    stage.open(&mut alice, "alice", 50_000);

    // A wrong key, and an account that is no party.
    let stolen = Wallet {
        key: wallet("bob").key,
        ..wallet("alice")
    };
    let mut thief = Antelope::connect(&stage.node.url(), stage.hub, Some(stolen)).unwrap();
    let refused = thief.dispute(&holding);
    assert!(matches!(refused, Err(ChainError::Refused { .. })));
    let refused = text(refused);
    assert!(
        refused.contains("does not have signatures for it"),
        "{refused}"
    );
    let public = wallet("bob").key.public();
    assert!(
        refused.contains(&public) && refused.contains("alice@active"),
        "{refused}"
    );
    let refused = text(stage.connect("bob").dispute(&holding));
    assert!(refused.contains("bob"), "{refused}");

    let sent = alice.dispute(&holding).unwrap();
    let unsupported = alice.bump(&sent);
    assert!(matches!(unsupported, Err(ChainError::Unsupported(why)) if why.contains("no auction")));
    let unknown = Sent {
        id: B256::repeat_byte(1),
        what: "nothing",
    };
    assert_eq!(alice.progress(&unknown).unwrap(), Progress::Gone);
    stage.node.forget_status();
    let without = text(alice.progress(&unknown));
    assert!(without.contains("get_transaction_status"), "{without}");
    assert!(without.contains("transaction-finality-status"), "{without}");

    // Without a wallet there are only questions.
    let mut watcher = Antelope::connect(&stage.node.url(), stage.hub, None).unwrap();
    assert!(matches!(
        watcher.settle(&holding),
        Err(ChainError::Unsupported(_))
    ));
    let above = watcher.tip().unwrap().height + 1;
    assert_eq!(watcher.block(above).unwrap(), None);
    let below = text(watcher.block(1));
    assert!(below.contains("does not have block 1"), "{below}");

    // Other hubs.
    let at = |hub: Hub| text(Antelope::connect(&stage.node.url(), hub, None));
    let lineage = U256::from(1);
    assert!(
        at(Hub {
            lineage,
            ..stage.hub
        })
        .contains("lineage")
    );
    let address = name("bob").address();
    assert!(
        at(Hub {
            address,
            ..stage.hub
        })
        .contains("no settings")
    );
    let address = Address::repeat_byte(3);
    assert!(
        at(Hub {
            address,
            ..stage.hub
        })
        .contains("stands for no account")
    );
    let mut foreign = holding.clone();
    foreign.hub.lineage = lineage;
    assert!(text(alice.dispute(&foreign)).contains("is of the hub"));
    let mut forged = stage.signed("alice", 1, 30_000, 50_000, false);
    forged.newest.as_mut().unwrap().balance = 50_000;
    assert!(text(alice.dispute(&forged)).contains("signature does not hold"));
}

#[test]
fn a_node_that_is_none_is_said_to_be_none() {
    let hub = Hub {
        lineage: U256::from(1),
        address: name("hub").address(),
    };
    let nobody = text(Antelope::connect("http://127.0.0.1:9", hub, None));
    assert!(nobody.contains("check that the node runs"), "{nobody}");
    for (body, said) in [
        ("<html>It works!</html>", "no JSON but \"<html>It works!"),
        ("{}", "rows is null"),
        (
            r#"{"rows": ["xy"], "more": false}"#,
            "a row of settings is no bytes",
        ),
        (
            r#"{"rows": ["00"], "more": false}"#,
            "has 1 bytes, which no hub's has",
        ),
        (
            r#"{"rows": [], "more": true, "next_key": "0"}"#,
            "go on at \"0\"",
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).unwrap();
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            )
            .unwrap();
        });
        let nonsense = text(Antelope::connect(&url, hub, None));
        assert!(nonsense.contains(said), "{nonsense}");
        assert!(nonsense.contains(&url), "{nonsense}");
        server.join().unwrap();
    }
}
