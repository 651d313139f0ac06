//! Who may do what: people, organisations, roles, API keys, sign-in, grants.
