//! An Ethernet frame around a payload, for ports that see frames: the rules of the kernel's program (`ebpf/src/frame.rs`), in safe code.

use ring0_abi::Counter;
use ring0_engine::record::ReplyTo;
use std::net::Ipv4Addr;

/// Bytes before the payload: Ethernet 14, IPv4 20, UDP 8.
pub const HEADERS: usize = 42;

const ETHERNET: usize = 14;
const IPV4: u16 = 0x0800;
const UDP: u8 = 17;
/// Every bit of the fragment word but "don't fragment".
const FRAGMENT: u16 = 0xBFFF;

/// What a frame is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Not for the shard, and why: the counter it ends under.
    NotOurs(Counter),
    /// For the shard, and its lengths disagree.
    BadLength,
    /// A packet for the shard: bytes of its payload, which lies behind [`HEADERS`] and inside the frame.
    Order(usize),
}

fn u16_at(frame: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

fn four<const AT: usize>(frame: &[u8; HEADERS]) -> [u8; 4] {
    [frame[AT], frame[AT + 1], frame[AT + 2], frame[AT + 3]]
}

/// Whose frame this is, for a shard at this UDP port and address (`None`: any).
#[must_use]
pub fn classify(frame: &[u8], port: u16, address: Option<Ipv4Addr>) -> Kind {
    let Some(headers) = frame.first_chunk::<HEADERS>() else {
        return Kind::NotOurs(if frame.len() >= ETHERNET && u16_at(frame, 12) == IPV4 {
            Counter::PassTruncated
        } else {
            Counter::PassEtherType
        });
    };
    if u16_at(headers, 12) != IPV4 {
        return Kind::NotOurs(Counter::PassEtherType);
    }
    if headers[23] != UDP {
        return Kind::NotOurs(Counter::PassProtocol);
    }
    if headers[14] != 0x45 {
        return Kind::NotOurs(Counter::PassOptions);
    }
    if u16_at(headers, 20) & FRAGMENT != 0 {
        return Kind::NotOurs(Counter::PassFragment);
    }
    let theirs = Ipv4Addr::from(four::<30>(headers));
    if u16_at(headers, 36) != port || address.is_some_and(|ours| ours != theirs) {
        return Kind::NotOurs(Counter::PassPort);
    }
    let (total, udp) = (
        usize::from(u16_at(headers, 16)),
        usize::from(u16_at(headers, 38)),
    );
    if udp < 8 || total != udp + 20 || total + ETHERNET > frame.len() {
        return Kind::BadLength;
    }
    Kind::Order(udp - 8)
}

/// Who sent a frame that [`classify`] found to be a packet.
#[must_use]
pub fn sender(headers: &[u8; HEADERS]) -> ReplyTo {
    ReplyTo {
        address: four::<26>(headers),
        port: u16_at(headers, 34),
        local: four::<30>(headers),
        ..ReplyTo::default()
    }
}

/// Turns a frame round: addresses and ports change places, lengths and checksum become those of an answer of `payload` bytes. The UDP checksum is 0,
/// "none" in IPv4.
pub fn turn_round(headers: &mut [u8; HEADERS], payload: usize) {
    let mut swap = |a: usize, b: usize, len: usize| {
        for at in 0..len {
            headers.swap(a + at, b + at);
        }
    };
    swap(0, 6, 6);
    swap(26, 30, 4);
    swap(34, 36, 2);
    write_lengths(headers, payload);
}

/// Headers of a frame of `payload` bytes to one who sent before, between these hardware addresses, from this UDP port.
#[must_use]
pub fn headers(
    (theirs, ours): ([u8; 6], [u8; 6]),
    to: &ReplyTo,
    port: u16,
    payload: usize,
) -> [u8; HEADERS] {
    let mut headers = [0; HEADERS];
    headers[..6].copy_from_slice(&theirs);
    headers[6..12].copy_from_slice(&ours);
    headers[12..14].copy_from_slice(&IPV4.to_be_bytes());
    headers[26..30].copy_from_slice(&to.local);
    headers[30..34].copy_from_slice(&to.address);
    headers[34..36].copy_from_slice(&port.to_be_bytes());
    headers[36..38].copy_from_slice(&to.port.to_be_bytes());
    write_lengths(&mut headers, payload);
    headers
}

/// Everything of the IPv4 and UDP headers but addresses and ports. A payload is at most a packet long, so its lengths fit.
fn write_lengths(headers: &mut [u8; HEADERS], payload: usize) {
    let total = (payload + 28) as u16;
    headers[14..16].copy_from_slice(&[0x45, 0]);
    headers[16..18].copy_from_slice(&total.to_be_bytes());
    headers[18..24].copy_from_slice(&[0, 0, 0x40, 0, 64, UDP]);
    headers[24..26].fill(0);
    let words = headers[14..34].chunks_exact(2);
    let sum: u32 = words
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let sum = (sum & 0xFFFF) + (sum >> 16);
    let sum = (sum & 0xFFFF) + (sum >> 16);
    headers[24..26].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    headers[38..40].copy_from_slice(&(total - 20).to_be_bytes());
    headers[40..42].fill(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    fn good(payload: usize) -> Vec<u8> {
        let to = ReplyTo {
            address: HERE.octets(),
            port: 9000,
            local: [10, 0, 0, 2],
            ..ReplyTo::default()
        };
        let mut frame = headers(([1; 6], [2; 6]), &to, 4000, payload).to_vec();
        frame.resize(HEADERS + payload, 7);
        frame
    }

    /// Sum of the IPv4 header's words, which is all ones when the checksum is right (RFC 1071).
    fn checksum(frame: &[u8]) -> u32 {
        let words = frame[14..34].chunks(2);
        let sum: u32 = words.map(|word| u32::from(u16_at(word, 0))).sum();
        (sum & 0xFFFF) + (sum >> 16)
    }

    #[test]
    fn headers_are_classified_as_they_were_made() {
        for payload in [0, 1, 40, 1472] {
            let frame = good(payload);
            assert_eq!(classify(&frame, 9000, Some(HERE)), Kind::Order(payload));
            assert_eq!(classify(&frame, 9000, None), Kind::Order(payload));
            assert_eq!(checksum(&frame), 0xFFFF);
            // Ethernet may pad a short frame.
            let padded = [&frame[..], &[0; 20]].concat();
            assert_eq!(classify(&padded, 9000, None), Kind::Order(payload));
        }
    }

    #[test]
    fn each_cause_has_its_counter() {
        let changed = |at: usize, value: u8| {
            let mut frame = good(40);
            frame[at] = value;
            classify(&frame, 9000, Some(HERE))
        };
        assert_eq!(changed(12, 0x86), Kind::NotOurs(Counter::PassEtherType));
        assert_eq!(changed(23, 6), Kind::NotOurs(Counter::PassProtocol));
        assert_eq!(changed(14, 0x46), Kind::NotOurs(Counter::PassOptions));
        assert_eq!(changed(20, 0x20), Kind::NotOurs(Counter::PassFragment));
        assert_eq!(changed(21, 1), Kind::NotOurs(Counter::PassFragment));
        assert_eq!(changed(37, 0), Kind::NotOurs(Counter::PassPort));
        assert_eq!(changed(33, 9), Kind::NotOurs(Counter::PassPort));
        assert_eq!(changed(17, 1), Kind::BadLength);
        assert_eq!(changed(39, 7), Kind::BadLength);
        let frame = good(40);
        assert_eq!(classify(&frame[..81], 9000, None), Kind::BadLength);
        for len in 0..HEADERS {
            let expected = match len {
                0..14 => Counter::PassEtherType,
                _ => Counter::PassTruncated,
            };
            assert_eq!(
                classify(&frame[..len], 9000, None),
                Kind::NotOurs(expected),
                "{len} bytes"
            );
        }
    }

    #[test]
    fn an_answer_goes_back_where_the_packet_came_from() {
        let mut frame = good(40);
        let from = sender(frame.first_chunk().unwrap());
        assert_eq!((from.address, from.port), ([10, 0, 0, 2], 4000));
        assert_eq!(from.local, HERE.octets());
        turn_round(frame.first_chunk_mut().unwrap(), 39);
        assert_eq!(
            classify(&frame[..HEADERS + 39], 4000, Some([10, 0, 0, 2].into())),
            Kind::Order(39)
        );
        assert_eq!(sender(frame.first_chunk().unwrap()).address, HERE.octets());
        assert_eq!(frame[..12], [[2; 6], [1; 6]].concat());
        assert_eq!(checksum(&frame), 0xFFFF);
        // Made anew, the same headers.
        assert_eq!(headers(([2; 6], [1; 6]), &from, 9000, 39), frame[..HEADERS]);
    }
}
