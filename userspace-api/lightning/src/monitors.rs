//! Channel monitors on their way to the disk.
//!
//! LDK may be killed between writing a monitor and writing the channel manager; read back, the manager would be older than the monitor,
//! and LDK gives up such a channel on the chain. So nothing is written when LDK asks: a monitor's bytes wait here, LDK is told
//! "in progress" and holds every message that depends on it back, and [`crate::node::Node`] writes first the manager, which carries the
//! monitors' unfinished updates in it, then the monitors, then tells LDK. Killed anywhere in between, the manager read back repeats the
//! updates, and no peer has heard of them.

use std::{collections::BTreeMap, sync::Mutex};

use lightning::{
    chain::{
        ChannelMonitorUpdateStatus,
        chainmonitor::Persist,
        channelmonitor::{ChannelMonitor, ChannelMonitorUpdate},
    },
    ln::types::ChannelId,
    sign::InMemorySigner,
    util::{persist::MonitorName, ser::Writeable},
};

/// What has to be written.
#[derive(Default)]
pub(crate) struct Batch {
    /// A monitor's key and bytes, the newest.
    pub(crate) writes: BTreeMap<String, Vec<u8>>,
    /// Updates that are in these bytes: LDK waits for them.
    pub(crate) updates: Vec<(ChannelId, u64)>,
    /// Monitors of channels that are long resolved.
    pub(crate) archived: Vec<String>,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.updates.is_empty() && self.archived.is_empty()
    }
}

/// Where they wait.
#[derive(Default)]
pub(crate) struct MonitorQueue(Mutex<Batch>);

impl MonitorQueue {
    /// Takes all that waits.
    pub(crate) fn take(&self) -> Batch {
        std::mem::take(&mut self.0.lock().expect("no panic while locked"))
    }

    fn queue(
        &self,
        name: MonitorName,
        monitor: &ChannelMonitor<InMemorySigner>,
        update: Option<u64>,
    ) {
        let bytes = monitor.encode();
        let mut batch = self.0.lock().expect("no panic while locked");
        batch.writes.insert(name.to_string(), bytes);
        batch
            .updates
            .extend(update.map(|update| (monitor.channel_id(), update)));
    }
}

impl Persist<InMemorySigner> for MonitorQueue {
    fn persist_new_channel(
        &self,
        name: MonitorName,
        monitor: &ChannelMonitor<InMemorySigner>,
    ) -> ChannelMonitorUpdateStatus {
        self.queue(name, monitor, Some(monitor.get_latest_update_id()));
        ChannelMonitorUpdateStatus::InProgress
    }

    /// Without an update it is a block's news: LDK waits for nothing then.
    fn update_persisted_channel(
        &self,
        name: MonitorName,
        update: Option<&ChannelMonitorUpdate>,
        monitor: &ChannelMonitor<InMemorySigner>,
    ) -> ChannelMonitorUpdateStatus {
        self.queue(name, monitor, update.map(|update| update.update_id));
        ChannelMonitorUpdateStatus::InProgress
    }

    fn archive_persisted_channel(&self, name: MonitorName) {
        let mut batch = self.0.lock().expect("no panic while locked");
        batch.archived.push(name.to_string());
    }
}
