//! Who may read which stream of answers, and with what: a stream's name, its password (SoupBinTCP) and its key (MoldUDP64).
//!
//! Both follow from a session's key by one-way functions, so venue and trader need no other secret, and what opens a stream can
//! neither sign an order nor be turned back into what does. Reason: `docs/decisions/0045-answers-over-udp.md`.

use ring0_itch::Text;
use ring0_itch::mold::Session;
use ring0_wire::Key;
use zerocopy::IntoBytes;

/// Ten letters that open a stream.
pub type Password = Text<10>;

/// What opens one stream. Its content never shows in a log.
#[derive(Clone, Copy)]
pub struct Access {
    /// Over SoupBinTCP: sent, and compared.
    pub password: Password,
    /// Over MoldUDP64: tags what is asked for, never sent.
    pub key: Key,
}

impl Access {
    /// What opens a stream, from a session's key. `purpose` keeps the streams of one key apart. The password is 50 bits of BLAKE3,
    /// the key 128.
    #[must_use]
    pub fn of(key: &[u8; 16], purpose: &str) -> Access {
        let hash = derived("ring0 2026 answers password", key, purpose.as_bytes());
        let letters = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
        let mut number = u64::from_le_bytes(std::array::from_fn(|at| hash[at]));
        let password = Text(std::array::from_fn(|_| {
            let letter = letters[(number % 32) as usize];
            number /= 32;
            letter
        }));
        let key = key_of("ring0 2026 answers key", key, purpose.as_bytes());
        Access { password, key }
    }
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Access(secret)")
    }
}

/// The key of what a stream's server sends to the subscriber that chose `nonce`, so that nothing recorded from another subscription
/// passes for genuine.
pub(crate) fn subscription_key(stream: &Key, nonce: u64) -> Key {
    key_of(
        "ring0 2026 answers subscription",
        stream.as_bytes(),
        &nonce.to_le_bytes(),
    )
}

fn key_of(context: &str, key: &[u8], rest: &[u8]) -> Key {
    let hash = derived(context, key, rest);
    Key::from_bytes(&std::array::from_fn(|at| hash[at]))
}

fn derived(context: &str, key: &[u8], rest: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    hasher.update(key);
    hasher.update(rest);
    *hasher.finalize().as_bytes()
}

/// The stream of an account's drop copy.
#[must_use]
pub fn drop_copy(account: u32) -> Session {
    let mut name = *b"D000000000";
    let mut rest = account;
    for place in name[1..].iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    Text(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_keys_and_nonces_keep_apart() {
        let one = Access::of(&[1; 16], "answers");
        let others = [
            Access::of(&[2; 16], "answers"),
            Access::of(&[1; 16], "drop copy"),
        ];
        for other in others {
            assert_ne!(one.password, other.password);
            assert_ne!(one.key.as_bytes(), other.key.as_bytes());
        }
        assert_ne!(one.key.as_bytes(), &[1; 16], "not the key of orders");
        let [first, second] = [1, 2].map(|nonce| subscription_key(&one.key, nonce));
        assert_ne!(first.as_bytes(), second.as_bytes());
        assert_ne!(first.as_bytes(), one.key.as_bytes());
        assert_eq!(format!("{one:?}"), "Access(secret)");
        // As the page says, for whoever writes another client.
        let material = [&[1; 16][..], b"answers"].concat();
        let expected = blake3::derive_key("ring0 2026 answers key", &material);
        assert_eq!(one.key.as_bytes(), &expected[..16]);
        let material = [&expected[..16], &[1, 0, 0, 0, 0, 0, 0, 0]].concat();
        let expected = blake3::derive_key("ring0 2026 answers subscription", &material);
        assert_eq!(first.as_bytes(), &expected[..16]);
    }

    #[test]
    fn drop_copies_are_named_by_account() {
        assert_eq!(drop_copy(0).0, *b"D000000000");
        assert_eq!(drop_copy(u32::MAX).0, *b"D294967295");
        assert_eq!(drop_copy(1_048_575).0, *b"D001048575");
    }
}
