//! What the crate promises, from outside: one binary, a module a subject.

mod api_keys;
mod cast;
mod device;
mod document;
mod log;
mod passkeys;
mod roles;
mod table;
mod trading;
mod wallets;
