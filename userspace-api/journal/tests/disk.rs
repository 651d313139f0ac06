//! A disk that is really full, and processes that are really killed.

mod stand;

use ring0_journal::{Journal, JournalError, Options, verify};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use stand::{IDENTITY, Random, open, options, read_all, records};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

/// A small file system in memory, gone with the value.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None`, and why on the error output, without the privilege.
    fn new(bytes: &str) -> Option<SmallDisk> {
        let folder = tempfile::tempdir().unwrap();
        let options = std::ffi::CString::new(format!("size={bytes}")).unwrap();
        match mount(
            "tmpfs",
            folder.path(),
            "tmpfs",
            MountFlags::empty(),
            options.as_c_str(),
        ) {
            Ok(()) => Some(SmallDisk(folder)),
            Err(error) => {
                eprintln!("skipped: mounting a small tmpfs needs root: {error}");
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Err(error) = unmount(self.0.path(), UnmountFlags::empty()) {
            eprintln!("cannot unmount {}: {error}", self.0.path().display());
        }
    }
}

#[test]
fn a_full_disk_stops_it_at_once_and_with_room_it_goes_on() {
    let Some(disk) = SmallDisk::new("200k") else {
        return;
    };
    let folder = disk.0.path().join("journal");
    let filler = disk.0.path().join("filler");
    // Some of the room is somebody else's.
    std::fs::write(&filler, vec![1; 60 << 10]).unwrap();
    let mut journal = open(&folder, 8).unwrap();
    let (mut next, mut durable) = (1, 0);
    let error = loop {
        let count = 1 + next % 7;
        let result = journal
            .append(&records(next..next + count))
            .and_then(|_| journal.sync());
        next += count;
        match result {
            Ok(now) => durable = now.next_sequence,
            Err(error) => break error,
        }
        assert!(next < 10_000, "the disk is never full");
    };
    let JournalError::Failed(failure) = &error else {
        panic!("{error}")
    };
    assert_eq!(failure.source.raw_os_error(), Some(28), "{failure}");
    assert!(error.to_string().contains("make room"), "{error}");
    let before = stand::content(&folder);
    let again = journal.append(&records(next..next + 1)).unwrap_err();
    assert_eq!(again.to_string(), error.to_string());
    assert!(
        stand::content(&folder) == before,
        "nothing more was written"
    );
    drop(journal);

    // A new process, still without room: it says so, or finds the room that is there; what was durable can be read.
    assert_eq!(read_all(&folder).unwrap(), durable);
    std::fs::remove_file(&filler).unwrap();
    let mut journal = open(&folder, 8).unwrap();
    assert_eq!(journal.durable().next_sequence, durable);
    stand::block(&mut journal, durable..durable + 50);
    drop(journal);
    assert_eq!(verify(&folder).unwrap().next_sequence, durable + 50);
}

const CHILD: &str = "RING0_JOURNAL_TEST_CHILD";

/// The writing process: appends at its own pace and says after each sync how far it is durable.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(CHILD) else {
        return;
    };
    let options = Options {
        sync_bytes: 3_000,
        sync_after: Duration::from_micros(300),
        ..options(16)
    };
    let mut journal = Journal::open(Path::new(&folder), &IDENTITY, 0, options).unwrap();
    let mut out = std::io::stdout();
    let mut next = journal.durable().next_sequence.max(1);
    let mut said = 0;
    loop {
        let count = 1 + next % 9;
        let durable = journal.append(&records(next..next + count)).unwrap();
        next += count;
        if durable.next_sequence != said {
            said = durable.next_sequence;
            out.write_all(format!("durable {said}\n").as_bytes())
                .unwrap();
            out.flush().unwrap();
        }
    }
}

#[test]
fn a_killed_writer_keeps_what_it_said() {
    let seed = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_nanos() as u64;
    println!("seed {seed}");
    let mut random = Random(seed);
    let folder = tempfile::tempdir().unwrap();
    let mut before = 1;
    for round in 0..30 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut durable = 0;
        let read = |line: String| line.strip_prefix("durable ").and_then(|it| it.parse().ok());
        // At least one sync, then a random time more.
        while durable == 0 {
            let line = lines.next().expect("the child writes").unwrap();
            durable = read(line).unwrap_or(0);
        }
        std::thread::sleep(Duration::from_micros(random.below(20_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines {
            durable = read(line.unwrap()).unwrap_or(durable);
        }
        let found =
            read_all(folder.path()).unwrap_or_else(|e| panic!("round {round}, seed {seed}: {e}"));
        assert!(
            found >= durable,
            "round {round}, seed {seed}: {found} of {durable}"
        );
        assert!(durable > before, "round {round}, seed {seed}: it goes on");
        let journal =
            open(folder.path(), 16).unwrap_or_else(|e| panic!("round {round}, seed {seed}: {e}"));
        assert_eq!(
            journal.durable().next_sequence,
            found,
            "round {round}, seed {seed}"
        );
        before = found;
    }
    assert!(verify(folder.path()).unwrap().segments > 3);
}
