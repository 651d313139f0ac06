//! What `abi` declares is what the compiler made of the contract: every function, event and error of ours is there by its selector.

mod node;

use alloy_primitives::hex;
use alloy_sol_types::SolInterface;
use ring0_channels_evm::abi::ChannelHub::{ChannelHubCalls, ChannelHubErrors, ChannelHubEvents};
use serde_json::Value;
use std::collections::BTreeSet;

#[test]
fn every_call_event_and_error_is_the_contracts() {
    node::hub_code();
    let out = node::contracts().join("out/cancun");
    let mut methods = BTreeSet::new();
    let mut others = BTreeSet::new();
    for name in [
        "IChannelHub.sol/IChannelHub",
        "ChannelHub.sol/ChannelHub",
        "IProofs.sol/IProofs",
    ] {
        let built = std::fs::read(out.join(format!("{name}.json"))).unwrap();
        let built: Value = serde_json::from_slice(&built).unwrap();
        let all = built["methodIdentifiers"].as_object().unwrap();
        methods.extend(all.values().map(|it| it.as_str().unwrap().to_owned()));
        for item in built["abi"].as_array().unwrap() {
            if matches!(item["type"].as_str(), Some("event" | "error")) {
                others.insert(signature(item));
            }
        }
    }
    for selector in ChannelHubCalls::selectors() {
        assert!(
            methods.contains(&hex::encode(selector)),
            "{:?}",
            ChannelHubCalls::name_by_selector(selector)
        );
    }
    let hashes: BTreeSet<String> = others
        .iter()
        .map(|it| hex::encode(alloy_primitives::keccak256(it)))
        .collect();
    for selector in ChannelHubErrors::selectors() {
        let begin = hex::encode(selector);
        assert!(
            hashes.iter().any(|it| it.starts_with(&begin)),
            "{:?}",
            ChannelHubErrors::name_by_selector(selector)
        );
    }
    for hash in ChannelHubEvents::SELECTORS {
        assert!(
            hashes.contains(&hex::encode(hash)),
            "event {}",
            hex::encode(hash)
        );
    }
}

/// Name and types, as they are hashed.
fn signature(item: &Value) -> String {
    let types: Vec<&str> = item["inputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["type"].as_str().unwrap())
        .collect();
    format!("{}({})", item["name"].as_str().unwrap(), types.join(","))
}
