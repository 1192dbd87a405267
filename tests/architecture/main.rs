//! The invariants of ARCHITECTURE.md that can be seen in the sources.

#[cfg(test)]
mod invariants;
