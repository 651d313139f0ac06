//! Packets that are made before the clock starts.

/// Payloads one after the other in one piece of memory.
#[derive(Default)]
pub struct Packets {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Packets {
    /// Appends a payload.
    pub fn push(&mut self, payload: &[u8]) {
        self.bytes.extend_from_slice(payload);
        self.ends.push(self.bytes.len());
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Payloads.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The payload at `index`.
    ///
    /// # Panics
    /// There are not so many.
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }

    /// Messages of the payload at `index`, its tag block not counted.
    #[must_use]
    pub fn messages(&self, index: usize) -> u64 {
        self.header(index).1 - 1
    }

    /// Client sequence and count of the payload at `index`.
    #[inline]
    #[must_use]
    pub fn header(&self, index: usize) -> (u64, u64) {
        header(self.get(index))
    }
}

/// Client sequence and count, tag block included, of a payload.
///
/// # Panics
/// The payload is shorter than a header.
#[inline]
#[must_use]
pub fn header(payload: &[u8]) -> (u64, u64) {
    let sequence = u64::from_be_bytes(payload[10..18].try_into().expect("eight bytes"));
    let count = u16::from_be_bytes(payload[18..20].try_into().expect("two bytes"));
    (sequence, count.into())
}
