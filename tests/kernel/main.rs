//! ctwatch on real kernels: each scenario is judged by the traffic generator's own numbers and by the kernel's counters.
//! They run inside the lab's virtual machine, by `cargo xtask lab test`.

#[cfg(test)]
mod advise_block_source;
#[cfg(test)]
mod all_namespaces;
#[cfg(test)]
mod apply_effect;
#[cfg(test)]
mod apply_killed;
#[cfg(test)]
mod apply_purge;
#[cfg(test)]
mod apply_refused;
#[cfg(test)]
mod apply_watched;
#[cfg(test)]
mod audited;
#[cfg(test)]
mod baseline;
#[cfg(test)]
mod block;
#[cfg(test)]
mod blocklist;
#[cfg(test)]
mod blocklist_nft;
#[cfg(test)]
mod cap;
#[cfg(test)]
mod causes;
#[cfg(test)]
mod census;
#[cfg(test)]
mod changed;
#[cfg(test)]
mod checked;
#[cfg(test)]
mod degraded_refusals;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod ends;
#[cfg(test)]
mod ends_by;
#[cfg(test)]
mod events;
#[cfg(test)]
mod exactness;
#[cfg(test)]
mod identities_ends;
#[cfg(test)]
mod identities_full;
#[cfg(test)]
mod identities_walls;
#[cfg(test)]
mod idle_entries;
#[cfg(test)]
mod insert_failures;
#[cfg(test)]
mod interface;
#[cfg(test)]
mod killed;
#[cfg(test)]
mod ladder;
#[cfg(test)]
mod loss_on_purpose;
#[cfg(test)]
mod many_sources;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod nesting;
#[cfg(test)]
mod observed;
#[cfg(test)]
mod prototypes;
#[cfg(test)]
mod ranking;
#[cfg(test)]
mod reboot;
#[cfg(test)]
mod reboot_files;
#[cfg(test)]
mod reclaim;
#[cfg(test)]
mod recording;
#[cfg(test)]
mod renamed;
#[cfg(test)]
mod served;
#[cfg(test)]
mod soak;
#[cfg(test)]
mod source_entries;
#[cfg(test)]
mod spoofed_flood;
#[cfg(test)]
mod table_full;
#[cfg(test)]
mod tiny_map;
#[cfg(test)]
mod top;
#[cfg(test)]
mod two_processors;
#[cfg(test)]
mod unloaded;
#[cfg(test)]
mod verifier;
#[cfg(test)]
mod what_if;
#[cfg(test)]
mod without_ctnetlink;
