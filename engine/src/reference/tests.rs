//! What each section of the page says, by its examples.
