//! Who has the shard's address: the one question of a neighbour that a device without a kernel behind it must answer itself (RFC 826).

use std::net::Ipv4Addr;

/// Bytes of a question and of an answer over Ethernet.
const LEN: usize = 42;
const ETHERTYPE: [u8; 2] = [0x08, 0x06];
/// Ethernet, IPv4, their lengths.
const KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];

/// Whether this is the question for the hardware address of `ours`.
#[must_use]
pub(crate) fn asks_for(frame: &[u8], ours: Ipv4Addr) -> bool {
    frame.len() >= LEN
        && frame[12..14] == ETHERTYPE
        && frame[14..20] == KIND
        && frame[20..22] == REQUEST
        && frame[38..42] == ours.octets()
}

/// Turns the question into its answer, in place and of the same length.
pub(crate) fn answer(frame: &mut [u8], ours: Ipv4Addr, hardware: [u8; 6]) {
    let mut asked = [0; 10];
    asked.copy_from_slice(&frame[22..32]);
    frame[..6].copy_from_slice(&asked[..6]);
    frame[6..12].copy_from_slice(&hardware);
    frame[20..22].copy_from_slice(&REPLY);
    frame[22..28].copy_from_slice(&hardware);
    frame[28..32].copy_from_slice(&ours.octets());
    frame[32..42].copy_from_slice(&asked);
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    fn question() -> Vec<u8> {
        let mut frame = vec![0xFF; 6];
        frame.extend([2, 2, 2, 2, 2, 2]);
        frame.extend(ETHERTYPE);
        frame.extend(KIND);
        frame.extend(REQUEST);
        frame.extend([2, 2, 2, 2, 2, 2, 10, 0, 0, 2]);
        frame.extend([0, 0, 0, 0, 0, 0, 10, 0, 0, 1]);
        frame.resize(60, 0); // Ethernet's padding
        frame
    }

    #[test]
    fn a_question_becomes_its_answer() {
        let mut frame = question();
        assert!(asks_for(&frame, OURS));
        answer(&mut frame, OURS, [1; 6]);
        let expected = [
            &[2; 6][..],
            &[1; 6],
            &ETHERTYPE,
            &KIND,
            &REPLY,
            &[1, 1, 1, 1, 1, 1, 10, 0, 0, 1],
            &[2, 2, 2, 2, 2, 2, 10, 0, 0, 2],
        ];
        assert_eq!(frame[..LEN], expected.concat());
        assert_eq!(frame.len(), 60);
        assert!(!asks_for(&frame, OURS), "an answer is no question");
    }

    #[test]
    fn other_questions_are_left_alone() {
        let frame = question();
        assert!(!asks_for(&frame, Ipv4Addr::new(10, 0, 0, 3)));
        for len in 0..LEN {
            assert!(!asks_for(&frame[..len], OURS), "{len} bytes");
        }
        for at in (12..22).chain(38..42) {
            let mut frame = question();
            frame[at] ^= 4;
            assert!(!asks_for(&frame, OURS), "byte {at}");
        }
    }
}
