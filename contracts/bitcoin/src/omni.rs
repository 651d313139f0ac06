//! Omni Layer payloads, class C: the bytes behind `omni` in an `OP_RETURN` output. Simple sends only.
//!
//! Class C: sender is the owner of the first input, receiver whoever the last output pays that is neither the sender nor the `OP_RETURN`.
//! Layout of a simple send, big-endian: version u16 (0), type u16 (0), property u32, amount u64.

use bitcoin::{Amount, Script, ScriptBuf, TxOut, script::PushBytesBuf};
use serde::{Deserialize, Serialize};

/// What marks an `OP_RETURN` as Omni's.
pub const MARKER: [u8; 4] = *b"omni";
/// Property of test tokens, 1 being OMNI and 31 USDT.
pub const PROPERTY_TEST: u32 = 2;
/// The largest amount: Omni keeps balances in signed 64-bit numbers.
pub const AMOUNT_MAX: u64 = i64::MAX as u64;

/// Sends an amount of a property, indivisible or in 10^-8 as the property says.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SimpleSend {
    /// Which token: 1 is OMNI, 2 its test token, 31 USDT.
    pub property: u32,
    /// How much of its smallest unit; never zero.
    pub amount: u64,
}

/// Bytes that are no simple send.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum OmniError {
    /// Not an `OP_RETURN` with one push.
    #[error("the output is no OP_RETURN with one push")]
    NotOpReturn,
    /// The push does not begin with `omni`.
    #[error("the OP_RETURN does not begin with `omni`")]
    NoMarker,
    /// Too short or too long.
    #[error("a simple send has 16 bytes behind the marker, here are {0}")]
    Length(usize),
    /// A payload of another version or kind.
    #[error("version {version}, type {kind}: only simple sends (version 0, type 0) are read")]
    Kind {
        /// Version of the payload.
        version: u16,
        /// Type of the transaction.
        kind: u16,
    },
    /// Property 0 is the chain's own coin and cannot be sent so.
    #[error("property 0 is the chain's own coin and cannot be sent by Omni")]
    Property,
    /// Zero, or above 2^63 − 1.
    #[error("an amount of {0} is outside of 1 to 2^63 - 1")]
    Amount(u64),
}

impl SimpleSend {
    /// Checks what Omni nodes check before they look at balances.
    ///
    /// # Errors
    /// [`OmniError::Property`], [`OmniError::Amount`].
    pub const fn check(&self) -> Result<(), OmniError> {
        if self.property == 0 {
            return Err(OmniError::Property);
        }
        if self.amount == 0 || self.amount > AMOUNT_MAX {
            return Err(OmniError::Amount(self.amount));
        }
        Ok(())
    }

    /// The payload: 16 bytes.
    ///
    /// # Errors
    /// As [`SimpleSend::check`].
    pub fn payload(&self) -> Result<[u8; 16], OmniError> {
        self.check()?;
        let mut payload = [0; 16];
        payload[4..8].copy_from_slice(&self.property.to_be_bytes());
        payload[8..].copy_from_slice(&self.amount.to_be_bytes());
        Ok(payload)
    }

    /// The output that carries it: `OP_RETURN`, 20 bytes, no value.
    ///
    /// # Errors
    /// As [`SimpleSend::check`].
    pub fn output(&self) -> Result<TxOut, OmniError> {
        let mut data = PushBytesBuf::with_capacity(20);
        data.extend_from_slice(&MARKER)
            .expect("20 bytes can be pushed");
        data.extend_from_slice(&self.payload()?)
            .expect("20 bytes can be pushed");
        Ok(TxOut {
            value: Amount::ZERO,
            script_pubkey: ScriptBuf::new_op_return(data),
        })
    }

    /// Reads an output's script.
    ///
    /// # Errors
    /// [`OmniError`].
    pub fn from_script(script: &Script) -> Result<Self, OmniError> {
        if !script.is_op_return() {
            return Err(OmniError::NotOpReturn);
        }
        let mut instructions = script.instructions().skip(1);
        let (Some(Ok(push)), None) = (instructions.next(), instructions.next()) else {
            return Err(OmniError::NotOpReturn);
        };
        let bytes = push.push_bytes().ok_or(OmniError::NotOpReturn)?.as_bytes();
        let payload = bytes.strip_prefix(&MARKER).ok_or(OmniError::NoMarker)?;
        let payload: [u8; 16] = payload
            .try_into()
            .map_err(|_| OmniError::Length(payload.len()))?;
        let [v0, v1, k0, k1, p0, p1, p2, p3, amount @ ..] = payload;
        let (version, kind) = (u16::from_be_bytes([v0, v1]), u16::from_be_bytes([k0, k1]));
        if (version, kind) != (0, 0) {
            return Err(OmniError::Kind { version, kind });
        }
        let send = Self {
            property: u32::from_be_bytes([p0, p1, p2, p3]),
            amount: u64::from_be_bytes(amount),
        };
        send.check()?;
        Ok(send)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The specification's example: one OMNI.
    #[test]
    fn the_specifications_example() {
        let send = SimpleSend {
            property: 1,
            amount: 100_000_000,
        };
        let script = send.output().unwrap().script_pubkey;
        assert_eq!(
            script.to_hex_string(),
            "6a146f6d6e6900000000000000010000000005f5e100"
        );
        assert_eq!(SimpleSend::from_script(&script), Ok(send));
    }

    #[test]
    fn other_outputs_are_told_apart() {
        let check = |hex: &str, expected: OmniError| {
            assert_eq!(
                SimpleSend::from_script(&ScriptBuf::from_hex(hex).unwrap()),
                Err(expected),
                "{hex}"
            )
        };
        check(
            "0014751e76e8199196d454941c45d1b3a323f1433bd6",
            OmniError::NotOpReturn,
        );
        check("6a", OmniError::NotOpReturn);
        check(
            "6a146f6d6e6900000000000000010000000005f5e10051",
            OmniError::NotOpReturn,
        );
        check(
            "6a146f6d6e6800000000000000010000000005f5e100",
            OmniError::NoMarker,
        );
        check(
            "6a136f6d6e6900000000000000010000000005f5e1",
            OmniError::Length(15),
        );
        check(
            "6a146f6d6e6900000003000000010000000005f5e100",
            OmniError::Kind {
                version: 0,
                kind: 3,
            },
        );
        check(
            "6a146f6d6e6900000000000000000000000005f5e100",
            OmniError::Property,
        );
        check(
            "6a146f6d6e6900000000000000010000000000000000",
            OmniError::Amount(0),
        );
        check(
            "6a146f6d6e690000000000000001ffffffffffffffff",
            OmniError::Amount(u64::MAX),
        );
        assert_eq!(
            SimpleSend {
                property: 0,
                amount: 1
            }
            .output(),
            Err(OmniError::Property)
        );
    }

    proptest! {
        #[test]
        fn written_and_read(property in 1u32.., amount in 1..=AMOUNT_MAX) {
            let send = SimpleSend { property, amount };
            prop_assert_eq!(SimpleSend::from_script(&send.output().unwrap().script_pubkey), Ok(send));
        }

        #[test]
        fn anything_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let script = ScriptBuf::from_bytes(bytes);
            if let Ok(send) = SimpleSend::from_script(&script) {
                prop_assert_eq!(send.check(), Ok(()));
            }
        }
    }
}
