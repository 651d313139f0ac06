//! `contracts/vectors/utxo.json`: from a state to its transactions, to the byte. Other implementations check theirs against it.
//!
//! `RING0_WRITE_VECTORS=1 cargo test --release -p ring0-bitcoin --test vectors` writes the file anew; a change of it is a
//! change of what old signatures are of, and needs a reason in `docs/decisions/`.

mod pair;

use std::{fs, path::PathBuf};

use bitcoin::{
    Amount, OutPoint, Transaction, Txid, consensus::encode::serialize_hex, hashes::Hash,
};
use pair::{OPERATOR_SEED, TRADER_SEED, hex_of, secrets};
use ring0_bitcoin::{
    chain::Chain,
    commitment::{Commitment, State},
    cooperative::Cooperative,
    keys::{Party, Secrets},
    omni::SimpleSend,
    terms::{Funding, Terms},
};
use serde_json::{Value, json};

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../vectors/utxo.json")
}

fn funding() -> Funding {
    Funding {
        outpoint: OutPoint {
            txid: Txid::from_byte_array([0x5a; 32]),
            vout: 1,
        },
        value: Amount::from_sat(10_000_000),
    }
}

fn keys(secrets: &Secrets) -> Value {
    json!({
        "funding_secret": hex_of(&secrets.funding.secret_bytes()),
        "payout_secret": hex_of(&secrets.payout.secret_bytes()),
        "penalty_secret": hex_of(&secrets.penalty.secret_bytes()),
        "anchor_secret": hex_of(&secrets.anchor.secret_bytes()),
        "public": secrets.public(),
    })
}

fn witness(tx: &Transaction) -> Vec<String> {
    tx.input[0].witness.iter().map(hex_of).collect()
}

/// One commitment: what both sign, what its holder publishes, and what becomes of the holder's balance.
fn commitment(terms: &Terms, state: State, holder: Party, parties: [&Secrets; 2]) -> Value {
    let [trader, operator] = parties;
    let (own, other) = if holder == Party::Trader {
        (trader, operator)
    } else {
        (operator, trader)
    };
    let point = own.revocation.point(state.version);
    let commitment = Commitment::build(terms, &funding(), &state, holder, &point).unwrap();
    let secp = bitcoin::secp256k1::Secp256k1::new();
    let message = bitcoin::secp256k1::Message::from_digest(commitment.sighash());
    let [trader_signature, operator_signature] =
        [trader, operator].map(|party| secp.sign_schnorr_no_aux_rand(&message, &party.funding));
    let tx = commitment
        .complete(&trader_signature, &operator_signature)
        .unwrap();
    let balance = commitment.balance(holder).ok().map(|balance| {
        let (to, fee) = (terms.anchor_script(holder.other()), Amount::ZERO);
        let to_hex = to.to_hex_string();
        let claim = balance.claim(terms, &own.payout, to.clone(), fee).unwrap();
        let penalty = balance
            .penalty(
                terms,
                &other.penalty,
                &own.revocation.secret(state.version),
                to,
                fee,
            )
            .unwrap();
        json!({
            "value_sat": balance.output.value.to_sat(),
            "script_pubkey": balance.output.script_pubkey.to_hex_string(),
            "leaf": balance.leaf.script.to_hex_string(),
            "to": to_hex,
            "fee_sat": fee.to_sat(),
            "claim_txid": claim.compute_txid(),
            "claim_witness": witness(&claim),
            // MuSig2 draws nonces, so a penalty's witness differs each time: what it spends to is fixed.
            "penalty_txid": penalty.compute_txid(),
        })
    });
    json!({
        "holder": holder,
        "revocation_secret": hex_of(&own.revocation.secret(state.version).secret_bytes()),
        "revocation_point": point.to_string(),
        "unsigned": serialize_hex(commitment.unsigned()),
        "txid": commitment.txid(),
        "sighash": hex_of(&commitment.sighash()),
        "trader_signature": trader_signature.to_string(),
        "operator_signature": operator_signature.to_string(),
        "witness": witness(&tx),
        "signed": serialize_hex(&tx),
        "holders_balance": balance,
    })
}

fn channel(chain: Chain, number: u32) -> Value {
    let (trader, operator) = (
        secrets(Party::Trader, chain, number),
        secrets(Party::Operator, chain, number),
    );
    let terms = Terms {
        trader_delay_blocks: 144,
        operator_delay_blocks: 1_008,
        ..pair::terms(chain, number)
    };
    terms.check().unwrap();
    let leaf = terms.funding();
    let states: Vec<_> = [
        (0, 5_000_000, 2_000),
        (1, 9_900_000, 2_000),
        (2, 0, 1_000),
        (3, 3_300, 5_000),
        (16_777_216, 1_234_567, 12_345),
        ((1 << 48) - 1, 329, 1_000),
    ]
    .map(|(version, trader_sat, fee_rate_sat_per_kvb)| {
        let state = State {
            version,
            trader: Amount::from_sat(trader_sat),
            fee_rate_sat_per_kvb,
        };
        let commitments = [Party::Trader, Party::Operator]
            .map(|holder| commitment(&terms, state, holder, [&trader, &operator]));
        json!({ "state": state, "commitments": commitments })
    })
    .into();
    let to = [
        terms.anchor_script(Party::Trader),
        terms.anchor_script(Party::Operator),
    ];
    let close = Cooperative::close(
        &terms,
        &funding(),
        Amount::from_sat(6_000_000),
        to,
        Amount::from_sat(1_000),
        Party::Operator,
    )
    .unwrap();
    json!({
        "chain": chain,
        "channel": number,
        "trader": keys(&trader),
        "operator": keys(&operator),
        "terms": terms,
        "id": terms.id(funding().outpoint).to_string(),
        "funding": {
            "output": funding(),
            "aggregate": terms.funding_aggregate().plain().to_string(),
            "leaf": leaf.script.to_hex_string(),
            "leaf_hash": leaf.hash(),
            "control_block": hex_of(&leaf.control_block().serialize()),
            "script_pubkey": leaf.output().to_hex_string(),
            "address": chain.address(&leaf.output()).unwrap(),
        },
        "states": states,
        "close": {
            "trader_sat": 6_000_000,
            "fee_sat": 1_000,
            "payer": "operator",
            "unsigned": serialize_hex(close.unsigned()),
            "txid": close.unsigned().compute_txid(),
            "sighash": hex_of(&close.sighash()),
            "output_key": close.aggregate().output_key(),
        },
    })
}

fn vectors() -> Value {
    let omni: Vec<_> = [(1, 100_000_000), (2, 1), (31, i64::MAX as u64)]
        .map(|(property, amount)| {
            let send = SimpleSend { property, amount };
            json!({ "send": send, "script_pubkey": send.output().unwrap().script_pubkey.to_hex_string() })
        })
        .into();
    json!({
        "about": "Channels on UTXO chains: docs/channels-bitcoin.md. Amounts in the chain's smallest unit, bytes in hexadecimal, ids as explorers show them.",
        "trader_seed": hex_of(&TRADER_SEED),
        "operator_seed": hex_of(&OPERATOR_SEED),
        "channels": [channel(Chain::Bitcoin, 0), channel(Chain::LitecoinRegtest, 1)],
        "omni": omni,
    })
}

#[test]
fn the_file_is_what_the_code_says() {
    let now = serde_json::to_string_pretty(&vectors()).unwrap() + "\n";
    if std::env::var_os("RING0_WRITE_VECTORS").is_some() {
        fs::create_dir_all(path().parent().unwrap()).unwrap();
        fs::write(path(), &now).unwrap();
    }
    let file = fs::read_to_string(path()).expect("contracts/vectors/utxo.json");
    let first = file
        .lines()
        .zip(now.lines())
        .enumerate()
        .find(|(_, (file, now))| file != now);
    assert!(
        file == now,
        "the first line that differs is {first:?}; if that is meant, write the file anew with RING0_WRITE_VECTORS=1"
    );
}

/// What the file says is checked by the older of both secp256k1 versions and by bitcoin's own reading, not by what wrote it.
#[test]
fn the_file_holds_by_itself() {
    let file: Value = serde_json::from_str(&fs::read_to_string(path()).unwrap()).unwrap();
    let secp = bitcoin::secp256k1::Secp256k1::verification_only();
    let mut checked = 0;
    for channel in file["channels"].as_array().unwrap() {
        let funding = &channel["funding"];
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let bytes = |value: &Value| {
            bitcoin::hex::FromHex::from_hex(&text(value))
                .map(|bytes: Vec<u8>| bytes)
                .unwrap()
        };
        let script_pubkey = bitcoin::ScriptBuf::from_bytes(bytes(&funding["script_pubkey"]));
        let leaf = bitcoin::ScriptBuf::from_bytes(bytes(&funding["leaf"]));
        let control =
            bitcoin::taproot::ControlBlock::decode(&bytes(&funding["control_block"])).unwrap();
        let output_key =
            bitcoin::XOnlyPublicKey::from_slice(&script_pubkey.as_bytes()[2..]).unwrap();
        assert!(control.verify_taproot_commitment(&secp, output_key, &leaf));
        assert_eq!(
            text(&channel["close"]["output_key"]),
            output_key.to_string()
        );
        let prevout = bitcoin::TxOut {
            value: Amount::from_sat(funding["output"]["value"].as_u64().unwrap()),
            script_pubkey,
        };
        let [trader, operator] = ["trader", "operator"].map(|party| {
            let key: bitcoin::secp256k1::PublicKey =
                text(&channel[party]["public"]["funding"]).parse().unwrap();
            key.x_only_public_key().0
        });
        for commitment in channel["states"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|state| state["commitments"].as_array().unwrap())
        {
            let tx: Transaction =
                bitcoin::consensus::encode::deserialize_hex(&text(&commitment["signed"])).unwrap();
            assert_eq!(tx.compute_txid().to_string(), text(&commitment["txid"]));
            let leaf_hash =
                bitcoin::TapLeafHash::from_script(&leaf, bitcoin::taproot::LeafVersion::TapScript);
            let sighash = bitcoin::sighash::SighashCache::new(&tx)
                .taproot_script_spend_signature_hash(
                    0,
                    &bitcoin::sighash::Prevouts::All(&[&prevout]),
                    leaf_hash,
                    bitcoin::TapSighashType::Default,
                )
                .unwrap()
                .to_byte_array();
            assert_eq!(hex_of(&sighash), text(&commitment["sighash"]));
            for (place, key) in [(0, operator), (1, trader)] {
                let signature =
                    bitcoin::secp256k1::schnorr::Signature::from_slice(&tx.input[0].witness[place])
                        .unwrap();
                secp.verify_schnorr(
                    &signature,
                    &bitcoin::secp256k1::Message::from_digest(sighash),
                    &key,
                )
                .unwrap();
                checked += 1;
            }
        }
    }
    assert_eq!(checked, 48);
}
