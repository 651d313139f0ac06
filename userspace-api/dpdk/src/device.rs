//! One device with one queue each way, and the frames in its buffers: the module with unsafe code.
//!
//! Invariants: a [`Frame`] owns its buffer, so it is freed or handed to the device exactly once; frames end before their [`Device`], whose pool they
//! are in, because only the port has either and drops its frames first. A device keeps the environment it was made in.
#![allow(unsafe_code, reason = "DPDK is C")]

use crate::port::Stats;
use crate::{DpdkError, Eal, PortOptions};
use ring0_rings::BATCH;
use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

/// Buffers that one thread keeps to itself before it goes to the pool that all share: a few bursts.
const CACHE: u32 = 256;

/// Starts EAL with this command line.
pub(crate) fn start(arguments: Vec<CString>) -> io::Result<()> {
    let count = i32::try_from(arguments.len()).map_err(io::Error::other)?;
    // EAL keeps pointers into its arguments and puts them in another order: they stay for the rest of the process.
    let arguments: Vec<*mut _> = arguments.into_iter().map(CString::into_raw).collect();
    let arguments = arguments.leak();
    // SAFETY: `count` pointers to strings that nobody else has and that are never freed; called once a process (`Eal::start`).
    if unsafe { dpdk_sys::rte_eal_init(count, arguments.as_mut_ptr()) } < 0 {
        return Err(last_error());
    }
    Ok(())
}

/// Ends EAL: devices are closed, memory is given back.
pub(crate) fn end() {
    // SAFETY: started once, and no device is left: each has a clone of `Eal`, whose last one calls this. A failure leaves what the process's end takes.
    unsafe { dpdk_sys::rte_eal_cleanup() };
}

fn last_error() -> io::Error {
    // SAFETY: reads a number of this thread.
    described(unsafe { dpdk_sys::ring0_errno() })
}

/// The error of DPDK's number, whichever sign it has. DPDK has numbers and words beyond the system's.
fn described(number: i32) -> io::Error {
    // SAFETY: a number in, a text out, for any number.
    let text = unsafe { dpdk_sys::rte_strerror(number.abs()) };
    // SAFETY: static or of this thread, and copied before the next call.
    let text = unsafe { CStr::from_ptr(text) };
    io::Error::other(text.to_string_lossy().into_owned())
}

/// A started device.
pub(crate) struct Device {
    port: u16,
    pool: NonNull<dpdk_sys::rte_mempool>,
    hardware: [u8; 6],
    _eal: Eal,
}

// SAFETY: its queues and pool may be used from any thread, by one at a time, which `&mut self` sees to.
unsafe impl Send for Device {}

impl Device {
    /// Configures and starts the device of this name, with a pool of buffers that covers both its queues and two bursts.
    pub(crate) fn open(eal: &Eal, options: &PortOptions) -> Result<Device, DpdkError> {
        let name = options.device.split(',').next().unwrap_or_default();
        let no_device = |source| DpdkError::NoDevice {
            device: options.device.clone(),
            source,
        };
        let c_name = CString::new(name).map_err(|error| no_device(error.into()))?;
        let mut port = 0;
        // SAFETY: a string and a place for the number.
        let found =
            unsafe { dpdk_sys::rte_eth_dev_get_port_by_name(c_name.as_ptr(), &raw mut port) };
        if found != 0 {
            return Err(no_device(described(found)));
        }
        let refused = |act, help, source| DpdkError::Device {
            device: options.device.clone(),
            act,
            help,
            source,
        };
        let checked = |act, status: i32| match status {
            0.. => Ok(()),
            _ => Err(refused(
                act,
                "see the driver's page of DPDK's guide for what it takes",
                described(status),
            )),
        };

        let mut info = MaybeUninit::<dpdk_sys::rte_eth_dev_info>::zeroed();
        // SAFETY: a place for the answer; of a configuration of numbers and pointers all zero is one.
        let status = unsafe { dpdk_sys::rte_eth_dev_info_get(port, info.as_mut_ptr()) };
        checked("say what it is", status)?;
        // One queue each way, no offload: no segments, no strange buffers, checksums are the port's own.
        // SAFETY: numbers, and pointers that may be null.
        let configuration =
            unsafe { MaybeUninit::<dpdk_sys::rte_eth_conf>::zeroed().assume_init() };
        // SAFETY: the configuration lives through the call.
        let status =
            unsafe { dpdk_sys::rte_eth_dev_configure(port, 1, 1, &raw const configuration) };
        checked("have one queue each way", status)?;
        let (mut rx, mut tx) = (options.descriptors, options.descriptors);
        // SAFETY: places for two numbers.
        let status =
            unsafe { dpdk_sys::rte_eth_dev_adjust_nb_rx_tx_desc(port, &raw mut rx, &raw mut tx) };
        checked("have queues of that length", status)?;

        // SAFETY: a number in, a number out; -1 for any.
        let socket = unsafe { dpdk_sys::rte_eth_dev_socket_id(port) };
        let buffers = u32::from(rx) + u32::from(tx) + 2 * BATCH as u32 + CACHE;
        // Of the port's number, so that two do not meet.
        let pool = CString::new(format!("ring0_{port}")).expect("no zero byte");
        // SAFETY: a string and numbers.
        let pool = unsafe {
            dpdk_sys::rte_pktmbuf_pool_create(
                pool.as_ptr(),
                buffers,
                CACHE,
                0,
                dpdk_sys::ring0_buffer_bytes,
                socket,
            )
        };
        let pool = NonNull::new(pool).ok_or_else(|| {
            let help = "raise the environment's memory (MiB), or lower the descriptors";
            refused("get its buffers", help, last_error())
        })?;
        // From here on an early end stops the device and frees the pool.
        let mut device = Device {
            port,
            pool,
            hardware: [0; 6],
            _eal: eal.clone(),
        };
        // SAFETY: configured just now, the pool is this device's; no special configuration.
        let status = unsafe {
            dpdk_sys::rte_eth_rx_queue_setup(port, 0, rx, socket as u32, ptr::null(), pool.as_ptr())
        };
        checked("receive", status)?;
        // SAFETY: as above.
        let status =
            unsafe { dpdk_sys::rte_eth_tx_queue_setup(port, 0, tx, socket as u32, ptr::null()) };
        checked("send", status)?;
        let mut hardware = MaybeUninit::<dpdk_sys::rte_ether_addr>::zeroed();
        // SAFETY: a place for the answer.
        let status = unsafe { dpdk_sys::rte_eth_macaddr_get(port, hardware.as_mut_ptr()) };
        checked("say its hardware address", status)?;
        // SAFETY: six bytes, zeroed if nothing wrote them.
        device.hardware = unsafe { hardware.assume_init() }.addr_bytes;
        // SAFETY: configured, with both queues.
        checked("start", unsafe { dpdk_sys::rte_eth_dev_start(port) })?;
        Ok(device)
    }

    /// Its hardware address.
    pub(crate) fn hardware(&self) -> [u8; 6] {
        self.hardware
    }

    /// Makes the calling thread one that DPDK knows, if it is none: then it has a cache of buffers.
    pub(crate) fn know_thread(&self) {
        // SAFETY: the environment is started. A refusal (128 threads are known, or another process is attached) costs an atomic operation for each
        // buffer and nothing else. The thread's number stays taken when it ends: one of those, in a process with few rings.
        unsafe { dpdk_sys::ring0_know_thread() };
    }

    /// Appends the frames that are there, at most [`BATCH`].
    pub(crate) fn receive(&mut self, into: &mut Vec<Frame>) {
        let mut buffers = [ptr::null_mut(); BATCH];
        // SAFETY: place for `BATCH` pointers; the queue is this device's, used by one thread (`&mut self`).
        let count =
            unsafe { dpdk_sys::ring0_rx_burst(self.port, buffers.as_mut_ptr(), BATCH as u16) };
        for &buffer in &buffers[..count.into()] {
            into.extend(Frame::new(buffer));
        }
    }

    /// Sends frames, at most [`BATCH`] (the rest is lost); gives how many the queue had no room for. Those are freed.
    pub(crate) fn transmit(&mut self, frames: impl Iterator<Item = Frame>) -> usize {
        let mut buffers = [ptr::null_mut(); BATCH];
        let (mut count, mut sent) = (0, 0);
        for frame in frames.take(BATCH) {
            buffers[count] = frame.into_buffer();
            count += 1;
        }
        if count != 0 {
            // SAFETY: `count` whole buffers that nobody else has; the device takes the first of them, and says how many.
            sent = usize::from(unsafe {
                dpdk_sys::ring0_tx_burst(self.port, buffers.as_mut_ptr(), count as u16)
            });
        }
        for &buffer in &buffers[sent..count] {
            drop(Frame::new(buffer));
        }
        count - sent
    }

    /// An empty frame; `None` when the pool has no buffer left.
    pub(crate) fn frame(&mut self) -> Option<Frame> {
        // SAFETY: the pool lives as long as `self`.
        Frame::new(unsafe { dpdk_sys::ring0_alloc(self.pool.as_ptr()) })
    }

    /// What the driver counts; zeros where it counts nothing.
    pub(crate) fn stats(&self) -> Stats {
        let mut stats = MaybeUninit::<dpdk_sys::rte_eth_stats>::zeroed();
        // SAFETY: a place for the answer, which a driver without counters leaves zero.
        unsafe { dpdk_sys::rte_eth_stats_get(self.port, stats.as_mut_ptr()) };
        // SAFETY: numbers, zeroed above.
        let stats = unsafe { stats.assume_init() };
        Stats {
            received: stats.ipackets,
            missed: stats.imissed,
            receive_errors: stats.ierrors,
            no_buffer: stats.rx_nombuf,
            sent: stats.opackets,
            send_errors: stats.oerrors,
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: the port is this device's; one that was not started says so, which changes nothing.
        unsafe { dpdk_sys::rte_eth_dev_stop(self.port) };
        // SAFETY: stopped; nobody else has its number. The driver gives its buffers back.
        unsafe { dpdk_sys::rte_eth_dev_close(self.port) };
        // SAFETY: closed, and all frames ended before (see the module's invariants), so every buffer is back.
        unsafe { dpdk_sys::rte_mempool_free(self.pool.as_ptr()) };
    }
}

/// A frame in a buffer of its own.
pub(crate) struct Frame {
    buffer: NonNull<dpdk_sys::rte_mbuf>,
    look: dpdk_sys::ring0_frame,
}

// SAFETY: the buffer is the frame's alone, and pools take buffers back from any thread.
unsafe impl Send for Frame {}

impl Frame {
    /// Owns this buffer from now on; `None` for the null one.
    fn new(buffer: *mut dpdk_sys::rte_mbuf) -> Option<Frame> {
        let buffer = NonNull::new(buffer)?;
        // SAFETY: a buffer that DPDK gave to us.
        let look = unsafe { dpdk_sys::ring0_look(buffer.as_ptr()) };
        Some(Frame { buffer, look })
    }

    /// The buffer, no longer owned.
    fn into_buffer(self) -> *mut dpdk_sys::rte_mbuf {
        std::mem::ManuallyDrop::new(self).buffer.as_ptr()
    }

    /// Bytes of its first segment.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `len` bytes from `data` on lie in the buffer, by DPDK and by `set_len`; pools are made of zeroed memory, and nobody writes to the
        // buffer while the frame, which owns it, is borrowed.
        unsafe { std::slice::from_raw_parts(self.look.data, self.look.len.into()) }
    }

    /// All bytes that the frame could have, for one that is about to be written.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        // SAFETY: `room` bytes from `data` on lie in the buffer, which has one reader and writer, `&mut self`: the port drops frames with other
        // references unread.
        unsafe { std::slice::from_raw_parts_mut(self.look.data, self.look.room.into()) }
    }

    /// Makes it a frame of `len` bytes.
    ///
    /// # Panics
    /// There is no room for so many.
    pub(crate) fn set_len(&mut self, len: usize) {
        assert!(len <= self.look.room.into(), "a frame ends in its buffer");
        self.look.len = len as u16;
        // SAFETY: the frame's own buffer; `len` is in its room.
        unsafe { dpdk_sys::ring0_set_len(self.buffer.as_ptr(), len as u16) };
    }

    /// Segments; only a frame of one is whole.
    pub(crate) fn segments(&self) -> u16 {
        self.look.segments
    }

    /// References to the buffer, ours among them.
    pub(crate) fn references(&self) -> u16 {
        self.look.references
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        // SAFETY: owned, so given back once.
        unsafe { dpdk_sys::ring0_free(self.buffer.as_ptr()) };
    }
}
