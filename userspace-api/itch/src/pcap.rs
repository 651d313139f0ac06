//! Captures: UDP packets in a classic pcap file, for other people's programs to read.

use std::io::{self, Write};
use std::net::SocketAddrV4;

/// First word of a file whose times have nanoseconds.
const MAGIC_NANOSECONDS: u32 = 0xA1B2_3C4D;
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
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what.to_owned());
        if payload.len() > PAYLOAD_MAX {
            return Err(invalid("a UDP packet of IPv4 has at most 65,507 bytes"));
        }
        let seconds = u32::try_from(nanos / 1_000_000_000)
            .map_err(|_| invalid("a capture's time has 32 bits of seconds since 1970"))?;
        let length = ((HEADERS + payload.len()) as u32).to_le_bytes();
        self.sink.write_all(&seconds.to_le_bytes())?;
        self.sink
            .write_all(&((nanos % 1_000_000_000) as u32).to_le_bytes())?;
        // Captured whole.
        self.sink.write_all(&length)?;
        self.sink.write_all(&length)?;
        self.sink.write_all(&ethernet(from, to))?;
        self.sink
            .write_all(&ipv4(from, to, payload.len(), self.identification))?;
        self.identification = self.identification.wrapping_add(1);
        let udp_length = (8 + payload.len()) as u16;
        self.sink.write_all(&from.port().to_be_bytes())?;
        self.sink.write_all(&to.port().to_be_bytes())?;
        self.sink.write_all(&udp_length.to_be_bytes())?;
        // No checksum, which IPv4 allows.
        self.sink.write_all(&[0; 2])?;
        self.sink.write_all(payload)
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
