//! The venue's programs as processes: started, waited for, killed, started again. Each has a log file in the venue's folder.

use crate::Trouble;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a process may take to be ready on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long a process may take to end in peace.
const FAREWELL: Duration = Duration::from_secs(10);

/// SIGTERM.
const TERM: i32 = 15;

/// A program of the venue beside the one that is running, or in a folder above it (a test's).
///
/// # Errors
/// It was not built.
pub fn find(name: &str) -> Result<PathBuf, Trouble> {
    let own = std::env::current_exe()?;
    let beside = own
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name));
    let found = beside.into_iter().find(|path| path.is_file());
    found.ok_or_else(|| {
        format!(
            "there is no {name} beside {}; build it: cargo build --release --workspace --bins",
            own.display()
        )
        .into()
    })
}

/// A process.
#[derive(Debug)]
pub struct Program {
    name: &'static str,
    path: PathBuf,
    /// What it is started with the next time.
    pub arguments: Vec<String>,
    environment: Vec<(&'static str, PathBuf)>,
    log: PathBuf,
    child: Option<Child>,
    /// Its end ends the process.
    kept: bool,
}

impl Program {
    /// A program that is not running yet; its words go to `folder/NAME.log`.
    ///
    /// # Errors
    /// It was not built.
    pub fn new(
        name: &'static str,
        folder: &Path,
        arguments: Vec<String>,
    ) -> Result<Program, Trouble> {
        let (binary, role) = name.split_once(':').unwrap_or((name, name));
        Ok(Program {
            name,
            path: find(binary)?,
            arguments,
            environment: Vec::new(),
            log: folder.join(format!("{role}.log")),
            child: None,
            kept: binary == "ring0-signer",
        })
    }

    /// Gives it a variable at its next start.
    pub fn environment(&mut self, name: &'static str, value: PathBuf) {
        self.environment.push((name, value));
    }

    /// Starts it and waits until `ready` says so.
    ///
    /// # Errors
    /// It ended, or took too long: with the last lines of its log.
    pub fn start(&mut self, mut ready: impl FnMut() -> bool) -> Result<(), Trouble> {
        let log = File::options().append(true).create(true).open(&self.log)?;
        let input = if self.kept {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        let child = Command::new(&self.path)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(input)
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let child = self.child.insert(child);
        let end = Instant::now() + PATIENCE;
        while !ready() {
            let ended = child.try_wait()?;
            if ended.is_some() || Instant::now() > end {
                let text = fs::read_to_string(&self.log).unwrap_or_default();
                let lines: Vec<&str> = text.trim().lines().collect();
                let last = lines[lines.len().saturating_sub(8)..].join("\n");
                let how = match ended {
                    Some(status) => format!("ended ({status})"),
                    None => "took too long".to_owned(),
                };
                return Err(format!("{} {how} before it was ready: {last}", self.name).into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Its process, while it was started and not killed.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        let child = self.child.as_mut();
        child.is_some_and(|child| matches!(child.try_wait(), Ok(Some(_))))
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill(); // it may have ended
            let _ = child.wait();
        }
    }

    /// Ends it with SIGTERM, and with SIGKILL where that does not help. Whether it ended in peace.
    pub fn stop(&mut self) -> bool {
        let Some(mut child) = self.child.take() else {
            return true;
        };
        drop(child.stdin.take());
        if let Some(pid) = rustix::process::Pid::from_raw(child.id().cast_signed()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM); // it may have ended
        }
        let end = Instant::now() + FAREWELL;
        while Instant::now() < end {
            if let Ok(Some(status)) = child.try_wait() {
                // One that keeps nothing in memory leaves the signal as it is.
                return status.success() || status.signal() == Some(TERM);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = child.kill();
        let _ = child.wait();
        false
    }

    /// What it has said so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
            .split_once(':')
            .map_or(self.name, |(_, role)| role)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}
