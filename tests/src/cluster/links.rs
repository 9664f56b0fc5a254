//! A proxy for each process of a test, on a thread of its own: a test that waits for a command to end must not hold up the network.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use faultline_proxy::{LinkConditions, Proxy};
use tokio::runtime::Runtime;

pub(super) struct Links {
    upstream: String,
    proxies: BTreeMap<String, Proxy>,
    /// Taken when this is dropped.
    runtime: Option<Runtime>,
}

impl Links {
    pub(super) fn new(upstream: String) -> Links {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime for proxies");
        Links { upstream, proxies: BTreeMap::new(), runtime: Some(runtime) }
    }

    /// Where this process connects; its proxy is made the first time.
    pub(super) fn url(&mut self, name: &str) -> String {
        let seed = self.proxies.len() as u64;
        let proxy = self.proxies.entry(name.to_owned()).or_insert_with(|| {
            let _inside = self.runtime.as_ref().expect("it is there until the drop").enter();
            Proxy::start((Ipv4Addr::LOCALHOST, 0).into(), self.upstream.clone(), seed).expect("a loopback port")
        });
        format!("nats://{}", proxy.address())
    }

    pub(super) fn set(&self, name: &str, conditions: LinkConditions) {
        let proxy = self.proxies.get(name).unwrap_or_else(|| panic!("{name} was not started behind a link"));
        proxy.set(conditions).unwrap_or_else(|error| panic!("the link of {name}: {error}"));
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        // Inside of a test's own runtime nothing may wait for the end of another one.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
