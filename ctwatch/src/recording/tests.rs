use std::sync::Arc;

use bytes::BufMut as _;
use proptest::prelude::*;

use super::{
    block::Packed,
    encoder::Encoder,
    item::{Beginning, Ending, Place},
    prologue,
    reader::{Missing, ReadError, Reader, Recorded},
    samples,
};
use crate::{
    model::snapshot::Snapshot,
    output::{json, sample},
};

/// A recording of these snapshots, so many in each block.
fn recording(snapshots: &[Snapshot], in_block: usize) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = prologue::to_bytes();
    let mut sequence = 0..;
    let mut block =
        |encoder: &mut Encoder| encoder.take().unwrap().unwrap().to_block(sequence.next().unwrap());
    let mut ends = Vec::new();
    let mut encoder = Encoder::default();
    encoder.begin(&Beginning { program: "ctwatch".to_owned(), ..Beginning::default() }).unwrap();
    for these in snapshots.chunks(in_block) {
        for snapshot in these {
            encoder.add(snapshot, Place::LastOfInterval).unwrap();
        }
        bytes.extend(block(&mut encoder));
        ends.push(bytes.len());
    }
    encoder.end(Ending::Finished).unwrap();
    bytes.extend(block(&mut encoder));
    (bytes, ends)
}

/// What can be read of it, and whether it ends as it should.
fn read(bytes: &[u8]) -> (Vec<Arc<Snapshot>>, Missing, Option<Ending>) {
    let mut reader = Reader::new(bytes).unwrap();
    let (mut snapshots, mut ending) = (Vec::new(), None);
    while let Some(recorded) = reader.read().unwrap() {
        match recorded {
            Recorded::Beginning(beginning) => assert_eq!(beginning.program, "ctwatch"),
            Recorded::Snapshot(snapshot, _) => snapshots.push(snapshot),
            Recorded::MachineState(_) => panic!("nobody has recorded one"),
            Recorded::Ending(how) => ending = Some(how),
        }
    }
    (snapshots, reader.missing(), ending)
}

/// Every field as text, which tells all numbers apart but those that are none.
fn texts<'a>(snapshots: impl IntoIterator<Item = &'a Snapshot>) -> Vec<String> {
    snapshots.into_iter().map(|snapshot| format!("{snapshot:?}")).collect()
}

/// A gateway in trouble, second by second.
fn seconds(count: usize) -> Vec<Snapshot> {
    let one = sample::snapshot();
    (0..count)
        .map(|second| Snapshot {
            wall_ns: one.wall_ns + second as i128 * 1_000_000_000,
            events: vec![sample::event(); second % 3],
            ..one.clone()
        })
        .collect()
}

#[test]
fn a_recording_cut_off_at_any_byte_loses_its_last_block_only() {
    let snapshots = seconds(9);
    let expected = texts(&snapshots);
    let (bytes, ends) = recording(&snapshots, 3);
    for end in 1..bytes.len() {
        let (found, missing, ending) = read(&bytes[..end]);
        let whole = ends.iter().filter(|block| **block <= end).count();
        assert_eq!(texts(found.iter().map(Arc::as_ref)), expected[..3 * whole], "cut at {end}");
        let last = ends.iter().rev().find(|block| **block <= end).copied();
        let cut = match last {
            Some(last) => end - last,
            None => end - if end < prologue::BYTES { 0 } else { prologue::BYTES },
        };
        assert_eq!(missing, Missing { cut_bytes: cut as u64, ..Missing::default() }, "{end}");
        assert_eq!(ending, None);
    }
    let (found, missing, ending) = read(&bytes);
    assert_eq!((found.len(), missing, ending), (9, Missing::default(), Some(Ending::Finished)));
}

#[test]
fn any_changed_byte_costs_one_block_and_never_shows_what_was_not() {
    let snapshots = seconds(6);
    let expected = texts(&snapshots);
    let (bytes, ends) = recording(&snapshots, 2);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        if at < 8 {
            assert!(matches!(Reader::new(&*damaged), Err(ReadError::NotARecording)), "{at}");
            continue;
        }
        let (found, missing, ending) = read(&damaged);
        let mut left = expected.clone();
        if at >= prologue::BYTES
            && let Some(block) = ends.iter().position(|end| at < *end)
        {
            left.drain(2 * block..2 * block + 2);
        }
        assert_eq!(texts(found.iter().map(Arc::as_ref)), left, "{at}");
        assert_ne!(missing, Missing::default(), "{at}");
        assert_eq!(ending.is_none(), at >= ends[2], "{at}");
    }
}

#[test]
fn bytes_that_are_missing_in_the_middle_cost_the_blocks_they_are_of() {
    let snapshots = seconds(8);
    let expected = texts(&snapshots);
    let (mut bytes, ends) = recording(&snapshots, 2);
    bytes.drain(ends[0] + 30..ends[1] + 10);
    let (found, missing, _) = read(&bytes);
    assert_eq!(texts(found.iter().map(Arc::as_ref)), [&expected[..2], &expected[6..]].concat());
    assert_eq!((missing.blocks, missing.cut_bytes), (2, 0));
    assert_eq!(missing.damaged_bytes, (ends[2] - ends[1] - 10 + 30) as u64);
}

#[test]
fn parts_can_be_put_one_behind_another() {
    let (bytes, _) = recording(&seconds(3), 2);
    let (found, missing, _) = read(&[bytes.clone(), bytes].concat());
    assert_eq!((found.len(), missing), (6, Missing::default()));
}

#[test]
fn what_a_later_version_adds_is_left_out() {
    #[derive(serde::Serialize)]
    struct Later {
        part: u32,
        added: &'static str,
    }
    let mut content = bytes::BytesMut::new();
    content.put_u8(250);
    content.put_u32_le(2);
    content.put_slice(b"??");
    let later = Later { part: 3, added: "of a later version" };
    super::item::put(&mut content, super::item::Kind::Beginning, &later).unwrap();
    let mut bytes = prologue::to_bytes();
    bytes.extend(Packed::of(&content).unwrap().to_block(0));
    let mut reader = Reader::new(&*bytes).unwrap();
    let Some(Recorded::Beginning(beginning)) = reader.read().unwrap() else { panic!() };
    assert_eq!((beginning.part, beginning.program.as_str()), (3, ""));
    assert!(reader.read().unwrap().is_none());
    assert_eq!(reader.missing(), Missing { not_understood: 1, ..Missing::default() });
}

#[test]
fn what_is_no_recording_is_refused() {
    for other in [b"".as_slice(), b"{}\n", &[0; 100]] {
        assert!(matches!(Reader::new(other), Err(ReadError::NotARecording)));
    }
}

proptest! {
    #[test]
    fn any_snapshot_is_read_back_to_the_last_bit(
        snapshots in prop::collection::vec(samples::snapshot(), 1..4),
    ) {
        let (bytes, _) = recording(&snapshots, 2);
        let (found, missing, ending) = read(&bytes);
        prop_assert_eq!((missing, ending), (Missing::default(), Some(Ending::Finished)));
        let found: Vec<Snapshot> = found.iter().map(|snapshot| Snapshot::clone(snapshot)).collect();
        prop_assert_eq!(texts(&found), texts(&snapshots));
        // Written once more the bits of all numbers are the same, also of those that are none.
        prop_assert!(recording(&found, 2).0 == bytes);
        let lines = |of: &[Snapshot]| of.iter().map(json::snapshot).collect::<Vec<_>>();
        prop_assert_eq!(lines(&found), lines(&snapshots));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(mut bytes: Vec<u8>, content: Vec<u8>) {
        let mut all = prologue::to_bytes();
        all.append(&mut bytes);
        all.extend(Packed::of(&content).unwrap().to_block(0));
        read(&all);
    }
}
