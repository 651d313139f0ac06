//! How far the venue's audit logs are, for the next batch to have it under its root (CUSTODY 19).
//!
//! Always true: under one name a log only grows. A log that was cut, or restored from an older copy, gets another name, and what the batches have of
//! the old one stays.

use super::*;

impl Desk {
    /// The heads for the next batch: this daemon's own log, as far as it is on the disk, and what others told of theirs.
    pub(super) fn audit_heads(&self) -> Heads {
        let own = LogHead {
            name: OWN_LOG.to_owned(),
            entries: self.audit.entries(),
            head: B256::new(self.audit.head().0),
        };
        let mut heads = self.told_heads.clone();
        if let Err(error) = heads.set(own) {
            // There is always room for it: others are taken only beside it.
            tracing::error!(%error, "the audit log is in no batch");
        }
        heads
    }

    /// Another process tells how far its log is.
    pub(super) fn audit_head(&mut self, told: LogHead) -> Result<Value, Failed> {
        if told.name == OWN_LOG {
            return no(format!(
                "{OWN_LOG:?} is this daemon's own log; give yours another name"
            ));
        }
        if let Some(known) = self.told_heads.get(&told.name) {
            let is_other = told.entries == known.entries && told.head != known.head;
            if is_other || told.entries < known.entries {
                return no(format!(
                    "the log {:?} had {} entries and the head {}, and is told now with {} and {}: it was cut, written anew or restored from an older copy; \
                     look into it, and give what there is now another name",
                    told.name, known.entries, known.head, told.entries, told.head
                ));
            }
        }
        let mut heads = self.audit_heads();
        if let Err(error) = heads.set(told) {
            return no(error);
        }
        self.told_heads = heads;
        Ok(json!({ "ok": true }))
    }

    /// Whether this daemon's own log is at least as long as the last batch has it.
    pub(super) fn look_at_own_log(&mut self) {
        let signed = self.book.audit_heads.get(OWN_LOG).map(|it| it.entries);
        let has = self.audit.entries();
        let short = signed.filter(|signed| *signed > has);
        let why = short.map(|signed| {
            format!(
                "audit.log has {has} entries and the last batch says {signed}: it was cut or restored from an older copy; look into it, and bring back the whole one"
            )
        });
        self.trouble("audit log".to_owned(), why);
    }
}
