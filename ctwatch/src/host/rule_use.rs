//! What firewall rules need conntrack for, counted by where they are; the kinds of rules are read elsewhere.

use std::collections::BTreeMap;

use crate::advise::facts::{Need, User};

/// So many are named; the rest is counted.
const NAMED_MAX: usize = 40;

/// What a part of a rule has to do with conntrack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// It translates the source, so that this is a NAT.
    TranslatesSource,
    /// It translates the destination.
    TranslatesDestination,
    /// It asks for the connection that a packet is of, or what is known of it.
    State,
    /// It keeps packets from being tracked.
    Untracked,
}

/// What the matches and targets of iptables have to do with conntrack.
const EXTENSIONS: &[(&str, Use)] = &[
    ("MASQUERADE", Use::TranslatesSource),
    ("SNAT", Use::TranslatesSource),
    ("NETMAP", Use::TranslatesSource),
    ("DNAT", Use::TranslatesDestination),
    ("REDIRECT", Use::TranslatesDestination),
    ("conntrack", Use::State),
    ("state", Use::State),
    ("connbytes", Use::State),
    ("connlabel", Use::State),
    ("connlimit", Use::State),
    ("connmark", Use::State),
    ("helper", Use::State),
    ("CT", Use::State),
    ("CONNMARK", Use::State),
    ("CONNSECMARK", Use::State),
    ("SYNPROXY", Use::State),
    ("FLOWOFFLOAD", Use::State),
    ("NOTRACK", Use::Untracked),
];

/// Who makes tables and chains whose names begin so.
const MAKERS: &[(&str, &str)] = &[
    ("DOCKER", "Docker"),
    ("docker", "Docker"),
    ("KUBE-", "Kubernetes"),
    ("kube-proxy", "Kubernetes"),
    ("cali-", "Calico"),
    ("firewalld", "firewalld"),
    ("LIBVIRT_", "libvirt"),
    ("libvirt_network", "libvirt"),
    ("netavark", "Podman"),
    ("NETAVARK", "Podman"),
    ("nm-shared-", "NetworkManager, a shared connection"),
    ("nm-sh-", "NetworkManager, a shared connection"),
    ("ufw", "ufw"),
];

/// What a match or target of iptables has to do with conntrack; `None` if nothing.
pub fn of_extension(name: &str) -> Option<Use> {
    EXTENSIONS.iter().find(|(known, _)| *known == name).map(|(_, what)| *what)
}

/// Who makes a table or chain of that name; `None` for names that anybody may use.
pub fn maker(name: &str) -> Option<&'static str> {
    MAKERS.iter().find(|(begins, _)| name.starts_with(begins)).map(|(_, who)| *who)
}

/// What was found in all rules.
#[derive(Debug, Default)]
pub struct RuleUses {
    /// How many rules, by who has them and what they do.
    counts: BTreeMap<(String, Use, String), u64>,
}

impl RuleUses {
    /// Counts a rule of `who` that does `what`.
    pub fn add(&mut self, who: &str, what: (Use, &str)) {
        *self.counts.entry((who.to_owned(), what.0, what.1.to_owned())).or_default() += 1;
    }

    /// Whether a rule translates sources.
    pub fn translates_sources(&self) -> bool {
        self.counts.keys().any(|(_, found, _)| *found == Use::TranslatesSource)
    }

    /// Rules that keep packets from being tracked.
    pub fn notrack_rules(&self) -> u64 {
        let untracked = self.counts.iter().filter(|((_, found, _), _)| *found == Use::Untracked);
        untracked.map(|(_, count)| count).sum()
    }

    /// Who needs conntrack, each once, those that translate first.
    pub fn users(self) -> Vec<User> {
        let mut users: BTreeMap<(Need, String), Vec<String>> = BTreeMap::new();
        let mut needs: BTreeMap<String, Need> = BTreeMap::new();
        for (who, found, _) in self.counts.keys() {
            let need = match found {
                Use::TranslatesSource | Use::TranslatesDestination => Need::Translation,
                Use::State => Need::State,
                Use::Untracked => continue,
            };
            needs.entry(who.clone()).and_modify(|known| *known = need.min(*known)).or_insert(need);
        }
        for ((who, found, what), count) in self.counts {
            let Some(need) = needs.get(&who).filter(|_| found != Use::Untracked) else { continue };
            let rules = if count == 1 { "1 rule".to_owned() } else { format!("{count} rules") };
            users.entry((*need, who)).or_default().push(format!("{what} ({rules})"));
        }
        let unnamed = users.len().saturating_sub(NAMED_MAX);
        let mut users: Vec<User> = users
            .into_iter()
            .take(NAMED_MAX)
            .map(|((need, who), why)| User { who, why: why.join(", "), need })
            .collect();
        if unnamed > 0 {
            let who = format!("{unnamed} further tables");
            users.push(User { who, why: "rules as those above".to_owned(), need: Need::State });
        }
        users
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_named_once_with_all_that_it_does() {
        let mut uses = RuleUses::default();
        uses.add("nft table inet a", (Use::State, "ct state"));
        uses.add("nft table inet a", (Use::State, "ct state"));
        uses.add("nft table inet b", (Use::State, "ct mark"));
        uses.add("nft table inet b", (Use::TranslatesSource, "masquerade"));
        uses.add("nft table inet raw", (Use::Untracked, "notrack"));
        assert!(uses.translates_sources());
        assert_eq!(uses.notrack_rules(), 1);
        let user = |who: &str, why: &str, need| User { who: who.into(), why: why.into(), need };
        assert_eq!(
            uses.users(),
            [
                user(
                    "nft table inet b",
                    "masquerade (1 rule), ct mark (1 rule)",
                    Need::Translation
                ),
                user("nft table inet a", "ct state (2 rules)", Need::State),
            ]
        );
    }

    #[test]
    fn many_tables_are_counted() {
        let mut uses = RuleUses::default();
        for table in 0..NAMED_MAX + 3 {
            uses.add(&format!("table {table}"), (Use::State, "ct state"));
        }
        let users = uses.users();
        assert_eq!(users.len(), NAMED_MAX + 1);
        assert_eq!(users.last().unwrap().who, "3 further tables");
    }
}
