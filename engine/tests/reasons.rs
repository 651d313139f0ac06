//! `docs/wire.md#reasons` lists every reason that an ack can carry, as the engine numbers them.

use ring0_engine::Reason;
use std::fmt::Write as _;

#[test]
fn the_page_lists_every_reason() {
    let mut table = String::from("| number | name | what the sender can do |\n|---|---|---|\n");
    for &reason in Reason::ALL {
        let number = reason as u8;
        writeln!(
            table,
            "| {number} | `{}` | {} |",
            reason.name(),
            reason.help().trim()
        )
        .expect("a string takes everything");
    }
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/wire.md");
    let text = std::fs::read_to_string(page).expect("docs/wire.md is in the repository");
    let section = text
        .split_once("\n## Reasons\n")
        .map_or("", |(_, section)| section);
    assert!(
        section.contains(&table),
        "put this table under `## Reasons` in docs/wire.md:\n\n{table}"
    );
}
