//! What translating costs, printed for the page; fails only when nothing comes of it.

mod market;

use market::Market;
use ring0_engine::flow::Profile;
use ring0_feed::{FIRST_SESSION, Sink, Translator};
use ring0_itch::mold::Session;
use std::time::Instant;

#[derive(Default)]
struct Count {
    messages: u64,
    bytes: u64,
}

impl Sink for Count {
    fn begin(&mut self, _: Session) {}

    fn message(&mut self, message: &[u8]) {
        self.messages += 1;
        self.bytes += message.len() as u64;
    }

    fn end(&mut self) {}
}

#[test]
fn cost_of_translating() {
    for profile in [Profile::Calm, Profile::Deep, Profile::Mixed] {
        let mut market = Market::new(7, profile);
        let mut records = market.records.clone();
        for _ in 0..20_000 {
            market.step();
            records.extend_from_slice(&market.records);
        }
        let mut best = u128::MAX;
        let mut made = Count::default();
        let mut translator = Translator::new(FIRST_SESSION);
        for _ in 0..3 {
            (translator, made) = (Translator::new(FIRST_SESSION), Count::default());
            let begun = Instant::now();
            translator.feed(&records, &mut made).unwrap();
            best = best.min(begun.elapsed().as_nanos());
        }
        let count = u128::from(translator.next_record() - 1);
        assert_eq!(made.messages as usize, market.tape.count());
        println!(
            "{profile:?}: {count} records, {} messages, {} ns a record, {} ns a message, image {} bytes",
            made.messages,
            best / count,
            best / u128::from(made.messages),
            translator.image().len()
        );
    }
}
