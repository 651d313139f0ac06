//! Full disks, disks that fail and machines that die, at every operation and at random: what was said to be durable is there.

mod stand;

use proptest::prelude::*;
use ring0_journal::{Journal, JournalError};
use stand::{Fault, Faulty, IDENTITY, Random, open, options, read_all, records};
use std::path::Path;

const PAGES: u64 = 3;

/// Opens through a storage that fails, appends and syncs until it does; gives the sequence behind what was said to be durable, and
/// the one behind what was taken.
fn write_until_it_fails(storage: &Faulty, folder: &Path, end: u64) -> (u64, u64) {
    let journal = Journal::open_in(storage.clone(), folder, &IDENTITY, 0, options(PAGES));
    let mut journal = match journal {
        Ok(journal) => journal,
        Err(error) => {
            assert!(matches!(error, JournalError::Failed(_)), "{error}");
            return (0, 1);
        }
    };
    let mut durable = journal.durable().next_sequence;
    let mut next = durable.max(1);
    let mut first_error = None;
    while next < end {
        let count = 1 + next % 4;
        let result = journal
            .append(&records(next..next + count))
            .and_then(|_| journal.sync());
        next += count;
        match result {
            Ok(now) => durable = now.next_sequence,
            Err(error) => {
                first_error = Some(error.to_string());
                break;
            }
        }
    }
    if let Some(first) = first_error {
        // No second try of anything, and the first reason is said again.
        let tried = storage.tried_after();
        for _ in 0..3 {
            let errors = [
                journal.append(&records(next..next + 1)).unwrap_err(),
                journal.sync().unwrap_err(),
                journal.sync_if_due().unwrap_err(),
            ];
            for error in errors {
                assert_eq!(error.to_string(), first);
            }
        }
        assert_eq!(journal.failure().unwrap().to_string(), first);
        assert_eq!(journal.close().unwrap_err().to_string(), first);
        assert_eq!(tried, 0, "something was written after a failure");
        assert_eq!(storage.tried_after(), 0);
    }
    (durable, next)
}

/// What a new process finds: all that was durable, nothing that was not taken, and it goes on.
fn goes_on(folder: &Path, durable: u64, taken: u64, case: &str) -> u64 {
    let mut journal = open(folder, PAGES).unwrap_or_else(|error| panic!("{case}: {error}"));
    let found = journal.durable().next_sequence;
    assert!(
        (durable..=taken).contains(&found) || (found, durable) == (0, 0),
        "{case}: {found} is not between {durable} and {taken}"
    );
    let next = found.max(1);
    stand::block(&mut journal, next..next + 2);
    journal.close().unwrap();
    assert_eq!(read_all(folder).unwrap(), next + 2, "{case}");
    next + 2
}

#[test]
fn every_operation_fails_once() {
    for fault in [Fault::Io, Fault::NoSpace] {
        for operations in 0.. {
            let folder = tempfile::tempdir().unwrap();
            let storage = Faulty::new(fault, operations);
            let (durable, taken) = write_until_it_fails(&storage, folder.path(), 60);
            let case = format!("{fault:?} at operation {operations}");
            goes_on(folder.path(), durable, taken, &case);
            if !storage.has_failed() {
                assert!(operations > 60, "{operations} operations for five segments");
                break;
            }
        }
    }
}

#[test]
fn the_machine_dies_at_every_operation() {
    let mut random = Random(0xD1E5);
    for fault in [Fault::Io, Fault::NoSpace] {
        for operations in 0.. {
            let folder = tempfile::tempdir().unwrap();
            let storage = Faulty::new(fault, operations);
            let (durable, taken) = write_until_it_fails(&storage, folder.path(), 60);
            storage.crash(&mut random);
            let case = format!("crash with {fault:?} at operation {operations}, seed 0xD1E5");
            let next = goes_on(folder.path(), durable, taken, &case);
            // And once more, while it opens what was left.
            let storage = Faulty::new(fault, operations % 17);
            let (durable, taken) = write_until_it_fails(&storage, folder.path(), next + 20);
            storage.crash(&mut random);
            goes_on(folder.path(), durable.max(next), taken.max(next), &case);
            if operations > 120 {
                break;
            }
        }
    }
}

#[test]
fn what_a_failed_sync_gave_up_is_written_again_before_it_is_believed() {
    let mut random = Random(0xFA11);
    let mut found_more = 0;
    for operations in 0..90 {
        let folder = tempfile::tempdir().unwrap();
        let storage = Faulty::new(Fault::Io, operations);
        let (durable, taken) = write_until_it_fails(&storage, folder.path(), 60);
        // A new process on the same machine finds the block that was not synced, in the kernel's memory, and says it is durable.
        let next = storage.next_process(u64::MAX);
        let opened = Journal::open_in(next.clone(), folder.path(), &IDENTITY, 0, options(PAGES));
        let said = opened.unwrap().durable().next_sequence;
        assert!(said >= durable);
        found_more += u64::from(said > durable);
        // Then it must be there when the machine dies.
        next.crash(&mut random);
        let case = format!("operation {operations}, seed 0xFA11");
        goes_on(folder.path(), said, taken, &case);
    }
    assert!(
        found_more > 5,
        "a failed sync left a whole block {found_more} times"
    );
}

#[derive(Clone, Debug)]
enum Act {
    /// Append so many records.
    Append(u64),
    Sync,
    /// The process ends without a word; the machine lives.
    Kill,
    /// From here so many operations until one fails; then the machine dies.
    Die(u64, u64),
    Close,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (1_u64..60).prop_map(Act::Append),
        4 => Just(Act::Sync),
        1 => Just(Act::Kill),
        2 => (0_u64..25, any::<u64>()).prop_map(|(operations, seed)| Act::Die(operations, seed)),
        1 => Just(Act::Close),
    ]
}

/// The model: sequences taken and not yet known to be lost, and those said to be durable.
#[derive(Debug, Default)]
struct Model {
    taken: u64,
    durable: u64,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_journal_is_its_model(acts in prop::collection::vec(act(), 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        let mut model = Model { taken: 1, durable: 1 };
        let mut storage = Faulty::new(Fault::Io, u64::MAX);
        let mut seed = 0;
        let mut journal = None;
        for act in acts {
            if let Act::Die(operations, with) = act {
                // What is open goes on with the storage that it has; the next one dies.
                drop(journal.take());
                (storage, seed) = (Faulty::new(Fault::Io, operations), with);
            }
            if journal.is_none() {
                let opened = Journal::open_in(storage.clone(), folder.path(), &IDENTITY, 0, options(PAGES));
                match opened {
                    Ok(opened) => {
                        let found = opened.durable().next_sequence.max(1);
                        prop_assert!((model.durable..=model.taken).contains(&found), "{found} of {model:?}");
                        model = Model { taken: found, durable: found };
                        journal = Some(opened);
                    }
                    Err(error) => prop_assert!(storage.has_failed(), "{error}"),
                }
            }
            if let Some(open) = &mut journal {
                let result = match act {
                    Act::Append(count) => {
                        let end = model.taken + count;
                        let result = open.append(&records(model.taken..end));
                        model.taken = end;
                        Some(result)
                    }
                    Act::Sync => Some(open.sync()),
                    Act::Close => journal.take().map(Journal::close),
                    Act::Kill => {
                        journal = None;
                        None
                    }
                    Act::Die(..) => None,
                };
                match result {
                    Some(Ok(durable)) => {
                        let durable = durable.next_sequence.max(1);
                        prop_assert!((model.durable..=model.taken).contains(&durable));
                        model.durable = durable;
                    }
                    Some(Err(error)) => prop_assert!(storage.has_failed(), "{error}"),
                    None => {}
                }
            }
            if storage.has_failed() {
                prop_assert_eq!(storage.tried_after(), 0);
                drop(journal.take());
                storage.crash(&mut Random(seed));
                storage = Faulty::new(Fault::Io, u64::MAX);
            }
        }
        drop(journal);
        let opened = open(folder.path(), PAGES).unwrap();
        let found = opened.durable().next_sequence.max(1);
        prop_assert!((model.durable..=model.taken).contains(&found), "{found} of {model:?}");
        drop(opened);
        prop_assert_eq!(read_all(folder.path()).unwrap(), found);
    }
}
