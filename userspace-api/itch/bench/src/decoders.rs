//! Readers that only decode: every message is taken apart and its reference, shares and price are added up, so that no reader
//! can leave a field unread.

use itch5::messages as itch5_messages;
use ring0_itch::binary_file::{Messages, Reader};
use ring0_itch::itch::Message;
use std::ops::ControlFlow;

/// What a decoder adds up.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Sum {
    /// Messages.
    pub(crate) messages: u64,
    fields: u64,
}

impl Sum {
    #[inline(always)]
    fn add(&mut self, reference: u64, shares: u32, price: u32, match_number: u64) {
        self.messages += 1;
        self.fields = self
            .fields
            .wrapping_add(reference)
            .wrapping_add(match_number)
            .wrapping_add(u64::from(shares) << 20)
            .wrapping_add(u64::from(price) << 40);
    }

    #[inline(always)]
    fn message(&mut self, message: &Message<'_>) {
        match message {
            Message::AddOrder(m) => {
                self.add(m.order_reference.get(), m.shares.get(), m.price.get(), 0);
            }
            Message::OrderExecuted(m) => {
                self.add(
                    m.order_reference.get(),
                    m.executed_shares.get(),
                    0,
                    m.match_number.get(),
                );
            }
            Message::OrderDelete(m) => self.add(m.order_reference.get(), 0, 0, 0),
            _ => {}
        }
    }
}

/// A decoder.
pub(crate) struct Decoder {
    /// Its name in the report.
    pub(crate) name: &'static str,
    /// Decodes a whole file in memory; an error in words.
    pub(crate) decode: fn(&[u8]) -> Result<Sum, String>,
}

/// All of them. `itchy` can only read from a stream, `itch5` only from memory, `ring0` either way.
pub(crate) const DECODERS: [Decoder; 4] = [
    Decoder {
        name: "ring0, from memory",
        decode: ring0_memory,
    },
    Decoder {
        name: "itch5 0.1.5, from memory",
        decode: itch5,
    },
    Decoder {
        name: "ring0, from a stream",
        decode: ring0_stream,
    },
    Decoder {
        name: "itchy 0.3.4, from a stream",
        decode: itchy,
    },
];

fn ring0_memory(feed: &[u8]) -> Result<Sum, String> {
    let mut sum = Sum::default();
    for bytes in Messages::new(feed) {
        let bytes = bytes.map_err(|error| error.to_string())?;
        sum.message(&Message::read(bytes).map_err(|error| error.to_string())?);
    }
    Ok(sum)
}

fn ring0_stream(feed: &[u8]) -> Result<Sum, String> {
    let mut sum = Sum::default();
    let mut reader = Reader::new(feed);
    while let Some(bytes) = reader.next_message().map_err(|error| error.to_string())? {
        sum.message(&Message::read(bytes).map_err(|error| error.to_string())?);
    }
    Ok(sum)
}

fn itchy(feed: &[u8]) -> Result<Sum, String> {
    let mut sum = Sum::default();
    for message in itchy::MessageStream::from_reader(feed) {
        match message.map_err(|error| error.to_string())?.body {
            itchy::Body::AddOrder(m) => sum.add(m.reference, m.shares, m.price.raw(), 0),
            itchy::Body::OrderExecuted {
                reference,
                executed,
                match_number,
            } => {
                sum.add(reference, executed, 0, match_number);
            }
            itchy::Body::DeleteOrder { reference } => sum.add(reference, 0, 0, 0),
            _ => {}
        }
    }
    Ok(sum)
}

impl itch5::MessageHandler for Sum {
    fn on_add_order_no_mpid_attribution(
        &mut self,
        m: &itch5_messages::AddOrderNoMPIDAttribution,
    ) -> ControlFlow<()> {
        self.add(
            m.order_reference_number(),
            m.shares(),
            m.price().into_u32(),
            0,
        );
        ControlFlow::Continue(())
    }

    fn on_order_executed(&mut self, m: &itch5_messages::OrderExecuted) -> ControlFlow<()> {
        let (reference, shares) = (m.order_reference_number(), m.executed_shares());
        self.add(reference, shares, 0, m.match_number());
        ControlFlow::Continue(())
    }

    fn on_order_delete(&mut self, m: &itch5_messages::OrderDelete) -> ControlFlow<()> {
        self.add(m.order_reference_number(), 0, 0, 0);
        ControlFlow::Continue(())
    }
}

fn itch5(feed: &[u8]) -> Result<Sum, String> {
    let mut sum = Sum::default();
    itch5::Parser::new(feed)
        .parse_stream(&mut sum)
        .map_err(|error| error.to_string())?;
    Ok(sum)
}
