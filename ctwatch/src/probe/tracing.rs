//! The highest rung: programs that the kernel calls where conntrack's functions begin and return (fentry and
//! fexit), with the functions' own arguments.
//!
//! aya attaches such programs to the kernel's own functions only, and conntrack is a module nearly everywhere.
//! So aya makes the maps, and the programs are linked to them and loaded here, in the same way wherever
//! conntrack is. A module that is traced cannot be unloaded meanwhile.

use std::{
    collections::{HashMap, HashSet},
    io, mem,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    sync::Arc,
};

use aya::{Ebpf, maps::Map};
use aya_obj::{Object, generated::bpf_attach_type};

use super::{
    btf::{Btf, BtfError, Function},
    error::ProbeError,
    hooks::{HOOKS, Hook, Moment},
    misses::MissCounters,
    syscall::{self, TracingProgram},
};

/// The module, where conntrack is one.
pub const MODULE: &str = "nf_conntrack";

/// What the kernel says about conntrack: its types, and where its functions are.
#[derive(Debug)]
pub struct ConntrackTypes {
    kernel: Arc<Btf>,
    module: Result<Btf, BtfError>,
}

/// The functions to trace.
#[derive(Debug)]
pub struct Targets {
    functions: Vec<(&'static Hook, Function)>,
    module: Option<OwnedFd>,
}

/// The maps of an object that aya loaded, by name.
#[derive(Debug)]
pub struct SharedMaps(HashMap<String, OwnedFd>);

/// Programs that are attached. Dropping it detaches them.
#[derive(Debug, Default)]
pub struct Links {
    /// What each of them missed.
    pub misses: MissCounters,
    _descriptors: Vec<OwnedFd>,
}

impl ConntrackTypes {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// If the kernel has no BTF. That it has none for modules is no error yet.
    pub fn read() -> Result<Self, BtfError> {
        let kernel = Arc::new(Btf::of_kernel()?);
        let module = Btf::of_module(MODULE, Arc::clone(&kernel));
        Ok(Self { kernel, module })
    }

    /// All types, the module's own included where it has some.
    pub fn all(&self) -> &Btf {
        self.module.as_ref().unwrap_or(&self.kernel)
    }

    /// The functions that the hooks stand on.
    ///
    /// # Errors
    ///
    /// If the kernel does not say where one of them is, or one has other parameters than the programs expect.
    pub fn targets(self) -> Result<Targets, ProbeError> {
        let all = self.all();
        let function = |hook: &'static Hook| match all.function(hook.symbol) {
            None => Err(ProbeError::NoFunction(hook.symbol)),
            Some(found) if !hook.fits(found.parameters) => {
                Err(ProbeError::OtherParameters { function: hook.symbol, found: found.parameters })
            }
            Some(found) => Ok((hook, found)),
        };
        let functions = HOOKS.iter().map(|hook| function(hook)).collect::<Result<_, _>>();
        let is_built_in = HOOKS.iter().all(|hook| self.kernel.function(hook.symbol).is_some());
        if is_built_in {
            return Ok(Targets { functions: functions?, module: None });
        }
        if let Err(error) = self.module {
            return Err(error.into());
        }
        let module = syscall::module_btf(MODULE).map_err(ProbeError::BtfObject)?;
        let module = module.ok_or(ProbeError::NoBtfObject(MODULE))?;
        Ok(Targets { functions: functions?, module: Some(module) })
    }
}

impl SharedMaps {
    /// The maps that `object` has now.
    ///
    /// # Errors
    ///
    /// If a descriptor cannot be had.
    pub fn of(object: &Ebpf) -> Result<Self, ProbeError> {
        let mut maps = HashMap::new();
        for (name, map) in object.maps() {
            if let Map::Array(data) | Map::HashMap(data) | Map::Queue(data) | Map::RingBuf(data) =
                map
            {
                maps.insert(name.to_owned(), data.fd().as_fd().try_clone_to_owned()?);
            }
        }
        Ok(Self(maps))
    }
}

/// Loads and attaches the programs; all or none.
///
/// `bytes` is the object that `maps` were made for. Its globals are in one of them.
///
/// # Errors
///
/// If the object is not this version's, or the kernel refuses one.
pub fn attach(targets: &Targets, bytes: &[u8], maps: &SharedMaps) -> Result<Links, ProbeError> {
    let object = linked(bytes, maps)?;
    let mut programs = Vec::new();
    for (hook, function) in &targets.functions {
        for traced in hook.traced {
            let instructions = object
                .programs
                .get(traced.program)
                .and_then(|program| object.functions.get(&program.function_key()))
                .ok_or(ProbeError::Lacks(traced.program))?;
            let program = TracingProgram {
                name: traced.program,
                instructions: &instructions.instructions,
                attach_type: match traced.moment {
                    Moment::Entry => bpf_attach_type::BPF_TRACE_FENTRY,
                    Moment::Return => bpf_attach_type::BPF_TRACE_FEXIT,
                },
                function: function.id,
                module: targets.module.as_ref().map(AsFd::as_fd),
            };
            let loaded = syscall::load(&program)
                .map_err(|refusal| not_traced(hook, refusal.error, &refusal.log))?;
            programs.push((*hook, traced.program, loaded));
        }
    }
    let mut links = Links::default();
    for (hook, name, program) in programs {
        let attached = syscall::attach(program.as_fd());
        links._descriptors.push(attached.map_err(|error| not_traced(hook, error, ""))?);
        links.misses.add_traced(hook, name, program);
    }
    Ok(links)
}

fn not_traced(hook: &Hook, error: io::Error, log: &str) -> ProbeError {
    ProbeError::NotTraced { function: hook.symbol, error, log: last_line(log) }
}

/// The object with its maps and calls resolved.
///
/// Its functions need no adapting to older kernels: those that trace modules have every helper they call.
fn linked(bytes: &[u8], maps: &SharedMaps) -> Result<Object, ProbeError> {
    let mut object = Object::parse(bytes)?;
    let own_maps = mem::take(&mut object.maps);
    let sections: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
    let descriptors = own_maps
        .iter()
        .filter_map(|(name, map)| Some((name.as_str(), maps.0.get(name)?.as_raw_fd(), map)));
    object.relocate_maps(descriptors, &sections)?;
    object.relocate_calls(&sections)?;
    Ok(object)
}

/// The verifier's reason: the last line of its log that is not a count of what it did.
fn last_line(log: &str) -> String {
    let lines = log.lines().rev().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with("processed "))
        .take(1)
        .map(|line| format!(": {line}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifiers_reason_is_before_its_numbers() {
        let log =
            "0: R1=ctx()\nR1 invalid mem access 'scalar'\nprocessed 3 insns (limit 1000000)\n\n";
        assert_eq!(last_line(log), ": R1 invalid mem access 'scalar'");
        assert_eq!(last_line(""), "");
    }
}
