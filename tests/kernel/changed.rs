//! What the scenarios of changes share: a state directory of their own, a plan as `ctwatch apply` would have remembered it,
//! and the values that the kernel has. It must not know how ctwatch changes them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ctwatch::change::plan::Plan;
use ctwatch::change::record::Place;
use ctwatch::clock;
use ctwatch::host::namespace::{NamespaceTarget, NetworkNamespace};
use ctwatch_lab::counters::GlobalSetting;
use ctwatch_lab::{Gateway, wait};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::observed::{ctwatch, gateway};

pub(crate) const LIMIT: &str = "/proc/sys/net/netfilter/nf_conntrack_max";
pub(crate) const HASHSIZE: &str = "/sys/module/nf_conntrack/parameters/hashsize";
pub(crate) const UDP: &str = "net/netfilter/nf_conntrack_udp_timeout";

/// What the machine has before each scenario, and what its plan makes of it.
pub(crate) const BEFORE: Values = Values { limit: 8192, buckets: 8192, udp_timeout_s: 30 };
pub(crate) const AFTER: Values = Values { limit: 16_384, buckets: 16_384, udp_timeout_s: 20 };

/// The values that a plan of these scenarios changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Values {
    pub(crate) limit: u64,
    pub(crate) buckets: u64,
    pub(crate) udp_timeout_s: u64,
}

/// A gateway whose machine has the values of [`BEFORE`], and a state directory.
pub(crate) struct Scene {
    pub(crate) gateway: Gateway,
    pub(crate) state: PathBuf,
    _directory: TempDir,
    _settings: [GlobalSetting; 2],
}

impl Scene {
    /// Sets the scene; `None`, said as a skip, where it must not be.
    pub(crate) fn set() -> Option<Self> {
        let gateway = gateway()?;
        gateway.gateway().set_sysctl(UDP, &BEFORE.udp_timeout_s.to_string()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let settings = [
            GlobalSetting::limit(BEFORE.limit).unwrap(),
            GlobalSetting::buckets(BEFORE.buckets).unwrap(),
        ];
        let state = directory.path().join("state");
        let scene = Self { gateway, state, _directory: directory, _settings: settings };
        assert_eq!(scene.values(), BEFORE);
        Some(scene)
    }

    /// What the kernel has.
    pub(crate) fn values(&self) -> Values {
        let udp = |_: ()| Ok(number(&format!("/proc/sys/{UDP}")));
        Values {
            limit: number(LIMIT),
            buckets: number(HASHSIZE),
            udp_timeout_s: self.gateway.gateway().within(|| udp(())).unwrap(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.gateway.gateway().name()
    }

    /// Where the plan's values are.
    pub(crate) fn place(&self) -> Place {
        let target = NamespaceTarget::Name(self.name().to_owned());
        Place::now(&NetworkNamespace::open(&target).unwrap()).unwrap()
    }

    /// Remembers a plan as `ctwatch apply` does: from [`BEFORE`] to [`AFTER`].
    pub(crate) fn remember_plan(&self) {
        let change = |key: &str, from: u64, to: u64| json!({"key": key, "from": from, "to": to});
        let advice = |id: &str, is_unasked: bool, changes: Vec<Value>| {
            json!({
                "id": id, "what": "what", "risk": "risk", "is_unasked": is_unasked, "changes": changes,
                "commands": [], "refused_share": 0.0,
            })
        };
        let plan = json!({
            "schema": 1,
            "boottime_ns": clock::boottime_ns(),
            "place": self.place(),
            "cause": "growth",
            "explanation": "more is wanted than fits",
            "before": {
                "seconds": 1.0, "entries": 10, "limit": BEFORE.limit, "new_per_s": 1.0, "refused_per_s": 0.0,
                "refused_share": 0.0,
            },
            "entry_bytes": 256,
            "advice": [
                advice("raise-limit", true, vec![change("net.netfilter.nf_conntrack_max", BEFORE.limit, AFTER.limit)]),
                advice("set-buckets", true, vec![change("nf_conntrack.hashsize", BEFORE.buckets, AFTER.buckets)]),
                advice("udp", false, vec![change(
                    "net.netfilter.nf_conntrack_udp_timeout", BEFORE.udp_timeout_s, AFTER.udp_timeout_s,
                )]),
            ],
        });
        let text = plan.to_string();
        Plan::from_json(text.as_bytes()).unwrap();
        std::fs::create_dir_all(&self.state).unwrap();
        std::fs::write(self.state.join("plan.json"), text).unwrap();
    }

    /// The arguments that carry out all of that plan.
    pub(crate) fn apply_all(&self) -> Vec<&str> {
        vec![
            "apply",
            "raise-limit",
            "set-buckets",
            "udp",
            "--yes",
            "--no-look-after",
            "--netns",
            self.name(),
        ]
    }

    /// Runs ctwatch on this scene's state.
    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        said(self.command(arguments).output().unwrap())
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(ctwatch());
        command.args(arguments).env("CTWATCH_STATE_DIR", &self.state);
        command
    }

    /// What `ctwatch changes --json` says of the latest change set.
    pub(crate) fn latest_change(&self) -> Value {
        let changes = self.run(&["changes", "--json"]);
        assert_eq!(changes.status, Some(0), "{changes:?}");
        let json: Value = serde_json::from_str(&changes.stdout).unwrap();
        json["changes"].as_array().unwrap().last().cloned().unwrap_or_default()
    }

    /// Waits until the kernel has these values.
    pub(crate) fn wait_for(&self, values: Values) {
        let what = format!("{values:?}");
        wait::until(wait::PATIENCE, &what, || Ok((self.values() == values).then_some(()))).unwrap();
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // Whatever became of a scenario, its watchdogs have nothing to do any more.
        let _ = self.run(&["rollback", "--force"]);
    }
}

/// How a command ended and what it said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// It ended well.
    #[track_caller]
    pub(crate) fn fine(self) -> Self {
        assert_eq!(self.status, Some(0), "{self:?}");
        self
    }

    /// It ended with this status and these words.
    #[track_caller]
    pub(crate) fn refused(self, status: i32, words: &str) -> Self {
        assert_eq!(self.status, Some(status), "{self:?}");
        assert!(self.stderr.contains(words), "{words:?} in {self:?}");
        self
    }
}

pub(crate) fn said(output: Output) -> Said {
    Said {
        status: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

pub(crate) fn number(path: &str) -> u64 {
    std::fs::read_to_string(path).unwrap().trim().parse().unwrap()
}

/// The processes that are watchdogs of this state directory.
pub(crate) fn watchdogs(state: &Path) -> Vec<i32> {
    let is_watchdog = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        words.contains(&b"watchdog".as_slice())
            && words.contains(&state.to_str().unwrap().as_bytes())
    };
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(is_watchdog).collect()
}
