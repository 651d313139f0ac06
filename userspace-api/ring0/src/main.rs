//! ring0.
fn main() {}
