//! Scripts, sizes and amounts of commitments, checked against miniscript and against the transactions themselves.

mod pair;

use bitcoin::{Amount, OutPoint, Psbt, ScriptBuf, TxOut, Txid, hashes::Hash};
use miniscript::Descriptor;
use pair::{FEE_RATE, Pair, elsewhere, imagined_funding, secrets, sign_together, state, terms};
use ring0_bitcoin::{
    chain::Chain,
    commitment::{CLAIM_VBYTES, COMMITMENT_VBYTES, ClaimError, Commitment, PENALTY_VBYTES},
    cooperative::{Cooperative, CooperativeError},
    fees::{AnchorChild, FeeError, FeeInput},
    keys::Party,
    psbt::{self, CooperativePsbt, PsbtError},
    revocation::VERSION_MAX,
    terms::TermsError,
};

const CHAIN: Chain = Chain::BitcoinRegtest;

fn point(party: Party, version: u64) -> bitcoin::secp256k1::PublicKey {
    secrets(party, CHAIN, 0).revocation.point(version)
}

fn commitment(holder: Party, version: u64, trader_sat: u64) -> Commitment {
    Commitment::build(
        &terms(CHAIN, 0),
        &imagined_funding(),
        &state(version, trader_sat),
        holder,
        &point(holder, version),
    )
    .unwrap()
}

/// The outputs are what a wallet makes of the descriptors in the documentation.
#[test]
fn scripts_are_miniscripts() {
    let terms = terms(CHAIN, 0);
    let check = |descriptor: String, script: ScriptBuf| {
        let descriptor: Descriptor<miniscript::DefiniteDescriptorKey> = descriptor.parse().unwrap();
        assert_eq!(descriptor.script_pubkey(), script, "{descriptor}");
    };
    let x = |key: &bitcoin::secp256k1::PublicKey| key.x_only_public_key().0;
    let aggregate = terms.funding_aggregate().internal_key();
    check(
        format!(
            "tr({aggregate},and_v(v:pk({}),pk({})))",
            x(&terms.trader.funding),
            x(&terms.operator.funding)
        ),
        terms.funding().output(),
    );
    for holder in [Party::Trader, Party::Operator] {
        let (commitment, other) = (commitment(holder, 5, 4_000_000), holder.other());
        let revocation =
            ring0_bitcoin::musig::Aggregate::of(terms.keys(other).penalty, point(holder, 5))
                .internal_key();
        let own = commitment.balance(holder).unwrap().output.script_pubkey;
        check(
            format!(
                "tr({revocation},and_v(v:pk({}),older({})))",
                x(&terms.keys(holder).payout),
                terms.delay_blocks(holder)
            ),
            own,
        );
        let nobody = "50929b74c1a04954b78b4b6035e97a5e078a5a0f28ec96d547bfee9ace803ac0";
        check(
            format!(
                "tr({nobody},and_v(v:pk({}),older(1)))",
                x(&terms.keys(other).payout)
            ),
            commitment.balance(other).unwrap().output.script_pubkey,
        );
        check(
            format!("tr({})", x(&terms.keys(holder).anchor)),
            commitment.anchor(holder).1.script_pubkey,
        );
    }
}

#[test]
fn sizes_are_the_constants() {
    let mut pair = Pair::open(CHAIN, 0, imagined_funding(), 5_000_000);
    let (commitment, tx) = pair.trader.exit(imagined_funding().outpoint).unwrap();
    assert_eq!((tx.vsize() as u64, tx.output.len()), (COMMITMENT_VBYTES, 4));
    assert_eq!(
        commitment.fee(),
        Amount::from_sat((FEE_RATE * COMMITMENT_VBYTES).div_ceil(1_000))
    );
    let (to, fee) = (
        terms(CHAIN, 0).anchor_script(Party::Trader),
        Amount::from_sat(500),
    );
    let claims = [
        (Party::Trader, pair.trader.payout_key()),
        (Party::Operator, pair.operator.payout_key()),
    ]
    .map(|(party, key)| {
        commitment
            .balance(party)
            .unwrap()
            .claim(&terms(CHAIN, 0), key, to.clone(), fee)
            .unwrap()
            .vsize() as u64
    });
    println!("claims {claims:?}");
    assert_eq!(*claims.iter().max().unwrap(), CLAIM_VBYTES);

    pair = Pair::open(CHAIN, 0, imagined_funding(), 5_000_000);
    pair.update(1, 6_000_000);
    let kit = pair.operator.kit(to, 10_000).unwrap().unwrap();
    assert_eq!(kit.penalty.vsize() as u64, PENALTY_VBYTES);
    println!("a kit has {} bytes", kit.stored_bytes());
    assert_eq!(kit.stored_bytes(), 211);
}

#[test]
fn amounts_add_up_and_dust_goes_to_the_fee() {
    let dust = CHAIN
        .dust(&terms(CHAIN, 0).anchor_script(Party::Trader))
        .to_sat();
    let most = (imagined_funding().value - pair::RESERVE).to_sat();
    for holder in [Party::Trader, Party::Operator] {
        for trader in [0, 1, dust - 1, dust, dust + 1, 5_000_000, most] {
            let commitment = commitment(holder, 3, trader);
            let outputs = &commitment.unsigned().output;
            let operator = commitment.balance(Party::Operator).unwrap().output.value;
            let shown = commitment
                .balance(Party::Trader)
                .map_or(0, |balance| balance.output.value.to_sat());
            assert_eq!(shown, if trader < dust { 0 } else { trader });
            assert_eq!(
                operator,
                imagined_funding().value
                    - Amount::from_sat(trader)
                    - Amount::from_sat(2 * 330 + FEE_RATE * COMMITMENT_VBYTES / 1_000)
            );
            assert!(
                outputs.is_sorted_by_key(|output| (output.value, output.script_pubkey.to_bytes())),
                "not BIP69"
            );
            assert_eq!(
                commitment.balance(Party::Trader).err(),
                (trader < dust).then_some(ClaimError::NoOutput(Party::Trader))
            );
        }
    }
}

#[test]
fn versions_are_hidden_and_found() {
    let terms = terms(CHAIN, 0);
    for version in [
        0,
        1,
        2,
        0xff_ffff,
        0x100_0000,
        0xdead_beef_cafe,
        VERSION_MAX,
    ] {
        let tx = commitment(Party::Trader, version, 1_000_000)
            .unsigned()
            .clone();
        assert_eq!(Commitment::version_of(&terms, &tx), Some(version));
        assert!(tx.input[0].sequence.is_rbf() && !tx.input[0].sequence.is_relative_lock_time());
    }
    let shown = commitment(Party::Trader, 1, 1_000_000)
        .unsigned()
        .lock_time
        .to_consensus_u32();
    assert_ne!(shown & 0xff_ffff, 1, "the version is in the open");
    let close = Cooperative::close(
        &terms,
        &imagined_funding(),
        Amount::from_sat(5),
        [elsewhere(1), elsewhere(2)],
        Amount::from_sat(300),
        Party::Operator,
    )
    .unwrap();
    assert_eq!(Commitment::version_of(&terms, close.unsigned()), None);
}

#[test]
fn bad_terms_are_refused() {
    let good = terms(CHAIN, 0);
    good.check().unwrap();
    let mut bad = good.clone();
    bad.trader_delay_blocks = 0;
    assert_eq!(bad.check(), Err(TermsError::NoDelay(Party::Trader)));
    bad = good.clone();
    bad.operator.anchor = bad.trader.funding;
    assert_eq!(bad.check(), Err(TermsError::SameKey));
    bad = good;
    bad.reserve = Amount::from_sat(COMMITMENT_VBYTES + 3 * 330 - 1);
    assert!(matches!(bad.check(), Err(TermsError::Reserve { .. })));
}

#[test]
fn keys_and_secrets_of_others_do_not_claim() {
    let mut pair = Pair::open(CHAIN, 0, imagined_funding(), 5_000_000);
    pair.update(1, 6_000_000);
    let terms = terms(CHAIN, 0);
    let old = commitment(Party::Trader, 0, 5_000_000);
    let (balance, fee) = (old.balance(Party::Trader).unwrap(), Amount::from_sat(500));
    assert_eq!(
        balance
            .claim(&terms, pair.operator.payout_key(), elsewhere(1), fee)
            .err(),
        Some(ClaimError::Key(Party::Trader))
    );
    let (trader, operator) = (
        secrets(Party::Trader, CHAIN, 0),
        secrets(Party::Operator, CHAIN, 0),
    );
    let secret = trader.revocation.secret(0);
    assert_eq!(
        balance
            .penalty(&terms, &trader.penalty, &secret, elsewhere(1), fee)
            .err(),
        Some(ClaimError::Key(Party::Operator))
    );
    assert_eq!(
        balance
            .penalty(
                &terms,
                &operator.penalty,
                &trader.revocation.secret(1),
                elsewhere(1),
                fee
            )
            .err(),
        Some(ClaimError::Secret)
    );
    assert!(matches!(
        balance.penalty(
            &terms,
            &operator.penalty,
            &secret,
            elsewhere(1),
            balance.output.value
        ),
        Err(ClaimError::Dust { .. })
    ));
    balance
        .penalty(&terms, &operator.penalty, &secret, elsewhere(1), fee)
        .unwrap();
}

#[test]
fn children_and_bumps_pay_the_rate_asked_for() {
    let mut pair = Pair::open(CHAIN, 0, imagined_funding(), 5_000_000);
    pair.update(1, 6_000_000);
    let input = FeeInput {
        outpoint: OutPoint {
            txid: Txid::from_byte_array([9; 32]),
            vout: 0,
        },
        output: TxOut {
            value: Amount::from_sat(200_000),
            script_pubkey: elsewhere(9),
        },
        witness_weight: 108,
    };
    let commitment = commitment(Party::Trader, 1, 6_000_000);
    let child =
        AnchorChild::build(&commitment, Party::Trader, &input, elsewhere(3), 50_000).unwrap();
    let fee = Amount::from_sat(330) + input.output.value - child.tx.output[0].value;
    let mut signed = child
        .sign(child.tx.clone(), &secrets(Party::Trader, CHAIN, 0).anchor)
        .unwrap();
    signed.input[1].witness = bitcoin::Witness::from_slice(&[[0u8; 72].as_slice(), &[0; 33]]);
    let rate =
        (fee + commitment.fee()).to_sat() * 1_000 / (signed.vsize() as u64 + COMMITMENT_VBYTES);
    assert!((50_000..50_100).contains(&rate), "{rate}");
    assert_eq!(
        child
            .sign(child.tx.clone(), &secrets(Party::Operator, CHAIN, 0).anchor)
            .err(),
        Some(FeeError::Key(Party::Trader))
    );
    assert_eq!(
        AnchorChild::build(&commitment, Party::Trader, &input, elsewhere(3), 1_000).err(),
        Some(FeeError::NotHigher(1_000))
    );
    assert!(matches!(
        AnchorChild::build(&commitment, Party::Trader, &input, elsewhere(3), 900_000),
        Err(FeeError::TooSmall { .. })
    ));

    let kit = pair.operator.kit(elsewhere(4), 5_000).unwrap().unwrap();
    let bumped = kit.bump(CHAIN, &input, elsewhere(5), 80_000).unwrap();
    assert!(bumped.input.iter().all(|input| input.witness.is_empty()));
    let mut bumped = kit.witness(bumped);
    assert_eq!(
        (&bumped.input[0], &bumped.output[0]),
        (&kit.penalty.input[0], &kit.penalty.output[0]),
        "what is signed stands"
    );
    let fee = kit.paid + input.output.value - bumped.output[1].value;
    bumped.input[1].witness = bitcoin::Witness::from_slice(&[[0u8; 72].as_slice(), &[0; 33]]);
    let rate = fee.to_sat() * 1_000 / bumped.vsize() as u64;
    assert!((80_000..80_700).contains(&rate), "{rate}");
    assert_eq!(
        kit.bump(CHAIN, &input, elsewhere(5), 1_000).err(),
        Some(FeeError::NotHigher(1_000))
    );
}

#[test]
fn closes_and_splices_are_checked() {
    let (terms, funding) = (terms(CHAIN, 0), imagined_funding());
    let sat = Amount::from_sat;
    let close = |trader, fee, payer| {
        Cooperative::close(
            &terms,
            &funding,
            sat(trader),
            [elsewhere(1), elsewhere(2)],
            sat(fee),
            payer,
        )
    };
    let tx = close(6_000_000, 1_000, Party::Trader)
        .unwrap()
        .unsigned()
        .clone();
    let mut values: Vec<_> = tx
        .output
        .iter()
        .map(|output| output.value.to_sat())
        .collect();
    values.sort_unstable();
    assert_eq!(values, [4_000_000, 5_999_000]);
    assert_eq!(
        close(0, 1_000, Party::Operator)
            .unwrap()
            .unsigned()
            .output
            .len(),
        1
    );
    assert!(matches!(
        close(500, 1_000, Party::Trader),
        Err(CooperativeError::Payer {
            payer: Party::Trader,
            ..
        })
    ));
    assert!(matches!(
        close(10_000_001, 1_000, Party::Operator),
        Err(CooperativeError::Balance { .. })
    ));
    assert!(matches!(
        close(6_000_000, 50, Party::Trader),
        Err(CooperativeError::Fee { .. })
    ));

    let more = (
        OutPoint {
            txid: Txid::from_byte_array([9; 32]),
            vout: 0,
        },
        TxOut {
            value: sat(2_000_000),
            script_pubkey: elsewhere(9),
        },
    );
    let splice =
        |value, inputs, outputs| Cooperative::splice(&terms, &funding, sat(value), inputs, outputs);
    let good = splice(11_999_000, vec![more.clone()], vec![]).unwrap();
    assert_eq!(good.new_funding().unwrap().value, sat(11_999_000));
    assert_eq!(
        good.unsigned().output[good.new_funding().unwrap().outpoint.vout as usize],
        good.new_funding().unwrap().output(&terms)
    );
    assert!(matches!(
        splice(12_000_001, vec![more.clone()], vec![]),
        Err(CooperativeError::Fee { .. })
    ));
    assert!(matches!(
        splice(
            9_000_000,
            vec![],
            vec![TxOut {
                value: sat(100),
                script_pubkey: elsewhere(1)
            }]
        ),
        Err(CooperativeError::Dust(_))
    ));
    let mut legacy = more.clone();
    legacy.1.script_pubkey =
        ScriptBuf::from_hex("76a914751e76e8199196d454941c45d1b3a323f1433bd688ac").unwrap();
    assert!(matches!(
        splice(11_999_000, vec![legacy], vec![]),
        Err(CooperativeError::NotSegwit(_))
    ));
    assert!(matches!(
        splice(11_999_000, vec![more.clone(), more], vec![]),
        Err(CooperativeError::SameInput(_))
    ));
}

#[test]
fn psbts_carry_what_the_other_needs_and_nothing_else_is_believed() {
    let mut pair = Pair::open(CHAIN, 0, imagined_funding(), 5_000_000);
    let (terms, funding) = (terms(CHAIN, 0), imagined_funding());
    let close = |trader| {
        Cooperative::close(
            &terms,
            &funding,
            Amount::from_sat(trader),
            [elsewhere(1), elsewhere(2)],
            Amount::from_sat(300),
            Party::Operator,
        )
        .unwrap()
    };
    pair.trader.begin_close().unwrap();
    pair.operator.begin_close().unwrap();
    let tx = sign_together(&pair, &close(5_000_000), None);
    assert_eq!(tx.vsize(), 130, "a close to two P2WPKH addresses");
    let signature =
        bitcoin::secp256k1::schnorr::Signature::from_slice(&tx.input[0].witness[0]).unwrap();
    let message = bitcoin::secp256k1::Message::from_digest(close(5_000_000).sighash());
    let output_key = terms.funding().info().output_key().to_x_only_public_key();
    bitcoin::secp256k1::Secp256k1::verification_only()
        .verify_schnorr(&signature, &message, &output_key)
        .unwrap();

    let text = CooperativePsbt::new(close(5_000_000)).export();
    assert_eq!(
        CooperativePsbt::import(close(5_000_001), &text).err(),
        Some(PsbtError::OtherTransaction)
    );
    let mut tampered: Psbt = text.parse().unwrap();
    tampered.inputs[0].witness_utxo.as_mut().unwrap().value += Amount::from_sat(1);
    assert_eq!(
        CooperativePsbt::import(close(5_000_000), &tampered.to_string()).err(),
        Some(PsbtError::OtherOutput(0))
    );
    assert_eq!(
        CooperativePsbt::new(close(5_000_000)).finish().err(),
        Some(PsbtError::Missing(Party::Trader, "nonce"))
    );
    assert!(matches!(
        CooperativePsbt::import(close(5_000_000), "cHNidA=="),
        Err(PsbtError::Malformed(_))
    ));

    // A commitment's signature by PSBT.
    let mut pair = Pair::open(CHAIN, 0, imagined_funding(), 5_000_000);
    let state = state(1, 6_000_000);
    let signature = pair.operator.sign(state).unwrap();
    let own = commitment(Party::Trader, 1, 6_000_000);
    let text = psbt::commitment(&own, &[(Party::Operator, signature)]).to_string();
    assert_eq!(
        psbt::commitment_signature(&own, Party::Operator, &text),
        Ok(signature)
    );
    assert_eq!(
        psbt::commitment_signature(&own, Party::Trader, &text),
        Err(PsbtError::Missing(Party::Trader, "signature"))
    );
    assert_eq!(
        psbt::commitment_signature(
            &commitment(Party::Trader, 1, 6_000_001),
            Party::Operator,
            &text
        ),
        Err(PsbtError::OtherTransaction)
    );
    pair.trader.accept(state, signature).unwrap();
}
