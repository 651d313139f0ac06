//! Signers and holders of shares as processes in a temporary folder: for measurements, demos and tests. Everything ends with the value.

use crate::random;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// See the module.
#[derive(Debug)]
pub struct Stand {
    program: Vec<OsString>,
    folder: PathBuf,
    environment: Vec<(String, OsString)>,
    running: BTreeMap<String, Child>,
}

/// What went wrong in a stand, in words.
pub type Trouble = Box<dyn std::error::Error + Send + Sync>;

impl Stand {
    /// With a program: `ring0-signer`, or `ring0 signer`.
    ///
    /// # Errors
    /// The temporary folder cannot be made.
    pub fn new(program: &[OsString]) -> io::Result<Stand> {
        let name = format!(
            "ring0-signer-{}",
            alloy_primitives::hex::encode(random::bytes::<8>())
        );
        let folder = std::env::temp_dir().join(name);
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        let stand = Stand {
            program: program.to_vec(),
            folder,
            environment: Vec::new(),
            running: BTreeMap::new(),
        };
        stand.secret("passphrase", "a stand's passphrase")?;
        Ok(stand)
    }

    /// With the program that is running, or `ring0-signer` beside it.
    ///
    /// # Errors
    /// There is no such program, or no temporary folder.
    pub fn of_this_program() -> io::Result<Stand> {
        let own = std::env::current_exe()?;
        let name = own.file_name().map(|it| it.to_string_lossy().into_owned());
        match name.as_deref() {
            Some("ring0") => Stand::new(&[own.into(), "signer".into()]),
            Some("ring0-signer") => Stand::new(&[own.into()]),
            _ => {
                let beside = own.ancestors().map(|it| it.join("ring0-signer"));
                let found = beside.into_iter().find(|it| it.is_file());
                let none = || {
                    io::Error::new(
                        io::ErrorKind::NotFound,
                        "no ring0-signer beside this program; build it",
                    )
                };
                Stand::new(&[found.ok_or_else(none)?.into()])
            }
        }
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of a signer.
    #[must_use]
    pub fn home(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The socket of a signer.
    #[must_use]
    pub fn socket(&self, name: &str) -> PathBuf {
        self.home(name).join("signer.sock")
    }

    /// Gives all processes that are started from now on a variable.
    pub fn environment(&mut self, name: &str, value: impl Into<OsString>) {
        self.environment.push((name.to_owned(), value.into()));
    }

    /// Writes a file of mode 0600 and gives its path.
    ///
    /// # Errors
    /// The disk.
    pub fn secret(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        secret(&self.folder.join(name), text)
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.program[0]);
        command.args(&self.program[1..]).arg("--json");
        command.arg("--home").arg(self.home(name));
        command
            .arg("--passphrase-file")
            .arg(self.folder.join("passphrase"));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a command of a signer and gives its answer.
    ///
    /// # Errors
    /// What the command says.
    pub fn run(&self, name: &str, args: &[&str]) -> Result<Value, Trouble> {
        let done = self
            .command(name)
            .args(args)
            .stdin(Stdio::null())
            .output()?;
        if !done.status.success() {
            let text = String::from_utf8_lossy(&done.stderr);
            return Err(format!("{args:?} of {name}: {}", text.trim()).into());
        }
        // What is no JSON (a history in text, say) is given as it is.
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        Ok(serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Makes a signer with this configuration behind `users` and `admins`.
    ///
    /// # Errors
    /// What the command says.
    pub fn init(&self, name: &str, rules: &str) -> Result<(), Trouble> {
        fs::DirBuilder::new().mode(0o700).create(self.home(name))?;
        self.configure(name, rules)?;
        self.run(name, &["init"])?;
        Ok(())
    }

    /// Writes a signer's configuration; it counts from its next start.
    ///
    /// # Errors
    /// The disk.
    pub fn configure(&self, name: &str, rules: &str) -> io::Result<()> {
        let user = rustix::process::geteuid().as_raw();
        let text = format!("users = [{user}]\nadmins = [{user}]\n{rules}");
        fs::write(self.home(name).join("signer.toml"), text)
    }

    /// Starts a signer and waits until it listens.
    ///
    /// # Errors
    /// It ends at once.
    pub fn serve(&mut self, name: &str) -> Result<PathBuf, Trouble> {
        self.serve_with(name, &[])?;
        Ok(self.socket(name))
    }

    /// As [`serve`](Stand::serve), with more arguments; gives what the signer says of where it listens.
    ///
    /// # Errors
    /// It ends at once.
    pub fn serve_with(&mut self, name: &str, more: &[&str]) -> Result<Value, Trouble> {
        let said = self.folder.join(format!("{name}.log"));
        let mut child = self
            .command(name)
            .args(["serve", "--with-parent"])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&said)?)
            .spawn()?;
        let mut line = String::new();
        let out = child.stdout.take().ok_or("no output")?;
        BufReader::new(out).read_line(&mut line)?;
        self.running.insert(name.to_owned(), child);
        if line.is_empty() {
            let why = fs::read_to_string(said)?;
            return Err(format!("the signer {name} ended at once: {}", why.trim()).into());
        }
        Ok(serde_json::from_str(&line)?)
    }

    /// The process id of a running signer.
    #[must_use]
    pub fn process(&self, name: &str) -> Option<u32> {
        self.running.get(name).map(Child::id)
    }

    /// Ends a signer with SIGKILL.
    pub fn kill(&mut self, name: &str) {
        if let Some(mut child) = self.running.remove(name) {
            let _ = child.kill(); // it may have ended
            let _ = child.wait();
        }
    }

    /// Makes holders of shares with these rules, who know each other, and starts them. Gives what a coordinator's configuration has of them.
    ///
    /// # Errors
    /// One does not start.
    pub fn holders(&mut self, names: &[&str], rules: &str) -> Result<String, Trouble> {
        let (mut known, mut reached) = (String::new(), String::new());
        for name in names {
            self.init(name, rules)?;
            let answer = self.run(name, &["share", "identity"])?;
            let identity = answer["identity"].as_str().ok_or("no identity")?;
            known.push_str(&format!(
                "[[holder]]\nname = {name:?}\nidentity = {identity:?}\n"
            ));
            let socket = self.socket(name);
            reached.push_str(&format!(
                "[[holder]]\nname = {name:?}\nsocket = {socket:?}\n"
            ));
        }
        for name in names {
            self.configure(name, &format!("{rules}\n{known}"))?;
            self.serve(name)?;
        }
        Ok(reached)
    }

    /// Makes a SoftHSM token; gives the configuration's `[pkcs11]`. `None`: SoftHSM is not on this machine (Debian: softhsm2).
    ///
    /// # Errors
    /// The token cannot be made.
    pub fn soft_hsm(&mut self) -> Result<Option<String>, Trouble> {
        let Some(token) = SoftToken::make(&self.folder)? else {
            return Ok(None);
        };
        self.environment(SoftToken::VARIABLE, token.library.as_os_str());
        Ok(Some(token.rules))
    }
}

/// A SoftHSM token with files of its own: what a signer needs to reach it.
#[derive(Clone, Debug)]
pub struct SoftToken {
    /// The library's configuration.
    pub library: PathBuf,
    /// `[pkcs11]` of `signer.toml`.
    pub rules: String,
}

impl SoftToken {
    /// The variable that names the library's configuration to a process.
    pub const VARIABLE: &'static str = "SOFTHSM2_CONF";

    /// Makes one in a folder that has none, with PINs of its own. `None`: SoftHSM is not on this machine (Debian: softhsm2).
    ///
    /// # Errors
    /// The disk, or what SoftHSM says.
    pub fn make(folder: &Path) -> Result<Option<SoftToken>, Trouble> {
        let places = [
            "/usr/lib/softhsm/libsofthsm2.so",
            "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
            "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
        ];
        let Some(module) = places.into_iter().find(|it| Path::new(it).is_file()) else {
            return Ok(None);
        };
        let tokens = folder.join("tokens");
        fs::DirBuilder::new().mode(0o700).create(&tokens)?;
        let text = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            tokens.display()
        );
        let library = secret(&folder.join("softhsm2.conf"), &text)?;
        let pins: [String; 2] =
            std::array::from_fn(|_| alloy_primitives::hex::encode(random::bytes::<8>()));
        let pin_file = secret(&folder.join("pin"), &pins[0])?;
        let made = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", "ring0"])
            .args(["--pin", &pins[0], "--so-pin", &pins[1]])
            .env(SoftToken::VARIABLE, &library)
            .stdin(Stdio::null())
            .output()?;
        if !made.status.success() {
            return Err(format!("softhsm2-util: {}", String::from_utf8_lossy(&made.stderr)).into());
        }
        let rules =
            format!("[pkcs11]\nmodule = {module:?}\ntoken = \"ring0\"\npin_file = {pin_file:?}\n");
        Ok(Some(SoftToken { library, rules }))
    }
}

/// Writes a file of mode 0600 and gives its path.
fn secret(path: &Path, text: &str) -> io::Result<PathBuf> {
    let mut file = fs::OpenOptions::new();
    let mut file = file
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    io::Write::write_all(&mut file, text.as_bytes())?;
    Ok(path.to_owned())
}

impl Drop for Stand {
    fn drop(&mut self) {
        for child in self.running.values_mut() {
            let _ = child.kill(); // it may have ended
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.folder); // the system cleans its temporary folder too
    }
}
