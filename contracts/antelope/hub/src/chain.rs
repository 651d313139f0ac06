//! The chain's side: the functions that a node gives to contracts (`env`), and safe names for those the hub uses. The only unsafe code.

use core::fmt::{self, Write};

use ring0_antelope_machine::account::Name;
use ring0_antelope_machine::hash::Word;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    #[link_name = "read_action_data"]
    fn env_read_action_data(to: *mut u8, length: u32) -> u32;
    #[link_name = "action_data_size"]
    safe fn env_action_data_size() -> u32;
    #[link_name = "require_auth"]
    safe fn env_require_auth(name: u64);
    #[link_name = "is_account"]
    safe fn env_is_account(name: u64) -> i32;
    #[link_name = "send_inline"]
    fn env_send_inline(action: *const u8, length: u32);
    #[link_name = "current_time"]
    safe fn env_current_time() -> u64;
    #[link_name = "get_block_num"]
    safe fn env_get_block_num() -> u32;
    #[link_name = "tapos_block_num"]
    safe fn env_tapos_block_num() -> i32;
    #[link_name = "tapos_block_prefix"]
    safe fn env_tapos_block_prefix() -> i32;
    #[link_name = "eosio_assert_message"]
    fn env_assert(holds: u32, text: *const u8, length: u32);
    #[link_name = "sha3"]
    fn env_sha3(bytes: *const u8, length: u32, hash: *mut u8, hash_length: u32, keccak: i32);
    #[link_name = "k1_recover"]
    fn env_k1_recover(
        signature: *const u8,
        signature_length: u32,
        digest: *const u8,
        digest_length: u32,
        key: *mut u8,
        key_length: u32,
    ) -> i32;
    #[link_name = "db_find_i64"]
    safe fn env_find(code: u64, scope: u64, table: u64, key: u64) -> i32;
    #[link_name = "db_get_i64"]
    fn env_get(row: i32, to: *mut u8, length: u32) -> i32;
    #[link_name = "db_store_i64"]
    fn env_store(
        scope: u64,
        table: u64,
        payer: u64,
        key: u64,
        bytes: *const u8,
        length: u32,
    ) -> i32;
    #[link_name = "db_update_i64"]
    fn env_update(row: i32, payer: u64, bytes: *const u8, length: u32);
    #[link_name = "db_remove_i64"]
    safe fn env_remove(row: i32);
}

/// Text of a refusal: what fits is shown.
struct Text {
    bytes: [u8; 256],
    length: usize,
}

impl Write for Text {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let taken = more.len().min(self.bytes.len() - self.length);
        self.bytes[self.length..self.length + taken].copy_from_slice(&more.as_bytes()[..taken]);
        self.length += taken;
        Ok(())
    }
}

/// Ends the transaction: nothing of it happens.
pub(crate) fn refuse(why: &impl fmt::Display) -> ! {
    let mut text = Text {
        bytes: [0; 256],
        length: 0,
    };
    // Writing into `Text` does not fail.
    let _ = write!(text, "{why}");
    // SAFETY: pointer and length are of `text.bytes`, of which `length` bytes are written.
    unsafe { env_assert(0, text.bytes.as_ptr(), text.length as u32) }
    core::arch::wasm32::unreachable()
}

/// A step that may be refused.
pub(crate) fn done<T, E: fmt::Display>(step: Result<T, E>) -> T {
    match step {
        Ok(done) => done,
        Err(why) => refuse(&why),
    }
}

/// Refuses unless it holds.
pub(crate) fn require(holds: bool, why: &str) {
    if !holds {
        refuse(&why);
    }
}

/// The action's data, in a buffer of the caller's.
pub(crate) fn action_data(buffer: &mut [u8]) -> &[u8] {
    let length = env_action_data_size() as usize;
    require(length <= buffer.len(), "action data is too long");
    // SAFETY: `length` bytes from the start of `buffer` are inside of it.
    let read = unsafe { env_read_action_data(buffer.as_mut_ptr(), length as u32) };
    require(read as usize == length, "action data is not there");
    &buffer[..length]
}

/// The transaction carries this account's authority.
pub(crate) fn require_auth(name: Name) {
    env_require_auth(name.0);
}

/// There is such an account.
pub(crate) fn is_account(name: Name) -> bool {
    env_is_account(name.0) != 0
}

/// Puts an action behind this one, in the same transaction.
pub(crate) fn send_inline(action: &[u8]) {
    // SAFETY: pointer and length are the slice's.
    unsafe { env_send_inline(action.as_ptr(), action.len() as u32) }
}

/// The block's time, seconds of Unix time.
pub(crate) fn now() -> u64 {
    env_current_time() / 1_000_000
}

/// The block's number.
pub(crate) fn block_number() -> u32 {
    env_get_block_num()
}

/// Which block the transaction refers to: the low 16 bits of its number, 32 bits of its id.
pub(crate) fn reference() -> (u16, u32) {
    (
        env_tapos_block_num() as u16,
        env_tapos_block_prefix() as u32,
    )
}

/// Keccak-256.
pub(crate) fn keccak(bytes: &[u8]) -> Word {
    let mut hash = [0; 32];
    // SAFETY: pointers and lengths are of `bytes` and `hash`, which do not overlap.
    unsafe { env_sha3(bytes.as_ptr(), bytes.len() as u32, hash.as_mut_ptr(), 32, 1) }
    hash
}

/// The key whose signature it is: x and y.
pub(crate) fn recover(digest: &Word, parity: u8, r: &Word, s: &Word) -> Option<[u8; 64]> {
    let mut signature = [0; 65];
    signature[0] = 27 + parity;
    signature[1..33].copy_from_slice(r);
    signature[33..].copy_from_slice(s);
    let mut key = [0; 65];
    // SAFETY: pointers and lengths are of three arrays, which do not overlap.
    let refused = unsafe {
        env_k1_recover(
            signature.as_ptr(),
            65,
            digest.as_ptr(),
            32,
            key.as_mut_ptr(),
            65,
        )
    };
    if refused != 0 {
        return None;
    }
    let mut point = [0; 64];
    point.copy_from_slice(&key[1..]);
    Some(point)
}

/// A table of the hub's own.
#[derive(Clone, Copy)]
pub(crate) struct Table {
    pub(crate) hub: Name,
    pub(crate) scope: u64,
    pub(crate) name: Name,
}

/// A row that is there.
#[derive(Clone, Copy)]
pub(crate) struct Row(i32);

impl Table {
    pub(crate) fn find(&self, key: u64) -> Option<Row> {
        let row = env_find(self.hub.0, self.scope, self.name.0, key);
        (row >= 0).then_some(Row(row))
    }

    /// Writes a new row, whose memory `payer` pays.
    pub(crate) fn store(&self, payer: Name, key: u64, bytes: &[u8]) {
        let length = bytes.len() as u32;
        // SAFETY: pointer and length are the slice's.
        unsafe {
            env_store(
                self.scope,
                self.name.0,
                payer.0,
                key,
                bytes.as_ptr(),
                length,
            )
        };
    }
}

impl Row {
    /// The row's bytes, in a buffer of the caller's.
    pub(crate) fn read(self, buffer: &mut [u8]) -> &[u8] {
        // SAFETY: pointer and length are the buffer's; a node writes no more than that.
        let length = unsafe { env_get(self.0, buffer.as_mut_ptr(), buffer.len() as u32) };
        let length = length as usize;
        require(length <= buffer.len(), "row is too long");
        &buffer[..length]
    }

    /// Replaces the row's bytes; who pays stays as it is.
    pub(crate) fn update(self, bytes: &[u8]) {
        // SAFETY: pointer and length are the slice's.
        unsafe { env_update(self.0, 0, bytes.as_ptr(), bytes.len() as u32) }
    }

    pub(crate) fn remove(self) {
        env_remove(self.0);
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    refuse(&"a bug of the hub; nothing has changed")
}
