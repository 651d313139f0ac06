//! A program without maps, attached for as long as a value lives.
//!
//! For what has no state to lose: nothing is pinned, the kernel takes link and program down with the process, however it ends.

use crate::{
    error::LoaderError,
    load::{Mode, new_link},
    object::{Object, Parsed},
    pinned::Program,
    probe::{DROP, PASS},
    subprograms::Subprograms,
    sys,
};
use std::os::fd::OwnedFd;

/// An attached program. Dropped, it is detached.
#[derive(Debug)]
pub struct Bare {
    program: Program,
    _link: OwnedFd,
}

impl Bare {
    /// Has the object's program verified and attaches it to an interface, in the network namespace of that `ip netns` name (`None`: the caller's).
    ///
    /// # Errors
    /// See [`LoaderError`]: the object is none or wants maps, the interface has an XDP program already, or the driver refuses the mode.
    pub fn attach(
        object: &Object,
        interface: &str,
        netns: Option<&str>,
        mode: Mode,
    ) -> Result<Bare, LoaderError> {
        let program = Parsed::read(object)?.load(&[], Subprograms::Global)?;
        Bare::link(program, interface, netns, mode)
    }

    /// Attaches a program that passes every packet, in native mode: a veth end drops what its peer's program transmits unless it has one itself.
    ///
    /// # Errors
    /// As [`Bare::attach`].
    pub fn pass(interface: &str, netns: Option<&str>) -> Result<Bare, LoaderError> {
        Bare::small("ring0_pass", &PASS, interface, netns)
    }

    /// Attaches a program that drops every packet, in native mode: the peer of a generator.
    ///
    /// # Errors
    /// As [`Bare::attach`].
    pub fn discard(interface: &str, netns: Option<&str>) -> Result<Bare, LoaderError> {
        Bare::small("ring0_discard", &DROP, interface, netns)
    }

    fn small(
        name: &str,
        code: &[[u8; 8]],
        interface: &str,
        netns: Option<&str>,
    ) -> Result<Bare, LoaderError> {
        let program = sys::program_load(name, code, None).map_err(|refused| LoaderError::Call {
            doing: format!("loading the program {name}"),
            source: refused.source,
            cure: "run as root",
        })?;
        Bare::link(program, interface, netns, Mode::Native)
    }

    fn link(
        program: OwnedFd,
        interface: &str,
        netns: Option<&str>,
        mode: Mode,
    ) -> Result<Bare, LoaderError> {
        Ok(Bare {
            _link: new_link(interface, netns, mode, &program)?,
            program: Program::new(program)?,
        })
    }

    /// The program, to look at it or to run it on bytes of one's own.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.program
    }
}
