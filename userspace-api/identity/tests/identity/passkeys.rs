//! Passkeys, with a software authenticator and a client as browsers have them.

use crate::cast::{Cast, ORIGIN, here, wallet};
use crate::device::Device;
use ring0_identity::{Caller, Permission, Refused, Role, SignedIn};

impl Device {
    fn register(
        &mut self,
        cast: &Cast,
        caller: &Caller,
    ) -> Result<ring0_identity::PasskeyId, Refused> {
        let begun = cast.identity.start_passkey_registration(caller)?;
        let answer = self.create(&begun.challenge).unwrap();
        let done =
            cast.identity
                .finish_passkey_registration(&begun.ceremony, &answer, "phone", here());
        done.map(|it| it.0)
    }

    fn sign_in(&mut self, cast: &Cast) -> Result<SignedIn, Refused> {
        let begun = cast.identity.start_passkey_sign_in(here())?;
        let answer = self.get(&begun.challenge).unwrap();
        cast.identity
            .finish_passkey_sign_in(&begun.ceremony, &answer, here())
    }
}

fn why<T>(result: Result<T, Refused>) -> String {
    match result {
        Err(Refused::SignIn(why)) => why,
        Err(other) => panic!("refused otherwise: {other:?}"),
        Ok(_) => panic!("not refused"),
    }
}

#[test]
fn a_passkey_of_a_wallets_person_signs_in_as_that_person() {
    let cast = Cast::new();
    let owner = cast.organisation(1)[0].clone();
    let mut device = Device::new(ORIGIN);
    let passkey = device.register(&cast, &owner).unwrap();
    let signed_in = device.sign_in(&cast).unwrap();
    assert_eq!(signed_in.person, owner.person);
    let caller = cast.known(signed_in.token.expose()).unwrap();
    assert_eq!(caller.role(), Some(Role::Owner));

    // What a passkey is enough for, and what it is not (CUSTODY 16).
    for permission in Permission::ALL {
        let result = caller.may(*permission);
        use Permission as P;
        match permission {
            P::CreateOrganisation | P::RegisterPasskey | P::ManageMembers | P::ManageAccounts => {
                assert!(
                    matches!(result, Err(Refused::WalletOnly { .. })),
                    "{permission}"
                );
            }
            P::CreateGrant
            | P::RequestWithdrawal
            | P::AddWithdrawalAddress
            | P::CloseChannel
            | P::ChangeKeys => {
                assert!(
                    matches!(result, Err(Refused::OwnerKey { .. })),
                    "{permission}"
                );
            }
            _ => result.unwrap(),
        }
    }
    assert!(matches!(
        cast.identity.invite(&caller, Role::Owner),
        Err(Refused::WalletOnly { .. })
    ));
    assert!(matches!(
        Device::new(ORIGIN).register(&cast, &caller),
        Err(Refused::WalletOnly { .. })
    ));
    assert!(matches!(
        cast.identity.remove_passkey(&caller, passkey),
        Err(Refused::WalletOnly { .. })
    ));

    // After a restart too, and its counter goes on.
    let cast = cast.reopened();
    let signed_in = device.sign_in(&cast).unwrap();
    // Another's passkey is not one's own to remove; when it is removed, its logins end.
    let stranger = cast.organisation(11)[0].clone();
    let foreign = cast.identity.remove_passkey(&stranger, passkey);
    assert!(matches!(foreign, Err(Refused::NotFound("passkey"))));
    let owner = cast.sign_in(&wallet(1));
    assert_eq!(cast.identity.passkeys(&owner).len(), 1);
    cast.identity.remove_passkey(&owner, passkey).unwrap();
    assert!(cast.known(signed_in.token.expose()).is_err());
    assert!(why(device.sign_in(&cast)).contains("not known"));
}

#[test]
fn a_copied_passkey_is_found_by_its_counter() {
    let cast = Cast::new();
    let owner = cast.sign_in(&wallet(1));
    let mut device = Device::new(ORIGIN);
    device.register(&cast, &owner).unwrap();
    let mut copy = Device::new(ORIGIN);
    copy.passkey.clone_from(&device.passkey);
    device.sign_in(&cast).unwrap();
    device.sign_in(&cast).unwrap();
    for _ in 0..2 {
        assert!(
            why(copy.sign_in(&cast)).contains("copy"),
            "its counter is behind or the same"
        );
    }
    // The counter is in the log, so a restart does not forget it.
    let cast = cast.reopened();
    let mut late = Device::new(ORIGIN);
    late.passkey.clone_from(&device.passkey);
    device.sign_in(&cast).unwrap();
    assert!(why(late.sign_in(&cast)).contains("copy"));
}

#[test]
fn a_ceremony_is_answered_once_in_time_for_what_it_was() {
    let cast = Cast::new();
    let owner = cast.sign_in(&wallet(1));
    let mut device = Device::new(ORIGIN);
    let identity = &cast.identity;
    // Registration.
    let begun = identity.start_passkey_registration(&owner).unwrap();
    let answer = device.create(&begun.challenge).unwrap();
    let finish =
        |ceremony: &str| identity.finish_passkey_registration(ceremony, &answer, "phone", here());
    let other = identity.start_passkey_registration(&owner).unwrap();
    why(finish(&other.ceremony)); // another challenge
    assert!(why(finish(&other.ceremony)).contains("was answered"));
    finish(&begun.ceremony).unwrap();
    why(finish(&begun.ceremony));
    // The same authenticator again: it is told that it is known.
    let again = identity.start_passkey_registration(&owner).unwrap();
    let excluded = serde_json::to_value(&again.challenge).unwrap();
    assert_eq!(
        excluded["publicKey"]["excludeCredentials"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        excluded["publicKey"]["authenticatorSelection"]["residentKey"],
        "required"
    );
    assert_eq!(
        excluded["publicKey"]["authenticatorSelection"]["userVerification"],
        "required"
    );
    // Sign-in.
    let begun = identity.start_passkey_sign_in(here()).unwrap();
    let text = serde_json::to_string(&begun.challenge).unwrap();
    assert!(
        !text.contains("allowCredentials\":[{"),
        "it names nobody: {text}"
    );
    let answer = device.get(&begun.challenge).unwrap();
    let finish = |ceremony: &str| identity.finish_passkey_sign_in(ceremony, &answer, here());
    let other = identity.start_passkey_sign_in(here()).unwrap();
    why(finish(&other.ceremony));
    why(finish("nothing"));
    let registration = identity.start_passkey_registration(&owner).unwrap();
    assert!(why(finish(&registration.ceremony)).contains("registration"));
    finish(&begun.ceremony).unwrap();
    assert!(why(finish(&begun.ceremony)).contains("was answered"));
    let begun = identity.start_passkey_sign_in(here()).unwrap();
    let answer = device.get(&begun.challenge).unwrap();
    cast.pass(cast.identity.config().nonce_ms);
    why(identity.finish_passkey_sign_in(&begun.ceremony, &answer, here()));
    // A login that has ended meanwhile registers nothing.
    let owner = cast.sign_in(&wallet(1));
    let begun = identity.start_passkey_registration(&owner).unwrap();
    let mut second = Device::new(ORIGIN);
    // The device does not know the first passkey, so it makes one.
    let answer = second.create(&begun.challenge).unwrap();
    identity.sign_out(&owner, false).unwrap();
    let late = identity.finish_passkey_registration(&begun.ceremony, &answer, "phone", here());
    assert!(matches!(late, Err(Refused::BadCredential)));
}

#[test]
fn another_sites_answer_and_an_altered_one_are_refused() {
    let cast = Cast::new();
    let owner = cast.sign_in(&wallet(1));
    let mut device = Device::new(ORIGIN);
    device.register(&cast, &owner).unwrap();
    // A page of another site: the client itself does not answer for this host.
    device.origin = "https://evil.example".parse().unwrap();
    let begun = cast.identity.start_passkey_sign_in(here()).unwrap();
    assert!(device.get(&begun.challenge).is_err());
    // The same host at another port: the client answers, the origin is not the venue's.
    device.origin = "https://trade.example:9443".parse().unwrap();
    why(device.sign_in(&cast));
    device.origin = ORIGIN.parse().unwrap();
    for field in [
        "signature",
        "authenticatorData",
        "clientDataJSON",
        "userHandle",
    ] {
        let begun = cast.identity.start_passkey_sign_in(here()).unwrap();
        let answer = device.get(&begun.challenge).unwrap();
        let mut value = serde_json::to_value(&answer).unwrap();
        let text = value["response"][field].as_str().unwrap().to_owned();
        let middle = text.len() / 2;
        let letter = if &text[middle..=middle] == "A" {
            "B"
        } else {
            "A"
        };
        let altered = format!("{}{letter}{}", &text[..middle], &text[middle + 1..]);
        value["response"][field] = altered.into();
        let altered = serde_json::from_value(value).unwrap();
        why(cast
            .identity
            .finish_passkey_sign_in(&begun.ceremony, &altered, here()));
    }
    device.sign_in(&cast).unwrap();
}

#[test]
fn somebody_invited_enters_by_a_passkey_and_no_further() {
    let cast = Cast::new();
    let owner = cast.organisation(1)[0].clone();
    let (_, code) = cast.identity.invite(&owner, Role::Trader).unwrap();
    let mut device = Device::new(ORIGIN);
    let start =
        |code: &str, name: &str| cast.identity.start_invited_registration(code, name, here());
    assert!(matches!(
        start("r0i_guess", "Tess"),
        Err(Refused::NotFound("invitation"))
    ));
    assert!(matches!(
        start(code.expose(), " "),
        Err(Refused::Invalid(_))
    ));
    assert!(matches!(
        start(code.expose(), "a\nb"),
        Err(Refused::Invalid(_))
    ));
    let begun = start(code.expose(), "Tess").unwrap();
    let second = start(code.expose(), "Tom").unwrap();
    let answer = device.create(&begun.challenge).unwrap();
    let (_, signed_in) = cast
        .identity
        .finish_passkey_registration(&begun.ceremony, &answer, "phone", here())
        .unwrap();
    let signed_in = signed_in.unwrap();
    let caller = cast.known(signed_in.token.expose()).unwrap();
    assert_eq!(
        (caller.role(), caller.person),
        (Some(Role::Trader), signed_in.person)
    );
    assert_eq!(cast.identity.person(&caller).unwrap().name, "Tess");
    // The code is used up, also for whoever had begun with it.
    let answer = Device::new(ORIGIN).create(&second.challenge).unwrap();
    let late =
        cast.identity
            .finish_passkey_registration(&second.ceremony, &answer, "phone", here());
    assert!(matches!(late, Err(Refused::NotFound("invitation"))));
    assert!(matches!(
        start(code.expose(), "Tom"),
        Err(Refused::NotFound(_))
    ));
    assert_eq!(device.sign_in(&cast).unwrap().person, caller.person);
    caller.may(Permission::OpenTradingSession).unwrap();
    assert!(matches!(
        caller.may(Permission::RegisterPasskey),
        Err(Refused::WalletOnly { .. })
    ));
}

/// A device that is only touched has not shown whose it is.
#[test]
fn user_verification_is_required() {
    let cast = Cast::new();
    let owner = cast.sign_in(&wallet(1));
    let mut device = Device::new(ORIGIN);
    device.register(&cast, &owner).unwrap();
    let begun = cast.identity.start_passkey_sign_in(here()).unwrap();
    let mut options = serde_json::to_value(&begun.challenge).unwrap();
    // As a client would ask that does not care what the venue requires.
    options["publicKey"]["userVerification"] = "discouraged".into();
    let answer = device.get(&options).unwrap();
    why(cast
        .identity
        .finish_passkey_sign_in(&begun.ceremony, &answer, here()));
}
