//! The checks
