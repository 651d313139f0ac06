//! Learns from `dpdk-sys` whether DPDK was found.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(dpdk)");
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("DEP_DPDK_AVAILABLE").is_some() {
        println!("cargo::rustc-cfg=dpdk");
    }
}
