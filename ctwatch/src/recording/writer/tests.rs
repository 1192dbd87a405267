use super::*;
use crate::{
    output::sample,
    recording::player::{Player, Speed},
};

const BOUNDS: Bounds = Bounds { part_bytes: 64 << 20, parts: 4 };

fn writer(path: &Path, bounds: Bounds) -> Writer {
    let beginning = Beginning { begun_wall_ns: 7, ..Beginning::default() };
    Writer::create(path, Existing::Keep, bounds, beginning).unwrap()
}

fn at(second: i128) -> Snapshot {
    Snapshot { wall_ns: second, ..sample::snapshot() }
}

/// The times of all snapshots, and what is missing.
fn played(path: &Path) -> (Vec<i128>, Vec<String>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let mut player = Player::open(path, Speed::Max).unwrap();
        let mut times = Vec::new();
        while let Some(snapshot) = player.next().await.unwrap() {
            assert!(player.is_interval_complete());
            times.push(snapshot.wall_ns);
        }
        (times, player.parts().defects())
    })
}

#[test]
fn a_block_is_written_after_five_seconds_and_not_earlier() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    let mut writer = writer(&path, BOUNDS);
    let began = Instant::now();
    for second in 0..5 {
        writer
            .add(&at(second), Place::LastOfInterval, began + Duration::from_secs(second as u64))
            .unwrap();
    }
    assert_eq!(writer.due(), Some(began + BLOCK_TIME));
    assert_eq!(played(&path).0, []);
    writer.add(&at(5), Place::LastOfInterval, began + BLOCK_TIME).unwrap();
    let (times, defects) = played(&path);
    assert_eq!((times, writer.due()), ((0..6).collect(), None));
    let [killed] = defects.as_slice() else { panic!("{defects:?}") };
    assert!(killed.contains("still recording, or was killed"), "{killed}");
    let recorded = writer.finish().unwrap();
    assert_eq!((recorded.snapshots, recorded.bytes), (6, fs::metadata(&path).unwrap().len()));
    assert_eq!(played(&path), ((0..6).collect(), vec![]));
}

#[test]
fn full_parts_make_room_and_no_part_is_longer_than_it_may_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    let bounds = Bounds { part_bytes: 8_000, parts: 3 };
    let mut writer = writer(&path, bounds);
    for second in 0..200 {
        writer.add(&at(second), Place::LastOfInterval, Instant::now()).unwrap();
        writer.flush().unwrap();
    }
    let recorded = writer.finish().unwrap();
    assert!(recorded.full_parts > 3, "{recorded:?}");
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|file| file.unwrap()).collect();
    files.sort_by_key(|file| file.file_name());
    let names: Vec<_> = files.iter().map(|file| file.file_name().into_string().unwrap()).collect();
    assert_eq!(names, ["recording", "recording.1", "recording.2"]);
    assert!(files.iter().all(|file| file.metadata().unwrap().len() <= bounds.part_bytes));
    let (times, defects) = played(&path);
    assert_eq!(times, (times[0]..200).collect::<Vec<_>>());
    assert!(times[0] > 0 && defects.len() == 1, "{defects:?}");
    assert!(defects[0].contains("earliest parts"), "{defects:?}");
    // One that has lost its successor says so.
    let (_, defects) = played(&part_path(&path, 1));
    assert!(defects.iter().any(|defect| defect.contains("goes on in a part")), "{defects:?}");
}

#[test]
fn what_is_there_is_replaced_only_if_it_is_a_recording_and_that_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    writer(&path, BOUNDS).finish().unwrap();
    let again = |existing| Writer::create(&path, existing, BOUNDS, Beginning::default());
    assert!(matches!(again(Existing::Keep), Err(WriteError::Exists { .. })));
    again(Existing::Replace).unwrap().finish().unwrap();
    for (kind, make) in [
        ("text", (|path: &Path| fs::write(path, "notes\n").unwrap()) as fn(&Path)),
        ("folder", |path: &Path| fs::create_dir(path).unwrap()),
        ("link", |path: &Path| std::os::unix::fs::symlink("recording", path).unwrap()),
    ] {
        let other = folder.path().join(kind);
        make(&other);
        let made = Writer::create(&other, Existing::Replace, BOUNDS, Beginning::default());
        assert!(matches!(made, Err(WriteError::NotARecording { .. })), "{kind}: {made:?}");
    }
}

#[test]
fn what_the_machine_was_is_kept_when_it_changes_and_each_part_begins_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    let mut writer = writer(&path, Bounds { part_bytes: 8_000, parts: 3 });
    let state = |netns, limit: i64| {
        let mut case = crate::advise::samples::case(|_| {});
        case.facts.unread.push(crate::advise::facts::Unread {
            what: "rules".into(),
            why: "nft is not there".to_owned(),
        });
        case.settings.values.insert(crate::advise::settings::LIMIT.to_owned(), limit);
        MachineState { wall_ns: 7, netns, settings: case.settings, facts: case.facts }
    };
    for (netns, limit) in [(1, 100), (2, 200), (1, 300)] {
        writer.add_machine_state(state(netns, limit), Instant::now()).unwrap();
    }
    writer.flush().unwrap();
    let bytes = writer.recorded.bytes;
    let same = MachineState { wall_ns: 8, ..state(1, 300) };
    writer.add_machine_state(same, Instant::now()).unwrap();
    writer.flush().unwrap();
    assert_eq!(writer.recorded.bytes, bytes, "only the moment is another one");
    for second in 0..200 {
        writer.add(&at(second), Place::LastOfInterval, Instant::now()).unwrap();
        writer.flush().unwrap();
    }
    assert!(writer.finish().unwrap().full_parts > 3);
    // The part in which they were read is gone.
    let mut parts = crate::recording::parts::Parts::open(&path).unwrap();
    assert!(parts.read_bytes() < parts.bytes());
    while parts.read().unwrap().is_some() {}
    assert_eq!(parts.machine_state(1), Some(&state(1, 300)));
    assert_eq!(parts.machine_state(2), Some(&state(2, 200)));
    assert_eq!(parts.machine_state(3), None);
    assert_eq!(parts.read_bytes(), parts.bytes());
}

#[test]
fn a_recording_that_is_there_can_become_the_part_before_and_is_replayed_by_that_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    let bounds = Bounds { part_bytes: 8_000, parts: 5 };
    for begun_wall_ns in [100, 200] {
        let beginning = Beginning { begun_wall_ns, ..Beginning::default() };
        let mut writer = Writer::create(&path, Existing::Precede, bounds, beginning).unwrap();
        while writer.recorded.full_parts < 1 {
            writer.add(&at(begun_wall_ns), Place::LastOfInterval, Instant::now()).unwrap();
            writer.flush().unwrap();
        }
        writer.finish().unwrap();
    }
    for (number, second) in [(0, 200), (1, 200), (2, 100), (3, 100)] {
        let (times, defects) = played(&part_path(&path, number));
        assert!(!times.is_empty() && times.iter().all(|time| *time == second), "{times:?}");
        // Those that are last of their recording are whole.
        assert_eq!(defects.is_empty(), number % 2 == 0, "{number}: {defects:?}");
    }
    assert!(!part_path(&path, 4).exists());
    // What is no recording stays, even where a part would only come to be later.
    fs::write(part_path(&path, 4), "notes\n").unwrap();
    let again = Writer::create(&path, Existing::Precede, bounds, Beginning::default());
    assert!(matches!(again, Err(WriteError::NotARecording { .. })), "{again:?}");
}

#[test]
fn a_full_disk_ends_it_and_what_was_written_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    let mut writer = writer(&path, BOUNDS);
    writer.add(&at(1), Place::LastOfInterval, Instant::now()).unwrap();
    writer.flush().unwrap();
    // A file that is always full (full(4)).
    let whole = std::mem::replace(
        &mut writer.file,
        File::options().append(true).open("/dev/full").unwrap(),
    );
    writer.add(&at(2), Place::LastOfInterval, Instant::now()).unwrap();
    let error = writer.flush().unwrap_err().to_string();
    assert!(error.contains("No space left") && error.contains("can be replayed"), "{error}");
    drop(whole);
    assert_eq!(played(&path).0, [1]);
}

#[test]
fn beginning_again_and_again_pushes_out_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    let bounds = Bounds { part_bytes: 1 << 20, parts: 2 };
    let begin = || Writer::create(&path, Existing::Precede, bounds, Beginning::default());
    let mut writer = begin().unwrap();
    writer.add(&at(1), Place::LastOfInterval, Instant::now()).unwrap();
    writer.finish().unwrap();
    for _ in 0..3 {
        begin().unwrap();
        // As when its beginning cannot be written.
        fs::remove_file(&path).unwrap();
    }
    assert_eq!(played(&part_path(&path, 1)).0, [1]);
    // One that was killed at its first step is in nobody's way.
    fs::write(&path, "").unwrap();
    begin().unwrap();
}

#[test]
fn only_its_owner_reads_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    writer(&path, BOUNDS).finish().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn ten_minutes_of_a_flood_from_changing_sources_stay_in_one_part() {
    use crate::model::{event::Event, snapshot::SourceNumbers, source};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    let mut writer = writer(&path, BOUNDS);
    let one = sample::snapshot();
    // 50 000 connections a second from 20 000 sources, others each second, of which the 1000 are listed that hold most; as many
    // events as may be; and every ten seconds a machine with less free memory.
    let address = |of: u64| {
        let mixed = of.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        source::key(1, std::net::Ipv4Addr::from((mixed >> 16) as u32).into(), 17)
    };
    let seconds = 20;
    for second in 0..seconds {
        let sources = (0..1000).map(|rank| {
            let key = address(second * 20_000 + rank);
            let new = 2 + (u64::from(key.address[2]) << 3) / (rank + 1);
            SourceNumbers {
                key: Some(key),
                new: Some(new),
                entries: Some(new),
                confirmed: Some(new),
                refused: Some(new % 7),
                entry_seconds: Some(new as f64 * 0.937),
                new_per_s: Some(new as f64 / 1.000_31),
                refused_per_s: Some((new % 7) as f64 / 1.000_31),
                ..one.totals
            }
        });
        let events = (0..1000).map(|number| Event {
            wall_ns: one.wall_ns + i128::from(second * 1_000_000_000 + number * 993_000),
            source: address(second * 20_000 + number),
            source_port: Some((number * 7919 % 60_000) as u16),
            suppressed: number % 5,
            ..sample::event()
        });
        if second % 10 == 0 {
            let mut case = crate::advise::samples::case(|_| {});
            case.facts.memory.available_bytes = Some((8 << 30) - 40_961 * second);
            let (settings, facts) = (case.settings, case.facts);
            let state = MachineState { wall_ns: 7, netns: 1, settings, facts };
            writer.add_machine_state(state, Instant::now()).unwrap();
        }
        let snapshot =
            Snapshot { sources: sources.collect(), events: events.collect(), ..one.clone() };
        writer.add(&snapshot, Place::LastOfInterval, Instant::now()).unwrap();
    }
    let recorded = writer.finish().unwrap();
    let ten_minutes = recorded.bytes * 600 / seconds;
    println!("{ten_minutes} bytes in ten minutes");
    assert!(ten_minutes < BOUNDS.part_bytes, "{ten_minutes} bytes");
}
