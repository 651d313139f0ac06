//! What is traded here and in which units: the market file as clients see it.
//!
//! The engine counts ticks, lots and engine units. Clients see the price of one whole unit of the base asset in whole units of the quote asset,
//! and quantities in whole units of the base asset. Always true: both have finitely many decimal places ([`Venue::load`] refuses an instrument
//! of which that is not so), so a conversion is exact or it is refused.

use crate::decimal;
use crate::problem::Problem;
use ring0_engine::Reason;
use ring0_market::{MarketError, Plan};
use std::collections::HashMap;
use std::path::Path;

/// Decimal places of a price at the most.
const PRICE_PLACES_MAX: u32 = 24;

/// Why a market cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum VenueError {
    /// The market file.
    #[error(transparent)]
    Market(#[from] MarketError),
    /// A price that cannot be written down.
    #[error(
        "a tick of {symbol} is no finite decimal number of the quote asset for one of the base asset (tick_value / lot_value); choose a lot_value that divides a power of ten times tick_value"
    )]
    Price {
        /// Which instrument.
        symbol: String,
    },
    /// More instruments than a locate can name.
    #[error("the market has {count} instruments; a locate names 65,535 at most")]
    TooMany {
        /// How many.
        count: usize,
    },
}

/// An asset.
#[derive(Clone, Debug)]
pub struct Asset {
    /// Its name.
    pub name: String,
    /// A whole unit is 10^places engine units.
    pub places: u32,
    /// A whole unit is 10^decimals base units, the chain's smallest.
    pub decimals: u32,
}

impl Asset {
    /// An amount of engine units as text in whole units.
    #[must_use]
    pub fn amount(&self, units: i128) -> String {
        decimal::format_signed(units, self.places)
    }
}

/// An instrument and its units.
#[derive(Clone, Debug)]
pub struct Instrument {
    /// Index; the locate is one more.
    pub index: u32,
    /// Number of its shard.
    pub shard: u32,
    /// Symbol.
    pub symbol: String,
    /// What is traded.
    pub base: Asset,
    /// What it is paid in.
    pub quote: Asset,
    /// Index of the quote asset.
    pub quote_index: u32,
    /// Wire price of a tick.
    pub tick_size: u32,
    /// Shares of a lot.
    pub lot_size: u32,
    /// Base engine units of a lot.
    pub lot_value: u64,
    /// Quote engine units of one lot at a price of one tick.
    pub tick_value: u32,
    /// A tick is `price_step` · 10^-`price_places`.
    pub price_step: u128,
    /// See `price_step`.
    pub price_places: u32,
    /// Most lots in one order.
    pub lots_max: u32,
    /// Lowest price in ticks and number of prices.
    pub ladder: (u32, u32),
    /// Fees in millionths.
    pub maker_ppm: i32,
    /// Fees in millionths.
    pub taker_ppm: u32,
}

impl Instrument {
    /// Number on the wire.
    #[must_use]
    pub fn locate(&self) -> u16 {
        (self.index + 1) as u16 // `Venue::load` has seen to it
    }

    /// A price in ticks as text.
    #[must_use]
    pub fn price(&self, ticks: u32) -> String {
        decimal::format(u128::from(ticks) * self.price_step, self.price_places)
    }

    /// A quantity in lots as text.
    #[must_use]
    pub fn quantity(&self, lots: u64) -> String {
        let units = u128::from(lots) * u128::from(self.lot_value);
        decimal::format(units, self.base.places)
    }

    /// Price times quantity, in ticks times lots, as text in the quote asset.
    #[must_use]
    pub fn notional(&self, ticks_lots: u128) -> String {
        let units = ticks_lots.saturating_mul(self.tick_value.into());
        decimal::format(units, self.quote.places)
    }

    /// The ticks that text says.
    ///
    /// # Errors
    /// It is no number, or no whole number of ticks.
    pub fn ticks(&self, text: &str, field: &str) -> Result<u32, Problem> {
        let finest = self.price(1);
        let refused = |what: &dyn std::fmt::Display| {
            Problem::field(
                field,
                format!(
                    "{what}; {} is priced in steps of {finest} {}",
                    self.symbol, self.quote.name
                ),
            )
        };
        let step = self.price_step;
        match decimal::parse(text, self.price_places) {
            Ok(units) if units % step == 0 => u32::try_from(units / step)
                .ok()
                .filter(|ticks| ticks.checked_mul(self.tick_size).is_some())
                .ok_or_else(|| refused(&"it is higher than any price")),
            Ok(_) | Err(decimal::DecimalError::TooFine { .. }) => {
                Err(Problem::reason(Reason::NotATick).about(field))
            }
            Err(error) => Err(refused(&error)),
        }
    }

    /// The lots that text says.
    ///
    /// # Errors
    /// It is no number, or no whole number of lots.
    pub fn lots(&self, text: &str, field: &str) -> Result<u32, Problem> {
        let lot = u128::from(self.lot_value);
        match decimal::parse(text, self.base.places) {
            Ok(units) if units % lot == 0 => u32::try_from(units / lot)
                .ok()
                .filter(|lots| lots.checked_mul(self.lot_size).is_some())
                .ok_or_else(|| Problem::reason(Reason::OrderTooLarge).about(field)),
            Ok(_) | Err(decimal::DecimalError::TooFine { .. }) => {
                Err(Problem::reason(Reason::NotALot).about(field))
            }
            Err(error) => Err(Problem::field(
                field,
                format!(
                    "{error}; {} is traded in lots of {} {}",
                    self.symbol,
                    self.quantity(1),
                    self.base.name
                ),
            )),
        }
    }
}

/// The venue.
#[derive(Clone, Debug)]
pub struct Venue {
    /// By asset index.
    pub assets: Vec<Asset>,
    /// By instrument index.
    pub instruments: Vec<Instrument>,
    /// Names of the market file's accounts, by index.
    pub accounts: Vec<String>,
    by_symbol: HashMap<String, u32>,
}

impl Venue {
    /// Reads the market file, all of its shards.
    ///
    /// # Errors
    /// The file is wrong, or an instrument has prices that cannot be written down.
    pub fn load(market: &Path) -> Result<(Venue, Vec<Plan>), VenueError> {
        let plans = Plan::load_all(market)?;
        let venue = Venue::of(&plans[0])?; // a market has a shard
        Ok((venue, plans))
    }

    /// What a plan says.
    ///
    /// # Errors
    /// An instrument has prices that cannot be written down.
    pub fn of(plan: &Plan) -> Result<Venue, VenueError> {
        let count = plan.instruments.len();
        if count > usize::from(u16::MAX) {
            return Err(VenueError::TooMany { count });
        }
        let assets: Vec<Asset> = plan
            .assets
            .iter()
            .map(|asset| Asset {
                name: asset.name.clone(),
                places: asset.places(),
                decimals: asset.decimals,
            })
            .collect();
        let mut instruments = Vec::with_capacity(count);
        for (index, it) in (0..).zip(&plan.instruments) {
            let (base, quote) = (
                assets[it.base_asset as usize].clone(),
                assets[it.quote_asset as usize].clone(),
            );
            let step = price_step(it.tick_value, it.lot_value, base.places, quote.places);
            let (price_step, price_places) = step.ok_or_else(|| VenueError::Price {
                symbol: it.symbol.clone(),
            })?;
            instruments.push(Instrument {
                index,
                shard: it.shard,
                symbol: it.symbol.clone(),
                base,
                quote,
                quote_index: it.quote_asset,
                tick_size: it.tick_size,
                lot_size: it.lot_size,
                lot_value: it.lot_value,
                tick_value: it.tick_value,
                price_step,
                price_places,
                lots_max: it.lots_max,
                ladder: (it.ladder_base, it.ladder_len),
                maker_ppm: it.maker_ppm,
                taker_ppm: it.taker_ppm,
            });
        }
        let by_symbol = instruments
            .iter()
            .map(|it| (it.symbol.clone(), it.index))
            .collect();
        let accounts = plan.accounts.iter().map(|it| it.name.clone()).collect();
        Ok(Venue {
            assets,
            instruments,
            accounts,
            by_symbol,
        })
    }

    /// Of instruments alone, which are told apart by their places.
    #[cfg(test)]
    pub(crate) fn of_instruments(instruments: Vec<Instrument>) -> Venue {
        Venue {
            assets: Vec::new(),
            instruments,
            accounts: Vec::new(),
            by_symbol: HashMap::new(),
        }
    }

    /// The instrument of a symbol.
    ///
    /// # Errors
    /// There is none.
    pub fn instrument(&self, symbol: &str) -> Result<&Instrument, Problem> {
        self.by_symbol
            .get(symbol)
            .map(|&index| &self.instruments[index as usize])
            .ok_or_else(|| {
                Problem::not_found(format!(
                    "no instrument {symbol:?}; GET /v1/instruments lists them"
                ))
            })
    }

    /// The account that a path names: a name of the market file, or an index.
    ///
    /// # Errors
    /// It is neither.
    pub fn account(&self, text: &str) -> Result<u32, Problem> {
        let named = self.accounts.iter().position(|name| name == text);
        named
            .and_then(|index| u32::try_from(index).ok())
            .or_else(|| text.strip_prefix('#').unwrap_or(text).parse().ok())
            .ok_or_else(|| {
                Problem::not_found(format!("no account {text:?}; give its name or its number"))
            })
    }

    /// What an account is called.
    #[must_use]
    pub fn account_name(&self, account: u32) -> String {
        match self.accounts.get(account as usize) {
            Some(name) => name.clone(),
            None => format!("#{account}"),
        }
    }
}

/// A tick in whole quote units for a whole base unit: mantissa and decimal places; `None` where that is no finite decimal.
fn price_step(
    tick_value: u32,
    lot_value: u64,
    base_places: u32,
    quote_places: u32,
) -> Option<(u128, u32)> {
    // tick_value · 10^-quote_places / (lot_value · 10^-base_places), over 10^-places.
    (0..=PRICE_PLACES_MAX).find_map(|places| {
        let up = 10_u128.checked_pow((base_places + places).checked_sub(quote_places)?)?;
        let numerator = u128::from(tick_value).checked_mul(up)?;
        let lot = u128::from(lot_value);
        (numerator % lot == 0).then_some((numerator / lot, places))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_a_decimal_or_refused() {
        // BTC-USD, ETH-USD and ETH-BTC of the example market.
        assert_eq!(price_step(100, 10_000, 8, 6), Some((1, 0)));
        assert_eq!(price_step(100, 100_000, 8, 6), Some((1, 1)));
        assert_eq!(price_step(1, 100_000, 8, 8), Some((1, 5)));
        assert_eq!(price_step(1, 3, 8, 8), None);
        assert_eq!(price_step(3, 3, 8, 8), Some((1, 0)));
    }

    #[test]
    fn text_is_ticks_and_lots() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../markets/example.toml");
        let (venue, _) = Venue::load(path.as_ref()).unwrap();
        let eth = venue.instrument("ETH-USD").unwrap();
        assert_eq!(eth.ticks("2500.1", "price").unwrap(), 25_001);
        assert_eq!(eth.price(25_001), "2500.1");
        assert_eq!(eth.lots("0.005", "quantity").unwrap(), 5);
        assert_eq!(eth.quantity(5), "0.005");
        assert_eq!(eth.notional(25_001 * 5), "12.5005");
        for (text, code) in [("2500.15", "NotATick"), ("x", "field")] {
            let problem = eth.ticks(text, "price").unwrap_err();
            assert_eq!(problem.code(), code, "{text}");
        }
        assert_eq!(
            eth.lots("0.0005", "quantity").unwrap_err().code(),
            "NotALot"
        );
        assert_eq!(venue.account("alice").unwrap(), 0);
        assert_eq!(venue.account("#12").unwrap(), 12);
        assert_eq!(venue.account("12").unwrap(), 12);
        assert!(venue.account("mallory").is_err());
    }
}
