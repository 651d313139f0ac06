//! The benches run small, with all their checks.

use ring0_settlement::bench::{self, Options};
use std::time::Duration;

#[test]
fn figures_come_with_right_balances() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        accounts: 50,
        time: Duration::from_millis(400),
        batch: Duration::from_millis(100),
        seed: 7,
        rate: Some(2_000_000),
    };
    let report = bench::ledger(folder.path(), &options).unwrap();
    assert!(report.balances_right && report.balances_checked == 250);
    assert!(report.fills > 0 && report.postings_per_fill >= 4.0);
    assert!(report.accounts_cut > 0);
    let folder = tempfile::tempdir().unwrap();
    let report = bench::netting(folder.path(), 20, 3, 7).unwrap();
    assert_eq!((report.traders, report.cut.count), (20, 3));
    println!("{}", serde_json::to_string(&report).unwrap());
}
