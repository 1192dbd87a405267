//! `cscli decisions import`, with CrowdSec's local API in the namespace.
