//! What a load or replace would do, found out by doing all of it but attaching (`--dry-run`).
//!
//! Nothing is pinned, nothing attached, no memory that is pinned is written: maps that a load would make are made and go with this process.

use crate::{
    dispatch::{self, Dispatcher},
    error::LoaderError,
    load::{LoadOptions, Mode, adopt, interface_is_ours, nanoseconds},
    object::Parsed,
    pinned::{Pinned, Program},
    pins::{Folder, Lock, MAPS, META, Meta},
    probe,
    replace::{ReplaceOptions, Seat, check_fit},
    subprograms::Subprograms,
    sys::{self, MapShape},
};
use std::{
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    time::Instant,
};

/// A map of a plan.
#[derive(Clone, Debug, serde::Serialize)]
pub struct PlannedMap {
    /// Its name.
    pub name: String,
    /// Kernel id of the pinned one; `None`: it would be made.
    pub id: Option<u32>,
    /// Bytes of a value; for the arena, of a page.
    pub value_bytes: u32,
    /// Number of values, or pages.
    pub entries_max: u32,
}

/// A program that the kernel has verified for a plan.
#[derive(Clone, Debug, serde::Serialize)]
pub struct PlannedProgram {
    /// Its name in the object.
    pub name: String,
    /// Version of the memory layout that the object names; 0: none.
    pub layout_version: u64,
    /// Instructions after the verifier's rewriting.
    pub instructions: u32,
    /// Instructions that the verifier walked through (at most a million).
    pub verified_instructions: u32,
    /// Bytes of machine code; zero means that the kernel would interpret it.
    pub native_bytes: u32,
    /// Time that the kernel took to verify and compile it, nanoseconds.
    pub load_ns: u64,
}

/// What would be done.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Plan {
    /// Always true: this is a plan.
    pub dry_run: bool,
    /// The steps, in words, in order.
    pub steps: Vec<String>,
    /// Interface.
    pub interface: String,
    /// Its network namespace.
    pub netns: Option<String>,
    /// The pin folder.
    pub pin_root: PathBuf,
    /// Whether pinned memory would be adopted.
    pub adopts: bool,
    /// Kernel id of the program that would be replaced.
    pub replaces: Option<u32>,
    /// How it would be attached; whether the driver agrees only the attachment shows.
    pub mode: Mode,
    /// The program, as the kernel took it.
    pub program: PlannedProgram,
    /// The maps.
    pub maps: Vec<PlannedMap>,
}

/// What [`load`](crate::load()) would do with these options.
///
/// # Errors
/// What the load would be refused for, but for what the driver says to the attachment.
pub fn plan_load(options: &LoadOptions) -> Result<Plan, LoaderError> {
    options.check()?;
    probe::probe().require()?;
    let mut object = options.parse()?;
    let folder = Folder::new(&options.pin_root);
    let _lock = Lock::take(folder.path())?;
    interface_is_ours(options, &folder)?;
    if options.dispatch.is_none()
        && let Some(dispatcher) = Dispatcher::at(folder.clone())?
    {
        dispatcher.must_have_no_shard()?;
    }
    let finished = match folder.open(META)? {
        Some(map) => Meta::read(&map)?.filter(|meta| meta.finished),
        None => None,
    };
    dispatch::check_port(options, finished.as_ref().map(|meta| meta.map_ids[0]))?;
    let (maps, replaces) = match &finished {
        Some(meta) => (
            adopt(options, &folder, &object, meta)?,
            Pinned::open(folder.path())?.link_program_id()?,
        ),
        None => {
            let make = |name: &str| throwaway(name, &options.shape(name, &object)?);
            let maps: Result<Vec<_>, _> = MAPS.into_iter().map(make).collect();
            (maps?, None)
        }
    };
    let place = folder.path().display();
    let mut steps = match &finished {
        Some(_) => vec![format!("adopt the memory pinned in {place}")],
        None => vec![
            format!("make {} maps, pin them in {place}", MAPS.len()),
            format!("give {} MiB of arena memory", options.arena_bytes >> 20),
        ],
    };
    steps.push("verify the program".to_owned());
    steps.push(match (replaces, &options.dispatch) {
        (Some(id), _) => format!("put it in the place of program {id}, in one step"),
        (None, Some(dispatch)) => format!(
            "give it port {} of the dispatcher of {}, in {} mode; attach that first where there is none",
            dispatch.port, options.interface, options.mode
        ),
        (None, None) => format!(
            "attach it to {} in {} mode by a link, pin the link",
            options.interface, options.mode
        ),
    });
    let named: Vec<(&str, &OwnedFd)> = MAPS.into_iter().zip(&maps).collect();
    Ok(Plan {
        steps,
        interface: options.interface.clone(),
        netns: options.netns.clone(),
        pin_root: options.pin_root.clone(),
        adopts: finished.is_some(),
        replaces,
        mode: options.mode,
        maps: planned(&named, finished.is_some())?,
        program: verified(&mut object, &named, options.subprograms)?,
        dry_run: true,
    })
}

/// What [`replace`](crate::replace()) would do with these options. The harmless frames are not tried: they would count.
///
/// # Errors
/// What the replace would be refused for.
pub fn plan_replace(options: &ReplaceOptions) -> Result<Plan, LoaderError> {
    let mut object = options.parse()?;
    let _lock = Lock::take(&options.pin_root)?;
    let pinned = Pinned::open(&options.pin_root)?;
    Seat::of(&pinned)?;
    let running = pinned.program()?.id();
    check_fit(&pinned, &object)?;
    let named: Vec<(&str, &OwnedFd)> = MAPS.into_iter().zip(pinned.maps()).collect();
    Ok(Plan {
        steps: vec![
            "verify the program over the pinned memory".to_owned(),
            "try it with harmless frames".to_owned(),
            format!("put it in the place of program {running}, in one step"),
            format!(
                "watch it for {} s, put program {running} back if it is not well",
                options.health.as_secs_f64()
            ),
        ],
        interface: pinned.interface().to_owned(),
        netns: pinned.netns().map(str::to_owned),
        pin_root: options.pin_root.clone(),
        adopts: true,
        replaces: Some(running),
        mode: pinned.mode(),
        maps: planned(&named, true)?,
        program: verified(&mut object, &named, options.subprograms)?,
        dry_run: true,
    })
}

fn throwaway(name: &str, shape: &MapShape) -> Result<OwnedFd, LoaderError> {
    sys::map_create(name, shape).map_err(LoaderError::call(
        format!("making map {name} ({} entries)", shape.entries_max),
        "free some memory, or load with smaller sizes",
    ))
}

fn planned(named: &[(&str, &OwnedFd)], pinned: bool) -> Result<Vec<PlannedMap>, LoaderError> {
    let planned = |(name, map): &(&str, &OwnedFd)| {
        let facts = sys::map_facts(map.as_fd()).map_err(LoaderError::call(
            format!("looking at map {name}"),
            "run as root",
        ))?;
        Ok(PlannedMap {
            name: (*name).to_owned(),
            id: pinned.then_some(facts.id),
            value_bytes: facts.shape.value_bytes,
            entries_max: facts.shape.entries_max,
        })
    };
    named.iter().map(planned).collect()
}

/// Has the kernel verify the program over these maps, and throwaway ones where it declares more.
fn verified(
    object: &mut Parsed,
    named: &[(&str, &OwnedFd)],
    subprograms: Subprograms,
) -> Result<PlannedProgram, LoaderError> {
    let mut further = Vec::new();
    for (name, shape) in object.further_maps(&MAPS)? {
        let map = throwaway(&name, &shape)?;
        further.push((name, map));
    }
    let mut named = named.to_vec();
    named.extend(further.iter().map(|(name, map)| (name.as_str(), map)));
    let begun = Instant::now();
    let program = Program::new(object.load(&named, subprograms)?)?;
    let load_ns = nanoseconds(begun);
    let facts = program.facts();
    Ok(PlannedProgram {
        name: facts.name.clone(),
        layout_version: object.layout_version(),
        instructions: facts.translated_bytes / 8,
        verified_instructions: facts.verified_instructions,
        native_bytes: facts.native_bytes,
        load_ns,
    })
}
