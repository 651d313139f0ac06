//! Trades taken back. The engine checks the money; that a trade was one, and was not taken back before, only the records can prove.

use crate::daemon::Daemon;
use crate::protocol::Trade;
use ring0_engine::control::{Bust, ControlKind};
use ring0_engine::record::{Crossed, Filled, Head, Kind};
use serde_json::{Value, json};
use zerocopy::FromBytes;

impl Trade {
    /// The trade of a record, if it is one of a trade.
    #[must_use]
    pub fn of_record(record: &[u8]) -> Option<Trade> {
        let (head, _) = Head::read_from_prefix(record).ok()?;
        let instrument = head.locate.checked_sub(1)?;
        match Kind::from_number(head.kind)? {
            Kind::Filled => {
                let (it, _) = Filled::read_from_prefix(record).ok()?;
                let taker = (it.taker_account, it.taker_fee.cast_signed());
                let maker = (it.maker_account, it.maker_fee);
                let (buyer, seller) = match head.side {
                    b'B' => (taker, maker),
                    _ => (maker, taker),
                };
                Some(Trade {
                    instrument,
                    buyer: buyer.0,
                    seller: seller.0,
                    price: it.price,
                    lots: it.lots,
                    buyer_fee: buyer.1,
                    seller_fee: seller.1,
                })
            }
            Kind::Crossed => {
                let (it, _) = Crossed::read_from_prefix(record).ok()?;
                Some(Trade {
                    instrument,
                    buyer: it.buy_account,
                    seller: it.sell_account,
                    price: it.price,
                    lots: it.lots,
                    buyer_fee: it.buy_fee.cast_signed(),
                    seller_fee: it.sell_fee.cast_signed(),
                })
            }
            _ => None,
        }
    }
}

impl Daemon {
    /// Takes a trade back.
    pub(crate) fn bust(&mut self, trade: u64, terms: Option<&Trade>) -> Result<Value, String> {
        if self.busted.contains(&trade) {
            return Err(format!(
                "trade {trade} was taken back already; this daemon remembers, another would not: the recording is the proof"
            ));
        }
        let terms = match terms {
            Some(terms) => terms.clone(),
            None => {
                let record = self.shard.recorded(trade).ok_or_else(|| {
                    format!(
                        "record {trade} is not in the record ring (any more); give --records FILE with the recording, or the trade's terms"
                    )
                })?;
                Trade::of_record(&record).ok_or_else(|| {
                    format!(
                        "record {trade} is no trade; its number is that of the fill's own record"
                    )
                })?
            }
        };
        let mut answer = self.control(
            ControlKind::Bust,
            &Bust {
                trade,
                instrument: terms.instrument,
                buyer: terms.buyer,
                seller: terms.seller,
                price: terms.price,
                lots: terms.lots,
                reserved: 0,
                buyer_fee: terms.buyer_fee,
                seller_fee: terms.seller_fee,
            },
        )?;
        self.busted.insert(trade);
        answer["trade"] = json!({
            "number": trade,
            "instrument": self.market.plan.instruments.get(terms.instrument as usize).map(|one| &one.symbol),
            "buyer": self.market.plan.accounts.get(terms.buyer as usize).map(|one| &one.name),
            "seller": self.market.plan.accounts.get(terms.seller as usize).map(|one| &one.name),
            "price_ticks": terms.price,
            "lots": terms.lots,
        });
        Ok(answer)
    }
}
