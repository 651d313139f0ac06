//! Amounts as people write them: whole units of an asset, exact, never a float.

use ring0_engine::limits::AMOUNT_MAX;
use serde::Deserialize;

/// An integer, or text with a decimal point.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "an integer, or a decimal number in quotes such as \"0.5\""
)]
pub(crate) enum Amount {
    Whole(u64),
    Decimal(String),
}

impl Amount {
    /// The amount in engine units of 10^-`places` each.
    pub(crate) fn units(&self, places: u32) -> Result<u64, String> {
        let (whole, fraction) = match self {
            Amount::Whole(whole) => (whole.to_string(), String::new()),
            Amount::Decimal(text) => {
                let digits = text.replace('_', "");
                let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
                let is_number = !whole.is_empty()
                    && whole
                        .bytes()
                        .chain(fraction.bytes())
                        .all(|b| b.is_ascii_digit())
                    && !digits.ends_with('.');
                if !is_number {
                    return Err(format!("{text:?} is not a decimal number"));
                }
                (whole.to_owned(), fraction.trim_end_matches('0').to_owned())
            }
        };
        let missing = (places as usize)
            .checked_sub(fraction.len())
            .ok_or_else(|| {
                format!("it has more than {places} decimal places, the asset's engine unit")
            })?;
        let units = format!("{whole}{fraction}{}", "0".repeat(missing));
        match units.trim_start_matches('0') {
            "" => Ok(0),
            significant => significant
                .parse()
                .ok()
                .filter(|&units| units <= AMOUNT_MAX)
                .ok_or_else(|| "in engine units it is not below 2^63".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_read_exactly() {
        let text = |text: &str| Amount::Decimal(text.into());
        assert_eq!(Amount::Whole(12).units(6), Ok(12_000_000));
        assert_eq!(text("0.5").units(6), Ok(500_000));
        assert_eq!(text("1_000.250").units(2), Ok(100_025));
        assert_eq!(text("0.000001").units(6), Ok(1));
        assert_eq!(text("0").units(0), Ok(0));
        assert_eq!(text("9223372036854775807").units(0), Ok(AMOUNT_MAX));
        for bad in [
            "", ".", "1.", ".5", "-1", "+1", "1e6", "0x1", "1.2.3", "1,5", " 1",
        ] {
            assert!(text(bad).units(6).is_err(), "{bad}");
        }
        assert!(text("0.0000001").units(6).is_err());
        assert!(text("9223372036854775808").units(0).is_err());
        assert!(Amount::Whole(u64::MAX).units(18).is_err());
    }

    proptest! {
        #[test]
        fn every_amount_comes_back(units in 0..=AMOUNT_MAX, places in 0..=18_u32) {
            let scale = 10_u64.pow(places);
            let (whole, fraction) = (units / scale, units % scale);
            let text = if places == 0 {
                whole.to_string()
            } else {
                format!("{whole}.{fraction:0width$}", width = places as usize)
            };
            prop_assert_eq!(Amount::Decimal(text).units(places), Ok(units));
        }
    }
}
