//! What the agent serves over HTTP is what is there: the kernel's own count, and the sources.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use ctwatch_lab::{FlowPlan, counters, wait};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::observed::{ctwatch, gateway, ip, wait_for_entries};

const FLOWS: u64 = 40;

/// A running agent. Dropping it kills it.
struct Agent {
    child: Child,
    address: String,
}

impl Agent {
    #[track_caller]
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(ctwatch())
            .args(["agent", "--listen", "127.0.0.1:0", "--attach", "netlink"])
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
        let address = said.trim_end().strip_suffix("/metrics").and_then(|url| url.split_once("//"));
        let address = address.unwrap_or_else(|| panic!("{said}")).1.to_owned();
        Self { child, address }
    }

    /// The status and the body of an answer.
    fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn metrics_are_what_the_kernel_counts() {
    let Some(gateway) = gateway() else { return };
    let name = gateway.gateway().name();
    FlowPlan::udp(ip("10.0.1.66"), FLOWS).send(gateway.client()).unwrap();
    FlowPlan::udp(ip("10.0.1.2"), 3).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, FLOWS + 3);
    let mut agent = Agent::start(&["--netns", name, "--interval", "200ms", "--floor", "10"]);
    let lines = [
        format!("ctwatch_entries{{netns=\"{name}\"}} 43"),
        format!("ctwatch_entries_limit{{netns=\"{name}\"}} {}", counters::limit().unwrap()),
        format!(
            "ctwatch_source_entries{{netns=\"{name}\",source=\"10.0.1.66\",protocol=\"udp\"}} 40"
        ),
    ];
    let mut page = String::new();
    wait::until(wait::PATIENCE, "the metrics", || {
        page = agent.get("/metrics").1;
        let has = |line: &String| page.lines().any(|each| each == line);
        Ok(lines.iter().all(has).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error}: {page}"));
    assert!(!page.contains("10.0.1.2"), "it is below the floor: {page}");
    assert_eq!(agent.get("/healthz"), (200, "ok\n".to_owned()));
    let (status, body) = agent.get("/snapshot.json");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, body[0]["table"]["entries"].as_u64()), (200, Some(43)), "{body}");
    assert_eq!(agent.get("/nothing").0, 404);

    kill_process(Pid::from_child(&agent.child), Signal::TERM).unwrap();
    assert_eq!(agent.child.wait().unwrap().code(), Some(0));
}

#[test]
fn where_it_cannot_listen_it_says_so() {
    let Some(gateway) = gateway() else { return };
    FlowPlan::udp(ip("10.0.1.66"), 1).send(gateway.client()).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = Command::new(ctwatch())
        .args(["agent", "--listen", &address, "--netns", gateway.gateway().name()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&address) && said.contains("--listen"), "{said}");
}
