//! The public feed and the full answers: what a shard's records say of its market as ITCH 5.0, and of each client's orders as
//! OUCH 5.0; how both reach whoever listens.
//!
//! [`Translator`] and [`Answers`] are pure: equal records, equal messages. [`Feed`] publishes on lines A and B with re-request and
//! GLIMPSE servers, [`AnswerServer`] serves streams; [`Subscriber`], [`SoupAnswerClient`] and [`MoldAnswerClient`] are their other ends.
//! Knows records, formats and sockets; knows nothing of how matching works. The page is `docs/feed.md`.
#![deny(unsafe_code)]

mod answer_access;
mod answer_datagram;
mod answer_mold_client;
mod answer_mold_server;
mod answer_reader;
mod answer_server;
mod answer_soup_client;
mod answer_soup_server;
mod answer_streams;
mod answer_subscribers;
mod answers;
mod arbiter;
mod batch;
mod counters;
mod feed;
mod follow;
mod glimpse;
mod history;
mod image;
mod instrument;
mod line;
mod orders;
mod picture;
mod publish;
mod rerequest;
mod snapshot;
mod source;
mod subscribe;
mod translate;

pub use answer_access::{Access, Password, drop_copy};
pub use answer_mold_client::{MoldAnswerClient, MoldAnswerError};
pub use answer_reader::AnswersHeard;
pub use answer_server::{AnswerOptions, AnswerServer, AnswerServerError, Keys};
pub use answer_soup_client::{SoupAnswerClient, SoupAnswerError};
pub use answer_subscribers::SubscriptionOptions;
pub use answers::{AnswerSink, Answers, cancel_reason_of, reject_reason_of};
pub use arbiter::{Arbiter, ArbiterOptions, Heard, Listener, Via, Wants};
pub use batch::{Batch, Blocks};
pub use counters::{AnswerCounters, Counters};
pub use feed::{Feed, FeedError, FeedOptions};
pub use glimpse::GlimpseOptions;
pub use history::{FileJournal, History, Journal};
pub use image::ImageError;
pub use line::{Line, LineError};
pub use publish::PacketOptions;
pub use rerequest::RequestOptions;
pub use snapshot::{SnapshotError, TakenSnapshot, take_snapshot};
pub use source::{RingSource, Source, Watermark, matched, of_policy};
pub use subscribe::{SubscribeError, SubscribeOptions, Subscriber};
pub use translate::{FIRST_SESSION, Sink, TranslateError, Translator};
