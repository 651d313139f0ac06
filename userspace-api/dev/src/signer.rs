//! The signer of a venue, and where its operator's key is: in its keystore, or in a PKCS#11 token; beside it a vault's key in three processes' shares.

use crate::Trouble;
use crate::program::{Program, find};
use alloy_primitives::{Address, hex};
use ring0_signer::stand::SoftToken;
use ring0_socket::Client;
use serde_json::{Value, json};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where keys are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub enum SignerKind {
    /// The operator's key in the signer's own keystore.
    #[default]
    Local,
    /// The operator's key in a SoftHSM token, which it cannot leave.
    Pkcs11,
    /// The operator's key in the keystore; and a vault's taproot key in the shares of three processes, two of which sign (FROST).
    Frost,
}

/// Rules of the vault's key: what it may move is the coin of a Bitcoin chain of one's own.
const VAULT: &str = "[[asset]]\nname = \"BTC\"\nnetwork = \"regtest\"\n\
    [[key]]\nname = \"vault\"\nkinds = [\"vault-move\"]\nper_second = 10\nfee_max = \"2000\"\n";

/// Holders of shares, as programs and as folders of the venue.
const HOLDERS: [(&str, &str); 3] = [
    ("ring0-signer:holder-a", "holder-a"),
    ("ring0-signer:holder-b", "holder-b"),
    ("ring0-signer:holder-c", "holder-c"),
];

/// A signer that is made and not running yet.
#[derive(Debug)]
pub(crate) struct Signer {
    /// Address of the operator's key.
    pub(crate) operator: Address,
    /// The signer.
    pub(crate) program: Program,
    /// Holders of shares; they run.
    pub(crate) holders: Vec<Program>,
    /// The vault's script, hexadecimal.
    pub(crate) vault: Option<String>,
    /// What its configuration has besides what the hub adds.
    rules: String,
}

impl Signer {
    /// Makes the signer's folder in a venue's, and its keys.
    ///
    /// # Errors
    /// What the signer's commands say; for PKCS#11 SoftHSM is not here.
    pub(crate) fn make(folder: &Path, kind: SignerKind) -> Result<Signer, Trouble> {
        let mut own = Home::make(folder, "signer")?;
        own.configure("")?;
        own.run(&["init", "--per-second", "100"])?;
        let mut rules = String::new();
        let mut holders = Vec::new();
        let mut vault = None;
        match kind {
            SignerKind::Local => drop(own.run(&["key", "new", "operator"])?),
            SignerKind::Pkcs11 => {
                let made = SoftToken::make(folder)?.ok_or(
                    "SoftHSM is not on this machine: apt-get install softhsm2, or --signer local",
                )?;
                own.token = Some(made.library);
                rules = made.rules;
                own.configure(&rules)?;
                own.run(&["key", "new", "operator", "--backend", "pkcs11"])?;
            }
            SignerKind::Frost => {
                own.run(&["key", "new", "operator"])?;
                let reached;
                (holders, reached) = start_holders(folder)?;
                rules = format!("{VAULT}{reached}");
                own.configure(&rules)?;
                let made = own.run(&["ceremony", "dkg", "vault", "--threshold", "2"])?;
                let script = made["key"]["script"].as_str();
                vault = Some(script.ok_or("the ceremony told no script")?.to_owned());
            }
        }
        let keys = own.run(&["key", "list"])?;
        let found = keys["keys"].as_array().into_iter().flatten();
        let found = found.into_iter().find(|it| it["name"] == "operator");
        let address = found
            .and_then(|it| it["address"].as_str())
            .and_then(|it| it.parse().ok());
        let operator =
            address.ok_or_else(|| format!("the signer lists no operator's key: {keys}"))?;
        Ok(Signer {
            operator,
            program: own.program("ring0-signer")?,
            holders,
            vault,
            rules,
        })
    }

    /// Writes the configuration that it is to run with: this and what its keys need.
    ///
    /// # Errors
    /// The disk.
    pub(crate) fn configure(&self, folder: &Path, rules: &str) -> Result<(), Trouble> {
        let own = Home {
            folder: folder.join("signer"),
            passphrase: PathBuf::new(),
            token: None,
        };
        own.configure(&format!("{rules}{}", self.rules))
    }
}

/// Makes three holders of shares who know each other, and starts them. Gives what a coordinator's configuration has of them.
fn start_holders(folder: &Path) -> Result<(Vec<Program>, String), Trouble> {
    let (mut homes, mut known, mut reached) = (Vec::new(), String::new(), String::new());
    for (_, name) in HOLDERS {
        let home = Home::make(folder, name)?;
        home.configure("")?;
        home.run(&["init"])?;
        let answer = home.run(&["share", "identity"])?;
        let identity = answer["identity"].as_str();
        let identity = identity.ok_or("a holder told no identity")?;
        known.push_str(&format!(
            "[[holder]]\nname = \"{name}\"\nidentity = \"{identity}\"\n"
        ));
        reached.push_str(&format!(
            "[[holder]]\nname = \"{name}\"\nsocket = {:?}\n",
            home.socket()
        ));
        homes.push(home);
    }
    let mut programs = Vec::new();
    for ((program, _), home) in HOLDERS.into_iter().zip(homes) {
        home.configure(&format!("{VAULT}{known}"))?;
        let mut program = home.program(program)?;
        start(&mut program, &home.socket())?;
        programs.push(program);
    }
    Ok((programs, reached))
}

/// Starts a signer or holder and waits for it.
///
/// # Errors
/// It does not start.
pub(crate) fn start(program: &mut Program, socket: &Path) -> Result<(), Trouble> {
    program.start(|| {
        Client::connect(socket).is_ok_and(|mut it| it.call(&json!({ "verb": "status" })).is_ok())
    })
}

/// Socket of a holder in a venue's folder, by its program's role.
pub(crate) fn socket(folder: &Path, name: &str) -> PathBuf {
    folder.join(name).join("signer.sock")
}

/// Writes a file that nobody else may read.
pub(crate) fn secret(path: &Path, text: &str) -> Result<(), Trouble> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(())
}

/// The folder of a signer, or of a holder of shares.
#[derive(Clone, Debug)]
struct Home {
    folder: PathBuf,
    passphrase: PathBuf,
    /// Configuration of the PKCS#11 library.
    token: Option<PathBuf>,
}

impl Home {
    fn make(venue: &Path, name: &str) -> Result<Home, Trouble> {
        let home = Home {
            folder: venue.join(name),
            passphrase: venue.join(format!("{name}.passphrase")),
            token: None,
        };
        let mut random = [0; 16];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
        secret(&home.passphrase, &hex::encode(random))?;
        DirBuilder::new().mode(0o700).create(&home.folder)?;
        Ok(home)
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("signer.sock")
    }

    fn configure(&self, rules: &str) -> Result<(), Trouble> {
        let user = rustix::process::geteuid().as_raw();
        let text = format!("users = [{user}]\nadmins = [{user}]\n{rules}");
        fs::write(self.folder.join("signer.toml"), text)?;
        Ok(())
    }

    fn arguments(&self, more: &[&str]) -> Vec<String> {
        let (folder, passphrase) = (self.folder.display(), self.passphrase.display());
        let mut all = vec!["--json".to_owned(), "--home".to_owned(), folder.to_string()];
        all.extend(["--passphrase-file".to_owned(), passphrase.to_string()]);
        all.extend(more.iter().map(|it| (*it).to_owned()));
        all
    }

    fn run(&self, arguments: &[&str]) -> Result<Value, Trouble> {
        let token = self.token.iter().map(|it| (SoftToken::VARIABLE, it));
        let done = Command::new(find("ring0-signer")?)
            .args(self.arguments(arguments))
            .envs(token)
            .stdin(Stdio::null())
            .output()?;
        if !done.status.success() {
            let why = String::from_utf8_lossy(&done.stderr).trim().to_owned();
            return Err(format!("ring0-signer {arguments:?}: {why}").into());
        }
        Ok(serde_json::from_slice(&done.stdout).unwrap_or(Value::Null))
    }

    fn program(&self, name: &'static str) -> Result<Program, Trouble> {
        let venue = self.folder.parent().unwrap_or(&self.folder);
        let arguments = self.arguments(&["serve", "--with-parent"]);
        let mut program = Program::new(name, venue, arguments)?;
        if let Some(library) = &self.token {
            program.environment(SoftToken::VARIABLE, library.clone());
        }
        Ok(program)
    }
}
