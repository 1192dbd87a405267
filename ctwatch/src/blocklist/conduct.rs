//! How one source behaves over a window: whether it stands out, for how long, and whom that has harmed meanwhile.

use super::{
    policy::Policy,
    window::{Activity, Interval, Window},
};
use crate::advise::wording::{list, percent_of};

/// Where it is not seen who is refused, a table as full as this is taken to refuse somebody.
pub const FULL_MIN: f64 = 0.95;

/// What a source did while it stood out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Conduct {
    /// Entries that it held in the end.
    pub entries: u64,
    /// What there was room for then.
    pub room: u64,
    /// Packets that asked for an entry, over `seconds`.
    pub asked: u64,
    /// The same of everybody.
    pub asked_by_all: u64,
    /// How long it has stood out.
    pub seconds: f64,
    /// Packets of others refused meanwhile; `None` if that is not seen.
    pub refused_of_others: Option<u64>,
    /// Entries of others thrown out meanwhile, as far as that is seen.
    pub evicted_of_others: u64,
    /// Whether the table was all but full at some time meanwhile.
    pub was_full: bool,
}

/// What is to be thought of a source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Judgement {
    /// It does not stand out, or not long enough.
    Fine,
    /// It stands out, and that has harmed nobody.
    Harmless(Conduct),
    /// It stands out, and others suffer.
    Culprit(Conduct),
}

/// Judges what a source did in each interval of the window.
pub fn judge(activities: &[Activity], window: &Window, policy: &Policy) -> Judgement {
    let mut run = 0;
    let mut conduct = Conduct::default();
    let mut is_out = false;
    for (activity, interval) in activities.iter().zip(window.intervals()) {
        if stands_out(activity, interval, policy, 1.0) {
            run += 1;
            is_out |= run >= policy.intervals_min;
        } else if !(is_out && stands_out(activity, interval, policy, policy.leave_at)) {
            (run, is_out, conduct) = (0, false, Conduct::default());
            continue;
        }
        conduct.go_on(activity, interval);
    }
    let refused = conduct.refused_of_others;
    let harm = refused.unwrap_or(0).saturating_add(conduct.evicted_of_others);
    let harms = harm >= policy.harm_min || (refused.is_none() && conduct.was_full);
    match (is_out, harms) {
        (false, _) => Judgement::Fine,
        (true, false) => Judgement::Harmless(conduct),
        (true, true) => Judgement::Culprit(conduct),
    }
}

/// Whether it holds, or asks for, this part of what the policy allows.
fn stands_out(activity: &Activity, interval: &Interval, policy: &Policy, part: f64) -> bool {
    let is_much = |amount: f64, least: u64, whole: f64| {
        amount > 0.0 && amount >= least as f64 * part && amount >= whole * policy.share_min * part
    };
    let entries = activity.entries.unwrap_or(0);
    let holds = is_much(entries as f64, policy.entries_min, interval.room as f64);
    let per_s =
        |count: u64| if interval.seconds > 0.0 { count as f64 / interval.seconds } else { 0.0 };
    let asks =
        is_much(per_s(activity.asked()), policy.asked_per_s_min, per_s(interval.totals.asked()));
    let unreplied = activity.unreplied.unwrap_or(0).min(entries);
    let is_unreplied = unreplied as f64 >= entries as f64 * policy.unreplied_share_min;
    (holds || asks) && is_unreplied
}

impl Conduct {
    fn go_on(&mut self, activity: &Activity, interval: &Interval) {
        let totals = &interval.totals;
        self.entries = activity.entries.unwrap_or(0);
        self.room = interval.room;
        self.asked = self.asked.saturating_add(activity.asked());
        self.asked_by_all = self.asked_by_all.saturating_add(totals.asked());
        self.seconds += interval.seconds;
        let of_others = |all: u64, own: Option<u64>| all.saturating_sub(own.unwrap_or(0));
        if let Some(all) = totals.refused {
            let refused = of_others(all, activity.refused);
            self.refused_of_others =
                Some(self.refused_of_others.unwrap_or(0).saturating_add(refused));
        }
        if let Some(all) = totals.evicted {
            let evicted = of_others(all, activity.evicted);
            self.evicted_of_others = self.evicted_of_others.saturating_add(evicted);
        }
        self.was_full |= interval.entries as f64 >= interval.room as f64 * FULL_MIN;
    }

    /// The larger of its shares of the table and of what is asked for.
    pub fn share(&self) -> f64 {
        let of = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        of(self.entries, self.room).max(of(self.asked, self.asked_by_all))
    }

    /// Why it is listed, short enough for a comment of nf_tables: `holds 80 % of the table, asks for 400/s (61 % of all); of
    /// others 77 refused, 3 evicted`.
    pub fn text(&self) -> String {
        let Self { entries, room, asked, asked_by_all, seconds, .. } = *self;
        let mut what = format!("holds {} of the table", percent_of(entries, room));
        if asked > 0 && seconds > 0.0 {
            let per_s = asked as f64 / seconds;
            what +=
                &format!(", asks for {per_s:.0}/s ({} of all)", percent_of(asked, asked_by_all));
        }
        let harm = [
            self.refused_of_others
                .filter(|count| *count > 0)
                .map(|count| format!("{count} refused")),
            Some(self.evicted_of_others)
                .filter(|count| *count > 0)
                .map(|count| format!("{count} evicted")),
        ];
        let harm: Vec<String> = harm.into_iter().flatten().collect();
        if harm.is_empty() { what } else { format!("{what}; of others {}", list(&harm)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocklist::samples::{self, Seen};

    fn judge(intervals: &[&[Seen]], policy: &Policy) -> Judgement {
        let window = samples::window(intervals);
        let activities: Vec<Activity> = window
            .intervals()
            .iter()
            .map(|interval| {
                interval
                    .by_network
                    .get(&"10.0.1.66/32".parse().unwrap())
                    .copied()
                    .unwrap_or_default()
            })
            .collect();
        super::judge(&activities, &window, policy)
    }

    fn is_culprit(judgement: Judgement) -> bool {
        matches!(judgement, Judgement::Culprit(_))
    }

    const OTHER: Seen = Seen { source: "10.0.2.1", entries: 10, new: 1, refused: 9 };
    const CALM: Seen = Seen { refused: 0, ..OTHER };

    fn held(entries: u64) -> [Seen; 2] {
        [Seen { source: "10.0.1.66", entries, new: 0, refused: 0 }, OTHER]
    }

    #[test]
    fn it_has_to_stand_out_long_enough() {
        // The sample table has room for 1000.
        let (much, little) = (held(500), held(50));
        let policy = Policy::default();
        assert_eq!(judge(&[&much, &much], &policy), Judgement::Fine);
        assert!(is_culprit(judge(&[&little, &much, &much, &much], &policy)));
        assert_eq!(judge(&[&much, &much, &little, &much, &much], &policy), Judgement::Fine);
        assert!(is_culprit(judge(&[&much], &Policy { intervals_min: 1, ..policy })));
    }

    #[test]
    fn it_is_let_off_well_below_the_threshold_only() {
        let (much, less, little) = (held(200), held(100), held(99));
        let policy = Policy { leave_at: 0.5, ..Policy::default() };
        assert!(is_culprit(judge(&[&much, &much, &much, &less, &less], &policy)));
        assert_eq!(judge(&[&much, &much, &much, &less, &little], &policy), Judgement::Fine);
        // What is below the threshold does not make anybody stand out.
        assert_eq!(judge(&[&much, &much, &less, &less, &less], &policy), Judgement::Fine);
        assert_eq!(judge(&[&much, &much, &much, &little, &less], &policy), Judgement::Fine);
    }

    #[test]
    fn share_and_amount_are_both_asked_for_and_without_a_share_the_amount_decides() {
        let policy = Policy { intervals_min: 1, ..Policy::default() };
        assert!(is_culprit(judge(&[&held(200)], &policy)));
        assert_eq!(judge(&[&held(199)], &policy), Judgement::Fine);
        let amount = Policy { share_min: 0.0, entries_min: 150, ..policy.clone() };
        assert!(is_culprit(judge(&[&held(150)], &amount)));
        assert_eq!(judge(&[&held(149)], &amount), Judgement::Fine);
        assert_eq!(judge(&[&held(300)], &Policy { entries_min: 301, ..policy }), Judgement::Fine);
    }

    #[test]
    fn who_asks_stands_out_though_nothing_is_held() {
        let policy = Policy { intervals_min: 1, ..Policy::default() };
        let asks = |refused| [Seen { source: "10.0.1.66", entries: 0, new: 0, refused }, OTHER];
        assert!(is_culprit(judge(&[&asks(100)], &policy)));
        assert_eq!(judge(&[&asks(99)], &policy), Judgement::Fine);
        let busy = Seen { source: "10.0.2.2", entries: 10, new: 900, refused: 0 };
        let [abuser, other] = asks(100);
        assert_eq!(judge(&[&[abuser, other, busy]], &policy), Judgement::Fine);
    }

    #[test]
    fn harm_is_what_others_suffer_and_not_itself() {
        let policy = Policy { intervals_min: 1, ..Policy::default() };
        let abuser = Seen { source: "10.0.1.66", entries: 900, new: 50, refused: 70 };
        let Judgement::Harmless(conduct) = judge(&[&[abuser, CALM]], &policy) else { panic!() };
        assert_eq!(conduct.refused_of_others, Some(0));
        assert!(is_culprit(judge(&[&[abuser, CALM]], &Policy { harm_min: 0, ..policy.clone() })));
        let Judgement::Culprit(conduct) = judge(&[&[abuser, OTHER]], &policy) else { panic!() };
        assert_eq!(conduct.refused_of_others, Some(9));
        assert_eq!(
            conduct.text(),
            "holds 90 % of the table, asks for 120/s (92 % of all); of others 9 refused"
        );
        let more = Policy { harm_min: 10, ..policy };
        assert!(matches!(judge(&[&[abuser, OTHER]], &more), Judgement::Harmless(_)));
        assert!(is_culprit(judge(&[&[abuser, OTHER], &[abuser, OTHER]], &more)));
    }

    #[test]
    fn where_refusals_are_not_seen_a_full_table_is_harm() {
        let policy = Policy { intervals_min: 1, ..Policy::default() };
        let judge = |entries| {
            let abuser = Seen { source: "10.0.1.66", entries: 900, new: 0, refused: 0 };
            let window = samples::unseen(samples::snapshot(&[abuser], entries));
            let activity = *window.intervals()[0].by_network.values().next().unwrap();
            super::judge(&[activity], &window, &policy)
        };
        assert!(is_culprit(judge(950)));
        assert!(matches!(judge(949), Judgement::Harmless(_)));
    }

    #[test]
    fn the_share_without_an_answer_counts_if_it_is_asked_for() {
        let window = samples::window(&[&held(500)]);
        let interval = &window.intervals()[0];
        let policy = Policy { unreplied_share_min: 0.9, ..Policy::default() };
        let of = |unreplied| Activity { entries: Some(500), unreplied, ..Activity::default() };
        assert!(stands_out(&of(Some(450)), interval, &policy, 1.0));
        assert!(!stands_out(&of(Some(449)), interval, &policy, 1.0));
        assert!(!stands_out(&of(None), interval, &policy, 1.0));
        assert!(stands_out(&of(None), interval, &Policy::default(), 1.0));
    }
}
