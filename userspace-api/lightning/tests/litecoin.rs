//! A Litecoin node is refused: LDK would name Bitcoin's chain in what it signs there.

#[path = "../../../contracts/bitcoin/tests/node/mod.rs"]
mod node;

use bitcoin::Network;
use ring0_lightning::core_node::CoreNode;

#[test]
fn a_node_of_another_chain_is_refused() {
    let litecoind = node::Litecoind::start();
    let refused = CoreNode::new(litecoind.node.clone(), Network::Regtest)
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("530827f38f93b43ed12af0b3ad25a288dc02ed74d6d7857862df51fc56c416f9"),
        "{refused}"
    );
    assert!(refused.contains("on Bitcoin only"), "{refused}");
}
