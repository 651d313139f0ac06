//! A shard in a thread of this process with the AF_XDP port before it, and the steering program told of its sessions.
//!
//! Always true: the program lets through exactly the sessions that the shard has granted, each with the key that was set last. It is told behind the
//! shard: a packet that comes in between is dropped by name, never taken.

use crate::control::AfxdpControl;
use crate::options::{AfxdpError, AfxdpOptions, Report};
use crate::port::open;
use ring0_abi::steer::Tag;
use ring0_engine::Reason;
use ring0_engine::control::{Control, ControlKind, Grant, Target};
use ring0_engine::native::TagRule;
use ring0_engine::record::Outcome;
use ring0_engine::region::Memory;
use ring0_engine::snapshot::Snapshot;
use ring0_rings::{Consumer, Delivered, Live, RingError, Times, UserOptions, UserShard};
use ring0_wire::{Key, SessionId};
use std::sync::Arc;
use xdp_loader::LoaderError;
use zerocopy::IntoBytes;

/// The shard.
pub struct AfxdpShard {
    shard: UserShard,
    control: AfxdpControl,
    rules: Vec<TagRule>,
}

impl AfxdpShard {
    /// Opens the port and begins an empty shard behind it, or one restored from a snapshot; the keys of its sessions are to be set anew.
    ///
    /// # Errors
    /// The port's, or the ring's; nothing is attached then.
    pub fn start(
        options: &UserOptions,
        port: &AfxdpOptions,
        snapshot: Option<&Snapshot>,
    ) -> Result<(AfxdpShard, Report), AfxdpError> {
        let sessions = options.capacity.sessions;
        let port = AfxdpOptions {
            sessions_max: sessions,
            ..port.clone()
        };
        let (port, control) = open(&port)?;
        let report = port.report().clone();
        let shard = UserShard::start(options, Box::new(port), snapshot)?;
        let shard = AfxdpShard {
            shard,
            control,
            rules: vec![TagRule::NoKey; sessions as usize],
        };
        for session in 0..sessions {
            shard.steer(session)?;
        }
        Ok((shard, report))
    }

    /// The shard in its thread.
    #[must_use]
    pub fn user(&self) -> &UserShard {
        &self.shard
    }

    /// The steering program.
    #[must_use]
    pub fn control(&self) -> &AfxdpControl {
        &self.control
    }

    /// Tells the steering program what a session is now.
    fn steer(&self, session: u32) -> Result<(), LoaderError> {
        let Some(granted) = self.shard.session(session) else {
            return self.control.clear_session(session);
        };
        let mut id = [0; 10];
        id[..8].copy_from_slice(&granted.id_head.get().to_be_bytes());
        id[8..].copy_from_slice(&(granted.id_tail.get() as u16).to_be_bytes());
        let rule = self.rules.get(session as usize).copied();
        let mut key = [0; 16];
        let tag = match rule.unwrap_or_default() {
            TagRule::Checked(checked) => {
                key.copy_from_slice(checked.as_bytes());
                Tag::Checked(&key)
            }
            TagRule::Blank => Tag::Off,
            TagRule::Unchecked | TagRule::NoKey => Tag::Keyless,
        };
        self.control.set_session(SessionId(id), tag)
    }
}

/// The session that a command grants or ends.
fn session_of(command: &Control) -> Option<u32> {
    const GRANT: u32 = ControlKind::GrantSession as u32;
    const CLOSE: u32 = ControlKind::CloseSession as u32;
    match command.kind {
        GRANT => Some(command.body::<Grant>().session),
        CLOSE => Some(command.body::<Target>().index),
        _ => None,
    }
}

impl Live for AfxdpShard {
    fn memory(&self) -> Memory<'_> {
        self.shard.memory()
    }

    fn records(&self) -> &Consumer {
        self.shard.records()
    }

    fn command(&mut self, commands: &[Control]) -> Result<Vec<(Outcome, Reason)>, RingError> {
        let results = self.shard.command(commands);
        // Whatever came of each, also where not all were taken: what is told is what the shard says now.
        for session in commands.iter().filter_map(session_of) {
            if (session as usize) < self.rules.len() {
                self.steer(session)?;
            }
        }
        results
    }

    fn ring_doorbell(&mut self) -> Result<(), RingError> {
        self.shard.ring_doorbell()
    }

    fn set_key(&mut self, session: u32, bytes: Option<&[u8; 16]>) -> Result<(), RingError> {
        self.shard.set_key(session, bytes)?;
        if let Some(rule) = self.rules.get_mut(session as usize) {
            let key = bytes.map(Key::from_bytes);
            *rule = key.map_or(TagRule::Blank, TagRule::Checked);
            self.steer(session)?;
        }
        Ok(())
    }

    fn clear_key(&mut self, session: u32) -> Result<(), RingError> {
        self.shard.clear_key(session)?;
        if let Some(rule) = self.rules.get_mut(session as usize) {
            *rule = TagRule::NoKey;
            self.steer(session)?;
        }
        Ok(())
    }

    fn deliver(&mut self, payloads: &[Arc<[u8]>]) -> Result<Vec<Delivered>, RingError> {
        self.shard.deliver(payloads)
    }

    fn tags(&self) -> &[Option<Key>] {
        self.shard.tags()
    }

    /// The steering program's and the thread's together: every frame ends under one of them, but for those that were lost between the two.
    fn counters(&self) -> Result<Vec<u64>, RingError> {
        let mut counters = self.shard.counters()?;
        for (number, count) in (0..).zip(&mut counters) {
            *count += self.control.sum(number)?;
        }
        Ok(counters)
    }

    /// The port's, and the steering program's that no other ring has.
    fn port_counters(&mut self) -> Vec<(&'static str, u64)> {
        let mut counters = self.shard.port_counters();
        // A map that cannot be read is no reason to say nothing of the port.
        counters.extend(self.control.own_counters().unwrap_or_default());
        counters
    }

    fn answer_times(&self) -> Option<&Times> {
        self.shard.answer_times()
    }

    fn failure(&self) -> Option<String> {
        self.shard.failure()
    }
}
