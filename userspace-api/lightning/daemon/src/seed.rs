//! The node's seed: a file of 64 hexadecimal digits, made once, readable by its owner alone.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use zeroize::Zeroizing;

/// Reads the seed, or makes one where there is neither a seed nor a node.
///
/// # Errors
/// It is damaged, others may read it, or it is missing beside a node that was made with it.
pub(crate) fn open(folder: &Path) -> io::Result<Zeroizing<[u8; 32]>> {
    let path = folder.join("seed");
    let wrong = |what: &str| {
        io::Error::new(
            ErrorKind::InvalidData,
            format!("{}: {what}", path.display()),
        )
    };
    let mut seed = Zeroizing::new([0_u8; 32]);
    match File::open(&path) {
        Ok(mut file) => {
            if file.metadata()?.permissions().mode() & 0o077 != 0 {
                return Err(wrong(
                    "others may read the seed; run chmod 600 on it, and close all channels if anybody could have",
                ));
            }
            let mut text = Zeroizing::new(String::new());
            file.read_to_string(&mut text)?;
            let digits = text.trim_end().as_bytes();
            // What stands there is not repeated: it is the seed.
            let damaged =
                || wrong("it is not 64 hexadecimal digits; restore the seed from its copy");
            if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
                return Err(damaged());
            }
            for (byte, pair) in seed.iter_mut().zip(digits.chunks(2)) {
                let pair = std::str::from_utf8(pair).map_err(|_| damaged())?;
                *byte = u8::from_str_radix(pair, 16).map_err(|_| damaged())?;
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if folder.join("node").exists() {
                return Err(wrong(
                    "the seed is missing, and there is a node that was made with it; restore the seed from its copy",
                ));
            }
            rustix::rand::getrandom(&mut seed[..], rustix::rand::GetRandomFlags::empty())?;
            let mut text = Zeroizing::new(String::with_capacity(65));
            for byte in seed.iter() {
                text.push_str(&format!("{byte:02x}"));
            }
            text.push('\n');
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            File::open(folder)?.sync_all()?;
        }
        Err(error) => return Err(error),
    }
    Ok(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let seed = open(folder.path()).unwrap();
        assert_eq!(open(folder.path()).unwrap(), seed);
        let path = folder.path().join("seed");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(open(folder.path()).is_err(), "others may read it");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(folder.path().join("node")).unwrap();
        assert!(open(folder.path()).is_err(), "a node without its seed");
        assert!(!path.exists());
    }
}
