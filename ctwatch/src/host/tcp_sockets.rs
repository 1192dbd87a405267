//! Reads the table of TCP sockets of a network namespace, as /proc shows it (`tcp4_seq_show`, net/ipv4/tcp_ipv4.c;
//! `get_tcp6_sock`, net/ipv6/tcp_ipv6.c).

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

/// A TCP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpSocket {
    /// The port at this end.
    pub local_port: u16,
    /// The address at the other end; of a socket for both families that talks IPv4, the IPv4 address.
    pub peer: IpAddr,
    /// What it does.
    pub state: TcpState,
    /// The number by which a process's descriptors name it; 0 if none does any more.
    pub inode: u64,
}

/// What a socket does, as far as anybody here asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpState {
    /// `TCP_ESTABLISHED` (include/net/tcp_states.h).
    Established,
    /// `TCP_LISTEN`.
    Listening,
    /// Another state.
    Other,
}

/// The sockets of both families, from a directory such as `/proc/PID/net`.
///
/// # Errors
///
/// The table of IPv4 cannot be read. A kernel without IPv6 has no table of it.
pub fn read_from(directory: &Path) -> io::Result<Vec<TcpSocket>> {
    let mut sockets = parse(&fs::read_to_string(directory.join("tcp"))?);
    match fs::read_to_string(directory.join("tcp6")) {
        Ok(text) => sockets.extend(parse(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(sockets)
}

fn parse(text: &str) -> Vec<TcpSocket> {
    text.lines().filter_map(socket).collect()
}

fn socket(line: &str) -> Option<TcpSocket> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (_, local_port) = words.get(1)?.split_once(':')?;
    let (peer, _) = words.get(2)?.split_once(':')?;
    Some(TcpSocket {
        local_port: u16::from_str_radix(local_port, 16).ok()?,
        peer: address(peer)?,
        state: match *words.get(3)? {
            "01" => TcpState::Established,
            "0A" => TcpState::Listening,
            _ => TcpState::Other,
        },
        inode: words.get(9)?.parse().ok()?,
    })
}

/// The kernel prints each four bytes as a number of the machine's own.
fn address(digits: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let digits = digits.get(at * 8..at * 8 + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    match digits.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Some(Ipv6Addr::from(bytes).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_is_found_from_both_ends_and_so_is_its_listener() {
        for any in ["127.0.0.1:0", "[::]:0"] {
            // A machine without IPv6 has no such address.
            let Ok(listener) = TcpListener::bind(any) else { continue };
            let port = listener.local_addr().unwrap().port();
            let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            let sockets = read_from(Path::new("/proc/self/net")).unwrap();
            let here: Vec<_> = sockets.iter().filter(|socket| socket.local_port == port).collect();
            let states: Vec<TcpState> = here.iter().map(|socket| socket.state).collect();
            assert!(states.contains(&TcpState::Listening), "{here:?}");
            let established = here.iter().find(|each| each.state == TcpState::Established).unwrap();
            assert_eq!(established.peer, stream.local_addr().unwrap().ip());
            assert_eq!(accepted.peer_addr().unwrap().port(), stream.local_addr().unwrap().port());
        }
    }

    #[test]
    fn lines_of_both_families_are_read_and_the_head_is_none() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  0: 0100000A:0016 4201000A:D431 01 00000000:00000000 00:00000000 00000000     0        0 4711 1 0\n";
        let (peer, peer6) = match cfg!(target_endian = "little") {
            true => ("10.0.1.66", "2001:db8::66"),
            false => ("66.1.0.10", "b80d:120::6600:0"),
        };
        let expected = TcpSocket {
            local_port: 22,
            peer: peer.parse().unwrap(),
            state: TcpState::Established,
            inode: 4711,
        };
        assert_eq!(parse(text), [expected]);
        let digits = "B80D0120000000000000000066000000";
        assert_eq!(address(digits), Some(peer6.parse().unwrap()));
        assert_eq!(address("0000"), None);
    }
}
