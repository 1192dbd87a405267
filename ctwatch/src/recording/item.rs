//! What a block holds: items, each with its kind and length in front, so that a kind of a later version is left out.

use std::{borrow::Cow, sync::Arc};

use bytes::{Buf as _, BufMut as _, BytesMut};
use ipnet::IpNet;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::model::{
    audit::Sums,
    census::Census,
    event::Event,
    flood::Flood,
    loss::Loss,
    mode::Mode,
    prefix::Prefix,
    snapshot::{CensusNow, KernelStatistics, Snapshot, SourceNumbers, Table, WitnessTotals},
};

/// The kinds of items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A [`Beginning`]: what follows in this file.
    Beginning = 1,
    /// A [`Mode`], which snapshots behind it in its block refer to by number.
    Mode = 2,
    /// A [`Census`], likewise.
    Census = 3,
    /// A list of [`Flood`]s, likewise.
    Floods = 4,
    /// A [`SnapshotRecord`].
    Snapshot = 5,
    /// An [`Ending`]: nothing follows in this file.
    Ending = 6,
    /// A [`MachineState`](crate::advise::machine_state::MachineState), which holds until the next one of its namespace.
    MachineState = 7,
}

impl Kind {
    fn of(number: u8) -> Option<Self> {
        let known = [
            Self::Beginning,
            Self::Mode,
            Self::Census,
            Self::Floods,
            Self::Snapshot,
            Self::Ending,
            Self::MachineState,
        ];
        known.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// What a file holds, and of what recording it is a part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Beginning {
    /// The program that wrote it, and its version.
    pub program: String,
    /// The machine that it ran on.
    pub host: String,
    /// The kernel there.
    pub kernel: String,
    /// When the recording was begun, in nanoseconds since 1970; the parts of one recording have it in common.
    pub begun_wall_ns: i128,
    /// Which part of the recording it is, from 0 on.
    pub part: u32,
    /// Whether all namespaces were looked at.
    pub is_of_all_namespaces: bool,
    /// Time between two snapshots, in seconds.
    pub interval_s: f64,
    /// How many sources are listed at most.
    pub listed_sources: u64,
    /// Whose rows are listed; everybody's unless said.
    pub only: Option<IpNet>,
}

/// How a file ends, if it was not cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// The recording is over.
    Finished,
    /// It goes on in the next part.
    Continued,
}

/// A [`Snapshot`] as it is kept: what many of them share is kept once in each block, and only its number is here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SnapshotRecord<'a> {
    is_last_of_interval: bool,
    wall_ns: i128,
    netns: u32,
    netns_name: Option<Cow<'a, str>>,
    interval_s: f64,
    table: Table,
    totals: SourceNumbers,
    sources: Cow<'a, [SourceNumbers]>,
    others: SourceNumbers,
    prefixes: Option<Cow<'a, [Prefix]>>,
    census: Option<CensusRecord>,
    floods: Option<usize>,
    kernel: KernelStatistics,
    drift_entries: Option<i64>,
    witness: Option<WitnessTotals>,
    sums: Option<Cow<'a, [Sums; 2]>>,
    loss: Loss,
    mode: usize,
    events: Cow<'a, [Event]>,
}

/// A [`CensusNow`] as it is kept.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct CensusRecord {
    age_s: f64,
    number: usize,
}

/// What the snapshots of a block share, by number; `None` where it was not understood.
#[derive(Clone, Debug, Default)]
pub struct Shared {
    /// Ways in which numbers come about.
    pub modes: Vec<Option<Arc<Mode>>>,
    /// What walks of the table told.
    pub censuses: Vec<Option<Arc<Census>>>,
    /// Floods.
    pub floods: Vec<Option<Arc<[Flood]>>>,
}

/// That of a number.
fn of<T: ?Sized>(shared: &[Option<Arc<T>>], number: usize) -> Option<Arc<T>> {
    shared.get(number)?.as_ref().map(Arc::clone)
}

/// The place of a snapshot in its interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Others of the same interval follow.
    FollowedByOthers,
    /// It is the last one of its interval.
    LastOfInterval,
}

impl<'a> SnapshotRecord<'a> {
    /// Of a snapshot whose shared parts have been written with these numbers.
    pub fn new(snapshot: &'a Snapshot, place: Place, numbers: Numbers) -> Self {
        // Every field by name: a new one that is not kept does not compile.
        let Snapshot {
            wall_ns,
            netns,
            netns_name,
            interval_s,
            table,
            totals,
            sources,
            others,
            prefixes,
            census,
            floods: _,
            kernel,
            drift_entries,
            witness,
            sums,
            loss,
            mode: _,
            events,
        } = snapshot;
        let census = census.as_ref().zip(numbers.census);
        Self {
            is_last_of_interval: place == Place::LastOfInterval,
            wall_ns: *wall_ns,
            netns: *netns,
            netns_name: netns_name.as_deref().map(Cow::Borrowed),
            interval_s: *interval_s,
            table: *table,
            totals: *totals,
            sources: Cow::Borrowed(sources),
            others: *others,
            prefixes: prefixes.as_deref().map(Cow::Borrowed),
            census: census.map(|(now, number)| CensusRecord { age_s: now.age_s, number }),
            floods: numbers.floods,
            kernel: *kernel,
            drift_entries: *drift_entries,
            witness: *witness,
            sums: sums.as_ref().map(Cow::Borrowed),
            loss: *loss,
            mode: numbers.mode,
            events: Cow::Borrowed(events),
        }
    }

    /// The snapshot; `None` if something that it refers to is not there.
    pub fn into_snapshot(self, shared: &Shared) -> Option<(Snapshot, Place)> {
        let census = match self.census {
            Some(CensusRecord { age_s, number }) => {
                Some(CensusNow { age_s, census: of(&shared.censuses, number)? })
            }
            None => None,
        };
        let floods = match self.floods {
            Some(number) => Some(of(&shared.floods, number)?),
            None => None,
        };
        let place =
            if self.is_last_of_interval { Place::LastOfInterval } else { Place::FollowedByOthers };
        let snapshot = Snapshot {
            wall_ns: self.wall_ns,
            netns: self.netns,
            netns_name: self.netns_name.map(Arc::from),
            interval_s: self.interval_s,
            table: self.table,
            totals: self.totals,
            sources: self.sources.into_owned(),
            others: self.others,
            prefixes: self.prefixes.map(Cow::into_owned),
            census,
            floods,
            kernel: self.kernel,
            drift_entries: self.drift_entries,
            witness: self.witness,
            sums: self.sums.map(Cow::into_owned),
            loss: self.loss,
            mode: of(&shared.modes, self.mode)?,
            events: self.events.into_owned(),
        };
        Some((snapshot, place))
    }
}

/// The numbers of the parts of a snapshot that others share.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    /// See [`Shared::modes`].
    pub mode: usize,
    /// See [`Shared::censuses`].
    pub census: Option<usize>,
    /// See [`Shared::floods`].
    pub floods: Option<usize>,
}

/// Something that cannot be written down.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// It is longer than a block may be.
    #[error("there is more to record at once than a block can hold; list fewer sources (--top)")]
    TooLong,
    /// The encoder refuses it.
    #[error("cannot encode what is to be recorded: {0}")]
    Refused(#[from] rmp_serde::encode::Error),
}

/// Writes an item.
///
/// # Errors
///
/// If it is too long.
pub fn put(content: &mut BytesMut, kind: Kind, body: &impl Serialize) -> Result<(), EncodeError> {
    let body = rmp_serde::to_vec_named(body)?;
    content.put_u8(kind as u8);
    content.put_u32_le(u32::try_from(body.len()).map_err(|_| EncodeError::TooLong)?);
    content.put_slice(&body);
    Ok(())
}

/// Takes the next item off `content`: its kind, if that is known, and its body. `None` where nothing whole follows.
pub fn take<'a>(content: &mut &'a [u8]) -> Option<(Option<Kind>, &'a [u8])> {
    let kind = content.try_get_u8().ok()?;
    let length = content.try_get_u32_le().ok()?;
    let (body, rest) = content.split_at_checked(length as usize)?;
    *content = rest;
    Some((Kind::of(kind), body))
}

/// Reads the body of an item; `None` if it is none of its kind.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    rmp_serde::from_slice(body).ok()
}
