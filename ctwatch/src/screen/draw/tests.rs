//! Each screen as text at three sizes, in files under tests/golden/screen; and at all other sizes without a panic.

use std::{fs, path::Path};

use proptest::prelude::*;
use ratatui::style::Color;

use super::*;
use crate::screen::{
    input::{Input, Key},
    scene,
    style::{Characters, Colours},
};

/// Set to rewrite the files instead of comparing them.
const UPDATE: &str = "CTWATCH_UPDATE_DOCS";
const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (40, 12)];
const UNICODE: Looks = Looks { colours: Colours::Sixteen, characters: Characters::Unicode };
const PLAIN: Looks = Looks { colours: Colours::None, characters: Characters::Ascii };

/// Screens, and the keys that lead there.
const SCREENS: [(&str, &str); 16] = [
    ("sources", ""),
    ("sources-chosen", "jjj"),
    ("sources-refused", "ss"),
    ("sources-filtered", "f10.0.1. udp\n"),
    ("sources-by-network", "xx"),
    ("filter-typed", "f10.0.0.0/8 tpc\n"),
    ("source", "\n"),
    ("events", "2"),
    ("namespaces", "3"),
    ("advice", "4"),
    ("advice-number", "4a"),
    ("advice-plan", "4a2"),
    ("blocks", "5j"),
    ("block-asked", "b"),
    ("health", "6"),
    ("help", "?"),
];

fn picture(state: &State, looks: Looks) -> Buffer {
    let mut buffer = Buffer::empty(state.area);
    draw(state, looks, &mut buffer);
    buffer
}

/// The characters, line by line, without spaces at the ends.
fn text(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width).max(1);
    let line = |cells: &[ratatui::buffer::Cell]| {
        let line: String = cells.iter().map(|cell| cell.symbol()).collect();
        line.trim_end().to_owned() + "\n"
    };
    buffer.content().chunks(width).map(line).collect()
}

#[test]
fn every_screen_looks_as_it_should() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/screen");
    let update = std::env::var_os(UPDATE).is_some();
    if update {
        fs::create_dir_all(&folder).unwrap();
    }
    let mut wrong = Vec::new();
    for (columns, lines) in SIZES {
        for (name, keys) in SCREENS {
            let mut state = scene::state(columns, lines);
            scene::press(&mut state, keys);
            let text = text(&picture(&state, UNICODE));
            let path = folder.join(format!("{name}-{columns}x{lines}.txt"));
            if update {
                fs::write(&path, &text).unwrap();
            }
            if fs::read_to_string(&path).unwrap_or_default() != text {
                wrong.push(format!("{}:\n{text}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "run the tests with {UPDATE}=1 and look at:\n{}", wrong.join("\n"));
}

#[test]
fn without_colours_there_are_none_and_nothing_is_missing() {
    for (_, keys) in SCREENS {
        let mut state = scene::state(80, 24);
        scene::press(&mut state, keys);
        let plain = picture(&state, Looks { colours: Colours::None, ..UNICODE });
        assert_eq!(text(&plain), text(&picture(&state, UNICODE)), "{keys}");
        let is_coloured =
            |cell: &ratatui::buffer::Cell| cell.fg != Color::Reset || cell.bg != Color::Reset;
        assert!(!plain.content().iter().any(is_coloured), "{keys}");
        let ascii = text(&picture(&state, PLAIN));
        assert!(ascii.is_ascii(), "{ascii}");
    }
    let coloured = picture(&scene::state(80, 24), UNICODE);
    assert!(coloured.content().iter().any(|cell| cell.fg == Color::Red));
}

#[test]
fn the_chosen_row_stands_out_without_colours_too() {
    let mut state = scene::state(80, 24);
    scene::press(&mut state, "jj");
    let buffer = picture(&state, PLAIN);
    let body = state.layout().body;
    let is_reversed = |line: u16| {
        buffer[(0, body.y + line)].modifier.contains(ratatui::style::Modifier::REVERSED)
    };
    let reversed: Vec<u16> = (0..body.height).filter(|line| is_reversed(*line)).collect();
    assert_eq!(reversed, [0, 3], "the headings, and the third row");
}

fn input() -> impl Strategy<Value = Input> {
    let key = prop_oneof![
        8 => proptest::sample::select("qjkgGsSRfx/ p+-r?bacuUy123456<>0123456789.:/tcpud".chars().collect::<Vec<_>>())
            .prop_map(Key::Character),
        1 => any::<char>().prop_map(Key::Character),
        6 => proptest::sample::select(vec![
            Key::Up, Key::Down, Key::PageUp, Key::PageDown, Key::Home, Key::End, Key::Tab, Key::BackTab, Key::Enter,
            Key::Escape, Key::Backspace, Key::Control('u'), Key::Control('l'), Key::Left, Key::Right,
        ]),
    ];
    prop_oneof![
        6 => key.prop_map(Input::Key),
        2 => (0_u64..100).prop_map(|second| Input::Interval(vec![scene::snapshot(second).into()])),
        1 => Just(Input::Interval(Vec::new())),
        2 => (0_u16..200, 0_u16..80).prop_map(|(columns, lines)| Input::Resize(columns, lines)),
        1 => (1_u16..5, 1_u16..5).prop_map(|(columns, lines)| Input::Resize(columns, lines)),
        1 => Just(Input::Tick),
        1 => ".{0,300}".prop_map(Input::Said),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_that_happens_makes_it_panic(
        inputs in proptest::collection::vec(input(), 0..60), lines in 0_u16..30,
    ) {
        let mut state = scene::state(80, lines);
        for input in inputs {
            state.take(input);
            let buffer = picture(&state, UNICODE);
            prop_assert_eq!(buffer.area, state.area);
        }
    }
}

#[test]
fn every_screen_can_be_drawn_at_every_size() {
    for (_, keys) in SCREENS {
        let mut state = scene::state(80, 24);
        scene::press(&mut state, keys);
        for lines in 0..14 {
            for columns in (0..50).chain([300]) {
                state.take(Input::Resize(columns, lines));
                picture(&state, PLAIN);
            }
        }
    }
}
