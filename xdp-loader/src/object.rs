//! The object file: which maps it wants, and its one XDP program with the maps put in.

use crate::{
    error::LoaderError,
    subprograms::{self, Placed, Subprogram, Subprograms},
    sys::{self, MapShape},
};
use aya_obj::{EbpfSectionKind, ProgramSection};
use std::{
    borrow::Cow,
    collections::HashSet,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::PathBuf,
};

/// Where the program comes from.
#[derive(Clone, Debug)]
pub enum Object {
    /// A file.
    Path(PathBuf),
    /// The file's bytes, for a binary that carries its program.
    Bytes(Cow<'static, [u8]>),
}

impl Object {
    /// The program and its subprograms in the order in which they are linked. Needs no privilege.
    ///
    /// # Errors
    /// [`LoaderError::Object`].
    pub fn subprograms(&self) -> Result<Vec<Subprogram>, LoaderError> {
        let (code, placed) = Parsed::read(self)?.link()?;
        Ok(subprograms::find(&code, &placed))
    }

    fn name(&self) -> String {
        match self {
            Self::Path(path) => path.display().to_string(),
            Self::Bytes(_) => "in memory".to_owned(),
        }
    }

    fn read(&self) -> Result<Cow<'_, [u8]>, LoaderError> {
        match self {
            Self::Bytes(bytes) => Ok(Cow::Borrowed(bytes)),
            Self::Path(path) => std::fs::read(path)
                .map(Cow::Owned)
                .map_err(|error| self.error(format!("cannot be read: {error}"))),
        }
    }

    fn error(&self, what: impl Into<String>) -> LoaderError {
        LoaderError::Object {
            name: self.name(),
            what: what.into(),
        }
    }
}

/// A parsed object.
pub(crate) struct Parsed {
    source: Object,
    object: aya_obj::Object,
    program: String,
    layout_version: u64,
    /// Where the verifier's log goes, if anywhere.
    pub(crate) verifier_log: Option<PathBuf>,
}

/// Section of an object that names the layout of the memory that its program was built for: eight bytes, little-endian.
const LAYOUT_SECTION: &str = "ring0.layout";

/// Names a file for the verifier's log where no option does.
const VERIFIER_LOG: &str = "XDP_LOADER_VERIFIER_LOG";

impl Parsed {
    /// Reads the object and finds its XDP program.
    pub(crate) fn read(source: &Object) -> Result<Self, LoaderError> {
        let bytes = source.read()?;
        let object = aya_obj::Object::parse(&bytes)
            .map_err(|error| source.error(format!("is not an eBPF object ({error})")))?;
        let mut programs = object
            .programs
            .iter()
            .filter(|(_, program)| matches!(program.section, ProgramSection::Xdp { .. }))
            .map(|(name, _)| name.clone());
        let program = match (programs.next(), programs.next()) {
            (Some(one), None) => one,
            (None, _) => return Err(source.error("has no program in section xdp")),
            (Some(_), Some(_)) => return Err(source.error("has several XDP programs, wanted one")),
        };
        drop(programs);
        for (name, map) in &object.maps {
            if matches!(
                map.section_kind(),
                EbpfSectionKind::Data | EbpfSectionKind::Bss
            ) {
                return Err(source.error(format!(
                    "has a mutable global ({name}), which no pin would keep; state belongs into the arena"
                )));
            }
        }
        let layout_version = layout_version(&bytes)
            .map_err(|error| source.error(format!("cannot be read ({error})")))?;
        Ok(Self {
            source: source.clone(),
            object,
            program,
            layout_version,
            verifier_log: std::env::var_os(VERIFIER_LOG).map(PathBuf::from),
        })
    }

    /// Version of the memory layout that the program was built for; 0: it does not say.
    pub(crate) fn layout_version(&self) -> u64 {
        self.layout_version
    }

    /// Shape of the map called `name`, as the object declares it.
    pub(crate) fn map(&self, name: &str) -> Result<MapShape, LoaderError> {
        let map = self
            .object
            .maps
            .get(name)
            .ok_or_else(|| self.source.error(format!("declares no map {name}")))?;
        Ok(MapShape {
            kind: map.map_type(),
            key_bytes: map.key_size(),
            value_bytes: map.value_size(),
            entries_max: map.max_entries(),
            flags: map.map_flags(),
            extra: 0,
        })
    }

    /// The maps that the object declares besides `known`, by name, and their shapes.
    pub(crate) fn further_maps(
        &self,
        known: &[&str],
    ) -> Result<Vec<(String, MapShape)>, LoaderError> {
        let maps = self.object.maps.iter();
        let mut names: Vec<&String> = maps
            .filter(|(name, map)| {
                map.section_kind() != EbpfSectionKind::Rodata && !known.contains(&name.as_str())
            })
            .map(|(name, _)| name)
            .collect();
        names.sort();
        names
            .into_iter()
            .map(|name| Ok((name.clone(), self.map(name)?)))
            .collect()
    }

    /// What is wrong with the object.
    pub(crate) fn error(&self, what: impl Into<String>) -> LoaderError {
        self.source.error(what)
    }

    /// Loads the program with `maps` in the places of their declarations. Constant tables become
    /// frozen maps of their own, which live as long as the program.
    pub(crate) fn load(
        &mut self,
        maps: &[(&str, &OwnedFd)],
        subprograms: Subprograms,
    ) -> Result<OwnedFd, LoaderError> {
        let mut constants = Vec::new();
        let mut bound = Vec::new();
        for (name, map) in &self.object.maps {
            if map.section_kind() == EbpfSectionKind::Rodata {
                constants.push((name.clone(), constant_map(name, map)?));
            } else if !maps.iter().any(|(known, _)| known == name) {
                return Err(self.source.error(format!("declares an unknown map {name}")));
            }
        }
        for (name, map) in &self.object.maps {
            let own = constants
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, fd)| fd);
            let given = maps
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, fd)| *fd);
            if let Some(fd) = own.or(given) {
                bound.push((name.clone(), fd.as_raw_fd(), map.clone()));
            }
        }
        let text = self.text();
        self.object
            .relocate_maps(
                bound
                    .iter()
                    .map(|(name, fd, map)| (name.as_str(), *fd, map)),
                &text,
            )
            .map_err(|error| self.source.error(format!("cannot be linked ({error})")))?;
        let (code, placed) = self.link()?;
        let refused = |refused: sys::LoadRefused| {
            const TAIL_LINES: usize = 20;
            // What the process lacks is no fault of the program's.
            if let Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM) = refused.source.raw_os_error()
            {
                return LoaderError::Call {
                    doing: format!("loading program {}", self.program),
                    source: refused.source,
                    cure: "raise the limits of open files (`ulimit -n`) and memory",
                };
            }
            let lines: Vec<&str> = refused.log.lines().collect();
            LoaderError::Verifier {
                program: self.program.clone(),
                source: refused.source,
                log_tail: lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"),
            }
        };
        if subprograms == Subprograms::Static {
            return sys::program_load_logged(
                &self.program,
                &code,
                None,
                self.verifier_log.as_deref(),
            )
            .map_err(refused);
        }
        let information = subprograms::type_information(&subprograms::find(&code, &placed));
        let types = sys::types_load(&information.blob).map_err(refused)?;
        let functions = sys::Functions {
            types: &types,
            functions: &information.functions,
        };
        sys::program_load_logged(
            &self.program,
            &code,
            Some(&functions),
            self.verifier_log.as_deref(),
        )
        .map_err(refused)
    }

    /// Sections with instructions.
    fn text(&self) -> HashSet<usize> {
        let functions = self.object.functions.keys();
        functions.map(|(section, _)| *section).collect()
    }

    /// Puts the functions that the program needs behind it. Gives the code, and where which
    /// function starts in it.
    fn link(&mut self) -> Result<(Vec<[u8; 8]>, Vec<Placed>), LoaderError> {
        // The linker keeps a table of functions for type information; ours is a list of numbers.
        let mut symbols = Vec::new();
        for function in self.object.functions.values_mut() {
            function.func_info.func_info = vec![aya_obj::generated::bpf_func_info {
                insn_off: 0,
                type_id: symbols.len() as u32,
            }];
            symbols.push(function.name.clone());
        }
        let text = self.text();
        self.object
            .relocate_calls(&text)
            .map_err(|error| self.source.error(format!("cannot be linked ({error})")))?;
        let function = self
            .object
            .programs
            .get(&self.program)
            .and_then(|program| self.object.functions.get(&program.function_key()))
            .ok_or_else(|| self.source.error("lost its program while linking"))?;
        let placed = function.func_info.func_info.iter().map(|info| Placed {
            symbol: symbols[info.type_id as usize].clone(),
            start: info.insn_off as usize,
        });
        let code = function.instructions.iter().map(bytes_of).collect();
        Ok((code, placed.collect()))
    }
}

/// What [`LAYOUT_SECTION`] says; 0 when there is none.
fn layout_version(bytes: &[u8]) -> ::object::read::Result<u64> {
    use ::object::{Object as _, ObjectSection as _};
    let file = ::object::File::parse(bytes)?;
    let Some(section) = file.section_by_name(LAYOUT_SECTION) else {
        return Ok(0);
    };
    let version = section.data()?.first_chunk();
    Ok(version.map_or(0, |bytes| u64::from_le_bytes(*bytes)))
}

fn constant_map(name: &str, map: &aya_obj::Map) -> Result<OwnedFd, LoaderError> {
    let cure = "report the object; its constants should fit in memory";
    let shape = MapShape {
        kind: map.map_type(),
        key_bytes: map.key_size(),
        value_bytes: map.value_size(),
        entries_max: map.max_entries(),
        flags: map.map_flags(),
        extra: 0,
    };
    let call = |doing: &str| LoaderError::call(format!("{doing} the constants {name}"), cure);
    let fd = sys::map_create(name, &shape).map_err(call("making a map for"))?;
    if map.data().len() == shape.value_bytes as usize {
        sys::map_update(fd.as_fd(), 0, map.data(), &shape).map_err(call("filling"))?;
    }
    sys::map_freeze(fd.as_fd()).map_err(call("freezing"))?;
    Ok(fd)
}

/// An instruction as the kernel reads it.
fn bytes_of(instruction: &aya_obj::generated::bpf_insn) -> [u8; 8] {
    let [off_low, off_high] = instruction.off.to_le_bytes();
    let [a, b, c, d] = instruction.imm.to_le_bytes();
    let registers = instruction.dst_reg() | (instruction.src_reg() << 4);
    [instruction.code, registers, off_low, off_high, a, b, c, d]
}
