use super::*;
use crate::screen::{
    columns::{COLUMNS, HELD, Order},
    input::{Key, Request, Walked},
    rows::RollUp,
    scene::{self, press},
};

fn names(state: &State) -> Vec<String> {
    let snapshot = state.snapshot().unwrap();
    (0..state.rows.len())
        .map(|at| {
            let row = state.rows.at(snapshot, at).unwrap();
            (COLUMNS[0].text)(&row, &snapshot.table)
        })
        .collect()
}

fn next(state: &mut State, second: u64) {
    state.take(Input::Interval(vec![Arc::new(scene::snapshot(second))]));
}

#[test]
fn the_fullest_namespace_is_shown_until_another_is_chosen() {
    let mut state = scene::state(80, 24);
    assert_eq!(state.netns, Some(1));
    press(&mut state, "3j\n");
    assert_eq!((state.netns, state.tab), (Some(2), Tab::Sources));
    assert!(state.advised.last.is_none(), "advice was on the other one");
    // When it is gone, what is left is shown.
    next(&mut state, 11);
    assert_eq!(state.netns, Some(1));
    state.take(Input::Interval(Vec::new()));
    assert_eq!((state.netns, state.rows.len()), (None, 0));
}

#[test]
fn columns_are_sorted_by_and_the_order_turned() {
    let mut state = scene::state(80, 24);
    press(&mut state, "s");
    assert_eq!(
        (state.arrangement.sorted_by, state.arrangement.order),
        (HELD + 1, Order::Descending)
    );
    press(&mut state, "SSS");
    assert_eq!((state.arrangement.sorted_by, state.arrangement.order), (0, Order::Ascending));
    let first = names(&state)[0].clone();
    press(&mut state, "R");
    assert_eq!(names(&state).last(), Some(&first));
    press(&mut state, "S");
    assert_eq!(state.arrangement.sorted_by, COLUMNS.len() - 1);
}

#[test]
fn a_filter_is_typed_corrected_and_taken_away() {
    let mut state = scene::state(80, 24);
    let all = names(&state);
    press(&mut state, "f10.0.1. tpc\n");
    assert!(
        matches!(&state.overlay, Overlay::Filter { why_not: Some(why), .. } if why.contains("tpc"))
    );
    assert_eq!(names(&state), all, "a filter that makes no sense leaves nothing out");
    press(&mut state, "\x08\x08\x08tcp\n");
    assert_eq!((state.overlay.clone(), state.filter_text.as_str()), (Overlay::None, "10.0.1. tcp"));
    assert!(
        !names(&state).is_empty() && names(&state).iter().all(|name| name.starts_with("10.0.1."))
    );
    // While one is typed, keys are its characters.
    assert!(press(&mut state, "fq").is_empty());
    press(&mut state, "\x1b");
    assert_eq!(state.filter_text, "10.0.1. tcp");
    press(&mut state, "\x1b");
    assert_eq!(names(&state), all);
}

#[test]
fn the_chosen_source_stays_chosen_wherever_it_goes() {
    let mut state = scene::state(80, 24);
    press(&mut state, "jj");
    let chosen = names(&state)[state.sources.at].clone();
    let mut snapshot = scene::snapshot(11);
    snapshot.sources.reverse();
    let last = snapshot.sources.len() - 1;
    // It has grown beyond all others.
    snapshot.sources[last - 2].entries = Some(1_000_000);
    state.take(Input::Interval(vec![Arc::new(snapshot)]));
    assert_eq!((state.sources.at, names(&state)[0].clone()), (0, chosen));
}

#[test]
fn at_the_top_whoever_comes_there_is_chosen() {
    let mut state = scene::state(80, 24);
    let mut snapshot = scene::snapshot(11);
    snapshot.sources[5].entries = Some(1_000_000);
    state.take(Input::Interval(vec![Arc::new(snapshot)]));
    assert_eq!(state.sources.at, 0);
}

#[test]
fn while_it_is_paused_the_picture_stands_still_and_nothing_is_lost() {
    let mut state = scene::state(80, 24);
    press(&mut state, "p");
    let before = (state.snapshot().unwrap().wall_ns, state.events.len());
    (11..=13).for_each(|second| next(&mut state, second));
    assert_eq!((state.snapshot().unwrap().wall_ns, state.events.len()), before);
    press(&mut state, "p");
    assert_eq!(state.snapshot().unwrap().wall_ns, scene::snapshot(13).wall_ns);
    assert_eq!(state.events.len(), before.1 + 3);
}

#[test]
fn a_prefix_leads_to_its_addresses_and_an_address_to_its_connections() {
    let mut state = scene::state(80, 24);
    press(&mut state, "xxx\n");
    assert_eq!(state.arrangement.roll_up, RollUp::Network);
    assert_eq!(state.filter_text, "10.0.0.0/16");
    press(&mut state, "\n");
    assert_eq!(
        (state.arrangement.roll_up, state.filter_text.as_str()),
        (RollUp::Address, "10.0.1.0/24")
    );
    let effects = press(&mut state, "\n");
    let request = Request { netns: 1, network: "10.0.1.2/32".parse().unwrap() };
    assert_eq!(effects, [Effect::Walk(request)]);
    let source = state.source.as_ref().unwrap();
    assert_eq!((source.name(), source.parts.len()), ("10.0.1.2".to_owned(), 2));
    assert_eq!(source.sum.unwrap().entries, Some(61_400));
    press(&mut state, "\x1b");
    assert!(state.source.is_none());
}

#[test]
fn the_table_is_walked_for_a_source_no_more_often_than_it_may_be() {
    let mut state = scene::state(80, 24);
    let key = |state: &mut State| state.take(Input::Key(Key::Enter));
    let effects = key(&mut state);
    let [Effect::Walk(request)] = effects[..] else { panic!("{effects:?}") };
    assert!(state.take(Input::Tick).is_empty(), "one at a time");
    let census = scene::snapshot(0).census.unwrap().census;
    state.take(Input::Walked(request, Ok(Walked { wall_ns: 0, took_s: 2.0, census })));
    for second in 1..40 {
        assert!(state.take(Input::Tick).is_empty(), "after {second} s of 40");
    }
    assert_eq!(state.take(Input::Tick), [Effect::Walk(request)]);
}

#[test]
fn advice_is_asked_for_when_it_is_looked_at_and_when_it_is_old() {
    let mut state = State::new(80, 24, Duration::from_secs(1));
    next(&mut state, 1);
    assert_eq!(press(&mut state, "4"), [Effect::Diagnose(1)]);
    assert!(state.take(Input::Tick).is_empty(), "it is being looked for");
    state.take(Input::Diagnosed(1, Err("no".to_owned())));
    for _ in 1..ADVICE_FRESH_S {
        assert!(state.take(Input::Tick).is_empty());
    }
    assert_eq!(state.take(Input::Tick), [Effect::Diagnose(1)]);
    state.take(Input::Diagnosed(7, Err("of another namespace".to_owned())));
    assert!(matches!(&state.advised.last, Some(Err(why)) if why == "no"));
}

#[test]
fn keys_that_end_stop_or_pace_say_so() {
    let mut state = scene::state(80, 24);
    assert_eq!(press(&mut state, "q"), [Effect::Quit]);
    assert_eq!(state.take(Input::Key(Key::Control('c'))), [Effect::Quit]);
    assert_eq!(state.take(Input::Key(Key::Control('z'))), [Effect::Suspend]);
    press(&mut state, "f");
    assert_eq!(state.take(Input::Key(Key::Control('c'))), [Effect::Quit], "also while typing");
    press(&mut state, "\x1b");
    let paces = |ms: &[u64]| -> Vec<Effect> {
        ms.iter().map(|ms| Effect::Pace(Duration::from_millis(*ms))).collect()
    };
    assert_eq!(press(&mut state, "+--"), paces(&[2000, 1000, 500]));
    assert_eq!(press(&mut state, "----"), paces(&[200, 100]));
}

#[test]
fn events_are_bounded() {
    let mut state = scene::state(80, 24);
    let mut snapshot = scene::snapshot(11);
    snapshot.events = vec![snapshot.events[0].clone(); 10 * EVENTS_MAX];
    state.take(Input::Interval(vec![Arc::new(snapshot)]));
    assert_eq!((state.events.len(), state.events_waiting.len()), (EVENTS_MAX, 0));
}

#[test]
fn a_page_is_scrolled_to_its_end_and_no_further() {
    let mut state = scene::state(80, 24);
    press(&mut state, "?G");
    let end = state.scroll;
    assert!(end > 0);
    press(&mut state, "jjj");
    assert_eq!(state.scroll, end);
    press(&mut state, "k");
    assert_eq!(state.scroll, end - 1);
    press(&mut state, "\x1b");
    assert_eq!((state.scroll, state.overlay.clone()), (0, Overlay::None));
}

/// What was done, in the order of the keys.
fn deeds(effects: &[Effect]) -> Vec<String> {
    let deed = |effect: &Effect| match effect {
        Effect::Do(deed, _) => Some(deed.command()),
        _ => None,
    };
    effects.iter().filter_map(deed).collect()
}

#[test]
fn nothing_is_changed_without_a_second_key() {
    let mut state = scene::state(80, 24);
    for (keys, second) in [("b", 'y'), ("jj\nb", 'y'), ("\x1b5u", 'y'), ("c", 'y'), ("U", 'y')] {
        assert!(deeds(&press(&mut state, keys)).is_empty(), "{keys}");
        let before = state.clone();
        // Every other key leaves it, or does nothing.
        for key in (' '..='~').filter(|key| *key != second) {
            let mut state = before.clone();
            assert!(deeds(&press(&mut state, &key.to_string())).is_empty(), "{key} after {keys}");
        }
        assert!(deeds(&press(&mut state, "\n\t\x1by")).is_empty(), "it was left: {keys}");
        press(&mut state, "1\x1b\x1bg");
    }
}

#[test]
fn the_second_key_runs_what_is_shown_once() {
    let mut state = scene::state(80, 24);
    assert_eq!(deeds(&press(&mut state, "byyy")), ["ctwatch block 10.0.1.2"]);
    assert!(matches!(&state.overlay, Overlay::Deed(Deed::Block(_), Stage::Ended(Ok(_)))));
    press(&mut state, "\x1b5");
    assert_eq!(deeds(&press(&mut state, "uy")), ["ctwatch unblock 10.0.1.66"]);
    assert_eq!(deeds(&press(&mut state, "\x1bGuy")), ["ctwatch unblock 10.0.2.0/24"]);
}

#[test]
fn a_plan_comes_before_it_is_carried_out() {
    let mut state = scene::state(80, 24);
    let id = state.advised.known().unwrap().advice[1].id.clone();
    let plan = format!("ctwatch apply {id} --for 5s");
    let apply = format!("ctwatch apply {id} --yes --confirm-within 5m --no-look-after");
    assert_eq!(deeds(&press(&mut state, "4a2")), [plan]);
    assert_eq!(deeds(&press(&mut state, "y")), [apply]);
    assert_eq!(deeds(&press(&mut state, "yc")), Vec::<String>::new());
    assert_eq!(deeds(&press(&mut state, "yUy")), ["ctwatch confirm", "ctwatch rollback"]);
}

#[test]
fn what_cannot_be_done_is_said() {
    let mut state = State::new(80, 24, Duration::from_secs(1));
    for (keys, said) in
        [("b", "choose a source"), ("a", "no advice yet"), ("5u", "nobody is blocked")]
    {
        press(&mut state, keys);
        assert!(state.message.as_ref().unwrap().contains(said), "{keys}: {:?}", state.message);
    }
    let mut state = scene::state(80, 24);
    press(&mut state, "4a9");
    assert!(state.message.as_ref().unwrap().contains("no advice of that number"));
    press(&mut state, "a1");
    assert!(state.message.as_ref().unwrap().contains("b blocks a source"));
}

#[test]
fn the_end_of_a_deed_is_told_wherever_one_is() {
    let mut state = scene::state(80, 24);
    let deed = Deed::Block("10.0.1.2/32".parse().unwrap());
    state.take(Input::Key(Key::Character('b')));
    assert_eq!(state.take(Input::Key(Key::Character('y'))), [Effect::Do(deed.clone(), 1)]);
    press(&mut state, "\x1b");
    state.take(Input::Done(deed, Err("nft is not there".to_owned())));
    assert_eq!(state.message.as_deref(), Some("failed: ctwatch block 10.0.1.2"));
}
