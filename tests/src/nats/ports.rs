//! Ports and names of the servers of tests.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// How often a start is tried again because another program took the port between our look and the server's bind.
pub(super) const PORT_TRIES: u32 = 5;

/// A port below the range that the system hands out to outgoing connections: no other program takes it by accident while its server is down
/// between a kill and the restart. Test processes start looking at different places.
pub fn free_port() -> u16 {
    const FIRST: u32 = 15_000;
    const COUNT: u32 = 15_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(101);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let candidate = u16::try_from(FIRST + start.wrapping_add(step) % COUNT).expect("30,000 fits");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, candidate)).is_ok() {
            return candidate;
        }
    }
    panic!("no free loopback port between {FIRST} and {}", FIRST + COUNT);
}

pub(super) fn server_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("faultline-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
