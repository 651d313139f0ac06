//! Captures: UDP packets in a classic pcap file, for other people's programs to read, and such files read back.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};

/// First word of a file whose times have nanoseconds.
const MAGIC_NANOSECONDS: u32 = 0xA1B2_3C4D;
/// First word of a file whose times have microseconds.
const MAGIC_MICROSECONDS: u32 = 0xA1B2_C3D4;
/// First word of a pcapng file, in either order of bytes.
const MAGIC_PCAPNG: u32 = 0x0A0D_0D0A;
/// Longest frame that is read, in bytes: what a jumbo packet over loopback can be.
const FRAME_MAX: u32 = 1 << 18;
/// Link type Ethernet.
const ETHERNET: u32 = 1;
/// Bytes of Ethernet, IPv4 and UDP headers.
const HEADERS: usize = 14 + 20 + 8;
/// Largest UDP payload of IPv4, in bytes.
pub const PAYLOAD_MAX: usize = 65_535 - 20 - 8;

/// Writes a capture of UDP packets over Ethernet and IPv4. Give it a [`std::io::BufWriter`].
#[derive(Debug)]
pub struct Writer<W> {
    sink: W,
    /// Identification of the next IPv4 packet.
    identification: u16,
}

impl<W: Write> Writer<W> {
    /// A capture at the front of `sink`.
    ///
    /// # Errors
    /// The sink's.
    pub fn new(mut sink: W) -> io::Result<Self> {
        sink.write_all(&MAGIC_NANOSECONDS.to_le_bytes())?;
        // Version 2.4.
        sink.write_all(&2_u16.to_le_bytes())?;
        sink.write_all(&4_u16.to_le_bytes())?;
        // Zone and accuracy, which nobody uses.
        sink.write_all(&[0; 8])?;
        let longest = (HEADERS + PAYLOAD_MAX) as u32;
        sink.write_all(&longest.to_le_bytes())?;
        sink.write_all(&ETHERNET.to_le_bytes())?;
        Ok(Self {
            sink,
            identification: 1,
        })
    }

    /// Appends a packet, captured `nanos` nanoseconds after the epoch.
    ///
    /// # Errors
    /// The sink's; and `InvalidInput` for a payload above [`PAYLOAD_MAX`] or a time behind the year 2106.
    pub fn udp(
        &mut self,
        nanos: u64,
        from: SocketAddrV4,
        to: SocketAddrV4,
        payload: &[u8],
    ) -> io::Result<()> {
        if payload.len() > PAYLOAD_MAX {
            return Err(invalid("a UDP packet of IPv4 has at most 65,507 bytes"));
        }
        let mut headers = [0; HEADERS];
        headers[..14].copy_from_slice(&ethernet(from, to));
        headers[14..34].copy_from_slice(&ipv4(from, to, payload.len(), self.identification));
        headers[34..36].copy_from_slice(&from.port().to_be_bytes());
        headers[36..38].copy_from_slice(&to.port().to_be_bytes());
        // No checksum behind the length, which IPv4 allows.
        headers[38..40].copy_from_slice(&((8 + payload.len()) as u16).to_be_bytes());
        self.head(nanos, HEADERS + payload.len())?;
        self.identification = self.identification.wrapping_add(1);
        self.sink.write_all(&headers)?;
        self.sink.write_all(payload)
    }

    /// Appends an Ethernet frame as it is, captured `nanos` nanoseconds after the epoch.
    ///
    /// # Errors
    /// The sink's; and `InvalidInput` for a frame longer than a UDP packet's can be, or a time behind the year 2106.
    pub fn frame(&mut self, nanos: u64, frame: &[u8]) -> io::Result<()> {
        if frame.len() > HEADERS + PAYLOAD_MAX {
            return Err(invalid("a captured frame has at most 65,549 bytes"));
        }
        self.head(nanos, frame.len())?;
        self.sink.write_all(frame)
    }

    /// The header of a frame, which is captured whole.
    fn head(&mut self, nanos: u64, bytes: usize) -> io::Result<()> {
        let seconds = u32::try_from(nanos / 1_000_000_000)
            .map_err(|_| invalid("a capture's time has 32 bits of seconds since 1970"))?;
        let length = (bytes as u32).to_le_bytes();
        self.sink.write_all(&seconds.to_le_bytes())?;
        self.sink
            .write_all(&((nanos % 1_000_000_000) as u32).to_le_bytes())?;
        self.sink.write_all(&length)?;
        self.sink.write_all(&length)
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

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what.to_owned())
}

/// A captured frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Frame {
    /// Nanoseconds after the epoch.
    pub nanos: u64,
    /// From the Ethernet header on; shorter than the frame was, where the capture cut it.
    pub bytes: Vec<u8>,
}

/// Reads a classic capture of Ethernet frames, in either order of bytes, with times in micro- or nanoseconds. Give it a [`std::io::BufReader`].
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    /// Whether the file's words are big-endian.
    swapped: bool,
    /// Nanoseconds of the smaller part of a time.
    unit_ns: u64,
}

impl<R: Read> Reader<R> {
    /// Reads the file's header.
    ///
    /// # Errors
    /// The source's; `InvalidData` where it is no classic capture, or not of Ethernet.
    pub fn new(mut source: R) -> io::Result<Self> {
        let mut header = [0; 24];
        source.read_exact(&mut header)?;
        let magic = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        let (swapped, unit_ns) = match magic {
            MAGIC_NANOSECONDS => (false, 1),
            MAGIC_MICROSECONDS => (false, 1_000),
            _ if magic.swap_bytes() == MAGIC_NANOSECONDS => (true, 1),
            _ if magic.swap_bytes() == MAGIC_MICROSECONDS => (true, 1_000),
            MAGIC_PCAPNG => {
                return Err(unreadable(
                    "it is a pcapng file; `tshark -F nsecpcap -r FILE -w NEW` makes a classic one",
                ));
            }
            _ => return Err(unreadable("it is no capture: its first word is not pcap's")),
        };
        let reader = Self {
            source,
            swapped,
            unit_ns,
        };
        let link = reader.word(&header, 20);
        if link != ETHERNET {
            return Err(unreadable(&format!(
                "its link type is {link}; capture Ethernet frames (link type 1)"
            )));
        }
        Ok(reader)
    }

    /// The next frame; `None` at the end.
    ///
    /// # Errors
    /// The source's; `UnexpectedEof` where the file ends within a frame, `InvalidData` for a length that no frame has.
    pub fn read(&mut self) -> io::Result<Option<Frame>> {
        let mut header = [0; 16];
        let first = self.source.read(&mut header)?;
        if first == 0 {
            return Ok(None);
        }
        self.source.read_exact(&mut header[first..])?;
        let bytes = self.word(&header, 8);
        if bytes > FRAME_MAX {
            return Err(unreadable(&format!(
                "a frame of {bytes} bytes: the file is damaged, capture it anew"
            )));
        }
        let mut frame = vec![0; bytes as usize];
        self.source.read_exact(&mut frame)?;
        let (seconds, part) = (self.word(&header, 0), self.word(&header, 4));
        Ok(Some(Frame {
            nanos: u64::from(seconds) * 1_000_000_000 + u64::from(part) * self.unit_ns,
            bytes: frame,
        }))
    }

    fn word(&self, bytes: &[u8], at: usize) -> u32 {
        let word = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        if self.swapped {
            u32::from_be_bytes(word)
        } else {
            u32::from_le_bytes(word)
        }
    }
}

fn unreadable(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// A UDP packet in a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Datagram<'a> {
    /// Sender.
    pub from: SocketAddrV4,
    /// Receiver.
    pub to: SocketAddrV4,
    /// Payload, whole.
    pub payload: &'a [u8],
}

/// The UDP packet in an Ethernet frame of IPv4; `None` for anything else, a fragment and a packet that was cut short.
#[must_use]
pub fn datagram(frame: &[u8]) -> Option<Datagram<'_>> {
    let two = |at: usize| Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]));
    let four = |at: usize| frame.get(at..)?.first_chunk::<4>().copied();
    /// "More fragments" and the offset.
    const FRAGMENT: u16 = 0x3FFF;
    if two(12)? != 0x0800 || frame.get(14)? >> 4 != 4 || *frame.get(23)? != 17 {
        return None;
    }
    let udp = 14 + usize::from(frame[14] & 0xF) * 4;
    if udp < 34 || two(20)? & FRAGMENT != 0 {
        return None;
    }
    let end = udp + usize::from(two(udp + 4)?);
    Some(Datagram {
        from: SocketAddrV4::new(Ipv4Addr::from(four(26)?), two(udp)?),
        to: SocketAddrV4::new(Ipv4Addr::from(four(30)?), two(udp + 2)?),
        payload: frame.get(udp + 8..end)?,
    })
}

/// An Ethernet header: a multicast address has its own, others a made-up local one.
fn ethernet(from: SocketAddrV4, to: SocketAddrV4) -> [u8; 14] {
    let address = |of: SocketAddrV4| {
        let [a, b, c, d] = of.ip().octets();
        if of.ip().is_multicast() {
            [0x01, 0x00, 0x5E, b & 0x7F, c, d]
        } else {
            [0x02, 0x00, a, b, c, d]
        }
    };
    let mut header = [0; 14];
    header[..6].copy_from_slice(&address(to));
    header[6..12].copy_from_slice(&address(from));
    header[12..].copy_from_slice(&0x0800_u16.to_be_bytes());
    header
}

fn ipv4(from: SocketAddrV4, to: SocketAddrV4, payload: usize, identification: u16) -> [u8; 20] {
    let mut header = [0; 20];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&((28 + payload) as u16).to_be_bytes());
    header[4..6].copy_from_slice(&identification.to_be_bytes());
    header[6] = 0x40; // do not fragment
    header[8] = 64; // hops
    header[9] = 17; // UDP
    header[12..16].copy_from_slice(&from.ip().octets());
    header[16..].copy_from_slice(&to.ip().octets());
    let mut sum: u32 = header
        .chunks_exact(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    sum = (sum & 0xFFFF) + (sum >> 16);
    sum = (sum & 0xFFFF) + (sum >> 16);
    header[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden() {
        let mut writer = Writer::new(Vec::new()).unwrap();
        let from = "10.0.0.1:1234".parse().unwrap();
        let to = "239.1.2.3:26477".parse().unwrap();
        writer.udp(1_000_000_002, from, to, b"ab").unwrap();
        let too_long = writer.udp(0, from, to, &vec![0; PAYLOAD_MAX + 1]);
        assert_eq!(too_long.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert!(writer.udp(u64::MAX, from, to, b"").is_err());
        let bytes = writer.finish().unwrap();
        let expected = [
            &b"\x4D\x3C\xB2\xA1\x02\0\x04\0\0\0\0\0\0\0\0\0\x0D\0\x01\0\x01\0\0\0"[..],
            b"\x01\0\0\0\x02\0\0\0\x2C\0\0\0\x2C\0\0\0",
            b"\x01\0\x5E\x01\x02\x03\x02\0\x0A\0\0\x01\x08\0",
            b"\x45\0\0\x1E\0\x01\x40\0\x40\x11\x3F\xC9\x0A\0\0\x01\xEF\x01\x02\x03",
            b"\x04\xD2\x67\x6D\0\x0A\0\0ab",
        ];
        assert_eq!(bytes, expected.concat());
    }

    #[test]
    fn what_is_written_is_read() {
        let (from, to) = (
            "10.0.0.1:1234".parse().unwrap(),
            "10.0.0.2:26477".parse().unwrap(),
        );
        let mut writer = Writer::new(Vec::new()).unwrap();
        writer.udp(1_000_000_002, from, to, b"ab").unwrap();
        writer.frame(3, &[7; 60]).unwrap();
        let bytes = writer.finish().unwrap();
        let mut reader = Reader::new(&bytes[..]).unwrap();
        let frame = reader.read().unwrap().unwrap();
        assert_eq!(frame.nanos, 1_000_000_002);
        let expected = Datagram {
            from,
            to,
            payload: b"ab",
        };
        assert_eq!(datagram(&frame.bytes), Some(expected));
        for len in 0..frame.bytes.len() {
            assert_eq!(datagram(&frame.bytes[..len]), None, "{len} bytes");
        }
        let other = reader.read().unwrap().unwrap();
        assert_eq!((other.nanos, &other.bytes[..]), (3, &[7; 60][..]));
        assert_eq!(datagram(&other.bytes), None);
        assert_eq!(reader.read().unwrap(), None);
    }

    #[test]
    fn other_captures() {
        // Big-endian, microseconds.
        let mut bytes = vec![0xA1, 0xB2, 0xC3, 0xD4, 0, 2, 0, 4];
        bytes.extend([0; 11]);
        bytes.extend([0, 0, 0, 0, 1]);
        bytes.extend([0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 1, 9]);
        let mut reader = Reader::new(&bytes[..]).unwrap();
        let frame = reader.read().unwrap().unwrap();
        assert_eq!((frame.nanos, &frame.bytes[..]), (2_000_003_000, &[9][..]));
        // Cut within a frame.
        let mut reader = Reader::new(&bytes[..bytes.len() - 1]).unwrap();
        let error = reader.read().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        // Another link, another format.
        bytes[23] = 113;
        let text = Reader::new(&bytes[..]).unwrap_err().to_string();
        assert!(text.contains("link type is 113"), "{text}");
        let newer = [0x0A, 0x0D, 0x0D, 0x0A].repeat(6);
        let text = Reader::new(&newer[..]).unwrap_err().to_string();
        assert!(text.contains("tshark -F"), "{text}");
    }

    /// The sum over a whole header, its checksum in it, is all ones.
    #[test]
    fn the_header_sum_closes() {
        for payload in [0, 1, 1_472, PAYLOAD_MAX] {
            let header = ipv4(
                "255.255.255.254:1".parse().unwrap(),
                "239.255.255.255:2".parse().unwrap(),
                payload,
                0xFFFF,
            );
            let sum: u32 = header
                .chunks_exact(2)
                .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
                .sum();
            assert_eq!((sum & 0xFFFF) + (sum >> 16), 0xFFFF);
        }
    }
}
