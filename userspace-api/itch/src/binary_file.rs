//! BinaryFILE: messages in a file, each behind its length in two bytes, big-endian. A length of zero ends the file; so does
//! the end of the file itself.

use std::io::{self, Read, Write};

/// Bytes of the length before each message.
const LENGTH: usize = 2;

/// Bytes of a reader's buffer: more than the longest message with its length, and large against a system call.
const BUFFER: usize = 1 << 18;
const _: () = assert!(BUFFER >= 2 * (LENGTH + u16::MAX as usize));

/// Why a file could not be read further.
#[derive(Debug, thiserror::Error)]
pub enum BinaryFileError {
    /// The operating system's reason.
    #[error("cannot read at byte {offset}: {source}")]
    Io {
        /// Bytes of the file before it.
        offset: u64,
        /// What it said.
        source: io::Error,
    },
    /// The file ends within a message.
    #[error(
        "the file ends within the message at byte {offset}; it was cut off, fetch or write it again"
    )]
    Truncated {
        /// Byte of the message's length.
        offset: u64,
    },
}

/// Reads messages from a file or another stream, with a buffer of its own.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    buffer: Box<[u8]>,
    /// What was read and not given out yet.
    start: usize,
    end: usize,
    /// Bytes of the file before `start`.
    offset: u64,
    ended: bool,
}

impl<R: Read> Reader<R> {
    /// A reader from the front of `source`, which needs no buffer.
    #[must_use]
    pub fn new(source: R) -> Self {
        Self {
            source,
            buffer: vec![0; BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
            offset: 0,
            ended: false,
        }
    }

    /// The next message, never empty; `None` at the end, from then on.
    ///
    /// # Errors
    /// When the file cannot be read, or ends within a message.
    #[inline]
    pub fn next_message(&mut self) -> Result<Option<&[u8]>, BinaryFileError> {
        if self.ended || !self.has(LENGTH)? {
            self.ended = true;
            return Ok(None);
        }
        let at = self.start;
        let length = u16::from_be_bytes([self.buffer[at], self.buffer[at + 1]]);
        if length == 0 {
            self.ended = true;
            return Ok(None);
        }
        let whole = LENGTH + usize::from(length);
        self.has(whole)?;
        let at = self.start;
        self.start += whole;
        self.offset += whole as u64;
        Ok(Some(&self.buffer[at + LENGTH..at + whole]))
    }

    /// Bytes of the file before the next message.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether `bytes` bytes are in the buffer; false only where the file ends before the first of them.
    #[inline]
    fn has(&mut self, bytes: usize) -> Result<bool, BinaryFileError> {
        if self.end - self.start >= bytes {
            return Ok(true);
        }
        self.fill(bytes)
    }

    #[cold]
    fn fill(&mut self, bytes: usize) -> Result<bool, BinaryFileError> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while self.end < bytes {
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(0) if self.end == 0 => return Ok(false),
                Ok(0) => {
                    let offset = self.offset;
                    return Err(BinaryFileError::Truncated { offset });
                }
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    let offset = self.offset + self.end as u64;
                    return Err(BinaryFileError::Io { offset, source });
                }
            }
        }
        Ok(true)
    }
}

/// The messages of a file that is in memory.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Messages<'a> {
    /// Those of `bytes`, a whole file.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }
}

impl<'a> Iterator for Messages<'a> {
    /// An error is the last item.
    type Item = Result<&'a [u8], BinaryFileError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.at..)?;
        let message = match rest.split_first_chunk::<LENGTH>() {
            Some(([0, 0], _)) => {
                self.at = self.bytes.len();
                return None;
            }
            Some((length, rest)) => rest.get(..usize::from(u16::from_be_bytes(*length))),
            None if rest.is_empty() => return None,
            None => None,
        };
        match message {
            Some(message) => {
                self.at += LENGTH + message.len();
                Some(Ok(message))
            }
            None => {
                let offset = self.at as u64;
                self.at = self.bytes.len();
                Some(Err(BinaryFileError::Truncated { offset }))
            }
        }
    }
}

/// Writes messages to a file. Give it a [`std::io::BufWriter`]: every message is two writes.
#[derive(Debug)]
pub struct Writer<W> {
    sink: W,
}

impl<W: Write> Writer<W> {
    /// A writer to the front of `sink`.
    pub fn new(sink: W) -> Self {
        Self { sink }
    }

    /// Appends a message.
    ///
    /// # Errors
    /// The sink's; and `InvalidInput` for a message that is empty, which would end the file, or above 65,535 bytes.
    pub fn write(&mut self, message: &[u8]) -> io::Result<()> {
        let length = u16::try_from(message.len())
            .ok()
            .filter(|&length| length > 0)
            .ok_or_else(|| {
                let text = format!("a message of {} bytes is not 1 to 65,535", message.len());
                io::Error::new(io::ErrorKind::InvalidInput, text)
            })?;
        self.sink.write_all(&length.to_be_bytes())?;
        self.sink.write_all(message)
    }

    /// Appends the zero length that ends a day's file. Nothing that is written behind it is read.
    ///
    /// # Errors
    /// The sink's.
    pub fn write_end(&mut self) -> io::Result<()> {
        self.sink.write_all(&[0; LENGTH])
    }

    /// Flushes and gives the sink back.
    ///
    /// # Errors
    /// The sink's.
    pub fn finish(mut self) -> io::Result<W> {
        self.sink.flush()?;
        Ok(self.sink)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// A source that gives few bytes at a time, and is interrupted between them.
    struct Slow<'a> {
        bytes: &'a [u8],
        step: usize,
        interrupt: bool,
    }

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.interrupt = !self.interrupt;
            if self.interrupt {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let step = self.step.min(into.len());
            (&self.bytes[..step.min(self.bytes.len())])
                .read(into)
                .inspect(|&read| self.bytes = &self.bytes[read..])
        }
    }

    /// All messages, then the offset at which a truncated file was noticed.
    fn read_all(source: impl Read) -> (Vec<Vec<u8>>, Option<u64>) {
        let mut reader = Reader::new(source);
        let mut messages = Vec::new();
        loop {
            match reader.next_message() {
                Ok(Some(message)) => messages.push(message.to_vec()),
                Ok(None) => return (messages, None),
                Err(BinaryFileError::Truncated { offset }) => return (messages, Some(offset)),
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn in_memory(bytes: &[u8]) -> (Vec<Vec<u8>>, Option<u64>) {
        let mut messages = Vec::new();
        for message in Messages::new(bytes) {
            match message {
                Ok(message) => messages.push(message.to_vec()),
                Err(BinaryFileError::Truncated { offset }) => return (messages, Some(offset)),
                Err(error) => panic!("{error}"),
            }
        }
        (messages, None)
    }

    #[test]
    fn golden() {
        let mut writer = Writer::new(Vec::new());
        writer.write(b"Sabc").unwrap();
        writer.write(b"D").unwrap();
        let empty = writer.write(b"").unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::InvalidInput);
        assert!(writer.write(&vec![0; 65_536]).is_err());
        writer.write_end().unwrap();
        let bytes = writer.finish().unwrap();
        assert_eq!(bytes, b"\0\x04Sabc\0\x01D\0\0");
        let expected = (vec![b"Sabc".to_vec(), b"D".to_vec()], None);
        assert_eq!(read_all(&bytes[..]), expected);
        assert_eq!(read_all(&bytes[..bytes.len() - 2]), expected);
        let behind = [&bytes[..], b"\0\x01E"].concat();
        assert_eq!(read_all(&behind[..]), expected);
        assert_eq!(in_memory(&behind), expected);
    }

    #[test]
    fn a_cut_file_is_an_error_at_every_byte() {
        let bytes = b"\0\x04Sabc\0\x01D";
        for cut in 0..=bytes.len() {
            let expected = match cut {
                0 => (0, None),
                1..6 => (0, Some(0)),
                6 => (1, None),
                7..9 => (1, Some(6)),
                _ => (2, None),
            };
            for (messages, offset) in [read_all(&bytes[..cut]), in_memory(&bytes[..cut])] {
                assert_eq!((messages.len(), offset), expected, "cut at {cut}");
            }
        }
    }

    #[test]
    fn the_longest_messages_fit_the_buffer() {
        let long = vec![7; usize::from(u16::MAX)];
        let mut writer = Writer::new(Vec::new());
        for _ in 0..9 {
            writer.write(&long).unwrap();
        }
        let (messages, cut) = read_all(&writer.finish().unwrap()[..]);
        assert_eq!((messages.len(), cut), (9, None));
        assert!(messages.iter().all(|message| *message == long));
    }

    proptest! {
        #[test]
        fn reads_back(messages in vec(vec(any::<u8>(), 1..80), 0..50), step in 1_usize..40) {
            let mut writer = Writer::new(Vec::new());
            for message in &messages {
                writer.write(message).unwrap();
            }
            let bytes = writer.finish().unwrap();
            let slow = Slow { bytes: &bytes, step, interrupt: false };
            prop_assert_eq!(read_all(slow), (messages, None));
        }

        #[test]
        fn both_readers_agree_on_anything(bytes in vec(any::<u8>(), 0..700), high in 0..3_u8) {
            let bytes: Vec<u8> = bytes.into_iter().map(|byte| if byte < 200 { byte % (high + 1) } else { byte }).collect();
            prop_assert_eq!(read_all(&bytes[..]), in_memory(&bytes));
        }
    }
}
