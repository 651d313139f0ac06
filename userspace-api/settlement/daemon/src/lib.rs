//! The settlement daemon: from records to batches that both sides signed, deposits and withdrawals.
