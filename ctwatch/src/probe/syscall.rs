//! The few calls of bpf(2) that aya has no words for: programs traced into functions of a module, and what the
//! kernel knows of programs and links beyond what aya asks for.
//!
//! Each structure is a member of `union bpf_attr` or one that it points to (include/uapi/linux/bpf.h). The
//! kernel takes a shorter one than its own as if the rest were zero.

use std::{
    ffi::c_long,
    io,
    mem::offset_of,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use aya_obj::generated::{
    bpf_attach_type, bpf_cmd, bpf_insn, bpf_link_type, bpf_perf_event_type, bpf_prog_info,
    bpf_prog_type,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A program to be traced into a function.
#[derive(Clone, Copy, Debug)]
pub struct TracingProgram<'a> {
    /// Its name in the kernel, cut after 15 bytes.
    pub name: &'a str,
    /// Its instructions, with the descriptors of its maps in them.
    pub instructions: &'a [bpf_insn],
    /// Whether it runs as the function is entered or as it returns.
    pub attach_type: bpf_attach_type,
    /// The function, by its BTF id.
    pub function: u32,
    /// The BTF of the module that the function is in; `None` for the kernel's own.
    pub module: Option<BorrowedFd<'a>>,
}

const NAME_BYTES: usize = 16;
const LOG_BYTES: usize = 1 << 16;
/// The programs call helpers that only GPL-compatible programs may.
const LICENSE: &[u8] = b"Dual MIT/GPL\0";

#[derive(Clone, Copy, Default, IntoBytes, Immutable)]
#[repr(C)]
struct ProgramLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; NAME_BYTES],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
    attach_btf_obj_fd: u32,
    padding: u32,
}

/// Why a program was not loaded.
#[derive(Debug)]
pub struct Refusal {
    /// What the kernel said.
    pub error: io::Error,
    /// What its verifier said, or nothing if it was not asked.
    pub log: String,
}

/// Loads a program.
///
/// # Errors
///
/// What the kernel and its verifier say.
pub fn load(program: &TracingProgram<'_>) -> Result<OwnedFd, Refusal> {
    let mut prog_name = [0; NAME_BYTES];
    for (to, from) in prog_name.iter_mut().take(NAME_BYTES - 1).zip(program.name.bytes()) {
        *to = from;
    }
    let mut attributes = ProgramLoad {
        prog_type: bpf_prog_type::BPF_PROG_TYPE_TRACING as u32,
        insn_cnt: u32::try_from(program.instructions.len()).unwrap_or(u32::MAX),
        insns: program.instructions.as_ptr() as u64,
        license: LICENSE.as_ptr() as u64,
        prog_name,
        expected_attach_type: program.attach_type as u32,
        attach_btf_id: program.function,
        attach_btf_obj_fd: program.module.map_or(0, |fd| fd.as_raw_fd().cast_unsigned()),
        ..ProgramLoad::default()
    };
    // SAFETY: the pointers are to instructions and a license that outlive the call, with their lengths.
    let loaded = unsafe { call_for_fd(bpf_cmd::BPF_PROG_LOAD, &attributes) };
    let error = match loaded {
        Ok(fd) => return Ok(fd),
        Err(error) => error,
    };
    // Once more, for the reason.
    let mut log = vec![0_u8; LOG_BYTES];
    attributes.log_level = 1;
    attributes.log_size = LOG_BYTES as u32;
    attributes.log_buf = log.as_mut_ptr() as u64;
    // SAFETY: as above; the log is as long as is said and outlives the call.
    let again = unsafe { call_for_fd(bpf_cmd::BPF_PROG_LOAD, &attributes) };
    again.map_err(|_| Refusal { error, log: text(&log) })
}

/// Attaches a loaded program; it is detached when the descriptor is closed.
///
/// # Errors
///
/// What the kernel says.
pub fn attach(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    #[derive(IntoBytes, Immutable)]
    #[repr(C)]
    struct RawTracepointOpen {
        name: u64,
        prog_fd: RawFd,
        padding: u32,
    }
    let attributes = RawTracepointOpen { name: 0, prog_fd: program.as_raw_fd(), padding: 0 };
    // SAFETY: there is no pointer but the name, which a program of this type has none of.
    unsafe { call_for_fd(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &attributes) }
}

/// The BTF of a module as the kernel keeps it, not as a file; `None` if there is none. Needs CAP_SYS_ADMIN.
///
/// # Errors
///
/// What the kernel says.
pub fn module_btf(module: &str) -> io::Result<Option<OwnedFd>> {
    let mut id = 0;
    while let Some(next) = next_btf(id)? {
        id = next;
        let Some(fd) = btf_by_id(id)? else { continue };
        if is_module_btf(&fd, module)? {
            return Ok(Some(fd));
        }
    }
    Ok(None)
}

fn next_btf(id: u32) -> io::Result<Option<u32>> {
    #[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
    #[repr(C)]
    struct GetNextId {
        start_id: u32,
        next_id: u32,
        open_flags: u32,
    }
    let mut attributes = GetNextId { start_id: id, next_id: 0, open_flags: 0 };
    // SAFETY: there is no pointer in it, and the kernel writes the next number into its place.
    let result = unsafe {
        call(
            bpf_cmd::BPF_BTF_GET_NEXT_ID,
            attributes.as_mut_bytes().as_mut_ptr(),
            size_of::<GetNextId>(),
        )
    };
    Ok(unless_gone(result)?.map(|_| attributes.next_id))
}

/// `None` if it has gone meanwhile.
fn btf_by_id(id: u32) -> io::Result<Option<OwnedFd>> {
    let attributes: [u32; 3] = [id, 0, 0];
    // SAFETY: there is no pointer in it.
    unless_gone(unsafe { call_for_fd(bpf_cmd::BPF_BTF_GET_FD_BY_ID, &attributes) })
}

fn is_module_btf(btf: &OwnedFd, module: &str) -> io::Result<bool> {
    /// `struct bpf_btf_info`.
    #[derive(Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
    #[repr(C)]
    struct BtfInfo {
        btf: u64,
        btf_size: u32,
        id: u32,
        name: u64,
        name_len: u32,
        kernel_btf: u32,
    }
    /// MODULE_NAME_LEN (include/linux/module.h).
    const MODULE_NAME_BYTES: usize = 64;
    let mut name = [0_u8; MODULE_NAME_BYTES];
    let mut info = BtfInfo {
        name: name.as_mut_ptr() as u64,
        name_len: MODULE_NAME_BYTES as u32,
        ..BtfInfo::default()
    };
    // SAFETY: the name is as long as is said there is room for, and outlives the call.
    unsafe { object_info(btf.as_fd(), info.as_mut_bytes()) }?;
    Ok(info.kernel_btf == 1 && text(&name) == module)
}

/// How often a program was skipped because it, or another one of its kind, ran on that CPU already; `None` where
/// the kernel keeps no such count (`recursion_misses` of `struct bpf_prog_info`, since 5.12).
///
/// # Errors
///
/// What the kernel says.
pub fn program_misses(program: BorrowedFd<'_>) -> io::Result<Option<u64>> {
    const AT: usize = offset_of!(bpf_prog_info, recursion_misses);
    const END: usize = AT + size_of::<u64>();
    let mut info = [0_u8; END];
    // SAFETY: zeros are no pointers and ask for nothing that would need one.
    let known = unsafe { object_info(program, &mut info) }?;
    Ok(number_at(&info, known, AT))
}

/// How often a probe was not even reached because another one ran on that CPU already; `None` where the kernel
/// keeps no such count (`perf_event.kprobe.missed` of `struct bpf_link_info`, since 6.7).
///
/// # Errors
///
/// What the kernel says.
pub fn link_misses(link: BorrowedFd<'_>) -> io::Result<Option<u64>> {
    /// `struct bpf_link_info` of a probe, as far as it goes.
    #[derive(Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
    #[repr(C)]
    struct LinkInfo {
        link_type: u32,
        id: u32,
        prog_id: u32,
        padding: u32,
        event_type: u32,
        event_padding: u32,
        func_name: u64,
        name_len: u32,
        offset: u32,
        addr: u64,
        missed: u64,
    }
    const PROBES: [u32; 2] = [
        bpf_perf_event_type::BPF_PERF_EVENT_KPROBE as u32,
        bpf_perf_event_type::BPF_PERF_EVENT_KRETPROBE as u32,
    ];
    let mut info = LinkInfo::default();
    // SAFETY: the only pointer in it is to a name that is not wanted, and is zero with its length.
    let known = unsafe { object_info(link, info.as_mut_bytes()) }?;
    let is_probe = info.link_type == bpf_link_type::BPF_LINK_TYPE_PERF_EVENT as u32
        && PROBES.contains(&info.event_type);
    Ok((is_probe && known >= size_of::<LinkInfo>()).then_some(info.missed))
}

/// A link by its number. Needs CAP_SYS_ADMIN.
///
/// # Errors
///
/// What the kernel says.
pub fn link_by_id(id: u32) -> io::Result<OwnedFd> {
    let attributes: [u32; 3] = [id, 0, 0];
    // SAFETY: there is no pointer in it.
    unsafe { call_for_fd(bpf_cmd::BPF_LINK_GET_FD_BY_ID, &attributes) }
}

/// Asks what the kernel knows of an object, and says how many bytes of it the kernel has: an older one has fewer.
///
/// # Safety
///
/// The bytes must be zero, or the structure that goes with the object, with every pointer in it to what it says.
unsafe fn object_info(object: BorrowedFd<'_>, info: &mut [u8]) -> io::Result<usize> {
    #[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
    #[repr(C)]
    struct ObjectInfo {
        bpf_fd: RawFd,
        info_len: u32,
        info: u64,
    }
    let mut attributes = ObjectInfo {
        bpf_fd: object.as_raw_fd(),
        info_len: u32::try_from(info.len()).unwrap_or(u32::MAX),
        info: info.as_mut_ptr() as u64,
    };
    // SAFETY: the kernel writes no more than is said there is room for, which outlives the call; the rest is the
    // caller's.
    unsafe {
        call(
            bpf_cmd::BPF_OBJ_GET_INFO_BY_FD,
            attributes.as_mut_bytes().as_mut_ptr(),
            size_of::<ObjectInfo>(),
        )
    }?;
    Ok(attributes.info_len as usize)
}

/// The number at a place, if the kernel has written that far.
fn number_at(bytes: &[u8], known: usize, at: usize) -> Option<u64> {
    let number = bytes.get(..known)?.get(at..)?.first_chunk()?;
    Some(u64::from_ne_bytes(*number))
}

/// # Safety
///
/// The attributes must be those of the command, and every pointer in them must be to what it says.
unsafe fn call_for_fd<A: IntoBytes + Immutable>(
    command: bpf_cmd,
    attributes: &A,
) -> io::Result<OwnedFd> {
    let mut bytes = attributes.as_bytes().to_vec();
    // SAFETY: the caller's.
    let fd = unsafe { call(command, bytes.as_mut_ptr(), bytes.len()) }?;
    let fd = RawFd::try_from(fd).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the command answers with a new descriptor, which nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// # Safety
///
/// The attributes must be those of the command, that many bytes, and every pointer in them must be to what it
/// says.
unsafe fn call(command: bpf_cmd, attributes: *mut u8, bytes: usize) -> io::Result<c_long> {
    // SAFETY: the caller's.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command as libc::c_long, attributes, bytes) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A text that ends with a zero byte.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_the_kernel_has_not_written_is_not_known() {
        let bytes: Vec<u8> = (0..24).collect();
        assert_eq!(number_at(&bytes, 24, 16), Some(0x1716_1514_1312_1110));
        assert_eq!(number_at(&bytes, 23, 16), None);
        assert_eq!(number_at(&bytes, 208, 16), None);
        assert_eq!(number_at(&bytes, 0, 16), None);
    }
}
