//! ctwatch where no hook is on conntrack: what it still tells, that it says what it does not, and what it costs. Natively,
//! as root, in network namespaces of their own; each test says why where it cannot run.

#[cfg(test)]
mod advice_cases;
#[cfg(test)]
mod advice_commands;
#[cfg(test)]
mod advice_effects;
#[cfg(test)]
mod advise;
#[cfg(test)]
mod agent;
#[cfg(test)]
mod all_namespaces;
#[cfg(test)]
mod block;
#[cfg(test)]
mod blocklist;
#[cfg(test)]
mod blocklist_formats;
#[cfg(test)]
mod blocklist_programs;
#[cfg(test)]
mod blocklist_recorded;
#[cfg(test)]
#[path = "../kernel/cap.rs"]
mod cap;
#[cfg(test)]
mod census;
#[cfg(test)]
mod checked;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod dumps;
#[cfg(test)]
mod ending;
#[cfg(test)]
mod events;
#[cfg(test)]
mod flood;
#[cfg(test)]
mod from_recording;
#[cfg(test)]
mod listing;
#[cfg(test)]
mod nobody;
#[cfg(test)]
mod nothing_tracked;
#[cfg(test)]
mod observed;
#[cfg(test)]
mod progress;
#[cfg(test)]
mod prometheus;
#[cfg(test)]
mod recording;
#[cfg(test)]
mod refused_to_run;
#[cfg(test)]
#[path = "../kernel/served.rs"]
mod served;
#[cfg(test)]
#[path = "../kernel/source_entries.rs"]
mod source_entries;
#[cfg(test)]
mod top;
#[cfg(test)]
mod without_ctnetlink;
