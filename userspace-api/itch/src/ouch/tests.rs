use super::*;
use crate::{I32, Stock, U16, U32, U64};
use proptest::collection::vec;
use proptest::prelude::*;

/// `bytes` read as `expected`, and written as the same bytes.
#[track_caller]
fn inbound<'a>(bytes: &'a [u8], expected: Inbound<'a>) {
    assert_eq!(Inbound::read(bytes), Ok(expected));
    let mut written = Vec::new();
    expected.write(&mut written);
    assert_eq!(written, bytes);
}

#[track_caller]
fn outbound<'a>(bytes: &'a [u8], expected: Outbound<'a>) {
    assert_eq!(Outbound::read(bytes), Ok(expected));
    let mut written = Vec::new();
    expected.write(&mut written);
    assert_eq!(written, bytes);
}

fn at(letter: u8) -> OutboundHeader {
    OutboundHeader {
        letter,
        timestamp: U64::new(0x0102_0304_0506_0708),
    }
}

const NONE: Appendage<'static> = Appendage::EMPTY;

#[test]
fn golden_inbound() {
    let mut options = AppendageBuilder::new();
    options.push(option::POST_ONLY, b"P").unwrap();
    options.push(option::PEG_OFFSET, &I32::new(-2)).unwrap();
    let enter = Enter {
        letter: b'O',
        user_ref: 0x0102_0304.into(),
        side: crate::BUY,
        quantity: 0x1112_1314.into(),
        symbol: Stock::new("AAPL").unwrap(),
        price: 0x2122_2324_2526_2728.into(),
        time_in_force: time_in_force::GOOD_TILL_TIME,
        display: display::VISIBLE,
        capacity: b'P',
        intermarket_sweep: b'N',
        cross_type: b'N',
        client_order_id: Text::new("MINE").unwrap(),
    };
    inbound(
        b"O\x01\x02\x03\x04B\x11\x12\x13\x14AAPL    \x21\x22\x23\x24\x25\x26\x27\x286YPNNMINE          \
          \0\x09\x02\x0CP\x05\x07\xFF\xFF\xFF\xFE",
        Inbound::Enter(&enter, options.get()),
    );
    let offset = options.get().get(option::PEG_OFFSET).unwrap();
    assert_eq!(offset.signed(), Some(-2));
    assert_eq!(options.get().get(option::FIRM), None);
    let replace = Replace {
        letter: b'U',
        original_user_ref: 1.into(),
        user_ref: 2.into(),
        quantity: 3.into(),
        price: 4.into(),
        time_in_force: time_in_force::DAY,
        display: display::HIDDEN,
        intermarket_sweep: b'N',
        client_order_id: Text::BLANK,
    };
    inbound(
        b"U\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\0\0\0\0\x040NN              \0\0",
        Inbound::Replace(&replace, NONE),
    );
    let (user_ref, quantity) = (U32::new(7), U32::new(9));
    let cancel = Cancel {
        letter: b'X',
        user_ref,
        quantity,
    };
    inbound(b"X\0\0\0\x07\0\0\0\x09", Inbound::Cancel(&cancel, NONE));
    let modify = Modify {
        letter: b'M',
        user_ref,
        side: b'T',
        quantity,
    };
    inbound(b"M\0\0\0\x07T\0\0\0\x09", Inbound::Modify(&modify, NONE));
    inbound(
        b"Q",
        Inbound::AccountQuery(&AccountQuery { letter: b'Q' }, NONE),
    );
}

#[test]
fn golden_outbound_orders() {
    let accepted = Accepted {
        header: at(b'A'),
        user_ref: 0x1112_1314.into(),
        side: crate::SELL,
        quantity: 0x2122_2324.into(),
        symbol: Stock::new("AAPL").unwrap(),
        price: 0x3132_3334_3536_3738.into(),
        time_in_force: time_in_force::IOC,
        display: display::VISIBLE,
        order_reference: 0x4142_4344_4546_4748.into(),
        capacity: b'A',
        intermarket_sweep: b'N',
        cross_type: b'O',
        order_state: order_state::LIVE,
        client_order_id: Text::new("MINE").unwrap(),
    };
    outbound(
        b"A\x01\x02\x03\x04\x05\x06\x07\x08\x11\x12\x13\x14S\x21\x22\x23\x24AAPL    \x31\x32\x33\x34\x35\x36\x37\x38\
          3Y\x41\x42\x43\x44\x45\x46\x47\x48ANOLMINE          \0\0",
        Outbound::Accepted(&accepted, NONE),
    );
    let mut firm = AppendageBuilder::new();
    firm.push(option::FIRM, &Text(*b"FIRM")).unwrap();
    let replaced = Replaced {
        header: at(b'U'),
        original_user_ref: 0x0102_0304.into(),
        user_ref: 0x1112_1314.into(),
        side: crate::SELL,
        quantity: 0x2122_2324.into(),
        symbol: Stock::new("AAPL").unwrap(),
        price: 0x3132_3334_3536_3738.into(),
        time_in_force: time_in_force::IOC,
        display: display::VISIBLE,
        order_reference: 0x4142_4344_4546_4748.into(),
        capacity: b'A',
        intermarket_sweep: b'N',
        cross_type: b'O',
        order_state: order_state::DEAD,
        client_order_id: Text::new("MINE").unwrap(),
    };
    outbound(
        b"U\x01\x02\x03\x04\x05\x06\x07\x08\x01\x02\x03\x04\x11\x12\x13\x14S\x21\x22\x23\x24AAPL    \
          \x31\x32\x33\x34\x35\x36\x37\x383Y\x41\x42\x43\x44\x45\x46\x47\x48ANODMINE          \0\x06\x05\x02FIRM",
        Outbound::Replaced(&replaced, firm.get()),
    );
}

#[test]
fn golden_outbound_answers() {
    const AT: &str = "\x01\x02\x03\x04\x05\x06\x07\x08";
    let bytes = |letter: u8, rest: &[u8]| [&[letter], AT.as_bytes(), rest].concat();
    let user_ref = U32::new(7);
    let event = SystemEvent {
        header: at(b'S'),
        event_code: event::START_OF_DAY,
    };
    outbound(&bytes(b'S', b"S"), Outbound::SystemEvent(&event, NONE));
    let canceled = Canceled {
        header: at(b'C'),
        user_ref,
        decrement: 9.into(),
        reason: cancel_reason::USER,
    };
    outbound(
        &bytes(b'C', b"\0\0\0\x07\0\0\0\x09U"),
        Outbound::Canceled(&canceled, NONE),
    );
    let aiq = AiqCanceled {
        header: at(b'D'),
        user_ref,
        decrement: 9.into(),
        reason: cancel_reason::SELF_MATCH,
        quantity_prevented: 8.into(),
        price: 0x0A.into(),
        liquidity: liquidity::REMOVED,
        strategy: b'1',
    };
    outbound(
        &bytes(b'D', b"\0\0\0\x07\0\0\0\x09Q\0\0\0\x08\0\0\0\0\0\0\0\x0AR1"),
        Outbound::AiqCanceled(&aiq, NONE),
    );
    let executed = Executed {
        header: at(b'E'),
        user_ref,
        quantity: 9.into(),
        price: 0x0A.into(),
        liquidity: liquidity::ADDED,
        match_number: 0x0B.into(),
    };
    outbound(
        &bytes(
            b'E',
            b"\0\0\0\x07\0\0\0\x09\0\0\0\0\0\0\0\x0AA\0\0\0\0\0\0\0\x0B\0\0",
        ),
        Outbound::Executed(&executed, NONE),
    );
    let client_order_id = ClOrdId::new("MINE").unwrap();
    let broken = Broken {
        header: at(b'B'),
        user_ref,
        match_number: 9.into(),
        reason: b'S',
        client_order_id,
    };
    outbound(
        &bytes(b'B', b"\0\0\0\x07\0\0\0\0\0\0\0\x09SMINE          "),
        Outbound::Broken(&broken, NONE),
    );
    let rejected = Rejected {
        header: at(b'J'),
        user_ref,
        reason: U16::new(reject_reason::EXPOSURE),
        client_order_id,
    };
    outbound(
        &bytes(b'J', b"\0\0\0\x07\0\x20MINE          "),
        Outbound::Rejected(&rejected, NONE),
    );
    let pending = CancelPending {
        header: at(b'P'),
        user_ref,
    };
    outbound(
        &bytes(b'P', b"\0\0\0\x07"),
        Outbound::CancelPending(&pending, NONE),
    );
    let cancel_rejected = CancelRejected {
        header: at(b'I'),
        user_ref,
    };
    outbound(
        &bytes(b'I', b"\0\0\0\x07"),
        Outbound::CancelRejected(&cancel_rejected, NONE),
    );
    let priority = PriorityUpdate {
        header: at(b'T'),
        user_ref,
        price: 9.into(),
        display: display::VISIBLE,
        order_reference: 0x0A.into(),
    };
    outbound(
        &bytes(b'T', b"\0\0\0\x07\0\0\0\0\0\0\0\x09Y\0\0\0\0\0\0\0\x0A"),
        Outbound::PriorityUpdate(&priority, NONE),
    );
    let modified = Modified {
        header: at(b'M'),
        user_ref,
        side: b'E',
        quantity: 9.into(),
    };
    outbound(
        &bytes(b'M', b"\0\0\0\x07E\0\0\0\x09"),
        Outbound::Modified(&modified, NONE),
    );
    let restated = Restated {
        header: at(b'R'),
        user_ref,
        reason: b'R',
    };
    outbound(
        &bytes(b'R', b"\0\0\0\x07R\0\0"),
        Outbound::Restated(&restated, NONE),
    );
    let answer = AccountAnswer {
        header: at(b'Q'),
        next_user_ref: user_ref,
    };
    outbound(
        &bytes(b'Q', b"\0\0\0\x07"),
        Outbound::AccountAnswer(&answer, NONE),
    );
}

#[test]
fn late_editions_append_to_the_others_too() {
    let mut group = AppendageBuilder::new();
    group.push(option::GROUP_ID, &U16::new(0x0102)).unwrap();
    let cancel = Cancel {
        letter: b'X',
        user_ref: 7.into(),
        quantity: 0.into(),
    };
    inbound(
        b"X\0\0\0\x07\0\0\0\0\0\x04\x03\x18\x01\x02",
        Inbound::Cancel(&cancel, group.get()),
    );
    let empty = Inbound::read(b"X\0\0\0\x07\0\0\0\0\0\0");
    assert_eq!(empty, Ok(Inbound::Cancel(&cancel, NONE)));
}

#[test]
fn wrong_lengths_are_named() {
    assert_eq!(Inbound::read(b""), Err(OuchError::Empty));
    let unknown = OuchError::Unknown { letter: b'A' };
    assert_eq!(Inbound::read(b"A"), Err(unknown));
    let length = OuchError::Length {
        letter: b'X',
        expected: 9,
        found: 8,
    };
    assert_eq!(Inbound::read(b"X\0\0\0\x07\0\0\0"), Err(length));
    let length = OuchError::Length {
        letter: b'X',
        expected: 9,
        found: 10,
    };
    assert_eq!(Inbound::read(b"X\0\0\0\x07\0\0\0\0\0"), Err(length));
    let enter = [b'O'; 46];
    let length = OuchError::Length {
        letter: b'O',
        expected: 47,
        found: 46,
    };
    assert_eq!(Inbound::read(&enter), Err(length));
    let length = OuchError::Length {
        letter: b'O',
        expected: 47,
        found: 45,
    };
    assert_eq!(Inbound::read(&enter[..45]), Err(length));
    let appended = |options: &[u8]| Inbound::read(&[&[b'O'; 45][..], options].concat()).err();
    let found = OuchError::AppendageLength {
        expected: 2,
        found: 1,
    };
    assert_eq!(appended(&[0, 2, 1]), Some(found));
    let cut = OuchError::Option { offset: 0 };
    assert_eq!(appended(&[0, 2, 2, 1]), Some(cut));
    let no_tag = OuchError::Option { offset: 2 };
    assert_eq!(appended(&[0, 3, 1, 1, 0]), Some(no_tag));
    let mut options = AppendageBuilder::new();
    assert_eq!(
        options.push(1, &[0_u8; 255][..]),
        Err(OuchError::AppendageFull)
    );
    while options.push(1, &[0_u8; 254][..]).is_ok() {}
    assert_eq!(options.get().as_bytes().len(), 65_535 / 256 * 256);
    assert_eq!(options.get().options().count(), 65_535 / 256);
}

#[test]
fn every_option_says_its_size() {
    let known = (0..=255).filter(|&tag| option::value_bytes(tag).is_some());
    let expected = (1..=7).chain(9..=18).chain(22..=25);
    assert!(known.eq(expected));
    let sizes: usize = (0..=255).filter_map(option::value_bytes).sum();
    assert_eq!(sizes, 3 * 8 + 9 * 4 + 2 + 8);
}

proptest! {
    /// Whatever the fields are, a message of the right length is read and written as its own bytes.
    #[test]
    fn any_fields_are_kept(
        is_in: bool,
        which: prop::sample::Index,
        mut bytes in vec(any::<u8>(), 68),
        options in vec((any::<u8>(), vec(any::<u8>(), 0..12)), 0..6),
    ) {
        let lengths = if is_in { inbound_lengths() } else { outbound_lengths() };
        let &(letter, length) = which.get(lengths);
        let mut appendage = AppendageBuilder::new();
        for (tag, value) in &options {
            appendage.push(*tag, &value[..]).unwrap();
        }
        let appended = appendage.get().as_bytes();
        let with_options = [b'O', b'U'].contains(&letter) && is_in || !is_in && b"AUER".contains(&letter);
        bytes.truncate(if with_options { length - 2 } else { length });
        bytes[0] = letter;
        if with_options || !appended.is_empty() {
            bytes.extend_from_slice(&(appended.len() as u16).to_be_bytes());
            bytes.extend_from_slice(appended);
        }
        let mut written = Vec::new();
        if is_in {
            Inbound::read(&bytes).unwrap().write(&mut written);
        } else {
            Outbound::read(&bytes).unwrap().write(&mut written);
        }
        prop_assert_eq!(&written, &bytes);
        let read: Vec<_> = appendage.get().options().map(|o| (o.tag, o.value.to_vec())).collect();
        prop_assert_eq!(read, options);
    }

    #[test]
    fn anything_is_read_or_refused(which in 0..30_usize, mut bytes in vec(0..12_u8, 0..90)) {
        if let (Some(first), Some(&letter)) = (bytes.first_mut(), b"OUXMQSACDEBJPITR".get(which)) {
            *first = letter;
        }
        let _ = (Inbound::read(&bytes), Outbound::read(&bytes));
    }
}
