//! Benches that are programs of their own, beside this one: what they measure against is in no other binary.

use crate::fail::Fail;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Becomes the program `name`; comes back only with a failure.
pub(super) fn run(name: &str, command: &str, options: &[String]) -> Result<(), Fail> {
    let program = std::env::current_exe()?.with_file_name(name);
    // Reports have the command line: the one that was typed.
    let error = Command::new(&program).arg0(command).args(options).exec();
    Err(match error.kind() {
        ErrorKind::NotFound => Fail::new(format!(
            "{} is not there; `cargo build --release -p {name}` makes it, with what it measures against",
            program.display()
        )),
        _ => error.into(),
    })
}
