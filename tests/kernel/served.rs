//! A running agent, and what it serves over HTTP. It must not judge what that is.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use ctwatch_lab::{Namespace, wait};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// After a walk there is a pause of twenty times what it took, and an emulated machine takes seconds for one.
const WALK_PATIENCE: Duration = Duration::from_secs(120);

/// An agent that runs in a namespace of its own, so that asking it makes no entries where it looks. Dropping it kills it.
pub(crate) struct Agent {
    child: Child,
    namespace: Namespace,
    said: tempfile::NamedTempFile,
    pub(crate) address: String,
}

impl Agent {
    /// Starts one that listens on a free port of `namespace`.
    #[track_caller]
    pub(crate) fn start(program: &Path, namespace: &Namespace, arguments: &[&str]) -> Self {
        let said = tempfile::NamedTempFile::new().unwrap();
        let stderr = File::options().append(true).open(said.path()).unwrap();
        let child = namespace
            .within(|| {
                Command::new("ip").args(["link", "set", "lo", "up"]).status()?;
                let mut command = Command::new(program);
                command.args(["agent", "--listen", "127.0.0.1:0"]).args(arguments);
                Ok(command.stdin(Stdio::null()).stderr(stderr).spawn()?)
            })
            .unwrap();
        let mut agent = Self { child, namespace: namespace.clone(), said, address: String::new() };
        agent.address = wait::until(wait::PATIENCE, "an agent that serves", || {
            let said = agent.said();
            let address =
                said.split_once("http://").and_then(|(_, url)| url.split_once("/metrics"));
            Ok(address.map(|(address, _)| address.to_owned()))
        })
        .unwrap_or_else(|error| panic!("{error}: {}", agent.said()));
        agent
    }

    /// What it has said on stderr.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.said.path()).unwrap()
    }

    /// The status and the body of an answer.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        get(&self.namespace, &self.address, path).unwrap()
    }

    /// The only namespace's snapshot, once there is one of which `is_it` is true.
    #[track_caller]
    pub(crate) fn snapshot(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let mut latest = Value::Null;
        let found = wait::until(WALK_PATIENCE, what, || {
            let snapshots: Value = serde_json::from_str(&self.get("/snapshot.json").1)?;
            latest = snapshots[0].clone();
            Ok((latest.is_object() && is_it(&latest)).then_some(()))
        });
        found.unwrap_or_else(|error| panic!("{error}: {latest}\n{}", self.said()));
        latest
    }

    /// Tells it to end, and says with which status it does.
    pub(crate) fn end(&mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Asks for `path`, with a query that must not need escapes; the status and the body of the answer.
pub(crate) fn get(namespace: &Namespace, address: &str, path: &str) -> Result<(u16, String)> {
    let mut stream = namespace.within(|| Ok(TcpStream::connect(address)?))?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: here\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer without a head")?;
    let status = head.split(' ').nth(1).context("a head without a status")?;
    Ok((status.parse()?, body.to_owned()))
}

/// The names of ctwatch's metrics in a text, whatever it is written in.
pub(crate) fn metric_names(text: &str) -> BTreeSet<&str> {
    text.split(|of: char| !of.is_ascii_alphanumeric() && of != '_')
        .filter(|word| word.starts_with("ctwatch_") || word.starts_with("process_"))
        .collect()
}

/// The value of a sample, as in `ctwatch_entries{netns="gw"}`.
pub(crate) fn sample(page: &str, series: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}
