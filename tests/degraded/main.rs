//! Where no hook can be attached.
