//! What the linked object must not contain (RULES 1).
//!
//! A panic compiles, loads and verifies, but its call is linked to the first function of `.text`,
//! the matcher itself. So no symbol or relocation may name the panic machinery, no call may go to
//! something undefined, and instructions may lie only in `xdp` and one `.text`.

use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionFlags, SymbolSection};
use std::fmt;

const SHF_EXECINSTR: u64 = 4;

/// One finding, with its place.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Violation {
    /// A symbol of the panic machinery.
    Panic { symbol: String, place: String },
    /// A reference to a symbol that is nowhere.
    Undefined { symbol: String, place: String },
    /// Instructions outside of `xdp` and the first `.text`.
    Section { name: String, size_bytes: u64 },
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic { symbol, place } => write!(out, "panic path: {symbol} {place}"),
            Self::Undefined { symbol, place } => write!(out, "undefined: {symbol} {place}"),
            Self::Section { name, size_bytes } => {
                write!(
                    out,
                    "executable section {name} of {size_bytes} bytes, besides xdp and .text"
                )
            }
        }
    }
}

/// All findings in the object, none for a good one.
pub(crate) fn violations(bytes: &[u8]) -> Result<Vec<Violation>, object::read::Error> {
    let file = object::File::parse(bytes)?;
    let mut found = Vec::new();
    for symbol in file.symbols() {
        let name = String::from_utf8_lossy(symbol.name_bytes()?).into_owned();
        if is_panic(&name) {
            let section = symbol
                .section_index()
                .and_then(|index| file.section_by_index(index).ok())
                .and_then(|section| section.name().map(str::to_owned).ok())
                .unwrap_or_else(|| "no section".to_owned());
            let place = format!("defined in {section} at {:#x}", symbol.address());
            found.push(Violation::Panic {
                symbol: name,
                place,
            });
        }
    }
    let mut seen = Vec::new();
    for section in file.sections() {
        let name = section.name()?.to_owned();
        if is_executable(&section) {
            let allowed = matches!(name.as_str(), "xdp" | ".text") && !seen.contains(&name);
            if !allowed && section.size() > 0 {
                found.push(Violation::Section {
                    name: name.clone(),
                    size_bytes: section.size(),
                });
            }
            seen.push(name.clone());
        }
        for (offset, relocation) in section.relocations() {
            let RelocationTarget::Symbol(index) = relocation.target() else {
                continue;
            };
            let symbol = file.symbol_by_index(index)?;
            let target = String::from_utf8_lossy(symbol.name_bytes()?).into_owned();
            let place = format!("used in {name} at instruction {}", offset / 8);
            if is_panic(&target) {
                found.push(Violation::Panic {
                    symbol: target,
                    place,
                });
            } else if symbol.section() == SymbolSection::Undefined {
                found.push(Violation::Undefined {
                    symbol: target,
                    place,
                });
            }
        }
    }
    Ok(found)
}

/// The executable sections and their bytes, in the file's order.
pub(crate) fn instructions(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, object::read::Error> {
    let file = object::File::parse(bytes)?;
    let mut sections = Vec::new();
    for section in file.sections().filter(is_executable) {
        sections.push((section.name()?.to_owned(), section.data()?.to_vec()));
    }
    Ok(sections)
}

fn is_executable<'data>(section: &impl ObjectSection<'data>) -> bool {
    matches!(section.flags(), SectionFlags::Elf { sh_flags } if sh_flags & SHF_EXECINSTR != 0)
}

/// Both manglings keep the path's words: `_ZN4core9panicking5panic…`, `_RNv…4core9panicking5panic`.
fn is_panic(symbol: &str) -> bool {
    [
        "panicking",
        "panic_fmt",
        "panic_bounds_check",
        "rust_begin_unwind",
        "unwrap_failed",
        "expect_failed",
    ]
    .iter()
    .any(|word| symbol.contains(word))
}
