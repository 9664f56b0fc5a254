//! The proxy on real sockets: what a service and a server behind it see when the link is cut, stalled and healed, or a side dies.

use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use faultline_proxy::{Direction, LinkConditions, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

/// Nothing here waits longer unless it is broken.
const PATIENCE: Duration = Duration::from_secs(30);
/// Long enough for bytes that must not pass to be seen passing.
const SILENCE: Duration = Duration::from_millis(150);
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("never happened: {what}"))
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    soon(what, async {
        while !done() {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// A server that the test plays, and a proxy in front of it.
struct Place {
    server: TcpListener,
    proxy: Proxy,
}

impl Place {
    async fn new() -> Place {
        let server = TcpListener::bind(LOOPBACK).await.unwrap();
        let proxy = Proxy::start(LOOPBACK, server.local_addr().unwrap().to_string(), 1).unwrap();
        Place { server, proxy }
    }

    async fn connect(&self) -> TcpStream {
        soon("the proxy accepts", TcpStream::connect(self.proxy.address())).await.unwrap()
    }

    async fn accept(&self) -> TcpStream {
        soon("the server is connected to", self.server.accept()).await.unwrap().0
    }

    /// Both ends of a connection through the proxy.
    async fn pair(&self) -> (TcpStream, TcpStream) {
        (self.connect().await, self.accept().await)
    }
}

async fn say(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

async fn hear(stream: &mut TcpStream, text: &str) {
    let mut buffer = vec![0; text.len()];
    soon(text, stream.read_exact(&mut buffer)).await.unwrap();
    assert_eq!(String::from_utf8(buffer).unwrap(), text);
}

async fn hear_end(stream: &mut TcpStream) {
    assert_eq!(soon("the end", stream.read(&mut [0; 8])).await.unwrap(), 0);
}

async fn hear_nothing(stream: &mut TcpStream) {
    assert!(timeout(SILENCE, stream.read(&mut [0; 8])).await.is_err(), "something passed");
}

async fn hear_reset(stream: &mut TcpStream) {
    let error = soon("a reset", stream.read(&mut [0; 8])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn bytes_pass_both_ways_and_are_counted() {
    let place = Place::new().await;
    let (mut service, mut server) = place.pair().await;
    say(&mut service, "PING").await;
    hear(&mut server, "PING").await;
    say(&mut server, "PONG PONG").await;
    hear(&mut service, "PONG PONG").await;
    until("the counts", || place.proxy.traffic().down.bytes == 9).await;
    let traffic = place.proxy.traffic();
    assert_eq!((traffic.up.bytes, traffic.up.chunks, traffic.connections, traffic.accepted), (4, 1, 1, 1));
    drop(service);
    hear_end(&mut server).await;
    drop(server);
    until("the connection is over", || place.proxy.traffic().connections == 0).await;
}

#[tokio::test]
async fn a_side_that_dies_takes_the_other_with_it() {
    let place = Place::new().await;
    let (mut service, server) = place.pair().await;
    drop(server);
    hear_end(&mut service).await;

    let (service, mut server) = place.pair().await;
    service.set_zero_linger().unwrap();
    drop(service);
    hear_end(&mut server).await;
}

#[tokio::test]
async fn a_closed_link_resets_what_there_is_and_what_comes_and_can_be_opened_again() {
    let place = Place::new().await;
    let (mut service, mut server) = place.pair().await;
    place.proxy.set(LinkConditions::closed()).unwrap();
    hear_reset(&mut service).await;
    hear_reset(&mut server).await;
    hear_reset(&mut place.connect().await).await;
    place.proxy.set(LinkConditions::default()).unwrap();
    let (mut service, mut server) = place.pair().await;
    say(&mut service, "again").await;
    hear(&mut server, "again").await;
}

#[tokio::test]
async fn a_partition_keeps_connections_and_lets_nothing_pass_until_it_heals() {
    let place = Place::new().await;
    let (mut service, mut server) = place.pair().await;
    place.proxy.set(LinkConditions::stalled()).unwrap();
    say(&mut service, "late ").await;
    say(&mut service, "commit").await;
    say(&mut server, "order").await;
    hear_nothing(&mut server).await;
    hear_nothing(&mut service).await;
    until("bytes are held", || place.proxy.traffic().up.held_bytes == 11).await;
    place.proxy.set(LinkConditions::default()).unwrap();
    hear(&mut server, "late commit").await;
    hear(&mut service, "order").await;
    assert_eq!(place.proxy.traffic().up.held_bytes, 0);
}

#[tokio::test]
async fn the_end_of_a_side_is_no_news_in_a_partition() {
    let place = Place::new().await;
    let (service, mut server) = place.pair().await;
    place.proxy.set(LinkConditions::stalled()).unwrap();
    drop(service);
    hear_nothing(&mut server).await;
    place.proxy.set(LinkConditions::default()).unwrap();
    hear_end(&mut server).await;
}

#[tokio::test]
async fn connections_made_in_a_partition_reach_the_server_when_it_heals_but_for_those_given_up() {
    let place = Place::new().await;
    place.proxy.set(LinkConditions::stalled()).unwrap();
    let impatient = place.connect().await;
    let mut patient = place.connect().await;
    until("both are accepted", || place.proxy.traffic().connections == 2).await;
    drop(impatient);
    until("one was given up", || place.proxy.traffic().connections == 1).await;
    assert!(timeout(SILENCE, place.server.accept()).await.is_err(), "the server sees nothing of it");
    place.proxy.set(LinkConditions::default()).unwrap();
    let mut server = place.accept().await;
    say(&mut server, "INFO").await;
    hear(&mut patient, "INFO").await;
    assert!(timeout(SILENCE, place.server.accept()).await.is_err(), "only the patient one comes");
}

#[tokio::test]
async fn one_way_can_be_cut_alone() {
    let place = Place::new().await;
    let (mut service, mut server) = place.pair().await;
    place.proxy.set(LinkConditions { direction: Direction::Up, ..LinkConditions::stalled() }).unwrap();
    say(&mut service, "unheard").await;
    say(&mut server, "heard").await;
    hear(&mut service, "heard").await;
    hear_nothing(&mut server).await;
}

#[tokio::test]
async fn a_dead_server_is_a_reset_and_the_next_of_several_is_tried() {
    let gone = TcpListener::bind(LOOPBACK).await.unwrap().local_addr().unwrap();
    let proxy = Proxy::start(LOOPBACK, gone.to_string(), 1).unwrap();
    hear_reset(&mut TcpStream::connect(proxy.address()).await.unwrap()).await;

    let alive = TcpListener::bind(LOOPBACK).await.unwrap();
    let proxy = Proxy::start(LOOPBACK, format!("{gone},{}", alive.local_addr().unwrap()), 1).unwrap();
    for _ in 0..3 {
        let mut service = TcpStream::connect(proxy.address()).await.unwrap();
        let (mut server, _) = soon("the one that lives", alive.accept()).await.unwrap();
        say(&mut server, "INFO").await;
        hear(&mut service, "INFO").await;
    }
}

#[tokio::test]
async fn bad_conditions_change_nothing() {
    let place = Place::new().await;
    let error = place.proxy.set(LinkConditions { loss_percent: 150.0, ..LinkConditions::default() }).unwrap_err();
    assert_eq!(error.field, "loss_percent");
    assert!(place.proxy.conditions().is_clean());
}

#[tokio::test]
async fn a_dropped_proxy_ends_its_connections_and_frees_its_port() {
    let Place { server, proxy } = Place::new().await;
    let mut service = TcpStream::connect(proxy.address()).await.unwrap();
    let (mut accepted, _) = soon("a connection", server.accept()).await.unwrap();
    let address = proxy.address();
    drop(proxy);
    // Both are over; whether the kernel says so by an end or by a reset depends on what it had not handed on yet.
    for stream in [&mut service, &mut accepted] {
        match soon("the end", stream.read(&mut [0; 8])).await {
            Ok(length) => assert_eq!(length, 0),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
    drop((service, accepted));
    soon("the port is free", async {
        while TcpListener::bind(address).await.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
