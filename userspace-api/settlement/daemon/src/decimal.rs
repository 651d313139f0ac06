//! Amounts in JSON as decimal text: most readers keep 53 bits of a number.

use serde::{Deserialize, Deserializer, Serializer, de::Error};
use std::fmt::Display;
use std::str::FromStr;

pub(crate) fn serialize<N: Display, S: Serializer>(number: &N, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(number)
}

pub(crate) fn deserialize<'de, N: FromStr, D: Deserializer<'de>>(from: D) -> Result<N, D::Error> {
    let text = String::deserialize(from)?;
    let wrong = |_| D::Error::custom(format_args!("{text:?} is no amount: write decimal digits"));
    text.parse().map_err(wrong)
}
