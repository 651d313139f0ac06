//! The follower: a thread that takes every batch behind the publisher's back, keeps the picture for snapshots and writes the
//! journal, so that neither a large snapshot nor a slow disk holds a packet up.

use crate::batch::Batch;
use crate::counters::{Counters, add};
use crate::history::Journal;
use crate::picture::Picture;
use ring0_itch::mold::Session;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};

/// What the follower is told. Batches come in the order in which they are published.
pub(crate) enum Note {
    /// A session begins.
    Begin(Session),
    /// The next batch of it.
    Batch(Arc<Batch>),
    /// A session has ended.
    End(Session),
    /// Somebody wants a snapshot of what stands now.
    Ask(Sender<Snapshot>),
    /// The feed ends.
    Stop,
}

/// A snapshot that several clients may be sent.
#[derive(Clone)]
pub(crate) struct Snapshot {
    pub(crate) session: Session,
    pub(crate) bytes: Arc<Vec<u8>>,
}

/// The journal, shared with the re-request server.
pub(crate) type SharedJournal = Arc<Mutex<Box<dyn Journal>>>;

/// Runs until [`Note::Stop`], or until nobody can say anything any more.
pub(crate) fn follow(
    notes: &Receiver<Note>,
    mut picture: Picture,
    journal: Option<&SharedJournal>,
    counters: &Counters,
) {
    // The last snapshot made, while nothing has happened since.
    let mut made: Option<Snapshot> = None;
    let mut complained = false;
    let mut journalled = |write: &dyn Fn(&mut dyn Journal) -> std::io::Result<()>| {
        let Some(journal) = journal else {
            return;
        };
        let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = write(&mut **journal) {
            add(&counters.journal_errors, 1);
            if !complained {
                eprintln!(
                    "ring0 feed: the journal fails, and is tried again with each batch: {error}"
                );
                complained = true;
            }
        }
    };
    while let Ok(note) = notes.recv() {
        match note {
            Note::Begin(session) => {
                picture = Picture::new(session, 1);
                made = None;
            }
            Note::Batch(batch) => {
                picture.apply(&batch);
                made = None;
                journalled(&|journal| journal.append(&batch));
            }
            Note::End(session) => journalled(&|journal| journal.end(session)),
            Note::Ask(answer) => {
                let snapshot = made.get_or_insert_with(|| Snapshot {
                    session: picture.session(),
                    bytes: Arc::new(picture.snapshot()),
                });
                let _ = answer.send(snapshot.clone()); // a client that has gone meanwhile
            }
            Note::Stop => return,
        }
    }
}
