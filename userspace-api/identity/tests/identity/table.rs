//! Every permission × role × state of the credential, beside a second table that is written by hand: a line changed in the first alone is found.

use crate::cast::{Cast, wallet};
use ring0_identity::{ApiKeyId, Caller, Permission, Refused, Role, Scope};

/// Permission · roles by letter (`*`: everybody, also of no organisation) · scopes by letter · `w`: a sign-in by wallet · `k`: the owner key besides.
const EXPECTED: &str = "
create-organisation    *     -   w
register-passkey       *     -   w
read-accounts          otrv  r   .
read-organisation      otrv  r   .
read-audit             or    r   .
place-orders           ot    t   .
cancel-orders          otr   tk  .
hand-in-cosignatures   ot    t   .
open-trading-session   ot    t   .
revoke-trading-session otr   tk  .
revoke-grant           otr   k   .
set-risk               or    k   .
approve-withdrawal     or    -   .
manage-own-api-keys    otrv  -   .
revoke-api-keys        or    -   .
manage-members         o     -   w
manage-accounts        o     -   w
create-grant           o     -   k
request-withdrawal     o     w   k
add-withdrawal-address o     -   k
close-channel          o     -   k
change-keys            o     -   k
";

struct Line {
    permission: Permission,
    roles: &'static str,
    scopes: &'static str,
    more: &'static str,
}

fn lines() -> Vec<Line> {
    let lines = EXPECTED.lines().filter(|it| !it.is_empty());
    let line = |text: &'static str| {
        let words: Vec<_> = text.split_whitespace().collect();
        Line {
            permission: words[0].parse().unwrap(),
            roles: words[1],
            scopes: words[2],
            more: words[3],
        }
    };
    lines.map(line).collect()
}

impl Line {
    fn role(&self, role: Option<Role>) -> bool {
        let letter = role.map(|it| match it {
            Role::Owner => 'o',
            Role::Trader => 't',
            Role::Risk => 'r',
            Role::Viewer => 'v',
        });
        self.roles == "*" || letter.is_some_and(|it| self.roles.contains(it))
    }

    fn scope(&self, scope: Scope) -> bool {
        self.scopes.contains(match scope {
            Scope::Read => 'r',
            Scope::Trade => 't',
            Scope::WithdrawRequest => 'w',
            Scope::Risk => 'k',
        })
    }
}

/// What the answer is: done, only with the owner key, or refused.
#[derive(Debug, Eq, PartialEq)]
enum Answer {
    Yes,
    WithOwnerKey,
    No,
}

fn answer(caller: &Caller, permission: Permission) -> Answer {
    match caller.may(permission) {
        Ok(()) => Answer::Yes,
        Err(Refused::OwnerKey { .. }) => Answer::WithOwnerKey,
        Err(refused) => {
            assert_eq!(refused.status(), 403, "{permission}: {refused}");
            Answer::No
        }
    }
}

fn expected(line: &Line, yes: bool) -> Answer {
    match (yes, line.more) {
        (false, _) => Answer::No,
        (true, "k") => Answer::WithOwnerKey,
        (true, _) => Answer::Yes,
    }
}

#[test]
fn every_permission_role_and_state_of_a_credential() {
    let cast = Cast::new();
    let lines = lines();
    assert_eq!(lines.len(), Permission::ALL.len());
    let owner = &cast.organisation(1)[0];
    let account = cast.account(owner);
    let organisation = owner.organisation().unwrap();
    let stranger = cast.organisation(21);
    let foreign_account = cast.account(&stranger[0]);
    let mut checked = 0;

    // Nobody, and somebody who is a member of nothing.
    assert!(matches!(
        cast.request("GET", "", None, None),
        Err(Refused::NoCredential)
    ));
    let alone = cast.sign_in(&wallet(40));
    for line in &lines {
        assert_eq!(
            answer(&alone, line.permission),
            expected(line, line.role(None))
        );
        let with = alone.may_for(line.permission, account);
        assert!(with.is_err(), "{}", line.permission);
    }

    for (role, number) in Role::ALL.iter().zip(1_u8..) {
        let signer = wallet(number);
        let good = cast.sign_in(&signer);
        assert_eq!(good.role(), Some(*role));
        // A login by wallet. By passkey: `passkeys.rs`.
        for line in &lines {
            let yes = expected(line, line.role(Some(*role)));
            assert_eq!(
                answer(&good, line.permission),
                yes,
                "{role} {}",
                line.permission
            );
            let own = good.may_for(line.permission, account);
            assert_eq!(
                own.is_ok(),
                yes == Answer::Yes,
                "{role} {}",
                line.permission
            );
            let foreign = good.may_for(line.permission, foreign_account);
            assert!(foreign.is_err(), "{role} {}", line.permission);
            if yes == Answer::Yes {
                assert_eq!(
                    foreign.unwrap_err().status(),
                    404,
                    "as one that is not there"
                );
            }
            let bring = good.may_bring(line.permission, account);
            assert_eq!(
                bring.is_ok(),
                line.role(Some(*role)),
                "{role} {}",
                line.permission
            );
            assert!(good.may_bring(line.permission, foreign_account).is_err());
            checked += 1;
        }

        // API keys: each scope, each set of scopes with `read`, as far as the role makes them.
        for scope in Scope::ALL {
            let Ok((key, secret)) = cast.api_key(&good, &[*scope], true) else {
                let has_some = lines
                    .iter()
                    .any(|it| it.scope(*scope) && it.role(Some(*role)));
                assert!(!has_some, "{role} {scope}");
                continue;
            };
            let ask = |key: ApiKeyId, organisation: Option<&str>| {
                let header = cast.signed(key, secret.expose());
                cast.request("GET", "", Some(&header), organisation)
            };
            let program = ask(key, None).unwrap();
            for line in &lines {
                let has = line.role(Some(*role)) && line.scope(*scope);
                let yes = expected(line, has);
                assert_eq!(
                    answer(&program, line.permission),
                    yes,
                    "{role} {scope} {}",
                    line.permission
                );
                assert!(program.may_for(line.permission, foreign_account).is_err());
                checked += 1;
            }
            // Foreign: the key acts in its organisation alone.
            let foreign = stranger[0].organisation().unwrap().to_string();
            assert!(matches!(
                ask(key, Some(&foreign)),
                Err(Refused::NotFound(_))
            ));
            ask(key, Some(&organisation.to_string())).unwrap();
            assert!(matches!(ask(key, Some("x")), Err(Refused::Malformed(_))));
            // Revoked: not known any more, and who was known before is not either.
            let _ = cast.identity.revoke_api_key(&good, key).unwrap();
            assert!(matches!(ask(key, None), Err(Refused::BadCredential)));
            assert!(matches!(
                cast.identity.renew(&program),
                Err(Refused::BadCredential)
            ));
        }

        // Foreign: a member names the other organisation.
        let token = cast.token(&signer);
        let bearer = format!("Bearer {}", token.expose());
        let foreign = stranger[0].organisation().unwrap().to_string();
        let result = cast.request("GET", "", Some(&bearer), Some(&foreign));
        assert!(matches!(result, Err(Refused::NotFound("organisation"))));
        let none = cast.request("GET", "", Some(&bearer), Some("999"));
        assert!(
            matches!(none, Err(Refused::NotFound("organisation"))),
            "as one that is not there"
        );

        // Signed out, and past its end: as nobody. What is asked of a caller that was made before, too.
        let old = cast.known(token.expose()).unwrap();
        cast.identity.sign_out(&old, false).unwrap();
        assert!(matches!(
            cast.known(token.expose()),
            Err(Refused::BadCredential)
        ));
        let act = cast.identity.create_organisation(&old, "x");
        assert!(matches!(act, Err(Refused::BadCredential)));
    }
    // Past their end.
    let tokens: Vec<_> = (1..=4).map(|it| cast.token(&wallet(it))).collect();
    let (key, secret) = cast
        .api_key(&cast.sign_in(&wallet(1)), &[Scope::Read], false)
        .unwrap();
    cast.pass(cast.identity.config().login_ms);
    for token in &tokens {
        assert!(matches!(
            cast.known(token.expose()),
            Err(Refused::BadCredential)
        ));
    }
    assert!(
        matches!(cast.known(secret.expose()), Err(Refused::BadCredential)),
        "{key}"
    );
    assert!(checked >= 22 * 4 * 3, "{checked}");
}

/// The owner key's acts: with the owner's signature and the role; not with another's signature, another role, another organisation's account.
#[test]
fn an_owner_act_takes_the_owner_and_the_signature() {
    use ring0_identity::WithdrawalAddress;
    use ring0_identity::channels::message::venue_domain;
    let cast = Cast::new();
    let owner = cast.organisation(1)[0].clone();
    let account = cast.account(&owner);
    let stranger = cast.organisation(11)[0].clone();
    let domain = venue_domain(crate::cast::VENUE);
    let message = || WithdrawalAddress {
        account: account.into(),
        token: Default::default(),
        recipient: wallet(9).address(),
        deadline: Default::default(),
    };
    for (number, role) in (1..).zip(Role::ALL) {
        let caller = cast.sign_in(&wallet(number));
        for signer in [1, 2, 11] {
            let signature = wallet(signer).sign(&message(), &domain);
            let result =
                cast.identity
                    .owner_signed(&caller, account, message(), &domain, signature);
            assert_eq!(
                result.is_ok(),
                *role == Role::Owner && signer == 1,
                "{role} {signer}"
            );
        }
    }
    let owner = cast.sign_in(&wallet(1));
    let good = wallet(1).sign(&message(), &domain);
    let changed = WithdrawalAddress {
        recipient: wallet(8).address(),
        ..message()
    };
    let result = cast
        .identity
        .owner_signed(&owner, account, changed, &domain, good);
    assert!(matches!(result, Err(Refused::Signature { .. })));
    let other = venue_domain(ring0_identity::B256::ZERO);
    let result = cast
        .identity
        .owner_signed(&owner, account, message(), &other, good);
    assert!(matches!(result, Err(Refused::Signature { .. })));
    let result = cast
        .identity
        .owner_signed(&stranger, account, message(), &domain, good);
    assert!(matches!(result, Err(Refused::NotFound("account"))));
    let signed = cast
        .identity
        .owner_signed(&owner, account, message(), &domain, good)
        .unwrap();
    assert_eq!(
        (signed.message(), signed.account().owner),
        (&message(), wallet(1).address())
    );
    // A program with the scope brings the signature as well, one without does not.
    for (scope, good_scope) in [(Scope::WithdrawRequest, true), (Scope::Trade, false)] {
        use ring0_identity::channels::message::{Hub, Withdrawal};
        let hub = Hub {
            lineage: ring0_identity::channels::U256::from(1),
            address: wallet(7).address(),
        };
        let message = Withdrawal {
            channel: Default::default(),
            withdrawn: 5,
            recipient: wallet(9).address(),
            branch: Default::default(),
            deadline: Default::default(),
        };
        let (key, secret) = cast.api_key(&owner, &[scope], true).unwrap();
        let header = cast.signed(key, secret.expose());
        let program = cast.request("GET", "", Some(&header), None).unwrap();
        let signature = wallet(1).sign(&message, &hub.domain());
        let result =
            cast.identity
                .owner_signed(&program, account, message, &hub.domain(), signature);
        assert_eq!(result.is_ok(), good_scope, "{scope}");
    }
}
