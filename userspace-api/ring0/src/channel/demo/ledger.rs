//! Who owns what: deposits and withdrawals as the chain says, fills as the shard recorded them, netted per account and asset. In base units.

use crate::fail::Fail;
use ring0_engine::limits::SLOT_LEN;
use ring0_engine::record::{Filled, Head, Kind};
use ring0_market::Market;
use std::collections::BTreeMap;
use zerocopy::FromBytes;

/// Balances by account index and asset index.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    balances: BTreeMap<(u32, u32), i128>,
    /// What the venue earned, by asset.
    pub(super) fees: BTreeMap<u32, i128>,
    /// The last record that is in it.
    sequence: u64,
    /// Fills in it.
    pub(super) fills: u64,
}

impl Ledger {
    /// What an account owns.
    pub(super) fn balance(&self, account: u32, asset: u32) -> Result<u128, Fail> {
        let balance = self.balances.get(&(account, asset)).copied().unwrap_or(0);
        u128::try_from(balance).map_err(|_| {
            Fail::disagreed(format!(
                "account {account} owns {balance} of asset {asset}: the fills do not add up"
            ))
        })
    }

    /// Adds, or takes.
    pub(super) fn add(&mut self, account: u32, asset: u32, amount: i128) {
        *self.balances.entry((account, asset)).or_default() += amount;
    }

    /// Takes in the fills of a recording that are not in it yet. Each is there once: its record's number is the key.
    pub(super) fn take_in(&mut self, records: &[u8], market: &Market) -> Result<(), Fail> {
        let mut at = 0;
        while let Ok((head, _)) = Head::read_from_prefix(&records[at..]) {
            let own = &records[at..];
            at += usize::from(head.slots.max(1)) * SLOT_LEN;
            if head.sequence <= self.sequence {
                continue;
            }
            self.sequence = head.sequence;
            if head.kind != Kind::Filled as u16 {
                continue;
            }
            let cut = || Fail::disagreed("the recording ends in the middle of a fill");
            let (fill, _) = Filled::read_from_prefix(own).map_err(|_| cut())?;
            self.fill(&fill, market)?;
        }
        Ok(())
    }

    fn fill(&mut self, fill: &Filled, market: &Market) -> Result<(), Fail> {
        let place = fill.head.locate.checked_sub(1).unwrap_or(u32::MAX) as usize;
        let terms = market.plan.instruments.get(place);
        let terms = terms.ok_or_else(|| {
            Fail::disagreed(format!(
                "a fill of instrument {} that is not listed",
                fill.head.locate
            ))
        })?;
        let unit = |asset: u32| 10_i128.pow(market.plan.assets[asset as usize].unit_exponent);
        let (base, quote) = (terms.base_asset, terms.quote_asset);
        let lots = i128::from(fill.lots);
        let shares = lots * i128::from(terms.lot_value) * unit(base);
        let worth = lots * i128::from(fill.price) * i128::from(terms.tick_value) * unit(quote);
        let maker_fee = i128::from(fill.maker_fee) * unit(quote);
        let taker_fee = i128::from(fill.taker_fee) * unit(quote);
        let side = match fill.head.side {
            b'B' => 1,
            _ => -1,
        };
        self.add(fill.taker_account, base, side * shares);
        self.add(fill.taker_account, quote, -side * worth - taker_fee);
        self.add(fill.maker_account, base, -side * shares);
        self.add(fill.maker_account, quote, side * worth - maker_fee);
        *self.fees.entry(quote).or_default() += maker_fee + taker_fee;
        self.fills += 1;
        Ok(())
    }
}
