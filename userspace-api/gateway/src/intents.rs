//! Which client order id became which order: written down before the order is sent.
//!
//! Always true: an order is sent only after its intent is on the disk, so the same client order id sent again, after a lost answer or a crash of
//! this process, never enters a second order. Intents of all sessions are written together, one sync for as many as wait.
//! Why so: `docs/decisions/0084-gateway-orders.md`.

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use ring0_wire::SessionId;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Account and client order id: session, reference, time, digest of what was asked.
const INTENTS: TableDefinition<(u32, &str), &[u8]> = TableDefinition::new("intents");

/// Letters of a client order id at the most.
pub const CLIENT_ORDER_ID_MAX: usize = 36;

/// Intents written in one go at the most.
const BATCH: usize = 1_024;

/// Why intents cannot be kept.
#[derive(Debug, thiserror::Error)]
#[error("the store of client order ids {path} cannot be {act}: {source}; without it no order is sent", path = .path.display())]
pub struct IntentError {
    path: PathBuf,
    act: &'static str,
    source: redb::Error,
}

/// What a client order id stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Intent {
    /// The session that sends it.
    pub session: SessionId,
    /// The session's reference.
    pub reference: u32,
    /// Unix time in nanoseconds.
    pub time_ns: u64,
    /// First half of the SHA-256 of what was asked: the same id for other terms is refused.
    pub digest: [u8; 16],
}

const INTENT_BYTES: usize = 10 + 4 + 8 + 16;

impl Intent {
    fn bytes(&self) -> [u8; INTENT_BYTES] {
        let mut bytes = [0; INTENT_BYTES];
        bytes[..10].copy_from_slice(&self.session.0);
        bytes[10..14].copy_from_slice(&self.reference.to_le_bytes());
        bytes[14..22].copy_from_slice(&self.time_ns.to_le_bytes());
        bytes[22..].copy_from_slice(&self.digest);
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Intent> {
        let bytes: &[u8; INTENT_BYTES] = bytes.try_into().ok()?;
        Some(Intent {
            session: SessionId(std::array::from_fn(|at| bytes[at])),
            reference: u32::from_le_bytes(std::array::from_fn(|at| bytes[10 + at])),
            time_ns: u64::from_le_bytes(std::array::from_fn(|at| bytes[14 + at])),
            digest: std::array::from_fn(|at| bytes[22 + at]),
        })
    }
}

/// In memory, both ways round.
#[derive(Debug, Default)]
struct Known {
    by_client: HashMap<(u32, Arc<str>), Intent>,
    by_order: HashMap<(SessionId, u32), Arc<str>>,
}

impl Known {
    fn insert(&mut self, account: u32, client: &Arc<str>, intent: Intent) {
        let before = self.by_client.insert((account, Arc::clone(client)), intent);
        if let Some(before) = before {
            self.by_order.remove(&(before.session, before.reference));
        }
        self.by_order
            .insert((intent.session, intent.reference), Arc::clone(client));
    }
}

/// Account, client order id, what it stands for.
type Named = (u32, Arc<str>, Intent);

struct Put {
    intents: Vec<Named>,
    done: oneshot::Sender<Result<(), Arc<IntentError>>>,
}

/// See the module.
pub struct Intents {
    path: PathBuf,
    known: Arc<RwLock<Known>>,
    puts: Option<std::sync::mpsc::Sender<Put>>,
    writer: Option<JoinHandle<()>>,
}

impl Intents {
    /// Opens the store, or makes it, and forgets what is older than `keep_s` seconds.
    ///
    /// # Errors
    /// The file system's, or the file is none of ours.
    pub fn open(path: &Path, now_ns: u64, keep_s: u64) -> Result<Intents, IntentError> {
        let failed = |act| {
            move |source: redb::Error| IntentError {
                path: path.to_owned(),
                act,
                source,
            }
        };
        let database = Database::create(path).map_err(|it| failed("opened")(it.into()))?;
        let oldest = now_ns.saturating_sub(keep_s.saturating_mul(1_000_000_000));
        forget(&database, oldest).map_err(failed("cleaned"))?;
        let known = Arc::new(RwLock::new(read_all(&database).map_err(failed("read"))?));
        let (puts, taken) = std::sync::mpsc::channel::<Put>();
        let own = path.to_owned();
        let (path, memory) = (own.clone(), Arc::clone(&known));
        let writer = std::thread::spawn(move || {
            while let Ok(first) = taken.recv() {
                let mut intents = first.intents.len();
                let mut batch = vec![first];
                while let Some(more) = (intents < BATCH).then(|| taken.try_recv().ok()).flatten() {
                    intents += more.intents.len();
                    batch.push(more);
                }
                write(&database, &path, &memory, batch);
            }
        });
        Ok(Intents {
            path: own,
            known,
            puts: Some(puts),
            writer: Some(writer),
        })
    }

    fn known(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an account's client order id stands for.
    #[must_use]
    pub fn find(&self, account: u32, client: &str) -> Option<Intent> {
        let key = (account, Arc::from(client));
        self.known().by_client.get(&key).copied()
    }

    /// The client order id of a session's reference.
    #[must_use]
    pub fn client(&self, session: SessionId, reference: u32) -> Option<Arc<str>> {
        self.known().by_order.get(&(session, reference)).cloned()
    }

    /// The highest reference that was meant for a session; 0: none.
    #[must_use]
    pub fn last_reference(&self, session: SessionId) -> u32 {
        let known = self.known();
        let those = known.by_order.keys().filter(|(of, _)| *of == session);
        those.map(|(_, reference)| *reference).max().unwrap_or(0)
    }

    /// The writer has ended, which only a panic makes it do.
    fn gone(&self) -> IntentError {
        IntentError {
            path: self.path.clone(),
            act: "written",
            source: redb::Error::Io(std::io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Writes intents down; they are on the disk when it comes back. Blocks.
    ///
    /// # Errors
    /// They may not be.
    pub fn put(&self, intents: Vec<Named>) -> Result<(), Arc<IntentError>> {
        if intents.is_empty() {
            return Ok(());
        }
        let (done, wait) = oneshot::channel();
        if let Some(puts) = &self.puts {
            let _ = puts.send(Put { intents, done }); // else the wait says it
        }
        wait.blocking_recv()
            .unwrap_or_else(|_| Err(Arc::new(self.gone())))
    }
}

impl Drop for Intents {
    fn drop(&mut self) {
        self.puts = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join(); // its panic has been printed
        }
    }
}

fn forget(database: &Database, oldest_ns: u64) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    {
        let mut table = write.open_table(INTENTS)?;
        table.retain(|_, value| Intent::read(value).is_some_and(|it| it.time_ns >= oldest_ns))?;
    }
    write.commit()?;
    Ok(())
}

fn read_all(database: &Database) -> Result<Known, redb::Error> {
    let mut known = Known::default();
    let table = database.begin_read()?.open_table(INTENTS)?;
    for entry in table.iter()? {
        let (key, value) = entry?;
        let (account, client) = key.value();
        if let Some(intent) = Intent::read(value.value()) {
            known.insert(account, &Arc::from(client), intent);
        }
    }
    Ok(known)
}

fn write(database: &Database, path: &Path, known: &RwLock<Known>, batch: Vec<Put>) {
    let commit = || -> Result<(), redb::Error> {
        let write = database.begin_write()?;
        {
            let mut table = write.open_table(INTENTS)?;
            for (account, client, intent) in batch.iter().flat_map(|put| &put.intents) {
                table.insert((*account, &**client), &intent.bytes()[..])?;
            }
        }
        write.commit()?;
        Ok(())
    };
    let done = commit().map_err(|source| {
        Arc::new(IntentError {
            path: path.to_owned(),
            act: "written",
            source,
        })
    });
    if done.is_ok() {
        let mut known = known.write().unwrap_or_else(PoisonError::into_inner);
        for (account, client, intent) in batch.iter().flat_map(|put| &put.intents) {
            known.insert(*account, client, *intent);
        }
    }
    for put in batch {
        let _ = put.done.send(done.clone()); // whoever asked has gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_known_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("intents.redb");
        let session = SessionId::new(3, 4).unwrap();
        let intent = |reference, time_s: u64| Intent {
            session,
            reference,
            time_ns: time_s * 1_000_000_000,
            digest: [reference as u8; 16],
        };
        let intents = Intents::open(&path, 0, 100).unwrap();
        let put = |intents: &Intents, client: &str, intent| {
            intents.put(vec![(7, Arc::from(client), intent)]).unwrap();
        };
        put(&intents, "a", intent(1, 10));
        put(&intents, "b", intent(2, 200));
        drop(intents);
        let intents = Intents::open(&path, 250_000_000_000, 100).unwrap();
        assert_eq!(intents.find(7, "a"), None, "too old");
        assert_eq!(intents.find(7, "b"), Some(intent(2, 200)));
        assert_eq!(intents.find(8, "b"), None, "another account's");
        assert_eq!(intents.client(session, 2).as_deref(), Some("b"));
        assert_eq!(intents.last_reference(session), 2);
        put(&intents, "b", intent(3, 201));
        assert_eq!(intents.client(session, 2), None);
        assert_eq!(intents.client(session, 3).as_deref(), Some("b"));
    }
}
