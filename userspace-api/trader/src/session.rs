//! A session: its id, its key and the file that holds both.
//!
//! Invariants: a key file is readable by its owner alone, is written whole or not at all, and is
//! replaced only on demand; the key never shows in `Debug`, and its memory is wiped when the
//! session is dropped. The file is two lines:
//!
//! ```text
//! session 000008Q3ZK
//! key 0123456789abcdef0123456789abcdef
//! ```
//!
//! Client and daemon read the same file, so they agree on the id's random part too.
//! Rule: `docs/market.md#key-files`.

use ring0_wire::mold::NONCE_BITS;
use ring0_wire::{Key, SessionId};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zerocopy::IntoBytes;
use zeroize::{Zeroize, Zeroizing};

/// Bytes of a key in a file, as hexadecimal digits: 16 bytes.
const KEY_DIGITS: usize = 32;

/// Fewest answers that a venue stores for a session (RULES 10): a window that is always allowed.
pub const ANSWERS_MIN: u32 = 128;

/// Longest key file read, in bytes: what is longer is another file.
const FILE_BYTES_MAX: u64 = 1024;

/// What went wrong with a key file.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The file could not be read, made or renamed.
    #[error("cannot {act} key file {path}; {help}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        act: &'static str,
        /// What to do.
        help: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Others may read the file, so the key is not a secret.
    #[error(
        "key file {path} may be read by others (mode {mode:04o}); run: chmod 600 '{path}', and make a new key if anybody could have read it"
    )]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not the two lines of a key file. What it says instead is not repeated: it may be a key.
    #[error(
        "key file {path}: {problem}; it must be two lines, `session` and the ten letters of the id, `key` and 32 hexadecimal digits; make it anew with keygen"
    )]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
    /// The file is there already and may hold a key in use.
    #[error("key file {path} is there already; keep it, or replace it by force")]
    Exists {
        /// Which file.
        path: PathBuf,
    },
    /// The system has no random numbers.
    #[error(
        "the system gave no random bytes for a key; try again when it has started up: {source}"
    )]
    Random {
        /// Why not.
        source: io::Error,
    },
}

/// What to do about a key file that is there already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Existing {
    /// Leave it: somebody may be trading with it.
    Keep,
    /// Put a new one in its place.
    Replace,
}

/// A key in a place of its own, so that moving it leaves no copy behind.
#[derive(Clone)]
struct Secret(Box<Key>);

impl Secret {
    fn from_bytes(bytes: &[u8; 16]) -> Secret {
        let mut key = Box::new(Key::new(0, 0));
        // A key's memory is its bytes in SipHash's order: ring0-wire is little-endian only.
        key.as_mut_bytes().copy_from_slice(bytes);
        Secret(key)
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.as_mut_bytes().zeroize();
    }
}

/// A session as its owner holds it.
#[derive(Clone)]
pub struct Session {
    id: SessionId,
    key: Option<Secret>,
    answers: u32,
}

impl Session {
    /// A session of known id and key, with the fewest answers a venue stores.
    #[must_use]
    pub fn new(id: SessionId, key: &[u8; 16]) -> Session {
        Session {
            id,
            key: Some(Secret::from_bytes(key)),
            answers: ANSWERS_MIN,
        }
    }

    /// A session of a shard whose tags are switched off by its configuration.
    #[must_use]
    pub fn without_tag(id: SessionId) -> Session {
        Session {
            id,
            key: None,
            answers: ANSWERS_MIN,
        }
    }

    /// A new random key and random part of the id for session `index`; `None` for an index with
    /// more than 20 bits.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub fn generate(index: u32) -> Result<Option<Session>, SessionError> {
        let mut bytes = Zeroizing::new([0_u8; 20]);
        rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())
            .and_then(|filled| {
                if filled == bytes.len() {
                    Ok(())
                } else {
                    Err(rustix::io::Errno::AGAIN) // below 256 bytes the kernel gives all or fails
                }
            })
            .map_err(|error| SessionError::Random {
                source: error.into(),
            })?;
        let [key @ .., a, b, c, d] = &*bytes;
        let nonce = u32::from_le_bytes([*a, *b, *c, *d]) >> (u32::BITS - NONCE_BITS);
        Ok(SessionId::new(index, nonce).map(|id| Session::new(id, key)))
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// It is not there, not a key file, or others may read it.
    pub fn open(path: &Path) -> Result<Session, SessionError> {
        let fail = |help| {
            move |source| SessionError::Io {
                path: path.to_owned(),
                act: "read",
                help,
                source,
            }
        };
        let file = File::open(path)
            .map_err(fail("make it with keygen, or run as the user who owns it"))?;
        // Asked of the open file, so that nobody can change the name's meaning in between.
        let about = file.metadata().map_err(fail("check the file system"))?;
        let mode = about.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(SessionError::Exposed {
                path: path.to_owned(),
                mode,
            });
        }
        let mut text = Zeroizing::new(String::with_capacity(FILE_BYTES_MAX as usize));
        file.take(FILE_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(fail("it is no text; make it anew with keygen"))?;
        read(&text).map_err(|problem| SessionError::Content {
            path: path.to_owned(),
            problem,
        })
    }

    /// Writes the key file, mode 0600, whole or not at all; a missing folder is made with mode 0700.
    ///
    /// # Errors
    /// The file is there and to be kept, or the file system refused.
    pub fn save(&self, path: &Path, existing: Existing) -> Result<(), SessionError> {
        let fail = |act| {
            move |source: io::Error| match source.kind() {
                ErrorKind::AlreadyExists => SessionError::Exists {
                    path: path.to_owned(),
                },
                _ => SessionError::Io {
                    path: path.to_owned(),
                    act,
                    help: "check that its folder may be written",
                    source,
                },
            }
        };
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(fail("make the folder of"))?;
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}.new", std::process::id()));
        let temporary = folder.join(name);

        let written = self.write_new(&temporary).and_then(|()| match existing {
            // A link fails where the name is taken; a rename would take it over.
            Existing::Keep => fs::hard_link(&temporary, path),
            Existing::Replace => fs::rename(&temporary, path),
        });
        let _ = fs::remove_file(&temporary); // gone already after a rename
        written.map_err(fail("write"))?;
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(fail("sync the folder of"))
    }

    fn write_new(&self, path: &Path) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(self.text().as_bytes())?;
        file.sync_all()
    }

    /// The two lines of the key file. Room is made first, so that growing leaves no copy behind.
    fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(128));
        text.push_str(&format!("session {}\nkey ", self.id));
        let none = Key::new(0, 0);
        for byte in self.key().unwrap_or(&none).as_bytes() {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
            }
        }
        text.push('\n');
        text
    }

    /// This session with as many stored answers as its grant says: the client may have so many
    /// sequences unanswered.
    #[must_use]
    pub fn with_answers(mut self, answers: u32) -> Session {
        self.answers = answers;
        self
    }

    /// The ten letters in every packet.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The key; `None` where tags are switched off.
    #[must_use]
    pub fn key(&self) -> Option<&Key> {
        self.key.as_ref().map(|secret| &*secret.0)
    }

    /// How many answers the venue stores for this session.
    #[must_use]
    pub fn answers(&self) -> u32 {
        self.answers
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({})", self.id)
    }
}

/// The session in a key file's text.
fn read(text: &str) -> Result<Session, &'static str> {
    let mut lines = text.lines();
    let id = lines
        .next()
        .and_then(|line| line.strip_prefix("session "))
        .ok_or("the first line is not `session` and an id")?;
    let digits = lines
        .next()
        .and_then(|line| line.strip_prefix("key "))
        .ok_or("the second line is not `key` and digits")?;
    if lines.next().is_some() {
        return Err("there is a third line");
    }
    let id = id
        .as_bytes()
        .try_into()
        .map(SessionId)
        .map_err(|_| "the id is not ten letters")?;
    if id.index().is_none() || id.nonce().is_none() {
        return Err("the id has a letter that is not of its alphabet");
    }
    if digits.len() != KEY_DIGITS {
        return Err("the key has not 32 digits");
    }
    let mut key = Zeroizing::new([0_u8; 16]);
    for (byte, pair) in key.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        for &digit in pair {
            let value = char::from(digit)
                .to_digit(16)
                .ok_or("the key has a character that is not a hexadecimal digit")?;
            *byte = *byte << 4 | value as u8;
        }
    }
    Ok(Session::new(id, &key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_reads_back_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/one.key");
        let session = Session::generate(7).unwrap().unwrap();
        session.save(&path, Existing::Keep).unwrap();
        let read = Session::open(&path).unwrap();
        assert_eq!(read.id(), session.id());
        assert_eq!(read.id().index(), Some(7));
        assert_eq!(
            read.key().unwrap().as_bytes(),
            session.key().unwrap().as_bytes()
        );
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn an_existing_key_stays_unless_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one.key");
        let [first, second] = [0, 1].map(|_| Session::generate(0).unwrap().unwrap());
        first.save(&path, Existing::Keep).unwrap();
        let error = second.save(&path, Existing::Keep).unwrap_err();
        assert!(matches!(error, SessionError::Exists { .. }), "{error}");
        assert_eq!(Session::open(&path).unwrap().id(), first.id());
        second.save(&path, Existing::Replace).unwrap();
        assert_eq!(Session::open(&path).unwrap().id(), second.id());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_that_others_may_read_is_refused_with_the_command_to_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one.key");
        let session = Session::generate(0).unwrap().unwrap();
        session.save(&path, Existing::Keep).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let text = Session::open(&path).unwrap_err().to_string();
            assert!(text.contains("chmod 600 '"), "{text}");
        }
    }

    #[test]
    fn only_the_two_lines_are_read() {
        let key = "0123456789abcdefABCDEF9876543210";
        assert!(read(&format!("session 0000ABCDEF\nkey {key}\n")).is_ok());
        let bad = [
            (String::new(), "first line"),
            ("session 0000ABCDEF".into(), "second line"),
            (format!("session 0000ABCDE\nkey {key}"), "ten letters"),
            (format!("session 0000ABCDEI\nkey {key}"), "alphabet"),
            (
                format!("session 0000ABCDEF\nkey {}", &key[1..]),
                "32 digits",
            ),
            (
                format!("session 0000ABCDEF\nkey g{}", &key[1..]),
                "hexadecimal",
            ),
            (format!("session 0000ABCDEF\nkey {key}\n\n"), "third line"),
        ];
        for (text, want) in bad {
            let problem = read(&text).unwrap_err();
            assert!(problem.contains(want), "{problem}");
        }
    }

    #[test]
    fn a_key_never_shows() {
        let key = *b"0123456789abcdef";
        let session = Session::new(SessionId::new(3, 4).unwrap(), &key);
        assert_eq!(format!("{session:?}"), "Session(0003000004)");
        assert_eq!(format!("{:?}", session.key().unwrap()), "Key(secret)");
    }
}
