//! The bytes of answers over UDP: MoldUDP64 packets with a tag behind their blocks, and the two that MoldUDP64 has no word for.
//!
//! Every datagram ends with a tag block, as on the wire of orders; here it is not counted, because a stream's numbers are those of its
//! messages. Layout: `docs/feed.md#answers-over-udp`.

use ring0_itch::mold::{BLOCK_LENGTH, END_OF_SESSION, HEADER, HEARTBEAT, Header, Session};
use ring0_wire::mac::{self, Check};
use ring0_wire::{BUFFER, Buffer, Domain, Key, Native, TAG_BLOCK};
use zerocopy::byteorder::big_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a request, and of a status: neither is longer than the other, so that no address is sent more than it gave.
pub(crate) const CONTROL: usize = HEADER + size_of::<ControlBlock>() + TAG_BLOCK;

/// Longest packet that a tag goes behind, in bytes.
pub(crate) const SEALED_MAX: usize = ring0_wire::PAYLOAD_MAX - TAG_BLOCK;
const _: () = assert!(SEALED_MAX + TAG_BLOCK <= BUFFER);

/// Count of a request that ends the subscription.
pub(crate) const LEAVE: u16 = 0xFFFF;

const REQUEST_LETTER: u8 = b'q';
const STATUS_LETTER: u8 = b's';

/// The block of a request or status.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct ControlBlock {
    length: U16,
    letter: u8,
    numbers: [U64; 3],
}

/// A request or status without its tag.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Control {
    header: Header,
    block: ControlBlock,
}
const _: () = assert!(size_of::<Control>() + TAG_BLOCK == CONTROL);

impl Control {
    fn new(stream: Session, sequence: u64, count: u16, letter: u8, numbers: [u64; 3]) -> Control {
        Control {
            header: Header {
                session: stream,
                sequence: sequence.into(),
                count: count.into(),
            },
            block: ControlBlock {
                length: ((size_of::<ControlBlock>() - BLOCK_LENGTH) as u16).into(),
                letter,
                numbers: numbers.map(U64::new),
            },
        }
    }

    /// Reads one with this letter.
    fn read(body: &[u8], letter: u8) -> Option<&Control> {
        let control = Control::ref_from_bytes(body).ok()?;
        let length = usize::from(control.block.length.get()) + BLOCK_LENGTH;
        let is_one = length == size_of::<ControlBlock>() && control.block.letter == letter;
        is_one.then_some(control)
    }
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Request {
    pub(crate) stream: Session,
    /// Number of the first message wanted; nothing below it is sent.
    pub(crate) sequence: u64,
    /// Messages wanted again from there on; 0: only those to come. [`LEAVE`].
    pub(crate) count: u16,
    /// The client's own random number: what is sent to it is tagged under a key that follows from it.
    pub(crate) nonce: u64,
    /// Higher in every request from an address.
    pub(crate) number: u64,
    /// What the server told this address last; 0 at first.
    pub(crate) cookie: u64,
}

impl Request {
    /// Reads a request, whoever made it. `None`: it is none.
    pub(crate) fn read(bytes: &[u8]) -> Option<Request> {
        let body = bytes.get(..bytes.len().checked_sub(TAG_BLOCK)?)?;
        let control = Control::read(body, REQUEST_LETTER)?;
        let [nonce, number, cookie] = control.block.numbers.map(U64::get);
        Some(Request {
            stream: control.header.session,
            sequence: control.header.sequence.get(),
            count: control.header.count.get(),
            nonce,
            number,
            cookie,
        })
    }

    /// Its bytes under the stream's key.
    pub(crate) fn seal(&self, key: &Key) -> Vec<u8> {
        let numbers = [self.nonce, self.number, self.cookie];
        let control = Control::new(
            self.stream,
            self.sequence,
            self.count,
            REQUEST_LETTER,
            numbers,
        );
        seal(control.as_bytes(), key, Domain::Request)
    }
}

/// What a server says to a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Status {
    pub(crate) stream: Session,
    /// Number of the stream's next message; 0 in a challenge.
    pub(crate) next: u64,
    /// Number of the first message that can be had; 0: a challenge. The address is not known to be the client's, nothing was done, and
    /// the request is to be made again with this cookie.
    pub(crate) first: u64,
    /// Number of the request; in a challenge the highest that is known of the address where that is higher.
    pub(crate) number: u64,
    pub(crate) cookie: u64,
    /// Whether the stream has no more messages than those before `next`.
    pub(crate) ended: bool,
}

impl Status {
    /// Whether it asks the client to prove its address.
    pub(crate) fn is_challenge(&self) -> bool {
        self.first == 0
    }

    /// Reads a status whose tag was found good and taken off. `None`: it is an ordinary packet.
    pub(crate) fn read(body: &[u8]) -> Option<Status> {
        let control = Control::read(body, STATUS_LETTER)?;
        let [first, number, cookie] = control.block.numbers.map(U64::get);
        let count = control.header.count.get();
        matches!(count, HEARTBEAT | END_OF_SESSION).then_some(Status {
            stream: control.header.session,
            next: control.header.sequence.get(),
            first,
            number,
            cookie,
            ended: count == END_OF_SESSION,
        })
    }

    /// Its bytes under the subscription's key: to who goes by the header alone, a heartbeat or the end of the session.
    pub(crate) fn seal(&self, key: &Key) -> Vec<u8> {
        let numbers = [self.first, self.number, self.cookie];
        let count = if self.ended {
            END_OF_SESSION
        } else {
            HEARTBEAT
        };
        let control = Control::new(self.stream, self.next, count, STATUS_LETTER, numbers);
        seal(control.as_bytes(), key, Domain::Answer)
    }
}

/// A packet of at most [`SEALED_MAX`] bytes with its tag block behind it.
pub(crate) fn seal(packet: &[u8], key: &Key, domain: Domain) -> Vec<u8> {
    assert!(packet.len() <= SEALED_MAX, "whoever builds it keeps to it");
    let buffer = Buffer::new();
    buffer.copy_in(packet);
    let tag = mac::tag::<Native>(&buffer, packet.len(), key, domain).expect("nothing interrupts");
    mac::put_tag(&buffer, packet.len(), tag);
    let mut bytes = vec![0; packet.len() + TAG_BLOCK];
    buffer.copy_out(&mut bytes);
    bytes
}

/// The packet without its tag block, if that was made over it with this key.
pub(crate) fn open<'a>(bytes: &'a [u8], key: &Key, domain: Domain) -> Option<&'a [u8]> {
    let (packet, block) = bytes.split_at_checked(bytes.len().checked_sub(TAG_BLOCK)?)?;
    if packet.len() > SEALED_MAX {
        return None;
    }
    let buffer = Buffer::new();
    buffer.copy_in(bytes);
    let is_block = block[..BLOCK_LENGTH] == ((TAG_BLOCK - BLOCK_LENGTH) as u16).to_be_bytes()
        && block[BLOCK_LENGTH] == b'z';
    let check = mac::verify::<Native>(&buffer, packet.len(), key, domain);
    (is_block && check == Check::Genuine).then_some(packet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring0_itch::Text;
    use ring0_itch::mold::{Packet, PacketBuilder, end_of_session, heartbeat};

    const NAME: Session = Text(*b"SESSION001");
    const KEY: Key = Key::new(1, 2);

    fn request() -> Request {
        Request {
            stream: NAME,
            sequence: 0x0102_0304_0506_0708,
            count: 9,
            nonce: 0x1112_1314_1516_1718,
            number: 0x2122_2324_2526_2728,
            cookie: 0x3132_3334_3536_3738,
        }
    }

    fn status() -> Status {
        Status {
            stream: NAME,
            next: 7,
            first: 3,
            number: 4,
            cookie: 5,
            ended: false,
        }
    }

    #[test]
    fn a_request_is_66_bytes_and_reads_back() {
        let bytes = request().seal(&KEY);
        assert_eq!(bytes.len(), 66);
        let expected = b"SESSION001\x01\x02\x03\x04\x05\x06\x07\x08\0\x09\0\x19q\x11\x12\x13\x14\x15\x16\x17\x18\
            \x21\x22\x23\x24\x25\x26\x27\x28\x31\x32\x33\x34\x35\x36\x37\x38\0\x11z";
        assert_eq!(&bytes[..50], expected);
        assert_eq!(Request::read(&bytes), Some(request()));
        assert_eq!(open(&bytes, &KEY, Domain::Request), Some(&bytes[..47]));
        assert_eq!(open(&bytes, &KEY, Domain::Answer), None, "reflected");
    }

    #[test]
    fn a_status_is_no_longer_and_no_packet_is_one() {
        let bytes = status().seal(&KEY);
        assert_eq!(bytes.len(), request().seal(&KEY).len());
        let body = open(&bytes, &KEY, Domain::Answer).unwrap();
        assert_eq!(Status::read(body), Some(status()));
        assert_eq!(Request::read(&bytes), None);
        assert_eq!(Status::read(&request().seal(&KEY)[..47]), None);
        // A MoldUDP64 reader that goes by the count sees a heartbeat with the next number.
        assert_eq!(body[..HEADER], heartbeat(NAME, 7));
        let ended = Status {
            ended: true,
            ..status()
        };
        let bytes = ended.seal(&KEY);
        let body_of_end = open(&bytes, &KEY, Domain::Answer).unwrap();
        assert_eq!(Status::read(body_of_end), Some(ended));
        assert_eq!(body_of_end[..HEADER], end_of_session(NAME, 7));
        // A message that looks like a status: the header counts it.
        let mut packet = PacketBuilder::new(NAME, 7, SEALED_MAX);
        packet.push(&body[HEADER + BLOCK_LENGTH..]).unwrap();
        let packet = packet.packet();
        assert_eq!((packet.len(), Status::read(packet)), (body.len(), None));
        assert_eq!(Packet::read(packet).unwrap().count(), 1);
    }

    #[test]
    fn every_changed_bit_every_cut_and_another_key_are_refused() {
        for (bytes, domain) in [
            (request().seal(&KEY), Domain::Request),
            (status().seal(&KEY), Domain::Answer),
            (
                seal(&heartbeat(NAME, 1), &KEY, Domain::Answer),
                Domain::Answer,
            ),
            (seal(&[7; SEALED_MAX], &KEY, Domain::Answer), Domain::Answer),
        ] {
            assert!(open(&bytes, &KEY, domain).is_some());
            assert!(open(&bytes, &Key::new(1, 3), domain).is_none());
            let mut changed = bytes.clone();
            for at in 0..bytes.len() {
                for bit in 0..8 {
                    changed[at] ^= 1 << bit;
                    assert_eq!(open(&changed, &KEY, domain), None, "byte {at} bit {bit}");
                    changed[at] ^= 1 << bit;
                }
                assert_eq!(open(&bytes[..at], &KEY, domain), None, "cut at {at}");
                assert_eq!(Request::read(&bytes[..at]), None, "cut at {at}");
            }
            changed.push(0);
            assert_eq!(open(&changed, &KEY, domain), None);
            assert_eq!(Request::read(&changed), None);
        }
        assert_eq!(open(&[0; 4096], &KEY, Domain::Answer), None);
    }
}
