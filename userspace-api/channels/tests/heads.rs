//! Heads of audit logs under a batch's root: every other proof holds as without them, theirs holds too, and no changed one does.

use alloy_primitives::aliases::U40;
use alloy_primitives::{Address, B256, U256, keccak256};
use proptest::prelude::*;
use ring0_channels::batch::{Built, Leaf};
use ring0_channels::batch_file::{BatchFile, BatchFileError};
use ring0_channels::evidence::Holding;
use ring0_channels::heads::{AuditFile, Heads, HeadsProof, LogHead};
use ring0_channels::key::Signer;
use ring0_channels::message::{ChannelState, Hub, KIND_TRADING, Terms, venue_domain};

fn key(name: &str) -> Signer {
    Signer::new(keccak256(name).0).unwrap()
}

fn log(name: &str, entries: u64) -> LogHead {
    LogHead {
        name: name.to_owned(),
        entries,
        head: keccak256(format!("{name} {entries}")),
    }
}

/// A venue with a channel of each account at each of some hubs and tokens.
struct Venue {
    id: B256,
    operator: Signer,
    holdings: Vec<(u64, Holding)>,
}

impl Venue {
    fn new(hubs: u8, tokens: u8, accounts: u64) -> Venue {
        let (id, operator) = (keccak256("venue"), key("operator"));
        let mut holdings = Vec::new();
        for hub in 1..=hubs {
            for token in 0..tokens {
                for account in 0..accounts {
                    let terms = Terms {
                        owner: Address::repeat_byte(account as u8 + 1),
                        cosigner: key(&account.to_string()).address(),
                        token: Address::repeat_byte(token),
                        nonce: 1,
                    };
                    let holding = Holding {
                        hub: Hub {
                            lineage: U256::from(hub % 2),
                            address: Address::repeat_byte(hub),
                        },
                        venue: id,
                        operator: operator.address(),
                        terms,
                        newest: None,
                    };
                    holdings.push((account, holding));
                }
            }
        }
        Venue {
            id,
            operator,
            holdings,
        }
    }

    fn leaves(&self, epoch: u64) -> Vec<Leaf> {
        let leaf = |(account, it): &(u64, Holding)| Leaf {
            hub: it.hub,
            token: it.terms.token,
            account: *account,
            state: ChannelState {
                channel: it.channel(),
                version: U40::from(epoch),
                balance: 1_000 + u128::from(*account),
                depositedSeen: 900,
                withdrawnSeen: 0,
                epoch: U40::from(epoch),
                kind: KIND_TRADING,
                branch: keccak256("block"),
            },
            excess: 100 + u128::from(*account),
        };
        self.holdings.iter().map(leaf).collect()
    }

    fn built(&self, epoch: u64, heads: &Heads) -> Built {
        let leaves = self.leaves(epoch);
        let previous = keccak256("the batch before");
        Built::with_audit(U40::from(epoch), previous, leaves, heads.clone()).unwrap()
    }

    /// Every account's part, each checked by its trader, signed and verified as a hub verifies.
    fn all_parts_hold(&self, built: &Built) -> Vec<BatchFile> {
        let signature = self.operator.sign(built.batch(), &venue_domain(self.id));
        let mut files = Vec::new();
        for account in built.accounts() {
            let own = self.holdings.iter().filter(|(of, _)| *of == account);
            let own: Vec<Holding> = own.map(|(_, it)| it.clone()).collect();
            let file = BatchFile::new(built, signature, account, &own).unwrap();
            let state = file.check(&own).unwrap();
            let cosigner = key(&account.to_string());
            for whole in file.cosigned(cosigner.sign(&state, &venue_domain(self.id))) {
                whole.verify().unwrap();
            }
            files.push(file);
        }
        files
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_proof_holds_with_heads_and_without(
        hubs in 1..4_u8,
        tokens in 1..4_u8,
        accounts in 1..6_u64,
        names in proptest::collection::btree_set("[a-z]{1,6}", 0..5),
        entries in any::<u64>(),
        epoch in 1..1_000_000_u64,
    ) {
        let venue = Venue::new(hubs, tokens, accounts);
        let logs: Vec<LogHead> = names.iter().map(|name| log(name, entries)).collect();
        let heads = Heads::try_from(logs).unwrap();
        let (bare, with) = (venue.built(epoch, &Heads::default()), venue.built(epoch, &heads));
        prop_assert_eq!(bare.batch() == with.batch(), heads.is_empty());
        for file in venue.all_parts_hold(&bare) {
            prop_assert_eq!(file.audit, None);
            // What was written before there were heads is read, and says what it said.
            let text = serde_json::to_string(&venue.all_parts_hold(&bare)[0]).unwrap();
            prop_assert!(!text.contains("audit"));
        }
        for file in venue.all_parts_hold(&with) {
            let text = serde_json::to_string(&file).unwrap();
            prop_assert_eq!(&serde_json::from_str::<BatchFile>(&text).unwrap(), &file);
            match file.audit {
                Some(audit) => {
                    prop_assert_eq!(audit.verify(venue.id, venue.operator.address()), Ok(()));
                    prop_assert_eq!(audit.heads, heads.clone());
                }
                None => prop_assert!(heads.is_empty()),
            }
        }
    }
}

#[test]
fn no_changed_proof_holds() {
    let venue = Venue::new(2, 2, 3);
    let heads = Heads::try_from(vec![log("gateway", 5), log("settled", 9)]).unwrap();
    let built = venue.built(7, &heads);
    let file = venue.all_parts_hold(&built).remove(0);
    let good = file.audit.clone().unwrap();
    let operator = venue.operator.address();
    assert_eq!(good.verify(venue.id, operator), Ok(()));
    let changes: [fn(&mut HeadsProof); 8] = [
        |it| it.heads.set(log("gateway", 6)).unwrap(),
        |it| it.heads.set(log("another", 1)).unwrap(),
        |it| it.heads = Heads::default(),
        |it| it.position ^= 1,
        |it| it.position = 1 << 40,
        |it| it.path.truncate(it.path.len() - 1),
        |it| it.epoch += 1,
        |it| it.previous = B256::ZERO,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut bad = good.clone();
        change(&mut bad);
        assert!(
            bad.verify(venue.id, operator).is_err(),
            "change {number} holds"
        );
        let mut changed = file.clone();
        changed.audit = Some(bad);
        let refused = changed.check(&[]);
        assert!(
            matches!(
                refused,
                Err(BatchFileError::Audit(_) | BatchFileError::Mixed { .. })
            ),
            "change {number}: {refused:?}"
        );
    }
    assert!(good.verify(B256::ZERO, operator).is_err());
    assert!(good.verify(venue.id, key("another").address()).is_err());
    // Heads of another batch that the operator signed too.
    let other = venue.built(8, &heads);
    let signature = venue.operator.sign(other.batch(), &venue_domain(venue.id));
    let mut mixed = file;
    mixed.audit = other.audit_proof(signature);
    let mixed = mixed.check(&[]);
    assert!(matches!(mixed, Err(BatchFileError::Mixed { .. })));

    let file = AuditFile::new(venue.id, operator, good);
    let text = serde_json::to_string(&file).unwrap();
    let read: AuditFile = serde_json::from_str(&text).unwrap();
    assert!(read.is_readable() && read == file);
    let newer = text.replace("ring0-audit-1", "ring0-audit-2");
    let newer: AuditFile = serde_json::from_str(&newer).unwrap();
    assert!(!newer.is_readable());
}

/// The heads' entry stands where a hub's at the zero address would: none is read there.
#[test]
fn no_hub_is_read_at_the_zero_address() {
    let hub = Hub {
        lineage: U256::from(1),
        address: Address::repeat_byte(3),
    };
    let text = serde_json::to_string(&hub).unwrap();
    assert_eq!(serde_json::from_str::<Hub>(&text).unwrap(), hub);
    let nowhere = text.replace("03", "00");
    let error = serde_json::from_str::<Hub>(&nowhere).unwrap_err();
    assert!(error.to_string().contains("zero address"), "{error}");
}
