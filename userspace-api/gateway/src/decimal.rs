//! Exact decimal numbers as text: how every price, quantity and amount crosses the interface.
//!
//! Always true: no float is anywhere between a client's text and the engine's number; equal numbers have equal text (no trailing zeros, no
//! exponent, no plus sign), so that text can be compared and hashed.

/// Digits of a number at the most, point excluded: what 128 bits surely hold.
const DIGITS_MAX: usize = 38;

/// Why text is no number.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DecimalError {
    /// Not digits with at most one point between them.
    #[error("it is not a decimal number such as \"12.5\"")]
    NotANumber,
    /// More digits than any amount has.
    #[error("it has more than 38 digits")]
    TooLong,
    /// More places behind the point than the unit has.
    #[error("it has more than {places} decimal places")]
    TooFine {
        /// How many there may be.
        places: u32,
    },
}

/// `units` of 10^-`places` each, as text.
#[must_use]
pub fn format(units: u128, places: u32) -> String {
    let digits = units.to_string();
    let places = places as usize;
    let padded = format!("{digits:0>width$}", width = places + 1);
    let (whole, fraction) = padded.split_at(padded.len() - places);
    match fraction.trim_end_matches('0') {
        "" => whole.to_owned(),
        fraction => format!("{whole}.{fraction}"),
    }
}

/// As [`format()`], of a number that may be negative.
#[must_use]
pub fn format_signed(units: i128, places: u32) -> String {
    let text = format(units.unsigned_abs(), places);
    if units < 0 { format!("-{text}") } else { text }
}

/// The number of units of 10^-`places` that the text says.
///
/// # Errors
/// It says none, or a part of one.
pub fn parse(text: &str, places: u32) -> Result<u128, DecimalError> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) {
        return Err(DecimalError::NotANumber);
    }
    let fraction = fraction.trim_end_matches('0');
    let missing = (places as usize)
        .checked_sub(fraction.len())
        .ok_or(DecimalError::TooFine { places })?;
    let whole = whole.trim_start_matches('0');
    if whole.len() + fraction.len() + missing > DIGITS_MAX {
        return Err(DecimalError::TooLong);
    }
    let digits = format!("{whole}{fraction}{}", "0".repeat(missing));
    if digits.is_empty() {
        return Ok(0);
    }
    digits.parse().map_err(|_| DecimalError::TooLong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_is_exact_and_has_one_form() {
        let check = |units, places, text: &str| {
            assert_eq!(format(units, places), text);
            assert_eq!(parse(text, places), Ok(units));
        };
        check(0, 0, "0");
        check(0, 8, "0");
        check(1, 8, "0.00000001");
        check(1_250_000, 6, "1.25");
        check(100, 0, "100");
        check(u128::from(u64::MAX), 4, "1844674407370955.1615");
        assert_eq!(format_signed(-5, 1), "-0.5");
        assert_eq!(parse("007.50", 2), Ok(750));
        for bad in [
            "", ".", "1.", ".5", "-1", "+1", "1e6", "0x1", "1.2.3", "1,5", " 1", "١",
        ] {
            assert_eq!(parse(bad, 6), Err(DecimalError::NotANumber), "{bad}");
        }
        assert_eq!(parse("0.001", 2), Err(DecimalError::TooFine { places: 2 }));
        assert_eq!(parse(&"9".repeat(39), 0), Err(DecimalError::TooLong));
    }

    proptest! {
        #[test]
        fn every_number_comes_back(units in 0..u128::from(u64::MAX), places in 0_u32..19) {
            prop_assert_eq!(parse(&format(units, places), places), Ok(units));
        }
    }
}
