//! What a trader keeps: that it counts as the hub would count it, that nothing else does, that it is there after any stop, and that a key never signs two of one.

use alloy_primitives::aliases::U40;
use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::{SolStruct, SolValue};
use ring0_channels::batch::{Built, Leaf};
use ring0_channels::batch_file::{BatchFile, BatchFileError};
use ring0_channels::evidence::{Evidence, EvidenceError, GrantProof, Holding, OperatorHalf};
use ring0_channels::guard::{Guard, GuardError};
use ring0_channels::keep::{Keep, KeepError};
use ring0_channels::key::Signer;
use ring0_channels::message::{ChannelState, Grant, Hub, KIND_TRADING, Terms, venue_domain};
use ring0_channels::tree::Tree;
use std::fs;

struct Venue {
    id: B256,
    hub: Hub,
    operator: Signer,
    traders: Vec<Signer>,
}

fn signer(name: &str) -> Signer {
    Signer::new(keccak256(name).0).unwrap()
}

fn venue() -> Venue {
    Venue {
        id: keccak256("venue"),
        hub: Hub {
            lineage: U256::from(1),
            address: Address::repeat_byte(9),
        },
        operator: signer("operator"),
        traders: ["one", "two", "three"].map(signer).into(),
    }
}

impl Venue {
    fn terms(&self, trader: usize, token: Address) -> Terms {
        Terms {
            owner: Address::repeat_byte(trader as u8 + 1),
            cosigner: self.traders[trader].address(),
            token,
            nonce: 1,
        }
    }

    /// Every trader with a channel in each of two tokens.
    fn built(&self, version: u64) -> Built {
        let mut leaves = Vec::new();
        for trader in 0..self.traders.len() {
            for token in [Address::ZERO, Address::repeat_byte(0x77)] {
                let channel = self.hub.channel(&self.terms(trader, token));
                leaves.push(Leaf {
                    hub: self.hub,
                    token,
                    account: trader as u64,
                    state: ChannelState {
                        channel,
                        version: U40::from(version),
                        balance: 1000 + trader as u128,
                        depositedSeen: 900,
                        withdrawnSeen: 0,
                        epoch: U40::from(version),
                        kind: KIND_TRADING,
                        branch: keccak256("block"),
                    },
                    excess: 100 + trader as u128,
                });
            }
        }
        Built::new(U40::from(version), B256::ZERO, leaves).unwrap()
    }

    fn holding(&self, built: &Built, trader: usize, by_leaf: bool) -> Holding {
        let terms = self.terms(trader, Address::ZERO);
        let channel = self.hub.channel(&terms);
        let venue = venue_domain(self.id);
        let whole = built.state(channel).unwrap();
        let place = built.place(channel).unwrap();
        let account = built.account(trader as u64).unwrap();
        let operator = match by_leaf {
            true => {
                let signature = self.operator.sign(built.batch(), &venue);
                built.proof(channel, signature).unwrap()
            }
            false => OperatorHalf::Compact(self.operator.sign(&whole, &self.hub.domain())),
        };
        Holding {
            hub: self.hub,
            venue: self.id,
            operator: self.operator.address(),
            terms,
            newest: Some(Evidence {
                version: whole.state.version.to(),
                balance: whole.state.balance,
                deposited_seen: whole.state.depositedSeen,
                withdrawn_seen: whole.state.withdrawnSeen,
                epoch: whole.state.epoch.to(),
                branch: whole.state.branch,
                account: trader as u64,
                position: place.position,
                path: place.path,
                cosignature: self.traders[trader].sign(&account, &venue),
                cosigner: terms.cosigner,
                grant: None,
                operator,
            }),
        }
    }
}

#[test]
fn both_forms_count_and_no_changed_one_does() {
    let venue = venue();
    let built = venue.built(4);
    assert_eq!(built.sums(&venue.hub, Address::ZERO).unwrap().balance, 3003);
    for by_leaf in [false, true] {
        let good = venue.holding(&built, 1, by_leaf);
        assert_eq!(good.verify(), Ok(()));
        let text = serde_json::to_string(&good).unwrap();
        assert!(text.contains("\"balance\":\"1001\""), "{text}");
        assert_eq!(serde_json::from_str::<Holding>(&text).unwrap(), good);
        let changes: [fn(&mut Evidence); 9] = [
            |it| it.version += 1,
            |it| it.balance += 1,
            |it| it.deposited_seen -= 1,
            |it| it.withdrawn_seen += 1,
            |it| it.epoch -= 1,
            |it| it.branch = B256::ZERO,
            |it| it.account += 1,
            |it| it.position ^= 1,
            |it| it.position = 1 << 40,
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut bad = good.clone();
            change(bad.newest.as_mut().unwrap());
            assert!(bad.verify().is_err(), "change {number}");
        }
        let changes: [fn(&mut Holding); 5] = [
            |it| it.hub.lineage += U256::from(1),
            |it| it.hub.address = Address::ZERO,
            |it| it.venue = B256::ZERO,
            |it| it.operator = Address::ZERO,
            |it| it.terms.nonce += 1,
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut bad = good.clone();
            change(&mut bad);
            assert!(bad.verify().is_err(), "change {number}");
        }
    }
    // An excess that the batch does not state.
    let mut rich = venue.holding(&built, 1, true);
    let Some(Evidence {
        operator: OperatorHalf::Leaf(leaf),
        ..
    }) = &mut rich.newest
    else {
        unreachable!("by leaf")
    };
    leaf.excess += 1;
    let refused = rich.verify().unwrap_err();
    assert!(matches!(
        refused,
        EvidenceError::Signature {
            whose: "operator's",
            ..
        }
    ));
}

#[test]
fn a_session_key_counts_within_its_grant() {
    let venue = venue();
    let built = venue.built(4);
    let mut holding = venue.holding(&built, 0, false);
    let channel = holding.channel();
    let session = signer("session");
    let (floor, start_base, outflow) = (950_u128, 150_i128, 60_u128);
    let limits = keccak256(
        [
            &[0],
            (channel, floor, start_base, outflow)
                .abi_encode()
                .as_slice(),
        ]
        .concat(),
    );
    let limits = Tree::new(vec![(channel, limits), (B256::ZERO, B256::ZERO)]).unwrap();
    let position = usize::from(limits.path(0) != vec![B256::ZERO]);
    let mut grant = GrantProof {
        session: session.address(),
        expiry: 10,
        first_epoch: 3,
        last_epoch: 5,
        floor,
        start_base,
        outflow,
        position: position as u64,
        path: limits.path(position),
        signature: venue.traders[0].sign_digest(B256::ZERO),
    };
    let message = Grant {
        account: 0,
        session: session.address(),
        expiry: U40::from(10),
        firstEpoch: U40::from(3),
        lastEpoch: U40::from(5),
        limits: limits.root(),
    };
    grant.signature = venue.traders[0].sign(&message, &venue_domain(venue.id));
    let account = built.account(0).unwrap();
    let newest = holding.newest.as_mut().unwrap();
    newest.cosignature = session.sign(&account, &venue_domain(venue.id));
    let refused = holding.verify().unwrap_err();
    assert!(matches!(
        refused,
        EvidenceError::Signature {
            whose: "trader's",
            ..
        }
    ));
    holding.newest.as_mut().unwrap().grant = Some(grant);
    assert_eq!(holding.verify(), Ok(()));
    // Limits that the co-signer did not sign, and what they refuse.
    let changes: [fn(&mut GrantProof); 5] = [
        |it| it.floor = 1001,
        |it| it.outflow = 49,
        |it| it.last_epoch = 3,
        |it| it.outflow += 1,
        |it| it.expiry += 1,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut bad = holding.clone();
        change(bad.newest.as_mut().unwrap().grant.as_mut().unwrap());
        assert!(bad.verify().is_err(), "change {number}");
    }
}

#[test]
fn a_state_is_kept_in_two_places_and_never_rewinds() {
    let venue = venue();
    let folder = tempfile::tempdir().unwrap();
    let places = ["a", "b"].map(|it| folder.path().join(it));
    let one = [places[0].clone(), places[0].clone()];
    assert!(matches!(Keep::open(&one), Err(KeepError::Places(1))));
    let keep = Keep::open(&places).unwrap();
    let [old, new] = [4, 5].map(|version| venue.holding(&venue.built(version), 2, true));
    keep.keep(&old).unwrap();
    keep.keep(&new).unwrap();
    keep.keep(&new).unwrap();
    let refused = keep.keep(&old).unwrap_err();
    assert!(
        matches!(
            refused,
            KeepError::Older {
                kept: 5,
                given: 4,
                ..
            }
        ),
        "{refused}"
    );
    // Another state of the kept version, though both signed it.
    let other = venue.holding(&venue.built(5), 2, false);
    assert!(matches!(keep.keep(&other), Err(KeepError::Older { .. })));
    let mut forged = new.clone();
    forged.newest.as_mut().unwrap().balance += 1;
    assert!(matches!(
        keep.keep(&forged),
        Err(KeepError::Worthless { .. })
    ));
    // One copy is damaged, as a disk does it: the other one is found, and the damage is said.
    let file = places[0].join(format!("{}.json", new.channel()));
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, &text[..text.len() / 2]).unwrap();
    let (found, damaged) = keep.newest().unwrap();
    assert_eq!(found, std::slice::from_ref(&new));
    assert_eq!(damaged.len(), 1);
    assert_eq!(damaged[0].path.file_name(), file.file_name());
    // A place that cannot be written: nothing is acknowledged.
    fs::remove_dir_all(&places[1]).unwrap();
    fs::write(&places[1], "no folder").unwrap();
    let newer = venue.holding(&venue.built(6), 2, true);
    assert!(matches!(keep.keep(&newer), Err(KeepError::Disk { .. })));
}

#[test]
fn a_key_signs_one_state_a_version_also_for_a_restored_backup() {
    let venue = venue();
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("signed");
    let guard = Guard::open(signer("operator"), &record).unwrap();
    let channel = venue.hub.channel(&venue.terms(0, Address::ZERO));
    let state = venue.built(7).state(channel).unwrap();
    let first = guard.state(&venue.hub, &state).unwrap();
    let recovered = first.recover(state.eip712_signing_hash(&venue.hub.domain()));
    assert_eq!(recovered, Ok(guard.signer().address()));
    drop(guard);
    let guard = Guard::open(signer("operator"), &record).unwrap();
    assert_eq!(
        guard.state(&venue.hub, &state).unwrap(),
        first,
        "the same again"
    );
    let mut other = state.clone();
    other.state.balance += 1;
    let refused = guard.state(&venue.hub, &other).unwrap_err();
    assert!(
        matches!(
            refused,
            GuardError::Signed {
                last: 7,
                given: 7,
                ..
            }
        ),
        "{refused}"
    );
    other.state.version = U40::from(6);
    assert!(guard.state(&venue.hub, &other).is_err());
    other.state.version = U40::from(8);
    guard.state(&venue.hub, &other).unwrap();
    // Two roots of one epoch would freeze the hub.
    guard.batch(venue.id, venue.built(7).batch()).unwrap();
    let mut twin = venue.built(7).batch().clone();
    twin.previous = keccak256("another history");
    assert!(guard.batch(venue.id, &twin).is_err());
    let mut account = venue.built(7).account(3 % 3).unwrap();
    guard.account(venue.id, &account).unwrap();
    account.accountRoot = B256::ZERO;
    assert!(guard.account(venue.id, &account).is_err());
    account.account = 1;
    guard.account(venue.id, &account).unwrap();
}

#[test]
fn a_trader_signs_a_batch_only_when_all_its_channels_are_in() {
    let venue = venue();
    let built = venue.built(5);
    let signature = venue.operator.sign(built.batch(), &venue_domain(venue.id));
    let tokens = [Address::ZERO, Address::repeat_byte(0x77)];
    let terms = tokens.map(|token| venue.terms(1, token));
    let kept: Vec<Holding> = terms
        .iter()
        .map(|terms| Holding {
            hub: venue.hub,
            venue: venue.id,
            operator: venue.operator.address(),
            terms: *terms,
            newest: None,
        })
        .collect();
    let file = BatchFile::new(&built, signature, 1, &kept).unwrap();
    let text = serde_json::to_string(&file).unwrap();
    let file: BatchFile = serde_json::from_str(&text).unwrap();
    let account = file.check(&kept).unwrap();
    assert_eq!(Some(account.clone()), built.account(1));
    let signed = file.cosigned(venue.traders[1].sign(&account, &venue_domain(venue.id)));
    assert_eq!(signed.len(), 2);
    assert!(signed.iter().all(|it| it.verify().is_ok()));

    // A channel that is left out: it would be worth its older state, whatever the other one says.
    let mut short = file.clone();
    let left_out = short.holdings.pop().unwrap().channel();
    assert_eq!(short.check(&kept), Err(BatchFileError::Missing(left_out)));
    // Another account's root, a state of another batch, an older state than the kept one, a damaged proof.
    let mut other = file.clone();
    other.holdings[1].newest.as_mut().unwrap().position ^= 1;
    assert!(other.check(&kept).is_err());
    let older = venue.built(4);
    let older_signature = venue.operator.sign(older.batch(), &venue_domain(venue.id));
    let older = BatchFile::new(&older, older_signature, 1, &kept).unwrap();
    let mut mixed = file.clone();
    mixed.holdings[1] = older.holdings[1].clone();
    assert!(mixed.check(&kept).is_err());
    assert!(matches!(
        older.check(&signed),
        Err(BatchFileError::Older { .. })
    ));
    let mut forged = file;
    forged.holdings[0].newest.as_mut().unwrap().balance += 1;
    assert!(matches!(
        forged.check(&kept),
        Err(BatchFileError::Worthless { .. })
    ));
}
