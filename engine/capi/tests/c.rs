//! C programs against the built library: compiled with all warnings as errors, linked, run, their output compared.

use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn the_example_prints_its_market() {
    // Fees are a taker's 0.3 per cent rounded up, a maker's rebate of 0.1 per cent rounded down. Ids are numbers of records: nine
    // are of the creation, and each packet ends with one of its own.
    let expected = "\
taker    filled 25 lots
rejected WouldCross: The post-only order would have traded at entry.
rested   order 10 reference 1 S 30 lots at 1002
rested   order 12 reference 2 S 20 lots at 1001
rested   order 14 reference 3 B 20 lots at 999
rested   order 16 reference 4 B 30 lots at 998
filled   taker 19 maker 12 20 lots at 1001 fees 61 and -20
filled   taker 19 maker 10 5 lots at 1002 fees 16 and -5
reduced  order 16 by 10 to 20
replaced order 28 was 14, 15 lots at 1000
rested   order 28 reference 5 B 15 lots at 1000
depth    S 1002: 25 lots, 1 orders
depth    B 1000: 15 lots, 1 orders
depth    B 998: 20 lots, 1 orders
best     1000 / 1002
gone     3 orders
";
    assert_eq!(run("examples/book.c"), expected);
}

#[test]
fn what_a_caller_gets_wrong_is_a_code() {
    assert_eq!(run("tests/c/errors.c"), "every error is a code\n");
}

/// Compiles a source of this package, links it with the library that this test was built with, runs it.
fn run(source: &str) -> String {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let library = library();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = folder.path().join("program");
    let compiled = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()))
        .args([
            "-std=c11",
            "-O1",
            "-Wall",
            "-Wextra",
            "-Wpedantic",
            "-Werror",
        ])
        .arg("-I")
        .arg(here.join("include"))
        .arg(here.join(source))
        .arg("-L")
        .arg(&library)
        .arg("-lring0")
        .arg(format!("-Wl,-rpath,{}", library.display()))
        .arg("-o")
        .arg(&program)
        .output()
        .expect("a C compiler: scripts/setup installs gcc");
    let complaint = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "{source}:\n{complaint}");
    // Cargo's own search path names the folder above first, where an older build may lie.
    let ran = Command::new(&program)
        .env("LD_LIBRARY_PATH", &library)
        .output()
        .expect("the program runs");
    let complaint = String::from_utf8_lossy(&ran.stderr);
    assert!(
        ran.status.success(),
        "{source} {}:\n{complaint}",
        ran.status
    );
    String::from_utf8(ran.stdout).expect("a text")
}

/// The folder of `libring0.so`, which cargo builds beside the tests of its package.
fn library() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let folder = test.parent().expect("a folder").to_owned();
    assert!(
        folder.join("libring0.so").is_file(),
        "no libring0.so in {}: run through cargo test -p ring0-capi",
        folder.display()
    );
    folder
}
