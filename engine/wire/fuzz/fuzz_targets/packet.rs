//! Any payload through everything that reads one; what reads well encodes back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ring0_wire::host::{Answer, Inbound, PacketBuilder, Request};
use ring0_wire::{
    Ack, Buffer, HEADER, Key, MessageCells, Native, block, echo, finish, parse, put_ack, shape,
};

fuzz_target!(|payload: &[u8]| {
    request(payload);
    answer(payload);
    messages(payload);
});

fn request(payload: &[u8]) {
    let Ok(request) = Request::read(payload) else {
        return;
    };
    let mut again = PacketBuilder::new(request.session, request.sequence);
    for message in &request.messages {
        again.push(message).expect("it fitted before");
    }
    let again = again.sign(None);
    let signed = payload.len() - 16;
    assert_eq!(again[..signed], payload[..signed]);

    let (buf, cells, key) = (Buffer::new(), MessageCells::default(), Key::new(1, 2));
    buf.copy_in(payload);
    let shape = shape::<Native>(&buf, payload.len()).expect("`Request::read` has passed it");
    let mut at = HEADER;
    for i in 0..shape.messages {
        let here = block(&buf, at);
        let sent = &request.messages[usize::from(i)];
        assert_eq!(
            parse(&buf, here.start, here.letter, &cells).err(),
            sent.check().err()
        );
        let reference = echo(&buf, here.start, here.letter);
        put_ack(
            &buf,
            i,
            &Ack {
                reference,
                ..Ack::default()
            },
        );
        at = here.next;
    }
    let bytes = finish::<Native>(&buf, shape.messages, Some(&key)).expect("nothing interrupts");
    assert!(bytes <= payload.len());
    let mut out = vec![0; bytes];
    buf.copy_out(&mut out);
    let answer = Answer::read(&out, Some(&key)).expect("our own answer");
    assert_eq!(answer.acks.len(), request.messages.len());
}

fn answer(payload: &[u8]) {
    if let Ok(answer) = Answer::read(payload, None) {
        assert_eq!(answer.sign(None), payload);
    }
}

fn messages(payload: &[u8]) {
    let Some(inbound) = Inbound::read(payload) else {
        return;
    };
    assert_eq!(inbound.as_bytes(), payload);
    if let Ok(message) = inbound.check() {
        assert_eq!(Inbound::from_message(&message), Some(inbound));
    }
}
