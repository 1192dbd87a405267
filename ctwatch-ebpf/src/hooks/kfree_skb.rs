//! A packet is dropped: where conntrack itself cannot be hooked, what is left to see of a refusal.
//!
//! prototype: void kfree_skb(void *, struct sk_buff *, void *)
//! prototype: void kfree_skb(void *, struct sk_buff *, void *, enum skb_drop_reason)
//! prototype: void kfree_skb(void *, struct sk_buff *, void *, enum skb_drop_reason, struct sock *)
//! prototype: void kfree_skb(void *, struct sk_buff *, void *, enum skb_drop_reason, const struct sock *)
//!
//! A packet that nf_conntrack refuses is freed by nf_hook_slow with no entry attached. So is one that a rule
//! before conntrack drops on some kernels, which is why user space switches this on only near the limit and
//! believes it only as far as conntrack's own drop counter.

use aya_ebpf::{
    Global, helpers::bpf_probe_read_kernel, macros::btf_tracepoint, programs::BtfTracePointContext,
};
use ctwatch_common::{
    counter::{Counter, Witness},
    event::{EventRecord, KIND_REFUSED_TABLE_FULL},
    layout::control,
    source::{FAMILY_IPV4, FAMILY_IPV6, SourceKey},
};

use crate::{
    account::{find, witness},
    conntrack::{SKB_NFCT, netns_of},
    emit,
    maps::CONTROL,
};

/// First address of nf_hook_slow, and the first after it.
#[unsafe(no_mangle)]
static NF_HOOK_SLOW_START: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static NF_HOOK_SLOW_END: Global<u64> = Global::new(0);
/// SKB_DROP_REASON_NETFILTER_DROP, or 0 on a kernel whose tracepoint has no reason.
#[unsafe(no_mangle)]
static NETFILTER_DROP: Global<u32> = Global::new(0);
/// `struct sk_buff`: offsets in bytes.
#[unsafe(no_mangle)]
static SKB_HEAD: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SKB_NETWORK_HEADER: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SKB_DEV: Global<u32> = Global::new(0);
/// `struct net_device`: offset of `nd_net`, in bytes.
#[unsafe(no_mangle)]
static DEV_NET: Global<u32> = Global::new(0);

/// Counts a dropped packet as refused if it may have been conntrack that dropped it.
#[btf_tracepoint(function = "kfree_skb")]
pub(crate) fn kfree_skb(ctx: BtfTracePointContext) -> i32 {
    let armed = CONTROL.get(control::WATCH_DROPS).is_some_and(|armed| *armed != 0);
    let location: u64 = ctx.arg(1);
    if !armed || location < NF_HOOK_SLOW_START.load() || location >= NF_HOOK_SLOW_END.load() {
        return 0;
    }
    let netfilter_drop = NETFILTER_DROP.load();
    if netfilter_drop != 0 && ctx.arg::<u32>(2) != netfilter_drop {
        return 0;
    }
    let _ = refusal(ctx.arg(0));
    0
}

/// The parts of an IP packet that are counted or sent.
struct Packet {
    source: [u8; 16],
    destination: [u8; 16],
    family: u16,
    protocol: u8,
    transport_header: u64,
}

#[inline(always)]
fn refusal(skb: u64) -> Option<()> {
    if read::<u64>(skb + u64::from(SKB_NFCT.load()))? != 0 {
        return None;
    }
    let head: u64 = read(skb + u64::from(SKB_HEAD.load()))?;
    let network_header: u16 = read(skb + u64::from(SKB_NETWORK_HEADER.load()))?;
    let device: u64 = read(skb + u64::from(SKB_DEV.load()))?;
    let net: u64 = read(device + u64::from(DEV_NET.load()))?;
    let netns = netns_of(net)?;
    let packet = parse(head + u64::from(network_header))?;
    let found =
        find(&SourceKey::of_address(netns, packet.family, packet.protocol, packet.source)?)?;
    let row = found.row;
    found.count(Counter::Refused);
    witness(Witness::Refused);
    if let Some(time_ns) = emit::may_send(row) {
        let ports: [u16; 2] = read(packet.transport_header).unwrap_or_default();
        emit::send(&EventRecord {
            time_ns,
            netns,
            row,
            source: packet.source,
            destination: packet.destination,
            source_port: u16::from_be(ports[0]),
            destination_port: u16::from_be(ports[1]),
            family: packet.family,
            protocol: packet.protocol,
            kind: KIND_REFUSED_TABLE_FULL,
            ..EventRecord::default()
        });
    }
    Some(())
}

/// Reads an IPv4 (RFC 791) or IPv6 (RFC 8200) header; extension headers are not followed.
#[inline(always)]
fn parse(header: u64) -> Option<Packet> {
    let first: u8 = read(header)?;
    let mut source = [0; 16];
    let mut destination = [0; 16];
    match first >> 4 {
        4 => {
            let from: [u8; 4] = read(header + 12)?;
            let to: [u8; 4] = read(header + 16)?;
            [source[0], source[1], source[2], source[3]] = from;
            [destination[0], destination[1], destination[2], destination[3]] = to;
            let length_bytes = u64::from(first & 0xf) * 4;
            let protocol = read(header + 9)?;
            Some(Packet {
                source,
                destination,
                family: FAMILY_IPV4,
                protocol,
                transport_header: header + length_bytes,
            })
        }
        6 => {
            source = read(header + 8)?;
            destination = read(header + 24)?;
            let protocol = read(header + 6)?;
            Some(Packet {
                source,
                destination,
                family: FAMILY_IPV6,
                protocol,
                transport_header: header + 40,
            })
        }
        _ => None,
    }
}

#[inline(always)]
fn read<T>(address: u64) -> Option<T> {
    // SAFETY: the helper checks the address and fails for a bad one.
    unsafe { bpf_probe_read_kernel(address as *const T) }.ok()
}
