//! Host helpers.
