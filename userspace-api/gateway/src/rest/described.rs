//! What many routes have in common in the OpenAPI document: parameters in their paths, and the problems that any of them may answer.

use crate::problem::Problem;
use std::collections::BTreeMap;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoParams, IntoResponses, ToSchema};

/// `{account}`.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(
    dead_code,
    reason = "it is a description; handlers take paths apart by themselves"
)]
pub(crate) struct AccountPath {
    /// Name or number of the account
    account: String,
}

/// `{id}`.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(
    dead_code,
    reason = "it is a description; handlers take paths apart by themselves"
)]
pub(crate) struct OrderPath {
    /// The order's name at the venue
    id: String,
}

/// `{client_order_id}`.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(
    dead_code,
    reason = "it is a description; handlers take paths apart by themselves"
)]
pub(crate) struct ClientOrderPath {
    /// The client's name for the order
    client_order_id: String,
}

/// What goes wrong, whichever way: RFC 9457.
pub(crate) struct Problems;

impl IntoResponses for Problems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let one = |range: &str| {
            let schema = Ref::from_schema_name(<Problem as ToSchema>::name());
            let content = ContentBuilder::new().schema(Some(schema)).build();
            let response = ResponseBuilder::new().content("application/problem+json", content);
            (range.to_owned(), RefOr::T(response.build()))
        };
        ["4XX", "5XX"].map(one).into()
    }
}
