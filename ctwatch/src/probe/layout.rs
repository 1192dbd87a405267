//! Where the running kernel keeps what the hooks read, from its BTF.

use ctwatch_common::layout::{entry, tuple};

use super::{
    btf::{Btf, BtfError},
    symbols::Symbols,
};

/// Why the hooks cannot read this kernel.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// BTF lacks something.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// The status is not next to the namespace, as in every kernel known.
    #[error(
        "in this kernel nf_conn.status is not next to nf_conn.ct_net: this ctwatch is too old for it"
    )]
    Apart,
    /// The tuple is not where it is in every kernel known.
    #[error(
        "in this kernel nf_conn.tuplehash is {found} bytes behind nf_conn.timeout, not {}: this ctwatch is too old for it",
        entry::TIMEOUT_TO_TUPLE
    )]
    Distance {
        /// How far it is, in bytes.
        found: i64,
    },
    /// The tuple is not as in every kernel known.
    #[error(
        "in this kernel nf_conntrack_tuple.{member} is at byte {found}, not {expected}: this ctwatch is too old for it"
    )]
    Tuple {
        /// Which member.
        member: &'static str,
        /// Where it is.
        found: u32,
        /// Where it was in every kernel before.
        expected: usize,
    },
}

/// Offsets for the hooks on conntrack, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConntrackLayout {
    /// `struct nf_conn`: the original direction's tuple.
    pub nf_conn_tuple: u32,
    /// `struct nf_conn`: the pointer to the namespace.
    pub nf_conn_net: u32,
    /// `struct nf_conn`: the status bits.
    pub nf_conn_status: u32,
    /// `struct nf_conn`: when it expires.
    pub nf_conn_timeout: u32,
    /// `struct net`: the inode number.
    pub net_inum: u32,
    /// `struct sk_buff`: the pointer to the entry.
    pub skb_nfct: u32,
}

impl ConntrackLayout {
    /// Reads the offsets, and checks that the tuple is laid out as the hooks expect.
    ///
    /// # Errors
    ///
    /// If something is missing or elsewhere.
    pub fn of(btf: &Btf) -> Result<Self, LayoutError> {
        let expected: [(&'static str, &[&str], usize); 6] = [
            ("src.u3", &["src", "u3"], tuple::SOURCE),
            ("src.u", &["src", "u"], tuple::SOURCE_PORT),
            ("src.l3num", &["src", "l3num"], tuple::FAMILY),
            ("dst.u3", &["dst", "u3"], tuple::DESTINATION),
            ("dst.u", &["dst", "u"], tuple::DESTINATION_PORT),
            ("dst.protonum", &["dst", "protonum"], tuple::PROTOCOL),
        ];
        for (member, path, expected) in expected {
            let found = btf.offset_of("nf_conntrack_tuple", path)?;
            if found as usize != expected {
                return Err(LayoutError::Tuple { member, found, expected });
            }
        }
        let nf_conn_net = btf.offset_of("nf_conn", &["ct_net"])?;
        let nf_conn_status = btf.offset_of("nf_conn", &["status"])?;
        // The kernel side reads both at once.
        if ![8, 16].contains(&nf_conn_net.wrapping_sub(nf_conn_status)) {
            return Err(LayoutError::Apart);
        }
        let nf_conn_tuple = btf.offset_of("nf_conn", &["tuplehash", "tuple"])?;
        let nf_conn_timeout = btf.offset_of("nf_conn", &["timeout"])?;
        // As well.
        let found = i64::from(nf_conn_tuple) - i64::from(nf_conn_timeout);
        if usize::try_from(found) != Ok(entry::TIMEOUT_TO_TUPLE) {
            return Err(LayoutError::Distance { found });
        }
        Ok(Self {
            nf_conn_tuple,
            nf_conn_net,
            nf_conn_status,
            nf_conn_timeout,
            net_inum: btf.offset_of("net", &["ns", "inum"])?,
            skb_nfct: btf.offset_of("sk_buff", &["_nfct"])?,
        })
    }
}

/// What the program on dropped packets has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropLayout {
    /// First address of nf_hook_slow.
    pub nf_hook_slow_start: u64,
    /// First address after it.
    pub nf_hook_slow_end: u64,
    /// SKB_DROP_REASON_NETFILTER_DROP; 0 on kernels whose tracepoint has no reason (before 5.17).
    pub netfilter_drop: u32,
    /// `struct sk_buff`: offsets in bytes.
    pub skb_head: u32,
    /// As above.
    pub skb_network_header: u32,
    /// As above.
    pub skb_dev: u32,
    /// `struct net_device`: offset of `nd_net`, in bytes.
    pub dev_net: u32,
}

impl DropLayout {
    /// Reads the offsets and addresses.
    ///
    /// # Errors
    ///
    /// A sentence that says what is missing.
    pub fn of(btf: &Btf, symbols: &Symbols) -> Result<Self, String> {
        let offset = |structure: &str, member: &str| {
            btf.offset_of(structure, &[member]).map_err(|error| error.to_string())
        };
        let (nf_hook_slow_start, nf_hook_slow_end) = symbols.range_of("nf_hook_slow").ok_or(
            "the address of nf_hook_slow is hidden (kernel.kptr_restrict, or no CAP_SYSLOG)"
                .to_owned(),
        )?;
        Ok(Self {
            nf_hook_slow_start,
            nf_hook_slow_end,
            netfilter_drop: btf
                .enum_value("skb_drop_reason", "SKB_DROP_REASON_NETFILTER_DROP")
                .unwrap_or(0),
            skb_head: offset("sk_buff", "head")?,
            skb_network_header: offset("sk_buff", "network_header")?,
            skb_dev: offset("sk_buff", "dev")?,
            dev_net: offset("net_device", "nd_net")?,
        })
    }
}
