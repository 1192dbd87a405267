//! The screen of `ctwatch top`.
//!
//! [`State`](state::State) is all that is known and where the user is; it changes by an [`Input`](input::Input) alone, and
//! answers with what is to be done. [`draw`](draw::draw) makes a picture of it. Both are pure; [`terminal`] is where keys come
//! from and pictures go. A new tab is a file in `draw` and a row in [`TABS`](tab::TABS), a new column a row in
//! [`COLUMNS`](columns::COLUMNS), a new key a row in [`KEYS`](keys::KEYS).

pub mod columns;
pub mod cursor;
pub mod deed;
pub mod draw;
pub mod filter;
pub mod found;
pub mod history;
pub mod input;
pub mod keys;
pub mod layout;
pub mod rows;
#[cfg(test)]
pub(crate) mod scene;
pub mod source_view;
pub mod state;
pub mod style;
pub mod tab;
pub mod terminal;
