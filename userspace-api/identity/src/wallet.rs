//! Sign-in by wallet: the message of EIP-4361, read strictly by its grammar, and its EIP-191 signature.
//!
//! What a wallet shows to its owner is all of what is signed; what is accepted is exactly what this side would have written, field by field. Contract
//! wallets (ERC-1271) sign in by a passkey or another wallet of theirs: asking a chain is not for this library.

use crate::refused::Refused;
use alloy_primitives::{Address, B256, eip191_hash_message, hex};
use hmac::{Hmac, Mac};
use ring0_channels::key::{Signature, SignatureError};
use sha2::Sha256;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Longest message that is read, in bytes.
pub const MESSAGE_MAX: usize = 4_096;

/// A message of EIP-4361. `Display` writes it as a wallet signs it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SignInMessage {
    /// Scheme of the origin, if the message names one.
    pub scheme: Option<String>,
    /// Who asks: host and port.
    pub domain: String,
    /// Who signs in.
    pub address: Address,
    /// What the wallet's owner reads.
    pub statement: Option<String>,
    /// What is signed in to.
    pub uri: String,
    /// EIP-155 chain id of the wallet.
    pub chain_id: u64,
    /// Given by [`Identity::nonce`](crate::Identity::nonce), used once.
    pub nonce: String,
    /// RFC 3339.
    pub issued_at: String,
    /// RFC 3339.
    pub expiration_time: Option<String>,
    /// RFC 3339.
    pub not_before: Option<String>,
    /// A name that the asking side gave.
    pub request_id: Option<String>,
    /// URIs.
    pub resources: Vec<String>,
}

impl fmt::Display for SignInMessage {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = &self.scheme {
            write!(to, "{scheme}://")?;
        }
        writeln!(
            to,
            "{} wants you to sign in with your Ethereum account:",
            self.domain
        )?;
        writeln!(to, "{}\n", self.address)?;
        if let Some(statement) = &self.statement {
            writeln!(to, "{statement}")?;
        }
        write!(to, "\nURI: {}\nVersion: 1", self.uri)?;
        write!(to, "\nChain ID: {}", self.chain_id)?;
        write!(to, "\nNonce: {}", self.nonce)?;
        write!(to, "\nIssued At: {}", self.issued_at)?;
        for (name, value) in [
            ("Expiration Time", &self.expiration_time),
            ("Not Before", &self.not_before),
            ("Request ID", &self.request_id),
        ] {
            if let Some(value) = value {
                write!(to, "\n{name}: {value}")?;
            }
        }
        if !self.resources.is_empty() {
            write!(to, "\nResources:")?;
            for resource in &self.resources {
                write!(to, "\n- {resource}")?;
            }
        }
        Ok(())
    }
}

/// A message that is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the message is not of EIP-4361: {0}")]
pub struct BadMessage(&'static str);

/// Characters of RFC 3986.
fn is_uri(text: &str) -> bool {
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    let first = scheme.bytes().next();
    first.is_some_and(|it| it.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || b"+-.".contains(&it))
        && is_pieces(text, b":/?#[]@!$&'()*+,;=-._~")
}

/// Letters, digits, escapes and these.
fn is_pieces(text: &str, others: &[u8]) -> bool {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let escape = || {
            let digits = bytes.get(at + 1..at + 3);
            digits.is_some_and(|it| it.iter().all(u8::is_ascii_hexdigit))
        };
        match byte {
            b'%' if escape() => at += 3,
            byte if byte.is_ascii_alphanumeric() || others.contains(byte) => at += 1,
            _ => return false,
        }
    }
    true
}

fn seconds(text: &str) -> Result<OffsetDateTime, BadMessage> {
    OffsetDateTime::parse(text, &Rfc3339).map_err(|_| BadMessage("a time is not of RFC 3339"))
}

impl SignInMessage {
    /// Reads a message: the fields of the grammar in its order, nothing else.
    ///
    /// # Errors
    /// What is not as the grammar has it.
    pub fn parse(text: &str) -> Result<SignInMessage, BadMessage> {
        if text.len() > MESSAGE_MAX {
            return Err(BadMessage("it is longer than 4,096 bytes"));
        }
        let mut lines = text.split('\n').peekable();
        let mut line = || lines.next().ok_or(BadMessage("it ends early"));
        let asks = line()?
            .strip_suffix(" wants you to sign in with your Ethereum account:")
            .ok_or(BadMessage("its first line does not say who asks"))?;
        let (scheme, domain) = match asks.split_once("://") {
            Some((scheme, domain)) => (Some(scheme), domain),
            None => (None, asks),
        };
        let is_scheme = |it: &str| is_uri(&format!("{it}:"));
        if scheme.is_some_and(|it| !is_scheme(it)) {
            return Err(BadMessage("the scheme is not of RFC 3986"));
        }
        if domain.is_empty() || !is_pieces(domain, b":[]@!$&'()*+,;=-._~") {
            return Err(BadMessage("the domain is not of RFC 3986"));
        }
        let address = line()?;
        let address = Address::parse_checksummed(address, None)
            .map_err(|_| BadMessage("the address is not in the form of EIP-55"))?;
        if !line()?.is_empty() {
            return Err(BadMessage("an empty line follows the address"));
        }
        // One empty line stands for no statement; with a statement, it and an empty line.
        let statement = match line()? {
            "" => None,
            statement => {
                let letters = b":/?#[]@!$&'()*+,;=-._~ ";
                let good = |it: u8| it.is_ascii_alphanumeric() || letters.contains(&it);
                if !statement.bytes().all(good) {
                    return Err(BadMessage("the statement has characters beyond RFC 3986"));
                }
                if !line()?.is_empty() {
                    return Err(BadMessage("an empty line follows the statement"));
                }
                Some(statement.to_owned())
            }
        };
        let mut field = |name: &'static str| {
            let line = lines.next_if(|line| line.starts_with(name));
            line.map(|line| line[name.len()..].to_owned())
        };
        let needed = |found: Option<String>, what| found.ok_or(BadMessage(what));
        let uri = needed(field("URI: "), "its URI is missing")?;
        if !is_uri(&uri) {
            return Err(BadMessage("the URI is not of RFC 3986"));
        }
        if field("Version: ").as_deref() != Some("1") {
            return Err(BadMessage("the version is 1"));
        }
        let chain = needed(field("Chain ID: "), "its chain id is missing")?;
        let chain_id = match chain.parse::<u64>() {
            Ok(id) if id.to_string() == chain => id,
            _ => return Err(BadMessage("the chain id is a decimal number")),
        };
        let nonce = needed(field("Nonce: "), "its nonce is missing")?;
        if nonce.len() < 8 || !nonce.bytes().all(|it| it.is_ascii_alphanumeric()) {
            return Err(BadMessage("the nonce is 8 or more letters and digits"));
        }
        let issued_at = needed(field("Issued At: "), "its time of issue is missing")?;
        let expiration_time = field("Expiration Time: ");
        let not_before = field("Not Before: ");
        let request_id = field("Request ID: ");
        for time in [
            Some(&issued_at),
            expiration_time.as_ref(),
            not_before.as_ref(),
        ] {
            time.map(|it| seconds(it)).transpose()?;
        }
        let good = |it: &String| is_pieces(it, b"-._~!$&'()*+,;=:@");
        if request_id.as_ref().is_some_and(|it| !good(it)) {
            return Err(BadMessage("the request id has characters beyond RFC 3986"));
        }
        let mut resources = Vec::new();
        if lines.next_if_eq(&"Resources:").is_some() {
            while let Some(resource) = lines.next_if(|line| line.starts_with("- ")) {
                if !is_uri(&resource[2..]) {
                    return Err(BadMessage("a resource is not of RFC 3986"));
                }
                resources.push(resource[2..].to_owned());
            }
        }
        if lines.next().is_some() {
            return Err(BadMessage(
                "a line is not of the grammar, or not at its place",
            ));
        }
        Ok(SignInMessage {
            scheme: scheme.map(str::to_owned),
            domain: domain.to_owned(),
            address,
            statement,
            uri,
            chain_id,
            nonce,
            issued_at,
            expiration_time,
            not_before,
            request_id,
            resources,
        })
    }
}

/// What a wallet signs of a text (EIP-191, personal message).
#[must_use]
pub fn digest(text: &str) -> B256 {
    eip191_hash_message(text.as_bytes())
}

/// What a message must say to sign in here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Expected<'a> {
    /// Scheme, host and port, without a path.
    pub(crate) origin: &'a str,
    pub(crate) chain_ids: &'a [u64],
    pub(crate) now_ms: u64,
    /// How far a wallet's clock may be ahead.
    pub(crate) skew_ms: u64,
    /// How old a message may be.
    pub(crate) age_ms: u64,
}

/// Whose a signed message is; the nonce is not looked at yet.
pub(crate) fn signer(
    text: &str,
    signature: &str,
    expected: &Expected<'_>,
) -> Result<(SignInMessage, Address), Refused> {
    let wrong = |what: String| Refused::SignIn(what);
    let message = SignInMessage::parse(text).map_err(|bad| wrong(bad.to_string()))?;
    let (scheme, domain) = expected.origin.split_once("://").unwrap_or_default();
    if message.domain != domain || message.scheme.as_ref().is_some_and(|it| it != scheme) {
        return Err(wrong(format!(
            "the message is for {:?}, this is {domain:?}; if you did not come here yourself, somebody led your wallet here",
            message.domain
        )));
    }
    let path = message.uri.strip_prefix(expected.origin);
    if !path.is_some_and(|it| it.is_empty() || it.starts_with('/')) {
        return Err(wrong(format!(
            "the message's URI does not begin with {}",
            expected.origin
        )));
    }
    if !expected.chain_ids.contains(&message.chain_id) {
        return Err(wrong(format!(
            "chain {} is none of this venue's; switch the wallet's chain",
            message.chain_id
        )));
    }
    let at_ms = |text: &str| -> Result<i128, Refused> {
        let time = seconds(text).map_err(|bad| wrong(bad.to_string()))?;
        Ok(time.unix_timestamp_nanos() / 1_000_000)
    };
    let now = i128::from(expected.now_ms);
    let issued = at_ms(&message.issued_at)?;
    if issued > now + i128::from(expected.skew_ms) {
        return Err(wrong(
            "the message is from the future; set the clock of your device".to_owned(),
        ));
    }
    if issued < now - i128::from(expected.age_ms) {
        return Err(wrong("the message is too old; sign a new one".to_owned()));
    }
    if let Some(end) = &message.expiration_time
        && at_ms(end)? <= now
    {
        return Err(wrong("the message has expired; sign a new one".to_owned()));
    }
    if let Some(start) = &message.not_before
        && at_ms(start)? > now + i128::from(expected.skew_ms)
    {
        return Err(wrong("the message does not hold yet".to_owned()));
    }
    let signature = parse_signature(signature).map_err(|why| wrong(why.to_string()))?;
    let signed_by = signature
        .recover(digest(text))
        .map_err(|why| wrong(why.to_string()))?;
    if signed_by != message.address {
        return Err(wrong(format!(
            "it is signed by {signed_by}, not by {}",
            message.address
        )));
    }
    Ok((message, signed_by))
}

/// Why a text is no signature.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadSignature {
    /// Its form.
    #[error("a signature is 65 bytes (r, s, v) or 64 (EIP-2098) in hexadecimal digits")]
    Form,
    /// Its v.
    #[error("the signature's v is 27 or 28 (or 0 or 1); sign a message, not a transaction")]
    Parity,
    /// It was rewritten.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

/// Reads a signature as wallets give it, 65 bytes with v or 64 with the parity in s.
///
/// # Errors
/// Another form, or s in the upper half of the order.
pub fn parse_signature(text: &str) -> Result<Signature, BadSignature> {
    let bytes = hex::decode(text).map_err(|_| BadSignature::Form)?;
    let (r, mut vs, v) = match *bytes.as_slice() {
        [ref words @ .., v] if words.len() == 64 => {
            (&words[..32], B256::from_slice(&words[32..]), Some(v))
        }
        ref words if words.len() == 64 => (&words[..32], B256::from_slice(&words[32..]), None),
        _ => return Err(BadSignature::Form),
    };
    if let Some(v) = v {
        let parity = match v {
            0 | 27 => 0,
            1 | 28 => 1,
            _ => return Err(BadSignature::Parity),
        };
        // The order's half is below 2^255: whatever has the highest bit is above it. `Signature::recover` refuses the rest.
        if vs[0] & 0x80 != 0 {
            return Err(SignatureError::HighS.into());
        }
        vs[0] |= parity << 7;
    }
    Ok(Signature {
        r: B256::from_slice(r),
        vs,
    })
}

/// Nonces of sign-in messages, each good once and for a while.
///
/// A nonce carries its end and a tag by a key of this process, so that one that nobody uses takes no memory here; who asks for millions gains
/// nothing. After a restart the nonces before it are worth nothing.
pub(crate) struct Nonces {
    key: [u8; 32],
    life_ms: u64,
    /// Used ones with their ends: what was signed by a wallet in time, once.
    used: Mutex<BTreeSet<(u64, [u8; 32])>>,
}

impl fmt::Debug for Nonces {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Nonces")
    }
}

impl Nonces {
    pub(crate) fn new(life_ms: u64) -> Nonces {
        Nonces {
            key: crate::secret::random(),
            life_ms,
            used: Mutex::default(),
        }
    }

    fn tag(&self, body: &[u8]) -> [u8; 16] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("any length");
        mac.update(body);
        let tag = mac.finalize().into_bytes();
        tag[..16].try_into().expect("of 32 bytes")
    }

    /// A new one: 64 hexadecimal digits; and its end in milliseconds of Unix time.
    pub(crate) fn give(&self, now_ms: u64) -> (String, u64) {
        let until_ms = now_ms.saturating_add(self.life_ms);
        let mut body = [0; 16];
        body[..8].copy_from_slice(&until_ms.to_be_bytes());
        body[8..].copy_from_slice(&crate::secret::random::<8>());
        (hex::encode([body, self.tag(&body)].concat()), until_ms)
    }

    /// Uses one up.
    pub(crate) fn spend(&self, nonce: &str, now_ms: u64) -> Result<(), Refused> {
        let unknown = || Refused::SignIn("its nonce is not of here; ask for one".to_owned());
        let bytes: [u8; 32] = hex::decode_to_array(nonce).map_err(|_| unknown())?;
        let (body, tag) = bytes.split_at(16);
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("any length");
        mac.update(body);
        mac.verify_truncated_left(tag).map_err(|_| unknown())?;
        let until_ms = u64::from_be_bytes(body[..8].try_into().expect("eight bytes"));
        if until_ms <= now_ms {
            return Err(Refused::SignIn(
                "its nonce has ended; ask for another".to_owned(),
            ));
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        // In order of their ends: what has ended is refused by the check above.
        *used = used.split_off(&(now_ms, [0; 32]));
        // By its bytes: the same nonce in other letters is the same.
        if !used.insert((until_ms, bytes)) {
            let again = "its nonce was used; ask for another".to_owned();
            return Err(Refused::SignIn(again));
        }
        Ok(())
    }
}
