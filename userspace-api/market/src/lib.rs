//! A market in one TOML file: assets, instruments, accounts, sessions and their keys.
