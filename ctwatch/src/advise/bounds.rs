//! How far advice may go, as the operator says.

/// The operator's bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Timeouts below what the RFCs ask of a NAT may be advised.
    pub allow_below_rfc: bool,
    /// The share of the machine's memory that tables at their limits may take.
    pub memory_share_max: f64,
    /// How long the kernel may stand still while the hash table is made anew, in milliseconds.
    pub stall_ms_max: f64,
    /// Values may be set lower than an administrator has set them.
    pub allow_lowering: bool,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            allow_below_rfc: false,
            // kernel.md: at most 5 % of the memory over all busy namespaces.
            memory_share_max: 0.05,
            stall_ms_max: 50.0,
            allow_lowering: false,
        }
    }
}
