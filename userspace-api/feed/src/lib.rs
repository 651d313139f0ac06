//! The public feed: what a shard's records say of its market, as ITCH 5.0.
//!
//! Knows records, ITCH messages and how they reach whoever listens; knows nothing of how matching works.
#![deny(unsafe_code)]

mod image;
mod instrument;
mod orders;
mod translate;

pub use image::ImageError;
pub use translate::{FIRST_SESSION, Sink, TranslateError, Translator};
