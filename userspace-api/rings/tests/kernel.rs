//! The kernel program loaded for real: control commands by doorbell, packets by test-run.

use ring0_engine::control::{Clock, Control, ControlKind, Deposit, OpenAccount};
use ring0_engine::layout::Layout;
use ring0_engine::record::Outcome;
use ring0_engine::{Capacity, Reason};
use ring0_lab::{Options, Veth};
use ring0_rings::{KernelOptions, Live, Ring, load_shard};
use xdp_loader::{LoadOptions, Object, unload};

#[test]
fn doorbell_carries_out_commands() {
    let veth = Veth::up(Options::default()).unwrap();
    let object = Object::Path(std::env::var("RING0_BPF_OBJECT").map_or_else(
        |_| {
            concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../ebpf/target/bpfel-unknown-none/release/ring0"
            )
            .into()
        },
        Into::into,
    ));
    let load = LoadOptions::new(object, &veth.exchange_if, Some(&veth.exchange_ns));
    let pin_root = load.pin_root.clone();
    let layout = Layout::new(&Capacity::SMALL).unwrap();
    let options = KernelOptions {
        load,
        layout,
        port: 4400,
        address: None,
        acks: ring0_abi::Acks::Matched,
    };
    let (loaded, mut shard) = load_shard(&options).unwrap_or_else(|error| panic!("{error}"));
    println!("{:?}", loaded.report);
    let results = shard
        .command(&[
            Control::new(ControlKind::Clock, &Clock { day_base_ns: 5 }),
            Control::new(
                ControlKind::OpenAccount,
                &OpenAccount {
                    account: 1,
                    reserved: 0,
                },
            ),
            Control::new(
                ControlKind::Deposit,
                &Deposit {
                    account: 1,
                    asset: 0,
                    amount: 7,
                },
            ),
            Control::new(
                ControlKind::Deposit,
                &Deposit {
                    account: 2,
                    asset: 0,
                    amount: 7,
                },
            ),
        ])
        .unwrap();
    assert_eq!(
        results,
        [
            (Outcome::Accepted, Reason::None),
            (Outcome::Accepted, Reason::None),
            (Outcome::Accepted, Reason::None),
            (Outcome::Rejected, Reason::UnknownAccount)
        ]
    );
    assert_eq!(shard.shard().balances(1, 0).0, 7);
    assert_eq!(shard.take_records().unwrap().len(), 8 * 64);
    shard.shard().check();
    unload(&pin_root).unwrap();
}
