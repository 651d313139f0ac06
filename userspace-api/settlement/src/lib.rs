//! Double-entry ledger fed by the record, netting into batches, reconciliation, statements.
