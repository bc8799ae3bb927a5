//! Ports on 127.0.0.1 that no other lab on this machine uses.
//!
//! A PBX needs hundreds of ports for RTP, too many to find one by one. So the range below the system's own
//! short-lived ports is cut into blocks, and a block is taken by listening on its first port for as long as it is used:
//! the kernel gives it back when this process ends, however it ends.

use std::{
    net::{Ipv4Addr, TcpListener, UdpSocket},
    process,
};

use crate::{LabError, Result};

const FIRST: u16 = 11_000;
const BLOCK: u16 = 1_500;
const BLOCKS: u16 = 14;

/// A block of ports, held until dropped.
#[derive(Debug)]
pub(crate) struct PortBlock {
    _lock: TcpListener,
    base: u16,
}

impl PortBlock {
    /// Takes a free block. The search starts at a place that differs by process, to keep parallel tests apart.
    pub(crate) fn take() -> Result<Self> {
        let start = process::id() % u32::from(BLOCKS);
        for step in 0..BLOCKS {
            let block = (u16::try_from(start).unwrap_or(0) + step) % BLOCKS;
            let base = FIRST + block * BLOCK;
            let Ok(lock) = TcpListener::bind((Ipv4Addr::LOCALHOST, base)) else {
                continue;
            };
            // A server outside the lab may sit on one of the ports that matter.
            let free = (base + 1..base + 10).all(|port| {
                TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
                    && UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
            });
            if free {
                return Ok(Self { _lock: lock, base });
            }
        }
        Err(LabError::NoPortsLeft)
    }

    /// The nth single port, 1 to 9.
    pub(crate) fn port(&self, nth: u16) -> u16 {
        self.base + nth
    }

    /// First and last port for RTP.
    pub(crate) fn rtp(&self) -> (u16, u16) {
        (self.base + 20, self.base + BLOCK - 1)
    }
}

/// A UDP port that was free a moment ago; for programs that must be given a number. Retry if it was snatched.
pub(crate) fn likely_free_udp() -> Result<u16> {
    let socket =
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(LabError::socket("find a free UDP port"))?;
    Ok(socket
        .local_addr()
        .map_err(LabError::socket("read a free UDP port"))?
        .port())
}

/// The same for TCP.
pub(crate) fn likely_free_tcp() -> Result<u16> {
    let socket =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(LabError::socket("find a free TCP port"))?;
    Ok(socket
        .local_addr()
        .map_err(LabError::socket("read a free TCP port"))?
        .port())
}
