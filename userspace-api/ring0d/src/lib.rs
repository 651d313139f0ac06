//! The daemon: initialises the market, writes the command ring, rings the doorbell, reports faults.
