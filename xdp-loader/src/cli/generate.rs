//! `man` and `completions`: made from the command line's own definition, so that they cannot say anything else.

use super::Done;
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::{io, path::PathBuf};
use xdp_loader::{Exit, LoaderError};

#[derive(Args)]
pub(crate) struct ManArguments {
    /// Write a page for the command and one for each verb into this folder.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Name of the command, where it is installed under another one.
    #[arg(long, default_value = "xdp-loader")]
    name: String,
}

#[derive(Args)]
pub(crate) struct CompletionsArguments {
    /// Shell.
    shell: Shell,
    /// Name of the command, where it is installed under another one.
    #[arg(long, default_value = "xdp-loader")]
    name: String,
}

fn unwritable(source: io::Error) -> LoaderError {
    LoaderError::Call {
        doing: "writing the pages".to_owned(),
        source,
        cure: "give a folder that exists and may be written",
    }
}

pub(crate) fn man(arguments: &ManArguments) -> Done {
    let command = super::Arguments::command().name(arguments.name.clone());
    let written = match &arguments.out {
        Some(folder) => clap_mangen::generate_to(command, folder),
        None => clap_mangen::Man::new(command).render(&mut io::stdout()),
    };
    written.map(|()| Exit::Ok).map_err(unwritable)
}

pub(crate) fn completions(arguments: &CompletionsArguments) -> Done {
    let mut command = super::Arguments::command();
    clap_complete::generate(
        arguments.shell,
        &mut command,
        &arguments.name,
        &mut io::stdout(),
    );
    Ok(Exit::Ok)
}
