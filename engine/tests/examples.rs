//! The examples of `docs/matching.md`: engine and reference carry out every script of the page, and what the page says comes of it.
#![cfg(feature = "std")]

mod pair;
mod tape;
mod venue;

use std::path::Path;

#[test]
fn the_examples_of_the_page_hold() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/matching.md");
    let page = std::fs::read_to_string(page).expect("the page is in the repository");
    let scripts: Vec<&str> = page
        .split("```script\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap_or_default())
        .collect();
    assert!(scripts.len() >= 15, "only {} examples", scripts.len());
    for script in scripts {
        venue::run(script);
    }
}
