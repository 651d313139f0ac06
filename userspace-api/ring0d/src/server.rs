//! Who asks the thread that owns the shard (`docs/decisions/0020-ring0d-threads.md`): operators by their socket, an API's packets by the door, Prometheus.

use crate::{DaemonError, Request};
use ring0_rings::Delivered;
use ring0_socket::{Admission, Peer, Server, refusal};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Sender, SyncSender, sync_channel};

/// A request and where its answer goes.
pub(crate) struct Call {
    pub(crate) request: Request,
    pub(crate) answer: SyncSender<Value>,
}

/// What the thread that owns the shard is asked.
pub(crate) enum Asked {
    /// An operator's request.
    Verb(Box<Call>),
    /// Packets that came by the door, in order.
    Packets {
        /// Each as on the wire, and the record that must be durable before it is looked at: 0 for one that is new.
        packets: Vec<(Arc<[u8]>, u64)>,
        /// Where what became of each goes.
        answer: SyncSender<Vec<Delivered>>,
    },
}

/// Listens to operators from now on; what they ask comes out of the other end of `asked`.
pub(crate) fn listen(path: &Path, asked: Sender<Asked>) -> Result<Server, DaemonError> {
    let answer = move |_: Peer, request: Request| {
        let (answer, answers) = sync_channel(1);
        let call = Asked::Verb(Box::new(Call { request, answer }));
        let sent = asked.send(call);
        match sent.ok().and_then(|()| answers.recv().ok()) {
            Some(answer) => answer,
            None => refusal("the daemon is ending; start it again"),
        }
    };
    Ok(Server::start(path, Admission::default(), answer)?)
}
