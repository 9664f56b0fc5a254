//! How often one address may do something: a bucket of tokens for each, filled again with time. Time is an argument.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// Addresses that are remembered. A client with many cannot fill the memory: the one that may do most is forgotten first.
const MAX_ADDRESSES: usize = 4096;

/// A limit with its buckets.
#[derive(Debug)]
pub(crate) struct RateLimit {
    /// So many at once.
    burst: f64,
    /// And so many a second for ever.
    per_s: f64,
    buckets: Mutex<BTreeMap<IpAddr, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl RateLimit {
    pub(crate) fn new(burst: u32, per_s: f64) -> Self {
        Self { burst: f64::from(burst), per_s, buckets: Mutex::default() }
    }

    /// Takes one, if there is one.
    pub(crate) fn take(&self, peer: IpAddr, now: Instant) -> bool {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let peer = network(peer);
        if !buckets.contains_key(&peer) && buckets.len() >= MAX_ADDRESSES {
            self.forget_the_fullest(&mut buckets, now);
        }
        let bucket = buckets.entry(peer).or_insert(Bucket { tokens: self.burst, at: now });
        bucket.tokens = self.tokens(bucket, now);
        bucket.at = now;
        let there = bucket.tokens >= 1.0;
        if there {
            bucket.tokens -= 1.0;
        }
        there
    }

    /// Gives one back: what it was taken for turned out not to count.
    pub(crate) fn give_back(&self, peer: IpAddr) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get_mut(&network(peer)) {
            bucket.tokens = (bucket.tokens + 1.0).min(self.burst);
        }
    }

    fn tokens(&self, bucket: &Bucket, now: Instant) -> f64 {
        (bucket.tokens + now.duration_since(bucket.at).as_secs_f64() * self.per_s).min(self.burst)
    }

    fn forget_the_fullest(&self, buckets: &mut BTreeMap<IpAddr, Bucket>, now: Instant) {
        let fullest = buckets.iter().max_by(|(_, a), (_, b)| self.tokens(a, now).total_cmp(&self.tokens(b, now)));
        if let Some(peer) = fullest.map(|(peer, _)| *peer) {
            buckets.remove(&peer);
        }
    }
}

/// An IPv4 address, or the /64 of an IPv6 address: a single machine has all of those.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

    #[test]
    fn a_burst_is_let_through_and_then_only_the_rate() {
        let (limit, begin) = (RateLimit::new(3, 0.5), Instant::now());
        let at = |seconds: f64| limit.take(PEER, begin + Duration::from_secs_f64(seconds));
        assert_eq!([at(0.0), at(0.0), at(0.0), at(0.0)], [true, true, true, false]);
        assert_eq!([at(1.9), at(2.0), at(2.1)], [false, true, false]);
        assert_eq!([at(100.0), at(100.0), at(100.0), at(100.0)], [true, true, true, false], "no more than the burst is saved up");
        limit.give_back(PEER);
        assert!(at(100.0));
    }

    #[test]
    fn addresses_do_not_share_but_those_of_one_ipv6_network_do() {
        let (limit, now) = (RateLimit::new(1, 0.1), Instant::now());
        let take = |text: &str| limit.take(text.parse().unwrap(), now);
        assert!(take("10.0.0.1") && take("10.0.0.2"));
        assert!(!take("::ffff:10.0.0.1"), "the same address in another form");
        assert!(take("2001:db8::1") && !take("2001:db8::2") && take("2001:db8:0:1::1"));
    }

    #[test]
    fn many_addresses_do_not_fill_the_memory_and_do_not_free_the_one_that_is_limited() {
        let (limit, now) = (RateLimit::new(2, 0.0), Instant::now());
        while limit.take(PEER, now) {}
        for n in 0..3 * MAX_ADDRESSES as u32 {
            limit.take(IpAddr::V4(Ipv4Addr::from_bits((11 << 24) + n)), now);
        }
        assert_eq!(limit.buckets.lock().unwrap().len(), MAX_ADDRESSES);
        assert!(!limit.take(PEER, now));
    }
}
