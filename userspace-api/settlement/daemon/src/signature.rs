//! Signatures in requests: hexadecimal text as wallets and hubs write them, or the two words of evidence files.

use alloy_primitives::hex;
use ring0_channels::B256;
use ring0_channels::key::Signature;
use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// As it comes.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a signature: 64 bytes (EIP-2098) or 65 as hexadecimal text, or r and vs"
)]
enum Either {
    Text(String),
    Words(Signature),
}

pub(crate) fn serialize<S: Serializer>(signature: &Signature, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&format!(
        "0x{}{}",
        hex::encode(signature.r),
        hex::encode(signature.vs)
    ))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Signature, D::Error> {
    match Either::deserialize(from)? {
        Either::Words(signature) => Ok(signature),
        Either::Text(text) => read(&text).ok_or_else(|| {
            D::Error::custom(
                "a signature is 64 bytes (EIP-2098) or 65 (r, s, v) as hexadecimal text",
            )
        }),
    }
}

fn read(text: &str) -> Option<Signature> {
    let bytes = hex::decode(text.trim()).ok()?;
    let r = B256::from_slice(bytes.get(..32)?);
    let mut vs = B256::from_slice(bytes.get(32..64)?);
    match bytes.len() {
        64 => {}
        65 => {
            // A proof with its highest bit set is a rewritten signature, and no hub takes it.
            let parity = match bytes[64] {
                0 | 27 => 0,
                1 | 28 => 1,
                _ => return None,
            };
            if vs[0] >> 7 != 0 {
                return None;
            }
            vs[0] |= parity << 7;
        }
        _ => return None,
    }
    Some(Signature { r, vs })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring0_channels::key::Signer;

    #[derive(Debug, PartialEq, Deserialize, serde::Serialize)]
    struct Held(#[serde(with = "super")] Signature);

    #[test]
    fn every_form_is_the_same_signature() {
        for digest in [
            B256::repeat_byte(1),
            B256::repeat_byte(2),
            B256::repeat_byte(3),
        ] {
            let signature = Signer::new([7; 32]).unwrap().sign_digest(digest);
            let short = serde_json::to_string(&Held(signature)).unwrap();
            let words = serde_json::to_string(&signature).unwrap();
            let (mut s, parity) = (signature.vs, signature.vs[0] >> 7);
            s[0] &= 0x7f;
            let long = |v: u8| format!("\"{}{}{v:02x}\"", hex::encode(signature.r), hex::encode(s));
            for text in [short, words, long(parity), long(parity + 27)] {
                assert_eq!(
                    serde_json::from_str::<Held>(&text).unwrap(),
                    Held(signature)
                );
            }
            for bad in [long(2), "\"0x12\"".to_owned(), "7".to_owned()] {
                assert!(serde_json::from_str::<Held>(&bad).is_err(), "{bad}");
            }
        }
    }
}
