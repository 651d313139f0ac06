//! Finds DPDK, reads its headers and builds the shim; without it the crate says what to install.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(dpdk)");
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "dpdk")]
    match found::build() {
        Ok(()) => {
            println!("cargo::rustc-cfg=dpdk");
            println!("cargo::metadata=available=1");
        }
        Err(missing) => {
            println!("cargo::warning=built without DPDK: {missing}");
            println!("cargo::rustc-env=DPDK_MISSING={missing}");
            // A file that is never there: cargo looks again in every build, until what is missing is installed.
            println!("cargo::rerun-if-changed=until-dpdk-is-found");
        }
    }
}

#[cfg(feature = "dpdk")]
mod found {
    use std::env;
    use std::panic::catch_unwind;
    use std::path::Path;
    use std::process::Command;

    /// Oldest version that this is tested with; types and names of earlier ones differ.
    const VERSION_MIN: &str = "22.11";

    /// What is called.
    const FUNCTIONS: &[&str] = &[
        "ring0_.*",
        "rte_eal_(init|cleanup)",
        "rte_strerror",
        "rte_pktmbuf_pool_create",
        "rte_mempool_free",
        "rte_eth_dev_(get_port_by_name|socket_id|info_get|configure|adjust_nb_rx_tx_desc|start|stop|close)",
        "rte_eth_(rx|tx)_queue_setup",
        "rte_eth_(macaddr_get|stats_get)",
    ];

    /// What is linked of DPDK: what [`FUNCTIONS`] and the shim's inline functions are in. Drivers are plug-ins, which EAL loads when it starts.
    const LIBRARIES: &[&str] = &["rte_ethdev", "rte_mbuf", "rte_mempool", "rte_eal"];

    /// Gives what is missing.
    pub(super) fn build() -> Result<(), String> {
        println!("cargo::rerun-if-changed=src/shim.h");
        println!("cargo::rerun-if-changed=src/shim.c");
        println!("cargo::rerun-if-env-changed=PKG_CONFIG_PATH");
        let flags = pkg_config(&["--cflags"])?;
        // Behind `-I`, as everything else that changes what a header declares: `-include rte_config.h`, `-march`.
        let flags: Vec<&str> = flags.split_whitespace().collect();
        let Ok(bindings) = catch_unwind(|| {
            let mut builder = bindgen::builder()
                .header("src/shim.h")
                .clang_args(&flags)
                .allowlist_recursively(true)
                .allowlist_var("ring0_.*")
                // Only its address is ever used here; the shim looks inside.
                .opaque_type("rte_mbuf|rte_mempool")
                .derive_default(true)
                .layout_tests(false)
                .generate_comments(false);
            for function in FUNCTIONS {
                builder = builder.allowlist_function(function);
            }
            builder.generate()
        }) else {
            return Err("libclang was not found; run: apt-get install libclang-dev".to_owned());
        };
        let bindings = bindings.map_err(|error| {
            let error = error.to_string().replace('\n', " ");
            format!("libclang cannot read DPDK's headers ({error}); run: apt-get install libdpdk-dev libclang-dev")
        })?;
        let out = env::var("OUT_DIR").expect("cargo sets it");
        bindings
            .write_to_file(Path::new(&out).join("bindings.rs"))
            .expect("cargo's output folder can be written");

        let mut shim = cc::Build::new();
        shim.file("src/shim.c").flags(&flags).opt_level(3);
        shim.try_compile("ring0_dpdk_shim").map_err(|error| {
            let error = error.to_string().replace('\n', " ");
            format!("the C compiler refuses the shim ({error}); run: apt-get install gcc libc6-dev libdpdk-dev")
        })?;
        for path in pkg_config(&["--libs-only-L"])?.split_whitespace() {
            println!(
                "cargo::rustc-link-search=native={}",
                path.trim_start_matches("-L")
            );
        }
        for library in LIBRARIES {
            println!("cargo::rustc-link-lib=dylib={library}");
        }
        Ok(())
    }

    fn pkg_config(arguments: &[&str]) -> Result<String, String> {
        let run = |arguments: &[&str]| {
            let output = Command::new("pkg-config")
                .args(arguments)
                .arg("libdpdk")
                .output();
            output.map_err(|_| {
                "pkg-config was not found; run: apt-get install pkg-config libdpdk-dev".to_owned()
            })
        };
        if !run(&["--atleast-version", VERSION_MIN])?.status.success() {
            return Err(format!(
                "libdpdk {VERSION_MIN} or newer was not found by pkg-config; run: apt-get install libdpdk-dev"
            ));
        }
        let output = run(arguments)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let error = String::from_utf8_lossy(&output.stderr).replace('\n', " ");
        Err(format!(
            "pkg-config fails on libdpdk ({error}); run: apt-get install libdpdk-dev"
        ))
    }
}
