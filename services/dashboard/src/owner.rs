//! Which user of this machine is at the other end of a loopback connection. On Linux the kernel's tables of TCP sockets say it; elsewhere
//! nothing does. What a request says about itself is never asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::TcpStream;

/// Whether this system says who is at the other end of a loopback connection.
pub(crate) const IS_KNOWN: bool = cfg!(target_os = "linux");

/// Shown for users that the kernel cannot name here, such as those outside of a container: it stands for many.
#[cfg(any(target_os = "linux", test))]
const NOBODY: u32 = 65534;
#[cfg(target_os = "linux")]
const ROOT: u32 = 0;
/// A table that changes while it is read may leave out a socket.
#[cfg(target_os = "linux")]
const TRIES: usize = 3;

/// Whether the user who runs this process, or root, made the connection. False when the kernel does not say.
#[cfg(target_os = "linux")]
pub(crate) async fn is_own(stream: &TcpStream, peer: SocketAddr) -> bool {
    let Ok(local) = stream.local_addr() else { return false };
    let found = tokio::task::spawn_blocking(move || (0..TRIES).find_map(|_| read_tables(peer, local))).await;
    let own = rustix::process::geteuid().as_raw();
    let trusted = matches!(found, Ok(Some(user)) if user != NOBODY && (user == own || user == ROOT));
    // The addresses may belong to someone else by now, if the one who connected has closed its end and left its request behind.
    trusted && matches!(stream.take_error(), Ok(None))
}

#[cfg(not(target_os = "linux"))]
pub(crate) async fn is_own(_: &TcpStream, _: SocketAddr) -> bool {
    false
}

#[cfg(target_os = "linux")]
fn read_tables(peer: SocketAddr, local: SocketAddr) -> Option<u32> {
    use std::io::{BufRead, BufReader};

    // An IPv6 socket can connect to an IPv4 address, and is then in the other table.
    let tables: &[&str] = if peer.ip().to_canonical().is_ipv4() { &["tcp", "tcp6"] } else { &["tcp6"] };
    tables.iter().find_map(|table| {
        let file = std::fs::File::open(format!("/proc/self/net/{table}")).ok()?;
        let lines = BufReader::with_capacity(64 * 1024, file).lines();
        lines.map_while(Result::ok).find_map(|line| owner_in(&line, peer, local))
    })
}

/// The user in a line of the kernel's table, if the line is about the socket at `peer` that is connected to `local`.
#[cfg(any(target_os = "linux", test))]
fn owner_in(line: &str, peer: SocketAddr, local: SocketAddr) -> Option<u32> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let is = |field: Option<&str>, wanted: SocketAddr| field.and_then(address) == Some((wanted.ip().to_canonical(), wanted.port()));
    if !is(fields.next(), peer) || !is(fields.next(), local) {
        return None;
    }
    let user = fields.nth(4)?.parse().ok()?;
    // A socket that its process has closed has no inode any more, and the kernel then says that root owns it.
    (fields.nth(1)? != "0").then_some(user)
}

/// An address as the kernel prints it: words of 32 bits in the order of this machine's memory, a colon, the port.
#[cfg(any(target_os = "linux", test))]
fn address(field: &str) -> Option<(IpAddr, u16)> {
    let (words, port) = field.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| Some(u32::from_str_radix(words.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    match words.len() {
        8 => Some((Ipv4Addr::from(word(0)?).into(), port)),
        32 => {
            let mut bytes = [0; 16];
            for (index, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(index * 8)?);
            }
            Some((IpAddr::from(Ipv6Addr::from(bytes)).to_canonical(), port))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ends of a connection, a socket that listens, and one that its process has closed: as Linux prints them on a little-endian machine.
    const V4: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 41127 1 0000000079a513a6 100 0 0 10 0
   1: 0100007F:BAA2 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1001        0 41280 1 000000002e854128 20 4 1 69 -1
   2: 0100007F:1F90 0100007F:BAA2 01 00000000:00000000 00:00000000 00000000  1000        0 41281 1 000000002e854129 20 4 1 69 -1
   3: 0100007F:BAA4 0100007F:1F90 05 00000000:00000000 00:00000000 00000000     0        0 0 1 000000002e854130 20 4 1 69 -1";
    const V6: &str = "
   0: 00000000000000000000000001000000:C001 00000000000000000000000001000000:1F90 01 00000000:00000000 00:00000000 00000000  1002        0 5 1 0 20 4 30 10 -1
   1: 0000000000000000FFFF00000100007F:C002 0000000000000000FFFF00000100007F:1F90 08 00000000:00000000 00:00000000 00000000  1003        0 6 1 0 20 4 30 10 -1";

    #[cfg(target_endian = "little")]
    #[test]
    fn the_owner_of_the_other_end_is_found_and_never_that_of_a_closed_socket() {
        let owner = |table: &str, peer: &str, local: &str| {
            table.lines().find_map(|line| owner_in(line, peer.parse().unwrap(), local.parse().unwrap()))
        };
        assert_eq!(owner(V4, "127.0.0.1:47778", "127.0.0.1:8080"), Some(1001), "not 1000, which is this end");
        assert_eq!(owner(V4, "127.0.0.1:47780", "127.0.0.1:8080"), None, "closed: its user is not known");
        assert_eq!(owner(V4, "127.0.0.1:47779", "127.0.0.1:8080"), None);
        assert_eq!(owner(V4, "127.0.0.1:47778", "127.0.0.1:8081"), None, "a connection to another port");
        assert_eq!(owner(V6, "[::1]:49153", "[::1]:8080"), Some(1002));
        assert_eq!(owner(V6, "127.0.0.1:49154", "127.0.0.1:8080"), Some(1003), "an IPv6 socket connected to an IPv4 address");
        assert_eq!(owner(V6, "[::ffff:127.0.0.1]:49154", "[::ffff:127.0.0.1]:8080"), Some(1003));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_connection_of_this_process_is_its_users_own_until_the_other_end_is_closed() {
        for bind in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = tokio::net::TcpListener::bind(bind).await else { continue };
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (served, peer) = listener.accept().await.unwrap();
            assert_eq!(is_own(&served, peer).await, rustix::process::geteuid().as_raw() != NOBODY, "{bind}");
            drop(client);
            assert!(!is_own(&served, peer).await, "{bind}: closed");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_line_panics(line in "[ -~äé]{0,160}", fields in proptest::collection::vec("[0-9A-Fé:]{0,40}", 0..14)) {
            let (peer, local) = ("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
            let _ = owner_in(&line, peer, local);
            let _ = owner_in(&fields.join(" "), peer, local);
            let _ = address(&line);
        }
    }
}
