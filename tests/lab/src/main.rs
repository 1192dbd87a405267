//! The lab's program: process 1 of a virtual machine, else a gateway or flows by hand. It must not hold more than the
//! reading of its arguments.

use std::io::Write as _;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand, ValueEnum};
use ctwatch_lab::{
    FlowPlan, FlowProtocol, Gateway, GatewayPlan, Names, Namespace, bench, init, keys,
};

/// A NAT gateway in network namespaces, and exactly known numbers of flows through it.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build a gateway and keep it until Ctrl-C.
    Gateway {
        /// Name the namespaces NAME-client, NAME (the gateway) and NAME-server.
        #[arg(long)]
        name: Option<String>,
    },
    /// Measure what watching costs, in the lab's virtual machine; `cargo xtask bench` starts it there.
    Bench(bench::Options),
    /// Measure how long `ctwatch top` takes to answer a key under a flood; `cargo xtask bench --keys` does it.
    Keys(keys::Options),
    /// Make flows in a namespace and print how many were made.
    Flows {
        /// The client namespace, as `ctwatch-lab gateway` prints it.
        #[arg(long)]
        namespace: String,
        /// What the flows are.
        #[arg(long, value_enum, default_value = "udp")]
        protocol: Protocol,
        /// The first source address.
        #[arg(long, default_value = "10.0.1.2")]
        source: IpAddr,
        /// How many source addresses take turns.
        #[arg(long, default_value = "1")]
        sources: NonZeroU64,
        /// Where they go; unless told, to addresses that swallow everything.
        #[arg(long)]
        destination: Option<IpAddr>,
        /// The port they go to.
        #[arg(long, default_value_t = 8080)]
        port: u16,
        /// How many flows.
        #[arg(long)]
        count: u64,
        /// The number of the first: a second call that begins where another ended makes other flows.
        #[arg(long, default_value_t = 0)]
        first: u64,
        /// Flows a second; as fast as possible unless told.
        #[arg(long)]
        rate: Option<NonZeroU64>,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Protocol {
    Udp,
    TcpSyn,
    TcpHandshake,
    IcmpEcho,
}

impl From<Protocol> for FlowProtocol {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Udp => Self::Udp,
            Protocol::TcpSyn => Self::TcpSyn,
            Protocol::TcpHandshake => Self::TcpHandshake,
            Protocol::IcmpEcho => Self::IcmpEcho,
        }
    }
}

fn main() -> ExitCode {
    if init::is_first_process() {
        init::run();
        return ExitCode::FAILURE;
    }
    match carry_out(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _closed = writeln!(std::io::stderr().lock(), "ctwatch-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn carry_out(task: Task) -> Result<()> {
    match task {
        Task::Gateway { name } => hold_gateway(name.as_deref()),
        Task::Bench(options) => bench::run(&options),
        Task::Keys(options) => {
            print(&keys::measure(&options)?);
            Ok(())
        }
        Task::Flows {
            namespace,
            protocol,
            source,
            sources,
            destination,
            port,
            count,
            first,
            rate,
        } => {
            let mut plan = FlowPlan::new(protocol.into(), source, count)
                .from_sources(sources)
                .starting_at(first);
            plan = plan.clone().to(destination.unwrap_or(plan.destination), port);
            plan.rate_per_s = rate;
            let sent = plan.send(&Namespace::named(&namespace))?;
            print(&format!("{{\"flows\":{}}}", sent.flows));
            Ok(())
        }
    }
}

/// Keeps a gateway until SIGINT.
fn hold_gateway(name: Option<&str>) -> Result<()> {
    let names = name.map_or(Names::Unique, |name| Names::Fixed {
        client: format!("{name}-client"),
        gateway: name.to_owned(),
        server: format!("{name}-server"),
    });
    // The signal is caught from before the gateway exists, so that an early one does not leave it behind.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot wait for signals")?;
    let interrupt = {
        let _inside = runtime.enter();
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())
            .context("cannot wait for Ctrl-C")?
    };
    let gateway = Gateway::build(&GatewayPlan { names, ..GatewayPlan::default() })?;
    print(&format!(
        "{{\"client\":\"{}\",\"gateway\":\"{}\",\"server\":\"{}\"}}",
        gateway.client(),
        gateway.gateway(),
        gateway.server()
    ));
    let mut interrupt = interrupt;
    runtime.block_on(interrupt.recv());
    Ok(())
}

/// Prints one line; a closed pipe is a quiet end.
fn print(line: &str) {
    let mut stdout = std::io::stdout().lock();
    let _closed = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
