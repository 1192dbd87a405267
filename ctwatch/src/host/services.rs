//! Programs that need conntrack or set it, found among the processes; nothing is asked of them.

use std::{
    fs::{self, File},
    io::Read as _,
    path::Path,
};

use super::{kube_proxy, tuned};
use crate::advise::facts::{Need, User, Writer};

/// A program that needs conntrack.
struct Service {
    /// Its name as `/proc/PID/comm` has it, which is cut off behind 15 bytes.
    command: &'static str,
    why: &'static str,
}

const SERVICES: &[Service] = &[
    Service {
        command: "dockerd",
        why: "Docker translates what its containers send, and publishes their ports",
    },
    Service {
        command: "kube-proxy",
        why: "it translates the addresses of Kubernetes' services, and sets conntrack itself",
    },
    Service { command: "k3s-server", why: "it has kube-proxy inside" },
    Service { command: "firewalld", why: "its zones accept packets of known connections" },
    Service { command: "conntrackd", why: "it replicates the table to another gateway" },
    Service {
        command: "libvirtd",
        why: "it translates what virtual machines of its NAT networks send",
    },
];

/// What was found among the processes.
#[derive(Debug, Default)]
pub struct Services {
    /// Who needs conntrack.
    pub users: Vec<User>,
    /// Who sets it.
    pub writers: Vec<Writer>,
}

/// A process.
struct Process<'a> {
    id: &'a str,
    directory: &'a Path,
}

/// Looks at the processes that are in the namespace, and at those of which that cannot be seen.
pub fn read_in(netns: u32) -> Services {
    let mut services = Services::default();
    let link = format!("net:[{netns}]");
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(id) = name.to_str().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        else {
            continue;
        };
        let directory = entry.path();
        let is_elsewhere =
            fs::read_link(directory.join("ns/net")).is_ok_and(|found| *found != *Path::new(&link));
        if !is_elsewhere {
            services.look_at(&Process { id, directory: &directory });
        }
    }
    services
}

impl Services {
    fn look_at(&mut self, process: &Process) {
        // It may have ended.
        let Ok(command) = fs::read_to_string(process.directory.join("comm")) else { return };
        let command = command.trim_end();
        let who = || format!("{command} (process {})", process.id);
        let known = SERVICES.iter().find(|service| service.command == command);
        if let Some(service) = known {
            let why = service.why.to_owned();
            self.users.push(User { who: who(), why, need: Need::Program });
        }
        match command {
            "kube-proxy" => {
                let arguments = arguments(process.directory);
                let configuration = kube_proxy::configuration_path(&arguments)
                    .and_then(|path| file_of(process.directory, &path));
                self.writers.push(kube_proxy::writer(who(), &arguments, configuration.as_deref()));
            }
            // It is a Python program, whose name is that of the interpreter or of the script.
            "tuned" => self.writers.extend(tuned::writer(who())),
            "bpftune" => self.writers.push(Writer {
                who: who(),
                keys: Vec::new(),
                how: "it tunes the network's settings; none of conntrack's so far".to_owned(),
            }),
            _ => {}
        }
    }
}

/// A process's arguments; its title, if it has overwritten them.
fn arguments(directory: &Path) -> Vec<String> {
    let arguments = fs::read(directory.join("cmdline")).unwrap_or_default();
    let arguments = arguments.split(|byte| *byte == 0);
    arguments.map(|argument| String::from_utf8_lossy(argument).into_owned()).collect()
}

/// A file as the process sees it, in its own root directory.
fn file_of(directory: &Path, path: &str) -> Option<String> {
    const BYTES_MAX: u64 = 1 << 20;
    let file = File::open(directory.join("root").join(path.trim_start_matches('/'))).ok()?;
    let mut text = String::new();
    file.take(BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}
