//! From a snapshot to what is printed. Nothing here computes a number or keeps one.

pub mod advice;
pub mod audit;
pub mod blocks;
pub mod changes;
pub mod check;
pub mod doctor;
pub mod event_line;
pub mod json;
pub mod metrics;
pub mod plan;
pub mod schema;
pub mod text;
pub mod what_if;
pub mod wrap;

#[cfg(test)]
mod reference_tests;
#[cfg(test)]
pub(crate) mod sample;
