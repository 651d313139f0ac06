//! The built contract is one that nodes take: WebAssembly 1.0 without later additions, within the limits that nodeos sets (`libraries/chain/include/eosio/chain/wasm_eosio_constraints.hpp`
//! of AntelopeIO/spring), importing nothing but what nodes have. Built before by `contracts/antelope/build`.

use std::path::Path;
use wasmparser::{
    DataKind, ExternalKind, Operator, Parser, Payload, TypeRef, Validator, WasmFeatures,
};

/// The hub's own budget; nodes take more.
const SIZE_MAX: usize = 60 * 1024;
/// Data must lie below it.
const DATA_END_MAX: u64 = 64 * 1024;
/// Pages of 64 KiB that a contract may start with.
const PAGES_MAX: u64 = 528;
/// Bytes of locals and parameters of a function.
const LOCALS_MAX: u64 = 8192;
/// Bytes of mutable globals.
const GLOBALS_MAX: usize = 1024;

/// Functions that the hub asks of a node. `sha3` and `k1_recover` are of the protocol feature CRYPTO_PRIMITIVES, `get_block_num` of GET_BLOCK_NUM.
const IMPORTS: [&str; 17] = [
    "action_data_size",
    "current_time",
    "db_find_i64",
    "db_get_i64",
    "db_remove_i64",
    "db_store_i64",
    "db_update_i64",
    "eosio_assert_message",
    "get_block_num",
    "is_account",
    "k1_recover",
    "read_action_data",
    "require_auth",
    "send_inline",
    "sha3",
    "tapos_block_num",
    "tapos_block_prefix",
];

#[test]
fn the_built_hub_is_one_that_nodes_take() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../target/wasm32v1-none/release/ring0_antelope_hub.wasm");
    let wasm = std::fs::read(&file).unwrap_or_else(|why| {
        panic!(
            "{}: {why}; contracts/antelope/build makes it",
            file.display()
        )
    });
    assert!(wasm.len() <= SIZE_MAX, "{} bytes", wasm.len());
    Validator::new_with_features(WasmFeatures::WASM1)
        .validate_all(&wasm)
        .expect("WebAssembly 1.0");
    let (mut imports, mut exports, mut globals) = (Vec::new(), Vec::new(), 0);
    for payload in Parser::new(0).parse_all(&wasm) {
        match payload.unwrap() {
            Payload::ImportSection(section) => {
                for import in section {
                    let import = import.unwrap();
                    assert_eq!(import.module, "env");
                    assert!(matches!(import.ty, TypeRef::Func(_)), "{}", import.name);
                    imports.push(import.name);
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.unwrap();
                    exports.push((export.name, export.kind));
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    assert!(memory.unwrap().initial <= PAGES_MAX);
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    globals += if global.unwrap().ty.mutable { 8 } else { 0 };
                }
            }
            Payload::DataSection(section) => {
                for data in section {
                    let data = data.unwrap();
                    let DataKind::Active { offset_expr, .. } = data.kind else {
                        panic!("data without a place");
                    };
                    let mut offset = offset_expr.get_operators_reader();
                    let Operator::I32Const { value } = offset.read().unwrap() else {
                        panic!("data at a place that is no constant");
                    };
                    let end = value as u64 + data.data.len() as u64;
                    assert!(end <= DATA_END_MAX, "data up to {end}");
                }
            }
            Payload::CodeSectionEntry(body) => {
                let locals = body.get_locals_reader().unwrap();
                let count: u64 = locals.into_iter().map(|it| u64::from(it.unwrap().0)).sum();
                assert!(8 * count <= LOCALS_MAX, "{count} locals");
            }
            _ => {}
        }
    }
    for import in imports {
        assert!(
            IMPORTS.contains(&import),
            "{import} is new; say in the docs what it needs of a node"
        );
    }
    assert!(globals <= GLOBALS_MAX);
    assert!(exports.contains(&("apply", ExternalKind::Func)));
    assert!(exports.contains(&("memory", ExternalKind::Memory)));
    let mutable = exports
        .iter()
        .find(|(_, kind)| *kind == ExternalKind::Global);
    // Constants alone may be exported; the linker's two marks are such.
    assert!(mutable.is_none_or(|(name, _)| ["__data_end", "__heap_base"].contains(name)));
}
