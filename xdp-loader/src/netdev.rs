//! What the kernel knows of an interface: size of packets, queues, carrier, what its driver can do with XDP.

use crate::{error::LoaderError, netns, sys};
use std::{
    fmt, io,
    time::{Duration, Instant},
};

/// An interface as the kernel describes it.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct Netdev {
    /// Its number in its namespace.
    pub ifindex: u32,
    /// Kind of a virtual one (`veth`, `bridge`); empty for hardware.
    pub kind: String,
    /// Largest packet, bytes, without the Ethernet header.
    pub mtu: u32,
    /// Receive queues.
    pub rx_queues: u32,
    /// Transmit queues.
    pub tx_queues: u32,
    /// Whether it is up and its link works.
    pub carrier: bool,
    /// What its driver says that it can do with XDP; `None` where the kernel does not tell (before Linux 6.3).
    pub xdp: Option<XdpFeatures>,
}

/// What a driver can do with XDP (`include/uapi/linux/netdev.h`).
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
pub struct XdpFeatures {
    /// Passes, drops, aborts and transmits.
    pub basic: bool,
    /// Redirects.
    pub redirect: bool,
    /// Takes frames that others redirect to it.
    pub redirect_target: bool,
    /// AF_XDP without a copy.
    pub zero_copy: bool,
    /// Programs in the hardware.
    pub offload: bool,
    /// Frames in several buffers.
    pub several_buffers: bool,
}

impl XdpFeatures {
    fn of(bits: u64) -> Self {
        let has = |bit: u32| bits & (1 << bit) != 0;
        Self {
            basic: has(0),
            redirect: has(1),
            redirect_target: has(2),
            zero_copy: has(3),
            offload: has(4),
            several_buffers: has(5),
        }
    }

    /// Names of those that it has.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        [
            (self.basic, "basic"),
            (self.redirect, "redirect"),
            (self.redirect_target, "redirect target"),
            (self.zero_copy, "zero copy"),
            (self.offload, "offload"),
            (self.several_buffers, "several buffers"),
        ]
        .into_iter()
        .filter_map(|(has, name)| has.then_some(name))
        .collect()
    }
}

impl fmt::Display for Netdev {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind.as_str() {
            "" => "hardware",
            kind => kind,
        };
        write!(
            out,
            "{kind}, MTU {}, {} receive and {} transmit queues, carrier {}, XDP of the driver: ",
            self.mtu,
            self.rx_queues,
            self.tx_queues,
            if self.carrier { "yes" } else { "no" },
        )?;
        match &self.xdp {
            None => out.write_str("not told by this kernel"),
            Some(features) if features.names().is_empty() => out.write_str("none"),
            Some(features) => out.write_str(&features.names().join(", ")),
        }
    }
}

const IFLA_MTU: u16 = 4;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_CARRIER: u16 = 33;
const IFLA_INFO_KIND: u16 = 1;

impl Netdev {
    /// The interface of this name in a network namespace.
    ///
    /// # Errors
    /// There is none, or no such namespace.
    pub fn find(interface: &str, netns: Option<&str>) -> Result<Self, LoaderError> {
        netns::within(netns, || {
            Self::of(netns::interface_number(interface, netns)?)
        })
    }

    /// The interface of this number in the calling thread's namespace.
    pub(crate) fn of(ifindex: u32) -> Result<Self, LoaderError> {
        let answer = sys::route_request(&netns::get_link(ifindex));
        answer
            .and_then(|bytes| Self::parse(ifindex, &bytes))
            .map_err(LoaderError::call(
                format!("asking about interface {ifindex}"),
                "try again",
            ))
    }

    fn parse(ifindex: u32, bytes: &[u8]) -> io::Result<Self> {
        let attributes = netns::link_attributes(bytes)?;
        let number = |kind| number(attributes, kind).unwrap_or(0) as u32;
        let kind = netns::attribute(attributes, IFLA_LINKINFO)
            .and_then(|list| netns::attribute(list, IFLA_INFO_KIND))
            .map(|text| {
                String::from_utf8_lossy(text)
                    .trim_end_matches('\0')
                    .to_owned()
            });
        Ok(Self {
            ifindex,
            kind: kind.unwrap_or_default(),
            mtu: number(IFLA_MTU),
            rx_queues: number(IFLA_NUM_RX_QUEUES),
            tx_queues: number(IFLA_NUM_TX_QUEUES),
            carrier: netns::attribute(attributes, IFLA_CARRIER).and_then(|byte| byte.first())
                == Some(&1),
            xdp: xdp_features(ifindex),
        })
    }
}

/// A number of one to eight bytes.
fn number(attributes: &[u8], kind: u16) -> Option<u64> {
    let bytes = netns::attribute(attributes, kind)?;
    let mut word = [0; 8];
    word.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(u64::from_le_bytes(word))
}

/// Asks the kernel's `netdev` family (Linux 6.3).
fn xdp_features(ifindex: u32) -> Option<XdpFeatures> {
    const CONTROL_FAMILY: u16 = 0x10;
    const GET_FAMILY: u8 = 3;
    const FAMILY_NAME: u16 = 2;
    const FAMILY_ID: u16 = 1;
    const GET_DEVICE: u8 = 1;
    const DEVICE_IFINDEX: u16 = 1;
    const DEVICE_XDP_FEATURES: u16 = 3;
    let family = generic(CONTROL_FAMILY, GET_FAMILY, FAMILY_NAME, b"netdev\0")?;
    let family = number(&family, FAMILY_ID)? as u16;
    let device = generic(family, GET_DEVICE, DEVICE_IFINDEX, &ifindex.to_ne_bytes())?;
    number(&device, DEVICE_XDP_FEATURES).map(XdpFeatures::of)
}

/// The attributes that a generic netlink family answers to a command with one attribute.
fn generic(family: u16, command: u8, kind: u16, value: &[u8]) -> Option<Vec<u8>> {
    const HEADERS: usize = 16 + 4;
    let mut request = vec![0; HEADERS];
    request[4..6].copy_from_slice(&family.to_ne_bytes());
    request[6..8].copy_from_slice(&(libc::NLM_F_REQUEST as u16).to_ne_bytes());
    request[16] = command;
    request[17] = 1; // version
    request.extend_from_slice(&(4 + value.len() as u16).to_ne_bytes());
    request.extend_from_slice(&kind.to_ne_bytes());
    request.extend_from_slice(value);
    request.resize(request.len().next_multiple_of(4), 0);
    let length = request.len() as u32;
    request[..4].copy_from_slice(&length.to_ne_bytes());
    let answer = sys::netlink_request(libc::NETLINK_GENERIC, &request).ok()?;
    if answer.get(4..6)? == (libc::NLMSG_ERROR as u16).to_ne_bytes() {
        return None;
    }
    let length = u32::from_ne_bytes(*answer.first_chunk()?) as usize;
    answer.get(HEADERS..length).map(<[u8]>::to_vec)
}

/// Waits until an interface is there, up and has its link.
///
/// # Errors
/// [`LoaderError::NoCarrier`] when the time is over; there is no such interface even then.
pub fn wait_carrier(
    interface: &str,
    netns: Option<&str>,
    patience: Duration,
) -> Result<(), LoaderError> {
    const TURN: Duration = Duration::from_millis(20);
    let end = Instant::now() + patience;
    loop {
        let found = Netdev::find(interface, netns);
        if found.as_ref().is_ok_and(|device| device.carrier) {
            return Ok(());
        }
        if Instant::now() >= end {
            return found.and(Err(LoaderError::NoCarrier {
                interface: interface.to_owned(),
                seconds: patience.as_secs_f64(),
            }));
        }
        std::thread::sleep(TURN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_described() {
        let lo = Netdev::find("lo", None).expect("every namespace has it");
        assert_eq!(lo.ifindex, 1);
        assert!(
            lo.mtu >= 1500 && lo.rx_queues >= 1 && lo.tx_queues >= 1,
            "{lo:?}"
        );
        let error = Netdev::find("no-such-one", None).expect_err("none");
        assert!(error.to_string().contains("there are: "), "{error}");
    }

    #[test]
    fn features_are_named() {
        assert_eq!(XdpFeatures::of(0b1001).names(), ["basic", "zero copy"]);
        assert!(XdpFeatures::of(0).names().is_empty());
    }
}
