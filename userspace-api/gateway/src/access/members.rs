//! Organisations, their members, invitations, accounts, and their part of the audit log.

use super::Access;
use super::answers::{Account, AuditEntry, Ended, Invitation, Member, Organisation};
use super::ask::{By, Nothing, number};
use super::trading::{address, ended};
use crate::problem::Problem;
use crate::rest::Problems;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use ring0_identity::{Caller, InvitationId, PersonId, Role, records};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

/// Entries of the audit log on a page at the most.
const PAGE_MAX: usize = 500;

/// An organisation.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewOrganisation {
    /// What it is called.
    name: String,
}

/// A role.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRole {
    /// `owner`, `trader`, `risk` or `viewer`.
    role: String,
}

impl NewRole {
    fn parse(&self) -> Result<Role, Problem> {
        let unknown = |error: ring0_identity::permission::UnknownWord| {
            Problem::field("role", error.to_string())
        };
        self.role.parse().map_err(unknown)
    }
}

/// An invitation's code.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Code {
    /// As it was given.
    code: String,
}

/// An account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAccount {
    /// Address of the key that co-signs its channels' states; not given: the owner key.
    cosigner: Option<String>,
}

/// A page of the log.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// Only entries before this number.
    #[param(format = "uint64")]
    before: Option<u64>,
    /// At most so many; not given: 100.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
}

fn organisation(caller: &Caller, it: &records::Organisation) -> Organisation {
    Organisation {
        id: it.id.0,
        name: it.name.clone(),
        role: it.members.get(&caller.person).map_or("", |it| it.name()),
        accounts: it.accounts.clone(),
        since_ms: it.since_ms,
    }
}

/// One's organisations.
#[utoipa::path(get, path = "/v1/organisations", tag = "organisations", security(("bearer" = [])),
    responses((status = 200, body = Vec<Organisation>), Problems))]
pub(super) async fn organisations(
    State(access): State<Access>,
    asked: By<Nothing>,
) -> Json<Vec<Organisation>> {
    let all = access.identity.organisations(&asked.caller);
    Json(
        all.iter()
            .map(|it| organisation(&asked.caller, it))
            .collect(),
    )
}

/// Make an organisation.
#[utoipa::path(post, path = "/v1/organisations", tag = "organisations", security(("bearer" = [])), request_body = NewOrganisation,
    responses((status = 201, body = Organisation), Problems))]
pub(super) async fn create_organisation(
    State(access): State<Access>,
    asked: By<NewOrganisation>,
) -> Result<(StatusCode, Json<Organisation>), Problem> {
    let caller = asked.caller.clone();
    let made = access
        .blocking(move |it| it.create_organisation(&asked.caller, &asked.body.name))
        .await?;
    Ok((StatusCode::CREATED, Json(organisation(&caller, &made))))
}

/// Members of the organisation.
#[utoipa::path(get, path = "/v1/members", tag = "organisations", security(("bearer" = [])),
    responses((status = 200, body = Vec<Member>), Problems))]
pub(super) async fn members(
    State(access): State<Access>,
    asked: By<Nothing>,
) -> Result<Json<Vec<Member>>, Problem> {
    let all = access.identity.members(&asked.caller)?;
    let all = all.into_iter().map(|(person, name, role)| Member {
        person: person.0,
        name,
        role: role.name(),
    });
    Ok(Json(all.collect()))
}

/// Give a member another role. What it opened and may no longer have ends.
#[utoipa::path(put, path = "/v1/members/{person}", tag = "organisations", security(("bearer" = [])), params(("person" = u64, Path)), request_body = NewRole,
    responses((status = 200, body = Ended), Problems))]
pub(super) async fn change_role(
    State(access): State<Access>,
    Path(person): Path<String>,
    asked: By<NewRole>,
) -> Result<Json<Ended>, Problem> {
    let person = PersonId(number(&person, "person")?);
    let role = asked.body.parse()?;
    let done = access
        .blocking(move |it| it.change_role(&asked.caller, person, role))
        .await?;
    Ok(ended(&access, done.ending).await)
}

/// Remove a member, or leave. Its API keys and the sessions that it opened end.
#[utoipa::path(delete, path = "/v1/members/{person}", tag = "organisations", security(("bearer" = [])), params(("person" = u64, Path)),
    responses((status = 200, body = Ended), Problems))]
pub(super) async fn remove_member(
    State(access): State<Access>,
    Path(person): Path<String>,
    asked: By<Nothing>,
) -> Result<Json<Ended>, Problem> {
    let person = PersonId(number(&person, "person")?);
    let done = access
        .blocking(move |it| it.remove_member(&asked.caller, person))
        .await?;
    Ok(ended(&access, done.ending).await)
}

/// Invitations that wait.
#[utoipa::path(get, path = "/v1/invitations", tag = "organisations", security(("bearer" = [])),
    responses((status = 200, body = Vec<Invitation>), Problems))]
pub(super) async fn invitations(
    State(access): State<Access>,
    asked: By<Nothing>,
) -> Result<Json<Vec<Invitation>>, Problem> {
    let all = access.identity.invitations(&asked.caller)?;
    Ok(Json(all.iter().map(Invitation::from).collect()))
}

/// Invite somebody. The code is shown once.
#[utoipa::path(post, path = "/v1/invitations", tag = "organisations", security(("bearer" = [])), request_body = NewRole,
    responses((status = 201, body = Invitation), Problems))]
pub(super) async fn invite(
    State(access): State<Access>,
    asked: By<NewRole>,
) -> Result<(StatusCode, Json<Invitation>), Problem> {
    let role = asked.body.parse()?;
    let (invitation, code) = access
        .blocking(move |it| it.invite(&asked.caller, role))
        .await?;
    let answer = Invitation {
        code: Some(code.expose().to_owned()),
        ..Invitation::from(&invitation)
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// Take an invitation back.
#[utoipa::path(delete, path = "/v1/invitations/{invitation}", tag = "organisations", security(("bearer" = [])), params(("invitation" = u64, Path)),
    responses((status = 204), Problems))]
pub(super) async fn withdraw_invitation(
    State(access): State<Access>,
    Path(invitation): Path<String>,
    asked: By<Nothing>,
) -> Result<StatusCode, Problem> {
    let invitation = InvitationId(number(&invitation, "invitation")?);
    access
        .blocking(move |it| it.withdraw_invitation(&asked.caller, invitation))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Become a member by an invitation's code.
#[utoipa::path(post, path = "/v1/invitations/accept", tag = "organisations", security(("bearer" = [])), request_body = Code,
    responses((status = 200, body = Organisation), Problems))]
pub(super) async fn accept_invitation(
    State(access): State<Access>,
    asked: By<Code>,
) -> Result<Json<Organisation>, Problem> {
    let caller = asked.caller.clone();
    let (joined, _) = access
        .blocking(move |it| it.accept_invitation(&asked.caller, &asked.body.code))
        .await?;
    let all = access.identity.organisations(&caller);
    let joined = all.iter().find(|it| it.id == joined);
    let gone = || Problem::not_found("the organisation is gone already");
    Ok(Json(organisation(&caller, joined.ok_or_else(gone)?)))
}

/// Open an account for the organisation; its owner key is the wallet that the caller has signed in by.
#[utoipa::path(post, path = "/v1/accounts", tag = "organisations", security(("bearer" = [])), request_body = Option<NewAccount>,
    responses((status = 201, body = Account), Problems))]
pub(super) async fn add_account(
    State(access): State<Access>,
    asked: By<NewAccount>,
) -> Result<(StatusCode, Json<Account>), Problem> {
    let cosigner = asked.body.cosigner.as_deref();
    let cosigner = cosigner.map(|it| address("cosigner", it)).transpose()?;
    let venue = std::sync::Arc::clone(&access.venue);
    let account = access
        .blocking(move |it| {
            let taken = |account| venue.is_taken(account);
            it.add_account(&asked.caller, cosigner, venue.accounts_max(), taken)
        })
        .await?;
    // It is this organisation's from now on; if a shard does not answer, opening a session there says so, and the account is opened with the first deposit.
    let opened = access.venue.open_account(account).await;
    opened.map_err(|error| {
        Problem::unavailable(format!(
            "account {} is yours, and not open on every shard yet: {error}",
            account.index
        ))
    })?;
    let answer = Account {
        account: account.index,
        owner: account.owner.to_string(),
        cosigner: account.cosigner.to_string(),
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// The organisation's part of the audit log, newest first.
#[utoipa::path(get, path = "/v1/audit", tag = "organisations", security(("bearer" = [])), params(Page),
    responses((status = 200, body = Vec<AuditEntry>), Problems))]
pub(super) async fn audit(
    State(access): State<Access>,
    page: Result<Query<Page>, axum::extract::rejection::QueryRejection>,
    asked: By<Nothing>,
) -> Result<Json<Vec<AuditEntry>>, Problem> {
    let malformed = |error: axum::extract::rejection::QueryRejection| {
        Problem::malformed(StatusCode::BAD_REQUEST, error.body_text())
    };
    let Query(page) = page.map_err(malformed)?;
    let most = page.limit.unwrap_or(100);
    if !(1..=PAGE_MAX).contains(&most) {
        return Err(Problem::field("limit", format!("give 1 to {PAGE_MAX}")));
    }
    let entries = access
        .blocking(move |it| it.audit(&asked.caller, page.before, most))
        .await?;
    let value = |it: Result<serde_json::Value, _>| it.unwrap_or_default();
    let entries = entries.into_iter().map(|(number, entry)| AuditEntry {
        number,
        at_ms: entry.at_ms,
        actor: value(serde_json::to_value(&entry.actor)),
        event: value(serde_json::to_value(entry.event.public())),
    });
    Ok(Json(entries.collect()))
}
