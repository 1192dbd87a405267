//! An entry is gone; the table's count has just gone down by one or is about to.
//!
//! prototype: void nf_conntrack_free(struct nf_conn *ct)

use aya_ebpf::{macros::kprobe, programs::ProbeContext};
use ctwatch_common::{
    counter::{Counter, Witness},
    event::KIND_ENDED,
    row::UNATTRIBUTED,
};

use crate::{
    account::{count, row_of, witness},
    conntrack::key_of_entry,
    emit,
};

/// Counts the end under the source that opened the entry.
#[kprobe]
pub(crate) fn free(ctx: ProbeContext) -> u32 {
    witness(Witness::Ended);
    let entry = ctx.arg::<u64>(0).and_then(key_of_entry);
    let row = match entry {
        Some((key, tuple)) => {
            let row = row_of(&key);
            emit::trace(KIND_ENDED, &key, &tuple, row);
            row
        }
        None => {
            witness(Witness::Unreadable);
            UNATTRIBUTED
        }
    };
    count(row, Counter::Ended);
    0
}
