//! Interfaces, in this network namespace or in another one by name.

use crate::{error::LoaderError, sys};
use std::{fs::File, io};

/// Where `ip netns` keeps its namespaces.
const NETNS_FOLDER: &str = "/run/netns";

/// Runs `work` in the namespace called `netns`, on a thread of its own so that the caller stays
/// where it is. Without a name, `work` runs here.
///
/// # Errors
/// There is no such namespace, or what `work` says.
pub fn within<T: Send>(
    netns: Option<&str>,
    work: impl FnOnce() -> Result<T, LoaderError> + Send,
) -> Result<T, LoaderError> {
    let Some(name) = netns else { return work() };
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            enter(name)?;
            work()
        });
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Moves the calling thread to the namespace, for good.
pub(crate) fn enter(name: &str) -> Result<(), LoaderError> {
    let unknown = |source| LoaderError::UnknownNetns {
        name: name.to_owned(),
        known: known_namespaces(),
        source,
    };
    let file = File::open(format!("{NETNS_FOLDER}/{name}")).map_err(unknown)?;
    sys::enter_netns(&file).map_err(|source| match source.raw_os_error() {
        Some(libc::EPERM) => LoaderError::Privilege {
            missing: "CAP_SYS_ADMIN".to_owned(),
            doing: "enter a network namespace",
        },
        _ => unknown(source),
    })
}

fn known_namespaces() -> String {
    let Ok(entries) = std::fs::read_dir(NETNS_FOLDER) else {
        return "none".to_owned();
    };
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

/// Number of the interface in the calling thread's namespace; `netns` is for the message.
pub(crate) fn interface_number(name: &str, netns: Option<&str>) -> Result<u32, LoaderError> {
    let list = sys::interfaces().map_err(LoaderError::call(
        "listing interfaces",
        "check /sys/class/net",
    ))?;
    if let Some((number, _)) = list.iter().find(|(_, known)| known == name) {
        return Ok(*number);
    }
    let known: Vec<&str> = list.iter().map(|(_, known)| known.as_str()).collect();
    Err(LoaderError::UnknownInterface {
        name: name.to_owned(),
        place: netns.map_or_else(
            || "this network namespace".to_owned(),
            |netns| format!("namespace {netns}"),
        ),
        known: known.join(", "),
    })
}

/// What the kernel has attached to an interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct AttachedXdp {
    pub(crate) program_id: u32,
    pub(crate) native: bool,
}

/// The XDP program of an interface in the calling thread's namespace, however it was attached.
pub(crate) fn attached_xdp(ifindex: u32) -> Result<Option<AttachedXdp>, LoaderError> {
    let answer = sys::route_request(&get_link(ifindex));
    answer
        .and_then(|bytes| parse_link(&bytes))
        .map_err(LoaderError::call(
            format!("asking what is attached to interface {ifindex}"),
            "try again",
        ))
}

/// Largest packet of an interface in the calling thread's namespace, bytes, without the Ethernet header.
pub(crate) fn interface_mtu(ifindex: u32) -> Result<u32, LoaderError> {
    let mtu = sys::route_request(&get_link(ifindex)).and_then(|bytes| {
        let attributes = link_attributes(&bytes)?;
        attribute(attributes, IFLA_MTU)
            .and_then(|mtu| mtu.get(..4)?.try_into().ok())
            .map(u32::from_ne_bytes)
            .ok_or_else(|| io::Error::other("the kernel's answer has no MTU"))
    });
    mtu.map_err(LoaderError::call(
        format!("asking for the MTU of interface {ifindex}"),
        "try again",
    ))
}

const HEADER_BYTES: usize = 16;
const LINK_BYTES: usize = 16;
const IFLA_MTU: u16 = 4;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROGRAM_ID: u16 = 4;

/// RTM_GETLINK for one interface: `nlmsghdr`, then `ifinfomsg`.
pub(crate) fn get_link(ifindex: u32) -> Vec<u8> {
    let mut request = Vec::with_capacity(HEADER_BYTES + LINK_BYTES);
    request.extend_from_slice(&((HEADER_BYTES + LINK_BYTES) as u32).to_ne_bytes());
    request.extend_from_slice(&libc::RTM_GETLINK.to_ne_bytes());
    request.extend_from_slice(&(libc::NLM_F_REQUEST as u16).to_ne_bytes());
    request.extend_from_slice(&[0; 8]); // sequence and port
    request.extend_from_slice(&[0; 4]); // family, padding, type
    request.extend_from_slice(&ifindex.to_ne_bytes());
    request.extend_from_slice(&[0; 8]); // flags and change
    request
}

/// The attributes in an answer to [`get_link`].
pub(crate) fn link_attributes(message: &[u8]) -> io::Result<&[u8]> {
    let short = || io::Error::other("the kernel's answer is too short");
    let kind = message.get(4..6).ok_or_else(short)?;
    if kind == (libc::NLMSG_ERROR as u16).to_ne_bytes() {
        let code = message
            .get(16..20)
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(short)?;
        return Err(io::Error::from_raw_os_error(-i32::from_ne_bytes(code)));
    }
    message.get(HEADER_BYTES + LINK_BYTES..).ok_or_else(short)
}

fn parse_link(message: &[u8]) -> io::Result<Option<AttachedXdp>> {
    let Some(xdp) = attribute(link_attributes(message)?, IFLA_XDP) else {
        return Ok(None);
    };
    let Some(id) = attribute(xdp, IFLA_XDP_PROGRAM_ID).and_then(|id| id.get(..4)?.try_into().ok())
    else {
        return Ok(None);
    };
    let native = attribute(xdp, IFLA_XDP_ATTACHED).and_then(|mode| mode.first()) == Some(&1);
    Ok(Some(AttachedXdp {
        program_id: u32::from_ne_bytes(id),
        native,
    }))
}

/// The value of the first attribute of a kind in a list of them.
pub(crate) fn attribute(mut list: &[u8], kind: u16) -> Option<&[u8]> {
    const NESTED: u16 = 0x8000;
    while let [a, b, c, d, ..] = *list {
        let length = usize::from(u16::from_ne_bytes([a, b]));
        if length < 4 || length > list.len() {
            return None;
        }
        if u16::from_ne_bytes([c, d]) & !NESTED == kind {
            return list.get(4..length);
        }
        list = list.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_and_broken_lists_are_not_followed() {
        let list = [5, 0, 1, 0, 7, 0, 0, 0, 8, 0, 4, 0, 42, 0, 0, 0];
        assert_eq!(attribute(&list, 4), Some([42, 0, 0, 0].as_slice()));
        assert_eq!(attribute(&list, 1), Some([7].as_slice()));
        assert_eq!(attribute(&list, 9), None);
        assert_eq!(
            attribute(&[200, 0, 1, 0, 0], 1),
            None,
            "longer than the list"
        );
        assert_eq!(attribute(&[0, 0, 1, 0, 0], 1), None, "would never end");
    }
}
