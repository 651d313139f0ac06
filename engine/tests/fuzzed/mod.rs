//! What a fuzzer's bytes do: they make every choice of a flow, whose inputs go through engine and reference.

use crate::pair::Pair;
use ring0_engine::flow::{Flow, Input};

/// Inputs of one run at the most: scenes make many of few bytes.
const INPUTS_MAX: u32 = 3_000;
/// Inputs between two comparisons of the whole state; there is one at the end too.
const CHECK_EVERY: u32 = 100;

/// Carries the choices out; gives the number of inputs.
///
/// # Panics
/// Engine and reference differ, or an invariant does not hold.
pub(crate) fn run(bytes: &[u8]) -> u32 {
    let mut flow = Flow::from_bytes(bytes);
    let mut pair = Pair::new(Flow::capacity());
    let mut input = Input::Control(flow.setup());
    let mut inputs = 0;
    loop {
        inputs += 1;
        let fed = pair
            .feed(&input, flow.boot_ns())
            .unwrap_or_else(|text| panic!("input {inputs}: {text}"));
        let ends = flow.is_spent() || inputs == INPUTS_MAX;
        if ends || inputs.is_multiple_of(CHECK_EVERY) {
            pair.same_states()
                .unwrap_or_else(|text| panic!("input {inputs}: {text}"));
        }
        if ends {
            return inputs;
        }
        if matches!(input, Input::Packet(_)) {
            flow.observe(fed.answer.as_deref());
        }
        flow.learn(&fed.records);
        input = flow.next_input();
    }
}
