//! What the driver says reaches whoever asked, and the mode that is possible is found. Needs root.

mod veth;

use std::process::Command;
use veth::Veth;
use xdp_loader::{Exit, LoaderError, Mode, load, load_any_mode, status};

fn ip(arguments: &[&str]) {
    let status = Command::new("ip").args(arguments).status();
    assert!(status.is_ok_and(|status| status.success()), "{arguments:?}");
}

#[test]
fn the_drivers_reason_is_told() {
    let Some(veth) = Veth::new() else { return };
    let (peer, netns) = (veth.peer(), veth.netns());
    // A veth takes no program while its peer's packets do not fit into a page.
    ip(&["-n", &netns, "link", "set", &peer, "mtu", "9000"]);
    let options = veth.options();
    let error = load(&options, &mut |_| Ok(())).expect_err("refused");
    println!("{error}");
    let text = error.to_string();
    assert!(matches!(error, LoaderError::NativeRefused { .. }), "{text}");
    assert!(
        text.contains("MTU is too large") || text.contains("MTU 1500"),
        "the driver's words, or what is known of the interface: {text}"
    );
    assert!(
        !options.pin_root.exists() && !veth.has_xdp(),
        "nothing is left"
    );

    let (loaded, not_native) = load_any_mode(&options, &mut |_| Ok(())).expect("loads");
    assert_eq!(loaded.report.mode, Mode::Skb);
    let not_native = not_native.expect("why not").to_string();
    assert!(not_native.contains("refused native XDP"), "{not_native}");
    drop(loaded);
    ip(&["-n", &netns, "link", "set", &peer, "mtu", "1500"]);
    let (loaded, not_native) = load_any_mode(&options, &mut |_| Ok(())).expect("adopts");
    assert!(loaded.report.adopted && not_native.is_none());
    assert_eq!(loaded.report.mode, Mode::Skb, "the shard keeps its mode");
    let found = status(&options.pin_root).expect("loaded");
    assert!(found.attached && found.mode == Mode::Skb);
}

#[test]
fn a_link_is_waited_for() {
    let Some(veth) = Veth::new() else { return };
    let run = || {
        Command::new(env!("CARGO_BIN_EXE_xdp-loader"))
            .args([
                "load",
                &veth.interface(),
                "--wait-carrier=0.5",
                "--mode=auto",
            ])
            .args(["--arena-bytes=262144", "--json", "--object"])
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../ebpf/prebuilt/proof.bpf.o"
            ))
            .output()
            .expect("runs")
    };
    let ran = run();
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert_eq!(ran.status.code(), Some(Exit::Error as i32), "{ran:?}");
    assert!(text.contains("has no carrier after 0.5 s"), "{text}");
    assert!(veth.has_xdp(), "attached all the same");
    ip(&["link", "set", &veth.interface(), "up"]);
    ip(&["-n", &veth.netns(), "link", "set", &veth.peer(), "up"]);
    let ran = run();
    assert!(ran.status.success(), "{ran:?}");
}
