//! `key new`, `key rotate`, `key list`.

use super::{Args, record};
use crate::backend::pkcs11::Token;
use crate::desk::now_ms;
use crate::home::{Home, SignerError, secret_key};
use crate::keyring::{self, KeyFile, Place};
use crate::keystore::Keystore;
use crate::server::key_event;
use alloy_primitives::hex;
use secp256k1::SecretKey;
use serde_json::json;
use zeroize::Zeroizing;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Make a key. The signer must not run.
    New {
        /// Its name, which its rule in signer.toml has.
        name: String,
        /// Where it is kept.
        #[arg(long, value_enum, default_value_t = Where::Local)]
        backend: Where,
    },
    /// Make a new key of a name and keep the former one, which signs no more. The signer must not run.
    Rotate {
        /// The name.
        name: String,
    },
    /// Show names, backends, public keys and addresses.
    List,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Where {
    /// The encrypted keystore.
    Local,
    /// The token that signer.toml names.
    Pkcs11,
}

pub(crate) fn run(args: &Args, home: &Home, verb: &Verb) -> Result<(), SignerError> {
    match verb {
        Verb::List => list(args, home),
        Verb::New { name, backend } => {
            let files = keyring::read(&home.keys_file())?;
            if !keyring::is_name(name) {
                let text = format!("{name:?} is no name: up to 32 letters, digits, - _ .");
                return Err(SignerError::Refused(text));
            }
            if files.iter().any(|it| it.name == *name) {
                let text =
                    format!("there is a key {name:?} already; `key rotate` makes its successor");
                return Err(SignerError::Refused(text));
            }
            make(args, home, name, *backend, files, "made")
        }
        Verb::Rotate { name } => {
            let mut files = keyring::read(&home.keys_file())?;
            let former = (1..).map(|number| format!("{name}.{number}"));
            let former = former
                .into_iter()
                .find(|it| !files.iter().any(|file| file.name == *it));
            let none = || SignerError::Refused(format!("there is no key {name:?} to rotate"));
            let of = files
                .iter_mut()
                .find(|it| it.name == *name)
                .ok_or_else(none)?;
            let backend = match of.place {
                Place::Local { .. } => Where::Local,
                Place::Pkcs11 { .. } => Where::Pkcs11,
                Place::Frost { .. }
                | Place::Dkls { .. }
                | Place::Share { .. }
                | Place::EcdsaShare { .. } => {
                    let text = "a key in shares is refreshed (`share refresh`), or made anew under another name and the money moved";
                    return Err(SignerError::Refused(text.to_owned()));
                }
            };
            of.name = former.unwrap_or_default();
            of.retired = true;
            make(args, home, name, backend, files, "rotated in")
        }
    }
}

fn list(args: &Args, home: &Home) -> Result<(), SignerError> {
    let files = keyring::read(&home.keys_file())?;
    let infos = files
        .iter()
        .map(keyring::info)
        .collect::<Result<Vec<_>, _>>();
    let infos = infos.map_err(SignerError::Refused)?;
    let line = |it: &crate::protocol::KeyInfo| {
        let retired = if it.retired { " retired" } else { "" };
        format!(
            "{} {} {} {}{retired}",
            it.name, it.backend, it.address, it.public_key
        )
    };
    let text: Vec<_> = infos.iter().map(line).collect();
    args.say(&json!({ "keys": infos }), &text.join("\n"))
}

fn make(
    args: &Args,
    home: &Home,
    name: &str,
    backend: Where,
    mut files: Vec<KeyFile>,
    act: &str,
) -> Result<(), SignerError> {
    // Locked first: a running signer would not know the key.
    let mut history = args.history(home)?;
    let made_ms = now_ms();
    // A name of its own in the keystore and in the token: rotation leaves the former there.
    let secret_name = format!("{name}@{made_ms}");
    let (place, public) = match backend {
        Where::Local => {
            let passphrase = args
                .passphrase
                .read(false)
                .map_err(SignerError::Passphrase)?;
            let mut store = Keystore::open(&home.keystore_file(), &passphrase)?;
            let secret = secret_key();
            let public = SecretKey::from_secret_bytes(*secret).map(|it| it.public_key());
            let public = public.map_err(|error| SignerError::Refused(error.to_string()))?;
            store.put(&secret_name, Zeroizing::new(secret.to_vec()))?;
            (
                Place::Local {
                    secret: secret_name,
                },
                public,
            )
        }
        Where::Pkcs11 => {
            let config = home.config()?;
            let none = || SignerError::Refused("signer.toml has no [pkcs11]".to_owned());
            let token = Token::open(config.pkcs11.as_ref().ok_or_else(none)?);
            let public = token.and_then(|token| token.generate(&secret_name));
            let public = public.map_err(|error| SignerError::Refused(error.to_string()))?;
            (Place::Pkcs11 { label: secret_name }, public)
        }
    };
    let file = KeyFile {
        name: name.to_owned(),
        place,
        public_key: hex::encode(public.serialize()),
        made_ms,
        retired: false,
    };
    let info = keyring::info(&file).map_err(SignerError::Refused)?;
    record(&mut history, key_event(&file, act))?;
    files.push(file);
    keyring::write(&home.keys_file(), &files)?;
    let text = format!("{name} is {} ({})", info.address, info.public_key);
    args.say(&json!({ "key": info }), &text)
}
