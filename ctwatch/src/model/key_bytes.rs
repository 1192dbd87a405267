//! A key as it is kept in a recording: its bytes in a fixed order, whatever machine wrote them.

use ctwatch_common::source::SourceKey;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};

/// Address, namespace, family, protocol and prefix length, numbers with the lowest byte first.
const BYTES: usize = 24;

struct KeyBytes(SourceKey);

/// Writes a key.
///
/// # Errors
///
/// Those of the serializer.
pub fn serialize<S: Serializer>(key: &SourceKey, to: S) -> Result<S::Ok, S::Error> {
    KeyBytes(*key).serialize(to)
}

/// Reads a key.
///
/// # Errors
///
/// Those of the deserializer; or if there are more or fewer bytes than a key has.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SourceKey, D::Error> {
    KeyBytes::deserialize(from).map(|bytes| bytes.0)
}

/// The same where there may be none.
pub mod optional {
    use super::{Deserialize, Deserializer, KeyBytes, Serialize, Serializer, SourceKey};

    /// Writes a key, or that there is none.
    ///
    /// # Errors
    ///
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(key: &Option<SourceKey>, to: S) -> Result<S::Ok, S::Error> {
        key.map(KeyBytes).serialize(to)
    }

    /// Reads a key, or that there is none.
    ///
    /// # Errors
    ///
    /// Those of the deserializer; or if there are more or fewer bytes than a key has.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SourceKey>, D::Error> {
        Ok(Option::<KeyBytes>::deserialize(from)?.map(|bytes| bytes.0))
    }
}

impl Serialize for KeyBytes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let SourceKey { address, netns, family, protocol, prefix_length } = self.0;
        let (netns, family) = (netns.to_le_bytes(), family.to_le_bytes());
        let bytes = [&address[..], &netns, &family, &[protocol, prefix_length]].concat();
        to.serialize_bytes(&bytes)
    }
}

impl<'de> Deserialize<'de> for KeyBytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_bytes(KeyVisitor)
    }
}

struct KeyVisitor;

impl Visitor<'_> for KeyVisitor {
    type Value = KeyBytes;

    fn expecting(&self, text: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(text, "the {BYTES} bytes of a key")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<KeyBytes, E> {
        let wrong = || E::invalid_length(bytes.len(), &self);
        let bytes: &[u8; BYTES] = bytes.try_into().map_err(|_| wrong())?;
        let (address, rest) = bytes.split_first_chunk().ok_or_else(wrong)?;
        let (netns, rest) = rest.split_first_chunk().ok_or_else(wrong)?;
        let (family, rest) = rest.split_first_chunk().ok_or_else(wrong)?;
        let [protocol, prefix_length] = *rest else { return Err(wrong()) };
        Ok(KeyBytes(SourceKey {
            address: *address,
            netns: u32::from_le_bytes(*netns),
            family: u16::from_le_bytes(*family),
            protocol,
            prefix_length,
        }))
    }
}
