//! What a shard has of an account's asset, in engine units: the one thing that a fill changes. One cache line.
//!
//! Counters wrap: every amount of an engine is below 2^63, so a difference of two counters is exact.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One account's asset in one shard.
#[derive(
    Clone, Copy, Debug, Default, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq,
)]
#[repr(C, align(64))]
pub(crate) struct Cell {
    /// Received by trades since the last cut.
    pub(crate) received: u128,
    /// Given by trades since the last cut.
    pub(crate) given: u128,
    /// Moved in less moved out by all but trades, counted from the start.
    pub(crate) moved: u64,
    /// Net outflow by trades and their fees, counted from the start.
    pub(crate) outflow: u64,
    /// What of the outflow settlement marks covered, counted from the start.
    pub(crate) marked: u64,
    /// Fees less rebates of trades since the last cut.
    pub(crate) fee: i64,
}
const _: () = assert!(size_of::<Cell>() == 64);

impl Cell {
    /// Available and held together; negative only where a record is wrong.
    pub(crate) fn balance(&self) -> i64 {
        self.moved.wrapping_sub(self.outflow).cast_signed()
    }

    /// The net outflow that no settlement mark has covered.
    pub(crate) fn uncovered(&self) -> i64 {
        self.outflow.wrapping_sub(self.marked).cast_signed()
    }

    /// Whether it traded since the last cut.
    pub(crate) fn has_traded(&self) -> bool {
        self.received != 0 || self.given != 0 || self.fee != 0
    }
}

/// Cells of a page: a page is written whole, and with its key fits the 4 KiB of a leaf of the store's tree.
pub(crate) const PAGE_CELLS: usize = 56;

/// Changed since the last commit.
const DIRTY: u8 = 1;
/// May have a cell that traded since the last cut or whose outflow is not covered.
const OPEN: u8 = 2;

/// The cells of a shard, by account and in it by asset, in pages.
#[derive(Clone, Debug)]
pub(crate) struct Cells {
    assets: usize,
    cells_max: usize,
    cells: Vec<Cell>,
    /// By page.
    flags: Vec<u8>,
}

impl Cells {
    pub(crate) fn new(assets: usize, accounts_max: u32) -> Cells {
        Cells {
            assets,
            cells_max: assets * accounts_max as usize,
            cells: Vec::new(),
            flags: Vec::new(),
        }
    }

    /// The place of an account's asset; `None` where there can be no such account or asset. Makes room for it.
    #[inline(always)]
    pub(crate) fn place(&mut self, account: u32, asset: u32) -> Option<usize> {
        let at = self.index(account, asset)?;
        if at >= self.cells.len() {
            self.grow(at)?;
        }
        Some(at)
    }

    #[inline(always)]
    fn index(&self, account: u32, asset: u32) -> Option<usize> {
        let asset = asset as usize;
        (asset < self.assets).then(|| account as usize * self.assets + asset)
    }

    #[cold]
    fn grow(&mut self, at: usize) -> Option<()> {
        if at >= self.cells_max {
            return None;
        }
        let pages = (at / PAGE_CELLS + 1).max(self.flags.len() * 2);
        let pages = pages.min(self.cells_max.div_ceil(PAGE_CELLS));
        self.cells.resize(pages * PAGE_CELLS, Cell::default());
        self.flags.resize(pages, 0);
        Some(())
    }

    /// The cell at a place that [`place`](Cells::place) gave, to be changed.
    #[inline(always)]
    pub(crate) fn at(&mut self, place: usize) -> &mut Cell {
        self.flags[place / PAGE_CELLS] |= DIRTY | OPEN;
        &mut self.cells[place]
    }

    /// What there is of an account's asset.
    pub(crate) fn get(&self, account: u32, asset: u32) -> Cell {
        let at = self.index(account, asset);
        at.and_then(|at| self.cells.get(at))
            .copied()
            .unwrap_or_default()
    }

    /// All cells with account and asset, by account.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, u32, &Cell)> {
        let assets = self.assets;
        let named = move |(at, cell)| ((at / assets) as u32, (at % assets) as u32, cell);
        self.cells.iter().enumerate().map(named)
    }

    /// Each cell that traded since the last cut or has uncovered outflow, by account; `close` says what it was and forgets the trades.
    pub(crate) fn cut(&mut self, mut close: impl FnMut(u32, u32, Cell)) {
        for (page, flags) in self.flags.iter_mut().enumerate() {
            if *flags & OPEN == 0 {
                continue;
            }
            *flags &= !OPEN;
            let first = page * PAGE_CELLS;
            for (at, cell) in (first..).zip(&mut self.cells[first..first + PAGE_CELLS]) {
                let traded = cell.has_traded();
                if !traded && cell.uncovered() == 0 {
                    continue;
                }
                close((at / self.assets) as u32, (at % self.assets) as u32, *cell);
                if traded {
                    (cell.received, cell.given, cell.fee) = (0, 0, 0);
                    *flags |= DIRTY;
                }
                if cell.uncovered() != 0 {
                    *flags |= OPEN;
                }
            }
        }
    }

    /// Pages that changed since the last call: number and bytes.
    pub(crate) fn take_dirty(&mut self) -> Vec<(u32, Vec<u8>)> {
        let mut dirty = Vec::new();
        for (page, flags) in self.flags.iter_mut().enumerate() {
            if *flags & DIRTY != 0 {
                *flags &= !DIRTY;
                let first = page * PAGE_CELLS;
                let cells = &self.cells[first..first + PAGE_CELLS];
                dirty.push((page as u32, cells.as_bytes().to_vec()));
            }
        }
        dirty
    }

    /// Every page counts as changed.
    pub(crate) fn touch_all(&mut self) {
        self.flags.iter_mut().for_each(|it| *it |= DIRTY);
    }

    /// A page as [`take_dirty`](Cells::take_dirty) gave it; `None`: it is none of these cells'.
    pub(crate) fn load(&mut self, page: u32, bytes: &[u8]) -> Option<()> {
        let first = page as usize * PAGE_CELLS;
        if first >= self.cells.len() {
            self.grow(first)?;
        }
        let to = &mut self.cells[first..first + PAGE_CELLS];
        if bytes.len() != size_of_val(to) {
            return None;
        }
        to.as_mut_bytes().copy_from_slice(bytes);
        if to.iter().any(|it| it.has_traded() || it.uncovered() != 0) {
            self.flags[page as usize] = OPEN;
        }
        Some(())
    }
}
