//! The signer as a process: what it refuses, what it remembers over kills and old copies, and its commands.

use ring0_channels::key::{Signature, Signer};
use ring0_channels::message::{Hub, Terms};
use ring0_channels::{Address, B256, U256};
use ring0_signer::message::{Message, State, Withdrawal};
use ring0_signer::protocol::{Name, Outcome};
use ring0_signer::stand::Stand;
use ring0_signer::{Client, ClientError};
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const RULES: &str = r#"
witnesses = ["../witness"]
approvers = ["0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf"]

[[hub]]
name = "main"
lineage = "31337"
address = "0x1111111111111111111111111111111111111111"

[[asset]]
name = "USD"
hub = "main"
token = "0x2222222222222222222222222222222222222222"
day = "1000"
approve_above = "100"

[[key]]
name = "operator"
kinds = ["state", "withdrawal"]
hubs = ["main"]
per_second = 100000
"#;

fn hub() -> Hub {
    Hub {
        lineage: U256::from(31337),
        address: Address::repeat_byte(0x11),
    }
}

fn state(channel: u64, version: u64, balance: u128) -> Message {
    Message::State(State {
        hub: hub(),
        channel: B256::from(U256::from(channel)),
        version,
        balance,
        deposited_seen: 0,
        withdrawn_seen: 0,
        epoch: version,
        branch: B256::ZERO,
        account_root: B256::ZERO,
    })
}

fn withdrawal(withdrawn: u128) -> Message {
    let owner = Signer::new([9; 32]).unwrap();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let mut it = Withdrawal {
        hub: hub(),
        terms: Terms {
            owner: owner.address(),
            cosigner: owner.address(),
            token: Address::repeat_byte(0x22),
            nonce: 0,
        },
        withdrawn,
        recipient: owner.address(),
        branch: B256::ZERO,
        deadline: now + 3600,
        owner_signature: None,
    };
    let digest = Message::Withdrawal(it.clone()).digest().unwrap();
    it.owner_signature = Some(owner.sign_digest(digest));
    Message::Withdrawal(it)
}

fn stand() -> Stand {
    Stand::new(&[env!("CARGO_BIN_EXE_ring0-signer").into()]).unwrap()
}

fn operator() -> Stand {
    let stand = stand();
    stand.init("signer", RULES).unwrap();
    stand.run("signer", &["key", "new", "operator"]).unwrap();
    stand
}

fn address(client: &mut Client) -> Address {
    client.keys().unwrap()[0].address
}

fn refusal(client: &mut Client, message: Message) -> Name {
    match client.sign_one("operator", message) {
        Err(ClientError::NotSigned(refusal)) => refusal.name,
        other => panic!("{other:?}"),
    }
}

/// Copies a folder as a backup tool does that knows nothing of it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let kind = file.file_type().unwrap();
        if kind.is_dir() {
            copy(&file.path(), &to.join(file.file_name()));
        } else if kind.is_file() {
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
}

#[test]
fn signs_refuses_and_remembers() {
    let mut stand = operator();
    let answer = stand
        .serve_with("signer", &["--metrics", "127.0.0.1:0"])
        .unwrap();
    let mut client = Client::connect(&stand.socket("signer")).unwrap();
    let operator = address(&mut client);
    let outcomes = client
        .sign(
            "operator",
            vec![state(1, 1, 5), state(1, 1, 6), state(2, 1, 7)],
        )
        .unwrap();
    let signature = |outcome: &Outcome, message: &Message| match outcome {
        Outcome::Ecdsa(it) => assert_eq!(it.recover(message.digest().unwrap()), Ok(operator)),
        other => panic!("{other:?}"),
    };
    signature(&outcomes[0], &state(1, 1, 5));
    assert!(matches!(&outcomes[1], Outcome::Refused(it) if it.name == Name::Signed));
    signature(&outcomes[2], &state(2, 1, 7));
    // What was asked of the wrong key, or is no request at all.
    assert!(
        matches!(client.sign_one("other", state(3, 1, 1)), Err(ClientError::NotSigned(it)) if it.name == Name::Key)
    );
    let mut raw = std::os::unix::net::UnixStream::connect(stand.socket("signer")).unwrap();
    raw.write_all(b"{\"verb\":\"sign\",\"key\":\"operator\",\"digest\":\"0x00\"}\nnot json\n{\"verb\":\"sign\",\"key\":\"operator\",\"messages\":[]}\n").unwrap();
    raw.shutdown(std::net::Shutdown::Write).unwrap();
    let mut said = String::new();
    raw.read_to_string(&mut said).unwrap();
    assert_eq!(
        said.lines()
            .filter(|it| it.starts_with("{\"ok\":false"))
            .count(),
        3,
        "{said}"
    );

    // The history has all of it, by every filter and in every form.
    let rows = |args: &[&str]| {
        let all = [&["history"], args].concat();
        let text = stand.run("signer", &all).unwrap();
        text.as_str().map_or(1, |text| text.lines().count())
    };
    assert_eq!(rows(&["--kind", "state", "--format", "jsonl"]), 4);
    assert_eq!(rows(&["--refused"]), 2);
    assert_eq!(rows(&["--key", "other", "--since", "1h"]), 1);
    let digest = state(1, 1, 5).digest().unwrap().to_string();
    assert_eq!(rows(&["--digest", &digest, "--format", "csv"]), 2);
    let verified = stand.run("signer", &["verify"]).unwrap();
    let status = stand.run("signer", &["status"]).unwrap();
    assert_eq!(
        (&verified["entries"], &verified["head"]),
        (&status["entries"], &status["head"])
    );

    // Numbers, over HTTP too.
    let mut http = std::net::TcpStream::connect(answer["metrics"].as_str().unwrap()).unwrap();
    http.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut page = String::new();
    http.read_to_string(&mut page).unwrap();
    for line in [
        "ring0_signer_signatures_total{key=\"operator\",kind=\"state\"} 2",
        "ring0_signer_refusals_total{name=\"already-signed\"} 1",
        "ring0_signer_refusals_total{name=\"key\"} 1",
        "ring0_signer_request_seconds_count 3",
        "ring0_signer_waiting 0",
    ] {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }

    // One switch, which outlives the process.
    stand.run("signer", &["stop"]).unwrap();
    assert_eq!(refusal(&mut client, state(1, 2, 5)), Name::Stopped);
    stand.kill("signer");
    stand.serve("signer").unwrap();
    let mut client = Client::connect(&stand.socket("signer")).unwrap();
    assert_eq!(refusal(&mut client, state(1, 2, 5)), Name::Stopped);
    stand.run("signer", &["resume"]).unwrap();
    client.sign_one("operator", state(1, 2, 5)).unwrap();

    // Nobody else: not another user, not a second process, not another passphrase.
    let second = stand.run("signer", &["key", "new", "more"]).unwrap_err();
    assert!(second.to_string().contains("in use"), "{second}");
    stand.kill("signer");
    let text = format!("users = [4242]\n{RULES}");
    fs::write(stand.home("signer").join("signer.toml"), text).unwrap();
    stand.serve("signer").unwrap();
    let mut client = Client::connect(&stand.socket("signer")).unwrap();
    let denied = client
        .sign("operator", vec![state(1, 3, 5)])
        .unwrap_err()
        .to_string();
    assert!(denied.contains("not among the users"), "{denied}");
    stand.kill("signer");
    stand.secret("passphrase", "another").unwrap();
    assert!(stand.serve("signer").is_err());
    fs::set_permissions(
        stand.folder().join("passphrase"),
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .unwrap();
    let open = stand.run("signer", &["key", "new", "more"]).unwrap_err();
    assert!(open.to_string().contains("others may read"), "{open}");
}

#[test]
fn a_rotated_key_signs_no_more_and_versions_go_on() {
    let mut stand = operator();
    stand.serve("signer").unwrap();
    let mut client = Client::connect(&stand.socket("signer")).unwrap();
    let former = address(&mut client);
    client.sign_one("operator", state(1, 1, 5)).unwrap();
    stand.kill("signer");
    stand.run("signer", &["key", "rotate", "operator"]).unwrap();
    let text = RULES.to_owned()
        + "[[key]]\nname = \"operator.1\"\nkinds = [\"state\"]\nhubs = [\"main\"]\nper_second = 10\n";
    stand.configure("signer", &text).unwrap();
    stand.serve("signer").unwrap();
    let mut client = Client::connect(&stand.socket("signer")).unwrap();
    let keys = client.keys().unwrap();
    let of = |name: &str| keys.iter().find(|it| it.name == name).unwrap();
    assert!(of("operator.1").retired && of("operator.1").address == former);
    assert!(!of("operator").retired && of("operator").address != former);
    // One state a version holds over the change of keys.
    assert_eq!(refusal(&mut client, state(1, 1, 6)), Name::Signed);
    let message = state(1, 2, 6);
    let signature = client.sign_one("operator", message.clone()).unwrap();
    assert_eq!(
        signature.recover(message.digest().unwrap()),
        Ok(of("operator").address)
    );
    let retired = client.sign_one("operator.1", state(1, 3, 6));
    assert!(matches!(retired, Err(ClientError::NotSigned(it)) if it.name == Name::Key));
}

#[test]
fn an_approver_says_yes_to_what_it_sees() {
    let mut stand = operator();
    stand.serve("signer").unwrap();
    let mut client = Client::connect(&stand.socket("signer")).unwrap();
    let large = withdrawal(101);
    let digest = large.digest().unwrap().to_string();
    assert_eq!(refusal(&mut client, large.clone()), Name::Approval);
    let wrong = stand.secret("wrong", &"07".repeat(32)).unwrap();
    let right = stand
        .secret("right", &format!("{}01", "00".repeat(31)))
        .unwrap();
    let approve = |digest: &str, key: &Path| {
        let key = key.to_str().unwrap();
        stand.run("signer", &["approve", digest, "--key", key, "--yes"])
    };
    let error = approve(&digest, &wrong).unwrap_err().to_string();
    assert!(error.contains("not among the approvers"), "{error}");
    let error = approve(&format!("0x{}", "ab".repeat(32)), &right)
        .unwrap_err()
        .to_string();
    assert!(error.contains("refused no request"), "{error}");
    assert_eq!(refusal(&mut client, large.clone()), Name::Approval);
    approve(&digest, &right).unwrap();
    client.sign_one("operator", large).unwrap();
}

/// A request of many states is killed as soon as its first bytes are in the history, which is before its answer. Asked again it gets the signatures; asked for others of
/// the same numbers it gets none.
#[test]
fn killed_between_the_disk_and_the_answer() {
    let mut stand = operator();
    let (mut caught, mut earlier) = (0, 0);
    for round in 1..=30_u64 {
        let socket = stand.serve("signer").unwrap();
        let messages = |balance: u128| {
            (0..1000)
                .map(|it| state(it, round, balance))
                .collect::<Vec<_>>()
        };
        let length = || {
            let files = fs::read_dir(stand.home("signer").join("history")).unwrap();
            files
                .map(|it| it.unwrap().metadata().unwrap().len())
                .sum::<u64>()
        };
        let before = length();
        let asking = {
            let (socket, messages) = (socket.clone(), messages(round.into()));
            std::thread::spawn(move || Client::connect(&socket).unwrap().sign("operator", messages))
        };
        let patience = Instant::now() + Duration::from_secs(30);
        while length() == before && Instant::now() < patience {
            std::thread::yield_now();
        }
        stand.kill("signer");
        let answered = asking.join().unwrap();
        let socket = stand.serve("signer").unwrap();
        let mut client = Client::connect(&socket).unwrap();
        let operator = address(&mut client);
        let written = stand
            .run("signer", &["history", "--kind", "state"])
            .unwrap();
        let written = written.as_str().map_or(0, |text| text.lines().count());
        // What is on the disk of this round: all of it, or what a cut write left.
        let on_disk = written as u64 - earlier;
        assert!(
            answered.is_err() || on_disk == 1000,
            "answered and {on_disk} on the disk"
        );
        // First others of the same numbers: whatever was on the disk is refused.
        let others = client
            .sign("operator", messages(u128::from(round) + 1_000_000))
            .unwrap();
        let refused = others
            .iter()
            .filter(|it| matches!(it, Outcome::Refused(it) if it.name == Name::Signed));
        assert_eq!(refused.count() as u64, on_disk);
        let again = client.sign("operator", messages(round.into())).unwrap();
        for (place, outcome) in again.iter().enumerate() {
            match outcome {
                Outcome::Ecdsa(signature) => {
                    let digest = messages(round.into())[place].digest().unwrap();
                    assert_eq!(signature.recover(digest), Ok(operator));
                    assert!((place as u64) < on_disk, "two states of one version");
                    if let Ok(answered) = &answered {
                        assert_eq!(answered[place], *outcome);
                    }
                }
                Outcome::Refused(refusal) => {
                    assert_eq!(refusal.name, Name::Signed);
                    assert!(place as u64 >= on_disk);
                }
                Outcome::Taproot(_) => panic!("a state is signed by ECDSA"),
            }
        }
        earlier = written as u64 + 2000;
        stand.run("signer", &["verify"]).unwrap();
        stand.kill("signer");
        caught += u32::from(answered.is_err() && on_disk > 0);
        if caught == 3 {
            return;
        }
    }
    panic!("no kill in thirty fell between the disk and the answer");
}

#[test]
fn a_store_of_yesterday_signs_nothing_until_it_is_restored() {
    let mut stand = operator();
    let socket = stand.serve("signer").unwrap();
    let mut client = Client::connect(&socket).unwrap();
    client.sign_one("operator", state(1, 1, 5)).unwrap();
    let backup = stand.folder().join("backup");
    stand
        .run("signer", &["backup", backup.to_str().unwrap()])
        .unwrap();
    let tape = stand.folder().join("tape");
    copy(&stand.home("signer"), &tape);
    let lost: Signature = client.sign_one("operator", state(1, 2, 7)).unwrap();
    let seen = client.seen().unwrap();
    stand.kill("signer");

    // The folder is put back by other means: its witness has seen more.
    fs::remove_dir_all(stand.home("signer")).unwrap();
    copy(&tape, &stand.home("signer"));
    stand.serve("signer").unwrap();
    let mut client = Client::connect(&socket).unwrap();
    assert_eq!(refusal(&mut client, state(1, 2, 8)), Name::Stale);
    assert_eq!(refusal(&mut client, state(9, 1, 8)), Name::Stale);
    assert!(stand.run("signer", &["resume"]).is_err());
    stand.kill("signer");

    // The witness went back with it: whoever asks has seen more.
    let witness = stand.folder().join("witness");
    let newest = fs::read(&witness).unwrap();
    stand.run("signer", &["restore"]).unwrap();
    let old_witness = fs::read(&witness).unwrap();
    assert_ne!(old_witness, newest);
    fs::remove_dir_all(stand.home("signer")).unwrap();
    copy(&tape, &stand.home("signer"));
    let rules = RULES.replace("witnesses = [\"../witness\"]", "");
    stand.configure("signer", &rules).unwrap();
    stand.serve("signer").unwrap();
    let mut client = Client::connect(&socket).unwrap();
    client.expect(seen);
    assert_eq!(refusal(&mut client, state(1, 2, 8)), Name::Stale);
    // It does not take over what the old copy tells of itself: it would believe it after its next start.
    assert_eq!(client.seen(), Some(seen));
    let mut other = Client::connect(&socket).unwrap();
    assert_eq!(refusal(&mut other, state(9, 1, 8)), Name::Stale);
    stand.kill("signer");

    // Restored from the backup as it should be: nothing that the lost one can have signed, and on above it.
    fs::remove_dir_all(stand.home("signer")).unwrap();
    let answer = stand
        .run("signer", &["restore", backup.to_str().unwrap()])
        .unwrap();
    let floor = answer["floor"].as_u64().unwrap();
    stand.serve("signer").unwrap();
    let mut client = Client::connect(&socket).unwrap();
    let operator = address(&mut client);
    for version in [1, 2, 3, floor] {
        let name = refusal(&mut client, state(1, version, 8));
        assert!([Name::Signed, Name::Floor].contains(&name), "{name:?}");
    }
    assert_eq!(refusal(&mut client, state(5, 1, 8)), Name::Floor);
    // The one that the backup knows is given again: it says nothing new.
    client.sign_one("operator", state(1, 1, 5)).unwrap();
    assert_eq!(refusal(&mut client, withdrawal(1)), Name::Approval);
    let next = state(1, floor + 1, 8);
    let patience = Instant::now() + Duration::from_secs(30);
    let signature = loop {
        // Time has to allow a number above the floor: a tenth of a second.
        match client.sign_one("operator", next.clone()) {
            Ok(signature) => break signature,
            Err(ClientError::NotSigned(it))
                if it.name == Name::Ahead && Instant::now() < patience =>
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(signature.recover(next.digest().unwrap()), Ok(operator));
    assert_ne!(signature, lost);
    // Who still believes in the lost history is told.
    client.expect(seen);
    assert_eq!(refusal(&mut client, state(1, floor + 2, 8)), Name::Stale);
}

#[test]
fn a_key_in_a_token_signs_as_hubs_take_it() {
    let mut stand = stand();
    let Some(module) = stand.soft_hsm().unwrap() else {
        println!("skipped: SoftHSM is not on this machine (Debian: softhsm2)");
        return;
    };
    let rules = format!("{RULES}{module}");
    stand.init("signer", &rules).unwrap();
    stand
        .run("signer", &["key", "new", "operator", "--backend", "pkcs11"])
        .unwrap();
    let socket = stand.serve("signer").unwrap();
    let mut client = Client::connect(&socket).unwrap();
    let operator = address(&mut client);
    let messages: Vec<_> = (0..100).map(|it| state(it, 1, 5)).collect();
    let outcomes = client.sign("operator", messages.clone()).unwrap();
    for (message, outcome) in messages.iter().zip(outcomes) {
        // `recover` refuses a high s; half of the token's are high.
        match outcome {
            Outcome::Ecdsa(it) => assert_eq!(it.recover(message.digest().unwrap()), Ok(operator)),
            other => panic!("{other:?}"),
        }
    }
    stand.kill("signer");
    stand.run("signer", &["key", "rotate", "operator"]).unwrap();
    stand.serve("signer").unwrap();
    let mut client = Client::connect(&socket).unwrap();
    let message = state(1, 2, 5);
    let signature = client.sign_one("operator", message.clone()).unwrap();
    let successor = client
        .keys()
        .unwrap()
        .into_iter()
        .find(|it| !it.retired)
        .unwrap();
    assert_ne!(successor.address, operator);
    assert_eq!(
        signature.recover(message.digest().unwrap()),
        Ok(successor.address)
    );
    stand.kill("signer");
    // Another token's PIN file, or none: it says so and does not start.
    fs::remove_file(stand.folder().join("pin")).unwrap();
    assert!(stand.serve("signer").is_err());
}
