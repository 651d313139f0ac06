//! Amounts in whole units of an asset, as people write them, and in engine units, as the shard counts them.

use ring0_engine::limits::AMOUNT_MAX;

/// `12.5` with 6 places is 12,500,000 engine units.
pub(crate) fn units(text: &str, places: u32) -> Result<u64, String> {
    let digits = text.replace('_', "");
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    let is_number = !whole.is_empty()
        && !digits.ends_with('.')
        && whole
            .bytes()
            .chain(fraction.bytes())
            .all(|byte| byte.is_ascii_digit());
    if !is_number {
        return Err(format!("{text:?} is no amount; write it as 12 or 12.5"));
    }
    let fraction = fraction.trim_end_matches('0');
    let missing = (places as usize).checked_sub(fraction.len()).ok_or_else(|| {
        format!("{text} has more than {places} decimal places, the asset's smallest amount; round it")
    })?;
    format!("0{whole}{fraction}{}", "0".repeat(missing))
        .parse()
        .ok()
        .filter(|&units| units <= AMOUNT_MAX)
        .ok_or_else(|| {
            format!(
                "{text} is too much; an account holds less than 2^63 of the asset's engine units"
            )
        })
}

/// Decimal places of a price on the wire.
const PRICE_PLACES: u32 = 4;

/// A price in price units as ticks of an instrument; `0` is 0, where that means none.
pub(crate) fn ticks(text: &str, tick_size: u32) -> Result<u32, String> {
    let wire = units(text, PRICE_PLACES)
        .map_err(|_| format!("{text:?} is no price; write it as 60000 or 60000.5"))?;
    let tick = u64::from(tick_size);
    u32::try_from(wire)
        .ok()
        .filter(|_| wire.is_multiple_of(tick))
        .map(|wire| wire / tick_size)
        .ok_or_else(|| {
            let tick = self::text(tick.into(), PRICE_PLACES);
            format!("{text} is not a price of this instrument; its prices are multiples of {tick}")
        })
}

/// Ticks of an instrument as a price in price units.
pub(crate) fn price(ticks: u32, tick_size: u32) -> String {
    text(i128::from(ticks) * i128::from(tick_size), PRICE_PLACES)
}

/// The other way round, without trailing zeros.
pub(crate) fn text(units: i128, places: u32) -> String {
    let sign = if units < 0 { "-" } else { "" };
    let digits = format!(
        "{:0width$}",
        units.unsigned_abs(),
        width = places as usize + 1
    );
    let (whole, fraction) = digits.split_at(digits.len() - places as usize);
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{whole}{point}{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_go_there_and_back() {
        for (written, places, number) in [
            ("12.5", 6, 12_500_000),
            ("0", 0, 0),
            ("0.000001", 6, 1),
            ("7", 8, 700_000_000),
            ("9223372036854775807", 0, AMOUNT_MAX),
        ] {
            assert_eq!(units(written, places), Ok(number));
            assert_eq!(text(number.into(), places), written);
        }
        assert_eq!(units("1_000.50", 2), Ok(100_050));
        assert_eq!(ticks("60000.5", 5_000), Ok(120_001));
        assert_eq!(price(120_001, 5_000), "60000.5");
        assert_eq!(ticks("0", 5_000), Ok(0));
        assert!(ticks("60000.25", 5_000).is_err() && ticks("1e3", 1).is_err());
        assert!(ticks("429496.7296", 1).is_err());
        assert_eq!(text(-15, 1), "-1.5");
        for bad in [
            "",
            ".5",
            "1.",
            "-1",
            "1e3",
            "1.23",
            "9223372036854775808",
            "x",
        ] {
            assert!(units(bad, 1).is_err(), "{bad}");
        }
    }
}
