//! Arguments of the commands that block: whom never to.

use std::path::PathBuf;

use clap::Args;
use ipnet::IpNet;

use super::sources;
use crate::host::protected_addresses::{Named, PROTECTED_FILE};

/// Whom never to block.
#[derive(Debug, Args)]
#[command(next_help_heading = "Never blocked")]
pub struct ProtectedArguments {
    /// Never block these, besides this machine's own addresses, its routers and resolvers, whoever is connected to it over
    /// SSH, and the networks in /etc/ctwatch/protected; may be given several times
    #[arg(long, value_name = "ADDR|CIDR", value_parser = sources)]
    pub allow: Vec<IpNet>,
    /// Never block this proxy, load balancer or NAT, which many people are behind; may be given several times
    #[arg(long, value_name = "ADDR|CIDR", value_parser = sources)]
    pub proxy: Vec<IpNet>,
    /// The file of networks that are never blocked
    #[arg(long, value_name = "FILE", default_value = PROTECTED_FILE, hide = true)]
    pub protected: PathBuf,
}

impl ProtectedArguments {
    /// What they name.
    pub fn named(&self) -> Named<'_> {
        Named { allowed: &self.allow, proxies: &self.proxy, file: &self.protected }
    }
}
