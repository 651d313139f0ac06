//! Grants and trading sessions: by whom they are signed, under what they are opened, with what they end.

use crate::cast::{Cast, SHARD, VENUE, wallet};
use alloy_sol_types::SolStruct;
use ring0_identity::channels::evidence::{Evidence, GrantProof, Holding, OperatorHalf};
use ring0_identity::channels::key::Signer;
use ring0_identity::channels::message::{Hub, Terms, venue_domain};
use ring0_identity::records::{
    Authority, ChannelLimits, Grant, GrantTerms, Opened, Stage, TradingSession,
};
use ring0_identity::{B256, Caller, NewSession, Refused, Role, Scope, SessionId, hex};

/// The session key of the tests.
fn session_key() -> Signer {
    wallet(200)
}

fn public_key(number: u8) -> [u8; 33] {
    let mut secret = [0x11; 32];
    secret[31] = number;
    let secret = secp256k1::SecretKey::from_secret_bytes(secret).unwrap();
    secret.public_key().serialize()
}

fn terms(cast: &Cast, account: u32) -> GrantTerms {
    GrantTerms {
        account,
        session: session_key().address(),
        expires_s: cast.now() / 1_000 + 3_600,
        first_epoch: 1,
        last_epoch: 100,
        limits: Vec::new(),
    }
}

fn grant(
    cast: &Cast,
    caller: &Caller,
    terms: &GrantTerms,
    signer: &Signer,
) -> Result<Grant, Refused> {
    let signature = signer.sign(&terms.message()?, &venue_domain(VENUE));
    let signed = cast.identity.signed_grant(caller, terms, signature)?;
    cast.identity.create_grant(caller, &signed, terms, None)
}

fn wanted(
    cast: &Cast,
    account: u32,
    authority: Authority,
    nonce: u8,
    signer: &Signer,
) -> NewSession {
    let mut wanted = NewSession {
        account,
        shard: SHARD.to_owned(),
        authority,
        public_key: public_key(200),
        nonce: [nonce; 16],
        expires_s: cast.now() / 1_000 + 600,
        deadline_s: cast.now() / 1_000 + 60,
        signature: Default::default(),
    };
    sign(&mut wanted, signer);
    wanted
}

fn sign(wanted: &mut NewSession, signer: &Signer) {
    wanted.signature = signer.sign(&wanted.message().unwrap(), &venue_domain(VENUE));
}

fn opened(number: u32) -> Opened {
    Opened {
        session: number,
        id: format!("{number:04}ABCDEF"),
        venue_nonce: "22".repeat(16),
        agreement: 1,
        agreement_key: hex::encode(public_key(201)),
    }
}

/// Opens a session and lets the venue take it.
fn open(
    cast: &Cast,
    caller: &Caller,
    account: u32,
    authority: Authority,
    nonce: u8,
) -> TradingSession {
    let wanted = wanted(cast, account, authority, nonce, &session_key());
    let session = cast.identity.open_session(caller, &wanted).unwrap();
    assert_eq!(session.stage, Stage::Opening);
    cast.identity
        .session_opened(session.id, opened(nonce.into()))
        .unwrap()
}

struct Desk {
    cast: Cast,
    account: u32,
    grant: Grant,
}

fn desk() -> Desk {
    let cast = Cast::new();
    let all = cast.organisation(1);
    let account = cast.account(&all[0]);
    let owner = cast.sign_in(&wallet(1));
    let terms = terms(&cast, account);
    let grant = grant(&cast, &owner, &terms, &wallet(1)).unwrap();
    Desk {
        cast,
        account,
        grant,
    }
}

#[test]
fn a_grant_is_made_by_the_owner_key_alone() {
    let Desk {
        cast,
        account,
        grant: made,
    } = desk();
    let owner = cast.sign_in(&wallet(1));
    assert_eq!(account, 3, "the market file has three");
    let good = terms(&cast, account);
    assert_eq!(
        grant(&cast, &owner, &made.terms, &wallet(1)).unwrap(),
        made,
        "again gives what is there"
    );
    // By another key: a member's, the session key itself, a stranger's.
    for signer in [2, 200, 77] {
        let result = grant(&cast, &owner, &good, &wallet(signer));
        assert!(matches!(result, Err(Refused::Signature { .. })), "{signer}");
    }
    // By the owner key, brought by a member that is not an owner.
    for number in 2..=4 {
        let result = grant(&cast, &cast.sign_in(&wallet(number)), &good, &wallet(1));
        assert!(matches!(result, Err(Refused::Role { .. })), "{number}");
    }
    let stranger = cast.organisation(11)[0].clone();
    assert!(matches!(
        grant(&cast, &stranger, &good, &wallet(1)),
        Err(Refused::NotFound("account"))
    ));
    let refused = |change: fn(&mut GrantTerms, u64)| {
        let mut terms = good.clone();
        change(&mut terms, cast.now() / 1_000);
        let result = grant(&cast, &owner, &terms, &wallet(1));
        assert!(
            matches!(result, Err(Refused::Invalid(_))),
            "{terms:?}: {result:?}"
        );
    };
    refused(|it, now| it.expires_s = now);
    refused(|it, now| it.expires_s = now + 24 * 3_600 + 1);
    refused(|it, _| it.first_epoch = 101);
    refused(|it, _| it.last_epoch = 1 << 40);
    // Terms other than those that were signed.
    let signature = wallet(1).sign(&good.message().unwrap(), &venue_domain(VENUE));
    let signed = cast
        .identity
        .signed_grant(&owner, &good, signature)
        .unwrap();
    let more = GrantTerms {
        last_epoch: 200,
        ..good.clone()
    };
    assert!(matches!(
        cast.identity.create_grant(&owner, &signed, &more, None),
        Err(Refused::Invalid(_))
    ));
    // The co-signer's signature, where there is one, is the co-signer's.
    let other = wallet(9).sign(&good.message().unwrap(), &venue_domain(VENUE));
    let result = cast
        .identity
        .create_grant(&owner, &signed, &good, Some(other));
    assert!(matches!(
        result,
        Err(Refused::Signature {
            whose: "co-signer's",
            ..
        })
    ));
    // Revoked is revoked, also for the same signature again.
    let _ = cast.identity.revoke_grant(&owner, made.id).unwrap();
    let result = grant(&cast, &owner, &made.terms, &wallet(1));
    assert!(matches!(result, Err(Refused::Conflict(_))));
}

/// What is kept of a grant is what the hub's evidence needs: a state signed by the session key under it verifies.
#[test]
fn a_grant_with_limits_proves_states_on_chain() {
    let cast = Cast::new();
    let owner = cast.organisation(1)[0].clone();
    let account = cast.account(&owner);
    let owner = cast.sign_in(&wallet(1));
    let operator = wallet(99);
    let hub = Hub {
        lineage: ring0_identity::channels::U256::from(1),
        address: wallet(98).address(),
    };
    let channel_terms = Terms {
        owner: wallet(1).address(),
        cosigner: wallet(1).address(),
        token: Default::default(),
        nonce: 1,
    };
    let limits = ChannelLimits {
        channel: hub.channel(&channel_terms),
        floor: 50,
        start_base: 0,
        outflow: 30,
    };
    let terms = GrantTerms {
        limits: vec![limits],
        ..terms(&cast, account)
    };
    let message = terms.message().unwrap();
    let signature = wallet(1).sign(&message, &venue_domain(VENUE));
    let signed = cast
        .identity
        .signed_grant(&owner, &terms, signature)
        .unwrap();
    let made = cast
        .identity
        .create_grant(&owner, &signed, &terms, Some(signature))
        .unwrap();
    let evidence = |balance| {
        let mut evidence = Evidence {
            version: 1,
            balance,
            deposited_seen: 100,
            withdrawn_seen: 0,
            epoch: 7,
            branch: B256::repeat_byte(3),
            account: account.into(),
            position: 0,
            path: Vec::new(),
            cosignature: Default::default(),
            cosigner: wallet(1).address(),
            grant: Some(GrantProof {
                session: made.terms.session,
                expiry: made.terms.expires_s,
                first_epoch: made.terms.first_epoch,
                last_epoch: made.terms.last_epoch,
                floor: limits.floor,
                start_base: limits.start_base,
                outflow: limits.outflow,
                position: 0,
                path: Vec::new(),
                signature: made.cosigner_signature.unwrap(),
            }),
            operator: OperatorHalf::Compact(Default::default()),
        };
        let channel = hub.channel(&channel_terms);
        let state = ring0_identity::channels::message::State {
            state: evidence.state(channel).unwrap(),
            accountRoot: evidence.account_root(channel).unwrap(),
        };
        let of_account = ring0_identity::channels::message::AccountState {
            account: account.into(),
            epoch: state.state.epoch,
            accountRoot: state.accountRoot,
        };
        evidence.cosignature = session_key().sign(&of_account, &venue_domain(VENUE));
        evidence.operator = OperatorHalf::Compact(operator.sign(&state, &hub.domain()));
        Holding {
            hub,
            venue: VENUE,
            operator: operator.address(),
            terms: channel_terms,
            newest: Some(evidence),
        }
    };
    evidence(70).verify().unwrap();
    assert!(evidence(69).verify().is_err(), "more than the outflow");
}

#[test]
fn a_session_is_opened_by_its_key_under_a_grant_once() {
    let Desk {
        cast,
        account,
        grant,
    } = desk();
    let by_grant = Authority::Grant(grant.id);
    for (number, role) in (1..).zip(Role::ALL) {
        let caller = cast.sign_in(&wallet(number));
        let wanted = wanted(&cast, account, by_grant, number, &session_key());
        let result = cast.identity.open_session(&caller, &wanted);
        let may = matches!(role, Role::Owner | Role::Trader);
        assert_eq!(result.is_ok(), may, "{role}");
    }
    let trader = cast.sign_in(&wallet(2));
    let good = || wanted(&cast, account, by_grant, 50, &session_key());
    let first = cast.identity.open_session(&trader, &good()).unwrap();
    assert_eq!(
        cast.identity.open_session(&trader, &good()).unwrap(),
        first,
        "a lost answer is asked for again"
    );
    let open = cast.identity.session_opened(first.id, opened(1)).unwrap();
    assert_eq!(cast.identity.open_session(&trader, &good()).unwrap(), open);
    // Another member does not get it.
    let other = cast
        .identity
        .open_session(&cast.sign_in(&wallet(1)), &good());
    assert!(matches!(other, Err(Refused::Conflict(_))));
    // Ended, the same opening opens nothing.
    let done = cast.identity.revoke_session(&trader, first.id).unwrap();
    assert_eq!(done.ending, [open]);
    cast.identity.session_ended(first.id).unwrap();
    assert!(matches!(
        cast.identity.open_session(&trader, &good()),
        Err(Refused::Conflict(_))
    ));

    let refused = |change: fn(&mut NewSession, u64), signer: u8, status: u16| {
        let mut wanted = wanted(&cast, account, by_grant, 60, &session_key());
        change(&mut wanted, cast.now() / 1_000);
        sign(&mut wanted, &wallet(signer));
        let result = cast.identity.open_session(&trader, &wanted);
        assert_eq!(result.map_err(|it| it.status()), Err(status), "{wanted:?}");
    };
    refused(|_, _| (), 1, 403); // the owner's signature, where the session key's belongs
    refused(|_, _| (), 2, 403);
    refused(|it, _| it.public_key = public_key(2), 2, 422);
    refused(|it, _| it.public_key[0] = 9, 200, 422);
    refused(|it, _| it.account = 4, 200, 404);
    refused(|it, _| it.shard = "elsewhere".to_owned(), 200, 404);
    refused(
        |it, _| it.authority = Authority::Grant(B256::ZERO),
        200,
        404,
    );
    refused(|it, now| it.expires_s = now + 3_601, 200, 422);
    refused(|it, now| it.expires_s = now, 200, 422);
    refused(|it, now| it.deadline_s = now, 200, 422);
    refused(|it, now| it.deadline_s = now + 301, 200, 422);
    let endless = NewSession {
        expires_s: 1 << 40,
        ..good()
    };
    let result = cast.identity.open_session(&trader, &endless);
    assert!(matches!(result, Err(Refused::Invalid(_))));
    refused(|it, _| it.authority = Authority::Owner, 200, 403);
    // What was signed, changed afterwards.
    let mut altered = wanted(&cast, account, by_grant, 61, &session_key());
    altered.nonce = [62; 16];
    let result = cast.identity.open_session(&trader, &altered);
    assert!(matches!(result, Err(Refused::Signature { .. })));
    // By the owner key itself, for any session key.
    let by_owner = wanted(&cast, account, Authority::Owner, 63, &wallet(1));
    cast.identity.open_session(&trader, &by_owner).unwrap();
    // A program needs the scope.
    for (scope, status) in [(Scope::Read, Err(403)), (Scope::Trade, Ok(()))] {
        let (key, secret) = cast.api_key(&trader, &[scope], true).unwrap();
        let header = cast.signed(key, secret.expose());
        let program = cast.request("GET", "", Some(&header), None).unwrap();
        let wanted = wanted(&cast, account, by_grant, 64, &session_key());
        let result = cast.identity.open_session(&program, &wanted);
        assert_eq!(result.map(drop).map_err(|it| it.status()), status);
    }
    // Past the grant's end nothing opens.
    cast.pass(3_600_000);
    let trader = cast.sign_in(&wallet(2));
    let late = wanted(&cast, account, by_grant, 65, &session_key());
    assert!(matches!(
        cast.identity.open_session(&trader, &late),
        Err(Refused::Conflict(_))
    ));
    let foreign = cast.organisation(11)[1].clone();
    let result = cast.identity.open_session(&foreign, &late);
    assert!(matches!(result, Err(Refused::NotFound("account"))));
}

/// Everything that takes away what a session rests on hands over the session, to be ended in the kernel.
#[test]
fn sessions_end_with_what_they_rest_on() {
    let Desk {
        cast,
        account,
        grant,
    } = desk();
    let by_grant = Authority::Grant(grant.id);
    let owner = || cast.sign_in(&wallet(1));
    let trader = || cast.sign_in(&wallet(2));
    let mut number = 0;
    let mut fresh = |caller: &Caller, authority| {
        number += 1;
        open(&cast, caller, account, authority, number)
    };
    let mine = fresh(&owner(), by_grant);
    let ids =
        |ending: Vec<TradingSession>| ending.iter().map(|it| it.id).collect::<Vec<SessionId>>();

    // A role that no longer trades.
    let session = fresh(&trader(), by_grant);
    let done = cast
        .identity
        .change_role(&owner(), trader().person, Role::Owner)
        .unwrap();
    assert_eq!(ids(done.ending), []);
    let done = cast
        .identity
        .change_role(&owner(), trader().person, Role::Viewer)
        .unwrap();
    assert_eq!(ids(done.ending), [session.id]);
    assert!(matches!(
        cast.identity.session(session.id).unwrap().stage,
        Stage::Ending(Some(_))
    ));
    let done = cast
        .identity
        .change_role(&owner(), trader().person, Role::Trader)
        .unwrap();
    assert_eq!(ids(done.ending), [], "it is ending already");
    // The API key that opened it.
    let (key, secret) = cast.api_key(&trader(), &[Scope::Trade], true).unwrap();
    let header = cast.signed(key, secret.expose());
    let program = cast.request("GET", "", Some(&header), None).unwrap();
    let session = fresh(&program, by_grant);
    let done = cast.identity.revoke_api_key(&owner(), key).unwrap();
    assert_eq!(ids(done.ending), [session.id]);
    // Its person leaves.
    let session = fresh(&trader(), by_grant);
    let done = cast
        .identity
        .remove_member(&trader(), trader().person)
        .unwrap();
    assert_eq!(ids(done.ending), [session.id]);
    // The session itself, by risk; not by a viewer, nor by strangers.
    let session = fresh(&owner(), by_grant);
    let viewer = cast
        .identity
        .revoke_session(&cast.sign_in(&wallet(4)), session.id);
    assert!(matches!(viewer, Err(Refused::Role { .. })));
    let stranger = cast.organisation(11)[0].clone();
    assert!(matches!(
        cast.identity.revoke_session(&stranger, session.id),
        Err(Refused::NotFound(_))
    ));
    assert!(matches!(
        cast.identity.revoke_grant(&stranger, grant.id),
        Err(Refused::NotFound(_))
    ));
    let done = cast
        .identity
        .revoke_session(&cast.sign_in(&wallet(3)), session.id)
        .unwrap();
    assert_eq!(ids(done.ending), [session.id]);
    // The grant: all that is left under it, and nothing opens any more.
    let wanted = wanted(&cast, account, by_grant, 99, &session_key());
    let done = cast.identity.revoke_grant(&owner(), grant.id).unwrap();
    assert_eq!(ids(done.ending), [mine.id]);
    let result = cast.identity.open_session(&owner(), &wanted);
    assert!(matches!(result, Err(Refused::Conflict(_))));
}

/// Whenever the process dies, what was decided is still to be said to the venue.
#[test]
fn what_the_venue_has_not_heard_outlives_the_process() {
    let Desk {
        cast,
        account,
        grant,
    } = desk();
    let by_grant = Authority::Grant(grant.id);
    let trader = cast.sign_in(&wallet(2));
    let asked = wanted(&cast, account, by_grant, 1, &session_key());
    let opening = cast.identity.open_session(&trader, &asked).unwrap();
    let ended = open(&cast, &trader, account, by_grant, 2);
    let done = cast.identity.revoke_session(&trader, ended.id).unwrap();
    assert_eq!(done.ending.len(), 1);
    open(&cast, &trader, account, by_grant, 3);
    let before = cast.identity.unfinished();
    let cast = cast.reopened();
    assert_eq!(cast.identity.unfinished(), before);
    assert_eq!(
        before.iter().map(|it| it.id).collect::<Vec<_>>(),
        [opening.id, ended.id]
    );
    // It is revoked before the venue has answered: then the answer says what to end.
    let trader = cast.sign_in(&wallet(2));
    let done = cast.identity.revoke_session(&trader, opening.id).unwrap();
    assert_eq!(done.ending.len(), 1);
    assert_eq!(
        cast.identity.session(opening.id).unwrap().stage,
        Stage::Ending(None)
    );
    let cast = cast.reopened();
    let now = cast.identity.session_opened(opening.id, opened(9)).unwrap();
    assert_eq!(now.stage, Stage::Ending(Some(opened(9))));
    cast.identity.session_ended(opening.id).unwrap();
    cast.identity.session_ended(ended.id).unwrap();
    assert_eq!(cast.identity.unfinished(), []);
    // An answer that comes after its end still says what to end.
    let late = cast.identity.session_opened(opening.id, opened(9)).unwrap();
    assert_eq!(late.stage, Stage::Ending(Some(opened(9))));
    // What has ended is forgotten a day later, and what it signed is past its time then.
    cast.pass(25 * 3_600_000);
    let owner = cast.sign_in(&wallet(1));
    let all = cast.identity.sessions(&owner).unwrap();
    assert_eq!(all.len(), 1, "{all:?}");
    let digest = asked
        .message()
        .unwrap()
        .eip712_signing_hash(&venue_domain(VENUE));
    assert_eq!(opening.opening, digest);
}
