//! A client, a NAT gateway and a server, each in a network namespace of its own, and nothing on the wires but what a
//! test sends. It must not leave anything behind: dropping the gateway deletes all three.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};

use crate::address::{
    CLIENTS_V4, CLIENTS_V6, INSIDE_V4, INSIDE_V6, OUTSIDE_V4, OUTSIDE_V6, SERVER_V4, SERVER_V6,
    SWALLOWED_V4, SWALLOWED_V6, UPLINK_V4, UPLINK_V6,
};
use crate::namespace::{self, Namespace, write_sysctl};
use crate::program;

/// What the names of all gateways with [`Names::Unique`] begin with.
pub const PREFIX: &str = "ctlab-";

/// The gateway's interface towards the clients.
pub const CLIENT_SIDE: &str = "clients";
/// The gateway's interface towards the server.
pub const SERVER_SIDE: &str = "server";
/// The interface of the client and of the server.
pub const UPLINK: &str = "uplink";

/// How the three namespaces are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// Names that no other run has, so that tests may run side by side.
    Unique,
    /// These names; building fails if one is taken.
    Fixed {
        /// Of the client namespace.
        client: String,
        /// Of the gateway namespace.
        gateway: String,
        /// Of the server namespace.
        server: String,
    },
}

/// What a gateway is to be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayPlan {
    /// How the namespaces are called.
    pub names: Names,
    /// How long an entry without an answer stays, in seconds, for UDP, ICMP, ICMPv6 and a TCP SYN: long, so that nothing
    /// expires while a test counts.
    pub timeout_s: u32,
}

impl Default for GatewayPlan {
    fn default() -> Self {
        Self { names: Names::Unique, timeout_s: 600 }
    }
}

/// A running gateway. Dropping it, also in a panic, deletes its namespaces.
#[derive(Debug)]
pub struct Gateway {
    client: Namespace,
    gateway: Namespace,
    server: Namespace,
}

impl Gateway {
    /// Builds the namespaces, links, routes and NAT rules of `plan`, after deleting what killed runs have left behind.
    ///
    /// # Errors
    /// When the caller is not root, a program is missing (`ip`, `nft`), a kernel feature is missing, or a fixed name is
    /// taken. Nothing stays behind then.
    pub fn build(plan: &GatewayPlan) -> Result<Self> {
        namespace::delete_leftovers(PREFIX)?;
        let [client, gateway, server] = names(&plan.names).map(|name| Namespace::named(&name));
        for namespace in [&client, &gateway, &server] {
            anyhow::ensure!(
                !namespace.exists(),
                "the network namespace {namespace} exists already: delete it with `ip netns delete {namespace}`"
            );
        }
        // From here on the drop cleans up, whatever fails.
        let built = Self { client, gateway, server };
        for namespace in [&built.client, &built.gateway, &built.server] {
            Namespace::create(namespace.name())?;
            namespace
                .within(quiet)
                .with_context(|| format!("cannot prepare the namespace {namespace}"))?;
        }
        built.connect().context("cannot connect the lab's namespaces")?;
        built.gateway.within(|| {
            write_sysctl("net/ipv4/ip_forward", "1")?;
            write_sysctl("net/ipv6/conf/all/forwarding", "1")
        })?;
        built.translate(plan.timeout_s)?;
        Ok(built)
    }

    /// Sets the NAT rules and how long an entry without an answer stays, as building does: for a gateway that
    /// [`Gateway::stop_translating`] was called on, or whose conntrack was unloaded since.
    ///
    /// # Errors
    /// When the kernel does not have them.
    pub fn translate(&self, timeout_s: u32) -> Result<()> {
        self.gateway.within(|| {
            program::run("nft", &["-f", "-"], NAT_RULES)
                .map(|_output| ())
                .context("cannot set up the gateway's NAT")
        })?;
        for timeout in ["udp_timeout", "icmp_timeout", "icmpv6_timeout", "tcp_timeout_syn_sent"] {
            self.set_timeout(timeout, timeout_s)?;
        }
        Ok(())
    }

    /// Deletes the NAT rules: nothing asks for conntrack here any more.
    ///
    /// # Errors
    /// When there are none.
    pub fn stop_translating(&self) -> Result<()> {
        self.gateway.within(|| {
            program::run("nft", &["delete", "table", "inet", "lab"], "").map(|_output| ())
        })
    }

    /// The namespace that flows come from.
    #[must_use]
    pub fn client(&self) -> &Namespace {
        &self.client
    }

    /// The namespace whose table is watched.
    #[must_use]
    pub fn gateway(&self) -> &Namespace {
        &self.gateway
    }

    /// The namespace that flows go to.
    #[must_use]
    pub fn server(&self) -> &Namespace {
        &self.server
    }

    /// Sets one of the gateway's timeouts, in seconds: `udp_timeout` stands for
    /// `net.netfilter.nf_conntrack_udp_timeout`. Entries that exist keep theirs.
    ///
    /// # Errors
    /// When the kernel has no such timeout.
    pub fn set_timeout(&self, timeout: &str, timeout_s: u32) -> Result<()> {
        self.gateway
            .set_sysctl(&format!("net/netfilter/nf_conntrack_{timeout}"), &timeout_s.to_string())
    }

    /// Adds rules to the gateway's own, in the language of `nft -f`.
    ///
    /// # Errors
    /// When nft refuses them.
    pub fn add_rules(&self, rules: &str) -> Result<()> {
        self.gateway.within(|| program::run("nft", &["-f", "-"], rules).map(|_output| ()))
    }

    /// Lets what goes to `destination` pass without masquerading: one outside address has 64 512 ports towards it.
    ///
    /// # Errors
    /// When nft refuses the rule.
    pub fn do_not_masquerade(&self, destination: Ipv4Addr) -> Result<()> {
        self.add_rules(&format!("insert rule inet lab postrouting ip daddr {destination} accept\n"))
    }

    fn connect(&self) -> Result<()> {
        let (client, gateway, server) =
            (self.client.name(), self.gateway.name(), self.server.name());
        batch(
            gateway,
            &format!(
                "link add {CLIENT_SIDE} address {MAC_INSIDE} type veth peer name {UPLINK} address {MAC_CLIENT} netns {client}
                 link add {SERVER_SIDE} address {MAC_OUTSIDE} type veth peer name {UPLINK} address {MAC_SERVER} netns {server}"
            ),
        )?;
        let loopback = "link set lo up\n".to_owned();
        let client_links = loopback.clone()
            + &end(UPLINK, [UPLINK_V4.into(), UPLINK_V6.into()])
            + &neighbour(UPLINK, [INSIDE_V4.into(), INSIDE_V6.into()], MAC_INSIDE)
            + &format!("route add default via {INSIDE_V4}\nroute add default via {INSIDE_V6}\n")
            // Any address inside is the client's own, so that a connection may start from each of them.
            + &own(CLIENTS_V4.0.into(), CLIENTS_V4.1)
            + &own(CLIENTS_V6.0.into(), CLIENTS_V6.1);
        let gateway_links = loopback.clone()
            + &end(CLIENT_SIDE, [INSIDE_V4.into(), INSIDE_V6.into()])
            + &neighbour(CLIENT_SIDE, [UPLINK_V4.into(), UPLINK_V6.into()], MAC_CLIENT)
            + &via(CLIENTS_V4.0.into(), CLIENTS_V4.1, UPLINK_V4.into())
            + &via(CLIENTS_V6.0.into(), CLIENTS_V6.1, UPLINK_V6.into())
            + &end(SERVER_SIDE, [OUTSIDE_V4.into(), OUTSIDE_V6.into()])
            + &neighbour(SERVER_SIDE, [SERVER_V4.into(), SERVER_V6.into()], MAC_SERVER)
            + &via(SWALLOWED_V4.0.into(), SWALLOWED_V4.1, SERVER_V4.into())
            + &via(SWALLOWED_V6.0.into(), SWALLOWED_V6.1, SERVER_V6.into());
        let server_links = loopback
            + &end(UPLINK, [SERVER_V4.into(), SERVER_V6.into()])
            + &neighbour(UPLINK, [OUTSIDE_V4.into(), OUTSIDE_V6.into()], MAC_OUTSIDE);
        batch(client, &client_links)?;
        batch(gateway, &gateway_links)?;
        batch(server, &server_links)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        for namespace in [&self.client, &self.gateway, &self.server] {
            if namespace.exists() {
                // A drop has nobody to tell; the next build deletes what is left of this run.
                let _undeleted = namespace.delete();
            }
        }
    }
}

/// Each end of a wire has a fixed address, so that neighbours are known without asking.
const MAC_CLIENT: &str = "02:00:00:00:00:01";
const MAC_INSIDE: &str = "02:00:00:00:00:02";
const MAC_OUTSIDE: &str = "02:00:00:00:00:03";
const MAC_SERVER: &str = "02:00:00:00:00:04";

/// Masquerading for both families. The rule with `ct state` makes the kernel track whatever passes, also where NAT alone
/// would not ask for it.
const NAT_RULES: &str = "\
table inet lab {
  chain forward {
    type filter hook forward priority 0
    ct state new accept
  }
  chain postrouting {
    type nat hook postrouting priority 100
    oifname \"server\" masquerade
  }
}
";

/// Turns off what a kernel sends on its own: duplicate address detection, router solicitations, link-local addresses.
/// It is set before any interface exists, so all of them have it.
fn quiet() -> Result<()> {
    for place in ["all", "default"] {
        for (key, value) in [("rp_filter", "0"), ("send_redirects", "0"), ("accept_redirects", "0")]
        {
            write_sysctl(&format!("net/ipv4/conf/{place}/{key}"), value)?;
        }
        for (key, value) in [
            ("disable_ipv6", "0"),
            ("accept_dad", "0"),
            ("dad_transmits", "0"),
            ("accept_ra", "0"),
            ("autoconf", "0"),
            ("router_solicitations", "0"),
            ("addr_gen_mode", "1"),
        ] {
            write_sysctl(&format!("net/ipv6/conf/{place}/{key}"), value)?;
        }
    }
    Ok(())
}

fn names(names: &Names) -> [String; 3] {
    static BUILT: AtomicU32 = AtomicU32::new(0);
    match names {
        Names::Fixed { client, gateway, server } => {
            [client.clone(), gateway.clone(), server.clone()]
        }
        Names::Unique => {
            let process = std::process::id();
            let number = BUILT.fetch_add(1, Ordering::Relaxed);
            ["client", "gw", "server"].map(|role| format!("{PREFIX}{process}-{number}-{role}"))
        }
    }
}

/// Runs the commands of `text`, one a line, by one `ip` in the namespace `name`.
fn batch(name: &str, text: &str) -> Result<()> {
    program::run("ip", &["-netns", name, "-batch", "-"], text)
        .map(|_output| ())
        .with_context(|| format!("in the namespace {name}"))
}

fn end(interface: &str, addresses: [IpAddr; 2]) -> String {
    let [v4, v6] = addresses;
    format!(
        "address add {v4}/30 dev {interface}\naddress add {v6}/64 dev {interface} nodad\nlink set {interface} up\n"
    )
}

fn neighbour(interface: &str, addresses: [IpAddr; 2], mac: &str) -> String {
    addresses
        .map(|address| {
            format!("neighbour add {address} lladdr {mac} dev {interface} nud permanent\n")
        })
        .concat()
}

fn via(network: IpAddr, length: u8, gateway: IpAddr) -> String {
    format!("route add {network}/{length} via {gateway}\n")
}

fn own(network: IpAddr, length: u8) -> String {
    format!("route add local {network}/{length} dev lo\n")
}
