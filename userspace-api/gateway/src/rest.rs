//! REST: routes, what every request goes through, and the document that describes them.
//!
//! From the outside in: a request id and a log line, a time limit, then for public routes the address's bucket, for private ones the credential
//! and its bucket (`admit`), then the handler. Whatever goes wrong is a [`Problem`].

mod account;
mod described;
mod enter;
mod orders;
mod public;
mod settlement;

use crate::app::App;
use crate::authority::{Asked, Right, Who};
use crate::problem::Problem;
use crate::rate::Left;
use axum::body::{Body, Bytes};
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, MatchedPath, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use serde::de::DeserializeOwned;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use utoipa::OpenApi;

pub use account::{AccountInfo, FillPage};
pub(crate) use described::Problems;
pub use orders::{
    CanceledInfo, OrderPage, Peg, PegKind, PlaceOrder, PostOnly, ReplaceOrder, SelfTradeRule,
};
pub use public::{CandlePage, FeeInfo, StatusInfo, TimeInfo, TradePage};
pub use settlement::{BalanceInfo, BalancesInfo, DepositPage, StatementInfo, WithdrawalPage};

/// Entries of a page where none are asked for, and at the most.
const PAGE: usize = 100;
const PAGE_MAX: usize = 1_000;

/// Where a connection comes from.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Who is asking, behind `admit`.
#[derive(Clone)]
pub struct Caller(pub Arc<dyn Who>);

impl Caller {
    /// The account that a path names, if the caller may do this to it.
    ///
    /// # Errors
    /// Why not.
    pub fn account(&self, app: &App, named: &str, right: Right) -> Result<u32, Problem> {
        let account = app.venue.account(named)?;
        self.0.may(right, account)?;
        Ok(account)
    }
}

/// A JSON body; what is wrong with it is a problem.
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|it| it.to_str().ok()).unwrap_or_default();
        let is_json = kind.split(';').next().unwrap_or_default().trim() == "application/json";
        if !is_json {
            return Err(Problem::malformed(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "send JSON, with `Content-Type: application/json`",
            ));
        }
        let bytes = Bytes::from_request(request, app).await;
        let bytes = bytes.map_err(|error: BytesRejection| {
            Problem::malformed(error.status(), error.body_text())
        })?;
        if !is_object(&bytes) {
            return Err(Problem::malformed(
                StatusCode::BAD_REQUEST,
                "the body is no JSON object; send the fields by their names",
            ));
        }
        serde_json::from_slice(&bytes)
            .map(JsonBody)
            .map_err(|error| {
                Problem::malformed(
                    StatusCode::BAD_REQUEST,
                    format!("the body is not what this route takes: {error}"),
                )
            })
    }
}

/// Whether a body is a JSON object: fields that come in a list, by their places, would be read too.
pub(crate) fn is_object(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'{')
}

/// What stands behind `?`; what is wrong with it is a problem.
pub struct Params<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<App>> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let query = Query::<T>::from_request_parts(parts, app).await;
        query
            .map(|Query(it)| Params(it))
            .map_err(|error: QueryRejection| {
                Problem::malformed(StatusCode::BAD_REQUEST, error.body_text())
            })
    }
}

/// A page's size.
fn page_size(asked: Option<usize>) -> Result<usize, Problem> {
    match asked {
        None => Ok(PAGE),
        Some(limit) if (1..=PAGE_MAX).contains(&limit) => Ok(limit),
        Some(_) => Err(Problem::field("limit", format!("give 1 to {PAGE_MAX}"))),
    }
}

/// Where a page goes on: the cursor of the one before, a sequence.
fn page_start(cursor: Option<&str>) -> Result<u64, Problem> {
    cursor.map_or(Ok(u64::MAX), |text| {
        text.parse().map_err(|_| {
            Problem::field(
                "cursor",
                "give `next_cursor` of an earlier answer, as it is",
            )
        })
    })
}

/// All routes: public and private ones, and those of sign-in and organisations where there are any, which recognise callers by themselves.
pub fn router(app: &Arc<App>, access: Option<Router>) -> Router {
    let public = Router::new()
        .route("/v1/time", get(public::time))
        .route("/v1/status", get(public::status))
        .route("/v1/assets", get(public::assets))
        .route("/v1/fees", get(public::fees))
        .route("/v1/instruments", get(public::instruments))
        .route("/v1/instruments/{symbol}", get(public::instrument))
        .route("/v1/instruments/{symbol}/book", get(public::book))
        .route("/v1/instruments/{symbol}/trades", get(public::trades))
        .route("/v1/instruments/{symbol}/candles", get(public::candles))
        .route("/v1/instruments/{symbol}/ticker", get(public::ticker))
        .route("/v1/tickers", get(public::tickers))
        .route("/v1/stream", get(crate::socket::open))
        .layer(from_fn_with_state(Arc::clone(app), limit_address));
    let private = Router::new()
        .route("/v1/accounts", get(account::accounts))
        .route(
            "/v1/accounts/{account}/orders",
            get(orders::list)
                .post(orders::place)
                .delete(orders::cancel_all),
        )
        .route(
            "/v1/accounts/{account}/orders/{id}",
            get(orders::one).put(orders::replace).delete(orders::cancel),
        )
        .route(
            "/v1/accounts/{account}/client-orders/{client_order_id}",
            get(orders::by_client).delete(orders::cancel_by_client),
        )
        .route("/v1/accounts/{account}/fills", get(account::fills))
        .route("/v1/accounts/{account}/balances", get(settlement::balances))
        .route(
            "/v1/accounts/{account}/statement",
            get(settlement::statement),
        )
        .route("/v1/accounts/{account}/channels", get(settlement::channels))
        .route("/v1/accounts/{account}/deposits", get(settlement::deposits))
        .route(
            "/v1/accounts/{account}/withdrawals",
            get(settlement::withdrawals).post(settlement::withdraw),
        )
        .route("/v1/accounts/{account}/batch", get(settlement::batch))
        .route("/v1/accounts/{account}/cosign", post(settlement::cosign))
        .route(
            "/v1/accounts/{account}/withdrawal-addresses",
            post(settlement::add_address),
        )
        .route(
            "/v1/accounts/{account}/moves",
            get(settlement::moves).post(settlement::sign_move),
        )
        .layer(from_fn_with_state(Arc::clone(app), admit));
    let operations = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(document));
    let access = access
        .unwrap_or_default()
        .layer(from_fn_with_state(Arc::clone(app), limit_address));
    public
        .merge(private)
        .merge(operations)
        .with_state(Arc::clone(app))
        .merge(access)
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(from_fn_with_state(Arc::clone(app), observe))
}

async fn no_route() -> Problem {
    Problem::not_found("no such route; GET /openapi.json lists them")
}

async fn no_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method",
        "The route does not have this method",
        "GET /openapi.json lists what each route has",
    )
}

/// The process lives.
async fn healthz() -> &'static str {
    "ok\n"
}

/// It can serve: the records of every shard are followed, and it is not ending.
async fn readyz(State(app): State<Arc<App>>) -> Result<&'static str, Problem> {
    if app.is_draining() {
        return Err(Problem::unavailable("the gateway is ending"));
    }
    match app.shards.iter().find(|it| it.has_failed()) {
        Some(shard) => Err(Problem::unavailable(format!(
            "the records of shard {} are followed no more; start the gateway again",
            shard.name
        ))),
        None => Ok("ready\n"),
    }
}

async fn metrics(State(app): State<Arc<App>>, Extension(peer): Extension<Peer>) -> Response {
    // Numbers are for whoever operates it: they are asked for from this machine.
    if !peer.0.ip().is_loopback() {
        return no_route().await.into_response();
    }
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (kind, app.metrics.text()).into_response()
}

async fn document() -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, openapi_json()).into_response()
}

/// A request id that nobody else has: when this process began, and a count.
fn request_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    static BEGAN: std::sync::LazyLock<u64> = std::sync::LazyLock::new(crate::clock::unix_now_ns);
    format!("{:x}-{:x}", *BEGAN, COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The outermost: id, log, numbers, time limit.
async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = request_id();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |it| it.as_str().to_owned());
    let method = request.method().clone();
    let limit = Duration::from_secs(app.http.request_seconds);
    let mut response = match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::malformed(
            StatusCode::REQUEST_TIMEOUT,
            format!(
                "the request was not there, or not done, within {} s",
                limit.as_secs()
            ),
        )
        .into_response(),
    };
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-request-id", value);
    }
    let (status, seconds) = (response.status().as_u16(), begun.elapsed().as_secs_f64());
    app.metrics.request(&route, status, seconds);
    tracing::info!(request = %id, %method, route, status, seconds, "request");
    response
}

fn finish(left: Left, mut response: Response) -> Response {
    left.write(response.headers_mut());
    response
}

/// Public routes: a bucket for each address.
async fn limit_address(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let left = app.public.take(&peer.0.ip(), Instant::now());
    match left.problem() {
        Some(problem) => {
            app.metrics.limited.with_label_values(&["address"]).inc();
            finish(left, problem.into_response())
        }
        None => finish(left, next.run(request).await),
    }
}

/// Private routes: who is asking, and a bucket for each credential. The body is read here, at most `body_bytes_max` of it, because a signature
/// may cover it.
async fn admit(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let body = match read_body(body, app.http.body_bytes_max).await {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    let who = match who(&app, &parts, &body, peer.0.ip()) {
        Ok(who) => who,
        Err(problem) => {
            // Whoever guesses pays for it as an address.
            let left = app.public.take(&peer.0.ip(), Instant::now());
            return finish(left, left.problem().unwrap_or(problem).into_response());
        }
    };
    let left = app.private.take(&who.name(), Instant::now());
    if let Some(problem) = left.problem() {
        app.metrics.limited.with_label_values(&["credential"]).inc();
        return finish(left, problem.into_response());
    }
    parts.extensions.insert(Caller(who));
    let request = Request::from_parts(parts, Body::from(body));
    finish(left, next.run(request).await)
}

async fn read_body(body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    axum::body::to_bytes(body, bytes_max).await.map_err(|_| {
        Problem::malformed(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body has more than {bytes_max} bytes, or ended early"),
        )
    })
}

/// Asks the authority about a request.
pub(crate) fn who(
    app: &App,
    parts: &Parts,
    body: &[u8],
    from: IpAddr,
) -> Result<Arc<dyn Who>, Problem> {
    app.authority.who(&Asked {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        body,
        headers: &parts.headers,
        from,
    })
}

/// The description of everything above.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Ring0",
        description = "REST interface of a Ring0 exchange. Prices, quantities and amounts are decimal text; sequences and times are whole numbers. Problems are RFC 9457. How to use it, and the WebSocket: docs/api.md."
    ),
    paths(
        public::time,
        public::status,
        public::assets,
        public::fees,
        public::instruments,
        public::instrument,
        public::book,
        public::trades,
        public::candles,
        public::ticker,
        public::tickers,
        account::accounts,
        account::fills,
        orders::list,
        orders::place,
        orders::cancel_all,
        orders::one,
        orders::replace,
        orders::cancel,
        orders::by_client,
        orders::cancel_by_client,
        settlement::balances,
        settlement::statement,
        settlement::channels,
        settlement::deposits,
        settlement::withdrawals,
        settlement::withdraw,
        settlement::batch,
        settlement::cosign,
        settlement::add_address,
        settlement::moves,
        settlement::sign_move,
    ),
    components(schemas(Problem)),
    modifiers(&Security),
)]
struct Document;

/// How private routes are opened.
struct Security;

impl utoipa::Modify for Security {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
}

/// The OpenAPI 3.1 document as text.
#[must_use]
pub fn openapi_json() -> String {
    let mut document = Document::openapi();
    document.merge(crate::access::AccessApi::openapi());
    // Names and text only: it always is JSON.
    let mut text = document.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}
