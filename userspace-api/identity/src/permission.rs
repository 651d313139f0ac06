//! The one table of who may do what: permission × role × scope. `docs/authorisation.md` is printed from it.
//!
//! A permission is had by a role in an organisation. An API key has it if one of its scopes says so besides; a permission without scopes is for
//! people who have signed in. Where the table asks for an owner key, role and scope are not enough: the act carries a signature by the key that
//! owns the account's channels, and only [`OwnerSigned`](crate::OwnerSigned) leads there (CUSTODY 16).

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! words {
    ($($(#[$doc:meta])+ $name:ident { $($(#[$word_doc:meta])+ $word:ident = $text:literal,)+ })+) => {$(
        $(#[$doc])+
        #[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
        pub enum $name { $($(#[$word_doc])+ #[serde(rename = $text)] $word,)+ }

        impl $name {
            /// All of them, in the order of the table.
            pub const ALL: &'static [$name] = &[$($name::$word,)+];

            /// Its name in requests, answers and documents.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $($name::$word => $text,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str(self.name())
            }
        }

        impl std::str::FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<$name, UnknownWord> {
                $name::ALL.iter().copied().find(|it| it.name() == text).ok_or(UnknownWord {
                    what: stringify!($name),
                    given: text.chars().take(40).collect(),
                    known: &[$($text,)+],
                })
            }
        }
    )+};
}

/// A word that names nothing of its kind.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{given:?} is no {what}; there are: {}", .known.join(", "))]
pub struct UnknownWord {
    what: &'static str,
    given: String,
    known: &'static [&'static str],
}

words! {
    /// What a member is in an organisation.
    Role {
        /// Has the money and decides who else may do what.
        Owner = "owner",
        /// Trades.
        Trader = "trader",
        /// Sets limits, stops others, approves; does not trade.
        Risk = "risk",
        /// Looks.
        Viewer = "viewer",
    }

    /// What an API key is for.
    Scope {
        /// Balances, orders, fills, statements, members.
        Read = "read",
        /// Orders and trading sessions.
        Trade = "trade",
        /// Asking for withdrawals, each with its owner-key signature.
        WithdrawRequest = "withdraw-request",
        /// Limits, kill switches, revocations.
        Risk = "risk",
    }

    /// What can be asked for.
    Permission {
        /// Make an organisation, and be its owner.
        CreateOrganisation = "create-organisation",
        /// Add a passkey of one's own.
        RegisterPasskey = "register-passkey",
        /// See balances, orders, fills, fees, statements of the organisation's accounts.
        ReadAccounts = "read-accounts",
        /// See members, invitations, API keys without their secrets, grants, trading sessions.
        ReadOrganisation = "read-organisation",
        /// See the organisation's part of the audit log.
        ReadAudit = "read-audit",
        /// Enter and replace orders over the API.
        PlaceOrders = "place-orders",
        /// Cancel orders over the API.
        CancelOrders = "cancel-orders",
        /// Hand in co-signatures of account states, which prove themselves.
        HandInCosignatures = "hand-in-cosignatures",
        /// Open a trading session under a grant.
        OpenTradingSession = "open-trading-session",
        /// End a trading session.
        RevokeTradingSession = "revoke-trading-session",
        /// End a grant and the trading sessions under it.
        RevokeGrant = "revoke-grant",
        /// Set limits of accounts; kill and revive accounts and sessions.
        SetRisk = "set-risk",
        /// Be the second approver of a withdrawal above a limit.
        ApproveWithdrawal = "approve-withdrawal",
        /// Make and revoke API keys of one's own.
        ManageOwnApiKeys = "manage-own-api-keys",
        /// Revoke API keys of other members.
        RevokeApiKeys = "revoke-api-keys",
        /// Invite, change roles, remove.
        ManageMembers = "manage-members",
        /// Bring an account into the organisation.
        ManageAccounts = "manage-accounts",
        /// Give a session key its powers.
        CreateGrant = "create-grant",
        /// Take money out.
        RequestWithdrawal = "request-withdrawal",
        /// Name an address to withdraw to.
        AddWithdrawalAddress = "add-withdrawal-address",
        /// Close a channel.
        CloseChannel = "close-channel",
        /// Name another co-signer.
        ChangeKeys = "change-keys",
    }
}

/// How a person must have signed in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SignIn {
    /// By wallet or passkey.
    Any,
    /// By wallet: a passkey authenticates and uses what is there, it does not give power to others (CUSTODY 16).
    Wallet,
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Of what.
    pub permission: Permission,
    /// The roles that have it; none: every person has it, member of something or not.
    pub roles: &'static [Role],
    /// An API key has it by any of these; none: no API key has it.
    pub scopes: &'static [Scope],
    /// How a person must have signed in.
    pub sign_in: SignIn,
    /// Whether the act itself carries a signature by the account's owner key.
    pub owner_key: bool,
}

const ALL: &[Role] = Role::ALL;
const OWNER: &[Role] = &[Role::Owner];

const fn rule(
    permission: Permission,
    roles: &'static [Role],
    scopes: &'static [Scope],
    sign_in: SignIn,
    owner_key: bool,
) -> Rule {
    Rule {
        permission,
        roles,
        scopes,
        sign_in,
        owner_key,
    }
}

/// The table, in the order of [`Permission`].
#[rustfmt::skip]
pub const TABLE: &[Rule] = {
    use {Permission as P, Role as R, Scope as S, SignIn::{Any, Wallet}};
    &[
        rule(P::CreateOrganisation,   &[],                              &[],                    Wallet, false),
        rule(P::RegisterPasskey,      &[],                              &[],                    Wallet, false),
        rule(P::ReadAccounts,         ALL,                              &[S::Read],             Any,    false),
        rule(P::ReadOrganisation,     ALL,                              &[S::Read],             Any,    false),
        rule(P::ReadAudit,            &[R::Owner, R::Risk],             &[S::Read],             Any,    false),
        rule(P::PlaceOrders,          &[R::Owner, R::Trader],           &[S::Trade],            Any,    false),
        rule(P::CancelOrders,         &[R::Owner, R::Trader, R::Risk],  &[S::Trade, S::Risk],   Any,    false),
        rule(P::HandInCosignatures,   &[R::Owner, R::Trader],           &[S::Trade],            Any,    false),
        rule(P::OpenTradingSession,   &[R::Owner, R::Trader],           &[S::Trade],            Any,    false),
        rule(P::RevokeTradingSession, &[R::Owner, R::Trader, R::Risk],  &[S::Trade, S::Risk],   Any,    false),
        rule(P::RevokeGrant,          &[R::Owner, R::Trader, R::Risk],  &[S::Risk],             Any,    false),
        rule(P::SetRisk,              &[R::Owner, R::Risk],             &[S::Risk],             Any,    false),
        rule(P::ApproveWithdrawal,    &[R::Owner, R::Risk],             &[],                    Any,    false),
        rule(P::ManageOwnApiKeys,     ALL,                              &[],                    Any,    false),
        rule(P::RevokeApiKeys,        &[R::Owner, R::Risk],             &[],                    Any,    false),
        rule(P::ManageMembers,        OWNER,                            &[],                    Wallet, false),
        rule(P::ManageAccounts,       OWNER,                            &[],                    Wallet, false),
        rule(P::CreateGrant,          OWNER,                            &[],                    Any,    true),
        rule(P::RequestWithdrawal,    OWNER,                            &[S::WithdrawRequest],  Any,    true),
        rule(P::AddWithdrawalAddress, OWNER,                            &[],                    Any,    true),
        rule(P::CloseChannel,         OWNER,                            &[],                    Any,    true),
        rule(P::ChangeKeys,           OWNER,                            &[],                    Any,    true),
    ]
};

impl Permission {
    /// Its line of the table.
    #[must_use]
    pub fn rule(self) -> &'static Rule {
        &TABLE[self as usize]
    }
}

impl Role {
    /// Whether the table gives it a permission.
    #[must_use]
    pub fn has(self, permission: Permission) -> bool {
        let rule = permission.rule();
        rule.roles.is_empty() || rule.roles.contains(&self)
    }
}

/// The table as Markdown, as `docs/authorisation.md` has it between its marks.
#[must_use]
pub fn markdown() -> String {
    let mut text = "| permission |".to_owned();
    for role in Role::ALL {
        text.push_str(&format!(" {role} |"));
    }
    text.push_str(" API key with scope | a person signs in by | owner-key signature |\n|---|");
    text.push_str(&"---|".repeat(Role::ALL.len() + 3));
    text.push('\n');
    for rule in TABLE {
        text.push_str(&format!("| `{}` |", rule.permission));
        for role in Role::ALL {
            let mark = match (rule.roles.is_empty(), role.has(rule.permission)) {
                (true, _) => "everybody",
                (_, true) => "yes",
                (_, false) => "",
            };
            text.push_str(&format!(" {mark} |"));
        }
        let scopes: Vec<_> = rule.scopes.iter().map(|it| format!("`{it}`")).collect();
        let scopes = if scopes.is_empty() {
            "none".to_owned()
        } else {
            scopes.join(" or ")
        };
        let sign_in = match rule.sign_in {
            SignIn::Any => "wallet or passkey",
            SignIn::Wallet => "wallet",
        };
        let owner_key = if rule.owner_key { "yes" } else { "" };
        text.push_str(&format!(" {scopes} | {sign_in} | {owner_key} |\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_permission_at_its_place() {
        assert_eq!(TABLE.len(), Permission::ALL.len());
        for permission in Permission::ALL {
            assert_eq!(permission.rule().permission, *permission);
            assert_eq!(permission.name().parse(), Ok(*permission));
        }
        assert!("owners".parse::<Role>().is_err());
    }

    /// What CUSTODY 16 says of the table itself.
    #[test]
    fn what_moves_money_or_keys_carries_the_owner_key_and_what_gives_power_a_wallet() {
        use Permission as P;
        for permission in [
            P::CreateGrant,
            P::RequestWithdrawal,
            P::AddWithdrawalAddress,
            P::CloseChannel,
            P::ChangeKeys,
        ] {
            let rule = permission.rule();
            assert!(rule.owner_key && rule.roles == OWNER, "{permission}");
        }
        for permission in [P::ManageMembers, P::ManageAccounts, P::RegisterPasskey] {
            assert_eq!(permission.rule().sign_in, SignIn::Wallet, "{permission}");
        }
        // A viewer changes nothing but its own keys, which then only read.
        let viewer: Vec<_> = TABLE
            .iter()
            .filter(|rule| rule.roles.contains(&Role::Viewer))
            .map(|rule| rule.permission)
            .collect();
        assert_eq!(
            viewer,
            [P::ReadAccounts, P::ReadOrganisation, P::ManageOwnApiKeys]
        );
    }
}
