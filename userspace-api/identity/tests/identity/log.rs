//! The log is the store: what it says is what is known, to its last whole line, and no secret is in it.

use crate::cast::{Cast, START_MS, wallet};
use ring0_identity::audit::verify;
use ring0_identity::records::Account;
use ring0_identity::{Identity, LOG, OpenError, Permission, Refused, Role, Scope};
use serde_json::json;
use std::sync::Arc;

/// Something of everything, and the secrets that were given out.
fn lived(cast: &Cast) -> Vec<String> {
    let all = cast.organisation(1);
    let account = cast.account(&all[0]);
    let owner = cast.sign_in(&wallet(1));
    let token = cast.token(&wallet(2));
    let (_, bearer) = cast.api_key(&owner, &[Scope::Read], false).unwrap();
    let (_, signing) = cast
        .api_key(&owner, &[Scope::Trade, Scope::Risk], true)
        .unwrap();
    let (_, code) = cast.identity.invite(&owner, Role::Risk).unwrap();
    let detail = json!({ "account": account, "amount": "12.5" });
    cast.identity
        .note(&owner, "request-withdrawal", detail, "done")
        .unwrap();
    cast.identity
        .note_operator("uid 0", "halt-asset", json!({ "asset": "USD" }), "done")
        .unwrap();
    [token, bearer, signing, code]
        .map(|it| it.expose().to_owned())
        .into()
}

#[test]
fn no_secret_is_in_the_log_and_the_key_file_is_apart() {
    let cast = Cast::new();
    let secrets = lived(&cast);
    let log = std::fs::read_to_string(cast.folder.path().join(LOG)).unwrap();
    for secret in secrets {
        // Neither whole nor without what it begins with.
        let bare = secret.rsplit('_').next().unwrap();
        assert_eq!(bare.len(), 64);
        assert!(!log.contains(bare), "{}", &secret[..4]);
    }
    // Who takes the log and not the key file has no signing key: it opens with another key file, and none of them is taken.
    let (key, secret) = cast
        .api_key(&cast.sign_in(&wallet(1)), &[Scope::Trade], true)
        .unwrap();
    let header = cast.signed(key, secret.expose());
    cast.request("GET", "", Some(&header), None).unwrap();
    let elsewhere = Arc::new(tempfile::tempdir().unwrap());
    let copy = elsewhere.path().join(LOG);
    std::fs::copy(cast.folder.path().join(LOG), copy).unwrap();
    let thief = Cast::in_folder(elsewhere, cast.now());
    let header = thief.signed(key, secret.expose());
    let result = thief.request("GET", "", Some(&header), None);
    assert!(matches!(result, Err(Refused::BadCredential)));
}

/// Cut anywhere, the log opens to what its whole lines say; then what was a beginning is a beginning.
#[test]
fn a_log_that_a_crash_cut_off_opens_to_its_whole_lines() {
    let cast = Cast::new();
    let secrets = lived(&cast);
    let whole = std::fs::read(cast.folder.path().join(LOG)).unwrap();
    let report = verify(&cast.folder.path().join(LOG), None).unwrap();
    assert_eq!(
        report.entries as usize,
        whole.iter().filter(|it| **it == b'\n').count()
    );
    assert_eq!(report.head, cast.identity.audit_head().to_string());
    assert!(report.kinds["login-started"] >= 4 && report.kinds["action"] == 2);
    let now = cast.now();
    drop(cast);
    for end in (0..=whole.len()).step_by(97).chain([whole.len()]) {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        std::fs::write(folder.path().join(LOG), &whole[..end]).unwrap();
        let cut = Cast::in_folder(folder, now);
        let lines = whole[..end].iter().filter(|it| **it == b'\n').count() as u64;
        let report = verify(&cut.folder.path().join(LOG), None).unwrap();
        assert_eq!(report.entries, lines);
        assert_eq!(
            cut.known(&secrets[0]).is_ok(),
            whole_has(&whole[..end], &secrets[0])
        );
        // It goes on from there.
        cut.token(&wallet(1));
    }
}

fn whole_has(log: &[u8], token: &str) -> bool {
    let digest = ring0_identity::hex::encode(ring0_identity::Digest::of(token.as_bytes()).0);
    let end = log.iter().rposition(|it| *it == b'\n').unwrap_or(0);
    String::from_utf8_lossy(&log[..end]).contains(&digest)
}

/// The same log read again is the same knowledge: asked by every way that there is.
#[test]
fn what_is_read_again_is_what_was() {
    let cast = Cast::new();
    let secrets = lived(&cast);
    let seen = |cast: &Cast| {
        let owner = cast.known(&secrets[0]).unwrap();
        let reads = cast.known(&secrets[1]).unwrap();
        let all = (
            cast.identity.organisation(&owner).unwrap(),
            cast.identity.members(&owner).unwrap(),
            cast.identity.invitations(&owner).unwrap(),
            cast.identity.api_keys(&owner).unwrap(),
            cast.identity.grants(&owner).unwrap(),
            cast.identity.sessions(&owner).unwrap(),
            cast.identity.audit(&reads, None, 1_000).unwrap(),
        );
        (format!("{all:?}"), cast.identity.audit_head())
    };
    let before = seen(&cast);
    // A clock that was set back does not make the log's times go back.
    let folder = Arc::clone(&cast.folder);
    drop(cast);
    let cast = Cast::in_folder(folder, START_MS);
    assert_eq!(seen(&cast), before);
    cast.identity
        .note_operator("uid 0", "x", json!({}), "done")
        .unwrap();
    let times = verify(&cast.folder.path().join(LOG), None)
        .unwrap()
        .times_ms
        .unwrap();
    assert!(times.0 <= times.1);
}

#[test]
fn a_log_that_was_rewritten_is_found() {
    let cast = Cast::new();
    lived(&cast);
    let path = cast.folder.path().join(LOG);
    let head = cast.identity.audit_head();
    cast.token(&wallet(1));
    let at = verify(&path, Some(head)).unwrap();
    assert_eq!(at.continues, Some(at.entries - 1));
    // A second process is refused.
    let second = Identity::open(cast.folder.path(), Cast::config(&cast.now_ms));
    assert!(matches!(second, Err(OpenError::Log(_))));
    let folder = Arc::clone(&cast.folder);
    drop(cast);
    assert!(folder.path().exists());
    let whole = std::fs::read_to_string(&path).unwrap();
    // One letter.
    std::fs::write(&path, whole.replacen("\"viewer\"", "\"owner\"", 1)).unwrap();
    assert!(matches!(verify(&path, None), Err(OpenError::Log(_))));
    // All hashes made anew: a good log, but not the one that the old head names.
    let (mut name, mut text) = (ring0_hashlog::Head::default(), String::new());
    for line in whole.lines() {
        let json = line
            .split_once(' ')
            .unwrap()
            .1
            .replace("\"viewer\"", "\"owner\"");
        name = name.then(&json);
        text.push_str(&format!("{name} {json}\n"));
    }
    std::fs::write(&path, text).unwrap();
    assert_eq!(verify(&path, Some(head)).unwrap().continues, None);
    // Lines of a good form that do not follow from those before.
    let name = ring0_hashlog::Head::default();
    let json = r#"{"at_ms":1,"actor":"venue","event":{"role-changed":{"organisation":1,"person":1,"role":"owner"}}}"#;
    std::fs::write(&path, format!("{} {json}\n", name.then(json))).unwrap();
    assert!(matches!(
        verify(&path, None),
        Err(OpenError::Misfit { entry: 1, .. })
    ));
}

#[test]
fn an_organisation_reads_its_own_part() {
    let cast = Cast::new();
    let secrets = lived(&cast);
    let others = cast.organisation(11);
    let (owner, viewer) = (cast.sign_in(&wallet(1)), cast.sign_in(&wallet(4)));
    assert!(matches!(
        cast.identity.audit(&viewer, None, 9),
        Err(Refused::Role { .. })
    ));
    let mine = cast.identity.audit(&owner, None, 1_000).unwrap();
    assert!(
        mine.windows(2).all(|pair| pair[0].0 > pair[1].0),
        "newest first"
    );
    let note = mine
        .iter()
        .find(|it| it.1.event.public()["kind"] == "action")
        .unwrap();
    assert_eq!(note.1.event.public()["detail"]["amount"], "12.5");
    let theirs = cast.identity.audit(&others[0], None, 1_000).unwrap();
    assert!(mine.iter().all(|it| !theirs.contains(it)));
    // Pages.
    let first = cast.identity.audit(&owner, None, 3).unwrap();
    let second = cast.identity.audit(&owner, Some(first[2].0), 3).unwrap();
    assert_eq!([first, second].concat(), mine[..6]);
    let text = serde_json::to_string(
        &mine
            .iter()
            .map(|it| it.1.event.public())
            .collect::<Vec<_>>(),
    )
    .unwrap();
    assert!(
        !text.contains("proof") && !text.contains("\"code\""),
        "{text}"
    );
    assert_eq!(secrets.len(), 4);
}

#[test]
fn an_operator_gives_an_account_of_the_market_file_to_an_organisation() {
    let cast = Cast::new();
    let owner = cast.organisation(1)[0].clone();
    let account = |index, organisation| Account {
        index,
        organisation,
        owner: wallet(1).address(),
        cosigner: wallet(1).address(),
    };
    let of = owner.organisation().unwrap();
    cast.identity
        .assign_account("uid 0", account(0, of))
        .unwrap();
    let again = cast.identity.assign_account("uid 0", account(0, of));
    assert!(matches!(again, Err(Refused::Conflict(_))));
    let nowhere = cast
        .identity
        .assign_account("uid 0", account(1, ring0_identity::OrganisationId(99)));
    assert!(matches!(nowhere, Err(Refused::NotFound(_))));
    let owner = cast.sign_in(&wallet(1));
    owner.may_for(Permission::PlaceOrders, 0).unwrap();
    assert_eq!(
        cast.identity.account(&owner, 0).unwrap().owner,
        wallet(1).address()
    );
    // One's own accounts come behind the market file's, and end where a shard's room ends.
    assert_eq!(cast.account(&owner), 3);
    let full = cast.identity.add_account(&owner, None, 4, |it| it < 3);
    assert!(matches!(full, Err(Refused::Conflict(_))));
}

/// How long a start takes, by a log of many logins that were used and ended.
#[test]
fn a_long_log_opens() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let path = folder.path().join(LOG);
    let cast = Cast::in_folder(Arc::clone(&folder), START_MS);
    for _ in 0..3 {
        let caller = cast.sign_in(&wallet(1));
        cast.pass(600_000);
        cast.identity.renew(&caller).unwrap();
        cast.identity.sign_out(&caller, false).unwrap();
    }
    drop(cast);
    let (mut log, entries) =
        ring0_hashlog::HashLog::<ring0_identity::event::Entry>::open(&path).unwrap();
    let sessions: Vec<_> = entries
        .iter()
        .filter(|it| it.event.kind().starts_with("login"))
        .cloned()
        .collect();
    let many: Vec<_> = sessions.iter().cycle().take(100_000).cloned().collect();
    log.append_all(&many).unwrap();
    drop(log);
    let begun = std::time::Instant::now();
    let identity = Identity::open(
        folder.path(),
        Cast::config(&Arc::new((START_MS + 9_000_000).into())),
    );
    let took = begun.elapsed();
    let bytes = std::fs::metadata(&path).unwrap().len();
    println!(
        "{} entries, {bytes} bytes: opened in {took:?}",
        many.len() + entries.len()
    );
    assert!(identity.is_ok());
}
