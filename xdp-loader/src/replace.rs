//! Replacing the program of a running shard, and going back by itself when the new one is not well.
//!
//! Always true: whatever refuses the new program does so before anything is changed; the link is updated in one call, so that each packet sees
//! the old program or the new one, over the same memory; until the new one has been watched the old one stays pinned as `PROG`, the new one as
//! `PROG_NEXT`. Who is killed in between leaves one of the two attached, and the next replace, load or unload sorts the pins out.

use crate::{
    dispatch::Dispatcher,
    error::LoaderError,
    load::{Step, further_maps, nanoseconds, remove_further_maps},
    migrate,
    object::{Object, Parsed},
    pinned::{Pinned, Program},
    pins::{Folder, LINK, Lock, MAPS, META, PROGRAM, PROGRAM_NEXT},
    subprograms::Subprograms,
    sys,
};
use ring0_abi::{Counter, doorbell};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    time::{Duration, Instant},
};

/// What to put in the running program's place.
#[derive(Clone, Debug)]
pub struct ReplaceOptions {
    /// The new program.
    pub object: Object,
    /// Folder of the shard's pins.
    pub pin_root: PathBuf,
    /// How the kernel verifies the program's subprograms.
    pub subprograms: Subprograms,
    /// How long the new program is watched before it is kept.
    pub health: Duration,
    /// Gets the verifier's log, as in [`LoadOptions`](crate::LoadOptions).
    pub verifier_log: Option<PathBuf>,
}

impl ReplaceOptions {
    /// The object's program for the shard pinned there, watched for two seconds.
    #[must_use]
    pub fn new(object: Object, pin_root: PathBuf) -> Self {
        Self {
            object,
            pin_root,
            subprograms: Subprograms::Global,
            health: Duration::from_secs(2),
            verifier_log: None,
        }
    }

    pub(crate) fn parse(&self) -> Result<Parsed, LoaderError> {
        let mut object = Parsed::read(&self.object)?;
        if self.verifier_log.is_some() {
            object.verifier_log.clone_from(&self.verifier_log);
        }
        Ok(object)
    }
}

/// What a replace did.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ReplaceReport {
    /// Kernel id of the program that runs now.
    pub program_id: u32,
    /// Kernel id of the one that ran before.
    pub replaced_program_id: u32,
    /// Kernel id of the arena, the same as before.
    pub arena_id: u32,
    /// Instructions that the verifier walked through.
    pub verified_instructions: u32,
    /// Time that the kernel took to verify and compile the program, nanoseconds.
    pub load_ns: u64,
    /// Time of the call that put it behind the link, nanoseconds. No packet waits for it.
    pub update_ns: u64,
    /// Harmless frames that the new program was tried with; the counters have them.
    pub frames_tried: u32,
    /// How long it was watched, nanoseconds.
    pub watched_ns: u64,
    /// Time of all, nanoseconds.
    pub total_ns: u64,
}

/// Puts the object's program in the place of the attached one, over the same memory, watches it, and puts the old one back if it is not well.
///
/// # Errors
/// The object is none, its layout or its maps are not what is pinned, the verifier refuses it, or it does not pass harmless frames
/// ([`LoaderError::NotReplaced`]): nothing was changed. It was not well under traffic: [`LoaderError::RolledBack`].
pub fn replace(options: &ReplaceOptions) -> Result<ReplaceReport, LoaderError> {
    let start = Instant::now();
    let mut object = options.parse()?;
    let _lock = Lock::take(&options.pin_root)?;
    migrate::settle(&Folder::new(&options.pin_root))?;
    let pinned = Pinned::open(&options.pin_root)?;
    let folder = pinned.folder();
    let seat = Seat::of(&pinned)?;
    let old = pinned.program()?;
    // A replace that was killed while it watched: its program runs, so it is the one to go back to.
    if let Some(next) = folder.open(PROGRAM_NEXT)?
        && Program::new(next)?.id() == old.id()
    {
        folder.rename(PROGRAM_NEXT, PROGRAM)?;
    }
    check_fit(&pinned, &object)?;

    let further = further_maps(folder, &object)?;
    let further: Vec<(&str, &OwnedFd)> = further
        .iter()
        .map(|(name, map)| (name.as_str(), map))
        .collect();
    let begun = Instant::now();
    let mut named: Vec<(&str, &OwnedFd)> = MAPS.into_iter().zip(pinned.maps()).collect();
    named.extend(&further);
    let new = verify(&named, pinned.arena_id(), &mut object, options.subprograms)?;
    let load_ns = nanoseconds(begun);
    Step::ProgramLoaded.reached();
    let frames_tried = try_harmless(&new, &old)?;

    folder.remove(PROGRAM_NEXT)?;
    folder.pin(PROGRAM_NEXT, new.fd())?;
    Step::ProgramPinned.reached();
    let watch = Watch::begin(&pinned)?;
    let begun = Instant::now();
    seat.put(new.fd()).map_err(LoaderError::call(
        "replacing the program",
        "the old one goes on; try again",
    ))?;
    let update_ns = nanoseconds(begun);
    Step::Linked.reached();
    if let Err(why) = watch.end(&seat, new.id(), options.health) {
        let ran_ms = begun.elapsed().as_secs_f64() * 1e3;
        let back = Instant::now();
        if let Err(source) = seat.put(old.fd()) {
            return Err(LoaderError::RollbackFailed { why, source });
        }
        let rollback_ms = back.elapsed().as_secs_f64() * 1e3;
        Step::RolledBack.reached();
        folder.remove(PROGRAM_NEXT)?;
        return Err(LoaderError::RolledBack {
            why,
            program_id: old.id(),
            ran_ms,
            rollback_ms,
        });
    }
    let watched_ns = nanoseconds(begun);
    Step::Healthy.reached();
    folder.rename(PROGRAM_NEXT, PROGRAM)?;
    remove_further_maps(folder, &further)?;
    Step::ProgramNamed.reached();
    let mut meta = pinned.meta().clone();
    meta.load_ns = load_ns;
    if let Some(map) = folder.open(META)? {
        meta.write(&map)?;
    }
    Ok(ReplaceReport {
        program_id: new.id(),
        replaced_program_id: old.id(),
        arena_id: pinned.arena_id(),
        verified_instructions: new.verified_instructions(),
        load_ns,
        update_ns,
        frames_tried,
        watched_ns,
        total_ns: nanoseconds(start),
    })
}

/// What keeps a shard's program attached.
pub(crate) enum Seat {
    /// Its link.
    Link(OwnedFd),
    /// Its port, of an interface that shards share.
    Port(Dispatcher, u16),
}

impl Seat {
    /// The one of a shard that is attached now.
    pub(crate) fn of(pinned: &Pinned) -> Result<Self, LoaderError> {
        let nothing = || LoaderError::NothingAttached {
            interface: pinned.interface().to_owned(),
            pin_root: pinned.pin_root().to_owned(),
        };
        let seat = match pinned.port() {
            Some(port) => {
                let dispatcher = pinned.dispatcher()?.ok_or_else(nothing)?;
                Self::Port(dispatcher, port)
            }
            None => Self::Link(pinned.folder().open(LINK)?.ok_or_else(nothing)?),
        };
        match seat.program_id() {
            Ok(Some(_)) => Ok(seat),
            _ => Err(nothing()),
        }
    }

    /// Puts a program there, in one step: each packet sees the one before or this one.
    pub(crate) fn put(&self, program: &OwnedFd) -> io::Result<()> {
        match self {
            Self::Link(link) => sys::link_update(link.as_fd(), program.as_fd()),
            Self::Port(dispatcher, port) => dispatcher.put(*port, program),
        }
    }

    /// Kernel id of the program there; `None` when the interface has gone.
    fn program_id(&self) -> io::Result<Option<u32>> {
        match self {
            Self::Link(link) => {
                let facts = sys::link_facts(link.as_fd())?;
                Ok((facts.ifindex != 0).then_some(facts.program_id))
            }
            Self::Port(dispatcher, port) => {
                let link = dispatcher.link().map_err(io::Error::other)?;
                if link.is_none_or(|link| link.ifindex == 0) {
                    return Ok(None);
                }
                dispatcher.program_id(*port).map_err(io::Error::other)
            }
        }
    }
}

/// Whether the object was made for the memory that is pinned.
pub(crate) fn check_fit(pinned: &Pinned, object: &Parsed) -> Result<(), LoaderError> {
    same(
        "layout version".to_owned(),
        pinned.meta().layout_version,
        object.layout_version(),
    )?;
    check_maps(pinned, object)
}

/// Whether the object's maps are what is pinned, but for the sizes that are a shard's own.
pub(crate) fn check_maps(pinned: &Pinned, object: &Parsed) -> Result<(), LoaderError> {
    for (name, facts) in pinned.map_list() {
        let (found, mut wanted) = (facts.shape, object.map(name)?);
        // These sizes are the shard's own; the object's are examples.
        if matches!(name, "ARENA" | "RECORDS" | "COMMANDS" | "KEYS") {
            (wanted.entries_max, wanted.extra) = (found.entries_max, found.extra);
        }
        for (property, found, wanted) in [
            ("type", found.kind, wanted.kind),
            ("key bytes", found.key_bytes, wanted.key_bytes),
            ("value bytes", found.value_bytes, wanted.value_bytes),
            ("entries", found.entries_max, wanted.entries_max),
            ("flags", found.flags, wanted.flags),
        ] {
            same(format!("{name} {property}"), found.into(), wanted.into())?;
        }
    }
    Ok(())
}

fn same(what: String, pinned: u64, wanted: u64) -> Result<(), LoaderError> {
    if pinned == wanted {
        return Ok(());
    }
    Err(LoaderError::Misfit {
        what,
        pinned,
        wanted,
    })
}

/// The object's program over these maps, as the kernel takes it; nothing is attached.
pub(crate) fn verify(
    named: &[(&str, &OwnedFd)],
    arena_id: u32,
    object: &mut Parsed,
    subprograms: Subprograms,
) -> Result<Program, LoaderError> {
    let program = Program::new(object.load(named, subprograms)?)?;
    if !program.facts().map_ids.contains(&arena_id) {
        return Err(object.error("does not use its ARENA, so it would match in no memory"));
    }
    Ok(program)
}

const XDP_PASS: u32 = 2;

/// Frames that are no shard's: every program passes them untouched, and changes nothing but a counter.
fn harmless_frames() -> [(&'static str, [u8; 64]); 3] {
    let frame = |ethertype: u16, rest: &[u8]| {
        let mut frame = [0; 64];
        frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
        frame[14..14 + rest.len()].copy_from_slice(rest);
        frame
    };
    [
        // The arming word is zero, which no doorbell has.
        ("a doorbell that is none", frame(doorbell::ETHERTYPE, &[])),
        ("an ARP request", frame(0x0806, &[0, 1, 8, 0, 6, 4, 0, 1])),
        // Version and length, 50 bytes, protocol 6.
        (
            "a TCP segment",
            frame(0x0800, &[0x45, 0, 0, 50, 0, 0, 0, 0, 64, 6]),
        ),
    ]
}

/// Tries harmless frames; gives how many.
pub(crate) fn try_harmless(new: &Program, old: &Program) -> Result<u32, LoaderError> {
    let frames = harmless_frames();
    for (name, frame) in &frames {
        let run = |program: &Program| -> Result<(u32, bool), LoaderError> {
            let mut after = [0; 64];
            let run = program.test_run(frame, &mut after, 1)?;
            let untouched = run.data_len as usize == frame.len() && after == *frame;
            Ok((run.retval, untouched))
        };
        let (verdict, untouched) = run(new)?;
        if verdict == XDP_PASS && untouched {
            continue;
        }
        let say = |(verdict, untouched): (u32, bool)| {
            let how = if untouched { "untouched" } else { "changed" };
            format!("verdict {verdict}, the frame {how}")
        };
        return Err(LoaderError::NotReplaced {
            why: format!(
                "of {name} it makes {}, the old one {}",
                say((verdict, untouched)),
                say(run(old)?)
            ),
            program_id: old.id(),
        });
    }
    Ok(frames.len() as u32)
}

/// Counters that a program that is well leaves alone: a fault of ours, a shard that has stopped, a device page that was lost.
const SICK: [Counter; 3] = [Counter::DropAnswer, Counter::Halted, Counter::PassNotReady];

/// The counters before the new program, and what they may not do after.
struct Watch {
    counters: crate::pinned::Counters,
    before: [u64; SICK.len()],
    /// Those that grew under the old program already: they say nothing about the new one.
    known: [bool; SICK.len()],
}

impl Watch {
    fn begin(pinned: &Pinned) -> Result<Self, LoaderError> {
        const LOOK: Duration = Duration::from_millis(20);
        let counters = pinned.counters()?;
        let first = sick(&counters)?;
        // A shard that was halted before counts on under any program.
        std::thread::sleep(LOOK);
        let before = sick(&counters)?;
        Ok(Self {
            known: std::array::from_fn(|at| before[at] != first[at]),
            counters,
            before,
        })
    }

    /// Looks on for `health`; says what is wrong.
    fn end(&self, seat: &Seat, program_id: u32, health: Duration) -> Result<(), String> {
        const TURN: Duration = Duration::from_millis(10);
        let end = Instant::now() + health;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            std::thread::sleep(left.min(TURN));
            let now = sick(&self.counters).map_err(|error| error.to_string())?;
            for (at, counter) in SICK.into_iter().enumerate() {
                let grown = now[at].wrapping_sub(self.before[at]);
                if grown != 0 && !self.known[at] {
                    return Err(format!("counter {} grew by {grown}", counter.name()));
                }
            }
            match seat.program_id() {
                Ok(Some(id)) if id == program_id => {}
                Ok(Some(id)) => return Err(format!("another program (id {id}) was put there")),
                Ok(None) => return Err("its interface has gone".to_owned()),
                Err(error) => return Err(format!("its link cannot be looked at: {error}")),
            }
            if left.is_zero() {
                return Ok(());
            }
        }
    }
}

fn sick(counters: &crate::pinned::Counters) -> Result<[u64; SICK.len()], LoaderError> {
    let mut sums = [0; SICK.len()];
    for (sum, counter) in sums.iter_mut().zip(SICK) {
        *sum = counters.sum(counter as u32)?;
    }
    Ok(sums)
}
