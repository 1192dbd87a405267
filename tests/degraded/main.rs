//! Where no hook can be attached.
#![expect(missing_docs, reason = "a test")]
