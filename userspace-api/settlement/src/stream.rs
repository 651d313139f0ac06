//! The records of one shard as the ledger takes them: cells, instruments as they were listed, fee schedules. The hot path is [`Stream::exchange`].
//!
//! Always true: `last` is the sequence of the last record taken, and every record before it was taken once.

use crate::book::FeePart;
use crate::cell::Cells;
use crate::error::LedgerError;
use crate::id::{AssetId, PeerId};
use crate::schedule::Schedule;
use ring0_engine::control::{Body, Bust, Control, Deposit, List, SettlementMark};
use ring0_engine::control::{TransferIn, TransferOut};
use ring0_engine::limits::AMOUNT_MAX;
use ring0_engine::record::{ControlRecord, Crossed, Filled};
use zerocopy::FromZeros;

/// More than a shard of 4 GiB can have: an index above it is damage, and not a reason to ask for memory.
const INSTRUMENTS_MAX: u32 = 1 << 22;

/// An instrument as its last listing says.
#[derive(Clone, Copy, Debug)]
struct Listing {
    base: u32,
    quote: u32,
    lot_value: u64,
    tick_value: u32,
    /// Its schedule, by number.
    schedule: u32,
}

/// A schedule and what it brought in, engine units, by [`FeePart`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Fees {
    pub(crate) schedule: Schedule,
    /// Base and value, to make the listing again from.
    pub(crate) base: u32,
    pub(crate) lot_value: u64,
    pub(crate) tick_value: u32,
    pub(crate) taken: [i128; FeePart::ALL.len()],
    pub(crate) dirty: bool,
}

/// What a record moved beside cells: the ledger posts the other side.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Moved {
    /// By the market file or by hand: engine units, negative out.
    Granted {
        account: u32,
        asset: u32,
        units: i64,
    },
    /// A mark of an account by a batch.
    Marked {
        account: u32,
        epoch: u64,
    },
    Out(TransferOut),
    In(TransferIn),
    /// A trade was taken back: what it changed, engine units.
    Busted([(u32, u32, i64); 4]),
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) shard: PeerId,
    pub(crate) last: u64,
    pub(crate) cells: Cells,
    listings: Vec<Option<Listing>>,
    pub(crate) fees: Vec<Fees>,
    /// Moved in less moved out by all but trades, engine units, by asset.
    pub(crate) moved: Vec<i128>,
    pub(crate) fills: u64,
    pub(crate) postings: u64,
}

/// A trade, sides told apart.
struct Trade {
    locate: u32,
    price: u32,
    lots: u32,
    buyer: u32,
    seller: u32,
    buyer_fee: i64,
    seller_fee: i64,
}

impl Stream {
    pub(crate) fn new(shard: PeerId, assets: usize, accounts_max: u32) -> Stream {
        Stream {
            shard,
            last: 0,
            cells: Cells::new(assets, accounts_max),
            listings: Vec::new(),
            fees: Vec::new(),
            moved: vec![0; assets],
            fills: 0,
            postings: 0,
        }
    }

    #[cold]
    fn impossible(&self, sequence: u64, what: &str) -> LedgerError {
        LedgerError::Impossible {
            shard: self.shard,
            sequence,
            what: what.to_owned(),
        }
    }

    /// Control totals: what the customers have here by what came in, less fees; by asset, engine units.
    pub(crate) fn control(&self) -> Vec<i128> {
        let mut totals = self.moved.clone();
        for fees in &self.fees {
            totals[fees.schedule.asset.0 as usize] -= fees.taken.iter().sum::<i128>();
        }
        totals
    }

    #[inline]
    pub(crate) fn filled(&mut self, fill: &Filled) -> Result<(), LedgerError> {
        let sequence = fill.head.sequence;
        let Ok(taker_fee) = i64::try_from(fill.taker_fee) else {
            return Err(self.impossible(sequence, "the taker's fee is beyond 2^63"));
        };
        let taker_buys = fill.head.side == b'B';
        let (maker, taker) = (
            (fill.maker_account, fill.maker_fee),
            (fill.taker_account, taker_fee),
        );
        let (buyer, seller) = if taker_buys {
            (taker, maker)
        } else {
            (maker, taker)
        };
        let trade = Trade {
            locate: fill.head.locate,
            price: fill.price,
            lots: fill.lots,
            buyer: buyer.0,
            seller: seller.0,
            buyer_fee: buyer.1,
            seller_fee: seller.1,
        };
        let schedule = self.exchange(&trade, sequence)?;
        let fees = &mut self.fees[schedule as usize];
        fees.dirty = true;
        fees.taken[FeePart::Taker as usize] += i128::from(taker_fee);
        let part = if fill.maker_fee < 0 {
            FeePart::Rebate
        } else {
            FeePart::Maker
        };
        fees.taken[part as usize] += i128::from(fill.maker_fee);
        Ok(())
    }

    pub(crate) fn crossed(&mut self, cross: &Crossed) -> Result<(), LedgerError> {
        let sequence = cross.head.sequence;
        let fees = (i64::try_from(cross.buy_fee), i64::try_from(cross.sell_fee));
        let (Ok(buyer_fee), Ok(seller_fee)) = fees else {
            return Err(self.impossible(sequence, "a fee is beyond 2^63"));
        };
        let trade = Trade {
            locate: cross.head.locate,
            price: cross.price,
            lots: cross.lots,
            buyer: cross.buy_account,
            seller: cross.sell_account,
            buyer_fee,
            seller_fee,
        };
        let schedule = self.exchange(&trade, sequence)?;
        let fees = &mut self.fees[schedule as usize];
        fees.dirty = true;
        fees.taken[FeePart::Auction as usize] += i128::from(buyer_fee) + i128::from(seller_fee);
        Ok(())
    }

    /// Base and quote amounts of a trade, and its listing.
    #[inline(always)]
    fn worth(
        &self,
        locate: u32,
        price: u32,
        lots: u32,
        sequence: u64,
    ) -> Result<(u64, u64, Listing), LedgerError> {
        let place = locate.wrapping_sub(1) as usize;
        let Some(listing) = self.listings.get(place).copied().flatten() else {
            return Err(self.impossible(sequence, "a trade of an instrument that is not listed"));
        };
        let lots = u64::from(lots);
        let base = lots.checked_mul(listing.lot_value);
        let paid = (lots * u64::from(price)).checked_mul(listing.tick_value.into());
        match (base, paid) {
            (Some(base), Some(paid)) if base <= AMOUNT_MAX && paid <= AMOUNT_MAX => {
                Ok((base, paid, listing))
            }
            _ => Err(self.impossible(sequence, "a trade is worth more than 2^63 units")),
        }
    }

    /// Buyer and seller exchange what a trade is worth, and pay their fees. Gives the schedule.
    #[inline(always)]
    fn exchange(&mut self, trade: &Trade, sequence: u64) -> Result<u32, LedgerError> {
        let (base, paid, listing) = self.worth(trade.locate, trade.price, trade.lots, sequence)?;
        let places = (
            self.cells.place(trade.buyer, listing.base),
            self.cells.place(trade.buyer, listing.quote),
            self.cells.place(trade.seller, listing.base),
            self.cells.place(trade.seller, listing.quote),
        );
        let (Some(buyer_base), Some(buyer_quote), Some(seller_base), Some(seller_quote)) = places
        else {
            return Err(self.impossible(sequence, "a trade of an account that cannot be"));
        };
        let mut least = 0;
        let mut change = |place, out: u64, received, given, fee: i64| {
            let cell = self.cells.at(place);
            cell.outflow = cell.outflow.wrapping_add(out);
            cell.received += u128::from(received);
            cell.given += u128::from(given);
            cell.fee = cell.fee.wrapping_add(fee);
            least = cell.balance().min(least);
        };
        let (buyer_fee, seller_fee) = (
            trade.buyer_fee.cast_unsigned(),
            trade.seller_fee.cast_unsigned(),
        );
        let cost = paid.wrapping_add(buyer_fee);
        let proceeds = paid.wrapping_sub(seller_fee);
        change(buyer_quote, cost, 0, paid, trade.buyer_fee);
        change(buyer_base, base.wrapping_neg(), base, 0, 0);
        change(seller_base, base, 0, base, 0);
        change(
            seller_quote,
            proceeds.wrapping_neg(),
            paid,
            0,
            trade.seller_fee,
        );
        if least < 0 {
            return Err(self.impossible(sequence, "a trade takes more than the account has"));
        }
        self.fills += 1;
        self.postings += 4 + 2 * (u64::from(buyer_fee != 0) + u64::from(seller_fee != 0));
        Ok(listing.schedule)
    }

    /// An accepted control command. Gives what it moved beside cells.
    pub(crate) fn control_record(
        &mut self,
        record: &ControlRecord,
    ) -> Result<Option<Moved>, LedgerError> {
        use ring0_engine::control::ControlKind as Kind;
        let sequence = record.head.sequence;
        let is = |kind: Kind| record.kind == kind as u32;
        if is(Kind::List) {
            self.list(&body(record), sequence)?;
        } else if is(Kind::Deposit) || is(Kind::Withdraw) {
            let given: Deposit = body(record);
            let Ok(units) = i64::try_from(given.amount) else {
                return Err(self.impossible(sequence, "an amount is beyond 2^63"));
            };
            let units = if is(Kind::Deposit) { units } else { -units };
            let (account, asset) = (given.account, given.asset);
            self.shift(account, asset, units, sequence)?;
            return Ok(Some(Moved::Granted {
                account,
                asset,
                units,
            }));
        } else if is(Kind::TransferOut) {
            let out: TransferOut = body(record);
            let Ok(units) = i64::try_from(out.amount) else {
                return Err(self.impossible(sequence, "an amount is beyond 2^63"));
            };
            self.shift(out.account, out.asset, -units, sequence)?;
            return Ok(Some(Moved::Out(out)));
        } else if is(Kind::TransferIn) {
            let into: TransferIn = body(record);
            let Ok(units) = i64::try_from(into.amount) else {
                return Err(self.impossible(sequence, "an amount is beyond 2^63"));
            };
            self.shift(into.account, into.asset, units, sequence)?;
            return Ok(Some(Moved::In(into)));
        } else if is(Kind::SettlementMark) {
            let mark: SettlementMark = body(record);
            let Some(place) = self.cells.place(mark.account, mark.asset) else {
                return Err(self.impossible(sequence, "a mark of an account that cannot be"));
            };
            let cell = self.cells.at(place);
            cell.marked = cell.marked.wrapping_add(mark.covered.cast_unsigned());
            let (account, epoch) = (mark.account, mark.epoch);
            return Ok(Some(Moved::Marked { account, epoch }));
        } else if is(Kind::Bust) {
            return self.bust(&body(record), sequence).map(Some);
        }
        // All other commands move orders, sessions and states, and no money.
        Ok(None)
    }

    /// Moves engine units into a cell from elsewhere, or out of it.
    fn shift(
        &mut self,
        account: u32,
        asset: u32,
        units: i64,
        sequence: u64,
    ) -> Result<(), LedgerError> {
        let Some(place) = self.cells.place(account, asset) else {
            return Err(self.impossible(sequence, "money of an account or asset that cannot be"));
        };
        let cell = self.cells.at(place);
        cell.moved = cell.moved.wrapping_add(units.cast_unsigned());
        let overdrawn = cell.balance() < 0;
        self.moved[asset as usize] += i128::from(units);
        self.postings += 2;
        if overdrawn {
            return Err(self.impossible(sequence, "it takes more than the account has"));
        }
        Ok(())
    }

    fn list(&mut self, list: &List, sequence: u64) -> Result<(), LedgerError> {
        let assets = self.moved.len();
        if list.base_asset as usize >= assets || list.quote_asset as usize >= assets {
            return Err(self.impossible(sequence, "a listing of assets that are not the venue's"));
        }
        if list.instrument >= INSTRUMENTS_MAX {
            return Err(self.impossible(sequence, "an instrument beyond what a shard has"));
        }
        let fees = Fees {
            schedule: Schedule {
                shard: self.shard,
                number: self.fees.len() as u32,
                instrument: list.instrument,
                since: sequence,
                asset: AssetId(list.quote_asset),
                maker_ppm: list.maker_ppm,
                taker_ppm: list.taker_ppm,
            },
            base: list.base_asset,
            lot_value: list.lot_value,
            tick_value: list.tick_value,
            taken: [0; FeePart::ALL.len()],
            dirty: true,
        };
        self.adopt(fees);
        Ok(())
    }

    /// The next schedule: its instrument is listed by it from now on.
    pub(crate) fn adopt(&mut self, fees: Fees) {
        let place = fees.schedule.instrument as usize;
        if place >= self.listings.len() {
            self.listings.resize(place + 1, None);
        }
        self.listings[place] = Some(Listing {
            base: fees.base,
            quote: fees.schedule.asset.0,
            lot_value: fees.lot_value,
            tick_value: fees.tick_value,
            schedule: fees.schedule.number,
        });
        self.fees.push(fees);
    }

    /// The reverse of a trade, as the engine does it: its outflow too.
    fn bust(&mut self, bust: &Bust, sequence: u64) -> Result<Moved, LedgerError> {
        let locate = bust.instrument.wrapping_add(1);
        let (base, paid, listing) = self.worth(locate, bust.price, bust.lots, sequence)?;
        // The engine takes no fee above what is paid, so neither sum wraps: see `bust.rs` of the engine.
        let (base, paid) = (base.cast_signed(), paid.cast_signed());
        let back = paid.checked_add(bust.buyer_fee);
        let proceeds = paid.checked_sub(bust.seller_fee);
        let (Some(back), Some(proceeds)) = (back, proceeds) else {
            return Err(self.impossible(sequence, "a fee is beyond what is paid"));
        };
        let changes = [
            (bust.buyer, listing.quote, back),
            (bust.buyer, listing.base, -base),
            (bust.seller, listing.base, base),
            (bust.seller, listing.quote, -proceeds),
        ];
        let mut overdrawn = false;
        for (account, asset, units) in changes {
            let Some(place) = self.cells.place(account, asset) else {
                return Err(self.impossible(sequence, "a bust of an account that cannot be"));
            };
            let cell = self.cells.at(place);
            cell.outflow = cell.outflow.wrapping_sub(units.cast_unsigned());
            overdrawn |= cell.balance() < 0;
        }
        if overdrawn {
            return Err(self.impossible(sequence, "a bust takes more than the account has"));
        }
        let fees = &mut self.fees[listing.schedule as usize];
        fees.dirty = true;
        fees.taken[FeePart::Bust as usize] -=
            i128::from(bust.buyer_fee) + i128::from(bust.seller_fee);
        self.postings +=
            4 + 2 * u64::from(bust.buyer_fee != 0) + 2 * u64::from(bust.seller_fee != 0);
        Ok(Moved::Busted(changes))
    }
}

fn body<B: Body>(record: &ControlRecord) -> B {
    let mut control = Control::new_zeroed();
    control.body = record.body;
    control.body()
}
