//! `ring0 signer`: all that `ring0-signer` does, for a machine that has only this binary.

use crate::fail::Fail;
use ring0_signer::SignerError;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    args: ring0_signer::command::Args,
}

impl From<SignerError> for Fail {
    fn from(error: SignerError) -> Fail {
        match error.exit() {
            3 => Fail::disagreed(error),
            _ => Fail::new(error),
        }
    }
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    Ok(ring0_signer::command::run(&args.args)?)
}
