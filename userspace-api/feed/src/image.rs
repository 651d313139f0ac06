//! A translator's state as bytes, so that a feed goes on without the whole record: same state, same messages from there on.
//!
//! Little-endian, for this machine or one like it; a BLAKE3 hash at its end. A version that writes it otherwise refuses it.

use crate::instrument::{Instrument, Purge};
use crate::orders::{Displayed, Orders};
use crate::translate::Translator;
use ring0_engine::record::State;
use ring0_itch::Text;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const MAGIC: [u8; 8] = *b"RING0FD1";
const HASH_LEN: usize = 32;

/// Why bytes are no image.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ImageError {
    /// Not the first bytes of one.
    #[error("no image of a feed of this version; remove the file and begin from the recording")]
    NotOurs,
    /// Too short or too long, a hash that differs, or a field that is none of ours.
    #[error("the image of the feed is damaged; remove the file and begin from the recording")]
    Damaged,
}

#[derive(FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    session: [u8; 10],
    events: u8,
    is_replaced: u8,
    purging: u32,
    next_record: u64,
    next_message: u64,
    midnight_ns: u64,
    time_ns: u64,
    references: u64,
    replaced_by: u64,
    purging_left: u32,
    instruments: u32,
    orders: u64,
    ended: u64,
    replaced: OrderImage,
}

#[derive(FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
struct InstrumentImage {
    stock: [u8; 8],
    crossed: u64,
    index: u32,
    tick_size: u32,
    lot_size: u32,
    ladder: [u32; 2],
    band: [u32; 2],
    reference: u32,
    crossed_price: u32,
    next_ladder: [u32; 2],
    state: u8,
    cross_type: u8,
    purge: u8,
    day_closed: u8,
}

#[derive(FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
struct OrderImage {
    id: u64,
    reference: u64,
    price: u32,
    shown: u32,
    locate: u16,
    side: u8,
    reserved: [u8; 5],
}

impl OrderImage {
    fn of(id: u64, order: &Displayed) -> OrderImage {
        OrderImage {
            id,
            reference: order.reference,
            price: order.price,
            shown: order.shown,
            locate: order.locate,
            side: order.side,
            reserved: [0; 5],
        }
    }

    fn order(&self) -> Displayed {
        Displayed {
            reference: self.reference,
            locate: self.locate,
            side: self.side,
            price: self.price,
            shown: self.shown,
        }
    }
}

impl Translator {
    /// The state; bytes of a record that was fed in part are left out, feed it again from its beginning.
    #[must_use]
    pub fn image(&self) -> Vec<u8> {
        let orders = self.orders.sorted();
        let none = Displayed {
            reference: 0,
            locate: 0,
            side: 0,
            price: 0,
            shown: 0,
        };
        let (replaced_by, replaced) = self.replaced.unwrap_or((0, none));
        let header = Header {
            magic: MAGIC,
            session: self.session.0,
            events: self.events,
            is_replaced: u8::from(self.replaced.is_some()),
            purging: self.purging.0,
            next_record: self.next_record,
            next_message: self.next_message,
            midnight_ns: self.midnight_ns,
            time_ns: self.time_ns,
            references: self.references,
            replaced_by,
            purging_left: self.purging.1,
            instruments: self.instruments.iter().flatten().count() as u32,
            orders: orders.len() as u64,
            ended: self.ended.len() as u64,
            replaced: OrderImage::of(0, &replaced),
        };
        let mut bytes = header.as_bytes().to_vec();
        for (index, instrument) in self.instruments.iter().enumerate() {
            let Some(it) = instrument else {
                continue;
            };
            let image = InstrumentImage {
                stock: it.stock.0,
                crossed: it.crossed.0,
                index: index as u32,
                tick_size: it.tick_size,
                lot_size: it.lot_size,
                ladder: it.ladder.into(),
                band: it.band.into(),
                reference: it.reference,
                crossed_price: it.crossed.1,
                next_ladder: it.next_ladder.into(),
                state: it.state as u8,
                cross_type: it.cross_type,
                purge: it.purge as u8,
                day_closed: u8::from(it.day_closed),
            };
            bytes.extend_from_slice(image.as_bytes());
        }
        for (id, order) in &orders {
            bytes.extend_from_slice(OrderImage::of(*id, order).as_bytes());
        }
        for session in &self.ended {
            bytes.extend_from_slice(&session.0);
        }
        let hash = blake3::hash(&bytes);
        bytes.extend_from_slice(hash.as_bytes());
        bytes
    }

    /// The translator whose state this is.
    ///
    /// # Errors
    /// The bytes are no image, or not as they were written.
    pub fn from_image(bytes: &[u8]) -> Result<Translator, ImageError> {
        if !bytes.starts_with(&MAGIC) {
            return Err(ImageError::NotOurs);
        }
        let (content, hash) = bytes
            .split_last_chunk::<HASH_LEN>()
            .ok_or(ImageError::Damaged)?;
        if blake3::hash(content) != *hash {
            return Err(ImageError::Damaged);
        }
        let (header, mut rest) =
            Header::read_from_prefix(content).map_err(|_| ImageError::Damaged)?;
        let mut translator = Translator::new(Text(header.session));
        translator.next_record = header.next_record;
        translator.next_message = header.next_message;
        translator.events = header.events;
        translator.midnight_ns = header.midnight_ns;
        translator.time_ns = header.time_ns;
        translator.references = header.references;
        translator.purging = (header.purging, header.purging_left);
        if header.is_replaced != 0 {
            translator.replaced = Some((header.replaced_by, header.replaced.order()));
        }
        for _ in 0..header.instruments {
            let (image, after) =
                InstrumentImage::read_from_prefix(rest).map_err(|_| ImageError::Damaged)?;
            rest = after;
            let index = usize::try_from(image.index).map_err(|_| ImageError::Damaged)?;
            let locate = u16::try_from(index + 1).map_err(|_| ImageError::Damaged)?;
            let places = usize::from(locate).max(translator.instruments.len());
            translator.instruments.resize(places, None);
            translator.instruments[index] = Some(Instrument {
                locate,
                stock: Text(image.stock),
                tick_size: image.tick_size,
                lot_size: image.lot_size,
                ladder: image.ladder.into(),
                band: image.band.into(),
                reference: image.reference,
                state: State::from_number(image.state).ok_or(ImageError::Damaged)?,
                cross_type: image.cross_type,
                crossed: (image.crossed, image.crossed_price),
                purge: match image.purge {
                    0 => Purge::None,
                    1 => Purge::CloseDay,
                    2 => Purge::Delist,
                    3 => Purge::MoveLadder,
                    _ => return Err(ImageError::Damaged),
                },
                next_ladder: image.next_ladder.into(),
                day_closed: image.day_closed != 0,
            });
        }
        let mut orders = Orders::default();
        for _ in 0..header.orders {
            let (image, after) =
                OrderImage::read_from_prefix(rest).map_err(|_| ImageError::Damaged)?;
            rest = after;
            orders.insert(image.id, image.order());
        }
        for _ in 0..header.ended {
            let (session, after) = rest.split_first_chunk().ok_or(ImageError::Damaged)?;
            rest = after;
            translator.ended.push(Text(*session));
        }
        if !rest.is_empty() {
            return Err(ImageError::Damaged);
        }
        translator.orders = orders;
        Ok(translator)
    }
}
