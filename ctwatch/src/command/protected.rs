//! What must never be blocked, for the commands that block.

use std::io;

use super::look;
use crate::{
    blocklist::protected::Protected,
    cli::ProtectedArguments,
    exit::CommandError,
    host::{
        namespace::NetworkNamespace,
        protected_addresses::{self, ProtectedError},
    },
};

/// Gathers all that must never be blocked in `namespace`.
///
/// # Errors
///
/// If it cannot be known, or the operator's file is wrong.
pub fn read_in(
    namespace: &NetworkNamespace,
    arguments: &ProtectedArguments,
) -> Result<Protected, CommandError> {
    protected_addresses::read_in(namespace, &arguments.named()).map_err(|error| match error {
        ProtectedError::Line { .. } => CommandError::Usage(error.to_string()),
        ProtectedError::Unread { ref source, .. }
            if source.kind() == io::ErrorKind::PermissionDenied =>
        {
            CommandError::CannotRun(format!("{error}: run ctwatch as root"))
        }
        ProtectedError::Unread { .. } => CommandError::Failed(anyhow::anyhow!(error.to_string())),
        ProtectedError::Namespace(error) => look::namespace_error(error),
    })
}
