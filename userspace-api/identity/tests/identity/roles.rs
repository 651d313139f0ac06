//! Members and their roles: whatever happens in whatever order, nobody acts beyond the role that it has.

use crate::cast::{Cast, wallet};
use proptest::prelude::*;
use ring0_identity::permission::TABLE;
use ring0_identity::{Caller, Permission, PersonId, Refused, Role, Scope, Secret};
use std::collections::BTreeMap;

const PEOPLE: u8 = 5;

#[derive(Clone, Debug)]
enum Step {
    /// An owner (or somebody who is none) invites as a role, and a person accepts.
    Invite(u8, Role, u8),
    /// A person changes another's role.
    Change(u8, u8, Role),
    /// A person removes another, or itself.
    Remove(u8, u8),
    /// A person makes an API key.
    Key(u8, Scope),
    /// The process dies and another begins.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let person = 1..=PEOPLE;
    let role = proptest::sample::select(Role::ALL);
    let scope = proptest::sample::select(Scope::ALL);
    prop_oneof![
        4 => (person.clone(), role.clone(), person.clone()).prop_map(|(a, b, c)| Step::Invite(a, b, c)),
        4 => (person.clone(), person.clone(), role).prop_map(|(a, b, c)| Step::Change(a, b, c)),
        2 => (person.clone(), person.clone()).prop_map(|(a, b)| Step::Remove(a, b)),
        3 => (person, scope).prop_map(|(a, b)| Step::Key(a, b)),
        1 => Just(Step::Restart),
    ]
}

/// What the steps come to, said in a few lines.
#[derive(Default)]
struct Model {
    roles: BTreeMap<u8, Role>,
    keys: Vec<(u8, Scope, Secret, ring0_identity::ApiKeyId)>,
}

impl Model {
    fn owners(&self) -> usize {
        self.roles.values().filter(|it| **it == Role::Owner).count()
    }

    fn is_owner(&self, person: u8) -> bool {
        self.roles.get(&person) == Some(&Role::Owner)
    }
}

fn may(role: Option<Role>, scope: Option<Scope>, permission: Permission) -> bool {
    let rule = TABLE.iter().find(|it| it.permission == permission).unwrap();
    let by_role = rule.roles.is_empty() || role.is_some_and(|it| rule.roles.contains(&it));
    by_role && scope.is_none_or(|it| rule.scopes.contains(&it)) && !rule.owner_key
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn nobody_acts_beyond_its_role(steps in proptest::collection::vec(step(), 1..30)) {
        let mut cast = Cast::new();
        let mut tokens: BTreeMap<u8, Secret> = (1..=PEOPLE).map(|it| (it, cast.token(&wallet(it)))).collect();
        let first = cast.known(tokens[&1].expose()).unwrap();
        cast.identity.create_organisation(&first, "Desk").unwrap();
        let people: BTreeMap<u8, PersonId> =
            tokens.iter().map(|(it, token)| (*it, cast.known(token.expose()).unwrap().person)).collect();
        let mut model = Model::default();
        model.roles.insert(1, Role::Owner);
        // Callers of every moment: what an old one is worth is what its person is now.
        let mut old: Vec<(u8, Caller)> = Vec::new();
        for step in steps {
            let caller = |it: u8| cast.known(tokens[&it].expose()).unwrap();
            match step {
                Step::Invite(by, role, whom) => {
                    let invited = cast.identity.invite(&caller(by), role);
                    prop_assert_eq!(invited.is_ok(), model.is_owner(by));
                    if let Ok((_, code)) = invited {
                        let joined = cast.identity.accept_invitation(&caller(whom), code.expose());
                        prop_assert_eq!(joined.is_ok(), !model.roles.contains_key(&whom));
                        if joined.is_ok() {
                            model.roles.insert(whom, role);
                            let again = cast.identity.accept_invitation(&caller(whom), code.expose());
                            prop_assert!(again.is_err());
                        }
                    }
                }
                Step::Change(by, whom, role) => {
                    let last = model.is_owner(whom) && model.owners() == 1 && role != Role::Owner;
                    let good = model.is_owner(by) && model.roles.contains_key(&whom) && !last;
                    let done = cast.identity.change_role(&caller(by), people[&whom], role);
                    prop_assert_eq!(done.is_ok(), good);
                    if good {
                        model.roles.insert(whom, role);
                    }
                }
                Step::Remove(by, whom) => {
                    let last = model.is_owner(whom) && model.owners() == 1;
                    let rights = model.is_owner(by) || (by == whom && model.roles.contains_key(&by));
                    let good = rights && model.roles.contains_key(&whom) && !last;
                    let done = cast.identity.remove_member(&caller(by), people[&whom]);
                    prop_assert_eq!(done.is_ok(), good);
                    if good {
                        model.roles.remove(&whom);
                        model.keys.retain(|it| it.0 != whom);
                    }
                }
                Step::Key(by, scope) => {
                    let role = model.roles.get(&by).copied();
                    let some = role.is_some_and(|role| TABLE.iter().any(|it| it.roles.contains(&role) && it.scopes.contains(&scope)));
                    let made = cast.api_key(&caller(by), &[scope], true);
                    prop_assert_eq!(made.is_ok(), some);
                    if let Ok((key, secret)) = made {
                        model.keys.push((by, scope, secret, key));
                    }
                }
                Step::Restart => {
                    cast = cast.reopened();
                    // Logins outlive the process.
                    tokens = tokens.into_iter().collect();
                }
            }
            for (person, token) in &tokens {
                let now = cast.known(token.expose()).unwrap();
                prop_assert_eq!(now.role(), model.roles.get(person).copied());
                for permission in Permission::ALL {
                    prop_assert_eq!(now.may(*permission).is_ok(), may(now.role(), None, *permission));
                }
                old.push((*person, now));
            }
            for (person, scope, secret, key) in &model.keys {
                let header = cast.signed(*key, secret.expose());
                let now = cast.request("GET", "", Some(&header), None).unwrap();
                for permission in Permission::ALL {
                    let role = model.roles.get(person).copied();
                    prop_assert_eq!(now.may(*permission).is_ok(), may(role, Some(*scope), *permission));
                }
            }
            for (person, caller) in &old {
                let role = model.roles.get(person).copied();
                // An old caller's role is not what counts when something is done.
                let invited = cast.identity.invite(caller, Role::Viewer);
                prop_assert_eq!(invited.is_ok(), caller.role().is_some() && role == Some(Role::Owner));
                if let Ok((invitation, _)) = invited {
                    cast.identity.withdraw_invitation(caller, invitation.id).unwrap();
                }
            }
            old.truncate(20);
        }
    }
}

#[test]
fn an_invitation_ends_is_withdrawn_and_goes_with_its_owner() {
    let cast = Cast::new();
    let all = cast.organisation(1);
    let guest = || cast.sign_in(&wallet(30));
    let accept = |code: &Secret| cast.identity.accept_invitation(&guest(), code.expose());
    let gone =
        |code: &Secret| assert!(matches!(accept(code), Err(Refused::NotFound("invitation"))));
    let (_, code) = cast
        .identity
        .invite(&cast.sign_in(&wallet(1)), Role::Trader)
        .unwrap();
    cast.pass(cast.identity.config().invitation_ms);
    gone(&code);
    let owner = cast.sign_in(&wallet(1));
    let (invitation, code) = cast.identity.invite(&owner, Role::Trader).unwrap();
    let other = cast.organisation(11);
    let foreign = cast.identity.withdraw_invitation(&other[0], invitation.id);
    assert!(matches!(foreign, Err(Refused::NotFound(_))));
    cast.identity
        .withdraw_invitation(&owner, invitation.id)
        .unwrap();
    gone(&code);
    // Of an owner who is none any more.
    let _ = cast
        .identity
        .change_role(&owner, all[1].person, Role::Owner)
        .unwrap();
    let second = cast.sign_in(&wallet(2));
    let (_, code) = cast.identity.invite(&second, Role::Owner).unwrap();
    let _ = cast
        .identity
        .change_role(&owner, all[1].person, Role::Viewer)
        .unwrap();
    gone(&code);
    // An API key accepts none.
    let (_, code) = cast.identity.invite(&owner, Role::Owner).unwrap();
    let (_, secret) = cast.api_key(&other[0], &[Scope::Read], false).unwrap();
    let program = cast.known(secret.expose()).unwrap();
    assert!(
        cast.identity
            .accept_invitation(&program, code.expose())
            .is_err()
    );
    assert_eq!(accept(&code).unwrap().1, Role::Owner);
}

/// Somebody in two organisations acts in the one it names, and in neither where it names none.
#[test]
fn a_person_of_two_organisations_names_one() {
    let cast = Cast::new();
    let (one, two) = (cast.organisation(1), cast.organisation(11));
    let (_, code) = cast.identity.invite(&two[0], Role::Viewer).unwrap();
    cast.identity
        .accept_invitation(&one[0], code.expose())
        .unwrap();
    let token = cast.token(&wallet(1));
    let bearer = format!("Bearer {}", token.expose());
    let ask = |organisation: Option<&str>| {
        cast.request("GET", "", Some(&bearer), organisation)
            .unwrap()
    };
    assert_eq!(ask(None).role(), None);
    assert!(matches!(
        ask(None).may(Permission::ReadAccounts),
        Err(Refused::NoOrganisation { .. })
    ));
    let name = |caller: &Caller| caller.organisation().unwrap().to_string();
    assert_eq!(ask(Some(&name(&one[0]))).role(), Some(Role::Owner));
    assert_eq!(ask(Some(&name(&two[0]))).role(), Some(Role::Viewer));
    assert_eq!(cast.identity.organisations(&ask(None)).len(), 2);
}
