//! ctwatch on real kernels: each scenario is judged by the traffic generator's own numbers and by the kernel's counters.
//! They run inside the lab's virtual machine, by `cargo xtask lab test`.

#[cfg(test)]
mod baseline;
#[cfg(test)]
mod degraded_refusals;
#[cfg(test)]
mod ends;
#[cfg(test)]
mod exactness;
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
mod nesting;
#[cfg(test)]
mod observed;
#[cfg(test)]
mod ranking;
#[cfg(test)]
mod reclaim;
#[cfg(test)]
mod soak;
#[cfg(test)]
mod table_full;
#[cfg(test)]
mod tiny_map;
#[cfg(test)]
mod without_ctnetlink;
