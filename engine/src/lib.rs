//! The matching core: commands in, events out, all state in one flat region.
