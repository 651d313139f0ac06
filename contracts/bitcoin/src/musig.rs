//! MuSig2 (BIP327) for the funding output's key path and for penalties.
//!
//! The one file where `bitcoin`'s secp256k1 0.29 and the newer crate with the musig module meet: keys, nonces and
//! signatures cross as bytes.
//!
//! A secret nonce is made from the operating system's randomness, lives in a [`Signer`] that cannot be copied, stored or
//! printed, and is gone after one signature. After a restart a session starts again with fresh nonces.

use bitcoin::{
    XOnlyPublicKey,
    key::Keypair,
    secp256k1::{PublicKey, schnorr::Signature},
};
use rand::TryRngCore;
use secp256k1_musig::musig::{
    AggregatedNonce, KeyAggCache, PartialSignature, PublicNonce, SecretNonce, Session,
    SessionSecretRand, new_nonce_pair,
};

/// A public nonce, as BIP327 serialises it.
pub type NonceBytes = [u8; 66];
/// A partial signature, as BIP327 serialises it.
pub type PartialBytes = [u8; 32];

/// A session that gives no signature.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MusigError {
    /// Bytes that are no public nonce.
    #[error("the other party's nonce is no pair of curve points: start the session again")]
    Nonce,
    /// Bytes that are no scalar, or a partial signature of something else.
    #[error(
        "the partial signature of {0} does not verify: both must sign the same transaction with this session's nonces; start again"
    )]
    Partial(PublicKey),
    /// The operating system gave no randomness.
    #[error("no randomness from the operating system: nothing can be signed now")]
    NoRandomness,
    /// The signing key is not one of the aggregated.
    #[error("key {0} is not one of those in this aggregate")]
    NotAParticipant(PublicKey),
    /// A participant has no share, or two.
    #[error("there must be one nonce and one partial signature of {0}: ask its holder")]
    Missing(PublicKey),
}

/// An aggregate of keys, with the taproot tweak of its output.
#[derive(Clone)]
pub struct Aggregate {
    keys: Vec<PublicKey>,
    plain: PublicKey,
    cache: KeyAggCache,
}

fn public_in(key: &PublicKey) -> secp256k1_musig::PublicKey {
    secp256k1_musig::PublicKey::from_slice(&key.serialize())
        .expect("a valid key of one version is one of the other")
}

fn public_out(key: &secp256k1_musig::PublicKey) -> PublicKey {
    PublicKey::from_slice(&key.serialize()).expect("a valid key of one version is one of the other")
}

impl Aggregate {
    /// The aggregate of `keys` in the order given (BIP327, `KeyAgg`).
    pub fn in_order(keys: &[PublicKey]) -> Self {
        let inner: Vec<_> = keys.iter().map(public_in).collect();
        let cache = KeyAggCache::new(&inner.iter().collect::<Vec<_>>());
        Self {
            keys: keys.to_vec(),
            plain: public_out(&cache.agg_pk_full()),
            cache,
        }
    }

    /// The aggregate of two keys in the order of their bytes (BIP327, `KeySort`): both parties get the same.
    pub fn of(a: PublicKey, b: PublicKey) -> Self {
        let mut keys = [a, b];
        keys.sort_by_key(PublicKey::serialize);
        Self::in_order(&keys)
    }

    /// The keys, in the order of the aggregation.
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// The aggregate before the taproot tweak, with its parity.
    pub const fn plain(&self) -> PublicKey {
        self.plain
    }

    /// The aggregate before the taproot tweak: the output's internal key.
    pub fn internal_key(&self) -> XOnlyPublicKey {
        self.plain.x_only_public_key().0
    }

    /// With the tweak of BIP341 for a script tree, after which signatures are of the output key.
    pub fn tweaked(mut self, merkle_root: Option<bitcoin::TapNodeHash>) -> Self {
        let tweak =
            bitcoin::TapTweakHash::from_key_and_tweak(self.internal_key(), merkle_root).to_scalar();
        let tweak = secp256k1_musig::Scalar::from_be_bytes(tweak.to_be_bytes())
            .expect("a scalar of one version is one of the other");
        self.cache
            .pubkey_xonly_tweak_add(&tweak)
            .expect("a tweak that gives the point at infinity cannot be found");
        self
    }

    /// The key that signatures are of: the output key once tweaked.
    pub fn output_key(&self) -> XOnlyPublicKey {
        XOnlyPublicKey::from_slice(&self.cache.agg_pk().to_byte_array())
            .expect("a valid key of one version is one of the other")
    }

    fn session(&self, nonces: &[NonceBytes], message: &[u8; 32]) -> Result<Session, MusigError> {
        let nonces = nonces
            .iter()
            .map(PublicNonce::from_byte_array)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| MusigError::Nonce)?;
        let sum = AggregatedNonce::new(&nonces.iter().collect::<Vec<_>>());
        Ok(Session::new(&self.cache, sum, message))
    }

    /// The output key with its parity, as BIP373 names it.
    pub fn output_point(&self) -> PublicKey {
        public_out(&self.cache.agg_pk_full())
    }

    /// Adds up the partial signatures, one of each key; the result verifies under [`Aggregate::output_key`].
    ///
    /// # Errors
    /// [`MusigError::Partial`] names whose is wrong, [`MusigError::Missing`] whose is not there.
    pub fn combine(
        &self,
        message: &[u8; 32],
        shares: &[(PublicKey, NonceBytes, PartialBytes)],
    ) -> Result<Signature, MusigError> {
        if let Some((stranger, ..)) = shares.iter().find(|(key, ..)| !self.keys.contains(key)) {
            return Err(MusigError::NotAParticipant(*stranger));
        }
        for key in &self.keys {
            if shares.iter().filter(|(of, ..)| of == key).count() != 1 {
                return Err(MusigError::Missing(*key));
            }
        }
        let nonces: Vec<_> = shares.iter().map(|(_, nonce, _)| *nonce).collect();
        let session = self.session(&nonces, message)?;
        let mut partials = Vec::with_capacity(shares.len());
        for (key, nonce, partial) in shares {
            let nonce = PublicNonce::from_byte_array(nonce).map_err(|_| MusigError::Nonce)?;
            let partial = PartialSignature::from_byte_array(partial)
                .map_err(|_| MusigError::Partial(*key))?;
            if !session.partial_verify(&self.cache, &partial, &nonce, public_in(key)) {
                return Err(MusigError::Partial(*key));
            }
            partials.push(partial);
        }
        let whole = session.partial_sig_agg(&partials.iter().collect::<Vec<_>>());
        let whole = whole
            .verify(&self.cache.agg_pk(), message)
            .map_err(|_| MusigError::Partial(shares[0].0))?;
        Ok(Signature::from_slice(&whole.to_byte_array())
            .expect("64 bytes are a signature's length"))
    }

    /// Signs alone with both keys: what the holder of a revoked commitment's secret and of the penalty key can do.
    ///
    /// # Errors
    /// [`MusigError::NotAParticipant`], [`MusigError::NoRandomness`].
    pub fn sign_alone(
        &self,
        keys: [&Keypair; 2],
        message: &[u8; 32],
    ) -> Result<Signature, MusigError> {
        let [a, b] = [
            Signer::start(self, keys[0], message)?,
            Signer::start(self, keys[1], message)?,
        ];
        let (nonce_a, nonce_b) = (a.nonce(), b.nonce());
        let shares = [
            (keys[0].public_key(), nonce_a, a.sign(&nonce_b)?),
            (keys[1].public_key(), nonce_b, b.sign(&nonce_a)?),
        ];
        self.combine(message, &shares)
    }
}

/// One party's part in one signature: made for one message, used up by signing.
///
/// ```compile_fail
/// # use ring0_bitcoin::musig::Signer;
/// fn twice(signer: Signer, nonce: [u8; 66]) {
///     let _ = signer.sign(&nonce);
///     let _ = signer.sign(&nonce); // the nonce is gone with the first signature
/// }
/// ```
#[must_use]
pub struct Signer {
    aggregate: Aggregate,
    key: secp256k1_musig::Keypair,
    message: [u8; 32],
    secret: SecretNonce,
    public: NonceBytes,
}

impl Signer {
    /// Starts a session over a message (a sighash) with a fresh nonce.
    ///
    /// # Errors
    /// [`MusigError::NotAParticipant`], [`MusigError::NoRandomness`].
    pub fn start(
        aggregate: &Aggregate,
        key: &Keypair,
        message: &[u8; 32],
    ) -> Result<Self, MusigError> {
        if !aggregate.keys.contains(&key.public_key()) {
            return Err(MusigError::NotAParticipant(key.public_key()));
        }
        let mut random = [0; 32];
        rand::rngs::OsRng
            .try_fill_bytes(&mut random)
            .map_err(|_| MusigError::NoRandomness)?;
        let secret_key = secp256k1_musig::SecretKey::from_secret_bytes(key.secret_bytes())
            .expect("a valid key of one version is one of the other");
        // Key, aggregate and message go into the nonce besides the randomness: a weak generator alone does not repeat it.
        let (secret, public) = new_nonce_pair(
            SessionSecretRand::assume_uniformly_random(random),
            Some(&aggregate.cache),
            Some(secret_key),
            public_in(&key.public_key()),
            Some(message),
            None,
        );
        Ok(Self {
            aggregate: aggregate.clone(),
            key: secp256k1_musig::Keypair::from_secret_key(&secret_key),
            message: *message,
            secret,
            public: public.serialize(),
        })
    }

    /// What the other party must be told.
    pub const fn nonce(&self) -> NonceBytes {
        self.public
    }

    /// Signs, with the other party's nonce; the session's own nonce is gone afterwards, also when this fails.
    ///
    /// # Errors
    /// [`MusigError::Nonce`].
    pub fn sign(self, other: &NonceBytes) -> Result<PartialBytes, MusigError> {
        let session = self
            .aggregate
            .session(&[self.public, *other], &self.message)?;
        Ok(session
            .partial_sign(self.secret, &self.key, &self.aggregate.cache)
            .serialize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SECP;
    use bitcoin::secp256k1::{Message, SecretKey};

    fn keypair(byte: u8) -> Keypair {
        Keypair::from_secret_key(&SECP, &SecretKey::from_slice(&[byte; 32]).unwrap())
    }

    /// The aggregate of BIP373's test vectors.
    #[test]
    fn aggregation_is_bip_327s() {
        let keys = [
            "02346b99593357107c9d3459e9deba8d3eaf44e6636c85c7f853eb90ba52e8cd00",
            "024fafd65f8169186fc2bfdb2233c77e630d10be280a24c7165c09a27611775c2c",
            "02f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9",
        ]
        .map(|key| key.parse().unwrap());
        assert_eq!(
            Aggregate::in_order(&keys).plain().to_string(),
            "030b58e337aa4d3852a8c29387c42408d8cfbe3a613a5e397e0a9f01a5fb7107d4"
        );
    }

    #[test]
    fn bytes_cross_both_ways() {
        for byte in 1..=50 {
            let key = keypair(byte);
            assert_eq!(public_out(&public_in(&key.public_key())), key.public_key());
            let newer = secp256k1_musig::SecretKey::from_secret_bytes(key.secret_bytes()).unwrap();
            assert_eq!(newer.to_secret_bytes(), key.secret_bytes());
        }
    }

    #[test]
    fn the_tweak_is_bip_341s() {
        let aggregate = Aggregate::of(keypair(1).public_key(), keypair(2).public_key());
        for root in [None, Some(bitcoin::TapNodeHash::assume_hidden([9; 32]))] {
            let info = bitcoin::key::TapTweak::tap_tweak(aggregate.internal_key(), &SECP, root);
            assert_eq!(
                aggregate.clone().tweaked(root).output_key(),
                info.0.to_x_only_public_key()
            );
        }
    }

    /// Made by the newer version, verified by the older.
    #[test]
    fn two_sign_and_the_older_version_verifies() {
        let (a, b, message) = (keypair(3), keypair(4), [0x42; 32]);
        let aggregate = Aggregate::of(b.public_key(), a.public_key()).tweaked(None);
        assert_eq!(
            aggregate.output_key(),
            Aggregate::of(a.public_key(), b.public_key())
                .tweaked(None)
                .output_key()
        );
        let (x, y) = (
            Signer::start(&aggregate, &a, &message).unwrap(),
            Signer::start(&aggregate, &b, &message).unwrap(),
        );
        let (nonce_x, nonce_y) = (x.nonce(), y.nonce());
        let (partial_x, partial_y) = (x.sign(&nonce_y).unwrap(), y.sign(&nonce_x).unwrap());
        let shares = [
            (a.public_key(), nonce_x, partial_x),
            (b.public_key(), nonce_y, partial_y),
        ];
        let signature = aggregate.combine(&message, &shares).unwrap();
        SECP.verify_schnorr(
            &signature,
            &Message::from_digest(message),
            &aggregate.output_key(),
        )
        .unwrap();

        let mut wrong = shares;
        wrong[1].2[5] ^= 1;
        assert_eq!(
            aggregate.combine(&message, &wrong),
            Err(MusigError::Partial(b.public_key()))
        );
        assert_eq!(
            aggregate.combine(&[0x43; 32], &shares),
            Err(MusigError::Partial(a.public_key()))
        );
        assert_eq!(
            Signer::start(&aggregate, &a, &message)
                .unwrap()
                .sign(&[0xff; 66]),
            Err(MusigError::Nonce)
        );
    }

    #[test]
    fn one_with_both_keys_signs_alone_and_a_stranger_cannot() {
        let (a, b, c, message) = (keypair(3), keypair(4), keypair(5), [0x42; 32]);
        let aggregate = Aggregate::of(a.public_key(), b.public_key());
        let signature = aggregate.sign_alone([&a, &b], &message).unwrap();
        SECP.verify_schnorr(
            &signature,
            &Message::from_digest(message),
            &aggregate.output_key(),
        )
        .unwrap();
        assert_eq!(
            aggregate.sign_alone([&a, &c], &message),
            Err(MusigError::NotAParticipant(c.public_key()))
        );
    }

    #[test]
    fn nonces_of_one_message_differ() {
        let (a, b) = (keypair(3), keypair(4));
        let aggregate = Aggregate::of(a.public_key(), b.public_key());
        let nonces: std::collections::HashSet<_> = (0..100)
            .map(|_| Signer::start(&aggregate, &a, &[1; 32]).unwrap().nonce())
            .collect();
        assert_eq!(nonces.len(), 100);
    }
}
