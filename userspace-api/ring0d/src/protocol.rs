//! What an operator says to the daemon: one JSON object a line, answered by one.
//!
//! An answer has `ok`; where it is false `error` says what and what to do. Amounts are text in whole units of their asset, prices text in
//! price units. An account that the market file does not have is named by its number, `#12`, a session that was granted at run time likewise.

use ring0_engine::record::State;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// One line to the daemon.
pub type Request = Verb;

/// What is asked.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "verb", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Verb {
    /// Adds to an account's available balance.
    Deposit {
        /// Account name.
        account: String,
        /// Asset name.
        asset: String,
        /// Whole units, for instance `12.5`.
        amount: String,
    },
    /// Takes from an account's available balance.
    Withdraw {
        /// Account name.
        account: String,
        /// Asset name.
        asset: String,
        /// Whole units.
        amount: String,
    },
    /// Moves an amount of an account's allotment here to the one in another shard.
    Transfer {
        /// Account name.
        account: String,
        /// Asset name.
        asset: String,
        /// Whole units.
        amount: String,
        /// Name of the other shard, or of the rail: then it is a withdrawal, and the rail is told when it is on the journal's disk.
        to: String,
        /// The number that it is to have; one that the account has used already does nothing. Not given: the next.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        number: Option<u64>,
    },
    /// Said by the daemon of another shard, or by a rail: takes in what that one has debited. Once a number; again does no harm. The answer
    /// says whether it is on the journal's disk (`durable`): a rail says it again until it is.
    Credit {
        /// Account name.
        account: String,
        /// Asset name.
        asset: String,
        /// Engine units.
        units: u64,
        /// Number of the transfer.
        number: u64,
        /// Name of the other shard or the rail.
        from: String,
    },
    /// Opens an account that the market file does not have; one that is open already is left as it is.
    OpenAccount {
        /// Its number behind `#`, below the shard's capacity.
        account: String,
    },
    /// Grants a session to an account. The same key and nonce again: the same answer.
    Grant(Grant),
    /// Ends a session that was granted at run time: its key is gone and its orders are cancelled.
    Revoke {
        /// Its number behind `#`.
        session: String,
        /// Its id, so that nobody else's is ended: a number is used again.
        id: String,
    },
    /// Makes a new agreement key: sessions granted from now on are agreed with it.
    RenewAgreement,
    /// Settlement marks of a batch: what it covered of accounts' net outflow.
    Marks {
        /// The batch.
        epoch: u64,
        /// Account's and asset's number, and engine units.
        marks: Vec<(u32, u32, i64)>,
    },
    /// Limits of un-co-signed outflow.
    Limits {
        /// Account's and asset's number, and engine units; none: no limit.
        limits: Vec<(u32, u32, Option<u64>)>,
    },
    /// Halts every instrument of this shard that is traded in an asset or paid in it: cancels work. Again it is `known`.
    HaltAsset {
        /// Asset name.
        asset: String,
    },
    /// Limits an account's un-co-signed outflow in an asset; without an amount: no limit.
    Limit {
        /// Account name.
        account: String,
        /// Asset name.
        asset: String,
        /// Whole units.
        amount: Option<String>,
    },
    /// Sets what an account may ask and how often; what is not given has no limit.
    Risk {
        /// Account name.
        account: String,
        /// Most live orders.
        orders: Option<u32>,
        /// Most shares in one order.
        shares: Option<u32>,
        /// Largest notional of one order: an asset's name and whole units of it.
        notional: Option<(String, String)>,
        /// Messages a second of all its sessions together, and how many of them at once.
        rate: Option<(u32, u32)>,
    },
    /// Sets what self-trade prevention does for an account's orders that do not say so, and its trade group.
    SelfTrade {
        /// Account name.
        account: String,
        /// What it does.
        mode: Prevention,
        /// Trade group; 0: none.
        #[serde(default)]
        group: u16,
    },
    /// Stops an instrument, or the whole shard.
    Halt {
        /// Symbol.
        instrument: Option<String>,
    },
    /// Lifts a halt: the instrument trades continuously.
    Resume {
        /// Symbol.
        instrument: Option<String>,
    },
    /// The kill switch: cancels all orders of a session and takes no more.
    Kill {
        /// Session name.
        session: String,
    },
    /// Lifts a kill.
    Revive {
        /// Session name.
        session: String,
    },
    /// The kill switch of an account, all its sessions.
    KillAccount {
        /// Account name.
        account: String,
    },
    /// Lifts a kill of an account.
    ReviveAccount {
        /// Account name.
        account: String,
    },
    /// Changes the state of an instrument's market.
    State {
        /// Symbol.
        instrument: String,
        /// The state.
        state: MarketState,
    },
    /// Ends an instrument's call and carries the auction out, at the price at which most trades.
    Auction {
        /// Symbol.
        instrument: String,
        /// The state afterwards; not given: closed after a closing auction, else continuous.
        then: Option<Afterwards>,
        /// Another price to begin with, in price units.
        price: Option<String>,
    },
    /// Sets price limits of a closed or halted instrument; what is not given stays as it is, 0 takes it away.
    Bands {
        /// Symbol.
        instrument: String,
        /// Lowest and highest price in price units; both 0: the whole ladder.
        band: Option<(String, String)>,
        /// Farthest from the last trade, in ticks.
        dynamic: Option<u32>,
        /// Farthest beyond the best price of the other side, in ticks.
        fat: Option<u32>,
        /// A trade farther than this from the last auction pauses trading, in ticks.
        pause: Option<u32>,
        /// Reference price in price units.
        reference: Option<String>,
    },
    /// Cancels all orders of an instrument.
    Clear {
        /// Symbol.
        instrument: String,
        /// Only of this side.
        side: Option<BookSide>,
    },
    /// Closes instruments and takes away the orders that do not last beyond the day.
    CloseDay {
        /// Only this one.
        instrument: Option<String>,
    },
    /// Opens a day; every instrument is closed.
    OpenDay {
        /// Its number, above the last one; not given: one more.
        day: Option<u32>,
        /// Venue time of its midnight, `hours:minutes:seconds`; not given: of the present day by the machine's clock (UTC).
        midnight: Option<String>,
        /// MoldUDP64 session of its public feed, ten letters and digits; not given: the day's number.
        feed_session: Option<String>,
    },
    /// Takes away all orders of a closed instrument and its listing.
    Delist {
        /// Symbol.
        instrument: String,
    },
    /// Lists an instrument of the market file, which is read anew.
    List {
        /// Symbol.
        instrument: String,
    },
    /// Moves the ladder of a closed or halted instrument; orders off the new one go.
    MoveLadder {
        /// Symbol.
        instrument: String,
        /// Lowest price in price units.
        lowest: String,
        /// Number of prices.
        prices: u32,
    },
    /// Takes a trade back, with its fees.
    Bust {
        /// Its match number: the sequence of its record.
        trade: u64,
        /// What its record says; not given: the daemon looks for it in the record ring.
        terms: Option<Trade>,
    },
    /// Moves the shard in the kernel to the capacity of another market file, while its clients go on.
    Migrate {
        /// The file, which differs in capacity alone, with a shard's name behind `#` where it has several; a path that the daemon can open.
        market: PathBuf,
        /// Folder of the next journal: gets the state as a snapshot, from which that one goes on; made, or empty.
        journal: Option<PathBuf>,
        /// Another program object than the daemon's own.
        object: Option<PathBuf>,
    },
    /// Compares a market file with the shard and sequences what differs, all of it or nothing.
    Apply {
        /// The file, with a shard's name behind `#` where it has several; a path that the daemon can open.
        market: PathBuf,
        /// Only compare.
        #[serde(default)]
        dry_run: bool,
    },
    /// How the shard is.
    Status {
        /// Also the hash of the state; the shard must be quiet or halted.
        #[serde(default)]
        hash: bool,
    },
    /// Accounts with their balances.
    Accounts,
    /// All numbers in Prometheus' text format, under `text`.
    Metrics,
}

/// Whose session, with whom it is agreed, and what it may do; what is not given has no limit.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Account name, or `#` and its number.
    pub account: String,
    /// The trader's session key: a compressed secp256k1 point, 66 hexadecimal digits.
    pub public_key: String,
    /// The trader's nonce, 32 hexadecimal digits.
    pub nonce: String,
    /// Second of Unix time at which it ends for new orders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_s: Option<u64>,
    /// Stored answers, a power of two from 128; not given: 256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<u32>,
    /// Window of client references, a power of two from 16; not given: 1,024.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub references: Option<u32>,
    /// Messages a second, and how many at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<(u32, u32)>,
    /// Most live orders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orders: Option<u32>,
    /// Most shares in one order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<u32>,
    /// Largest notional of one order: an asset's name and whole units of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notional: Option<(String, String)>,
    /// Seconds without a packet after which its orders are cancelled; 0: they stay.
    #[serde(default)]
    pub cancel_on_disconnect_s: u32,
}

/// A trade as its record says it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Trade {
    /// Instrument index.
    pub instrument: u32,
    /// Account index of the buyer.
    pub buyer: u32,
    /// Account index of the seller.
    pub seller: u32,
    /// Price in ticks.
    pub price: u32,
    /// Lots.
    pub lots: u32,
    /// Fee of the buyer in quote engine units, negative for a rebate.
    pub buyer_fee: i64,
    /// Fee of the seller.
    pub seller_fee: i64,
}

macro_rules! words {
    ($($(#[$doc:meta])+ $name:ident as $type:ty { $($(#[$word_doc:meta])+ $word:ident = $meaning:expr,)+ })+) => {$(
        $(#[$doc])+
        #[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, clap::ValueEnum)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name { $($(#[$word_doc])+ $word,)+ }

        impl $name {
            /// What the engine calls it.
            #[must_use]
            pub fn meaning(self) -> $type {
                match self {
                    $($name::$word => $meaning,)+
                }
            }
        }
    )+};
}

words! {
    /// A state that an operator can ask for.
    MarketState as State {
        /// No entry; cancels work.
        Closed = State::Closed,
        /// Orders are collected.
        PreOpen = State::PreOpen,
        /// Orders are collected for the opening auction.
        OpeningAuction = State::OpeningAuction,
        /// Orders match as they come.
        Continuous = State::Continuous,
        /// Volatility pause: orders are collected for an auction.
        Pause = State::VolatilityPause,
        /// Orders are collected for the closing auction.
        ClosingAuction = State::ClosingAuction,
        /// No entry; cancels work.
        Halted = State::Halted,
    }

    /// A state after an auction.
    Afterwards as State {
        /// Orders match as they come.
        Continuous = State::Continuous,
        /// No entry; cancels work.
        Closed = State::Closed,
        /// No entry; cancels work.
        Halted = State::Halted,
    }

    /// Sides of a book.
    BookSide as u8 {
        /// Bids.
        Buy = b'B',
        /// Asks.
        Sell = b'S',
        /// Both.
        Both = b' ',
    }

    /// What self-trade prevention does.
    Prevention as u32 {
        /// Nothing.
        None = 0,
        /// The incoming order is cancelled.
        CancelNewest = 1,
        /// The resting order is cancelled.
        CancelOldest = 2,
        /// Both are cancelled.
        CancelBoth = 3,
        /// Both lose the smaller of the two quantities.
        Decrement = 4,
    }
}

/// A state's name in answers: those of [`MarketState`], and `uncrossing`.
#[must_use]
pub fn state_name(state: State) -> &'static str {
    match state {
        State::Closed => "closed",
        State::PreOpen => "pre-open",
        State::OpeningAuction => "opening-auction",
        State::Continuous => "continuous",
        State::VolatilityPause => "pause",
        State::ClosingAuction => "closing-auction",
        State::Halted => "halted",
        State::Uncrossing => "uncrossing",
    }
}

/// Where the daemon of a shard listens when nothing else is said.
#[must_use]
pub fn default_socket(shard: &str) -> PathBuf {
    PathBuf::from("/run/ring0").join(format!("{shard}.sock"))
}
