//! What a walk of the table told, prefixes and floods, as JSON.

use serde_json::{Map, Value as Json, json};

use super::object;
use crate::model::{
    census::{
        destinations::{Destination, DestinationNumbers},
        snat::{Holder, PoolNumbers},
        state::StateNumbers,
    },
    fields::{Field, census as fields},
    flood::Flood,
    prefix::Prefix,
    protocol,
    snapshot::{CensusNow, Snapshot},
};

/// The key `census`.
pub(super) fn census(snapshot: &Snapshot) -> Option<Map<String, Json>> {
    let CensusNow { census, .. } = snapshot.census.as_ref()?;
    let mut line = object(fields::WALK, snapshot.census.as_ref()?);
    line.extend(object(fields::CENSUS, census.as_ref()));
    line.insert("states".to_owned(), census.states.iter().map(state).collect());
    let zones = census.zones.iter().map(|zone| object(fields::ZONE, zone));
    line.insert("zones".to_owned(), zones.map(Json::from).collect());
    line.insert("destinations".to_owned(), census.destinations.iter().map(destination).collect());
    line.insert("snat_pools".to_owned(), census.snat_pools.iter().map(snat_pool).collect());
    Some(line)
}

/// One of the key `prefixes`.
pub(super) fn prefix(prefix: &Prefix) -> Json {
    named([("prefix", prefix.network.to_string().into())], fields::PREFIX, prefix)
}

/// One of the key `floods`.
pub(super) fn flood(flood: &Flood) -> Json {
    let mut line = named(place(&flood.destination), fields::FLOOD, flood);
    let prefixes: Json = flood
        .prefixes
        .iter()
        .map(|share| {
            named([("prefix", share.network.to_string().into())], fields::PREFIX_SHARE, share)
        })
        .collect();
    if let Some(line) = line.as_object_mut() {
        line.insert("prefixes".to_owned(), prefixes);
    }
    line
}

fn state(state: &StateNumbers) -> Json {
    let names =
        [("protocol", state.protocol.as_ref().into()), ("state", state.state.as_ref().into())];
    named(names, fields::STATE, state)
}

fn destination(numbers: &DestinationNumbers) -> Json {
    named(place(&numbers.destination), fields::DESTINATION, numbers)
}

fn snat_pool(numbers: &PoolNumbers) -> Json {
    let address = ("address", numbers.pool.address.to_string().into());
    let [destination, port, protocol] = place(&numbers.pool.destination);
    let mut line = named([address, destination, port, protocol], fields::SNAT_POOL, numbers);
    let holder = |holder: &Holder| {
        named([("source", holder.source.to_string().into())], fields::HOLDER, holder)
    };
    if let Some(line) = line.as_object_mut() {
        line.insert("sources".to_owned(), numbers.holders.iter().map(holder).collect());
    }
    line
}

fn place(destination: &Destination) -> [(&'static str, Json); 3] {
    [
        ("destination", destination.address.to_string().into()),
        ("destination_port", destination.port.into()),
        ("protocol", protocol::name(destination.protocol).into()),
    ]
}

fn named<T, const N: usize>(names: [(&'static str, Json); N], fields: &[Field<T>], of: &T) -> Json {
    let mut line = Map::from_iter(names.map(|(name, value)| (name.to_owned(), value)));
    line.extend(object(fields, of));
    json!(line)
}
