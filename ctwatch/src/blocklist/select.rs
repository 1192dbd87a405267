//! Chooses who is kept out: pure, and the same whatever the order of what was seen.

use std::{cmp::Reverse, collections::BTreeMap};

use ipnet::IpNet;

use super::{
    Block, Blocklist, Spared,
    conduct::{Conduct, Judgement, judge},
    explanation,
    policy::Policy,
    protected::{Protected, unmapped},
    window::{Activity, Window},
};
use crate::model::source::CUSTOMER_IPV6;

/// Chooses from the window who is listed under the policy; nobody who is protected.
pub fn select(window: &Window, policy: &Policy, protected: &Protected) -> Blocklist {
    let mut list = Blocklist { wall_ns: window.wall_ns(), ..Blocklist::default() };
    if let Some(flood) = explanation::spoofed_flood(window, policy) {
        list.notes.push(flood);
        return list;
    }
    let sources = Sources::of(window, protected);
    let mut chosen = Chosen::default();
    sources.judge(window, policy, protected, &mut chosen);
    sources.aggregate(window, policy, protected, &mut chosen);
    let harmless = std::mem::take(&mut chosen.harmless);
    cap(chosen, &sources, policy, &mut list);
    list.notes.extend(explanation::of_mode(window, policy));
    if list.blocks.is_empty() && list.spared.is_empty() {
        list.notes.push(explanation::nobody(window, policy, &harmless, sources.most()));
    }
    list
}

/// What each source did, interval by interval.
struct Sources {
    /// Addresses of IPv4, /64s of IPv6, and prefixes whose addresses had no room. Where a /64 has something protected in it, it
    /// is the network of many customers, and its addresses stand for themselves.
    by_network: BTreeMap<IpNet, Vec<Activity>>,
    /// Those /64s.
    shared: BTreeMap<IpNet, Vec<Activity>>,
}

/// Who is to be blocked, before the caps.
#[derive(Default)]
struct Chosen {
    culprits: BTreeMap<IpNet, Conduct>,
    spared: BTreeMap<IpNet, String>,
    harmless: BTreeMap<IpNet, Conduct>,
}

impl Sources {
    fn of(window: &Window, protected: &Protected) -> Self {
        let mut sources = Self { by_network: BTreeMap::new(), shared: BTreeMap::new() };
        let count = window.intervals().len();
        for (position, interval) in window.intervals().iter().enumerate() {
            for (network, activity) in &interval.by_network {
                let network = unmapped(network);
                let customer = customer(&network);
                let is_shared = customer != network && protected.why(&customer).is_some();
                if is_shared {
                    include(&mut sources.shared, customer, position, count, activity);
                }
                let source = if is_shared { network } else { customer };
                include(&mut sources.by_network, source, position, count, activity);
            }
        }
        sources
    }

    fn judge(&self, window: &Window, policy: &Policy, protected: &Protected, chosen: &mut Chosen) {
        for (network, activities) in self.by_network.iter().chain(&self.shared) {
            match judge(activities, window, policy) {
                Judgement::Fine => {}
                Judgement::Harmless(conduct) => {
                    chosen.harmless.insert(*network, conduct);
                }
                Judgement::Culprit(conduct) => match why_not(network, protected) {
                    Some(why) => {
                        chosen.spared.insert(*network, why);
                    }
                    None => {
                        chosen.culprits.insert(*network, conduct);
                    }
                },
            }
        }
    }

    /// Puts culprits of one prefix together, and lists a prefix whose other sources stand out together.
    fn aggregate(
        &self,
        window: &Window,
        policy: &Policy,
        protected: &Protected,
        chosen: &mut Chosen,
    ) {
        let mut groups: BTreeMap<IpNet, Vec<(&IpNet, &Vec<Activity>)>> = BTreeMap::new();
        for (network, activities) in &self.by_network {
            let length = match network {
                IpNet::V4(_) => policy.aggregate_ipv4,
                IpNet::V6(_) => policy.aggregate_ipv6,
            };
            let group = length
                .filter(|length| *length <= network.prefix_len())
                .and_then(|length| IpNet::new(network.addr(), length).ok());
            if let Some(group) = group.map(|group| group.trunc()) {
                groups.entry(group).or_default().push((network, activities));
            }
        }
        for (group, members) in groups {
            let culprits =
                members.iter().filter(|(member, _)| chosen.culprits.contains_key(member)).count();
            let others = members.iter().filter(|(member, _)| !chosen.culprits.contains_key(member));
            let rest = sum(others.map(|(_, activities)| *activities), window);
            let rest = judge(&rest, window, policy);
            let conduct = match rest {
                Judgement::Culprit(conduct) if culprits == 0 => conduct,
                Judgement::Fine | Judgement::Harmless(_) if culprits < 2 => continue,
                _ => {
                    let all = sum(members.iter().map(|(_, activities)| *activities), window);
                    // Each of its culprits is over the thresholds, so all of them together are.
                    match judge(&all, window, policy) {
                        Judgement::Culprit(conduct) | Judgement::Harmless(conduct) => conduct,
                        Judgement::Fine => continue,
                    }
                }
            };
            if let Some(why) = protected.why(&group) {
                if matches!(rest, Judgement::Culprit(_)) {
                    chosen.spared.insert(group, why);
                }
                continue;
            }
            for (member, _) in members {
                chosen.culprits.remove(member);
                chosen.spared.remove(member);
            }
            chosen.culprits.insert(group, conduct);
        }
    }

    /// How many of them a network has.
    fn inside(&self, network: &IpNet) -> usize {
        self.by_network.keys().filter(|source| network.contains(*source)).count()
    }

    /// Who holds most in the end, and how much; `None` if nobody holds anything, as far as is known.
    fn most(&self) -> Option<(IpNet, u64)> {
        let held = |activities: &Vec<Activity>| activities.last().and_then(|last| last.entries);
        let holding = self
            .by_network
            .iter()
            .filter_map(|(network, activities)| Some((*network, held(activities)?)));
        holding.max_by_key(|(network, entries)| (*entries, Reverse(*network)))
    }
}

/// The source that an address is of.
fn customer(network: &IpNet) -> IpNet {
    match network {
        IpNet::V6(v6) if v6.prefix_len() > CUSTOMER_IPV6 => {
            IpNet::new(v6.addr().into(), CUSTOMER_IPV6).map_or(*network, |network| network.trunc())
        }
        _ => *network,
    }
}

fn include(
    sources: &mut BTreeMap<IpNet, Vec<Activity>>,
    source: IpNet,
    position: usize,
    count: usize,
    activity: &Activity,
) {
    let activities = sources.entry(source).or_insert_with(|| vec![Activity::default(); count]);
    if let Some(sum) = activities.get_mut(position) {
        sum.include(activity);
    }
}

fn sum<'a>(all: impl Iterator<Item = &'a Vec<Activity>>, window: &Window) -> Vec<Activity> {
    let mut sums = vec![Activity::default(); window.intervals().len()];
    for activities in all {
        sums.iter_mut().zip(activities).for_each(|(sum, activity)| sum.include(activity));
    }
    sums
}

/// Why a culprit is not blocked, if that is so.
fn why_not(network: &IpNet, protected: &Protected) -> Option<String> {
    let is_crowd = matches!(network, IpNet::V4(v4) if v4.prefix_len() < 32);
    protected.why(network).or_else(|| {
        is_crowd.then(|| {
            "it is a network whose addresses are not counted one by one: give ctwatch more room with --max-sources".to_owned()
        })
    })
}

/// Takes the worst as far as the caps let it, and spares the others.
fn cap(chosen: Chosen, sources: &Sources, policy: &Policy, list: &mut Blocklist) {
    let known = sources.by_network.len();
    let sources_max = ((known as f64 * policy.sources_share_max).ceil() as usize).max(1);
    let mut culprits: Vec<(IpNet, Conduct)> = chosen.culprits.into_iter().collect();
    culprits.sort_by(|(a, conduct_a), (b, conduct_b)| {
        conduct_b.share().total_cmp(&conduct_a.share()).then_with(|| a.cmp(b))
    });
    let mut spared = chosen.spared;
    let mut covered = 0;
    for (network, conduct) in culprits {
        if list.blocks.len() >= policy.blocks_max {
            spared.insert(network, explanation::too_many_blocks(policy));
            continue;
        }
        let inside = sources.inside(&network);
        if covered + inside > sources_max {
            spared.insert(network, explanation::too_many_sources(inside, known, policy));
        } else {
            covered += inside;
            list.blocks.push(Block { network, duration: policy.expiry, why: conduct.text() });
        }
    }
    list.blocks.sort_by_key(|block| block.network);
    list.spared = spared.into_iter().map(|(network, why)| Spared { network, why }).collect();
}

#[cfg(test)]
mod tests;
