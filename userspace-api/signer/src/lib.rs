//! The signer: a process that holds the keys, asks its policy before every signature and keeps a history of all it signed.
