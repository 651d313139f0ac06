//! Ending when asked: SIGTERM and SIGINT set a flag.

use std::sync::atomic::{AtomicBool, Ordering};

/// Set by SIGTERM and SIGINT. Writer: the handler. Readers: whoever asked for it.
static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn handle(_: libc::c_int) {
    STOP.store(true, Ordering::Release);
}

/// A flag that SIGTERM and SIGINT set from now on, in place of ending the process. A second signal finds it set.
pub fn stop_flag() -> &'static AtomicBool {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let handler: extern "C" fn(libc::c_int) = handle;
        // SAFETY: the handler does one atomic store, which is allowed in a signal handler.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
    &STOP
}

/// Ends this process at once when the thread that started it ends, however that happens.
pub fn end_with_parent() {
    let kill = Some(rustix::process::Signal::KILL);
    if let Err(error) = rustix::process::set_parent_process_death_signal(kill) {
        eprintln!("ring0d: will outlive the process that started it: {error}");
    }
}
