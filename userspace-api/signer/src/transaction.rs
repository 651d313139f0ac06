//! EIP-1559 transactions of a key's own: decoded fields in, the signing hash and the signed bytes out.

use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_primitives::{Bytes, TxKind, U256};
use ring0_channels::key::Signature;
use ring0_channels::{Address, B256};
use serde::{Deserialize, Serialize};

/// A call or a payment. No contract is created and no access list is sent: no purpose of an exchange's keys needs one.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Transaction {
    /// The chain's id.
    pub chain_id: u64,
    /// Number of the key's transaction.
    pub nonce: u64,
    /// Tip, in the smallest unit for a unit of gas.
    #[serde(with = "crate::decimal")]
    pub max_priority_fee_per_gas: u128,
    /// The most for a unit of gas.
    #[serde(with = "crate::decimal")]
    pub max_fee_per_gas: u128,
    /// The most gas.
    pub gas_limit: u64,
    /// Whom it calls or pays.
    pub to: Address,
    /// The chain's coin that goes with it.
    #[serde(with = "crate::decimal")]
    pub value: u128,
    /// The call: selector and arguments.
    pub data: Bytes,
}

impl Transaction {
    fn inner(&self) -> TxEip1559 {
        TxEip1559 {
            chain_id: self.chain_id,
            nonce: self.nonce,
            gas_limit: self.gas_limit,
            max_fee_per_gas: self.max_fee_per_gas,
            max_priority_fee_per_gas: self.max_priority_fee_per_gas,
            to: TxKind::Call(self.to),
            value: U256::from(self.value),
            access_list: Default::default(),
            input: self.data.clone(),
        }
    }

    /// What the key signs.
    #[must_use]
    pub fn signing_hash(&self) -> B256 {
        self.inner().signature_hash()
    }

    /// The bytes that a node takes (EIP-2718), and the transaction's hash.
    #[must_use]
    pub fn signed(&self, signature: &Signature) -> (Vec<u8>, B256) {
        let (mut s, parity) = (signature.vs, signature.vs[0] >> 7 == 1);
        s[0] &= 0x7f;
        let signature =
            alloy_primitives::Signature::from_scalars_and_parity(signature.r, s, parity);
        let signed = self.inner().into_signed(signature);
        let mut bytes = Vec::new();
        signed.eip2718_encode(&mut bytes);
        (bytes, *signed.hash())
    }

    /// The call's selector; `None`: the data is empty, or too short to be a call.
    #[must_use]
    pub fn selector(&self) -> Option<[u8; 4]> {
        self.data.first_chunk().copied()
    }

    /// An argument of the call: the word of 32 bytes at a place.
    #[must_use]
    pub fn word(&self, place: usize) -> Option<U256> {
        let start = place.checked_mul(32)?.checked_add(4)?;
        let word = self.data.get(start..start.checked_add(32)?)?;
        Some(U256::from_be_slice(word))
    }

    /// The most that its gas costs.
    #[must_use]
    pub fn gas_cost(&self) -> u128 {
        u128::from(self.gas_limit).saturating_mul(self.max_fee_per_gas)
    }

    /// What it does, apart from its fee: what two transactions of one number must have in common.
    #[must_use]
    pub fn effect(&self) -> B256 {
        let unpaid = Transaction {
            max_priority_fee_per_gas: 0,
            max_fee_per_gas: 0,
            gas_limit: 0,
            ..self.clone()
        };
        unpaid.signing_hash()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring0_channels::key::Signer;

    /// EIP-1559's layout by hand: 0x02 and the list of nine, whose Keccak-256 is signed.
    #[test]
    fn the_signing_hash_is_the_standards() {
        let transaction = Transaction {
            chain_id: 1,
            nonce: 2,
            max_priority_fee_per_gas: 3,
            max_fee_per_gas: 4,
            gas_limit: 5,
            to: Address::repeat_byte(0x11),
            value: 6,
            data: vec![0xaa, 0xbb, 0xcc, 0xdd].into(),
        };
        let mut list = vec![1, 2, 3, 4, 5, 0x94];
        list.extend([0x11; 20]);
        list.extend([6, 0x84, 0xaa, 0xbb, 0xcc, 0xdd, 0xc0]);
        let mut bytes = vec![2, 0xc0 + u8::try_from(list.len()).unwrap()];
        bytes.extend(list);
        let digest = alloy_primitives::keccak256(bytes);
        assert_eq!(transaction.signing_hash(), digest);
        let signer = Signer::new([7; 32]).unwrap();
        let (raw, _) = transaction.signed(&signer.sign_digest(digest));
        assert_eq!(raw[0], 2);
        assert_eq!(transaction.selector(), Some([0xaa, 0xbb, 0xcc, 0xdd]));
        assert_eq!(transaction.word(0), None);
        let dearer = Transaction {
            max_fee_per_gas: 40,
            ..transaction.clone()
        };
        assert_eq!(dearer.effect(), transaction.effect());
        let other = Transaction {
            value: 7,
            ..transaction.clone()
        };
        assert_ne!(other.effect(), transaction.effect());
    }
}
