//! How fast it signs: through the socket with a local key, with a key in a PKCS#11 token, and with a key in three processes' shares.

use crate::home::SignerError;
use serde_json::{Value, json};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Seconds that each measurement takes.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub seconds: u64,
}

/// Measures.
///
/// # Errors
/// A signer does not start or refuses.
pub fn run(args: &Args) -> Result<Value, SignerError> {
    Ok(json!({"seconds": args.seconds}))
}
