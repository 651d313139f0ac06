//! The bpf system call, one function a command. All of the crate's unsafe kernel calls that take
//! attributes are here.
//!
//! Invariants: every attribute is a `repr(C)` struct without implicit padding, a prefix of the
//! kernel's `union bpf_attr` (`include/uapi/linux/bpf.h`); the kernel fills in zeros for the rest.
//! Pointers in attributes are borrowed for the length of the call.

use crate::tune::Channels;
use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    time::Duration,
};

pub(crate) const MAP_TYPE_ARRAY: u32 = 2;
pub(crate) const MAP_TYPE_PERCPU_ARRAY: u32 = 6;
pub(crate) const MAP_TYPE_XSKMAP: u32 = 17;
pub(crate) const MAP_TYPE_RINGBUF: u32 = 27;
pub(crate) const MAP_TYPE_ARENA: u32 = 33;
pub(crate) const MAP_MMAPABLE: u32 = 1 << 10;

const PROG_TYPE_XDP: u32 = 6;
const PROG_TYPE_RAW_TRACEPOINT: u32 = 17;
const ATTACH_TYPE_XDP: u32 = 37;
const LINK_TYPE_XDP: u32 = 6;

mod command {
    pub(super) const MAP_CREATE: i32 = 0;
    pub(super) const MAP_LOOKUP_ELEM: i32 = 1;
    pub(super) const MAP_UPDATE_ELEM: i32 = 2;
    pub(super) const MAP_DELETE_ELEM: i32 = 3;
    pub(super) const PROG_LOAD: i32 = 5;
    pub(super) const OBJ_PIN: i32 = 6;
    pub(super) const OBJ_GET: i32 = 7;
    pub(super) const PROG_TEST_RUN: i32 = 10;
    pub(super) const PROG_GET_FD_BY_ID: i32 = 13;
    pub(super) const OBJ_GET_INFO_BY_FD: i32 = 15;
    pub(super) const RAW_TRACEPOINT_OPEN: i32 = 17;
    pub(super) const BTF_LOAD: i32 = 18;
    pub(super) const MAP_FREEZE: i32 = 22;
    pub(super) const LINK_CREATE: i32 = 28;
    pub(super) const LINK_UPDATE: i32 = 29;
    pub(super) const LINK_DETACH: i32 = 34;
}

/// An attribute struct: plain integers, no padding, any bytes are a value.
///
/// # Safety
/// The type is `repr(C)`, has no padding and is a prefix of `union bpf_attr` for its command; every
/// address in it is valid for what the kernel does with it during the call.
unsafe trait Attribute {}

fn bpf<T: Attribute>(command: i32, attribute: &mut T) -> io::Result<i64> {
    // SAFETY: `Attribute` promises that these bytes are what the kernel expects.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attribute),
            size_of::<T>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn bpf_fd<T: Attribute>(command: i32, attribute: &mut T) -> io::Result<OwnedFd> {
    let fd = bpf(command, attribute)?;
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn fd_u32(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().unsigned_abs()
}

/// A name as the kernel keeps it: fifteen bytes and a zero.
fn short_name(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
    for (to, from) in bytes[..15].iter_mut().zip(name.bytes().filter(allowed)) {
        *to = from;
    }
    bytes
}

/// A kernel name back as text.
pub(crate) fn name_text(bytes: &[libc::c_char]) -> String {
    let bytes: Vec<u8> = bytes
        .iter()
        .take_while(|byte| **byte != 0)
        .map(|byte| byte.to_ne_bytes()[0])
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn path_text(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

/// What a map is made of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct MapShape {
    pub(crate) kind: u32,
    pub(crate) key_bytes: u32,
    pub(crate) value_bytes: u32,
    pub(crate) entries_max: u32,
    pub(crate) flags: u32,
    /// For an arena: the address every process maps it at. Otherwise zero.
    pub(crate) extra: u64,
}

#[repr(C)]
struct MapCreate {
    kind: u32,
    key_bytes: u32,
    value_bytes: u32,
    entries_max: u32,
    flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    name: [u8; 16],
    ifindex: u32,
    btf_fd: u32,
    btf_key_type: u32,
    btf_value_type: u32,
    btf_vmlinux_value_type: u32,
    extra: u64,
}
const _: () = assert!(size_of::<MapCreate>() == 72);
// SAFETY: the fields of BPF_MAP_CREATE, in order, no addresses.
unsafe impl Attribute for MapCreate {}

pub(crate) fn map_create(name: &str, shape: &MapShape) -> io::Result<OwnedFd> {
    let mut attribute = MapCreate {
        kind: shape.kind,
        key_bytes: shape.key_bytes,
        value_bytes: shape.value_bytes,
        entries_max: shape.entries_max,
        flags: shape.flags,
        inner_map_fd: 0,
        numa_node: 0,
        name: short_name(name),
        ifindex: 0,
        btf_fd: 0,
        btf_key_type: 0,
        btf_value_type: 0,
        btf_vmlinux_value_type: 0,
        extra: shape.extra,
    };
    bpf_fd(command::MAP_CREATE, &mut attribute)
}

#[repr(C)]
struct MapElement {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}
// SAFETY: the fields of the element commands; the two functions below pass live buffers whose
// sizes they have compared with the map's.
unsafe impl Attribute for MapElement {}

/// Checks that `bytes` is as long as one element: the kernel does not know the buffer's length.
fn same_length(bytes: usize, element_bytes: usize) -> io::Result<()> {
    if bytes == element_bytes {
        Ok(())
    } else {
        Err(io::Error::other(format!(
            "{bytes} bytes given for an element of {element_bytes}"
        )))
    }
}

/// Reads the value of `key`; `copies` is the number of possible CPUs for a per-CPU map, otherwise
/// one.
pub(crate) fn map_lookup(
    map: BorrowedFd<'_>,
    key: u32,
    value: &mut [u8],
    shape: &MapShape,
    copies: usize,
) -> io::Result<()> {
    let value_bytes = shape.value_bytes as usize;
    let element_bytes = match shape.kind {
        MAP_TYPE_PERCPU_ARRAY => value_bytes.next_multiple_of(8) * copies,
        _ => value_bytes,
    };
    same_length(value.len(), element_bytes)?;
    let mut attribute = MapElement {
        map_fd: fd_u32(map),
        padding: 0,
        key: (&raw const key).expose_provenance() as u64,
        value: value.as_mut_ptr().expose_provenance() as u64,
        flags: 0,
    };
    bpf(command::MAP_LOOKUP_ELEM, &mut attribute).map(drop)
}

/// Writes the value of `key`.
pub(crate) fn map_update(
    map: BorrowedFd<'_>,
    key: u32,
    value: &[u8],
    shape: &MapShape,
) -> io::Result<()> {
    same_length(value.len(), shape.value_bytes as usize)?;
    let mut attribute = MapElement {
        map_fd: fd_u32(map),
        padding: 0,
        key: (&raw const key).expose_provenance() as u64,
        value: value.as_ptr().expose_provenance() as u64,
        flags: 0,
    };
    bpf(command::MAP_UPDATE_ELEM, &mut attribute).map(drop)
}

/// Takes the value of `key` out. The kernel reads a key of four bytes: only for maps that have such.
pub(crate) fn map_delete(map: BorrowedFd<'_>, key: u32) -> io::Result<()> {
    let mut attribute = MapElement {
        map_fd: fd_u32(map),
        padding: 0,
        key: (&raw const key).expose_provenance() as u64,
        value: 0,
        flags: 0,
    };
    bpf(command::MAP_DELETE_ELEM, &mut attribute).map(drop)
}

#[repr(C)]
struct OneFd {
    fd: u32,
}
// SAFETY: BPF_MAP_FREEZE and BPF_LINK_DETACH take one descriptor.
unsafe impl Attribute for OneFd {}

/// Makes a map constant for processes; the verifier then knows its contents.
pub(crate) fn map_freeze(map: BorrowedFd<'_>) -> io::Result<()> {
    bpf(command::MAP_FREEZE, &mut OneFd { fd: fd_u32(map) }).map(drop)
}

#[repr(C)]
struct PinnedObject {
    path: u64,
    fd: u32,
    flags: u32,
}
// SAFETY: the fields of BPF_OBJ_PIN and BPF_OBJ_GET; the path is a live string ending in zero.
unsafe impl Attribute for PinnedObject {}

pub(crate) fn pin(fd: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = path_text(path)?;
    let mut attribute = PinnedObject {
        path: path.as_ptr().expose_provenance() as u64,
        fd: fd_u32(fd),
        flags: 0,
    };
    bpf(command::OBJ_PIN, &mut attribute).map(drop)
}

pub(crate) fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = path_text(path)?;
    let mut attribute = PinnedObject {
        path: path.as_ptr().expose_provenance() as u64,
        fd: 0,
        flags: 0,
    };
    bpf_fd(command::OBJ_GET, &mut attribute)
}

#[repr(C)]
struct Info {
    fd: u32,
    size: u32,
    info: u64,
}
// SAFETY: the fields of BPF_OBJ_GET_INFO_BY_FD; `info_of` passes a live struct and its size.
unsafe impl Attribute for Info {}

/// The kernel's description of an object.
///
/// # Safety
/// `T` is the kernel's info struct for the kind of object, plain integers.
unsafe fn info_of<T>(fd: BorrowedFd<'_>) -> io::Result<T> {
    // SAFETY: plain integers, for which zeros are a value.
    let mut info: T = unsafe { std::mem::zeroed() };
    let size = u32::try_from(size_of::<T>()).map_err(io::Error::other)?;
    let mut attribute = Info {
        fd: fd_u32(fd),
        size,
        info: (&raw mut info).expose_provenance() as u64,
    };
    bpf(command::OBJ_GET_INFO_BY_FD, &mut attribute)?;
    Ok(info)
}

/// What the kernel says about a map.
#[derive(Clone, Debug)]
pub(crate) struct MapFacts {
    pub(crate) id: u32,
    pub(crate) shape: MapShape,
}

pub(crate) fn map_facts(map: BorrowedFd<'_>) -> io::Result<MapFacts> {
    // SAFETY: the struct of the kernel's interface.
    let info = unsafe { info_of::<aya_obj::generated::bpf_map_info>(map) }?;
    Ok(MapFacts {
        id: info.id,
        shape: MapShape {
            kind: info.type_,
            key_bytes: info.key_size,
            value_bytes: info.value_size,
            entries_max: info.max_entries,
            flags: info.map_flags,
            extra: info.map_extra,
        },
    })
}

/// What the kernel says about a program.
#[derive(Clone, Debug)]
pub(crate) struct ProgramFacts {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) tag: u64,
    pub(crate) verified_instructions: u32,
    pub(crate) translated_bytes: u32,
    pub(crate) native_bytes: u32,
    pub(crate) map_ids: Vec<u32>,
    /// Runs that the kernel timed, and their time: none where it times none.
    pub(crate) run_count: u64,
    pub(crate) run_ns: u64,
}

/// More maps than any program of ours has.
const PROGRAM_MAPS_MAX: usize = 64;

pub(crate) fn program_facts(program: BorrowedFd<'_>) -> io::Result<ProgramFacts> {
    let mut ids = [0_u32; PROGRAM_MAPS_MAX];
    // SAFETY: plain integers, for which zeros are a value.
    let mut info: aya_obj::generated::bpf_prog_info = unsafe { std::mem::zeroed() };
    info.nr_map_ids = ids.len() as u32;
    info.map_ids = ids.as_mut_ptr().expose_provenance() as u64;
    let mut attribute = Info {
        fd: fd_u32(program),
        size: size_of_val(&info) as u32,
        info: (&raw mut info).expose_provenance() as u64,
    };
    bpf(command::OBJ_GET_INFO_BY_FD, &mut attribute)?;
    let maps = usize::try_from(info.nr_map_ids)
        .map_err(io::Error::other)?
        .min(ids.len());
    Ok(ProgramFacts {
        id: info.id,
        name: name_text(&info.name),
        tag: u64::from_be_bytes(info.tag),
        verified_instructions: info.verified_insns,
        translated_bytes: info.xlated_prog_len,
        native_bytes: info.jited_prog_len,
        map_ids: ids[..maps].to_vec(),
        run_count: info.run_cnt,
        run_ns: info.run_time_ns,
    })
}

#[repr(C)]
struct ObjectId {
    id: u32,
    next_id: u32,
    open_flags: u32,
}
// SAFETY: the fields of the commands by id.
unsafe impl Attribute for ObjectId {}

pub(crate) fn program_by_id(id: u32) -> io::Result<OwnedFd> {
    bpf_fd(
        command::PROG_GET_FD_BY_ID,
        &mut ObjectId {
            id,
            next_id: 0,
            open_flags: 0,
        },
    )
}

#[repr(C)]
struct TypesLoad {
    types: u64,
    log: u64,
    types_bytes: u32,
    log_bytes: u32,
    log_level: u32,
    log_true_bytes: u32,
}
const _: () = assert!(size_of::<TypesLoad>() == 32);
// SAFETY: the fields of BPF_BTF_LOAD; `types_load` passes live buffers with their lengths.
unsafe impl Attribute for TypesLoad {}

/// Gives type information to the kernel.
pub(crate) fn types_load(types: &[u8]) -> Result<OwnedFd, LoadRefused> {
    let types_bytes = u32::try_from(types.len())
        .map_err(io::Error::other)
        .map_err(LoadRefused::without_log)?;
    let mut attribute = TypesLoad {
        types: types.as_ptr().expose_provenance() as u64,
        log: 0,
        types_bytes,
        log_bytes: 0,
        log_level: 0,
        log_true_bytes: 0,
    };
    let source = match bpf_fd(command::BTF_LOAD, &mut attribute) {
        Ok(fd) => return Ok(fd),
        Err(source) => source,
    };
    let mut log = vec![0_u8; LOG_BYTES];
    attribute.log_level = 1;
    attribute.log_bytes = LOG_BYTES as u32;
    attribute.log = log.as_mut_ptr().expose_provenance() as u64;
    match bpf_fd(command::BTF_LOAD, &mut attribute) {
        Ok(fd) => Ok(fd),
        Err(_) => Err(LoadRefused {
            source,
            log: log_text(&log),
        }),
    }
}

#[repr(C)]
struct ProgramLoad {
    kind: u32,
    instructions: u32,
    code: u64,
    license: u64,
    log_level: u32,
    log_bytes: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    ifindex: u32,
    attach_type: u32,
    types_fd: u32,
    function_bytes: u32,
    functions: u64,
    functions_count: u32,
    line_bytes: u32,
}
const _: () = assert!(size_of::<ProgramLoad>() == 96);
// SAFETY: the fields of BPF_PROG_LOAD; `program_load` passes live buffers with their lengths.
unsafe impl Attribute for ProgramLoad {}

/// The kernel did not take a program or its types.
#[derive(Debug)]
pub(crate) struct LoadRefused {
    pub(crate) source: io::Error,
    /// What the verifier wrote, empty when it did not get that far.
    pub(crate) log: String,
}

impl LoadRefused {
    fn without_log(source: io::Error) -> Self {
        Self {
            source,
            log: String::new(),
        }
    }
}

/// The verifier's log rotates (Linux 6.4): the end is what this size keeps.
const LOG_BYTES: usize = 256 * 1024;

/// Room for every instruction that the verifier walks through, in words; used pages count only.
const WHOLE_LOG_BYTES: usize = 1 << 29;

fn log_bytes(log: &[u8]) -> &[u8] {
    let end = log.iter().position(|byte| *byte == 0);
    &log[..end.unwrap_or(log.len())]
}

fn log_text(log: &[u8]) -> String {
    let log = log_bytes(log);
    String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_BYTES)..]).into_owned()
}

/// Functions of a program by first instruction and type, and the types.
pub(crate) struct Functions<'a> {
    pub(crate) types: &'a OwnedFd,
    pub(crate) functions: &'a [[u32; 2]],
}

/// BPF_LOG_STATS: what the verifier says at its end (`include/linux/bpf_verifier.h`).
const LOG_STATISTICS: u32 = 4;

/// Loads an XDP program; `code` is eight bytes an instruction.
pub(crate) fn program_load(
    name: &str,
    code: &[[u8; 8]],
    functions: Option<&Functions<'_>>,
) -> Result<OwnedFd, LoadRefused> {
    program_load_logged(name, code, functions, None)
}

/// As [`program_load`]. In `file` stands afterwards the whole log of a refused program's verifier, every instruction and state of
/// it; of one that was taken, what the verifier says about its work.
pub(crate) fn program_load_logged(
    name: &str,
    code: &[[u8; 8]],
    functions: Option<&Functions<'_>>,
    file: Option<&Path>,
) -> Result<OwnedFd, LoadRefused> {
    let mut attribute = program_attribute(PROG_TYPE_XDP, name, code)?;
    attribute.attach_type = ATTACH_TYPE_XDP;
    if let Some(Functions { types, functions }) = functions {
        attribute.types_fd = fd_u32(types.as_fd());
        attribute.function_bytes = size_of::<[u32; 2]>() as u32;
        attribute.functions = functions.as_ptr().expose_provenance() as u64;
        attribute.functions_count = functions.len() as u32;
    }
    let write = |log: &[u8]| match file.map(|file| (file, std::fs::write(file, log))) {
        Some((file, Err(error))) => {
            format!("\nthe log {} cannot be written: {error}", file.display())
        }
        _ => String::new(),
    };
    let mut statistics = vec![0_u8; if file.is_some() { LOG_BYTES } else { 0 }];
    if file.is_some() {
        attribute.log_level = LOG_STATISTICS;
        attribute.log_bytes = LOG_BYTES as u32;
        attribute.log = statistics.as_mut_ptr().expose_provenance() as u64;
    }
    let source = match bpf_fd(command::PROG_LOAD, &mut attribute) {
        Ok(fd) => {
            let failed = write(log_bytes(&statistics));
            if !failed.is_empty() {
                return Err(LoadRefused::without_log(io::Error::other(
                    failed.trim().to_owned(),
                )));
            }
            return Ok(fd);
        }
        Err(source) => source,
    };
    // The log costs time, so it is asked for only when there is something to say.
    let (level, room) = match file {
        Some(_) => (2, WHOLE_LOG_BYTES),
        None => (1, LOG_BYTES),
    };
    let mut log = vec![0_u8; room];
    attribute.log_level = level;
    attribute.log_bytes = room as u32;
    attribute.log = log.as_mut_ptr().expose_provenance() as u64;
    match bpf_fd(command::PROG_LOAD, &mut attribute) {
        Ok(fd) => Ok(fd),
        Err(_) => {
            let mut text = log_text(&log);
            text.push_str(&write(log_bytes(&log)));
            Err(LoadRefused { source, log: text })
        }
    }
}

/// What BPF_PROG_LOAD is told about a program of any kind.
fn program_attribute(kind: u32, name: &str, code: &[[u8; 8]]) -> Result<ProgramLoad, LoadRefused> {
    let instructions = u32::try_from(code.len())
        .map_err(io::Error::other)
        .map_err(LoadRefused::without_log)?;
    Ok(ProgramLoad {
        kind,
        instructions,
        code: code.as_ptr().expose_provenance() as u64,
        license: c"GPL".as_ptr().expose_provenance() as u64,
        log_level: 0,
        log_bytes: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
        name: short_name(name),
        ifindex: 0,
        attach_type: 0,
        types_fd: 0,
        function_bytes: 0,
        functions: 0,
        functions_count: 0,
        line_bytes: 0,
    })
}

#[repr(C)]
struct RawTracepointOpen {
    name: u64,
    program_fd: u32,
    padding: u32,
}
// SAFETY: the fields of BPF_RAW_TRACEPOINT_OPEN; `trace` passes a live string ending in zero.
unsafe impl Attribute for RawTracepointOpen {}

/// Runs `code` at every passing of the kernel's tracepoint, until the result is dropped.
pub(crate) fn trace(tracepoint: &str, code: &[[u8; 8]]) -> io::Result<OwnedFd> {
    let refused = |refused: LoadRefused| refused.source;
    let mut attribute =
        program_attribute(PROG_TYPE_RAW_TRACEPOINT, "ring0_trace", code).map_err(refused)?;
    let program = bpf_fd(command::PROG_LOAD, &mut attribute)?;
    let name = CString::new(tracepoint).map_err(io::Error::other)?;
    let mut open = RawTracepointOpen {
        name: name.as_ptr().expose_provenance() as u64,
        program_fd: fd_u32(program.as_fd()),
        padding: 0,
    };
    bpf_fd(command::RAW_TRACEPOINT_OPEN, &mut open)
}

#[repr(C)]
struct LinkCreate {
    program_fd: u32,
    ifindex: u32,
    attach_type: u32,
    flags: u32,
}
// SAFETY: the fields of BPF_LINK_CREATE for XDP, no addresses.
unsafe impl Attribute for LinkCreate {}

/// Attaches to an interface of the calling thread's network namespace.
pub(crate) fn link_create(
    program: BorrowedFd<'_>,
    ifindex: u32,
    flags: u32,
) -> io::Result<OwnedFd> {
    let mut attribute = LinkCreate {
        program_fd: fd_u32(program),
        ifindex,
        attach_type: ATTACH_TYPE_XDP,
        flags,
    };
    bpf_fd(command::LINK_CREATE, &mut attribute)
}

#[repr(C)]
struct LinkUpdate {
    link_fd: u32,
    program_fd: u32,
    flags: u32,
    old_program_fd: u32,
}
// SAFETY: the fields of BPF_LINK_UPDATE, no addresses.
unsafe impl Attribute for LinkUpdate {}

/// Puts another program behind a link: each packet sees the old one or the new one.
pub(crate) fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attribute = LinkUpdate {
        link_fd: fd_u32(link),
        program_fd: fd_u32(program),
        flags: 0,
        old_program_fd: 0,
    };
    bpf(command::LINK_UPDATE, &mut attribute).map(drop)
}

/// Detaches, whoever else holds the link.
pub(crate) fn link_detach(link: BorrowedFd<'_>) -> io::Result<()> {
    bpf(command::LINK_DETACH, &mut OneFd { fd: fd_u32(link) }).map(drop)
}

/// What the kernel says about an XDP link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkFacts {
    pub(crate) id: u32,
    pub(crate) program_id: u32,
    /// Zero when the interface has gone.
    pub(crate) ifindex: u32,
}

#[repr(C)]
struct XdpLinkInfo {
    kind: u32,
    id: u32,
    program_id: u32,
    padding: u32,
    ifindex: u32,
    rest: [u32; 27],
}

pub(crate) fn link_facts(link: BorrowedFd<'_>) -> io::Result<LinkFacts> {
    // SAFETY: the kernel's `bpf_link_info` as far as XDP fills it, with room for the other kinds.
    let info = unsafe { info_of::<XdpLinkInfo>(link) }?;
    if info.kind != LINK_TYPE_XDP {
        return Err(io::Error::other("the pin is not an XDP link"));
    }
    Ok(LinkFacts {
        id: info.id,
        program_id: info.program_id,
        ifindex: info.ifindex,
    })
}

#[repr(C)]
struct TestRunCall {
    program_fd: u32,
    retval: u32,
    data_bytes: u32,
    out_bytes: u32,
    data: u64,
    out: u64,
    repeat: u32,
    duration_ns: u32,
    context_bytes: u32,
    context_out_bytes: u32,
    context: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch: u32,
    padding: u32,
}
const _: () = assert!(size_of::<TestRunCall>() == 80);
// SAFETY: the fields of BPF_PROG_TEST_RUN; `test_run` passes live buffers with their lengths.
unsafe impl Attribute for TestRunCall {}

/// What a run of a program on bytes gave.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
pub struct TestRun {
    /// The program's verdict, as in `enum xdp_action`.
    pub retval: u32,
    /// Length of the packet afterwards; longer than `data_out` means cut off there.
    pub data_len: u32,
    /// Mean time of one run.
    pub duration_ns: u32,
}

/// Runs the program on `data`, and puts the packet as it is afterwards into `out`.
pub(crate) fn test_run(
    program: BorrowedFd<'_>,
    data: &[u8],
    out: &mut [u8],
    repeat: u32,
) -> io::Result<TestRun> {
    let mut attribute = TestRunCall {
        program_fd: fd_u32(program),
        retval: 0,
        data_bytes: u32::try_from(data.len()).map_err(io::Error::other)?,
        out_bytes: u32::try_from(out.len()).map_err(io::Error::other)?,
        data: data.as_ptr().expose_provenance() as u64,
        // The kernel takes no address where there is no room.
        out: if out.is_empty() {
            0
        } else {
            out.as_mut_ptr().expose_provenance() as u64
        },
        repeat,
        duration_ns: 0,
        context_bytes: 0,
        context_out_bytes: 0,
        context: 0,
        context_out: 0,
        flags: 0,
        cpu: 0,
        batch: 0,
        padding: 0,
    };
    match bpf(command::PROG_TEST_RUN, &mut attribute) {
        Ok(_) => {}
        // The packet grew past `out`: it is cut there and the length says so.
        Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {}
        Err(error) => return Err(error),
    }
    Ok(TestRun {
        retval: attribute.retval,
        data_len: attribute.out_bytes,
        duration_ns: attribute.duration_ns,
    })
}

/// Waits until there is something to read from a ring buffer map, or `wait` is over, or a signal came.
pub(crate) fn wait_readable(map: BorrowedFd<'_>, wait: Duration) -> io::Result<()> {
    let mut wanted = libc::pollfd {
        fd: map.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let milliseconds = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: one entry, alive during the call.
    let result = unsafe { libc::poll(&raw mut wanted, 1, milliseconds) };
    if result >= 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        error => Err(error),
    }
}

/// A descriptor that was opened for something with a file name (folders, namespaces).
pub(crate) fn lock_exclusive(file: impl AsFd) -> io::Result<()> {
    // SAFETY: a descriptor and a flag, nothing else.
    let result = unsafe { libc::flock(file.as_fd().as_raw_fd(), libc::LOCK_EX) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Moves the calling thread into a network namespace.
pub(crate) fn enter_netns(namespace: impl AsFd) -> io::Result<()> {
    // SAFETY: a descriptor and a flag; only this thread moves.
    let result = unsafe { libc::setns(namespace.as_fd().as_raw_fd(), libc::CLONE_NEWNET) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Names and numbers of the interfaces in the calling thread's network namespace.
pub(crate) fn interfaces() -> io::Result<Vec<(u32, String)>> {
    // SAFETY: no arguments; the result is freed below.
    let list = unsafe { libc::if_nameindex() };
    if list.is_null() {
        return Err(io::Error::last_os_error());
    }
    let mut found = Vec::new();
    let mut entry = list;
    loop {
        // SAFETY: the list ends with an entry of index 0, at which the loop stops.
        let one = unsafe { entry.read() };
        if one.if_index == 0 || one.if_name.is_null() {
            break;
        }
        // SAFETY: a string ending in zero, alive until the list is freed.
        let name = unsafe { std::ffi::CStr::from_ptr(one.if_name) };
        found.push((one.if_index, name.to_string_lossy().into_owned()));
        // SAFETY: this entry was not the last.
        entry = unsafe { entry.add(1) };
    }
    // SAFETY: made by `if_nameindex`, freed once.
    unsafe { libc::if_freenameindex(list) };
    Ok(found)
}

/// Type number of the file system that `path` lies on.
pub(crate) fn file_system(path: &Path) -> io::Result<i64> {
    let path = path_text(path)?;
    // SAFETY: plain integers, for which zeros are a value.
    let mut facts: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: a string ending in zero and a struct to fill.
    let result = unsafe { libc::statfs(path.as_ptr(), &raw mut facts) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(facts.f_type)
    }
}

/// Mounts a bpf file system that only root may enter.
pub(crate) fn mount_bpffs(path: &Path) -> io::Result<()> {
    let path = path_text(path)?;
    let (kind, data) = (c"bpf", c"mode=0700");
    // SAFETY: four strings ending in zero.
    let result = unsafe {
        libc::mount(
            kind.as_ptr(),
            path.as_ptr(),
            kind.as_ptr(),
            0,
            data.as_ptr().cast(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Gives the calling thread a view of the file system of its own, in which `/sys` shows the network namespace that it is in.
pub(crate) fn own_sysfs() -> io::Result<()> {
    let done = |result: i32| match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    };
    // SAFETY: a flag; only this thread gets its own view.
    done(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    let nothing = std::ptr::null();
    let private = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: a string ending in zero; the kernel takes no others for this.
    done(unsafe { libc::mount(nothing, c"/".as_ptr(), nothing, private, nothing.cast()) })?;
    let (kind, path) = (c"sysfs".as_ptr(), c"/sys".as_ptr());
    // SAFETY: strings ending in zero.
    done(unsafe { libc::mount(kind, path, kind, 0, nothing.cast()) })
}

/// Asks or tells a device of the calling thread's network namespace by SIOCETHTOOL.
///
/// # Safety
/// `T` is the kernel's struct for the command in its first word (`include/uapi/linux/ethtool.h`), plain integers.
unsafe fn ethtool<T>(interface: &str, value: &mut T) -> io::Result<()> {
    const SIOCETHTOOL: libc::Ioctl = 0x8946;
    // SAFETY: three integers.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and is nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: integers and addresses, for which zeros are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let name = interface.as_bytes();
    if name.len() >= request.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name) {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    request.ifr_ifru.ifru_data = std::ptr::from_mut(value).cast();
    // SAFETY: a live request that points to a live struct of the command's own kind, as the caller says.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// `struct ethtool_channels`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct ChannelsCall {
    command: u32,
    rx_max: u32,
    tx_max: u32,
    other_max: u32,
    combined_max: u32,
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

/// `struct ethtool_value`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct ValueCall {
    command: u32,
    data: u32,
}

/// A device's channels.
pub(crate) struct AllChannels {
    pub(crate) now: Channels,
    other: u32,
}

pub(crate) fn channels(interface: &str) -> io::Result<AllChannels> {
    let mut call = ChannelsCall {
        command: 0x3c, // ETHTOOL_GCHANNELS
        ..ChannelsCall::default()
    };
    // SAFETY: the command's struct.
    unsafe { ethtool(interface, &mut call) }?;
    Ok(AllChannels {
        now: Channels {
            rx: call.rx,
            tx: call.tx,
            combined: call.combined,
        },
        other: call.other,
    })
}

pub(crate) fn set_channels(interface: &str, wanted: Channels) -> io::Result<()> {
    let mut call = ChannelsCall {
        command: 0x3d, // ETHTOOL_SCHANNELS
        rx: wanted.rx,
        tx: wanted.tx,
        combined: wanted.combined,
        other: channels(interface)?.other,
        ..ChannelsCall::default()
    };
    // SAFETY: the command's struct.
    unsafe { ethtool(interface, &mut call) }
}

fn value(interface: &str, command: u32, data: u32) -> io::Result<u32> {
    let mut call = ValueCall { command, data };
    // SAFETY: the struct of the commands that the functions below give.
    unsafe { ethtool(interface, &mut call) }?;
    Ok(call.data)
}

pub(crate) fn gro(interface: &str) -> io::Result<bool> {
    value(interface, 0x2b, 0).map(|on| on != 0) // ETHTOOL_GGRO
}

pub(crate) fn set_gro(interface: &str, on: bool) -> io::Result<()> {
    value(interface, 0x2c, on.into()).map(drop) // ETHTOOL_SGRO
}

/// ETH_FLAG_LRO.
const FLAG_LRO: u32 = 1 << 15;

pub(crate) fn lro(interface: &str) -> io::Result<bool> {
    value(interface, 0x25, 0).map(|flags| flags & FLAG_LRO != 0) // ETHTOOL_GFLAGS
}

pub(crate) fn set_lro(interface: &str, on: bool) -> io::Result<()> {
    let flags = value(interface, 0x25, 0)?;
    let flags = if on {
        flags | FLAG_LRO
    } else {
        flags & !FLAG_LRO
    };
    value(interface, 0x26, flags).map(drop) // ETHTOOL_SFLAGS
}

/// Gives up every capability of this thread, for good: no program that it starts gets one back.
pub(crate) fn drop_capabilities() -> io::Result<()> {
    /// `_LINUX_CAPABILITY_VERSION_3` (`include/uapi/linux/capability.h`).
    const VERSION: u32 = 0x2008_0522;
    // SAFETY: five integers.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let header = [VERSION, 0]; // this thread
    let none = [0_u32; 6]; // effective, permitted and inheritable, low and high halves
    // SAFETY: the header and the two sets of this version, alive during the call.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Ends this process as `kill -9` does: nothing is flushed, nothing is dropped.
pub(crate) fn die() -> ! {
    // SAFETY: no arguments; a signal to ourselves that cannot be caught.
    unsafe { libc::raise(libc::SIGKILL) };
    loop {
        std::thread::park();
    }
}

/// Sends one request on a route socket of the calling thread's network namespace and gives the
/// first answer.
pub(crate) fn route_request(request: &[u8]) -> io::Result<Vec<u8>> {
    netlink_request(libc::NETLINK_ROUTE, request)
}

/// As [`route_request`], on a socket of a netlink protocol.
pub(crate) fn netlink_request(protocol: i32, request: &[u8]) -> io::Result<Vec<u8>> {
    // SAFETY: three integers.
    let fd = unsafe {
        libc::socket(
            libc::AF_NETLINK,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            protocol,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and is nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: a live buffer and its length. An unbound, unconnected netlink socket talks to the kernel.
    let sent = unsafe {
        libc::send(
            socket.as_raw_fd(),
            request.as_ptr().cast(),
            request.len(),
            0,
        )
    };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut answer = vec![0_u8; 64 * 1024];
    // SAFETY: a live buffer and its length.
    let got = unsafe {
        libc::recv(
            socket.as_raw_fd(),
            answer.as_mut_ptr().cast(),
            answer.len(),
            0,
        )
    };
    let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
    answer.truncate(got);
    Ok(answer)
}
