//! A whole venue and people in it, who come over REST, the kernel ring and the chain as anybody would: wallets, channels, sessions whose keys are agreed.

use alloy_primitives::aliases::U40;
use alloy_primitives::{Address, B256, U256, hex};
use ring0_channels::batch_file::{BatchFile, BatchFileError};
use ring0_channels::evidence::Holding;
use ring0_channels::key::{Signature, Signer};
use ring0_channels::message::{Terms, Withdrawal, venue_domain};
use ring0_channels_evm::Evm;
use ring0_channels_evm::abi::{self, ChannelHub};
use ring0_dev::hub::{RULES, Token, WHOLE, call, new_key};
use ring0_dev::{OnChain, Options, Venue};
use ring0_identity::NewSession;
use ring0_identity::records::{Authority, GrantTerms};
use ring0_identity::wallet::{SignInMessage, digest};
use ring0_lab::Veth;
use ring0_trader::{
    Ack, Options as TraderOptions, Order, Reason, Salt, Session, SessionId, Trader, UdpTransport,
    mac_key,
};
use ring0d::RingKind;
use secp256k1::{PublicKey, SecretKey};
use serde_json::{Value, json};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// How long a question that is asked again and again waits.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);

fn now_s() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs()
}

pub(crate) fn text(signature: Signature) -> String {
    let (r, vs) = (hex::encode(signature.r), hex::encode(signature.vs));
    format!("0x{r}{vs}")
}

/// Somebody with a wallet, an account, channels and a session.
pub(crate) struct Person {
    pub(crate) owner: Signer,
    cosigner: Signer,
    /// Of its login.
    pub(crate) token: String,
    pub(crate) account: u32,
    pub(crate) evm: Evm,
    pub(crate) holdings: Vec<Holding>,
    /// The newest batch that settlement has its signature of.
    signed: u64,
    pub(crate) trader: Option<Trader<UdpTransport>>,
}

impl Person {
    pub(crate) fn path(&self, what: &str) -> String {
        format!("/v1/accounts/{}/{what}", self.account)
    }

    /// What it holds both signatures of.
    pub(crate) fn co_signed(&self, token: Address) -> u128 {
        let own = self.holdings.iter().find(|it| it.terms.token == token);
        own.and_then(|it| it.newest.as_ref())
            .map_or(0, |it| it.balance)
    }
}

/// Enters an order. Where the account's limit of what is not co-signed has not been shared out yet, as settlement does from time to time, again.
pub(crate) fn order(trader: &mut Trader<UdpTransport>, order: &Order) -> Ack {
    let end = Instant::now() + PATIENCE;
    loop {
        let acks = trader.submit(std::slice::from_ref(order)).unwrap();
        match acks[0].reason() {
            Some(Reason::UnsettledLimit) if Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(50));
            }
            Some(Reason::None) => return acks[0],
            reason => panic!("{reason:?}"),
        }
    }
}

/// See the module.
pub(crate) struct Stage {
    venue: Mutex<Venue>,
    agent: ureq::Agent,
    pub(crate) http: SocketAddr,
    pub(crate) udp: SocketAddr,
    pub(crate) id: B256,
    pub(crate) operator: Address,
    pub(crate) chain: Arc<OnChain>,
    veth: Option<Arc<Veth>>,
    pub(crate) folder: PathBuf,
}

impl Stage {
    /// The usual options of tests: the kernel's ring, five batches a second.
    pub(crate) fn options(folder: &Path) -> Options {
        Options {
            ring: RingKind::Kernel,
            any_port: true,
            batch_ms: 200,
            ..Options::new(&folder.join("venue"))
        }
    }

    pub(crate) fn up(options: Options) -> Stage {
        let venue = Venue::up(options, &mut |step| println!("{step}")).unwrap();
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build()
            .into();
        let chain = venue.chain.clone();
        Stage {
            agent,
            http: venue.http,
            udp: venue.udp(),
            id: venue.id,
            operator: venue.operator,
            chain: chain.expect("contracts/evm/setup has installed a node"),
            veth: venue.veth.clone(),
            folder: venue.options.folder.clone(),
            venue: Mutex::new(venue),
        }
    }

    /// The venue's processes, for whoever starts and ends them.
    pub(crate) fn venue(&self) -> MutexGuard<'_, Venue> {
        self.venue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn into_venue(self) -> Venue {
        let venue = self.venue.into_inner();
        venue.unwrap_or_else(PoisonError::into_inner)
    }

    /// The dollar.
    pub(crate) fn dollar(&self) -> Address {
        self.chain.placed.token
    }

    /// The last lines that a process has written.
    pub(crate) fn log(&self, name: &str) -> String {
        let path = self.folder.join(format!("{name}.log"));
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Status and body; without a body it is a GET. `None`: nobody listens, or whoever did has died.
    pub(crate) fn ask(
        &self,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> Option<(u16, Value)> {
        let url = format!("http://{}{path}", self.http);
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
        let mut answer = answer.ok()?;
        let read = answer.body_mut().read_to_string().ok()?;
        let status = answer.status().as_u16();
        let body = serde_json::from_str(&read).unwrap_or(Value::String(read));
        Some((status, body))
    }

    pub(crate) fn good(&self, path: &str, token: Option<&str>, body: Option<Value>) -> Value {
        let (status, answer) = self
            .ask(path, token, body.as_ref())
            .unwrap_or_else(|| panic!("{path}: nobody answers\n{}", self.log("ring0-gateway")));
        assert!(
            status < 300,
            "{path}: {status} {answer}\n{}",
            self.log("ring0-gateway")
        );
        answer
    }

    /// What there is of an account; `None`: nobody could say.
    pub(crate) fn get(&self, person: &Person, what: &str) -> Option<Value> {
        let answer = self.ask(&person.path(what), Some(&person.token), None)?;
        (answer.0 == 200).then_some(answer.1)
    }

    /// Asks a process over its socket; `None`: it is not there, or refuses.
    pub(crate) fn say(&self, name: &str, request: &Value) -> Option<Value> {
        let socket = self.folder.join("sockets").join(format!("{name}.sock"));
        let mut client = ring0d::Client::connect(&socket).ok()?;
        client.call(request).ok()
    }

    pub(crate) fn status(&self) -> Option<Value> {
        self.say("settled", &json!({ "verb": "status" }))
    }

    pub(crate) fn wait<T>(&self, what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = ready() {
                return found;
            }
            assert!(
                Instant::now() < end,
                "{what} does not come\nstatus {:?}\nsettled {}\nshard {}\nrecorder {}\nsigner {}\ngateway {}",
                self.status(),
                self.log("ring0-settled"),
                self.log("shard"),
                self.log("recorder"),
                self.log("ring0-signer"),
                self.log("ring0-gateway"),
            );
            std::thread::sleep(PAUSE);
        }
    }

    /// Somebody comes to the venue with a wallet, and is given an account.
    pub(crate) fn welcome(&self, name: &str) -> Person {
        let (owner, cosigner) = (new_key().unwrap(), new_key().unwrap());
        let nonce = self.good("/v1/sign-in/nonce", None, Some(json!({})));
        let place = format!("localhost:{}", self.http.port());
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
        let chain = &self.chain;
        chain.node.give(owner.address(), 1_000 * WHOLE).unwrap();
        Person {
            account: made["account"].as_u64().unwrap() as u32,
            evm: Evm::connect(&chain.node.url, chain.placed.hub, Some(owner.clone())).unwrap(),
            owner,
            cosigner,
            token,
            holdings: Vec::new(),
            signed: 0,
            trader: None,
        }
    }

    /// Opens a channel of a token with a first deposit, or pays into it.
    pub(crate) fn deposit(&self, person: &mut Person, token: Address, amount: u128) {
        let hub = self.chain.placed.hub;
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
        let value = if token == Address::ZERO { amount } else { 0 };
        if person.holdings.iter().any(|it| it.terms == terms) {
            let deposit = ChannelHub::depositCall {
                c: (&terms).into(),
                amount,
            };
            call(&mut person.evm, "deposit", hub.address, &deposit, value).unwrap();
            return;
        }
        let open = ChannelHub::openCall {
            cosigner: terms.cosigner,
            token,
            nonce: terms.nonce,
            amount,
        };
        call(&mut person.evm, "opening", hub.address, &open, value).unwrap();
        person.holdings.push(Holding {
            hub,
            venue: self.id,
            operator: self.operator,
            terms,
            newest: None,
        });
    }

    /// Blocks until all that was sent counts.
    pub(crate) fn confirm(&self) {
        let blocks = RULES.confirmations + 1;
        self.chain.node.mine(blocks, 12).unwrap();
    }

    /// What settlement says over REST that an account has.
    pub(crate) fn total(&self, person: &Person, asset: &str) -> Option<String> {
        let answer = self.get(person, "balances")?;
        let all = answer["balances"].as_array()?;
        let found = all.iter().find(|it| it["asset"] == asset)?;
        Some(found["total"].as_str()?.to_owned())
    }

    /// What can be traded in the shard.
    pub(crate) fn tradable(&self, person: &Person, asset: &str) -> Option<String> {
        let answer = self.say("dev", &json!({ "verb": "accounts" }))?;
        let all = answer["accounts"].as_array()?;
        let own = all.iter().find(|it| it["number"] == person.account)?;
        Some(own["balances"][asset]["available"].as_str()?.to_owned())
    }

    /// Waits until so much can be traded.
    pub(crate) fn has(&self, person: &Person, asset: &str, amount: &str) {
        self.wait(&format!("{amount} {asset}"), || {
            (self.tradable(person, asset)? == amount).then_some(())
        });
    }

    /// A way to the shard for a session.
    pub(crate) fn connect(&self, session: Session) -> Trader<UdpTransport> {
        let udp = self.udp;
        let socket = match &self.veth {
            None => UdpTransport::connect(udp).unwrap(),
            Some(veth) => {
                let connect = || {
                    let socket = UdpSocket::bind((veth.trader_address, 0))?;
                    socket.connect(udp)?;
                    std::io::Result::Ok(socket)
                };
                UdpTransport::new(veth.in_trader(connect).unwrap().unwrap())
            }
        };
        let options = TraderOptions {
            patience: PATIENCE,
            ..TraderOptions::of(&session)
        };
        Trader::new(session, socket).with_options(options)
    }

    /// A grant by the wallet, and a session under it whose key both sides compute.
    pub(crate) fn open_session(&self, person: &mut Person) {
        let mut secret = [0; 32];
        rustix::rand::getrandom(&mut secret, rustix::rand::GetRandomFlags::empty()).unwrap();
        let (key, secret) = (
            Signer::new(secret).unwrap(),
            SecretKey::from_secret_bytes(secret).unwrap(),
        );
        let public_key = PublicKey::from_secret_key(&secret).serialize();
        let domain = venue_domain(self.id);
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
        person.trader = Some(self.connect(session));
    }

    /// Signs the newest batch after checking it as a trader does, and keeps it before anybody has the signature. Again where it is not known that it arrived.
    pub(crate) fn cosign(&self, person: &mut Person) {
        let Some(file) = self.get(person, "batch") else {
            return; // there is none, it has nothing of this account, or nobody answers
        };
        let file: BatchFile = serde_json::from_value(file["file"].clone()).unwrap();
        if file.epoch <= person.signed {
            return;
        }
        let newest = person.holdings.iter().filter_map(|it| it.newest.as_ref());
        let is_known = newest.map(|it| it.epoch).max() >= Some(file.epoch);
        // A batch that was cut between the deposits of two channels has only one of them: a trader leaves it and signs the next.
        let kept = if is_known { &[] } else { &person.holdings[..] };
        let state = match file.check(kept) {
            Ok(state) => state,
            Err(BatchFileError::Missing(_)) => return,
            Err(other) => panic!("{other}"),
        };
        let signature = person.cosigner.sign(&state, &venue_domain(self.id));
        for signed in file.cosigned(signature) {
            signed.verify().unwrap();
            let mut own = person.holdings.iter_mut();
            let own = own.find(|it| it.terms == signed.terms);
            let own = own.expect("only one's own channels");
            if is_known {
                assert_eq!(own.newest, signed.newest, "two states of one epoch");
            }
            *own = signed;
        }
        let body = json!({ "epoch": file.epoch, "signature": text(signature) });
        let (path, token) = (person.path("cosign"), person.token.clone());
        if let Some((200..300, _)) = self.ask(&path, Some(&token), Some(&body)) {
            person.signed = file.epoch;
        }
    }

    /// The owner's signed wish to take so much more of an asset home; `None`: nobody could say what it has to name.
    pub(crate) fn wish(&self, person: &Person, asset: &str, amount: u128) -> Option<(B256, Value)> {
        let answer = self.get(person, "channels")?;
        let all = answer["channels"].as_array()?;
        let one = all.iter().find(|it| it["asset"] == asset)?;
        let hash = |name: &str| serde_json::from_value::<B256>(one[name].clone()).ok();
        let before: u128 = one["withdrawn"].as_str()?.parse().ok()?;
        let deadline = one["chain_time"].as_u64()? + 3_600;
        let message = Withdrawal {
            channel: hash("channel")?,
            withdrawn: before + amount,
            recipient: person.owner.address(),
            branch: hash("branch")?,
            deadline: U40::from(deadline),
        };
        let signature = person.owner.sign(&message, &self.chain.placed.hub.domain());
        let body = json!({
            "channel": message.channel, "withdrawn": message.withdrawn.to_string(), "recipient": message.recipient,
            "branch": message.branch, "deadline": deadline, "signature": text(signature),
        });
        Some((message.channel, body))
    }

    /// The withdrawal of a channel and so much in all, when it has come so far.
    pub(crate) fn withdrawal(
        &self,
        person: &Person,
        wish: &Value,
        progress: &str,
    ) -> Option<Value> {
        let answer = self.get(person, "withdrawals")?;
        let all = answer["withdrawals"].as_array()?.clone();
        all.into_iter().find(|it| {
            ["channel", "withdrawn"]
                .iter()
                .all(|name| it[name] == wish[name])
                && it["progress"] == progress
        })
    }

    /// Sends a withdrawal that both have signed to the hub, as the owner does.
    pub(crate) fn take(&self, person: &mut Person, signed: &Value) {
        let channel: B256 = serde_json::from_value(signed["channel"].clone()).unwrap();
        let half =
            |name: &str| -> Signature { serde_json::from_value(signed[name].clone()).unwrap() };
        let mut channels = person.holdings.iter();
        let own = channels.find(|it| it.channel() == channel).unwrap();
        let w = abi::Withdrawal {
            channel: (&own.terms).into(),
            withdrawn: signed["withdrawn"].as_str().unwrap().parse().unwrap(),
            recipient: serde_json::from_value(signed["recipient"].clone()).unwrap(),
            branch: serde_json::from_value(signed["branch"].clone()).unwrap(),
            deadline: U40::from(signed["deadline"].as_u64().unwrap()),
            owner: half("owner").into(),
            operator: half("operator").into(),
        };
        let taken = ChannelHub::withdrawCall { w };
        let hub = self.chain.placed.hub.address;
        call(&mut person.evm, "withdrawal", hub, &taken, 0).unwrap();
    }

    /// Dollars of an address on the chain.
    pub(crate) fn dollars(&self, person: &mut Person, account: Address) -> u128 {
        let balance = Token::balanceOfCall { account };
        let found = person.evm.read_from(self.dollar(), &balance).unwrap();
        found.to()
    }
}
