//! The export into a PostgreSQL of its own, Debian's, on a socket in a folder that goes again; its sums are compared by SQL.

mod naive;
#[path = "world/mod.rs"]
mod small;

use naive::seed;
use ring0_settlement::{AccountId, AssetId, Epoch, Records, Settlement, export};
use small::{ACCOUNTS, Event, SHARDS, World, venue};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server that ends with its value.
struct Server {
    bin: PathBuf,
    folder: PathBuf,
    user: Option<(u32, u32)>,
    child: Option<Child>,
}

/// Debian's newest.
fn programs() -> PathBuf {
    let all = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let with = |it: PathBuf| {
        it.join("bin")
            .join("initdb")
            .exists()
            .then(|| it.join("bin"))
    };
    let mut all: Vec<PathBuf> = all.filter_map(|it| with(it.ok()?.path())).collect();
    all.sort();
    all.pop()
        .expect("PostgreSQL's server is missing: apt-get install postgresql")
}

/// The user that it runs as: it refuses root.
fn user() -> Option<(u32, u32)> {
    let own = std::fs::metadata("/proc/self").ok()?;
    if std::os::unix::fs::MetadataExt::uid(&own) != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let of = |name: &str| {
        let line = users
            .lines()
            .find(|it| it.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    of("postgres").or_else(|| of("nobody"))
}

impl Server {
    fn start(folder: &Path) -> Server {
        let mut server = Server {
            bin: programs(),
            folder: folder.to_owned(),
            user: user(),
            child: None,
        };
        if let Some((user, group)) = server.user {
            chown(folder, Some(user), Some(group)).unwrap();
        }
        let data = folder.join("data");
        let made = server
            .command("initdb")
            .args(["--auth=trust", "--no-sync", "-U", "ring0", "-D"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let child = server
            .command("postgres")
            .args(["-c", "fsync=off", "-c", "listen_addresses=", "-k"])
            .arg(folder)
            .arg("-D")
            .arg(&data)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        server.child = Some(child);
        let begun = Instant::now();
        loop {
            let asked = server.psql().args(["-c", "SELECT 1"]).output().unwrap();
            if asked.status.success() {
                return server;
            }
            assert!(begun.elapsed() < Duration::from_secs(120), "{asked:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.current_dir(&self.folder);
        if let Some((user, group)) = self.user {
            command.gid(group).uid(user);
        }
        command
    }

    fn psql(&self) -> Command {
        let mut psql = self.command("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]);
        psql.args(["-U", "ring0", "-d", "postgres", "-h"]);
        psql.arg(&self.folder);
        psql
    }

    fn ask(&self, query: &str) -> Vec<String> {
        let asked = self.psql().args(["-c", query]).output().unwrap();
        assert!(asked.status.success(), "{query}: {asked:?}");
        let text = String::from_utf8(asked.stdout).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn run(&self, script: &[u8]) {
        let path = self.folder.join("export.sql");
        std::fs::write(&path, script).unwrap();
        let ran = self.psql().arg("-f").arg(&path).output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let data = self.folder.join("data");
            let stopped = self
                .command("pg_ctl")
                .args(["stop", "-m", "fast", "-w", "-D"])
                .arg(data)
                .output();
            if !stopped.is_ok_and(|it| it.status.success()) {
                let _ = child.kill();
            }
            let _ = child.wait();
        }
    }
}

struct Nothing;

impl Records for Nothing {
    fn next(&mut self) -> Result<Option<&[u8]>, ring0_journal::JournalError> {
        Ok(None)
    }
}

#[test]
fn a_database_has_the_same_sums() {
    let mut world = World::new(seed());
    let folder = tempfile::tempdir().unwrap();
    let mut settlement = Settlement::open(folder.path(), venue()).unwrap();
    settlement
        .catch_up(&mut [&mut Nothing, &mut Nothing])
        .unwrap();
    let mut taken = 0;
    let mut go_on = |settlement: &mut Settlement, steps: u64| {
        for step in 1..=steps {
            world.step(settlement.ledger());
            if step % 20 == 0 {
                world.cut(settlement.ledger());
            }
            let mut facts = Vec::new();
            for event in &world.events[taken..] {
                match event {
                    Event::Record(shard, bytes) => {
                        settlement.put_all(std::mem::take(&mut facts)).unwrap();
                        settlement.take(SHARDS[*shard], bytes).unwrap();
                    }
                    Event::Fact(fact) => facts.push(fact.clone()),
                }
            }
            settlement.put_all(facts).unwrap();
            taken = world.events.len();
        }
    };
    go_on(&mut settlement, 400);

    let database = tempfile::tempdir().unwrap();
    let server = Server::start(database.path());
    let mut script = Vec::new();
    let exported = export::script(&mut settlement, Epoch(1), &mut script).unwrap();
    assert_eq!(exported.batches, 20);
    assert!(exported.lines > 50 && exported.books > 20, "{exported:?}");
    server.run(&script);
    server.run(&script); // again: nothing doubles

    // Goes on where the database ends.
    go_on(&mut settlement, 200);
    let last = server.ask("SELECT max(epoch) FROM ring0.batch");
    let last = Epoch(last[0].parse::<u64>().unwrap());
    let mut script = Vec::new();
    let more = export::script(&mut settlement, last.next(), &mut script).unwrap();
    server.run(&script);
    let counted = server.ask("SELECT count(*) FROM ring0.line");
    assert_eq!(counted, [(exported.lines + more.lines).to_string()]);
    let counted = server.ask("SELECT count(*) FROM ring0.batch");
    assert_eq!(counted, [settlement.ledger().epoch().0.to_string()]);

    // Lines sum to the balances of the last cut.
    let sums = server.ask(
        "SELECT account, asset, sum(amount) FROM ring0.line WHERE counts GROUP BY 1, 2 HAVING sum(amount) <> 0 ORDER BY 1, 2",
    );
    let mut expected = Vec::new();
    for account in 0..ACCOUNTS {
        for asset in settlement.ledger().venue().asset_ids() {
            let ledger = settlement.ledger();
            match ledger.balance_at_cut(AccountId(account), asset) {
                0 => {}
                has => expected.push(format!("{account}|{}|{has}", asset.0)),
            }
        }
    }
    assert_eq!(sums, expected);
    // And to each batch's stored balances.
    let wrong = server.ask(
        "SELECT count(*) FROM ring0.closing c WHERE balance <> (SELECT coalesce(sum(amount), 0) FROM ring0.line l \
         WHERE counts AND l.account = c.account AND l.asset = c.asset AND l.epoch <= c.epoch)",
    );
    assert_eq!(wrong, ["0"]);
    // The trial balance is zero, and customers' books are what is owed to them.
    let zero = server.ask("SELECT DISTINCT sum(amount) FROM ring0.book GROUP BY asset");
    assert_eq!(zero, ["0"]);
    let owed = server.ask(
        "SELECT sum(amount) FROM ring0.book WHERE class = 'customer' GROUP BY asset ORDER BY asset",
    );
    let control: Vec<String> = settlement
        .ledger()
        .control()
        .iter()
        .map(i128::to_string)
        .collect();
    assert_eq!(owed, control);
    let fees = server.ask("SELECT sum(amount) FROM ring0.fee WHERE asset = 0");
    let of = settlement.ledger().fees();
    let own: i128 = of
        .filter(|(it, ..)| it.asset == AssetId(0))
        .map(|(.., it)| it)
        .sum();
    assert_eq!(fees, [own.to_string()]);
    println!("{exported:?}, then {more:?}");
}
