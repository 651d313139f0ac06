//! Accounts and tokens of the chain, and the 20-byte addresses that stand for them in what is signed: a tag of 4 letters, then the value itself.

use ring0_channels::Address;
use std::fmt;
use std::str::FromStr;

/// Letters of a name by their value.
const LETTERS: &[u8; 32] = b".12345abcdefghijklmnopqrstuvwxyz";
/// Tag of an account's address.
const NAME: &[u8; 4] = b"name";
/// Tag of a token's address.
const COIN: &[u8; 4] = b"coin";

/// An account's, action's or table's name, as the chain packs it: up to 12 letters of 5 bits from the top, one of 4 below.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Name(pub u64);

/// A symbol, as the chain packs it: decimals in the lowest byte, letters above it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Symbol(pub u64);

/// A token: the contract that keeps it and its symbol there.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Token {
    /// Contract that keeps the balances.
    pub contract: Name,
    /// Which of the contract's tokens.
    pub symbol: Symbol,
}

/// A text that names nothing.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadName {
    /// Not a name.
    #[error(
        "{0:?} is no name of an account: 1 to 12 of the letters a to z, 1 to 5 and the dot, a 13th up to j, no dot at the end"
    )]
    Name(String),
    /// Not a symbol.
    #[error(
        "{0:?} is no symbol: decimals up to 18, a comma, 1 to 7 capital letters, as in \"4,EOS\""
    )]
    Symbol(String),
}

impl FromStr for Name {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Name, BadName> {
        let bad = || BadName::Name(text.to_owned());
        if text.is_empty() || text.len() > 13 || text.ends_with('.') {
            return Err(bad());
        }
        let mut value = 0;
        for (place, letter) in text.bytes().enumerate() {
            let index = LETTERS.iter().position(|it| *it == letter);
            let index = index.ok_or_else(bad)? as u64;
            value |= match place {
                12 if index > 15 => return Err(bad()),
                12 => index,
                _ => index << (59 - 5 * place),
            };
        }
        Ok(Name(value))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = |place: usize| match place {
            12 => LETTERS[(self.0 & 0xf) as usize],
            _ => LETTERS[(self.0 >> (59 - 5 * place) & 0x1f) as usize],
        };
        let text: String = (0..13).map(|place| char::from(letter(place))).collect();
        f.write_str(text.trim_end_matches('.'))
    }
}

impl FromStr for Symbol {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Symbol, BadName> {
        let bad = || BadName::Symbol(text.to_owned());
        let (decimals, letters) = text.split_once(',').ok_or_else(bad)?;
        let decimals: u8 = decimals.parse().map_err(|_| bad())?;
        let good = (1..=7).contains(&letters.len())
            && letters.bytes().all(|it| it.is_ascii_uppercase())
            && decimals <= 18;
        if !good {
            return Err(bad());
        }
        let letters = letters.bytes().rev();
        let letters = letters.fold(0, |all, letter| all << 8 | u64::from(letter));
        Ok(Symbol(letters << 8 | u64::from(decimals)))
    }
}

impl Name {
    /// What stands for it in what is signed.
    #[must_use]
    pub fn address(self) -> Address {
        tagged(NAME, 0, self.0)
    }

    /// The account that an address stands for; `None`: a key's, a token's or another chain's.
    #[must_use]
    pub fn of(address: Address) -> Option<Name> {
        match untagged(NAME, address)? {
            (0, name) => Some(Name(name)),
            _ => None,
        }
    }
}

impl Token {
    /// What stands for it in what is signed.
    #[must_use]
    pub fn address(self) -> Address {
        tagged(COIN, self.contract.0, self.symbol.0)
    }

    /// The token that an address stands for; `None`: something else's.
    #[must_use]
    pub fn of(address: Address) -> Option<Token> {
        let (contract, symbol) = untagged(COIN, address)?;
        Some(Token {
            contract: Name(contract),
            symbol: Symbol(symbol),
        })
    }
}

fn tagged(tag: &[u8; 4], high: u64, low: u64) -> Address {
    let parts = [&tag[..], &high.to_be_bytes(), &low.to_be_bytes()];
    Address::from_slice(&parts.concat())
}

fn untagged(tag: &[u8; 4], address: Address) -> Option<(u64, u64)> {
    let rest = address.as_slice().strip_prefix(tag)?;
    let (words, _) = rest.as_chunks::<8>();
    Some((u64::from_be_bytes(words[0]), u64::from_be_bytes(words[1])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_symbols_are_the_chains() {
        // Values that the chain's own documentation and tables show.
        for (text, value) in [
            ("eosio", 0x5530_ea00_0000_0000),
            ("eosio.token", 0x5530_ea03_3482_a600),
        ] {
            let name: Name = text.parse().unwrap();
            assert_eq!((name.0, name.to_string().as_str()), (value, text));
            assert_eq!(Name::of(name.address()), Some(name));
        }
        let last: Name = "zzzzzzzzzzzzj".parse().unwrap();
        assert_eq!(last.0, u64::MAX);
        for bad in [
            "",
            "Alice",
            "a6",
            "alice.",
            "zzzzzzzzzzzzk",
            "aaaaaaaaaaaaaa",
        ] {
            assert_eq!(bad.parse::<Name>(), Err(BadName::Name(bad.to_owned())));
        }
        let symbol: Symbol = "4,EOS".parse().unwrap();
        assert_eq!(symbol.0, 0x534f_4504);
        for bad in ["EOS", "4,", "19,EOS", "4,eos", "4,ABCDEFGH", "x,EOS"] {
            assert_eq!(bad.parse::<Symbol>(), Err(BadName::Symbol(bad.to_owned())));
        }
        let token = Token {
            contract: "eosio.token".parse().unwrap(),
            symbol,
        };
        assert_eq!(Token::of(token.address()), Some(token));
        assert_eq!(Name::of(token.address()), None);
        assert_eq!(Name::of(Address::ZERO), None);
    }
}
