//! Code inside a network namespace.
//!
//! A namespace belongs to a thread, and a thread that changed it would surprise whoever uses it
//! next: so the code gets a thread of its own, which ends with it. Sockets that it opens stay in
//! their namespace and may be used from any thread afterwards. `/sys/class/net` keeps showing the
//! old namespace (it is a mount); ask by socket or netlink instead.

use crate::LabError;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::path::Path;
use std::thread::{self, JoinHandle};

/// Runs `work` inside the namespace of that name (below `/run/netns`), on a thread of its own, and
/// waits for it. A panic inside comes out here.
///
/// # Errors
/// The namespace is not there or may not be entered; `work` did not run then.
pub fn in_netns<R: Send>(name: &str, work: impl FnOnce() -> R + Send) -> Result<R, LabError> {
    thread::scope(|scope| {
        scope
            .spawn(|| {
                enter(name)?;
                Ok(work())
            })
            .join()
            .unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// As [`in_netns`], without waiting.
pub fn spawn_in_netns<R: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> R + Send + 'static,
) -> JoinHandle<Result<R, LabError>> {
    let name = name.to_owned();
    thread::spawn(move || {
        enter(&name)?;
        Ok(work())
    })
}

/// Moves the calling thread, for good.
fn enter(name: &str) -> Result<(), LabError> {
    let enter = || {
        let path = Path::new("/run/netns").join(name);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let namespace = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
    };
    enter().map_err(|error| LabError::Enter {
        name: name.to_owned(),
        source: error.into(),
    })
}
