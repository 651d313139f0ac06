//! The header is what the sources say. `RING0_WRITE_HEADER=1 cargo test --release -p ring0-capi --test header` writes it anew.

use ring0_engine::Reason;
use std::fmt::Write as _;
use std::path::Path;

#[test]
fn the_header_is_that_of_the_sources() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = here.join("include/ring0.h");
    let written = header(here);
    if std::env::var_os("RING0_WRITE_HEADER").is_some() {
        std::fs::write(&path, &written).expect("the header can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = written
        .lines()
        .zip(kept.lines())
        .find(|(written, kept)| written != kept);
    assert!(
        written == kept,
        "include/ring0.h is not of these sources, first at {differs:?}; write it with \
         RING0_WRITE_HEADER=1 cargo test --release -p ring0-capi --test header"
    );
}

/// The header: what cbindgen makes of the sources, and the engine's reasons, which it cannot see.
fn header(here: &Path) -> String {
    let mut config =
        cbindgen::Config::from_file(here.join("cbindgen.toml")).expect("cbindgen.toml");
    config.header = Some(
        "/* The native engine of Ring0 behind a C interface. Written by the tests of engine/capi from its sources:\n \
         * do not edit. What each call means beyond its comment, ownership and threads: engine/capi/README.md. */"
            .into(),
    );
    config.after_includes = Some(reasons());
    let mut bytes = Vec::new();
    cbindgen::Builder::new()
        .with_config(config)
        .with_src(here.join("src/abi.rs"))
        .with_src(here.join("src/lib.rs"))
        .with_src(here.join("src/engine.rs"))
        .generate()
        .expect("the sources can be read")
        .write(&mut bytes);
    String::from_utf8(bytes).expect("a text")
}

fn reasons() -> String {
    let mut text = String::new();
    for &reason in Reason::ALL {
        let mut name = String::new();
        for (index, letter) in reason.name().char_indices() {
            if index > 0 && letter.is_ascii_uppercase() {
                name.push('_');
            }
            name.push(letter.to_ascii_uppercase());
        }
        let _ = write!(
            text,
            "\n/* {} */\n#define RING0_REASON_{name} {}\n",
            reason.help().trim(),
            reason as u8
        );
    }
    text
}
