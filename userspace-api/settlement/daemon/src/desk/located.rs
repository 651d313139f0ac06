//! What a search has found out about an asset that stands still: journaled, audited, told.

use super::*;

impl Desk {
    /// A search says where the figures of an asset part.
    pub(super) fn located(&mut self, asset: AssetId, first: &str) -> Result<(), DeskError> {
        // Cleared meanwhile: the next cut says whether it still differs, and is searched itself.
        if self.book.controls.halted(asset.0).is_none() {
            return Ok(());
        }
        let name = self.config.asset_name(asset.0).to_owned();
        tracing::error!(asset = name, first, "where the figures part");
        let why = format!("first: {first}");
        self.audits.push(Audited {
            at: now_s(),
            user: None,
            request: json!({ "verb": "locate", "asset": name }),
            outcome: why.clone(),
        });
        self.write(Entry::Halted {
            asset: asset.0,
            why,
        })
    }

    /// What the ledger is given to compare a cut with.
    pub(super) fn elsewhere(&self, pending: &Pending) -> Elsewhere {
        let live = match pending.moved {
            true => BTreeMap::new(),
            false => pending.live.clone(),
        };
        let states = pending.states.iter();
        Elsewhere {
            figures: pending.figures.clone(),
            live,
            states: states.map(|it| (it.channel, it.balance)).collect(),
            halted: self.book.controls.all_halted().map(|(it, _)| it).collect(),
        }
    }
}
