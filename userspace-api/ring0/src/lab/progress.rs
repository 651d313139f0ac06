//! How far a run is, on a terminal. Drawn by a thread of its own, which is not on the client's processor: measuring only counts.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// A bar; gone when dropped. Where standard error is no terminal nothing is drawn.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Of so many steps.
    pub(super) fn new(steps: u64) -> Progress {
        let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr_with_hz(2));
        let style = ProgressStyle::with_template(
            "{msg:36} {wide_bar} {percent:>3}%  {elapsed} of about {duration}",
        );
        bar.set_style(style.expect("a template of known words"));
        bar.enable_steady_tick(Duration::from_millis(500));
        Progress(bar)
    }

    /// What is being done.
    pub(super) fn say(&self, what: &str) {
        self.0.set_message(what.to_owned());
        if self.0.is_hidden() {
            eprintln!("{what}");
        }
    }

    /// Where it is.
    pub(super) fn at(&self, step: u64) {
        self.0.set_position(step);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
