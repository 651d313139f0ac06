//! The whole way, as two people go it: signed in by wallet, an account each, money from a real node's chain through a channel, a session whose key is agreed and
//! never sent, orders as packets to the shard in the kernel, fills, batches that both sides sign, all of it seen over REST, and money home on the chain.

use alloy_primitives::aliases::U40;
use alloy_primitives::{Address, B256, U256, hex};
use ring0_channels::batch_file::{BatchFile, BatchFileError};
use ring0_channels::evidence::Holding;
use ring0_channels::key::{Signature, Signer};
use ring0_channels::message::{Terms, Withdrawal, venue_domain};
use ring0_channels_evm::Evm;
use ring0_channels_evm::abi::{self, ChannelHub};
use ring0_dev::hub::{RULES, Token, WHOLE, call, new_key};
use ring0_dev::{OnChain, Options, Program, Venue};
use ring0_identity::NewSession;
use ring0_identity::records::{Authority, GrantTerms};
use ring0_identity::wallet::{SignInMessage, digest};
use ring0_trader::{
    Locate, Order, Price, Reason, Salt, Session, SessionId, Shares, Trader, UdpTransport, mac_key,
};
use ring0d::RingKind;
use secp256k1::{PublicKey, SecretKey};
use serde_json::{Value, json};
use std::net::UdpSocket;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn now_s() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs()
}

fn text(signature: Signature) -> String {
    let (r, vs) = (hex::encode(signature.r), hex::encode(signature.vs));
    format!("0x{r}{vs}")
}

/// Somebody with a wallet, an account, channels and a session.
struct Person {
    owner: Signer,
    cosigner: Signer,
    /// Of its login.
    token: String,
    account: u32,
    evm: Evm,
    holdings: Vec<Holding>,
    trader: Option<Trader<UdpTransport>>,
}

impl Person {
    fn path(&self, what: &str) -> String {
        format!("/v1/accounts/{}/{what}", self.account)
    }

    fn co_signed(&self, token: Address) -> u128 {
        let own = self.holdings.iter().find(|it| it.terms.token == token);
        own.and_then(|it| it.newest.as_ref())
            .map_or(0, |it| it.balance)
    }
}

struct Stage {
    venue: Venue,
    agent: ureq::Agent,
}

impl Stage {
    fn chain(&self) -> &OnChain {
        let chain = self.venue.chain.as_ref();
        chain.expect("contracts/evm/setup has installed a node")
    }

    /// Status and body; without a body it is a GET.
    fn ask(&self, path: &str, token: Option<&str>, body: Option<Value>) -> (u16, Value) {
        let url = format!("http://{}{path}", self.venue.http);
        let bearer = token.map_or_else(String::new, |it| format!("Bearer {it}"));
        let answer = match body {
            None if bearer.is_empty() => self.agent.get(&url).call(),
            None => self.agent.get(&url).header("authorization", bearer).call(),
            Some(body) if bearer.is_empty() => self.agent.post(&url).send_json(body),
            Some(body) => {
                let request = self.agent.post(&url);
                request.header("authorization", bearer).send_json(body)
            }
        };
        let log = || self.venue.gateway.log();
        let mut answer = answer.unwrap_or_else(|error| panic!("{path}: {error}\n{}", log()));
        let read = answer.body_mut().read_to_string().unwrap();
        let status = answer.status().as_u16();
        (
            status,
            serde_json::from_str(&read).unwrap_or(Value::String(read)),
        )
    }

    fn good(&self, path: &str, token: Option<&str>, body: Option<Value>) -> Value {
        let (status, answer) = self.ask(path, token, body);
        assert!(
            status < 300,
            "{path}: {status} {answer}\n{}",
            self.venue.gateway.log()
        );
        answer
    }

    fn get(&self, person: &Person, what: &str) -> Value {
        self.good(&person.path(what), Some(&person.token), None)
    }

    fn wait<T>(&self, what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = ready() {
                return found;
            }
            let log = || self.venue.settled.as_ref().map(Program::log);
            assert!(Instant::now() < end, "{what} does not come\n{:?}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Somebody comes to the venue with a wallet, and is given an account.
    fn welcome(&self, name: &str) -> Person {
        let (owner, cosigner) = (new_key().unwrap(), new_key().unwrap());
        let nonce = self.good("/v1/sign-in/nonce", None, Some(json!({})));
        let place = format!("localhost:{}", self.venue.http.port());
        let message = SignInMessage {
            scheme: None,
            uri: format!("http://{place}"),
            domain: place,
            address: owner.address(),
            statement: None,
            chain_id: 31_337,
            nonce: nonce["nonce"].as_str().unwrap().to_owned(),
            issued_at: OffsetDateTime::now_utc().format(&Rfc3339).unwrap(),
            expiration_time: None,
            not_before: None,
            request_id: None,
            resources: Vec::new(),
        };
        let message = message.to_string();
        let signature = text(owner.sign_digest(digest(&message)));
        let shown = json!({ "message": message, "signature": signature });
        let login = self.good("/v1/sign-in/wallet", None, Some(shown));
        let token = login["token"].as_str().unwrap().to_owned();
        let organisation = json!({ "name": name });
        self.good("/v1/organisations", Some(&token), Some(organisation));
        let wanted = json!({ "cosigner": cosigner.address() });
        let made = self.good("/v1/accounts", Some(&token), Some(wanted));
        let chain = self.chain();
        chain.node.give(owner.address(), 1_000 * WHOLE).unwrap();
        Person {
            account: made["account"].as_u64().unwrap() as u32,
            evm: Evm::connect(&chain.node.url, chain.placed.hub, Some(owner.clone())).unwrap(),
            owner,
            cosigner,
            token,
            holdings: Vec::new(),
            trader: None,
        }
    }

    /// Opens a channel of a token with a first deposit.
    fn deposit(&self, person: &mut Person, token: Address, amount: u128) {
        let hub = self.chain().placed.hub;
        let terms = Terms {
            owner: person.owner.address(),
            cosigner: person.cosigner.address(),
            token,
            nonce: 1,
        };
        let (to, spender) = (terms.owner, hub.address);
        if token != Address::ZERO {
            let amount = U256::from(amount);
            let mint = Token::mintCall { to, amount };
            call(&mut person.evm, "mint", token, &mint, 0).unwrap();
            let approve = Token::approveCall { spender, amount };
            call(&mut person.evm, "approval", token, &approve, 0).unwrap();
        }
        let open = ChannelHub::openCall {
            cosigner: terms.cosigner,
            token,
            nonce: terms.nonce,
            amount,
        };
        let value = if token == Address::ZERO { amount } else { 0 };
        call(&mut person.evm, "opening", hub.address, &open, value).unwrap();
        person.holdings.push(Holding {
            hub,
            venue: self.venue.id,
            operator: self.venue.operator,
            terms,
            newest: None,
        });
    }

    /// What settlement says over REST that an account has.
    fn total(&self, person: &Person, asset: &str) -> Option<String> {
        let (status, answer) = self.ask(&person.path("balances"), Some(&person.token), None);
        let all = answer["balances"].as_array().filter(|_| status == 200)?;
        let found = all.iter().find(|it| it["asset"] == asset)?;
        Some(found["total"].as_str()?.to_owned())
    }

    /// What can be traded in the shard.
    fn tradable(&self, person: &Person, asset: &str) -> Option<String> {
        let answer = self.venue.ask("dev", &json!({ "verb": "accounts" })).ok()?;
        let all = answer["accounts"].as_array()?;
        let own = all.iter().find(|it| it["number"] == person.account)?;
        Some(own["balances"][asset]["available"].as_str()?.to_owned())
    }

    /// A grant by the wallet, and a session under it whose key both sides compute.
    fn open_session(&self, person: &mut Person) {
        let mut secret = [0; 32];
        rustix::rand::getrandom(&mut secret, rustix::rand::GetRandomFlags::empty()).unwrap();
        let (key, secret) = (
            Signer::new(secret).unwrap(),
            SecretKey::from_secret_bytes(secret).unwrap(),
        );
        let public_key = PublicKey::from_secret_key(&secret).serialize();
        let domain = venue_domain(self.venue.id);
        let terms = GrantTerms {
            account: person.account,
            session: key.address(),
            expires_s: now_s() + 3_600,
            first_epoch: 1,
            last_epoch: 1_000_000,
            limits: Vec::new(),
        };
        let signature = person.owner.sign(&terms.message().unwrap(), &domain);
        let body = json!({
            "account": person.account, "session": key.address(), "expires_s": terms.expires_s,
            "first_epoch": 1, "last_epoch": 1_000_000, "owner_signature": text(signature),
        });
        let grant = self.good("/v1/grants", Some(&person.token), Some(body));
        let id = grant["id"].as_str().unwrap();
        let nonce = [person.account as u8; 16];
        let wanted = NewSession {
            account: person.account,
            shard: "dev".to_owned(),
            authority: Authority::Grant(id.parse().unwrap()),
            public_key,
            nonce,
            expires_s: now_s() + 600,
            deadline_s: now_s() + 60,
            signature: Signature::default(),
        };
        let signature = key.sign(&wanted.message().unwrap(), &domain);
        let body = json!({
            "account": person.account, "shard": "dev", "grant": id, "public_key": hex::encode(public_key),
            "nonce": hex::encode(nonce), "expires_s": wanted.expires_s, "deadline_s": wanted.deadline_s,
            "signature": text(signature),
        });
        let answer = self.good("/v1/trading-sessions", Some(&person.token), Some(body));
        let field = |name: &str| answer["opened"][name].as_str().unwrap().to_owned();
        let id = SessionId(field("session_id").as_bytes().try_into().unwrap());
        let salt = Salt {
            id,
            trader: nonce,
            venue: hex::decode(field("venue_nonce"))
                .unwrap()
                .try_into()
                .unwrap(),
        };
        let agreement = hex::decode(field("agreement_key")).unwrap();
        let agreement = PublicKey::from_slice(&agreement).unwrap();
        let session = Session::new(id, &mac_key(&secret, &agreement, &salt));
        let veth = self
            .venue
            .veth
            .as_ref()
            .expect("the shard is in the kernel");
        let connect = || {
            let socket = UdpSocket::bind((veth.trader_address, 0))?;
            socket.connect(self.venue.udp())?;
            std::io::Result::Ok(socket)
        };
        let socket = veth.in_trader(connect).unwrap().unwrap();
        person.trader = Some(Trader::new(session, UdpTransport::new(socket)));
    }

    /// Enters an order. Where the account's limit of what is not co-signed has not been shared out yet, as settlement does from time to time, again.
    fn order(&self, person: &mut Person, order: &Order) {
        let trader = person.trader.as_mut().expect("it has a session");
        let end = Instant::now() + PATIENCE;
        loop {
            let acks = trader.submit(std::slice::from_ref(order)).unwrap();
            match acks[0].reason() {
                Some(Reason::UnsettledLimit) if Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Some(Reason::None) => return,
                reason => {
                    let log = self.venue.settled.as_ref().map(Program::log);
                    panic!("{reason:?}\n{}", log.unwrap_or_default());
                }
            }
        }
    }

    /// Signs the newest batch, if it is not signed yet, after checking it as a trader does.
    fn cosign(&self, person: &mut Person) {
        let token = person.token.clone();
        let (status, file) = self.ask(&person.path("batch"), Some(&token), None);
        if status != 200 {
            return; // there is none, or it has nothing of this account
        }
        let file = file["file"].clone();
        let file: BatchFile = serde_json::from_value(file).unwrap();
        let newest = person.holdings.iter().filter_map(|it| it.newest.as_ref());
        if newest.map(|it| it.epoch).max() >= Some(file.epoch) {
            return;
        }
        // A batch that was cut between the deposits of two channels has only one of them: a trader leaves it and signs the next.
        let state = match file.check(&person.holdings) {
            Ok(state) => state,
            Err(BatchFileError::Missing(_)) => return,
            Err(other) => panic!("{other}"),
        };
        let signature = person.cosigner.sign(&state, &venue_domain(self.venue.id));
        let body = json!({ "epoch": file.epoch, "signature": text(signature) });
        let (status, _) = self.ask(&person.path("cosign"), Some(&token), Some(body));
        if status >= 300 {
            return; // the next batch came meanwhile
        }
        for signed in file.cosigned(signature) {
            signed.verify().unwrap();
            let mut own = person.holdings.iter_mut();
            let own = own.find(|it| it.terms == signed.terms);
            *own.expect("only one's own channels") = signed;
        }
    }
}

#[test]
fn two_people_pay_in_trade_sign_and_take_their_money_home() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        ring: RingKind::Kernel,
        any_port: true,
        batch_ms: 200,
        ..Options::new(&folder.path().join("venue"))
    };
    let venue = Venue::up(options, &mut |step| println!("{step}")).unwrap();
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE))
        .build()
        .into();
    let stage = Stage { venue, agent };
    let (mut carol, mut alice) = (stage.welcome("carol"), stage.welcome("alice"));
    assert_ne!(carol.account, alice.account);
    let dollar = stage.chain().placed.token;

    // Nobody else sees an account.
    let path = carol.path("balances");
    let (status, problem) = stage.ask(&path, Some(&alice.token), None);
    assert!(matches!(status, 403 | 404), "{status} {problem}");
    assert_eq!(stage.ask(&path, None, None).0, 401);

    stage.deposit(&mut carol, Address::ZERO, 10 * WHOLE + 3);
    stage.deposit(&mut carol, dollar, 1_000 * WHOLE);
    stage.deposit(&mut alice, Address::ZERO, 2 * WHOLE);
    stage.deposit(&mut alice, dollar, 100_000 * WHOLE);
    let confirm = || {
        stage
            .chain()
            .node
            .mine(RULES.confirmations + 1, 12)
            .unwrap()
    };
    confirm();
    let has = |person: &Person, asset, amount| {
        stage.wait("a deposit", || {
            (stage.tradable(person, asset)? == amount).then_some(())
        });
    };
    has(&carol, "ETH", "10");
    has(&carol, "USD", "1000");
    has(&alice, "USD", "100000");
    let dust = "10.000000000000000003";
    stage.wait("three wei", || {
        (stage.total(&carol, "ETH")? == dust).then_some(())
    });

    // 2 ETH at 3,000 USD: packets to the kernel, tagged by keys that were never sent.
    stage.open_session(&mut carol);
    stage.open_session(&mut alice);
    let (shares, price) = (Shares(2_000), Price(3_000 * 10_000));
    stage.order(&mut alice, &Order::buy(Locate(1), shares, price));
    stage.order(
        &mut carol,
        &Order::sell(Locate(1), shares, price).immediate(),
    );
    stage.wait("the fill over REST", || {
        let fills = stage.get(&carol, "fills").to_string();
        fills.contains("3000").then_some(())
    });
    let trades = stage.good("/v1/instruments/ETH-USD/trades", None, None);
    assert!(trades.to_string().contains("3000"), "{trades}");

    // The maker gets 0.005 %, the taker pays 0.03 %.
    let paid = 6_000 * WHOLE;
    let wanted = [
        (1_000 * WHOLE + paid - paid * 3 / 10_000, 8 * WHOLE + 3),
        (100_000 * WHOLE - paid + paid / 20_000, 4 * WHOLE),
    ];
    stage.wait("both signatures of what was traded", || {
        stage.cosign(&mut carol);
        stage.cosign(&mut alice);
        let of = |it: &Person| (it.co_signed(dollar), it.co_signed(Address::ZERO));
        ([of(&carol), of(&alice)] == wanted).then_some(())
    });

    // 1,500 USD home.
    let answer = stage.get(&carol, "channels");
    let all = answer["channels"].as_array().unwrap();
    let one = all.iter().find(|it| it["asset"] == "USD").unwrap();
    let hash = |name: &str| -> B256 { serde_json::from_value(one[name].clone()).unwrap() };
    let deadline = one["chain_time"].as_u64().unwrap() + 3_600;
    let message = Withdrawal {
        channel: hash("channel"),
        withdrawn: 1_500 * WHOLE,
        recipient: carol.owner.address(),
        branch: hash("branch"),
        deadline: U40::from(deadline),
    };
    let hub = stage.chain().placed.hub;
    let signature = carol.owner.sign(&message, &hub.domain());
    let body = json!({
        "channel": message.channel, "withdrawn": message.withdrawn.to_string(), "recipient": message.recipient,
        "branch": message.branch, "deadline": deadline, "signature": text(signature),
    });
    stage.good(&carol.path("withdrawals"), Some(&carol.token), Some(body));
    let is = |progress: &'static str, it: &Value| it["progress"] == progress;
    let signed = stage.wait("the operator's half", || {
        stage.cosign(&mut carol);
        stage.cosign(&mut alice);
        let answer = stage.get(&carol, "withdrawals");
        let all = answer["withdrawals"].as_array()?.clone();
        all.into_iter().find(|it| is("signed", it))
    });
    let half = |name: &str| -> Signature { serde_json::from_value(signed[name].clone()).unwrap() };
    let mut channels = carol.holdings.iter();
    let channel = channels.find(|it| it.channel() == message.channel).unwrap();
    let w = abi::Withdrawal {
        channel: (&channel.terms).into(),
        withdrawn: message.withdrawn,
        recipient: message.recipient,
        branch: message.branch,
        deadline: message.deadline,
        owner: half("owner").into(),
        operator: half("operator").into(),
    };
    let taken = ChannelHub::withdrawCall { w };
    call(&mut carol.evm, "withdrawal", hub.address, &taken, 0).unwrap();
    let account = carol.owner.address();
    let balance = Token::balanceOfCall { account };
    let found = carol.evm.read_from(dollar, &balance).unwrap();
    assert_eq!(found, U256::from(1_500 * WHOLE), "in carol's wallet");
    confirm();
    stage.wait("the end of the withdrawal", || {
        let answer = stage.get(&carol, "withdrawals");
        let mut all = answer["withdrawals"].as_array()?.iter();
        all.any(|it| is("paid", it)).then_some(())
    });
    let status = stage
        .venue
        .ask("settled", &json!({ "verb": "status" }))
        .unwrap();
    assert_eq!(status["halted"], json!([]), "every equation held");
    let mut venue = stage.venue;
    assert!(venue.ended().is_empty(), "nothing has ended by itself");
    assert!(
        venue.down().is_empty(),
        "everything ends when it is asked to"
    );
}
