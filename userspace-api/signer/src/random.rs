//! Random bytes of the kernel.

use frost_secp256k1_tr::rand_core::{CryptoRng, Error, RngCore};

/// Fills a buffer.
pub(crate) fn fill(buffer: &mut [u8]) {
    let mut filled = 0;
    while filled < buffer.len() {
        let flags = rustix::rand::GetRandomFlags::empty();
        match rustix::rand::getrandom(&mut buffer[filled..], flags) {
            Ok(bytes) => filled += bytes,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!(
                "the kernel gives no random bytes: {error}; nothing can be kept secret without"
            ),
        }
    }
}

/// Some.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill(&mut bytes);
    bytes
}

/// The kernel, as the FROST crate asks it.
pub(crate) struct Kernel;

impl CryptoRng for Kernel {}

impl RngCore for Kernel {
    fn next_u32(&mut self) -> u32 {
        u32::from_le_bytes(bytes())
    }

    fn next_u64(&mut self) -> u64 {
        u64::from_le_bytes(bytes())
    }

    fn fill_bytes(&mut self, to: &mut [u8]) {
        fill(to);
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Error> {
        fill(to);
        Ok(())
    }
}
