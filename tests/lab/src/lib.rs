//! The lab of ctwatch's tests: a NAT gateway in network namespaces, a generator that makes an exactly known number of
//! flows, the kernel's own counters, and the binary under test. It must not depend on ctwatch, whose judge it is.
//!
//! ```no_run
//! use ctwatch_lab::{Flood, FlowPlan, Gateway, GatewayPlan, counters, wait};
//!
//! # fn main() -> anyhow::Result<()> {
//! let gateway = Gateway::build(&GatewayPlan::default())?;
//! let sent = FlowPlan::udp("10.0.1.2".parse()?, 640).send(gateway.client())?;
//! wait::until(wait::PATIENCE, "640 entries", || {
//!     Ok((counters::entries(gateway.gateway())? == sent.flows).then_some(()))
//! })?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod address;
pub mod bench;
pub mod boot;
pub mod counters;
pub mod ctwatch;
pub mod flow;
pub mod gateway;
pub mod generator;
pub mod handshake;
pub mod init;
pub mod kernel_log;
pub mod keys;
pub mod modules;
pub mod namespace;
pub mod packet;
mod program;
pub mod renamed_symbols;
pub mod retransmission;
pub mod service;
pub mod skip;
pub mod table;
pub mod terminal;
pub mod unpacked;
pub mod wait;

pub use ctwatch::Ctwatch;
pub use flow::{FlowPlan, FlowProtocol, Sources};
pub use gateway::{Gateway, GatewayPlan, Names};
pub use generator::{Flood, Sent};
pub use namespace::Namespace;
pub use skip::skip;
pub use terminal::Terminal;
pub use unpacked::Unpacked;
