//! Refuses to start where anybody could come in.

use crate::config::ServerConfig;

/// Why the daemon does not listen.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exposed {
    #[error(
        "{0} can be reached from other machines, and there is no TLS\nhint: set server.tls = {{ cert, key }}, listen \
         on 127.0.0.1, or, behind a proxy that adds TLS, set server.insecure = true"
    )]
    NoTls(std::net::SocketAddr),
    #[error(
        "{0} can be reached from other machines, and there is no token that could keep strangers out\nhint: make one \
         first: reveil token create --role admin NAME"
    )]
    NoToken(std::net::SocketAddr),
    #[error(
        "there is no token, so nobody could call\nhint: make one first: reveil token create --role admin NAME; or \
             set server.open_on_loopback = true to let everybody on this machine in"
    )]
    Nobody,
}

/// `tokens`: how many are valid.
///
/// # Errors
/// [`Exposed`], with the remedy.
pub fn check(server: &ServerConfig, tokens: usize) -> Result<(), Exposed> {
    if server.on_loopback() {
        return if tokens == 0 && !server.open_on_loopback { Err(Exposed::Nobody) } else { Ok(()) };
    }
    if server.tls.is_none() && !server.insecure {
        return Err(Exposed::NoTls(server.listen));
    }
    if tokens == 0 { Err(Exposed::NoToken(server.listen)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_reach_needs_tokens_and_tls() {
        let loopback = ServerConfig::default();
        let open = ServerConfig { open_on_loopback: true, ..loopback.clone() };
        let wide = ServerConfig { listen: "0.0.0.0:8750".parse().unwrap(), ..loopback.clone() };
        let proxied = ServerConfig { insecure: true, ..wide.clone() };
        assert_eq!(check(&loopback, 0), Err(Exposed::Nobody));
        assert_eq!(check(&loopback, 1), Ok(()));
        assert_eq!(check(&open, 0), Ok(()));
        assert_eq!(check(&wide, 1), Err(Exposed::NoTls(wide.listen)));
        assert_eq!(check(&proxied, 0), Err(Exposed::NoToken(wide.listen)));
        assert_eq!(check(&proxied, 1), Ok(()));
    }
}
