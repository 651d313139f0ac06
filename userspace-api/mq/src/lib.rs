//! MQ1: reading the shard record ring, from another process, without a gap.
