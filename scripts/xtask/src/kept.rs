//! The kept objects: `ebpf/prebuilt/*.bpf.o` with a page about where they came from, `ring0.bpf.toml`.
//!
//! Who has no eBPF compiler runs the kept objects. The page carries a hash of every source that went into
//! it and the versions of compiler and linker (RULES 32): same versions, same instructions.

use crate::{
    compiler::Versions,
    object_rules,
    program::{BuildError, Built, Object, PROGRAMS, read},
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Everything that decides the instructions, besides the tools. Folders count whole, but for
/// [`PRODUCTS`].
const SOURCES: [&str; 5] = [
    "ebpf",
    "engine/Cargo.toml",
    "engine/src",
    "engine/wire/Cargo.toml",
    "engine/wire/src",
];

/// Folders in [`SOURCES`] that a build writes.
const PRODUCTS: [&str; 2] = ["ebpf/target", "ebpf/prebuilt"];

/// `ring0.bpf.toml`.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
struct Origin {
    /// BLAKE3 over the names and contents of [`SOURCES`].
    source_hash: String,
    versions: Versions,
    /// BLAKE3 of each object file.
    objects: BTreeMap<String, String>,
}

/// Result of a comparison with a new build.
pub(crate) enum Comparison {
    Equal,
    Differs(String),
    OtherTools {
        kept: Box<Versions>,
        here: Box<Versions>,
    },
}

pub(crate) fn object_path(root: &Path, name: &str) -> PathBuf {
    root.join(format!("ebpf/prebuilt/{name}.bpf.o"))
}

fn origin_path(root: &Path) -> PathBuf {
    root.join("ebpf/prebuilt/ring0.bpf.toml")
}

/// Why the kept object does not belong to the sources, `None` if it does.
pub(crate) fn staleness(root: &Path) -> Result<Option<String>, BuildError> {
    let paths = PROGRAMS.map(|name| (name, object_path(root, name)));
    if !origin_path(root).is_file() || paths.iter().any(|(_, path)| !path.is_file()) {
        return Ok(Some("there is no kept object".to_owned()));
    }
    let origin = origin(root)?;
    for (name, path) in &paths {
        if origin.objects.get(*name) != Some(&hash(&read(path)?)) {
            return Ok(Some(format!(
                "the kept {name} is not the one its page describes"
            )));
        }
    }
    if origin.source_hash != source_hash(root)? {
        return Ok(Some(
            "the sources have changed since the object was kept".to_owned(),
        ));
    }
    Ok(None)
}

/// Puts a new build in place of the kept object.
pub(crate) fn replace(root: &Path, built: &Built) -> Result<(), BuildError> {
    let hashed = |object: &Object| (object.name.to_owned(), hash(&object.bytes));
    let origin = Origin {
        source_hash: source_hash(root)?,
        objects: built.objects.iter().map(hashed).collect(),
        versions: built.versions.clone(),
    };
    let text = toml::to_string(&origin).expect("strings and tables of strings");
    let text = format!("# Written by `cargo xtask ebpf --keep`.\n{text}");
    for object in &built.objects {
        write(&object_path(root, object.name), &object.bytes)?;
    }
    write(&origin_path(root), text.as_bytes())
}

/// Compares instructions, where the tools are the same.
pub(crate) fn compare(root: &Path, built: &Built) -> Result<Comparison, BuildError> {
    let origin = origin(root)?;
    if origin.versions != built.versions {
        return Ok(Comparison::OtherTools {
            kept: Box::new(origin.versions),
            here: Box::new(built.versions.clone()),
        });
    }
    for object in &built.objects {
        if let Some(what) = difference(&object_path(root, object.name), object)? {
            return Ok(Comparison::Differs(format!("{}: {what}", object.name)));
        }
    }
    Ok(Comparison::Equal)
}

/// The first difference between the instructions of a kept object and a new one.
fn difference(path: &Path, built: &Object) -> Result<Option<String>, BuildError> {
    let parse = |bytes: &[u8]| {
        object_rules::instructions(bytes).map_err(|source| BuildError::Elf {
            path: path.to_owned(),
            source,
        })
    };
    let (kept, new) = (parse(&read(path)?)?, parse(&built.bytes)?);
    if kept.len() != new.len() {
        return Ok(Some(format!(
            "{} executable sections kept, {} built",
            kept.len(),
            new.len()
        )));
    }
    for ((name, old), (new_name, fresh)) in kept.iter().zip(&new) {
        if name != new_name {
            return Ok(Some(format!("section {name} became {new_name}")));
        }
        let first = old
            .chunks(8)
            .zip(fresh.chunks(8))
            .position(|(one, other)| one != other);
        if first.is_some() || old.len() != fresh.len() {
            return Ok(Some(format!(
                "{name}: {} instructions kept, {} built, first difference at {}",
                old.len() / 8,
                fresh.len() / 8,
                first.unwrap_or(old.len().min(fresh.len()) / 8)
            )));
        }
    }
    Ok(None)
}

fn origin(root: &Path) -> Result<Origin, BuildError> {
    let path = origin_path(root);
    let text = String::from_utf8_lossy(&read(&path)?).into_owned();
    toml::from_str(&text).map_err(|source| BuildError::Kept { path, source })
}

fn source_hash(root: &Path) -> Result<String, BuildError> {
    let mut hasher = blake3::Hasher::new();
    for source in SOURCES {
        let mut files = Vec::new();
        collect(root, &root.join(source), &mut files)?;
        files.sort();
        for file in files {
            let name = file
                .strip_prefix(root)
                .unwrap_or(&file)
                .to_string_lossy()
                .into_owned();
            let bytes = read(&file)?;
            // Lengths first: no two lists of files give the same stream.
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name.as_bytes());
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(&bytes);
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// All files at or below `path`, without the products.
fn collect(root: &Path, path: &Path, files: &mut Vec<PathBuf>) -> Result<(), BuildError> {
    if PRODUCTS.iter().any(|product| root.join(product) == path) {
        return Ok(());
    }
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let error = |source| BuildError::File {
        path: path.to_owned(),
        source,
    };
    for entry in std::fs::read_dir(path).map_err(error)? {
        collect(root, &entry.map_err(error)?.path(), files)?;
    }
    Ok(())
}

fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    let error = |source| BuildError::File {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(error)?;
    }
    std::fs::write(path, bytes).map_err(error)
}
