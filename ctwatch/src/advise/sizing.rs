//! How limit, buckets and losses hang together: the formulas, each with its source.
