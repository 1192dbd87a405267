//! Which rules of a network namespace need conntrack: nf_tables, the older tables, and virtual servers. What is not in the kernel is
//! not asked for, so that looking loads no module.

use std::fs;

use super::{
    iptables_rules,
    modules::{self, Part},
    namespace::NetworkNamespace,
    nft_rules,
    programs::{self, Reader, ReaderError},
    rule_use::RuleUses,
};
use crate::advise::facts::{Need, Unread, User};

const WHAT: &str = "which rules need connections to be tracked";
/// `/proc/net` would be the namespace of the process's first thread.
const VIRTUAL_SERVERS: &str = "/proc/thread-self/net/ip_vs";

/// What the rules need.
#[derive(Debug, Default)]
pub struct Firewall {
    /// Who needs conntrack.
    pub users: Vec<User>,
    /// Whether a rule translates sources; `None` if none that could be read does, and not all could be.
    pub translates_sources: Option<bool>,
    /// Rules that keep packets from being tracked; `None` if not all rules could be read.
    pub notrack_rules: Option<u64>,
    /// What could not be read.
    pub unread: Vec<Unread>,
}

/// A kind of the older tables.
struct Legacy {
    family: &'static str,
    /// Lists the tables that are in use; only root may read it (`xt_table_seq_show`, net/netfilter/x_tables.c).
    names: &'static str,
    readers: [Reader; 2],
}

const LEGACY: [Legacy; 2] = [
    Legacy {
        family: "ip",
        names: "/proc/thread-self/net/ip_tables_names",
        readers: [Reader::IptablesLegacy, Reader::Iptables],
    },
    Legacy {
        family: "ip6",
        names: "/proc/thread-self/net/ip6_tables_names",
        readers: [Reader::Ip6tablesLegacy, Reader::Ip6tables],
    },
];

/// Reads the rules of `namespace`.
pub fn read_in(namespace: &NetworkNamespace) -> Firewall {
    namespace.run(read).unwrap_or_else(|error| Firewall {
        unread: vec![Unread { what: WHAT.into(), why: error.to_string() }],
        ..Firewall::default()
    })
}

fn read() -> Firewall {
    let mut uses = RuleUses::default();
    let mut unread = Vec::new();
    let mut failed = |why: String| unread.push(Unread { what: WHAT.into(), why });
    if modules::is_there(Part::Tables)
        && let Err(why) = read_nft(&mut uses)
    {
        failed(why);
    }
    for legacy in &LEGACY {
        if let Err(why) = read_legacy(legacy, &mut uses) {
            failed(why);
        }
    }
    let is_known = unread.is_empty();
    let translates = uses.translates_sources();
    let notrack_rules = uses.notrack_rules();
    let mut users = uses.users();
    users.extend(virtual_servers());
    Firewall {
        users,
        translates_sources: (translates || is_known).then_some(translates),
        notrack_rules: is_known.then_some(notrack_rules),
        unread,
    }
}

fn read_nft(uses: &mut RuleUses) -> Result<(), String> {
    let ruleset = programs::output(Reader::Nft, None).map_err(|error| match error {
        ReaderError::NotInstalled(program) => format!(
            "{program} is not installed, and the kernel has nf_tables: install the package nftables to have its rules told"
        ),
        ReaderError::Failed { said, .. } if said.contains("not permitted") => {
            "the rules of nf_tables are for root: run ctwatch as root".to_owned()
        }
        error => error.to_string(),
    })?;
    nft_rules::read(&ruleset, uses).map_err(|error| error.to_string())
}

fn read_legacy(legacy: &Legacy, uses: &mut RuleUses) -> Result<(), String> {
    let names = match fs::read_to_string(legacy.names) {
        Ok(names) => names,
        // The kernel has none of these tables.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("cannot read {}: {error}", legacy.names)),
    };
    for table in names.lines() {
        let saved = saved(legacy, table)?;
        iptables_rules::read(&saved, legacy.family, table, uses);
    }
    Ok(())
}

/// The rules of a table, by the program that knows the older kind, or else by the one that may.
fn saved(legacy: &Legacy, table: &str) -> Result<String, String> {
    let [older, either] = legacy.readers;
    let saved = match programs::output(older, Some(table)) {
        Err(ReaderError::NotInstalled(_)) => programs::output(either, Some(table)),
        saved => saved,
    };
    saved.map_err(|error| format!("{}tables has a table {table}, but {error}", legacy.family))
}

/// A line of `/proc/net/ip_vs` for each virtual server, its backends under it (`ip_vs_info_seq_show`, net/netfilter/ipvs/ip_vs_ctl.c).
fn virtual_servers() -> Option<User> {
    let table = fs::read_to_string(VIRTUAL_SERVERS).ok()?;
    let servers = count_virtual_servers(&table);
    (servers > 0).then(|| User {
        who: "IPVS".to_owned(),
        why: format!(
            "{servers} virtual servers, which are translated unless they are routed or tunnelled"
        ),
        need: Need::Translation,
    })
}

fn count_virtual_servers(table: &str) -> usize {
    let is_server =
        |line: &&str| ["TCP ", "UDP ", "SCTP ", "FWM "].iter().any(|of| line.starts_with(of));
    table.lines().filter(is_server).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_servers_are_counted_without_their_backends() {
        let table = "\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A000001:0050 wlc
  -> 0A000002:0050      Masq    1      0          0
FWM  00000001 rr
";
        assert_eq!(count_virtual_servers(table), 2);
        assert_eq!(count_virtual_servers(""), 0);
    }
}
